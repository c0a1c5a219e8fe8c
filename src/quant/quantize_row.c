/* quantize_row.c: rows of blocks, and the reference formulas of ggml's blocks of 32.  See quantize_row.h.
 *
 * Without weights a file must hold the same bytes as llama.cpp's own quantiser writes, so the arithmetic is fixed:
 * float throughout, the inverse scale is 1/d rounded to float (not x/d), the scale is rounded to
 * half only after the codes are chosen, Q8_0 rounds half away from zero, and the 4- and 5-bit codes
 * truncate after adding a half.  tests/golden holds blocks from gguf-py to check it.
 *
 * Layouts: Q8_0 {half d; int8 q[32]}, Q4_0 {half d; nibbles[16]}, Q4_1 {half d, m; nibbles[16]}; Q5_0 and
 * Q5_1 have {fifth bits[4]} before the nibbles, of which byte j holds element j below and j + 16 above. */
#include "quantize_row.h"

#include "kernel/dequant.h"
#include "kernel/half.h"

#include <assert.h>
#include <math.h>

enum { BLOCK = 32, HALF_MAX = 65504 };

bool ng_can_quantize(uint32_t type) {
    return ng_can_dequantize(type);
}

static void put_half(uint8_t *dst, float f) {
    uint16_t h = ng_f32_to_f16(f);
    memcpy(dst, &h, sizeof h);
}

static float largest(const float *x) {
    float most = 0.0f;
    for (size_t i = 0; i < BLOCK; i++) most = fmaxf(most, fabsf(x[i]));
    return most;
}

/* 1/d, and 0 where d is 0 or so small that 1/d is infinite: such a d is 0 as a half anyway. */
static float inverse(float d) {
    float id = d != 0.0f ? 1.0f / d : 0.0f;
    return isfinite(id) ? id : 0.0f;
}

static uint8_t *block_q8_0(const float *x, uint8_t *dst) {
    float d = largest(x) / 127.0f, id = inverse(d);
    put_half(dst, d);
    for (size_t i = 0; i < BLOCK; i++) dst[2 + i] = (uint8_t)(int8_t)roundf(x[i] * id);
    return dst + 34;
}

static uint8_t code_of(float x, uint8_t most) { /* x >= 0 */
    return x >= (float)most ? most : (uint8_t)x;
}

/* The codes (x - low) * id + half of 4 bits, or of 5 with their fifth bits first. */
static uint8_t *put_codes(uint8_t *dst, const float *x, float low, float id, float half, uint8_t most) {
    uint8_t *nibbles = dst;
    if (most > 15) {
        memset(dst, 0, 4);
        nibbles += 4;
    }
    for (size_t i = 0; i < BLOCK / 2; i++) {
        uint8_t a = code_of((x[i] - low) * id + half, most), b = code_of((x[i + BLOCK / 2] - low) * id + half, most);
        nibbles[i] = (uint8_t)((a & 15) | (b & 15) << 4);
        if (most < 16) continue;
        dst[i / 8] |= (uint8_t)((a >> 4) << i % 8);
        dst[2 + i / 8] |= (uint8_t)((b >> 4) << i % 8);
    }
    return nibbles + BLOCK / 2;
}

/* Q4_0 and Q5_0. */
static uint8_t *block_even(const float *x, uint8_t *dst, uint8_t codes) {
    float most = 0.0f,
          extreme = 0.0f; /* the first of the largest magnitude, with its sign, becomes the least code */
    for (size_t i = 0; i < BLOCK; i++) {
        if (fabsf(x[i]) <= most) continue;
        most = fabsf(x[i]);
        extreme = x[i];
    }
    float d = extreme / (float)-(codes / 2), id = inverse(d);
    put_half(dst, d);
    return put_codes(dst + 2, x, 0.0f, id, (float)(codes / 2) + 0.5f, (uint8_t)(codes - 1));
}

/* Q4_1 and Q5_1. */
static uint8_t *block_range(const float *x, uint8_t *dst, uint8_t codes) {
    float low = x[0], high = x[0];
    for (size_t i = 1; i < BLOCK; i++) {
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    float d = (high - low) / (float)(codes - 1), id = inverse(d);
    put_half(dst, d);
    put_half(dst + 2, low);
    return put_codes(dst + 4, x, low, id, 0.5f, (uint8_t)(codes - 1));
}

/* What the half-precision words of a type can hold: of Q8_0 the scale is 127 times smaller, and so
 * on. */
static float limit_of(uint32_t type) {
    switch (type) {
    case NG_TYPE_F16:
        return 65519.0f; /* rounds to 65504; 65520 would become infinity */
    case NG_TYPE_Q8_0:
        return HALF_MAX * 127.0f;
    case NG_TYPE_Q4_0:
        return HALF_MAX * 8.0f;
    case NG_TYPE_Q5_0:
        return HALF_MAX * 16.0f;
    case NG_TYPE_Q4_1:
    case NG_TYPE_Q5_1:
    case NG_TYPE_Q4_K:
    case NG_TYPE_Q5_K:
    case NG_TYPE_Q6_K:
        return HALF_MAX;
    case NG_TYPE_NG4:
    case NG_TYPE_NG3:
    case NG_TYPE_NG3_S:
        return 118.125f; /* the largest scale, 1.875, by the longest level, 63 */
    default:
        return 3.38e38f;
    }
}

static void quantize_reference(uint32_t type, const float *x, uint8_t *dst, size_t n) {
    for (size_t i = 0; i < n; i += BLOCK, x += BLOCK)
        switch (type) {
        case NG_TYPE_Q8_0: dst = block_q8_0(x, dst); break;
        case NG_TYPE_Q4_0: dst = block_even(x, dst, 16); break;
        case NG_TYPE_Q5_0: dst = block_even(x, dst, 32); break;
        case NG_TYPE_Q4_1: dst = block_range(x, dst, 16); break;
        default: dst = block_range(x, dst, 32); break;
        }
}

static void quantize_searched(uint32_t type, const float *x, const float *weight, uint8_t *dst, size_t n) {
    ng_type_info t = ng_type_get_info(type);
    float same[256];
    for (size_t i = 0; i < 256; i++) same[i] = 1.0f;
    for (size_t i = 0; i < n; i += t.block_len, dst += t.block_bytes)
        ng_quantize_search(type, x + i, weight ? weight + i : same, dst);
}

bool ng_can_hold(uint32_t type, const float *src, size_t n) {
    float limit = limit_of(type);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(src[i]) <= limit)) return false; /* also NaN */
    return true;
}

bool ng_quantize_row(uint32_t type, const float *src, const float *weight, void *dst, size_t n) {
    if (!ng_can_hold(type, src, n)) return false;
    uint8_t *p = dst;
    switch (type) {
    case NG_TYPE_F32: memcpy(dst, src, n * sizeof *src); return true;
    case NG_TYPE_F16:
        for (size_t i = 0; i < n; i++, p += 2) put_half(p, src[i]);
        return true;
    case NG_TYPE_BF16:
        for (size_t i = 0; i < n; i++, p += 2) {
            uint16_t h = ng_f32_to_bf16(src[i]);
            memcpy(p, &h, sizeof h);
        }
        return true;
    case NG_TYPE_Q4_0:
    case NG_TYPE_Q4_1:
    case NG_TYPE_Q5_0:
    case NG_TYPE_Q5_1:
    case NG_TYPE_Q8_0:
        if (!weight || type == NG_TYPE_Q8_0) {
            quantize_reference(type, src, dst, n);
            return true;
        }
        break;
    default: assert(ng_can_quantize(type)); /* the caller asked */
    }
    quantize_searched(type, src, weight, dst, n);
    return true;
}
