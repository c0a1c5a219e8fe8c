/* kmath.h: the one definition of exp, erf and the 16-lane sum that every kernel reproduces.
 *
 *     float p = ng_k_exp(score - max);
 *     float lanes[16] = {0}; .. lanes[i % 16] += a[i] * b[i]; .. float dot = ng_k_fold(lanes);
 *
 * Written as the exact list of float operations (multiply, then add; never fused) that the SIMD
 * versions in lanes_*.h perform lane by lane, so that all levels give the same bits.  libm has no
 * place here: its last bit differs between machines.  Error of ng_k_exp: below 2 ulp; of ng_k_erf:
 * below 6e-7 absolute. */
#ifndef NG_KERNEL_KMATH_H
#define NG_KERNEL_KMATH_H

#include "half.h"

/* exp(x) = 2^k * p(x - k ln 2), |x - k ln 2| <= ln(2)/2: Cody and Waite's two-part reduction and the
 * degree-7 minimax polynomial that Cephes publishes (Moshier).  Below NG_EXP_MIN, where 2^k nears
 * the subnormals, the result is 0. */
#define NG_EXP_MIN (-86.9f)
#define NG_EXP_MAX 88.72283f
#define NG_EXP_LOG2E 1.44269504f
#define NG_EXP_ROUND 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, to even */
#define NG_EXP_LN2_HI 0.693359375f
#define NG_EXP_LN2_LO (-2.12194440e-4f)
#define NG_EXP_C7 1.9875691500e-4f
#define NG_EXP_C6 1.3981999507e-3f
#define NG_EXP_C5 8.3334519073e-3f
#define NG_EXP_C4 4.1665795894e-2f
#define NG_EXP_C3 1.6666665459e-1f
#define NG_EXP_C2 5.0000001201e-1f

static inline float ng_k_exp(float x) {
    float y = x > NG_EXP_MIN ? x : NG_EXP_MIN; /* NaN takes the bound and is put back below */
    y = y < NG_EXP_MAX ? y : NG_EXP_MAX;
    float t = y * NG_EXP_LOG2E + NG_EXP_ROUND, k = t - NG_EXP_ROUND;
    float r = y - k * NG_EXP_LN2_HI;
    r = r - k * NG_EXP_LN2_LO;
    float p = NG_EXP_C7;
    p = p * r + NG_EXP_C6;
    p = p * r + NG_EXP_C5;
    p = p * r + NG_EXP_C4;
    p = p * r + NG_EXP_C3;
    p = p * r + NG_EXP_C2;
    p = p * (r * r) + r;
    p = p + 1.0f;
    /* 2^k in two factors: k = 128 alone would overflow although p * 2^128 may not. */
    uint32_t n = ng_f32_to_bits(t) - 0x4B400000u + 127u;
    p = p * ng_bits_to_f32((n - 1) << 23);
    p = p + p;
    p = x < NG_EXP_MIN ? 0.0f : p;
    return x != x ? x : p;
}

/* 2^x for x <= 0 where 8 bits are kept: relative error below 1.1e-4 (a minimax cubic on -1/2 .. 1/2); 0 gives exactly 1.
 * x below NG_EXP2_MIN gives 2^NG_EXP2_MIN, which rounds to no step of 255. */
#define NG_EXP2_MIN (-30.0f)
#define NG_EXP2_C3 0.0550082847f
#define NG_EXP2_C2 0.242210522f
#define NG_EXP2_C1 0.693282962f

static inline float ng_k_exp2_coarse(float x) {
    float y = x > NG_EXP2_MIN ? x : NG_EXP2_MIN;
    float t = y + NG_EXP_ROUND, f = y - (t - NG_EXP_ROUND);
    float p = NG_EXP2_C3;
    p = p * f + NG_EXP2_C2;
    p = p * f + NG_EXP2_C1;
    p = p * f + 1.0f;
    return p * ng_bits_to_f32((ng_f32_to_bits(t) - (0x4B400000u - 127u)) << 23);
}

/* erf(x) = sign(x) (1 - (a1 t + .. + a5 t^5) exp(-x^2)), t = 1 / (1 + p |x|): Abramowitz and Stegun
 * 7.1.26. */
#define NG_ERF_P 0.3275911f
#define NG_ERF_A1 0.254829592f
#define NG_ERF_A2 (-0.284496736f)
#define NG_ERF_A3 1.421413741f
#define NG_ERF_A4 (-1.453152027f)
#define NG_ERF_A5 1.061405429f

static inline float ng_k_erf(float x) {
    float a = ng_bits_to_f32(ng_f32_to_bits(x) & 0x7FFFFFFF);
    float t = 1.0f / (1.0f + NG_ERF_P * a);
    float p = NG_ERF_A5;
    p = p * t + NG_ERF_A4;
    p = p * t + NG_ERF_A3;
    p = p * t + NG_ERF_A2;
    p = p * t + NG_ERF_A1;
    p = p * t;
    float e = 1.0f - p * ng_k_exp(0.0f - a * a);
    return ng_bits_to_f32(ng_f32_to_bits(e) ^ (ng_f32_to_bits(x) & 0x80000000u));
}

/* x (1 + erf(x / sqrt 2)) / 2 where 8 bits are kept: max(x, 0) - h(|x|), and h(a) = a (END - a)^4 times a minimax cubic up
 * to END, then 0.  Off by at most 2.0e-4, a hundredth of a step of the activations seen.  NaN gives 0. */
#define NG_GELU_END 4.25f
#define NG_GELU_C3 1.03654325e-4f
#define NG_GELU_C2 (-5.2843714e-4f)
#define NG_GELU_C1 3.278509e-4f
#define NG_GELU_C0 1.5172603e-3f

static inline float ng_k_gelu_coarse(float x) {
    float a = ng_bits_to_f32(ng_f32_to_bits(x) & 0x7FFFFFFF);
    a = a < NG_GELU_END ? a : NG_GELU_END;
    float t = NG_GELU_END - a, p = NG_GELU_C3;
    p = p * a + NG_GELU_C2;
    p = p * a + NG_GELU_C1;
    p = p * a + NG_GELU_C0;
    t = t * t;
    return (x > 0 ? x : 0.0f) - (p * a) * (t * t);
}

/* The fixed tree over 16 virtual lanes. */
static inline float ng_k_fold(const float v[16]) {
    float a[8];
    for (int i = 0; i < 8; i++) a[i] = v[i] + v[i + 8];
    for (int i = 0; i < 4; i++) a[i] = a[i] + a[i + 4];
    for (int i = 0; i < 2; i++) a[i] = a[i] + a[i + 2];
    return a[0] + a[1];
}

#endif
