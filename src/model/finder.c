/* finder.c: see finder.h.
 *
 * A chain of three states over the words of the passage: before the answer, in it, behind it; exactly one answer, within
 * one sentence.  A span's weight is exp(first + sum of inside + last); forward and backward passes give every word's
 * probability of standing in the answer (Lafferty et al. 2001, with three states written out).  Answered is the span of
 * the greatest expected F1 by these probabilities, not the likeliest one: a long answer of which half is sure is worth
 * its half.
 *
 * Whether the passage holds an answer at all, and whether the span is right, are two logistic regressions over a few
 * facts of passage and beliefs, fitted on stories that no weight has seen. */
#include "finder.h"

#include "core/math.h"
#include "gguf/gguf.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ng_finder {
    int8_t weights[NG_PASSAGE_BUCKETS][4];
    ng_rarity rarity;
    float answerable[NG_FOUND_FACTS + 1], right[NG_FOUND_FACTS + 1];
    float scale, threshold;
    size_t file_bytes;
};

/* ---- beliefs ------------------------------------------------------------------------------------ */

ng_status ng_beliefs_init(ng_beliefs *b, size_t len) {
    double *all = calloc(len + 1, (NG_FINDER_KINDS + 3) * sizeof *all);
    *b = (ng_beliefs){0};
    if (!all) return NG_ENOMEM;
    b->score = (double(*)[NG_FINDER_KINDS])(void *)all;
    b->before = all + NG_FINDER_KINDS * len;
    b->behind = b->before + len;
    b->inside = b->behind + len;
    return NG_OK;
}

void ng_beliefs_clear(ng_beliefs *b) {
    free(b->score);
    *b = (ng_beliefs){0};
}

static double log_add(double a, double b) {
    double hi = a > b ? a : b, lo = a > b ? b : a;
    return hi - lo > 40 ? hi : hi + ng_log(1 + ng_exp(lo - hi));
}

void ng_beliefs_pass(ng_beliefs *b, const ng_passage *p) {
    b->log_all = -1e30;
    for (size_t k = 0; k < p->n_sentences; k++) {
        const ng_passage_sentence *s = &p->sentences[k];
        for (size_t i = s->first; i < s->end; i++) {
            double start = b->score[i][NG_FINDER_FIRST];
            b->before[i] = b->score[i][NG_FINDER_INSIDE] + (i > s->first ? log_add(start, b->before[i - 1]) : start);
            b->log_all = log_add(b->log_all, b->before[i] + b->score[i][NG_FINDER_LAST]);
        }
        for (size_t i = s->end; i-- > s->first;) {
            double stop = b->score[i][NG_FINDER_LAST];
            b->behind[i] = i + 1 < s->end ? log_add(stop, b->score[i + 1][NG_FINDER_INSIDE] + b->behind[i + 1]) : stop;
        }
    }
    for (size_t i = 0; i < p->len; i++) b->inside[i] = ng_exp(b->before[i] + b->behind[i] - b->log_all);
}

double ng_beliefs_first(const ng_beliefs *b, size_t i) {
    return ng_exp(b->score[i][NG_FINDER_FIRST] + b->score[i][NG_FINDER_INSIDE] + b->behind[i] - b->log_all);
}

double ng_beliefs_last(const ng_beliefs *b, size_t i) {
    return ng_exp(b->before[i] + b->score[i][NG_FINDER_LAST] - b->log_all);
}

/* The chosen sentence's share of all belief, and how the names and words of the question stand in the passage. */
static void put_facts(const ng_beliefs *b, const ng_passage *p, ng_found *f) {
    const ng_passage_sentence *s = &p->sentences[p->words[f->first].sentence];
    const ng_passage_question *q = &p->question;
    double share = 0, surest = 0;
    for (size_t i = s->first; i < s->end; i++) share += ng_beliefs_first(b, i);
    for (size_t i = f->first; i <= f->last; i++) surest = fmax(surest, b->inside[i]);
    int names = 0, names_found = 0, words = 0;
    float best = 0, rarest = 0, rarest_found = 0;
    for (size_t k = 0; k < p->n_sentences; k++) best = fmaxf(best, p->sentences[k].cover);
    for (int i = 0; i < q->n; i++) {
        words += q->words[i].weight > 0;
        names += q->words[i].name, names_found += q->words[i].name && q->words[i].found;
        if (q->words[i].weight > rarest) rarest = q->words[i].weight, rarest_found = (float)q->words[i].found;
    }
    double log_words = ng_log(1 + (double)p->len);
    const double facts[NG_FOUND_FACTS] = {
        f->expected_f1, share, surest, (double)p->cover, (double)best, (double)s->cover, (double)p->cover * log_words / 5,
        names ? (double)names_found / names : 0.5, (double)rarest_found, log_words / 5, (double)(words < 8 ? words : 8) / 8,
        p->cover >= 0.999f,
    };
    for (size_t i = 0; i < NG_FOUND_FACTS; i++) f->facts[i] = (float)facts[i];
}

void ng_beliefs_choose(const ng_beliefs *b, const ng_passage *p, ng_found *out) {
    double expected = 0; /* words of the answer */
    *out = (ng_found){.expected_f1 = -1};
    if (!p->len) return;
    for (size_t i = 0; i < p->len; i++) expected += p->words[i].light ? 0 : b->inside[i];
    for (size_t k = 0; k < p->n_sentences; k++) {
        const ng_passage_sentence *s = &p->sentences[k];
        for (size_t i = s->first; i < s->end; i++) {
            double sure = 0;
            size_t n = 0;
            for (size_t j = i; j < s->end && j < i + NG_FINDER_SPAN_MAX; j++) {
                if (!p->words[j].light) sure += b->inside[j], n++;
                double f1 = n ? 2 * sure / ((double)n + expected) : 0;
                if (f1 > out->expected_f1) out->expected_f1 = f1, out->first = i, out->last = j;
            }
        }
    }
    out->start = p->words[out->first].start;
    out->end = p->words[out->last].end;
    put_facts(b, p, out);
}

double ng_found_odds(const ng_found *f, const float *weights) {
    double z = (double)weights[NG_FOUND_FACTS];
    for (size_t i = 0; i < NG_FOUND_FACTS; i++) z += (double)weights[i] * (double)f->facts[i];
    return z;
}

/* ---- the model ---------------------------------------------------------------------------------- */

static ng_status find_tensor(const void **out, const ng_gguf *g, const char *name, ng_type type, uint64_t n,
                             ng_error *err) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(g, name);
    *out = t ? t->data : NULL;
    if (t && t->type == type && t->n_dims == 1 && t->dims[0] == n) return NG_OK;
    return ng_fail(err, NG_EFORMAT, "%s: tensor %s must be %s [%llu]", ng_gguf_path(g), name,
                   ng_type_get_info(type).name, (unsigned long long)n);
}

static ng_status take_floats(float *out, const ng_gguf *g, const char *name, ng_error *err) {
    const void *data;
    ng_status s = find_tensor(&data, g, name, NG_TYPE_F32, NG_FOUND_FACTS + 1, err);
    if (s) return s;
    memcpy(out, data, (NG_FOUND_FACTS + 1) * sizeof *out);
    for (size_t i = 0; i <= NG_FOUND_FACTS; i++)
        if (!isfinite(out[i])) return ng_fail(err, NG_EFORMAT, "%s: %s[%zu] is no number", ng_gguf_path(g), name, i);
    return NG_OK;
}

static ng_status read_model(ng_finder *m, const ng_gguf *g, ng_error *err) {
    const char *path = ng_gguf_path(g);
    const void *weights, *rarity;
    uint32_t version;
    ng_status s = ng_gguf_get_u32(g, "nanogrid.finder.version", &version, err);
    if (!s && version != 1)
        s = ng_fail(err, NG_EUNSUPPORTED, "%s: finder version %u; this program knows 1", path, version);
    if (!s) s = ng_gguf_get_f32(g, "nanogrid.finder.scale", &m->scale, err);
    if (!s) s = ng_gguf_get_f32(g, "nanogrid.finder.threshold", &m->threshold, err);
    if (s) return s;
    if (!isfinite(m->scale) || fabsf(m->scale) > 1e3f || !isfinite(m->threshold))
        return ng_fail(err, NG_EFORMAT, "%s: nanogrid.finder.scale and .threshold must be numbers", path);
    s = find_tensor(&weights, g, "finder.weights", NG_TYPE_I8, sizeof m->weights, err);
    if (!s) s = find_tensor(&rarity, g, "finder.rarity", NG_TYPE_I8, sizeof m->rarity, err);
    if (!s) s = take_floats(m->answerable, g, "finder.answerable", err);
    if (!s) s = take_floats(m->right, g, "finder.right", err);
    if (s) return s;
    memcpy(m->weights, weights, sizeof m->weights);
    memcpy(&m->rarity, rarity, sizeof m->rarity);
    m->file_bytes = ng_gguf_file_bytes(g);
    return NG_OK;
}

ng_status ng_finder_open(ng_finder **out, const char *path, ng_error *err) {
    ng_gguf *g;
    *out = NULL;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    ng_finder *m = calloc(1, sizeof *m);
    s = m ? read_model(m, g, err) : ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_gguf_close(g);
    if (s) free(m);
    else *out = m;
    return s;
}

void ng_finder_close(ng_finder *m) { free(m); }
const ng_rarity *ng_finder_rarity(const ng_finder *m) { return &m->rarity; }
size_t ng_finder_file_bytes(const ng_finder *m) { return m->file_bytes; }

static void score(const ng_finder *m, const ng_passage *p, ng_beliefs *b) {
    uint16_t f[NG_PASSAGE_FEATURES_MAX];
    for (size_t i = 0; i < p->len; i++) {
        int32_t sum[NG_FINDER_KINDS] = {0};
        size_t n = ng_passage_features(p, i, f);
        for (size_t k = 0; k < n; k++)
            for (size_t c = 0; c < NG_FINDER_KINDS; c++) sum[c] += m->weights[f[k]][c];
        for (size_t c = 0; c < NG_FINDER_KINDS; c++) b->score[i][c] = (double)sum[c] * (double)m->scale;
    }
}

ng_status ng_finder_find(const ng_finder *m, const ng_passage *p, ng_found *out, ng_error *err) {
    ng_beliefs b;
    *out = (ng_found){0};
    if (!p->len) return NG_OK;
    if (ng_beliefs_init(&b, p->len)) return ng_fail(err, NG_ENOMEM, "answer: out of memory for %zu words", p->len);
    score(m, p, &b);
    ng_beliefs_pass(&b, p);
    ng_beliefs_choose(&b, p, out);
    ng_beliefs_clear(&b);
    out->p_answerable = ng_sigmoid(ng_found_odds(out, m->answerable));
    out->p_right = ng_sigmoid(ng_found_odds(out, m->right));
    out->answerable = out->p_answerable >= (double)m->threshold;
    return NG_OK;
}
