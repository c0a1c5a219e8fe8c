/* kernels.c: times the kernels of kernels.def at every level that this machine has.
 *
 *     build/kernels [LEVEL]
 *
 * Products with quantised weights: one token over weights that fit the L2 cache (what the instructions
 * allow), over 128 MiB (what memory allows), 8 tokens (streams that decode together), and 64 (prefill).  Others: rows of 576 floats in
 * the L1 cache.  Times are processor time of one thread, the best of five runs. */
#include "core/hash.h"
#include "kernel/kernel.h"
#include "kernel/panel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COLS = 768, MAX_TOK = 64, STREAMS = 8, ROW = 576, BIG_ROWS = 262144 };
static ng_rng rng;
static float x[MAX_TOK * COLS], y[STREAMS * BIG_ROWS], w[COLS], b[COLS];
static int8_t q[MAX_TOK * COLS];
static float d[MAX_TOK * COLS / 32], s[MAX_TOK * COLS / 32];
static int32_t sum[MAX_TOK * COLS / 16];
static uint16_t halves[COLS];
static const ng_q8 q8 = {q, d, s, sum};

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef void job_fn(const ng_kernels *k, const void *arg);

/* Seconds of one call; the clock is read once a batch, since that takes half a microsecond. */
static double best_of(job_fn *fn, const ng_kernels *k, const void *arg, int batch) {
    double best = 1e9;
    for (int round = 0; round < 5; round++) {
        size_t n = 0;
        double begin = now_s(), took;
        do {
            for (int i = 0; i < batch; i++) fn(k, arg);
            n += (size_t)batch;
            took = now_s() - begin;
        } while (took < 0.02);
        best = took / (double)n < best ? took / (double)n : best;
    }
    return best;
}

typedef struct product {
    uint32_t type;
    ng_gemm g;
} product;

static void run_product(const ng_kernels *k, const void *arg) {
    const product *p = arg;
    ng_kernels_gemm(k, p->type)(&p->g);
}

static void time_product(const ng_kernels *k, const char *name, uint32_t type) {
    size_t panel = ng_panel_bytes(type, COLS), row_bytes = type == 0 ? 4 * COLS : panel ? panel / 16 : 2 * COLS;
    size_t small = (192u << 10) / row_bytes / 16 * 16, big = (128u << 20) / row_bytes / 16 * 16;
    if (big > BIG_ROWS) big = BIG_ROWS;
    uint8_t *weights = aligned_alloc(64, big * row_bytes);
    if (!weights) return;
    for (size_t i = 0; i < big * row_bytes; i++) weights[i] = (uint8_t)((ng_rng_next(&rng) & 0x3F) | 0x04); /* no NaN */
    product p = {type, {.w = weights, .w_stride = panel ? panel : row_bytes, .n_cols = COLS, .x = x, .x_stride = COLS,
                        .q = q8, .n_tok = 1, .y = y, .y_stride = 4096}};
    p.g.row_end = small;
    double cached = best_of(run_product, k, &p, 1);
    p.g.n_tok = MAX_TOK;
    double many = best_of(run_product, k, &p, 1);
    p.g.n_tok = STREAMS;
    double streams = best_of(run_product, k, &p, 1);
    p.g.row_end = p.g.y_stride = big;
    double streams_memory = best_of(run_product, k, &p, 1);
    p.g.n_tok = 1;
    double memory = best_of(run_product, k, &p, 1);
    printf("%-12s %-8s 1 token %6.1f GB/s in L2, %6.1f from memory; 8 tokens %6.1f Gmac/s in L2, %6.1f from memory; 64 "
           "%6.1f\n",
           name, ng_cpu_level_name(k->level), (double)(small * row_bytes) / cached / 1e9,
           (double)(big * row_bytes) / memory / 1e9, (double)small * COLS * STREAMS / streams / 1e9,
           (double)big * COLS * STREAMS / streams_memory / 1e9, (double)small * COLS * MAX_TOK / many / 1e9);
    free(weights);
}

static void run_quantize_q8(const ng_kernels *k, const void *arg) { (void)arg, k->quantize_q8(&q8, x, ROW); }
static void run_softmax(const ng_kernels *k, const void *arg) {
    (void)arg, memcpy(y, x, ROW * 4), k->softmax(y, ROW, 0.1f);
}
static void run_rmsnorm(const ng_kernels *k, const void *arg) { (void)arg, k->rmsnorm(y, x, w, ROW, 1e-5f); }
static void run_layernorm(const ng_kernels *k, const void *arg) {
    (void)arg, k->layernorm(y, x, &(ng_affine){w, b}, ROW, 1e-5f);
}
static void run_silu_mul(const ng_kernels *k, const void *arg) { (void)arg, k->silu_mul(y, x, w, ROW); }
static void run_gelu(const ng_kernels *k, const void *arg) { (void)arg, k->gelu(y, x, ROW); }
static void run_add(const ng_kernels *k, const void *arg) { (void)arg, k->add(y, x, ROW); }
static void run_to_f16(const ng_kernels *k, const void *arg) { (void)arg, k->to_f16(halves, x, ROW); }
static void run_from_f16(const ng_kernels *k, const void *arg) { (void)arg, k->from_f16(y, halves, ROW); }

static void run_add_rows_i8(const ng_kernels *k, const void *arg) {
    static int32_t sums[ROW];
    const int8_t *rows[4] = {q, q + ROW, q, q + ROW};
    (void)arg;
    k->add_rows_i8(sums, rows, (const int16_t[4]){1, 2, 3, 4}, ROW);
}

static void run_add_rows_i4(const ng_kernels *k, const void *arg) {
    static int32_t sums[ROW];
    const int8_t *rows[4] = {q, q + ROW, q, q + ROW};
    (void)arg;
    k->add_rows_i4(sums, rows, (const int16_t[4]){1, 2, 3, 4}, ROW / 2);
}

static void run_quantize_u8(const ng_kernels *k, const void *arg) {
    (void)arg;
    k->quantize_u8((uint8_t *)q, d, sum, x, ROW);
}
static void run_gelu_u8(const ng_kernels *k, const void *arg) {
    (void)arg;
    memcpy(y, x, sizeof *y * ROW);
    k->gelu_u8((uint8_t *)q, d, sum, y, ROW);
}
static void run_softmax_u8(const ng_kernels *k, const void *arg) {
    (void)arg, y[0] = k->softmax_u8((uint8_t *)q, x, ROW, 1.0f);
}
static uint8_t w8_weights[512 * (NG_W8_HEAD + 384 * 16) / 16 + 64];
static uint8_t *w8_panels(void) { return w8_weights + (64 - (uintptr_t)w8_weights % 64) % 64; }
static void run_w8_row(const ng_kernels *k, const void *arg) { (void)arg, k->w8_row(w8_panels(), 3, x, ROW / 2); }
static void run_w8_columns(const ng_kernels *k, const void *arg) {
    (void)arg, k->w8_columns(w8_panels(), x, 16, ROW / 16, 16);
}

/* 512 outputs of 384 columns for 64 tokens, the shape of a small encoder. */
static void run_gemm_w8(const ng_kernels *k, const void *arg) { (void)arg, k->gemm_w8(arg); }

static void time_row(const ng_kernels *k, const char *name, job_fn *fn) {
    double t = best_of(fn, k, NULL, 200);
    printf("%-12s %-8s %6.3f ns a value\n", name, ng_cpu_level_name(k->level), t / ROW * 1e9);
}

/* 64 positions of 64 columns for 16 queries, as attention asks for a page. */
typedef void mix_fn(const ng_mix *);
static void run_mix(const ng_kernels *k, const void *arg) {
    mix_fn *const *mix = arg;
    (void)k;
    ng_mix m = {.p = w, .p_stride = 64, .v_stride = 64, .n_pos = 64, .n_cols = 64, .n_q = 16, .y = y, .y_stride = 64};
    m.v = x;
    (*mix)(&m);
}

static void (time_gemm_w8)(const ng_kernels *k) {
    for (size_t r = 0; r < 512; r++) k->w8_row(w8_panels() + r / 16 * ng_w8_panel_bytes(384), r % 16, x + r, 384);
    ng_gemm_w8 g = {.w = w8_panels(), .w_stride = ng_w8_panel_bytes(384), .row_end = 512, .n_cols = 384, .x = {(uint8_t *)q, d, sum},
                    .x_stride = 384, .n_tok = MAX_TOK, .y = y, .y_stride = 512};
    double t = best_of(run_gemm_w8, k, &g, 1);
    g.n_tok = 8;
    printf("%-12s %-8s 64 tokens %6.1f Gmac/s, 8 tokens %6.1f Gmac/s\n", "gemm w8", ng_cpu_level_name(k->level),
           512.0 * 384 * MAX_TOK / t / 1e9, 512.0 * 384 * 8 / best_of(run_gemm_w8, k, &g, 1) / 1e9);
}

static void time_mix(const ng_kernels *k, const char *name, mix_fn *mix) {
    printf("%-12s %-8s %6.1f Gmac/s\n", name, ng_cpu_level_name(k->level),
           64 * 64 * 16 / best_of(run_mix, k, &mix, 200) / 1e9);
}

#define time_gemm(type) time_product(k, "gemm " #type, NG_TYPE_##type)
#define time_gemm_f32() time_gemm(F32)
#define time_gemm_f16() time_gemm(F16)
#define time_gemm_bf16() time_gemm(BF16)
#define time_gemm_q4_0() time_gemm(Q4_0)
#define time_gemm_q4_1() time_gemm(Q4_1)
#define time_gemm_q5_0() time_gemm(Q5_0)
#define time_gemm_q5_1() time_gemm(Q5_1)
#define time_gemm_q8_0() time_gemm(Q8_0)
#define time_gemm_q4_k() time_gemm(Q4_K)
#define time_gemm_q5_k() time_gemm(Q5_K)
#define time_gemm_q6_k() time_gemm(Q6_K)
#define time_gemm_ng4() time_gemm(NG4)
#define time_gemm_ng3() time_gemm(NG3)
#define time_quantize_q8() time_row(k, "quantize_q8", run_quantize_q8)
#define time_mix_f16() time_mix(k, "mix_f16", k->mix_f16)
#define time_mix_f32() time_mix(k, "mix_f32", k->mix_f32)
#define time_mix_i8() time_mix(k, "mix_i8", k->mix_i8)
#define time_softmax() time_row(k, "softmax", run_softmax)
#define time_rmsnorm() time_row(k, "rmsnorm", run_rmsnorm)
#define time_layernorm() time_row(k, "layernorm", run_layernorm)
#define time_silu_mul() time_row(k, "silu_mul", run_silu_mul)
#define time_gelu() time_row(k, "gelu", run_gelu)
#define time_add() time_row(k, "add", run_add)
#define time_to_f16() time_row(k, "to_f16", run_to_f16)
#define time_from_f16() time_row(k, "from_f16", run_from_f16)

#define time_add_rows_i8() time_row(k, "add_rows_i8", run_add_rows_i8)
#define time_add_rows_i4() time_row(k, "add_rows_i4", run_add_rows_i4)
#define time_quantize_u8() time_row(k, "quantize_u8", run_quantize_u8)
#define time_gelu_u8() time_row(k, "gelu_u8", run_gelu_u8)
#define time_softmax_u8() time_row(k, "softmax_u8", run_softmax_u8)
#define time_w8_row() time_row(k, "w8_row x2", run_w8_row)
#define time_w8_columns() time_row(k, "w8_columns", run_w8_columns)
#define time_gemm_w8() time_gemm_w8(k)

int main(int argc, char **argv) {
    rng = ng_rng_seed(1);
    for (int i = 0; i < MAX_TOK * COLS; i++) x[i] = (float)(ng_rng_unit(&rng) * 2 - 1);
    for (int i = 0; i < COLS; i++) w[i] = (float)ng_rng_unit(&rng);
    ng_kernels_at(NG_CPU_REF)->quantize_q8(&q8, x, (size_t)MAX_TOK * COLS);
    for (int level = NG_CPU_REF; level <= NG_CPU_AMX; level++) {
        const ng_kernels *k = ng_kernels_at((ng_cpu_level)level);
        if (!k || (argc > 1 && strcmp(argv[1], ng_cpu_level_name(k->level)))) continue;
#define KERNEL(ret, name, params, shape) time_##name();
#include "kernel/kernels.def"
#undef KERNEL
    }
    return 0;
}
