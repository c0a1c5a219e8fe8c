/* calibrate.h: gives a generator a confidence: runs prompts with known answers, fits, measures.
 *
 *     const char *models[] = {"SmolLM2.Q8_0.gguf", "SmolLM2.Q4_0.gguf"};
 *     ng_calibrate_result r;
 *     if (ng_calibrate(&r, "recipes/confidence.yaml", models, 2, NULL, &err)) ..
 *
 * The models are one model in several precisions.  One network is fitted to what all of them said, its calibration and the
 * calibration set are each one's own.  Beside each goes X.confidence.gguf (src/decode/confidence.h), which every decoder expert of
 * that file finds by itself.
 *
 *     name: confidence
 *     task: confidence
 *     train: [confidence/train.jsonl]    below $NANOGRID_DATA; ./x is beside the recipe; src/eval/trials.h has the format
 *     test: [confidence/test.jsonl]
 *     taps: [19]                         [the layer at two thirds] layers whose residual stream is read
 *     training: {hidden: 32, epochs: 20, rate: 1e-3, dropout: 0.3, decay: 0.01, batch: 64, seed: 1} */
#ifndef NANOGRID_TOOLS_CALIBRATE_H
#define NANOGRID_TOOLS_CALIBRATE_H

#include <nanogrid/json.h>
#include <nanogrid/status.h>

enum { NG_CALIBRATE_MODELS_MAX = 8, NG_CALIBRATE_TASKS_MAX = 32 };

typedef struct ng_calibrate_row {
    char task[32];
    size_t n, right;
    double auroc, entropy_auroc; /* of the confidence; of the mean entropy of the tokens, turned round.  NaN: void */
    double strange, unseen;      /* share of its prompts with confidence 0 as of no known kind; and if this kind were not known */
} ng_calibrate_row;

typedef struct ng_calibrate_model {
    char model_path[1024], file_path[1024];
    ng_calibrate_row rows[NG_CALIBRATE_TASKS_MAX];
    size_t n_rows;
    double auroc, entropy_auroc; /* means over the tasks that are not void: 50 right and 50 wrong answers at least */
    double ece, aurc;            /* over all */
} ng_calibrate_model;

typedef struct ng_calibrate_result {
    ng_calibrate_model models[NG_CALIBRATE_MODELS_MAX];
    size_t n_models, n_train, n_calibration; /* of all models; of one */
    double seconds;
} ng_calibrate_result;

typedef struct ng_calibrate_options {
    const char *trials_dir; /* keeps what the models said, every 512 prompts, and takes it from there the next time; NULL: neither */
    int n_threads;          /* of the models (0: by measurement) */
    void (*on_step)(void *ctx, size_t done, size_t total);
    void *ctx;
} ng_calibrate_options;

NG_API ng_status ng_calibrate(ng_calibrate_result *out, const char *recipe_path, const char *const *models,
                              size_t n_models, const ng_calibrate_options *opt, ng_error *err) NG_MUST_USE;
NG_API void ng_calibrate_json(ng_json *j, const ng_calibrate_result *r);

#endif
