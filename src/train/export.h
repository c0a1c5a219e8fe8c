/* export.h: trained weights into a file that ng_linear_open reads (format: model/linear.h).
 *
 *     ng_export e = {.recipe = &r, .labels = &l, .features = c, .rows = &rows, .fit = &fit};
 *     ng_export_write(&e, NULL, path, &err);         without calibration, to measure logits with
 *     ng_export_write(&e, &calibration, path, &err); */
#ifndef NG_TRAIN_EXPORT_H
#define NG_TRAIN_EXPORT_H

#include "train/fit.h"

typedef struct ng_export {
    const ng_recipe *recipe;
    const ng_labels *labels;
    ng_feature_config features;
    const ng_rows *rows;
    const ng_fit *fit;
} ng_export;

typedef struct ng_calibration {
    double temperature;   /* softmax; NaN: none */
    double oos_threshold; /* NaN: none */
    const float *platt_scale, *platt_shift, *threshold; /* [n_labels], sigmoid; NULL: none */
} ng_calibration;

/* Rounds the weights to recipe->training.weight_bits and writes the file atomically. */
ng_status ng_export_write(const ng_export *e, const ng_calibration *c, const char *path, ng_error *err) NG_MUST_USE;

/* One column of n weights (stride apart) as integers in [-max, max] of a step that is returned: the
 * step with the least squared error among some fractions of the greatest weight.  out[i * stride]. */
float ng_quantise_column(const float *w, size_t n, size_t stride, int max, int8_t *out);

#endif
