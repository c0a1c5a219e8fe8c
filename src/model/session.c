/* session.c: one timeline on a model.  See nanogrid/model.h and arch.h.
 *
 * All memory is taken when the session is made: scratch for one batch of at most NG_BATCH_MAX tokens,
 * and address space for the KV pages.  A prompt is cut into batches; every token's numbers depend only
 * on the tokens before it, and no sum is split over threads, so neither the cut nor the number of
 * threads changes a bit. */
#include "arch.h"

#include "core/checked.h"
#include "core/clock.h"
#include "core/cpu.h"
#include "core/lease.h"
#include <assert.h>
#include <stdlib.h>

enum { N_CTX_DEFAULT = 4096 };

typedef struct forward_job {
    ng_session *s;
    const ng_batch *b;
} forward_job;

static void forward_part(void *ctx, int part, int n_parts) {
    const forward_job *job = ctx;
    ng_team tm = {job->s->pool, part, n_parts, job->s->observer, part};
    job->s->model->arch->forward(&tm, job->s, job->b);
}

void ng_session_forward(ng_session *s, const ng_batch *b) {
    assert(b->n_tok > 0 && b->n_tok <= s->max_batch);
    forward_job job = {s, b};
    ng_lease_take(); /* one step of one worker process at a time */
    double begin = ng_clock_ms();
    ng_pool_run_parts(s->pool, ng_thread_choice_next(&s->threads, b->n_tok), forward_part, &job);
    ng_thread_choice_took(&s->threads, b->n_tok, ng_clock_ms() - begin);
    ng_lease_give();
}

void ng_session_run(ng_session *s, ng_pool_fn *fn, void *ctx) { ng_pool_run(s->pool, fn, ctx); }

/* ---- life ------------------------------------------------------------------------------------------ */

static ng_status set_context(ng_session *s, uint32_t wanted, ng_error *err) {
    const ng_model_info *i = &s->model->info;
    s->n_ctx = wanted ? wanted : i->n_ctx_train < N_CTX_DEFAULT ? i->n_ctx_train : N_CTX_DEFAULT;
    if (s->n_ctx > i->n_ctx_train)
        return ng_fail(err, NG_EINVALID, "a context of %u tokens: %s was trained for %u at most", wanted, i->path,
                       i->n_ctx_train);
    bool causal = i->kind == NG_MODEL_CAUSAL;
    s->max_batch = causal && s->n_ctx > NG_BATCH_MAX ? NG_BATCH_MAX : s->n_ctx;
    if (!causal) s->max_batch = ng_encode_rows(s->n_ctx);
    return NG_OK;
}

static size_t kv_pages(const ng_session *s) {
    if (s->model->info.kind != NG_MODEL_CAUSAL) return 0;
    return ((size_t)s->n_ctx + NG_KV_PAGE_TOK - 1) / NG_KV_PAGE_TOK;
}

static ng_status make_kv(ng_session *s, const ng_prefix_options *prefix, ng_error *err) {
    size_t n_pages = kv_pages(s);
    ng_kv_pool *pool;
    if (!n_pages) return NG_OK;
    ng_status status = ng_kv_pool_new(&pool, &s->kv_shape, n_pages + s->n_kept, err);
    if (status) return status;
    status = ng_kv_init(&s->kv, pool, n_pages, err);
    if (!status && prefix)
        status = ng_prefix_open(&s->prefix, &(ng_prefix_setup){s->model, &s->kv_shape, pool, prefix}, err);
    ng_kv_pool_release(pool);
    return status;
}

static ng_status check_options(const ng_session_options *o, const ng_model *m, ng_error *err) {
    if (o->unfused && m->info.kind != NG_MODEL_CAUSAL)
        return ng_fail(err, NG_EINVALID, "%s is an encoder: only decoders run unfused", m->info.path);
    if (o->prefix && m->info.kind != NG_MODEL_CAUSAL)
        return ng_fail(err, NG_EINVALID, "%s is an encoder: only decoders keep prefixes", m->info.path);
    if (o->n_threads >= 0) return NG_OK;
    return ng_fail(err, NG_EINVALID, "%d threads: use 1 or more, or 0 to measure", o->n_threads);
}

/* A session without its KV pages.  Its scratch is reserved; none of it is resident yet. */
static ng_status new_outline(ng_session **out, const ng_model *m, const ng_session_options *o, ng_error *err) {
    *out = NULL;
    ng_session *s = calloc(1, sizeof *s);
    if (!s) return ng_fail(err, NG_ENOMEM, "session: out of memory");
    s->model = m;
    s->unfused = o->unfused;
    s->kv_shape = m->kv_shape;
    if (o->kv == NG_KV_8BIT) s->kv_shape.type = NG_KV_Q8;
    if (o->prefix) s->n_kept = ng_prefix_pages(o->prefix, &s->kv_shape);
    ng_status status = set_context(s, o->n_ctx, err);
    if (!status) status = ng_pool_new(&s->pool, o->n_threads, err);
    if (!status && ng_arena_new(&s->arena, 1 << 20)) status = ng_fail(err, NG_ENOMEM, "session: out of memory");
    if (!status) status = m->arch->scratch(s, err);
    if (!status) *out = s;
    else ng_session_free(s);
    return status;
}

static void add_session(ng_memory_need *n, const ng_session *s) {
    n->n_ctx = s->n_ctx;
    n->n_threads = ng_pool_threads(s->pool);
    size_t bytes;
    bool fits = ng_mul_ok(&bytes, (kv_pages(s) + s->n_kept) * NG_KV_PAGE_TOK, ng_kv_bytes_per_tok(&s->kv_shape));
    n->kv_bytes = fits && bytes < NG_MEMORY_FAR ? bytes : NG_MEMORY_FAR;
    n->scratch_bytes = ng_arena_bytes(s->arena);
}

ng_status ng_session_measure(ng_memory_need *out, const ng_model *m, const ng_session_options *opt, ng_error *err) {
    ng_session_options o = opt ? *opt : (ng_session_options){0};
    ng_session *s;
    ng_status status = check_options(&o, m, err);
    if (!status) status = new_outline(&s, m, &o, err);
    if (status) return status;
    add_session(out, s);
    ng_session_free(s);
    return NG_OK;
}

/* Before a page of it is resident.  A panel file that is mapped counts as available to the system, but this
 * session is about to hold it; panels in this process are gone from there already. */
static ng_status check_memory(const ng_session *s, ng_error *err) {
    ng_memory_need n;
    ng_memory_of_model(&n, s->model);
    if (s->model->repack.memory) n.panels_bytes = 0;
    n.tables_bytes = 0;
    add_session(&n, s);
    return ng_memory_check(&n, s->model->info.path, err);
}

ng_status ng_session_new(ng_session **out, const ng_model *m, const ng_session_options *opt, ng_error *err) {
    ng_session_options o = opt ? *opt : (ng_session_options){0};
    ng_session *s;
    *out = NULL;
    ng_status status = check_options(&o, m, err);
    if (!status) status = new_outline(&s, m, &o, err);
    if (status) return status;
    status = check_memory(s, err);
    if (!status) status = make_kv(s, o.prefix, err);
    int *known = (int *)(uintptr_t)m->threads_best; /* the one field of a model that changes; atomic */
    s->threads = ng_thread_choice_init(ng_pool_threads(s->pool), o.n_threads ? NULL : known);
    if (!status) *out = s;
    else ng_session_free(s);
    return status;
}

void ng_session_free(ng_session *s) {
    if (!s) return;
    ng_pool_free(s->pool);
    ng_prefix_free(s->prefix);
    ng_kv_clear(&s->kv);
    ng_arena_free(s->arena);
    free(s);
}

/* ---- evaluation -------------------------------------------------------------------------------------- */

ng_status ng_check_tokens(const ng_model *m, const int32_t *tokens, size_t n, ng_error *err) {
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= m->info.n_vocab)
            return ng_fail(err, NG_EINVALID, "token %zu is %d; the vocabulary has ids 0 to %u", i, tokens[i],
                           m->info.n_vocab - 1);
    return NG_OK;
}

/* Pages that wait to be written to a file, or are kept, go first. */
static ng_status reserve(ng_session *s, size_t n, ng_error *err) {
    while (s->prefix && ng_kv_reserve(&s->kv, n, NULL) && ng_prefix_evict(s->prefix)) {}
    return ng_kv_reserve(&s->kv, n, err);
}

static ng_status check_eval(ng_session *s, const int32_t *tokens, size_t n, ng_error *err) {
    if (s->model->info.kind != NG_MODEL_CAUSAL)
        return ng_fail(err, NG_EINVALID, "%s is an encoder: it has no next-token logits; use embed",
                       s->model->info.path);
    if (n == 0) return ng_fail(err, NG_EINVALID, "no tokens to evaluate");
    if (n > s->n_ctx - s->kv.len)
        return ng_fail(err, NG_ELIMIT, "%zu tokens after %zu do not fit the context of %u", n, s->kv.len, s->n_ctx);
    ng_status status = ng_check_tokens(s->model, tokens, n, err);
    return status ? status : reserve(s, n, err);
}

/* The next n tokens of the session's own sequence; logits [n - out_from, n_vocab]. */
static void advance(ng_session *s, const int32_t *tokens, size_t n, float *logits, size_t out_from) {
    ng_span span = {.kv = &s->kv, .n_tok = n, .pos = s->kv.len};
    ng_batch b = {.tokens = tokens, .n_tok = n, .spans = &span, .n_spans = 1, .out = logits, .out_from = out_from};
    ng_session_forward(s, &b);
    ng_kv_advance(&s->kv, n);
}

/* How much of a prompt the next forward takes. */
static size_t next_piece(const ng_session *s, size_t left) {
    size_t most = s->max_batch;
    if (left > NG_THREAD_TRIAL_TOK && most > NG_THREAD_TRIAL_TOK &&
        !ng_thread_choice_kept(&s->threads, NG_THREAD_TRIAL_TOK))
        most = NG_THREAD_TRIAL_TOK;
    return left < most ? left : most;
}

ng_status ng_session_eval(ng_session *s, const int32_t *tokens, size_t n, float *logits, ng_error *err) {
    ng_status status = check_eval(s, tokens, n, err);
    if (status) return status;
    for (size_t done = 0, now; done < n; done += now) {
        now = next_piece(s, n - done);
        bool wanted = logits && done + now == n;
        advance(s, tokens + done, now, logits, wanted ? now - 1 : now);
    }
    return NG_OK;
}

ng_status ng_session_eval_all(ng_session *s, const int32_t *tokens, size_t n, float *logits, ng_error *err) {
    ng_status status = check_eval(s, tokens, n, err);
    if (status) return status;
    for (size_t done = 0, now; done < n; done += now) {
        now = next_piece(s, n - done);
        advance(s, tokens + done, now, logits + done * s->model->info.n_vocab, 0);
    }
    return NG_OK;
}

void ng_session_observe(ng_session *s, const ng_observer *observer) { s->observer = observer; }
const ng_model *ng_session_model(const ng_session *s) { return s->model; }
size_t ng_session_len(const ng_session *s) { return s->kv.len; }
size_t ng_session_max_batch(const ng_session *s) { return s->max_batch; }
const ng_kv_shape *ng_model_kv_shape(const ng_model *m) { return &m->kv_shape; }
const ng_kv_shape *ng_session_kv_shape(const ng_session *s) { return &s->kv_shape; }
uint32_t ng_session_n_ctx(const ng_session *s) { return s->n_ctx; }
int ng_session_threads(const ng_session *s, size_t n_tok) {
    int kept = ng_thread_choice_kept(&s->threads, n_tok < s->max_batch ? n_tok : s->max_batch);
    return kept ? kept : ng_pool_threads(s->pool);
}
void ng_session_rewind(ng_session *s, size_t n) { ng_kv_rewind(&s->kv, n); }

/* ---- prefixes ----------------------------------------------------------------------------------------- */

size_t ng_session_recall(ng_session *s, const int32_t *ids, size_t n) {
    assert(s->kv.len == 0);
    return s->prefix ? ng_prefix_extend(s->prefix, &s->kv, &(ng_prefix_text){.ids = ids, .n = n}, SIZE_MAX) : 0;
}

void ng_session_keep(ng_session *s, const int32_t *ids) {
    if (s->prefix) ng_prefix_keep(s->prefix, &s->kv, &(ng_prefix_text){.ids = ids, .n = s->kv.len});
}

ng_prefix_stats ng_session_prefix_stats(ng_session *s) {
    if (!s->prefix) return (ng_prefix_stats){0};
    ng_prefix_flush(s->prefix);
    return ng_prefix_look(s->prefix);
}
