/* lanes_avx512.h: the 16 lanes of lanes.inc in one 512-bit register (AVX-512 F, BW, DQ, VL, VNNI). */
#ifndef NG_KERNEL_LANES_AVX512_H
#define NG_KERNEL_LANES_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef __m512 vf;  /* 16 floats */
typedef __m512i vi; /* 16 int32 */
typedef __m512i vb; /* 64 codes: 4 columns of 16 rows */
typedef __mmask16 vm;

/* What tiles exist (lanes.inc); the same numbers as below, for the preprocessor. */
#define LANES_TOK_MAX 16
#define LANES_STREAMS_MAX 4
#define LANES_RAISED 1 /* vb_raised4() and vi_shift4() are here, and products of 16 times a code do not overflow */
enum {
    LANES_TOK = LANES_TOK_MAX,     /* tokens that share one unpacking of a block */
    LANES_STREAMS = LANES_STREAMS_MAX,  /* panels at a time when tokens are few */
    LANES_ROWS = 4,     /* float products: rows x tokens a tile */
    LANES_TOKS = 4,
    LANES_MIX = 16,     /* queries that share a pass over the values */
    LANES_MIX_BLOCKS = 4, /* blocks of 16 columns at a time where queries are few */
    LANES_EXP = 4,      /* exponentials side by side */
    LANES_OFFSET8 = 128 /* what vb_load8 leaves on 8-bit codes */
};

static inline vf v_zero(void) { return _mm512_setzero_ps(); }
static inline vf v_set1(float x) { return _mm512_set1_ps(x); }
static inline vf v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline __mmask16 v_mask(size_t n) { return (__mmask16)((1u << n) - 1); }
static inline vf v_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(v_mask(n), p); }
static inline void v_store_n(float *p, vf a, size_t n) { _mm512_mask_storeu_ps(p, v_mask(n), a); }
static inline vf v_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
static inline vf v_load_f16_n(const void *p, size_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(v_mask(n), p));
}
static inline vf bf16_to_f32(__m256i h) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
static inline vf v_load_bf16(const void *p) { return bf16_to_f32(_mm256_loadu_si256(p)); }
static inline vf v_load_bf16_n(const void *p, size_t n) {
    return bf16_to_f32(_mm256_maskz_loadu_epi16(v_mask(n), p));
}
static inline void v_store_f16(void *p, vf a) {
    _mm256_storeu_si256(p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline void v_store_f16_n(void *p, vf a, size_t n) {
    _mm256_mask_storeu_epi16(p, v_mask(n), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); } /* a > b ? a : b */
static inline vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vm v_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vm v_nan(vf a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
static inline vf v_blend(vm m, vf no, vf yes) { return _mm512_mask_blend_ps(m, no, yes); }
static inline vf v_abs(vf a) { return _mm512_abs_ps(a); }
static inline vf v_xor_sign(vf a, vf sign) {
    return _mm512_xor_ps(a, _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
}
/* 2^(bits of t - subtrahend) in two's exponent: (t - bias) << 23 as a float. */
static inline vf v_exponent(vf t, int32_t bias) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_sub_epi32(_mm512_castps_si512(t), _mm512_set1_epi32(bias)),
                                                 23));
}

static inline __m128 fold_to_4(vf a) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}
static inline float v_fold(vf a) {
    __m128 q = fold_to_4(a);
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
/* The folds of four at once. */
static inline void v_fold4(float y[4], const vf *a) {
    vf ab = v_add(_mm512_shuffle_f32x4(a[0], a[1], 0x44), _mm512_shuffle_f32x4(a[0], a[1], 0xEE));
    vf cd = v_add(_mm512_shuffle_f32x4(a[2], a[3], 0x44), _mm512_shuffle_f32x4(a[2], a[3], 0xEE));
    vf q = v_add(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
    q = v_add(q, _mm512_shuffle_ps(q, q, 0x4E));
    q = v_add(q, _mm512_shuffle_ps(q, q, 0xB1));
    _mm_storeu_ps(y, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, q)));
}
static inline float v_top(vf a) { return _mm512_reduce_max_ps(a); }

/* ---- integers ------------------------------------------------------------------------------------- */

static inline vi vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
static inline vf vi_float(vi a) { return _mm512_cvtepi32_ps(a); }
static inline vf v_load_u8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline vf v_load_i8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline vb vb_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
static inline vb vb_load8(const uint8_t *p) { return _mm512_loadu_si512(p); }
static inline vb vb_low4(vb a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
static inline vb vb_high4(vb a) { return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15)); }
static inline vb vb_raised4(vb a) { return _mm512_and_si512(a, _mm512_set1_epi8((char)0xF0)); }
static inline vi vi_shift4(vi a) { return _mm512_srai_epi32(a, 4); }
/* (a << left or >> -left) & mask, or'ed to b; left is a constant after inlining. */
static inline vb vb_or_bits(vb b, vb a, int left, int mask) {
    __m512i s = left >= 0 ? _mm512_slli_epi16(a, (unsigned)left) : _mm512_srli_epi16(a, (unsigned)-left);
    return _mm512_ternarylogic_epi64(b, s, _mm512_set1_epi8((char)mask), 0xF8); /* b | (s & mask) */
}
static inline vb vb_and_bits(vb a, int left, int mask) {
    __m512i s = left >= 0 ? _mm512_slli_epi16(a, (unsigned)left) : _mm512_srli_epi16(a, (unsigned)-left);
    return _mm512_and_si512(s, _mm512_set1_epi8((char)mask));
}
static inline vb vb_lookup(const uint8_t levels[16], vb codes) {
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)levels)), codes);
}
/* ng_scale8_to_f16, then to floats. */
static inline vf v_load_scale8(const uint8_t *p) {
    __m256i h = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
    return _mm512_cvtph_ps(_mm256_and_si256(_mm256_slli_epi16(h, 7), _mm256_set1_epi16((short)0xBF80)));
}
static inline int32_t load4(const int8_t *x) {
    int32_t v;
    __builtin_memcpy(&v, x, 4);
    return v;
}
/* acc + the products of 16 columns, w[4], with x[16]; bits of the codes. */
static inline vi vi_dot16(vi acc, const vb *w, const int8_t *x, unsigned bits) {
    (void)bits;
    _Pragma("GCC unroll 4") for (int g = 0; g < 4; g++) acc =
        _mm512_dpbusd_epi32(acc, w[g], _mm512_set1_epi32(load4(x + 4 * g)));
    return acc;
}

/* Rounded to even and narrowed; sum of all. */
static inline int32_t v_store_i8(int8_t *q, vf a) {
    __m512i i = _mm512_cvtps_epi32(a);
    _mm_storeu_si128((__m128i *)q, _mm512_cvtepi32_epi8(i));
    return _mm512_reduce_add_epi32(i);
}
/* The largest |a| as bits, so that NaN is largest. */
static inline uint32_t v_top_bits(vf a, vf b) {
    __m512i m = _mm512_set1_epi32(0x7FFFFFFF);
    return _mm512_reduce_max_epu32(_mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(a), m),
                                                    _mm512_and_si512(_mm512_castps_si512(b), m)));
}

/* ---- 8-bit rows (lanes_w8.inc) ---------------------------------------------------------------------- */

enum { W8_TOK = 12, W8_PANELS = 2, W8_BIAS = 0 };
typedef __m512i vx; /* four codes, 16 times */

static inline vi vi_zero(void) { return _mm512_setzero_si512(); }
static inline vi vi_load(const void *p) { return _mm512_loadu_si512(p); }
static inline void vi_store(void *p, vi a) { _mm512_storeu_si512(p, a); }
static inline vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
static inline vi vi_mul(vi a, vi b) { return _mm512_mullo_epi32(a, b); }
static inline vi vi_round(vf a) { return _mm512_cvtps_epi32(a); }
static inline vb w8_load(const uint8_t *p) { return _mm512_load_si512(p); }
static inline vx w8_splat(const uint8_t *u) { return _mm512_set1_epi32(load4((const int8_t *)u)); }
static inline vi w8_dot(vi acc, vb w, vx x) { return _mm512_dpbusd_epi32(acc, x, w); }
static inline void v_store_u8(uint8_t *u, vf a) {
    _mm_storeu_si128((__m128i *)u, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}
static inline __m512i w8_byte(vf a) { return _mm512_and_si512(_mm512_cvtps_epi32(a), _mm512_set1_epi32(255)); }
static inline vi w8_word(vf a, vf b, vf c, vf d) {
    __m512i lo = _mm512_or_si512(w8_byte(a), _mm512_slli_epi32(w8_byte(b), 8));
    return _mm512_or_si512(lo, _mm512_or_si512(_mm512_slli_epi32(w8_byte(c), 16),
                                               _mm512_slli_epi32(_mm512_cvtps_epi32(d), 24)));
}

#endif
