/* encoder.h: a BERT-style encoder to be trained: its weights, and forward and backward of a batch.
 *
 *     ng_encoder *e;
 *     ng_encoder_new(&e, &shape, n_extra, &err);         weights 0; n_extra floats for heads behind them
 *     ng_encoder_bind(e, &nn, max_tok, max_seq, longest, &err);    activations for batches up to that
 *     const float *x = ng_encoder_forward(e, &batch);    x[n_tok, width]: the last layer
 *     memset(ng_encoder_grad_out(e), 0, ..);  add dloss/dx to it
 *     ng_encoder_backward(e);                            adds to the gradients of all weights
 *     ng_encoder_step(e, &adamw);                        clips, updates, clears the gradients
 *
 * The architecture is that of src/model/arch_bert.c (Devlin et al. 2018, post-norm), with dropout where
 * BERT has it: after the embeddings' norm, on attention's probabilities, on each branch before it is
 * added.  All weights stand in one array, all gradients and moments in arrays of the same layout, so
 * optimiser, clipping and checkpoints know no names; ng_encoder_tensors tells the names, those of GGUF.
 *
 * A batch is ragged (nn.h).  Results do not depend on the number of threads. */
#ifndef NG_TRAIN_ENCODER_H
#define NG_TRAIN_ENCODER_H

#include "train/nn.h"

typedef struct ng_encoder ng_encoder;

typedef struct ng_encoder_shape {
    size_t n_vocab, n_ctx, width, n_layer, n_head, n_ff;
    float eps;
    size_t head_width; /* 0: width / n_head; pruned heads leave those that stay as wide as they were */
    size_t n_type;     /* 0: 1; 2 where the second text of a pair is told from the first */
} ng_encoder_shape;
/* Of queries, keys and values: n_head heads. */
size_t ng_encoder_attention_width(const ng_encoder_shape *s);
size_t ng_encoder_n_type(const ng_encoder_shape *s);
/* NG_EINVALID naming what is wrong: zero, a width that heads do not divide, more than 2^30 weights. */
ng_status ng_encoder_shape_check(const ng_encoder_shape *s, ng_error *err) NG_MUST_USE;
size_t ng_encoder_n_weights(const ng_encoder_shape *s); /* without the extra ones */

ng_status ng_encoder_new(ng_encoder **out, const ng_encoder_shape *shape, size_t n_extra, ng_error *err) NG_MUST_USE;
void ng_encoder_free(ng_encoder *e);
/* Activations for batches of at most so many rows and sequences.  `nn` is borrowed and its work space
 * grown.  May be called again. */
ng_status ng_encoder_bind(ng_encoder *e, ng_nn *nn, size_t max_tok, size_t max_seq, size_t longest,
                          ng_error *err) NG_MUST_USE;

/* ---- low-rank adapters (Hu et al. 2021) ---------------------------------------------------------
 * The base is read, not trained: `read` gives rows of a tensor as floats (threads call it), a layer at a time, so it may stay
 * quantised; it has no gradient and no moments.  Of a layer's values only its output is kept: backward makes the others again.
 * What is trained: for each target of each layer A [rank, in] and B [out, rank], y += alpha / rank * B A x, then the extra weights.
 * B is 0 at first: the outputs are those of the base.  Backward ends at the lowest layer that has adapters.  `read` is first called
 * by ng_encoder_bind. */
enum { NG_LORA_Q = 1, NG_LORA_K = 2, NG_LORA_V = 4, NG_LORA_O = 8, NG_LORA_UP = 16, NG_LORA_DOWN = 32, NG_LORA_TARGETS = 6 };
typedef struct ng_encoder_lora {
    size_t rank;
    double alpha;
    uint32_t targets; /* NG_LORA_* */
    uint64_t layers;  /* bit i: layer i has adapters; 0: all have */
    void (*read)(void *self, size_t tensor, size_t row, size_t n, float *out);
    void *self;
} ng_encoder_lora;
ng_status ng_encoder_new_lora(ng_encoder **out, const ng_encoder_shape *shape, size_t n_extra,
                              const ng_encoder_lora *lora, ng_error *err) NG_MUST_USE;
/* Where the A of target t (0 .. 5) of a layer is in the weights, B behind it; SIZE_MAX: it has none. */
size_t ng_encoder_lora_at(const ng_encoder *e, size_t layer, size_t t);
/* Columns and rows of target t's matrix. */
size_t ng_lora_in(const ng_encoder_shape *s, size_t t);
size_t ng_lora_out(const ng_encoder_shape *s, size_t t);
extern const char *const ng_lora_names[NG_LORA_TARGETS]; /* "attn_q" .. "ffn_down" */

/* ---- weights ------------------------------------------------------------------------------------ */

typedef struct ng_encoder_tensor {
    char name[64];      /* "blk.0.attn_q.weight" */
    size_t rows, cols;  /* rows 1: a vector of cols */
    size_t at;          /* of its first value in the weights */
    bool decays;        /* weight decay applies: matrices of layers, not vectors nor tables */
} ng_encoder_tensor;
/* In the order of `at`; borrowed.  attn_q, attn_k and attn_v lie behind each other. */
const ng_encoder_tensor *ng_encoder_tensors(const ng_encoder *e, size_t *n);
ng_encoder_shape ng_encoder_get_shape(const ng_encoder *e);
size_t ng_encoder_extra_at(const ng_encoder *e); /* of the first extra weight */
size_t ng_encoder_n_total(const ng_encoder *e); /* weights with the extra ones */
float *ng_encoder_weights(ng_encoder *e);  /* [n_total] */
float *ng_encoder_grads(ng_encoder *e);    /* [n_total] */
float *ng_encoder_moments(ng_encoder *e);  /* [2, n_total]: first, second */
/* After moments were set from outside: which rows of the token table they name. */
void ng_encoder_touch_moments(ng_encoder *e);
/* The tables and the first n layers stay as they are from now on, which spares their backward passes. */
void ng_encoder_freeze(ng_encoder *e, size_t n);
/* BERT's initialisation: normal of deviation 0.02, norms 1, biases 0.  The extra weights too (normal). */
void ng_encoder_randomize(ng_encoder *e, uint64_t seed);

/* ---- a step ------------------------------------------------------------------------------------- */

typedef struct ng_encoder_batch {
    size_t n_seq;
    const size_t *begin;  /* [n_seq + 1]: rows; begin[n_seq] is n_tok */
    const int32_t *ids;   /* [n_tok] */
    const uint32_t *first; /* [n_seq]: so many rows are of type 0, the others of type 1; 0: all are of type 0.  NULL: all of all */
    float dropout;        /* of hidden values and of attention; 0 for evaluation */
    uint64_t seed, step;  /* of the dropouts */
} ng_encoder_batch;

/* The batch is borrowed until backward has run; x until the next forward. */
const float *ng_encoder_forward(ng_encoder *e, const ng_encoder_batch *b);
float *ng_encoder_grad_out(ng_encoder *e); /* [n_tok, width] for dloss/dx */
void ng_encoder_backward(ng_encoder *e);
/* Of the last layer of the last forward: q, k and v [n_tok, 3 attention widths].  What is given to _add_ is added to their gradient by the next
 * backward (a loss on attention); borrowed until then, NULL for none. */
const float *ng_encoder_qkv(const ng_encoder *e);
void ng_encoder_add_qkv(ng_encoder *e, const float *dqkv);
/* What layer i read, its heads gave, it had between its two inner matrices, and gave, in the last forward. */
typedef struct ng_encoder_values {
    const float *in, *heads, *inner, *out; /* [n_tok, width], [n_tok, attention width], [n_tok, n_ff], [n_tok, width] */
} ng_encoder_values;
ng_encoder_values ng_encoder_layer_values(const ng_encoder *e, size_t i);

typedef struct ng_encoder_update {
    double rate, beta1, beta2, eps, decay;
    double clip;     /* greatest length of the gradient; 0: any */
    double scale;    /* of the gradients first: 1 / batches accumulated */
    uint64_t step;   /* from 1 */
} ng_encoder_update;
/* AdamW over all weights, then the gradients are 0.  Returns the gradient's length before clipping; when
 * it is not a number nothing is changed.  Rows of the token table whose moments and gradient are 0 stay
 * as they are, at no cost: tables and the extra weights do not decay. */
double ng_encoder_step(ng_encoder *e, const ng_encoder_update *u);

#endif
