/* worker_child.c: the worker's side: one model file, served over a socket to the process that started it.
 *
 * The main thread reads frames; each call gets a thread of its own, so that calls on one decoder meet in its batch.
 * Frames go out whole under one lock.  The end of the socket says that nobody is left to do anything for: calls are
 * cancelled, prefixes that wait to be written are written, and the process ends, within END_S in any case. */
#include <nanogrid/tools/worker.h>

#include "core/clock.h"
#include "core/lease.h"
#include "core/process.h"
#include "wire.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CALLS_MAX = 256, HEADS_MAX = 64, BEAT_MS = 100, HEAD_NAME_MAX = 128, END_S = 3 };

typedef struct child_head {
    ng_task task;
    char name[HEAD_NAME_MAX];
    ng_head *head;
} child_head;

typedef struct child_call {
    struct child *child;
    struct child_call *next;
    uint64_t id;
    ng_wire_request *wire;
    char head[HEAD_NAME_MAX];
    double last_beat_ms;
    atomic_bool cancelled;
} child_call;

typedef struct child {
    ng_process parent;
    const ng_worker_options *opt;
    pthread_mutex_t out_lock, lock; /* lock guards what follows */
    pthread_cond_t call_ended;
    pthread_mutex_t errors_lock;
    ng_buf errors; /* reserved at the start: that memory ran out can be said */
    child_call *calls;
    size_t n_calls;
    child_head heads[HEADS_MAX];
    size_t n_heads;
} child;

static void send_frame(child *w, ng_wire_kind kind, uint64_t call, const ng_buf *payload) {
    unsigned char head[NG_WIRE_HEADER];
    ng_wire_head h = {payload ? (uint32_t)payload->len : 0, kind, call};
    ng_wire_head_put(head, &h);
    pthread_mutex_lock(&w->out_lock);
    bool ok = ng_process_write(&w->parent, head, sizeof head) &&
              (!h.len || ng_process_write(&w->parent, payload->data, payload->len));
    if (!ok) ng_process_shut(&w->parent); /* whoever reads hears the end too */
    pthread_mutex_unlock(&w->out_lock);
}

static void send_error(child *w, ng_wire_kind kind, uint64_t call, const ng_error *e) {
    pthread_mutex_lock(&w->errors_lock);
    ng_buf_reset(&w->errors);
    ng_wire_put_error(&w->errors, e);
    send_frame(w, kind, call, &w->errors);
    pthread_mutex_unlock(&w->errors_lock);
}

/* What goes wrong beside the calls; on any thread. */
static void send_note(void *ctx, const char *line) {
    ng_error e = {.code = NG_EIO};
    snprintf(e.text, sizeof e.text, "%s", line);
    send_error(ctx, NG_WIRE_NOTE, 0, &e);
}

/* ---- heads ---------------------------------------------------------------------------------------- */

/* The lock is held while a head loads: others of this model wait for the same file. */
static ng_status find_head(child *w, ng_task task, const char *name, ng_head **out, ng_error *err) {
    ng_head_spec spec = w->opt->spec;
    ng_status s = NG_OK;
    pthread_mutex_lock(&w->lock);
    size_t i = 0;
    while (i < w->n_heads && (w->heads[i].task != task || strcmp(w->heads[i].name, name))) i++;
    if (i == HEADS_MAX) s = ng_fail(err, NG_ELIMIT, "worker: more than %d heads on one model", HEADS_MAX);
    else if (i == w->n_heads) {
        spec.task = task;
        spec.head = *name ? name : NULL;
        spec.prefix.warn = send_note;
        spec.prefix.warn_ctx = w;
        s = ng_head_open(&w->heads[i].head, &spec, err);
        if (!s) {
            w->heads[i].task = task;
            strcpy(w->heads[i].name, name);
            w->n_heads++;
        }
    }
    *out = s ? NULL : w->heads[i].head;
    pthread_mutex_unlock(&w->lock);
    return s;
}

/* ---- one call ------------------------------------------------------------------------------------- */

static void beat(child_call *c) {
    double now = ng_clock_ms();
    if (now - c->last_beat_ms < BEAT_MS) return;
    c->last_beat_ms = now;
    send_frame(c->child, NG_WIRE_BEAT, c->id, NULL);
}

static bool on_token(void *ctx, const ng_token_event *e) {
    child_call *c = ctx;
    if (!c->wire->wants_tokens) beat(c);
    else {
        ng_buf b = ng_buf_init(NG_WIRE_PAYLOAD_MAX);
        ng_wire_put_token(&b, e);
        if (b.status) return ng_buf_clear(&b), false;
        send_frame(c->child, NG_WIRE_TOKEN, c->id, &b);
        ng_buf_clear(&b);
    }
    return !atomic_load(&c->cancelled);
}

static bool abandoned(void *ctx) {
    child_call *c = ctx;
    beat(c);
    return atomic_load(&c->cancelled);
}

static void answer_call(child_call *c) {
    ng_tier_request *r = &c->wire->request;
    ng_answer *a = NULL;
    ng_head *head;
    ng_error err = {0};
    r->on_token = r->task == NG_TASK_GENERATE ? on_token : NULL;
    r->abandoned = abandoned;
    r->on_token_ctx = r->abandoned_ctx = c;
    ng_buf b = ng_buf_init(NG_WIRE_PAYLOAD_MAX);
    ng_status s = ng_answer_new(&a) ? ng_fail(&err, NG_ENOMEM, "worker: out of memory")
                                    : find_head(c->child, r->task, c->head, &head, &err);
    if (!s) a->task = r->task;
    if (!s) s = ng_head_apply(head, r, a, &err);
    if (!s) ng_wire_put_answer(&b, a);
    if (!s && b.status) s = ng_fail(&err, b.status, "worker: the answer does not fit %d bytes", NG_WIRE_PAYLOAD_MAX);
    if (s) send_error(c->child, NG_WIRE_FAILED, c->id, &err);
    else send_frame(c->child, NG_WIRE_DONE, c->id, &b);
    ng_buf_clear(&b);
    ng_answer_free(a);
}

static void end_call(child_call *c) {
    child *w = c->child;
    pthread_mutex_lock(&w->lock);
    child_call **at = &w->calls;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    w->n_calls--;
    pthread_cond_signal(&w->call_ended);
    pthread_mutex_unlock(&w->lock);
    ng_wire_request_free(c->wire);
    free(c);
}

static void *call_thread(void *arg) {
    child_call *c = arg;
    answer_call(c);
    end_call(c);
    return NULL;
}

/* ---- frames in ------------------------------------------------------------------------------------ */

/* The payload of a SUBMIT: the head's name, NUL-terminated, then the request. */
static ng_status read_submit(child_call *c, const char *data, size_t len, ng_error *err) {
    size_t n = strnlen(data, len);
    if (n == len || n >= sizeof c->head) return ng_fail(err, NG_EFORMAT, "worker: a call names no head");
    strcpy(c->head, data);
    ng_wire w = {data + n + 1, len - n - 1, 0};
    return ng_wire_get_request(&c->wire, &w, err);
}

static ng_status start_thread(child_call *c) {
    pthread_attr_t attr;
    pthread_t thread;
    if (pthread_attr_init(&attr)) return NG_ENOMEM;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int e = pthread_create(&thread, &attr, call_thread, c);
    pthread_attr_destroy(&attr);
    return e ? NG_ENOMEM : NG_OK;
}

static void submit(child *w, uint64_t id, const char *data, size_t len) {
    ng_error err = {0};
    child_call *c = calloc(1, sizeof *c);
    ng_status s = c ? read_submit(c, data, len, &err) : ng_fail(&err, NG_ENOMEM, "worker: out of memory");
    if (!s) {
        c->child = w;
        c->id = id;
        pthread_mutex_lock(&w->lock);
        if (w->n_calls == CALLS_MAX) s = ng_fail(&err, NG_EBUSY, "worker: %d calls wait already", CALLS_MAX);
        else {
            c->next = w->calls;
            w->calls = c;
            w->n_calls++;
        }
        pthread_mutex_unlock(&w->lock);
        if (!s && !start_thread(c)) return;
        if (!s)
            return send_error(w, NG_WIRE_FAILED, id, &(ng_error){NG_ENOMEM, "worker: no thread for the call"}),
                   end_call(c);
    }
    send_error(w, NG_WIRE_FAILED, id, &err);
    if (c) ng_wire_request_free(c->wire);
    free(c);
}

static void cancel(child *w, uint64_t id) {
    pthread_mutex_lock(&w->lock);
    for (child_call *c = w->calls; c; c = c->next)
        if (c->id == id) atomic_store(&c->cancelled, true);
    pthread_mutex_unlock(&w->lock);
}

/* Of the first head that is a decoder; at once, on the thread that reads. */
static void look(child *w, uint64_t id) {
    ng_tier_look l = {.owner = NULL};
    bool found = false;
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; !found && i < w->n_heads; i++) found = ng_head_look(w->heads[i].head, &l);
    pthread_mutex_unlock(&w->lock);
    ng_buf b = ng_buf_init(NG_WIRE_PAYLOAD_MAX);
    ng_wire_put_look(&b, &l);
    if (b.status) _exit(1);
    send_frame(w, NG_WIRE_SEEN, id, &b);
    ng_buf_clear(&b);
}

/* Nobody is left.  Closing a decoder waits for its files; alarm ends what takes too long. */
static void end(child *w) {
    alarm(END_S);
    pthread_mutex_lock(&w->lock);
    for (child_call *c = w->calls; c; c = c->next) atomic_store(&c->cancelled, true);
    while (w->n_calls) pthread_cond_wait(&w->call_ended, &w->lock);
    for (size_t i = 0; i < w->n_heads; i++) ng_head_close(w->heads[i].head);
    _exit(0);
}

static ng_status serve(child *w, ng_error *err) {
    unsigned char head[NG_WIRE_HEADER];
    ng_buf body = ng_buf_init(NG_WIRE_PAYLOAD_MAX);
    ng_wire_head h;
    while (ng_process_read(&w->parent, head, sizeof head)) {
        ng_status s = ng_wire_head_get(&h, head, err);
        ng_buf_reset(&body);
        if (!s) s = ng_buf_reserve(&body, h.len);
        if (s) return ng_fail(err, s, "worker: out of memory");
        if (h.len && !ng_process_read(&w->parent, body.data, h.len)) break;
        if (h.kind == NG_WIRE_SUBMIT) submit(w, h.call, body.data, h.len);
        else if (h.kind == NG_WIRE_CANCEL) cancel(w, h.call);
        else if (h.kind == NG_WIRE_LOOK) look(w, h.call);
        else return ng_fail(err, NG_EFORMAT, "worker: a frame of kind %u is not for a worker", h.kind);
    }
    end(w);
    return NG_OK;
}

static ng_status load(child *w, ng_error *err) {
    ng_head *head;
    const ng_head_spec *spec = &w->opt->spec;
    double t0 = ng_clock_ms();
    ng_status s = spec->memory_max ? ng_process_limit_memory(spec->memory_max, err) : NG_OK;
    if (!s && w->opt->lease) s = ng_lease_open(w->opt->lease, err);
    if (!s) s = find_head(w, spec->task, spec->head ? spec->head : "", &head, err);
    if (s) return s;
    ng_buf b = ng_buf_init(64);
    ng_wire_put_f64(&b, ng_clock_ms() - t0);
    send_frame(w, NG_WIRE_READY, 0, &b);
    ng_buf_clear(&b);
    return NG_OK;
}

ng_status ng_worker_run(const ng_worker_options *opt, ng_error *err) {
    child w = {.parent = ng_process_parent(), .opt = opt};
    ng_error why = {0};
    if (opt->spec.head && strlen(opt->spec.head) >= HEAD_NAME_MAX)
        return ng_fail(err, NG_EINVALID, "worker: the name of the head is too long");
    pthread_mutex_init(&w.out_lock, NULL);
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.call_ended, NULL);
    pthread_mutex_init(&w.errors_lock, NULL);
    w.errors = ng_buf_init(NG_WIRE_PAYLOAD_MAX);
    if (ng_buf_reserve(&w.errors, sizeof why + 64)) return ng_fail(err, NG_ENOMEM, "worker: out of memory");
    ng_status s = load(&w, &why);
    if (!s) return serve(&w, err);
    send_error(&w, NG_WIRE_BROKEN, 0, &why);
    return ng_fail(err, s, "%s", why.text);
}
