/* http.h: an HTTP/1.1 server as the rest of this room wants to see one.
 *
 *     static ng_http_path admit(void *ctx, ng_http_x *x);   headers are in: refuse, answer at once, or queue
 *     static void handle(void *ctx, ng_http_x *x);          the whole request is in: answer it
 *     ng_http_options o = {.host = "127.0.0.1", .handlers = {&admit, &handle, ..}};
 *     ng_http_open(&h, &o, &err);
 *     ng_http_close(h, 5000);                               drains for at most 5 s
 *
 * One exchange (`ng_http_x`) is one request and its answer.  A few io threads own the sockets; a
 * short answer is made there; a request that needs thought is suspended and waits in a bounded queue for one of the
 * workers, so that a slow model never stops the reading of other requests.  When the queue is full the io
 * thread itself answers 503 with Retry-After.  While a worker has an exchange, a watcher thread asks
 * the kernel whether the client has hung up, and then ng_http_cancelled() turns true.
 *
 * An answer is either whole (ng_http_reply) or a stream (ng_http_stream_*) through a bounded buffer:
 * a client that reads too slowly first holds the writer up and is then cut off.
 *
 * Nothing here knows what is being asked; the names of the wrapped library stay in http*.c. */
#ifndef NG_SERVE_HTTP_H
#define NG_SERVE_HTTP_H

#include <nanogrid/buf.h>
#include <nanogrid/status.h>

typedef struct ng_http ng_http;
typedef struct ng_http_x ng_http_x;

typedef enum ng_http_path {
    NG_HTTP_REFUSED, /* ng_http_reply was called: the body is skipped, the answer sent */
    NG_HTTP_INLINE,  /* handle() on the io thread: only for answers that never block */
    NG_HTTP_QUEUE,   /* handle() on a worker */
    NG_HTTP_TRY,     /* handle_at_once() on the io thread; where it cannot, handle() on a worker */
} ng_http_path;

typedef struct ng_http_handlers {
    void *ctx;
    /* On an io thread, when the headers are in. */
    ng_http_path (*admit)(void *ctx, ng_http_x *x);
    /* When the body is in.  Must end in ng_http_reply or ng_http_stream_end. */
    void (*handle)(void *ctx, ng_http_x *x);
    /* Makes the reply for a request that the server itself refuses (413, 431, 503, ..). */
    void (*refuse)(void *ctx, ng_http_x *x, int status, const char *why);
    /* On an io thread, right before the first byte of an answer: the last headers. */
    void (*answering)(void *ctx, ng_http_x *x);
    /* On an io thread, after the last byte or when the connection broke (sent false). */
    void (*done)(void *ctx, ng_http_x *x, bool sent);
    /* For NG_HTTP_TRY, on an io thread: answers like handle(), or says false within a fraction of a millisecond and
     * without having replied.  Saves short answers two changes of threads, most of their time.  NULL: never. */
    bool (*handle_at_once)(void *ctx, ng_http_x *x);
} ng_http_handlers;

typedef struct ng_http_options {
    const char *host;       /* an IPv4 or IPv6 address, or "localhost" */
    uint16_t port;          /* 0: any free one, see ng_http_port */
    int n_io, n_workers;    /* threads; 0: as many as cores, 2 to 8, and 8 */
    size_t queue_max;       /* waiting requests; 0: 64 */
    size_t header_max;      /* bytes of all header lines; 0: 16 KiB */
    size_t body_max;        /* bytes; 0: 1 MiB */
    size_t stream_max;      /* bytes buffered for one slow reader; 0: 256 KiB */
    size_t connections_max; /* 0: as many as the file limit allows, at most 4096 */
    int64_t receive_ms; /* a connection that brings no whole request for so long is cut; 0: 20 s */
    int64_t request_ms; /* longest time for one answer, then it is cancelled; 0: 300 s */
    int64_t slow_ms;    /* longest wait for a slow reader of a stream; 0: 10 s */
    int64_t ping_ms;    /* a stream silent for so long sends ": ping"; 0: 2 s */
    ng_http_handlers handlers;
} ng_http_options;

/* Binds and starts all threads.  NG_EIO or NG_EINVALID with the address and the reason. */
ng_status ng_http_open(ng_http **out, const ng_http_options *opt, ng_error *err) NG_MUST_USE;
/* Stops accepting, lets running exchanges end for drain_ms, then cancels the rest.  NULL is fine. */
void ng_http_close(ng_http *h, int64_t drain_ms);
/* From now on new requests on open connections are refused (503); idempotent. */
void ng_http_drain(ng_http *h);
bool ng_http_draining(const ng_http *h);
uint16_t ng_http_port(const ng_http *h);
size_t ng_http_queued(ng_http *h); /* requests waiting for a worker */
size_t ng_http_active(ng_http *h); /* requests at a worker */

/* ---- the request; headers and query may be read until a stream is prepared ---- */
const char *ng_http_method(const ng_http_x *x);
const char *ng_http_url(const ng_http_x *x);                      /* without the query, decoded */
const char *ng_http_query(const ng_http_x *x, const char *name);  /* NULL: absent */
const char *ng_http_header(const ng_http_x *x, const char *name); /* the first; NULL: absent */
size_t ng_http_header_count(const ng_http_x *x, const char *name);
const char *ng_http_body(const ng_http_x *x, size_t *len);
ng_http *ng_http_of(const ng_http_x *x);
/* A place for the layer above; freed by `done`. */
void ng_http_set_user(ng_http_x *x, void *user);
void *ng_http_user(const ng_http_x *x);

/* ---- the answer ---- */
/* Copies; a name given again is a second header line.  Values must be free of CR and LF. */
void ng_http_set_header(ng_http_x *x, const char *name, const char *value);
/* Takes the contents of `body` (which is empty afterwards).  One per exchange. */
void ng_http_reply(ng_http_x *x, int status, ng_buf *body);
int ng_http_status(const ng_http_x *x);

/* Announces a stream: from now on the watcher may begin it with a ping when nothing comes.  Until
 * ng_http_stream_begun() is true, ng_http_reply can still answer with an error instead; it returns
 * through ng_http_unstream. */
void ng_http_stream_prepare(ng_http_x *x);
/* False when the stream has begun (too late for another status); else takes the announcement back. */
bool ng_http_unstream(ng_http_x *x);
/* False when the client is gone, too slow, or the exchange was cancelled. */
bool ng_http_stream_write(ng_http_x *x, const void *data, size_t len);
void ng_http_stream_end(ng_http_x *x);

bool ng_http_cancelled(
    const ng_http_x *x); /* the client hung up, the time is over, or we shut down */
bool ng_http_timed_out(const ng_http_x *x);

/* ---- the clock of one exchange, monotonic nanoseconds; 0: not yet ---- */
typedef struct ng_http_times {
    uint64_t received; /* the last byte of the request was parsed */
    uint64_t started;  /* a worker (or the io thread) began with it */
    uint64_t answered; /* right before the first byte of the answer */
} ng_http_times;
ng_http_times ng_http_get_times(const ng_http_x *x);

#endif
