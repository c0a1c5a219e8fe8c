/* carry.h: quantising a row so that what it adds up to stays right, not each weight of it.
 *
 *     ng_carry *f;
 *     if (ng_carry_new(&f, gram, 576, pool, &err)) ..
 *     ng_quantize_carried(NG_TYPE_NG4, f, row, scratch, blocks);        any thread, scratch[576] its own
 *     ng_carry_free(f);
 *
 * Immutable once made. */
#ifndef NG_QUANT_CARRY_H
#define NG_QUANT_CARRY_H

#include "core/pool.h"
#include "gguf/gguf.h"

typedef struct ng_carry ng_carry;

/* gram: the lower triangle, row by row, of the summed products of columns: n (n + 1) / 2 floats, finite.
 * damping: this part of their mean diagonal is added, so that none is singular.  NG_EFORMAT:
 * no columns have such products. */
ng_status ng_carry_new(ng_carry **out, const float *gram, size_t n, double damping, ng_pool *pool,
                       ng_error *err) NG_MUST_USE;
void ng_carry_free(ng_carry *f); /* NULL is fine */
bool ng_can_carry(uint32_t type);       /* NG4, NG3, NG3_S */
/* A row of the n columns that f was made for, all in the type's range.  errors[n] is scratch. */
void ng_quantize_carried(uint32_t type, const ng_carry *f, const float *row, float *errors, void *dst);

/* ---- one group of values of one scale (quantize_search.c) ------------------------------------------ */

/* The scale byte for n values with weights w of an NG type, as ng_quantize_search chooses it. */
uint8_t ng_search_scale8(uint32_t type, const float *x, const float *w, size_t n);
/* One block of NG4 (two scales), NG3 or NG3_S (one) from its scales and 64 codes, whose lowest bits may stand. */
void ng_put_block64(uint32_t type, const uint8_t scales[2], const uint8_t codes[64], uint8_t *dst);

#endif
