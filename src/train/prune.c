/* prune.c: see prune.h.
 *
 * One pass over some training texts of every head gathers, in doubles and in the order of the texts: sums and sums of squares of each
 * inner value and of what each head gives, and the cosine of each layer's input and output, averaged over tokens (Men et al. 2024 drop layers by it). */
#include "prune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 16, ROUND = 32 };

typedef struct sums {
    double *sum, *squares; /* [n_layer, n_ff] */
    double *head_sum, *head_squares; /* [n_layer, attention width] */
    double *turned;        /* [n_layer] sums of 1 - cosine */
    size_t n_tok;
} sums;

static void add_layer(sums *o, const ng_encoder *e, size_t i, size_t n) {
    ng_encoder_shape shape = ng_encoder_get_shape(e);
    size_t w = shape.width, ff = shape.n_ff, aw = ng_encoder_attention_width(&shape);
    ng_encoder_values v = ng_encoder_layer_values(e, i);
    for (size_t t = 0; t < n; t++) {
        double aa = 1e-12, bb = 1e-12, ab = 0;
        for (size_t c = t * w; c < (t + 1) * w; c++) {
            aa += (double)v.in[c] * (double)v.in[c];
            bb += (double)v.out[c] * (double)v.out[c];
            ab += (double)v.in[c] * (double)v.out[c];
        }
        o->turned[i] += 1 - ab / sqrt(aa * bb);
        for (size_t c = 0; c < ff; c++) {
            double x = (double)v.inner[t * ff + c];
            o->sum[i * ff + c] += x;
            o->squares[i * ff + c] += x * x;
        }
        for (size_t c = 0; c < aw; c++) {
            double x = (double)v.heads[t * aw + c];
            o->head_sum[i * aw + c] += x;
            o->head_squares[i * aw + c] += x * x;
        }
    }
}

/* The next up to BATCH texts of x from `from`. */
static void add_batch(sums *o, ng_encoder *e, const ng_id_texts *x, size_t from, size_t n) {
    size_t begin[BATCH + 1] = {0};
    for (size_t i = 0; i < n; i++) begin[i + 1] = x->begin[from + i + 1] - x->begin[from];
    ng_encoder_batch b = {.n_seq = n, .begin = begin, .ids = x->ids + x->begin[from], .first = x->first + from};
    (void)ng_encoder_forward(e, &b);
    for (size_t i = 0; i < ng_encoder_get_shape(e).n_layer; i++) add_layer(o, e, i, begin[n]);
    o->n_tok += begin[n];
}

typedef struct scored {
    double score;
    uint32_t at;
} scored;

static int by_score(const void *a, const void *b) { /* the greatest first */
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->at > y->at) - (x->at < y->at);
}
static int by_place(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The `keep` best of n, in their order. */
static void take_best(scored *s, size_t n, size_t keep, uint32_t *out) {
    qsort(s, n, sizeof *s, by_score);
    for (size_t i = 0; i < keep; i++) out[i] = s[i].at;
    qsort(out, keep, sizeof *out, by_place);
}

static const float *tensor_of(ng_encoder *e, size_t layer, const char *name) {
    size_t n;
    char full[64];
    const ng_encoder_tensor *t = ng_encoder_tensors(e, &n);
    snprintf(full, sizeof full, "blk.%zu.%s", layer, name);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(t[i].name, full)) return ng_encoder_weights(e) + t[i].at;
    return NULL;
}

/* Squares of column c of m [rows, cols]. */
static double column(const float *m, size_t rows, size_t cols, size_t c) {
    double sum = 0;
    for (size_t r = 0; r < rows; r++) sum += (double)m[r * cols + c] * (double)m[r * cols + c];
    return sum;
}

static void choose_heads(ng_prune_plan *p, ng_encoder *whole, const sums *o, scored *s, size_t i) {
    ng_encoder_shape shape = ng_encoder_get_shape(whole);
    size_t aw = ng_encoder_attention_width(&shape), d = aw / shape.n_head;
    const float *out = tensor_of(whole, i, "attn_output.weight"); /* [width, aw] */
    for (size_t h = 0; h < shape.n_head; h++) s[h] = (scored){0, (uint32_t)h};
    for (size_t c = 0; c < aw; c++) {
        s[c / d].score += o->head_squares[i * aw + c] * column(out, shape.width, aw, c);
        p->head_mean[i * aw + c] = (float)(o->head_sum[i * aw + c] / (double)o->n_tok);
    }
    take_best(s, shape.n_head, p->shape.n_head, p->heads + i * p->shape.n_head);
}

static void choose(ng_prune_plan *p, ng_encoder *whole, const sums *o, scored *s) {
    ng_encoder_shape shape = ng_encoder_get_shape(whole);
    for (size_t i = 0; i < shape.n_layer; i++) {
        const float *down = tensor_of(whole, i, "ffn_down.weight"); /* [width, n_ff] */
        for (size_t c = 0; c < shape.n_ff; c++) {
            s[c] = (scored){o->squares[i * shape.n_ff + c] * column(down, shape.width, shape.n_ff, c), (uint32_t)c};
            p->mean[i * shape.n_ff + c] = (float)(o->sum[i * shape.n_ff + c] / (double)o->n_tok);
        }
        take_best(s, shape.n_ff, p->shape.n_ff, p->inner + i * p->shape.n_ff);
        choose_heads(p, whole, o, s, i);
    }
    for (size_t i = 0; i < shape.n_layer; i++) s[i] = (scored){o->turned[i], (uint32_t)i};
    take_best(s, shape.n_layer, p->shape.n_layer, p->layers);
}

static ng_status gather(sums *o, ng_encoder *whole, const ng_encoder_tasks *t, size_t texts, ng_nn *nn, ng_error *err) {
    size_t longest = 1, each = texts / t->len + 1;
    for (size_t k = 0; k < t->len; k++) {
        size_t n = ng_id_texts_longest(&t->items[k].train_ids);
        longest = n > longest ? n : longest;
    }
    ng_status s = ng_encoder_bind(whole, nn, BATCH * longest, BATCH, longest, err);
    for (size_t k = 0; !s && k < t->len; k++) {
        const ng_id_texts *x = &t->items[k].train_ids;
        /* evenly over the file: texts often stand there by label */
        size_t step = x->n / (each / BATCH + 1) > BATCH ? x->n / (each / BATCH + 1) : BATCH;
        for (size_t from = 0; from < x->n; from += step)
            add_batch(o, whole, x, from, x->n - from < BATCH ? x->n - from : BATCH);
    }
    return s;
}

static ng_status smaller_shape(ng_encoder_shape *out, const ng_encoder_shape *shape, const ng_encoder_tasks *t,
                               const ng_prune_recipe *r, ng_error *err) {
    size_t keep = (size_t)((1 - r->inner) * (double)shape->n_ff / ROUND + 0.5) * ROUND;
    *out = *shape;
    if ((size_t)r->layers >= shape->n_layer)
        return ng_fail(err, NG_EINVALID, "%s: prune.layers %lld: the base has %zu, one must stay", t->recipe->path,
                       (long long)r->layers, shape->n_layer);
    if ((size_t)r->heads >= shape->n_head)
        return ng_fail(err, NG_EINVALID, "%s: prune.heads %lld: a layer of the base has %zu, one must stay",
                       t->recipe->path, (long long)r->heads, shape->n_head);
    out->n_layer -= (size_t)r->layers;
    if (r->heads) out->head_width = ng_encoder_attention_width(shape) / shape->n_head;
    out->n_head -= (size_t)r->heads;
    if (r->inner > 0 && keep < shape->n_ff) out->n_ff = keep ? keep : ROUND < shape->n_ff ? ROUND : shape->n_ff;
    return NG_OK;
}

static bool new_sums(sums *o, const ng_encoder_shape *s) {
    size_t n = s->n_layer * s->n_ff, m = s->n_layer * ng_encoder_attention_width(s);
    *o = (sums){calloc(n, sizeof(double)), calloc(n, sizeof(double)), calloc(m, sizeof(double)), calloc(m, sizeof(double)), calloc(s->n_layer, sizeof(double)), 0};
    return o->sum && o->squares && o->head_sum && o->head_squares && o->turned;
}

ng_status ng_prune_plan_new(ng_prune_plan *p, ng_encoder *whole, const ng_encoder_tasks *t, const ng_prune_recipe *r,
                            ng_nn *nn, ng_error *err) {
    ng_encoder_shape shape = ng_encoder_get_shape(whole);
    size_t n = shape.n_layer * shape.n_ff, m = shape.n_layer * ng_encoder_attention_width(&shape);
    sums o;
    *p = (ng_prune_plan){0};
    ng_status status = smaller_shape(&p->shape, &shape, t, r, err);
    if (status) return status;
    p->layers = calloc(shape.n_layer, sizeof *p->layers);
    p->inner = calloc(n, sizeof *p->inner);
    p->heads = calloc(shape.n_layer * shape.n_head, sizeof *p->heads);
    p->mean = calloc(n, sizeof *p->mean);
    p->head_mean = calloc(m, sizeof *p->head_mean);
    scored *s = malloc((n + m + 1) * sizeof *s);
    bool ok = new_sums(&o, &shape) && p->layers && p->inner && p->heads && p->mean && p->head_mean && s;
    status = ok ? gather(&o, whole, t, (size_t)r->texts, nn, err)
                : ng_fail(err, NG_ENOMEM, "%s: out of memory", t->recipe->path);
    if (!status && !o.n_tok) status = ng_fail(err, NG_EFORMAT, "%s: no text to prune by", t->recipe->path);
    if (!status) choose(p, whole, &o, s);
    free(o.sum), free(o.squares), free(o.head_sum), free(o.head_squares), free(o.turned), free(s);
    if (status) ng_prune_plan_clear(p);
    return status;
}

void ng_prune_plan_clear(ng_prune_plan *p) {
    free(p->layers), free(p->inner), free(p->heads), free(p->mean), free(p->head_mean);
    *p = (ng_prune_plan){0};
}

/* ---- the student's weights ---------------------------------------------------------------------- */

/* What stays of a matrix: rows or columns, in blocks. */
typedef struct kept {
    const uint32_t *blocks; /* [n] */
    size_t n, block, of;    /* of: rows or columns that there were */
    const float *mean;      /* [of] */
} kept;

static void copy_rows(const kept *k, const float *y, float *x, size_t cols) {
    for (size_t i = 0; i < k->n; i++)
        memcpy(x + i * k->block * cols, y + k->blocks[i] * k->block * cols, k->block * cols * sizeof *x);
}

static void copy_columns(const kept *k, const float *y, float *x, size_t rows) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < k->n; i++)
            memcpy(x + (r * k->n + i) * k->block, y + r * k->of + k->blocks[i] * k->block, k->block * sizeof *x);
}

/* What the columns of m [rows, of] that went give on average, added to the bias. */
static void add_gone(const kept *k, const float *m, float *bias, size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        double gone = 0;
        for (size_t c = 0, i = 0; c < k->of; c++) {
            while (i < k->n && (k->blocks[i] + 1) * k->block <= c) i++;
            if (i == k->n || c < k->blocks[i] * k->block) gone += (double)m[r * k->of + c] * (double)k->mean[c];
        }
        bias[r] += (float)gone;
    }
}

/* One tensor of layer `from` of the whole to x [rows, cols] of the student. */
static void copy_tensor(const ng_prune_plan *p, ng_encoder *whole, size_t from, const char *name, float *x, size_t rows,
                        size_t cols) {
    ng_encoder_shape shape = ng_encoder_get_shape(whole);
    size_t aw = ng_encoder_attention_width(&shape), w = shape.width;
    const float *y = tensor_of(whole, from, name);
    kept inner = {p->inner + from * p->shape.n_ff, p->shape.n_ff, 1, shape.n_ff, p->mean + from * shape.n_ff};
    kept heads = {p->heads + from * p->shape.n_head, p->shape.n_head, aw / shape.n_head, aw, p->head_mean + from * aw};
    bool of_heads = !strncmp(name, "attn_q.", 7) || !strncmp(name, "attn_k.", 7) || !strncmp(name, "attn_v.", 7);
    if (of_heads) copy_rows(&heads, y, x, rows > 1 ? w : 1);
    else if (!strcmp(name, "ffn_up.weight")) copy_rows(&inner, y, x, w);
    else if (!strcmp(name, "ffn_up.bias")) copy_rows(&inner, y, x, 1);
    else if (!strcmp(name, "ffn_down.weight")) copy_columns(&inner, y, x, w);
    else if (!strcmp(name, "attn_output.weight")) copy_columns(&heads, y, x, w);
    else memcpy(x, y, rows * cols * sizeof *x);
    if (!strcmp(name, "ffn_down.bias")) add_gone(&inner, tensor_of(whole, from, "ffn_down.weight"), x, w);
    if (!strcmp(name, "attn_output.bias")) add_gone(&heads, tensor_of(whole, from, "attn_output.weight"), x, w);
}

void ng_prune_copy(const ng_prune_plan *p, ng_encoder *whole, ng_encoder *student) {
    size_t n, m;
    const ng_encoder_tensor *t = ng_encoder_tensors(student, &n), *all = ng_encoder_tensors(whole, &m);
    float *weights = ng_encoder_weights(student);
    for (size_t i = 0; i < n; i++) {
        unsigned layer;
        int at = 0;
        if (sscanf(t[i].name, "blk.%u.%n", &layer, &at) == 1 && at)
            copy_tensor(p, whole, p->layers[layer], t[i].name + at, weights + t[i].at, t[i].rows, t[i].cols);
        else memcpy(weights + t[i].at, ng_encoder_weights(whole) + all[i].at, t[i].rows * t[i].cols * sizeof *weights); /* tables come first in both */
    }
}
