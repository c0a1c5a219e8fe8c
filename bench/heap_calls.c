/* heap_calls.c: how often a decoded token takes the heap: never, it should say.
 *
 *     build/heap_calls MODEL.gguf         {"tokens":112,"alone":0,"scheduled":0}
 *
 * Counts the calls of malloc, calloc, realloc, aligned_alloc and strdup in our own code (tests/support/fault.h) between
 * the 16th and the last of 128 tokens: of one session, and of a scheduler, whose other threads are counted with it. */
#include "fault.h"
#include <nanogrid/scheduler.h>

#include <stdio.h>

enum { SKIP = 16, N = 128 };

typedef struct counted {
    size_t n;
    long first, last;
} counted;

static bool on_token(void *ctx, const ng_token_event *e) {
    counted *c = ctx;
    if (e->id < 0) return true;
    c->last = fault_allocs();
    if (++c->n == SKIP) c->first = c->last;
    return true;
}

static ng_status run(const ng_model *m, bool scheduled, counted *c, ng_error *err) {
    static const int32_t prompt[] = {1, 2, 3, 4};
    ng_generation g = {0};
    ng_generate_options o = ng_generate_options_default();
    o.n_predict = N;
    o.ignore_eog = true;
    o.on_token = on_token;
    o.on_token_ctx = c;
    *c = (counted){0};
    ng_status s;
    if (scheduled) {
        ng_scheduler *sched;
        ng_scheduled r = {.prompt = prompt, .n_prompt = 4, .options = &o};
        s = ng_scheduler_new(&sched, m, &(ng_scheduler_options){.n_threads = 2, .n_ctx = 512}, err);
        if (!s) s = ng_scheduler_generate(sched, &g, &r, err);
        ng_scheduler_free(sched);
    } else {
        ng_session *one;
        s = ng_session_new(&one, m, &(ng_session_options){.n_threads = 2, .n_ctx = 512}, err);
        if (!s) s = ng_generate(&g, one, prompt, 4, &o, err);
        ng_session_free(one);
    }
    ng_generation_clear(&g);
    return s;
}

int main(int argc, char **argv) {
    ng_model *m;
    ng_error err = {0};
    counted alone, scheduled;
    if (argc != 2) return fprintf(stderr, "usage: heap_calls MODEL.gguf\n"), 2;
    ng_status s = ng_model_open(&m, argv[1], &err);
    if (!s) s = run(m, false, &alone, &err);
    if (!s) s = run(m, true, &scheduled, &err);
    if (s) return fprintf(stderr, "heap_calls: %s\n", err.text), 1;
    printf("{\"tokens\":%zu,\"alone\":%ld,\"scheduled\":%ld}\n", alone.n - SKIP, alone.last - alone.first,
           scheduled.last - scheduled.first);
    ng_model_close(m);
    return alone.n == N && scheduled.n == N ? 0 : 1;
}
