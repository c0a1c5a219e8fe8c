/* ref.c: every kernel in plain C: the definition, the fallback and the oracle.  See kernel.h.
 *
 * Nothing here is tuned except that loops over the 16 rows of a panel are innermost, which any
 * compiler turns into vectors.  The SIMD levels must give the same bits (tests/unit/test_kernel.c),
 * so a change of one operation here is a change of every level. */
#include "kernel.h"

#include "kmath.h"
#include "panel.h"
#include "label_rows.h"

#include <math.h>

enum { ROWS = NG_PANEL_ROWS };

/* ---- products with float weights ------------------------------------------------------------- */

typedef enum elem { ELEM_F32, ELEM_F16, ELEM_BF16, ELEM_I8 } elem;

static inline float load_elem(elem e, const uint8_t *p, size_t i) {
    uint16_t h;
    float f;
    if (e == ELEM_F32) {
        memcpy(&f, p + 4 * i, 4);
        return f;
    }
    if (e == ELEM_I8) return (float)(int8_t)p[i];
    memcpy(&h, p + 2 * i, 2);
    return e == ELEM_F16 ? ng_f16_to_f32(h) : ng_bf16_to_f32(h);
}

static inline void put(const ng_gemm *g, size_t t, size_t r, float acc) {
    float *y = &g->y[t * g->y_stride + r];
    if (g->bias) acc = acc + g->bias[r];
    *y = g->add ? *y + acc : acc;
}

static inline void gemm_float(const ng_gemm *g, elem e) {
    for (size_t r = g->row_begin; r < g->row_end; r++) {
        const uint8_t *w = (const uint8_t *)g->w + r * g->w_stride;
        for (size_t t = 0; t < g->n_tok; t++) {
            const float *x = g->x + t * g->x_stride;
            float lanes[16] = {0};
            for (size_t c = 0; c < g->n_cols; c++) lanes[c % 16] = lanes[c % 16] + load_elem(e, w, c) * x[c];
            put(g, t, r, ng_k_fold(lanes));
        }
    }
}

static void gemm_f32(const ng_gemm *g) { gemm_float(g, ELEM_F32); }
static void gemm_f16(const ng_gemm *g) { gemm_float(g, ELEM_F16); }
static void gemm_bf16(const ng_gemm *g) { gemm_float(g, ELEM_BF16); }

/* ---- products with quantised weights ---------------------------------------------------------- */

/* 32 columns of a panel as w[column][row]. */
static void unpack(const ng_quant_info *q, const uint8_t *codes, uint8_t w[32][ROWS]) {
    unsigned bits = q->bits;
    for (size_t c = 0; c < 32; c++)
        for (size_t r = 0; r < ROWS; r++) {
            const uint8_t *p = codes + 4 * r + c % 4;
            unsigned v;
            if (bits == 8) v = p[c / 4 * 64];
            else if (bits == 3) v = (p[c / 16 * 64] >> (c / 4 % 4 * 2) & 3u) << 1 | (p[128] >> (c / 4) & 1u);
            else v = p[c / 4 % 4 * 64] >> (c / 16 * 4) & 15u;
            if (bits == 5) v |= (p[256] >> (c / 4) & 1u) << 4;
            if (bits == 6) v |= (p[256 + c / 16 * 64] >> (c / 4 % 4 * 2) & 3u) << 4;
            w[c][r] = q->levels ? q->levels[v] : (uint8_t)v;
        }
}

/* dw and mw of 32 columns (two dw for groups of 16), from the scales of their block. */
typedef struct scales {
    float d[2][ROWS], m[ROWS];
} scales;

static void load_scales(uint32_t type, ng_quant_info q, const uint8_t *s, size_t sub, scales *out) {
    const uint8_t *sc = s + (q.has_min ? 64 : 32) + 32 * sub;
    for (size_t r = 0; r < ROWS; r++) {
        out->m[r] = 0;
        if (q.levels) {
            out->d[0][r] = ng_f16_to_f32(ng_scale8_to_f16(s[(type == NG_TYPE_NG4 ? 16 * sub : 0) + r]));
            continue;
        }
        float d = load_elem(ELEM_F16, s, r), m = q.has_min ? load_elem(ELEM_F16, s + 32, r) : 0;
        out->d[0][r] = out->d[1][r] = d;
        out->m[r] = m;
        if (q.block_len == 32) continue;
        if (type == NG_TYPE_Q6_K) {
            out->d[0][r] = d * (float)(int8_t)sc[r];
            out->d[1][r] = d * (float)(int8_t)sc[16 + r];
        } else {
            out->d[0][r] = d * (float)sc[r];
            out->m[r] = 0.0f - m * (float)sc[16 + r]; /* subtracting mw * sx is adding its negative */
        }
    }
}

static void integer_sums(uint8_t w[32][ROWS], const int8_t *x, size_t begin, size_t end, int32_t *isum) {
    for (size_t c = begin; c < end; c++)
        for (size_t r = 0; r < ROWS; r++) isum[r] += w[c][r] * x[c];
}

/* Adds 32 columns of token x to acc. */
static void add_block(ng_quant_info q, uint8_t w[32][ROWS], const scales *s, const ng_q8 *x, float *acc) {
    size_t n_groups = 32u / q.group;
    for (size_t h = 0; h < n_groups; h++) {
        int32_t isum[ROWS], sum = n_groups == 1 ? x->sum[0] + x->sum[1] : x->sum[h];
        for (size_t r = 0; r < ROWS; r++) isum[r] = -(int32_t)q.offset * sum;
        integer_sums(w, x->q, h * q.group, (h + 1) * q.group, isum);
        for (size_t r = 0; r < ROWS; r++) {
            float v = (s->d[h][r] * *x->d) * (float)isum[r];
            if (q.has_min) v = v + s->m[r] * *x->s;
            acc[r] = acc[r] + v;
        }
    }
}

enum { TOKS = 8 }; /* tokens that share one unpacking */

static void gemm_tile(const ng_gemm *g, uint32_t type, size_t row, size_t tok) {
    ng_quant_info q = ng_quant_get_info(type);
    ng_panel_layout l = ng_panel_get_layout(type, g->n_cols);
    const uint8_t *panel = (const uint8_t *)g->w + row / ROWS * g->w_stride;
    size_t n = g->n_tok - tok < TOKS ? g->n_tok - tok : TOKS;
    float acc[TOKS][ROWS] = {{0}};
    uint8_t w[32][ROWS];
    scales s;
    for (size_t b = 0; b < g->n_cols / 32; b++) {
        size_t per_block = q.block_len / 32u;
        unpack(&q, panel + l.codes_at + b * l.code_bytes, w);
        load_scales(type, q, panel + b / per_block * l.scale_bytes, b % per_block, &s);
        for (size_t t = 0; t < n; t++) {
            size_t at = (tok + t) * (g->n_cols / 32) + b;
            ng_q8 x = {g->q.q + at * 32, g->q.d + at, g->q.s + at, g->q.sum + at * 2};
            add_block(q, w, &s, &x, acc[t]);
        }
    }
    for (size_t t = 0; t < n; t++)
        for (size_t r = 0; r < ROWS && row + r < g->row_end; r++) put(g, tok + t, row + r, acc[t][r]);
}

static void gemm_panels(const ng_gemm *g, uint32_t type) {
    for (size_t r = g->row_begin; r < g->row_end; r += ROWS)
        for (size_t t = 0; t < g->n_tok; t += TOKS) gemm_tile(g, type, r, t);
}

static void gemm_q4_0(const ng_gemm *g) { gemm_panels(g, NG_TYPE_Q4_0); }
static void gemm_q4_1(const ng_gemm *g) { gemm_panels(g, NG_TYPE_Q4_1); }
static void gemm_q5_0(const ng_gemm *g) { gemm_panels(g, NG_TYPE_Q5_0); }
static void gemm_q5_1(const ng_gemm *g) { gemm_panels(g, NG_TYPE_Q5_1); }
static void gemm_q8_0(const ng_gemm *g) { gemm_panels(g, NG_TYPE_Q8_0); }
static void gemm_q4_k(const ng_gemm *g) { gemm_panels(g, NG_TYPE_Q4_K); }
static void gemm_q5_k(const ng_gemm *g) { gemm_panels(g, NG_TYPE_Q5_K); }
static void gemm_q6_k(const ng_gemm *g) { gemm_panels(g, NG_TYPE_Q6_K); }
static void gemm_ng4(const ng_gemm *g) { gemm_panels(g, NG_TYPE_NG4); }
static void gemm_ng3(const ng_gemm *g) { gemm_panels(g, NG_TYPE_NG3); }

static void quantize_q8(const ng_q8 *q, const float *x, size_t n) {
    for (size_t b = 0; b < n / 32; b++, x += 32) {
        uint32_t top = 0;
        for (int i = 0; i < 32; i++) {
            uint32_t a = ng_f32_to_bits(x[i]) & 0x7FFFFFFF; /* order of bits is order of |x| */
            top = a > top ? a : top;
        }
        float amax = ng_bits_to_f32(top), d = 0, inv = 0;
        if (amax >= NG_Q8_TINY) d = amax / 127.0f, inv = 1.0f / d;
        if (top >= 0x7F800000) d = NAN, inv = 0;
        int32_t sum[2] = {0, 0};
        for (int i = 0; i < 32; i++) {
            float v = inv > 0 ? x[i] * inv : 0;
            int8_t c = (int8_t)(int32_t)(v + NG_EXP_ROUND - NG_EXP_ROUND);
            q->q[b * 32 + i] = c;
            sum[i / 16] += c;
        }
        q->d[b] = d;
        q->s[b] = d * (float)(sum[0] + sum[1]);
        q->sum[2 * b] = sum[0];
        q->sum[2 * b + 1] = sum[1];
    }
}

/* ---- attention --------------------------------------------------------------------------------- */

static inline void mix(const ng_mix *m, elem e) {
    size_t size = e == ELEM_F32 ? 4 : e == ELEM_I8 ? 1 : 2;
    for (size_t q = 0; q < m->n_q; q++)
        for (size_t c = 0; c < m->n_cols; c++) {
            float *y = &m->y[q * m->y_stride + c], acc = m->add ? *y : 0;
            for (size_t j = 0; j < m->n_pos; j++)
                acc = acc + m->p[q * m->p_stride + j] *
                                load_elem(e, (const uint8_t *)m->v + j * m->v_stride * size, c);
            *y = acc;
        }
}

static void mix_f16(const ng_mix *m) { mix(m, ELEM_F16); }
static void mix_f32(const ng_mix *m) { mix(m, ELEM_F32); }
static void mix_i8(const ng_mix *m) { mix(m, ELEM_I8); }

static void softmax(float *x, size_t n, float scale) {
    float top = x[0], lanes[16] = {0};
    for (size_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    for (size_t i = 0; i < n; i++) {
        x[i] = ng_k_exp((x[i] - top) * scale);
        lanes[i % 16] = lanes[i % 16] + x[i];
    }
    float inv = 1.0f / ng_k_fold(lanes);
    for (size_t i = 0; i < n; i++) x[i] = x[i] * inv;
}

/* ---- rows -------------------------------------------------------------------------------------- */

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps) {
    float lanes[16] = {0};
    for (size_t i = 0; i < n; i++) lanes[i % 16] = lanes[i % 16] + x[i] * x[i];
    float inv = 1.0f / sqrtf(ng_k_fold(lanes) / (float)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = (x[i] * inv) * w[i];
}

static void layernorm(float *y, const float *x, const ng_affine *a, size_t n, float eps) {
    float sums[16] = {0}, squares[16] = {0};
    for (size_t i = 0; i < n; i++) sums[i % 16] = sums[i % 16] + x[i];
    float mean = ng_k_fold(sums) / (float)n;
    for (size_t i = 0; i < n; i++) squares[i % 16] = squares[i % 16] + (x[i] - mean) * (x[i] - mean);
    float inv = 1.0f / sqrtf(ng_k_fold(squares) / (float)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = ((x[i] - mean) * inv) * a->w[i] + a->b[i];
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = (gate[i] / (1.0f + ng_k_exp(0.0f - gate[i]))) * up[i];
}

static void gelu(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = (0.5f * x[i]) * (1.0f + ng_k_erf(x[i] * 0.70710678f));
}

static void add(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = y[i] + x[i];
}

static void to_f16(uint16_t *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = ng_f32_to_f16(x[i]);
}

static void from_f16(float *y, const uint16_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = ng_f16_to_f32(x[i]);
}

/* ---- 8-bit rows (w8.h) --------------------------------------------------------------------------- */

static float round_even(float x) { return x + NG_EXP_ROUND - NG_EXP_ROUND; } /* |x| < 2^22 */

static bool all_finite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((ng_f32_to_bits(x[i]) & 0x7FFFFFFF) >= 0x7F800000) return false;
    return true;
}

static void gemm_w8(const ng_gemm_w8 *g) {
    for (size_t r = g->row_begin; r < g->row_end; r++)
        for (size_t t = 0; t < g->n_tok; t++) {
            const uint8_t *panel = g->w + r / ROWS * g->w_stride, *u = g->x.u + t * g->x_stride;
            int32_t isum = 0;
            float scale;
            memcpy(&scale, panel + 4 * (r % ROWS), 4);
            for (size_t c = 0; c < g->n_cols; c++)
                isum += (u[c] - g->x.z[t]) * (int8_t)panel[NG_W8_HEAD + c / 4 * 64 + 4 * (r % ROWS) + c % 4];
            float acc = (scale * g->x.d[t]) * (float)isum, *y = &g->y[t * g->y_stride + r];
            if (g->bias) acc = acc + g->bias[r];
            *y = g->add ? *y + acc : acc;
        }
}

static void put_u8(uint8_t *u, float *d, int32_t *z, const float *x, size_t n, bool finite) {
    float lo = 0, hi = 0;
    for (size_t i = 0; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    float range = hi - lo, inv = 0;
    finite = finite && range < INFINITY;
    *d = finite ? 0 : NAN;
    if (finite && range >= NG_Q8_TINY) *d = range / 255.0f, inv = 1.0f / *d;
    float zero = round_even((0.0f - lo) * inv);
    *z = finite ? (int32_t)zero : 0;
    for (size_t i = 0; i < n; i++) {
        float v = round_even(x[i] * inv) + zero;
        u[i] = finite ? (uint8_t)(v < 255.0f ? v : 255.0f) : 0;
    }
}

static void quantize_u8(uint8_t *u, float *d, int32_t *z, const float *x, size_t n) {
    put_u8(u, d, z, x, n, all_finite(x, n));
}

static void add_rows_i8(int32_t *sums, const int8_t *const w[4], const int16_t u[4], size_t n) {
    ng_k_add_rows_i8(sums, w, u, n);
}

static void add_rows_i4(int32_t *sums, const int8_t *const w[4], const int16_t u[4], size_t n) {
    ng_k_add_rows_i4(sums, w, u, n);
}

static void gelu_u8(uint8_t *u, float *d, int32_t *z, float *x, size_t n) {
    bool finite = all_finite(x, n);
    for (size_t i = 0; i < n; i++) x[i] = ng_k_gelu_coarse(x[i]);
    put_u8(u, d, z, x, n, finite);
}

static float softmax_u8(uint8_t *u, const float *x, size_t n, float scale) {
    float top = x[0], by = scale * NG_EXP_LOG2E;
    int32_t sum = 0;
    for (size_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    bool finite = all_finite(x, n);
    for (size_t i = 0; i < n; i++) {
        u[i] = finite ? (uint8_t)round_even(ng_k_exp2_coarse((x[i] - top) * by) * 255.0f) : 0;
        sum += u[i];
    }
    return finite ? 1.0f / (float)sum : NAN;
}

/* 127 / the largest |x|, with its inverse in *scale; 0 where there is nothing to scale. */
static float w8_inverse(uint32_t top_bits, float *scale) {
    float amax = ng_bits_to_f32(top_bits), inv = 0;
    *scale = 0;
    if (amax >= NG_Q8_TINY) *scale = amax / 127.0f, inv = 1.0f / *scale;
    if (top_bits >= 0x7F800000) *scale = NAN, inv = 0;
    return inv;
}

/* One row, value i at x[i * step]. */
static void w8_put(uint8_t *panel, size_t r, const float *x, size_t step, size_t n) {
    uint32_t top = 0;
    float scale;
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t a = ng_f32_to_bits(x[i * step]) & 0x7FFFFFFF;
        top = a > top ? a : top;
    }
    float inv = w8_inverse(top, &scale);
    for (size_t i = 0; i < (n + 3) / 4 * 4; i++) {
        int32_t c = inv > 0 && i < n ? (int32_t)round_even(x[i * step] * inv) : 0;
        panel[NG_W8_HEAD + i / 4 * 64 + 4 * r + i % 4] = (uint8_t)c;
        sum += c;
    }
    memcpy(panel + 4 * r, &scale, 4);
    memcpy(panel + 4 * ROWS + 4 * r, &sum, 4);
}

static void w8_row(uint8_t *panel, size_t r, const float *x, size_t n) { w8_put(panel, r, x, 1, n); }

static void w8_columns(uint8_t *panel, const float *x, size_t stride, size_t n, size_t n_rows) {
    for (size_t r = 0; r < ROWS; r++) w8_put(panel, r, x + (r < n_rows ? r : 0), stride, r < n_rows ? n : 0);
    for (size_t r = n_rows; r < ROWS; r++) /* no value: w8_put has written no codes */
        for (size_t i = 0; i < (n + 3) / 4 * 4; i++) panel[NG_W8_HEAD + i / 4 * 64 + 4 * r + i % 4] = 0;
}

void ng_kernels_fill_ref(ng_kernels *k) {
    k->level = NG_CPU_REF;
#define KERNEL(ret, name, params, shape) k->name = name;
#include "kernels.def"
#undef KERNEL
}
