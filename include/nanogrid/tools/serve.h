/* serve.h: the grid over HTTP: an OpenAI-compatible API, the task API, metrics and a dashboard.
 *
 *     ng_serve_options o = {.grid = grid, .listen = "127.0.0.1:0"};
 *     ng_serve *s;
 *     ng_serve_open(&s, &o, &err);                   threads run from here
 *     puts(ng_serve_address(s));                     127.0.0.1:40123
 *     ng_serve_close(s, 5000);                       lets running requests end for 5 s
 *
 * A server keeps a reference to its grid and each request keeps one of its own, so that
 * ng_serve_set_grid() may change the grid under load: running requests end on the old one.
 * There is no authentication yet: an address that is not loopback is refused unless
 * insecure_listen says that the operator means it.  SIGPIPE must be ignored by the program. */
#ifndef NANOGRID_TOOLS_SERVE_H
#define NANOGRID_TOOLS_SERVE_H

#include <nanogrid/tools/worker.h>

typedef struct ng_serve ng_serve;

typedef struct ng_serve_options {
    ng_grid *grid; /* a reference is taken */
    ng_workers *workers; /* those that the grid's models run in, for /metrics; or NULL; borrowed */
    const char
        *listen; /* "HOST:PORT", "[::1]:8080"; NULL: the grid's `listen`; port 0: a free one */
    bool insecure_listen; /* allow an address that others can reach */
    int n_workers;        /* requests answered at once; 0: 8 */
    size_t queue_max;     /* requests that wait for a worker; 0: 64; more are answered 503 */
    size_t body_max;      /* bytes of a request body; 0: 1 MiB */
    int64_t request_ms;   /* longest time for one answer; 0: 300,000 */
    int64_t ping_ms;      /* a silent stream sends a comment so often; 0: 2,000 */
    /* One line, key=value, without newline: server errors.  NULL: none. */
    void (*log)(void *ctx, const char *line);
    void *log_ctx;
} ng_serve_options;

/* NG_EINVALID: the address; NG_EDENIED: it is not loopback; NG_EIO: it cannot be bound. */
NG_API ng_status ng_serve_open(ng_serve **out, const ng_serve_options *opt,
                               ng_error *err) NG_MUST_USE;
/* Stops accepting, waits for running requests, cancels what is left after drain_ms. */
NG_API void ng_serve_close(ng_serve *s, int64_t drain_ms);
/* "127.0.0.1:8080", with the port in use. */
NG_API const char *ng_serve_address(const ng_serve *s);
/* New requests use `grid` (a reference is taken). */
NG_API void ng_serve_set_grid(ng_serve *s, ng_grid *grid);

#endif
