/* ridge.c: see ridge.h.  Features are taken relative to their mean; a constant feature of the mean length stands for
 * the intercept, so that it is fitted and left out like the others. */
#include "ridge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Regression gives logits around 0 and 1; softmax temperatures near 1 want them further apart. */
static const double STRETCH = 10;

typedef struct work {
    const ng_ridge *r;
    double *mean;    /* [width] */
    double *kernel;  /* [n, n] */
    double *factor;  /* [n, n] lower: Cholesky's L, then its inverse */
    double *alpha;   /* [n, n_labels] */
    double *half;    /* [n, n_labels] */
    double length;   /* mean squared */
} work;

static double target(const ng_ridge *r, size_t i, size_t c) { return r->label[i] == (int32_t)c ? 1 : 0; }

static void make_kernel(work *k) {
    const ng_ridge *r = k->r;
    size_t n = r->n, w = r->width;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < w; c++) k->mean[c] += (double)r->x[i * w + c] / (double)n;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t c = 0; c < w; c++)
                sum += ((double)r->x[i * w + c] - k->mean[c]) * ((double)r->x[j * w + c] - k->mean[c]);
            k->kernel[i * n + j] = sum;
            if (i == j) k->length += sum / (double)n;
        }
    if (!(k->length > 0)) k->length = 1; /* all texts alike */
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) k->kernel[i * n + j] += k->length;
}

/* factor = inverse of Cholesky's factor of (kernel + penalty I). */
static void factorize(work *k, double penalty) {
    size_t n = k->r->n;
    double *l = k->factor;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = k->kernel[i * n + j] + (i == j ? penalty * k->length : 0);
            for (size_t c = 0; c < j; c++) sum -= l[i * n + c] * l[j * n + c];
            l[i * n + j] = i == j ? sqrt(sum) : sum / l[j * n + j];
        }
    /* In place, a row at a time: rows above i are inverted already. */
    for (size_t i = 0; i < n; i++) {
        double d = 1 / l[i * n + i];
        for (size_t j = 0; j < i; j++) {
            double sum = 0;
            for (size_t c = j; c < i; c++) sum += l[i * n + c] * l[c * n + j];
            k->half[j] = -sum * d; /* l[i, j] is still read by the columns to the left */
        }
        memcpy(l + i * n, k->half, i * sizeof *l);
        l[i * n + i] = d;
    }
}

static void solve(work *k) {
    const ng_ridge *r = k->r;
    size_t n = r->n, labels = r->n_labels;
    memset(k->half, 0, n * labels * sizeof *k->half);
    memset(k->alpha, 0, n * labels * sizeof *k->alpha);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) k->half[i * labels + (size_t)r->label[j]] += k->factor[i * n + j];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            for (size_t c = 0; c < labels; c++)
                k->alpha[j * labels + c] += k->factor[i * n + j] * k->half[i * labels + c];
}

/* z of the left-out examples; returns their mean squared error. */
static double leave_out(const work *k, float *z, double *accuracy) {
    const ng_ridge *r = k->r;
    size_t n = r->n, labels = r->n_labels, right = 0;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double diagonal = 0;
        size_t best = 0;
        for (size_t j = i; j < n; j++) diagonal += k->factor[j * n + i] * k->factor[j * n + i];
        for (size_t c = 0; c < labels; c++) {
            double off = k->alpha[i * labels + c] / diagonal;
            z[i * labels + c] = (float)(STRETCH * (target(r, i, c) - off));
            sum += off * off;
            if (z[i * labels + c] > z[i * labels + best]) best = c;
        }
        right += best == (size_t)r->label[i];
    }
    *accuracy = (double)right / (double)n;
    return sum / (double)n;
}

static void put_weights(const work *k, float *w, float *b) {
    const ng_ridge *r = k->r;
    for (size_t c = 0; c < r->n_labels; c++) {
        double constant = 0;
        for (size_t i = 0; i < r->n; i++) constant += k->length * k->alpha[i * r->n_labels + c];
        for (size_t d = 0; d < r->width; d++) {
            double sum = 0;
            for (size_t i = 0; i < r->n; i++)
                sum += k->alpha[i * r->n_labels + c] * ((double)r->x[i * r->width + d] - k->mean[d]);
            w[c * r->width + d] = (float)(STRETCH * sum);
            constant -= sum * k->mean[d];
        }
        b[c] = (float)(STRETCH * constant);
    }
}

static void fit(work *k, ng_ridge *r, float *w, float *b, float *z) {
    static const double penalties[] = {0.01, 0.03, 0.1, 0.3, 1};
    size_t n_penalties = r->n > 1000 ? 1 : sizeof penalties / sizeof penalties[0];
    double best = INFINITY;
    make_kernel(k);
    for (size_t p = 0; p < n_penalties; p++) {
        double penalty = n_penalties == 1 ? 0.1 : penalties[p], accuracy;
        factorize(k, penalty);
        solve(k);
        double error = leave_out(k, z, &accuracy);
        if (error < best) best = error, r->penalty = penalty;
    }
    if (n_penalties > 1) {
        factorize(k, r->penalty);
        solve(k);
    }
    (void)leave_out(k, z, &r->accuracy);
    put_weights(k, w, b);
}

ng_status ng_ridge_fit(ng_ridge *r, float *w, float *b, float *z, ng_error *err) {
    if (!r->n || r->n > NG_RIDGE_EXAMPLES_MAX)
        return ng_fail(err, r->n ? NG_ELIMIT : NG_EINVALID,
                       "%zu examples: this way is for 1 to %d; more are learned by a recipe", r->n,
                       NG_RIDGE_EXAMPLES_MAX);
    size_t n = r->n, half = n > n * r->n_labels ? n : n * r->n_labels;
    work k = {.r = r, .mean = calloc(r->width, sizeof(double)), .kernel = calloc(n * n, sizeof(double)),
              .factor = calloc(n * n, sizeof(double)), .alpha = malloc(n * r->n_labels * sizeof(double)), .half = malloc(half * sizeof(double))};
    bool ok = k.mean && k.kernel && k.factor && k.alpha && k.half;
    if (ok) fit(&k, r, w, b, z);
    free(k.mean);
    free(k.kernel);
    free(k.factor);
    free(k.alpha);
    free(k.half);
    return ok ? NG_OK : ng_fail(err, NG_ENOMEM, "%zu examples: out of memory", n);
}
