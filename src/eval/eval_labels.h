/* eval_labels.h: figures of whatever gives probabilities over labels: linear models, heads of encoders.
 *
 *     ng_subject s = {.task = "classify", .n_labels = n, .labels = names, .calibrated = true, .apply = apply, .self = model};
 *     ng_eval_labels(out, "recipes/clinc150.yaml", &s, NULL, &err);
 *
 * The recipe gives the data; its model is not looked at. */
#ifndef NG_EVAL_EVAL_LABELS_H
#define NG_EVAL_EVAL_LABELS_H

#include "eval_ops.h"
#include "model/pair_ids.h"
#include "train/noise.h"

typedef struct ng_subject {
    const char *task;
    size_t n_labels;
    const char *const *labels; /* [n_labels] */
    bool each, calibrated;     /* each: a probability a label (moderate), else they sum to 1 */
    float oos_threshold;       /* 0: every text is in scope */
    const float *threshold;    /* each: a label holds at or above; NULL: 0.5 */
    size_t file_bytes;
    ng_noise noise;            /* of the test texts */
    size_t timed;              /* decisions that are timed after the scoring, on texts that stand evenly in the test set */
    /* p[n_labels] of one text, or of a pair, as a request would get it */
    ng_status (*apply)(void *self, const ng_text_pair *text, float *p, ng_error *err);
    void *self;
    const float *scope;        /* where apply leaves what oos_threshold is asked of; NULL: the best probability */
} ng_subject;

typedef struct ng_label_files {
    const char *card, *scores; /* where they go; card NULL: none */
} ng_label_files;

/* files NULL: nothing is written. */
ng_status ng_eval_labels(ng_eval_result *out, const char *recipe_path, const ng_subject *s, const ng_label_files *files,
                         ng_error *err) NG_MUST_USE;

#endif
