/* encoder_heads.c: what heads on one shared forward cost.
 *
 *     build/encoder_heads models/encoder-en/model.gguf [TOKENS] [ROUNDS]
 *
 * Prints one line of JSON: the median time of a text of TOKENS (32) with one head and with five, over ROUNDS (400) in turns,
 * the better of one thread and all; the memory that the process held at most.  The text is real words of the model, the five
 * heads are the first five that answer something (pooled ones and one on every word). */
#include "core/budget.h"
#include "core/clock.h"
#include "model/encoder_heads.h"
#include "model/token_spans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 5, TOKENS_MAX = 512, ROUNDS_MAX = 100000 };

typedef struct job {
    ng_session *session;
    ng_encoder_heads heads;
    const ng_encoder_head *use[HEADS];
    int32_t ids[TOKENS_MAX];
    size_t n, width;
    float *hidden, *z; /* [n, width], [labels] */
} job;

static int fail(const char *text) {
    fprintf(stderr, "encoder_heads: %s\n", text);
    return 1;
}

/* One text: the forward, and the first n_heads heads to their probabilities. */
static double once(job *j, size_t n_heads, ng_error *err) {
    double start = ng_clock_ms();
    if (ng_session_hidden(j->session, j->ids, j->n, j->hidden, err)) return -1;
    for (size_t k = 0; k < n_heads; k++) {
        const ng_encoder_head *h = j->use[k];
        for (size_t t = 0; h->tokens && t < j->n; t++) {
            ng_encoder_head_row(h, j->hidden + t * j->width, j->z);
            ng_encoder_head_decide(h, j->z, j->z);
        }
        if (h->tokens) continue;
        ng_encoder_head_logits(h, j->hidden, j->n, j->z);
        ng_encoder_head_decide(h, j->z, j->z);
    }
    return ng_clock_ms() - start;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Medians of one head and of five, in turns. */
static bool measure(job *j, size_t rounds, double median[2], ng_error *err) {
    double *ms = malloc(2 * rounds * sizeof *ms);
    bool ok = ms != NULL;
    for (size_t i = 0; ok && i < rounds + 20; i++)
        for (size_t k = 0; ok && k < 2; k++) {
            double t = once(j, k ? HEADS : 1, err);
            ok = t >= 0;
            if (i >= 20) ms[k * rounds + i - 20] = t; /* the first ones choose the threads */
        }
    for (size_t k = 0; ok && k < 2; k++) {
        qsort(ms + k * rounds, rounds, sizeof *ms, by_size);
        median[k] = ms[k * rounds + rounds / 2];
    }
    free(ms);
    return ok;
}

static int run(job *j, const ng_model *m, size_t rounds) {
    ng_error err = {0};
    size_t most = 1;
    double best[2] = {0};
    uint64_t rss, peak;
    for (size_t i = 0, n = 0; i < j->heads.len && n < HEADS; i++)
        if (j->heads.items[i].n_labels) j->use[n++] = &j->heads.items[i];
    if (!j->use[HEADS - 1]) return fail("the model has fewer than five heads");
    for (size_t i = 0; i < HEADS; i++) most = j->use[i]->n_labels > most ? j->use[i]->n_labels : most;
    if (!(j->hidden = malloc(j->n * j->width * sizeof *j->hidden)) || !(j->z = malloc(most * sizeof *j->z)))
        return fail("out of memory");
    for (int threads = 1; threads >= 0; threads--) { /* 0: as many as pay */
        double median[2];
        ng_session_options opt = {.n_threads = threads};
        if (ng_session_new(&j->session, m, &opt, &err)) return fail(err.text);
        bool ok = measure(j, rounds, median, &err);
        ng_session_free(j->session);
        if (!ok) return fail(*err.text ? err.text : "out of memory");
        if (threads == 1 || median[1] < best[1]) memcpy(best, median, sizeof best);
    }
    ng_memory_self(&rss, &peak);
    printf("{\"tokens\": %zu, \"one_head_ms\": %.4f, \"five_heads_ms\": %.4f, \"ratio\": %.4f, \"rss_peak_bytes\": "
           "%llu}\n",
           j->n, best[0], best[1], best[1] / best[0], (unsigned long long)peak);
    return 0;
}

int main(int argc, char **argv) {
    ng_error err = {0};
    ng_model *m = NULL;
    job j = {.n = argc > 2 ? (size_t)atoi(argv[2]) : 32};
    size_t rounds = argc > 3 ? (size_t)atoi(argv[3]) : 400;
    if (argc < 2 || j.n < 2 || j.n > TOKENS_MAX || rounds < 1 || rounds > ROUNDS_MAX)
        return fail("usage: encoder_heads MODEL.gguf [TOKENS] [ROUNDS]");
    if (ng_model_open(&m, argv[1], &err) || ng_encoder_heads_open(&j.heads, m, &err)) return fail(err.text);
    ng_model_info info = ng_model_get_info(m);
    j.width = info.n_embd;
    for (size_t i = 0; i < j.n; i++) j.ids[i] = (int32_t)(info.n_vocab / 2 + 7 * i);
    int code = info.n_vocab / 2 + 7 * j.n < info.n_vocab && j.n <= info.n_seq_max
                   ? run(&j, m, rounds)
                   : fail("the model reads fewer tokens");
    ng_encoder_heads_close(&j.heads);
    ng_model_close(m);
    free(j.hidden);
    free(j.z);
    return code;
}
