/* nn.h: the operations of a neural network as forward and backward pairs, written by hand.
 *
 *     ng_nn_linear l = {.n = n_tok, .in = 384, .out = 1536, .x = x, .w = w, .b = b, .y = y};
 *     ng_nn_linear_forward(nn, &l);                    y[n, out] = x w^T + b
 *     l.dy = dy, l.dx = dx, l.dw = dw, l.db = db;
 *     ng_nn_linear_backward(nn, &l);                   dx = dy w; dw += dy^T x; db += the rows of dy
 *
 * One struct an operation holds what both passes need, shapes stated; x, y and the rest stay where
 * forward left them until backward has run.  Gradients of weights are added to (several batches may
 * accumulate), gradients of inputs are set, unless it says otherwise.  A gradient that is NULL is not
 * computed.  Rows are tokens: the sequences of a batch lie after each other without padding, sequence
 * s being rows [begin[s], begin[s + 1]) (`ragged`), so no operation computes what a mask would discard.
 *
 * Nothing allocates, nothing fails.  Work is split over outputs, or over fixed chunks of rows whose
 * sums are added in order, so results do not depend on the number of threads.
 * tests/unit/test_nn.c checks each pair against finite differences and PyTorch's gradients. */
#ifndef NG_TRAIN_NN_H
#define NG_TRAIN_NN_H

#include "train/elementwise.h"
#include "train/gemm.h"

typedef struct ng_nn {
    ng_pool *pool;
    const ng_elementwise *e;
    ng_gemm_ops gemm;
    void *work; /* [work_bytes], 64-byte aligned; see ng_nn_*_bytes */
    size_t work_bytes;
} ng_nn;

/* Threads 0: as many as the processor offers.  The work space is grown by ng_nn_reserve only. */
ng_status ng_nn_init(ng_nn *nn, int n_threads, ng_precision precision, ng_error *err) NG_MUST_USE;
void ng_nn_clear(ng_nn *nn);
ng_status ng_nn_reserve(ng_nn *nn, size_t bytes, ng_error *err) NG_MUST_USE;

/* ---- linear ------------------------------------------------------------------------------------- */

typedef struct ng_nn_linear {
    size_t n, in, out;
    const float *x;        /* [n, in] */
    const float *w, *b;    /* [out, in], [out] or NULL */
    float *y;              /* [n, out] */
    const float *dy;       /* [n, out] */
    float *dx;             /* [n, in] */
    bool add_dx;           /* dx += */
    float *dw, *db;        /* [out, in], [out] */
} ng_nn_linear;
void ng_nn_linear_forward(const ng_nn *nn, const ng_nn_linear *l);
void ng_nn_linear_backward(const ng_nn *nn, const ng_nn_linear *l);
size_t ng_nn_linear_bytes(const ng_nn *nn, size_t n, size_t in, size_t out);

/* ---- embedding ---------------------------------------------------------------------------------- */

/* x[t] = token[ids[t]] + position[pos[t]] + type */
typedef struct ng_nn_embed {
    size_t n, width;
    const int32_t *ids, *pos;                 /* [n] */
    const uint8_t *types;                     /* [n]; NULL: all 0 */
    const float *token, *position, *type;     /* [n_vocab, width], [n_ctx, width], [types, width] */
    float *x;                                 /* [n, width] */
    const float *dx;
    float *dtoken, *dposition, *dtype;
} ng_nn_embed;
void ng_nn_embed_forward(const ng_nn *nn, const ng_nn_embed *o);
void ng_nn_embed_backward(const ng_nn *nn, const ng_nn_embed *o);

/* ---- layer norm of a sum ------------------------------------------------------------------------ */

/* s = x + drop(h);  y = (s - mean) / sqrt(variance + eps) * w + b.  Without h, s is x. */
typedef struct ng_nn_norm {
    size_t n, width;
    const float *x;
    float *h;            /* [n, width], overwritten by s; or NULL */
    const float *w, *b;  /* [width] */
    float eps;
    ng_dropout drop;     /* of h */
    float *y;            /* [n, width] */
    float *stat;         /* [n, 2] mean and 1 / deviation */
    const float *dy;     /* [n, width] */
    float *dx, *dh;      /* [n, width]; dx may be dy */
    float *dw, *db;
} ng_nn_norm;
void ng_nn_norm_forward(const ng_nn *nn, const ng_nn_norm *o);
void ng_nn_norm_backward(const ng_nn *nn, const ng_nn_norm *o);
size_t ng_nn_norm_bytes(size_t n, size_t width);

/* ---- element by element ------------------------------------------------------------------------- */

typedef struct ng_nn_map {
    size_t n;       /* values */
    const float *x; /* forward's input; may be y for tanh and dropout */
    float *y;
    const float *dy;
    float *dx;      /* may be dy */
    ng_dropout drop;
} ng_nn_map;
void ng_nn_gelu_forward(const ng_nn *nn, const ng_nn_map *o);
void ng_nn_gelu_backward(const ng_nn *nn, const ng_nn_map *o);
void ng_nn_tanh_forward(const ng_nn *nn, const ng_nn_map *o);
void ng_nn_tanh_backward(const ng_nn *nn, const ng_nn_map *o); /* reads y, not x */
void ng_nn_drop_forward(const ng_nn *nn, const ng_nn_map *o);
void ng_nn_drop_backward(const ng_nn *nn, const ng_nn_map *o);

/* ---- attention ---------------------------------------------------------------------------------- */

enum { NG_NN_LENGTH_MAX = 1024 }; /* rows of a sequence */

/* For each sequence and head: y = drop(softmax(q k^T / sqrt(d))) v, d = width / n_head.  Scores are not
 * kept: backward makes them again from qkv and lse. */
typedef struct ng_nn_attention {
    size_t n_seq, width, n_head;
    const size_t *begin;  /* [n_seq + 1] rows */
    const float *qkv;     /* [n, 3 width]: q, k, v of all heads side by side */
    float *y;             /* [n, width] */
    float *lse;           /* [n, n_head] */
    ng_dropout drop;
    const float *dy;
    float *dqkv;          /* [n, 3 width] */
} ng_nn_attention;
void ng_nn_attention_forward(const ng_nn *nn, const ng_nn_attention *o);
void ng_nn_attention_backward(const ng_nn *nn, const ng_nn_attention *o);
size_t ng_nn_attention_bytes(const ng_nn *nn, size_t longest, size_t head_width);

/* ---- pooling ------------------------------------------------------------------------------------ */

/* y[i] = mean over the rows of sequence seqs[i], or its first row. */
typedef struct ng_nn_pool {
    size_t n, width;
    const size_t *begin; /* rows of the sequences */
    const uint32_t *seqs; /* [n] */
    bool first;
    const float *x;      /* [rows, width] */
    float *y;            /* [n, width] */
    const float *dy;
    float *dx;           /* [rows, width], added to */
} ng_nn_pool;
void ng_nn_pool_forward(const ng_nn *nn, const ng_nn_pool *o);
void ng_nn_pool_backward(const ng_nn *nn, const ng_nn_pool *o);

/* ---- losses: small, on the calling thread, in double -------------------------------------------- */

/* Each returns the sum over its items of the loss and sets the gradient of `scale` times that sum. */
typedef struct ng_nn_loss {
    size_t n, n_labels;
    const float *z;          /* [n, n_labels] logits */
    const int32_t *label;    /* cross-entropy: [n], -1 does not count */
    const uint64_t *holds, *known; /* sigmoid: bit k of item i: label k holds, is known */
    double smoothing, scale;
    float *dz;               /* [n, n_labels] */
} ng_nn_loss;
/* -log softmax(z)[label]; with smoothing s the target is 1 - s + s / n_labels, the others s / n_labels. */
double ng_nn_cross_entropy(const ng_nn_loss *o);
/* Mean over the known labels of the binary cross-entropy of sigmoid(z): multi-label, one sigmoid a label. */
double ng_nn_sigmoid_loss(const ng_nn_loss *o);

/* What a teacher says: T^2 KL(want || softmax(z / T)), or a sigmoid a label and the mean over labels.  Rows whose want[0] is NaN
 * do not count.  Adds to dz. */
typedef struct ng_nn_soft {
    size_t n, n_labels;
    const float *z, *want; /* [n, n_labels]; want: probabilities at that temperature */
    double temperature, scale;
    bool each;
    float *dz;
} ng_nn_soft;
double ng_nn_soft_loss(const ng_nn_soft *o);

/* What the outputs of two layers differ: the sum of the mean squares of n rows.  Adds to dx. */
typedef struct ng_nn_hidden {
    size_t n, width;
    const float *x, *want; /* [n, width] */
    double scale;
    float *dx;
} ng_nn_hidden;
double ng_nn_hidden_loss(const ng_nn *nn, const ng_nn_hidden *o);

/* What the attention of two layers differs: the sum over rows of the mean over heads of KL(teacher || student).  Sets the parts of q
 * and k of dqkv and zeroes that of v. */
typedef struct ng_nn_attention_match {
    size_t n_seq, width, n_head;
    const size_t *begin;
    const float *qkv, *want; /* [n, 3 width] of student and teacher */
    double scale;
    float *dqkv;
} ng_nn_attention_match;
double ng_nn_attention_loss(const ng_nn *nn, const ng_nn_attention_match *o);
/* Work space of the two losses above; longest: rows of a sequence. */
size_t ng_nn_match_bytes(const ng_nn *nn, size_t n_seq, size_t n_head, size_t n, size_t longest);

/* Pairs of vectors: (cos(x[2 i], x[2 i + 1]) - score[i])^2. */
typedef struct ng_nn_cosine {
    size_t n, width;    /* pairs */
    const float *x;     /* [2 n, width] */
    const float *score; /* [n] in -1..1 */
    double scale;
    float *dx;          /* [2 n, width] */
    float *cosine;      /* [n] or NULL */
} ng_nn_cosine;
double ng_nn_cosine_loss(const ng_nn_cosine *o);

/* ---- optimiser ---------------------------------------------------------------------------------- */

/* The length of a gradient of n values, added up in fixed chunks. */
double ng_nn_length(const ng_nn *nn, const float *g, size_t n);
typedef struct ng_nn_update {
    float *p, *m, *v;   /* [n] weights, first and second moments */
    const float *g;
    size_t n;
    ng_adamw adamw;
} ng_nn_update;
void ng_nn_adamw(const ng_nn *nn, const ng_nn_update *o);

#endif
