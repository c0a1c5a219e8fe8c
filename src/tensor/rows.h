/* rows.h: activations token by token: for forwards in which a thread owns whole tokens.
 *
 *     ng_rows_init(&x, arena, 512, 384, true);
 *     k->layernorm(..);  ng_rows_quantize(k, &x, begin, end);          the 8-bit form of rows begin .. end - 1
 *     ng_rows_linear(tm, k, &w, (ng_rows_in){&x, begin, end}, (ng_out){.y = y, .stride = 1536});
 *
 * An encoder has many tokens and no cache, so threads split tokens and not outputs: what a thread does to
 * its rows in one layer needs no other thread but in attention.  A matrix that is quantised in the file
 * must be in the form of kernel/w8.h (ng_mat_use_w8). */
#ifndef NG_TENSOR_ROWS_H
#define NG_TENSOR_ROWS_H

#include "tensor.h"

typedef struct ng_rows {
    float *x;      /* [n, n_cols] */
    size_t n_cols;
    ng_u8 q;       /* rows of n_cols codes; q.u is NULL when no consumer wants them */
} ng_rows;

/* False when memory is out. */
bool ng_rows_init(ng_rows *r, ng_arena *a, size_t n, size_t n_cols, bool is_u8) NG_MUST_USE;
/* Nothing when the form is not wanted. */
void ng_rows_quantize(const ng_kernels *k, const ng_rows *r, size_t begin, size_t end);
/* x = gelu(x), and its 8-bit form where wanted: then the coarse gelu that 8 bits cannot tell from the exact one. */
void ng_rows_gelu(const ng_kernels *k, const ng_rows *r, size_t begin, size_t end);
typedef struct ng_rows_in {
    const ng_rows *r;
    size_t begin, end;
} ng_rows_in;
/* out = rows begin .. end - 1 of r times m^T, all of m's rows; row 0 of out is row `begin`.  An observer
 * must be given all tokens by one thread. */
void ng_rows_linear(const ng_team *tm, const ng_kernels *k, const ng_mat *m, ng_rows_in in, ng_out out);

#endif
