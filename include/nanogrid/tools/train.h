/* train.h: a recipe becomes a package's model.
 *
 *     ng_train_options o = {.seed = -1};
 *     ng_train_result r;
 *     if (ng_train(&r, "recipes/clinc150.yaml", &o, &err)) ..
 *     printf("%s: dev accuracy %.4f\n", r.model_path, r.dev_accuracy);
 *
 * Same recipe, data and seed: the same bytes in the file, on every machine.  The recipe's keys are
 * told in src/train/recipe.h. */
#ifndef NANOGRID_TOOLS_TRAIN_H
#define NANOGRID_TOOLS_TRAIN_H

#include <nanogrid/status.h>

/* One pass over the training texts. */
typedef struct ng_train_step {
    const char *phase; /* "select" finds the features worth keeping, "fit" their weights */
    int64_t step, n_steps; /* of all phases together, from 1 */
    double loss;           /* mean over the pass */
    double dev_accuracy;   /* NaN where it is not measured */
} ng_train_step;

/* Return false to stop: NG_ECANCELLED, nothing is written. */
typedef bool ng_train_fn(void *ctx, const ng_train_step *step);

typedef struct ng_train_options {
    const char *out_dir; /* NULL: models/NAME beside the recipe's folder */
    int64_t seed;        /* < 0: the recipe's */
    ng_train_fn *on_step;
    void *ctx;
} ng_train_options;

typedef struct ng_train_result {
    char model_path[1024];
    uint64_t model_bytes;
    size_t n_train, n_dev, n_labels, n_rows;
    size_t n_features;           /* distinct buckets before the selection */
    size_t n_duplicates;         /* training and dev texts that also stand in test */
    bool duplicates_dropped;
    double loss;                 /* of the last pass */
    double dev_accuracy;         /* of the quantised model, on the tuning half of dev; NaN without dev */
    double temperature, oos_threshold; /* NaN: none */
    double seconds;
} ng_train_result;

NG_API ng_status ng_train(ng_train_result *out, const char *recipe_path, const ng_train_options *opt,
                          ng_error *err) NG_MUST_USE;

#endif
