/* grid_overhead.c: what the grid itself costs a request: router, filters, cache key, record.
 *
 *     grid_overhead [REQUESTS] [RATE]        2000 requests at 1000 a second, over the installed packages
 *
 * Prints p50, p90 and p99 of overhead_us (the time inside ng_grid_ask without the expert's own) and
 * of the whole call: with the task given, with the task decided too, and with every text in the
 * cache.  Records are written to a database in a temporary folder meanwhile.  Packages come from
 * EXE/../models. */
#include <nanogrid/grid.h>

#include "core/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const texts[] = {"please freeze my bank account",
                                    "a gorgeous, witty movie that made me cry",
                                    "Federer wins fifth Wimbledon title in straight sets",
                                    "what is the capital of Mongolia?",
                                    "how much did i spend on food last month",
                                    "the battery died after two weeks and support never answered",
                                    "can you set an alarm for six in the morning tomorrow",
                                    "stocks slide as the central bank hints at higher rates"};
enum { N_TEXTS = sizeof texts / sizeof texts[0] };

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_row(const char *name, double *v, size_t n) {
    qsort(v, n, sizeof *v, by_value);
    printf("%-28s p50 %8.1f  p90 %8.1f  p99 %8.1f us\n", name, v[n / 2], v[n * 9 / 10],
           v[n * 99 / 100]);
}

static void wait_until(uint64_t ns) {
    uint64_t now = ng_clock_ns();
    if (now >= ns) return;
    struct timespec t = {(time_t)((ns - now) / 1000000000u), (long)((ns - now) % 1000000000u)};
    nanosleep(&t, NULL);
}

typedef struct plan {
    const char *name;
    ng_task task;
    bool same; /* the same few texts again and again */
} plan;

/* Asks n texts at the given rate; what no installed expert serves is left out. */
static size_t ask_all(ng_grid *g, const plan *p, size_t n, double rate, double *overhead,
                      double *whole) {
    size_t len = 0;
    uint64_t t0 = ng_clock_ns();
    for (size_t i = 0; i < n; i++) {
        char text[160];
        ng_request r;
        ng_answer *a;
        ng_error err = {0};
        snprintf(text, sizeof text, "%s %zu", texts[i % N_TEXTS], p->same ? i % N_TEXTS : i);
        ng_request_init(&r, p->task);
        ng_request_set_text(&r, text, strlen(text));
        wait_until(t0 + (uint64_t)((double)i * 1e9 / rate));
        uint64_t begin = ng_clock_ns();
        if (ng_grid_ask(g, &r, &a, &err)) continue;
        whole[len] = (double)(ng_clock_ns() - begin) * 1e-3;
        overhead[len++] = a->overhead_us;
        ng_answer_free(a);
    }
    return len;
}

int main(int argc, char **argv) {
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000;
    double rate = argc > 2 ? strtod(argv[2], NULL) : 1000;
    char home[] = "/tmp/ng-bench-XXXXXX", cmd[64];
    ng_grid *g;
    ng_error err = {0};
    if (n < 100 || rate <= 0 || !mkdtemp(home)) return 2;
    if (!getenv("NANOGRID_HOME")) setenv("NANOGRID_HOME", home, 1);
    double *overhead = calloc(n, sizeof *overhead), *whole = calloc(n, sizeof *whole);
    if (!overhead || !whole || ng_grid_open(&g, NULL, &err)) {
        fprintf(stderr, "grid_overhead: %s\n", err.text);
        return 1;
    }
    static const plan plans[] = {{"load", NG_TASK_AUTO, false},
                                 {"task given, cache missed", NG_TASK_CLASSIFY, false},
                                 {"task decided, cache missed", NG_TASK_AUTO, false},
                                 {"cache hit", NG_TASK_AUTO, true}};
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        size_t len = ask_all(g, &plans[i], i ? n : 100, rate, overhead, whole);
        if (!i || !len) continue;
        printf("%s: %zu of %zu answered at %.0f a second\n", plans[i].name, len, n, rate);
        print_row("  overhead", overhead, len);
        print_row("  whole call", whole, len);
    }
    ng_grid_stats s = ng_grid_get_stats(g);
    printf("records: %llu written, %llu sampled out\n", (unsigned long long)s.records_written,
           (unsigned long long)s.records_sampled_out);
    ng_grid_close(g);
    free(overhead);
    free(whole);
    snprintf(cmd, sizeof cmd, "rm -rf %s", home);
    return system(cmd) != 0;
}
