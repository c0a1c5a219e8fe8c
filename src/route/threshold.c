/* threshold.c: from a promise ("at most 2 % error") to a confidence.  See route.h.
 *
 * Sort the calibration set by confidence, walk down from the most confident and keep the lowest
 * confidence whose bound (e + 1) / (k + 1) still keeps the promise.  Ties are taken together: a
 * threshold cannot cut through equal confidences.  Why +1: the next, unseen request may be wrong; with
 * exchangeable data the corrected mean bounds the expected error (conformal risk control).  With fewer
 * than 1/max_error - 1 scores no threshold can keep the promise, and none is given. */
#include "route.h"

#include "core/checked.h"
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

ng_status ng_threshold_for(double *out, const float *confidence, const uint8_t *correct, size_t n,
                           double max_error) {
    size_t bytes;
    *out = INFINITY;
    if (n == 0) return NG_OK;
    if (!ng_mul_ok(&bytes, n, sizeof(scored))) return NG_ENOMEM;
    scored *s = malloc(bytes);
    if (!s) return NG_ENOMEM;
    size_t len = 0;
    for (size_t i = 0; i < n; i++) /* NaN has no place in an order; it promises nothing */
        if (!isnan(confidence[i])) s[len++] = (scored){confidence[i], correct[i]};
    qsort(s, len, sizeof *s, by_confidence);
    size_t wrong = 0;
    for (size_t k = 0; k < len; k++) {
        wrong += !s[k].correct;
        if (k + 1 < len && !(s[k + 1].confidence < s[k].confidence)) continue;
        if ((double)(wrong + 1) / (double)(k + 2) <= max_error) *out = (double)s[k].confidence;
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
        return ng_fail(err, NG_EFORMAT, "%s: the calibration set holds %zu confidences and %zu marks",
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
        return ng_fail(err, NG_ENOTFOUND, "%s has no calibration set, so no contract can be kept; "
                                          "train it with a calibration split", model_path);
    return s ? ng_fail(err, s, "%s", ignored.text) : NG_OK;
}
