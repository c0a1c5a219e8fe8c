/* http_parts.h: what the three files behind http.h share.  Private to http*.c.
 *
 * Lock order: http->lock before x->lock; x->lock may be held while a connection is suspended or
 * resumed.  An exchange has up to three owners, each with a reference: the connection (until it is
 * complete), the worker (until handle() returned) and a stream's response object. */
#ifndef NG_SERVE_HTTP_PARTS_H
#define NG_SERVE_HTTP_PARTS_H

#include "serve/http.h"
#include "serve/late_microhttpd.h"
#include "serve/queue.h"

#include <stdatomic.h>

enum { NG_HTTP_URL_MAX = 512, NG_HTTP_HEADERS_MAX = 100 };

/* One accepted socket. */
typedef struct ng_http_peer {
    struct ng_http_peer *prev, *next; /* guarded by http->peers_lock, like the list */
    int fd;
    _Atomic uint64_t since; /* when it began to wait for a request; 0 while one is being answered */
} ng_http_peer;

typedef enum ng_http_phase { PHASE_BODY, PHASE_WAITING, PHASE_ANSWERING } ng_http_phase;

struct ng_http_x {
    ng_http *http;
    struct MHD_Connection *connection;
    ng_http_peer *peer;
    atomic_int refs;
    uint64_t id;
    struct ng_http_x *prev, *next; /* http->active, guarded by http->lock */

    char method[16], url[NG_HTTP_URL_MAX];
    ng_buf body;
    bool body_over; /* more than body_max came: what follows is skipped */
    size_t body_skipped;
    ng_http_path path;
    ng_http_phase phase; /* touched by the io thread alone */
    void *user;
    ng_http_times times;
    uint64_t deadline;

    atomic_bool cancelled, timed_out;
    bool sent;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    ng_buf headers; /* "Name\0value\0" one after the other */
    ng_buf reply;
    int status;             /* 0: no reply yet */
    bool suspended, closed; /* closed: the connection is gone, `connection` is dead */
    bool watched;           /* the watcher's epoll set holds peer->fd for this exchange */
    bool prepared, begun, ended;
    bool failed; /* the stream ends without its proper end */
    ng_buf out;  /* stream bytes not yet taken by the connection: [out_off, len) */
    size_t out_off;
    uint64_t wrote; /* when the stream was last written to */
};

struct ng_http {
    ng_http_options opt;
    struct MHD_Daemon *daemon;
    int listen_fd;
    uint16_t port;
    ng_queue queue;
    pthread_t *workers; /* [n_workers] */
    int n_workers;
    pthread_t watcher;
    int watch_epoll, watch_wake; /* -1: none */
    bool has_watcher;
    atomic_bool draining, stopping;
    atomic_size_t n_active;    /* at a worker */
    atomic_size_t n_answering; /* request received, answer not yet sent */

    pthread_mutex_t lock; /* guards the list of exchanges that are queued or at a worker */
    ng_http_x *active;
    uint64_t next_id;

    pthread_mutex_t peers_lock;
    ng_http_peer *peers;
};

void ng_http_x_unref(ng_http_x *x);
/* Wakes the connection; the caller holds x->lock. */
void ng_http_x_resume(ng_http_x *x);

/* http_stream.c: the response object of a begun stream; the caller holds x->lock. */
struct MHD_Response *ng_http_stream_response(ng_http_x *x);

/* http_watch.c */
ng_status ng_http_watch_start(ng_http *h, ng_error *err) NG_MUST_USE;
void ng_http_watch_stop(ng_http *h);
void ng_http_watch_add(ng_http_x *x);
void ng_http_watch_remove(ng_http_x *x);
void ng_http_watch_cancel_all(ng_http *h);

#endif
