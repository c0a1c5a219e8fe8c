/* pool.c: spin, then park.  See pool.h.
 *
 * A job is published by raising `generation`; workers that spin see it in well under a microsecond,
 * parked ones are woken through the condition variable.  `left` counts the parts still running; the
 * caller runs part 0 itself and then waits, spinning first too.  With fewer processors than threads
 * a spinner would burn the time slice that the other thread needs, so the spin is short and yields.
 *
 * Lock order: only `lock`.  `parked` and sleeping on `wake` are guarded by lock; generation, left,
 * fn, ctx are atomics or published by the release store of generation. */
#include "pool.h"

#include "cpu.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SPINS = 4096, THREADS_MAX = 256 };

typedef struct worker {
    ng_pool *pool;
    int part;
    pthread_t thread;
} worker;

struct ng_pool {
    int n_threads;
    atomic_uint generation;
    atomic_int left;
    atomic_bool stop;
    atomic_int barrier_count;
    atomic_uint barrier_round;
    ng_pool_fn *fn; /* published by generation */
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_int parked;
    worker *workers; /* [n_threads - 1] */
    int n_started;
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void spin_wait(int i) {
    if ((i & 255) == 255) sched_yield();
    else relax();
}

static void *worker_main(void *arg) {
    worker *w = arg;
    ng_pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        unsigned now = seen;
        for (int i = 0; i < SPINS && now == seen; i++) {
            now = atomic_load_explicit(&p->generation, memory_order_acquire);
            if (now == seen) spin_wait(i);
        }
        if (now == seen) {
            pthread_mutex_lock(&p->lock);
            atomic_fetch_add(&p->parked, 1);
            while ((now = atomic_load(&p->generation)) == seen) pthread_cond_wait(&p->wake, &p->lock);
            atomic_fetch_sub(&p->parked, 1);
            pthread_mutex_unlock(&p->lock);
        }
        seen = now;
        if (atomic_load(&p->stop)) return NULL;
        p->fn(p->ctx, w->part, p->n_threads);
        atomic_fetch_sub_explicit(&p->left, 1, memory_order_release);
    }
}

/* Publishes a new generation and wakes whoever sleeps.  The generation is raised before `parked` is
 * read and a worker raises `parked` before it reads generation (both sequentially consistent), so
 * one of the two sees the other. */
static void publish(ng_pool *p) {
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->parked)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

ng_status ng_pool_new(ng_pool **out, int n_threads, ng_error *err) {
    *out = NULL;
    if (n_threads == 0) n_threads = ng_cpu_count();
    if (n_threads < 1 || n_threads > THREADS_MAX)
        return ng_fail(err, NG_EINVALID, "%d threads: use 1 to %d", n_threads, THREADS_MAX);
    ng_pool *p = calloc(1, sizeof *p);
    if (!p) return ng_fail(err, NG_ENOMEM, "thread pool: out of memory");
    p->n_threads = n_threads;
    p->workers = calloc((size_t)n_threads, sizeof *p->workers);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    if (!p->workers) {
        ng_pool_free(p);
        return ng_fail(err, NG_ENOMEM, "thread pool: out of memory");
    }
    for (int i = 1; i < n_threads; i++) {
        worker *w = &p->workers[i - 1];
        *w = (worker){.pool = p, .part = i};
        if (pthread_create(&w->thread, NULL, worker_main, w)) {
            ng_pool_free(p);
            return ng_fail(err, NG_ELIMIT, "thread pool: the system refuses a thread (%d of %d)", i + 1, n_threads);
        }
        p->n_started++;
    }
    *out = p;
    return NG_OK;
}

void ng_pool_free(ng_pool *p) {
    if (!p) return;
    atomic_store(&p->stop, true);
    publish(p);
    for (int i = 0; i < p->n_started; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}

int ng_pool_threads(const ng_pool *p) { return p->n_threads; }

void ng_pool_run(ng_pool *p, ng_pool_fn *fn, void *ctx) {
    if (p->n_threads == 1) {
        fn(ctx, 0, 1);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    atomic_store_explicit(&p->left, p->n_threads - 1, memory_order_relaxed);
    publish(p);
    fn(ctx, 0, p->n_threads);
    for (int i = 0; atomic_load_explicit(&p->left, memory_order_acquire) > 0; i++) spin_wait(i);
}

void ng_pool_barrier(ng_pool *p) {
    if (p->n_threads == 1) return;
    unsigned round = atomic_load_explicit(&p->barrier_round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&p->barrier_count, 1, memory_order_acq_rel) == p->n_threads - 1) {
        atomic_store_explicit(&p->barrier_count, 0, memory_order_relaxed);
        atomic_store_explicit(&p->barrier_round, round + 1, memory_order_release);
        return;
    }
    for (int i = 0; atomic_load_explicit(&p->barrier_round, memory_order_acquire) == round; i++) spin_wait(i);
}
