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

struct ng_linear_scratch {
    size_t n_rows, n_labels; /* of the model it was made for */
    ng_features features;
    ng_row_counter counter;
    int16_t *u;              /* [n_rows] */
    int32_t *sums;           /* [n_labels + 1] */
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
    size_t n_words = (size_t)1 << (m->features.bits - 6);
    uint32_t rows = 0;
    const void *data;
    ng_status s = tensor(m, "linear.rows", NG_TYPE_I64, (uint64_t[2]){n_words, 0}, &data, err);
    if (s) return s;
    m->table = ng_arena_array(m->arena, 3 * n_words, sizeof *m->table);
    if (!m->table) return no_memory(m, err);
    for (size_t i = 0; i < n_words; i++) {
        uint64_t used;
        memcpy(&used, (const char *)data + i * sizeof used, sizeof used);
        rows = ng_linear_put_used(m->table, i, used, rows);
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

/* ---- rows of a text ----------------------------------------------------------------------------- */

uint32_t ng_linear_put_used(uint32_t *table, size_t i, uint64_t used, uint32_t rows) {
    table[3 * i] = (uint32_t)used;
    table[3 * i + 1] = (uint32_t)(used >> 32);
    table[3 * i + 2] = rows;
    return rows + (uint32_t)__builtin_popcountll(used);
}

/* Slots for n rows, most of them free: 2^this. */
static unsigned slot_bits(size_t n) {
    unsigned bits = 6;
    while ((size_t)1 << bits < 4 * n) bits++;
    return bits;
}

bool ng_row_counter_init(ng_row_counter *c, size_t n_rows) {
    c->slots = malloc(((size_t)1 << slot_bits(n_rows)) * sizeof *c->slots);
    c->counts = malloc(n_rows * sizeof *c->counts);
    return c->slots && c->counts;
}

void ng_row_counter_clear(ng_row_counter *c) {
    free(c->slots);
    free(c->counts);
}

/* The table is as small as the text: one counter a row of the model would be another line of memory a feature, which nobody can ask for
 * ahead.  Whether a row was seen before is no branch either. */
size_t ng_row_counter_apply(ng_row_counter *c, uint32_t *rows, size_t n, size_t n_rows) {
    unsigned bits = slot_bits(n < n_rows ? n : n_rows);
    uint32_t mask = (uint32_t)(((size_t)1 << bits) - 1), different = 0;
    memset(c->slots, 0, ((size_t)1 << bits) * sizeof *c->slots);
    for (size_t i = 0; i < n; i++) {
        uint32_t row = rows[i], at = row * 0x9E3779B1u >> (32 - bits), place;
        while ((place = c->slots[at]) && rows[place - 1] != row) at = (at + 1) & mask;
        const bool first = !place;
        place = first ? different : place - 1;
        const uint32_t count = first ? 0 : c->counts[place];
        rows[place] = row;
        c->counts[place] = (uint16_t)(count + (count < UINT16_MAX));
        c->slots[at] = place + 1;
        different += first;
    }
    return different;
}

/* ---- scratch ------------------------------------------------------------------------------------ */

ng_status ng_linear_scratch_new(ng_linear_scratch **out, const ng_linear *m, ng_error *err) {
    ng_linear_scratch *s = calloc(1, sizeof *s);
    *out = NULL;
    if (s) {
        s->n_rows = m->n_rows;
        s->n_labels = m->n_labels;
        s->u = malloc(m->n_rows * sizeof *s->u);
        s->sums = malloc((m->n_labels + 1) * sizeof *s->sums);
    }
    if (!s || !ng_row_counter_init(&s->counter, m->n_rows) || !s->u || !s->sums) {
        ng_linear_scratch_free(s);
        return no_memory(m, err);
    }
    *out = s;
    return NG_OK;
}

void ng_linear_scratch_free(ng_linear_scratch *s) {
    if (!s) return;
    ng_features_clear(&s->features);
    ng_row_counter_clear(&s->counter);
    free(s->u);
    free(s->sums);
    free(s);
}

/* ---- applying ----------------------------------------------------------------------------------- */

enum { LINE_BYTES = 64 };

static void fetch_rows(const ng_linear *m, const uint32_t *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const int8_t *w = m->weight + rows[i] * m->row_bytes;
        __builtin_prefetch(&m->idf[rows[i]]);
        for (size_t at = 0; at < m->row_bytes; at += LINE_BYTES) __builtin_prefetch(w + at);
        __builtin_prefetch(w + m->row_bytes - 1);
    }
}

/* Four at a time; what is missing of the last four counts nothing. */
static void sum_rows(const ng_linear *m, ng_linear_scratch *s, size_t n) {
    const uint32_t *rows = s->features.buckets;
    memset(s->sums, 0, (m->n_labels + 1) * sizeof *s->sums);
    for (size_t i = 0; i < n; i += 4) {
        const int8_t *w[4];
        int16_t u[4];
        for (size_t k = 0; k < 4; k++) {
            size_t at = i + k < n ? i + k : i;
            w[k] = m->weight + rows[at] * m->row_bytes;
            u[k] = i + k < n ? s->u[at] : 0;
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
    uint32_t *rows = s->features.buckets;
    uint16_t *values = s->counter.counts;
    size_t known = m->kernels->find_rows(rows, s->features.n_buckets, m->table);
    uint64_t unknown = m->unknown * 16, norm = (s->features.n_buckets - known) * unknown * unknown;
    fetch_rows(m, rows, known);
    size_t n = ng_row_counter_apply(&s->counter, rows, known, m->n_rows);
    for (size_t i = 0; i < n; i++) {
        uint64_t v = ng_linear_value(values[i], m->idf[rows[i]], m->log_tf);
        values[i] = (uint16_t)v; /* at most 255 * 82 */
        norm += v * v;
    }
    const double unit = norm ? NG_LINEAR_UNIT / sqrt((double)norm) : 0;
    for (size_t i = 0; i < n; i++) s->u[i] = (int16_t)(values[i] * unit + 0.5);
    s->features.n_buckets = 0; /* they are rows now */
    sum_rows(m, s, n);
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
