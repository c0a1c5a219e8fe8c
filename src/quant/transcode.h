/* transcode.h: one tensor from the type it has to the type it gets, while it is written.
 *
 *     ng_transcode t = {.name = "blk.0.attn_q.weight", .src = data, .from = NG_TYPE_F32,
 *                       .to = ng_weight_type(..), .n_dims = 2, .dims = {576, 576, 1, 1}};
 *     ng_transcoder c = {0};  t.coder = &c;
 *     ng_gguf_put_tensor_made(w, t.name, t.to, t.n_dims, t.dims, ng_transcode_make, &t);
 *     ..commit..  ng_transcoder_clear(&c);
 *
 * A coder and its tensors belong to one thread. */
#ifndef NG_QUANT_TRANSCODE_H
#define NG_QUANT_TRANSCODE_H

#include "core/pool.h"
#include "carry.h"
#include "gguf/gguf.h"
#include <nanogrid/tools/weights.h>

typedef struct ng_transcoder {
    uint8_t *bytes; /* scratch: the tensor in its new type */
    size_t cap;
    float *rows; /* scratch: [a thread, 2, row_cap] */
    size_t row_cap;
    ng_pool *pool; /* started when the first tensor is made */
    ng_progress_fn *progress;
    void *progress_ctx;
    double done, total; /* elements */
} ng_transcoder;
void ng_transcoder_clear(ng_transcoder *c);

typedef struct ng_transcode {
    ng_transcoder *coder;
    const char *name, *file; /* for messages */
    const void *src;         /* borrowed; no alignment needed */
    ng_type from, to;
    uint32_t n_dims;
    uint64_t dims[4];
    const float *products; /* of the columns (imatrix.h) for ng_carry, borrowed; NULL: each weight by itself */
    double damping;        /* of products, see ng_carry_new */
    const float *weight; /* [dims[0]] of the columns' errors, borrowed; NULL: all the same */
    uint32_t rope_heads; /* 0, or as many heads whose rows are interleaved, see transcode.c */
} ng_transcode;

/* An ng_gguf_make_fn over an ng_transcode.  NG_EFORMAT: a value is not finite or does not fit. */
ng_status ng_transcode_make(void *transcode, const void **data, ng_error *err) NG_MUST_USE;

/* What can be asked for: a type, or a mix in which some tensors get more bits (.._M) or fewer (NG3). */
typedef struct ng_format {
    const char *name;
    ng_type base, other; /* the same but in mixes */
    uint32_t file_type;  /* general.file_type (llama.cpp: enum llama_ftype; of ours the type) */
    double kl_max;       /* nats a token, and .. */
    double cosine_min;   /* .. of embeddings, that this format may lose against its input */
} ng_format;
const ng_format *ng_format_find(const char *name); /* any case; NULL: there is none */
/* A type of ggml with 2 bits and less, which this engine neither runs nor writes. */
bool ng_format_is_too_small(const char *name);
/* "F32, F16, .." of all formats, for messages. */
const char *ng_format_list(void);

/* The type that a float tensor of this name and shape gets.  Vectors, norms, biases, position and
 * token-type tables and router weights stay F32, as llama.cpp keeps them.  Rows that are no multiple of
 * the type's block get the next type that fits (Q4_K: Q5_0, Q5_K: Q5_1, Q6_K: Q8_0, NG4: Q5_0, NG3: Q4_0,
 * else F16), and *fell_back tells.  n_layers, tied (the token embedding is the output head too) and gated (blocks have ffn_gate) choose
 * the tensors of a mix that get the other type. */
typedef struct ng_weight_place {
    const char *name;
    uint32_t n_dims;
    const uint64_t *dims;
    uint32_t n_layers;
    bool tied, gated;
} ng_weight_place;
ng_type ng_weight_type(const ng_format *f, const ng_weight_place *at, bool *fell_back);

#endif
