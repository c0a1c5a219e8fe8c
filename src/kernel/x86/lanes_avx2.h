/* lanes_avx2.h: the 16 lanes of lanes.inc in two 256-bit registers (AVX2, F16C). */
#ifndef NG_KERNEL_LANES_AVX2_H
#define NG_KERNEL_LANES_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct vf { /* 16 floats: lanes 0..7, 8..15 */
    __m256 a, b;
} vf;
typedef struct vi { /* 16 int32 */
    __m256i a, b;
} vi;
typedef struct vb { /* 64 codes: 4 columns of rows 0..7, 8..15 */
    __m256i a, b;
} vb;
typedef vf vm;

#define LANES_TOK_MAX 4
#define LANES_STREAMS_MAX 4
enum {
    LANES_TOK = LANES_TOK_MAX,
    LANES_STREAMS = LANES_STREAMS_MAX,
    LANES_ROWS = 4,
    LANES_TOKS = 1,
    LANES_MIX = 4,
    LANES_MIX_BLOCKS = 2,
    LANES_EXP = 1,
    LANES_OFFSET8 = 0 /* vb_load8 makes 8-bit codes signed: maddubs would overflow on unsigned ones */
};

#define LANES_1(name, op)                                                                          \
    static inline vf name(vf x) { return (vf){op(x.a), op(x.b)}; }
#define LANES_2(name, op)                                                                          \
    static inline vf name(vf x, vf y) { return (vf){op(x.a, y.a), op(x.b, y.b)}; }

static inline vf v_set1(float x) { return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline vf v_zero(void) { return v_set1(0); }
static inline vf v_load(const float *p) { return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void v_store(float *p, vf x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
static inline vf v_load_n(const float *p, size_t n) {
    float t[16] = {0};
    memcpy(t, p, n * sizeof *t);
    return v_load(t);
}
static inline void v_store_n(float *p, vf x, size_t n) {
    float t[16];
    v_store(t, x);
    memcpy(p, t, n * sizeof *t);
}
static inline vf v_load_f16(const void *p) {
    const __m128i *h = p;
    return (vf){_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1))};
}
static inline __m256 bf16_to_f32(__m128i h) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
static inline vf v_load_bf16(const void *p) {
    const __m128i *h = p;
    return (vf){bf16_to_f32(_mm_loadu_si128(h)), bf16_to_f32(_mm_loadu_si128(h + 1))};
}
static inline vf v_load_f16_n(const void *p, size_t n) {
    uint16_t t[16] = {0};
    memcpy(t, p, n * sizeof *t);
    return v_load_f16(t);
}
static inline vf v_load_bf16_n(const void *p, size_t n) {
    uint16_t t[16] = {0};
    memcpy(t, p, n * sizeof *t);
    return v_load_bf16(t);
}
static inline void v_store_f16(void *p, vf x) {
    __m128i *h = p;
    _mm_storeu_si128(h, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128(h + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline void v_store_f16_n(void *p, vf x, size_t n) {
    uint16_t t[16];
    v_store_f16(t, x);
    memcpy(p, t, n * sizeof *t);
}

LANES_2(v_add, _mm256_add_ps)
LANES_2(v_sub, _mm256_sub_ps)
LANES_2(v_mul, _mm256_mul_ps)
LANES_2(v_div, _mm256_div_ps)
LANES_2(v_max, _mm256_max_ps) /* a > b ? a : b */
LANES_2(v_min, _mm256_min_ps)
static inline vm v_less(vf x, vf y) {
    return (vm){_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
static inline vm v_nan(vf x) {
    return (vm){_mm256_cmp_ps(x.a, x.a, _CMP_UNORD_Q), _mm256_cmp_ps(x.b, x.b, _CMP_UNORD_Q)};
}
static inline vf v_blend(vm m, vf no, vf yes) {
    return (vf){_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}
static inline __m256 abs8(__m256 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
LANES_1(v_abs, abs8)
static inline __m256 xor_sign8(__m256 a, __m256 s) {
    return _mm256_xor_ps(a, _mm256_and_ps(s, _mm256_set1_ps(-0.0f)));
}
LANES_2(v_xor_sign, xor_sign8)
static inline __m256 exponent8(__m256 t, int32_t bias) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(bias)),
                                                 23));
}
static inline vf v_exponent(vf t, int32_t bias) { return (vf){exponent8(t.a, bias), exponent8(t.b, bias)}; }

static inline __m128 fold_to_4(vf x) {
    __m256 h = _mm256_add_ps(x.a, x.b);
    return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}
static inline float v_fold(vf x) {
    __m128 q = fold_to_4(x);
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
/* The folds of four at once. */
static inline void v_fold4(float y[4], const vf *x) {
    __m128 a = fold_to_4(x[0]), b = fold_to_4(x[1]), c = fold_to_4(x[2]), d = fold_to_4(x[3]);
    __m128 ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    __m128 cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
    _mm_storeu_ps(y, _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
}
static inline float v_top(vf x) {
    __m256 h = _mm256_max_ps(x.a, x.b);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

/* ---- integers ------------------------------------------------------------------------------------- */

static inline vi vi_set1(int32_t x) { return (vi){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
static inline vf vi_float(vi x) { return (vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
static inline vf v_load_u8(const uint8_t *p) {
    __m128i h = _mm_loadu_si128((const __m128i *)p);
    return vi_float((vi){_mm256_cvtepu8_epi32(h), _mm256_cvtepu8_epi32(_mm_srli_si128(h, 8))});
}
static inline vf v_load_i8(const uint8_t *p) {
    __m128i h = _mm_loadu_si128((const __m128i *)p);
    return vi_float((vi){_mm256_cvtepi8_epi32(h), _mm256_cvtepi8_epi32(_mm_srli_si128(h, 8))});
}
static inline vb vb_load(const uint8_t *p) {
    return (vb){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 32))};
}
static inline vb vb_load8(const uint8_t *p) {
    vb x = vb_load(p);
    __m256i bias = _mm256_set1_epi8((char)0x80);
    return (vb){_mm256_xor_si256(x.a, bias), _mm256_xor_si256(x.b, bias)};
}
static inline vb vb_low4(vb x) {
    __m256i m = _mm256_set1_epi8(15);
    return (vb){_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
static inline vb vb_high4(vb x) {
    return vb_low4((vb){_mm256_srli_epi16(x.a, 4), _mm256_srli_epi16(x.b, 4)});
}
static inline __m256i or_bits8(__m256i b, __m256i a, int left, int mask) {
    __m256i s = left >= 0 ? _mm256_slli_epi16(a, left) : _mm256_srli_epi16(a, -left);
    return _mm256_or_si256(b, _mm256_and_si256(s, _mm256_set1_epi8((char)mask)));
}
static inline vb vb_or_bits(vb b, vb a, int left, int mask) {
    return (vb){or_bits8(b.a, a.a, left, mask), or_bits8(b.b, a.b, left, mask)};
}
static inline vb vb_and_bits(vb a, int left, int mask) {
    return vb_or_bits((vb){_mm256_setzero_si256(), _mm256_setzero_si256()}, a, left, mask);
}
static inline vb vb_lookup(const uint8_t levels[16], vb codes) {
    __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)levels));
    return (vb){_mm256_shuffle_epi8(t, codes.a), _mm256_shuffle_epi8(t, codes.b)};
}
/* ng_scale8_to_f16, then to floats. */
static inline vf v_load_scale8(const uint8_t *p) {
    __m256i h = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
    h = _mm256_and_si256(_mm256_slli_epi16(h, 7), _mm256_set1_epi16((short)0xBF80));
    return (vf){_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1))};
}
static inline int32_t load4(const int8_t *x) {
    int32_t v;
    memcpy(&v, x, 4);
    return v;
}
/* One register of vi_dot16.  maddubs adds pairs in 16 bits: codes of 4 and 5 bits let four of them
 * (31 * 127 * 2 * 4 = 31,496) add up before they are widened, 6 bits two, 7 bits one, 8 bits (signed, through the
 * sign trick) one. */
static inline __m256i dot16_half(__m256i acc, const __m256i *w, const __m256i *x, unsigned bits) {
    const __m256i ones = _mm256_set1_epi16(1);
    if (bits == 8) {
        _Pragma("GCC unroll 4") for (int g = 0; g < 4; g++) {
            __m256i p = _mm256_maddubs_epi16(_mm256_abs_epi8(w[g]), _mm256_sign_epi8(x[g], w[g]));
            acc = _mm256_add_epi32(acc, _mm256_madd_epi16(p, ones));
        }
        return acc;
    }
    if (bits == 7) {
        _Pragma("GCC unroll 4") for (int g = 0; g < 4; g++)
            acc = _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w[g], x[g]), ones));
        return acc;
    }
    __m256i p = _mm256_add_epi16(_mm256_maddubs_epi16(w[0], x[0]), _mm256_maddubs_epi16(w[1], x[1]));
    __m256i q = _mm256_add_epi16(_mm256_maddubs_epi16(w[2], x[2]), _mm256_maddubs_epi16(w[3], x[3]));
    if (bits == 6)
        return _mm256_add_epi32(_mm256_add_epi32(acc, _mm256_madd_epi16(p, ones)), _mm256_madd_epi16(q, ones));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_add_epi16(p, q), ones));
}
static inline vi vi_dot16(vi acc, const vb *w, const int8_t *x, unsigned bits) {
    __m256i b[4], wa[4] = {w[0].a, w[1].a, w[2].a, w[3].a}, wb[4] = {w[0].b, w[1].b, w[2].b, w[3].b};
    _Pragma("GCC unroll 4") for (int g = 0; g < 4; g++) b[g] = _mm256_set1_epi32(load4(x + 4 * g));
    return (vi){dot16_half(acc.a, wa, b, bits), dot16_half(acc.b, wb, b, bits)};
}

static inline int32_t v_store_i8(int8_t *q, vf x) {
    __m256i i = _mm256_cvtps_epi32(x.a), j = _mm256_cvtps_epi32(x.b);
    __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(i, j), 0xD8);
    __m128i n = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si128((__m128i *)q, n);
    __m256i s = _mm256_add_epi32(i, j);
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xB1)));
}
static inline uint32_t v_top_bits(vf x, vf y) {
    __m256i m = _mm256_set1_epi32(0x7FFFFFFF);
#define NG_ABS_BITS(v) _mm256_and_si256(_mm256_castps_si256(v), m)
    __m256i t = _mm256_max_epu32(_mm256_max_epu32(NG_ABS_BITS(x.a), NG_ABS_BITS(x.b)),
                                 _mm256_max_epu32(NG_ABS_BITS(y.a), NG_ABS_BITS(y.b)));
#undef NG_ABS_BITS
    __m128i h = _mm_max_epu32(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1));
    h = _mm_max_epu32(h, _mm_shuffle_epi32(h, 0x4E));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(h, _mm_shuffle_epi32(h, 0xB1)));
}

/* ---- 8-bit rows (lanes_w8.inc) ---------------------------------------------------------------------- */

/* maddubs adds pairs in 16 bits, which 255 * 127 * 2 would overflow: so u - 128 by sign trick,
 * |u - 128| * 127 * 2 <= 32,512. */
enum { W8_TOK = 4, W8_PANELS = 1, W8_BIAS = 128 };
typedef struct vx { /* u - 128 of four columns, 8 times, and its absolute value */
    __m256i sign, abs;
} vx;

#define LANES_I(name, op)                                                                          \
    static inline vi name(vi x, vi y) { return (vi){op(x.a, y.a), op(x.b, y.b)}; }
LANES_I(vi_add, _mm256_add_epi32)
LANES_I(vi_mul, _mm256_mullo_epi32)
static inline vi vi_zero(void) { return vi_set1(0); }
static inline vi vi_load(const void *p) {
    return (vi){_mm256_loadu_si256(p), _mm256_loadu_si256((const __m256i *)p + 1)};
}
static inline void vi_store(void *p, vi x) {
    _mm256_storeu_si256(p, x.a);
    _mm256_storeu_si256((__m256i *)p + 1, x.b);
}
static inline vi vi_round(vf x) { return (vi){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
static inline vb w8_load(const uint8_t *p) { return vb_load(p); }
static inline vx w8_splat(const uint8_t *u) {
    __m256i s = _mm256_xor_si256(_mm256_set1_epi32(load4((const int8_t *)u)), _mm256_set1_epi8((char)0x80));
    return (vx){s, _mm256_abs_epi8(s)};
}
static inline __m256i w8_dot8(__m256i acc, __m256i w, vx x) {
    __m256i pairs = _mm256_maddubs_epi16(x.abs, _mm256_sign_epi8(w, x.sign));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
static inline vi w8_dot(vi acc, vb w, vx x) { return (vi){w8_dot8(acc.a, w.a, x), w8_dot8(acc.b, w.b, x)}; }
static inline void v_store_u8(uint8_t *u, vf x) {
    __m256i i = _mm256_packus_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    i = _mm256_permute4x64_epi64(i, 0xD8);
    _mm_storeu_si128((__m128i *)u, _mm_packus_epi16(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1)));
}
static inline __m256i w8_byte(__m256 x) { return _mm256_and_si256(_mm256_cvtps_epi32(x), _mm256_set1_epi32(255)); }
static inline __m256i w8_word8(__m256 a, __m256 b, __m256 c, __m256 d) {
    __m256i lo = _mm256_or_si256(w8_byte(a), _mm256_slli_epi32(w8_byte(b), 8));
    return _mm256_or_si256(lo, _mm256_or_si256(_mm256_slli_epi32(w8_byte(c), 16),
                                               _mm256_slli_epi32(_mm256_cvtps_epi32(d), 24)));
}
static inline vi w8_word(vf a, vf b, vf c, vf d) {
    return (vi){w8_word8(a.a, b.a, c.a, d.a), w8_word8(a.b, b.b, c.b, d.b)};
}

#endif
