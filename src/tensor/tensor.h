/* tensor.h: weight matrices, activations, and the operations that a forward pass is written in.
 *
 *     ng_act_norm(tm, k, &h, x, norm, n_tok);               h = rmsnorm(x), also as int8
 *     ng_team_barrier(tm);
 *     ng_linear(tm, &wq, &h, n_tok, (ng_out){.y = q, .stride = 576});      q = h wq^T
 *     ng_team_barrier(tm);                                  q is complete
 *
 * SPMD: all threads of the pool run the same forward; every operation here takes the team, does the
 * calling thread's fixed share of the OUTPUTS and returns without waiting, so the caller places the
 * barriers: between writing something and reading what another thread wrote of it.  A thread may also be a
 * team of one, with rows of its own (arch_llama.c).  Shares never
 * split a sum, so results do not depend on the number of threads. */
#ifndef NG_TENSOR_TENSOR_H
#define NG_TENSOR_TENSOR_H

#include "core/arena.h"
#include "core/pool.h"
#include "gguf/gguf.h"
#include "kernel/kernel.h"

typedef struct ng_observer ng_observer;
typedef struct ng_team {
    ng_pool *pool;
    int part, n_parts;
    const ng_observer *observer; /* or NULL */
    int thread;                  /* which of the pool's: for memory that each has for itself */
} ng_team;

/* A team of one waits for nobody. */
static inline void ng_team_barrier(const ng_team *tm) {
    if (tm->n_parts > 1) ng_pool_barrier(tm->pool);
}
/* This thread's slice of n things. */
static inline void ng_team_slice(const ng_team *tm, size_t n, size_t unit, size_t *begin, size_t *end) {
    ng_pool_slice(n, unit, tm->part, tm->n_parts, begin, end);
}

/* ---- weights ----------------------------------------------------------------------------------- */

/* [n_rows, n_cols]: one row an output.  Float weights are used where they lie in the file; quantised
 * ones are repacked into panels. */
typedef struct ng_mat {
    uint32_t type;
    size_t n_rows, n_cols;
    const uint8_t *stored; /* rows as in the file, borrowed */
    size_t stored_stride;
    const uint8_t *w;      /* what the kernel reads: stored, or panels */
    size_t w_stride;
    ng_gemm_fn *gemm;      /* NULL: not for products (ng_mat_init_lookup) */
    bool is_q8;            /* quantised: wants int8 activations */
    bool is_w8;            /* .. and repacked as int8 rows (kernel/w8.h): ng_rows_linear only */
    const struct ng_mat *next; /* what a forward reads next, to be fetched ahead; or NULL */
} ng_mat;

bool ng_mat_can(uint32_t type);
/* A two-dimensional tensor; the caller has checked its shape and that ng_mat_can(type).  A matrix with
 * ng_mat_panel_bytes > 0 must be given that much memory (64-byte aligned) and be packed before use. */
ng_status ng_mat_init(ng_mat *m, const ng_gguf_tensor *t, const ng_kernels *k, ng_error *err) NG_MUST_USE;
/* A quantised matrix is repacked into int8 rows, whatever its type; a float one stays.  Right after
 * ng_mat_init, before its panels are placed.  False when its rows are longer than NG_W8_COLS_MAX. */
bool ng_mat_use_w8(ng_mat *m) NG_MUST_USE;
size_t ng_mat_panel_bytes(const ng_mat *m); /* 0: used where it lies; SIZE_MAX: too big for this machine */
void ng_mat_place(ng_mat *m, uint8_t *panels);
/* For ng_mat_row only. */
ng_status ng_mat_init_lookup(ng_mat *m, const ng_gguf_tensor *t, ng_error *err) NG_MUST_USE;
/* This thread's share of repacking; nothing for float weights. */
void ng_mat_pack(const ng_team *tm, const ng_mat *m);
/* Row `row` as floats: an embedding.  From the panels where there are any, so that the stored form of a matrix
 * that is also multiplied by need not be resident. */
void ng_mat_row(const ng_mat *m, size_t row, float *dst);

/* ---- activations ------------------------------------------------------------------------------- */

/* [max_tok, n_cols]: floats, and the same as int8 blocks where a consumer wants them. */
typedef struct ng_act {
    float *x;
    size_t n_cols;
    ng_q8 q; /* q.q is NULL when no consumer is quantised */
} ng_act;

/* is_q8: some product reads this as int8 (then n_cols is a multiple of 32, as that product's weights
 * guarantee).  False when memory is out. */
bool ng_act_init(ng_act *act, ng_arena *a, size_t max_tok, size_t n_cols, bool is_q8) NG_MUST_USE;
/* The rows from `row` on. */
ng_act ng_act_from(const ng_act *act, size_t row);
/* The int8 form of this thread's share of the blocks of n_tok rows; nothing when none is wanted. */
void ng_act_quantize(const ng_team *tm, const ng_kernels *k, const ng_act *act, size_t n_tok);

/* The same for columns [begin, end) of row `tok`, multiples of 32, which the caller has just written. */
void ng_act_quantize_cols(const ng_kernels *k, const ng_act *act, size_t tok, size_t begin, size_t end);

typedef struct ng_norm {
    const float *w, *b; /* b NULL: RMSNorm; else LayerNorm */
    float eps;
} ng_norm;
/* act = norm(x[n_tok, n_cols]), in both forms, for this thread's share of the rows. */
void ng_act_norm(const ng_team *tm, const ng_kernels *k, const ng_act *act, const float *x,
                 const ng_norm *norm, size_t n_tok);

/* ---- products ---------------------------------------------------------------------------------- */

/* Sees what each product reads (importance matrices); called by one thread of the team. */
struct ng_observer {
    void (*see)(void *ctx, const ng_mat *m, const ng_act *act, size_t n_tok);
    void *ctx;
};

typedef struct ng_out {
    float *y;          /* [n_tok, stride] */
    size_t stride;
    const float *bias; /* [n_rows] or NULL */
    bool add;          /* y += .. (residual) */
} ng_out;

/* out = act m^T for this thread's share of m's rows: the rows of ng_linear_slice. */
void ng_linear(const ng_team *tm, const ng_mat *m, const ng_act *act, size_t n_tok, ng_out out);
/* Which rows of a matrix of n_rows the calling thread computes: what it may go on with unsynchronised. */
static inline void ng_linear_slice(const ng_team *tm, size_t n_rows, size_t *begin, size_t *end) {
    ng_team_slice(tm, n_rows, 32, begin, end); /* 32: a panel pair, and one block of int8 activations */
}

/* ---- rotary position embedding (Su et al. 2021) -------------------------------------------------- */

/* inv_freq[n_rot / 2]: base^(-2 i / n_rot), divided by factors[i] where factors is not NULL. */
void ng_rope_freqs(float *inv_freq, size_t n_rot, double base, const float *factors);
/* cos_sin[n_tok, n_rot]: cos, sin of (pos + t) * inv_freq[i], interleaved; this thread's share. */
void ng_rope_table(const ng_team *tm, float *cos_sin, const float *inv_freq, size_t n_rot, size_t pos,
                   size_t n_tok);
/* Rotates the pairs (2 i, 2 i + 1) of the first n_rot elements of one head: ggml's NORM form, for
 * which converters permute the rows of llama's q and k. */
void ng_rope_pairs(float *head, const float *cos_sin, size_t n_rot);
/* sin and cos in plain double arithmetic, the same on every machine; |x| < 1e6. */
void ng_sincos(double x, double *s, double *c);

#endif
