/* pair_rows.c: see pair_rows.h. */
#include "pair_rows.h"

#include "core/hash.h"
#include "model/summary_input.h"
#include "text/sentence.h"
#include "train/finder_data.h"
#include "train/summary_data.h"
#include <nanogrid/buf.h>
#include <stdlib.h>
#include <string.h>

enum { CANDIDATES_MAX = 512, RELEVANT_MAX = 2 };
static const double NEARLY_BEST = 0.9;

typedef struct candidate {
    size_t start, end; /* of the passage or document */
    uint64_t hash;
    bool good;
} candidate;

typedef struct making {
    const ng_source *source;
    ng_row_fn *row;
    void *ctx;
    ng_error *err;
    ng_arena *arena;
    candidate items[CANDIDATES_MAX];
    size_t n, n_good;
} making;

static ng_status no_memory(const making *m) { return ng_fail(m->err, NG_ENOMEM, "%s: out of memory", m->source->file); }

static int by_hash(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static int by_place(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* All good ones and at most `most` others (0: all), in the order of the text. */
static void thin_out(making *m, size_t most) {
    size_t n = 0, others = 0;
    if (!most) return;
    qsort(m->items, m->n, sizeof *m->items, by_hash);
    for (size_t i = 0; i < m->n; i++)
        if (m->items[i].good || others++ < most) m->items[n++] = m->items[i];
    m->n = n;
    qsort(m->items, m->n, sizeof *m->items, by_place);
}

static ng_status put_row(const making *m, const char *a, size_t a_len, const char *b, size_t b_len, const char *label) {
    ng_row row = {a, label, b, a_len, strlen(label), b_len, 0};
    return m->row(m->ctx, &row, m->err);
}

/* ---- questions ---------------------------------------------------------------------------------- */

/* Windows of `size` sentences. */
static ng_status cut_windows(making *m, const ng_finder_example *e, size_t size) {
    ng_span *spans;
    size_t n;
    ng_status s = ng_sentences(e->passage, e->passage_len, &spans, &n, m->err);
    if (s) return s;
    m->n = m->n_good = 0;
    for (size_t i = 0; i < n && m->n < CANDIDATES_MAX; i += size) {
        size_t last = i + size < n ? i + size - 1 : n - 1;
        candidate c = {spans[i].start, spans[last].end, 0, false};
        c.hash = ng_hash64(e->passage + c.start, c.end - c.start, ng_text_hash(e->question, strlen(e->question)));
        m->items[m->n++] = c;
    }
    free(spans);
    return NG_OK;
}

static void mark_answers(making *m, const ng_finder_example *e) {
    size_t start, end;
    for (size_t a = 0; a < e->n_answers; a++)
        for (size_t k = 0; ng_answer_place(e, a, k, &start, &end); k++)
            for (size_t i = 0; i < m->n; i++)
                if (!m->items[i].good && start < m->items[i].end && end > m->items[i].start)
                    m->items[i].good = true, m->n_good++;
}

static ng_status put_question(making *m, const ng_finder_example *e, const ng_finder_example *elsewhere) {
    size_t others = (size_t)m->source->others, len = strlen(e->question);
    uint64_t hash = ng_hash_mix(ng_text_hash(e->question, len));
    ng_status s = cut_windows(m, e, 1 + hash % 3);
    if (s) return s;
    mark_answers(m, e);
    if (!m->n_good || m->n_good > RELEVANT_MAX || m->n_good == m->n) return NG_OK;
    thin_out(m, others > 1 ? others - 1 : others);
    for (size_t i = 0; !s && i < m->n; i++)
        s = put_row(m, e->question, len, e->passage + m->items[i].start, m->items[i].end - m->items[i].start,
                    m->items[i].good ? NG_PAIR_RELEVANT : NG_PAIR_OTHER);
    if (s || others < 2) return s;
    if ((s = cut_windows(m, elsewhere, 1 + hash % 3)) || !m->n) return s;
    const candidate *c = &m->items[(hash >> 8) % m->n];
    return put_row(m, e->question, len, elsewhere->passage + c->start, c->end - c->start, NG_PAIR_OTHER);
}

static ng_status make_questions(making *m) {
    ng_finder_source src = {m->source->file, m->source->text, m->source->label, m->source->second, m->source->stories};
    ng_config_list list = {&src, 1};
    ng_finder_examples e;
    ng_status s = ng_finder_examples_read(&e, &list, m->arena, m->err);
    if (s) return s;
    uint32_t *others = ng_finder_others(&e, 1, m->arena);
    if (!others) s = no_memory(m);
    for (size_t i = 0; !s && i < e.len; i++)
        if (e.items[i].literal) s = put_question(m, &e.items[i], &e.items[others[i]]);
    free(e.items);
    return s;
}

/* ---- documents ---------------------------------------------------------------------------------- */

static ng_status judge_sentences(making *m, const ng_summary_doc *d) {
    double score[CANDIDATES_MAX], best = 0, f[3];
    m->n = m->n_good = 0;
    for (size_t i = 0; i < d->n && m->n < CANDIDATES_MAX; i++) {
        candidate c = {d->spans[i].start, d->spans[i].end,
                       ng_hash64(d->text + d->spans[i].start, d->spans[i].end - d->spans[i].start, 1), false};
        if (ng_summary_rouge(f, d, d->text + c.start, c.end - c.start)) return no_memory(m);
        score[m->n] = f[0] + f[1];
        best = score[m->n] > best ? score[m->n] : best;
        m->items[m->n++] = c;
    }
    for (size_t i = 0; i < m->n; i++)
        m->items[i].good = best > 0 && score[i] >= NEARLY_BEST * best, m->n_good += m->items[i].good;
    return NG_OK;
}

static ng_status put_document(making *m, const ng_summary_doc *d) {
    ng_buf sentence = ng_buf_init(1 << 20);
    ng_status s = judge_sentences(m, d);
    size_t all = m->n, len = strlen(d->text);
    if (s || !m->n_good || m->n_good == m->n) return s;
    for (size_t i = 0; i < m->n; i++) m->items[i].start = i, m->items[i].end = i; /* by number from here on */
    thin_out(m, (size_t)m->source->others);
    for (size_t i = 0; !s && i < m->n; i++) {
        const ng_span *at = &d->spans[m->items[i].start];
        if (at->end == at->start) continue;
        s = ng_summary_sentence(&sentence, m->items[i].start, all, d->text + at->start, at->end - at->start);
        s = s ? no_memory(m)
              : put_row(m, sentence.data, sentence.len, d->text, len,
                        m->items[i].good ? NG_PAIR_SUMMARY : NG_PAIR_OTHER);
    }
    ng_buf_clear(&sentence);
    return s;
}

static ng_status make_documents(making *m) {
    ng_summary_source src = {m->source->file, m->source->text, m->source->label, m->source->every};
    ng_config_list list = {&src, 1};
    ng_summary_docs d;
    ng_status s = ng_summary_docs_read(&d, &list, m->arena, m->err);
    if (s) return s;
    for (size_t i = 0; !s && i < d.len; i++) s = put_document(m, &d.items[i]);
    free(d.items);
    return s;
}

ng_status ng_pair_rows_make(const ng_source *s, ng_row_fn *row, void *ctx, ng_error *err) {
    making *m = calloc(1, sizeof *m);
    if (!m || ng_arena_new(&m->arena, 1 << 20)) {
        free(m);
        return ng_fail(err, NG_ENOMEM, "%s: out of memory", s->file);
    }
    m->source = s, m->row = row, m->ctx = ctx, m->err = err;
    ng_status st = s->format == NG_FORMAT_QUESTIONS ? make_questions(m) : make_documents(m);
    ng_arena_free(m->arena);
    free(m);
    return st;
}
