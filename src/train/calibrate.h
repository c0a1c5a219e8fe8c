/* calibrate.h: from logits to probabilities that mean what they say.
 *
 *     double t = ng_temperature_fit(logits, labels, n, n_labels);     [n, n_labels] logits
 *     ng_platt p = ng_platt_fit(z, holds, n);
 *     ng_scope_fit(in, n, out, m, scope);
    double threshold = ng_oos_threshold(in_scope, n, out_of_scope, m, 0.95);
 *
 * Fitted on held-out texts only.  Nothing here can fail or draws random numbers. */
#ifndef NG_TRAIN_CALIBRATE_H
#define NG_TRAIN_CALIBRATE_H

#include "model/encoder_heads.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The temperature in [0.05, 20] that makes softmax(logits / t) most likely (Guo et al. 2017). */
double ng_temperature_fit(const float *logits, const int32_t *labels, size_t n, size_t n_labels);

typedef struct ng_platt {
    double scale, shift; /* p = sigmoid(scale * z + shift) */
} ng_platt;
/* Platt's method with his smoothed targets, by Newton steps (Lin, Lin and Weng 2007).  scale is never
 * negative: where the logits say nothing it is 0. */
ng_platt ng_platt_fit(const float *z, const bool *holds, size_t n);

/* Logistic regression of n places in scope and m out of it, both sides with the same weight in all and a little decay: what
 * ng_encoder_head_scope makes its score of.  All zero without texts of either side. */
void ng_scope_fit(const ng_scope_place *in, size_t n, const ng_scope_place *out, size_t m, float scope[3]);

/* Among the thresholds that keep at least `keep` of the in-scope scores (>= t), the one with the
 * greatest (share kept + share of out-of-scope rejected).  Sorts both arrays. */
double ng_oos_threshold(float *in_scope, size_t n, float *out_of_scope, size_t m, double keep);

#endif
