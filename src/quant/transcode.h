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

#include "gguf/gguf.h"
#include <nanogrid/tools/weights.h>

typedef struct ng_transcoder {
    uint8_t *bytes; /* scratch: the tensor in its new type */
    size_t cap;
    float *row; /* scratch: [row_cap] */
    size_t row_cap;
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
    uint32_t rope_heads; /* 0, or as many heads whose rows are interleaved, see transcode.c */
} ng_transcode;

/* An ng_gguf_make_fn over an ng_transcode.  NG_EFORMAT: a value is not finite or does not fit. */
ng_status ng_transcode_make(void *transcode, const void **data, ng_error *err) NG_MUST_USE;

/* The type that a float tensor of this name and shape gets when `want` is asked for.  Vectors,
 * norms, biases, position and token-type tables and router weights stay F32, as llama.cpp keeps
 * them; rows that do not fit a block become F16, and *fell_back tells. */
ng_type ng_weight_type(const char *name, uint32_t n_dims, const uint64_t *dims, ng_type want,
                       bool *fell_back);
/* general.file_type of a file whose weights are mostly of this type (llama.cpp: enum
 * llama_ftype). */
uint32_t ng_file_type(ng_type type);

#endif
