/* scheduler.c: a thread around a batcher, and the way of each token to its reader.  See nanogrid/scheduler.h.
 *
 * A call lives on its caller's stack.  It stands in line, then belongs to the scheduler's thread until
 * that says `ended`; from then on it is the caller's alone.  While it runs, its events pass through an
 * inbox under the call's own lock: the thread that picked a token puts the text there and goes on, the
 * caller takes it out and calls on_token without any lock.  So a slow reader costs the others nothing,
 * and what it has not read yet is bounded by what may be generated.
 *
 * Locks: the scheduler's guards the line and the snapshot, a call's its inbox; never both at once. */
#include <nanogrid/scheduler.h>

#include "batcher.h"

#include "core/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAITING_DEFAULT = 64, INBOX_MAX = 64 << 20, INBOX_PER_TOKEN = 8, ASK_MS = 25 };

typedef struct call {
    ng_stream stream;
    ng_text_source text;
    ng_source src;
    ng_generate_options opt; /* the caller's, but for on_token */
    bool is_read;            /* somebody reads the events */
    pthread_mutex_t lock;
    pthread_cond_t news;
    ng_buf inbox;            /* texts of events that were not read yet; guarded by lock, as are the next five */
    uint32_t *lens;          /* [n_max + 1] bytes of each event's text */
    float *confidences;      /* [n_max + 1] */
    size_t n_events;
    bool has_tail;           /* the last of them is no token, only text */
    bool lost;               /* there was no memory for one */
    bool ended;
    ng_buf outbox;           /* the caller's: what it took from the inbox */
    struct call *next;       /* in line; guarded by the scheduler's lock */
} call;

struct ng_scheduler {
    const ng_model *model;
    const ng_confidence *confidence;
    ng_batcher *batcher;     /* the thread's */
    uint32_t n_ctx, n_calls_max;
    int n_threads;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;    /* guards all below */
    pthread_cond_t work;
    call *first, *last;      /* the line */
    uint32_t n_line, n_calls;
    bool stop;
    ng_scheduler_stats stats; /* the snapshot */
    ng_slot *slots;           /* [n_slots] */
};

const char *ng_slot_state_name(ng_slot_state s) {
    static const char *const names[] = {"idle", "reading", "decoding", "paused"};
    return names[s];
}

/* ---- the thread ---------------------------------------------------------------------------------------- */

/* Nothing of the call may be touched afterwards. */
static void end_call(call *c) {
    pthread_mutex_lock(&c->lock);
    c->ended = true;
    pthread_cond_signal(&c->news);
    pthread_mutex_unlock(&c->lock);
}

static void on_end(void *ctx, ng_stream *st) {
    (void)ctx;
    end_call(st->user);
}

/* Takes from the line what nobody waits for, and as many of its first as the batcher has room for. */
static void admit(ng_scheduler *s) {
    int64_t now = (int64_t)ng_clock_ms();
    bool room = true;
    call *kept = NULL, **end = &kept;
    for (call *c = s->first, *next; c; c = next) {
        next = c->next;
        bool cancelled = atomic_load(&c->stream.cancelled),
             late = c->stream.deadline_ms && now >= c->stream.deadline_ms;
        if (cancelled || late) {
            c->stream.run.g.finish = cancelled ? "cancelled" : "deadline";
            end_call(c);
        } else if (!room || !(room = ng_batcher_join(s->batcher, &c->stream))) {
            *end = c;
            end = &c->next;
            s->last = c;
            continue;
        }
        s->n_line--;
    }
    *end = NULL;
    s->first = kept;
    if (!kept) s->last = NULL;
}

static void *serve(void *ctx) {
    ng_scheduler *s = ctx;
    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        if (s->first) admit(s);
        s->stats = ng_batcher_look(s->batcher, s->slots, s->stats.n_slots);
        if (!s->stats.n_running && !s->first) {
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        ng_batcher_step(s->batcher);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

ng_status ng_scheduler_new(ng_scheduler **out, const ng_model *m, const ng_scheduler_options *opt, ng_error *err) {
    *out = NULL;
    ng_scheduler *s = calloc(1, sizeof *s);
    if (!s) return ng_fail(err, NG_ENOMEM, "scheduler: out of memory");
    s->model = m;
    s->confidence = opt ? opt->confidence : NULL;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    ng_status status = ng_batcher_new(&s->batcher, m, opt, err);
    if (!status) {
        ng_batcher_on_end(s->batcher, on_end, s);
        s->stats = ng_batcher_look(s->batcher, NULL, 0);
        s->n_ctx = ng_batcher_n_ctx(s->batcher);
        s->n_threads = ng_batcher_threads(s->batcher);
        s->n_calls_max = s->stats.n_slots + (opt && opt->n_waiting ? opt->n_waiting : WAITING_DEFAULT);
        s->slots = calloc(s->stats.n_slots, sizeof *s->slots);
        if (!s->slots) status = ng_fail(err, NG_ENOMEM, "scheduler: out of memory");
    }
    if (!status && pthread_create(&s->thread, NULL, serve, s))
        status = ng_fail(err, NG_ELIMIT, "scheduler: the system refuses a thread");
    s->started = !status;
    if (status) ng_scheduler_free(s);
    else *out = s;
    return status;
}

void ng_scheduler_free(ng_scheduler *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    if (s->started) pthread_join(s->thread, NULL);
    ng_batcher_free(s->batcher);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    free(s->slots);
    free(s);
}

uint32_t ng_scheduler_n_ctx(const ng_scheduler *s) { return s->n_ctx; }
int ng_scheduler_threads(const ng_scheduler *s) { return s->n_threads; }

ng_scheduler_stats ng_scheduler_look(ng_scheduler *s, ng_slot *slots, size_t max) {
    pthread_mutex_lock(&s->lock);
    ng_scheduler_stats st = s->stats;
    st.n_waiting = s->n_line;
    for (size_t i = 0; slots && i < max && i < st.n_slots; i++) slots[i] = s->slots[i];
    pthread_mutex_unlock(&s->lock);
    return st;
}

/* ---- a call -------------------------------------------------------------------------------------------- */

/* The on_token of the run: on one of the session's threads. */
static bool put_event(void *ctx, const ng_token_event *e) {
    call *c = ctx;
    pthread_mutex_lock(&c->lock);
    bool ok = !ng_buf_put(&c->inbox, e->text, e->len);
    if (ok) c->confidences[c->n_events] = e->confidence, c->lens[c->n_events++] = (uint32_t)e->len;
    c->has_tail |= e->id < 0;
    c->lost |= !ok;
    pthread_cond_signal(&c->news);
    pthread_mutex_unlock(&c->lock);
    return ok;
}

static ng_status call_begin(call *c, const ng_scheduler *s, const ng_scheduled *r, const ng_generate_options *opt,
                            ng_error *err) {
    *c = (call){.opt = *opt, .is_read = opt->on_token != NULL};
    c->inbox = c->outbox = ng_buf_init(INBOX_MAX);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->news, &attr);
    pthread_condattr_destroy(&attr);
    c->opt.on_token = c->is_read ? put_event : NULL;
    c->opt.on_token_ctx = c;
    c->stream.prompt = r->prompt;
    c->stream.n_prompt = r->n_prompt;
    c->stream.deadline_ms = r->deadline_ms;
    c->stream.tenant = r->tenant;
    c->stream.is_private = r->is_private;
    c->stream.user = c;
    ng_status status = ng_text_source_init(&c->text, &c->src, s->model, err);
    if (status) return status;
    c->src.room = s->n_ctx;
    c->src.can_shift = opt->shift;
    c->src.confidence = s->confidence;
    status = ng_source_shift_check(opt, s->n_ctx, err);
    if (!status) status = ng_run_begin(&c->stream.run, &c->src, r->prompt, r->n_prompt, &c->opt, err);
    if (status || !c->is_read) return status;
    size_t n_max = c->stream.run.n_max;
    c->lens = calloc(n_max + 1, sizeof *c->lens);
    c->confidences = calloc(n_max + 1, sizeof *c->confidences);
    if (n_max < INBOX_MAX / INBOX_PER_TOKEN) {
        ng_buf_reserve(&c->inbox, n_max * INBOX_PER_TOKEN);
        ng_buf_reserve(&c->outbox, n_max * INBOX_PER_TOKEN);
    }
    bool ok = c->lens && c->confidences && !c->inbox.status && !c->outbox.status;
    return ok ? NG_OK : ng_fail(err, NG_ENOMEM, "scheduler: out of memory for %zu tokens", n_max);
}

static void call_clear(call *c) {
    ng_run_clear(&c->stream.run);
    ng_buf_clear(&c->inbox);
    ng_buf_clear(&c->outbox);
    free(c->lens);
    free(c->confidences);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->news);
}

static ng_status get_in_line(ng_scheduler *s, call *c, ng_error *err) {
    pthread_mutex_lock(&s->lock);
    uint32_t n = s->n_calls, waiting = s->n_line;
    bool ok = n < s->n_calls_max;
    if (ok) {
        if (s->last) s->last->next = c;
        else s->first = c;
        s->last = c;
        s->n_line++;
        s->n_calls++;
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    return ok ? NG_OK
              : ng_fail(err, NG_EBUSY, "%u generations run on this model and %u wait; try again later", n - waiting,
                        waiting);
}

/* It ends before the next step, or leaves the line. */
static void cancel(ng_scheduler *s, call *c) {
    atomic_store(&c->stream.cancelled, true);
    pthread_mutex_lock(&s->lock);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

static struct timespec in_ms(long ms) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += ms * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* How far the caller has come with the events. */
typedef struct reader {
    ng_scheduler *s;
    call *c;
    const ng_generate_options *opt; /* the caller's */
    size_t n_seen;  /* events */
    size_t n_bytes; /* of text in them */
    bool has_tail;  /* the last of those that are there is no token */
    bool stopped;   /* on_token said so, or nobody waits */
} reader;

/* Waits for news, asking now and then whether anybody still wants them.  Returns how many events there
 * are; the texts of those not seen stand in the outbox. */
static size_t take_events(reader *r, bool *ended) {
    call *c = r->c;
    pthread_mutex_lock(&c->lock);
    while (!c->ended && (r->stopped || c->n_events == r->n_seen)) { /* once stopped, only the end is news */
        struct timespec until = in_ms(ASK_MS);
        if (!pthread_cond_timedwait(&c->news, &c->lock, &until) || r->stopped || !r->opt->abandoned) continue;
        pthread_mutex_unlock(&c->lock);
        r->stopped = r->opt->abandoned(r->opt->abandoned_ctx);
        if (r->stopped) cancel(r->s, c);
        pthread_mutex_lock(&c->lock);
    }
    ng_buf taken = c->inbox;
    c->inbox = c->outbox;
    c->outbox = taken;
    ng_buf_reset(&c->inbox);
    size_t n = c->n_events;
    r->has_tail = c->has_tail;
    *ended = c->ended;
    pthread_mutex_unlock(&c->lock);
    return n;
}

/* Passes events on, in order, until the reader has enough. */
static void tell(reader *r, size_t n_events) {
    const ng_generation *g = &r->c->stream.run.g; /* what events speak of is written and stays */
    const char *text = r->c->outbox.data;
    for (; r->n_seen < n_events && !r->stopped; r->n_seen++) {
        size_t i = r->n_seen;
        ng_token_event e = {.id = -1, .text = text, .len = r->c->lens[i], .confidence = r->c->confidences[i]};
        bool is_tail = r->has_tail && i + 1 == n_events;
        if (!is_tail) {
            e.id = g->tokens[i];
            e.logprob = g->logprobs[i];
            e.top = g->n_top ? g->top + i * g->n_top : NULL;
            e.n_top = g->n_top;
        }
        text += e.len;
        r->n_bytes += e.len;
        r->stopped = !r->opt->on_token(r->opt->on_token_ctx, &e) && !is_tail; /* after the tail nothing comes */
    }
    if (r->stopped && !atomic_load(&r->c->stream.cancelled)) cancel(r->s, r->c);
}

/* The run has ended: a reader that stopped gets what it has seen, as if it had been asked each time. */
static void settle(const reader *r) {
    ng_run *run = &r->c->stream.run;
    if (!r->stopped || !r->c->is_read) return;
    if (r->n_seen < run->g.n_tokens || run->eog) run->g.finish = "cancelled";
    ng_run_cut(run, r->n_seen, r->n_bytes);
}

static ng_status follow(ng_scheduler *s, call *c, const ng_generate_options *opt, ng_error *err) {
    reader r = {.s = s, .c = c, .opt = opt};
    for (bool ended = false; !ended;) {
        size_t n = take_events(&r, &ended);
        if (!r.stopped) tell(&r, n);
    }
    const ng_stream *st = &c->stream;
    if (st->status) return ng_fail(err, st->status, "%s", st->error.text);
    if (c->lost) return ng_fail(err, NG_ENOMEM, "scheduler: out of memory for the text of a token");
    settle(&r);
    c->stream.run.g.n_cached = st->n_cached;
    c->stream.run.g.prompt_ms = st->first_ms ? st->first_ms - st->joined_ms : 0;
    c->stream.run.g.predicted_ms = st->first_ms ? st->ended_ms - st->first_ms : 0;
    return NG_OK;
}

ng_status ng_scheduler_generate(ng_scheduler *s, ng_generation *out, const ng_scheduled *r, ng_error *err) {
    call c;
    ng_generate_options dflt = ng_generate_options_default();
    const ng_generate_options *opt = r->options ? r->options : &dflt;
    *out = (ng_generation){0};
    ng_status status = call_begin(&c, s, r, opt, err);
    if (!status) status = get_in_line(s, &c, err);
    if (!status) {
        status = follow(s, &c, opt, err);
        pthread_mutex_lock(&s->lock);
        s->n_calls--;
        pthread_mutex_unlock(&s->lock);
    }
    if (!status && r->features && c.stream.run.evidence.n) {
        ng_evidence *e = &c.stream.run.evidence;
        ng_evidence_features(e, r->n_prompt, c.stream.run.g.n_tokens);
        memcpy(r->features, e->features, s->confidence->n_features * sizeof *r->features);
    }
    if (!status) status = ng_run_end(&c.stream.run, out, err);
    call_clear(&c);
    return status;
}
