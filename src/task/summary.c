/* summary.c: chooses sentences by the model's score until the limits are reached.
 *
 * Greedy by score; a sentence that nearly repeats a chosen one (cosine over 0.7: wire reports quote
 * themselves) is passed over while others remain, and so is one that no longer fits max_tokens.  What
 * is chosen keeps the order of the text, since later sentences lean on earlier ones. */
#include "summary.h"

#include "text/words.h"
#include <stdlib.h>

enum { NEAR_COPIES_WATCHED = 32 }; /* comparisons are quadratic in what is chosen */
static const double near_copy = 0.7;

typedef struct ranked {
    double score;
    size_t index;
} ranked;

typedef struct choice {
    const ng_extractive_doc *doc;
    ranked *order; /* [doc->len] best first, so that a text of a million sentences stays linear */
    bool *chosen;
    size_t picks[NEAR_COPIES_WATCHED], n_picks, n_chosen, n_tokens;
} choice;

static int best_first(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool repeats(const choice *c, size_t i) {
    for (size_t k = 0; k < c->n_picks; k++)
        if (ng_extractive_similarity(c->doc, i, c->picks[k]) > near_copy) return true;
    return false;
}

static void choose(choice *c, size_t max_sentences, size_t max_tokens) {
    for (size_t k = 0; k < c->doc->len && c->n_chosen < max_sentences; k++) {
        size_t i = c->order[k].index, words = c->doc->sentences[i].n_words;
        if (words == 0 || (max_tokens && c->n_tokens + words > max_tokens) || repeats(c, i)) continue;
        c->chosen[i] = true;
        c->n_chosen++;
        c->n_tokens += words;
        if (c->n_picks < NEAR_COPIES_WATCHED) c->picks[c->n_picks++] = i;
    }
}

/* The best sentence that has words, in at most max_tokens of them. */
static ng_status cut_best(ng_buf *out, const choice *c, const char *text, const ng_span *spans,
                          const ng_summary_options *opt, bool *cut) {
    size_t k = 0, pos = 0, max_tokens = opt->max_tokens;
    bool done = false;
    while (k < c->doc->len && c->doc->sentences[c->order[k].index].n_words == 0) k++;
    if (k == c->doc->len) return NG_OK;
    const ng_span *best = &spans[c->order[k].index];
    const char *s = text + best->start;
    ng_word w = {0};
    *cut = true;
    if (opt->shortener) {
        ng_status st = ng_shorten(out, opt->shortener, s, best->end - best->start, max_tokens, &done, NULL);
        if (st || done) return st;
    }
    for (size_t n = 0; n < max_tokens; n++)
        if (!ng_word_next(s, best->end - best->start, &pos, &w)) break;
    return ng_buf_put(out, s, w.end);
}

static ng_status write_summary(ng_buf *out, choice *c, const char *text, const ng_span *spans,
                               const ng_summary_options *opt, bool *cut) {
    size_t n = c->doc->len, third = (n + 2) / 3;
    bool short_already = false;
    if (n == 1 && opt->shortener && !opt->max_tokens) {
        ng_status s = ng_shorten(out, opt->shortener, text + spans[0].start, spans[0].end - spans[0].start, 0,
                                 &short_already, NULL);
        if (s || short_already) return s;
    }
    size_t max = opt->max_sentences ? opt->max_sentences : opt->max_tokens ? n : third < 3 ? third : 3;
    choose(c, max, opt->max_tokens);
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (!c->chosen[i]) continue;
        if (!first) ng_buf_putc(out, ' ');
        ng_buf_put(out, text + spans[i].start, spans[i].end - spans[i].start);
        first = false;
    }
    if (first && opt->max_tokens) return cut_best(out, c, text, spans, opt, cut);
    return out->status;
}

/* Scores, and of the sentences that nobody looked at none. */
static ng_status judge_all(const ng_summary_judge *judge, const char *text, size_t len, const ng_span *spans,
                           const ng_extractive_doc *doc, double *scores, ng_error *err) {
    size_t n = doc->len < NG_SUMMARY_READ ? doc->len : NG_SUMMARY_READ;
    if (judge->model) return ng_extractive_score(judge->model, doc, scores), NG_OK;
    for (size_t i = n; i < doc->len; i++) scores[i] = -1;
    return ng_pair_score_sentences(judge->pairs, text, len, spans, n, scores, err);
}

ng_status ng_summarize(ng_buf *out, const ng_summary_judge *judge, const char *text, size_t len,
                       const ng_summary_options *opt, bool *cut, ng_error *err) {
    ng_span *spans;
    size_t n;
    ng_extractive_doc *doc = NULL;
    *cut = false;
    ng_status s = ng_sentences(text, len, &spans, &n, err);
    if (s) return s;
    s = ng_extractive_doc_new(&doc, text, spans, n, err);
    double *scores = calloc(n + 1, sizeof *scores);
    bool *chosen = calloc(n + 1, sizeof *chosen);
    ranked *order = calloc(n + 1, sizeof *order);
    if (!s && (!scores || !chosen || !order)) s = ng_fail(err, NG_ENOMEM, "summarize: out of memory");
    if (!s) s = judge_all(judge, text, len, spans, doc, scores, err);
    if (!s) {
        choice c = {.doc = doc, .order = order, .chosen = chosen};
        for (size_t i = 0; i < n; i++) order[i] = (ranked){scores[i], i};
        qsort(order, n, sizeof *order, best_first);
        s = write_summary(out, &c, text, spans, opt, cut);
        if (s == NG_ENOMEM) (void)ng_fail(err, s, "summarize: out of memory");
        else if (s) (void)ng_fail(err, s, "summarize: the summary does not fit %zu bytes", out->max);
    }
    free(order);
    free(chosen);
    free(scores);
    ng_extractive_doc_free(doc);
    free(spans);
    return s;
}
