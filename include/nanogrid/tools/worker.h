/* worker.h: each big model in a process of its own, so that its crash, hang or hunger is its own.
 *
 *     ng_workers *w;
 *     ng_workers_open(&w, NULL, &err);
 *     ng_grid_options o = {.open_head = ng_workers_open_head, .open_head_ctx = w};
 *     ng_grid_open(&grid, &o, &err);                 models start with their first request
 *     ng_grid_close(grid);  ng_workers_close(w);
 *
 * A worker is `nanogrid worker`, started with posix_spawn, that serves one model file over a socket; weights are
 * mapped files, so two workers on one file share their pages.  What its parent does about it:
 *
 *     it dies               its calls are sent to its successor, once: being repeatable to the bit, a stream goes on
 *                           where it stood.  What kills two workers fails, and the cascade climbs on.  The successor
 *                           starts at once; after repeated deaths without an answer between them it waits 100 ms,
 *                           200 ms, .. 10 s, and meanwhile the tier is unhealthy
 *     it says nothing       for hang_ms while calls wait, or does not end a cancelled call in that time: killed, as above
 *     it wants more memory  than memory_max: its allocations fail, the call is answered "out of memory"
 *     its model is unusable the tier is unhealthy for good, with the reason
 *     the parent ends       the socket ends, and the worker with it
 *
 * Linear heads and rules stay in the grid's process: they are small, and tested against hostile input. */
#ifndef NANOGRID_TOOLS_WORKER_H
#define NANOGRID_TOOLS_WORKER_H

#include <nanogrid/grid.h>

typedef struct ng_workers ng_workers;

typedef struct ng_workers_options {
    const char *program; /* NULL: this program; it must know the verb `worker` */
    /* One line without newline: a worker died, starts again.  NULL: none. */
    void (*log)(void *ctx, const char *line);
    void *log_ctx;
} ng_workers_options;

NG_API ng_status ng_workers_open(ng_workers **out, const ng_workers_options *opt, ng_error *err) NG_MUST_USE;
/* All tiers must be closed. */
NG_API void ng_workers_close(ng_workers *w);
/* An ng_head_open_fn; ctx is the ng_workers.  Heads of one file share its worker. */
NG_API ng_status ng_workers_open_head(void *ctx, ng_tier *out, const char *name, const ng_head_spec *spec,
                                      ng_error *err) NG_MUST_USE;

typedef struct ng_worker_info {
    char model[256];          /* the file's path, its end where it is long */
    const char *state;        /* "idle", "starting", "ready", "down", "broken" */
    int pid;                  /* 0: not running */
    uint64_t restarts, calls; /* since it was opened; calls running now */
    uint64_t resident_bytes;
} ng_worker_info;
/* Fills at most max and returns how many there are. */
NG_API size_t ng_workers_list(ng_workers *w, ng_worker_info out[], size_t max);

/* The other side: serves the model over descriptor 3 until the parent ends.  Does not return while all is well. */
typedef struct ng_worker_options {
    ng_head_spec spec; /* the head that is loaded at the start */
    const char *lease; /* a file whose lock gives the cores to one step of one worker at a time; NULL: none */
} ng_worker_options;
NG_API ng_status ng_worker_run(const ng_worker_options *opt, ng_error *err) NG_MUST_USE;

#endif
