/* eval_compress.c: words kept by shortened sentences against the words that people kept.
 *
 * f1 is the mean over sentences of the F1 of kept words, words.f1 that over all words together; all.f1 is that of keeping
 * everything, which a shortener must beat.  kept and gold are the shares of words that stay. */
#include "eval_ops.h"

#include "core/clock.h"
#include "train/train_shortener.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct evaluation {
    ng_arena *arena;
    ng_recipe recipe;
    ng_shortenings test;
    ng_shortener *model;
    double *ms; /* [test.len] */
    ng_energy_meter meter;
    double f1, all_f1;
    size_t n_words, n_kept, n_gold, n_both, n_exact;
} evaluation;

static ng_status measure(evaluation *e, size_t i, ng_error *err) {
    const ng_shortening *x = &e->test.items[i];
    float p[NG_BRIEF_WORDS_MAX];
    bool keep[NG_BRIEF_WORDS_MAX], all[NG_BRIEF_WORDS_MAX];
    uint64_t start = ng_clock_ns();
    ng_status s = ng_shortener_believe(e->model, x->brief, p, err);
    if (s) return s;
    ng_brief_choose(keep, p, x->brief->len, 0);
    e->ms[i] = (double)(ng_clock_ns() - start) / 1e6;
    double f1 = ng_shortening_f1(x, keep);
    for (size_t k = 0; k < x->brief->len; k++) {
        all[k] = true;
        e->n_words++, e->n_kept += keep[k], e->n_gold += x->keep[k], e->n_both += keep[k] && x->keep[k];
    }
    e->f1 += f1, e->n_exact += f1 >= 1, e->all_f1 += ng_shortening_f1(x, all);
    return NG_OK;
}

static void put_figures(ng_eval_result *out, evaluation *e) {
    double n = (double)e->test.len;
    ng_eval_put(out, "texts", n, false);
    ng_eval_put(out, "f1", e->f1 / n, false);
    ng_eval_put(out, "exact", (double)e->n_exact / n, false);
    ng_eval_put(out, "words.f1", 2 * (double)e->n_both / (double)(e->n_kept + e->n_gold), false);
    ng_eval_put(out, "words.kept", (double)e->n_kept / (double)e->n_words, false);
    ng_eval_put(out, "words.gold", (double)e->n_gold / (double)e->n_words, false);
    ng_eval_put(out, "all.f1", e->all_f1 / n, false);
    ng_eval_put(out, "model_mb", (double)ng_shortener_file_bytes(e->model) / 1e6, false);
    ng_eval_put_speed(out, e->ms, e->test.len, &e->meter);
}

static ng_status run_in(evaluation *e, ng_eval_result *out, const char *path, const ng_eval_options *opt,
                        ng_error *err) {
    const ng_recipe *r = &e->recipe;
    ng_status s = ng_recipe_read(&e->recipe, path, e->arena, err);
    if (s) return s;
    const char *model = ng_recipe_path(r, opt->model_dir, "model", e->arena),
               *card = ng_recipe_path(r, opt->model_dir, "card", e->arena);
    if (!model || !card) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    snprintf(out->model_path, sizeof out->model_path, "%s", model);
    if ((s = ng_shortener_open(&e->model, model, err)) ||
        (s = ng_shortenings_read(&e->test, &r->data.test, r, e->arena, err)))
        return s;
    if (!e->test.len) return ng_fail(err, NG_EINVALID, "%s: data.test is empty", path);
    if (!(e->ms = ng_arena_array(e->arena, e->test.len, sizeof *e->ms)))
        return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_energy_start(&e->meter);
    for (size_t i = 0; !s && i < e->test.len; i++) s = measure(e, i, err);
    if (s) return s;
    put_figures(out, e);
    if (!opt->card) return NG_OK;
    return ng_card_write(&(ng_card){&r->about, "compress", r->path, NULL, 0}, out, card, err);
}

static bool serves(const char *task) { return !strcmp(task, "compress"); }

static ng_status run(ng_eval_result *out, const char *path, const ng_eval_options *opt, ng_error *err) {
    evaluation e = {0};
    if (ng_arena_new(&e.arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_status s = run_in(&e, out, path, opt, err);
    ng_shortener_close(e.model);
    ng_shortenings_clear(&e.test);
    ng_arena_free(e.arena);
    return s;
}

const ng_eval_ops ng_eval_compress = {serves, run};
