/* dequant.h: what the bytes of a stored row mean.
 *
 *     float row[576];
 *     if (ng_can_dequantize(t->type)) ng_dequantize_row(t->type, t->data, row, 576);
 *
 * The definition of every weight type that this project reads (formats: ggml's block structures).
 * Kernels work on repacked panels (panel.h); this is their oracle, the embedding lookup and the
 * source of `quantize`. */
#ifndef NG_KERNEL_DEQUANT_H
#define NG_KERNEL_DEQUANT_H

#include "gguf/gguf.h"

/* F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, NG4, NG3, NG3_S. */
bool ng_can_dequantize(uint32_t type);
/* dst[n] from one row of n elements; n is a multiple of the type's block, the type one that
 * ng_can_dequantize.  src needs no alignment. */
void ng_dequantize_row(uint32_t type, const void *src, float *dst, size_t n);

/* One stored block taken apart: value i is d[i / group] * (codes[i] - offset) - m[i / group], where
 * group is 32 elements (Q6_K: 16).  For K types d is super-scale times sub-scale, exact in float.  NG4, NG3
 * and NG3_S have levels[codes[i]] in place of codes[i]. */
typedef struct ng_block {
    uint8_t codes[256]; /* unsigned, below 2^bits */
    float d[16], m[16];
} ng_block;

/* Which bytes the lowest bits of eight codes may make; fewer than 256, so fewer bits are stored. */
typedef enum ng_low_bits {
    NG_LOW_ANY,
    NG_LOW_EVEN,   /* 128, of even parity: the codes are points of the lattice D8 */
    NG_LOW_HAMMING /* 16, the extended Hamming code: of the lattice E8 */
} ng_low_bits;

/* How a quantised type is built; bits is 0 for a type that is not quantised or not known. */
typedef struct ng_quant_info {
    uint8_t bits;         /* of a code: 3, 4, 5, 6, 8 */
    uint8_t offset;       /* code (or level) of the value 0; 0 for types with a minimum */
    uint8_t group;        /* elements a scale: 32 or 16 */
    bool has_min;
    uint8_t low;          /* ng_low_bits */
    uint16_t block_len;   /* 32, 64: our own types, or 256: a super-block with integer sub-scales */
    uint16_t block_bytes;
    const uint8_t *levels; /* [16] code to level, below 128; NULL: the code itself */
} ng_quant_info;
ng_quant_info ng_quant_get_info(uint32_t type);
/* The values of a block that has been taken apart: q.block_len floats. */
void ng_block_values(const ng_quant_info *q, const ng_block *b, float *dst);
/* Only the codes of one block (32 or 256 elements), only of quantised types. */
void ng_block_codes(uint32_t type, const uint8_t *block, uint8_t *codes);
/* What a lowest bit of 1 in column i % 8 adds (by exclusive or) to the syndrome of its eight, which is 0 where the
 * byte may stand.  Below 16. */
static inline uint8_t ng_low_syndrome(uint8_t low, size_t i) {
    return low == NG_LOW_HAMMING ? (uint8_t)(8 | i % 8) : low == NG_LOW_EVEN;
}
/* The byte of the extended Hamming code whose bits 0, 1, 2 and 4 are those of a nibble. */
extern const uint8_t ng_hamming_words[16];
/* The uneven steps of our own types (docs/formats.md), 64 added. */
extern const uint8_t ng_levels_ng4[16], ng_levels_ng3[16];
/* Their scales: sign, four bits of exponent, three of mantissa; the sixteen bits of a half in short. */
static inline uint16_t ng_scale8_to_f16(uint8_t s) { return (uint16_t)((s & 0x80) << 8 | (s & 0x7F) << 7); }
/* Sub-scales and minima of Q4_K and Q5_K: eight 6-bit pairs from 12 bytes. */
void ng_block_k_scales(const uint8_t s[12], uint8_t sc[8], uint8_t mn[8]);

#endif
