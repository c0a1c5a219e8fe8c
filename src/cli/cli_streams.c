/* cli_streams.c: see cli_streams.h.  A gap belongs to the joining when the two overlap. */
#include "cli_streams.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct stream {
    ng_scheduler *scheduler;
    pthread_t thread;
    const int32_t *prompt;
    size_t n_prompt, n_predict;
    double *at_ms;   /* [n_predict] when each token came */
    size_t n_at;
    double begin_ms;
    sem_t *quarter;  /* raised, or waited for, when a quarter is decoded; NULL: neither */
    ng_status status;
    ng_error error;
} stream;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool on_token(void *ctx, const ng_token_event *e) {
    stream *s = ctx;
    if (e->id < 0) return true;
    s->at_ms[s->n_at++] = now_ms();
    if (s->quarter && s->n_at == s->n_predict / 4) sem_post(s->quarter);
    return true;
}

static void *generate(void *ctx) {
    stream *s = ctx;
    ng_generation g = {0};
    ng_generate_options opt = ng_generate_options_default();
    opt.temp = 0;
    opt.ignore_eog = true;
    opt.n_predict = (uint32_t)s->n_predict;
    opt.on_token = on_token;
    opt.on_token_ctx = s;
    ng_scheduled r = {.prompt = s->prompt, .n_prompt = s->n_prompt, .options = &opt};
    s->begin_ms = now_ms();
    s->status = ng_scheduler_generate(s->scheduler, &g, &r, &s->error);
    if (s->status && s->quarter) sem_post(s->quarter);
    ng_generation_clear(&g);
    return NULL;
}

static void *join_later(void *ctx) {
    stream *s = ctx;
    sem_wait(s->quarter);
    s->quarter = NULL;
    return generate(s);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static ng_status measure(const cli_streams *o, const stream *all, const stream *joiner, cli_streams_result *out,
                         ng_error *err) {
    double *gaps = malloc(o->n * o->n_tok * sizeof *gaps), begin = all[0].begin_ms, end = 0;
    size_t n = 0;
    if (!gaps) return ng_fail(err, NG_ENOMEM, "out of memory");
    double from = o->n_join ? joiner->begin_ms : 0, to = o->n_join ? joiner->at_ms[0] : 1e300;
    out->gap_max_ms = 0;
    out->join_ms = o->n_join ? to - from : 0;
    for (size_t i = 0; i < o->n; i++) {
        const stream *s = &all[i];
        begin = s->begin_ms < begin ? s->begin_ms : begin;
        end = s->at_ms[s->n_at - 1] > end ? s->at_ms[s->n_at - 1] : end;
        for (size_t k = 1; k < s->n_at; k++) {
            double gap = s->at_ms[k] - s->at_ms[k - 1];
            bool joining = s->at_ms[k] > from && s->at_ms[k - 1] < to;
            if (joining && gap > out->gap_max_ms) out->gap_max_ms = gap;
            if (!joining || !o->n_join) gaps[n++] = gap;
        }
    }
    qsort(gaps, n, sizeof *gaps, by_value);
    out->gap_p50_ms = n ? gaps[n / 2] : 0;
    out->wall_ms = end - begin;
    free(gaps);
    return NG_OK;
}

ng_status cli_streams_run(ng_scheduler *sched, const cli_streams *o, cli_streams_result *out, ng_error *err) {
    size_t n = o->n + (o->n_join > 0), n_begun = 0;
    stream *all = calloc(n, sizeof *all);
    double *times = calloc(n * o->n_tok, sizeof *times);
    sem_t quarter;
    ng_status s = all && times ? NG_OK : ng_fail(err, NG_ENOMEM, "out of memory");
    sem_init(&quarter, 0, 0);
    for (; !s && n_begun < n; n_begun++) {
        stream *x = &all[n_begun];
        bool joins = n_begun == o->n;
        *x = (stream){.scheduler = sched, .prompt = o->ids + n_begun, .n_prompt = joins ? o->n_join : 1,
                      .n_predict = joins ? 1 : o->n_tok, .at_ms = times + n_begun * o->n_tok,
                      .quarter = joins || (n_begun == 0 && o->n_join) ? &quarter : NULL};
        if (pthread_create(&x->thread, NULL, joins ? join_later : generate, x)) {
            s = ng_fail(err, NG_ELIMIT, "the system refuses a thread");
            break;
        }
    }
    for (size_t i = 0; i < n_begun; i++) {
        pthread_join(all[i].thread, NULL);
        if (!s && all[i].status) s = ng_fail(err, all[i].status, "%s", all[i].error.text);
    }
    if (!s) s = measure(o, all, &all[o->n], out, err);
    sem_destroy(&quarter);
    free(all);
    free(times);
    return s;
}
