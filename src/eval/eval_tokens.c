/* eval_tokens.c: see eval_tokens.h.  A span is right when its kind, first and last word are: by the words of the
 * encoder, which are never longer than those of the file, so that offsets agree when these do. */
#include "eval_tokens.h"

#include "core/clock.h"
#include "model/token_spans.h"
#include "train/dev_score.h"
#include "train/encoder_ids.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- spans -------------------------------------------------------------------------------------- */

/* The tags of one kind alone: the others become O. */
static void only_kind(int32_t *out, const int32_t *tags, size_t n, int32_t b) {
    for (size_t i = 0; i < n; i++) out[i] = tags[i] == b || tags[i] == b + 1 ? tags[i] : 0;
}

typedef struct span_scores {
    ng_span_score all, *kinds, *sources; /* [kinds], [sources] */
} span_scores;

static ng_status add_text(ng_head_eval *e, const ng_id_texts *ids, size_t i, span_scores *scores) {
    const ng_sample *x = &e->test.items[i];
    const int32_t *gold = ids->tags + ids->word_begin[i];
    size_t n = ids->word_begin[i + 1] - ids->word_begin[i];
    ng_tag_source src = {e->s->session, ng_model_tokenizer(e->s->model, NULL), e->s->head, e->s->n_most, NULL};
    ng_tagging t;
    uint64_t start = ng_clock_ns();
    ng_status s = ng_tag_text(&t, &src, x->text, x->len, e->err);
    if (s) return s;
    s = ng_head_eval_time(e, start);
    int32_t *a = malloc((n + 1) * sizeof *a), *b = malloc((n + 1) * sizeof *b);
    if (!s && (!a || !b)) s = ng_head_eval_no_memory(e);
    else if (!s && t.w.n_words != n)
        s = ng_fail(e->err, NG_EINTERNAL, "%s: a text of %zu words was tagged as %zu", e->recipe.path, n, t.w.n_words);
    else if (!s) {
        ng_span_score_add(&scores->all, gold, t.tags, n, e->labels.names);
        ng_span_score_add(&scores->sources[x->source], gold, t.tags, n, e->labels.names);
        for (size_t k = 1; k < e->labels.len; k += 2) {
            only_kind(a, gold, n, (int32_t)k);
            only_kind(b, t.tags, n, (int32_t)k);
            ng_span_score_add(&scores->kinds[k / 2], a, b, n, e->labels.names);
        }
    }
    free(a);
    free(b);
    ng_tagging_clear(&t);
    return s;
}

/* The texts as ids, for as long as one measurement. */
static ng_status read_ids(ng_head_eval *e, ng_id_texts *ids, size_t n_ctx) {
    const ng_tokenizer *t = ng_model_tokenizer(e->s->model, e->err);
    if (!t) return e->err->code;
    ng_status s = ng_head_eval_read(e);
    return s ? s : ng_id_texts_new(ids, &e->test, e->recipe.task, t, n_ctx, e->err);
}

static void put_spans(const ng_head_eval *e, const span_scores *scores) {
    const ng_span_score *all = &scores->all;
    size_t n_sources = e->recipe.data.test.len;
    char name[64];
    ng_head_eval_put(e, "texts", (double)e->test.len);
    ng_head_eval_put(e, "spans", (double)all->n_gold);
    ng_head_eval_put(e, "precision", all->n_said ? (double)all->n_right / (double)all->n_said : NAN);
    ng_head_eval_put(e, "recall", all->n_gold ? (double)all->n_right / (double)all->n_gold : NAN);
    ng_head_eval_put(e, "f1", ng_span_f1(all));
    for (size_t k = 1; k < e->labels.len; k += 2) {
        snprintf(name, sizeof name, "%.40s.f1", e->labels.names[k] + 2);
        ng_head_eval_put(e, name, ng_span_f1(&scores->kinds[k / 2]));
    }
    for (size_t k = 0; n_sources > 1 && k < n_sources; k++) {
        const ng_source *src = (const ng_source *)e->recipe.data.test.items + k;
        snprintf(name, sizeof name, "f1_of.%zu-%.*s", k + 1, (int)strcspn(src->file, "/."), src->file);
        ng_head_eval_put(e, name, ng_span_f1(&scores->sources[k]));
    }
    ng_head_eval_put_speed(e);
}

static ng_status spans(ng_head_eval *e) {
    size_t n = e->labels.len + e->recipe.data.test.len;
    span_scores scores = {.kinds = ng_arena_array(e->arena, n, sizeof *scores.kinds)};
    ng_id_texts ids = {0};
    if (!scores.kinds) return ng_head_eval_no_memory(e);
    memset(scores.kinds, 0, n * sizeof *scores.kinds);
    scores.sources = scores.kinds + e->labels.len;
    ng_status s = read_ids(e, &ids, SIZE_MAX / 16);
    for (size_t i = 0; !s && i < e->test.len; i++) s = add_text(e, &ids, i, &scores);
    ng_id_texts_clear(&ids);
    if (!s) put_spans(e, &scores);
    return s;
}

/* ---- pairs -------------------------------------------------------------------------------------- */

static ng_status pairs(ng_head_eval *e) {
    ng_id_texts ids = {0};
    ng_status s = read_ids(e, &ids, e->s->n_most);
    size_t n = e->test.len, width = e->s->head->width;
    float *v = ng_arena_array(e->arena, 2 * width, sizeof *v), *said = ng_arena_array(e->arena, n + 1, sizeof *said);
    float *gold = ng_arena_array(e->arena, n + 1, sizeof *gold);
    if (!s && (!v || !said || !gold)) s = ng_head_eval_no_memory(e);
    for (size_t i = 0; !s && i < n; i++) {
        const size_t *at = ids.begin + 2 * i;
        uint64_t start = ng_clock_ns();
        s = ng_session_encode(e->s->session, ids.ids + at[0], at[1] - at[0], v, e->err);
        if (!s) s = ng_head_eval_time(e, start);
        if (!s) s = ng_session_encode(e->s->session, ids.ids + at[1], at[2] - at[1], v + width, e->err);
        double dot = 0;
        for (size_t c = 0; !s && c < width; c++) dot += (double)v[c] * (double)v[width + c];
        said[i] = (float)dot; /* vectors have length 1 */
        gold[i] = e->test.items[i].score;
    }
    ng_id_texts_clear(&ids);
    if (s) return s;
    ng_head_eval_put(e, "texts", (double)n);
    ng_head_eval_put(e, "spearman", ng_spearman(said, gold, n));
    ng_head_eval_put_speed(e);
    return NG_OK;
}

ng_status ng_eval_spans(ng_eval_result *out, const char *path, const ng_encoder_subject *s, ng_error *err) {
    return ng_head_eval_run(out, path, s, NG_RECIPE_EXTRACT, spans, err);
}
ng_status ng_eval_pairs(ng_eval_result *out, const char *path, const ng_encoder_subject *s, ng_error *err) {
    return ng_head_eval_run(out, path, s, NG_RECIPE_EMBED, pairs, err);
}
