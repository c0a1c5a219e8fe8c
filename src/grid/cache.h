/* cache.h: answers to requests that came before, byte for byte the same.
 *
 *     ng_cache *c;
 *     ng_cache_new(&c, 64 << 20, &err);
 *     ng_answer *a = ng_cache_get(c, key, key_len);      a copy that is yours, or NULL
 *     if (!a) { .. ask ..; ng_cache_put(c, key, key_len, answer); }
 *     ng_cache_free(c);
 *
 * The key is compared in full, never by hash alone.  Memory is bounded: what was used longest ago
 * goes first.  Thread-safe.  Who builds the key and decides what may be kept is the asker
 * (ask.c). */
#ifndef NG_GRID_CACHE_H
#define NG_GRID_CACHE_H

#include <nanogrid/answer.h>

typedef struct ng_cache ng_cache;

/* max_bytes counts keys, answers and the table itself. */
ng_status ng_cache_new(ng_cache **out, size_t max_bytes, ng_error *err) NG_MUST_USE;
void ng_cache_free(ng_cache *c);
/* A miss, or no memory for the copy: NULL. */
ng_answer *ng_cache_get(ng_cache *c, const void *key, size_t key_len) NG_MUST_USE;
/* Keeps a copy where it fits and memory allows; an answer of the same key is replaced. */
void ng_cache_put(ng_cache *c, const void *key, size_t key_len, const ng_answer *a);
size_t ng_cache_bytes(ng_cache *c); /* used now */
size_t ng_cache_len(ng_cache *c);

/* A deep copy without route, decision id and timings, which belong to one request.  NG_ENOMEM. */
ng_status ng_answer_copy(ng_answer **out, const ng_answer *a) NG_MUST_USE;

#endif
