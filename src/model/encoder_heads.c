/* encoder_heads.c: see encoder_heads.h.  Heads are small next to their encoder, so sums are plain: in
 * double, in order, one thread. */
#include "encoder_heads.h"

#include "adapter.h"

#include "arch.h"
#include "core/math.h"
#include "kernel/dequant.h"
#include "token_spans.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct reader {
    const ng_gguf *g;
    ng_arena *arena;
    const char *path;
    char key[192];
} reader;

static ng_status no_memory(const reader *r, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
}

static const char *key_of(reader *r, const ng_encoder_head *h, const char *what) {
    snprintf(r->key, sizeof r->key, "nanogrid.head.%s.%s", h->name, what);
    return r->key;
}

/* A float key that may be missing. */
static ng_status read_float(reader *r, const ng_encoder_head *h, const char *what, float *out, ng_error *err) {
    const char *key = key_of(r, h, what);
    ng_status s = ng_gguf_get_f32_or(r->g, key, 0, out, err);
    if (s || (isfinite(*out) && *out >= 0)) return s;
    return ng_fail(err, NG_EFORMAT, "%s: %s is %g", r->path, key, (double)*out);
}

/* n floats, or NULL where the key is missing. */
static ng_status read_floats(reader *r, const ng_encoder_head *h, const char *what, size_t n, const float **out,
                             ng_error *err) {
    const char *key = key_of(r, h, what);
    ng_gguf_array a;
    *out = NULL;
    if (!ng_gguf_has(r->g, key)) return NG_OK;
    ng_status s = ng_gguf_get_array(r->g, key, &a, err);
    if (s) return s;
    if (a.kind != NG_GGUF_F32 || a.len != n)
        return ng_fail(err, NG_EFORMAT, "%s: %s must be %zu floats", r->path, key, n);
    float *x = ng_arena_array(r->arena, a.len, sizeof *x);
    if (!x) return no_memory(r, err);
    memcpy(x, a.data, a.len * sizeof *x);
    *out = x;
    return NG_OK;
}

static ng_status read_labels(reader *r, ng_encoder_head *h, ng_error *err) {
    ng_gguf_array a;
    const char *key = key_of(r, h, "labels");
    ng_status s = ng_gguf_get_array(r->g, key, &a, err);
    if (s) return s;
    if (a.kind != NG_GGUF_STRING || !a.len || a.len > NG_ENCODER_LABELS_MAX)
        return ng_fail(err, NG_EFORMAT, "%s: %s must be 1 to %d texts", r->path, key, NG_ENCODER_LABELS_MAX);
    h->labels = ng_arena_array(r->arena, a.len, sizeof *h->labels);
    if (!h->labels) return no_memory(r, err);
    h->n_labels = a.len;
    for (size_t i = 0; i < a.len; i++)
        if (!(h->labels[i] = ng_arena_strndup(r->arena, a.strs[i].data, a.strs[i].len))) return no_memory(r, err);
    return NG_OK;
}

/* head.N.WHAT as floats. */
static ng_status read_tensor(reader *r, const ng_encoder_head *h, const char *what, size_t rows, size_t cols,
                             const float **out, ng_error *err) {
    snprintf(r->key, sizeof r->key, "head.%s.%s", h->name, what);
    const ng_gguf_tensor *t = ng_gguf_find_tensor(r->g, r->key);
    if (!t || t->dims[0] != cols || t->dims[1] != rows || t->dims[2] * t->dims[3] != 1 || !ng_can_dequantize(t->type))
        return ng_fail(err, NG_EFORMAT, "%s: head '%s' needs a tensor %s of [%zu, %zu]", r->path, h->name, r->key, cols,
                       rows);
    float *x = ng_arena_array(r->arena, rows * cols, sizeof *x);
    if (!x) return no_memory(r, err);
    for (size_t i = 0; i < rows; i++)
        ng_dequantize_row(t->type, (const char *)t->data + i * (t->bytes / rows), x + i * cols, cols);
    for (size_t i = 0; i < rows * cols; i++)
        if (!isfinite(x[i])) return ng_fail(err, NG_EFORMAT, "%s: %s holds a value that is no number", r->path, r->key);
    *out = x;
    return NG_OK;
}

static ng_status read_shapes(reader *r, ng_encoder_head *h, ng_error *err) {
    snprintf(r->key, sizeof r->key, "head.%s.shapes", h->name);
    if (!h->tokens || !ng_gguf_find_tensor(r->g, r->key)) return NG_OK;
    return read_tensor(r, h, "shapes", h->n_labels, NG_SHAPE_INPUTS, &h->shapes, err);
}

/* Both or neither. */
static ng_status read_scope(reader *r, ng_encoder_head *h, ng_error *err) {
    snprintf(r->key, sizeof r->key, "head.%s.means", h->name);
    bool means = ng_gguf_find_tensor(r->g, r->key) != NULL;
    ng_status s = read_floats(r, h, "scope", 3, &h->scope, err);
    if (s || (!means && !h->scope)) return s;
    if (!means || !h->scope || h->each || h->tokens || h->pair)
        return ng_fail(err, NG_EFORMAT,
                       "%s: nanogrid.head.%s.scope and head.%s.means go together, in a head that gives one text one label",
                       r->path, h->name, h->name);
    for (size_t i = 0; i < 3; i++)
        if (!isfinite(h->scope[i]))
            return ng_fail(err, NG_EFORMAT, "%s: head '%s': scope holds a value that is no number", r->path, h->name);
    return read_tensor(r, h, "means", h->n_labels, h->width, &h->means, err);
}

static ng_status read_head(reader *r, ng_encoder_head *h, ng_error *err) {
    ng_str task;
    uint32_t pooling;
    ng_status s = ng_gguf_get_str(r->g, key_of(r, h, "task"), &task, err);
    if (s) return s;
    if (!(h->task = ng_arena_strndup(r->arena, task.data, task.len))) return no_memory(r, err);
    if ((s = ng_gguf_get_u32(r->g, key_of(r, h, "pooling"), &pooling, err))) return s;
    h->tokens = !strcmp(h->task, "extract");
    h->each = !strcmp(h->task, "moderate");
    h->first = pooling == 2;
    bool known = h->tokens || h->each || !strcmp(h->task, "classify") || !strcmp(h->task, "detect-language") ||
                 !strcmp(h->task, "embed") || !strcmp(h->task, "rerank") || !strcmp(h->task, "summarize");
    if (!known || pooling > 2 || (!pooling && !h->tokens))
        return ng_fail(err, NG_EUNSUPPORTED, "%s: head '%s' of task '%s' with pooling %u is not known to this version",
                       r->path, h->name, h->task, pooling);
    if (!strcmp(h->task, "embed")) return NG_OK;
    if ((s = ng_gguf_get_bool_or(r->g, key_of(r, h, "pair"), false, &h->pair, err))) return s;
    if ((s = read_labels(r, h, err)) || (s = read_tensor(r, h, "weight", h->n_labels, h->width, &h->w, err)) ||
        (s = read_tensor(r, h, "bias", 1, h->n_labels, &h->b, err)) || (s = read_shapes(r, h, err)) ||
        (s = read_float(r, h, "temperature", &h->temperature, err)) ||
        (s = read_float(r, h, "oos_threshold", &h->oos_threshold, err)) ||
        (s = read_floats(r, h, "platt_scale", h->n_labels, &h->platt_scale, err)) ||
        (s = read_floats(r, h, "platt_shift", h->n_labels, &h->platt_shift, err)) ||
        (s = read_floats(r, h, "threshold", h->n_labels, &h->threshold, err)) || (s = read_scope(r, h, err)))
        return s;
    for (size_t i = 0; h->tokens && i < h->n_labels; i++) {
        const char *l = h->labels[i];
        if (i ? (l[0] != 'B' && l[0] != 'I') || l[1] != '-' || !l[2] : strcmp(l, "O") != 0)
            return ng_fail(err, NG_EFORMAT, "%s: head '%s': label '%.40s' is not O (the first), B-kind or I-kind",
                           r->path, h->name, l);
    }
    bool scores = !strcmp(h->task, "rerank") || !strcmp(h->task, "summarize");
    if (scores && (!h->pair || h->n_labels != 2))
        return ng_fail(err, NG_EFORMAT, "%s: head '%s' of task '%s' must read pairs and have two labels", r->path,
                       h->name, h->task);
    if (!h->platt_scale != !h->platt_shift)
        return ng_fail(err, NG_EFORMAT, "%s: head '%s' has one of platt_scale and platt_shift", r->path, h->name);
    return NG_OK;
}

ng_status ng_encoder_heads_open(ng_encoder_heads *out, const ng_model *m, ng_error *err) {
    ng_gguf_array names;
    ng_error local = {0};
    err = err ? err : &local;
    *out = (ng_encoder_heads){0};
    const ng_gguf *g = ng_adapter_heads(m->adapter) ? ng_adapter_heads(m->adapter) : m->gguf;
    if (!ng_gguf_has(g, "nanogrid.heads")) return NG_OK;
    if (ng_arena_new(&out->arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", m->info.path);
    reader r = {.g = g, .arena = out->arena, .path = ng_gguf_path(g)};
    ng_status s = ng_gguf_get_array(g, "nanogrid.heads", &names, err);
    if (!s && (names.kind != NG_GGUF_STRING || names.len > NG_ENCODER_HEADS_MAX))
        s = ng_fail(err, NG_EFORMAT, "%s: nanogrid.heads must be at most %d texts", r.path, NG_ENCODER_HEADS_MAX);
    if (!s && !(out->items = ng_arena_array(out->arena, names.len, sizeof *out->items))) s = no_memory(&r, err);
    for (size_t i = 0; !s && i < names.len; i++) {
        ng_encoder_head *h = &out->items[out->len];
        h->width = m->info.n_embd;
        if (names.strs[i].len > 64) s = ng_fail(err, NG_EFORMAT, "%s: a head's name is longer than 64 bytes", r.path);
        else if (!(h->name = ng_arena_strndup(r.arena, names.strs[i].data, names.strs[i].len))) s = no_memory(&r, err);
        else s = read_head(&r, h, err);
        out->len++;
    }
    if (s) ng_encoder_heads_close(out);
    return s;
}

void ng_encoder_heads_close(ng_encoder_heads *h) {
    ng_arena_free(h->arena);
    *h = (ng_encoder_heads){0};
}

const ng_encoder_head *ng_encoder_heads_find(const ng_encoder_heads *h, const char *name, ng_error *err) {
    char known[256] = "";
    if (!name && h->len) return &h->items[0];
    for (size_t i = 0; i < h->len; i++) {
        size_t at = strlen(known);
        if (!strcmp(h->items[i].name, name)) return &h->items[i];
        snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", h->items[i].name);
    }
    (void)ng_fail(err, NG_ENOTFOUND,
                  h->len ? "the model has no head '%s'; it has %s" : "the model carries no heads%.0s%s",
                  name ? name : "", known);
    return NULL;
}

const ng_encoder_head *ng_encoder_heads_first(const ng_encoder_heads *h, const char *task) {
    for (size_t i = 0; i < h->len; i++)
        if (!strcmp(h->items[i].task, task)) return &h->items[i];
    return NULL;
}

ng_status ng_encoder_heads_choose(const ng_encoder_head **out, const ng_encoder_heads *h, const char *path,
                                  const char *task, const char *name, ng_error *err) {
    ng_error why = {0};
    const ng_encoder_head *head = name ? ng_encoder_heads_find(h, name, &why) : ng_encoder_heads_first(h, task);
    *out = NULL;
    if (!head && name) return ng_fail(err, why.code, "%s: %s", path, why.text);
    if (!head) return ng_fail(err, NG_EUNSUPPORTED, "%s: the encoder carries no head of the task %s", path, task);
    if (strcmp(head->task, task) != 0)
        return ng_fail(err, NG_EINVALID, "%s: head '%s' was trained for the task %s and is no head of the task %s", path,
                       head->name, head->task, task);
    *out = head;
    return NG_OK;
}

void ng_encoder_head_row(const ng_encoder_head *h, const float *row, float *z) {
    for (size_t k = 0; k < h->n_labels; k++) {
        const float *w = h->w + k * h->width;
        double sum = 0;
        for (size_t i = 0; i < h->width; i++) sum += (double)w[i] * (double)row[i];
        z[k] = (float)(sum + (double)h->b[k]);
    }
}

void ng_encoder_head_shapes(const ng_encoder_head *h, const uint16_t *shapes, float *z) {
    for (size_t k = 0; h->shapes && k < h->n_labels; k++) {
        const float *w = h->shapes + k * NG_SHAPE_INPUTS;
        double sum = (double)z[k];
        for (size_t i = 0; i < NG_SHAPE_INPUTS; i++)
            if (shapes[i / NG_SHAPE_BITS] >> i % NG_SHAPE_BITS & 1) sum += (double)w[i];
        z[k] = (float)sum;
    }
}

size_t ng_encoder_head_best(const ng_encoder_head *h, const float *z) {
    size_t best = 0;
    for (size_t k = 1; k < h->n_labels; k++)
        if (z[k] > z[best]) best = k;
    return best;
}

/* sum[k] = the products of rows k, .., k + 3 of w, or of those that there are, with lane[n]. */
static void four_products(const ng_encoder_head *h, const float *w, size_t k, const double *lane, size_t n, double sum[4]) {
    const float *row[4];
    for (size_t j = 0; j < 4; j++) row[j] = w + (k + j < h->n_labels ? k + j : k) * h->width, sum[j] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < 4; j++) sum[j] += (double)row[j][i] * lane[i];
}

/* z[n_labels] += w[n_labels, width] times the pooled rows of hidden; the squared length of what was pooled. */
static double add_products(const ng_encoder_head *h, const float *w, const float *hidden, size_t n_tok, float *z) {
    size_t rows = h->first ? 1 : n_tok;
    double lane[64], sum[4], square = 0;
    /* 64 columns at a time, so that the pooled vector needs no memory */
    for (size_t from = 0; from < h->width; from += 64) {
        size_t n = h->width - from < 64 ? h->width - from : 64;
        memset(lane, 0, sizeof lane);
        for (size_t t = 0; t < rows; t++)
            for (size_t i = 0; i < n; i++) lane[i] += (double)hidden[t * h->width + from + i];
        for (size_t i = 0; i < n; i++) square += lane[i] / (double)rows * (lane[i] / (double)rows);
        for (size_t k = 0; k < h->n_labels; k += 4) {
            four_products(h, w + from, k, lane, n, sum);
            for (size_t j = 0; j < 4 && k + j < h->n_labels; j++)
                z[k + j] = (float)((double)z[k + j] + sum[j] / (double)rows);
        }
    }
    return square;
}

void ng_encoder_head_logits(const ng_encoder_head *h, const float *hidden, size_t n_tok, float *z) {
    memcpy(z, h->b, h->n_labels * sizeof *z);
    (void)add_products(h, h->w, hidden, n_tok, z);
}

static float greatest(const float *x, size_t n) {
    float most = x[0];
    for (size_t k = 1; k < n; k++) most = x[k] > most ? x[k] : most;
    return most;
}

ng_scope_place ng_encoder_head_place(const ng_encoder_head *h, const float *hidden, size_t n_tok, const float *p) {
    float dot[NG_ENCODER_LABELS_MAX] = {0};
    double square = add_products(h, h->means, hidden, n_tok, dot), top = (double)greatest(p, h->n_labels);
    top = top < 1e-6 ? 1e-6 : top > 1 - 1e-6 ? 1 - 1e-6 : top;
    return (ng_scope_place){ng_log(top / (1 - top)), (double)greatest(dot, h->n_labels) / sqrt(square + 1e-30)};
}

float ng_encoder_head_scope(const ng_encoder_head *h, const float *hidden, size_t n_tok, const float *p) {
    return h->means ? ng_encoder_head_scope_at(h, ng_encoder_head_place(h, hidden, n_tok, p)) : greatest(p, h->n_labels);
}

float ng_encoder_head_scope_at(const ng_encoder_head *h, ng_scope_place at) {
    return (float)ng_sigmoid((double)h->scope[0] * at.sure + (double)h->scope[1] * at.near + (double)h->scope[2]);
}

void ng_encoder_head_decide(const ng_encoder_head *h, const float *z, float *p) {
    if (!h->each) {
        ng_softmax(p, z, h->n_labels, h->temperature > 0 ? 1 / h->temperature : 1);
        return;
    }
    for (size_t k = 0; k < h->n_labels; k++) {
        double x = (double)z[k];
        p[k] = (float)ng_sigmoid(h->platt_scale ? x * (double)h->platt_scale[k] + (double)h->platt_shift[k] : x);
    }
}

bool ng_encoder_head_calibrated(const ng_encoder_head *h) {
    return h->each ? h->platt_scale != NULL : h->temperature > 0;
}

float ng_encoder_head_threshold(const ng_encoder_head *h, size_t label) {
    return h->threshold ? h->threshold[label] : 0.5f;
}
