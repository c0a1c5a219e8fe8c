/* http_stream.c: an answer that grows while it is being read.
 *
 * The worker appends to x->out, the io thread takes from it.  When nothing is there the io thread
 * suspends the connection (returning 0 from the content callback without that would spin), and the
 * next write resumes it.  Both happen under x->lock, so no wake-up is lost.  When stream_max bytes
 * wait, the writer waits; after slow_ms without progress the exchange is cancelled: one slow reader
 * holds one worker for a bounded time and a bounded memory.
 *
 * A stream is *prepared* first and *begun* by its first byte: until then the worker can still turn it
 * into an ordinary error with its own status. */
#include "serve/http_parts.h"

#include "core/clock.h"

#include <string.h>
#include <time.h>

void ng_http_stream_prepare(ng_http_x *x) {
    pthread_mutex_lock(&x->lock);
    x->prepared = true;
    x->wrote = ng_clock_ns();
    pthread_mutex_unlock(&x->lock);
}

bool ng_http_unstream(ng_http_x *x) {
    pthread_mutex_lock(&x->lock);
    bool early = !x->begun;
    if (early && x->prepared) {
        x->prepared = false;
        ng_buf_reset(&x->headers); /* they announced a stream */
    }
    pthread_mutex_unlock(&x->lock);
    return early;
}

/* Waits for room; the caller holds x->lock. */
static bool wait_for_room(ng_http_x *x, size_t len) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t ms = x->http->opt.slow_ms;
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    while (!x->closed && !atomic_load(&x->cancelled) && x->out.len - x->out_off > 0 &&
           x->out.len - x->out_off + len > x->http->opt.stream_max)
        if (pthread_cond_timedwait(&x->changed, &x->lock, &until)) {
            atomic_store(&x->cancelled, true);
            x->failed = true;
        }
    return !x->closed && !atomic_load(&x->cancelled);
}

bool ng_http_stream_write(ng_http_x *x, const void *data, size_t len) {
    pthread_mutex_lock(&x->lock);
    bool alive = wait_for_room(x, len);
    if (alive && len) {
        x->begun = true;
        x->wrote = ng_clock_ns();
        if (ng_buf_put(&x->out, data, len)) { /* memory is out: a torn stream must not look whole */
            atomic_store(&x->cancelled, true);
            x->failed = true;
            alive = false;
        }
        ng_http_x_resume(x);
    }
    pthread_mutex_unlock(&x->lock);
    return alive;
}

void ng_http_stream_end(ng_http_x *x) {
    pthread_mutex_lock(&x->lock);
    x->ended = x->begun = true;
    ng_http_x_resume(x);
    pthread_mutex_unlock(&x->lock);
}

static ssize_t take(void *cls, uint64_t pos, char *to, size_t max) {
    (void)pos;
    ng_http_x *x = cls;
    pthread_mutex_lock(&x->lock);
    size_t left = x->out.len - x->out_off;
    ssize_t n = (ssize_t)(left < max ? left : max);
    if (n) {
        memcpy(to, x->out.data + x->out_off, (size_t)n);
        x->out_off += (size_t)n;
        if (x->out_off == x->out.len) {
            ng_buf_reset(&x->out);
            x->out_off = 0;
        } else if (x->out_off >
                   x->out.len / 2) { /* keep what waits at the front: memory stays bounded */
            memmove(x->out.data, x->out.data + x->out_off, x->out.len - x->out_off);
            x->out.len -= x->out_off;
            x->out_off = 0;
        }
        pthread_cond_broadcast(&x->changed);
    } else if (x->failed) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (x->ended) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        x->suspended = true;
        MHD_suspend_connection(x->connection);
    }
    pthread_mutex_unlock(&x->lock);
    return n;
}

static void dropped(void *cls) {
    ng_http_x_unref(cls);
}

struct MHD_Response *ng_http_stream_response(ng_http_x *x) {
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 8192, take, x, dropped);
    if (r) atomic_fetch_add(&x->refs, 1);
    return r;
}
