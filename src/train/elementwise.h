/* elementwise.h: the row and element operations of training, compiled once a level.
 *
 *     const ng_elementwise *e = ng_elementwise_get(level);
 *     e->gelu(y, x, 1536);
 *
 * One body (elementwise.inc), three builds.  Sums go over 16 lanes in a fixed order, so a level always
 * gives the same bits; levels differ by fused multiply-adds.  exp is good to 2e-7 relative, erf to
 * 1.5e-7.  All work on the calling thread; pointers may be unaligned and, where it says so, equal. */
#ifndef NG_TRAIN_ELEMENTWISE_H
#define NG_TRAIN_ELEMENTWISE_H

#include "core/cpu.h"

/* Which values a dropout keeps: value i of the tensor is kept when mix(key, i) >= p 2^32.  Nothing is
 * stored: backward asks again, and a resumed run gives the same answers.  Kept ones are divided by 1 - p. */
typedef struct ng_dropout {
    uint32_t key; /* one a tensor and step: ng_dropout_key */
    float p;      /* 0: everything stays */
} ng_dropout;
uint32_t ng_dropout_key(uint64_t seed, uint64_t step, uint32_t tensor);

typedef struct ng_adamw {
    float rate, beta1, beta2, eps, decay; /* decay is decoupled: p -= rate * decay * p */
    float correct1, correct2;             /* 1 / (1 - beta^step) */
    float scale;                          /* of the gradient: clipping, accumulation */
} ng_adamw;

typedef struct ng_norm_row {
    const float *w, *b; /* [n] */
    size_t n;
    float eps;
} ng_norm_row;

typedef struct ng_elementwise {
    /* y = x / 2 * (1 + erf(x / sqrt 2)); y may be x. */
    void (*gelu)(float *y, const float *x, size_t n);
    /* dx = dy * gelu'(x); dx may be dy. */
    void (*gelu_back)(float *dx, const float *dy, const float *x, size_t n);
    /* y = tanh x, dx = dy (1 - y^2); equal pointers are fine. */
    void (*tanh_)(float *y, const float *x, size_t n);
    void (*tanh_back)(float *dx, const float *dy, const float *y, size_t n);
    /* y = (x - mean) * rstd * w + b of one row; rstd = 1 / sqrt(variance + eps). */
    void (*norm)(float *y, float stat[2], const float *x, const ng_norm_row *r);
    /* dx of one row; adds to dw and db.  dx may be dy.  stat as norm gave it. */
    void (*norm_back)(float *dx, float *dw_db[2], const float *dy, const float *x, const float stat[2],
                      const ng_norm_row *r);
    /* x = softmax(scale x) in place; returns log(sum exp(scale x)). */
    float (*softmax)(float *x, size_t n, float scale);
    /* x = exp(scale x - lse) in place. */
    void (*softmax_again)(float *x, size_t n, float scale, float lse);
    /* dp = p (dp - sum(dp p)) scale, in place. */
    void (*softmax_back)(float *dp, const float *p, size_t n, float scale);
    /* y = drop(x), whose first value is value `at` of the tensor; y may be x. */
    void (*drop)(float *y, const float *x, size_t n, uint32_t at, ng_dropout d);
    /* y = x + drop(h); y may be either. */
    void (*add_drop)(float *y, const float *x, const float *h, size_t n, uint32_t at, ng_dropout d);
    /* y += x. */
    void (*add)(float *y, const float *x, size_t n);
    /* sum[n] += rows of x[rows, stride], rising. */
    void (*add_rows)(float *sum, const float *x, size_t rows, size_t stride, size_t n);
    /* One AdamW step (Loshchilov and Hutter 2019) over n weights; g is left as it is. */
    void (*adamw)(float *p, const float *g, float *m, float *v, size_t n, const ng_adamw *a);
    double (*squares)(const float *x, size_t n); /* sum of x^2 */
} ng_elementwise;

const ng_elementwise *ng_elementwise_get(ng_cpu_level level);
extern const ng_elementwise ng_elementwise_plain, ng_elementwise_avx2, ng_elementwise_avx512;

#endif
