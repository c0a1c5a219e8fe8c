/* arch.h: what the files of this room share: a model, a session, and how an architecture plugs in.
 *
 * An architecture is one file that ends in its descriptor, and one line in archs.def:
 *
 *     static ng_status load(ng_loader *l, ng_error *err) {    read keys and tensors; l->model is being built
 *         my_weights *w = ng_arena_alloc(l->model->arena, sizeof *w);
 *         if (ng_load_mat(l, &w->tok, "token_embd.weight", n_vocab, n_embd, err)) return err->code; ..
 *     }
 *     const ng_arch ng_arch_llama = {"llama", NG_MODEL_CAUSAL, load, scratch, forward};
 *
 * load() fills model->info (but for what model.c counts), model->kv_shape and model->weights.  scratch() allocates the
 * buffers of one session from session->arena; after it no heap call is made.  forward() is SPMD: every
 * thread of the session's pool runs it (tensor.h), so it places barriers and returns nothing. */
#ifndef NG_MODEL_ARCH_H
#define NG_MODEL_ARCH_H

#include "batch.h"
#include "prefix.h"
#include "repack.h"
#include "tensor/tensor.h"
#include "thread_choice.h"
#include <nanogrid/memory.h>
#include <nanogrid/model.h>

typedef struct ng_arch ng_arch;

struct ng_model {
    ng_arena *arena;
    ng_gguf *gguf;
    const ng_arch *arch;
    const ng_kernels *kernels;
    ng_model_info info;
    ng_kv_shape kv_shape;   /* decoders */
    ng_repack repack;       /* repacked weights of all matrices */
    size_t cache_from_bytes;
    struct {
        uint64_t stored, panels, tables;
    } bytes; /* see ng_memory_need: weights, panels, tables */
    void *weights;          /* the architecture's own struct, in the arena */
    struct ng_adapter *adapter; /* or NULL (adapter.h) */
    ng_tokenizer *tokenizer; /* NULL: tokenizer_error says why */
    ng_error tokenizer_error;
    int threads_best[NG_THREAD_CLASSES]; /* 0: not measured yet; atomic */
};

struct ng_session {
    const ng_model *model;
    ng_arena *arena;
    ng_pool *pool;
    ng_thread_choice threads; /* how many of the pool's a step takes */
    ng_kv_shape kv_shape;
    ng_kv kv;          /* decoders: kv.len is the tokens held */
    ng_prefix *prefix; /* or NULL */
    size_t n_kept;     /* pages of the pool beyond n_ctx, for it */
    uint32_t n_ctx;
    size_t max_batch;  /* decoders: min(n_ctx, NG_BATCH_MAX); encoders: ng_encode_rows(n_ctx) */
    void *scratch;     /* the architecture's own struct, in the arena */
    bool unfused;      /* decoders: one operation at a time, to be measured against */
    const ng_observer *observer; /* borrowed, or NULL */
};
/* From the next forward on; NULL ends it. */
void ng_session_observe(ng_session *s, const ng_observer *observer);

typedef struct ng_loader ng_loader;

struct ng_arch {
    const char *name; /* general.architecture */
    ng_model_kind kind;
    ng_status (*load)(ng_loader *l, ng_error *err);
    ng_status (*scratch)(ng_session *s, ng_error *err);
    void (*forward)(const ng_team *tm, ng_session *s, const ng_batch *b);
};

/* ng_model_open with another limit: models with fewer bytes of panels are repacked without the cache. */
ng_status ng_model_open_from(ng_model **out, const char *path, size_t cache_from_bytes, ng_error *err) NG_MUST_USE;

/* A model that can be asked what it is and what it needs, and not be run: no weight has been read. */
ng_status ng_model_open_header(ng_model **out, const char *path, ng_error *err) NG_MUST_USE;
/* Stands for any number of bytes that no machine has, so that sums of such numbers do not wrap. */
#define NG_MEMORY_FAR (UINT64_MAX / 16)
/* The model's part of *out, the rest 0; and a session's part added. */
void ng_memory_of_model(ng_memory_need *out, const ng_model *m);
ng_status ng_session_measure(ng_memory_need *out, const ng_model *m, const ng_session_options *opt,
                             ng_error *err) NG_MUST_USE;

/* Of the model's file, all of it. */
ng_status ng_model_digest(ng_digest *out, const ng_model *m, ng_error *err) NG_MUST_USE;
/* Rows of an encoder's forward at most. */
size_t ng_encode_rows(size_t n_ctx);

/* ---- loading ------------------------------------------------------------------------------------ */

struct ng_loader {
    ng_model *model;
    uint8_t *used;    /* [tensors of the file]: NG_LOAD_KNOWN, NG_LOAD_IN_PLACE */
    ng_mat **mats;    /* [n_mats] to repack */
    size_t n_mats;
    bool header_only; /* no tensor's data may be touched: vectors are all 1 */
};
enum {
    NG_LOAD_KNOWN = 1,    /* asked for by name */
    NG_LOAD_IN_PLACE = 2, /* read in the mapping when the model runs */
};

/* "llama.block_count" for ("block_count"): keys under the architecture's own name.  The range is
 * checked: 1 .. max, and the message names the key. */
ng_status ng_load_u32(ng_loader *l, const char *key, uint32_t max, uint32_t *out, ng_error *err) NG_MUST_USE;
ng_status ng_load_u32_or(ng_loader *l, const char *key, uint32_t dflt, uint32_t max, uint32_t *out,
                         ng_error *err) NG_MUST_USE;
ng_status ng_load_f32(ng_loader *l, const char *key, float *out, ng_error *err) NG_MUST_USE;
ng_status ng_load_f32_or(ng_loader *l, const char *key, float dflt, float *out, ng_error *err) NG_MUST_USE;
/* A weight matrix [n_rows, n_cols] (dims[0] is n_cols).  NG_EFORMAT when missing or of another shape,
 * NG_EUNSUPPORTED for a type that cannot be run.  *m must live as long as the model. */
ng_status ng_load_mat(ng_loader *l, ng_mat *m, const char *name, size_t n_rows, size_t n_cols,
                      ng_error *err) NG_MUST_USE;
/* The same for a matrix of which only rows are looked up (ng_mat_row): not repacked. */
ng_status ng_load_lookup(ng_loader *l, ng_mat *m, const char *name, size_t n_rows, size_t n_cols,
                         ng_error *err) NG_MUST_USE;
/* A vector of n floats: F32 in place, other float types converted.  NULL in *out and NG_OK when it is
 * missing and `optional`. */
ng_status ng_load_vec(ng_loader *l, const float **out, const char *name, size_t n, bool optional,
                      ng_error *err) NG_MUST_USE;
bool ng_load_has(const ng_loader *l, const char *name);
/* Says that a tensor of the file is known and not needed. */
void ng_load_ignore(ng_loader *l, const char *name);

#endif
