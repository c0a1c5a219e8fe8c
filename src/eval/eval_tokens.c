/* eval_tokens.c: see eval_tokens.h.  A span is right when its kind, first and last word are: by the words of the
 * encoder, which are never longer than those of the file, so that offsets agree when these do. */
#include "eval_tokens.h"

#include "core/clock.h"
#include "eval/figures.h"
#include "model/token_spans.h"
#include "train/dev_score.h"
#include "train/encoder_ids.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct evaluation {
    ng_eval_result *out;
    ng_error *err;
    ng_arena *arena;
    const ng_encoder_subject *s;
    ng_recipe recipe;
    ng_labels labels; /* the head's; no arena of its own */
    ng_dataset test;
    ng_id_texts ids;
    double *ms;       /* [test.len] */
} evaluation;

static ng_status no_memory(const evaluation *e) {
    return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->recipe.path);
}

static ng_status begin(evaluation *e, const char *path, ng_recipe_task task, size_t n_ctx) {
    ng_status s = ng_recipe_read(&e->recipe, path, e->arena, e->err);
    if (s) return s;
    if (e->recipe.task != (int)task)
        return ng_fail(e->err, NG_EINVALID, "%s: its model was trained for the task %s", path, e->s->head->task);
    if (!e->recipe.data.test.len)
        return ng_fail(e->err, NG_EINVALID, "%s: data.test is empty; there is nothing to measure", path);
    e->labels = (ng_labels){NULL, e->s->head->labels, e->s->head->n_labels};
    const ng_tokenizer *t = ng_model_tokenizer(e->s->model, e->err);
    if (!t) return NG_EUNSUPPORTED;
    if ((s = ng_dataset_read(&e->test, &e->recipe.data.test, &e->labels, &e->recipe, e->err)) ||
        (s = ng_id_texts_new(&e->ids, &e->test, task, t, n_ctx, e->err)))
        return s;
    e->ms = malloc((e->test.len + 1) * sizeof *e->ms);
    return e->ms ? NG_OK : no_memory(e);
}

static void put(const evaluation *e, const char *name, double value) { ng_eval_put(e->out, name, value, false); }

static void put_speed(const evaluation *e) {
    ng_eval_put(e->out, "latency_ms.p50", ng_metric_quantile(e->ms, e->test.len, 0.5), true);
    ng_eval_put(e->out, "latency_ms.p99", ng_metric_quantile(e->ms, e->test.len, 0.99), true);
}

static void finish(evaluation *e) {
    ng_dataset_clear(&e->test);
    ng_id_texts_clear(&e->ids);
    free(e->ms);
    ng_arena_free(e->arena);
}

/* ---- spans -------------------------------------------------------------------------------------- */

/* The tags of one kind alone: the others become O. */
static void only_kind(int32_t *out, const int32_t *tags, size_t n, int32_t b) {
    for (size_t i = 0; i < n; i++) out[i] = tags[i] == b || tags[i] == b + 1 ? tags[i] : 0;
}

static ng_status add_text(evaluation *e, size_t i, ng_span_score *all, ng_span_score *kinds, ng_span_score *sources) {
    const ng_sample *x = &e->test.items[i];
    const int32_t *gold = e->ids.tags + e->ids.word_begin[i];
    size_t n = e->ids.word_begin[i + 1] - e->ids.word_begin[i];
    ng_tag_source src = {e->s->session, ng_model_tokenizer(e->s->model, NULL), e->s->head, e->s->n_most, NULL};
    ng_tagging t;
    uint64_t start = ng_clock_ns();
    ng_status s = ng_tag_text(&t, &src, x->text, x->len, e->err);
    if (s) return s;
    e->ms[i] = (double)(ng_clock_ns() - start) / 1e6;
    int32_t *a = malloc((n + 1) * sizeof *a), *b = malloc((n + 1) * sizeof *b);
    if (!a || !b) s = no_memory(e);
    else if (t.w.n_words != n)
        s = ng_fail(e->err, NG_EINTERNAL, "%s: a text of %zu words was tagged as %zu", e->recipe.path, n, t.w.n_words);
    else {
        ng_span_score_add(all, gold, t.tags, n, e->labels.names);
        ng_span_score_add(&sources[x->source], gold, t.tags, n, e->labels.names);
        for (size_t k = 1; k < e->labels.len; k += 2) {
            only_kind(a, gold, n, (int32_t)k);
            only_kind(b, t.tags, n, (int32_t)k);
            ng_span_score_add(&kinds[k / 2], a, b, n, e->labels.names);
        }
    }
    free(a);
    free(b);
    ng_tagging_clear(&t);
    return s;
}

static ng_status spans(evaluation *e, const char *path) {
    ng_status s = begin(e, path, NG_RECIPE_EXTRACT, SIZE_MAX / 16);
    if (s) return s;
    size_t n_sources = e->recipe.data.test.len;
    ng_span_score all = {0}, *kinds = ng_arena_array(e->arena, e->labels.len + n_sources, sizeof *kinds),
                  *sources = kinds + e->labels.len;
    if (!kinds) return no_memory(e);
    memset(kinds, 0, (e->labels.len + n_sources) * sizeof *kinds);
    for (size_t i = 0; !s && i < e->test.len; i++) s = add_text(e, i, &all, kinds, sources);
    if (s) return s;
    put(e, "texts", (double)e->test.len);
    put(e, "spans", (double)all.n_gold);
    put(e, "precision", all.n_said ? (double)all.n_right / (double)all.n_said : NAN);
    put(e, "recall", all.n_gold ? (double)all.n_right / (double)all.n_gold : NAN);
    put(e, "f1", ng_span_f1(&all));
    for (size_t k = 1; k < e->labels.len; k += 2) {
        char name[64];
        snprintf(name, sizeof name, "%.40s.f1", e->labels.names[k] + 2);
        put(e, name, ng_span_f1(&kinds[k / 2]));
    }
    for (size_t k = 0; n_sources > 1 && k < n_sources; k++) {
        char name[64];
        const ng_source *src = (const ng_source *)e->recipe.data.test.items + k;
        snprintf(name, sizeof name, "f1_of.%zu-%.*s", k + 1, (int)strcspn(src->file, "/."), src->file);
        put(e, name, ng_span_f1(&sources[k]));
    }
    put_speed(e);
    return NG_OK;
}

/* ---- pairs -------------------------------------------------------------------------------------- */

static ng_status pairs(evaluation *e, const char *path) {
    ng_status s = begin(e, path, NG_RECIPE_EMBED, e->s->n_most);
    if (s) return s;
    size_t n = e->test.len, width = ng_model_get_info(e->s->model).n_embd;
    float *v = ng_arena_array(e->arena, 2 * width, sizeof *v), *said = ng_arena_array(e->arena, n + 1, sizeof *said);
    float *gold = ng_arena_array(e->arena, n + 1, sizeof *gold);
    if (!v || !said || !gold) return no_memory(e);
    for (size_t i = 0; !s && i < n; i++) {
        const size_t *at = e->ids.begin + 2 * i;
        uint64_t start = ng_clock_ns();
        s = ng_session_encode(e->s->session, e->ids.ids + at[0], at[1] - at[0], v, e->err);
        e->ms[i] = (double)(ng_clock_ns() - start) / 1e6;
        if (!s) s = ng_session_encode(e->s->session, e->ids.ids + at[1], at[2] - at[1], v + width, e->err);
        double dot = 0;
        for (size_t c = 0; !s && c < width; c++) dot += (double)v[c] * (double)v[width + c];
        said[i] = (float)dot; /* vectors have length 1 */
        gold[i] = e->test.items[i].score;
    }
    if (s) return s;
    put(e, "texts", (double)n);
    put(e, "spearman", ng_spearman(said, gold, n));
    put_speed(e);
    return NG_OK;
}

static ng_status run(ng_eval_result *out, const char *path, const ng_encoder_subject *subject,
                     ng_status (*what)(evaluation *, const char *), ng_error *err) {
    ng_error local = {0};
    evaluation e = {.out = out, .err = err ? err : &local, .s = subject};
    if (ng_arena_new(&e.arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_status s = what(&e, path);
    finish(&e);
    return s;
}

ng_status ng_eval_spans(ng_eval_result *out, const char *path, const ng_encoder_subject *s, ng_error *err) {
    return run(out, path, s, spans, err);
}
ng_status ng_eval_pairs(ng_eval_result *out, const char *path, const ng_encoder_subject *s, ng_error *err) {
    return run(out, path, s, pairs, err);
}
