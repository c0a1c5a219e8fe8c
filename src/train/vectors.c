/* vectors.c: counts, rows and TF-IDF vectors.  See vectors.h.
 *
 * The vectors hold exactly what inference computes before it rounds to fixed point: the same integer
 * feature values (ng_linear_value), the same norm. */
#include "vectors.h"

#include "core/math.h"
#include "model/linear.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static ng_status no_memory(ng_error *err) { return ng_fail(err, NG_ENOMEM, "training: out of memory"); }

static int rising(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* ---- counts ------------------------------------------------------------------------------------- */

static ng_status reserve(ng_counts *c, size_t *cap, size_t need) {
    if (need <= *cap) return NG_OK;
    size_t want = need + need / 2;
    uint32_t *b = realloc(c->bucket, want * sizeof *b);
    if (b) c->bucket = b;
    uint16_t *n = realloc(c->count, want * sizeof *n);
    if (n) c->count = n;
    if (!b || !n) return NG_ENOMEM;
    *cap = want;
    return NG_OK;
}

/* Appends the text's buckets with their counts. */
static void add_text(ng_counts *c, ng_features *f, size_t at) {
    qsort(f->buckets, f->n_buckets, sizeof *f->buckets, rising);
    for (size_t i = 0, k; i < f->n_buckets; i = k) {
        for (k = i; k < f->n_buckets && f->buckets[k] == f->buckets[i]; k++) {}
        c->bucket[at] = f->buckets[i];
        c->count[at++] = (uint16_t)(k - i < UINT16_MAX ? k - i : UINT16_MAX);
        if (!c->df[f->buckets[i]]++) c->n_used++;
    }
    c->begin[++c->n] = at;
}

ng_status ng_counts_new(ng_counts *out, const ng_dataset *d, const ng_feature_config *config, ng_error *err) {
    ng_features f = {0};
    size_t cap = 0;
    ng_status s = NG_OK;
    *out = (ng_counts){.n_buckets = (size_t)1 << config->bits};
    out->begin = calloc(d->len + 1, sizeof *out->begin);
    out->df = calloc(out->n_buckets, sizeof *out->df);
    if (!out->begin || !out->df) s = no_memory(err);
    for (size_t i = 0; !s && i < d->len; i++) {
        s = ng_features_extract(&f, config, d->items[i].text, d->items[i].len, err);
        if (!s && reserve(out, &cap, out->begin[i] + f.n_buckets)) s = no_memory(err);
        if (!s) add_text(out, &f, out->begin[i]);
    }
    ng_features_clear(&f);
    if (s) ng_counts_clear(out);
    return s;
}

void ng_counts_clear(ng_counts *c) {
    free(c->begin);
    free(c->bucket);
    free(c->count);
    free(c->df);
    *c = (ng_counts){0};
}

/* ---- rows --------------------------------------------------------------------------------------- */

/* The least df such that at most `max` buckets have it. */
static uint32_t least_df(const ng_counts *c, uint32_t min, size_t max) {
    for (uint32_t df = min;; df++) {
        size_t n = 0;
        for (size_t b = 0; b < c->n_buckets; b++) n += c->df[b] >= df;
        if (n <= max) return df;
    }
}

static uint8_t idf_code(size_t n, uint32_t df) {
    double idf = ng_log((1.0 + (double)n) / (1.0 + df)) + 1;
    double code = idf * 16 + 0.5;
    return (uint8_t)(code > 255 ? 255 : code < 1 ? 1 : code);
}

ng_status ng_rows_new(ng_rows *out, const ng_counts *c, const ng_recipe_features *f, size_t max, ng_error *err) {
    uint32_t df = least_df(c, (uint32_t)f->min_count, max);
    *out = (ng_rows){.n_buckets = c->n_buckets, .log_tf = f->log_tf, .unknown = (uint8_t)(f->unknown * 16 + 0.5)};
    for (size_t b = 0; b < c->n_buckets; b++) out->n += c->df[b] >= df;
    if (!out->n)
        return ng_fail(err, NG_EFORMAT, "training: no feature stands in %lld texts; lower features.min_count",
                       (long long)f->min_count);
    out->of = malloc(c->n_buckets * sizeof *out->of);
    out->bucket = malloc(out->n * sizeof *out->bucket);
    out->idf = malloc(out->n);
    if (!out->of || !out->bucket || !out->idf) {
        ng_rows_clear(out);
        return no_memory(err);
    }
    size_t n = 0;
    for (size_t b = 0; b < c->n_buckets; b++) {
        out->of[b] = -1;
        if (c->df[b] < df) continue;
        out->of[b] = (int32_t)n;
        out->bucket[n] = (uint32_t)b;
        out->idf[n++] = idf_code(c->n, c->df[b]);
    }
    return NG_OK;
}

static int falling_score(const void *a, const void *b) {
    const float x = **(const float *const *)a, y = **(const float *const *)b;
    if (x != y) return x > y ? -1 : 1; /* NOLINT: exact */
    return *(const float *const *)a < *(const float *const *)b ? -1 : 1;
}

ng_status ng_rows_keep(ng_rows *r, const float *scores, size_t max, int32_t *moved, ng_error *err) {
    const float **order = malloc(r->n * sizeof *order);
    size_t n = 0;
    if (!order) return no_memory(err);
    for (size_t i = 0; i < r->n; i++) order[i] = &scores[i], moved[i] = -1;
    qsort(order, r->n, sizeof *order, falling_score);
    for (size_t i = 0; i < max && i < r->n; i++) moved[order[i] - scores] = 0;
    free(order);
    for (size_t i = 0; i < r->n; i++) {
        if (moved[i] < 0) {
            r->of[r->bucket[i]] = -1;
            continue;
        }
        moved[i] = (int32_t)n;
        r->of[r->bucket[i]] = (int32_t)n;
        r->bucket[n] = r->bucket[i];
        r->idf[n++] = r->idf[i];
    }
    r->n = n;
    return NG_OK;
}

void ng_rows_clear(ng_rows *r) {
    free(r->of);
    free(r->bucket);
    free(r->idf);
    *r = (ng_rows){0};
}

/* ---- vectors ------------------------------------------------------------------------------------ */

static size_t fill_text(ng_vectors *v, const ng_counts *c, const ng_rows *r, size_t i, size_t at) {
    uint64_t norm = 0;
    size_t first = at;
    for (size_t k = c->begin[i]; k < c->begin[i + 1]; k++) {
        int32_t row = r->of[c->bucket[k]];
        uint64_t value = row < 0 ? (uint64_t)r->unknown * 16 : ng_linear_value(c->count[k], r->idf[row], r->log_tf);
        norm += value * value * (row < 0 ? c->count[k] : 1);
        if (row < 0) continue;
        v->row[at] = (uint32_t)row;
        v->value[at++] = (float)value;
    }
    float unit = norm ? (float)(1 / sqrt((double)norm)) : 0;
    for (size_t k = first; k < at; k++) v->value[k] *= unit;
    return at;
}

ng_status ng_vectors_new(ng_vectors *out, const ng_counts *c, const ng_rows *r, ng_error *err) {
    size_t n = 0;
    for (size_t k = 0; k < c->begin[c->n]; k++) n += r->of[c->bucket[k]] >= 0;
    *out = (ng_vectors){.n = c->n};
    out->begin = malloc((c->n + 1) * sizeof *out->begin);
    out->row = malloc((n + 1) * sizeof *out->row);
    out->value = malloc((n + 1) * sizeof *out->value);
    if (!out->begin || !out->row || !out->value) {
        ng_vectors_clear(out);
        return no_memory(err);
    }
    out->begin[0] = 0;
    for (size_t i = 0; i < c->n; i++) out->begin[i + 1] = fill_text(out, c, r, i, out->begin[i]);
    return NG_OK;
}

void ng_vectors_clear(ng_vectors *v) {
    free(v->begin);
    free(v->row);
    free(v->value);
    *v = (ng_vectors){0};
}
