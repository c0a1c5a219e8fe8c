/* worker.c: struct ng_tier over a worker process.  See nanogrid/tools/worker.h.
 *
 * submit() runs on the asker's thread: it sends the request, then handles what the keeper (worker_keeper.c) puts into
 * the call's queue, so tokens are told on the thread that asked.  A call whose worker died is sent once more.  Same
 * model, request and seed give the same tokens to the bit, so the successor says first what was told already: those
 * tokens are compared and not told twice, and a stream goes on as if nothing had been.  A request that kills two
 * workers is poison and fails. */
#include "worker_parts.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_MS = 50, LOOK_MAX_MS = 1000, ATTEMPTS = 2 };

typedef struct worker_tier {
    worker *worker;
    char *head;
} worker_tier;

/* ---- waiting -------------------------------------------------------------------------------------- */

/* Until something changes, but no longer than LOOK_MS: whoever waits also looks whether it still should.  The lock is
 * held. */
static void wait_a_little(worker *w, pthread_cond_t *cond) {
    uint64_t at = ng_clock_ns() + (uint64_t)LOOK_MS * 1000000u;
    struct timespec until = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)};
    pthread_cond_timedwait(cond, &w->lock, &until);
}

static void cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static bool is_late(const ng_tier_request *req) {
    return req->deadline_ms && ng_clock_ms() >= (double)req->deadline_ms;
}

static bool is_unwanted(const ng_tier_request *req) { return req->abandoned && req->abandoned(req->abandoned_ctx); }

static ng_status fail_down(const worker *w, ng_error *err) {
    double ms = w->wake_ms - ng_clock_ms();
    return ng_fail(err, NG_EBUSY, "the worker of %s died %d times in a row (%s) and starts again in %.1f s",
                   w->spec.path, w->deaths, w->last_death, ms > 0 ? ms * 1e-3 : 0);
}

/* Starts the keeper with the first call and waits until the model is loaded.  The lock is held on return. */
static ng_status wait_ready(worker *w, const ng_tier_request *req, ng_error *err) {
    pthread_mutex_lock(&w->lock);
    if (!w->has_keeper) {
        w->has_keeper = !pthread_create(&w->keeper, NULL, ng_worker_keeper, w);
        if (!w->has_keeper) return ng_fail(err, NG_ENOMEM, "worker: no thread to look after %s", w->spec.path);
    }
    for (;;) {
        if (w->state == WORKER_READY) return NG_OK;
        if (w->state == WORKER_BROKEN) return ng_fail(err, w->broken.code, "%s", w->broken.text);
        if (w->state == WORKER_CLOSING) return ng_fail(err, NG_ECANCELLED, "the grid is closing");
        if (w->state == WORKER_DOWN && w->deaths > 1) return fail_down(w, err);
        if (is_late(req)) return ng_fail(err, NG_ETIMEOUT, "the deadline passed while %s was loading", w->spec.path);
        wait_a_little(w, &w->changed);
        if (is_unwanted(req)) return ng_fail(err, NG_ECANCELLED, "nobody waits for the answer any more");
    }
}

/* ---- one call ------------------------------------------------------------------------------------- */

/* The lock is held. */
static void link_call(worker *w, worker_call *c, const void *tier) {
    *c = (worker_call){.next = w->calls, .id = ++w->next_id, .tier = tier};
    c->tail = &c->events;
    cond_init(&c->news);
    w->calls = c;
}

/* The lock is held. */
static void unlink_call(worker *w, worker_call *c) {
    worker_call **at = &w->calls;
    while (*at && *at != c) at = &(*at)->next;
    if (*at) *at = c->next;
    for (worker_event *e = c->events, *next; e; e = next) {
        next = e->next;
        ng_worker_event_free(e);
    }
    c->events = NULL;
    pthread_cond_destroy(&c->news);
}

static worker_event *take_event(worker_call *c) {
    worker_event *e = c->events;
    if (e && !(c->events = e->next)) c->tail = &c->events;
    return e;
}

typedef struct asked {
    worker *w;
    const ng_tier_request *req;
    ng_answer *answer;
    worker_call call;
    size_t n_told, n_heard; /* tokens that reached the asker; that this worker said */
    uint64_t told, heard;   /* hashes of these */
    bool stopped;           /* the asker wants no more */
} asked;

static void cancel_now(asked *a) {
    pthread_mutex_lock(&a->w->lock);
    bool first = !a->call.cancelled;
    if (first) a->call.cancelled = true, a->call.cancelled_ms = ng_clock_ms();
    pthread_mutex_unlock(&a->w->lock);
    if (first && !ng_worker_send(a->w, NG_WIRE_CANCEL, a->call.id, NULL)) return; /* dead: the keeper tells the call */
}

/* The next event, or NULL when the worker died. */
static worker_event *next_event(asked *a) {
    worker *w = a->w;
    worker_event *e;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        if (!a->call.events && !a->call.lost) wait_a_little(w, &a->call.news);
        e = take_event(&a->call);
        bool lost = a->call.lost, unwanted = a->call.unwanted;
        pthread_mutex_unlock(&w->lock);
        if (e || lost) return e;
        if (!a->call.cancelled && (unwanted || is_unwanted(a->req))) cancel_now(a);
    }
}

static ng_status on_token(asked *a, ng_wire *in, ng_error *err) {
    ng_token_prob top[NG_WIRE_TOP_MAX];
    ng_token_event e;
    ng_status s = ng_wire_get_token(&e, top, in, err);
    if (s || a->stopped || !a->req->on_token) return s;
    a->heard = ng_hash64(e.text, e.len, a->heard ^ (uint64_t)(uint32_t)e.id);
    if (++a->n_heard < a->n_told) return NG_OK;
    if (a->n_heard == a->n_told) {
        if (a->heard == a->told) return NG_OK;
        cancel_now(a);
        return ng_fail(err, NG_EINTERNAL, "the worker of %s died, and its successor says something else",
                       a->w->spec.path);
    }
    a->told = a->heard;
    a->n_told = a->n_heard;
    a->stopped = !a->req->on_token(a->req->on_token_ctx, &e);
    if (a->stopped) cancel_now(a);
    return NG_OK;
}

/* *end: the call is over. */
static ng_status handle(asked *a, const worker_event *e, bool *end, ng_error *err) {
    ng_wire in = {e->payload.data, e->payload.len, 0};
    ng_error said;
    *end = e->kind != NG_WIRE_TOKEN;
    if (e->kind == NG_WIRE_TOKEN) return on_token(a, &in, err);
    if (e->kind == NG_WIRE_DONE) return ng_wire_get_answer(a->answer, &in, err);
    ng_status s = ng_wire_get_error(&said, &in, err);
    return s ? s : ng_fail(err, said.code, "%s", said.text);
}

/* *lost: the worker died before the answer. */
static ng_status converse(asked *a, bool *lost, ng_error *err) {
    ng_status s = NG_OK;
    bool end = false;
    *lost = false;
    while (!s && !end) {
        worker_event *e = next_event(a);
        if (!e) return *lost = true, NG_OK;
        s = handle(a, e, &end, err);
        ng_worker_event_free(e);
    }
    return s;
}

static ng_status attempt(asked *a, const worker_tier *t, const ng_buf *payload, bool *lost, ng_error *err) {
    worker *w = a->w;
    double t0 = ng_clock_ms();
    *lost = false;
    a->heard = a->n_heard = 0;
    ng_status s = wait_ready(w, a->req, err);
    bool waited = ng_clock_ms() - t0 > 1;
    if (!s) link_call(w, &a->call, t);
    pthread_mutex_unlock(&w->lock);
    if (s) return s;
    if (waited) a->answer->load_ms += ng_clock_ms() - t0;
    if (!ng_worker_send(w, NG_WIRE_SUBMIT, a->call.id, payload)) *lost = true;
    else s = converse(a, lost, err);
    pthread_mutex_lock(&w->lock);
    unlink_call(w, &a->call);
    pthread_mutex_unlock(&w->lock);
    return s;
}

static ng_status submit(void *self, const ng_tier_request *req, ng_answer *answer, ng_error *err) {
    worker_tier *t = self;
    asked a = {.w = t->worker, .req = req, .answer = answer};
    ng_buf payload = ng_buf_init(NG_WIRE_PAYLOAD_MAX);
    ng_buf_put(&payload, t->head, strlen(t->head) + 1);
    ng_wire_put_request(&payload, req);
    ng_status s = payload.status ? ng_fail(err, payload.status, "worker: the request does not fit") : NG_OK;
    bool lost = true;
    for (int i = 0; !s && lost && !a.stopped && i < ATTEMPTS; i++) s = attempt(&a, t, &payload, &lost, err);
    if (!s && lost)
        s = ng_fail(err, a.stopped ? NG_ECANCELLED : NG_EIO,
                    "the worker of %s died while it answered (%s), and so did the next", t->worker->spec.path,
                    *a.call.lost_why ? a.call.lost_why : "its socket closed");
    ng_buf_clear(&payload);
    return s;
}

static bool healthy(void *self, const char **why) {
    worker *w = ((worker_tier *)self)->worker;
    pthread_mutex_lock(&w->lock);
    bool broken = w->state == WORKER_BROKEN, down = w->state == WORKER_DOWN && w->deaths > 1;
    pthread_mutex_unlock(&w->lock);
    if (broken) *why = w->broken.text; /* final, so it can be lent */
    if (down) *why = "its worker process died repeatedly and waits to start again";
    return !broken && !down;
}

static void cancel(void *self) {
    worker_tier *t = self;
    pthread_mutex_lock(&t->worker->lock);
    for (worker_call *c = t->worker->calls; c; c = c->next) {
        c->unwanted |= c->tier == t;
        pthread_cond_signal(&c->news);
    }
    pthread_mutex_unlock(&t->worker->lock);
}

/* A question beside the calls.  A worker that does not answer in time shows nothing. */
static bool look(void *self, ng_tier_look *out) {
    worker_tier *t = self;
    worker *w = t->worker;
    worker_call call;
    worker_event *e = NULL;
    pthread_mutex_lock(&w->lock);
    bool ready = w->state == WORKER_READY;
    if (ready) link_call(w, &call, t);
    pthread_mutex_unlock(&w->lock);
    if (!ready) return false;
    bool sent = ng_worker_send(w, NG_WIRE_LOOK, call.id, NULL);
    pthread_mutex_lock(&w->lock);
    double until = ng_clock_ms() + LOOK_MAX_MS;
    while (sent && !(e = take_event(&call)) && !call.lost && ng_clock_ms() < until) wait_a_little(w, &call.news);
    unlink_call(w, &call);
    pthread_mutex_unlock(&w->lock);
    ng_wire in = e ? (ng_wire){e->payload.data, e->payload.len, 0} : (ng_wire){0};
    bool ok = e && e->kind == NG_WIRE_SEEN && !ng_wire_get_look(out, &in, NULL) && out->stats.n_slots;
    if (e) ng_worker_event_free(e);
    out->owner = w;
    out->path = w->spec.path;
    return ok;
}

/* ---- the pool ------------------------------------------------------------------------------------- */

static void worker_free(worker *w) {
    pthread_mutex_lock(&w->lock);
    w->state = WORKER_CLOSING;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (w->has_keeper) pthread_join(w->keeper, NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_mutex_destroy(&w->write_lock);
    pthread_cond_destroy(&w->changed);
    free((char *)w->spec.path);
    free((char *)w->spec.head);
    free((char *)w->spec.adapter);
    free((char *)w->spec.prefix.dir);
    free(w);
}

static void close_tier(void *self) {
    worker_tier *t = self;
    worker *w = t->worker;
    pthread_mutex_lock(&w->pool->lock);
    bool last = --w->refs == 0;
    worker **at = &w->pool->list;
    while (last && *at != w) at = &(*at)->next;
    if (last) *at = w->next;
    pthread_mutex_unlock(&w->pool->lock);
    if (last) worker_free(w);
    free(t->head);
    free(t);
}

static bool same_prefix(const ng_prefix_options *a, const ng_prefix_options *b) {
    return a->memory_max == b->memory_max && a->disk_max == b->disk_max &&
           !strcmp(a->dir ? a->dir : "", b->dir ? b->dir : "");
}

static bool same_adapter(const ng_head_spec *a, const ng_head_spec *b) {
    return !strcmp(a->adapter ? a->adapter : "", b->adapter ? b->adapter : "") &&
           (!a->adapter || a->adapter_scale == b->adapter_scale);
}

static bool serves(const worker *w, const ng_head_spec *s) {
    return !strcmp(w->spec.path, s->path) && same_adapter(&w->spec, s) && w->spec.n_threads == s->n_threads && w->spec.memory_max == s->memory_max &&
           w->spec.hang_ms == s->hang_ms && w->spec.kv == s->kv && w->spec.n_ctx == s->n_ctx &&
           same_prefix(&w->spec.prefix, &s->prefix);
}

/* One lock for all grids that share a home: they share the machine.  Without a home there is none. */
static void choose_lease(worker *w) {
    char home[sizeof w->lease - 32];
    if (ng_home_dir(home, sizeof home, NULL) || ng_dir_make(home, NULL)) return;
    snprintf(w->lease, sizeof w->lease, "%s/compute.lock", home);
}

static worker *worker_new(ng_workers *pool, const ng_head_spec *spec) {
    worker *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->pool = pool;
    w->spec = *spec;
    w->spec.path = strdup(spec->path);
    w->spec.head = spec->head ? strdup(spec->head) : NULL;
    w->spec.adapter = spec->adapter ? strdup(spec->adapter) : NULL;
    w->spec.prefix.dir = spec->prefix.dir ? strdup(spec->prefix.dir) : NULL;
    w->process = (ng_process){-1, -1};
    choose_lease(w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->write_lock, NULL);
    cond_init(&w->changed);
    if (w->spec.path && (!spec->head || w->spec.head) && (!spec->adapter || w->spec.adapter) &&
        (!spec->prefix.dir || w->spec.prefix.dir))
        return w;
    worker_free(w);
    return NULL;
}

ng_status ng_workers_open_head(void *ctx, ng_tier *out, const char *name, const ng_head_spec *spec, ng_error *err) {
    ng_workers *pool = ctx;
    worker_tier *t = calloc(1, sizeof *t);
    *out = (ng_tier){0};
    if (t) t->head = strdup(spec->head ? spec->head : "");
    if (!t || !t->head) {
        free(t);
        return ng_fail(err, NG_ENOMEM, "worker: out of memory for %s", name);
    }
    pthread_mutex_lock(&pool->lock);
    for (worker *w = pool->list; w && !t->worker; w = w->next)
        if (serves(w, spec)) t->worker = w;
    if (!t->worker && (t->worker = worker_new(pool, spec))) {
        t->worker->next = pool->list;
        pool->list = t->worker;
    }
    if (t->worker) t->worker->refs++;
    pthread_mutex_unlock(&pool->lock);
    if (!t->worker) {
        free(t->head);
        free(t);
        return ng_fail(err, NG_ENOMEM, "worker: out of memory for %s", name);
    }
    *out = (ng_tier){t, submit, healthy, cancel, close_tier, look};
    return NG_OK;
}

ng_status ng_workers_open(ng_workers **out, const ng_workers_options *opt, ng_error *err) {
    ng_workers *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w) return ng_fail(err, NG_ENOMEM, "worker: out of memory");
    if (opt) {
        w->log = opt->log;
        w->log_ctx = opt->log_ctx;
        if (opt->program && !(w->program = strdup(opt->program))) {
            free(w);
            return ng_fail(err, NG_ENOMEM, "worker: out of memory");
        }
    }
    pthread_mutex_init(&w->lock, NULL);
    *out = w;
    return NG_OK;
}

void ng_workers_close(ng_workers *w) {
    if (!w) return;
    pthread_mutex_destroy(&w->lock);
    free(w->program);
    free(w);
}

static void describe(worker *w, ng_worker_info *out) {
    static const char *const states[] = {"idle", "starting", "ready", "down", "broken", "closing"};
    size_t len = strlen(w->spec.path), skip = len < sizeof out->model ? 0 : len + 1 - sizeof out->model;
    *out = (ng_worker_info){0};
    memcpy(out->model, w->spec.path + skip, len - skip + 1);
    pthread_mutex_lock(&w->lock);
    out->state = states[w->state];
    out->pid = w->process.pid > 0 ? w->process.pid : 0;
    out->restarts = w->restarts;
    for (const worker_call *c = w->calls; c; c = c->next) out->calls++;
    pthread_mutex_unlock(&w->lock);
    if (out->pid) out->resident_bytes = ng_process_resident(out->pid);
}

size_t ng_workers_list(ng_workers *w, ng_worker_info out[], size_t max) {
    size_t n = 0;
    pthread_mutex_lock(&w->lock);
    for (worker *x = w->list; x; x = x->next, n++)
        if (n < max) describe(x, &out[n]);
    pthread_mutex_unlock(&w->lock);
    return n;
}
