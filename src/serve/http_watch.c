/* http_watch.c: the thread that watches what the HTTP library does not.
 *
 * A suspended connection is not polled by the library: a client that hangs up during a long
 * generation would go unnoticed and its model would work for nobody.  So the socket of every exchange
 * that waits for a worker or is at one stands, one-shot, in an epoll set of ours for EPOLLRDHUP (also
 * sent for a half-closed socket: a client that will not read an answer has no reason to keep one
 * open).  Events carry the exchange's number, not its address: it may be gone by then.
 *
 * The same thread ticks four times a second: it cancels exchanges over their wall time, keeps silent
 * streams alive with a comment line, and cuts connections that brought no whole request in time,
 * which covers idle keep-alive and drop-by-drop senders with one rule.
 *
 * Invariant: x->watched is true exactly while the epoll set holds peer->fd on behalf of x. */
#include "serve/http_parts.h"

#include "core/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TICK_MS = 250, EVENTS_MAX = 32 };

void ng_http_watch_add(ng_http_x *x) {
    ng_http *h = x->http;
    pthread_mutex_lock(&h->lock);
    x->id = ++h->next_id;
    x->next = h->active;
    x->prev = NULL;
    if (h->active) h->active->prev = x;
    h->active = x;
    pthread_mutex_unlock(&h->lock);

    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = x->id};
    pthread_mutex_lock(&x->lock);
    x->watched = x->peer && !epoll_ctl(h->watch_epoll, EPOLL_CTL_ADD, x->peer->fd, &e);
    pthread_mutex_unlock(&x->lock);
}

void ng_http_watch_remove(ng_http_x *x) {
    ng_http *h = x->http;
    pthread_mutex_lock(&h->lock);
    if (x->next) x->next->prev = x->prev;
    if (x->prev) x->prev->next = x->next;
    else h->active = x->next;
    pthread_mutex_unlock(&h->lock);

    pthread_mutex_lock(&x->lock);
    if (x->watched) epoll_ctl(h->watch_epoll, EPOLL_CTL_DEL, x->peer->fd, NULL);
    x->watched = false;
    pthread_mutex_unlock(&x->lock);
}

static void cancel(ng_http_x *x) {
    atomic_store(&x->cancelled, true);
    pthread_mutex_lock(&x->lock);
    pthread_cond_broadcast(&x->changed); /* a writer may wait for room */
    pthread_mutex_unlock(&x->lock);
}

void ng_http_watch_cancel_all(ng_http *h) {
    pthread_mutex_lock(&h->lock);
    for (ng_http_x *x = h->active; x; x = x->next) cancel(x);
    pthread_mutex_unlock(&h->lock);
}

static void hung_up(ng_http *h, uint64_t id) {
    pthread_mutex_lock(&h->lock);
    ng_http_x *x = h->active;
    while (x && x->id != id) x = x->next;
    if (x) cancel(x);
    pthread_mutex_unlock(&h->lock);
}

static void ping(ng_http_x *x, uint64_t now) {
    static const char comment[] = ": ping\n\n";
    pthread_mutex_lock(&x->lock);
    uint64_t silent_ns = (uint64_t)x->http->opt.ping_ms * 1000000u;
    if (x->prepared && !x->ended && !x->closed && now > x->wrote + silent_ns &&
        x->out_off == x->out.len) {
        x->begun = true;
        x->wrote = now;
        ng_buf_put(&x->out, comment, sizeof comment - 1);
        ng_http_x_resume(x);
    }
    pthread_mutex_unlock(&x->lock);
}

static void tick(ng_http *h) {
    uint64_t now = ng_clock_ns();
    pthread_mutex_lock(&h->lock);
    for (ng_http_x *x = h->active; x; x = x->next) {
        if (now > x->deadline && !atomic_load(&x->cancelled)) {
            atomic_store(&x->timed_out, true);
            cancel(x);
        }
        ping(x, now);
    }
    pthread_mutex_unlock(&h->lock);

    uint64_t allowed = (uint64_t)h->opt.receive_ms * 1000000u;
    pthread_mutex_lock(&h->peers_lock);
    for (ng_http_peer *p = h->peers; p; p = p->next) {
        uint64_t since = atomic_load(&p->since);
        if (since && now > since + allowed) shutdown(p->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&h->peers_lock);
}

static void *watch(void *arg) {
    ng_http *h = arg;
    struct epoll_event events[EVENTS_MAX];
    uint64_t next = ng_clock_ns() + TICK_MS * 1000000u;
    while (!atomic_load(&h->stopping)) {
        uint64_t now = ng_clock_ns();
        int left_ms = now >= next ? 0 : (int)((next - now) / 1000000u) + 1;
        int n = epoll_wait(h->watch_epoll, events, EVENTS_MAX, left_ms);
        for (int i = 0; i < n; i++)
            if (events[i].data.u64) hung_up(h, events[i].data.u64);
        if (ng_clock_ns() < next) continue;
        tick(h);
        next = ng_clock_ns() + TICK_MS * 1000000u;
    }
    return NULL;
}

ng_status ng_http_watch_start(ng_http *h, ng_error *err) {
    h->watch_epoll = epoll_create1(EPOLL_CLOEXEC);
    h->watch_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0};
    if (h->watch_epoll < 0 || h->watch_wake < 0 ||
        epoll_ctl(h->watch_epoll, EPOLL_CTL_ADD, h->watch_wake, &e))
        return ng_fail(err, NG_EIO, "http: no epoll set for the watcher: %s", strerror(errno));
    if (pthread_create(&h->watcher, NULL, watch, h))
        return ng_fail(err, NG_EIO, "http: the watcher thread does not start");
    h->has_watcher = true;
    return NG_OK;
}

void ng_http_watch_stop(ng_http *h) {
    atomic_store(&h->stopping, true);
    if (h->has_watcher) {
        ssize_t put = write(h->watch_wake, &(uint64_t){1}, sizeof(uint64_t));
        (void)put; /* at worst the thread sees `stopping` at its next tick */
        pthread_join(h->watcher, NULL);
    }
    if (h->watch_epoll >= 0) close(h->watch_epoll);
    if (h->watch_wake >= 0) close(h->watch_wake);
    h->has_watcher = false;
    h->watch_epoll = h->watch_wake = -1;
}
