/* wire.c: see wire.h.
 *
 * Each struct is described once: a `codec` either writes what a field holds or reads it into the field, so the two
 * directions cannot drift apart.  Errors are sticky and looked at once, at the end.  When it writes, a codec never
 * changes what it is pointed at, which is why the casts that drop a const are sound. */
#include "wire.h"

#include "core/arena.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct codec {
    ng_buf *out;     /* writing, or .. */
    ng_wire *in;     /* .. reading, into .. */
    ng_arena *arena; /* .. memory of this */
    ng_status status;
} codec;

static bool reads(const codec *c) { return c->in != NULL; }

static void refuse(codec *c, ng_status s) {
    if (!c->status) c->status = s;
}

static void raw(codec *c, void *p, size_t n) {
    if (!reads(c)) {
        ng_buf_put(c->out, p, n);
        return;
    }
    if (c->status || n > c->in->len - c->in->pos) {
        refuse(c, NG_EFORMAT);
        memset(p, 0, n);
        return;
    }
    memcpy(p, c->in->data + c->in->pos, n);
    c->in->pos += n;
}

static void u32(codec *c, uint32_t *v) { raw(c, v, sizeof *v); }
static void u64(codec *c, uint64_t *v) { raw(c, v, sizeof *v); }
static void f32(codec *c, float *v) { raw(c, v, sizeof *v); }
static void f64(codec *c, double *v) { raw(c, v, sizeof *v); }

static void i64(codec *c, int64_t *v) { raw(c, v, sizeof *v); }

static void flag(codec *c, bool *v) {
    uint8_t byte = reads(c) ? 0 : *v;
    raw(c, &byte, 1);
    if (byte > 1) refuse(c, NG_EFORMAT);
    if (reads(c)) *v = byte == 1;
}

/* Any enum, as its number below `n`. */
static uint32_t choice(codec *c, uint32_t v, uint32_t n) {
    u32(c, &v);
    if (v < n) return v;
    refuse(c, NG_EFORMAT);
    return 0;
}

static void *memory(codec *c, size_t n, size_t size) {
    void *p = ng_arena_array(c->arena, n ? n : 1, size);
    if (!p) refuse(c, NG_ENOMEM);
    return p;
}

/* len: also kept by its owner, or NULL. */
static void text(codec *c, const char **s, size_t *len) {
    size_t have = *s ? len ? *len : strlen(*s) : 0;
    uint32_t n = reads(c) ? 0 : *s ? (uint32_t)have : NG_WIRE_NULL;
    u32(c, &n);
    if (n == NG_WIRE_NULL || c->status) {
        if (reads(c)) *s = NULL;
        if (reads(c) && len) *len = 0;
        return;
    }
    if (!reads(c)) {
        ng_buf_put(c->out, *s, n);
        return;
    }
    if (n > c->in->len - c->in->pos) {
        refuse(c, NG_EFORMAT);
        return;
    }
    char *copy = memory(c, (size_t)n + 1, 1);
    if (!copy) return;
    raw(c, copy, n);
    copy[n] = 0;
    if (!len && memchr(copy, 0, n)) refuse(c, NG_EFORMAT);
    *s = copy;
    if (len) *len = n;
}

/* The number of items of a list, each of at least `least` bytes on the wire, and room for them.  NULL ends the list
 * (none, or an error). */
static void *list(codec *c, const void *items, size_t *n, size_t size, size_t least) {
    uint64_t count = *n;
    u64(c, &count);
    if (!reads(c)) return count ? (void *)(uintptr_t)items : NULL;
    *n = 0;
    if (!c->status && count > (c->in->len - c->in->pos) / least) refuse(c, NG_EFORMAT);
    void *p = !c->status && count ? memory(c, (size_t)count, size) : NULL;
    if (p) *n = (size_t)count;
    return p;
}

static void texts(codec *c, const char *const **items, size_t *n) {
    const char **p = list(c, *items, n, sizeof *p, 4);
    for (size_t i = 0; p && i < *n; i++) text(c, &p[i], NULL);
    for (size_t i = 0; p && reads(c) && i < *n; i++)
        if (!p[i]) refuse(c, NG_EFORMAT);
    if (reads(c)) *items = p;
}

static void floats(codec *c, float **items, size_t *n) {
    float *p = list(c, *items, n, sizeof *p, sizeof *p);
    if (p) raw(c, p, *n * sizeof *p);
    if (reads(c)) *items = p;
}

/* ---- frames --------------------------------------------------------------------------------------- */

void ng_wire_head_put(unsigned char out[NG_WIRE_HEADER], const ng_wire_head *h) {
    memcpy(out, &h->len, 4);
    memcpy(out + 4, &h->kind, 4);
    memcpy(out + 8, &h->call, 8);
}

ng_status ng_wire_head_get(ng_wire_head *out, const unsigned char in[NG_WIRE_HEADER], ng_error *err) {
    memcpy(&out->len, in, 4);
    memcpy(&out->kind, in + 4, 4);
    memcpy(&out->call, in + 8, 8);
    if (out->kind < NG_WIRE_SUBMIT || out->kind >= NG_WIRE_KINDS || out->len > NG_WIRE_PAYLOAD_MAX)
        return ng_fail(err, NG_EFORMAT, "worker: a frame of kind %u with %u bytes is none of ours", out->kind,
                       out->len);
    return NG_OK;
}

/* What a reader ends with: nothing may be left over. */
static ng_status ended(const codec *c, const char *what, ng_error *err) {
    if (c->status == NG_ENOMEM) return ng_fail(err, NG_ENOMEM, "worker: out of memory for %s", what);
    if (c->status || c->in->pos != c->in->len)
        return ng_fail(err, NG_EFORMAT, "worker: %s is damaged at byte %zu of %zu", what, c->in->pos, c->in->len);
    return NG_OK;
}

/* ---- small payloads ------------------------------------------------------------------------------- */

static void error(codec *c, ng_error *e, size_t n_codes) {
    uint32_t len = (uint32_t)strnlen(e->text, sizeof e->text - 1);
    uint32_t code = choice(c, e->code, (uint32_t)n_codes);
    if (reads(c)) e->code = (ng_status)code;
    u32(c, &len);
    if (len >= sizeof e->text) refuse(c, NG_EFORMAT);
    else raw(c, e->text, len);
    if (reads(c)) e->text[len < sizeof e->text ? len : 0] = 0;
}

void ng_wire_put_error(ng_buf *b, const ng_error *e) {
    codec c = {.out = b};
    error(&c, (ng_error *)(uintptr_t)e, NG_EINTERNAL + 1);
}

ng_status ng_wire_get_error(ng_error *out, ng_wire *w, ng_error *err) {
    codec c = {.in = w};
    *out = (ng_error){0};
    error(&c, out, NG_EINTERNAL + 1);
    if (!out->code) refuse(&c, NG_EFORMAT);
    return ended(&c, "an error", err);
}

void ng_wire_put_f64(ng_buf *b, double v) { ng_buf_put(b, &v, sizeof v); }

ng_status ng_wire_get_f64(double *out, ng_wire *w, ng_error *err) {
    codec c = {.in = w};
    f64(&c, out);
    return ended(&c, "a number", err);
}

static void token(codec *c, ng_token_event *e, ng_token_prob *top) {
    uint32_t n_top = (uint32_t)e->n_top, len = (uint32_t)e->len;
    raw(c, &e->id, sizeof e->id);
    f32(c, &e->logprob);
    f32(c, &e->confidence);
    u32(c, &n_top);
    if (n_top > NG_WIRE_TOP_MAX) refuse(c, NG_EFORMAT), n_top = 0;
    for (uint32_t i = 0; i < n_top; i++) {
        raw(c, &top[i].id, sizeof top[i].id);
        f32(c, &top[i].logprob);
    }
    u32(c, &len);
    if (reads(c)) e->top = n_top ? top : NULL, e->n_top = n_top, e->len = len;
}

void ng_wire_put_token(ng_buf *b, const ng_token_event *e) {
    codec c = {.out = b};
    token(&c, (ng_token_event *)(uintptr_t)e, (ng_token_prob *)(uintptr_t)e->top);
    ng_buf_put(b, e->text, e->len);
    ng_buf_putc(b, 0);
}

ng_status ng_wire_get_token(ng_token_event *out, ng_token_prob top[], ng_wire *w, ng_error *err) {
    codec c = {.in = w};
    *out = (ng_token_event){0};
    token(&c, out, top);
    size_t left = w->len - w->pos;
    if (c.status || left != out->len + 1 || w->data[w->len - 1]) refuse(&c, NG_EFORMAT);
    else out->text = w->data + w->pos, w->pos = w->len;
    return ended(&c, "a token", err);
}

static void slot(codec *c, ng_slot *s) {
    uint64_t counts[3] = {s->n_past, s->n_prompt, s->n_decoded};
    s->state = (ng_slot_state)choice(c, s->state, NG_SLOT_STATES);
    raw(c, counts, sizeof counts);
    s->n_past = (size_t)counts[0];
    s->n_prompt = (size_t)counts[1];
    s->n_decoded = (size_t)counts[2];
}

static void stats(codec *c, ng_scheduler_stats *s) {
    uint64_t used = s->kv_tok_used;
    uint32_t *const small[] = {&s->n_slots, &s->n_ctx, &s->n_waiting, &s->n_running, &s->n_kv_tok};
    ng_prefix_stats *p = &s->prefix;
    uint64_t *const big[] = {&used, &s->n_steps, &s->n_rows, &s->n_read, &s->n_joined, &s->n_reused, &s->n_preempted,
                             &p->memory_bytes, &p->memory_tok, &p->disk_tok, &p->memory_hits, &p->disk_hits,
                             &p->written, &p->failed, &p->refused, &p->foreign};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) u32(c, small[i]);
    for (size_t i = 0; i < sizeof big / sizeof *big; i++) u64(c, big[i]);
    f64(c, &s->step_s);
    if (reads(c)) s->kv_tok_used = (size_t)used;
}

void ng_wire_put_look(ng_buf *b, const ng_tier_look *l) {
    codec c = {.out = b};
    ng_tier_look copy = *l;
    stats(&c, &copy.stats);
    for (size_t i = 0; i < copy.stats.n_slots; i++) slot(&c, &copy.slots[i]);
}

ng_status ng_wire_get_look(ng_tier_look *out, ng_wire *w, ng_error *err) {
    codec c = {.in = w};
    *out = (ng_tier_look){.owner = NULL};
    stats(&c, &out->stats);
    if (out->stats.n_slots > NG_SLOTS_MAX) refuse(&c, NG_EFORMAT);
    for (size_t i = 0; !c.status && i < out->stats.n_slots; i++) slot(&c, &out->slots[i]);
    ng_status s = ended(&c, "a look at a decoder", err);
    if (s) *out = (ng_tier_look){.owner = NULL};
    return s;
}

/* ---- requests ------------------------------------------------------------------------------------- */

static void message(codec *c, ng_message *m) {
    text(c, &m->role, NULL);
    ng_part *p = list(c, m->parts, &m->n_parts, sizeof *p, 8);
    for (size_t i = 0; p && i < m->n_parts; i++) {
        uint32_t type = choice(c, p[i].type, NG_PART_SERIES + 1);
        if (reads(c)) p[i].type = (ng_part_type)type;
        text(c, &p[i].text, &p[i].len);
    }
    if (!reads(c)) return;
    m->parts = p;
    if (!m->role) refuse(c, NG_EFORMAT);
    for (size_t i = 0; p && i < m->n_parts; i++)
        if (!p[i].text) refuse(c, NG_EFORMAT);
}

static void generate_options(codec *c, ng_generate_options *g) {
    u32(c, &g->n_predict);
    f32(c, &g->temp);
    u32(c, &g->top_k);
    f32(c, &g->top_p);
    f32(c, &g->min_p);
    f32(c, &g->repeat_penalty);
    f32(c, &g->frequency_penalty);
    f32(c, &g->presence_penalty);
    u64(c, &g->seed);
    u32(c, &g->n_top);
    flag(c, &g->ignore_eog);
    flag(c, &g->shift);
    u32(c, &g->n_keep);
    texts(c, &g->stop, &g->n_stop);
}

static void params(codec *c, ng_params *p) {
    flag(c, &p->has_generate);
    if (p->has_generate) generate_options(c, &p->generate);
    u32(c, &p->max_sentences);
    u32(c, &p->max_tokens);
    text(c, &p->to, NULL);
    text(c, &p->from, NULL);
    texts(c, &p->labels, &p->n_labels);
    u32(c, &p->top_k);
    texts(c, &p->types, &p->n_types);
    flag(c, &p->offsets_chars);
    texts(c, &p->documents, &p->n_documents);
    text(c, &p->context, NULL);
}

static void request(codec *c, ng_tier_request *r) {
    r->task = (ng_task)choice(c, r->task, NG_TASK_COUNT);
    text(c, &r->expert, NULL);
    ng_message *m = list(c, r->messages, &r->n_messages, sizeof *m, 12);
    for (size_t i = 0; m && i < r->n_messages; i++) message(c, &m[i]);
    if (reads(c)) r->messages = m;
    params(c, &r->params);
    u64(c, &r->tenant);
    flag(c, &r->is_private);
    i64(c, &r->deadline_ms);
    text(c, &r->traceparent, NULL);
}

void ng_wire_put_request(ng_buf *b, const ng_tier_request *r) {
    codec c = {.out = b};
    ng_tier_request copy = *r;
    bool wants = r->on_token != NULL;
    request(&c, &copy);
    flag(&c, &wants);
}

ng_status ng_wire_get_request(ng_wire_request **out, ng_wire *w, ng_error *err) {
    ng_arena *arena;
    *out = NULL;
    if (ng_arena_new(&arena, 4096)) return ng_fail(err, NG_ENOMEM, "worker: out of memory");
    codec c = {.in = w, .arena = arena};
    ng_wire_request *r = memory(&c, 1, sizeof *r);
    if (r) {
        *r = (ng_wire_request){.arena = arena};
        request(&c, &r->request);
        flag(&c, &r->wants_tokens);
    }
    ng_status s = ended(&c, "a request", err);
    if (s) ng_arena_free(arena);
    else *out = r;
    return s;
}

void ng_wire_request_free(ng_wire_request *r) {
    if (r) ng_arena_free(r->arena);
}

/* ---- answers -------------------------------------------------------------------------------------- */

static void scores(codec *c, ng_score **items, size_t *n) {
    ng_score *p = list(c, *items, n, sizeof *p, 8);
    for (size_t i = 0; p && i < *n; i++) {
        text(c, &p[i].label, NULL);
        f32(c, &p[i].p);
        if (reads(c) && !p[i].label) refuse(c, NG_EFORMAT);
    }
    if (reads(c)) *items = p;
}

static void size(codec *c, size_t *v) {
    uint64_t wide = reads(c) ? 0 : *v;
    u64(c, &wide);
    if (reads(c)) *v = (size_t)wide;
}

static void entities(codec *c, ng_answer *a) {
    ng_entity *p = list(c, a->entities, &a->n_entities, sizeof *p, 28);
    for (size_t i = 0; p && i < a->n_entities; i++) {
        size(c, &p[i].start);
        size(c, &p[i].end);
        text(c, &p[i].label, NULL);
        text(c, &p[i].text, NULL);
        f32(c, &p[i].score);
        if (reads(c) && (!p[i].label || !p[i].text || p[i].start > p[i].end)) refuse(c, NG_EFORMAT);
    }
    if (reads(c)) a->entities = p;
}

static void ranked(codec *c, ng_answer *a) {
    ng_ranked *p = list(c, a->results, &a->n_results, sizeof *p, 12);
    for (size_t i = 0; p && i < a->n_results; i++) {
        size(c, &p[i].index);
        f32(c, &p[i].score);
    }
    if (reads(c)) a->results = p;
}

static void answer(codec *c, ng_answer *a) {
    const char *const *warnings = (const char *const *)a->warnings;
    a->task = (ng_task)choice(c, a->task, NG_TASK_COUNT);
    f64(c, &a->confidence);
    flag(c, &a->in_scope);
    f64(c, &a->load_ms);
    texts(c, &warnings, &a->n_warnings);
    u32(c, &a->prompt_tokens);
    u32(c, &a->completion_tokens);
    u32(c, &a->cached_tokens);
    text(c, &a->label, NULL);
    scores(c, &a->scores, &a->n_scores);
    flag(c, &a->flagged);
    scores(c, &a->categories, &a->n_categories);
    text(c, &a->reading, NULL);
    entities(c, a);
    text(c, &a->answer, NULL);
    text(c, &a->finish, NULL);
    i64(c, &a->start);
    i64(c, &a->end);
    flag(c, &a->answerable);
    floats(c, &a->embedding, &a->n_embedding);
    ranked(c, a);
    if (reads(c)) a->warnings = (const char **)(uintptr_t)warnings;
}

void ng_wire_put_answer(ng_buf *b, const ng_answer *a) {
    codec c = {.out = b};
    ng_answer copy = *a;
    answer(&c, &copy);
}

ng_status ng_wire_get_answer(ng_answer *out, ng_wire *w, ng_error *err) {
    codec c = {.in = w, .arena = out->arena};
    answer(&c, out);
    return ended(&c, "an answer", err);
}
