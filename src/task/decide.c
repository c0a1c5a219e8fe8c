/* decide.c: see decide.h. */
#include "decide.h"

#include <string.h>

enum { SCORES_DEFAULT = 5 };

/* The best `want` labels, best first; of equal ones the earlier label. */
static size_t best_labels(const ng_decider *d, const float *p, size_t want, ng_score *out) {
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++) {
        if (n == want && !(p[i] > out[n - 1].p)) continue;
        size_t at = n < want ? n++ : n - 1;
        for (; at > 0 && p[i] > out[at - 1].p; at--) out[at] = out[at - 1];
        out[at] = (ng_score){d->label[i], p[i]};
    }
    return n;
}

/* Labels belong to the model, which may be closed before the answer: they are copied. */
static ng_status own_labels(ng_answer *a, ng_score *scores, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(scores[i].label = ng_answer_strndup(a, scores[i].label, strlen(scores[i].label)))) return NG_ENOMEM;
    return NG_OK;
}

static ng_status decide_one(const ng_decider *d, const float *p, size_t want, ng_answer *a) {
    if (want > d->n) want = d->n;
    a->scores = ng_answer_alloc(a, want * sizeof *a->scores);
    if (!a->scores) return NG_ENOMEM;
    a->n_scores = best_labels(d, p, want, a->scores);
    if (own_labels(a, a->scores, a->n_scores)) return NG_ENOMEM;
    a->in_scope = (d->scope ? *d->scope : a->scores[0].p) >= d->oos_threshold;
    a->label = a->in_scope ? a->scores[0].label : NULL;
    if (d->calibrated) a->confidence = (double)a->scores[0].p;
    return NG_OK;
}

static ng_status decide_each(const ng_decider *d, const float *p, ng_answer *a) {
    float top = 0; /* the greatest probability among the labels that decide */
    a->categories = ng_answer_alloc(a, d->n * sizeof *a->categories);
    if (!a->categories) return NG_ENOMEM;
    a->n_categories = d->n;
    for (size_t i = 0; i < d->n; i++) {
        bool holds = p[i] >= (d->threshold ? d->threshold[i] : 0.5f);
        a->categories[i] = (ng_score){d->label[i], p[i]};
        if (holds && !a->flagged) top = 0;
        a->flagged |= holds;
        if (holds == a->flagged && p[i] > top) top = p[i];
    }
    if (d->calibrated) a->confidence = a->flagged ? (double)top : 1 - (double)top;
    return own_labels(a, a->categories, d->n);
}

ng_status ng_decide(const ng_decider *d, const float *p, size_t top_k, ng_answer *a) {
    return d->each ? decide_each(d, p, a) : decide_one(d, p, top_k ? top_k : SCORES_DEFAULT, a);
}
