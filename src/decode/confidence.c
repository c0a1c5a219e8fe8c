/* confidence.c: see confidence.h.
 *
 * A probe on hidden states knows more than the distribution over the next token (Kadavath et al. 2022, arXiv 2207.05221; Azaria
 * and Mitchell 2023, arXiv 2304.13734): on tasks by prompt a small model often *knows* that its answer does not fit the
 * question, while its entropy tells of the wording only.  Quantiles of log p rather than its sum: a sum grows with length
 * (Gupta et al. 2024, arXiv 2404.10136).
 *
 * How a prompt that nothing is known about is told: hidden states at the first step lie in one place for one kind of prompt, and
 * a kind that was left out lies outside all the others (docs/routing.md).
 *
 * Sums are plain, in order, in double: the same bits everywhere.  One estimate is some 60,000 products; it is made every
 * NG_CONFIDENCE_EVERY tokens and at the end. */
#include "confidence.h"

#include "core/arena.h"
#include "core/checked.h"
#include "core/math.h"
#include "gguf/gguf.h"
#include "model/arch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE = 64 }; /* steps that quantiles are taken of */

/* ---- evidence ------------------------------------------------------------------------------------------ */

size_t ng_confidence_n_features(size_t n_taps, size_t n_embd) { return NG_CONFIDENCE_STATS + 3 * n_taps * n_embd; }

ng_status ng_evidence_init(ng_evidence *e, const ng_confidence *of, size_t n_max) {
    size_t cells, width = of ? of->n_taps * of->n_embd : 0;
    *e = (ng_evidence){.of = of, .max = n_max};
    if (!of) return NG_OK;
    if (!ng_mul_ok(&cells, n_max, 3) || !(e->entropy = calloc(cells, sizeof(float)))) return NG_ENOMEM;
    e->margin = e->entropy + n_max;
    e->logprob = e->margin + n_max;
    e->first = calloc(3 * width + of->n_features, sizeof(float));
    if (!e->first) return NG_ENOMEM;
    e->last = e->first + width;
    e->sum = e->last + width;
    e->features = e->sum + width;
    return NG_OK;
}

void ng_evidence_clear(ng_evidence *e) {
    free(e->entropy);
    free(e->first);
    *e = (ng_evidence){0};
}

void ng_evidence_add(ng_evidence *e, const ng_distribution *d, float logprob, const float *hidden) {
    if (!e->of || !hidden || e->n == e->max) return;
    size_t width = e->of->n_taps * e->of->n_embd, i = e->n++;
    e->entropy[i] = d->entropy;
    e->margin[i] = d->margin;
    e->logprob[i] = logprob;
    if (i == 0) memcpy(e->first, hidden, width * sizeof *hidden);
    memcpy(e->last, hidden, width * sizeof *hidden);
    for (size_t k = 0; k < width; k++) e->sum[k] += hidden[k];
}

static int rising(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* mean, least, greatest, first, last of v[n], n > 0 */
static float *summarise(float *out, const float *v, size_t n) {
    double sum = 0;
    float least = v[0], most = v[0];
    for (size_t i = 0; i < n; i++) {
        sum += (double)v[i];
        if (v[i] < least) least = v[i];
        if (v[i] > most) most = v[i];
    }
    const float told[] = {(float)(sum / (double)n), least, most, v[0], v[n - 1]};
    memcpy(out, told, sizeof told);
    return out + 5;
}

void ng_evidence_features(ng_evidence *e, size_t n_prompt, size_t n_tokens) {
    size_t width = e->of->n_taps * e->of->n_embd, n = e->n;
    size_t m = n < SAMPLE ? n : SAMPLE;
    float *f = e->features, sorted[SAMPLE];
    for (size_t i = 0; i < m; i++) sorted[i] = e->logprob[i * n / m];
    qsort(sorted, m, sizeof *sorted, rising);
    f = summarise(f, e->entropy, n);
    f = summarise(f, e->margin, n);
    f = summarise(f, e->logprob, n);
    *f++ = sorted[m / 10];
    *f++ = sorted[m / 4];
    *f++ = sorted[m / 2];
    *f++ = ng_logf((float)(1 + n_tokens));
    *f++ = ng_logf((float)(1 + n_prompt));
    memcpy(f, e->first, width * sizeof *f);
    memcpy(f + width, e->last, width * sizeof *f);
    for (size_t k = 0; k < width; k++) f[2 * width + k] = e->sum[k] / (float)n;
}

/* ---- the estimate -------------------------------------------------------------------------------------- */

double ng_confidence_logit(const ng_confidence *c, const float *z) {
    double y = (double)c->b2;
    for (size_t h = 0; h < c->n_hidden; h++) {
        const float *w = c->w1 + h * c->n_features;
        double a[4] = {0}; /* four sums in turn: the order is fixed, the adds need not wait for each other */
        size_t i = 0;
        for (; i + 4 <= c->n_features; i += 4)
            for (size_t k = 0; k < 4; k++) a[k] += (double)w[i + k] * (double)z[i + k];
        for (; i < c->n_features; i++) a[0] += (double)w[i] * (double)z[i];
        double x = (a[0] + a[1]) + (a[2] + a[3]) + (double)c->b1[h];
        if (x > 0) y += (double)c->w2[h] * x;
    }
    return y;
}

double ng_confidence_distance(const ng_confidence *c, size_t kind, const float *first) {
    size_t width = c->n_taps * c->n_embd;
    const float *centre = c->centre + kind * width;
    double sum = 0;
    for (size_t i = 0; i < width; i++) {
        float z = (first[i] - centre[i]) / c->spread[i];
        z = z > 6 ? 6 : z < -6 ? -6 : z; /* a few wild numbers are in every row */
        sum += (double)z * (double)z;
    }
    return sqrt(sum / (double)width);
}

double ng_confidence_strangeness(const ng_confidence *c, const float *first) {
    double least = c->n_kinds ? INFINITY : 0;
    for (size_t k = 0; k < c->n_kinds; k++) {
        double x = c->radius[k] > 0 ? ng_confidence_distance(c, k, first) / (double)c->radius[k] : INFINITY;
        if (x < least) least = x;
    }
    return least;
}

float ng_confidence_of(ng_evidence *e, size_t n_prompt, size_t n_tokens) {
    const ng_confidence *c = e->of;
    if (!c || !e->n) return NAN;
    ng_evidence_features(e, n_prompt, n_tokens);
    if (!c->n_hidden) return NAN;
    if (ng_confidence_strangeness(c, e->first) > 1) return 0;
    for (size_t i = 0; i < c->n_features; i++) {
        float z = (e->features[i] - c->mean[i]) * c->scale[i];
        e->features[i] = z > 6 ? 6 : z < -6 ? -6 : z; /* what training never saw must not decide alone */
    }
    double logit = ng_confidence_logit(c, e->features);
    return (float)ng_sigmoid((double)c->platt_scale * logit + (double)c->platt_shift);
}

/* ---- the file ------------------------------------------------------------------------------------------ */

typedef struct reader {
    const ng_gguf *g;
    ng_arena *arena;
    ng_confidence *c;
} reader;

static ng_status bad(const reader *r, const char *what, ng_error *err) {
    return ng_fail(err, NG_EFORMAT, "%s: %s; fit it again with `nanogrid calibrate`", ng_gguf_path(r->g), what);
}

static ng_status read_taps(reader *r, const ng_model_info *info, ng_error *err) {
    ng_gguf_array a;
    ng_status s = ng_gguf_get_array(r->g, "nanogrid.confidence.taps", &a, err);
    if (s) return s;
    if (a.kind == NG_GGUF_STRING || !a.len || a.len > NG_CONFIDENCE_TAPS_MAX)
        return bad(r, "taps must be 1 to 4 layers", err);
    uint32_t *taps = ng_arena_array(r->arena, a.len, sizeof *taps);
    if (!taps) return ng_fail(err, NG_ENOMEM, "confidence: out of memory");
    for (size_t i = 0; i < a.len; i++) {
        int64_t layer = ng_gguf_array_int(&a, i);
        if (layer < 0 || layer >= (int64_t)info->n_layer || (i && layer <= (int64_t)taps[i - 1]))
            return bad(r, "its taps are no rising layers of this model", err);
        taps[i] = (uint32_t)layer;
    }
    r->c->taps = taps;
    r->c->n_taps = a.len;
    return NG_OK;
}

static ng_status read_tensor(reader *r, const char *name, size_t rows, size_t cols, const float **out, ng_error *err) {
    char why[96];
    const ng_gguf_tensor *t = ng_gguf_find_tensor(r->g, name);
    snprintf(why, sizeof why, "needs a tensor %s of [%zu, %zu] finite floats", name, cols, rows);
    if (!t || t->type != NG_TYPE_F32 || t->dims[0] != cols || t->dims[1] != rows || t->dims[2] * t->dims[3] != 1)
        return bad(r, why, err);
    float *x = ng_arena_array(r->arena, rows * cols, sizeof *x);
    if (!x) return ng_fail(err, NG_ENOMEM, "confidence: out of memory");
    memcpy(x, t->data, rows * cols * sizeof *x);
    for (size_t i = 0; i < rows * cols; i++)
        if (!isfinite(x[i])) return bad(r, why, err);
    *out = x;
    return NG_OK;
}

/* Where the kinds that it was calibrated on lie; files of before do not tell. */
static ng_status read_kinds(reader *r, ng_error *err) {
    ng_confidence *c = r->c;
    size_t width = c->n_taps * c->n_embd;
    const ng_gguf_tensor *t = ng_gguf_find_tensor(r->g, "kind.radius");
    if (!t) return NG_OK;
    if (!t->dims[0] || t->dims[0] > NG_CONFIDENCE_KINDS_MAX) return bad(r, "kind.radius must be of 1 to 32 kinds", err);
    size_t n = (size_t)t->dims[0];
    ng_status s;
    if ((s = read_tensor(r, "kind.radius", 1, n, &c->radius, err)) ||
        (s = read_tensor(r, "kind.centre", n, width, &c->centre, err)) ||
        (s = read_tensor(r, "kind.spread", 1, width, &c->spread, err)))
        return s;
    for (size_t i = 0; i < width; i++)
        if (!(c->spread[i] > 0)) return bad(r, "kind.spread must be above 0", err);
    c->n_kinds = n;
    return NG_OK;
}

static ng_status read_weights(reader *r, ng_error *err) {
    ng_confidence *c = r->c;
    const float *b2;
    uint32_t n_hidden;
    ng_status s = ng_gguf_get_u32(r->g, "nanogrid.confidence.n_hidden", &n_hidden, err);
    if (s) return s;
    if (!n_hidden || n_hidden > NG_CONFIDENCE_HIDDEN_MAX) return bad(r, "n_hidden must be 1 to 256", err);
    c->n_hidden = n_hidden;
    c->n_features = ng_confidence_n_features(c->n_taps, c->n_embd);
    if ((s = ng_gguf_get_f32(r->g, "nanogrid.confidence.platt_scale", &c->platt_scale, err)) ||
        (s = ng_gguf_get_f32(r->g, "nanogrid.confidence.platt_shift", &c->platt_shift, err)) ||
        (s = read_tensor(r, "mean", 1, c->n_features, &c->mean, err)) ||
        (s = read_tensor(r, "scale", 1, c->n_features, &c->scale, err)) ||
        (s = read_tensor(r, "w1", n_hidden, c->n_features, &c->w1, err)) ||
        (s = read_tensor(r, "b1", 1, n_hidden, &c->b1, err)) || (s = read_tensor(r, "w2", 1, n_hidden, &c->w2, err)) ||
        (s = read_tensor(r, "b2", 1, 1, &b2, err)))
        return s;
    c->b2 = b2[0];
    if (!isfinite(c->platt_scale) || !isfinite(c->platt_shift)) return bad(r, "its calibration is no number", err);
    return NG_OK;
}

ng_status ng_confidence_digest(char out[NG_CONFIDENCE_DIGEST], const ng_model *m, ng_error *err) {
    ng_digest d;
    ng_status s = ng_model_digest(&d, m, err);
    if (!s)
        snprintf(out, NG_CONFIDENCE_DIGEST, "%016llx%016llx", (unsigned long long)d.h[0], (unsigned long long)d.h[1]);
    return s;
}

static ng_status check_model(const reader *r, const char *digest, ng_error *err) {
    ng_gguf_array a;
    ng_status s = ng_gguf_get_array(r->g, "nanogrid.requires", &a, err);
    if (s) return s;
    if (a.kind != NG_GGUF_STRING || !a.len) return bad(r, "nanogrid.requires must list digests", err);
    for (size_t i = 0; i < a.len; i++)
        if (a.strs[i].len == strlen(digest) && !memcmp(a.strs[i].data, digest, a.strs[i].len)) return NG_OK;
    return ng_fail(err, NG_EINVALID, "%s was fitted on a model with digest %.*s; the one beside it has %s",
                   ng_gguf_path(r->g), (int)(a.strs[0].len < 64 ? a.strs[0].len : 64), a.strs[0].data, digest);
}

ng_status ng_confidence_read(ng_confidence **out, const ng_gguf *g, const ng_model_info *info, const char *digest,
                             ng_error *err) {
    ng_arena *arena;
    ng_str arch;
    *out = NULL;
    if (ng_arena_new(&arena, 0)) return ng_fail(err, NG_ENOMEM, "confidence: out of memory");
    reader r = {g, arena, ng_arena_array(arena, 1, sizeof *r.c)};
    ng_status s = r.c ? NG_OK : ng_fail(err, NG_ENOMEM, "confidence: out of memory");
    if (!s) *r.c = (ng_confidence){.arena = arena, .n_embd = info->n_embd};
    if (!s) s = ng_gguf_get_str(g, "general.architecture", &arch, err);
    if (!s && (arch.len != strlen("nanogrid-confidence") || memcmp(arch.data, "nanogrid-confidence", arch.len)))
        s = bad(&r, "it is no nanogrid-confidence", err);
    if (!s) s = check_model(&r, digest, err);
    if (!s) s = read_taps(&r, info, err);
    if (!s) s = read_weights(&r, err);
    if (!s) s = read_kinds(&r, err);
    if (s) ng_arena_free(arena);
    else *out = r.c;
    return s;
}

ng_status ng_confidence_open(ng_confidence **out, const char *path, const ng_model *m, ng_error *err) {
    ng_gguf *g;
    char digest[NG_CONFIDENCE_DIGEST];
    ng_model_info info = ng_model_get_info(m);
    *out = NULL;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    s = ng_confidence_digest(digest, m, err);
    if (!s) s = ng_confidence_read(out, g, &info, digest, err);
    ng_gguf_close(g);
    return s;
}

void ng_confidence_free(ng_confidence *c) {
    if (c) ng_arena_free(c->arena);
}

char *ng_confidence_path(const char *model_path) {
    size_t len = strlen(model_path), stem = len > 5 && !strcmp(model_path + len - 5, ".gguf") ? len - 5 : len;
    size_t cap = stem + sizeof ".confidence.gguf";
    char *path = malloc(cap);
    if (path) snprintf(path, cap, "%.*s.confidence.gguf", (int)stem, model_path);
    return path;
}
