/* verb_serve.c: `nanogrid serve`: opens the grid, serves it, waits for signals.
 *
 * SIGTERM and SIGINT drain and end (a second one ends at once); SIGHUP reads the configuration again
 * and swaps the grid, or keeps the old one and says why.  All signals are taken by sigwait on the main
 * thread, so that no handler runs anywhere. */
#include "cli.h"

#include <nanogrid/system.h>
#include <nanogrid/tools/serve.h>
#include <nanogrid/tools/upstream.h>
#include <nanogrid/tools/worker.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct {
    const char *grid, *listen;
    bool insecure;
    long threads, workers, queue, drain_ms;
} o = {.workers = 8, .queue = 64, .drain_ms = 5000};

static const cli_option options[] = {
    {"grid", 'g', CLI_STR, &o.grid, "FILE",
     "the configuration (else $NANOGRID_HOME/grid.yaml, else the built-in one)", "NANOGRID_GRID"},
    {"listen", 'l', CLI_STR, &o.listen, "HOST:PORT",
     "where to listen; port 0 takes a free one (the grid's: 127.0.0.1:8080)", "NANOGRID_LISTEN"},
    {"insecure-listen", 0, CLI_FLAG, &o.insecure, NULL,
     "allow an address that other machines can reach; there is no authentication", NULL},
    {"threads", 't', CLI_INT, &o.threads, "N", "threads a model uses (by measurement)", "NANOGRID_THREADS"},
    {"workers", 0, CLI_INT, &o.workers, "N", "requests answered at the same time (8)", NULL},
    {"queue", 0, CLI_INT, &o.queue, "N",
     "requests that may wait for a worker; more are answered 503 (64)", NULL},
    {"drain-ms", 0, CLI_INT, &o.drain_ms, "MS",
     "how long running requests may take to end on SIGTERM (5000)", NULL},
    {0}};

static void log_line(void *ctx, const char *line) {
    (void)ctx;
    fprintf(stderr, "nanogrid: %s\n", line);
}

static ng_status open_grid(ng_grid **out, ng_workers *workers, ng_error *err) {
    ng_grid_options g = {.path = o.grid,
                         .open_upstream = ng_upstream_open,
                         .open_head = ng_workers_open_head,
                         .open_head_ctx = workers,
                         .n_threads = (int)o.threads};
    return ng_grid_open(out, &g, err);
}

/* Until told to stop. */
static void wait_for_signals(ng_serve *s, ng_workers *workers, const sigset_t *set) {
    for (int sig; !sigwait(set, &sig);) {
        if (sig != SIGHUP) return;
        ng_error err = {0};
        ng_grid *grid;
        if (open_grid(&grid, workers, &err)) {
            fprintf(stderr,
                    "nanogrid: the configuration was not read again, the old one stays: %s\n",
                    err.text);
            continue;
        }
        ng_serve_set_grid(s, grid);
        ng_grid_close(grid);
        fprintf(stderr, "nanogrid: the configuration was read again\n");
    }
}

static ng_status serve(ng_workers *workers, const sigset_t *set, ng_error *err) {
    ng_grid *grid;
    ng_status status = open_grid(&grid, workers, err);
    if (status) return status;
    ng_serve_options opt = {.grid = grid,
                            .workers = workers,
                            .listen = o.listen,
                            .insecure_listen = o.insecure,
                            .n_workers = (int)o.workers,
                            .queue_max = (size_t)o.queue,
                            .log = log_line};
    ng_serve *s;
    status = ng_serve_open(&s, &opt, err);
    ng_grid_close(grid);
    if (status) return status;
    ng_machine machine;
    if (!ng_machine_get(&machine, NULL) && *machine.kernel_note) fprintf(stderr, "nanogrid: %s\n", machine.kernel_note);
    fprintf(stderr, "nanogrid: listening on http://%s\n", ng_serve_address(s));
    wait_for_signals(s, workers, set);
    fprintf(stderr, "nanogrid: stopping; running requests have %ld ms\n", o.drain_ms);
    pthread_sigmask(SIG_UNBLOCK, set, NULL); /* a second signal ends at once */
    ng_serve_close(s, o.drain_ms);
    return NG_OK;
}

static int run(int argc, char **argv) {
    (void)argv;
    if (argc) return cli_usage("serve takes no words; see `nanogrid serve --help`");
    if (o.workers < 1 || o.workers > 256) return cli_usage("--workers must be 1 to 256");
    if (o.queue < 1 || o.queue > 100000) return cli_usage("--queue must be 1 to 100000");
    if (o.drain_ms < 0 || o.threads < 0 || o.threads > 1024)
        return cli_usage("--drain-ms and --threads must not be negative");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before any thread exists: all inherit it */
    signal(SIGPIPE, SIG_IGN);

    ng_error err = {0};
    ng_workers *workers;
    ng_workers_options w = {.log = log_line};
    if (ng_workers_open(&workers, &w, &err)) return cli_fail(&err);
    ng_status status = serve(workers, &set, &err);
    ng_workers_close(workers);
    return status ? cli_fail(&err) : 0;
}

const cli_verb cli_verb_serve = {"serve",
                                 "[--grid FILE] [--listen HOST:PORT]",
                                 "the HTTP server and dashboard",
                                 "Serves the OpenAI-compatible API, the task API, metrics and a "
                                 "dashboard page until SIGTERM or\n"
                                 "SIGINT.  SIGHUP reads the configuration again.  The bound "
                                 "address is printed on standard error:\n"
                                 "    nanogrid: listening on http://127.0.0.1:8080",
                                 options,
                                 run};
