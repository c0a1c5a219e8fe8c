/* quantize_search.c: blocks whose scales are searched for, not computed.  See quantize_row.h.
 *
 * What is minimised is sum w (x - y)^2 over what the block will really say: each candidate scale is
 * first rounded to the form in which it is stored, then codes are chosen for it and the error taken.
 * Candidates for one block of floats: the range divided by a little more or less than its codes, each
 * followed by the scale that is best for its codes (least squares).  Super-blocks first fit each of their
 * sub-blocks, round the sub-scales to the common scale, and then try the neighbours of every rounded pair.
 * NG4, NG3 and NG3_S have so few scales in reach (8 bits, 8 steps an octave) that all are tried.
 *
 * NG3 stores seven lowest bits of eight: a group must have even parity.  Where the nearest codes have not,
 * the one that loses least goes to its second nearest level.  So the group is a point of the lattice D8,
 * whose cells are rounder than cubes: an eighth of a bit is saved for 8 % more squared error, where
 * coarser steps would cost 19 % (Conway and Sloane, Sphere Packings, chapter 21).  NG3_S stores four of eight,
 * a word of the extended Hamming code, so that the group is a point of E8: half a bit is saved for 1.72 times
 * the squared error instead of twice.  The cheapest of the sixteen words is taken.
 *
 * Float arithmetic in a fixed order without fused operations: the same file on every machine. */
#include "quantize_row.h"

#include "carry.h"
#include "kernel/dequant.h"
#include "kernel/half.h"

#include <assert.h>
#include <float.h>
#include <math.h>

enum { SUB_MAX = 32, SUPER = 256 };

static float nearest(float x) { return x + 12582912.0f - 12582912.0f; } /* |x| < 2^22 */
static float to_half(float x) { return ng_f16_to_f32(ng_f32_to_f16(x)); }

static void put_half(uint8_t *dst, float f) {
    uint16_t h = ng_f32_to_f16(f);
    memcpy(dst, &h, sizeof h);
}

static float clamp(float x, float lo, float hi) { return x < lo ? lo : x > hi ? hi : x; }

/* ---- blocks d * code, code in lo .. hi, and blocks d * code + m ------------------------------------ */

typedef struct part {
    const float *x, *w; /* [n] */
    size_t n;
    float lo, hi; /* of the codes */
} part;

typedef struct fit {
    float d, m, err;
} fit;

/* Of the values d * code + m. */
static float error_of(const part *p, float d, float m) {
    float inv = d != 0.0f ? 1.0f / d : 0.0f, sum = 0.0f;
    if (!isfinite(inv)) inv = 0.0f;
    for (size_t i = 0; i < p->n; i++) {
        float c = clamp(nearest(clamp((p->x[i] - m) * inv, -1e5f, 1e5f)), p->lo, p->hi);
        float e = p->x[i] - (d * c + m);
        sum += p->w[i] * (e * e);
    }
    return sum;
}

static void codes_of(const part *p, float d, float m, uint8_t *codes) {
    float inv = d != 0.0f ? 1.0f / d : 0.0f;
    if (!isfinite(inv)) inv = 0.0f;
    for (size_t i = 0; i < p->n; i++)
        codes[i] = (uint8_t)(clamp(nearest(clamp((p->x[i] - m) * inv, -1e5f, 1e5f)), p->lo, p->hi) - p->lo);
}

/* The best d (and m, where `with_m`) for the codes that (d, m) gives. */
static fit least_squares(const part *p, fit f, bool with_m) {
    float inv = f.d != 0.0f ? 1.0f / f.d : 0.0f;
    double w = 0, c = 0, cc = 0, x = 0, cx = 0;
    if (!isfinite(inv)) inv = 0.0f;
    for (size_t i = 0; i < p->n; i++) {
        float code = clamp(nearest(clamp((p->x[i] - f.m) * inv, -1e5f, 1e5f)), p->lo, p->hi);
        double wi = (double)p->w[i], ci = (double)code, xi = (double)p->x[i];
        w += wi, c += wi * ci, cc += wi * ci * ci, x += wi * xi, cx += wi * ci * xi;
    }
    double det = w * cc - c * c;
    if (with_m && det > 1e-12 * w * cc && det > 0)
        return (fit){(float)((w * cx - c * x) / det), (float)((cc * x - c * cx) / det), 0};
    double free = cx - (double)f.m * c; /* m stays */
    return (fit){cc > 0 ? (float)(free / cc) : f.d, f.m, 0};
}

static void keep_best(fit *best, const part *p, float d, float m) {
    float err = error_of(p, d, m);
    if (err < best->err) *best = (fit){d, m, err};
}

static void range_of(const part *p, float *low, float *high) {
    *low = *high = p->x[0];
    for (size_t i = 1; i < p->n; i++) {
        if (p->x[i] < *low) *low = p->x[i];
        if (p->x[i] > *high) *high = p->x[i];
    }
}

typedef float round_fn(float);
static float as_is(float x) { return x; }

/* y = d * code with d as `stored` rounds it. */
static fit fit_scale(const part *p, round_fn *stored) {
    float low, high;
    range_of(p, &low, &high);
    float most = fmaxf(-low, high), extreme = -low > high ? low : high;
    fit best = {0, 0, error_of(p, 0, 0)};
    if (!(most > 0)) return best;
    for (int sign = 0; sign < 2; sign++)
        for (int step = -6; step <= 6; step++) {
            float d = (sign ? -extreme : extreme) / (p->lo * (1.0f + 0.03f * (float)step));
            fit f = least_squares(p, (fit){d, 0, 0}, false);
            keep_best(&best, p, stored(d), 0);
            keep_best(&best, p, stored(f.d), 0);
        }
    return best;
}

/* y = d * code + m; not_above: m <= 0. */
static fit fit_range(const part *p, round_fn *stored, bool not_above) {
    float low, high;
    range_of(p, &low, &high);
    if (not_above && low > 0) low = 0;
    if (high < low) high = low;
    fit best = {0, stored(low), error_of(p, 0, stored(low))};
    for (int step = -8; step <= 8; step++) {
        float d = (high - low) / (p->hi + 0.12f * (float)step);
        fit f = least_squares(p, (fit){d, low, 0}, true);
        if (not_above && f.m > 0) f = least_squares(p, (fit){d, 0, 0}, false);
        keep_best(&best, p, stored(d), stored(low));
        if (f.d > 0) keep_best(&best, p, stored(f.d), stored(f.m));
    }
    return best;
}

static void put_nibbles(uint8_t *dst, const uint8_t *codes) {
    for (size_t i = 0; i < 16; i++) dst[i] = (uint8_t)((codes[i] & 15) | (codes[i + 16] & 15) << 4);
}

static void put_fifth_bits(uint8_t *dst, const uint8_t *codes) {
    memset(dst, 0, 4);
    for (size_t i = 0; i < 32; i++) dst[i / 8] |= (uint8_t)((codes[i] >> 4 & 1) << i % 8);
}

static void block_32(uint32_t type, const float *x, const float *w, uint8_t *dst) {
    ng_quant_info q = ng_quant_get_info(type);
    uint8_t codes[32];
    float top = (float)((1 << q.bits) - 1), offset = (float)q.offset;
    part p = {x, w, 32, -offset, top - offset};
    fit f = q.has_min ? fit_range(&p, to_half, false) : fit_scale(&p, to_half);
    codes_of(&p, f.d, f.m, codes);
    put_half(dst, f.d);
    dst += 2;
    if (q.has_min) put_half(dst, f.m), dst += 2;
    if (q.bits == 5) put_fifth_bits(dst, codes), dst += 4;
    put_nibbles(dst, codes);
}

/* ---- super-blocks of 256 ----------------------------------------------------------------------------- */

/* The pair of sub-scale and sub-minimum near (sc, mn) that loses least. */
static void choose_pair(const part *p, float d, float dmin, uint8_t *sc, uint8_t *mn) {
    fit best = {0, 0, INFINITY};
    uint8_t best_sc = *sc, best_mn = *mn;
    for (int a = *sc - 1; a <= *sc + 1; a++)
        for (int b = *mn - 1; b <= *mn + 1; b++) {
            if (a < 0 || a > 63 || b < 0 || b > 63) continue;
            float before = best.err;
            keep_best(&best, p, d * (float)a, -(dmin * (float)b));
            if (best.err < before) best_sc = (uint8_t)a, best_mn = (uint8_t)b;
        }
    *sc = best_sc;
    *mn = best_mn;
}

static uint8_t ratio_63(float x, float unit) { return unit > 0 ? (uint8_t)clamp(nearest(x / unit), 0, 63) : 0; }

/* Eight 6-bit pairs to 12 bytes: the inverse of ng_block_k_scales. */
static void put_k_scales(uint8_t s[12], const uint8_t sc[8], const uint8_t mn[8]) {
    for (int j = 0; j < 4; j++) {
        s[j] = (uint8_t)(sc[j] | (sc[j + 4] >> 4) << 6);
        s[j + 4] = (uint8_t)(mn[j] | (mn[j + 4] >> 4) << 6);
        s[j + 8] = (uint8_t)((sc[j + 4] & 15) | (mn[j + 4] & 15) << 4);
    }
}

static void block_k(uint32_t type, const float *x, const float *w, uint8_t *dst) {
    bool five = type == NG_TYPE_Q5_K;
    part p[8];
    fit f[8];
    float most_d = 0, most_m = 0;
    for (int j = 0; j < 8; j++) {
        p[j] = (part){x + 32 * j, w + 32 * j, 32, 0, five ? 31.0f : 15.0f};
        f[j] = fit_range(&p[j], as_is, true);
        most_d = fmaxf(most_d, f[j].d);
        most_m = fmaxf(most_m, -f[j].m);
    }
    float d = to_half(most_d / 63.0f), dmin = to_half(most_m / 63.0f);
    uint8_t sc[8], mn[8], codes[SUPER];
    for (int j = 0; j < 8; j++) {
        sc[j] = ratio_63(f[j].d, d);
        mn[j] = ratio_63(-f[j].m, dmin);
        choose_pair(&p[j], d, dmin, &sc[j], &mn[j]);
        codes_of(&p[j], d * (float)sc[j], -(dmin * (float)mn[j]), codes + 32 * j);
    }
    put_half(dst, d);
    put_half(dst + 2, dmin);
    put_k_scales(dst + 4, sc, mn);
    uint8_t *low = dst + (five ? 48 : 16);
    for (size_t i = 0; i < 128; i++) {
        size_t at = i / 32 * 64 + i % 32;
        low[i] = (uint8_t)((codes[at] & 15) | (codes[at + 32] & 15) << 4);
    }
    if (!five) return;
    memset(dst + 16, 0, 32);
    for (size_t i = 0; i < SUPER; i++) dst[16 + i % 32] |= (uint8_t)((codes[i] >> 4) << i / 32);
}

static void block_q6_k(const float *x, const float *w, uint8_t *dst) {
    part p[16];
    fit f[16];
    float most = 0;
    for (int j = 0; j < 16; j++) {
        p[j] = (part){x + 16 * j, w + 16 * j, 16, -32, 31};
        f[j] = fit_scale(&p[j], as_is);
        most = fmaxf(most, fabsf(f[j].d));
    }
    float d = to_half(most / 127.0f);
    uint8_t codes[SUPER];
    for (int j = 0; j < 16; j++) {
        float near = d > 0 ? clamp(nearest(f[j].d / d), -127, 127) : 0;
        fit best = {0, 0, INFINITY};
        for (float a = near - 1; a <= near + 1; a++)
            if (a >= -128 && a <= 127) keep_best(&best, &p[j], d * a, 0);
        codes_of(&p[j], best.d, 0, codes + 16 * j);
        dst[192 + j] = (uint8_t)(int8_t)(d > 0 ? nearest(best.d / d) : 0);
    }
    put_half(dst + 208, d);
    memset(dst, 0, 192);
    for (size_t i = 0; i < SUPER; i++) {
        size_t half = i / 128, quarter = i / 32 % 4, l = i % 32;
        dst[half * 64 + quarter % 2 * 32 + l] |= (uint8_t)((codes[i] & 15) << (quarter / 2 * 4));
        dst[128 + half * 32 + l] |= (uint8_t)((codes[i] >> 4) << (quarter * 2));
    }
}

/* ---- NG4, NG3, NG3_S ------------------------------------------------------------------------------------ */

typedef struct choice { /* of codes for one scale */
    uint8_t codes[64];
    float err;
} choice;

/* The code of the level nearest to u; *other: the nearest level on u's other side, or the only one beside. */
static uint8_t nearest_level(const uint8_t *levels, int n, float u, uint8_t *other) {
    int a = 0, b = n - 1;
    while (b - a > 1) {
        int mid = (a + b) / 2;
        if ((float)levels[mid] <= u) a = mid;
        else b = mid;
    }
    bool up = u - (float)levels[a] > (float)levels[b] - u;
    *other = (uint8_t)(up ? a : b);
    return (uint8_t)(up ? b : a);
}

/* A group of eight whose lowest bits may not stand as they are gets the cheapest change.  *other of a code and the
 * code have different lowest bits, so any change of bits can be made. */
static float fix_hamming(choice *c, size_t group, const uint8_t *other, const float *extra) {
    unsigned is = 0, change = 0;
    float least = INFINITY;
    for (size_t i = 0; i < 8; i++) is |= (c->codes[group + i] & 1u) << i;
    for (size_t k = 0; k < 16; k++) {
        unsigned differs = is ^ ng_hamming_words[k];
        float sum = 0;
        for (size_t i = 0; i < 8; i++)
            if (differs >> i & 1) sum += extra[group + i];
        if (sum < least) least = sum, change = differs;
    }
    for (size_t i = 0; i < 8; i++)
        if (change >> i & 1) c->codes[group + i] = other[group + i];
    return least;
}

static float fix_parity(choice *c, size_t group, const uint8_t *other, const float *extra) {
    unsigned odd = 0;
    size_t at = group;
    for (size_t i = group; i < group + 8; i++) {
        odd ^= c->codes[i] & 1u;
        if (extra[i] < extra[at]) at = i;
    }
    if (!odd) return 0;
    c->codes[at] = other[at];
    return extra[at];
}

static void choose_codes(const part *p, const ng_quant_info *q, float d, choice *c) {
    float inv = d != 0.0f ? 1.0f / d : 0.0f, extra[64], offset = (float)q->offset;
    uint8_t other[64];
    c->err = 0;
    for (size_t i = 0; i < p->n; i++) {
        float u = clamp(p->x[i] * inv + offset, -1e5f, 1e5f);
        c->codes[i] = nearest_level(q->levels, 1 << q->bits, u, &other[i]);
        float e = p->x[i] - d * ((float)q->levels[c->codes[i]] - offset);
        float o = p->x[i] - d * ((float)q->levels[other[i]] - offset);
        c->err += p->w[i] * (e * e);
        extra[i] = p->w[i] * (o * o) - p->w[i] * (e * e);
    }
    if (q->low == NG_LOW_ANY) return;
    for (size_t g = 0; g < p->n; g += 8)
        c->err += (q->low == NG_LOW_EVEN ? fix_parity : fix_hamming)(c, g, other, extra);
}

/* The scale byte and codes that lose least. */
static uint8_t choose_scale(const part *p, const ng_quant_info *q, choice *best) {
    float low, high;
    range_of(p, &low, &high);
    float most = fmaxf(-low, high);
    uint8_t scale = 0;
    choose_codes(p, q, 0, best);
    for (uint8_t s = 1; s < 128; s++) {
        float d = ng_f16_to_f32(ng_scale8_to_f16(s));
        if (d * 63.0f < most * 0.6f) continue;
        if (d * 63.0f > most * 1.5f && d > 0x1p-17f) break; /* the least scale is always tried */
        for (int sign = 0; sign < 2; sign++) {
            choice c;
            choose_codes(p, q, sign ? -d : d, &c);
            if (!(c.err < best->err)) continue;
            *best = c;
            scale = (uint8_t)(s | sign << 7);
        }
    }
    return scale;
}

uint8_t ng_search_scale8(uint32_t type, const float *x, const float *w, size_t n) {
    ng_quant_info q = ng_quant_get_info(type);
    choice unused;
    return choose_scale(&(part){x, w, n, 0, 0}, &q, &unused);
}

void ng_put_block64(uint32_t type, const uint8_t scales[2], const uint8_t codes[64], uint8_t *dst) {
    if (type == NG_TYPE_NG4) {
        memcpy(dst, scales, 2);
        put_nibbles(dst + 2, codes);
        put_nibbles(dst + 18, codes + 32);
        return;
    }
    /* Where bit 0 of column i % 8 is stored, if it is. */
    static const int8_t place[2][8] = {{0, 1, 2, 3, 4, 5, 6, -1}, {0, 1, 2, -1, 3, -1, -1, -1}};
    bool hamming = type == NG_TYPE_NG3_S;
    size_t n = hamming ? 4 : 7;
    uint64_t low = 0;
    dst[0] = scales[0];
    memset(dst + 1 + n, 0, 16);
    for (size_t i = 0; i < 64; i++) {
        int at = place[hamming][i % 8];
        if (at >= 0) low |= (uint64_t)(codes[i] & 1) << (i / 8 * n + (size_t)at);
        dst[1 + n + i % 16] |= (uint8_t)((codes[i] >> 1) << (i / 16 * 2));
    }
    memcpy(dst + 1, &low, n);
}

static void block_64(uint32_t type, const float *x, const float *w, uint8_t *dst) {
    ng_quant_info q = ng_quant_get_info(type);
    size_t n = type == NG_TYPE_NG4 ? 32 : 64;
    uint8_t scales[2] = {0, 0}, codes[64];
    for (size_t k = 0; k < 64 / n; k++) {
        choice c;
        scales[k] = choose_scale(&(part){x + n * k, w + n * k, n, 0, 0}, &q, &c);
        memcpy(codes + n * k, c.codes, n);
    }
    ng_put_block64(type, scales, codes, dst);
}

void ng_quantize_search(uint32_t type, const float *x, const float *w, uint8_t *dst) {
    switch (type) {
    case NG_TYPE_Q4_0:
    case NG_TYPE_Q4_1:
    case NG_TYPE_Q5_0:
    case NG_TYPE_Q5_1: block_32(type, x, w, dst); break;
    case NG_TYPE_Q4_K:
    case NG_TYPE_Q5_K: block_k(type, x, w, dst); break;
    case NG_TYPE_Q6_K: block_q6_k(x, w, dst); break;
    case NG_TYPE_NG4:
    case NG_TYPE_NG3:
    case NG_TYPE_NG3_S: block_64(type, x, w, dst); break;
    default: assert(!"no type that is searched");
    }
}
