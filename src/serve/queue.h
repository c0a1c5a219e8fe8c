/* queue.h: a bounded line of work between the threads that read requests and those that answer them.
 *
 *     ng_queue q;
 *     ng_queue_init(&q, 64);
 *     if (!ng_queue_push(&q, x)) ..                  full or stopped: refuse, never wait
 *     while ((x = ng_queue_pop(&q))) ..              blocks; NULL once stopped and empty
 *     ng_queue_stop(&q);  ng_queue_clear(&q);
 *
 * First in, first out.  A full queue says no at once, so that the one who pushed can answer 503 while
 * the client still cares.  All calls are thread-safe between init and clear. */
#ifndef NG_SERVE_QUEUE_H
#define NG_SERVE_QUEUE_H

#include <nanogrid/status.h>

#include <pthread.h>

typedef struct ng_queue {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t filled;
    void **ring; /* [max] */
    size_t head, len, max;
    bool stopped;
} ng_queue;

ng_status ng_queue_init(ng_queue *q, size_t max) NG_MUST_USE;
void ng_queue_clear(ng_queue *q);
bool ng_queue_push(ng_queue *q, void *item) NG_MUST_USE;
void *ng_queue_pop(ng_queue *q);
void ng_queue_stop(ng_queue *q);
size_t ng_queue_len(ng_queue *q);

#endif
