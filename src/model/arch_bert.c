/* arch_bert.c: BERT (Devlin et al. 2018): every token looks at every token, one vector comes out.
 *
 *     x = LN(token + type + position)
 *     each layer:  x = LN(x + Wo attention(Wq x, Wk x, Wv x));  x = LN(x + Wdown gelu(Wup x))
 *     out = pool(x) / |pool(x)|
 *
 * Post-norm: what a layer normalises is what the next one adds to, so x lives in one activation that
 * is always the normed one.  Every product has a bias; gelu is the exact one, with erf.  Attention has
 * no mask: one sequence a forward, never padded.  All tokens are of type 0 (one segment).
 *
 * Pooling (bert.pooling_type): 1 mean over all tokens, [CLS] and [SEP] included, as
 * sentence-transformers does it; 2 the first token. */
#include "arch.h"

#include "core/checked.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POOL_MEAN = 1, POOL_CLS = 2, QUERIES = 32 }; /* QUERIES: of one head, a unit of attention work */

typedef struct layer {
    ng_mat q, k, v, o, up, down;                          /* [n_embd, n_embd] x 4, [n_ff, n_embd], [n_embd, n_ff] */
    const float *q_b, *k_b, *v_b, *o_b, *up_b, *down_b;
    ng_norm attn_norm, ffn_norm;
} layer;

typedef struct weights {
    ng_mat token, position, type; /* [n_vocab | n_ctx | n_types, n_embd] */
    ng_norm norm;
    layer *layers; /* [n_layer] */
    uint32_t pooling;
} weights;

typedef struct scratch {
    ng_act x, mixed, ff;  /* [n_ctx, n_embd], attention's result alike, [n_ctx, n_ff] */
    float *q, *k, *v;     /* [n_ctx, n_embd] */
    float *scores;        /* [n_threads, QUERIES, n_ctx] */
    float *type_row;      /* [n_threads, n_embd] one row of the other tables */
} scratch;

/* ---- loading ------------------------------------------------------------------------------------ */

static ng_status load_norm(ng_loader *l, ng_norm *n, const char *name, float eps, ng_error *err) {
    char full[64];
    size_t n_embd = l->model->info.n_embd;
    n->eps = eps;
    snprintf(full, sizeof full, "%s.weight", name);
    ng_status s = ng_load_vec(l, &n->w, full, n_embd, false, err);
    snprintf(full, sizeof full, "%s.bias", name);
    return s ? s : ng_load_vec(l, &n->b, full, n_embd, false, err);
}

static ng_status load_layer(ng_loader *l, layer *y, unsigned i, float eps, ng_error *err) {
    const size_t e = l->model->info.n_embd, ff = l->model->info.n_ff;
    const struct {
        const char *name;
        ng_mat *m;
        const float **b;
        size_t rows, cols;
    } mats[] = {{"attn_q", &y->q, &y->q_b, e, e},       {"attn_k", &y->k, &y->k_b, e, e},
                {"attn_v", &y->v, &y->v_b, e, e},       {"attn_output", &y->o, &y->o_b, e, e},
                {"ffn_up", &y->up, &y->up_b, ff, e},    {"ffn_down", &y->down, &y->down_b, e, ff}};
    char name[64];
    ng_status s = NG_OK;
    for (size_t k = 0; k < sizeof mats / sizeof mats[0] && !s; k++) {
        snprintf(name, sizeof name, "blk.%u.%s.weight", i, mats[k].name);
        s = ng_load_mat(l, mats[k].m, name, mats[k].rows, mats[k].cols, err);
        snprintf(name, sizeof name, "blk.%u.%s.bias", i, mats[k].name);
        if (!s) s = ng_load_vec(l, mats[k].b, name, mats[k].rows, false, err);
    }
    snprintf(name, sizeof name, "blk.%u.attn_output_norm", i);
    if (!s) s = load_norm(l, &y->attn_norm, name, eps, err);
    snprintf(name, sizeof name, "blk.%u.layer_output_norm", i);
    return s ? s : load_norm(l, &y->ffn_norm, name, eps, err);
}

/* Rows of a table whose height no key gives. */
static ng_status table_rows(const ng_loader *l, const char *name, uint32_t *rows, ng_error *err) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(l->model->gguf, name);
    if (!t) return ng_fail(err, NG_EFORMAT, "%s: tensor %s is missing; architecture bert needs it", l->model->info.path, name);
    if (t->dims[1] < 1 || t->dims[1] > 1 << 24)
        return ng_fail(err, NG_EFORMAT, "%s: tensor %s has %llu rows; 1 to 16777216 are possible", l->model->info.path, name,
                       (unsigned long long)t->dims[1]);
    *rows = (uint32_t)t->dims[1];
    return NG_OK;
}

static ng_status load_keys(ng_loader *l, float *eps, uint32_t *pooling, ng_error *err) {
    ng_model_info *i = &l->model->info;
    const ng_gguf *g = l->model->gguf;
    bool causal;
    if (ng_load_u32(l, "block_count", 512, &i->n_layer, err) ||
        ng_load_u32(l, "context_length", 1 << 16, &i->n_ctx_train, err) ||
        ng_load_u32(l, "embedding_length", 1 << 16, &i->n_embd, err) ||
        ng_load_u32(l, "feed_forward_length", 1 << 18, &i->n_ff, err) ||
        ng_load_u32(l, "attention.head_count", 1024, &i->n_head, err) ||
        ng_load_f32(l, "attention.layer_norm_epsilon", eps, err) ||
        ng_gguf_get_u32_or(g, "bert.pooling_type", POOL_MEAN, pooling, err) ||
        ng_gguf_get_bool_or(g, "bert.attention.causal", false, &causal, err) ||
        table_rows(l, "token_embd.weight", &i->n_vocab, err))
        return err ? err->code : NG_EFORMAT;
    i->n_head_kv = i->n_head;
    if (i->n_embd % i->n_head)
        return ng_fail(err, NG_EFORMAT, "%s: bert.embedding_length %u is not a multiple of %u heads", i->path, i->n_embd, i->n_head);
    if (!(*eps >= 0 && *eps < 1))
        return ng_fail(err, NG_EFORMAT, "%s: bert.attention.layer_norm_epsilon is %g", i->path, (double)*eps);
    if (causal) return ng_fail(err, NG_EUNSUPPORTED, "%s: bert.attention.causal is set; this version runs encoders without a mask", i->path);
    if (*pooling != POOL_MEAN && *pooling != POOL_CLS)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: bert.pooling_type %u; this version pools by mean (1) or first token (2)", i->path, *pooling);
    return NG_OK;
}

static bool contains(ng_str s, const char *word) { return memmem(s.data, s.len, word, strlen(word)) != NULL; }

/* How much of a text sentence-transformers reads: our converter writes it, llama.cpp's does not.  The
 * MiniLM family is the case that matters there: a table of 512 positions, but used on 256, and on 300
 * tokens the two vectors have a cosine of 0.96. */
static uint32_t seq_max(const ng_model *m) {
    const ng_gguf *g = m->gguf;
    uint32_t n = m->info.n_ctx_train;
    ng_gguf_array tags;
    ng_str name;
    if (ng_gguf_has(g, "nanogrid.max_seq_length")) {
        uint32_t given;
        if (!ng_gguf_get_u32(g, "nanogrid.max_seq_length", &given, NULL) && given >= 2 && given < n) n = given;
    } else if (!ng_gguf_get_str(g, "general.name", &name, NULL) && contains(name, "MiniLM") &&
               !ng_gguf_get_array(g, "general.tags", &tags, NULL) && tags.kind == NG_GGUF_STRING) {
        for (size_t i = 0; i < tags.len; i++)
            if (contains(tags.strs[i], "sentence-transformers") && n > 256) n = 256;
    }
    return n;
}

static ng_status load(ng_loader *l, ng_error *err) {
    ng_model *m = l->model;
    float eps;
    uint32_t n_types;
    weights *w = ng_arena_alloc(m->arena, sizeof *w);
    m->weights = w;
    if (!w) return ng_fail(err, NG_ENOMEM, "bert: out of memory");
    ng_status s = load_keys(l, &eps, &w->pooling, err);
    if (!s) s = table_rows(l, "token_types.weight", &n_types, err);
    if (s) return s;
    const ng_model_info *i = &m->info;
    w->layers = ng_arena_array(m->arena, i->n_layer, sizeof *w->layers);
    if (!w->layers) return ng_fail(err, NG_ENOMEM, "bert: out of memory");
    s = ng_load_mat(l, &w->token, "token_embd.weight", i->n_vocab, i->n_embd, err);
    if (!s) s = ng_load_mat(l, &w->position, "position_embd.weight", i->n_ctx_train, i->n_embd, err);
    if (!s) s = ng_load_mat(l, &w->type, "token_types.weight", n_types, i->n_embd, err);
    if (!s) s = load_norm(l, &w->norm, "token_embd_norm", eps, err);
    for (uint32_t k = 0; k < i->n_layer && !s; k++) s = load_layer(l, &w->layers[k], k, eps, err);
    m->info.n_seq_max = seq_max(m);
    return s;
}

/* ---- a session ------------------------------------------------------------------------------------ */

static ng_status make_scratch(ng_session *s, ng_error *err) {
    const ng_model_info *i = &s->model->info;
    const weights *w = s->model->weights;
    size_t n = s->max_batch, threads = (size_t)ng_pool_threads(s->pool), cells, scores;
    bool x_q8 = false, mixed_q8 = false, ff_q8 = false;
    for (uint32_t k = 0; k < i->n_layer; k++) {
        const layer *y = &w->layers[k];
        x_q8 = x_q8 || y->q.is_q8 || y->k.is_q8 || y->v.is_q8 || y->up.is_q8;
        mixed_q8 = mixed_q8 || y->o.is_q8;
        ff_q8 = ff_q8 || y->down.is_q8;
    }
    scratch *b = s->scratch = ng_arena_alloc(s->arena, sizeof *b);
    bool ok = b && ng_mul_ok(&cells, n, i->n_embd) && ng_mul_ok(&scores, n, QUERIES * threads) &&
              ng_act_init(&b->x, s->arena, n, i->n_embd, x_q8) &&
              ng_act_init(&b->mixed, s->arena, n, i->n_embd, mixed_q8) &&
              ng_act_init(&b->ff, s->arena, n, i->n_ff, ff_q8) &&
              (b->q = ng_arena_array(s->arena, cells, sizeof(float))) &&
              (b->k = ng_arena_array(s->arena, cells, sizeof(float))) &&
              (b->v = ng_arena_array(s->arena, cells, sizeof(float))) &&
              (b->scores = ng_arena_array(s->arena, scores, sizeof(float))) &&
              (b->type_row = ng_arena_array(s->arena, threads * i->n_embd, sizeof(float)));
    return ok ? NG_OK : ng_fail(err, NG_ENOMEM, "bert: no memory for sequences of %zu tokens", n);
}

/* x[t] = LN(token + type 0 + position t). */
static void embed(const ng_team *tm, ng_session *s, const ng_batch *b) {
    const weights *w = s->model->weights;
    const ng_kernels *k = s->model->kernels;
    scratch *c = s->scratch;
    size_t n = s->model->info.n_embd, begin, end;
    float *row = c->type_row + (size_t)tm->part * n;
    ng_team_slice(tm, b->n_tok, 1, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        float *x = c->x.x + t * n;
        ng_mat_row(&w->token, (size_t)b->tokens[t], x);
        ng_mat_row(&w->type, 0, row);
        k->add(x, row, n);
        ng_mat_row(&w->position, t, row);
        k->add(x, row, n);
    }
    ng_act_norm(tm, k, &c->x, c->x.x, &w->norm, b->n_tok); /* the same share of rows: no barrier */
}

/* mixed = softmax(q k^T / sqrt(d)) v for QUERIES queries of one head. */
static void attend(const ng_session *s, size_t head, size_t from, size_t n_tok, float *scores) {
    const ng_kernels *k = s->model->kernels;
    const scratch *c = s->scratch;
    size_t e = s->model->info.n_embd, d = e / s->model->info.n_head, at = head * d;
    size_t n_q = n_tok - from < QUERIES ? n_tok - from : QUERIES;
    ng_gemm g = {.w = c->k + at, .w_stride = e * sizeof(float), .row_end = n_tok, .n_cols = d,
                 .x = c->q + from * e + at, .x_stride = e, .n_tok = n_q, .y = scores, .y_stride = n_tok};
    k->gemm_f32(&g);
    for (size_t i = 0; i < n_q; i++) k->softmax(scores + i * n_tok, n_tok, 1.0f / sqrtf((float)d));
    ng_mix m = {.p = scores, .p_stride = n_tok, .v = c->v + at, .v_stride = e, .n_pos = n_tok, .n_cols = d,
                .n_q = n_q, .y = c->mixed.x + from * e + at, .y_stride = e};
    k->mix_f32(&m);
}

static void attention(const ng_team *tm, ng_session *s, size_t n_tok) {
    const scratch *c = s->scratch;
    size_t blocks = (n_tok + QUERIES - 1) / QUERIES, begin, end;
    float *scores = c->scores + (size_t)tm->part * QUERIES * s->max_batch;
    ng_team_slice(tm, s->model->info.n_head * blocks, 1, &begin, &end);
    for (size_t i = begin; i < end; i++) attend(s, i / blocks, i % blocks * QUERIES, n_tok, scores);
}

/* ff = gelu(Wup x + b): each thread finishes the columns that it computed. */
static void feed(const ng_team *tm, const ng_session *s, const layer *y, size_t n_tok) {
    const scratch *c = s->scratch;
    size_t n_ff = c->ff.n_cols, begin, end;
    ng_linear(tm, &y->up, &c->x, n_tok, (ng_out){.y = c->ff.x, .stride = n_ff, .bias = y->up_b});
    ng_linear_slice(tm, n_ff, &begin, &end);
    for (size_t t = 0; t < n_tok && end > begin; t++)
        s->model->kernels->gelu(c->ff.x + t * n_ff + begin, c->ff.x + t * n_ff + begin, end - begin);
}

static void run_layer(const ng_team *tm, ng_session *s, const layer *y, size_t n) {
    const ng_kernels *k = s->model->kernels;
    scratch *c = s->scratch;
    size_t e = s->model->info.n_embd;
    ng_linear(tm, &y->q, &c->x, n, (ng_out){.y = c->q, .stride = e, .bias = y->q_b});
    ng_linear(tm, &y->k, &c->x, n, (ng_out){.y = c->k, .stride = e, .bias = y->k_b});
    ng_linear(tm, &y->v, &c->x, n, (ng_out){.y = c->v, .stride = e, .bias = y->v_b});
    ng_team_barrier(tm);
    attention(tm, s, n);
    ng_team_barrier(tm);
    ng_act_quantize(tm, k, &c->mixed, n);
    ng_team_barrier(tm);
    ng_linear(tm, &y->o, &c->mixed, n, (ng_out){.y = c->x.x, .stride = e, .bias = y->o_b, .add = true});
    ng_team_barrier(tm);
    ng_act_norm(tm, k, &c->x, c->x.x, &y->attn_norm, n);
    ng_team_barrier(tm);
    feed(tm, s, y, n);
    ng_team_barrier(tm);
    ng_act_quantize(tm, k, &c->ff, n);
    ng_team_barrier(tm);
    ng_linear(tm, &y->down, &c->ff, n, (ng_out){.y = c->x.x, .stride = e, .bias = y->down_b, .add = true});
    ng_team_barrier(tm);
    ng_act_norm(tm, k, &c->x, c->x.x, &y->ffn_norm, n);
    ng_team_barrier(tm);
}

/* out = pooled / |pooled|, sums in double and in order. */
static void pool(const ng_session *s, const ng_batch *b) {
    const weights *w = s->model->weights;
    const scratch *c = s->scratch;
    size_t n = s->model->info.n_embd, rows = w->pooling == POOL_CLS ? 1 : b->n_tok;
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t t = 0; t < rows; t++) sum += (double)c->x.x[t * n + i];
        b->out[i] = (float)(sum / (double)rows);
        squares += (double)b->out[i] * (double)b->out[i];
    }
    double inv = squares > 0 ? 1 / sqrt(squares) : 0;
    for (size_t i = 0; i < n; i++) b->out[i] = (float)((double)b->out[i] * inv);
}

static void forward(const ng_team *tm, ng_session *s, const ng_batch *b) {
    const weights *w = s->model->weights;
    embed(tm, s, b);
    ng_team_barrier(tm);
    for (uint32_t i = 0; i < s->model->info.n_layer; i++) run_layer(tm, s, &w->layers[i], b->n_tok);
    if (tm->part == 0 && b->out) pool(s, b);
    if (tm->part == 0 && b->hidden) memcpy(b->hidden, ((scratch *)s->scratch)->x.x, b->n_tok * s->model->info.n_embd * sizeof(float));
}

const ng_arch ng_arch_bert = {"bert", NG_MODEL_ENCODER, load, make_scratch, forward};
