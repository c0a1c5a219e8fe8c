/* arch_llama.c: the llama architecture: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
 *
 * Touvron et al. 2023 (LLaMA), Ainslie et al. 2023 (GQA), Shazeer 2020 (SwiGLU), Su et al. 2021 (RoPE).
 * Read forward() top to bottom; each step says the shape it makes for n tokens.  GGUF keeps the rows
 * of wq and wk permuted so that rotated pairs are neighbours. */
#include "arch.h"
#include "attend.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DIM_MAX = 1 << 20, LAYERS_MAX = 1024, HEADS_MAX = 1024, CTX_MAX = 1 << 24, NAME_MAX_LEN = 64 };

typedef struct layer {
    ng_norm attn_norm, ffn_norm;          /* [n_embd] */
    ng_mat wq;                            /* [n_head * head_dim, n_embd] */
    ng_mat wk, wv;                        /* [n_head_kv * head_dim, n_embd] */
    ng_mat wo;                            /* [n_embd, n_head * head_dim] */
    const float *bq, *bk, *bv, *bo;       /* or NULL */
    ng_mat gate, up;                      /* [n_ff, n_embd] */
    ng_mat down;                          /* [n_embd, n_ff] */
    const float *bgate, *bup, *bdown;     /* or NULL */
} layer;

typedef struct llama {
    size_t n_embd, n_ff, n_head, n_head_kv, head_dim, n_rot, n_layer, n_vocab;
    const ng_mat *embd;      /* [n_vocab, n_embd]: `rows`, or the head when tied */
    ng_mat rows, head;       /* the same shape */
    ng_norm norm;
    const float *inv_freq;   /* [n_rot / 2] */
    layer *layers;           /* [n_layer] */
    bool is_q8;              /* some matrix reads int8 activations */
} llama;

typedef struct scratch {
    float *x;                /* [tok, n_embd] the residual stream */
    ng_act h;                /* [tok, n_embd] normed */
    ng_act *h_own;           /* [threads] of one row, see normed() */
    float *q, *k, *v;        /* [tok, n_head * head_dim], [tok, n_head_kv * head_dim] twice */
    ng_act att;              /* [tok, n_head * head_dim] */
    float *gate, *up;        /* [tok, n_ff] */
    ng_act ff;               /* [tok, n_ff] */
    float *cos_sin;          /* [tok, n_rot] */
    float *scores;
} scratch;

/* ---- loading ------------------------------------------------------------------------------------- */

static ng_status load_sizes(ng_loader *l, llama *w, ng_error *err) {
    ng_model_info *i = &l->model->info;
    uint32_t head_dim, value_dim, n_rot, n_expert;
    const ng_gguf_tensor *embd = ng_gguf_find_tensor(l->model->gguf, "token_embd.weight");
    if (!embd || embd->dims[1] > INT32_MAX)
        return ng_fail(err, NG_EFORMAT, "%s: tensor token_embd.weight is missing or too long", i->path);
    i->n_vocab = (uint32_t)embd->dims[1];
    ng_status s = ng_load_u32(l, "embedding_length", DIM_MAX, &i->n_embd, err);
    if (!s) s = ng_load_u32(l, "block_count", LAYERS_MAX, &i->n_layer, err);
    if (!s) s = ng_load_u32(l, "feed_forward_length", DIM_MAX, &i->n_ff, err);
    if (!s) s = ng_load_u32(l, "context_length", CTX_MAX, &i->n_ctx_train, err);
    if (!s) s = ng_load_u32(l, "attention.head_count", HEADS_MAX, &i->n_head, err);
    if (!s) s = ng_load_u32_or(l, "attention.head_count_kv", i->n_head, HEADS_MAX, &i->n_head_kv, err);
    if (s) return s;
    if (i->n_head % i->n_head_kv)
        return ng_fail(err, NG_EFORMAT, "%s: %u heads cannot share %u KV heads evenly", i->path, i->n_head,
                       i->n_head_kv);
    s = ng_load_u32_or(l, "attention.key_length", i->n_embd / i->n_head, DIM_MAX, &head_dim, err);
    if (!s) s = ng_load_u32_or(l, "attention.value_length", head_dim, DIM_MAX, &value_dim, err);
    if (!s) s = ng_load_u32_or(l, "rope.dimension_count", head_dim, head_dim, &n_rot, err);
    if (s) return s;
    if (value_dim != head_dim || n_rot % 2 || head_dim % 2)
        return ng_fail(err, NG_EUNSUPPORTED,
                       "%s: heads with keys of %u, values of %u and %u rotated elements are not run", i->path, head_dim,
                       value_dim, n_rot);
    if (ng_gguf_has(l->model->gguf, "llama.expert_count")) {
        s = ng_gguf_get_u32(l->model->gguf, "llama.expert_count", &n_expert, err);
        if (s) return s;
        if (n_expert)
            return ng_fail(err, NG_EUNSUPPORTED, "%s: mixtures of experts are not run by this version", i->path);
    }
    *w = (llama){.n_embd = i->n_embd, .n_ff = i->n_ff, .n_head = i->n_head, .n_head_kv = i->n_head_kv,
                 .head_dim = head_dim, .n_rot = n_rot, .n_layer = i->n_layer, .n_vocab = i->n_vocab};
    return NG_OK;
}

static ng_status load_rope(ng_loader *l, llama *w, ng_error *err) {
    const ng_gguf *g = l->model->gguf;
    float base, linear = 1;
    const float *factors;
    ng_status s = ng_load_f32_or(l, "rope.freq_base", 10000, &base, err);
    if (!s) s = ng_load_vec(l, &factors, "rope_freqs.weight", w->n_rot / 2, true, err);
    if (s) return s;
    if (ng_gguf_has(g, "llama.rope.scaling.type")) {
        ng_str type;
        if ((s = ng_gguf_get_str(g, "llama.rope.scaling.type", &type, err))) return s;
        bool is_linear = type.len == 6 && !memcmp(type.data, "linear", 6);
        if (!is_linear && !(type.len == 4 && !memcmp(type.data, "none", 4)))
            return ng_fail(err, NG_EUNSUPPORTED, "%s: llama.rope.scaling.type '%.*s' is not run by this version",
                           l->model->info.path, (int)(type.len < 40 ? type.len : 40), type.data);
        if (is_linear && (s = ng_load_f32(l, "rope.scaling.factor", &linear, err))) return s;
    }
    if (!(base > 0) || !isfinite(base) || !(linear > 0) || !isfinite(linear))
        return ng_fail(err, NG_EFORMAT, "%s: llama.rope.freq_base and scaling.factor must be positive",
                       l->model->info.path);
    float *f = ng_arena_array(l->model->arena, w->n_rot / 2, sizeof *f);
    if (!f) return ng_fail(err, NG_ENOMEM, "model: out of memory");
    ng_rope_freqs(f, w->n_rot, base, factors);
    for (size_t i = 0; i < w->n_rot / 2; i++) {
        f[i] = f[i] / linear;
        if (!(f[i] > 0 && f[i] < 1e3f)) /* a factor of 0 or NaN, or a base far below 1 */
            return ng_fail(err, NG_EFORMAT, "%s: rotary frequency %zu is out of range", l->model->info.path, i);
    }
    w->inv_freq = f;
    return NG_OK;
}

/* "blk.3.attn_q.weight" */
static const char *name_of(char out[NAME_MAX_LEN], size_t i, const char *part, const char *kind) {
    snprintf(out, NAME_MAX_LEN, "blk.%zu.%s.%s", i, part, kind);
    return out;
}

/* One matrix of a layer and its bias, which may be missing. */
typedef struct linear_spec {
    const char *part;
    ng_mat *m;
    const float **bias;
    size_t n_rows, n_cols;
} linear_spec;

static ng_status load_layer(ng_loader *l, llama *w, size_t i, float eps, ng_error *err) {
    layer *y = &w->layers[i];
    size_t n_q = w->n_head * w->head_dim, n_kv = w->n_head_kv * w->head_dim;
    const linear_spec specs[] = {
        {"attn_q", &y->wq, &y->bq, n_q, w->n_embd},
        {"attn_k", &y->wk, &y->bk, n_kv, w->n_embd},
        {"attn_v", &y->wv, &y->bv, n_kv, w->n_embd},
        {"attn_output", &y->wo, &y->bo, w->n_embd, n_q},
        {"ffn_gate", &y->gate, &y->bgate, w->n_ff, w->n_embd},
        {"ffn_up", &y->up, &y->bup, w->n_ff, w->n_embd},
        {"ffn_down", &y->down, &y->bdown, w->n_embd, w->n_ff},
    };
    char name[NAME_MAX_LEN];
    for (size_t j = 0; j < sizeof specs / sizeof specs[0]; j++) {
        const linear_spec *p = &specs[j];
        ng_status s = ng_load_mat(l, p->m, name_of(name, i, p->part, "weight"), p->n_rows, p->n_cols, err);
        if (!s) s = ng_load_vec(l, p->bias, name_of(name, i, p->part, "bias"), p->n_rows, true, err);
        if (s) return s;
        w->is_q8 |= p->m->is_q8;
    }
    y->attn_norm.eps = y->ffn_norm.eps = eps;
    ng_status s = ng_load_vec(l, &y->attn_norm.w, name_of(name, i, "attn_norm", "weight"), w->n_embd, false, err);
    if (!s) s = ng_load_vec(l, &y->ffn_norm.w, name_of(name, i, "ffn_norm", "weight"), w->n_embd, false, err);
    return s;
}

static ng_status load(ng_loader *l, ng_error *err) {
    llama *w = ng_arena_alloc(l->model->arena, sizeof *w);
    if (!w) return ng_fail(err, NG_ENOMEM, "model: out of memory");
    l->model->weights = w;
    float eps;
    ng_status s = load_sizes(l, w, err);
    if (!s) s = load_rope(l, w, err);
    if (!s) s = ng_load_f32(l, "attention.layer_norm_rms_epsilon", &eps, err);
    if (s) return s;
    bool tied = !ng_load_has(l, "output.weight");
    s = ng_load_mat(l, &w->head, tied ? "token_embd.weight" : "output.weight", w->n_vocab, w->n_embd, err);
    if (!s && !tied) s = ng_load_lookup(l, &w->rows, "token_embd.weight", w->n_vocab, w->n_embd, err);
    if (!s) s = ng_load_vec(l, &w->norm.w, "output_norm.weight", w->n_embd, false, err);
    if (s) return s;
    w->embd = tied ? &w->head : &w->rows;
    w->norm.eps = eps;
    w->is_q8 = w->head.is_q8;
    w->layers = ng_arena_array(l->model->arena, w->n_layer, sizeof *w->layers);
    if (!w->layers) return ng_fail(err, NG_ENOMEM, "model: out of memory");
    for (size_t i = 0; !s && i < w->n_layer; i++) s = load_layer(l, w, i, eps, err);
    ng_kv_type kv = w->layers[0].wk.type == NG_TYPE_F32 ? NG_KV_F32 : NG_KV_F16;
    l->model->kv_shape = (ng_kv_shape){w->n_layer, w->n_head_kv, w->head_dim, kv};
    return s;
}

static ng_status make_scratch(ng_session *s, ng_error *err) {
    const llama *w = s->model->weights;
    ng_arena *a = s->arena;
    size_t n = s->max_batch, n_q = w->n_head * w->head_dim, n_kv = w->n_head_kv * w->head_dim;
    scratch *c = s->scratch = ng_arena_alloc(a, sizeof *c);
    bool ok = c && ng_act_init(&c->h, a, n, w->n_embd, w->is_q8) && ng_act_init(&c->att, a, n, n_q, w->is_q8) &&
              ng_act_init(&c->ff, a, n, w->n_ff, w->is_q8);
    size_t n_threads = (size_t)ng_pool_threads(s->pool);
    if (ok) ok = (c->h_own = ng_arena_array(a, n_threads, sizeof *c->h_own)) != NULL;
    for (size_t i = 0; ok && i < n_threads; i++) ok = ng_act_init(&c->h_own[i], a, 1, w->n_embd, w->is_q8);
    if (ok) {
        c->x = ng_arena_array(a, n * w->n_embd, sizeof(float));
        c->q = ng_arena_array(a, n * n_q, sizeof(float));
        c->k = ng_arena_array(a, n * n_kv, sizeof(float));
        c->v = ng_arena_array(a, n * n_kv, sizeof(float));
        c->gate = ng_arena_array(a, n * w->n_ff, sizeof(float));
        c->up = ng_arena_array(a, n * w->n_ff, sizeof(float));
        c->cos_sin = ng_arena_array(a, n * w->n_rot, sizeof(float));
        c->scores = ng_arena_array(a, ng_attend_scratch(s), sizeof(float));
        ok = c->x && c->q && c->k && c->v && c->gate && c->up && c->cos_sin && c->scores;
    }
    return ok ? NG_OK : ng_fail(err, NG_ENOMEM, "session: no memory for the scratch of %zu tokens", n);
}

/* ---- forward ------------------------------------------------------------------------------------- */

/* What a team works on.  With few tokens all threads share every row and split the outputs of each product.  With
 * many each thread is a team of its own with some of the tokens, from embedding to residual: what it writes then
 * stays in its caches (rows that two cores write and read in turn took a quarter of prefill on two cores), and only
 * keys and values pass between threads, at one barrier a layer. */
typedef struct step {
    const ng_team *all;
    ng_team tm;              /* all, or this thread alone */
    ng_session *s;
    ng_batch b;              /* the team's tokens */
    scratch c;               /* their rows */
    size_t first_row;        /* of theirs in the batch */
    ng_span spans[NG_BATCH_MAX];
} step;

enum { TOK_ALONE = 32 }; /* from so many tokens a thread on; fewer would not use a product's largest tiles */

/* Tokens [begin, end) for this thread alone. */
static void take_tokens(step *p, const ng_batch *b, size_t begin, size_t end) {
    const llama *w = p->s->model->weights;
    scratch *c = &p->c;
    size_t n_q = w->n_head * w->head_dim, n_kv = w->n_head_kv * w->head_dim;
    p->tm = (ng_team){p->all->pool, 0, 1, NULL, p->all->thread};
    p->first_row = begin;
    p->b = (ng_batch){.tokens = b->tokens + begin, .n_tok = end - begin, .spans = p->spans};
    for (size_t i = 0; i < b->n_spans; i++) {
        const ng_span *from = &b->spans[i];
        size_t first = from->row > begin ? from->row : begin,
               last = from->row + from->n_tok < end ? from->row + from->n_tok : end;
        if (first < last)
            p->spans[p->b.n_spans++] =
                (ng_span){from->kv, first - begin, last - first, from->pos + (first - from->row)};
    }
    c->x += begin * w->n_embd;
    c->q += begin * n_q, c->k += begin * n_kv, c->v += begin * n_kv;
    c->gate += begin * w->n_ff, c->up += begin * w->n_ff;
    c->cos_sin += begin * w->n_rot;
    c->h = ng_act_from(&c->h, begin), c->att = ng_act_from(&c->att, begin), c->ff = ng_act_from(&c->ff, begin);
}

static void step_init(step *p, const ng_team *all, ng_session *s, const ng_batch *b) {
    size_t begin, end;
    p->all = all;
    p->s = s;
    p->c = *(const scratch *)s->scratch;
    p->tm = *all;
    p->b = *b;
    p->first_row = 0;
    if (s->unfused || all->observer || all->n_parts == 1 || b->n_tok < TOK_ALONE * (size_t)all->n_parts) return;
    ng_team_slice(all, b->n_tok, 16, &begin, &end);
    take_tokens(p, b, begin, end);
}

/* norm(x[n, n_embd]), ready to be read.  A single row is made by every thread for itself, which takes
 * less time than a barrier; more are shared. */
static const ng_act *normed(const ng_team *tm, const step *p, const float *x, const ng_norm *norm, size_t n) {
    const ng_kernels *k = p->s->model->kernels;
    if (n == 1) {
        const ng_team alone = {tm->pool, 0, 1, NULL, tm->thread};
        ng_act_norm(&alone, k, &p->c.h_own[tm->thread], x, norm, 1);
        return &p->c.h_own[tm->thread];
    }
    ng_act_norm(tm, k, &p->c.h, x, norm, n);
    ng_team_barrier(tm);
    return &p->c.h;
}

/* x += Wo attention(rope(Wq h), rope(Wk h), Wv h), h = norm(x) */
static void attention(const step *p, size_t l) {
    const ng_team *tm = &p->tm;
    const scratch *c = &p->c;
    const ng_batch *b = &p->b;
    const llama *w = p->s->model->weights;
    const layer *y = &w->layers[l];
    size_t n = b->n_tok, n_q = w->n_head * w->head_dim, n_kv = w->n_head_kv * w->head_dim;

    const ng_act *h = normed(tm, p, c->x, &y->attn_norm, n);
    ng_linear(tm, &y->wq, h, n, (ng_out){.y = c->q, .stride = n_q, .bias = y->bq});
    ng_linear(tm, &y->wk, h, n, (ng_out){.y = c->k, .stride = n_kv, .bias = y->bk});
    ng_linear(tm, &y->wv, h, n, (ng_out){.y = c->v, .stride = n_kv, .bias = y->bv});
    ng_attend_store(tm, p->s, &(ng_attend_in){c->q, c->k, c->v, c->cos_sin, b, l, w->n_head, w->n_head_kv,
                                              w->head_dim, w->n_rot});
    ng_team_barrier(p->all); /* keys and values of all tokens */
    ng_attend_run(tm, p->s, &(ng_attend){c->q, &c->att, b, l, w->n_head, w->head_dim,
                                         1.0f / sqrtf((float)w->head_dim), c->scores});
    ng_team_barrier(tm);
    ng_linear(tm, &y->wo, &c->att, n, (ng_out){.y = c->x, .stride = w->n_embd, .bias = y->bo, .add = true});
    ng_team_barrier(tm);
}

/* x += Wdown (silu(Wgate h) * Wup h), h = norm(x) */
static void feed_forward(const step *p, size_t l) {
    const ng_team *tm = &p->tm;
    const scratch *c = &p->c;
    const llama *w = p->s->model->weights;
    const layer *y = &w->layers[l];
    const ng_kernels *k = p->s->model->kernels;
    size_t n = p->b.n_tok, begin, end;

    const ng_act *h = normed(tm, p, c->x, &y->ffn_norm, n);
    ng_linear(tm, &y->gate, h, n, (ng_out){.y = c->gate, .stride = w->n_ff, .bias = y->bgate});
    ng_linear(tm, &y->up, h, n, (ng_out){.y = c->up, .stride = w->n_ff, .bias = y->bup});
    ng_linear_slice(tm, w->n_ff, &begin, &end); /* the columns this thread has just made */
    for (size_t t = 0; t < n && begin < end; t++) {
        size_t at = t * w->n_ff + begin;
        k->silu_mul(c->ff.x + at, c->gate + at, c->up + at, end - begin);
        ng_act_quantize_cols(k, &c->ff, t, begin, end);
    }
    ng_team_barrier(tm);
    ng_linear(tm, &y->down, &c->ff, n, (ng_out){.y = c->x, .stride = w->n_embd, .bias = y->bdown, .add = true});
    ng_team_barrier(tm);
}

/* ---- the same, one operation at a time ------------------------------------------------------------- */

/* What bench --unfused runs: the same kernels and bits, but as a graph of single operations would run them.  Every
 * product makes the int8 form of its input anew, sums are operations of their own, nothing is fetched ahead, and all
 * threads wait for each other after each. */
static void product_alone(const ng_team *tm, const ng_session *s, const ng_mat *m, const ng_act *in, size_t n,
                          ng_out out) {
    ng_mat alone = *m;
    alone.next = NULL;
    ng_act_quantize(tm, s->model->kernels, in, n);
    ng_team_barrier(tm);
    ng_linear(tm, &alone, in, n, out);
    ng_team_barrier(tm);
}

static void norm_alone(const ng_team *tm, const ng_session *s, const ng_norm *norm, size_t n) {
    const scratch *c = s->scratch;
    size_t begin, end, width = c->h.n_cols;
    ng_team_slice(tm, n, 1, &begin, &end);
    for (size_t t = begin; t < end; t++)
        s->model->kernels->rmsnorm(c->h.x + t * width, c->x + t * width, norm->w, width, norm->eps);
    ng_team_barrier(tm);
}

/* x += m in, by way of h, which nothing reads any more. */
static void add_alone(const ng_team *tm, const ng_session *s, const ng_mat *m, const ng_act *in, size_t n,
                      const float *bias) {
    const scratch *c = s->scratch;
    size_t begin, end, width = c->h.n_cols;
    product_alone(tm, s, m, in, n, (ng_out){.y = c->h.x, .stride = width, .bias = bias});
    ng_team_slice(tm, n * width, 16, &begin, &end);
    s->model->kernels->add(c->x + begin, c->h.x + begin, end - begin);
    ng_team_barrier(tm);
}

static void layer_unfused(const ng_team *tm, ng_session *s, const ng_batch *b, size_t l) {
    const llama *w = s->model->weights;
    const layer *y = &w->layers[l];
    scratch *c = s->scratch;
    size_t n = b->n_tok, n_q = w->n_head * w->head_dim, n_kv = w->n_head_kv * w->head_dim, begin, end;

    norm_alone(tm, s, &y->attn_norm, n);
    product_alone(tm, s, &y->wq, &c->h, n, (ng_out){.y = c->q, .stride = n_q, .bias = y->bq});
    product_alone(tm, s, &y->wk, &c->h, n, (ng_out){.y = c->k, .stride = n_kv, .bias = y->bk});
    product_alone(tm, s, &y->wv, &c->h, n, (ng_out){.y = c->v, .stride = n_kv, .bias = y->bv});
    ng_attend_store(tm, s, &(ng_attend_in){c->q, c->k, c->v, c->cos_sin, b, l, w->n_head, w->n_head_kv,
                                           w->head_dim, w->n_rot});
    ng_team_barrier(tm);
    ng_attend_run(tm, s, &(ng_attend){c->q, &c->att, b, l, w->n_head, w->head_dim,
                                      1.0f / sqrtf((float)w->head_dim), c->scores});
    ng_team_barrier(tm);
    add_alone(tm, s, &y->wo, &c->att, n, y->bo);
    norm_alone(tm, s, &y->ffn_norm, n);
    product_alone(tm, s, &y->gate, &c->h, n, (ng_out){.y = c->gate, .stride = w->n_ff, .bias = y->bgate});
    product_alone(tm, s, &y->up, &c->h, n, (ng_out){.y = c->up, .stride = w->n_ff, .bias = y->bup});
    ng_team_slice(tm, n * w->n_ff, 16, &begin, &end);
    s->model->kernels->silu_mul(c->ff.x + begin, c->gate + begin, c->up + begin, end - begin);
    ng_team_barrier(tm);
    add_alone(tm, s, &y->down, &c->ff, n, y->bdown);
}

/* What layer l left, of the rows whose logits are wanted, for whoever listens.  Between two barriers: nobody writes x. */
static void tap(const step *p, const ng_batch *batch, size_t l) {
    size_t n_embd = ((const llama *)p->s->model->weights)->n_embd;
    for (size_t i = 0; p->tm.part == 0 && i < batch->n_taps; i++)
        for (size_t t = 0; batch->taps[i] == l && t < p->b.n_tok; t++) {
            size_t row = p->first_row + t;
            if (row < batch->out_from) continue;
            float *to = batch->hidden + ((row - batch->out_from) * batch->n_taps + i) * n_embd;
            memcpy(to, p->c.x + t * n_embd, n_embd * sizeof *to);
        }
}

static void forward(const ng_team *all, ng_session *s, const ng_batch *batch) {
    const llama *w = s->model->weights;
    const scratch *c = s->scratch;
    step p;
    size_t begin, end;

    step_init(&p, all, s, batch);
    ng_team_slice(&p.tm, p.b.n_tok, 1, &begin, &end);
    for (size_t t = begin; t < end; t++) ng_mat_row(w->embd, (size_t)p.b.tokens[t], p.c.x + t * w->n_embd);
    for (size_t i = 0; i < p.b.n_spans; i++)
        ng_rope_table(&p.tm, p.c.cos_sin + p.b.spans[i].row * w->n_rot, w->inv_freq, w->n_rot, p.b.spans[i].pos,
                      p.b.spans[i].n_tok);
    ng_team_barrier(&p.tm);
    for (size_t l = 0; l < w->n_layer; l++) {
        if (s->unfused) {
            layer_unfused(all, s, batch, l);
        } else {
            attention(&p, l);
            feed_forward(&p, l);
        }
        if (batch->n_taps) tap(&p, batch, l);
    }
    size_t n_out = batch->n_tok - batch->out_from;
    if (!n_out) return;
    if (p.tm.n_parts < all->n_parts) ng_team_barrier(all);
    p.c = *c; /* the head is for all again */
    const ng_act *h = normed(all, &p, c->x + batch->out_from * w->n_embd, &w->norm, n_out);
    ng_linear(all, &w->head, h, n_out, (ng_out){.y = batch->out, .stride = w->n_vocab});
}

const ng_arch ng_arch_llama = {"llama", NG_MODEL_CAUSAL, load, make_scratch, forward};
