/* eval_ranked.c: see eval_ranked.h.
 *
 * Rerank: pairs that follow each other with the same first text are one query's candidates.  mrr is the mean of 1 / rank of
 * the best candidate that answers, top1 how often it is the first; cosine_mrr and cosine_top1 are those of the same encoder's
 * vectors, which know nothing of questions.  Equals keep their order. */
#include "eval_ranked.h"

#include "core/clock.h"
#include "model/pair_score.h"
#include "train/data.h"
#include "train/summary_data.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct scoring {
    ng_head_eval *e;
    ng_pair_scorer scorer;
} scoring;

static ng_status with_scorer(ng_head_eval *e, ng_status (*what)(const scoring *)) {
    scoring x = {.e = e};
    ng_status s = ng_pair_scorer_init(&x.scorer, e->s->session, e->s->head, e->err);
    if (!s) s = what(&x);
    ng_pair_scorer_clear(&x.scorer);
    return s;
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
static ng_status cosines(const ng_head_eval *e, const ng_sample *x, size_t n, float *score) {
    size_t width = e->s->head->width;
    float *v = malloc(2 * width * sizeof *v);
    if (!v) return ng_head_eval_no_memory(e);
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

static ng_status score_query(const scoring *x, const ng_sample *of, size_t n, float *score) {
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < n; i++) {
        ng_text_pair pair = {of[i].text, of[i].len, of[i].second, of[i].second_len};
        uint64_t start = ng_clock_ns();
        s = ng_pair_score(&x->scorer, &pair, &score[i], NULL, x->e->err);
        if (!s) s = ng_head_eval_time(x->e, start);
    }
    return s;
}

static bool same_query(const ng_sample *a, const ng_sample *b) {
    return a->source == b->source && a->len == b->len && !memcmp(a->text, b->text, a->len);
}

static ng_status rank_all(const scoring *x) {
    ng_head_eval *e = x->e;
    const ng_dataset *d = &e->test;
    ranking heads = {0}, vectors = {0};
    float *score = ng_arena_array(e->arena, d->len + 1, sizeof *score);
    ng_status s = score ? NG_OK : ng_head_eval_no_memory(e);
    for (size_t i = 0, n; !s && i < d->len; i += n) {
        const ng_sample *first = &d->items[i];
        for (n = 1; i + n < d->len && same_query(first, first + n);) n++;
        if (!(s = score_query(x, first, n, score))) rank(&heads, first, score, n);
        if (!s && !(s = cosines(e, first, n, score))) rank(&vectors, first, score, n);
    }
    if (s) return s;
    double q = (double)heads.queries;
    ng_head_eval_put(e, "pairs", (double)d->len);
    ng_head_eval_put(e, "queries", q);
    ng_head_eval_put(e, "mrr", heads.reciprocal / q);
    ng_head_eval_put(e, "top1", (double)heads.first / q);
    ng_head_eval_put(e, "cosine_mrr", vectors.reciprocal / q);
    ng_head_eval_put(e, "cosine_top1", (double)vectors.first / q);
    ng_head_eval_put_speed(e);
    return NG_OK;
}

static ng_status rerank(ng_head_eval *e) {
    ng_status s = ng_head_eval_read(e);
    return s ? s : with_scorer(e, rank_all);
}

/* ---- summaries ---------------------------------------------------------------------------------- */

static ng_status rouge(const ng_head_eval *e, const ng_summary_doc *d, size_t i, double sum[3]) {
    double f[3];
    if (ng_summary_rouge(f, d, d->text + d->spans[i].start, d->spans[i].end - d->spans[i].start))
        return ng_head_eval_no_memory(e);
    for (int k = 0; k < 3; k++) sum[k] += f[k];
    return NG_OK;
}

static ng_status pick(const scoring *x, const ng_summary_doc *d, double chosen[3], double first[3]) {
    double *score = malloc((d->n + 1) * sizeof *score);
    size_t best = 0;
    if (!score) return ng_head_eval_no_memory(x->e);
    uint64_t start = ng_clock_ns();
    ng_status s = ng_pair_score_sentences(&x->scorer, d->text, strlen(d->text), d->spans, d->n, score, x->e->err);
    if (!s) s = ng_head_eval_time(x->e, start);
    for (size_t i = 1; !s && i < d->n; i++)
        if (score[i] > score[best]) best = i;
    free(score);
    if (!s) s = rouge(x->e, d, best, chosen);
    return s ? s : rouge(x->e, d, 0, first);
}

static ng_status pick_of(const scoring *x, const ng_source *src) {
    static const char *const kinds[] = {"1", "2", "L"};
    ng_summary_source one = {src->file, src->text, src->label, src->every};
    ng_config_list list = {&one, 1};
    ng_summary_docs docs;
    double chosen[3] = {0}, first[3] = {0};
    char name[64];
    int len = (int)strcspn(src->file, "/.");
    ng_status s = ng_summary_docs_read(&docs, &list, x->e->arena, x->e->err);
    if (s) return s;
    for (size_t i = 0; !s && i < docs.len; i++) s = pick(x, &docs.items[i], chosen, first);
    for (int r = 0; !s && docs.len && r < 3; r++) {
        snprintf(name, sizeof name, "%.*s.rouge%s", len > 24 ? 24 : len, src->file, kinds[r]);
        ng_head_eval_put(x->e, name, chosen[r] / (double)docs.len);
        snprintf(name, sizeof name, "%.*s.first%s", len > 24 ? 24 : len, src->file, kinds[r]);
        ng_head_eval_put(x->e, name, first[r] / (double)docs.len);
    }
    free(docs.items);
    return s;
}

static ng_status pick_all(const scoring *x) {
    const ng_config_list *test = &x->e->recipe.data.test;
    ng_status s = NG_OK;
    for (size_t k = 0; !s && k < test->len; k++) s = pick_of(x, (const ng_source *)test->items + k);
    if (!s) ng_head_eval_put_speed(x->e);
    return s;
}

static ng_status picks(ng_head_eval *e) { return with_scorer(e, pick_all); }

ng_status ng_eval_rerank(ng_eval_result *out, const char *path, const ng_encoder_subject *s, ng_error *err) {
    return ng_head_eval_run(out, path, s, NG_RECIPE_RERANK, rerank, err);
}
ng_status ng_eval_picks(ng_eval_result *out, const char *path, const ng_encoder_subject *s, ng_error *err) {
    return ng_head_eval_run(out, path, s, NG_RECIPE_SUMMARIZE, picks, err);
}
