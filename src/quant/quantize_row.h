/* quantize_row.h: floats to stored rows.
 *
 *     if (ng_can_quantize(NG_TYPE_Q4_K)) ..
 *     if (!ng_quantize_row(NG_TYPE_Q4_K, row, NULL, blocks, 576)) ..      a NaN, an infinity, too large
 *
 * The inverse is ng_dequantize_row (kernel/dequant.h). */
#ifndef NG_QUANT_QUANTIZE_ROW_H
#define NG_QUANT_QUANTIZE_ROW_H

#include "gguf/gguf.h"

/* F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, NG4, NG3, NG3_S. */
bool ng_can_quantize(uint32_t type);
/* One row of n floats, n a multiple of the type's block, into ng_type_row_bytes(type, n) bytes at
 * dst, which needs no alignment.  weight[n]: how much the square of each column's error counts (finite,
 * at least 0), or NULL: all the same; then Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 are the bytes of ggml's
 * reference quantisers.  False, with dst undefined, when a value is not finite or beyond the type's
 * range. */
bool ng_quantize_row(uint32_t type, const float *src, const float *weight, void *dst, size_t n) NG_MUST_USE;
/* No NaN, no infinity, nothing too large. */
bool ng_can_hold(uint32_t type, const float *src, size_t n) NG_MUST_USE;

/* ---- one block by search (quantize_search.c) ------------------------------------------------------ */

/* The block of block_len values x, all in range, with weights w, into its block_bytes at dst.  Types:
 * Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, NG4, NG3, NG3_S. */
void ng_quantize_search(uint32_t type, const float *x, const float *w, uint8_t *dst);

#endif
