/* gemm.h: the matrix product that training is made of.
 *
 *     ng_gemm_ops ops;
 *     ng_gemm_ops_get(&ops, NG_PRECISION_AUTO, &err);      the fastest of this machine, as NG_CPU allows
 *     ng_product p = {.m = n_tok, .n = 1536, .k = 384,
 *                     .a = {x, 384, 1}, .b = {w, 1, 384},  y = x w^T: B's element (k, j) is w[j, k]
 *                     .c = y, .c_stride = 1536, .bias = b};
 *     ng_product_run(&p, &ops, pool, work);                work: ng_product_bytes(&p, &ops) bytes
 *
 * C[m, n] (+)= A[m, k] B[k, n] + bias[n], all float in memory.  A and B are read through two strides, so
 * forward (x w^T), the gradient of the input (dy w) and of the weights (dy^T x) are one function.
 *
 * Precision.  F32: products and sums in float.  BF16: both factors are rounded to bfloat16 (nearest
 * even), products and sums stay in float (TDPBF16PS on AMX, else VDPBF16PS): the usual mixed precision,
 * weights and gradients themselves are never rounded.
 *
 * Bits.  How an output is summed depends on k and the level alone: the same bits for any number of threads
 * and any m or n; not the same between levels (fused multiply-add, the order of TDPBF16PS) nor between
 * precisions.  docs/decisions/009-training-gemm.md has the choice of own kernels, measured. */
#ifndef NG_TRAIN_GEMM_H
#define NG_TRAIN_GEMM_H

#include "core/cpu.h"
#include "core/pool.h"

typedef enum ng_precision { NG_PRECISION_AUTO, NG_PRECISION_F32, NG_PRECISION_BF16 } ng_precision;

/* Element (i, j) is data[i * row + j * col]; one of the strides is 1. */
typedef struct ng_operand {
    const float *data;
    size_t row, col;
} ng_operand;

typedef struct ng_product {
    size_t m, n, k;
    ng_operand a, b; /* [m, k], [k, n] */
    float *c;        /* [m, c_stride] */
    size_t c_stride;
    const float *bias; /* [n] or NULL */
    bool add;          /* go on from what C holds */
} ng_product;

/* One tile: rows by `n` columns of C over k columns of A. */
typedef struct ng_tile {
    const char *a;      /* element (i, k) or pair (i, k / 2) at a + i * a_row + k * a_col */
    size_t a_row, a_col; /* bytes; a_col a step of k (F32) or of two (BF16) */
    const void *b;      /* one panel */
    size_t rows;        /* offered; a level takes as many as it likes */
    size_t k;           /* steps */
    float *c;
    size_t c_stride, n; /* floats; n columns are written, at most n_panel */
    const float *bias;  /* [n] or NULL; not with add */
    bool add;
} ng_tile;

/* What one level provides.  A step is one column of A (F32) or two (BF16), an element a float or a pair of
 * bf16; steps are k's, rounded up to a multiple of n_steps with zeros.  Panels of B: n_panel columns, zero
 * beyond n. */
typedef struct ng_gemm_ops {
    const char *name; /* "avx512", "avx512 bf16" */
    ng_precision precision;
    size_t n_rows, n_panel, n_steps; /* of its largest tile; threads begin at multiples of n_rows */
    /* The first rows of a tile; returns how many: all, or all but less than n_rows. */
    size_t (*tile)(const ng_tile *t);
    /* A's rows [begin, end) in row form: out[m, steps].  NULL: floats are read where they lie. */
    void (*pack_rows)(void *out, const ng_product *p, size_t steps, size_t begin, size_t end);
    /* The same for a.row == 1, in groups of n_rows (begin is a multiple): out[m / n_rows][steps][n_rows]; of n_steps
     * steps the level orders the elements as its tile reads them. */
    void (*pack_groups)(void *out, const ng_product *p, size_t steps, size_t begin, size_t end);
    bool groups_only; /* pack_groups takes either form of A */
    /* B's panels [begin, end): out[n / n_panel][steps][n_panel]. */
    void (*pack_panels)(void *out, const ng_product *p, size_t steps, size_t begin, size_t end);
    void (*begin)(void), (*end)(void); /* around a thread's tiles; or NULL */
} ng_gemm_ops;

enum { NG_GEMM_PANEL_MAX = 32 };

/* AUTO: BF16 where the processor multiplies it (AMX, AVX512_BF16), else F32.  NG_EUNSUPPORTED for BF16 on
 * a machine without it. */
ng_status ng_gemm_ops_get(ng_gemm_ops *out, ng_precision precision, ng_error *err) NG_MUST_USE;
/* All that could run here, whatever NG_CPU says, the plain one first; returns how many. */
enum { NG_GEMM_LEVELS_MAX = 5 };
size_t ng_gemm_ops_all(const ng_gemm_ops *out[NG_GEMM_LEVELS_MAX]);
const char *ng_precision_name(ng_precision p); /* "f32", "bf16" */

/* Scratch that ng_product_run needs, shared by all threads; 64-byte aligned. */
size_t ng_product_bytes(const ng_product *p, const ng_gemm_ops *ops);
void ng_product_run(const ng_product *p, const ng_gemm_ops *ops, ng_pool *pool, void *work);
/* The same by the calling thread alone, inside a job (attention's small products). */
void ng_product_run_alone(const ng_product *p, const ng_gemm_ops *ops, void *work);

/* The levels' own; the first three are F32. */
extern const ng_gemm_ops ng_gemm_plain, ng_gemm_avx2, ng_gemm_avx512, ng_gemm_bf16, ng_gemm_amx;
/* AMX's loops on tiles in plain C: for tests, where ng_gemm_bf16 runs. */
extern const ng_gemm_ops ng_gemm_amx_emulated;

#endif
