/* ridge.h: a linear classifier from few examples: regression to the labels in closed form, judged without a held-out set.
 *
 *     ng_ridge r = {.n = 80, .width = 384, .n_labels = 10, .x = features, .label = gold};
 *     ng_ridge_fit(&r, w, b, z, &err);     w[n_labels, width], b[n_labels]; z[n, n_labels]: logits of example i
 *                                          by the model fitted without it
 *     r.accuracy                           of these
 *
 * With n examples fewer than dimensions the dual problem is the small one: (K + penalty I) A = Y over the examples,
 * w = A^T X.  The left-out logits follow from the same factor, y_i - a_i / inverse_ii (Rifkin and Lippert 2007), so the
 * penalty is chosen and the temperature fitted on honest predictions, and nothing is put aside.  All in double, in one
 * order: the same bits everywhere. */
#ifndef NG_TRAIN_RIDGE_H
#define NG_TRAIN_RIDGE_H

#include <nanogrid/status.h>

enum { NG_RIDGE_EXAMPLES_MAX = 3000 };

typedef struct ng_ridge {
    size_t n, width, n_labels;
    const float *x;       /* [n, width] */
    const int32_t *label; /* [n] */
    double penalty;       /* out: the one of least left-out error, as a share of the mean squared length */
    double accuracy;      /* out: of the left-out logits */
} ng_ridge;

/* NG_ELIMIT above NG_RIDGE_EXAMPLES_MAX. */
ng_status ng_ridge_fit(ng_ridge *r, float *w, float *b, float *z, ng_error *err) NG_MUST_USE;

#endif
