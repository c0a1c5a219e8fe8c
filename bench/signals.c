/* signals.c: what each signal of a decision costs.
 *
 *     signals MODELS_DIR FILE.tsv [N]       N texts (2000) of the column `text`, after one warm round
 *
 * Prints p50, p99 and p99.9 in microseconds of each signal alone, of all of them together, one text after the
 * other as requests come, and of all of them and the encoder (one head, every tenth text, one thread: it is asked where
 * the linear models are unsure).  Then the same by the texts' length, which is what the tail is made of, and with the least of
 * eight rounds over all texts for each, which leaves out what else the machine does. */
#include "core/clock.h"
#include "core/file.h"
#include "grid/cache.h"
#include "grid/drift.h"
#include "model/spelling.h"
#include "route/complexity.h"
#include "route/reask.h"
#include "route/route.h"
#include "route/turns.h"
#include "task/pii.h"
#include "text/plain.h"
#include <nanogrid/buf.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 6, SIGNALS = HEADS + 9, PATH_CAP = 1024, ROUNDS = 8 };

static const struct {
    const char *name, *file;
    ng_task task;
} kinds[HEADS] = {{"personal data", NULL, NG_TASK_EXTRACT},
                  {"language", "language-id/model.gguf", NG_TASK_DETECT_LANGUAGE},
                  {"task", "router-en/task.gguf", NG_TASK_CLASSIFY},
                  {"expert (domain)", "router-en/expert.gguf", NG_TASK_CLASSIFY},
                  {"in scope, label (intent)", "intent/model.gguf", NG_TASK_CLASSIFY},
                  {"moderation, injection", "moderation/model.gguf", NG_TASK_MODERATE}};
static const char *const others[] = {"exact-cache probe", "dirt",          "re-ask",    "hard filters, ten candidates",
                                     "drift watch",       "typing errors", "structure", "complexity",
                                     "conversation"};

typedef struct bench {
    ng_head *heads[HEADS], *encoder;
    ng_cache *cache;
    ng_drift *drift;
    ng_spelling *spelling;
    ng_structure structure;
    double complexity; /* sums, so that the work is not thrown away */
    size_t refers;
    char **texts;
    size_t n;
} bench;

static bool fail(const char *text) {
    fprintf(stderr, "signals: %s\n", text);
    return false;
}

static bool read_texts(bench *b, const char *path, size_t max) {
    ng_buf file = ng_buf_init(64u << 20);
    ng_error err = {0};
    if (ng_file_read(&file, path, &err)) return fail(err.text);
    b->texts = calloc(max + 1, sizeof *b->texts);
    char *line = strtok(file.data, "\n");
    size_t column = 0;
    for (char *p = line ? strstr(line, "text") : NULL; p && p > line; p--) column += p[-1] == '\t';
    while (b->texts && b->n < max && (line = strtok(NULL, "\n"))) {
        for (size_t k = 0; k < column && line; k++) line = strchr(line, '\t') ? strchr(line, '\t') + 1 : NULL;
        if (line) b->texts[b->n++] = strndup(line, strcspn(line, "\t"));
    }
    ng_buf_clear(&file);
    return b->n > 99 ? true : fail("the file has fewer than 100 texts");
}

static bool open_all(bench *b, const char *models) {
    char path[PATH_CAP];
    float calibration[500];
    ng_error err = {0};
    for (size_t i = 0; i < HEADS; i++) {
        ng_head_spec spec = {.task = kinds[i].task, .path = kinds[i].file ? path : NULL};
        if (kinds[i].file) snprintf(path, sizeof path, "%s/%s", models, kinds[i].file);
        if (ng_head_open(&b->heads[i], &spec, &err)) return fail(err.text);
    }
    ng_head_spec encoder = {.task = NG_TASK_CLASSIFY, .path = path, .head = "intent"};
    snprintf(path, sizeof path, "%s/encoder-en/model.gguf", models);
    if (ng_head_open(&b->encoder, &encoder, &err)) return fail(err.text);
    snprintf(path, sizeof path, "%s/router-en/spelling.gguf", models);
    if (ng_spelling_open(&b->spelling, path, &err)) return fail(err.text);
    for (size_t i = 0; i < 500; i++) calibration[i] = 0.5f + (float)i / 1000;
    if (ng_cache_new(&b->cache, 1 << 20, &err) || ng_drift_new(&b->drift, calibration, 500, &err))
        return fail(err.text);
    return true;
}

static void ask_head(ng_head *h, ng_task task, const char *text) {
    ng_part part = {NG_PART_TEXT, text, strlen(text)};
    ng_message message = {"user", &part, 1};
    ng_tier_request r = {.task = task, .messages = &message, .n_messages = 1};
    ng_answer *a;
    if (ng_answer_new(&a)) return;
    a->task = r.task;
    (void)!ng_head_apply(h, &r, a, NULL);
    ng_answer_free(a);
}

static void filter_ten(void) {
    char outcome[NG_OUTCOME_MAX];
    ng_limits l = {.privacy = NG_PRIVACY_ANY, .regions = {"eu,uk", NULL}, .consents = "cloud", .tenant = "acme", .max_cost_usd = 1, .battery = 1};
    for (int i = 0; i < 10; i++) {
        ng_candidate c = {.remote = i % 2, .region = i % 3 ? "eu" : "us", .consent = "cloud", .cost_usd = 0.01 * i};
        (void)ng_policy_admits(&l, &c, outcome);
    }
}

static void talk(bench *b, const char *before, const char *text) {
    const ng_part p[3] = {{NG_PART_TEXT, before, strlen(before)},
                          {NG_PART_TEXT, "fine", 4},
                          {NG_PART_TEXT, text, strlen(text)}};
    const ng_message m[3] = {{"user", &p[0], 1}, {"assistant", &p[1], 1}, {"user", &p[2], 1}};
    b->refers += ng_turns_of(m, 3).refers;
}

static void take_signal(bench *b, size_t s, size_t i) {
    const char *text = b->texts[i], *before = b->texts[i ? i - 1 : b->n - 1];
    ng_buf plain = ng_buf_init(1 << 20);
    if (s == 0) (void)ng_pii_suspected(text, strlen(text));
    if (s < HEADS) ask_head(b->heads[s], kinds[s].task, text);
    else if (s == HEADS) ng_answer_free(ng_cache_get(b->cache, text, strlen(text)));
    else if (s == HEADS + 1) (void)ng_text_plain(&plain, text, strlen(text));
    else if (s == HEADS + 2) (void)ng_reask_of(before, strlen(before), text, strlen(text));
    else if (s == HEADS + 3) filter_ten();
    else if (s == HEADS + 4) ng_drift_add(b->drift, 0.5 + (double)(i % 500) / 1000);
    else if (s == HEADS + 6) b->structure = ng_structure_of(text, strlen(text));
    else if (s == HEADS + 7) b->complexity += ng_complexity_of(text, strlen(text), &b->structure);
    else if (s == HEADS + 8) talk(b, before, text);
    else (void)ng_spelling_fix(b->spelling, &plain, text, strlen(text));
    ng_buf_clear(&plain);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_row(const char *name, double *us, size_t n) {
    qsort(us, n, sizeof *us, by_value);
    printf("| %s | %.1f | %.1f | %.1f |\n", name, us[n / 2], us[n * 99 / 100], us[n * 999 / 1000]);
}

static double all_signals(bench *b, size_t i) {
    uint64_t t0 = ng_clock_ns();
    for (size_t s = 0; s < SIGNALS; s++) take_signal(b, s, i);
    return (double)(ng_clock_ns() - t0) * 1e-3;
}

/* The median of all signals over the texts of 20, 40, .. bytes. */
static void print_lengths(const bench *b, const double *all) {
    double *some = calloc(b->n, sizeof *some);
    for (size_t from = 0; some && from < 140; from += 20) {
        size_t n = 0;
        for (size_t i = 0; i < b->n; i++)
            if (strlen(b->texts[i]) / 20 == from / 20) some[n++] = all[i];
        char name[64];
        snprintf(name, sizeof name, "all, of %zu texts of %zu to %zu bytes", n, from, from + 19);
        if (n > 9) print_row(name, some, n);
    }
    free(some);
}

static bool measure(bench *b) {
    double *us = calloc(b->n, sizeof *us), *all = calloc(b->n, sizeof *all), *least = calloc(b->n, sizeof *least);
    if (!us || !all || !least) return fail("out of memory");
    printf("| signal | p50 us | p99 | p99.9 |\n|---|--:|--:|--:|\n");
    for (size_t s = 0; s < SIGNALS; s++) {
        for (int round = 0; round < 2; round++)
            for (size_t i = 0; i < b->n; i++) {
                uint64_t t0 = ng_clock_ns();
                take_signal(b, s, i);
                us[i] = (double)(ng_clock_ns() - t0) * 1e-3;
            }
        print_row(s < HEADS ? kinds[s].name : others[s - HEADS], us, b->n);
    }
    for (size_t i = 0; i < b->n; i++) least[i] = all[i] = all_signals(b, i);
    for (int round = 1; round < ROUNDS; round++)
        for (size_t i = 0; i < b->n; i++) least[i] = fmin(least[i], all_signals(b, i));
    print_lengths(b, least);
    print_row("all of them, one after the other", all, b->n);
    print_row("the same, least of eight rounds", least, b->n);
    size_t n = 0;
    for (size_t i = 0; i < 100; i++) ask_head(b->encoder, NG_TASK_CLASSIFY, b->texts[i]); /* it finds its threads by trying */
    for (size_t i = 0; i < b->n; i += 10) {
        uint64_t t0 = ng_clock_ns();
        (void)all_signals(b, i);
        ask_head(b->encoder, NG_TASK_CLASSIFY, b->texts[i]);
        us[n++] = (double)(ng_clock_ns() - t0) * 1e-3;
    }
    print_row("all of them and the encoder", us, n);
    free(us);
    free(all);
    free(least);
    return true;
}

int main(int argc, char **argv) {
    bench b = {0};
    long n = argc > 3 ? strtol(argv[3], NULL, 10) : 2000;
    if (argc < 3 || n < 100) return fail("usage: signals MODELS_DIR FILE.tsv [N >= 100]"), 2;
    bool ok = read_texts(&b, argv[2], (size_t)n) && open_all(&b, argv[1]) && measure(&b);
    for (size_t i = 0; i < HEADS; i++) ng_head_close(b.heads[i]);
    ng_head_close(b.encoder);
    for (size_t i = 0; i < b.n; i++) free(b.texts[i]);
    free(b.texts);
    ng_cache_free(b.cache);
    ng_drift_free(b.drift);
    ng_spelling_close(b.spelling);
    return ok ? 0 : 1;
}
