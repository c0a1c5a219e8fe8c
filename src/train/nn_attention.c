/* nn_attention.c: attention of ragged batches.  See nn.h.
 *
 * A unit of work is one head of one sequence; its scores, at most longest^2 floats, live in the thread's
 * part of the work space and in the second-level cache.  Backward makes the probabilities again from
 * log(sum exp): that is one product of seven, and saves writing and reading n_head * length floats a
 * token and layer.  Units are given to threads by their share of length^2.
 *
 *     forward   P = softmax(Q K^T / sqrt(d)), y = drop(P) V
 *     backward  dV = drop(P)^T dY;  dP = drop(dY V^T);  dS = P (dP - rowsum(dP P)) / sqrt(d)
 *               dQ = dS K;  dK = dS^T Q */
#include "nn.h"

#include <math.h>

typedef struct attention_job {
    const ng_nn *nn;
    const ng_nn_attention *o;
    size_t part_bytes; /* of the work space */
    double cost;       /* of all sequences: sum of length^2 */
    bool back;
} attention_job;

/* One head of one sequence and the thread's scratch. */
typedef struct unit {
    const ng_nn *nn;
    const ng_nn_attention *o;
    size_t begin, len, head;
    float *scores, *dropped, *grads; /* [len, len]; without dropout, dropped is scores */
    void *work;
} unit;

static size_t round_up(size_t n) { return (n + 63) / 64 * 64; }

static size_t product_bytes(const ng_nn *nn, size_t len, size_t d) {
    ng_product scores = {.m = len, .n = len, .k = d, .a = {NULL, d, 1}, .b = {NULL, 1, d}};
    ng_product values = {.m = len, .n = d, .k = len, .a = {NULL, len, 1}, .b = {NULL, d, 1}};
    ng_product turned = {.m = len, .n = d, .k = len, .a = {NULL, 1, len}, .b = {NULL, d, 1}};
    size_t a = ng_product_bytes(&scores, &nn->gemm), b = ng_product_bytes(&values, &nn->gemm);
    size_t c = ng_product_bytes(&turned, &nn->gemm);
    return a > b ? (a > c ? a : c) : b > c ? b : c;
}

static size_t part_bytes(const ng_nn *nn, size_t longest, size_t d) {
    return 3 * round_up(longest * longest * sizeof(float)) + round_up(product_bytes(nn, longest, d));
}

size_t ng_nn_attention_bytes(const ng_nn *nn, size_t longest, size_t head_width) {
    return (size_t)ng_pool_threads(nn->pool) * part_bytes(nn, longest, head_width);
}

static void product(const unit *u, ng_product p) { ng_product_run_alone(&p, &u->nn->gemm, u->work); }

/* scores[len, len] = a b^T over one head's columns; strides of a and b in floats. */
static void outer(const unit *u, float *scores, ng_operand a, ng_operand b) {
    product(u, (ng_product){.m = u->len, .n = u->len, .k = u->o->width / u->o->n_head, .a = a,
                            .b = {b.data, 1, b.row}, .c = scores, .c_stride = u->len});
}

/* y[len, d] = p x, or p^T x. */
static void apply(const unit *u, const float *p, bool turned, ng_operand x, float *y, size_t y_stride) {
    product(u, (ng_product){.m = u->len, .n = u->o->width / u->o->n_head, .k = u->len,
                            .a = {p, turned ? 1 : u->len, turned ? u->len : 1}, .b = x, .c = y, .c_stride = y_stride});
}

/* q, k or v (0, 1, 2) of the unit. */
static ng_operand part_of(const unit *u, const float *qkv, size_t which) {
    size_t w = u->o->width, d = w / u->o->n_head;
    return (ng_operand){qkv + u->begin * 3 * w + which * w + u->head * d, 3 * w, 1};
}

/* y = drop(x) of row i of the unit; values are counted by (token, head, column). */
static void drop_row(const unit *u, float *y, const float *x, size_t i) {
    uint32_t at = (uint32_t)(((u->begin + i) * u->o->n_head + u->head) * NG_NN_LENGTH_MAX);
    if (u->o->drop.p > 0) u->nn->e->drop(y + i * u->len, x + i * u->len, u->len, at, u->o->drop);
}

static float scale_of(const unit *u) { return 1.0f / sqrtf((float)(u->o->width / u->o->n_head)); }
static float *lse_of(const unit *u, size_t i) { return u->o->lse + (u->begin + i) * u->o->n_head + u->head; }

static void forward(const unit *u) {
    size_t w = u->o->width, d = w / u->o->n_head;
    outer(u, u->scores, part_of(u, u->o->qkv, 0), part_of(u, u->o->qkv, 1));
    for (size_t i = 0; i < u->len; i++) {
        float *row = u->scores + i * u->len;
        *lse_of(u, i) = u->nn->e->softmax(row, u->len, scale_of(u));
        drop_row(u, u->dropped, u->scores, i);
    }
    apply(u, u->dropped, false, part_of(u, u->o->qkv, 2), u->o->y + u->begin * w + u->head * d, w);
}

static void backward(const unit *u) {
    size_t w = u->o->width, d = w / u->o->n_head, n = u->len;
    ng_operand q = part_of(u, u->o->qkv, 0), k = part_of(u, u->o->qkv, 1), v = part_of(u, u->o->qkv, 2);
    ng_operand dy = {u->o->dy + u->begin * w + u->head * d, w, 1};
    float *dq = u->o->dqkv + u->begin * 3 * w + u->head * d, *dk = dq + w, *dv = dk + w;
    float scale = scale_of(u);
    outer(u, u->scores, q, k);
    for (size_t i = 0; i < n; i++) u->nn->e->softmax_again(u->scores + i * n, n, scale, *lse_of(u, i));
    outer(u, u->grads, dy, v);
    for (size_t i = 0; i < n; i++) {
        drop_row(u, u->dropped, u->scores, i);
        drop_row(u, u->grads, u->grads, i);
    }
    apply(u, u->dropped, true, dy, dv, 3 * w);
    for (size_t i = 0; i < n; i++) u->nn->e->softmax_back(u->grads + i * n, u->scores + i * n, n, scale);
    apply(u, u->grads, false, k, dq, 3 * w);
    apply(u, u->grads, true, q, dk, 3 * w);
}

/* Sequence s and head h go to the part whose share of the cost the unit's middle falls into. */
static void run_units(void *ctx, int part, int n_parts) {
    const attention_job *j = ctx;
    const ng_nn_attention *o = j->o;
    double done = 0, from = j->cost * part / n_parts, to = j->cost * (part + 1) / n_parts;
    char *mine = (char *)j->nn->work + (size_t)part * j->part_bytes;
    for (size_t s = 0; s < o->n_seq; s++) {
        size_t len = o->begin[s + 1] - o->begin[s];
        double cost = (double)len * (double)len / (double)o->n_head;
        for (size_t h = 0; h < o->n_head; h++, done += cost) {
            double middle = done + cost / 2;
            if (middle < from || middle >= to) continue;
            size_t bytes = round_up(len * len * sizeof(float));
            unit u = {j->nn, o, o->begin[s], len, h, (float *)mine, NULL, (float *)(mine + bytes), mine + 3 * bytes};
            u.dropped = o->drop.p > 0 ? (float *)(mine + 2 * bytes) : u.scores;
            if (j->back) backward(&u);
            else forward(&u);
        }
    }
}

static void run(const ng_nn *nn, const ng_nn_attention *o, bool back) {
    attention_job j = {.nn = nn, .o = o, .back = back};
    size_t longest = 0;
    for (size_t s = 0; s < o->n_seq; s++) {
        size_t len = o->begin[s + 1] - o->begin[s];
        longest = len > longest ? len : longest;
        j.cost += (double)len * (double)len;
    }
    j.part_bytes = part_bytes(nn, longest, o->width / o->n_head);
    ng_pool_run(nn->pool, run_units, &j);
}

void ng_nn_attention_forward(const ng_nn *nn, const ng_nn_attention *o) { run(nn, o, false); }
void ng_nn_attention_backward(const ng_nn *nn, const ng_nn_attention *o) { run(nn, o, true); }
