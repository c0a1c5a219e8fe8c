/* fit.h: logistic regression, softmax or one sigmoid a label, by AdaGrad.
 *
 *     ng_fit f;
 *     ng_fit_new(&f, n_rows, n_labels, &err);
 *     for (epoch ..) loss = ng_fit_epoch(&f, &vectors, samples, &config, rate, &rng);
 *     use(f.weight, f.bias);  ng_fit_clear(&f);
 *
 * One thread, a fixed order of every sum, our own exp: the same weights on every machine. */
#ifndef NG_TRAIN_FIT_H
#define NG_TRAIN_FIT_H

#include "core/hash.h"
#include "train/vectors.h"

typedef struct ng_fit {
    size_t n_rows, n_labels;
    float *weight;     /* [n_rows, n_labels] */
    float *bias;       /* [n_labels] */
    float *square;     /* [n_rows]: AdaGrad's sum of squared gradients, one a row */
    float *square_bias;
    float *label_weight; /* [n_labels] of a text of that label (softmax), of a held label (sigmoid) */
    float *logits, *gradient; /* [n_labels] scratch */
    uint32_t *order;   /* [n_order] */
    size_t n_order;
} ng_fit;

typedef struct ng_fit_config {
    bool multi_label;
    double l2, dropout, smoothing;
} ng_fit_config;

ng_status ng_fit_new(ng_fit *out, size_t n_rows, size_t n_labels, ng_error *err) NG_MUST_USE;
void ng_fit_clear(ng_fit *f);
/* label_weight from the labels' shares: (n / (n_labels * n_label)) ^ balance, or for sigmoids
 * (n_not / n_holds) ^ balance. */
void ng_fit_balance(ng_fit *f, const ng_dataset *d, bool multi_label, double balance);
/* Moves weights after ng_rows_keep: moved[old] = new or -1; forgets the squares. */
void ng_fit_keep(ng_fit *f, const int32_t *moved, size_t n_rows);

/* One pass in an order drawn from rng; returns the mean loss (NaN when it diverged), -1 when memory
 * is out. */
double ng_fit_epoch(ng_fit *f, const ng_vectors *v, const ng_dataset *d, const ng_fit_config *c, double rate,
                    ng_rng *rng);

/* Loss of one text from its logits, and the derivative by each logit in gradient[n_labels]. */
double ng_fit_loss(const ng_fit *f, const float *logits, const ng_sample *s, const ng_fit_config *c,
                   float *gradient);
/* logits[n_labels] of vector i. */
void ng_fit_logits(const ng_fit *f, const ng_vectors *v, size_t i, float *logits);
/* Share of texts whose greatest logit is their label (softmax); of known labels on the right side of 0
 * (sigmoid). */
double ng_fit_accuracy(const ng_fit *f, const ng_vectors *v, const ng_dataset *d, bool multi_label);

#endif
