/* Tests of src/kernel: stored formats against golden blocks, panels and products against arithmetic on
 * dequantised rows, and every level against the plain C reference: == on random shapes, tails,
 * misaligned pointers, with canaries around everything that is written. */
#include "core/hash.h"
#include "fault.h"
#include "kernel/kernel.h"
#include "kernel/kmath.h"
#include "kernel/panel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static ng_rng rng;

/* Mostly ordinary values; sometimes zeros and outliers, which real activations have. */
static float random_float(void) {
    float x = (float)(ng_rng_unit(&rng) * 2 - 1);
    switch (ng_rng_below(&rng, 32)) {
    case 0: return 0;
    case 1: return x * 100;
    case 2: return x * 1e-6f;
    default: return x;
    }
}

/* n values behind `skip` bytes of misalignment, with canaries on both sides. */
enum { GUARD = 64 };
typedef struct guarded {
    uint8_t *block;
    size_t bytes, skip;
} guarded;

static void *guarded_new(guarded *g, size_t bytes, size_t skip) {
    g->bytes = bytes;
    g->skip = skip;
    g->block = malloc(bytes + skip + 2 * GUARD);
    assert_non_null(g->block);
    memset(g->block, 0xA5, bytes + skip + 2 * GUARD);
    return g->block + GUARD + skip;
}

static void guarded_end(guarded *g) {
    for (size_t i = 0; i < GUARD + g->skip; i++) assert_int_equal(g->block[i], 0xA5);
    for (size_t i = 0; i < GUARD; i++) assert_int_equal(g->block[GUARD + g->skip + g->bytes + i], 0xA5);
    free(g->block);
}

static float *random_floats(guarded *g, size_t n) {
    float *p = guarded_new(g, n * sizeof *p, 4 * ng_rng_below(&rng, 8));
    for (size_t i = 0; i < n; i++) p[i] = random_float();
    return p;
}

static void same(const void *a, const void *b, size_t bytes, const char *what) {
    if (!memcmp(a, b, bytes)) return;
    const float *x = a, *y = b;
    for (size_t i = 0; i < bytes / 4; i++)
        if (memcmp(x + i, y + i, 4))
            fail_msg("%s: value %zu is %.9g, the reference has %.9g", what, i, (double)x[i], (double)y[i]);
    fail_msg("%s differs from the reference", what);
}

/* ---- stored formats --------------------------------------------------------------------------------- */

/* Random bytes with sane scales: f16 values in the fields that hold scales. */
static void random_row(uint32_t type, uint8_t *row, size_t n) {
    static const struct { uint32_t type; int d, m; } at[] = {
        {NG_TYPE_Q4_0, 0, -1}, {NG_TYPE_Q4_1, 0, 2}, {NG_TYPE_Q5_0, 0, -1}, {NG_TYPE_Q5_1, 0, 2},
        {NG_TYPE_Q8_0, 0, -1}, {NG_TYPE_Q4_K, 0, 2}, {NG_TYPE_Q5_K, 0, 2}, {NG_TYPE_Q6_K, 208, -1}}; /* our own: any byte is a scale */
    ng_quant_info q = ng_quant_get_info(type);
    for (size_t b = 0; b < n / q.block_len; b++, row += q.block_bytes) {
        for (size_t i = 0; i < q.block_bytes; i++) row[i] = (uint8_t)ng_rng_next(&rng);
        for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
            if (at[i].type != type) continue;
            uint16_t d = ng_f32_to_f16((float)ng_rng_unit(&rng) * 0.02f), m = ng_f32_to_f16(random_float() * 0.01f);
            memcpy(row + at[i].d, &d, 2);
            if (at[i].m >= 0) memcpy(row + at[i].m, &m, 2);
        }
    }
}

static const uint32_t quant_types[] = {NG_TYPE_Q4_0, NG_TYPE_Q4_1, NG_TYPE_Q5_0, NG_TYPE_Q5_1, NG_TYPE_Q8_0,
                                       NG_TYPE_Q4_K, NG_TYPE_Q5_K, NG_TYPE_Q6_K, NG_TYPE_NG4,  NG_TYPE_NG3,
                                       NG_TYPE_NG3_S};
enum { N_QUANT = sizeof quant_types / sizeof quant_types[0] };

static void halves_round_as_ieee(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = ng_f16_to_f32((uint16_t)h);
        if (isnan(f)) assert_true((h & 0x7C00) == 0x7C00 && isnan(ng_f16_to_f32(ng_f32_to_f16(f))));
        else assert_int_equal(ng_f32_to_f16(f), h);
    }
    assert_int_equal(ng_f32_to_f16(65519.0f), 0x7BFF);
    assert_int_equal(ng_f32_to_f16(65520.0f), 0x7C00);
    assert_int_equal(ng_f32_to_f16(1.0f + 0x1p-11f), 0x3C00); /* a tie goes to even */
    assert_int_equal(ng_f32_to_f16(1.0f + 3 * 0x1p-11f), 0x3C02);
    assert_int_equal(ng_f32_to_f16(0x1p-25f), 0);
    assert_int_equal(ng_f32_to_f16(0x1.8p-25f), 1);
    assert_int_equal(ng_f32_to_bf16(1.0f + 0x1p-8f), 0x3F80);
    assert_true(ng_bf16_to_f32(0x3F80) == 1.0f);
}

/* One block of each type by hand, from the format's own definition. */
static void blocks_mean_what_the_format_says(void **state) {
    (void)state;
    float y[256];
    uint8_t q4_0[18] = {0x00, 0x40, 0x9F}; /* d = 2: low nibble 15, high nibble 9 */
    ng_dequantize_row(NG_TYPE_Q4_0, q4_0, y, 32);
    assert_true(y[0] == 14 && y[16] == 2 && y[1] == -16);
    uint8_t q5_1[24] = {0x00, 0x3C, 0x00, 0x40, 0x01, 0x00, 0x02, 0x00, 0x23}; /* d 1, m 2, bits 0 and 17 */
    ng_dequantize_row(NG_TYPE_Q5_1, q5_1, y, 32);
    assert_true(y[0] == 3 + 16 + 2 && y[16] == 2 + 2 && y[17] == 16 + 2 && y[1] == 2);
    uint8_t q8_0[34] = {0x00, 0x38, 0xFF, 0x7F}; /* d = 0.5 */
    ng_dequantize_row(NG_TYPE_Q8_0, q8_0, y, 32);
    assert_true(y[0] == -0.5f && y[1] == 63.5f && y[2] == 0);
    uint8_t q4_k[144] = {0x00, 0x3C, 0x00, 0x38}; /* d 1, dmin 0.5 */
    q4_k[4] = 3 | 2 << 6;  /* sc[0] = 3; upper bits of sc[4] */
    q4_k[8] = 5 | 1 << 6;  /* mn[0] = 5; upper bits of mn[4] */
    q4_k[12] = 0x7 | 0x9 << 4; /* sc[4] = 7 | 2 << 4, mn[4] = 9 | 1 << 4 */
    q4_k[16] = 0x06;        /* sub-block 0, element 0 */
    q4_k[16 + 64] = 0x02;   /* sub-block 4, element 0 */
    ng_dequantize_row(NG_TYPE_Q4_K, q4_k, y, 256);
    assert_true(y[0] == 3 * 6 - 2.5f && y[128] == 39 * 2 - 12.5f && y[1] == -2.5f);
    uint8_t q5_k[176] = {0x00, 0x3C};
    q5_k[5] = 1;            /* sc[1] */
    q5_k[16] = 0x02;        /* bit 1 of element 0: sub-block 1 */
    q5_k[48] = 0x30;
    ng_dequantize_row(NG_TYPE_Q5_K, q5_k, y, 256);
    assert_true(y[32] == 19 && y[0] == 0);
    uint8_t q6_k[210] = {0};
    memset(q6_k + 192, 1, 16);
    q6_k[208 + 1] = 0x3C;   /* d = 1 */
    q6_k[192 + 12] = (uint8_t)-2; /* elements 192..207 */
    q6_k[64] = 0xF0;        /* second half, element 0: third quarter's low bits */
    q6_k[128 + 32] = 3 << 4;
    ng_dequantize_row(NG_TYPE_Q6_K, q6_k, y, 256);
    assert_true(y[192] == -2.0f * (63 - 32) && y[0] == -32);
    uint8_t ng4[34] = {0x78, 0xF4}; /* scales 1 and -0.75 */
    ng4[2] = 0x0F, ng4[18] = 0x10; /* elements 0 and 16, 32 and 48 */
    ng_dequantize_row(NG_TYPE_NG4, ng4, y, 64);
    assert_true(y[0] == 57 && y[16] == -63 && y[32] == 0.75f * 63 && y[48] == 0.75f * 47);
    uint8_t ng3[24] = {0x70}; /* scale 0.5 */
    ng3[1] = 0x81;            /* lowest bits: of element 0, so its group's last gets one too; of element 8 */
    ng3[8 + 9] = 1 << 2;      /* higher bits of element 25 */
    ng_dequantize_row(NG_TYPE_NG3, ng3, y, 64);
    assert_true(y[0] == -17 && y[7] == -17 && y[1] == -26.5f && y[8] == -17 && y[15] == -17 && y[25] == -10);
    uint8_t ng3_s[21] = {0x70};
    ng3_s[1] = 0x21;       /* the words 0x69 of elements 0 to 7 and 0xAA of 8 to 15 */
    ng3_s[5 + 9] = 1 << 2; /* higher bits of element 25 */
    ng_dequantize_row(NG_TYPE_NG3_S, ng3_s, y, 64);
    for (int i = 0; i < 16; i++) assert_true(y[i] == (0xAA69 >> i & 1 ? -17 : -26.5f));
    assert_true(y[16] == -26.5f && y[25] == -10);
}

static void products_match_dequantised_rows(void **state) {
    (void)state;
    const ng_kernels *k = ng_kernels_at(NG_CPU_REF);
    enum { ROWS = 21, COLS = 512, PANELS = 2 };
    for (int t = 0; t < N_QUANT; t++) {
        ng_quant_info q = ng_quant_get_info(quant_types[t]);
        size_t stride = COLS / q.block_len * q.block_bytes, panel = ng_panel_bytes(quant_types[t], COLS);
        uint8_t *rows = malloc(ROWS * stride), *panels = aligned_alloc(64, PANELS * panel);
        for (int r = 0; r < ROWS; r++) random_row(quant_types[t], rows + r * stride, COLS);
        for (int p = 0; p < PANELS; p++)
            ng_panel_pack(quant_types[t], panels + p * panel, rows + p * 16 * stride, stride, p ? ROWS - 16 : 16, COLS);
        float x[COLS], d[COLS / 32], s[COLS / 32], y[ROWS], w[COLS];
        int8_t qx[COLS];
        int32_t sum[COLS / 16];
        for (int i = 0; i < COLS; i++) x[i] = random_float();
        ng_gemm g = {.w = panels, .w_stride = panel, .row_end = ROWS, .n_cols = COLS, .q = {qx, d, s, sum},
                     .n_tok = 1, .y = y, .y_stride = ROWS};
        k->quantize_q8(&g.q, x, COLS);
        ng_kernels_gemm(k, quant_types[t])(&g);
        for (int r = 0; r < ROWS; r++) {
            float again[COLS];
            ng_dequantize_row(quant_types[t], rows + r * stride, w, COLS);
            ng_panel_row(quant_types[t], panels + r / 16 * panel, r % 16, again, COLS);
            assert_memory_equal(again, w, sizeof w);
            double want = 0, size = 0;
            for (int i = 0; i < COLS; i++) {
                want += (double)w[i] * (double)d[i / 32] * qx[i];
                size += fabs((double)w[i] * (double)d[i / 32] * qx[i]);
            }
            if (fabs(want - (double)y[r]) > 2e-6 * size)
                fail_msg("type %u row %d: %.9g, not %.9g", quant_types[t], r, (double)y[r], want);
        }
        free(rows);
        free(panels);
    }
    assert_int_equal(ng_panel_bytes(NG_TYPE_NG4, 576), 320 + 16 * 32 * 9); /* 4.28 bits a weight */
    assert_int_equal(ng_panel_bytes(NG_TYPE_Q4_K, 288), 0); /* no whole super-block */
    assert_int_equal(ng_panel_bytes(NG_TYPE_F32, 256), 0);
}

static void int8_blocks_are_close_and_mark_what_is_not_finite(void **state) {
    (void)state;
    const ng_kernels *k = ng_kernels_at(NG_CPU_REF);
    float x[64], d[2], s[2];
    int8_t q[64];
    int32_t sum[4];
    ng_q8 out = {q, d, s, sum};
    for (int i = 0; i < 64; i++) x[i] = random_float();
    x[3] = 101;
    k->quantize_q8(&out, x, 64);
    for (int i = 0; i < 64; i++) assert_true(fabsf(x[i] - d[i / 32] * (float)q[i]) <= d[i / 32] * 0.5001f);
    assert_int_equal(q[3], 127);
    x[40] = INFINITY;
    k->quantize_q8(&out, x, 64);
    assert_true(isnan(d[1]) && isnan(s[1]) && q[40] == 0 && isfinite(d[0]));
    for (int i = 0; i < 32; i++) x[i] = 1e-38f;
    k->quantize_q8(&out, x, 32);
    assert_true(d[0] == 0 && q[0] == 0);
}

static void exp_and_erf_are_accurate(void **state) {
    (void)state;
    for (float x = -86.8f; x < 88.7f; x += 0.00317f)
        assert_true(fabs((double)ng_k_exp(x) / exp((double)x) - 1) < 2.5e-7);
    for (float x = -7; x < 7; x += 0.00091f) assert_true(fabs((double)ng_k_erf(x) - erf((double)x)) < 6e-7);
    assert_true(ng_k_exp(0) == 1 && ng_k_exp(-100) == 0 && ng_k_exp(-INFINITY) == 0 && isnan(ng_k_exp(NAN)));
    assert_true(ng_k_exp(1000) > 3e38f);
}

/* ---- every kernel at every level against ref ---------------------------------------------------------- */

static const ng_kernels *ref, *fast;

static void run_gemm(uint32_t type, ng_gemm *g, size_t y_len) {
    guarded ya, yb;
    float *a = guarded_new(&ya, y_len * 4, 4), *b = guarded_new(&yb, y_len * 4, 4);
    for (size_t i = 0; i < y_len; i++) a[i] = b[i] = random_float();
    g->y = a;
    ng_kernels_gemm(ref, type)(g);
    g->y = b;
    ng_kernels_gemm(fast, type)(g);
    same(b, a, y_len * 4, "gemm");
    guarded_end(&ya);
    guarded_end(&yb);
}

static void check_gemm_float(uint32_t type) {
    size_t size = type == NG_TYPE_F32 ? 4 : 2;
    for (int round = 0; round < 60; round++) {
        size_t rows = 1 + ng_rng_below(&rng, 40), cols = 1 + ng_rng_below(&rng, 90), tok = 1 + ng_rng_below(&rng, 11);
        guarded gw, gx, gb;
        uint8_t *w = guarded_new(&gw, rows * cols * size, 2 * ng_rng_below(&rng, 9));
        for (size_t i = 0; i < rows * cols; i++) {
            float f = random_float();
            uint16_t h = type == NG_TYPE_F16 ? ng_f32_to_f16(f) : ng_f32_to_bf16(f);
            memcpy(w + i * size, size == 4 ? (void *)&f : (void *)&h, size);
        }
        const float *x = random_floats(&gx, tok * (cols + 3)), *bias = random_floats(&gb, rows);
        size_t begin = ng_rng_below(&rng, (uint32_t)rows);
        ng_gemm g = {.w = w, .w_stride = cols * size, .row_begin = begin, .row_end = rows, .n_cols = cols, .x = x,
                     .x_stride = cols + 3, .n_tok = tok, .y_stride = rows + 5, .bias = round & 1 ? bias : NULL,
                     .add = round & 2};
        run_gemm(type, &g, tok * (rows + 5));
        guarded_end(&gw), guarded_end(&gx), guarded_end(&gb);
    }
}

/* Every code as far from 0 as its type allows, so that sums of products in 16 bits are at their worst. */
static void largest_codes(uint32_t type, uint8_t *rows, size_t bytes) {
    ng_quant_info q = ng_quant_get_info(type);
    size_t d = type == NG_TYPE_Q6_K ? q.block_bytes - 2 : 0, n = q.has_min ? 4 : 2;
    for (size_t i = 0; i < bytes; i++)
        if (i % q.block_bytes < d || i % q.block_bytes >= d + n) rows[i] = type == NG_TYPE_Q8_0 ? 0x80 : 0xFF;
}

static void check_gemm_quant(uint32_t type) {
    ng_quant_info q = ng_quant_get_info(type);
    for (int round = 0; round < 40; round++) {
        size_t cols = (1 + ng_rng_below(&rng, q.block_len == 32 ? 9 : 3)) * q.block_len;
        bool few = round % 3 == 0; /* tokens: then several panels go at a time, the rest in smaller groups */
        size_t rows = 1 + ng_rng_below(&rng, few ? 250 : 60), tok = 1 + ng_rng_below(&rng, few              ? 4
                                                                                           : round % 8 == 1 ? 110
                                                                                                            : 21);
        if (round == 38) cols = 4352, rows = 20, tok = 17; /* too long to be put in the order of use */
        if (round == 39) cols = 768, rows = 1000, tok = 33; /* more panels than the second cache is to hold */
        size_t stride = cols / q.block_len * q.block_bytes, panel = ng_panel_bytes(type, cols), n = (rows + 15) / 16;
        uint8_t *stored = malloc(rows * stride), *panels = aligned_alloc(64, n * panel);
        for (size_t r = 0; r < rows; r++) random_row(type, stored + r * stride, cols);
        if (round % 8 == 4) largest_codes(type, stored, rows * stride);
        for (size_t p = 0; p < n; p++)
            ng_panel_pack(type, panels + p * panel, stored + p * 16 * stride, stride,
                          rows - p * 16 < 16 ? rows - p * 16 : 16, cols);
        guarded gx, gb, gq, gd, gs, gi;
        float *x = random_floats(&gx, tok * cols), *bias = random_floats(&gb, rows);
        if (round % 8 == 4)
            for (size_t i = 0; i < tok * cols; i++) x[i] = i / cols % 2 ? 1.5f : -1.5f; /* 127 or -127 throughout */
        ng_gemm g = {.w = panels, .w_stride = panel, .row_begin = ng_rng_below(&rng, (uint32_t)n) * 16, .row_end = rows,
                     .n_cols = cols, .n_tok = tok, .y_stride = rows + 5, .bias = round & 1 ? bias : NULL, .add = round & 2};
        g.q = (ng_q8){guarded_new(&gq, tok * cols, ng_rng_below(&rng, 9)), guarded_new(&gd, tok * cols / 8, 4),
                      guarded_new(&gs, tok * cols / 8, 4), guarded_new(&gi, tok * cols / 4, 4)};
        ref->quantize_q8(&g.q, x, tok * cols);
        run_gemm(type, &g, tok * (rows + 5));
        guarded_end(&gx), guarded_end(&gb), guarded_end(&gq), guarded_end(&gd), guarded_end(&gs), guarded_end(&gi);
        free(stored);
        free(panels);
    }
}

static void check_gemm_f32(void) { check_gemm_float(NG_TYPE_F32); }
static void check_gemm_f16(void) { check_gemm_float(NG_TYPE_F16); }
static void check_gemm_bf16(void) { check_gemm_float(NG_TYPE_BF16); }
static void check_gemm_q4_0(void) { check_gemm_quant(NG_TYPE_Q4_0); }
static void check_gemm_q4_1(void) { check_gemm_quant(NG_TYPE_Q4_1); }
static void check_gemm_q5_0(void) { check_gemm_quant(NG_TYPE_Q5_0); }
static void check_gemm_q5_1(void) { check_gemm_quant(NG_TYPE_Q5_1); }
static void check_gemm_q8_0(void) { check_gemm_quant(NG_TYPE_Q8_0); }
static void check_gemm_q4_k(void) { check_gemm_quant(NG_TYPE_Q4_K); }
static void check_gemm_q5_k(void) { check_gemm_quant(NG_TYPE_Q5_K); }
static void check_gemm_q6_k(void) { check_gemm_quant(NG_TYPE_Q6_K); }
static void check_gemm_ng4(void) { check_gemm_quant(NG_TYPE_NG4); }
static void check_gemm_ng3(void) {
    check_gemm_quant(NG_TYPE_NG3);
    check_gemm_quant(NG_TYPE_NG3_S);
}

static void check_quantize_q8(void) {
    for (size_t n = 32; n <= 32 * 40; n += 32) {
        guarded gx, g[8];
        float *x = random_floats(&gx, n);
        if (n % 96 == 0) memset(x, 0, 128);
        if (n % 160 == 0) x[5] = 1e-31f, x[n - 1] = -3e38f;
        if (n == 320) x[40] = INFINITY;
        ng_q8 q[2];
        for (int i = 0; i < 2; i++)
            q[i] = (ng_q8){guarded_new(&g[4 * i], n, i), guarded_new(&g[4 * i + 1], n / 8, 4),
                           guarded_new(&g[4 * i + 2], n / 8, 4), guarded_new(&g[4 * i + 3], n / 4, 4)};
        ref->quantize_q8(&q[0], x, n);
        fast->quantize_q8(&q[1], x, n);
        assert_memory_equal(q[0].q, q[1].q, n);
        assert_memory_equal(q[0].sum, q[1].sum, n / 4);
        for (size_t b = 0; b < n / 32; b++) /* the bits of a NaN are nobody's promise */
            assert_true((isnan(q[0].d[b]) && isnan(q[1].d[b]) && isnan(q[1].s[b])) ||
                        (q[0].d[b] == q[1].d[b] && q[0].s[b] == q[1].s[b]));
        guarded_end(&gx);
        for (int i = 0; i < 8; i++) guarded_end(&g[i]);
    }
}

/* size: of an element of v, 4 float, 2 half, 1 int8 */
static void check_mix(size_t size) {
    bool f16 = size == 2;
    for (int round = 0; round < 60; round++) {
        size_t pos = 1 + ng_rng_below(&rng, 70), cols = 1 + ng_rng_below(&rng, 80), n_q = 1 + ng_rng_below(&rng, 9);
        guarded gp, gv, ga, gb;
        float *p = random_floats(&gp, n_q * (pos + 1));
        uint8_t *v = guarded_new(&gv, pos * cols * size, 2);
        for (size_t i = 0; i < pos * cols; i++) {
            float f = random_float();
            uint16_t h = ng_f32_to_f16(f);
            int8_t code = (int8_t)ng_rng_below(&rng, 256);
            memcpy(v + i * size, size == 1 ? (void *)&code : f16 ? (void *)&h : (void *)&f, size);
        }
        float *a = guarded_new(&ga, n_q * (cols + 2) * 4, 4), *b = guarded_new(&gb, n_q * (cols + 2) * 4, 4);
        for (size_t i = 0; i < n_q * (cols + 2); i++) a[i] = b[i] = random_float();
        ng_mix m = {p, pos + 1, v, cols, pos, cols, n_q, a, cols + 2, round & 1};
        (size == 1 ? ref->mix_i8 : f16 ? ref->mix_f16 : ref->mix_f32)(&m);
        m.y = b;
        (size == 1 ? fast->mix_i8 : f16 ? fast->mix_f16 : fast->mix_f32)(&m);
        same(b, a, n_q * (cols + 2) * 4, "mix");
        guarded_end(&gp), guarded_end(&gv), guarded_end(&ga), guarded_end(&gb);
    }
}
static void check_mix_f16(void) { check_mix(2); }
static void check_mix_f32(void) { check_mix(4); }
static void check_mix_i8(void) { check_mix(1); }

/* y[n] of a row kernel at both levels, from the same inputs; in place and not. */
typedef void row_fn(const ng_kernels *k, float *y, const float *a, const float *b, const float *c, size_t n);
static void check_rows(row_fn *fn, const char *name) {
    for (size_t n = 1; n < 131; n++)
        for (int in_place = 0; in_place < 2; in_place++) {
            guarded ga, gb, gc, gy, gz;
            const float *a = random_floats(&ga, n), *b = random_floats(&gb, n), *c = random_floats(&gc, n);
            float *y = guarded_new(&gy, n * 4, 4), *z = guarded_new(&gz, n * 4, 8);
            memcpy(y, a, n * 4), memcpy(z, a, n * 4);
            fn(ref, y, in_place ? y : a, b, c, n);
            fn(fast, z, in_place ? z : a, b, c, n);
            same(z, y, n * 4, name);
            guarded_end(&ga), guarded_end(&gb), guarded_end(&gc), guarded_end(&gy), guarded_end(&gz);
        }
}

static void row_softmax(const ng_kernels *k, float *y, const float *a, const float *b, const float *c, size_t n) {
    (void)a, (void)b, (void)c;
    k->softmax(y, n, 0.37f);
}
static void row_rmsnorm(const ng_kernels *k, float *y, const float *a, const float *b, const float *c, size_t n) {
    (void)c;
    k->rmsnorm(y, a, b, n, 1e-5f);
}
static void row_layernorm(const ng_kernels *k, float *y, const float *a, const float *b, const float *c, size_t n) {
    k->layernorm(y, a, &(ng_affine){b, c}, n, 1e-12f);
}
static void row_silu_mul(const ng_kernels *k, float *y, const float *a, const float *b, const float *c, size_t n) {
    (void)c;
    k->silu_mul(y, a, b, n);
}
static void row_gelu(const ng_kernels *k, float *y, const float *a, const float *b, const float *c, size_t n) {
    (void)b, (void)c;
    k->gelu(y, a, n);
}
static void row_add(const ng_kernels *k, float *y, const float *a, const float *b, const float *c, size_t n) {
    (void)a, (void)c;
    k->add(y, b, n);
}

static void check_softmax(void) { check_rows(row_softmax, "softmax"); }
static void check_rmsnorm(void) { check_rows(row_rmsnorm, "rmsnorm"); }
static void check_layernorm(void) { check_rows(row_layernorm, "layernorm"); }
static void check_silu_mul(void) { check_rows(row_silu_mul, "silu_mul"); }
static void check_gelu(void) { check_rows(row_gelu, "gelu"); }
static void check_add(void) { check_rows(row_add, "add"); }

static void check_to_f16(void) {
    for (size_t n = 1; n < 90; n++) {
        guarded gx, ga, gb;
        float *x = random_floats(&gx, n);
        if (n > 20) x[7] = 65519, x[8] = 65520, x[9] = 1e-7f, x[10] = -1e30f, x[11] = 1.0f + 0x1p-11f;
        uint16_t *a = guarded_new(&ga, n * 2, 2), *b = guarded_new(&gb, n * 2, 2);
        ref->to_f16(a, x, n);
        fast->to_f16(b, x, n);
        assert_memory_equal(a, b, n * 2);
        guarded_end(&gx), guarded_end(&ga), guarded_end(&gb);
    }
}

/* All halves: zeros, subnormals, infinities and NaN too. */
static void check_from_f16(void) {
    for (size_t n = 1; n < 65536; n = 3 * n + 1) {
        guarded gx, ga, gb;
        uint16_t *x = guarded_new(&gx, n * 2, 2);
        for (size_t i = 0; i < n; i++) x[i] = (uint16_t)(65535 - i);
        float *a = guarded_new(&ga, n * 4, 4), *b = guarded_new(&gb, n * 4, 4);
        ref->from_f16(a, x, n);
        fast->from_f16(b, x, n);
        assert_memory_equal(a, b, n * 4);
        guarded_end(&gx), guarded_end(&ga), guarded_end(&gb);
    }
}

/* Four rows of n bytes, each with its weight. */
static void four_rows(guarded g[4], const int8_t *w[4], int16_t u[4], size_t n) {
    for (int i = 0; i < 4; i++) {
        int8_t *row = guarded_new(&g[i], n, n % 5);
        for (size_t k = 0; k < n; k++) row[k] = (int8_t)ng_rng_next(&rng);
        w[i] = row;
        u[i] = (int16_t)(ng_rng_next(&rng) & 0x7FFF);
    }
}

static void check_add_rows_i8(void) {
    for (size_t n = 1; n < 200; n++) {
        guarded gw[4], ga, gb;
        const int8_t *w[4];
        int16_t u[4];
        four_rows(gw, w, u, n);
        int32_t *a = guarded_new(&ga, n * 4, 4), *b = guarded_new(&gb, n * 4, 4);
        for (size_t k = 0; k < n; k++) {
            a[k] = b[k] = (int32_t)ng_rng_next(&rng) >> 4;
            for (int i = 0; i < 4; i++) a[k] += u[i] * w[i][k];
        }
        fast->add_rows_i8(b, w, u, n);
        assert_memory_equal(a, b, n * 4);
        for (int i = 0; i < 4; i++) guarded_end(&gw[i]);
        guarded_end(&ga), guarded_end(&gb);
    }
}

static void check_add_rows_i4(void) {
    for (size_t n = 1; n < 100; n++) {
        guarded gw[4], ga, gb;
        const int8_t *w[4];
        int16_t u[4];
        four_rows(gw, w, u, n);
        int32_t *a = guarded_new(&ga, n * 8, 4), *b = guarded_new(&gb, n * 8, 4);
        for (size_t k = 0; k < 2 * n; k++) {
            a[k] = b[k] = (int32_t)ng_rng_next(&rng) >> 4;
            for (int i = 0; i < 4; i++) a[k] += u[i] * (((uint8_t)w[i][k % n] >> (k < n ? 0 : 4) & 15) - 8);
        }
        fast->add_rows_i4(b, w, u, n);
        assert_memory_equal(a, b, n * 8);
        for (int i = 0; i < 4; i++) guarded_end(&gw[i]);
        guarded_end(&ga), guarded_end(&gb);
    }
}

/* ---- 8-bit rows ------------------------------------------------------------------------------------- */

static void check_quantize_u8(void) {
    for (size_t n = 1; n < 150; n++) {
        guarded gx, ga, gb;
        float *x = random_floats(&gx, n), da, db;
        int32_t za, zb;
        if (n % 7 == 0) for (size_t i = 0; i < n; i++) x[i] = fabsf(x[i]); /* 0 is in the range all the same */
        if (n % 11 == 0) x[n / 2] = n % 2 ? NAN : -INFINITY;
        if (n % 13 == 0) x[n / 2] = 3e38f, x[n / 3] = -3e38f;
        uint8_t *a = guarded_new(&ga, n, n % 5), *b = guarded_new(&gb, n, n % 3);
        ref->quantize_u8(a, &da, &za, x, n);
        fast->quantize_u8(b, &db, &zb, x, n);
        same(&db, &da, sizeof da, "quantize_u8: d");
        assert_int_equal(za, zb);
        assert_memory_equal(a, b, n);
        guarded_end(&gx), guarded_end(&ga), guarded_end(&gb);
    }
}

static void check_gelu_u8(void) {
    for (size_t n = 1; n < 150; n++) {
        guarded gx, gy, ga, gb;
        float *x = random_floats(&gx, n), da, db, *y = guarded_new(&gy, n * sizeof *y, 4);
        int32_t za, zb;
        for (size_t i = 0; i < n; i++) x[i] = i % 9 == 8 ? x[i] * 1e30f : x[i] * 3;
        if (n % 11 == 0) x[n / 2] = n % 2 ? NAN : -INFINITY;
        memcpy(y, x, n * sizeof *y);
        uint8_t *a = guarded_new(&ga, n, n % 5), *b = guarded_new(&gb, n, n % 3);
        ref->gelu_u8(a, &da, &za, x, n);
        fast->gelu_u8(b, &db, &zb, y, n);
        same(&db, &da, sizeof da, "gelu_u8: d");
        assert_int_equal(za, zb);
        assert_memory_equal(a, b, n);
        assert_memory_equal(x, y, n * sizeof *y);
        guarded_end(&gx), guarded_end(&gy), guarded_end(&ga), guarded_end(&gb);
    }
    for (float x = -9; x < 9; x += 0.01f) { /* near enough to the exact one */
        float coarse = x, exact, d;
        uint8_t u;
        int32_t z;
        ref->gelu_u8(&u, &d, &z, &coarse, 1);
        ref->gelu(&exact, &x, 1);
        assert_true(fabsf(coarse - exact) < 2.1e-4f);
    }
}

static void check_softmax_u8(void) {
    for (size_t n = 1; n < 150; n++) {
        guarded gx, ga, gb;
        float *x = random_floats(&gx, n), scale = (float)ng_rng_unit(&rng) * 4 + 0.01f;
        if (n % 11 == 0) x[n / 2] = n % 2 ? NAN : INFINITY;
        uint8_t *a = guarded_new(&ga, n, n % 5), *b = guarded_new(&gb, n, n % 3);
        float fa = ref->softmax_u8(a, x, n, scale), fb = fast->softmax_u8(b, x, n, scale);
        assert_memory_equal(a, b, n);
        same(&fb, &fa, sizeof fa, "softmax_u8");
        guarded_end(&gx), guarded_end(&ga), guarded_end(&gb);
    }
}

/* Panels of all rows by w8_row, the unused rows 0; free() them. */
static uint8_t *w8_panels(const ng_kernels *k, const float *w, size_t rows, size_t cols) {
    size_t bytes = ng_w8_panel_bytes(cols);
    uint8_t *p = aligned_alloc(64, (rows + 15) / 16 * bytes);
    assert_non_null(p);
    memset(p, 0, (rows + 15) / 16 * bytes);
    for (size_t r = 0; r < rows; r++) k->w8_row(p + r / 16 * bytes, r % 16, w + r * cols, cols);
    return p;
}

static void check_w8_row(void) {
    for (size_t cols = 1; cols < 100; cols++) {
        guarded gw;
        float *w = random_floats(&gw, 19 * cols);
        w[cols] = 0, w[3 * cols] = NAN, w[5 * cols + cols / 2] = INFINITY;
        uint8_t *a = w8_panels(ref, w, 19, cols), *b = w8_panels(fast, w, 19, cols);
        same(b, a, 2 * ng_w8_panel_bytes(cols), "w8_row");
        free(a), free(b);
        guarded_end(&gw);
    }
}

/* The same rows, given as columns. */
static void check_w8_columns(void) {
    for (size_t n = 1; n < 70; n++) {
        size_t rows = 1 + ng_rng_below(&rng, 16), stride = rows + ng_rng_below(&rng, 9), bytes = ng_w8_panel_bytes(n);
        guarded gx;
        float *x = random_floats(&gx, n * stride), *w = malloc(rows * n * sizeof *w);
        if (n % 5 == 0) x[(n - 1) * stride] = n % 2 ? NAN : INFINITY;
        for (size_t i = 0; i < rows * n; i++) w[i] = x[i % n * stride + i / n];
        uint8_t *want = w8_panels(ref, w, rows, n), *got = aligned_alloc(64, bytes);
        memset(got, 0xA5, bytes);
        fast->w8_columns(got, x, stride, n, rows);
        same(got, want, bytes, "w8_columns");
        memset(got, 0xA5, bytes);
        ref->w8_columns(got, x, stride, n, rows);
        same(got, want, bytes, "w8_columns of ref");
        free(w), free(want), free(got);
        guarded_end(&gx);
    }
}

/* rows x cols by n_tok, both levels, == and with canaries; returns what ref made (free it). */
static float *run_w8(size_t rows, size_t cols, size_t n_tok, int flags) {
    guarded gw, gx, gu, gd, gz, ga, gb, gc;
    size_t stride = cols + 4 * (flags & 1), y_stride = rows + 3;
    float *w = random_floats(&gw, rows * cols), *x = random_floats(&gx, n_tok * cols), *bias = random_floats(&gc, rows);
    uint8_t *u = guarded_new(&gu, n_tok * stride, 1), *panels = w8_panels(ref, w, rows, cols);
    ng_gemm_w8 g = {.w = panels, .w_stride = ng_w8_panel_bytes(cols), .row_end = rows, .n_cols = cols, .x_stride = stride,
                    .x = {u, guarded_new(&gd, n_tok * 4, 4), guarded_new(&gz, n_tok * 4, 8)}, .n_tok = n_tok,
                    .y_stride = y_stride, .bias = flags & 2 ? bias : NULL, .add = flags & 4};
    for (size_t t = 0; t < n_tok; t++) ref->quantize_u8(u + t * stride, g.x.d + t, g.x.z + t, x + t * cols, cols);
    g.row_begin = rows > 40 && flags & 1 ? 16 : 0;
    float *a = guarded_new(&ga, n_tok * y_stride * 4, 4), *b = guarded_new(&gb, n_tok * y_stride * 4, 8);
    for (size_t i = 0; i < n_tok * y_stride; i++) a[i] = b[i] = random_float();
    float *before = malloc(n_tok * y_stride * 4 + 1);
    memcpy(before, a, n_tok * y_stride * 4);
    g.y = a, ref->gemm_w8(&g);
    g.y = b, fast->gemm_w8(&g);
    same(b, a, n_tok * y_stride * 4, "gemm_w8");
    for (size_t t = 0; t < n_tok; t++)
        for (size_t r = 0; r < y_stride; r++) {
            double sum = 0, size = 0, got = (double)a[t * y_stride + r], was = (double)before[t * y_stride + r];
            if (r < g.row_begin || r >= rows) {
                assert_true(got == was);
                continue;
            }
            float wide = 0, most = 0;
            for (size_t c = 0; c < cols; c++) {
                sum += (double)w[r * cols + c] * (double)x[t * cols + c];
                size += fabs((double)x[t * cols + c]);
                wide = fmaxf(wide, fabsf(w[r * cols + c]));
            }
            for (size_t c = 0; c < cols; c++) most += fabsf(w[r * cols + c]);
            double slack =
                (double)wide / 254 * size + (double)g.x.d[t] * 1.01 * (double)(most + wide / 254 * (float)cols) + 1e-3;
            sum += (g.bias ? (double)bias[r] : 0) + (g.add ? was : 0);
            if (fabs(sum - got) > slack) fail_msg("gemm_w8: token %zu row %zu is %g, near %g expected", t, r, got, sum);
        }
    free(panels), free(before);
    guarded_end(&gw), guarded_end(&gx), guarded_end(&gc), guarded_end(&gu), guarded_end(&gd), guarded_end(&gz);
    guarded_end(&gb);
    float *copy = malloc(n_tok * y_stride * 4);
    memcpy(copy, a, n_tok * y_stride * 4);
    guarded_end(&ga);
    return copy;
}

static void check_gemm_w8(void) {
    for (size_t n_tok = 1; n_tok < 30; n_tok++)
        free(run_w8(1 + ng_rng_below(&rng, 90), 4 * (1 + ng_rng_below(&rng, 40)), n_tok, (int)ng_rng_below(&rng, 8)));
    for (int flags = 0; flags < 8; flags++) free(run_w8(64, 384, 25, flags));
}

/* The largest sums: 65,536 columns of 255 * 127 stay below 2^31. */
static void widest_w8_rows_do_not_overflow(void **state) {
    (void)state;
    enum { N = NG_W8_COLS_MAX };
    float *w = malloc(N * sizeof *w), d = 1, y[16];
    uint8_t *u = malloc(N), *panel = aligned_alloc(64, ng_w8_panel_bytes(N));
    memset(u, 255, N);
    memset(panel, 0, ng_w8_panel_bytes(N));
    for (int r = 0; r < 16; r++) {
        for (size_t i = 0; i < N; i++) w[i] = r % 2 ? -127 : 127;
        ng_kernels_at(NG_CPU_REF)->w8_row(panel, (size_t)r, w, N);
    }
    for (int level = NG_CPU_REF; level <= NG_CPU_I8MM; level++) {
        const ng_kernels *k = ng_kernels_at((ng_cpu_level)level);
        int32_t z = 0;
        if (!k) continue;
        ng_gemm_w8 g = {.w = panel, .w_stride = ng_w8_panel_bytes(N), .row_end = 16, .n_cols = N, .x = {u, &d, &z},
                        .x_stride = N, .n_tok = 1, .y = y, .y_stride = 16};
        k->gemm_w8(&g);
        for (int r = 0; r < 16; r++) assert_true(y[r] == (float)(255 * 127 * N) * (r % 2 ? -1.0f : 1.0f));
        z = 255;
        k->gemm_w8(&g);
        for (int r = 0; r < 16; r++) assert_true(y[r] == 0);
    }
    free(w), free(u), free(panel);
}

static void every_level_equals_the_reference(void **state) {
    (void)state;
    static const ng_cpu_level levels[] = {NG_CPU_AVX2, NG_CPU_AVX512,  NG_CPU_AMX,
                                          NG_CPU_NEON, NG_CPU_DOTPROD, NG_CPU_I8MM};
    ref = ng_kernels_at(NG_CPU_REF);
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        fast = ng_kernels_at(levels[i]);
        if (!fast) {
            print_message("SKIP level %s: this machine lacks it\n", ng_cpu_level_name(levels[i]));
            continue;
        }
        assert_int_equal(fast->level, levels[i]);
#define KERNEL(ret, name, params, shape) check_##name();
#include "kernel/kernels.def"
#undef KERNEL
    }
}

/* The loops of the AMX level with its tile instructions in C, so that they are tested where no AMX is. */
static void amx_loops_equal_the_reference(void **state) {
    (void)state;
#if defined(__x86_64__)
    if (!ng_cpu_can(NG_CPU_AVX512)) {
        print_message("SKIP emulated AMX: it needs AVX-512 around the tiles\n");
        skip();
    }
    static ng_kernels emulated;
    ng_kernels_fill_ref(&emulated);
    ng_kernels_fill_amx_emulated(&emulated);
    ref = ng_kernels_at(NG_CPU_REF);
    fast = &emulated;
    assert_int_equal(fast->level, NG_CPU_AMX);
    for (size_t i = 0; i < N_QUANT; i++) {
        assert_ptr_not_equal(ng_kernels_gemm(fast, quant_types[i]),
                             ng_kernels_gemm(ng_kernels_at(NG_CPU_AVX512), quant_types[i]));
        check_gemm_quant(quant_types[i]);
    }
    check_gemm_w8();
#else
    print_message("SKIP emulated AMX: not x86-64\n");
    skip();
#endif
}

/* The order of addition is a contract: these values change when somebody changes it. */
static void folds_are_frozen(void **state) {
    (void)state;
    float lanes[16];
    for (int i = 0; i < 16; i++) lanes[i] = ldexpf(1, i * 3 % 29) + (float)i * 0.37f;
    float a[8];
    for (int i = 0; i < 8; i++) a[i] = lanes[i] + lanes[i + 8];
    assert_true(ng_k_fold(lanes) == ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7])));
    float row[40], w[40], y[40];
    for (int i = 0; i < 40; i++) row[i] = (float)(i * i % 17) * 0.1f - 0.5f, w[i] = 1;
    ng_kernels_at(NG_CPU_REF)->rmsnorm(y, row, w, 40, 1e-5f);
    uint32_t h = 0;
    for (int i = 0; i < 40; i++) h = h * 31 + ng_f32_to_bits(y[i]);
    assert_int_equal(h, 0xc04b7cfb);
}

static int seed(void **state) {
    (void)state;
    rng = ng_rng_seed(20);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(halves_round_as_ieee, seed),
        cmocka_unit_test_setup(blocks_mean_what_the_format_says, seed),
        cmocka_unit_test_setup(products_match_dequantised_rows, seed),
        cmocka_unit_test_setup(int8_blocks_are_close_and_mark_what_is_not_finite, seed),
        cmocka_unit_test_setup(exp_and_erf_are_accurate, seed),
        cmocka_unit_test_setup(every_level_equals_the_reference, seed),
        cmocka_unit_test_setup(widest_w8_rows_do_not_overflow, seed),
        cmocka_unit_test_setup(amx_loops_equal_the_reference, seed),
        cmocka_unit_test_setup(folds_are_frozen, seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
