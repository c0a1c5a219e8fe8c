/* quantize_row.h: floats to stored rows.
 *
 *     if (ng_can_quantize(NG_TYPE_Q8_0)) ..
 *     if (!ng_quantize_row(NG_TYPE_Q8_0, row, blocks, 576)) ..      a NaN, an infinity, too large
 *
 * The inverse is ng_dequantize_row (kernel/dequant.h). */
#ifndef NG_QUANT_QUANTIZE_ROW_H
#define NG_QUANT_QUANTIZE_ROW_H

#include "gguf/gguf.h"

/* F32, F16, BF16, Q4_0, Q4_1, Q8_0. */
bool ng_can_quantize(uint32_t type);
/* One row of n floats, n a multiple of the type's block, into ng_type_row_bytes(type, n) bytes at
 * dst, which needs no alignment.  False, with dst undefined, when a value is not finite or, for
 * types with 16-bit floats, beyond their range. */
bool ng_quantize_row(uint32_t type, const float *src, void *dst, size_t n) NG_MUST_USE;

#endif
