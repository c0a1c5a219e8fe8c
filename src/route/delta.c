/* delta.c: see delta.h.
 *
 * The router's probabilities p become p_c exp(s_c) / sum, with s_c = sum over buckets v_b w_bc: logistic
 * regression with the router's own log odds as the offset, so a delta of zeros changes nothing and only
 * what the router gets wrong is learnt.  v is 1 + ln count, scaled to length 1.  A few passes of plain
 * gradient steps in the order of the lessons; all of it from nothing each time, so the same lessons give
 * the same bytes and no version carries the mistakes of the one before. */
#include "delta.h"

#include "core/math.h"
#include "gguf/gguf.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PASSES = 8 };
static const double RATE = 1.0, SHRINK = 1e-3;

#define KEY "nanogrid.delta."

struct ng_delta {
    uint32_t *bucket; /* [n] rising */
    float *weight;    /* [n, n_labels] */
    size_t n, n_labels;
    char (*labels)[NG_DECISION_LABEL_MAX];
};

void ng_delta_free(ng_delta *d) {
    if (!d) return;
    free(d->bucket);
    free(d->weight);
    free(d->labels);
    free(d);
}

static ng_status new_delta(ng_delta **out, size_t n, size_t n_labels, ng_error *err) {
    ng_delta *d = calloc(1, sizeof *d);
    *out = NULL;
    if (d) {
        *d = (ng_delta){.n = n, .n_labels = n_labels};
        d->bucket = calloc(n + 1, sizeof *d->bucket);
        d->weight = calloc(n * n_labels + 1, sizeof *d->weight);
        d->labels = calloc(n_labels + 1, sizeof *d->labels);
    }
    if (!d || !d->bucket || !d->weight || !d->labels) {
        ng_delta_free(d);
        return ng_fail(err, NG_ENOMEM, "router delta: out of memory");
    }
    *out = d;
    return NG_OK;
}

/* Calls of this walk the rising buckets of a text and those of the delta side by side. */
typedef struct walk {
    const ng_delta *d;
    const uint32_t *buckets;
    size_t n, at, row;
    double unit; /* 1 / length of v */
} walk;

static double length_of(const uint32_t *b, size_t n) {
    double sum = 0;
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && b[end] == b[i];) end++;
        double v = 1 + ng_log((double)(end - i));
        sum += v * v;
    }
    return sqrt(sum);
}

static walk walk_begin(const ng_delta *d, const uint32_t *b, size_t n) {
    double length = length_of(b, n);
    return (walk){.d = d, .buckets = b, .n = n, .unit = length > 0 ? 1 / length : 0};
}

/* The next bucket that both have: its row and value. */
static bool walk_next(walk *w, size_t *row, double *v) {
    while (w->at < w->n) {
        uint32_t b = w->buckets[w->at];
        size_t end = w->at + 1;
        while (end < w->n && w->buckets[end] == b) end++;
        double count = (double)(end - w->at);
        w->at = end;
        while (w->row < w->d->n && w->d->bucket[w->row] < b) w->row++;
        if (w->row == w->d->n) return false;
        if (w->d->bucket[w->row] != b) continue;
        *row = w->row;
        *v = (1 + ng_log(count)) * w->unit;
        return true;
    }
    return false;
}

static double clamp(double x, double max) {
    return x > max ? max : x < -max ? -max : x;
}

/* shift[n_labels] */
static void shifts(const ng_delta *d, const uint32_t *b, size_t n, double *shift) {
    walk w = walk_begin(d, b, n);
    size_t row;
    double v;
    memset(shift, 0, d->n_labels * sizeof *shift);
    while (walk_next(&w, &row, &v))
        for (size_t c = 0; c < d->n_labels; c++)
            shift[c] += v * (double)d->weight[row * d->n_labels + c];
    for (size_t c = 0; c < d->n_labels; c++) shift[c] = clamp(shift[c], NG_DELTA_SHIFT_MAX);
}

static size_t label_at(const ng_delta *d, const char *label) {
    size_t c = 0;
    while (c < d->n_labels && strcmp(d->labels[c], label)) c++;
    return c;
}

static void sort_scores(ng_decision *x) {
    for (size_t i = 1; i < x->n_scores; i++)
        for (size_t k = i; k > 0 && x->scores[k].p > x->scores[k - 1].p; k--) {
            char label[NG_DECISION_LABEL_MAX];
            float p = x->scores[k].p;
            memcpy(label, x->scores[k].label, sizeof label);
            x->scores[k] = x->scores[k - 1];
            x->scores[k - 1].p = p;
            memcpy(x->scores[k - 1].label, label, sizeof label);
        }
}

void ng_delta_apply(const ng_delta *d, const uint32_t *buckets, size_t n, ng_decision *x) {
    double shift[NG_DECISION_MAX], p[NG_DECISION_MAX], sum = 0, before = 0;
    if (d->n_labels > NG_DECISION_MAX || !x->n_scores) return;
    shifts(d, buckets, n, shift);
    for (size_t i = 0; i < x->n_scores; i++) {
        size_t c = label_at(d, x->scores[i].label);
        before += (double)x->scores[i].p;
        p[i] = (double)x->scores[i].p * (c < d->n_labels ? ng_exp(shift[c]) : 1);
        sum += p[i];
    }
    for (size_t i = 0; i < x->n_scores; i++)
        x->scores[i].p = sum > 0 ? (float)(p[i] * before / sum) : x->scores[i].p;
    sort_scores(x);
    if (!isnan(x->confidence)) x->confidence = (double)x->scores[0].p;
}

/* ---- learning -------------------------------------------------------------------------------- */

static int rising(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Every bucket of every lesson, once. */
static ng_status collect(ng_delta **out, const ng_lesson *l, size_t n, size_t n_labels,
                         ng_error *err) {
    size_t all = 0, len = 0;
    for (size_t i = 0; i < n; i++) all += l[i].n_buckets;
    uint32_t *b = malloc((all + 1) * sizeof *b);
    if (!b) return ng_fail(err, NG_ENOMEM, "router delta: out of memory");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < l[i].n_buckets; k++)
            if (!k || l[i].buckets[k] != l[i].buckets[k - 1]) b[len++] = l[i].buckets[k];
    if (len) qsort(b, len, sizeof *b, rising);
    size_t unique = 0;
    for (size_t i = 0; i < len; i++)
        if (!i || b[i] != b[i - 1]) b[unique++] = b[i];
    if (unique > NG_DELTA_BUCKETS_MAX) unique = NG_DELTA_BUCKETS_MAX;
    ng_status s = new_delta(out, unique, n_labels, err);
    if (!s && unique) memcpy((*out)->bucket, b, unique * sizeof *b);
    free(b);
    return s;
}

static void step(ng_delta *d, const ng_lesson *l) {
    double shift[NG_DECISION_MAX], p[NG_DECISION_MAX] = {0}, sum = 0, v;
    size_t row;
    shifts(d, l->buckets, l->n_buckets, shift);
    for (size_t c = 0; c < d->n_labels; c++) {
        double was = ng_decision_score(l->said, d->labels[c]);
        p[c] = (was > 1e-6 ? was : 1e-6) * ng_exp(shift[c]);
        sum += p[c];
    }
    walk w = walk_begin(d, l->buckets, l->n_buckets);
    while (walk_next(&w, &row, &v))
        for (size_t c = 0; c < d->n_labels; c++) {
            float *weight = &d->weight[row * d->n_labels + c];
            double g = p[c] / sum - (c == l->label), now = (double)*weight;
            *weight = (float)clamp(now - RATE * (g * v + SHRINK * now), NG_DELTA_WEIGHT_MAX);
        }
}

ng_status ng_delta_learn(ng_delta **out, const ng_lesson *lessons, size_t n,
                         const char *const *labels, size_t n_labels, ng_error *err) {
    *out = NULL;
    if (n_labels > NG_DECISION_MAX || n > NG_DELTA_LESSONS_MAX)
        return ng_fail(err, NG_ELIMIT, "router delta: %zu labels and %zu lessons, at most %d and %d", n_labels, n,
                       NG_DECISION_MAX, NG_DELTA_LESSONS_MAX);
    ng_status s = collect(out, lessons, n, n_labels, err);
    if (s) return s;
    for (size_t c = 0; c < n_labels; c++)
        snprintf((*out)->labels[c], NG_DECISION_LABEL_MAX, "%s", labels[c]);
    for (int pass = 0; pass < PASSES; pass++)
        for (size_t i = 0; i < n; i++) step(*out, &lessons[i]);
    return NG_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

ng_status ng_delta_write(const ng_delta *d, const ng_delta_tag *tag, const char *path,
                         ng_error *err) {
    ng_gguf_writer *w;
    ng_str names[NG_DECISION_MAX];
    if (ng_gguf_writer_new(&w)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    for (size_t c = 0; c < d->n_labels; c++) names[c] = (ng_str){d->labels[c], strlen(d->labels[c])};
    ng_gguf_put_str(w, "general.architecture", "nanogrid-delta");
    ng_gguf_put_u32(w, KEY "version", tag->version);
    ng_gguf_put_u64(w, KEY "router", tag->router);
    ng_gguf_put_u32(w, KEY "lessons", tag->n_lessons);
    ng_gguf_put_strs(w, KEY "labels", names, d->n_labels);
    ng_gguf_put_array(w, KEY "bucket", NG_GGUF_U32, d->bucket, d->n);
    ng_gguf_put_array(w, KEY "weight", NG_GGUF_F32, d->weight, d->n * d->n_labels);
    return ng_gguf_writer_commit(w, path, err);
}

static ng_status damaged(const ng_gguf *g, const char *what, ng_error *err) {
    return ng_fail(err, NG_EFORMAT, "%s: " KEY "%s", ng_gguf_path(g), what);
}

static ng_status take(ng_delta **out, const ng_gguf *g, ng_error *err) {
    ng_gguf_array labels, bucket, weight;
    ng_status s = ng_gguf_get_array(g, KEY "labels", &labels, err);
    if (!s) s = ng_gguf_get_array(g, KEY "bucket", &bucket, err);
    if (!s) s = ng_gguf_get_array(g, KEY "weight", &weight, err);
    if (s) return s;
    if (labels.kind != NG_GGUF_STRING || !labels.len || labels.len > NG_DECISION_MAX)
        return damaged(g, "labels must be 1 to 16 names", err);
    if (bucket.kind != NG_GGUF_U32 || weight.kind != NG_GGUF_F32 || bucket.len > NG_DELTA_BUCKETS_MAX ||
        weight.len != bucket.len * labels.len)
        return damaged(g, "bucket and weight do not fit each other", err);
    if ((s = new_delta(out, bucket.len, labels.len, err))) return s;
    ng_delta *d = *out;
    for (size_t c = 0; c < labels.len; c++) {
        size_t len = labels.strs[c].len;
        if (len >= NG_DECISION_LABEL_MAX) return damaged(g, "labels holds one that is too long", err);
        memcpy(d->labels[c], labels.strs[c].data, len);
    }
    memcpy(d->bucket, bucket.data, bucket.len * sizeof *d->bucket);
    memcpy(d->weight, weight.data, weight.len * sizeof *d->weight);
    for (size_t i = 1; i < d->n; i++)
        if (d->bucket[i] <= d->bucket[i - 1]) return damaged(g, "bucket does not rise", err);
    for (size_t i = 0; i < weight.len; i++)
        if (!(fabs((double)d->weight[i]) <= NG_DELTA_WEIGHT_MAX))
            return damaged(g, "weight holds one beyond its bound", err);
    return NG_OK;
}

ng_status ng_delta_read(ng_delta **out, ng_delta_tag *tag, const char *path, ng_error *err) {
    ng_gguf *g;
    uint64_t router;
    *out = NULL;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    s = ng_gguf_get_u32(g, KEY "version", &tag->version, err);
    if (!s) s = ng_gguf_get_u32(g, KEY "lessons", &tag->n_lessons, err);
    if (!s) s = ng_gguf_get_u64(g, KEY "router", &router, err);
    if (!s && router != tag->router)
        s = ng_fail(err, NG_EINVALID, "%s was learnt on another router", path);
    if (!s) s = take(out, g, err);
    if (s) ng_delta_free(*out), *out = NULL;
    ng_gguf_close(g);
    return s;
}
