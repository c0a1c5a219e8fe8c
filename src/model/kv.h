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
 * after the start.
 *
 * A page holds for each layer the keys of each head, then the values of each head:
 *     F16, F32   K[head_dim][64], transposed so that the lanes of a score are positions; V[64][head_dim]
 *     Q8         K: 4 panels of 16 positions (kernel/w8.h: a scale a position, int8); V: int8 [64][head_dim],
 *                then f32 [64], a scale a position.  A head_dim of 64 takes 140 bytes a token where F16 takes 256
 *
 * Sequences of one pool may live on different threads (a lock guards page counts); a sequence belongs
 * to one. */
#ifndef NG_MODEL_KV_H
#define NG_MODEL_KV_H

#include <nanogrid/status.h>

enum { NG_KV_PAGE_TOK = 64 };

typedef enum ng_kv_type { NG_KV_F16, NG_KV_F32, NG_KV_Q8 } ng_kv_type;

typedef struct ng_kv_shape {
    size_t n_layer, n_head_kv, head_dim;
    ng_kv_type type; /* F32 for models whose weights are */
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

/* ---- single pages, for what holds pages of no sequence (prefix.h) ---- */

size_t ng_kv_page_bytes(const ng_kv_pool *p); /* of 64 tokens, all layers */
void *ng_kv_page(ng_kv_pool *p, uint32_t id);
void ng_kv_page_hold(ng_kv_pool *p, uint32_t id);
void ng_kv_page_drop(ng_kv_pool *p, uint32_t id);
bool ng_kv_page_is_shared(ng_kv_pool *p, uint32_t id); /* it has a second holder */
/* The first n <= 64 tokens of a page that somebody holds become the next ones of `kv`, by reference; kv->len is
 * a multiple of 64.  False, and nothing done, when the sequence is full. */
bool ng_kv_append(ng_kv *kv, uint32_t id, size_t n) NG_MUST_USE;

/* Of page i (position / 64), in the page's form. */
void *ng_kv_keys(const ng_kv *kv, size_t page, size_t layer, size_t head);
void *ng_kv_values(const ng_kv *kv, size_t page, size_t layer, size_t head);
size_t ng_kv_key_bytes(const ng_kv *kv); /* of one head's keys in a page */
ng_kv_type ng_kv_get_type(const ng_kv *kv);
/* Q8: bytes of a panel of keys, and where the scales of the values begin. */
size_t ng_kv_panel_bytes(size_t head_dim);
float *ng_kv_value_scales(void *values, size_t head_dim);

#endif
