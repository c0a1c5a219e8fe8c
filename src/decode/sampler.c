/* sampler.c: penalties, truncation, temperature and the draw.  See sampler.h.
 *
 * Candidates stand in one total order, (greater logit, then lower id), so equal logits cannot make
 * two machines differ.  Truncation never sorts the vocabulary: top_k keeps a bounded heap, and top_p
 * and min_p both keep a prefix of the order, which is popped off a heap only as far as it reaches.
 *
 * top_p: Holtzman et al. 2020; min_p: Nguyen et al. 2024; the repeat penalty: Keskar et al. 2019
 * (CTRL), divided where the logit is positive and multiplied where it is not. */
#include "sampler.h"

#include "core/math.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

ng_status ng_sampler_init(ng_sampler *s, const ng_generate_options *o, size_t n_vocab, ng_error *err) {
    *s = (ng_sampler){.temp = o->temp,
                      .top_p = o->top_p,
                      .min_p = o->min_p,
                      .repeat = o->repeat_penalty,
                      .frequency = o->frequency_penalty,
                      .presence = o->presence_penalty,
                      .top_k = o->top_k && o->top_k < n_vocab ? o->top_k : n_vocab,
                      .n_vocab = n_vocab,
                      .rng = ng_rng_seed(o->seed)};
    bool penalties = o->repeat_penalty != 1 || o->frequency_penalty != 0 || o->presence_penalty != 0;
    bool ok = true;
    if (penalties || s->temp > 0) ok = (s->work = calloc(n_vocab, sizeof *s->work)) != NULL;
    if (s->temp > 0) ok = (s->cand = calloc(n_vocab, sizeof *s->cand)) && ok;
    if (penalties) {
        s->count = calloc(n_vocab, sizeof *s->count);
        s->seen = calloc(n_vocab, sizeof *s->seen);
        s->seen_ids = calloc(n_vocab, sizeof *s->seen_ids);
        ok = ok && s->count && s->seen && s->seen_ids;
    }
    if (ok) return NG_OK;
    ng_sampler_clear(s);
    return ng_fail(err, NG_ENOMEM, "sampler: out of memory for a vocabulary of %zu", n_vocab);
}

void ng_sampler_clear(ng_sampler *s) {
    free(s->work);
    free(s->cand);
    free(s->count);
    free(s->seen);
    free(s->seen_ids);
    *s = (ng_sampler){0};
}

void ng_sampler_see(ng_sampler *s, int32_t id) {
    if (!s->seen || s->seen[id]) return;
    s->seen[id] = true;
    s->seen_ids[s->n_seen++] = id;
}

void ng_sampler_accept(ng_sampler *s, int32_t id) {
    ng_sampler_see(s, id);
    if (s->count) s->count[id]++;
}

static void penalise(const ng_sampler *s, float *logits) {
    for (size_t i = 0; i < s->n_seen; i++) {
        int32_t id = s->seen_ids[i];
        float x = logits[id];
        x = x > 0 ? x / s->repeat : x * s->repeat;
        x -= (float)s->count[id] * s->frequency;
        if (s->count[id]) x -= s->presence;
        logits[id] = x;
    }
}

static size_t argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static bool better(ng_candidate a, ng_candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* Restores the heap below `at`; `best` chooses whether the best or the worst stands on top. */
static void sift(ng_candidate *h, size_t n, size_t at, bool best) {
    ng_candidate v = h[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && better(h[child + 1], h[child]) == best) child++;
        if (better(h[child], v) != best) break;
        h[at] = h[child];
    }
    h[at] = v;
}

static void heapify(ng_candidate *h, size_t n, bool best) {
    for (size_t i = n / 2; i-- > 0;) sift(h, n, i, best);
}

/* The candidates: the top_k best, in heap order with the worst on top, or without top_k every one
 * that min_p can keep, by id.  Returns how many. */
static size_t gather(const ng_sampler *s, const float *logits, float floor) {
    ng_candidate *h = s->cand;
    size_t k = s->top_k, n = 0;
    if (k == s->n_vocab) {
        for (size_t i = 0; i < k; i++)
            if (logits[i] >= floor) h[n++] = (ng_candidate){logits[i], (int32_t)i};
        return n;
    }
    for (size_t i = 0; i < k; i++) h[i] = (ng_candidate){logits[i], (int32_t)i};
    heapify(h, k, false);
    for (size_t i = k; i < s->n_vocab; i++) {
        if (!(logits[i] > h[0].logit)) continue; /* equal: the lower id is already in */
        h[0] = (ng_candidate){logits[i], (int32_t)i};
        sift(h, k, 0, false);
    }
    return k;
}

/* Moves the best of h[0..n) to h[n-1]. */
static void pop(ng_candidate *h, size_t n) {
    ng_candidate top = h[0];
    h[0] = h[n - 1];
    h[n - 1] = top;
    sift(h, n - 1, 0, true);
}

/* top_p's share of the mass of all candidates, as a multiple of e^max; +inf when it is off. */
static double mass_wanted(const ng_sampler *s, const float *logits, size_t n, float max) {
    if (s->top_p >= 1) return INFINITY;
    double z = 0;
    if (s->top_k == s->n_vocab) z = ng_exp_sum(NULL, logits, s->n_vocab, max, 1);
    else
        for (size_t i = 0; i < n; i++) z += ng_exp((double)s->cand[i].logit - (double)max);
    return z * (double)s->top_p;
}

/* Keeps the prefix of the order that top_p and min_p leave, as the tail h[result..n), best last. */
static size_t keep_prefix(const ng_sampler *s, size_t n, float floor, float max, double wanted) {
    ng_candidate *h = s->cand;
    double kept = 0;
    heapify(h, n, true);
    size_t begin = n;
    do {
        pop(h, begin--);
        if (isfinite(wanted)) kept += ng_exp((double)h[begin].logit - (double)max);
    } while (begin && kept < wanted && h[0].logit >= floor);
    return begin;
}

/* Draws from h[begin..end); the weights are relative to the best logit, so the greatest is 1. */
static int32_t draw(ng_sampler *s, size_t begin, size_t end, float max) {
    const ng_candidate *h = s->cand;
    double sum = 0, inverse = 1 / (double)s->temp;
    for (size_t i = end; i-- > begin;) sum += ng_exp(((double)h[i].logit - (double)max) * inverse);
    double left = ng_rng_unit(&s->rng) * sum;
    for (size_t i = end; i-- > begin;) {
        left -= ng_exp(((double)h[i].logit - (double)max) * inverse);
        if (left < 0) return h[i].id;
    }
    return h[begin].id; /* rounding ate the last sliver */
}

/* The same over the whole vocabulary, by id; logits become weights. */
static int32_t draw_all(ng_sampler *s, float *logits, size_t best, float max) {
    double sum = ng_exp_sum(logits, logits, s->n_vocab, max, 1 / s->temp);
    double left = ng_rng_unit(&s->rng) * sum;
    for (size_t i = 0; i < s->n_vocab; i++) {
        left -= (double)logits[i];
        if (left < 0) return (int32_t)i;
    }
    return (int32_t)best;
}

int32_t ng_sampler_pick(ng_sampler *s, const float *given, const ng_distribution *d) {
    if (!s->work) return d->best;
    float *logits = s->work;
    memcpy(logits, given, s->n_vocab * sizeof *logits);
    if (s->n_seen) penalise(s, logits);
    size_t best = s->n_seen ? argmax(logits, s->n_vocab) : (size_t)d->best;
    if (!(s->temp > 0)) return (int32_t)best;
    float max = logits[best];
    float floor = s->min_p > 0 ? max + ng_logf(s->min_p) : -INFINITY;
    bool all = s->top_k == s->n_vocab;
    if (all && s->top_p >= 1 && !(s->min_p > 0)) return draw_all(s, logits, best, max);
    size_t n = gather(s, logits, floor), begin = 0;
    if (s->top_p < 1 || (!all && s->min_p > 0))
        begin = keep_prefix(s, n, floor, max, mass_wanted(s, logits, n, max));
    return draw(s, begin, n, max);
}
