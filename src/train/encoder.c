/* encoder.c: see encoder.h.
 *
 * Forward keeps, for each layer, what backward reads: the layer's input, qkv, attention's result and
 * log-sums, the two sums before their norms, and both sides of gelu.  These lie in one block a layer,
 * made by ng_encoder_bind.  Backward walks the layers down with four gradient buffers of the widths that
 * occur and never makes an activation again, but for attention's probabilities. */
#include "encoder.h"

#include "core/checked.h"
#include "core/hash.h"
#include "core/math.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PER_LAYER = 16, TABLES = 5 };

/* Where a layer's weights are in the array. */
typedef struct layer_at {
    size_t qkv, qkv_b, o, o_b, norm1, norm1_b, up, up_b, down, down_b, norm2, norm2_b;
} layer_at;

typedef struct layer_run {
    float *qkv, *mixed, *sum1, *x1, *up, *act, *sum2, *x2; /* [n, 3a | a | w | w | ff | ff | w | w]; a: attention's width */
    float *lse, *stat1, *stat2;                            /* [n, n_head], [n, 2] twice */
} layer_run;

struct ng_encoder {
    ng_encoder_shape shape;
    ng_encoder_tensor *tensors; /* [n_tensors] */
    size_t n_tensors, n_total;
    size_t token, position, type, norm, norm_b; /* tables */
    layer_at *at;                               /* [n_layer] */
    float *weights, *grads, *moments;
    uint8_t *touched;                           /* [n_vocab]: the row has moments or a gradient */
    ng_nn *nn;
    void *block;                                /* of all activations */
    layer_run *run;                             /* [n_layer] */
    float *x0, *sum0, *stat0;                   /* after and before the embeddings' norm */
    float *dx, *dh, *dwide;                     /* [n, w] twice, [n, max(3a, ff)] */
    int32_t *pos;                               /* [n] */
    uint8_t *types;                             /* [n] */
    size_t max_tok, max_seq, longest;
    size_t frozen;                              /* layers that stay; 0: the tables are trained too */
    ng_encoder_batch batch;
    bool adapts;                                /* lora is set; weights are those of adapters */
    ng_encoder_lora lora;
    size_t n_own;                               /* weights before the extra ones */
    float *tables, *layer, *words;              /* of the base: small tables, one layer, the batch's words [n, w] */
    size_t loaded;                              /* which layer `layer` has; SIZE_MAX: none */
    float *low, *dlow;                          /* [targets, n, rank], [n, rank] */
    const float *add_qkv;                       /* [n, 3a] to the last layer's gradient, or NULL */
};

/* ---- shape and layout --------------------------------------------------------------------------- */

size_t ng_encoder_attention_width(const ng_encoder_shape *s) {
    return s->n_head * (s->head_width ? s->head_width : s->width / s->n_head);
}

size_t ng_encoder_n_type(const ng_encoder_shape *s) { return s->n_type ? s->n_type : 1; }

static size_t layer_weights(const ng_encoder_shape *s) {
    size_t w = s->width, a = ng_encoder_attention_width(s);
    return 4 * w * a + 3 * a + 6 * w + 2 * w * s->n_ff + s->n_ff;
}

size_t ng_encoder_n_weights(const ng_encoder_shape *s) {
    return (s->n_vocab + s->n_ctx + ng_encoder_n_type(s)) * s->width + 2 * s->width + s->n_layer * layer_weights(s);
}

ng_status ng_encoder_shape_check(const ng_encoder_shape *s, ng_error *err) {
    const size_t most = 1 << 20;
    if (s->n_type > 2 || !s->n_vocab || !s->n_ctx || !s->width || !s->n_layer || !s->n_head || !s->n_ff ||
        s->n_vocab > most || s->n_ctx > NG_NN_LENGTH_MAX || s->width > 4096 || s->n_layer > 64 || s->n_ff > 16384 ||
        s->n_head > s->width || (s->head_width ? s->head_width > s->width / s->n_head : s->width % s->n_head != 0) ||
        !(s->eps >= 0 && s->eps < 1))
        return ng_fail(err, NG_EINVALID,
                       "encoder: %zu words, context %zu, width %zu of %zu heads, %zu layers, %zu inner: not trainable "
                       "here "
                       "(at most 2^20 words, context 1024, width 4096, 64 layers, inner 16384; heads divide the width)",
                       s->n_vocab, s->n_ctx, s->width, s->n_head, s->n_layer, s->n_ff);
    if (ng_encoder_n_weights(s) > (size_t)1 << 30)
        return ng_fail(err, NG_EINVALID, "encoder: %zu weights; at most 2^30 are trained here",
                       ng_encoder_n_weights(s));
    return NG_OK;
}

static size_t place(ng_encoder *e, const char *name, size_t rows, size_t cols, bool decays) {
    ng_encoder_tensor *t = &e->tensors[e->n_tensors++];
    *t = (ng_encoder_tensor){.rows = rows, .cols = cols, .at = e->n_total, .decays = decays};
    snprintf(t->name, sizeof t->name, "%s", name);
    e->n_total += rows * cols;
    return t->at;
}

static size_t place_in(ng_encoder *e, size_t layer, const char *name, size_t rows, size_t cols) {
    char full[64];
    snprintf(full, sizeof full, "blk.%zu.%s", layer, name);
    return place(e, full, rows, cols, rows > 1);
}

static void place_layer(ng_encoder *e, size_t i) {
    size_t w = e->shape.width, ff = e->shape.n_ff, aw = ng_encoder_attention_width(&e->shape);
    layer_at *a = &e->at[i];
    a->qkv = place_in(e, i, "attn_q.weight", aw, w);
    place_in(e, i, "attn_k.weight", aw, w);
    place_in(e, i, "attn_v.weight", aw, w);
    a->qkv_b = place_in(e, i, "attn_q.bias", 1, aw);
    place_in(e, i, "attn_k.bias", 1, aw);
    place_in(e, i, "attn_v.bias", 1, aw);
    a->o = place_in(e, i, "attn_output.weight", w, aw);
    a->o_b = place_in(e, i, "attn_output.bias", 1, w);
    a->norm1 = place_in(e, i, "attn_output_norm.weight", 1, w);
    a->norm1_b = place_in(e, i, "attn_output_norm.bias", 1, w);
    a->up = place_in(e, i, "ffn_up.weight", ff, w);
    a->up_b = place_in(e, i, "ffn_up.bias", 1, ff);
    a->down = place_in(e, i, "ffn_down.weight", w, ff);
    a->down_b = place_in(e, i, "ffn_down.bias", 1, w);
    a->norm2 = place_in(e, i, "layer_output_norm.weight", 1, w);
    a->norm2_b = place_in(e, i, "layer_output_norm.bias", 1, w);
}

const char *const ng_lora_names[NG_LORA_TARGETS] = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"};

static size_t target_in(const ng_encoder *e, size_t t) { return ng_lora_in(&e->shape, t); }
static size_t target_out(const ng_encoder *e, size_t t) { return ng_lora_out(&e->shape, t); }
size_t ng_lora_in(const ng_encoder_shape *s, size_t t) {
    return t == 5 ? s->n_ff : t == 3 ? ng_encoder_attention_width(s) : s->width;
}
size_t ng_lora_out(const ng_encoder_shape *s, size_t t) {
    return t == 4 ? s->n_ff : t < 3 ? ng_encoder_attention_width(s) : s->width;
}

/* Of a layer's targets before t. */
static size_t adapter_weights(const ng_encoder *e, size_t t) {
    size_t n = 0;
    for (size_t i = 0; i < t; i++)
        if (e->lora.targets >> i & 1) n += e->lora.rank * (target_in(e, i) + target_out(e, i));
    return n;
}

static bool adapts_layer(const ng_encoder *e, size_t layer) { return !e->lora.layers || (e->lora.layers >> layer & 1); }

size_t ng_encoder_lora_at(const ng_encoder *e, size_t layer, size_t t) {
    if (!e->adapts || !adapts_layer(e, layer) || !(e->lora.targets >> t & 1)) return SIZE_MAX;
    size_t before = 0;
    for (size_t i = 0; i < layer; i++) before += adapts_layer(e, i);
    return before * adapter_weights(e, NG_LORA_TARGETS) + adapter_weights(e, t);
}

/* The lowest layer that backward must reach. */
static size_t lowest_layer(const ng_encoder *e) {
    size_t i = 0;
    if (!e->adapts) return e->frozen;
    while (i + 1 < e->shape.n_layer && !adapts_layer(e, i)) i++;
    return i;
}

static ng_status new_encoder(ng_encoder **out, const ng_encoder_shape *shape, size_t n_extra,
                             const ng_encoder_lora *lora, ng_error *err) {
    *out = NULL;
    ng_status s = ng_encoder_shape_check(shape, err);
    ng_encoder *e = s ? NULL : calloc(1, sizeof *e);
    if (s) return s;
    if (!e) goto no_memory;
    e->shape = *shape;
    e->tensors = calloc(TABLES + PER_LAYER * shape->n_layer, sizeof *e->tensors);
    e->at = calloc(shape->n_layer, sizeof *e->at);
    e->run = calloc(shape->n_layer, sizeof *e->run);
    e->touched = calloc(shape->n_vocab, 1);
    if (!e->tensors || !e->at || !e->run || !e->touched) goto no_memory;
    e->token = place(e, "token_embd.weight", shape->n_vocab, shape->width, false);
    e->position = place(e, "position_embd.weight", shape->n_ctx, shape->width, false);
    e->type = place(e, "token_types.weight", ng_encoder_n_type(shape), shape->width, false);
    e->norm = place(e, "token_embd_norm.weight", 1, shape->width, false);
    e->norm_b = place(e, "token_embd_norm.bias", 1, shape->width, false);
    for (size_t i = 0; i < shape->n_layer; i++) place_layer(e, i);
    if (lora) {
        size_t small = e->at[0].qkv - e->position, layer = layer_weights(shape);
        e->adapts = true;
        e->lora = *lora;
        e->n_total = 0;
        for (size_t i = 0; i < shape->n_layer; i++)
            if (adapts_layer(e, i)) e->n_total += adapter_weights(e, NG_LORA_TARGETS);
        e->loaded = SIZE_MAX;
        if (!(e->tables = malloc(small * sizeof *e->tables)) || !(e->layer = malloc(layer * sizeof *e->layer)))
            goto no_memory;
    }
    e->n_own = e->n_total;
    e->n_total += n_extra;
    e->weights = calloc(e->n_total, sizeof *e->weights);
    e->grads = calloc(e->n_total, sizeof *e->grads);
    e->moments = calloc(2 * e->n_total, sizeof *e->moments);
    if (!e->weights || !e->grads || !e->moments) goto no_memory;
    *out = e;
    return NG_OK;
no_memory:
    ng_encoder_free(e);
    return ng_fail(err, NG_ENOMEM, "encoder: no memory for %zu weights, gradients and moments",
                   ng_encoder_n_weights(shape) + n_extra);
}

ng_status ng_encoder_new(ng_encoder **out, const ng_encoder_shape *shape, size_t n_extra, ng_error *err) {
    return new_encoder(out, shape, n_extra, NULL, err);
}

ng_status ng_encoder_new_lora(ng_encoder **out, const ng_encoder_shape *shape, size_t n_extra,
                              const ng_encoder_lora *lora, ng_error *err) {
    return new_encoder(out, shape, n_extra, lora, err);
}

size_t ng_encoder_extra_at(const ng_encoder *e) { return e->n_own; }

void ng_encoder_free(ng_encoder *e) {
    if (!e) return;
    free(e->tensors);
    free(e->at);
    free(e->run);
    free(e->touched);
    free(e->weights);
    free(e->grads);
    free(e->moments);
    free(e->block);
    free(e->tables);
    free(e->layer);
    free(e);
}

const ng_encoder_tensor *ng_encoder_tensors(const ng_encoder *e, size_t *n) {
    *n = e->n_tensors;
    return e->tensors;
}
ng_encoder_shape ng_encoder_get_shape(const ng_encoder *e) { return e->shape; }
size_t ng_encoder_n_total(const ng_encoder *e) { return e->n_total; }
float *ng_encoder_weights(ng_encoder *e) { return e->weights; }
float *ng_encoder_grads(ng_encoder *e) { return e->grads; }
float *ng_encoder_moments(ng_encoder *e) { return e->moments; }

void ng_encoder_freeze(ng_encoder *e, size_t n) { e->frozen = n < e->shape.n_layer ? n : e->shape.n_layer; }

/* The first weight that is trained, but for the token table. */
static size_t trained_from(const ng_encoder *e) {
    if (!e->frozen) return e->token + e->shape.n_vocab * e->shape.width;
    return e->frozen < e->shape.n_layer ? e->at[e->frozen].qkv : ng_encoder_n_weights(&e->shape);
}

void ng_encoder_touch_moments(ng_encoder *e) {
    size_t w = e->shape.width;
    for (size_t i = 0; i < e->shape.n_vocab && !e->adapts; i++)
        for (size_t k = 0; k < w && !e->touched[i]; k++)
            e->touched[i] = e->moments[e->n_total + e->token + i * w + k] != 0;
}

/* ---- activations -------------------------------------------------------------------------------- */

typedef struct carve {
    char *base; /* NULL: only count */
    size_t used;
} carve;

static float *take(carve *c, size_t n) {
    size_t at = c->used;
    c->used += (n * sizeof(float) + 63) / 64 * 64;
    return c->base ? (float *)(c->base + at) : NULL;
}

static void carve_all(ng_encoder *e, carve *c, size_t n) {
    size_t w = e->shape.width, ff = e->shape.n_ff, aw = ng_encoder_attention_width(&e->shape);
    for (size_t i = 0; i < e->shape.n_layer; i++) {
        layer_run *r = &e->run[i];
        if (e->adapts && i) {
            *r = e->run[0];
            r->x2 = take(c, n * w);
            continue;
        }
        r->qkv = take(c, n * 3 * aw);
        r->mixed = take(c, n * aw);
        r->sum1 = take(c, n * w);
        r->x1 = take(c, n * w);
        r->up = take(c, n * ff);
        r->act = take(c, n * ff);
        r->sum2 = take(c, n * w);
        r->x2 = take(c, n * w);
        r->lse = take(c, n * e->shape.n_head);
        r->stat1 = take(c, n * 2);
        r->stat2 = take(c, n * 2);
    }
    e->x0 = take(c, n * w);
    e->sum0 = take(c, n * w);
    e->stat0 = take(c, n * 2);
    e->dx = take(c, n * w);
    e->dh = take(c, n * w);
    e->dwide = take(c, n * (ff > 3 * aw ? ff : 3 * aw));
    e->pos = (int32_t *)take(c, n);
    e->types = (uint8_t *)take(c, n / sizeof(float) + 1);
    if (!e->adapts) return;
    e->words = take(c, n * w);
    e->low = take(c, NG_LORA_TARGETS * n * e->lora.rank);
    e->dlow = take(c, n * e->lora.rank);
}

static size_t work_bytes(const ng_encoder *e, const ng_nn *nn) {
    size_t w = e->shape.width, n = e->max_tok, aw = ng_encoder_attention_width(&e->shape);
    size_t all[] = {ng_nn_linear_bytes(nn, n, w, 3 * aw), ng_nn_linear_bytes(nn, n, aw, w), ng_nn_linear_bytes(nn, n, w, e->shape.n_ff),
                    ng_nn_linear_bytes(nn, n, e->shape.n_ff, w), ng_nn_norm_bytes(n, w),
                    ng_nn_attention_bytes(nn, e->longest, aw / e->shape.n_head),
                    e->adapts ? ng_nn_linear_bytes(nn, n, w, e->lora.rank) : 0, e->adapts ? ng_nn_linear_bytes(nn, n, e->lora.rank, w) : 0,
                    e->adapts ? ng_nn_linear_bytes(nn, n, e->shape.n_ff, e->lora.rank) : 0,
                    e->adapts ? ng_nn_linear_bytes(nn, n, e->lora.rank, e->shape.n_ff) : 0};
    size_t most = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) most = all[i] > most ? all[i] : most;
    return most;
}

ng_status ng_encoder_bind(ng_encoder *e, ng_nn *nn, size_t max_tok, size_t max_seq, size_t longest, ng_error *err) {
    carve count = {0};
    e->max_tok = max_tok;
    e->max_seq = max_seq;
    e->longest = longest;
    e->nn = nn;
    for (size_t i = 1; e->adapts && i < TABLES; i++)
        e->lora.read(e->lora.self, i, 0, e->tensors[i].rows, e->tables + (e->tensors[i].at - e->position));
    free(e->block);
    e->block = NULL;
    carve_all(e, &count, max_tok);
    e->block = ng_memory_alloc_huge(count.used);
    if (!e->block)
        return ng_fail(err, NG_ENOMEM,
                       "encoder: no memory for the activations of %zu tokens (%zu bytes); use smaller batches", max_tok,
                       count.used);
    carve c = {e->block, 0};
    carve_all(e, &c, max_tok);
    return ng_nn_reserve(nn, work_bytes(e, nn), err);
}

/* ---- initialisation ----------------------------------------------------------------------------- */

/* Two normal numbers (Box and Muller), in double and our own log; the angle by a polynomial is not worth
 * it: the polar form needs none. */
static double normal(ng_rng *r) {
    for (;;) {
        double a = 2 * ng_rng_unit(r) - 1, b = 2 * ng_rng_unit(r) - 1, s = a * a + b * b;
        if (s > 0 && s < 1) return a * sqrt(-2 * ng_log(s) / s);
    }
}

static void randomize_adapters(ng_encoder *e, ng_rng *r) {
    memset(e->weights, 0, e->n_own * sizeof *e->weights);
    for (size_t i = 0; i < e->shape.n_layer; i++)
        for (size_t t = 0; t < NG_LORA_TARGETS; t++) {
            size_t at = ng_encoder_lora_at(e, i, t), in = target_in(e, t);
            for (size_t k = 0; at != SIZE_MAX && k < e->lora.rank * in; k++)
                e->weights[at + k] = (float)(normal(r) / sqrt((double)in));
        }
    for (size_t k = e->n_own; k < e->n_total; k++) e->weights[k] = (float)(0.02 * normal(r));
}

void ng_encoder_randomize(ng_encoder *e, uint64_t seed) {
    ng_rng r = ng_rng_seed(seed);
    if (e->adapts) {
        randomize_adapters(e, &r);
        return;
    }
    for (size_t i = 0; i < e->n_tensors; i++) {
        const ng_encoder_tensor *t = &e->tensors[i];
        bool is_norm = strstr(t->name, "norm.weight"), is_bias = strstr(t->name, ".bias");
        for (size_t k = 0; k < t->rows * t->cols; k++)
            e->weights[t->at + k] = is_norm ? 1 : is_bias ? 0 : (float)(0.02 * normal(&r));
    }
    size_t n = ng_encoder_n_weights(&e->shape);
    for (size_t k = n; k < e->n_total; k++) e->weights[k] = (float)(0.02 * normal(&r));
}

/* ---- forward ------------------------------------------------------------------------------------ */

/* Tensors of dropout are numbered: 0 the embeddings, then three a layer. */
static ng_dropout drop_of(const ng_encoder *e, size_t tensor) {
    return (ng_dropout){ng_dropout_key(e->batch.seed, e->batch.step, (uint32_t)tensor), e->batch.dropout};
}
static size_t n_rows(const ng_encoder *e) { return e->batch.begin[e->batch.n_seq]; }

/* The weight at `at` of the layout; with adapters of the loaded layer. */
static const float *weight_at(const ng_encoder *e, size_t at) {
    if (!e->adapts) return e->weights + at;
    if (at < e->at[0].qkv) return e->tables + (at - e->position);
    return e->layer + (at - e->at[0].qkv) % layer_weights(&e->shape);
}
static float *grad_at(const ng_encoder *e, size_t at) { return e->adapts ? NULL : e->grads + at; }

typedef struct load_job {
    ng_encoder *e;
    size_t layer;
} load_job;

static void load_rows(void *ctx, int part, int n_parts) {
    const load_job *j = ctx;
    for (size_t k = 0; k < PER_LAYER; k++) {
        size_t i = TABLES + PER_LAYER * j->layer + k, begin, end;
        const ng_encoder_tensor *t = &j->e->tensors[i];
        ng_pool_slice(t->rows, 1, part, n_parts, &begin, &end);
        if (end > begin)
            j->e->lora.read(j->e->lora.self, i, begin, end - begin,
                            j->e->layer + (t->at - j->e->at[j->layer].qkv) + begin * t->cols);
    }
}

static void load_layer(ng_encoder *e, size_t i) {
    if (!e->adapts || e->loaded == i) return;
    load_job j = {e, i};
    ng_pool_run(e->nn->pool, load_rows, &j);
    e->loaded = i;
}

/* ---- adapters ----------------------------------------------------------------------------------- */

/* Target t of a layer: x [n, in], y or dy [n, out] in rows of y_stride. */
typedef struct adapter {
    size_t n, in, out, rank, y_stride;
    const float *a, *b;
    float *da, *db, *low, *dlow;
    float scale;
} adapter;

static bool adapter_of(const ng_encoder *e, size_t layer, size_t t, adapter *p) {
    size_t at = ng_encoder_lora_at(e, layer, t), n = n_rows(e);
    if (at == SIZE_MAX) return false;
    size_t in = target_in(e, t), out = target_out(e, t), rank = e->lora.rank;
    *p = (adapter){n, in, out, rank, t < 3 ? 3 * out : out, e->weights + at, e->weights + at + rank * in, e->grads + at,
                   e->grads + at + rank * in, e->low + t * e->max_tok * rank, e->dlow, (float)(e->lora.alpha / (double)rank)};
    return true;
}

static void product(const ng_encoder *e, ng_product p) { ng_product_run(&p, &e->nn->gemm, e->nn->pool, e->nn->work); }

/* y += scale B (A x); low keeps scale A x for backward. */
static void adapt_forward(const ng_encoder *e, size_t layer, size_t t, const float *x, float *y) {
    adapter p;
    if (!adapter_of(e, layer, t, &p)) return;
    product(e, (ng_product){.m = p.n, .n = p.rank, .k = p.in, .a = {x, p.in, 1}, .b = {p.a, 1, p.in}, .c = p.low, .c_stride = p.rank});
    for (size_t i = 0; i < p.n * p.rank; i++) p.low[i] *= p.scale;
    product(e, (ng_product){.m = p.n, .n = p.out, .k = p.rank, .a = {p.low, p.rank, 1}, .b = {p.b, 1, p.rank}, .c = y, .c_stride = p.y_stride, .add = true});
}

static void adapt_backward(const ng_encoder *e, size_t layer, size_t t, const float *x, const float *dy, float *dx) {
    adapter p;
    if (!adapter_of(e, layer, t, &p)) return;
    product(e, (ng_product){.m = p.out, .n = p.rank, .k = p.n, .a = {dy, 1, p.y_stride}, .b = {p.low, p.rank, 1}, .c = p.db, .c_stride = p.rank, .add = true});
    product(e, (ng_product){.m = p.n, .n = p.rank, .k = p.out, .a = {dy, p.y_stride, 1}, .b = {p.b, p.rank, 1}, .c = p.dlow, .c_stride = p.rank});
    for (size_t i = 0; i < p.n * p.rank; i++) p.dlow[i] *= p.scale;
    product(e, (ng_product){.m = p.rank, .n = p.in, .k = p.n, .a = {p.dlow, 1, p.rank}, .b = {x, p.in, 1}, .c = p.da, .c_stride = p.in, .add = true});
    product(e, (ng_product){.m = p.n, .n = p.in, .k = p.rank, .a = {p.dlow, p.rank, 1}, .b = {p.a, p.in, 1}, .c = dx, .c_stride = p.in, .add = true});
}

static ng_nn_linear linear(const ng_encoder *e, size_t w, size_t b, size_t in, size_t out) {
    return (ng_nn_linear){.n = n_rows(e), .in = in, .out = out, .w = weight_at(e, w), .b = weight_at(e, b),
                          .dw = grad_at(e, w), .db = grad_at(e, b)};
}

static ng_nn_norm norm(const ng_encoder *e, size_t w, size_t b) {
    return (ng_nn_norm){.n = n_rows(e), .width = e->shape.width, .w = weight_at(e, w), .b = weight_at(e, b), .eps = e->shape.eps,
                        .dw = grad_at(e, w), .db = grad_at(e, b)};
}

static ng_nn_embed embedding(const ng_encoder *e) {
    return (ng_nn_embed){.n = n_rows(e), .width = e->shape.width, .ids = e->batch.ids, .pos = e->pos,
                         .token = e->adapts ? NULL : e->weights + e->token, .position = weight_at(e, e->position),
                         .type = weight_at(e, e->type), .types = e->types, .dtoken = grad_at(e, e->token), .dposition = grad_at(e, e->position),
                         .dtype = grad_at(e, e->type)};
}

static ng_nn_attention attention(const ng_encoder *e, const layer_run *r, size_t i) {
    return (ng_nn_attention){.n_seq = e->batch.n_seq, .width = ng_encoder_attention_width(&e->shape), .n_head = e->shape.n_head,
                             .begin = e->batch.begin, .qkv = r->qkv, .y = r->mixed, .lse = r->lse, .drop = drop_of(e, 3 * i + 1)};
}

static const float *input_of(const ng_encoder *e, size_t i) { return i ? e->run[i - 1].x2 : e->x0; }

static void layer_forward(ng_encoder *e, size_t i) {
    const layer_at *a = &e->at[i];
    layer_run *r = &e->run[i];
    size_t w = e->shape.width, ff = e->shape.n_ff, aw = ng_encoder_attention_width(&e->shape);
    const float *x = input_of(e, i);
    load_layer(e, i);
    ng_nn_linear qkv = linear(e, a->qkv, a->qkv_b, w, 3 * aw), o = linear(e, a->o, a->o_b, aw, w);
    ng_nn_linear up = linear(e, a->up, a->up_b, w, ff), down = linear(e, a->down, a->down_b, ff, w);
    ng_nn_attention att = attention(e, r, i);
    ng_nn_norm norm1 = norm(e, a->norm1, a->norm1_b), norm2 = norm(e, a->norm2, a->norm2_b);
    qkv.x = x, qkv.y = r->qkv;
    ng_nn_linear_forward(e->nn, &qkv);
    for (size_t t = 0; t < 3; t++) adapt_forward(e, i, t, x, r->qkv + t * aw);
    ng_nn_attention_forward(e->nn, &att);
    o.x = r->mixed, o.y = r->sum1;
    ng_nn_linear_forward(e->nn, &o);
    adapt_forward(e, i, 3, r->mixed, r->sum1);
    norm1.x = x, norm1.h = r->sum1, norm1.y = r->x1, norm1.stat = r->stat1, norm1.drop = drop_of(e, 3 * i + 2);
    ng_nn_norm_forward(e->nn, &norm1);
    up.x = r->x1, up.y = r->up;
    ng_nn_linear_forward(e->nn, &up);
    adapt_forward(e, i, 4, r->x1, r->up);
    ng_nn_gelu_forward(e->nn, &(ng_nn_map){.n = n_rows(e) * ff, .x = r->up, .y = r->act});
    down.x = r->act, down.y = r->sum2;
    ng_nn_linear_forward(e->nn, &down);
    adapt_forward(e, i, 5, r->act, r->sum2);
    norm2.x = r->x1, norm2.h = r->sum2, norm2.y = r->x2, norm2.stat = r->stat2, norm2.drop = drop_of(e, 3 * i + 3);
    ng_nn_norm_forward(e->nn, &norm2);
}

/* The rows of the batch's words, so that the table itself stays quantised; dx is free before backward and holds their ids. */
static void gather_words(ng_encoder *e, ng_nn_embed *embed) {
    int32_t *ids = (int32_t *)e->dx;
    for (size_t t = 0; t < embed->n; t++) {
        e->lora.read(e->lora.self, 0, (size_t)e->batch.ids[t], 1, e->words + t * embed->width);
        ids[t] = (int32_t)t;
    }
    embed->token = e->words;
    embed->ids = ids;
}

const float *ng_encoder_forward(ng_encoder *e, const ng_encoder_batch *b) {
    assert(b->n_seq <= e->max_seq && b->begin[b->n_seq] <= e->max_tok);
    e->batch = *b;
    bool two = b->first && ng_encoder_n_type(&e->shape) == 2;
    for (size_t s = 0; s < b->n_seq; s++)
        for (size_t t = b->begin[s]; t < b->begin[s + 1]; t++) {
            e->pos[t] = (int32_t)(t - b->begin[s]);
            e->types[t] = two && b->first[s] && t - b->begin[s] >= b->first[s];
            if (!e->frozen) e->touched[b->ids[t]] = 1;
        }
    ng_nn_embed embed = embedding(e);
    embed.x = e->sum0;
    if (e->adapts) gather_words(e, &embed);
    ng_nn_embed_forward(e->nn, &embed);
    ng_nn_norm first = norm(e, e->norm, e->norm_b);
    first.x = e->sum0, first.y = e->x0, first.stat = e->stat0;
    ng_nn_norm_forward(e->nn, &first);
    if (b->dropout > 0)
        ng_nn_drop_forward(e->nn, &(ng_nn_map){.n = n_rows(e) * e->shape.width,
                                               .x = e->x0,
                                               .y = e->x0,
                                               .drop = drop_of(e, 0)});
    for (size_t i = 0; i < e->shape.n_layer; i++) layer_forward(e, i);
    return e->run[e->shape.n_layer - 1].x2;
}

/* ---- backward ----------------------------------------------------------------------------------- */

float *ng_encoder_grad_out(ng_encoder *e) { return e->dx; }
const float *ng_encoder_qkv(const ng_encoder *e) { return e->run[e->shape.n_layer - 1].qkv; }
void ng_encoder_add_qkv(ng_encoder *e, const float *dqkv) { e->add_qkv = dqkv; }
ng_encoder_values ng_encoder_layer_values(const ng_encoder *e, size_t i) {
    return (ng_encoder_values){input_of(e, i), e->run[i].mixed, e->run[i].act, e->run[i].x2};
}

/* In: e->dx is the gradient of the layer's output; out: of its input. */
static void layer_backward(ng_encoder *e, size_t i) {
    const layer_at *a = &e->at[i];
    layer_run *r = &e->run[i];
    size_t w = e->shape.width, ff = e->shape.n_ff, aw = ng_encoder_attention_width(&e->shape);
    const float *x = input_of(e, i);
    load_layer(e, i);
    ng_nn_linear qkv = linear(e, a->qkv, a->qkv_b, w, 3 * aw), o = linear(e, a->o, a->o_b, aw, w);
    ng_nn_linear up = linear(e, a->up, a->up_b, w, ff), down = linear(e, a->down, a->down_b, ff, w);
    ng_nn_attention att = attention(e, r, i);
    ng_nn_norm norm1 = norm(e, a->norm1, a->norm1_b), norm2 = norm(e, a->norm2, a->norm2_b);
    norm2.x = r->x1, norm2.h = r->sum2, norm2.stat = r->stat2, norm2.drop = drop_of(e, 3 * i + 3);
    norm2.dy = e->dx, norm2.dx = e->dx, norm2.dh = e->dh;
    ng_nn_norm_backward(e->nn, &norm2);
    down.x = r->act, down.dy = e->dh, down.dx = e->dwide;
    ng_nn_linear_backward(e->nn, &down);
    adapt_backward(e, i, 5, r->act, e->dh, e->dwide);
    ng_nn_gelu_backward(e->nn, &(ng_nn_map){.n = n_rows(e) * ff, .x = r->up, .dy = e->dwide, .dx = e->dwide});
    up.x = r->x1, up.dy = e->dwide, up.dx = e->dx, up.add_dx = true;
    ng_nn_linear_backward(e->nn, &up);
    adapt_backward(e, i, 4, r->x1, e->dwide, e->dx);
    norm1.x = x, norm1.h = r->sum1, norm1.stat = r->stat1, norm1.drop = drop_of(e, 3 * i + 2);
    norm1.dy = e->dx, norm1.dx = e->dx, norm1.dh = e->dh;
    ng_nn_norm_backward(e->nn, &norm1);
    o.x = r->mixed, o.dy = e->dh, o.dx = r->sum1; /* whose sum nobody reads any more */
    ng_nn_linear_backward(e->nn, &o);
    adapt_backward(e, i, 3, r->mixed, e->dh, r->sum1);
    att.dy = r->sum1, att.dqkv = e->dwide;
    ng_nn_attention_backward(e->nn, &att);
    for (size_t k = 0; e->add_qkv && i + 1 == e->shape.n_layer && k < n_rows(e) * 3 * aw; k++)
        e->dwide[k] += e->add_qkv[k];
    qkv.x = x, qkv.dy = e->dwide, qkv.dx = e->dx, qkv.add_dx = true;
    ng_nn_linear_backward(e->nn, &qkv);
    for (size_t t = 0; t < 3; t++) adapt_backward(e, i, t, x, e->dwide + t * aw, e->dx);
}

void ng_encoder_backward(ng_encoder *e) {
    for (size_t i = e->shape.n_layer, lowest = lowest_layer(e); i-- > lowest;) {
        if (e->adapts && i + 1 < e->shape.n_layer) layer_forward(e, i); /* the last one's values are still there */
        layer_backward(e, i);
    }
    if (e->frozen || e->adapts) return;
    if (e->batch.dropout > 0)
        ng_nn_drop_backward(e->nn, &(ng_nn_map){.n = n_rows(e) * e->shape.width,
                                                .dy = e->dx,
                                                .dx = e->dx,
                                                .drop = drop_of(e, 0)});
    ng_nn_norm first = norm(e, e->norm, e->norm_b);
    first.x = e->sum0, first.stat = e->stat0, first.dy = e->dx, first.dx = e->dx;
    ng_nn_norm_backward(e->nn, &first);
    ng_nn_embed embed = embedding(e);
    embed.dx = e->dx;
    ng_nn_embed_backward(e->nn, &embed);
}

/* ---- update ------------------------------------------------------------------------------------- */

static void update_range(ng_encoder *e, ng_adamw a, size_t at, size_t n) {
    ng_nn_update u = {e->weights + at, e->moments + at, e->moments + e->n_total + at, e->grads + at, n, a};
    ng_nn_adamw(e->nn, &u);
    memset(e->grads + at, 0, n * sizeof *e->grads);
}

/* Runs of touched rows of the token table. */
static void update_tokens(ng_encoder *e, ng_adamw a) {
    size_t w = e->shape.width, n = e->shape.n_vocab;
    a.decay = 0;
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && e->touched[end]) end++;
        if (end > i) update_range(e, a, e->token + i * w, (end - i) * w);
        i = end + 1;
    }
}

/* Rows of the table that no batch met have a gradient of 0. */
static double gradient_length(const ng_encoder *e) {
    if (e->adapts) return ng_nn_length(e->nn, e->grads, e->n_total);
    size_t w = e->shape.width, n = e->shape.n_vocab, rest = trained_from(e);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        if (e->touched[i]) sum += e->nn->e->squares(e->grads + e->token + i * w, w);
    double others = ng_nn_length(e->nn, e->grads + rest, e->n_total - rest);
    return sqrt(sum + others * others);
}

double ng_encoder_step(ng_encoder *e, const ng_encoder_update *u) {
    double length = gradient_length(e) * u->scale, scale = u->scale;
    if (!isfinite(length)) return length;
    if (u->clip > 0 && length > u->clip) scale *= u->clip / length;
    double c1 = 1, c2 = 1;
    for (uint64_t n = u->step, k = 0; k < 64; k++) { /* beta^step by squaring */
        if (n >> k & 1) {
            double p1 = u->beta1, p2 = u->beta2;
            for (uint64_t j = 0; j < k; j++) p1 *= p1, p2 *= p2;
            c1 *= p1, c2 *= p2;
        }
    }
    ng_adamw a = {(float)u->rate, (float)u->beta1, (float)u->beta2, (float)u->eps, (float)u->decay,
                  (float)(1 / (1 - c1)), (float)(1 / (1 - c2)), (float)scale};
    ng_adamw plain = a;
    plain.decay = 0;
    if (e->adapts) {
        if (e->n_own) update_range(e, a, 0, e->n_own);
        if (e->n_total > e->n_own) update_range(e, plain, e->n_own, e->n_total - e->n_own);
        return length;
    }
    update_tokens(e, a);
    size_t first = 1, from_at = trained_from(e);
    while (first < e->n_tensors && e->tensors[first].at < from_at) first++;
    for (size_t i = first; i < e->n_tensors;) { /* neighbours of one kind together */
        size_t from = i, at = e->tensors[i].at;
        while (i < e->n_tensors && e->tensors[i].decays == e->tensors[from].decays) i++;
        size_t end = i < e->n_tensors ? e->tensors[i].at : ng_encoder_n_weights(&e->shape);
        update_range(e, e->tensors[from].decays ? a : plain, at, end - at);
    }
    size_t n = ng_encoder_n_weights(&e->shape);
    if (e->n_total > n) update_range(e, plain, n, e->n_total - n);
    return length;
}
