/* linear.c: reads and applies linear models.  See linear.h.
 *
 * logit[c] = scale[c] * sum over features f of u[f] * w[f][c] + bias[c]
 *
 * where u is the TF-IDF vector of the text, scaled to length 1 and rounded to 16 bits, and w are 8- or
 * 4-bit integers.  The sum is made of integers, so its order does not matter and every machine gets
 * the same bits; the few float operations left (one square root, a division a feature, the softmax)
 * are correctly rounded by IEEE 754 or our own (core/math.h).
 *
 * Invariant: no 32-bit sum overflows.  With n features, sum |u| <= 32767 sqrt(n) + n/2 (Cauchy-Schwarz
 * and rounding), so for n <= 2^17 rows and |w| <= 127 a sum stays below 1.52e9 < 2^31.
 *
 * Weights are read where the file is mapped; a text costs one pass over its features' rows: for 150
 * labels and 150 features 22,500 multiply-adds over 22 KB. */
#include "linear_parts.h"

#include "core/checked.h"
#include "core/math.h"
#include "model/feature_blob.h"
#include <nanogrid/text.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "nanogrid.linear."

/* A row that the text has. */
typedef struct seen_row {
    uint32_t row;
    uint16_t count, value; /* count 0: the slot is free; value: of tf and idf */
} seen_row;

struct ng_linear_scratch {
    size_t n_rows, n_labels;   /* of the model it was made for */
    ng_features features;
    seen_row *seen;            /* [at least 4 n_rows]: a hash table in its first slots, as many as the text needs; all free between
                                  calls */
    uint32_t *touched;         /* [n_rows]: slots in use */
    int32_t *sums;             /* [n_labels + 1] */
    float *logits;             /* [n_labels] */
};

/* ---- values of features ------------------------------------------------------------------------- */

/* 16 * (1 + ln n), rounded.  A table: texts repeat n-grams a few times, seldom a hundred. */
static const uint16_t tf_codes[64] = {
    0,  16, 27, 34, 38, 42, 45, 47, 49, 51, 53, 54, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65,
    65, 66, 67, 68, 68, 69, 69, 70, 70, 71, 71, 72, 72, 73, 73, 74, 74, 75, 75, 75, 76, 76,
    77, 77, 77, 78, 78, 78, 79, 79, 79, 80, 80, 80, 80, 81, 81, 81, 82, 82, 82, 82};

uint32_t ng_linear_value(uint32_t count, uint32_t idf, bool log_tf) {
    return idf * (!log_tf ? 16u : tf_codes[count < 64 ? count : 63]);
}

/* ---- reading ------------------------------------------------------------------------------------ */

static ng_status bad(const ng_linear *m, ng_error *err, const char *field, const char *why) {
    return ng_fail(err, NG_EFORMAT, "%s: %s %s", m->name, field, why);
}

static ng_status no_memory(const ng_linear *m, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "%s: out of memory", m->name);
}

static ng_status read_features(ng_linear *m, ng_error *err) {
    const struct {
        const char *key;
        uint32_t *out;
    } numbers[] = {{KEY "bits", &m->features.bits},         {KEY "word_max", &m->features.word_max},
                   {KEY "char_min", &m->features.char_min}, {KEY "char_max", &m->features.char_max},
                   {KEY "unknown", &m->unknown},            {KEY "weight_bits", &m->weight_bits}};
    const struct {
        const char *key;
        bool *out;
    } flags[] = {{KEY "lower", &m->features.lower}, {KEY "fold", &m->features.fold},
                 {KEY "cross", &m->features.cross}, {KEY "log_tf", &m->log_tf},
                 {KEY "multi_label", &m->multi_label}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (ng_gguf_get_u32(m->gguf, numbers[i].key, numbers[i].out, err)) return NG_EFORMAT;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (ng_gguf_get_bool(m->gguf, flags[i].key, flags[i].out, err)) return NG_EFORMAT;
    ng_error why = {0};
    if (ng_feature_config_check(&m->features, m->name, &why)) return ng_fail(err, NG_EFORMAT, "%s", why.text);
    if (m->unknown > 255) return bad(m, err, KEY "unknown", "is over 255");
    if (m->weight_bits != 8 && m->weight_bits != 4) return bad(m, err, KEY "weight_bits", "is neither 8 nor 4");
    return NG_OK;
}

static ng_status read_labels(ng_linear *m, ng_error *err) {
    ng_gguf_array a;
    ng_str task;
    if (ng_gguf_get_array(m->gguf, KEY "labels", &a, err)) return NG_EFORMAT;
    if (a.kind != NG_GGUF_STRING || !a.len || a.len > NG_LINEAR_LABELS_MAX)
        return bad(m, err, KEY "labels", "must be 1 to 4096 strings");
    m->n_labels = a.len;
    m->labels = ng_arena_array(m->arena, a.len, sizeof *m->labels);
    if (!m->labels) return no_memory(m, err);
    for (size_t i = 0; i < a.len; i++) {
        const ng_str *s = &a.strs[i];
        if (!s->len || memchr(s->data, 0, s->len) || ng_utf8_invalid_at(s->data, s->len) < s->len)
            return bad(m, err, KEY "labels", "holds one that is empty or no UTF-8 text");
        m->labels[i] = ng_arena_strndup(m->arena, s->data, s->len);
        if (!m->labels[i]) return no_memory(m, err);
    }
    if (ng_gguf_get_str(m->gguf, "nanogrid.task", &task, err)) return NG_EFORMAT;
    m->task = ng_arena_strndup(m->arena, task.data, task.len);
    return m->task ? NG_OK : no_memory(m, err);
}

/* A tensor of exactly this type and shape; dims[1] 0 means one dimension. */
static ng_status tensor(const ng_linear *m, const char *name, ng_type type, const uint64_t dims[2],
                        const void **data, ng_error *err) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(m->gguf, name);
    if (!t) return bad(m, err, name, "is missing");
    if (t->type != type || t->dims[0] != dims[0] || t->dims[1] != (dims[1] ? dims[1] : 1) || t->dims[2] != 1 ||
        t->dims[3] != 1)
        return ng_fail(err, NG_EFORMAT, "%s: %s is %s [%llu, %llu], it must be %s [%llu, %llu]", m->name, name,
                       ng_type_get_info(t->type).name, (unsigned long long)t->dims[0],
                       (unsigned long long)t->dims[1], ng_type_get_info(type).name, (unsigned long long)dims[0],
                       (unsigned long long)(dims[1] ? dims[1] : 1));
    *data = t->data;
    return NG_OK;
}

static ng_status copy_floats(ng_linear *m, const char *what, const void *data, float **out, ng_error *err) {
    *out = ng_arena_array(m->arena, m->n_labels, sizeof **out);
    if (!*out) return no_memory(m, err);
    memcpy(*out, data, m->n_labels * sizeof **out);
    for (size_t i = 0; i < m->n_labels; i++)
        if (!isfinite((*out)[i])) return bad(m, err, what, "holds a number that is not finite");
    return NG_OK;
}

static ng_status read_rows(ng_linear *m, ng_error *err) {
    size_t n_words = (size_t)1 << (m->features.bits - 6), rows = 0;
    const void *data;
    ng_status s = tensor(m, "linear.rows", NG_TYPE_I64, (uint64_t[2]){n_words, 0}, &data, err);
    if (s) return s;
    m->used = ng_arena_array(m->arena, n_words, sizeof *m->used);
    m->rank = ng_arena_array(m->arena, n_words, sizeof *m->rank);
    if (!m->used || !m->rank) return no_memory(m, err);
    memcpy(m->used, data, n_words * sizeof *m->used);
    for (size_t i = 0; i < n_words; i++) {
        m->rank[i] = (uint32_t)rows;
        rows += (size_t)__builtin_popcountll(m->used[i]);
    }
    if (!rows || rows > NG_LINEAR_ROWS_MAX) return bad(m, err, "linear.rows", "names no rows, or more than 131072");
    m->n_rows = rows;
    return NG_OK;
}

static ng_status read_weights(ng_linear *m, ng_error *err) {
    const void *data;
    ng_status s = read_rows(m, err);
    if (s) return s;
    m->row_bytes = m->weight_bits == 8 ? m->n_labels : (m->n_labels + 1) / 2;
    if ((s = tensor(m, "linear.weight", NG_TYPE_I8, (uint64_t[2]){m->row_bytes, m->n_rows}, &data, err))) return s;
    m->weight = data;
    if (m->weight_bits == 8 && memchr(data, 0x80, m->row_bytes * m->n_rows))
        return bad(m, err, "linear.weight", "holds -128");
    if ((s = tensor(m, "linear.idf", NG_TYPE_I8, (uint64_t[2]){m->n_rows, 0}, &data, err))) return s;
    m->idf = data;
    if (memchr(data, 0, m->n_rows)) return bad(m, err, "linear.idf", "holds 0");
    if ((s = tensor(m, "linear.scale", NG_TYPE_F32, (uint64_t[2]){m->n_labels, 0}, &data, err)) ||
        (s = copy_floats(m, "linear.scale", data, &m->scale, err)) ||
        (s = tensor(m, "linear.bias", NG_TYPE_F32, (uint64_t[2]){m->n_labels, 0}, &data, err)))
        return s;
    return copy_floats(m, "linear.bias", data, &m->bias, err);
}

static ng_status read_floats(ng_linear *m, const char *key, float **out, ng_error *err) {
    ng_gguf_array a;
    if (!ng_gguf_has(m->gguf, key)) return NG_OK;
    if (ng_gguf_get_array(m->gguf, key, &a, err)) return NG_EFORMAT;
    if (a.kind != NG_GGUF_F32 || a.len != m->n_labels) return bad(m, err, key, "must be one F32 a label");
    return copy_floats(m, key, a.data, out, err);
}

static ng_status read_calibration(ng_linear *m, ng_error *err) {
    ng_status s;
    m->temperature = 1;
    if ((s = ng_gguf_get_f32_or(m->gguf, KEY "temperature", 1, &m->temperature, err)) ||
        (s = ng_gguf_get_f32_or(m->gguf, KEY "oos_threshold", 0, &m->oos_threshold, err)) ||
        (s = read_floats(m, KEY "platt_scale", &m->platt_scale, err)) ||
        (s = read_floats(m, KEY "platt_shift", &m->platt_shift, err)) ||
        (s = read_floats(m, KEY "threshold", &m->thresholds, err)))
        return s;
    if (!(m->temperature >= 1e-3f && m->temperature <= 1e3f))
        return bad(m, err, KEY "temperature", "is outside 0.001 .. 1000");
    if (!(m->oos_threshold >= 0 && m->oos_threshold <= 1))
        return bad(m, err, KEY "oos_threshold", "is no probability");
    if (!m->platt_scale != !m->platt_shift) return bad(m, err, KEY "platt_scale", "and platt_shift need each other");
    m->calibrated = m->multi_label ? m->platt_scale != NULL : ng_gguf_has(m->gguf, KEY "temperature");
    return NG_OK;
}

static ng_status read_model(ng_linear *m, ng_error *err) {
    ng_str arch;
    uint32_t version;
    ng_status s;
    if ((s = ng_gguf_get_str(m->gguf, "general.architecture", &arch, err))) return s;
    if (arch.len != 15 || memcmp(arch.data, "nanogrid-linear", 15))
        return bad(m, err, "general.architecture", "is not nanogrid-linear");
    if ((s = ng_gguf_get_u32(m->gguf, KEY "version", &version, err))) return s;
    if (version != 1)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: " KEY "version is %u, this program reads 1", m->name, version);
    if ((s = ng_kernels_get(&m->kernels, err)) || (s = read_features(m, err)) || (s = read_labels(m, err)) ||
        (s = read_weights(m, err)))
        return s;
    return read_calibration(m, err);
}

/* Takes g, also on failure. */
static ng_status open_gguf(ng_linear **out, ng_gguf *g, ng_error *err) {
    ng_arena *arena;
    ng_linear *m = NULL;
    if (!ng_arena_new(&arena, 16 << 10) && !(m = ng_arena_alloc(arena, sizeof *m))) ng_arena_free(arena);
    if (!m) {
        ng_gguf_close(g);
        return ng_fail(err, NG_ENOMEM, "linear model: out of memory");
    }
    m->arena = arena;
    m->gguf = g;
    m->name = ng_gguf_path(g);
    ng_status s = read_model(m, err);
    if (s) {
        ng_linear_close(m);
        return err && err->code ? err->code : s;
    }
    *out = m;
    return NG_OK;
}

ng_status ng_linear_open(ng_linear **out, const char *path, ng_error *err) {
    ng_gguf *g;
    *out = NULL;
    ng_status s = ng_gguf_open(&g, path, err);
    return s ? s : open_gguf(out, g, err);
}

ng_status ng_linear_open_memory(ng_linear **out, const void *data, size_t len, const char *name, ng_error *err) {
    ng_gguf *g;
    *out = NULL;
    ng_status s = ng_gguf_open_memory(&g, data, len, name, err);
    return s ? s : open_gguf(out, g, err);
}

void ng_linear_close(ng_linear *m) {
    if (!m) return;
    ng_gguf_close(m->gguf);
    ng_arena_free(m->arena);
}

/* ---- scratch ------------------------------------------------------------------------------------ */

/* Slots for n rows, most of them free: 2^this. */
static unsigned seen_bits(size_t n) {
    unsigned bits = 6;
    while ((size_t)1 << bits < 4 * n) bits++;
    return bits;
}

ng_status ng_linear_scratch_new(ng_linear_scratch **out, const ng_linear *m, ng_error *err) {
    ng_linear_scratch *s = calloc(1, sizeof *s);
    *out = NULL;
    if (s) {
        s->n_rows = m->n_rows;
        s->n_labels = m->n_labels;
        s->seen = calloc((size_t)1 << seen_bits(m->n_rows), sizeof *s->seen);
        s->touched = malloc(m->n_rows * sizeof *s->touched);
        s->sums = malloc((m->n_labels + 1) * sizeof *s->sums);
        s->logits = malloc(m->n_labels * sizeof *s->logits);
    }
    if (!s || !s->seen || !s->touched || !s->sums || !s->logits) {
        ng_linear_scratch_free(s);
        return no_memory(m, err);
    }
    *out = s;
    return NG_OK;
}

void ng_linear_scratch_free(ng_linear_scratch *s) {
    if (!s) return;
    ng_features_clear(&s->features);
    free(s->seen);
    free(s->touched);
    free(s->sums);
    free(s->logits);
    free(s);
}

/* ---- applying ----------------------------------------------------------------------------------- */

/* Between two sparse requests other programs take the cache, and then a request is little else than
 * waiting for memory. Asked for ahead, the lines of many features come at the same time. */
enum { AHEAD = 16, LINE_BYTES = 64 };

static void fetch_rank(const ng_linear *m, const ng_linear_scratch *s, size_t i) {
    if (i >= s->features.n_buckets) return;
    uint32_t b = s->features.buckets[i];
    __builtin_prefetch(&m->used[b >> 6]);
    __builtin_prefetch(&m->rank[b >> 6]);
}

static void fetch_row(const ng_linear *m, uint32_t row) {
    const int8_t *w = m->weight + row * m->row_bytes;
    __builtin_prefetch(&m->idf[row]);
    for (size_t at = 0; at < m->row_bytes; at += LINE_BYTES) __builtin_prefetch(w + at);
}

/* The builtin is a call where the machine of the build may lack the instruction. */
static uint32_t count_bits(uint64_t x) {
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    return (uint32_t)(((x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F) * 0x0101010101010101 >> 56);
}

/* The rows of the text's features in the place of their buckets, repeats and all.  No branch: which features a model knows is
 * anybody's guess, the processor's too. */
static size_t find_rows(const ng_linear *m, ng_linear_scratch *s) {
    uint32_t *rows = s->features.buckets;
    size_t n = 0;
    for (size_t i = 0; i < AHEAD; i++) fetch_rank(m, s, i);
    for (size_t i = 0; i < s->features.n_buckets; i++) {
        fetch_rank(m, s, i + AHEAD);
        uint32_t b = s->features.buckets[i];
        uint64_t word = m->used[b >> 6], bit = (uint64_t)1 << (b & 63);
        rows[n] = m->rank[b >> 6] + count_bits(word & (bit - 1));
        n += (word & bit) != 0;
    }
    return n;
}

/* Counts the text's features by row; *unknown: how many have none.  The table is as small as the text: one counter a row of the
 * model would be another line of memory a feature, which nobody can ask for ahead. */
static size_t count_rows(const ng_linear *m, ng_linear_scratch *s, size_t *unknown) {
    const uint32_t *rows = s->features.buckets;
    size_t n = 0, n_known = find_rows(m, s);
    unsigned bits = seen_bits(n_known < m->n_rows ? n_known : m->n_rows);
    uint32_t mask = (uint32_t)(((size_t)1 << bits) - 1);
    *unknown = s->features.n_buckets - n_known;
    for (size_t i = 0; i < n_known; i++) {
        uint32_t row = rows[i], at = row * 0x9E3779B1u >> (32 - bits);
        while (s->seen[at].count && s->seen[at].row != row) at = (at + 1) & mask;
        if (!s->seen[at].count) {
            s->seen[at].row = row;
            s->touched[n++] = at;
            fetch_row(m, row);
        }
        if (s->seen[at].count < UINT16_MAX) s->seen[at].count++;
    }
    s->features.n_buckets = 0; /* they are rows now */
    return n;
}

static int16_t scaled(const seen_row *r, double unit) { return (int16_t)(r->value * unit + 0.5); }

/* Four at a time; what is missing of the last four counts nothing. */
static void sum_rows(const ng_linear *m, ng_linear_scratch *s, size_t n, double unit) {
    memset(s->sums, 0, (m->n_labels + 1) * sizeof *s->sums);
    for (size_t i = 0; i < n; i += 4) {
        const int8_t *w[4];
        int16_t u[4];
        for (size_t k = 0; k < 4; k++) {
            const seen_row *r = &s->seen[s->touched[i + k < n ? i + k : i]];
            w[k] = m->weight + r->row * m->row_bytes;
            u[k] = i + k < n ? scaled(r, unit) : 0;
        }
        if (m->weight_bits == 8) m->kernels->add_rows_i8(s->sums, w, u, m->n_labels);
        else m->kernels->add_rows_i4(s->sums, w, u, m->row_bytes);
    }
}

static ng_status check_scratch(const ng_linear *m, const ng_linear_scratch *s, ng_error *err) {
    if (s->n_rows < m->n_rows || s->n_labels < m->n_labels)
        return ng_fail(err, NG_EINVALID, "%s: the scratch was made for a smaller model", m->name);
    return NG_OK;
}

void ng_linear_finish(const ng_linear *m, const int32_t *sums, float *logits) {
    for (size_t c = 0; c < m->n_labels; c++) logits[c] = (float)sums[c] * (m->scale[c] / NG_LINEAR_UNIT) + m->bias[c];
}

/* From the buckets in the scratch. */
static void score(const ng_linear *m, ng_linear_scratch *s, float *logits) {
    size_t unknown, n = count_rows(m, s, &unknown);
    uint64_t norm = unknown * (uint64_t)(m->unknown * 16) * (m->unknown * 16);
    for (size_t i = 0; i < n; i++) {
        seen_row *r = &s->seen[s->touched[i]];
        uint64_t v = ng_linear_value(r->count, m->idf[r->row], m->log_tf);
        r->value = (uint16_t)v; /* at most 255 * 82 */
        norm += v * v;
    }
    sum_rows(m, s, n, norm ? NG_LINEAR_UNIT / sqrt((double)norm) : 0);
    for (size_t i = 0; i < n; i++) s->seen[s->touched[i]].count = 0;
    ng_linear_finish(m, s->sums, logits);
}

ng_status ng_linear_logits(const ng_linear *m, ng_linear_scratch *s, const char *text, size_t len, float *logits,
                           ng_error *err) {
    ng_status status = check_scratch(m, s, err);
    if (!status) status = ng_features_extract(&s->features, &m->features, text, len, err);
    if (!status) score(m, s, logits);
    return status;
}

void ng_linear_calibrate(const ng_linear *m, float *p) {
    if (!m->multi_label) {
        ng_softmax(p, p, m->n_labels, 1 / m->temperature);
        return;
    }
    for (size_t c = 0; c < m->n_labels; c++) {
        double z = (double)p[c];
        if (m->platt_scale) z = z * (double)m->platt_scale[c] + (double)m->platt_shift[c];
        p[c] = (float)ng_sigmoid(z);
    }
}

ng_status ng_linear_apply(const ng_linear *m, ng_linear_scratch *s, const char *text, size_t len, float *p,
                          ng_error *err) {
    ng_status status = ng_linear_logits(m, s, text, len, p, err);
    if (!status) ng_linear_calibrate(m, p);
    return status;
}

ng_status ng_linear_apply_recorded(const ng_linear *m, ng_linear_scratch *s, const void *blob, size_t len, float *p,
                                   ng_error *err) {
    ng_status status = check_scratch(m, s, err);
    if (!status) status = ng_feature_blob_get(&s->features, &m->features, blob, len, err);
    if (status) return status;
    score(m, s, p);
    ng_linear_calibrate(m, p);
    return NG_OK;
}

ng_status ng_linear_file_features(ng_feature_config *out, const char *path, ng_error *err) {
    ng_linear m = {.name = path};
    ng_str arch;
    ng_status s = ng_gguf_open(&m.gguf, path, err);
    if (s) return s;
    s = ng_gguf_get_str(m.gguf, "general.architecture", &arch, err);
    if (!s && (arch.len != 15 || memcmp(arch.data, "nanogrid-linear", 15)))
        s = ng_fail(err, NG_EUNSUPPORTED, "%s is no linear model", path);
    if (!s) s = read_features(&m, err);
    *out = m.features;
    ng_gguf_close(m.gguf);
    return s;
}

size_t ng_linear_n_labels(const ng_linear *m) { return m->n_labels; }
const char *ng_linear_label(const ng_linear *m, size_t i) { return m->labels[i]; }
const char *ng_linear_task(const ng_linear *m) { return m->task; }
bool ng_linear_multi_label(const ng_linear *m) { return m->multi_label; }
bool ng_linear_calibrated(const ng_linear *m) { return m->calibrated; }
float ng_linear_oos_threshold(const ng_linear *m) { return m->oos_threshold; }
float ng_linear_threshold(const ng_linear *m, size_t label) { return m->thresholds ? m->thresholds[label] : 0.5f; }
size_t ng_linear_file_bytes(const ng_linear *m) { return ng_gguf_file_bytes(m->gguf); }
