/* dequant.c: takes stored blocks apart.  See dequant.h.
 *
 * Layouts (ggml-common.h names them block_q4_0 ..; little-endian, packed):
 *   Q4_0  d:f16 qs[16]                  Q4_1  d:f16 m:f16 qs[16]
 *   Q5_0  d:f16 qh[4] qs[16]            Q5_1  d:f16 m:f16 qh[4] qs[16]         Q8_0  d:f16 q:i8[32]
 *   Q4_K  d:f16 dmin:f16 scales[12] qs[128]       Q5_K  .. scales[12] qh[32] qs[128]
 *   Q6_K  ql[128] qh[64] scales:i8[16] d:f16
 *   NG4   scale:u8[2] qs[32]            NG3    scale:u8 low[7] high[16]        (ours: docs/formats.md)
 *   NG3_S scale:u8 low[4] high[16]
 * In the 32-blocks a byte of qs holds elements j (low nibble) and j + 16.  In the super-blocks 32
 * bytes of qs hold 64 elements, l (low) and l + 32. */
#include "dequant.h"

#include "half.h"
#include <assert.h>

enum { QK = 32, QK_SUPER = 256 };

/* Lloyd-Max steps for blocks scaled by their best scale, of either sign (so one side may be shorter). */
const uint8_t ng_levels_ng4[16] = {1, 17, 26, 34, 41, 47, 54, 60, 66, 72, 79, 86, 93, 101, 110, 121};
const uint8_t ng_levels_ng3[16] = {11, 30, 44, 57, 68, 81, 98, 127};
/* Even parity, and an exclusive or of the positions of ones that is 0 (a code that is its own dual). */
const uint8_t ng_hamming_words[16] = {0x00, 0x69, 0xAA, 0xC3, 0xCC, 0xA5, 0x66, 0x0F,
                                      0xF0, 0x99, 0x5A, 0x33, 0x3C, 0x55, 0x96, 0xFF};

static const struct {
    uint32_t type;
    ng_quant_info info;
} quant_types[] = {
    {NG_TYPE_Q4_0, {.bits = 4, .offset = 8, .group = 32, .block_len = 32, .block_bytes = 18}},
    {NG_TYPE_Q4_1, {.bits = 4, .has_min = true, .group = 32, .block_len = 32, .block_bytes = 20}},
    {NG_TYPE_Q5_0, {.bits = 5, .offset = 16, .group = 32, .block_len = 32, .block_bytes = 22}},
    {NG_TYPE_Q5_1, {.bits = 5, .has_min = true, .group = 32, .block_len = 32, .block_bytes = 24}},
    {NG_TYPE_Q8_0, {.bits = 8, .offset = 128, .group = 32, .block_len = 32, .block_bytes = 34}},
    {NG_TYPE_Q4_K, {.bits = 4, .has_min = true, .group = 32, .block_len = 256, .block_bytes = 144}},
    {NG_TYPE_Q5_K, {.bits = 5, .has_min = true, .group = 32, .block_len = 256, .block_bytes = 176}},
    {NG_TYPE_NG4, {.bits = 4, .offset = 64, .group = 32, .block_len = 64, .block_bytes = 34, .levels = ng_levels_ng4}},
    {NG_TYPE_NG3, {.bits = 3, .offset = 64, .group = 32, .block_len = 64, .block_bytes = 24, .levels = ng_levels_ng3,
                   .low = NG_LOW_EVEN}},
    {NG_TYPE_NG3_S, {.bits = 3, .offset = 64, .group = 32, .block_len = 64, .block_bytes = 21, .levels = ng_levels_ng3,
                     .low = NG_LOW_HAMMING}},
    {NG_TYPE_Q6_K, {.bits = 6, .offset = 32, .group = 16, .block_len = 256, .block_bytes = 210}},
};

ng_quant_info ng_quant_get_info(uint32_t type) {
    for (size_t i = 0; i < sizeof quant_types / sizeof quant_types[0]; i++)
        if (quant_types[i].type == type) return quant_types[i].info;
    return (ng_quant_info){0};
}

bool ng_can_dequantize(uint32_t type) {
    return type == NG_TYPE_F32 || type == NG_TYPE_F16 || type == NG_TYPE_BF16 || ng_quant_get_info(type).bits;
}

static uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static float half_at(const uint8_t *p) { return ng_f16_to_f32(load16(p)); }

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "byte i of a word is code i");

static uint64_t load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void store64(uint8_t *p, uint64_t v) { memcpy(p, &v, sizeof v); }

/* Eight codes to a word: loading a model is mostly this. */
static void nibbles(const uint8_t *qs, uint8_t *codes) {
    for (int j = 0; j < 16; j += 8) {
        uint64_t v = load64(qs + j);
        store64(codes + j, v & 0x0F0F0F0F0F0F0F0F);
        store64(codes + j + 16, v >> 4 & 0x0F0F0F0F0F0F0F0F);
    }
}

static void fifth_bits(const uint8_t *qh, uint8_t *codes) {
    for (int j = 0; j < QK / 8; j++) {
        /* Byte i keeps bit i; adding 2^7 - 2^i moves it to the top of its byte. */
        uint64_t v = qh[j] * 0x0101010101010101u & 0x8040201008040201u;
        v = (v + 0x00406070787C7E7Fu) >> 7 & 0x0101010101010101u;
        store64(codes + 8 * j, load64(codes + 8 * j) | v << 4);
    }
}

static void codes_k(const uint8_t *qs, const uint8_t *qh, uint8_t *codes) {
    for (int c = 0; c < 8; c++) /* sub-block c: nibble c % 2 of the 32 bytes c / 2, bit c of qh */
        for (int l = 0; l < QK; l += 8) {
            uint64_t v = load64(qs + c / 2 * 32 + l) >> (c % 2 * 4) & 0x0F0F0F0F0F0F0F0F;
            if (qh) v |= (load64(qh + l) >> c & 0x0101010101010101) << 4;
            store64(codes + c * QK + l, v);
        }
}

static void codes_q6_k(const uint8_t *ql, const uint8_t *qh, uint8_t *codes) {
    for (int i = 0; i < QK_SUPER; i += 8) { /* halves of 128; quarters of 32 within each */
        int half = i / 128, quarter = i / 32 % 4, l = i % 32;
        uint64_t low = load64(ql + half * 64 + quarter % 2 * 32 + l) >> (quarter / 2 * 4) & 0x0F0F0F0F0F0F0F0F;
        uint64_t high = load64(qh + half * 32 + l) >> (quarter * 2) & 0x0303030303030303;
        store64(codes + i, low | high << 4);
    }
}

/* The lowest bits of eight values are seven and their parity, which is even, or a nibble's code word. */
static void codes_ng3(uint32_t type, const uint8_t *low, uint8_t *codes) {
    bool hamming = type == NG_TYPE_NG3_S;
    const uint8_t *high = low + (hamming ? 4 : 7);
    uint64_t bits = 0;
    memcpy(&bits, low, hamming ? 4 : 7);
    for (size_t i = 0; i < 64; i++) codes[i] = (uint8_t)((high[i % 16] >> (i / 16 * 2) & 3) << 1);
    for (size_t k = 0; k < 8; k++) {
        unsigned seven = bits >> (7 * k) & 127, eight = seven | (unsigned)__builtin_parity(seven) << 7;
        if (hamming) eight = ng_hamming_words[bits >> (4 * k) & 15];
        for (size_t i = 0; i < 8; i++) codes[8 * k + i] = (uint8_t)(codes[8 * k + i] | (eight >> i & 1));
    }
}

void ng_block_codes(uint32_t type, const uint8_t *b, uint8_t *codes) {
    switch (type) {
    case NG_TYPE_Q4_0: nibbles(b + 2, codes); break;
    case NG_TYPE_Q4_1: nibbles(b + 4, codes); break;
    case NG_TYPE_Q5_0: nibbles(b + 6, codes), fifth_bits(b + 2, codes); break;
    case NG_TYPE_Q5_1: nibbles(b + 8, codes), fifth_bits(b + 4, codes); break;
    case NG_TYPE_Q8_0:
        for (int j = 0; j < QK; j += 8) store64(codes + j, load64(b + 2 + j) ^ 0x8080808080808080);
        break;
    case NG_TYPE_Q4_K: codes_k(b + 16, NULL, codes); break;
    case NG_TYPE_Q5_K: codes_k(b + 48, b + 16, codes); break;
    case NG_TYPE_NG4: nibbles(b + 2, codes), nibbles(b + 18, codes + 32); break;
    case NG_TYPE_NG3:
    case NG_TYPE_NG3_S: codes_ng3(type, b + 1, codes); break;
    case NG_TYPE_Q6_K: codes_q6_k(b, b + 128, codes); break;
    default: assert(!"not a quantised type");
    }
}

void ng_block_k_scales(const uint8_t s[12], uint8_t sc[8], uint8_t mn[8]) {
    for (int j = 0; j < 4; j++) {
        sc[j] = s[j] & 63;
        mn[j] = s[j + 4] & 63;
        sc[j + 4] = (uint8_t)((s[j + 8] & 15) | (s[j] >> 6) << 4);
        mn[j + 4] = (uint8_t)((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
    }
}

/* d[i] and m[i] of each group of one block. */
static void block_scales(uint32_t type, const uint8_t *b, float *d, float *m) {
    ng_quant_info q = ng_quant_get_info(type);
    if (q.levels) {
        d[0] = ng_f16_to_f32(ng_scale8_to_f16(b[0]));
        d[1] = type == NG_TYPE_NG4 ? ng_f16_to_f32(ng_scale8_to_f16(b[1])) : d[0];
    } else if (q.block_len != QK_SUPER) {
        d[0] = half_at(b);
        m[0] = q.has_min ? -half_at(b + 2) : 0;
    } else if (type == NG_TYPE_Q6_K) {
        for (int i = 0; i < 16; i++) d[i] = half_at(b + 208) * (float)(int8_t)b[192 + i], m[i] = 0;
    } else {
        uint8_t sc[8], mn[8];
        ng_block_k_scales(b + 4, sc, mn);
        for (int i = 0; i < 8; i++) {
            d[i] = half_at(b) * (float)sc[i];
            m[i] = half_at(b + 2) * (float)mn[i];
        }
    }
}

void ng_block_values(const ng_quant_info *q, const ng_block *b, float *dst) {
    for (size_t j = 0; j < q->block_len; j++) {
        int code = q->levels ? q->levels[b->codes[j]] : b->codes[j];
        float v = b->d[j / q->group] * (float)(code - q->offset);
        dst[j] = q->has_min ? v - b->m[j / q->group] : v;
    }
}

static void dequantize_blocks(uint32_t type, const uint8_t *src, float *dst, size_t n) {
    ng_quant_info q = ng_quant_get_info(type);
    ng_block b;
    for (size_t i = 0; i < n; i += q.block_len, src += q.block_bytes) {
        ng_block_codes(type, src, b.codes);
        block_scales(type, src, b.d, b.m);
        ng_block_values(&q, &b, dst + i);
    }
}

void ng_dequantize_row(uint32_t type, const void *src, float *dst, size_t n) {
    const uint8_t *p = src;
    switch (type) {
    case NG_TYPE_F32: memcpy(dst, src, n * sizeof *dst); break;
    case NG_TYPE_F16:
        for (size_t i = 0; i < n; i++) dst[i] = half_at(p + 2 * i);
        break;
    case NG_TYPE_BF16:
        for (size_t i = 0; i < n; i++) dst[i] = ng_bf16_to_f32(load16(p + 2 * i));
        break;
    default: dequantize_blocks(type, src, dst, n);
    }
}
