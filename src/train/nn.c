/* nn.c: the context, linear layers, rows and elements, the optimiser.  See nn.h.  Attention is in
 * nn_attention.c, losses in nn_loss.c.
 *
 * Every operation is one or two jobs of the pool.  Sums over rows (gradients of norms) go over chunks of
 * ROWS rows into the work space first, then column by column over the chunks; sums over rows of plain
 * columns (biases) split the columns.  Both orders depend on the shape alone. */
#include "nn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 64, CHUNK = 4096 };

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

ng_status ng_nn_init(ng_nn *nn, int n_threads, ng_precision precision, ng_error *err) {
    ng_cpu_level level;
    *nn = (ng_nn){0};
    ng_status s = ng_cpu_get(&level, err);
    if (!s) s = ng_gemm_ops_get(&nn->gemm, precision, err);
    if (!s) s = ng_pool_new(&nn->pool, n_threads, err);
    if (!s) nn->e = ng_elementwise_get(level);
    return s;
}

void ng_nn_clear(ng_nn *nn) {
    ng_pool_free(nn->pool);
    free(nn->work);
    *nn = (ng_nn){0};
}

ng_status ng_nn_reserve(ng_nn *nn, size_t bytes, ng_error *err) {
    if (bytes <= nn->work_bytes) return NG_OK;
    void *work = ng_memory_alloc_huge(bytes);
    if (!work) return ng_fail(err, NG_ENOMEM, "training: no memory for a work space of %zu bytes", bytes);
    free(nn->work);
    nn->work = work;
    nn->work_bytes = bytes;
    return NG_OK;
}

/* ---- linear ------------------------------------------------------------------------------------- */

static ng_product forward_product(const ng_nn_linear *l) {
    return (ng_product){.m = l->n, .n = l->out, .k = l->in, .a = {l->x, l->in, 1}, .b = {l->w, 1, l->in},
                        .c = l->y, .c_stride = l->out, .bias = l->b};
}

static ng_product input_product(const ng_nn_linear *l) {
    return (ng_product){.m = l->n, .n = l->in, .k = l->out, .a = {l->dy, l->out, 1}, .b = {l->w, l->in, 1},
                        .c = l->dx, .c_stride = l->in, .add = l->add_dx};
}

static ng_product weight_product(const ng_nn_linear *l) {
    return (ng_product){.m = l->out, .n = l->in, .k = l->n, .a = {l->dy, 1, l->out}, .b = {l->x, l->in, 1},
                        .c = l->dw, .c_stride = l->in, .add = true};
}

void ng_nn_linear_forward(const ng_nn *nn, const ng_nn_linear *l) {
    if (!l->n) return;
    ng_product p = forward_product(l);
    ng_product_run(&p, &nn->gemm, nn->pool, nn->work);
}

typedef struct column_job {
    const ng_nn *nn;
    const ng_nn_linear *l;
} column_job;

static void sum_columns(void *ctx, int part, int n_parts) {
    const column_job *j = ctx;
    size_t begin, end;
    ng_pool_slice(j->l->out, 16, part, n_parts, &begin, &end);
    if (end > begin) j->nn->e->add_rows(j->l->db + begin, j->l->dy + begin, j->l->n, j->l->out, end - begin);
}

void ng_nn_linear_backward(const ng_nn *nn, const ng_nn_linear *l) {
    if (!l->n) return;
    if (l->dw) {
        ng_product p = weight_product(l);
        ng_product_run(&p, &nn->gemm, nn->pool, nn->work);
    }
    if (l->db) ng_pool_run(nn->pool, sum_columns, &(column_job){nn, l});
    if (l->dx) {
        ng_product p = input_product(l);
        ng_product_run(&p, &nn->gemm, nn->pool, nn->work);
    }
}

size_t ng_nn_linear_bytes(const ng_nn *nn, size_t n, size_t in, size_t out) {
    ng_nn_linear l = {.n = n, .in = in, .out = out};
    ng_product a = forward_product(&l), b = input_product(&l), c = weight_product(&l);
    return max_size(ng_product_bytes(&a, &nn->gemm),
                    max_size(ng_product_bytes(&b, &nn->gemm), ng_product_bytes(&c, &nn->gemm)));
}

/* ---- embedding ---------------------------------------------------------------------------------- */

typedef struct embed_job {
    const ng_nn *nn;
    const ng_nn_embed *o;
} embed_job;

static void embed_rows(void *ctx, int part, int n_parts) {
    const embed_job *j = ctx;
    const ng_nn_embed *o = j->o;
    size_t begin, end, w = o->width;
    ng_pool_slice(o->n, 1, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        float *x = o->x + t * w;
        memcpy(x, o->token + (size_t)o->ids[t] * w, w * sizeof *x);
        j->nn->e->add(x, o->type + (o->types ? o->types[t] * w : 0), w);
        j->nn->e->add(x, o->position + (size_t)o->pos[t] * w, w);
    }
}

void ng_nn_embed_forward(const ng_nn *nn, const ng_nn_embed *o) {
    ng_pool_run(nn->pool, embed_rows, &(embed_job){nn, o});
}

/* Rows may meet in one word, so threads take columns. */
static void embed_columns(void *ctx, int part, int n_parts) {
    const embed_job *j = ctx;
    const ng_nn_embed *o = j->o;
    size_t begin, end, w = o->width;
    ng_pool_slice(w, 16, part, n_parts, &begin, &end);
    for (size_t t = 0; t < o->n && end > begin; t++) {
        const float *g = o->dx + t * w + begin;
        j->nn->e->add(o->dtoken + (size_t)o->ids[t] * w + begin, g, end - begin);
        j->nn->e->add(o->dposition + (size_t)o->pos[t] * w + begin, g, end - begin);
        j->nn->e->add(o->dtype + (o->types ? o->types[t] * w : 0) + begin, g, end - begin);
    }
}

void ng_nn_embed_backward(const ng_nn *nn, const ng_nn_embed *o) {
    ng_pool_run(nn->pool, embed_columns, &(embed_job){nn, o});
}

/* ---- layer norm --------------------------------------------------------------------------------- */

typedef struct norm_job {
    const ng_nn *nn;
    const ng_nn_norm *o;
    float *sums; /* backward: [chunks, 2, width] of dw and db */
} norm_job;

static void norm_rows(void *ctx, int part, int n_parts) {
    const norm_job *j = ctx;
    const ng_nn_norm *o = j->o;
    size_t begin, end, w = o->width;
    ng_norm_row row = {o->w, o->b, w, o->eps};
    ng_pool_slice(o->n, 1, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        const float *x = o->x + t * w;
        float *h = o->h ? o->h + t * w : NULL;
        if (h) j->nn->e->add_drop(h, x, h, w, (uint32_t)(t * w), o->drop);
        j->nn->e->norm(o->y + t * w, o->stat + 2 * t, h ? h : x, &row);
    }
}

void ng_nn_norm_forward(const ng_nn *nn, const ng_nn_norm *o) {
    ng_pool_run(nn->pool, norm_rows, &(norm_job){nn, o, NULL});
}

static size_t n_chunks(size_t n) { return (n + ROWS - 1) / ROWS; }
size_t ng_nn_norm_bytes(size_t n, size_t width) { return n_chunks(n) * 2 * width * sizeof(float); }

static void norm_chunks(void *ctx, int part, int n_parts) {
    const norm_job *j = ctx;
    const ng_nn_norm *o = j->o;
    size_t begin, end, w = o->width;
    const float *s = o->h ? o->h : o->x;
    ng_norm_row row = {o->w, o->b, w, o->eps};
    ng_pool_slice(n_chunks(o->n), 1, part, n_parts, &begin, &end);
    for (size_t c = begin; c < end; c++) {
        float *sums[2] = {j->sums + c * 2 * w, j->sums + (c * 2 + 1) * w};
        memset(sums[0], 0, 2 * w * sizeof(float));
        for (size_t t = c * ROWS; t < o->n && t < (c + 1) * ROWS; t++) {
            j->nn->e->norm_back(o->dx + t * w, sums, o->dy + t * w, s + t * w, o->stat + 2 * t, &row);
            if (o->dh) j->nn->e->drop(o->dh + t * w, o->dx + t * w, w, (uint32_t)(t * w), o->drop);
        }
    }
    ng_pool_barrier(j->nn->pool);
    ng_pool_slice(w, 16, part, n_parts, &begin, &end);
    if (end == begin || !o->dw) return;
    j->nn->e->add_rows(o->dw + begin, j->sums + begin, n_chunks(o->n), 2 * w, end - begin);
    j->nn->e->add_rows(o->db + begin, j->sums + w + begin, n_chunks(o->n), 2 * w, end - begin);
}

void ng_nn_norm_backward(const ng_nn *nn, const ng_nn_norm *o) {
    ng_pool_run(nn->pool, norm_chunks, &(norm_job){nn, o, nn->work});
}

/* ---- elements ----------------------------------------------------------------------------------- */

typedef enum map_kind { GELU, GELU_BACK, TANH, TANH_BACK, DROP, DROP_BACK } map_kind;
typedef struct map_job {
    const ng_nn *nn;
    const ng_nn_map *o;
    map_kind kind;
} map_job;

static void map_part(void *ctx, int part, int n_parts) {
    const map_job *j = ctx;
    const ng_nn_map *o = j->o;
    const ng_elementwise *e = j->nn->e;
    size_t b, end;
    ng_pool_slice(o->n, CHUNK, part, n_parts, &b, &end);
    size_t n = end - b;
    switch (j->kind) {
    case GELU: e->gelu(o->y + b, o->x + b, n); break;
    case GELU_BACK: e->gelu_back(o->dx + b, o->dy + b, o->x + b, n); break;
    case TANH: e->tanh_(o->y + b, o->x + b, n); break;
    case TANH_BACK: e->tanh_back(o->dx + b, o->dy + b, o->y + b, n); break;
    case DROP: e->drop(o->y + b, o->x + b, n, (uint32_t)b, o->drop); break;
    case DROP_BACK: e->drop(o->dx + b, o->dy + b, n, (uint32_t)b, o->drop); break;
    }
}

static void map(const ng_nn *nn, const ng_nn_map *o, map_kind kind) {
    ng_pool_run(nn->pool, map_part, &(map_job){nn, o, kind});
}
void ng_nn_gelu_forward(const ng_nn *nn, const ng_nn_map *o) { map(nn, o, GELU); }
void ng_nn_gelu_backward(const ng_nn *nn, const ng_nn_map *o) { map(nn, o, GELU_BACK); }
void ng_nn_tanh_forward(const ng_nn *nn, const ng_nn_map *o) { map(nn, o, TANH); }
void ng_nn_tanh_backward(const ng_nn *nn, const ng_nn_map *o) { map(nn, o, TANH_BACK); }
void ng_nn_drop_forward(const ng_nn *nn, const ng_nn_map *o) { map(nn, o, DROP); }
void ng_nn_drop_backward(const ng_nn *nn, const ng_nn_map *o) { map(nn, o, DROP_BACK); }

/* ---- pooling ------------------------------------------------------------------------------------ */

typedef struct pool_job {
    const ng_nn *nn;
    const ng_nn_pool *o;
    bool back;
} pool_job;

static void pool_part(void *ctx, int part, int n_parts) {
    const pool_job *j = ctx;
    const ng_nn_pool *o = j->o;
    size_t from, to, w = o->width;
    ng_pool_slice(o->n, 1, part, n_parts, &from, &to);
    for (size_t i = from; i < to; i++) {
        size_t begin = o->begin[o->seqs[i]], end = o->first ? begin + 1 : o->begin[o->seqs[i] + 1];
        float share = 1.0f / (float)(end - begin);
        if (!j->back) {
            float *y = o->y + i * w;
            memset(y, 0, w * sizeof *y);
            j->nn->e->add_rows(y, o->x + begin * w, end - begin, w, w);
            for (size_t c = 0; c < w; c++) y[c] *= share;
            continue;
        }
        for (size_t t = begin; t < end; t++)
            for (size_t c = 0; c < w; c++) o->dx[t * w + c] += o->dy[i * w + c] * share;
    }
}

void ng_nn_pool_forward(const ng_nn *nn, const ng_nn_pool *o) {
    ng_pool_run(nn->pool, pool_part, &(pool_job){nn, o, false});
}
void ng_nn_pool_backward(const ng_nn *nn, const ng_nn_pool *o) {
    ng_pool_run(nn->pool, pool_part, &(pool_job){nn, o, true});
}

/* ---- optimiser ---------------------------------------------------------------------------------- */

enum { LENGTH_CHUNKS = 256 };

typedef struct length_job {
    const ng_nn *nn;
    const float *g;
    size_t n;
    double sums[LENGTH_CHUNKS];
} length_job;

static void length_part(void *ctx, int part, int n_parts) {
    length_job *j = ctx;
    size_t begin, end;
    ng_pool_slice(LENGTH_CHUNKS, 1, part, n_parts, &begin, &end);
    for (size_t c = begin; c < end; c++) {
        size_t from, to;
        ng_pool_slice(j->n, 16, (int)c, LENGTH_CHUNKS, &from, &to);
        j->sums[c] = j->nn->e->squares(j->g + from, to - from);
    }
}

double ng_nn_length(const ng_nn *nn, const float *g, size_t n) {
    length_job j = {.nn = nn, .g = g, .n = n};
    double sum = 0;
    ng_pool_run(nn->pool, length_part, &j);
    for (size_t c = 0; c < LENGTH_CHUNKS; c++) sum += j.sums[c];
    return sqrt(sum);
}

typedef struct update_job {
    const ng_nn *nn;
    const ng_nn_update *o;
} update_job;

static void update_part(void *ctx, int part, int n_parts) {
    const update_job *j = ctx;
    const ng_nn_update *o = j->o;
    size_t b, end;
    ng_pool_slice(o->n, 16, part, n_parts, &b, &end);
    j->nn->e->adamw(o->p + b, o->g + b, o->m + b, o->v + b, end - b, &o->adamw);
}

void ng_nn_adamw(const ng_nn *nn, const ng_nn_update *o) { ng_pool_run(nn->pool, update_part, &(update_job){nn, o}); }
