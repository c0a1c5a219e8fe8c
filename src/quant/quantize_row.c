/* quantize_row.c: the reference formulas of ggml's Q8_0, Q4_0 and Q4_1 blocks.  See quantize_row.h.
 *
 * A file must hold the same bytes as llama.cpp's own quantiser writes, so the arithmetic is fixed:
 * float throughout, the inverse scale is 1/d rounded to float (not x/d), the scale is rounded to
 * half only after the codes are chosen, Q8_0 rounds half away from zero, and the 4-bit codes
 * truncate after adding a half.  tests/golden holds blocks from gguf-py to check it.
 *
 * Layouts: Q8_0 {half d; int8 q[32]}, Q4_0 {half d; nibbles[16]}, Q4_1 {half d, m; nibbles[16]};
 * byte j of the nibbles holds element j below and element j + 16 above. */
#include "quantize_row.h"

#include "kernel/half.h"

#include <assert.h>
#include <math.h>

enum { BLOCK = 32, HALF_MAX = 65504 };

bool ng_can_quantize(uint32_t type) {
    return type == NG_TYPE_F32 || type == NG_TYPE_F16 || type == NG_TYPE_BF16 ||
           type == NG_TYPE_Q4_0 || type == NG_TYPE_Q4_1 || type == NG_TYPE_Q8_0;
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

static uint8_t code_4(float x) { /* x >= 0 */
    return x >= 15.0f ? 15 : (uint8_t)x;
}

static void put_nibbles(uint8_t *dst, const float *x, float low, float id, float half) {
    for (size_t i = 0; i < BLOCK / 2; i++)
        dst[i] = (uint8_t)(code_4((x[i] - low) * id + half) |
                           code_4((x[i + BLOCK / 2] - low) * id + half) << 4);
}

static uint8_t *block_q4_0(const float *x, uint8_t *dst) {
    float most = 0.0f,
          extreme = 0.0f; /* the first of the largest magnitude, with its sign, becomes -8 */
    for (size_t i = 0; i < BLOCK; i++) {
        if (fabsf(x[i]) <= most) continue;
        most = fabsf(x[i]);
        extreme = x[i];
    }
    float d = extreme / -8.0f, id = inverse(d);
    put_half(dst, d);
    put_nibbles(dst + 2, x, 0.0f, id, 8.5f);
    return dst + 18;
}

static uint8_t *block_q4_1(const float *x, uint8_t *dst) {
    float low = x[0], high = x[0];
    for (size_t i = 1; i < BLOCK; i++) {
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    float d = (high - low) / 15.0f, id = inverse(d);
    put_half(dst, d);
    put_half(dst + 2, low);
    put_nibbles(dst + 4, x, low, id, 0.5f);
    return dst + 20;
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
    case NG_TYPE_Q4_1:
        return HALF_MAX;
    default:
        return 3.38e38f;
    }
}

bool ng_quantize_row(uint32_t type, const float *src, void *dst, size_t n) {
    float limit = limit_of(type);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(src[i]) <= limit)) return false; /* also NaN */
    uint8_t *p = dst;
    switch (type) {
    case NG_TYPE_F32:
        memcpy(dst, src, n * sizeof *src);
        return true;
    case NG_TYPE_F16:
        for (size_t i = 0; i < n; i++, p += 2) put_half(p, src[i]);
        return true;
    case NG_TYPE_BF16:
        for (size_t i = 0; i < n; i++, p += 2) {
            uint16_t h = ng_f32_to_bf16(src[i]);
            memcpy(p, &h, sizeof h);
        }
        return true;
    case NG_TYPE_Q8_0:
        for (size_t i = 0; i < n; i += BLOCK) p = block_q8_0(src + i, p);
        return true;
    case NG_TYPE_Q4_0:
        for (size_t i = 0; i < n; i += BLOCK) p = block_q4_0(src + i, p);
        return true;
    case NG_TYPE_Q4_1:
        for (size_t i = 0; i < n; i += BLOCK) p = block_q4_1(src + i, p);
        return true;
    default:
        assert(false);
        return false; /* the caller asked ng_can_quantize */
    }
}
