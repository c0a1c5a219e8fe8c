/* eval_answer.c: answers found in passages, and questions that a passage does not answer.
 *
 * The test set is questions whose answer stands in their passage, and as many that do not: the same passages, each with a
 * question about another story.  f1 counts a refusal as 0; always.f1 is that of the span found had nothing been refused.
 * A decision is right when an answerable question got a span of F1 0.5 and more, and one without an answer a refusal. */
#include "eval_ops.h"

#include "core/clock.h"
#include "eval/figures.h"
#include "gguf/gguf.h"
#include "model/finder.h"
#include "train/finder_data.h"
#include "train/recipe.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct decided {
    float *confidence; /* [n] */
    uint8_t *right;
    size_t n;
} decided;

typedef struct tally {
    size_t literal, refused, exact, foreign, foreign_refused;
    double f1, always;
} tally;

typedef struct evaluation {
    ng_arena *arena;
    ng_error *err;
    ng_eval_result *out;
    ng_finder_recipe recipe;
    ng_finder_examples test, dev;
    ng_finder *model;
    decided on_test, on_dev;
    double *ms;
    size_t n_ms;
    ng_energy_meter meter;
} evaluation;

static ng_status no_memory(const evaluation *e) {
    return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->recipe.path);
}

static ng_status find(evaluation *e, const char *question, const ng_finder_example *at, ng_found *out) {
    ng_passage *p;
    uint64_t start = ng_clock_ns();
    ng_status s = ng_passage_new(&p, ng_finder_rarity(e->model), question, strlen(question), at->passage,
                                 at->passage_len, e->err);
    if (s) return s;
    s = ng_finder_find(e->model, p, out, e->err);
    ng_passage_free(p);
    e->ms[e->n_ms++] = (double)(ng_clock_ns() - start) / 1e6;
    return s;
}

static void put_decision(decided *d, const ng_found *f, bool right) {
    d->confidence[d->n] = (float)(f->answerable ? f->p_answerable * f->p_right : 1 - f->p_answerable);
    d->right[d->n++] = right;
}

static ng_status ask_all(evaluation *e, const ng_finder_examples *set, bool calibration, decided *d, tally *t) {
    const uint32_t *other = ng_finder_others(set, 1, e->arena);
    d->confidence = ng_arena_array(e->arena, 2 * set->len, sizeof *d->confidence);
    d->right = ng_arena_array(e->arena, 2 * set->len, 1);
    e->ms = ng_arena_array(e->arena, 2 * set->len, sizeof *e->ms);
    e->n_ms = 0;
    ng_energy_start(&e->meter);
    if (!other || !d->confidence || !d->right || !e->ms) return no_memory(e);
    for (size_t i = 0; i < set->len; i++) {
        const ng_finder_example *x = &set->items[i];
        ng_found f;
        if (!x->literal || (calibration && ng_finder_tunes(x))) continue;
        ng_status s = find(e, x->question, x, &f);
        if (s) return s;
        double f1 = ng_answer_f1(x->passage + f.start, f.end - f.start, x);
        t->literal++, t->refused += !f.answerable;
        t->always += f1, t->f1 += f.answerable ? f1 : 0;
        t->exact += f.answerable && f1 >= 1;
        put_decision(d, &f, f.answerable && f1 >= 0.5);
        if (set->items[other[i]].group == x->group) continue;
        if ((s = find(e, set->items[other[i]].question, x, &f))) return s;
        t->foreign++, t->foreign_refused += !f.answerable;
        put_decision(d, &f, !f.answerable);
    }
    return NG_OK;
}

static void put(const evaluation *e, const char *name, double value) { ng_eval_put(e->out, name, value, false); }
static double share(double part, size_t n) { return n ? part / (double)n : NAN; }

static ng_status weigh(const evaluation *e, const char *question, const ng_finder_example *at, double *p_answerable,
                       double *cover) {
    ng_passage *p;
    ng_found f = {0};
    ng_status s = ng_passage_new(&p, ng_finder_rarity(e->model), question, strlen(question), at->passage,
                                 at->passage_len, e->err);
    if (s) return s;
    s = ng_finder_find(e->model, p, &f, e->err);
    *p_answerable = f.p_answerable;
    *cover = (double)p->cover;
    ng_passage_free(p);
    return s;
}

/* Passages of x's story, each once, that share no section with x's. */
static bool rivals(const ng_finder_examples *set, const ng_finder_example *x, size_t k) {
    const ng_finder_example *y = &set->items[k];
    if (y->group != x->group || strstr(x->passage, y->passage) || strstr(y->passage, x->passage)) return false;
    for (size_t i = 0; i < k; i++)
        if (set->items[i].group == y->group && !strcmp(set->items[i].passage, y->passage)) return false;
    return true;
}

/* A question's own passage among all of its story: at which place the probability of an answer puts it, and the plain share
 * of the question's weight that a passage covers (ties count half). */
static ng_status rank_passages(const evaluation *e) {
    const ng_finder_examples *set = &e->test;
    double mrr = 0, plain_mrr = 0, p, own, cover, own_cover;
    size_t n = 0, n_first = 0, n_passages = 0;
    for (size_t i = 0; i < set->len; i++) {
        const ng_finder_example *x = &set->items[i];
        size_t above = 0;
        double plainly = 0;
        if (!x->literal) continue;
        ng_status s = weigh(e, x->question, x, &own, &own_cover);
        for (size_t k = 0; !s && k < set->len; k++) {
            if (!rivals(set, x, k)) continue;
            s = weigh(e, x->question, &set->items[k], &p, &cover);
            above += p > own, plainly += cover > own_cover ? 1 : cover < own_cover ? 0 : 0.5;
            n_passages++;
        }
        if (s) return s;
        n++, n_first += above == 0;
        mrr += 1 / (1 + (double)above), plain_mrr += 1 / (1 + plainly);
    }
    put(e, "rerank.passages", 1 + (double)n_passages / (double)n);
    put(e, "rerank.first", (double)n_first / (double)n);
    put(e, "rerank.mrr", mrr / (double)n);
    put(e, "rerank.cover_mrr", plain_mrr / (double)n);
    return NG_OK;
}

static void put_figures(const evaluation *e, const tally *t) {
    const decided *d = &e->on_test;
    size_t right = 0;
    for (size_t i = 0; i < d->n; i++) right += d->right[i];
    put(e, "questions", (double)t->literal);
    put(e, "f1", share(t->f1, t->literal));
    put(e, "exact", share((double)t->exact, t->literal));
    put(e, "refused", share((double)t->refused, t->literal));
    put(e, "always.f1", share(t->always, t->literal));
    put(e, "unanswerable.questions", (double)t->foreign);
    put(e, "unanswerable.recall", share((double)t->foreign_refused, t->foreign));
    put(e, "accuracy", share((double)right, d->n));
    put(e, "ece", ng_metric_ece(d->confidence, d->right, d->n, 15));
    put(e, "aurc", ng_metric_aurc(d->confidence, d->right, d->n));
    put(e, "coverage.risk_5", ng_metric_coverage(d->confidence, d->right, d->n, 0.05));
    put(e, "coverage.risk_10", ng_metric_coverage(d->confidence, d->right, d->n, 0.10));
    put(e, "coverage.risk_20", ng_metric_coverage(d->confidence, d->right, d->n, 0.20));
    put(e, "model_mb", (double)ng_finder_file_bytes(e->model) / 1e6);
    ng_eval_put_speed(e->out, e->ms, e->n_ms, &e->meter);
}

static ng_status write_card(const evaluation *e, const ng_eval_options *opt) {
    const ng_finder_recipe *r = &e->recipe;
    const char *card = ng_package_file(r->path, r->about.name, opt->model_dir, "card.json", e->arena);
    const char *scores = ng_package_file(r->path, r->about.name, opt->model_dir, "scores.gguf", e->arena);
    ng_gguf_writer *w;
    if (!card || !scores || ng_gguf_writer_new(&w)) return no_memory(e);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-scores");
    ng_gguf_put_str(w, "general.name", r->about.name);
    ng_gguf_put_str(w, "nanogrid.task", "answer");
    ng_gguf_put_array(w, "nanogrid.calibration.confidence", NG_GGUF_F32, e->on_dev.confidence, e->on_dev.n);
    ng_gguf_put_array(w, "nanogrid.calibration.correct", NG_GGUF_U8, e->on_dev.right, e->on_dev.n);
    ng_gguf_put_array(w, "nanogrid.test.confidence", NG_GGUF_F32, e->on_test.confidence, e->on_test.n);
    ng_gguf_put_array(w, "nanogrid.test.correct", NG_GGUF_U8, e->on_test.right, e->on_test.n);
    ng_status s = ng_gguf_writer_commit(w, scores, e->err);
    if (s) return s;
    snprintf(e->out->scores_path, sizeof e->out->scores_path, "%s", scores);
    return ng_card_write(&(ng_card){&r->about, r->task, r->path, NULL, 0}, e->out, card, e->err);
}

static ng_status run_all(evaluation *e, const char *path, const ng_eval_options *opt) {
    tally dev = {0}, test = {0};
    ng_status s = ng_finder_recipe_read(&e->recipe, path, e->arena, e->err);
    if (s) return s;
    const char *model = ng_package_file(e->recipe.path, e->recipe.about.name, opt->model_dir, "model.gguf", e->arena);
    if (!model) return no_memory(e);
    snprintf(e->out->model_path, sizeof e->out->model_path, "%s", model);
    s = ng_finder_open(&e->model, model, e->err);
    if (!s) s = ng_finder_examples_read(&e->test, &e->recipe.test, e->arena, e->err);
    if (!s) s = ng_finder_examples_read(&e->dev, &e->recipe.dev, e->arena, e->err);
    if (!s) s = ask_all(e, &e->dev, true, &e->on_dev, &dev);
    if (!s) s = ask_all(e, &e->test, false, &e->on_test, &test);
    if (!s && !test.literal)
        s = ng_fail(e->err, NG_EFORMAT, "%s: no test question has its answer in its passage", path);
    if (s) return s;
    put_figures(e, &test);
    if ((s = rank_passages(e))) return s;
    return opt->card ? write_card(e, opt) : NG_OK;
}

static bool serves(const char *task) { return !strcmp(task, "answer"); }

static ng_status run(ng_eval_result *out, const char *path, const ng_eval_options *opt, ng_error *err) {
    evaluation e = {.out = out, .err = err};
    if (ng_arena_new(&e.arena, 1 << 20)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_status s = run_all(&e, path, opt);
    ng_finder_close(e.model);
    free(e.test.items);
    free(e.dev.items);
    ng_arena_free(e.arena);
    return s;
}

const ng_eval_ops ng_eval_answer = {serves, run};
