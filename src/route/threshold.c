/* threshold.c: from a promise ("at most 2 % error") to a confidence.  See route.h.
 *
 * Sort the calibration set by confidence; for a threshold with k answers at or above it, e of them
 * wrong, ask: were the true error max_error or more, how probable would so few errors be?  The
 * lowest threshold where that is at most 10 % is taken (the exact binomial test of risk-controlling
 * prediction sets: Bates et al. 2021, arXiv 2101.02703; Angelopoulos et al. 2021, arXiv
 * 2110.01052).
 *
 * Why not the smaller correction (e + 1) / (k + 1) <= max_error of conformal risk control: it
 * bounds the mean over many calibration sets, and an operator has one.  On CLINC150 (1,483 scores)
 * it promised 2 % and kept 2.7 % on the test set.  Ties are taken together: a threshold cannot cut
 * through equal confidences.  With fewer than ln(0.1) / ln(1 - max_error) scores (114 for 2 %)
 * nothing can be promised, and no threshold is given. */
#include "route.h"

#include "core/checked.h"
#include "core/math.h"
#include "gguf/gguf.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct scored {
    float confidence;
    uint8_t correct;
} scored;

static int by_confidence(const void *a, const void *b) { /* the most confident first */
    float x = ((const scored *)a)->confidence, y = ((const scored *)b)->confidence;
    return (x < y) - (x > y);
}

static const double DOUBT = 0.1; /* probability with which a promise may be broken by bad luck */

/* P(X <= e) for X ~ Bin(k, p), summed from the largest term down, which is e's since e < k p. */
static double binomial_tail(size_t k, size_t e, double p) {
    double log_term = (double)(k - e) * ng_log(1 - p) + (double)e * ng_log(p);
    for (size_t j = 1; j <= e; j++) log_term += ng_log((double)(k - j + 1) / (double)j);
    double term = ng_exp(log_term), sum = term;
    for (size_t i = e; i > 0 && term > sum * 1e-12; i--) {
        term *= (double)i / (double)(k - i + 1) * (1 - p) / p;
        sum += term;
    }
    return sum;
}

static bool keeps(size_t k, size_t e, double max_error) {
    return (double)e < max_error * (double)k && binomial_tail(k, e, max_error) <= DOUBT;
}

ng_status ng_threshold_for(double *out, const float *confidence, const uint8_t *correct, size_t n,
                           double max_error) {
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
        if (cuts_tie || !keeps(k, wrong, max_error)) continue;
        *out = (double)s[k - 1].confidence;
        break;
    }
    free(s);
    return NG_OK;
}

static ng_status from_gguf(double *out, const ng_gguf *g, double max_error, ng_error *err) {
    ng_gguf_array conf, correct;
    ng_status s = ng_gguf_get_array(g, "nanogrid.calibration.confidence", &conf, err);
    if (!s) s = ng_gguf_get_array(g, "nanogrid.calibration.correct", &correct, err);
    if (s) return s;
    if (conf.kind == NG_GGUF_STRING || correct.kind == NG_GGUF_STRING || conf.len != correct.len)
        return ng_fail(err, NG_EFORMAT,
                       "%s: the calibration set holds %zu confidences and %zu marks",
                       ng_gguf_path(g), conf.len, correct.len);
    float *c = calloc(conf.len + 1, sizeof *c);
    uint8_t *y = calloc(conf.len + 1, 1);
    s = c && y ? NG_OK : ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    for (size_t i = 0; !s && i < conf.len; i++) {
        c[i] = (float)ng_gguf_array_num(&conf, i);
        y[i] = ng_gguf_array_num(&correct, i) > 0;
    }
    if (!s && ng_threshold_for(out, c, y, conf.len, max_error))
        s = ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    free(c);
    free(y);
    return s;
}

/* NG_ENOTFOUND: the file is not there or holds no calibration set. */
static ng_status from_file(double *out, const char *path, double max_error, ng_error *err) {
    ng_gguf *g;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    if (ng_gguf_has(g, "nanogrid.calibration.confidence")) s = from_gguf(out, g, max_error, err);
    else s = ng_fail(err, NG_ENOTFOUND, "%s holds no calibration set", path);
    ng_gguf_close(g);
    return s;
}

ng_status ng_calibration_threshold(double *out, const char *model_path, double max_error,
                                   ng_error *err) {
    char beside[4096];
    ng_error ignored = {0};
    *out = INFINITY;
    const char *slash = strrchr(model_path, '/');
    int n = snprintf(beside, sizeof beside, "%.*sscores.gguf",
                     (int)(slash ? slash - model_path + 1 : 0), model_path);
    ng_status s = from_file(out, model_path, max_error, &ignored);
    if (s == NG_ENOTFOUND && n > 0 && (size_t)n < sizeof beside) {
        ignored = (ng_error){0};
        s = from_file(out, beside, max_error, &ignored);
    }
    if (s == NG_ENOTFOUND)
        return ng_fail(err, NG_ENOTFOUND,
                       "%s has no calibration set, so no contract can be kept; "
                       "train it with a calibration split",
                       model_path);
    return s ? ng_fail(err, s, "%s", ignored.text) : NG_OK;
}
