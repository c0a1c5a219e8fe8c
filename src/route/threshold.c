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
 * given. */
#include "route.h"
#include "scores.h"

#include "core/checked.h"
#include <math.h>
#include <stdlib.h>

typedef struct scored {
    float confidence;
    uint8_t correct;
} scored;

static int by_confidence(const void *a, const void *b) { /* the most confident first */
    float x = ((const scored *)a)->confidence, y = ((const scored *)b)->confidence;
    return (x < y) - (x > y);
}

static bool keeps(size_t k, size_t e, double max_error, double doubt) {
    return (double)e < max_error * (double)k && ng_binomial_tail(k, e, max_error) <= doubt;
}

ng_status ng_threshold_for(double *out, const float *confidence, const uint8_t *correct, size_t n,
                           double max_error, double doubt) {
    size_t bytes, wrong = 0, len = 0;
    *out = INFINITY;
    if (n == 0) return NG_OK;
    if (!ng_mul_ok(&bytes, n, sizeof(scored))) return NG_ENOMEM;
    scored *s = malloc(bytes);
    if (!s) return NG_ENOMEM;
    for (size_t i = 0; i < n; i++) /* NaN has no place in an order; it promises nothing */
        if (!isnan(confidence[i])) s[len++] = (scored){confidence[i], correct[i]};
    qsort(s, len, sizeof *s, by_confidence);
    for (size_t i = 0; i < len; i++) wrong += !s[i].correct;
    for (size_t k = len; k > 0; wrong -= !s[--k].correct) { /* from the lowest threshold up */
        bool cuts_tie = k < len && !(s[k].confidence < s[k - 1].confidence);
        if (cuts_tie || !keeps(k, wrong, max_error, doubt)) continue;
        *out = (double)s[k - 1].confidence;
        break;
    }
    free(s);
    return NG_OK;
}

/* The least promise that some threshold keeps, to four digits: what an operator can ask for. */
static double least_error(const ng_scores *set) {
    double lo = 0, hi = 1, t;
    while (hi - lo > 5e-5) {
        double mid = (lo + hi) / 2;
        if (ng_threshold_for(&t, set->confidence, set->correct, set->n, mid, NG_CONTRACT_DOUBT)) return NAN;
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
    if (ng_threshold_for(out, set.confidence, set.correct, set.n, max_error, NG_CONTRACT_DOUBT))
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
