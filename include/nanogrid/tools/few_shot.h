/* few_shot.h: an expert from a handful of examples a label, in seconds: a head on an encoder that stays as it is.
 *
 *     ng_few_shot_options o = {.encoder = "encoder.gguf"};
 *     ng_few_shot_result r;
 *     if (ng_few_shot(&r, "labels.yaml", &o, &err)) ..
 *     printf("%s: %.2f\n", r.model_path, r.accuracy);
 *
 * The file of labels:
 *     name: tickets                the head's and the file's name
 *     encoder: minilm.gguf         a BERT, relative to this file; options.encoder goes before it
 *     labels:
 *       refund: {description: the customer wants money back, examples: [I want my money back, please refund me]}
 *       shipping: {examples: [where is my parcel]}
 *     out_of_scope: [what a nice day]      texts of no label: they set the out-of-scope threshold
 *
 * A description counts as an example.  Accuracy and calibration come from predicting each example by a head fitted
 * without it.  The file is the encoder's with one head more, the first of its heads; same input, same bytes. */
#ifndef NANOGRID_TOOLS_FEW_SHOT_H
#define NANOGRID_TOOLS_FEW_SHOT_H

#include <nanogrid/status.h>

typedef struct ng_few_shot_options {
    const char *encoder; /* NULL: the file's */
    const char *out_dir; /* NULL: beside the file of labels */
    int n_threads;       /* 0: measured */
} ng_few_shot_options;

typedef struct ng_few_shot_result {
    char name[48], model_path[1024];
    size_t n_labels, n_examples;
    double accuracy;      /* of examples left out one at a time */
    double temperature, oos_threshold; /* threshold NaN without out_of_scope */
    double seconds;
} ng_few_shot_result;

NG_API ng_status ng_few_shot(ng_few_shot_result *out, const char *path, const ng_few_shot_options *opt,
                             ng_error *err) NG_MUST_USE;

#endif
