/* adapter.h: a LoRA adapter that a model runs beside its weights, which stay as they are (Hu et al. 2021).
 *
 *     ng_adapter *a;
 *     ng_adapter_open(&a, "adapter.gguf", base, 1, &err);       checked against the base, a GGUF file
 *     ng_low_rank l = ng_adapter_find(a, "blk.0.attn_q.weight");
 *     ng_low_rank_add(k, &l, &(ng_low_rank_io){x, n_cols, n_tok, y, stride, low});         y += scale * alpha / rank * B (A x)
 *
 * The file is GGUF by llama.cpp's convention (train/lora.h tells it), with nanogrid.adapter.base, the hash of the base's bytes: beside
 * another base it is refused.  Both products are in floats and in the kernels' order of sums, so the bits do not depend
 * on machine, threads or batch, and the base may be quantised or not.  Heads in the file take the place of the base's. */
#ifndef NG_MODEL_ADAPTER_H
#define NG_MODEL_ADAPTER_H

#include "gguf/gguf.h"
#include "kernel/kernel.h"

enum { NG_ADAPTER_RANK_MAX = 256 };

typedef struct ng_adapter ng_adapter;

/* The hash that adapters name their base by. */
uint64_t ng_adapter_base_hash(const ng_gguf *base);
/* scale: times what the adapter adds.  NG_EFORMAT: a part without its other, or of a shape that its tensor does not have.  NG_EINVALID: made
 * for another base. */
ng_status ng_adapter_open(ng_adapter **out, const char *path, const ng_gguf *base, double scale,
                          ng_error *err) NG_MUST_USE;
void ng_adapter_close(ng_adapter *a); /* NULL is fine */
/* What carries the heads: the file, or NULL where it has none (or there is no adapter). */
const ng_gguf *ng_adapter_heads(const ng_adapter *a);
uint64_t ng_adapter_bytes(const ng_adapter *a); /* resident; 0 for NULL */

typedef struct ng_low_rank {
    size_t rank, in, out; /* rank 0: nothing is added */
    const float *a, *b;   /* [rank, in]; [out, rank], scaled */
} ng_low_rank;
/* Of the base's tensor with that name; rank 0: none. */
ng_low_rank ng_adapter_find(const ng_adapter *a, const char *tensor);

typedef struct ng_low_rank_io {
    const float *x;  /* [n_tok, in] */
    size_t n_tok;
    float *y;        /* [n_tok, stride], added to */
    size_t stride;
    float *low;      /* [n_tok, rank] scratch */
} ng_low_rank_io;
void ng_low_rank_add(const ng_kernels *k, const ng_low_rank *l, const ng_low_rank_io *io);

#endif
