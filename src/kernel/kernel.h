/* kernel.h: the table of kernels, filled for a CPU level.
 *
 *     const ng_kernels *k;
 *     if (ng_kernels_get(&k, &err)) ..               best level that the CPU has and NG_CPU allows
 *     k->rmsnorm(y, x, w, 576, 1e-5f);
 *     ng_gemm g = {.w = panels, ..}; k->gemm_q4_0(&g);
 *
 * CANONICAL ORDER.  Every level gives the same bits, because each float operation is fixed here and
 * none is fused or reordered:
 *   - quantised products: one accumulator an output, starting at +0, that takes the blocks in column
 *     order.  With isum the exact integer sum of (code - offset) * q over a block, dw and mw the
 *     block's weight scale and minimum, dx and sx = dx * (float)sum(q) the activation's:
 *       Q4_0 Q5_0 Q8_0   acc = acc + (dw * dx) * (float)isum
 *       Q4_1 Q5_1        acc = acc + ((dw * dx) * (float)isum + mw * sx)
 *       Q4_K Q5_K        acc = acc + ((dw * dx) * (float)isum - mw * sx)   dw = d * sc, mw = dmin * mn
 *       NG4 NG3 NG3_S    as Q4_0, with the level of a code for the code
 *       Q6_K             as Q4_0, but in blocks of 16 columns with the dx of their 32
 *   - float products and sums: value i goes to lane i % 16, lanes start at +0 and take their values in
 *     rising order (multiply, then add), and ng_k_fold() adds the lanes in a fixed tree;
 *   - mix: one accumulator an output, rows of v rising.
 * Products with weights then add bias and residual: y = acc;  y = acc + bias;  with `add`: y = y_old + (acc + bias).
 * A kernel never splits a sum over threads; callers split outputs. */
#ifndef NG_KERNEL_KERNEL_H
#define NG_KERNEL_KERNEL_H

#include "core/cpu.h"
#include "w8.h"
#include <stddef.h>

/* Activations in blocks of 32: x[i] ~ d[i / 32] * q[i], q in -127..127, d = max|x| / 127, rounded to
 * even.  A block that holds a NaN or an infinity gets q = 0 and a NaN in d and s, so it is not hidden;
 * one whose largest value is below NG_Q8_TINY is zero (1 / d would overflow). */
#define NG_Q8_TINY 1e-30f
typedef struct ng_q8 {
    int8_t *q;    /* [cols] */
    float *d;     /* [cols/32] */
    float *s;     /* [cols/32]: d * sum of the block's q */
    int32_t *sum; /* [cols/16]: sum of q */
} ng_q8;

/* y[t, r] for r in [row_begin, row_end) and all t.  Quantised weights: row_begin is a multiple of 16.
 * Strides of x are those of full rows of n_cols: q[n_cols], d[n_cols/32] .. a token. */
typedef struct ng_gemm {
    const void *w;       /* row 0, or panel 0 (64-byte aligned) */
    size_t w_stride;     /* bytes between rows, or between panels */
    size_t row_begin, row_end;
    size_t n_cols;
    const float *x;      /* float weights: [n_tok, x_stride] */
    size_t x_stride;
    ng_q8 q;             /* quantised weights: [n_tok, n_cols] */
    size_t n_tok;
    float *y;            /* [n_tok, y_stride] */
    size_t y_stride;
    const float *bias;   /* [rows] or NULL */
    bool add;            /* add to what y holds */
    const uint8_t *next; /* quantised weights: what this thread reads next, or NULL: its first panel, .. */
    size_t next_panels, next_stride; /* .. its panels and the bytes of one; prefetched towards the end */
} ng_gemm;

typedef struct ng_mix {
    const float *p;   /* [n_q, p_stride] */
    size_t p_stride;
    const void *v;    /* [n_pos, v_stride] */
    size_t v_stride;  /* elements */
    size_t n_pos, n_cols, n_q;
    float *y;         /* [n_q, y_stride] */
    size_t y_stride;
    bool add;         /* go on from what y holds, else from +0 */
} ng_mix;

typedef struct ng_affine {
    const float *w, *b;
} ng_affine;

typedef struct ng_kernels {
    ng_cpu_level level; /* of the highest overlay */
#define KERNEL(ret, name, params, shape) ret(*name) params;
#include "kernels.def"
#undef KERNEL
} ng_kernels;

/* The table of one level; NULL when this machine
 * or this build lacks it.  Static: never freed. */
const ng_kernels *ng_kernels_at(ng_cpu_level level);
/* The table of ng_cpu_get(). */
ng_status ng_kernels_get(const ng_kernels **out, ng_error *err) NG_MUST_USE;

/* The product for weights of a tensor type: NULL where there is none. */
typedef void ng_gemm_fn(const ng_gemm *g);
ng_gemm_fn *ng_kernels_gemm(const ng_kernels *k, uint32_t type);

/* The fillers; each overlay sets only what it does better. */
void ng_kernels_fill_ref(ng_kernels *k);
void ng_kernels_fill_avx2(ng_kernels *k);
void ng_kernels_fill_avx512(ng_kernels *k);
void ng_kernels_fill_amx(ng_kernels *k);          /* holds AVX-512's too */
void ng_kernels_fill_amx_emulated(ng_kernels *k); /* the same loops on tiles in C, for tests; needs AVX-512 */
void ng_kernels_fill_neon(ng_kernels *k);
void ng_kernels_fill_dotprod(ng_kernels *k);
void ng_kernels_fill_i8mm(ng_kernels *k);

#endif
