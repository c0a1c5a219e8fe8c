/* queue.c: see queue.h.  A ring under one mutex: at the few thousand requests a second that a small
 * machine answers, the lock is held for nanoseconds and a lock-free queue would buy nothing.
 * Invariant: ring[head .. head+len) modulo max are the waiting items, oldest first. */
#include "serve/queue.h"

#include <stdlib.h>

ng_status ng_queue_init(ng_queue *q, size_t max) {
    *q = (ng_queue){.max = max ? max : 1};
    q->ring = calloc(q->max, sizeof *q->ring);
    if (!q->ring) return NG_ENOMEM;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->filled, NULL);
    return NG_OK;
}

void ng_queue_clear(ng_queue *q) {
    if (!q->ring) return;
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->filled);
    free(q->ring);
    q->ring = NULL;
}

bool ng_queue_push(ng_queue *q, void *item) {
    pthread_mutex_lock(&q->lock);
    bool room = !q->stopped && q->len < q->max;
    if (room) q->ring[(q->head + q->len++) % q->max] = item;
    pthread_mutex_unlock(&q->lock);
    if (room) pthread_cond_signal(&q->filled);
    return room;
}

void *ng_queue_pop(ng_queue *q) {
    void *item = NULL;
    pthread_mutex_lock(&q->lock);
    while (!q->len && !q->stopped) pthread_cond_wait(&q->filled, &q->lock);
    if (q->len) {
        item = q->ring[q->head];
        q->head = (q->head + 1) % q->max;
        q->len--;
    }
    pthread_mutex_unlock(&q->lock);
    return item;
}

void ng_queue_stop(ng_queue *q) {
    pthread_mutex_lock(&q->lock);
    q->stopped = true;
    pthread_mutex_unlock(&q->lock);
    pthread_cond_broadcast(&q->filled);
}

size_t ng_queue_len(ng_queue *q) {
    pthread_mutex_lock(&q->lock);
    size_t len = q->len;
    pthread_mutex_unlock(&q->lock);
    return len;
}
