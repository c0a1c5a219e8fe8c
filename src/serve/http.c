/* http.c: http.h over libmicrohttpd: the daemon, its callbacks, the workers.
 *
 * How: the library runs n_io threads, each with its own epoll set, and calls on_call() at least twice
 * a request: when the headers are in, for each piece of body, and once more at its end.  Then the
 * exchange is suspended, queued, handled by a worker and resumed, and on_call() comes a last time to
 * hand over the answer.  (Rules of suspension: microhttpd.h; a suspended connection neither times out
 * nor notices a hang-up, hence http_watch.c; the daemon must not be stopped while one is suspended,
 * hence the order in ng_http_close.)
 *
 * Framing that two parsers could read differently (several Content-Length or Transfer-Encoding lines,
 * both together, an unknown coding) is refused and the connection closed (RFC 9112 section 6.3,
 * request smuggling).
 *
 * Not here: what a path means, JSON, the grid. */
#include "serve/http_parts.h"
#include "serve/late_microhttpd.h"

#include "core/clock.h"
#include "core/cpu.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* A refused body up to this many times body_max is read and dropped, so that the client gets to read
 * its answer; beyond, the connection is closed on it. */
enum { SKIP_FACTOR = 8 };
static const size_t STREAM_OUT_MAX = 64u << 20;

/* ---- exchanges ------------------------------------------------------------------------------- */

static ng_http_x *x_new(ng_http *h, struct MHD_Connection *c) {
    ng_http_x *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->http = h;
    x->connection = c;
    x->peer = info ? info->socket_context : NULL;
    atomic_init(&x->refs, 1);
    x->body = ng_buf_init(h->opt.body_max);
    x->headers = ng_buf_init(64 << 10);
    x->reply = ng_buf_init(SIZE_MAX / 2);
    x->out = ng_buf_init(STREAM_OUT_MAX);
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->changed, NULL);
    return x;
}

void ng_http_x_unref(ng_http_x *x) {
    if (atomic_fetch_sub(&x->refs, 1) != 1) return;
    x->http->opt.handlers.done(x->http->opt.handlers.ctx, x, x->sent);
    ng_buf_clear(&x->body);
    ng_buf_clear(&x->headers);
    ng_buf_clear(&x->reply);
    ng_buf_clear(&x->out);
    pthread_mutex_destroy(&x->lock);
    pthread_cond_destroy(&x->changed);
    free(x);
}

void ng_http_x_resume(ng_http_x *x) {
    if (!x->suspended || x->closed) return;
    x->suspended = false;
    MHD_resume_connection(x->connection);
}

ng_http *ng_http_of(const ng_http_x *x) {
    return x->http;
}
const char *ng_http_method(const ng_http_x *x) {
    return x->method;
}
const char *ng_http_url(const ng_http_x *x) {
    return x->url;
}
void ng_http_set_user(ng_http_x *x, void *user) {
    x->user = user;
}
void *ng_http_user(const ng_http_x *x) {
    return x->user;
}
bool ng_http_cancelled(const ng_http_x *x) {
    return atomic_load(&x->cancelled);
}
bool ng_http_timed_out(const ng_http_x *x) {
    return atomic_load(&x->timed_out);
}
ng_http_times ng_http_get_times(const ng_http_x *x) {
    return x->times;
}
int ng_http_status(const ng_http_x *x) {
    return x->status;
}

const char *ng_http_body(const ng_http_x *x, size_t *len) {
    *len = x->body.len;
    return x->body.data;
}

const char *ng_http_header(const ng_http_x *x, const char *name) {
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

const char *ng_http_query(const ng_http_x *x, const char *name) {
    return MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, name);
}

typedef struct name_count {
    const char *name;
    size_t n;
} name_count;

static enum MHD_Result count_name(void *cls, enum MHD_ValueKind kind, const char *key,
                                  const char *value) {
    (void)kind, (void)value;
    name_count *c = cls;
    c->n += !strcasecmp(key, c->name);
    return MHD_YES;
}

size_t ng_http_header_count(const ng_http_x *x, const char *name) {
    name_count c = {name, 0};
    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, count_name, &c);
    return c.n;
}

void ng_http_set_header(ng_http_x *x, const char *name, const char *value) {
    pthread_mutex_lock(&x->lock);
    if (!x->begun) {
        ng_buf_put(&x->headers, name, strlen(name) + 1);
        ng_buf_put(&x->headers, value, strlen(value) + 1);
    }
    pthread_mutex_unlock(&x->lock);
}

void ng_http_reply(ng_http_x *x, int status, ng_buf *body) {
    pthread_mutex_lock(&x->lock);
    ng_buf_clear(&x->reply);
    if (body) {
        x->reply = *body;
        *body = ng_buf_init(body->max);
    }
    x->status = status;
    pthread_mutex_unlock(&x->lock);
}

/* ---- reading a request ----------------------------------------------------------------------- */

typedef struct head_facts {
    size_t n, bytes, n_length, n_coding, n_host;
    bool blank; /* white space in a name: "Content-Length :" is another field to another parser */
    const char *length, *coding;
} head_facts;

static enum MHD_Result look_at_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                      const char *value) {
    (void)kind;
    head_facts *f = cls;
    f->n++;
    f->bytes += strlen(key) + (value ? strlen(value) : 0) + 4;
    if (strpbrk(key, " \t")) f->blank = true;
    if (!strcasecmp(key, "content-length")) f->n_length++, f->length = value;
    if (!strcasecmp(key, "transfer-encoding")) f->n_coding++, f->coding = value;
    if (!strcasecmp(key, "host")) f->n_host++;
    return MHD_YES;
}

static void refuse(ng_http_x *x, int status, const char *why) {
    const ng_http_handlers *on = &x->http->opt.handlers;
    on->refuse(on->ctx, x, status, why);
    x->path = NG_HTTP_REFUSED;
}

/* Checks what HTTP itself asks for.  True: the answer must go out now and the connection must end,
 * because the rest of the bytes cannot be trusted or is too much. */
static bool check_head(ng_http_x *x, const char *method, const char *url) {
    ng_http *h = x->http;
    head_facts f = {0};
    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, look_at_header, &f);
    bool bad = true;
    unsigned long long declared = f.length ? strtoull(f.length, NULL, 10) : 0;
    if (strlen(method) >= sizeof x->method) refuse(x, 501, "the request method is unknown");
    else if (strlen(url) >= sizeof x->url)
        refuse(x, 414, "the request target is longer than 511 bytes");
    else if (f.n > NG_HTTP_HEADERS_MAX) refuse(x, 431, "more than 100 header lines");
    else if (f.bytes > h->opt.header_max) refuse(x, 431, "the header lines are too long");
    else if (f.blank) refuse(x, 400, "white space in the name of a header");
    else if (f.n_length > 1) refuse(x, 400, "more than one Content-Length");
    else if (f.n_coding > 1) refuse(x, 400, "more than one Transfer-Encoding");
    else if (f.n_length && f.n_coding)
        refuse(x, 400, "Content-Length together with Transfer-Encoding");
    else if (f.n_coding && strcasecmp(f.coding, "chunked"))
        refuse(x, 501, "a Transfer-Encoding other than chunked");
    else if (f.n_host > 1) refuse(x, 400, "more than one Host");
    else if (declared > h->opt.body_max) {
        refuse(x, 413, "the request body is larger than this server takes");
        bad = declared > h->opt.body_max * SKIP_FACTOR;
    } else bad = false;
    if (bad) ng_http_set_header(x, "Connection", "close");
    if (strlen(method) < sizeof x->method) strcpy(x->method, method);
    if (strlen(url) < sizeof x->url) strcpy(x->url, url);
    return bad;
}

static bool take_body(ng_http_x *x, const char *data, size_t len) {
    size_t max = x->http->opt.body_max;
    if (x->path == NG_HTTP_REFUSED || x->body_over || len > max - x->body.len) {
        x->body_over = x->path != NG_HTTP_REFUSED;
        x->body_skipped += len;
        return x->body_skipped <= max * SKIP_FACTOR;
    }
    return ng_buf_put(&x->body, data, len) == NG_OK;
}

/* ---- answering ------------------------------------------------------------------------------- */

static void free_reply(void *data) {
    free(data);
}

static struct MHD_Response *whole_response(ng_http_x *x) {
    size_t len = x->reply.len;
    char *data = len ? ng_buf_take(&x->reply) : NULL;
    if (!data) return MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    struct MHD_Response *r =
        MHD_create_response_from_buffer_with_free_callback(len, data, free_reply);
    if (!r) free(data);
    return r;
}

static enum MHD_Result answer(ng_http_x *x) {
    const ng_http_handlers *on = &x->http->opt.handlers;
    pthread_mutex_lock(&x->lock);
    bool stream = x->begun;
    if (!stream && !x->status) { /* woken for nothing: wait on */
        x->suspended = true;
        MHD_suspend_connection(x->connection);
        pthread_mutex_unlock(&x->lock);
        return MHD_YES;
    }
    pthread_mutex_unlock(&x->lock);
    x->phase = PHASE_ANSWERING;
    x->times.answered = ng_clock_ns();
    if (!stream) on->answering(on->ctx, x);

    pthread_mutex_lock(&x->lock);
    struct MHD_Response *r = stream ? ng_http_stream_response(x) : whole_response(x);
    bool ok = r && !x->headers.status;
    for (const char *p = x->headers.data, *end = p + x->headers.len; ok && p < end;) {
        const char *value = p + strlen(p) + 1;
        MHD_add_response_header(r, p, value);
        p = value + strlen(value) + 1;
    }
    unsigned status = stream ? 200 : (unsigned)x->status;
    pthread_mutex_unlock(&x->lock);

    enum MHD_Result queued = ok ? MHD_queue_response(x->connection, status, r) : MHD_NO;
    if (r) MHD_destroy_response(r);
    return queued;
}

/* The whole request is here. */
static enum MHD_Result dispatch(ng_http_x *x) {
    ng_http *h = x->http;
    const ng_http_handlers *on = &h->opt.handlers;
    x->times.received = ng_clock_ns();
    atomic_fetch_add(&h->n_answering, 1);
    if (x->peer) atomic_store(&x->peer->since, 0);
    if (x->body_over) refuse(x, 413, "the request body is larger than this server takes");
    else if (x->path != NG_HTTP_REFUSED && atomic_load(&h->draining)) {
        refuse(x, 503, "the server is shutting down");
        ng_http_set_header(x, "Connection", "close");
    }
    if (x->path == NG_HTTP_INLINE) {
        x->times.started = x->times.received;
        on->handle(on->ctx, x);
    }
    if (x->path == NG_HTTP_TRY) {
        x->times.started = x->times.received;
        if (!on->handle_at_once || !on->handle_at_once(on->ctx, x)) x->path = NG_HTTP_QUEUE;
    }
    if (x->path != NG_HTTP_QUEUE) return answer(x);

    x->phase = PHASE_WAITING;
    x->deadline = x->times.received + (uint64_t)h->opt.request_ms * 1000000u;
    atomic_fetch_add(&x->refs, 1);
    pthread_mutex_lock(&x->lock);
    x->suspended = true;
    MHD_suspend_connection(x->connection);
    pthread_mutex_unlock(&x->lock);
    ng_http_watch_add(x);
    if (!ng_queue_push(&h->queue, x)) {
        ng_http_watch_remove(x);
        refuse(x, 503, "all workers are busy and the queue is full");
        pthread_mutex_lock(&x->lock);
        ng_http_x_resume(x);
        pthread_mutex_unlock(&x->lock);
        ng_http_x_unref(x);
    }
    return MHD_YES;
}

static enum MHD_Result on_call(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *len, void **slot) {
    (void)version;
    ng_http_x *x = *slot;
    if (!x) {
        ng_http *h = cls;
        *slot = x = x_new(h, c);
        if (!x) return MHD_NO;
        bool now = check_head(x, method, url);
        if (!x->status) x->path = h->opt.handlers.admit(h->opt.handlers.ctx, x);
        if (!now) return MHD_YES;
        x->times.received = ng_clock_ns();
        atomic_fetch_add(&h->n_answering, 1);
        return answer(x);
    }
    if (*len) {
        size_t n = *len;
        *len = 0;
        return take_body(x, data, n) ? MHD_YES : MHD_NO;
    }
    if (x->phase == PHASE_BODY) return dispatch(x);
    return x->phase == PHASE_WAITING ? answer(x) : MHD_NO;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **slot,
                         enum MHD_RequestTerminationCode code) {
    (void)c;
    ng_http *h = cls;
    ng_http_x *x = *slot;
    if (!x) return;
    *slot = NULL;
    pthread_mutex_lock(&x->lock);
    if (x->watched) epoll_ctl(h->watch_epoll, EPOLL_CTL_DEL, x->peer->fd, NULL);
    x->watched = false;
    x->closed = true;
    x->sent = code == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    if (!x->sent) atomic_store(&x->cancelled, true);
    pthread_cond_broadcast(&x->changed);
    pthread_mutex_unlock(&x->lock);
    if (x->peer) atomic_store(&x->peer->since, ng_clock_ns());
    if (x->times.received) atomic_fetch_sub(&h->n_answering, 1);
    ng_http_x_unref(x);
}

/* While draining a new connection is closed at once.  (Not MHD_quiesce_daemon: an io thread may take the listening
 * socket out of its epoll set a moment before that call does, which then ends the process.) */
static enum MHD_Result may_connect(void *cls, const struct sockaddr *from, socklen_t len) {
    (void)from, (void)len;
    return atomic_load(&((ng_http *)cls)->draining) ? MHD_NO : MHD_YES;
}

static void on_peer(void *cls, struct MHD_Connection *c, void **slot,
                    enum MHD_ConnectionNotificationCode code) {
    ng_http *h = cls;
    ng_http_peer *p = *slot;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        *slot = p = info ? calloc(1, sizeof *p) : NULL;
        if (!p) return; /* served, but watched by the library's idle timeout alone */
        p->fd = info->connect_fd;
        atomic_init(&p->since, ng_clock_ns());
        pthread_mutex_lock(&h->peers_lock);
        p->next = h->peers;
        if (h->peers) h->peers->prev = p;
        h->peers = p;
        pthread_mutex_unlock(&h->peers_lock);
    } else if (p) {
        pthread_mutex_lock(&h->peers_lock);
        if (p->next) p->next->prev = p->prev;
        if (p->prev) p->prev->next = p->next;
        else h->peers = p->next;
        pthread_mutex_unlock(&h->peers_lock);
        free(p);
        *slot = NULL;
    }
}

/* ---- workers --------------------------------------------------------------------------------- */

static void work_on(ng_http *h, ng_http_x *x) {
    const ng_http_handlers *on = &h->opt.handlers;
    x->times.started = ng_clock_ns();
    if (ng_http_cancelled(x)) on->refuse(on->ctx, x, 499, "the client closed the connection");
    else on->handle(on->ctx, x);
    pthread_mutex_lock(&x->lock);
    x->prepared = false; /* no ping may begin a stream from here on */
    if (x->begun && !x->ended) x->failed = x->ended = true;
    bool answered = x->begun || x->status;
    pthread_mutex_unlock(&x->lock);
    if (!answered) on->refuse(on->ctx, x, 500, "no answer was made");
    pthread_mutex_lock(&x->lock);
    ng_http_x_resume(x);
    pthread_mutex_unlock(&x->lock);
    ng_http_watch_remove(x); /* after the answer is on its way */
    ng_http_x_unref(x);
}

static void *worker(void *arg) {
    ng_http *h = arg;
    for (ng_http_x *x; (x = ng_queue_pop(&h->queue));) {
        atomic_fetch_add(&h->n_active, 1);
        work_on(h, x);
        atomic_fetch_sub(&h->n_active, 1);
    }
    return NULL;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static ng_status listen_on(ng_http *h, int *family, ng_error *err) {
    const char *host = h->opt.host ? h->opt.host : "127.0.0.1";
    char port[8];
    snprintf(port, sizeof port, "%u", h->opt.port);
    struct addrinfo *a, hint = {.ai_socktype = SOCK_STREAM,
                                .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    if (getaddrinfo(!strcmp(host, "localhost") ? "127.0.0.1" : host, port, &hint, &a))
        return ng_fail(err, NG_EINVALID, "listen: '%s' is not an IP address or localhost", host);
    *family = a->ai_family;
    h->listen_fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    bool ok = h->listen_fd >= 0 &&
              !setsockopt(h->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) &&
              !bind(h->listen_fd, a->ai_addr, a->ai_addrlen) && !listen(h->listen_fd, 512);
    int why = errno;
    freeaddrinfo(a);
    if (!ok)
        return ng_fail(err, NG_EIO, "listen: %s port %u: %s", host, h->opt.port, strerror(why));
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    if (getsockname(h->listen_fd, (struct sockaddr *)&bound, &len))
        return ng_fail(err, NG_EIO, "listen: %s", strerror(errno));
    h->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                : ((struct sockaddr_in *)&bound)->sin_port);
    return NG_OK;
}

/* Each connection needs a descriptor and leaves some for models, records and upstreams. */
static unsigned connections_max(const ng_http_options *o) {
    struct rlimit r;
    if (o->connections_max) return (unsigned)o->connections_max;
    if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur < 256) return 64;
    return r.rlim_cur - 128 > 4096 ? 4096 : (unsigned)r.rlim_cur - 128;
}

static ng_status start_daemon(ng_http *h, int family, ng_error *err) {
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     (family == AF_INET6 ? MHD_USE_IPv6 : 0);
    size_t pool = h->opt.header_max * 2 < 8192 ? 8192 : h->opt.header_max * 2;
    ng_status s = ng_microhttpd_load(err);
    if (s) return s;
    h->daemon = MHD_start_daemon(
        flags, h->port, may_connect, h, on_call, h, MHD_OPTION_LISTEN_SOCKET, h->listen_fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)h->opt.n_io, MHD_OPTION_CONNECTION_LIMIT,
        connections_max(&h->opt), MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)4096, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((h->opt.receive_ms + 1999) / 1000), MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_peer, h,
        MHD_OPTION_END);
    if (!h->daemon)
        return ng_fail(err, NG_EIO, "http: the server does not start: %s", strerror(errno));
    return NG_OK;
}

static ng_http_options with_defaults(const ng_http_options *opt) {
    ng_http_options o = *opt;
    if (o.n_io < 1) o.n_io = ng_cpu_count();
    o.n_io = o.n_io < 2 ? 2 : o.n_io > 8 ? 8 : o.n_io;
    if (o.n_workers < 1) o.n_workers = 8;
    if (!o.queue_max) o.queue_max = 64;
    if (!o.header_max) o.header_max = 16 << 10;
    if (!o.body_max) o.body_max = 1 << 20;
    if (!o.stream_max) o.stream_max = 256 << 10;
    if (o.receive_ms <= 0) o.receive_ms = 20000;
    if (o.request_ms <= 0) o.request_ms = 300000;
    if (o.slow_ms <= 0) o.slow_ms = 10000;
    if (o.ping_ms <= 0) o.ping_ms = 2000;
    return o;
}

ng_status ng_http_open(ng_http **out, const ng_http_options *opt, ng_error *err) {
    *out = NULL;
    ng_http *h = calloc(1, sizeof *h);
    if (!h) return ng_fail(err, NG_ENOMEM, "http: out of memory");
    h->opt = with_defaults(opt);
    h->listen_fd = h->watch_epoll = h->watch_wake = -1;
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->peers_lock, NULL);
    int family = AF_INET;
    h->workers = calloc((size_t)h->opt.n_workers, sizeof *h->workers);
    if (!h->workers || ng_queue_init(&h->queue, h->opt.queue_max)) {
        ng_fail(err, NG_ENOMEM, "http: out of memory");
        goto fail;
    }
    if (listen_on(h, &family, err) || ng_http_watch_start(h, err)) goto fail;
    for (; h->n_workers < h->opt.n_workers; h->n_workers++)
        if (pthread_create(&h->workers[h->n_workers], NULL, worker, h)) {
            ng_fail(err, NG_EIO, "http: worker thread %d does not start", h->n_workers);
            goto fail;
        }
    if (start_daemon(h, family, err)) goto fail;
    *out = h;
    return NG_OK;
fail:;
    ng_status s = err ? err->code : NG_EIO;
    ng_http_close(h, 0);
    return s ? s : NG_EIO;
}

void ng_http_drain(ng_http *h) {
    atomic_store(&h->draining, true);
}
bool ng_http_draining(const ng_http *h) {
    return atomic_load(&h->draining);
}
uint16_t ng_http_port(const ng_http *h) {
    return h->port;
}
size_t ng_http_queued(ng_http *h) {
    return ng_queue_len(&h->queue);
}
size_t ng_http_active(ng_http *h) {
    return atomic_load(&h->n_active);
}

static bool at_work(ng_http *h) {
    pthread_mutex_lock(&h->lock);
    bool any = h->active != NULL;
    pthread_mutex_unlock(&h->lock);
    return any;
}

/* Every exchange must have left its worker before the daemon may stop (no suspended connection), and
 * should have left the socket too. */
static void wait_until_idle(ng_http *h, int64_t drain_ms) {
    struct timespec nap = {.tv_nsec = 5000000};
    double until = ng_clock_ms() + (double)drain_ms;
    while ((at_work(h) || atomic_load(&h->n_answering)) && ng_clock_ms() < until)
        nanosleep(&nap, NULL);
    while (at_work(h)) {
        ng_http_watch_cancel_all(h);
        nanosleep(&nap, NULL);
    }
    until = ng_clock_ms() + 500;
    while (atomic_load(&h->n_answering) && ng_clock_ms() < until) nanosleep(&nap, NULL);
}

void ng_http_close(ng_http *h, int64_t drain_ms) {
    if (!h) return;
    ng_http_drain(h);
    if (h->daemon) wait_until_idle(h, drain_ms);
    if (h->queue.ring) ng_queue_stop(&h->queue);
    for (int i = 0; i < h->n_workers; i++) pthread_join(h->workers[i], NULL);
    if (h->daemon) {
        MHD_stop_daemon(h->daemon);
        h->listen_fd = -1; /* closed with it */
    }
    ng_http_watch_stop(h);
    if (h->listen_fd >= 0) close(h->listen_fd);
    ng_queue_clear(&h->queue);
    free(h->workers);
    pthread_mutex_destroy(&h->lock);
    pthread_mutex_destroy(&h->peers_lock);
    free(h);
}
