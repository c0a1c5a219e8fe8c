/* kv.h: keys and values of past tokens, in reference-counted pages of 64 tokens.
 *
 *     ng_kv_pool *pool; ng_kv kv;
 *     ng_kv_pool_new(&pool, &shape, n_pages, &err);
 *     ng_kv_init(&kv, pool, n_pages, &err);
 *     ng_kv_reserve(&kv, n, &err);                  positions len .. len + n - 1 may be written
 *     memcpy(ng_kv_keys(&kv, 0, layer, head), ..);
 *     ng_kv_advance(&kv, n);
 *     ng_kv_clear(&kv);  ng_kv_pool_release(pool);
 *
 * A sequence is a list of pages.  Sharing a prefix shares its pages; a page that is shared is copied
 * before it is written (ng_kv_reserve), so no sequence sees another's tokens.  The pool reserves
 * address space once and the system commits memory as pages are first written: no heap call is made
 * after the start.  A page, F16 or F32: for each layer K[n_head_kv][head_dim][64], then
 * V[n_head_kv][64][head_dim]: keys lie transposed so that the lanes of a score are positions.
 *
 * Sequences of one pool may live on different threads (a lock guards page counts); a sequence belongs
 * to one. */
#ifndef NG_MODEL_KV_H
#define NG_MODEL_KV_H

#include <nanogrid/status.h>

enum { NG_KV_PAGE_TOK = 64 };

typedef struct ng_kv_shape {
    size_t n_layer, n_head_kv, head_dim;
    bool is_f32; /* elements are float, for models whose weights are; else F16 */
} ng_kv_shape;
size_t ng_kv_bytes_per_tok(const ng_kv_shape *s);

typedef struct ng_kv_pool ng_kv_pool;
/* Holds one reference; NG_ENOMEM or NG_ELIMIT with the size in the message. */
ng_status ng_kv_pool_new(ng_kv_pool **out, const ng_kv_shape *shape, size_t n_pages,
                         ng_error *err) NG_MUST_USE;
ng_kv_pool *ng_kv_pool_retain(ng_kv_pool *p);
void ng_kv_pool_release(ng_kv_pool *p); /* NULL is fine; the last reference frees */
size_t ng_kv_pool_pages_used(ng_kv_pool *p);

typedef struct ng_kv {
    ng_kv_pool *pool;
    uint32_t *pages; /* [n_pages_max] ids; the first n_pages are held */
    size_t n_pages, n_pages_max;
    size_t len;      /* tokens */
} ng_kv;
/* Retains the pool.  n_pages_max bounds the sequence. */
ng_status ng_kv_init(ng_kv *kv, ng_kv_pool *pool, size_t n_pages_max, ng_error *err) NG_MUST_USE;
void ng_kv_clear(ng_kv *kv); /* accepts a zeroed one */
/* Makes the next n positions writable.  NG_ELIMIT when the pool or the sequence has no page left;
 * the tokens held are then as before. */
ng_status ng_kv_reserve(ng_kv *kv, size_t n, ng_error *err) NG_MUST_USE;
void ng_kv_advance(ng_kv *kv, size_t n);
/* Keeps the first n tokens and gives whole pages beyond them back. */
void ng_kv_rewind(ng_kv *kv, size_t n);
/* `kv` becomes the first n tokens of `from` (same pool), by reference. */
void ng_kv_share(ng_kv *kv, const ng_kv *from, size_t n);

/* Of page i (position / 64): keys [head_dim, 64], values [64, head_dim]. */
void *ng_kv_keys(const ng_kv *kv, size_t page, size_t layer, size_t head);
void *ng_kv_values(const ng_kv *kv, size_t page, size_t layer, size_t head);
bool ng_kv_is_f32(const ng_kv *kv);

#endif
