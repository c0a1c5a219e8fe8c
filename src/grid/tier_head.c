/* tier_head.c: see tier_head.h.
 *
 * Invariant: `head` is written once, under `lock`, and published by `state` with release order;
 * readers that see LOADED may use it without the lock.  A worker process will take this file's
 * place without the grid noticing: nothing but the messages of tier.h crosses the border. */
#include "tier_head.h"

#include "core/clock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_LOADED, LOADED, BROKEN };

typedef struct head_tier {
    ng_head_spec spec; /* its strings are owned */
    pthread_mutex_t lock;
    _Atomic int state;
    ng_head *head;              /* set once, before state becomes LOADED */
    ng_error why;               /* set once, before state becomes BROKEN */
    bool is_big;                /* set once, before state becomes LOADED */
    _Atomic uint32_t cancelled; /* rises with every cancel() */
} head_tier;

/* A call that is running: what ends it, between tokens or while it waits for one. */
typedef struct running {
    head_tier *tier;
    const ng_tier_request *req;
    uint32_t cancelled_before;
} running;

static bool was_cancelled(const running *r) { return atomic_load(&r->tier->cancelled) != r->cancelled_before; }

static bool on_token(void *ctx, const ng_token_event *e) {
    const running *r = ctx;
    return !was_cancelled(r) && r->req->on_token(r->req->on_token_ctx, e);
}

static bool abandoned(void *ctx) {
    const running *r = ctx;
    return was_cancelled(r) || (r->req->abandoned && r->req->abandoned(r->req->abandoned_ctx));
}

static ng_status load_locked(head_tier *t, ng_error *err) {
    ng_error why = {0};
    ng_status s = ng_head_open(&t->head, &t->spec, &why);
    if (!s) {
        t->is_big = ng_head_is_big(&t->spec);
        atomic_store_explicit(&t->state, LOADED, memory_order_release);
        return NG_OK;
    }
    if (s != NG_ENOMEM) {
        t->why = why;
        atomic_store_explicit(&t->state, BROKEN, memory_order_release);
    }
    return ng_fail(err, s, "%s", why.text);
}

static ng_status load(head_tier *t, double *load_ms, ng_error *err) {
    int state = atomic_load_explicit(&t->state, memory_order_acquire);
    if (state == LOADED) return NG_OK;
    double t0 = ng_clock_ms();
    ng_status s = NG_OK;
    pthread_mutex_lock(&t->lock);
    state = atomic_load_explicit(&t->state, memory_order_acquire);
    if (state == NOT_LOADED) s = load_locked(t, err);
    else if (state == BROKEN) s = ng_fail(err, t->why.code, "%s", t->why.text);
    pthread_mutex_unlock(&t->lock);
    *load_ms = ng_clock_ms() - t0;
    return s;
}

static ng_status submit(void *self, const ng_tier_request *req, ng_answer *answer, ng_error *err) {
    head_tier *t = self;
    double load_ms = 0;
    ng_status s = load(t, &load_ms, err);
    if (s) return s;
    answer->load_ms += load_ms;
    ng_tier_request r = *req;
    running run = {t, req, atomic_load(&t->cancelled)};
    if (req->task == NG_TASK_GENERATE) {
        r.on_token = req->on_token ? on_token : NULL;
        r.on_token_ctx = r.abandoned_ctx = &run;
        r.abandoned = abandoned;
    }
    return ng_head_apply(t->head, &r, answer, err);
}

static bool healthy(void *self, const char **why) {
    head_tier *t = self;
    if (atomic_load_explicit(&t->state, memory_order_acquire) != BROKEN) return true;
    *why = t->why.text;
    return false;
}

static void cancel(void *self) {
    atomic_fetch_add(&((head_tier *)self)->cancelled, 1);
}

static bool look(void *self, ng_tier_look *out) {
    head_tier *t = self;
    out->owner = t;
    out->path = t->spec.path;
    return atomic_load_explicit(&t->state, memory_order_acquire) == LOADED && ng_head_look(t->head, out);
}

static bool at_once(void *self) {
    head_tier *t = self;
    return atomic_load_explicit(&t->state, memory_order_acquire) == LOADED && !t->is_big;
}

static void close_tier(void *self) {
    head_tier *t = self;
    if (!t) return;
    ng_head_close(t->head);
    pthread_mutex_destroy(&t->lock);
    free((char *)t->spec.path);
    free((char *)t->spec.head);
    free((char *)t->spec.adapter);
    free((char *)t->spec.prefix.dir);
    free(t);
}

static bool copy_text(const char **out, const char *s) {
    *out = s ? strdup(s) : NULL;
    return !s || *out;
}

ng_status ng_tier_open_head(ng_tier *out, const ng_head_spec *spec, ng_error *err) {
    head_tier *t = calloc(1, sizeof *t);
    *out = (ng_tier){0};
    if (!t || pthread_mutex_init(&t->lock, NULL)) {
        free(t);
        return ng_fail(err, NG_ENOMEM, "tier: out of memory");
    }
    t->spec = *spec;
    bool ok = copy_text(&t->spec.path, spec->path);
    ok &= copy_text(&t->spec.head, spec->head);
    ok &= copy_text(&t->spec.adapter, spec->adapter);
    ok &= copy_text(&t->spec.prefix.dir, spec->prefix.dir);
    if (!ok) {
        close_tier(t);
        return ng_fail(err, NG_ENOMEM, "tier: out of memory");
    }
    *out = (ng_tier){t, submit, healthy, cancel, close_tier, look, at_once};
    return NG_OK;
}
