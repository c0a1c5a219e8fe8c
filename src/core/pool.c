/* pool.c: spin, then sleep.  See pool.h.
 *
 * A job is published by a new `generation`, whose low bits say how many parts it has; workers that
 * spin see it in well under a microsecond, parked ones are woken through their condition variable.
 * `left` counts the parts still running; the caller runs part 0 itself and then waits, spinning first
 * too.  A worker whose part the job lacks sleeps on: it may miss such generations, and as it reads
 * number and parts in one load, it never takes a part of a job that does not wait for it.
 *
 * Every wait spins for some three hundred microseconds at most and then sleeps: with fewer processors than threads, or
 * others that want them, a spinner burns the time slice that the awaited thread needs.  A shorter spin suits a busy machine
 * and costs short texts on an idle one, where a sleeper is back late.  Nobody yields: that gives the rest of a time slice away
 * two hundred times a token, and nobody gives it back.
 *
 * Nobody sleeps through what it waits for: who waits raises a flag (`parked`, `asleep`) before it looks once more, who
 * makes it come true does so before it reads the flag, both sequentially consistent, so one of the two sees the other; the
 * look and the sleep are one step under `lock`, as is the signal.  Lock order: only `lock`.  n_parts, fn and ctx are
 * published by the store of generation. */
#include "pool.h"

#include "cpu.h"
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SPINS = 20000, SPINS_CROWDED = 64, THREADS_MAX = 256, PARTS_BITS = 16 };

typedef struct worker {
    ng_pool *pool;
    int part;
    pthread_t thread;
    pthread_cond_t wake;
    atomic_bool parked;
} worker;

struct ng_pool {
    int n_threads;
    int spins; /* before a thread sleeps */
    atomic_ullong generation; /* number << PARTS_BITS | parts */
    atomic_int left;
    atomic_bool stop;
    atomic_int barrier_count;
    atomic_uint barrier_round;
    atomic_int asleep;       /* threads that wait on `again`, for a round or for left == 0 */
    pthread_cond_t again;
    int n_parts;    /* of this job; published by generation, as are .. */
    ng_pool_fn *fn;
    void *ctx;
    pthread_mutex_t lock;
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

static bool round_over(ng_pool *p, unsigned round) { return atomic_load(&p->barrier_round) != round; }

static bool parts_done(ng_pool *p, unsigned unused) {
    (void)unused;
    return atomic_load(&p->left) == 0;
}

/* Until what is awaited has come: spins, then sleeps. */
static void await(ng_pool *p, bool (*has_come)(ng_pool *, unsigned), unsigned round) {
    for (int i = 0; i < p->spins; i++) {
        if (has_come(p, round)) return;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->asleep, 1);
    while (!has_come(p, round)) pthread_cond_wait(&p->again, &p->lock);
    atomic_fetch_sub(&p->asleep, 1);
    pthread_mutex_unlock(&p->lock);
}

/* After what may be awaited was made true. */
static void rouse(ng_pool *p) {
    if (atomic_load(&p->asleep) == 0) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->again);
    pthread_mutex_unlock(&p->lock);
}

/* The first generation after `seen` that has a part for w; `seen` itself while there is none. */
static unsigned long long news(worker *w, unsigned long long seen) {
    unsigned long long now = atomic_load(&w->pool->generation);
    return (int)(now & ((1u << PARTS_BITS) - 1)) > w->part ? now : seen;
}

static void *worker_main(void *arg) {
    worker *w = arg;
    ng_pool *p = w->pool;
    unsigned long long seen = 0;
    for (;;) {
        unsigned long long now = seen;
        for (int i = 0; i < p->spins && now == seen; i++) {
            now = news(w, seen);
            if (now == seen) relax();
        }
        if (now == seen) {
            pthread_mutex_lock(&p->lock);
            atomic_store(&w->parked, true);
            while ((now = news(w, seen)) == seen) pthread_cond_wait(&w->wake, &p->lock);
            atomic_store(&w->parked, false);
            pthread_mutex_unlock(&p->lock);
        }
        seen = now;
        if (atomic_load(&p->stop)) return NULL;
        p->fn(p->ctx, w->part, p->n_parts);
        if (atomic_fetch_sub(&p->left, 1) == 1) rouse(p);
    }
}

/* Publishes a new generation of n_parts and wakes those of its workers that sleep. */
static void publish(ng_pool *p, int n_parts) {
    unsigned long long number = (atomic_load(&p->generation) >> PARTS_BITS) + 1;
    atomic_store(&p->generation, number << PARTS_BITS | (unsigned)n_parts);
    for (int i = 0; i < n_parts - 1 && i < p->n_started; i++)
        if (atomic_load(&p->workers[i].parked)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->workers[i].wake);
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
    p->spins = n_threads > ng_cpu_count() ? SPINS_CROWDED : SPINS;
    p->workers = calloc((size_t)n_threads, sizeof *p->workers);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->again, NULL);
    if (!p->workers) {
        ng_pool_free(p);
        return ng_fail(err, NG_ENOMEM, "thread pool: out of memory");
    }
    for (int i = 1; i < n_threads; i++) {
        worker *w = &p->workers[i - 1];
        w->pool = p;
        w->part = i;
        pthread_cond_init(&w->wake, NULL);
        if (pthread_create(&w->thread, NULL, worker_main, w)) {
            pthread_cond_destroy(&w->wake);
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
    publish(p, p->n_threads);
    for (int i = 0; i < p->n_started; i++) {
        pthread_join(p->workers[i].thread, NULL);
        pthread_cond_destroy(&p->workers[i].wake);
    }
    pthread_cond_destroy(&p->again);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}

int ng_pool_threads(const ng_pool *p) { return p->n_threads; }

void ng_pool_run_parts(ng_pool *p, int n_parts, ng_pool_fn *fn, void *ctx) {
    assert(n_parts >= 1 && n_parts <= p->n_threads);
    p->n_parts = n_parts;
    if (n_parts == 1) {
        fn(ctx, 0, 1);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    atomic_store_explicit(&p->left, n_parts - 1, memory_order_relaxed);
    publish(p, n_parts);
    fn(ctx, 0, n_parts);
    await(p, parts_done, 0);
}

void ng_pool_run(ng_pool *p, ng_pool_fn *fn, void *ctx) { ng_pool_run_parts(p, p->n_threads, fn, ctx); }

void ng_pool_barrier(ng_pool *p) {
    if (p->n_parts == 1) return;
    unsigned round = atomic_load_explicit(&p->barrier_round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&p->barrier_count, 1, memory_order_acq_rel) == p->n_parts - 1) {
        atomic_store_explicit(&p->barrier_count, 0, memory_order_relaxed);
        atomic_store(&p->barrier_round, round + 1);
        rouse(p);
        return;
    }
    await(p, round_over, round);
}
