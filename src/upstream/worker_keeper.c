/* worker_keeper.c: keeps one worker process alive.
 *
 *     IDLE -> STARTING -> READY -> (death) DOWN -> STARTING ..        BROKEN and CLOSING end it
 *
 * Invariant: `process` is written only here, with the lock held, and only while nobody can be writing to it
 * (write_lock is held too), so a descriptor number that the system gives out again is never written to by mistake. */
#include "worker_parts.h"

#include "core/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POLL_MS = 50 };

static void say(const worker *w, const char *fmt, ...) NG_PRINTF(2, 3);
static void say(const worker *w, const char *fmt, ...) {
    char line[512];
    va_list ap;
    if (!w->pool->log) return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    w->pool->log(w->pool->log_ctx, line);
}

void ng_worker_event_free(worker_event *e) {
    ng_buf_clear(&e->payload);
    free(e);
}

bool ng_worker_send(worker *w, ng_wire_kind kind, uint64_t call, const ng_buf *payload) {
    unsigned char head[NG_WIRE_HEADER];
    ng_wire_head h = {payload ? (uint32_t)payload->len : 0, kind, call};
    ng_wire_head_put(head, &h);
    pthread_mutex_lock(&w->write_lock);
    bool ok = ng_process_write(&w->process, head, sizeof head) &&
              (!h.len || ng_process_write(&w->process, payload->data, payload->len));
    pthread_mutex_unlock(&w->write_lock);
    return ok;
}

/* ---- starting ------------------------------------------------------------------------------------- */

static ng_status start(worker *w, ng_error *err) {
    char threads[16], context[16], memory[32], kept[32], disk[32], scale[32];
    const ng_head_spec *s = &w->spec;
    const char *argv[32] = {w->pool->program, "worker", "--model", s->path, "--task", ng_task_name(s->task)};
    size_t n = 6;
    if (s->head) argv[n++] = "--head", argv[n++] = s->head;
    if (s->adapter) {
        snprintf(scale, sizeof scale, "%.17g", s->adapter_scale);
        argv[n++] = "--adapter", argv[n++] = s->adapter;
        argv[n++] = "--scale", argv[n++] = scale;
    }
    if (s->n_threads) {
        snprintf(threads, sizeof threads, "%d", s->n_threads);
        argv[n++] = "--threads", argv[n++] = threads;
    }
    if (s->memory_max) {
        snprintf(memory, sizeof memory, "%llu", (unsigned long long)s->memory_max);
        argv[n++] = "--memory", argv[n++] = memory;
    }
    if (s->n_ctx) {
        snprintf(context, sizeof context, "%u", s->n_ctx);
        argv[n++] = "--context", argv[n++] = context;
    }
    if (s->kv == NG_KV_8BIT) argv[n++] = "--kv", argv[n++] = "q8";
    if (s->prefix.memory_max) {
        snprintf(kept, sizeof kept, "%llu", (unsigned long long)s->prefix.memory_max);
        argv[n++] = "--prefix-memory", argv[n++] = kept;
    }
    if (s->prefix.dir) {
        snprintf(disk, sizeof disk, "%llu", (unsigned long long)s->prefix.disk_max);
        argv[n++] = "--prefix-cache", argv[n++] = s->prefix.dir;
        argv[n++] = "--prefix-disk", argv[n++] = disk;
    }
    if (*w->lease) argv[n++] = "--lease", argv[n++] = w->lease;
    ng_process p;
    ng_status status = ng_process_start(&p, argv, err);
    pthread_mutex_lock(&w->write_lock);
    pthread_mutex_lock(&w->lock);
    w->process = p;
    if (!status && w->state != WORKER_CLOSING) w->state = WORKER_STARTING;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_unlock(&w->write_lock);
    return status;
}

/* ---- hearing -------------------------------------------------------------------------------------- */

static void deliver(worker *w, const ng_wire_head *h, ng_buf *payload) {
    worker_call *c = w->calls;
    while (c && c->id != h->call) c = c->next;
    worker_event *e = c && h->kind != NG_WIRE_BEAT ? malloc(sizeof *e) : NULL;
    if (h->kind == NG_WIRE_DONE) w->deaths = 0;
    if (!e) {
        ng_buf_clear(payload);
        if (c && h->kind != NG_WIRE_BEAT) { /* out of memory: the call ends rather than miss a piece */
            c->lost = true;
            snprintf(c->lost_why, sizeof c->lost_why, "this process is out of memory");
            pthread_cond_signal(&c->news);
        }
        return;
    }
    *e = (worker_event){.kind = (ng_wire_kind)h->kind, .payload = *payload};
    *c->tail = e;
    c->tail = &e->next;
    pthread_cond_signal(&c->news);
}

/* A lack of memory may pass, so that is a death like others. */
static void hear_broken(worker *w, ng_wire *in, char why[128]) {
    ng_error said, damaged = {0};
    if (ng_wire_get_error(&said, in, &damaged)) said = damaged;
    snprintf(why, 128, "%.120s", said.text);
    if (said.code == NG_ENOMEM || w->state != WORKER_STARTING) return;
    w->broken = said;
    w->state = WORKER_BROKEN;
}

/* What the worker says is not trusted with our log's lines. */
static void hear_note(const worker *w, ng_wire *in) {
    ng_error said;
    if (ng_wire_get_error(&said, in, NULL)) return;
    for (char *p = said.text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127) *p = '?';
    say(w, "the worker of %s: %s", w->spec.path, said.text);
}

/* False: the worker is of no use any more, and why says so. */
static bool hear(worker *w, char why[128]) {
    unsigned char head[NG_WIRE_HEADER];
    ng_wire_head h;
    ng_error err = {0};
    ng_buf payload = ng_buf_init(NG_WIRE_PAYLOAD_MAX);
    if (!ng_process_read(&w->process, head, sizeof head)) return false;
    ng_status s = ng_wire_head_get(&h, head, &err);
    if (!s) s = ng_buf_reserve(&payload, h.len);
    bool ok = !s && (!h.len || ng_process_read(&w->process, payload.data, h.len));
    if (s) snprintf(why, 128, "it speaks nonsense: %.80s", err.text);
    if (!ok) return ng_buf_clear(&payload), false;
    payload.len = h.len;
    ng_wire in = {payload.data, payload.len, 0};
    if (h.kind == NG_WIRE_NOTE) hear_note(w, &in);
    pthread_mutex_lock(&w->lock);
    w->heard_ms = ng_clock_ms();
    if (h.kind == NG_WIRE_READY) {
        ok = !ng_wire_get_f64(&w->load_ms, &in, &err);
        if (ok && w->state == WORKER_STARTING) w->state = WORKER_READY;
        w->loaded = ok;
        w->ready_ms = ng_clock_ms();
    } else if (h.kind == NG_WIRE_BROKEN) {
        ok = false;
        hear_broken(w, &in, why);
    } else if (h.kind == NG_WIRE_SUBMIT || h.kind == NG_WIRE_CANCEL || h.kind == NG_WIRE_LOOK) {
        ok = false;
    } else if (h.kind != NG_WIRE_NOTE) {
        deliver(w, &h, &payload);
        payload = ng_buf_init(0);
    }
    if (h.kind == NG_WIRE_READY || !ok) pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    ng_buf_clear(&payload);
    return ok;
}

/* Whether it should be taken for dead. */
static bool hung(worker *w, char why[128]) {
    double now = ng_clock_ms();
    int64_t limit = w->spec.hang_ms ? w->spec.hang_ms : WORKER_HANG_MS;
    pthread_mutex_lock(&w->lock);
    bool loading = w->state == WORKER_STARTING, closing = w->state == WORKER_CLOSING;
    if (!w->calls && !loading && !closing) w->heard_ms = now;
    double silent = now - w->heard_ms;
    bool deaf = false;
    for (const worker_call *c = w->calls; c; c = c->next)
        deaf |= c->cancelled && !c->events && now - c->cancelled_ms > (double)limit;
    pthread_mutex_unlock(&w->lock);
    bool dead = closing || deaf || silent > (double)(loading && limit < WORKER_LOAD_MS ? WORKER_LOAD_MS : limit);
    if (dead && !closing)
        snprintf(why, 128, deaf ? "it did not end a cancelled call in %lld ms" : "it said nothing for %lld ms",
                 (long long)(deaf ? limit : (int64_t)silent));
    return dead;
}

static void listen_until_dead(worker *w, char why[128]) {
    w->heard_ms = ng_clock_ms();
    *why = 0;
    for (;;) {
        if (ng_process_readable(&w->process, POLL_MS)) {
            if (!hear(w, why)) return;
        } else if (hung(w, why)) return;
    }
}

/* ---- dying ---------------------------------------------------------------------------------------- */

static double back_off_ms(int deaths) {
    double ms = deaths < 2 ? 0 : WORKER_BACK_OFF_MS;
    for (int i = 2; i < deaths && ms < WORKER_BACK_OFF_MAX_MS; i++) ms *= 2;
    return ms < WORKER_BACK_OFF_MAX_MS ? ms : WORKER_BACK_OFF_MAX_MS;
}

/* Takes the process away from the askers and tells their calls. */
static void bury(worker *w, const char *why) {
    char end[128];
    ng_process p;
    pthread_mutex_lock(&w->lock);
    bool in_peace = w->state == WORKER_CLOSING && w->loaded;
    /* Somebody else ended it: neither its loading nor a request did, so there is nothing to wait for. */
    if (w->loaded && !w->calls && ng_clock_ms() - w->ready_ms > WORKER_STEADY_MS) w->deaths = 0;
    w->loaded = false;
    pthread_mutex_unlock(&w->lock);
    if (in_peace) ng_process_leave(&w->process, WORKER_LEAVE_MS); /* it writes what waits for its files */
    ng_process_kill(&w->process);
    ng_process_shut(&w->process); /* a writer that is blocked on it comes back */
    pthread_mutex_lock(&w->write_lock);
    pthread_mutex_lock(&w->lock);
    p = w->process;
    w->process = (ng_process){-1, -1};
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_unlock(&w->write_lock);
    ng_process_wait(&p, end, sizeof end);
    pthread_mutex_lock(&w->lock);
    snprintf(w->last_death, sizeof w->last_death, "%.100s", *why ? why : end);
    for (worker_call *c = w->calls; c; c = c->next) {
        c->lost = true;
        snprintf(c->lost_why, sizeof c->lost_why, "%.100s", w->last_death);
        pthread_cond_signal(&c->news);
    }
    w->deaths++;
    w->wake_ms = ng_clock_ms() + back_off_ms(w->deaths);
    bool again = w->state == WORKER_STARTING || w->state == WORKER_READY;
    if (again) w->state = WORKER_DOWN, w->restarts++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (again) say(w, "the worker of %s died (%s) and starts again", w->spec.path, w->last_death);
}

/* False: it must not start again. */
static bool wait_for_turn(worker *w) {
    pthread_mutex_lock(&w->lock);
    while ((w->state == WORKER_DOWN || w->state == WORKER_IDLE) && ng_clock_ms() < w->wake_ms) {
        uint64_t at = (uint64_t)(w->wake_ms * 1e6);
        struct timespec until = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)};
        pthread_cond_timedwait(&w->changed, &w->lock, &until);
    }
    bool again = w->state == WORKER_DOWN || w->state == WORKER_IDLE;
    pthread_mutex_unlock(&w->lock);
    return again;
}

void *ng_worker_keeper(void *arg) {
    worker *w = arg;
    while (wait_for_turn(w)) {
        char why[128] = "";
        ng_error err = {0};
        if (start(w, &err)) snprintf(why, sizeof why, "%.120s", err.text);
        else listen_until_dead(w, why);
        bury(w, why);
        if (err.code) { /* not even started: the state is what it was */
            pthread_mutex_lock(&w->lock);
            if (w->state == WORKER_IDLE) w->state = WORKER_DOWN;
            pthread_mutex_unlock(&w->lock);
        }
    }
    return NULL;
}
