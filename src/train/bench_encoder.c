/* bench_encoder.c: tokens a second of an encoder's training step; see ng_train_bench.
 *
 * What is timed is what peers/training.py times of PyTorch: random words, all texts of one length,
 * mean pooling, a head of two labels, cross-entropy, AdamW over every weight.  One warm-up step, then
 * steps for two seconds, at least four; the median of three such rounds. */
#include <nanogrid/tools/train.h>

#include "core/clock.h"
#include "core/hash.h"
#include "train/encoder_base.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS = 2, ROUNDS = 3 };

typedef struct bench {
    ng_nn nn;
    ng_encoder *e;
    size_t batch, length;
    size_t *begin;
    int32_t *ids, *label;
    uint32_t *seqs;
    float *pooled, *dpooled, *z, *dz;
    uint64_t step;
} bench;

static void one_step(bench *b) {
    ng_encoder_shape s = ng_encoder_get_shape(b->e);
    size_t w = s.width, at = ng_encoder_n_weights(&s);
    ng_encoder_batch batch = {.n_seq = b->batch, .begin = b->begin, .ids = b->ids};
    const float *x = ng_encoder_forward(b->e, &batch);
    float *dx = ng_encoder_grad_out(b->e), *head = ng_encoder_weights(b->e) + at, *dhead = ng_encoder_grads(b->e) + at;
    memset(dx, 0, b->begin[b->batch] * w * sizeof *dx);
    ng_nn_pool p = {b->batch, w, b->begin, b->seqs, false, x, b->pooled, b->dpooled, dx};
    ng_nn_linear l = {.n = b->batch, .in = w, .out = LABELS, .x = b->pooled, .w = head, .b = head + LABELS * w, .y = b->z,
                      .dy = b->dz, .dx = b->dpooled, .dw = dhead, .db = dhead + LABELS * w};
    ng_nn_loss loss =
        {.n = b->batch, .n_labels = LABELS, .z = b->z, .label = b->label, .scale = 1.0 / (double)b->batch, .dz = b->dz};
    ng_nn_pool_forward(&b->nn, &p);
    ng_nn_linear_forward(&b->nn, &l);
    (void)ng_nn_cross_entropy(&loss);
    ng_nn_linear_backward(&b->nn, &l);
    ng_nn_pool_backward(&b->nn, &p);
    ng_encoder_backward(b->e);
    ng_encoder_update u =
        {.rate = 1e-5, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = 0.01, .scale = 1, .step = ++b->step};
    (void)ng_encoder_step(b->e, &u);
}

static double one_round(bench *b) {
    double start = ng_clock_ms(), took;
    int n = 0;
    do one_step(b), n++;
    while ((took = ng_clock_ms() - start) < 2000 || n < 4);
    return 1e3 * (double)(b->batch * b->length) * n / took;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void clear(bench *b) {
    ng_encoder_free(b->e);
    ng_nn_clear(&b->nn);
    free(b->begin), free(b->ids), free(b->label), free(b->seqs);
    free(b->pooled), free(b->dpooled), free(b->z), free(b->dz);
}

static ng_status prepare(bench *b, const ng_encoder_base *base, ng_error *err) {
    size_t n = b->batch * b->length, w = base->shape.width;
    ng_status s = ng_encoder_new(&b->e, &base->shape, LABELS * (w + 1), err);
    if (!s) s = ng_encoder_base_copy(base, b->e, err);
    if (!s) s = ng_encoder_bind(b->e, &b->nn, n, b->batch, b->length, err);
    if (s) return s;
    b->begin = malloc((b->batch + 1) * sizeof *b->begin);
    b->ids = malloc(n * sizeof *b->ids);
    b->label = malloc(b->batch * sizeof *b->label);
    b->seqs = malloc(b->batch * sizeof *b->seqs);
    b->pooled = malloc(b->batch * w * sizeof(float));
    b->dpooled = malloc(b->batch * w * sizeof(float));
    b->z = malloc(b->batch * LABELS * sizeof(float));
    b->dz = malloc(b->batch * LABELS * sizeof(float));
    if (!b->begin || !b->ids || !b->label || !b->seqs || !b->pooled || !b->dpooled || !b->z || !b->dz)
        return ng_fail(err, NG_ENOMEM, "bench: out of memory");
    ng_rng r = ng_rng_seed(1);
    uint32_t words = (uint32_t)base->shape.n_vocab;
    for (size_t i = 0; i < n; i++) b->ids[i] = (int32_t)ng_rng_below(&r, words);
    for (size_t i = 0; i <= b->batch; i++) b->begin[i] = i * b->length;
    for (size_t i = 0; i < b->batch; i++) b->label[i] = (int32_t)(i % LABELS), b->seqs[i] = (uint32_t)i;
    return NG_OK;
}

static ng_status one_cell(const ng_encoder_base *base, int n_threads, ng_train_bench_row *row, ng_precision precision,
                          ng_error *err) {
    bench b = {.batch = (size_t)row->batch, .length = (size_t)row->length};
    double rates[ROUNDS];
    ng_status s = ng_nn_init(&b.nn, n_threads, precision, err);
    if (!s) s = prepare(&b, base, err);
    if (!s) one_step(&b);
    for (int i = 0; !s && i < ROUNDS; i++) rates[i] = one_round(&b);
    clear(&b);
    if (s) return s;
    qsort(rates, ROUNDS, sizeof *rates, by_value);
    row->tokens_per_s = rates[ROUNDS / 2];
    return NG_OK;
}

ng_status ng_train_bench(const char *recipe_path, int n_threads, ng_train_bench_fn *row, void *ctx, ng_error *err) {
    static const int cells[][2] = {{32, 32}, {16, 128}};
    ng_arena *arena;
    ng_encoder_recipe recipe;
    ng_encoder_base base = {0};
    ng_gemm_ops ops;
    if (ng_arena_new(&arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    ng_status s = ng_encoder_recipe_is(recipe_path)
                      ? ng_encoder_recipe_read(&recipe, recipe_path, arena, err)
                      : ng_fail(err, NG_EUNSUPPORTED,
                                "%s: --bench times recipes of `task: encoder`; others train in seconds", recipe_path);
    if (!s) recipe.base.words = 0;
    if (!s && recipe.base.context < 128) recipe.base.context = 128;
    if (!s) s = ng_encoder_base_open(&base, &recipe, P_tmpdir, err);
    if (!s) s = ng_encoder_base_choose(&base, P_tmpdir, err);
    for (int p = NG_PRECISION_F32; !s && p <= NG_PRECISION_BF16; p++) {
        if (ng_gemm_ops_get(&ops, (ng_precision)p, NULL)) continue;
        for (size_t i = 0; !s && i < sizeof cells / sizeof cells[0]; i++) {
            if ((size_t)cells[i][1] > base.shape.n_ctx) continue; /* a base that holds less */
            ng_train_bench_row r = {cells[i][0], cells[i][1], ng_precision_name((ng_precision)p), ops.name, 0};
            s = one_cell(&base, n_threads, &r, (ng_precision)p, err);
            if (!s && !row(ctx, &r)) s = ng_fail(err, NG_ECANCELLED, "%s: stopped", recipe_path);
        }
    }
    ng_encoder_base_close(&base);
    ng_arena_free(arena);
    return s;
}

const char *ng_train_kernel(void) {
    ng_gemm_ops ops;
    return ng_gemm_ops_get(&ops, NG_PRECISION_AUTO, NULL) ? NULL : ops.name;
}
