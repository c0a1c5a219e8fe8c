/* scores.c: reads labelled scores and bounds error rates.  See scores.h.
 *
 * Bounds are the exact binomial ones (Clopper and Pearson 1934), found by bisection on the tail:
 * no table, no normal approximation, which is too kind exactly where contracts live (few errors). */
#include "scores.h"

#include "core/math.h"
#include "gguf/gguf.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ng_scores_clear(ng_scores *s) {
    free(s->confidence);
    free(s->correct);
    free(s->kind);
    *s = (ng_scores){0};
}

static ng_status take_arrays(ng_scores *out, const ng_gguf *g, const char *set, ng_error *err) {
    char conf_key[64], mark_key[64];
    ng_gguf_array conf, marks;
    snprintf(conf_key, sizeof conf_key, "nanogrid.%s.confidence", set);
    snprintf(mark_key, sizeof mark_key, "nanogrid.%s.correct", set);
    if (!ng_gguf_has(g, conf_key))
        return ng_fail(err, NG_ENOTFOUND, "%s holds no %s set", ng_gguf_path(g), set);
    ng_status s = ng_gguf_get_array(g, conf_key, &conf, err);
    if (!s) s = ng_gguf_get_array(g, mark_key, &marks, err);
    if (s) return s;
    if (conf.kind == NG_GGUF_STRING || marks.kind == NG_GGUF_STRING || conf.len != marks.len)
        return ng_fail(err, NG_EFORMAT, "%s: the %s set holds %zu confidences and %zu marks",
                       ng_gguf_path(g), set, conf.len, marks.len);
    out->confidence = calloc(conf.len + 1, sizeof *out->confidence);
    out->correct = calloc(conf.len + 1, 1);
    if (!out->confidence || !out->correct) return ng_fail(err, NG_ENOMEM, "scores: out of memory");
    out->n = conf.len;
    for (size_t i = 0; i < conf.len; i++) {
        out->confidence[i] = (float)ng_gguf_array_num(&conf, i);
        out->correct[i] = ng_gguf_array_num(&marks, i) > 0;
    }
    return NG_OK;
}

static ng_status take_kinds(ng_scores *out, const ng_gguf *g, const char *set, ng_error *err) {
    char key[64];
    ng_gguf_array kinds;
    snprintf(key, sizeof key, "nanogrid.%s.kind", set);
    if (!ng_gguf_has(g, key)) return NG_OK;
    ng_status s = ng_gguf_get_array(g, key, &kinds, err);
    if (s) return s;
    if (kinds.kind != NG_GGUF_U8 || kinds.len != out->n)
        return ng_fail(err, NG_EFORMAT, "%s: the %s set holds %zu confidences and %zu kinds", ng_gguf_path(g), set,
                       out->n, kinds.len);
    if (!(out->kind = calloc(out->n + 1, 1))) return ng_fail(err, NG_ENOMEM, "scores: out of memory");
    if (out->n) memcpy(out->kind, kinds.data, out->n);
    return NG_OK;
}

static ng_status from_file(ng_scores *out, const char *path, const char *set, ng_error *err) {
    ng_gguf *g;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    s = take_arrays(out, g, set, err);
    if (!s) s = take_kinds(out, g, set, err);
    ng_gguf_close(g);
    return s;
}

static bool of_generator(char *out, size_t cap, const char *model_path) {
    size_t len = strlen(model_path), stem = len > 5 && !strcmp(model_path + len - 5, ".gguf") ? len - 5 : len;
    int n = snprintf(out, cap, "%.*s.confidence.gguf", (int)stem, model_path);
    return n > 0 && (size_t)n < cap;
}

ng_status ng_scores_read(ng_scores *out, const char *model_path, const char *set, ng_error *err) {
    char beside[4096], generator[4096];
    ng_error why = {0};
    *out = (ng_scores){0};
    const char *slash = strrchr(model_path, '/');
    int n = snprintf(beside, sizeof beside, "%.*sscores.gguf",
                     (int)(slash ? slash - model_path + 1 : 0), model_path);
    ng_status s = from_file(out, model_path, set, &why);
    if (s == NG_ENOTFOUND && of_generator(generator, sizeof generator, model_path)) {
        why = (ng_error){0};
        s = from_file(out, generator, set, &why);
    }
    if (s == NG_ENOTFOUND && n > 0 && (size_t)n < sizeof beside) {
        why = (ng_error){0};
        s = from_file(out, beside, set, &why);
    }
    if (s) ng_scores_clear(out);
    if (s == NG_ENOTFOUND)
        return ng_fail(err, s, "neither %.200s nor scores.gguf beside it holds a %s set; "
                       "`nanogrid eval RECIPE --card` writes it", model_path, set);
    return s ? ng_fail(err, s, "%s", why.text) : NG_OK;
}

/* ---- bounds ---------------------------------------------------------------------------------- */

/* Summed from the term of e down, the largest where e < n p. */
double ng_binomial_tail(size_t n, size_t e, double p) {
    double log_term = (double)(n - e) * ng_log(1 - p) + (double)e * ng_log(p);
    for (size_t j = 1; j <= e; j++) log_term += ng_log((double)(n - j + 1) / (double)j);
    double term = ng_exp(log_term), sum = term;
    for (size_t i = e; i > 0 && term > sum * 1e-12; i--) {
        term *= (double)i / (double)(n - i + 1) * (1 - p) / p;
        sum += term;
    }
    return sum;
}

double ng_binomial_upper(size_t n, size_t wrong, double doubt) {
    if (wrong >= n) return 1;
    double lo = (double)wrong / (double)n, hi = 1;
    for (int i = 0; i < 60; i++) {
        double mid = (lo + hi) / 2;
        if (ng_binomial_tail(n, wrong, mid) > doubt) lo = mid;
        else hi = mid;
    }
    return hi;
}

/* Errors and right answers change places. */
double ng_binomial_lower(size_t n, size_t wrong, double doubt) {
    return wrong ? 1 - ng_binomial_upper(n, n - wrong, doubt) : 0;
}

ng_risk ng_risk_of(size_t n_texts, size_t n, size_t wrong) {
    ng_risk r = {.n_texts = n_texts, .n = n, .wrong = wrong};
    r.risk = n ? (double)wrong / (double)n : NAN;
    r.upper95 = ng_binomial_upper(n, wrong, 0.05);
    r.lower95 = ng_binomial_lower(n, wrong, 0.05);
    r.coverage = n_texts ? (double)n / (double)n_texts : NAN;
    return r;
}

ng_risk ng_risk_at(const ng_scores *s, double threshold) {
    size_t n = 0, wrong = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!((double)s->confidence[i] >= threshold)) continue;
        n++;
        wrong += !s->correct[i];
    }
    return ng_risk_of(s->n, n, wrong);
}
