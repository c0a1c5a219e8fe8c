/* threshold.c: from a promise ("at most 2 % error") to a confidence.  See route.h.
 *
 * Sort the calibration set by confidence; for a threshold with k answers at or above it, e of them
 * wrong, ask: were the true error max_error or more, how probable would so few errors be?  The
 * lowest threshold where that is at most NG_CONTRACT_DOUBT is taken (the exact binomial test of
 * risk-controlling prediction sets: Bates et al. 2021, arXiv 2101.02703; Angelopoulos et al. 2021,
 * arXiv 2110.01052).
 *
 * Why not the smaller correction (e + 1) / (k + 1) <= max_error of conformal risk control: it
 * bounds the mean over many calibration sets, and an operator has one.  Why a doubt of 0.2 % and not
 * 10 %: an operator sees finite traffic, and `audit` wants a 95 % bound on other texts below the
 * promise.  At 10 % the realised error of random splits broke the promise in up to 8 of 20, at 0.2 % in
 * 12 of 400 at worst, for 2 to 12 points of coverage (docs/routing.md).  It also pays for looking at every threshold and taking the best.
 *
 * Ties are taken together: a threshold cannot cut through equal confidences.  With fewer than
 * ln(0.002) / ln(1 - max_error) scores (308 for 2 %) nothing can be promised, and no threshold is
 * given.
 *
 * Scores that tell kinds (of what a generator is asked) make the promise harder: at the threshold no kind that answers at all often
 * may break it by itself.  A promise about a mixture says nothing once people ask something else; one that every kind keeps holds
 * for whatever mixture of them comes. */
#include "route.h"
#include "scores.h"

#include "core/checked.h"
#include <math.h>
#include <stdlib.h>

enum { KINDS = 256, OFTEN = 10 /* answers of a kind that are counted against it */ };

typedef struct scored {
    float confidence;
    uint8_t correct, kind;
} scored;

typedef struct tally {
    size_t n, wrong;
    bool breaks;
} tally;

typedef struct counts {
    tally all, kind[KINDS];
    size_t n_breaking;
    double max_error;
} counts;

static int by_confidence(const void *a, const void *b) { /* the most confident first */
    float x = ((const scored *)a)->confidence, y = ((const scored *)b)->confidence;
    return (x < y) - (x > y);
}

static bool keeps(size_t k, size_t e, double max_error, double doubt) {
    return (double)e < max_error * (double)k && ng_binomial_tail(k, e, max_error) <= doubt;
}

static void count(counts *c, const scored *s, bool in) {
    tally *k = &c->kind[s->kind];
    size_t wrong = !s->correct;
    if (in) c->all.n++, k->n++, c->all.wrong += wrong, k->wrong += wrong;
    else c->all.n--, k->n--, c->all.wrong -= wrong, k->wrong -= wrong;
    bool breaks = k->n >= OFTEN && (double)k->wrong > c->max_error * (double)k->n;
    c->n_breaking = c->n_breaking + breaks - k->breaks;
    k->breaks = breaks;
}

ng_status ng_threshold_of(double *out, const ng_scores *set, double max_error, double doubt) {
    size_t bytes, len = 0;
    counts c = {.max_error = max_error};
    *out = INFINITY;
    if (set->n == 0) return NG_OK;
    if (!ng_mul_ok(&bytes, set->n, sizeof(scored))) return NG_ENOMEM;
    scored *s = malloc(bytes);
    if (!s) return NG_ENOMEM;
    for (size_t i = 0; i < set->n; i++) /* NaN has no place in an order; it promises nothing */
        if (!isnan(set->confidence[i]))
            s[len++] = (scored){set->confidence[i], set->correct[i], set->kind ? set->kind[i] : 0};
    qsort(s, len, sizeof *s, by_confidence);
    for (size_t i = 0; i < len; i++) count(&c, &s[i], true);
    for (size_t k = len; k > 0; count(&c, &s[--k], false)) { /* from the lowest threshold up */
        bool cuts_tie = k < len && !(s[k].confidence < s[k - 1].confidence);
        if (cuts_tie || (set->kind && c.n_breaking) || !keeps(k, c.all.wrong, max_error, doubt)) continue;
        *out = (double)s[k - 1].confidence;
        break;
    }
    free(s);
    return NG_OK;
}

ng_status ng_threshold_for(double *out, const float *confidence, const uint8_t *correct, size_t n,
                           double max_error, double doubt) {
    const ng_scores set = {.confidence = (float *)confidence, .correct = (uint8_t *)correct, .n = n};
    return ng_threshold_of(out, &set, max_error, doubt);
}

/* The least promise that some threshold keeps, to four digits: what an operator can ask for. */
static double least_error(const ng_scores *set) {
    double lo = 0, hi = 1, t;
    while (hi - lo > 5e-5) {
        double mid = (lo + hi) / 2;
        if (ng_threshold_of(&t, set, mid, NG_CONTRACT_DOUBT)) return NAN;
        if (isinf(t)) lo = mid;
        else hi = mid;
    }
    return hi;
}

ng_status ng_calibration_threshold(double *out, const char *model_path, double max_error,
                                   ng_error *err) {
    ng_scores set;
    *out = INFINITY;
    ng_status s = ng_scores_read(&set, model_path, "calibration", err);
    if (s) return s;
    if (ng_threshold_of(out, &set, max_error, NG_CONTRACT_DOUBT))
        s = ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    if (!s && isinf(*out)) {
        double least = least_error(&set);
        s = ng_fail(err, NG_EINVALID,
                    "max_error %g cannot be kept by any confidence: %zu calibration scores can "
                    "promise %.4f at best; raise max_error, or train with more calibration texts",
                    max_error, set.n, least);
    }
    ng_scores_clear(&set);
    return s;
}
