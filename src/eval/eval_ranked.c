/* eval_ranked.c: see eval_ranked.h.
 *
 * Rerank: pairs that follow each other with the same first text are one query's candidates.  mrr is the mean of 1 / rank of
 * the best candidate that answers, top1 how often it is the first; cosine_mrr and cosine_top1 are those of the same encoder's
 * vectors, which know nothing of questions.  Equals keep their order. */
#include "eval_ranked.h"

#include "core/clock.h"
#include "eval/figures.h"
#include "model/pair_score.h"
#include "train/data.h"
#include "train/summary_data.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct evaluation {
    ng_eval_result *out;
    ng_error *err;
    ng_arena *arena;
    const ng_encoder_subject *s;
    ng_pair_scorer scorer;
    ng_recipe recipe;
    double *ms; /* [n_ms] */
    size_t n_ms;
} evaluation;

static ng_status no_memory(const evaluation *e) {
    return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->recipe.path);
}

static ng_status begin(evaluation *e, const char *path, ng_recipe_task task) {
    ng_status s = ng_recipe_read(&e->recipe, path, e->arena, e->err);
    if (s) return s;
    if (e->recipe.task != (int)task)
        return ng_fail(e->err, NG_EINVALID, "%s: its model was trained for the task %s", path, e->s->head->task);
    if (!e->recipe.data.test.len)
        return ng_fail(e->err, NG_EINVALID, "%s: data.test is empty; there is nothing to measure", path);
    e->scorer = (ng_pair_scorer){e->s->session, ng_model_tokenizer(e->s->model, e->err), e->s->head, e->s->n_most,
                                 ng_arena_array(e->arena, e->s->n_most * e->s->head->width, sizeof(float))};
    if (!e->scorer.tokenizer) return NG_EUNSUPPORTED;
    return e->scorer.hidden ? NG_OK : no_memory(e);
}

static void put(const evaluation *e, const char *name, double value) { ng_eval_put(e->out, name, value, false); }

static void put_speed(const evaluation *e) {
    ng_eval_put(e->out, "latency_ms.p50", ng_metric_quantile(e->ms, e->n_ms, 0.5), true);
    ng_eval_put(e->out, "latency_ms.p99", ng_metric_quantile(e->ms, e->n_ms, 0.99), true);
}

/* ---- rerank ------------------------------------------------------------------------------------- */

typedef struct ranking {
    double reciprocal;
    size_t first, queries;
} ranking;

/* The rank of the best candidate with label 1. */
static void rank(ranking *r, const ng_sample *x, const float *score, size_t n) {
    size_t best = SIZE_MAX, place = 1;
    for (size_t i = 0; i < n; i++)
        if (x[i].label == 1 && (best == SIZE_MAX || score[i] > score[best])) best = i;
    if (best == SIZE_MAX) return;
    for (size_t i = 0; i < n; i++) place += score[i] > score[best] || (score[i] == score[best] && i < best);
    r->queries++;
    r->reciprocal += 1 / (double)place;
    r->first += place == 1;
}

/* What the pooled vectors of the same encoder say. */
static ng_status cosines(const evaluation *e, const ng_sample *x, size_t n, float *score) {
    size_t width = e->s->head->width;
    float *v = malloc(2 * width * sizeof *v);
    if (!v) return no_memory(e);
    ng_status s = ng_session_embed(e->s->session, x->text, x->len, true, v, NULL, e->err);
    for (size_t i = 0; !s && i < n; i++) {
        double dot = 0;
        s = ng_session_embed(e->s->session, x[i].second, x[i].second_len, true, v + width, NULL, e->err);
        for (size_t c = 0; c < width; c++) dot += (double)v[c] * (double)v[width + c];
        score[i] = (float)dot;
    }
    free(v);
    return s;
}

static ng_status score_query(evaluation *e, const ng_sample *x, size_t n, float *score) {
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < n; i++) {
        uint64_t start = ng_clock_ns();
        s = ng_pair_score(&e->scorer, &(ng_text_pair){x[i].text, x[i].len, x[i].second, x[i].second_len}, &score[i],
                          NULL, e->err);
        e->ms[e->n_ms++] = (double)(ng_clock_ns() - start) / 1e6;
    }
    return s;
}

static bool same_query(const ng_sample *a, const ng_sample *b) {
    return a->source == b->source && a->len == b->len && !memcmp(a->text, b->text, a->len);
}

static ng_status rank_all(evaluation *e, const ng_dataset *d) {
    ranking heads = {0}, vectors = {0};
    float *score = ng_arena_array(e->arena, d->len + 1, sizeof *score);
    e->ms = ng_arena_array(e->arena, d->len + 1, sizeof *e->ms);
    ng_status s = score && e->ms ? NG_OK : no_memory(e);
    for (size_t i = 0, n; !s && i < d->len; i += n) {
        const ng_sample *x = &d->items[i];
        for (n = 1; i + n < d->len && same_query(x, x + n);) n++;
        if (!(s = score_query(e, x, n, score))) rank(&heads, x, score, n);
        if (!s && !(s = cosines(e, x, n, score))) rank(&vectors, x, score, n);
    }
    if (s) return s;
    double q = (double)heads.queries;
    put(e, "pairs", (double)d->len);
    put(e, "queries", q);
    put(e, "mrr", heads.reciprocal / q);
    put(e, "top1", (double)heads.first / q);
    put(e, "cosine_mrr", vectors.reciprocal / q);
    put(e, "cosine_top1", (double)vectors.first / q);
    put_speed(e);
    return NG_OK;
}

static ng_status rerank(evaluation *e, const char *path) {
    ng_labels labels = {NULL, e->s->head->labels, e->s->head->n_labels};
    ng_dataset test;
    ng_status s = begin(e, path, NG_RECIPE_RERANK);
    if (!s) s = ng_dataset_read(&test, &e->recipe.data.test, &labels, &e->recipe, e->err);
    if (s) return s;
    s = rank_all(e, &test);
    ng_dataset_clear(&test);
    return s;
}

/* ---- summaries ---------------------------------------------------------------------------------- */

static ng_status rouge(const evaluation *e, const ng_summary_doc *d, size_t i, double sum[3]) {
    double f[3];
    if (ng_summary_rouge(f, d, d->text + d->spans[i].start, d->spans[i].end - d->spans[i].start)) return no_memory(e);
    for (int k = 0; k < 3; k++) sum[k] += f[k];
    return NG_OK;
}

static ng_status pick(evaluation *e, const ng_summary_doc *d, double chosen[3], double first[3]) {
    double *score = malloc((d->n + 1) * sizeof *score);
    size_t best = 0;
    if (!score) return no_memory(e);
    uint64_t start = ng_clock_ns();
    ng_status s = ng_pair_score_sentences(&e->scorer, d->text, strlen(d->text), d->spans, d->n, score, e->err);
    e->ms[e->n_ms++] = (double)(ng_clock_ns() - start) / 1e6;
    for (size_t i = 1; !s && i < d->n; i++)
        if (score[i] > score[best]) best = i;
    free(score);
    if (!s) s = rouge(e, d, best, chosen);
    return s ? s : rouge(e, d, 0, first);
}

static ng_status picks(evaluation *e, const char *path) {
    static const char *const kinds[] = {"1", "2", "L"};
    ng_status s = begin(e, path, NG_RECIPE_SUMMARIZE);
    for (size_t k = 0; !s && k < e->recipe.data.test.len; k++) {
        const ng_source *src = (const ng_source *)e->recipe.data.test.items + k;
        ng_summary_source one = {src->file, src->text, src->label, src->every};
        ng_config_list list = {&one, 1};
        ng_summary_docs docs;
        double chosen[3] = {0}, first[3] = {0};
        char name[64];
        if ((s = ng_summary_docs_read(&docs, &list, e->arena, e->err))) return s;
        e->n_ms = 0;
        if (!(e->ms = ng_arena_array(e->arena, docs.len + 1, sizeof *e->ms))) s = no_memory(e);
        for (size_t i = 0; !s && i < docs.len; i++) s = pick(e, &docs.items[i], chosen, first);
        int len = (int)strcspn(src->file, "/.");
        for (int r = 0; !s && docs.len && r < 3; r++) {
            snprintf(name, sizeof name, "%.*s.rouge%s", len > 24 ? 24 : len, src->file, kinds[r]);
            put(e, name, chosen[r] / (double)docs.len);
            snprintf(name, sizeof name, "%.*s.first%s", len > 24 ? 24 : len, src->file, kinds[r]);
            put(e, name, first[r] / (double)docs.len);
        }
        free(docs.items);
    }
    if (!s) put_speed(e);
    return s;
}

static ng_status run(ng_eval_result *out, const char *path, const ng_encoder_subject *subject,
                     ng_status (*what)(evaluation *, const char *), ng_error *err) {
    ng_error local = {0};
    evaluation e = {.out = out, .err = err ? err : &local, .s = subject};
    if (ng_arena_new(&e.arena, 1 << 20)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_status s = what(&e, path);
    ng_arena_free(e.arena);
    return s;
}

ng_status ng_eval_rerank(ng_eval_result *out, const char *path, const ng_encoder_subject *s, ng_error *err) {
    return run(out, path, s, rerank, err);
}
ng_status ng_eval_picks(ng_eval_result *out, const char *path, const ng_encoder_subject *s, ng_error *err) {
    return run(out, path, s, picks, err);
}
