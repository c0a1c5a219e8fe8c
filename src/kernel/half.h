/* half.h: 16-bit floats, converted in plain integer arithmetic (IEEE 754 binary16 and bfloat16).
 *
 *     float x = ng_f16_to_f32(h);
 *     uint16_t h = ng_f32_to_f16(x);                 rounds to nearest even, as F16C does
 *
 * The hardware instructions give the same bits; NaN stays NaN (quieted), overflow becomes infinity. */
#ifndef NG_KERNEL_HALF_H
#define NG_KERNEL_HALF_H

#include <stdint.h>
#include <string.h>

static inline float ng_bits_to_f32(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t ng_f32_to_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float ng_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3FF;
    if (e == 31) return ng_bits_to_f32(sign | 0x7F800000u | (m ? 0x400000u | m << 13 : 0));
    if (e == 0) { /* zero or subnormal: m * 2^-24, exact in float */
        float f = (float)m * 0x1p-24f;
        return ng_bits_to_f32(sign | ng_f32_to_bits(f));
    }
    return ng_bits_to_f32(sign | (e + 112) << 23 | m << 13);
}

static inline uint16_t ng_f32_to_f16(float f) {
    uint32_t u = ng_f32_to_bits(f), sign = u >> 16 & 0x8000, a = u & 0x7FFFFFFF;
    if (a > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (a >> 13 & 0x1FF));
    if (a >= 0x47800000) return (uint16_t)(sign | 0x7C00); /* 65536 and more */
    if (a < 0x38800000) { /* below 2^-14: adding 2^-1 * 2^.. lets the FPU round at bit 2^-24 */
        float r = ng_bits_to_f32(a) + 0.5f;
        return (uint16_t)(sign | (ng_f32_to_bits(r) - 0x3F000000u));
    }
    uint32_t r = a + 0xFFF + (a >> 13 & 1);
    return (uint16_t)(sign | ((r - 0x38000000u) >> 13));
}

static inline float ng_bf16_to_f32(uint16_t h) { return ng_bits_to_f32((uint32_t)h << 16); }

static inline uint16_t ng_f32_to_bf16(float f) {
    uint32_t u = ng_f32_to_bits(f);
    if ((u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

#endif
