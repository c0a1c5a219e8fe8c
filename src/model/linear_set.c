/* linear_set.c: see linear_set.h.
 *
 * One table over the buckets that any of the models has a row for.  An entry says which model, the feature's idf in it and its two
 * weights: four bytes, and the entries of a bucket lie side by side.  So a text costs its features once, one look-up a feature, and
 * two multiply-adds an entry.  Every sum is one of integers, so their order does not matter and the result is that of the model
 * alone to the bit (tests/unit/test_linear_set.c).
 *
 * Price: the rows of all models are copied (4 bytes for 3). */
#include "linear_set.h"

#include "linear_parts.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD = 12, LABELS = 2 };

typedef struct entry {
    uint8_t model, idf;
    int8_t w[LABELS];
} entry;

struct ng_linear_set {
    const ng_linear **models; /* [n] */
    size_t n, n_rows, n_words;
    uint64_t *used;           /* [n_words] bit b: bucket b has entries */
    uint32_t *rank;           /* [n_words] rows before this word */
    uint32_t *begin;          /* [n_rows + 1] into entries */
    entry *entries;
};

struct ng_linear_set_scratch {
    ng_features features;
    uint32_t *counts;  /* [n_rows], all 0 between calls */
    uint32_t *touched; /* [n_rows] */
    uint64_t *norm;    /* [n] */
    uint64_t *known;   /* [n] features that have a row */
    double *unit;      /* [n] */
    int32_t *sums;     /* [n, LABELS] */
};

/* ---- making ------------------------------------------------------------------------------------- */

static bool same_features(const ng_linear *a, const ng_linear *b) {
    const ng_feature_config *x = &a->features, *y = &b->features;
    return x->bits == y->bits && x->word_max == y->word_max && x->char_min == y->char_min &&
           x->char_max == y->char_max && x->lower == y->lower && x->fold == y->fold && x->cross == y->cross &&
           a->log_tf == b->log_tf;
}

bool ng_linear_set_fits(const ng_linear *m, const ng_linear *first) {
    return m->n_labels == LABELS && !m->multi_label && m->weight_bits == 8 && (!first || same_features(m, first));
}

static uint32_t row_of(const uint64_t *used, const uint32_t *rank, uint32_t bucket) {
    return rank[bucket >> 6] + (uint32_t)__builtin_popcountll(used[bucket >> 6] & (((uint64_t)1 << (bucket & 63)) - 1));
}

static void unite_rows(ng_linear_set *s) {
    for (size_t i = 0; i < s->n_words; i++) {
        s->rank[i] = (uint32_t)s->n_rows;
        for (size_t k = 0; k < s->n; k++) s->used[i] |= s->models[k]->used[i];
        s->n_rows += (size_t)__builtin_popcountll(s->used[i]);
    }
}

/* For every row of every model: its row here, and its number there. */
static void each_row(const ng_linear_set *s,
                     void (*visit)(const ng_linear_set *s, uint32_t *at, size_t model, size_t row), uint32_t *at) {
    for (size_t k = 0; k < s->n; k++) {
        size_t row = 0;
        for (size_t i = 0; i < s->n_words; i++)
            for (uint64_t left = s->models[k]->used[i]; left; left &= left - 1) {
                uint32_t bucket = (uint32_t)(i * 64 + (size_t)__builtin_ctzll(left));
                visit(s, &at[row_of(s->used, s->rank, bucket)], k, row++);
            }
    }
}

static void count_entry(const ng_linear_set *s, uint32_t *at, size_t model, size_t row) {
    (void)s, (void)model, (void)row;
    ++*at;
}

static void put_entry(const ng_linear_set *s, uint32_t *at, size_t model, size_t row) {
    const ng_linear *m = s->models[model];
    s->entries[(*at)++] = (entry){(uint8_t)model, m->idf[row], {m->weight[row * LABELS], m->weight[row * LABELS + 1]}};
}

/* begin[] is the place of each row's next entry while it is filled, and one row off when that is done. */
static bool fill(ng_linear_set *s) {
    s->begin = calloc(s->n_rows + 2, sizeof *s->begin);
    if (!s->begin) return false;
    each_row(s, count_entry, s->begin + 2);
    for (size_t i = 1; i < s->n_rows; i++) s->begin[i + 2] += s->begin[i + 1];
    if (s->n_rows) s->entries = malloc(s->begin[s->n_rows + 1] * sizeof *s->entries);
    if (s->n_rows && !s->entries) return false;
    each_row(s, put_entry, s->begin + 1);
    return true;
}

ng_status ng_linear_set_new(ng_linear_set **out, const ng_linear *const *models, size_t n, ng_error *err) {
    *out = NULL;
    if (!n || n > NG_LINEAR_SET_MAX)
        return ng_fail(err, NG_EINVALID, "linear set: %zu models; use 1 to %d", n, NG_LINEAR_SET_MAX);
    for (size_t i = 0; i < n; i++)
        if (!ng_linear_set_fits(models[i], models[0]))
            return ng_fail(err, NG_EINVALID,
                           "linear set: %s does not fit: two labels, 8-bit weights and the features of %s are asked "
                           "for",
                           models[i]->name, models[0]->name);
    ng_linear_set *s = calloc(1, sizeof *s);
    bool ok = s && (s->models = calloc(n, sizeof *s->models));
    if (ok) {
        s->n = n;
        s->n_words = (size_t)1 << (models[0]->features.bits - 6);
        memcpy(s->models, models, n * sizeof *s->models);
        s->used = calloc(s->n_words, sizeof *s->used);
        s->rank = calloc(s->n_words, sizeof *s->rank);
        ok = s->used && s->rank;
    }
    if (ok) unite_rows(s);
    if (ok && fill(s)) {
        *out = s;
        return NG_OK;
    }
    ng_linear_set_free(s);
    return ng_fail(err, NG_ENOMEM, "linear set: out of memory for %zu models", n);
}

void ng_linear_set_free(ng_linear_set *s) {
    if (!s) return;
    free(s->models);
    free(s->used);
    free(s->rank);
    free(s->begin);
    free(s->entries);
    free(s);
}

ng_status ng_linear_set_scratch_new(ng_linear_set_scratch **out, const ng_linear_set *set, ng_error *err) {
    ng_linear_set_scratch *s = *out = calloc(1, sizeof *s);
    bool ok = s && (s->counts = calloc(set->n_rows + 1, sizeof *s->counts)) &&
              (s->touched = malloc((set->n_rows + 1) * sizeof *s->touched)) &&
              (s->norm = malloc(set->n * sizeof *s->norm)) && (s->known = malloc(set->n * sizeof *s->known)) &&
              (s->unit = malloc(set->n * sizeof *s->unit)) && (s->sums = malloc(set->n * LABELS * sizeof *s->sums));
    if (ok) return NG_OK;
    ng_linear_set_scratch_free(s);
    *out = NULL;
    return ng_fail(err, NG_ENOMEM, "linear set: out of memory");
}

void ng_linear_set_scratch_free(ng_linear_set_scratch *s) {
    if (!s) return;
    ng_features_clear(&s->features);
    free(s->counts);
    free(s->touched);
    free(s->norm);
    free(s->known);
    free(s->unit);
    free(s->sums);
    free(s);
}

/* ---- applying ----------------------------------------------------------------------------------- */

static void fetch(const ng_linear_set *set, const ng_linear_set_scratch *s, size_t i) {
    if (i >= s->features.n_buckets) return;
    __builtin_prefetch(&set->used[s->features.buckets[i] >> 6]);
    __builtin_prefetch(&set->rank[s->features.buckets[i] >> 6]);
}

/* Counts the text's features by row.  The rows are found first, so that where they are counted and where their entries begin can be
 * asked for ahead too. */
static size_t count_rows(const ng_linear_set *set, ng_linear_set_scratch *s) {
    uint32_t *rows = s->features.buckets;
    size_t known = 0, n = 0;
    for (size_t i = 0; i < AHEAD; i++) fetch(set, s, i);
    for (size_t i = 0; i < s->features.n_buckets; i++) {
        fetch(set, s, i + AHEAD);
        uint32_t b = rows[i];
        if (!(set->used[b >> 6] >> (b & 63) & 1)) continue;
        uint32_t row = rows[known++] = row_of(set->used, set->rank, b);
        __builtin_prefetch(&s->counts[row]);
        __builtin_prefetch(&set->begin[row]);
    }
    for (size_t i = 0; i < known; i++)
        if (!s->counts[rows[i]]++) s->touched[n++] = rows[i];
    return n;
}

/* All lines of the rows' entries, asked for before the first is read: on texts of a hundred letters this is a third of the time. */
static void fetch_entries(const ng_linear_set *set, const ng_linear_set_scratch *s, size_t n) {
    enum { LINE_ENTRIES = 64 / sizeof(entry) };
    for (size_t i = 0; i < n; i++)
        for (uint32_t e = set->begin[s->touched[i]]; e < set->begin[s->touched[i] + 1]; e += LINE_ENTRIES)
            __builtin_prefetch(&set->entries[e]);
}

/* What a feature seen `count` times weighs: its idf times this (ng_linear_value). */
static uint32_t tf_of(const ng_linear_set *set, uint32_t count) {
    return ng_linear_value(count, 1, set->models[0]->log_tf);
}

static void measure(const ng_linear_set *set, ng_linear_set_scratch *s, size_t n) {
    memset(s->norm, 0, set->n * sizeof *s->norm);
    memset(s->known, 0, set->n * sizeof *s->known);
    for (size_t i = 0; i < n; i++) {
        uint32_t row = s->touched[i], count = s->counts[row], tf = tf_of(set, count);
        for (const entry *e = set->entries + set->begin[row], *end = set->entries + set->begin[row + 1]; e < end; e++) {
            uint64_t v = (uint64_t)e->idf * tf;
            s->norm[e->model] += v * v;
            s->known[e->model] += count;
        }
    }
    for (size_t k = 0; k < set->n; k++) {
        uint64_t unknown = set->models[k]->unknown * 16,
                 norm = s->norm[k] + (s->features.n_buckets - s->known[k]) * unknown * unknown;
        s->unit[k] = norm ? NG_LINEAR_UNIT / sqrt((double)norm) : 0;
    }
}

static void sum(const ng_linear_set *set, ng_linear_set_scratch *s, size_t n) {
    memset(s->sums, 0, set->n * LABELS * sizeof *s->sums);
    for (size_t i = 0; i < n; i++) {
        uint32_t row = s->touched[i], tf = tf_of(set, s->counts[row]);
        for (const entry *e = set->entries + set->begin[row], *end = set->entries + set->begin[row + 1]; e < end; e++) {
            int16_t u = (int16_t)(e->idf * tf * s->unit[e->model] + 0.5);
            s->sums[e->model * LABELS] += (int32_t)u * e->w[0];
            s->sums[e->model * LABELS + 1] += (int32_t)u * e->w[1];
        }
        s->counts[row] = 0;
    }
}

ng_status ng_linear_set_apply(const ng_linear_set *set, ng_linear_set_scratch *s, const char *text, size_t len,
                              float *p, ng_error *err) {
    ng_status status = ng_features_extract(&s->features, &set->models[0]->features, text, len, err);
    if (status) return status;
    size_t n = count_rows(set, s);
    fetch_entries(set, s, n);
    measure(set, s, n);
    sum(set, s, n);
    for (size_t k = 0; k < set->n; k++) {
        ng_linear_finish(set->models[k], s->sums + k * LABELS, p + k * LABELS);
        ng_linear_calibrate(set->models[k], p + k * LABELS);
    }
    return NG_OK;
}
