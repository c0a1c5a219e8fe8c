/* lanes_neon.h: the 16 lanes of lanes.inc in four 128-bit registers (Advanced SIMD of ARMv8.0).
 *
 *     #include "lanes_neon.h"
 *     #define LANES_TILES "kernel/arm/tiles_neon.inc"
 *     #include "kernel/lanes.inc"
 *
 * Float products are vmulq then vaddq: never vfmaq nor vmlaq, which round once where ref.c rounds
 * twice.  Selections are by compare and select, since FMAX and FMAXNM treat NaN unlike `a > b ? a : b`.
 * Halves are converted by FCVTL and FCVTN, which round and quiet NaN as half.h does. */
#ifndef NG_KERNEL_LANES_NEON_H
#define NG_KERNEL_LANES_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct vf { /* 16 floats: lanes 0..3, 4..7, 8..11, 12..15 */
    float32x4_t a, b, c, d;
} vf;
typedef struct vm {
    uint32x4_t a, b, c, d;
} vm;

#define LANES_TOK_MAX 4
#define LANES_STREAMS_MAX 1
enum {
    LANES_TOK = LANES_TOK_MAX,  /* tokens that share one unpacking of a block: 16 accumulators */
    LANES_STREAMS = LANES_STREAMS_MAX, /* panels at a time when tokens are few */
    LANES_ROWS = 4, /* float products: rows x tokens a tile */
    LANES_TOKS = 1,
    LANES_MIX = 4,  /* queries that share a pass over the values */
    LANES_MIX_BLOCKS = 2, /* blocks of 16 columns at a time where queries are few */
    LANES_EXP = 1   /* exponentials side by side: a vf is four registers already */
};

#define LANES_1(type, name, op)                                                                    \
    static inline type name(vf x) { return (type){op(x.a), op(x.b), op(x.c), op(x.d)}; }
#define LANES_2(type, name, op)                                                                    \
    static inline type name(vf x, vf y) {                                                          \
        return (type){op(x.a, y.a), op(x.b, y.b), op(x.c, y.c), op(x.d, y.d)};                     \
    }

static inline vf v_set1(float x) {
    float32x4_t a = vdupq_n_f32(x);
    return (vf){a, a, a, a};
}
static inline vf v_zero(void) { return v_set1(0); }
static inline vf v_load(const float *p) {
    return (vf){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
static inline void v_store(float *p, vf x) {
    vst1q_f32(p, x.a);
    vst1q_f32(p + 4, x.b);
    vst1q_f32(p + 8, x.c);
    vst1q_f32(p + 12, x.d);
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
    const uint8_t *h = p;
    float16x8_t lo = vreinterpretq_f16_u8(vld1q_u8(h)), hi = vreinterpretq_f16_u8(vld1q_u8(h + 16));
    return (vf){vcvt_f32_f16(vget_low_f16(lo)), vcvt_high_f32_f16(lo), vcvt_f32_f16(vget_low_f16(hi)),
                vcvt_high_f32_f16(hi)};
}
static inline vf v_load_i8(const uint8_t *p) {
    int8x16_t x = vreinterpretq_s8_u8(vld1q_u8(p));
    int16x8_t lo = vmovl_s8(vget_low_s8(x)), hi = vmovl_high_s8(x);
    return (vf){vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo))), vcvtq_f32_s32(vmovl_high_s16(lo)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi))), vcvtq_f32_s32(vmovl_high_s16(hi))};
}
static inline vf v_load_bf16(const void *p) {
    const uint8_t *h = p;
    uint16x8_t lo = vreinterpretq_u16_u8(vld1q_u8(h)), hi = vreinterpretq_u16_u8(vld1q_u8(h + 16));
    return (vf){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(lo), 16)),
                vreinterpretq_f32_u32(vshll_high_n_u16(lo, 16)),
                vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(hi), 16)),
                vreinterpretq_f32_u32(vshll_high_n_u16(hi, 16))};
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
    uint8_t *h = p;
    vst1q_u8(h, vreinterpretq_u8_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.a), x.b)));
    vst1q_u8(h + 16, vreinterpretq_u8_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.c), x.d)));
}
static inline void v_store_f16_n(void *p, vf x, size_t n) {
    uint16_t t[16];
    v_store_f16(t, x);
    memcpy(p, t, n * sizeof *t);
}

static inline float32x4_t greater4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
static inline float32x4_t smaller4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
static inline float32x4_t xor_sign4(float32x4_t x, float32x4_t sign) {
    uint32x4_t s = vandq_u32(vreinterpretq_u32_f32(sign), vdupq_n_u32(0x80000000u));
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), s));
}
static inline uint32x4_t nan4(float32x4_t x) { return vmvnq_u32(vceqq_f32(x, x)); }

LANES_2(vf, v_add, vaddq_f32)
LANES_2(vf, v_sub, vsubq_f32)
LANES_2(vf, v_mul, vmulq_f32)
LANES_2(vf, v_div, vdivq_f32)
LANES_2(vf, v_max, greater4) /* a > b ? a : b */
LANES_2(vf, v_min, smaller4)
LANES_2(vf, v_xor_sign, xor_sign4)
LANES_1(vf, v_abs, vabsq_f32)
LANES_2(vm, v_less, vcltq_f32)
LANES_1(vm, v_nan, nan4)
static inline vf v_blend(vm m, vf no, vf yes) {
    return (vf){vbslq_f32(m.a, yes.a, no.a), vbslq_f32(m.b, yes.b, no.b), vbslq_f32(m.c, yes.c, no.c),
                vbslq_f32(m.d, yes.d, no.d)};
}
static inline float32x4_t exponent4(float32x4_t t, int32_t bias) {
    int32x4_t e = vsubq_s32(vreinterpretq_s32_f32(t), vdupq_n_s32(bias));
    return vreinterpretq_f32_s32(vshlq_n_s32(e, 23));
}
/* (t - bias) << 23 as a float. */
static inline vf v_exponent(vf t, int32_t bias) {
    return (vf){exponent4(t.a, bias), exponent4(t.b, bias), exponent4(t.c, bias), exponent4(t.d, bias)};
}

static inline float32x4_t fold_to_4(vf x) { return vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d)); }
static inline float v_fold(vf x) {
    float32x4_t q = fold_to_4(x);
    return vpadds_f32(vadd_f32(vget_low_f32(q), vget_high_f32(q)));
}
static inline float32x4_t fold_pair(vf x, vf y) { /* two floats of x, two of y */
    float64x2_t a = vreinterpretq_f64_f32(fold_to_4(x)), b = vreinterpretq_f64_f32(fold_to_4(y));
    return vaddq_f32(vreinterpretq_f32_f64(vzip1q_f64(a, b)), vreinterpretq_f32_f64(vzip2q_f64(a, b)));
}
/* The folds of four at once. */
static inline void v_fold4(float y[4], const vf *x) {
    vst1q_f32(y, vpaddq_f32(fold_pair(x[0], x[1]), fold_pair(x[2], x[3])));
}
/* No lane is NaN but when all are: softmax starts them equal and v_max never takes one. */
static inline float v_top(vf x) {
    return vmaxvq_f32(greater4(greater4(x.a, x.b), greater4(x.c, x.d)));
}

/* Rounded to even and narrowed; sum of all. */
static inline int32_t v_store_i8(int8_t *q, vf x) {
    int16x8_t lo = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(x.a)), vqmovn_s32(vcvtnq_s32_f32(x.b)));
    int16x8_t hi = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(x.c)), vqmovn_s32(vcvtnq_s32_f32(x.d)));
    int8x16_t n = vcombine_s8(vqmovn_s16(lo), vqmovn_s16(hi));
    vst1q_s8(q, n);
    return vaddlvq_s8(n);
}
/* The largest |x| as bits, so that NaN is largest. */
static inline uint32_t v_top_bits(vf x, vf y) {
#define NG_ABS_BITS(v) vreinterpretq_u32_f32(vabsq_f32(v))
    uint32x4_t t =
        vmaxq_u32(vmaxq_u32(NG_ABS_BITS(x.a), NG_ABS_BITS(x.b)), vmaxq_u32(NG_ABS_BITS(x.c), NG_ABS_BITS(x.d)));
    uint32x4_t u =
        vmaxq_u32(vmaxq_u32(NG_ABS_BITS(y.a), NG_ABS_BITS(y.b)), vmaxq_u32(NG_ABS_BITS(y.c), NG_ABS_BITS(y.d)));
#undef NG_ABS_BITS
    return vmaxvq_u32(vmaxq_u32(t, u));
}

/* ---- 8-bit rows (lanes_w8.inc) ---------------------------------------------------------------------- */

enum { W8_TOK = 4, W8_PANELS = 1, W8_BIAS = 128 };
typedef struct vi { /* 16 int32 */
    int32x4_t a, b, c, d;
} vi;
typedef struct vb { /* 64 codes: 4 columns of rows 0..3, 4..7, 8..11, 12..15 */
    int8x16_t a, b, c, d;
} vb;
typedef int8x16_t vx; /* u - 128 of four columns, four times */

#define LANES_I(name, op)                                                                          \
    static inline vi name(vi x, vi y) {                                                            \
        return (vi){op(x.a, y.a), op(x.b, y.b), op(x.c, y.c), op(x.d, y.d)};                       \
    }
LANES_I(vi_add, vaddq_s32)
LANES_I(vi_mul, vmulq_s32)
static inline vi vi_set1(int32_t x) {
    int32x4_t a = vdupq_n_s32(x);
    return (vi){a, a, a, a};
}
static inline vi vi_zero(void) { return vi_set1(0); }
static inline vi vi_load(const void *p) {
    const int32_t *i = p;
    return (vi){vld1q_s32(i), vld1q_s32(i + 4), vld1q_s32(i + 8), vld1q_s32(i + 12)};
}
static inline void vi_store(void *p, vi x) {
    int32_t *i = p;
    vst1q_s32(i, x.a);
    vst1q_s32(i + 4, x.b);
    vst1q_s32(i + 8, x.c);
    vst1q_s32(i + 12, x.d);
}
static inline vi vi_round(vf x) {
    return (vi){vcvtnq_s32_f32(x.a), vcvtnq_s32_f32(x.b), vcvtnq_s32_f32(x.c), vcvtnq_s32_f32(x.d)};
}
static inline vf vi_float(vi x) {
    return (vf){vcvtq_f32_s32(x.a), vcvtq_f32_s32(x.b), vcvtq_f32_s32(x.c), vcvtq_f32_s32(x.d)};
}
static inline vb w8_load(const uint8_t *p) {
    const int8_t *c = (const int8_t *)p;
    return (vb){vld1q_s8(c), vld1q_s8(c + 16), vld1q_s8(c + 32), vld1q_s8(c + 48)};
}
static inline vx w8_splat(const uint8_t *u) {
    uint32_t v;
    memcpy(&v, u, 4);
    return vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_u32(vdupq_n_u32(v)), vdupq_n_u8(0x80)));
}
static inline void v_store_u8(uint8_t *u, vf x) {
    uint16x8_t lo = vcombine_u16(vqmovun_s32(vcvtnq_s32_f32(x.a)), vqmovun_s32(vcvtnq_s32_f32(x.b)));
    uint16x8_t hi = vcombine_u16(vqmovun_s32(vcvtnq_s32_f32(x.c)), vqmovun_s32(vcvtnq_s32_f32(x.d)));
    vst1q_u8(u, vcombine_u8(vqmovn_u16(lo), vqmovn_u16(hi)));
}
static inline int32x4_t w8_word4(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d) {
    int32x4_t w = vsliq_n_s32(vcvtnq_s32_f32(a), vcvtnq_s32_f32(b), 8);
    w = vsliq_n_s32(w, vcvtnq_s32_f32(c), 16);
    return vsliq_n_s32(w, vcvtnq_s32_f32(d), 24);
}
static inline vi w8_word(vf a, vf b, vf c, vf d) {
    return (vi){w8_word4(a.a, b.a, c.a, d.a), w8_word4(a.b, b.b, c.b, d.b), w8_word4(a.c, b.c, c.c, d.c),
                w8_word4(a.d, b.d, c.d, d.d)};
}

#endif
