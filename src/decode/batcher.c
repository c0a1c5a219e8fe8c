/* batcher.c: which rows the next forward takes, and what becomes of its logits.  See batcher.h.
 *
 * Continuous batching: Yu et al. 2022 (Orca); chunked prefill beside decoding: Agrawal et al. 2023
 * (Sarathi); pages and preemption by recomputing: Kwon et al. 2023 (vLLM).
 *
 * Invariants: a slot in use has n_ids > kv.len, so it always has something to read.  Older sequences
 * reserve pages first and only younger ones are preempted; the pool holds at least one whole
 * sequence; so the oldest always goes on and every sequence ends.
 *
 * What a sequence has read goes to a store of prefixes (model/prefix.h) when it leaves, and comes from there,
 * or from one that runs, when another begins alike.  The store gives its pages back before anybody is preempted.
 * A prompt whose beginning lies in files takes a few pages of them a step while others decode, as it would
 * take a chunk of rows.
 *
 * The chunk.  T = t_decode + rows * t_row is fitted to the steps as they pass; while streams run, the
 * prompts get the rows that keep a step below SLOWDOWN times one without them.  A chunk of any size gives the
 * same bits, so a clock may choose it. */
#include "batcher.h"

#include "core/clock.h"
#include "model/batch.h"
#include "model/prefix.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_DEFAULT = 8 };
/* Rows of a chunk beside running streams: at least, and before a step was timed; rows that read weights for
 * so many tokens that their share of it is small. */
enum { CHUNK_MIN = 4, CHUNK_UNKNOWN = 8, CHUNK_WHOLE = 64, FILES_A_STEP = 4 };
/* What was dear is believed sooner than what was cheap: one lucky step must not make a chunk that stops the streams. */
static const double SLOWDOWN = 1.4, SMOOTH = 0.2, SMOOTH_DEARER = 0.5, SMOOTH_CHEAPER = 0.1;

typedef struct slot {
    ng_kv kv;
    int32_t *ids;       /* [n_ctx + 1] */
    size_t n_ids;       /* idle: what its last sequence held */
    ng_stream *stream;  /* NULL: idle */
    bool paused;        /* it holds no pages and waits for some */
    size_t take;        /* unread ids that the next forward takes */
    size_t out_row;     /* of its logits, when that reads the last of them */
} slot;

struct ng_batcher {
    const ng_model *model;
    ng_session *session;   /* threads and scratch; its own sequence is not used */
    ng_kv_pool *pages;
    ng_prefix *prefix;
    uint32_t n_slots, n_ctx, n_pages;
    size_t n_kept;         /* pages that the pool has beyond n_pages, for the store */
    slot *slots;           /* [n_slots] */
    slot **by_age;         /* [n_running] the oldest first */
    size_t n_running;
    size_t n_vocab, rows_max;
    float *logits;         /* [n_slots, n_vocab] */
    const ng_confidence *confidence;
    float *hidden;         /* [n_slots, taps of the confidence, n_embd]; NULL without one */
    size_t n_hidden;       /* of a row */
    int32_t *tokens;       /* [rows_max] */
    ng_span *spans;        /* [2 * n_slots] */
    slot **out;            /* [n_out] whose logits the forward gives, in order */
    size_t n_out;
    size_t last_chunk;     /* of the step before; 0: it had none */
    double decode_ms, row_ms; /* of a step without a chunk; of one more row; 0: not known yet */
    ng_stream_end_fn *on_end;
    void *on_end_ctx;
    ng_scheduler_stats stats;
};

/* ---- life -------------------------------------------------------------------------------------------- */

static ng_status set_sizes(ng_batcher *b, const ng_scheduler_options *o, ng_error *err) {
    uint32_t n_kv = o->n_kv_tok ? o->n_kv_tok : 2 * b->n_ctx;
    b->n_slots = o->n_slots ? o->n_slots : SLOTS_DEFAULT;
    b->rows_max = ng_session_max_batch(b->session);
    if (b->n_slots > NG_SLOTS_MAX || b->n_slots > b->rows_max)
        return ng_fail(err, NG_EINVALID, "%u slots: use 1 to %zu", b->n_slots,
                       b->rows_max < NG_SLOTS_MAX ? b->rows_max : NG_SLOTS_MAX);
    if (n_kv < b->n_ctx)
        return ng_fail(err, NG_EINVALID,
                       "a pool of %u tokens cannot hold one sequence of %u; enlarge it or shorten the context", n_kv,
                       b->n_ctx);
    /* one page more a slot: a sequence whose last page is not full wastes the rest of it */
    b->n_pages = (n_kv + NG_KV_PAGE_TOK - 1) / NG_KV_PAGE_TOK + b->n_slots;
    return NG_OK;
}

/* The store keeps what its options say and what the pool can spare. */
static ng_status make_slots(ng_batcher *b, const ng_prefix_options *prefix, ng_error *err) {
    size_t n = b->n_slots, pages_max = (b->n_ctx + NG_KV_PAGE_TOK - 1) / NG_KV_PAGE_TOK;
    const ng_kv_shape *shape = ng_session_kv_shape(b->session);
    ng_prefix_options store = prefix ? *prefix : (ng_prefix_options){0};
    b->n_kept = ng_prefix_pages(&store, shape);
    store.memory_max += (uint64_t)b->n_pages * NG_KV_PAGE_TOK * ng_kv_bytes_per_tok(shape);
    ng_status s = ng_kv_pool_new(&b->pages, shape, b->n_pages + b->n_kept, err);
    if (!s) s = ng_prefix_open(&b->prefix, &(ng_prefix_setup){b->model, shape, b->pages, &store}, err);
    b->slots = calloc(n, sizeof *b->slots);
    b->by_age = calloc(n, sizeof *b->by_age);
    b->out = calloc(n, sizeof *b->out);
    b->spans = calloc(2 * n, sizeof *b->spans);
    b->tokens = calloc(b->rows_max, sizeof *b->tokens);
    b->logits = calloc(n * b->n_vocab, sizeof *b->logits);
    if (b->n_hidden) b->hidden = calloc(n * b->n_hidden, sizeof *b->hidden);
    bool ok = b->slots && b->by_age && b->out && b->spans && b->tokens && b->logits && (b->hidden || !b->n_hidden);
    for (size_t i = 0; ok && !s && i < n; i++) {
        s = ng_kv_init(&b->slots[i].kv, b->pages, pages_max, err);
        ok = (b->slots[i].ids = calloc((size_t)b->n_ctx + 1, sizeof *b->slots[i].ids)) != NULL;
    }
    if (!s && !ok) s = ng_fail(err, NG_ENOMEM, "scheduler: no memory for %zu sequences", n);
    return s;
}

ng_status ng_batcher_new(ng_batcher **out, const ng_model *m, const ng_scheduler_options *opt, ng_error *err) {
    ng_scheduler_options o = opt ? *opt : (ng_scheduler_options){0};
    ng_session_options so = {.n_ctx = o.n_ctx, .n_threads = o.n_threads, .kv = o.kv};
    ng_model_info info = ng_model_get_info(m);
    *out = NULL;
    if (info.kind != NG_MODEL_CAUSAL)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: a model of architecture '%s' cannot generate text; it embeds",
                       info.path, info.arch);
    ng_batcher *b = calloc(1, sizeof *b);
    if (!b) return ng_fail(err, NG_ENOMEM, "scheduler: out of memory");
    b->model = m;
    b->n_vocab = info.n_vocab;
    b->confidence = o.confidence;
    b->n_hidden = o.confidence ? o.confidence->n_taps * info.n_embd : 0;
    ng_status s = ng_session_new(&b->session, m, &so, err);
    if (!s) {
        b->n_ctx = ng_session_n_ctx(b->session);
        s = set_sizes(b, &o, err);
    }
    if (!s) s = make_slots(b, o.prefix, err);
    if (s) {
        ng_batcher_free(b);
        return s;
    }
    *out = b;
    return NG_OK;
}

void ng_batcher_free(ng_batcher *b) {
    if (!b) return;
    for (size_t i = 0; b->slots && i < b->n_slots; i++) {
        ng_kv_clear(&b->slots[i].kv);
        free(b->slots[i].ids);
    }
    ng_prefix_free(b->prefix);
    ng_kv_pool_release(b->pages);
    ng_session_free(b->session);
    free(b->slots);
    free(b->by_age);
    free(b->out);
    free(b->spans);
    free(b->tokens);
    free(b->logits);
    free(b->hidden);
    free(b);
}

void ng_batcher_on_end(ng_batcher *b, ng_stream_end_fn *fn, void *ctx) {
    b->on_end = fn;
    b->on_end_ctx = ctx;
}

uint32_t ng_batcher_n_ctx(const ng_batcher *b) { return b->n_ctx; }
int ng_batcher_threads(const ng_batcher *b) { return ng_session_threads(b->session, 1); }

/* ---- pages ------------------------------------------------------------------------------------------- */

static size_t pages_of(size_t n_tok) { return (n_tok + NG_KV_PAGE_TOK - 1) / NG_KV_PAGE_TOK; }

/* Whether a sequence that must hold n_tok tokens can come in without driving another out soon: what
 * the running ones have or need to read their ids is taken, and one page more for each to go on. */
static bool pages_suffice(const ng_batcher *b, size_t n_tok) {
    size_t taken = pages_of(n_tok);
    for (size_t i = 0; i < b->n_running; i++)
        if (!b->by_age[i]->paused) taken += pages_of(b->by_age[i]->n_ids) + 1;
    return b->n_running == 0 || taken <= b->n_pages;
}

/* Gets pages for what slot by_age[at] takes in this step: from the store, then from younger sequences;
 * false: it is the youngest itself and has to wait. */
static bool reserve(ng_batcher *b, size_t at) {
    slot *s = b->by_age[at];
    while (ng_kv_reserve(&s->kv, s->take, NULL)) {
        slot *victim = NULL;
        if (ng_prefix_evict(b->prefix)) continue;
        for (size_t i = b->n_running; !victim && i-- > at;)
            if (b->by_age[i]->kv.n_pages || i == at) victim = b->by_age[i];
        ng_kv_rewind(&victim->kv, 0);
        if (!victim->stream->run.g.n_tokens) victim->stream->n_cached = 0;
        assert(at > 0 || victim != s);
        victim->paused = true;
        victim->take = 0;
        b->stats.n_preempted++;
        if (victim == s) return false;
    }
    return true;
}

/* ---- joining and leaving ------------------------------------------------------------------------------- */

static size_t common_prefix(const slot *have, const int32_t *ids, size_t n) {
    size_t same = 0, max = have->kv.len < n ? have->kv.len : n;
    while (same < max && have->ids[same] == ids[same]) same++;
    return same;
}

/* The slot in use that holds most of the prompt's beginning. */
static slot *best_prefix(const ng_batcher *b, const ng_stream *st, size_t *same) {
    slot *best = NULL;
    *same = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        size_t n =
            b->by_age[i]->stream->tenant == st->tenant ? common_prefix(b->by_age[i], st->prompt, st->n_prompt - 1) : 0;
        if (n > *same) *same = n, best = b->by_age[i];
    }
    return best;
}

static ng_prefix_text text_of(const slot *s, size_t n) {
    return (ng_prefix_text){.ids = s->ids, .n = n, .tenant = s->stream->tenant, .is_private = s->stream->is_private};
}

/* Takes what is known of the sequence's unread ids; the last is always read, for its logits. */
static void recall(ng_batcher *b, slot *s, size_t files) {
    ng_prefix_text t = text_of(s, s->n_ids - 1);
    size_t n = ng_prefix_extend(b->prefix, &s->kv, &t, files);
    if (!s->stream->run.g.n_tokens) s->stream->n_cached += n;
    b->stats.n_reused += n;
}

bool ng_batcher_join(ng_batcher *b, ng_stream *st) {
    size_t same;
    if (b->n_running == b->n_slots || !pages_suffice(b, st->n_prompt + 1)) return false;
    slot *from = best_prefix(b, st, &same), *s = b->slots;
    while (s->stream) s++;
    memcpy(s->ids, st->prompt, st->n_prompt * sizeof *s->ids);
    s->n_ids = st->n_prompt;
    s->stream = st;
    s->paused = false;
    st->n_cached = 0;
    recall(b, s, b->n_running ? FILES_A_STEP : SIZE_MAX);
    if (same > s->kv.len) {
        b->stats.n_reused += same - s->kv.len;
        st->n_cached = same;
        ng_kv_share(&s->kv, &from->kv, same);
    }
    st->joined_ms = ng_clock_ms();
    st->first_ms = 0;
    st->status = NG_OK;
    b->stats.n_joined++;
    b->by_age[b->n_running++] = s;
    return true;
}

static void leave(ng_batcher *b, size_t at) {
    slot *s = b->by_age[at];
    ng_stream *st = s->stream;
    ng_prefix_text t = text_of(s, s->kv.len);
    memmove(b->by_age + at, b->by_age + at + 1, (--b->n_running - at) * sizeof *b->by_age);
    ng_prefix_keep(b->prefix, &s->kv, &t);
    s->n_ids = s->kv.len;
    ng_kv_rewind(&s->kv, 0);
    s->stream = NULL;
    s->paused = false;
    st->ended_ms = ng_clock_ms();
    b->on_end(b->on_end_ctx, st);
}

/* Ends what nobody waits for. */
static void sweep(ng_batcher *b) {
    int64_t now = (int64_t)ng_clock_ms();
    for (size_t i = b->n_running; i-- > 0;) {
        ng_stream *st = b->by_age[i]->stream;
        bool cancelled = atomic_load(&st->cancelled), late = st->deadline_ms && now >= st->deadline_ms;
        if (!cancelled && !late) continue;
        st->run.g.finish = cancelled ? "cancelled" : "deadline";
        leave(b, i);
    }
}

/* ---- the plan of a step -------------------------------------------------------------------------------- */

static size_t unread(const slot *s) { return s->n_ids - s->kv.len; }

/* Rows that prompts may take beside n_decoding tokens. */
static size_t chunk_rows(const ng_batcher *b, size_t n_decoding) {
    size_t most = b->rows_max - n_decoding;
    if (!n_decoding) return most;
    double rows = CHUNK_UNKNOWN;
    if (b->decode_ms > 0 && b->row_ms > 0) rows = b->decode_ms * (SLOWDOWN - 1) / b->row_ms;
    size_t grown = b->last_chunk ? 2 * b->last_chunk : CHUNK_UNKNOWN; /* and none may be far larger than what was tried */
    if (rows > (double)grown) rows = (double)grown;
    if (rows < CHUNK_MIN) rows = CHUNK_MIN;
    return rows < (double)most ? (size_t)rows : most;
}

/* The oldest prompt takes half of the rows, the next half of the rest, .., the last all that is left: first
 * come, first served, but a short prompt never waits until a long one is through. */
static void deal_chunk(ng_batcher *b, size_t rows) {
    size_t n_reading = 0;
    for (size_t i = 0; i < b->n_running; i++) n_reading += !b->by_age[i]->paused && unread(b->by_age[i]) > 1;
    for (size_t i = 0; i < b->n_running && rows; i++) {
        slot *s = b->by_age[i];
        if (s->paused || unread(s) < 2) continue;
        size_t share = n_reading-- > 1 ? (rows + 1) / 2 : rows;
        s->take = unread(s) < share ? unread(s) : share;
        rows -= s->take;
    }
}

/* A context that is full loses its older half; what is left behind it is unread. */
static void shift(ng_batcher *b, slot *s) {
    if (s->n_ids <= b->n_ctx) return;
    size_t from = ng_source_shift(s->ids, &s->n_ids, s->stream->run.opt->n_keep);
    if (from < s->kv.len) ng_kv_rewind(&s->kv, from);
}

/* Sets every slot's take, with pages for it.  Returns the rows of prompts; *n_decoding the others. */
static size_t plan(ng_batcher *b, size_t *n_decoding) {
    size_t chunk = 0;
    *n_decoding = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        slot *s = b->by_age[i];
        shift(b, s);
        if (s->paused && (i == 0 || pages_suffice(b, s->n_ids + 1))) s->paused = false;
        if (!s->paused && unread(s) > NG_KV_PAGE_TOK) recall(b, s, b->n_running > 1 ? FILES_A_STEP : SIZE_MAX);
        s->take = !s->paused && unread(s) == 1;
        *n_decoding += s->take;
    }
    deal_chunk(b, chunk_rows(b, *n_decoding));
    *n_decoding = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        slot *s = b->by_age[i];
        if (!s->take || !reserve(b, i)) continue;
        if (unread(s) > 1) chunk += s->take;
        else *n_decoding += 1;
    }
    return chunk;
}

static void add_span(ng_batcher *b, ng_batch *batch, slot *s, size_t skip, size_t n) {
    size_t pos = s->kv.len + skip;
    b->spans[batch->n_spans++] = (ng_span){&s->kv, batch->n_tok, n, pos};
    memcpy(b->tokens + batch->n_tok, s->ids + pos, n * sizeof *b->tokens);
    batch->n_tok += n;
}

/* The rows in order: first those whose logits nobody wants, then the last unread id of each slot. */
static ng_batch fill(ng_batcher *b) {
    ng_batch batch = {.tokens = b->tokens, .spans = b->spans, .out = b->logits, .hidden = b->hidden};
    if (b->confidence) batch.taps = b->confidence->taps, batch.n_taps = b->confidence->n_taps;
    b->n_out = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        slot *s = b->by_age[i];
        size_t n = s->take == unread(s) ? s->take - 1 : s->take;
        if (n && s->take) add_span(b, &batch, s, 0, n);
    }
    batch.out_from = batch.n_tok;
    for (size_t i = 0; i < b->n_running; i++) {
        slot *s = b->by_age[i];
        if (!s->take || s->take != unread(s)) continue;
        add_span(b, &batch, s, s->take - 1, 1);
        b->out[b->n_out++] = s;
    }
    return batch;
}

/* ---- the step ------------------------------------------------------------------------------------------ */

/* Picks the next token of each n_parts-th sequence. */
static void pick_part(void *ctx, int part, int n_parts) {
    ng_batcher *b = ctx;
    for (size_t i = (size_t)part; i < b->n_out; i += (size_t)n_parts) {
        slot *s = b->out[i];
        ng_stream *st = s->stream;
        bool more;
        st->status = ng_run_step(&st->run, b->logits + i * b->n_vocab, b->hidden ? b->hidden + i * b->n_hidden : NULL,
                                 &more, &st->error);
        if (!st->status && more) s->ids[s->n_ids++] = ng_run_last(&st->run);
    }
}

static void pick_all(ng_batcher *b) {
    if (b->n_out > 1) ng_session_run(b->session, pick_part, b);
    else pick_part(b, 0, 1);
    double now = ng_clock_ms();
    for (size_t i = 0; i < b->n_out; i++)
        if (!b->out[i]->stream->first_ms) b->out[i]->stream->first_ms = now;
    for (size_t i = b->n_running; i-- > 0;) /* whoever goes on has one more to read */
        if (b->by_age[i]->take && !unread(b->by_age[i])) leave(b, i);
}

static void learn(double *x, double seen, double smooth) { *x = *x > 0 ? *x + smooth * (seen - *x) : seen; }

static void learn_row(ng_batcher *b, double ms) {
    learn(&b->row_ms, ms, ms > b->row_ms ? SMOOTH_DEARER : SMOOTH_CHEAPER);
}

/* Fits the line through which the next chunk is chosen. */
static void note_time(ng_batcher *b, double ms, size_t n_decoding, size_t chunk) {
    b->last_chunk = n_decoding ? chunk : 0;
    if (!chunk) learn(&b->decode_ms, ms, SMOOTH);
    else if (!n_decoding && chunk >= CHUNK_WHOLE) learn_row(b, ms / (double)chunk);
    else if (n_decoding && b->decode_ms > 0 && ms > b->decode_ms) learn_row(b, (ms - b->decode_ms) / (double)chunk);
}

bool ng_batcher_step(ng_batcher *b) {
    size_t n_decoding;
    sweep(b);
    if (!b->n_running) return false;
    double t0 = ng_clock_ms();
    size_t chunk = plan(b, &n_decoding);
    ng_batch batch = fill(b);
    assert(batch.n_tok > 0);
    ng_session_forward(b->session, &batch);
    for (size_t i = 0; i < b->n_running; i++) ng_kv_advance(&b->by_age[i]->kv, b->by_age[i]->take);
    pick_all(b);
    double ms = ng_clock_ms() - t0;
    b->stats.n_steps++;
    b->stats.n_rows += batch.n_tok;
    b->stats.n_read += chunk;
    b->stats.step_s += ms * 1e-3;
    note_time(b, ms, n_decoding, chunk);
    return true;
}

ng_scheduler_stats ng_batcher_look(const ng_batcher *b, ng_slot *slots, size_t max) {
    ng_scheduler_stats st = b->stats;
    st.n_slots = b->n_slots;
    st.n_ctx = b->n_ctx;
    st.n_kv_tok = (uint32_t)((b->n_pages + b->n_kept) * NG_KV_PAGE_TOK);
    st.n_running = (uint32_t)b->n_running;
    st.prefix = ng_prefix_look(b->prefix);
    st.kv_tok_used = ng_kv_pool_pages_used(b->pages) * NG_KV_PAGE_TOK;
    for (size_t i = 0; slots && i < max && i < b->n_slots; i++) {
        const slot *s = &b->slots[i];
        slots[i] = (ng_slot){.n_past = s->stream ? s->kv.len : s->n_ids};
        if (!s->stream) continue;
        slots[i].state = s->paused ? NG_SLOT_PAUSED : unread(s) > 1 ? NG_SLOT_READING : NG_SLOT_DECODING;
        slots[i].n_prompt = s->stream->n_prompt;
        slots[i].n_decoded = s->stream->run.g.n_tokens;
    }
    return st;
}
