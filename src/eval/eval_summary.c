/* eval_summary.c: ROUGE of the best single sentence, against the references and the first sentence.
 *
 * Each test source is reported by itself, by its folder's name: rouge1, rouge2, rougeL (F1, the best of
 * several references) of the sentence with the highest score, and first1, first2, firstL of the
 * document's first sentence, the baseline that a summariser must beat to be worth running. */
#include "eval_ops.h"

#include "core/clock.h"
#include "gguf/gguf.h"
#include "model/extractive.h"
#include "train/recipe.h"
#include "train/summary_data.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct evaluation {
    ng_arena *arena;
    ng_error *err;
    ng_eval_result *out;
    ng_summary_recipe recipe;
    ng_summary_docs docs;
    ng_extractive *model;
    float *rouge1; /* [docs.len] of the sentence chosen */
    double *ms;    /* [docs.len] */
} evaluation;

static ng_status choose(const evaluation *e, const ng_summary_doc *d, size_t *best) {
    ng_extractive_doc *doc;
    ng_status s = ng_extractive_doc_new(&doc, d->text, d->spans, d->n, e->err);
    if (s) return s;
    double *scores = malloc(d->n * sizeof *scores);
    if (scores) ng_extractive_score(e->model, doc, scores);
    ng_extractive_doc_free(doc);
    if (!scores) return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->recipe.path);

    for (size_t i = 1; i < d->n; i++)
        if (scores[i] > scores[*best]) *best = i;
    free(scores);
    return NG_OK;
}

static ng_status measure(const evaluation *e, size_t i, double chosen[3], double first[3]) {
    const ng_summary_doc *d = &e->docs.items[i];
    size_t best = 0;
    double f[3];
    uint64_t start = ng_clock_ns();
    ng_status s = choose(e, d, &best);
    e->ms[i] = (double)(ng_clock_ns() - start) / 1e6;
    if (s) return s;
    if (ng_summary_rouge(f, d, d->text + d->spans[best].start, d->spans[best].end - d->spans[best].start))
        return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->recipe.path);
    e->rouge1[i] = (float)f[0];
    for (int k = 0; k < 3; k++) chosen[k] += f[k];
    if (ng_summary_rouge(f, d, d->text + d->spans[0].start, d->spans[0].end - d->spans[0].start))
        return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->recipe.path);
    for (int k = 0; k < 3; k++) first[k] += f[k];
    return NG_OK;
}

static ng_status put_source(const evaluation *e, size_t source) {
    static const char *const kinds[] = {"1", "2", "L"};
    const ng_summary_source *src = (const ng_summary_source *)e->recipe.test.items + source;
    double chosen[3] = {0}, first[3] = {0};
    size_t n = 0;
    for (size_t i = 0; i < e->docs.len; i++) {
        if (e->docs.items[i].source != source) continue;
        ng_status s = measure(e, i, chosen, first);
        if (s) return s;
        n++;
    }
    char name[48];
    int len = (int)strcspn(src->file, "/.");
    if (len > 24) len = 24;
    snprintf(name, sizeof name, "%.*s.texts", len, src->file);
    ng_eval_put(e->out, name, (double)n, false);
    for (int k = 0; n && k < 3; k++) {
        snprintf(name, sizeof name, "%.*s.rouge%s", len, src->file, kinds[k]);
        ng_eval_put(e->out, name, chosen[k] / (double)n, false);
    }
    for (int k = 0; n && k < 3; k++) {
        snprintf(name, sizeof name, "%.*s.first%s", len, src->file, kinds[k]);
        ng_eval_put(e->out, name, first[k] / (double)n, false);
    }
    return NG_OK;
}

static ng_status write_card(const evaluation *e, const ng_eval_options *opt) {
    const ng_summary_recipe *r = &e->recipe;
    const char *card = ng_package_file(r->path, r->about.name, opt->model_dir, "card.json", e->arena);
    const char *scores = ng_package_file(r->path, r->about.name, opt->model_dir, "scores.gguf", e->arena);
    ng_gguf_writer *w;
    if (!card || !scores || ng_gguf_writer_new(&w)) return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", r->path);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-scores");
    ng_gguf_put_str(w, "general.name", r->about.name);
    ng_gguf_put_str(w, "nanogrid.task", "summarize");
    ng_gguf_put_array(w, "nanogrid.test.rouge1", NG_GGUF_F32, e->rouge1, e->docs.len);
    ng_status s = ng_gguf_writer_commit(w, scores, e->err);
    if (s) return s;
    snprintf(e->out->scores_path, sizeof e->out->scores_path, "%s", scores);
    return ng_card_write(&(ng_card){&r->about, r->task, r->path, NULL, 0}, e->out, card, e->err);
}

static ng_status run_all(evaluation *e, const char *path, const ng_eval_options *opt) {
    ng_status s = ng_summary_recipe_read(&e->recipe, path, e->arena, e->err);
    if (s) return s;
    const char *model = ng_package_file(e->recipe.path, e->recipe.about.name, opt->model_dir, "model.gguf", e->arena);
    if (!model) return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", path);
    snprintf(e->out->model_path, sizeof e->out->model_path, "%s", model);
    if ((s = ng_extractive_open(&e->model, model, e->err)) ||
        (s = ng_summary_docs_read(&e->docs, &e->recipe.test, e->arena, e->err)))
        return s;
    e->rouge1 = ng_arena_array(e->arena, e->docs.len, sizeof *e->rouge1);
    e->ms = ng_arena_array(e->arena, e->docs.len, sizeof *e->ms);
    if (!e->rouge1 || !e->ms) return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", path);
    ng_energy_meter meter;
    ng_energy_start(&meter);
    for (size_t i = 0; !s && i < e->recipe.test.len; i++) s = put_source(e, i);
    if (s) return s;
    ng_eval_put(e->out, "model_mb", (double)ng_extractive_file_bytes(e->model) / 1e6, false);
    ng_eval_put_speed(e->out, e->ms, e->docs.len, &meter);
    return opt->card ? write_card(e, opt) : NG_OK;
}

static bool serves(const char *task) { return !strcmp(task, "summarize"); }

static ng_status run(ng_eval_result *out, const char *path, const ng_eval_options *opt, ng_error *err) {
    evaluation e = {.out = out, .err = err};
    if (ng_arena_new(&e.arena, 1 << 20)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_status s = run_all(&e, path, opt);
    ng_extractive_close(e.model);
    free(e.docs.items);
    ng_arena_free(e.arena);
    return s;
}

const ng_eval_ops ng_eval_summary = {serves, run};
