/* arch_bert.c: BERT (Devlin et al. 2018): every token looks at every token, one vector comes out.
 *
 *     x = LN(token + type + position)
 *     each layer:  x = LN(x + Wo attention(Wq x, Wk x, Wv x));  x = LN(x + Wdown gelu(Wup x))
 *     out = pool(x) / |pool(x)|
 *
 * Post-norm: what a layer normalises is what the next one adds to, so x lives in one activation that
 * is always the normed one.  Every product has a bias; gelu is the exact one, with erf, or within 2e-4 of it
 * where its result becomes 8 bits.  Attention has no mask; sequences lie one after another, never padded.
 * Tokens are of type 0, and those of a pair's second text of type 1 where the file has such a row.
 *
 * A thread owns rows of the batch and takes them through a layer CHUNK at a time, while what it made of
 * them is in its caches; only keys and values pass between threads.  That is three barriers a layer, and
 * scratch that does not grow with the batch but for x, keys and values.  Quantised matrices of any type
 * become int8 rows (kernel/w8.h).  What an adapter adds (adapter.h) is in floats, behind each product.
 *
 * Pooling (bert.pooling_type): 1 mean over all tokens, [CLS] and [SEP] included, as
 * sentence-transformers does it; 2 the first token. */
#include "adapter.h"
#include "attend_all.h"
#include "tensor/rows.h"

#include "core/checked.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POOL_MEAN = 1, POOL_CLS = 2, CHUNK = 48 }; /* CHUNK: rows; a multiple of 12, the tile of AVX-512 */

typedef struct low_ranks { /* of an adapter; rank 0: none */
    ng_low_rank q, k, v, o, up, down;
} low_ranks;

typedef struct layer {
    ng_mat q, k, v, o, up, down;                          /* [n_attn, n_embd] x 3, [n_embd, n_attn], [n_ff, n_embd], [n_embd, n_ff] */
    const float *q_b, *k_b, *v_b, *o_b, *up_b, *down_b;
    ng_norm attn_norm, ffn_norm;
    const low_ranks *adapts; /* NULL: no adapter */
} layer;

typedef struct weights {
    ng_mat token, position, type; /* [n_vocab | n_ctx | n_types, n_embd] */
    uint32_t n_types;
    ng_norm norm;
    layer *layers; /* [n_layer] */
    uint32_t pooling, head_dim; /* n_attn = n_head * head_dim: less than n_embd where heads were pruned */
} weights;

typedef struct part { /* of one thread */
    ng_rows mixed, ff;    /* [CHUNK, n_attn] attention's result, [CHUNK, n_ff] */
    float *qk;            /* [CHUNK, n_attn] keys, later queries */
    float *row;           /* [n_embd] one row of the other tables */
    float *low;           /* [CHUNK, NG_ADAPTER_RANK_MAX] with an adapter */
} part;

typedef struct scratch {
    ng_rows x;            /* [max_batch, n_embd] */
    ng_attend_all attend;
    part *parts;          /* [n_threads] */
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
    const weights *all = l->model->weights;
    const size_t e = l->model->info.n_embd, ff = l->model->info.n_ff, a = (size_t)l->model->info.n_head * all->head_dim;
    const struct {
        const char *name;
        ng_mat *m;
        const float **b;
        size_t rows, cols;
    } mats[] = {{"attn_q", &y->q, &y->q_b, a, e},       {"attn_k", &y->k, &y->k_b, a, e},
                {"attn_v", &y->v, &y->v_b, a, e},       {"attn_output", &y->o, &y->o_b, e, a},
                {"ffn_up", &y->up, &y->up_b, ff, e},    {"ffn_down", &y->down, &y->down_b, e, ff}};
    char name[64];
    ng_status s = NG_OK;
    for (size_t k = 0; k < sizeof mats / sizeof mats[0] && !s; k++) {
        snprintf(name, sizeof name, "blk.%u.%s.weight", i, mats[k].name);
        s = ng_load_mat(l, mats[k].m, name, mats[k].rows, mats[k].cols, err);
        snprintf(name, sizeof name, "blk.%u.%s.bias", i, mats[k].name);
        if (!s) s = ng_load_vec(l, mats[k].b, name, mats[k].rows, false, err);
        if (!s && !ng_mat_use_w8(mats[k].m))
            s = ng_fail(err, NG_EUNSUPPORTED,
                        "%s: blk.%u.%s has rows of %zu columns; quantised ones of at most %d are run",
                        l->model->info.path, i, mats[k].name, mats[k].cols, NG_W8_COLS_MAX);
    }
    snprintf(name, sizeof name, "blk.%u.attn_output_norm", i);
    if (!s) s = load_norm(l, &y->attn_norm, name, eps, err);
    snprintf(name, sizeof name, "blk.%u.layer_output_norm", i);
    return s ? s : load_norm(l, &y->ffn_norm, name, eps, err);
}

static ng_status load_adapter(ng_model *m, layer *y, unsigned i, ng_error *err) {
    low_ranks *a = m->adapter ? ng_arena_alloc(m->arena, sizeof *a) : NULL;
    if (!m->adapter) return NG_OK;
    if (!a) return ng_fail(err, NG_ENOMEM, "bert: out of memory");
    *a = (low_ranks){0};
    const struct {
        const char *name;
        ng_low_rank *l;
    } all[] = {{"attn_q", &a->q},      {"attn_k", &a->k},  {"attn_v", &a->v},
               {"attn_output", &a->o}, {"ffn_up", &a->up}, {"ffn_down", &a->down}};
    char name[64];
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        snprintf(name, sizeof name, "blk.%u.%s.weight", i, all[k].name);
        *all[k].l = ng_adapter_find(m->adapter, name);
    }
    y->adapts = a;
    return NG_OK;
}

/* Rows of a table whose height no key gives. */
static ng_status table_rows(const ng_loader *l, const char *name, uint32_t *rows, ng_error *err) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(l->model->gguf, name);
    if (!t)
        return ng_fail(err, NG_EFORMAT, "%s: tensor %s is missing; architecture bert needs it", l->model->info.path,
                       name);
    if (t->dims[1] < 1 || t->dims[1] > 1 << 24)
        return ng_fail(err, NG_EFORMAT, "%s: tensor %s has %llu rows; 1 to 16777216 are possible", l->model->info.path,
                       name, (unsigned long long)t->dims[1]);
    *rows = (uint32_t)t->dims[1];
    return NG_OK;
}

static ng_status load_keys(ng_loader *l, float *eps, weights *w, ng_error *err) {
    uint32_t *pooling = &w->pooling;
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
    if (ng_gguf_get_u32_or(g, "bert.attention.key_length", i->n_embd / i->n_head, &w->head_dim, err))
        return err ? err->code : NG_EFORMAT;
    if (w->head_dim < 1 || w->head_dim > i->n_embd)
        return ng_fail(err, NG_EFORMAT, "%s: bert.attention.key_length is %u; 1 to %u are possible", i->path,
                       w->head_dim, i->n_embd);
    if (i->n_embd % i->n_head && !ng_gguf_has(g, "bert.attention.key_length"))
        return ng_fail(err, NG_EFORMAT, "%s: bert.embedding_length %u is not a multiple of %u heads", i->path,
                       i->n_embd, i->n_head);
    if (!(*eps >= 0 && *eps < 1))
        return ng_fail(err, NG_EFORMAT, "%s: bert.attention.layer_norm_epsilon is %g", i->path, (double)*eps);
    if (causal)
        return ng_fail(err, NG_EUNSUPPORTED,
                       "%s: bert.attention.causal is set; this version runs encoders without a mask", i->path);
    if (*pooling != POOL_MEAN && *pooling != POOL_CLS)
        return ng_fail(err, NG_EUNSUPPORTED,
                       "%s: bert.pooling_type %u; this version pools by mean (1) or first token (2)", i->path,
                       *pooling);
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
    weights *w = ng_arena_alloc(m->arena, sizeof *w);
    m->weights = w;
    if (!w) return ng_fail(err, NG_ENOMEM, "bert: out of memory");
    ng_status s = load_keys(l, &eps, w, err);
    if (!s) s = table_rows(l, "token_types.weight", &w->n_types, err);
    if (s) return s;
    const ng_model_info *i = &m->info;
    w->layers = ng_arena_array(m->arena, i->n_layer, sizeof *w->layers);
    if (!w->layers) return ng_fail(err, NG_ENOMEM, "bert: out of memory");
    s = ng_load_lookup(l, &w->token, "token_embd.weight", i->n_vocab, i->n_embd, err);
    if (!s) s = ng_load_lookup(l, &w->position, "position_embd.weight", i->n_ctx_train, i->n_embd, err);
    if (!s) s = ng_load_lookup(l, &w->type, "token_types.weight", w->n_types, i->n_embd, err);
    if (!s) s = load_norm(l, &w->norm, "token_embd_norm", eps, err);
    for (uint32_t k = 0; k < i->n_layer && !s; k++) s = load_layer(l, &w->layers[k], k, eps, err);
    for (uint32_t k = 0; k < i->n_layer && !s; k++) s = load_adapter(m, &w->layers[k], k, err);
    m->info.n_seq_max = seq_max(m);
    return s;
}

/* ---- a session ------------------------------------------------------------------------------------ */

static bool make_part(part *p, ng_session *s, bool quantised) {
    const ng_model_info *i = &s->model->info;
    size_t n_attn = (size_t)i->n_head * ((const weights *)s->model->weights)->head_dim;
    return ng_rows_init(&p->mixed, s->arena, CHUNK, n_attn, quantised) &&
           ng_rows_init(&p->ff, s->arena, CHUNK, i->n_ff, quantised) &&
           (p->qk = ng_arena_array(s->arena, CHUNK * n_attn, sizeof(float))) &&
           (p->row = ng_arena_array(s->arena, i->n_embd, sizeof(float))) &&
           (!s->model->adapter ||
            (p->low = ng_arena_array(s->arena, (size_t)CHUNK * NG_ADAPTER_RANK_MAX, sizeof(float))));
}

static bool is_quantised(const ng_model *m) {
    const weights *w = m->weights;
    for (uint32_t k = 0; k < m->info.n_layer; k++) {
        const layer *y = &w->layers[k];
        if (y->q.is_w8 || y->k.is_w8 || y->v.is_w8 || y->o.is_w8 || y->up.is_w8 || y->down.is_w8) return true;
    }
    return false;
}

static ng_status make_scratch(ng_session *s, ng_error *err) {
    size_t threads = (size_t)ng_pool_threads(s->pool);
    bool quantised = is_quantised(s->model);
    scratch *c = s->scratch = ng_arena_alloc(s->arena, sizeof *c);
    bool ok = c && ng_rows_init(&c->x, s->arena, s->max_batch, s->model->info.n_embd, quantised) &&
              ng_attend_all_init(&c->attend, s, ((const weights *)s->model->weights)->head_dim, quantised) &&
              (c->parts = ng_arena_array(s->arena, threads, sizeof *c->parts));
    for (size_t i = 0; ok && i < threads; i++) ok = make_part(&c->parts[i], s, quantised);
    return ok ? NG_OK : ng_fail(err, NG_ENOMEM, "bert: no memory for sequences of %zu tokens", s->max_batch);
}

/* ---- forward ------------------------------------------------------------------------------------- */

/* What a thread works on: its rows of the batch. */
typedef struct run {
    const ng_team *tm;
    ng_session *s;
    const ng_batch *b;
    const ng_kernels *k;
    scratch *c;
    part *p;
    size_t begin, end, n_embd;
} run;

static void norm_rows(const run *r, const ng_norm *norm, size_t begin, size_t end) {
    const ng_affine a = {norm->w, norm->b};
    for (size_t t = begin; t < end; t++) {
        float *x = r->c->x.x + t * r->n_embd;
        r->k->layernorm(x, x, &a, r->n_embd, norm->eps);
    }
    ng_rows_quantize(r->k, &r->c->x, begin, end);
}

/* x[row] = LN(token + type + position). */
static void embed(const run *r) {
    const weights *w = r->s->model->weights;
    for (size_t i = 0; i < r->b->n_spans; i++) {
        const ng_span *span = &r->b->spans[i];
        for (size_t t = span->row > r->begin ? span->row : r->begin; t < r->end && t < span->row + span->n_tok; t++) {
            float *x = r->c->x.x + t * r->n_embd;
            ng_mat_row(&w->token, (size_t)r->b->tokens[t], x);
            ng_mat_row(&w->type, span->first && t - span->row >= span->first && w->n_types > 1, r->p->row);
            r->k->add(x, r->p->row, r->n_embd);
            ng_mat_row(&w->position, t - span->row, r->p->row);
            r->k->add(x, r->p->row, r->n_embd);
        }
    }
    norm_rows(r, &w->norm, r->begin, r->end);
}

/* What an adapter adds to y [n, stride] for rows x[n, ..]. */
static void adapt(const run *r, const ng_low_rank *l, const float *x, size_t n, float *y, size_t stride) {
    ng_low_rank_add(r->k, l, &(ng_low_rank_io){x, n, y, stride, r->p->low});
}

static void keys_and_values(const run *r, const layer *y) {
    size_t e = r->n_embd, w = r->c->attend.n_embd;
    for (size_t t = r->begin; t < r->end; t += CHUNK) {
        size_t to = r->end - t < CHUNK ? r->end : t + CHUNK;
        ng_rows_linear(r->tm, r->k, &y->v, (ng_rows_in){&r->c->x, t, to},
                       (ng_out){.y = r->c->attend.v + t * w, .stride = w, .bias = y->v_b});
        ng_rows_linear(r->tm, r->k, &y->k, (ng_rows_in){&r->c->x, t, to},
                       (ng_out){.y = r->p->qk, .stride = w, .bias = y->k_b});
        if (y->adapts) {
            adapt(r, &y->adapts->v, r->c->x.x + t * e, to - t, r->c->attend.v + t * w, w);
            adapt(r, &y->adapts->k, r->c->x.x + t * e, to - t, r->p->qk, w);
        }
        ng_attend_all_keys(&r->c->attend, r->b, t, to, r->p->qk);
    }
}

/* Rows begin .. end - 1, at most CHUNK, from their queries to the end of the layer. */
static void finish(const run *r, const layer *y, size_t begin, size_t end) {
    size_t e = r->n_embd, w = r->c->attend.n_embd, n = end - begin, n_ff = r->p->ff.n_cols;
    const low_ranks *a = y->adapts;
    ng_out residual = {.y = r->c->x.x + begin * e, .stride = e, .add = true};
    ng_rows_linear(r->tm, r->k, &y->q, (ng_rows_in){&r->c->x, begin, end},
                   (ng_out){.y = r->p->qk, .stride = w, .bias = y->q_b});
    if (a) adapt(r, &a->q, r->c->x.x + begin * e, n, r->p->qk, w);
    ng_attend_all_run(r->tm, &r->c->attend, r->b, &(ng_attend_all_io){begin, end, r->p->qk, r->p->mixed.x});
    ng_rows_quantize(r->k, &r->p->mixed, 0, n);
    residual.bias = y->o_b;
    ng_rows_linear(r->tm, r->k, &y->o, (ng_rows_in){&r->p->mixed, 0, n}, residual);
    if (a) adapt(r, &a->o, r->p->mixed.x, n, residual.y, e);
    norm_rows(r, &y->attn_norm, begin, end);
    ng_rows_linear(r->tm, r->k, &y->up, (ng_rows_in){&r->c->x, begin, end},
                   (ng_out){.y = r->p->ff.x, .stride = n_ff, .bias = y->up_b});
    if (a) adapt(r, &a->up, r->c->x.x + begin * e, n, r->p->ff.x, n_ff);
    ng_rows_gelu(r->k, &r->p->ff, 0, n);
    residual.bias = y->down_b;
    ng_rows_linear(r->tm, r->k, &y->down, (ng_rows_in){&r->p->ff, 0, n}, residual);
    if (a) adapt(r, &a->down, r->p->ff.x, n, residual.y, e);
    norm_rows(r, &y->ffn_norm, begin, end);
}

static void run_layer(const run *r, const layer *y) {
    keys_and_values(r, y);
    ng_team_barrier(r->tm);
    ng_attend_all_values(r->tm, &r->c->attend, r->b);
    ng_team_barrier(r->tm);
    for (size_t t = r->begin; t < r->end; t += CHUNK) finish(r, y, t, r->end - t < CHUNK ? r->end : t + CHUNK);
    ng_team_barrier(r->tm);
}

/* out = pooled / |pooled|, sums in double and in order. */
static void pool(const run *r, const ng_span *span, float *out) {
    const weights *w = r->s->model->weights;
    size_t n = r->n_embd, rows = w->pooling == POOL_CLS ? 1 : span->n_tok;
    const float *x = r->c->x.x + span->row * n;
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t t = 0; t < rows; t++) sum += (double)x[t * n + i];
        out[i] = (float)(sum / (double)rows);
        squares += (double)out[i] * (double)out[i];
    }
    double inv = squares > 0 ? 1 / sqrt(squares) : 0;
    for (size_t i = 0; i < n; i++) out[i] = (float)((double)out[i] * inv);
}

static void forward(const ng_team *tm, ng_session *s, const ng_batch *b) {
    const weights *w = s->model->weights;
    scratch *c = s->scratch;
    run r = {.tm = tm, .s = s, .b = b, .k = s->model->kernels, .c = c, .p = &c->parts[tm->part], .n_embd = c->x.n_cols};
    ng_team_slice(tm, b->n_tok, 1, &r.begin, &r.end);
    if (tm->observer) r.begin = 0, r.end = tm->part == 0 ? b->n_tok : 0; /* who looks on sees the tokens in order */
    embed(&r);
    for (uint32_t i = 0; i < s->model->info.n_layer; i++) run_layer(&r, &w->layers[i]);
    if (b->hidden)
        memcpy(b->hidden + r.begin * r.n_embd, c->x.x + r.begin * r.n_embd,
               (r.end - r.begin) * r.n_embd * sizeof(float));
    for (size_t i = (size_t)tm->part; b->out && i < b->n_spans; i += (size_t)tm->n_parts)
        pool(&r, &b->spans[i], b->out + i * r.n_embd);
}

const ng_arch ng_arch_bert = {"bert", NG_MODEL_ENCODER, load, make_scratch, forward};
