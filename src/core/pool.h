/* pool.h: a few threads that split one job over its output rows.
 *
 *     static void rows(void *ctx, int part, int n_parts) { .. }
 *     ng_pool *p;
 *     ng_pool_new(&p, 2, &err);                      the caller is one of the two
 *     ng_pool_run(p, rows, &job);                    returns when all parts are done
 *     ng_pool_free(p);
 *
 * Each job runs once per part; parts are fixed (part i of n), so work is split statically and never
 * inside a reduction: results do not depend on n.  Workers spin for a short while after a job and
 * then park, so that a decode loop pays well under a microsecond a job and an idle process nothing.
 * One thread at a time may call ng_pool_run on a pool. */
#ifndef NG_CORE_POOL_H
#define NG_CORE_POOL_H

#include <nanogrid/status.h>

typedef struct ng_pool ng_pool;
typedef void ng_pool_fn(void *ctx, int part, int n_parts);

/* n_threads 1 starts none; 0 means ng_cpu_count(). */
ng_status ng_pool_new(ng_pool **out, int n_threads, ng_error *err) NG_MUST_USE;
void ng_pool_free(ng_pool *p);
int ng_pool_threads(const ng_pool *p);
void ng_pool_run(ng_pool *p, ng_pool_fn *fn, void *ctx);
/* The same in 1 <= n_parts <= ng_pool_threads(p) parts; the other threads sleep on. */
void ng_pool_run_parts(ng_pool *p, int n_parts, ng_pool_fn *fn, void *ctx);
/* Called by every part from inside a job: all wait until all have come here (fused kernels). */
void ng_pool_barrier(ng_pool *p);

/* The slice [*begin, *end) of n items that `part` of `n_parts` owns, in units of `unit`. */
static inline void ng_pool_slice(size_t n, size_t unit, int part, int n_parts, size_t *begin,
                                 size_t *end) {
    size_t units = (n + unit - 1) / unit;
    size_t b = units * (size_t)part / (size_t)n_parts * unit;
    size_t e = units * (size_t)(part + 1) / (size_t)n_parts * unit;
    *begin = b < n ? b : n;
    *end = e < n ? e : n;
}

#endif
