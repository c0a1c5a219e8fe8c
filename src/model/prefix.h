/* prefix.h: the store behind nanogrid/prefix.h: a tree of pages over one pool, and files.
 *
 *     ng_prefix_open(&p, &(ng_prefix_setup){model, &shape, pool, &options}, &err);
 *     ng_prefix_text t = {.ids = ids, .n = n};
 *     ng_prefix_extend(p, &kv, &t, SIZE_MAX);        kv, holding ids[0 .. len), goes on with what is known
 *     ..                                             the rest of ids is evaluated
 *     ng_prefix_keep(p, &kv, &t);                    kv holds ids[0 .. n)
 *     ng_prefix_free(p);
 *
 * One thread at a time.  Pages that are kept are held by reference: a sequence that goes on behind a shared page
 * copies it first (kv.h). */
#ifndef NG_MODEL_PREFIX_H
#define NG_MODEL_PREFIX_H

#include "kv.h"
#include <nanogrid/prefix.h>

typedef struct ng_prefix ng_prefix;

typedef struct ng_prefix_setup {
    const ng_model *model;
    const ng_kv_shape *shape; /* of the pool's pages */
    ng_kv_pool *pool;         /* retained */
    const ng_prefix_options *options;
} ng_prefix_setup;

/* Pages that a store with these options keeps: the pool needs so many more, and one while a file is written. */
size_t ng_prefix_pages(const ng_prefix_options *o, const ng_kv_shape *shape);
ng_status ng_prefix_open(ng_prefix **out, const ng_prefix_setup *setup, ng_error *err) NG_MUST_USE;
/* Waits until files are written; NULL is fine. */
void ng_prefix_free(ng_prefix *p);

typedef struct ng_prefix_text {
    const int32_t *ids;
    size_t n;
    uint64_t tenant; /* texts of different tenants share nothing */
    bool is_private; /* keep: not in files */
} ng_prefix_text;

/* Appends known pages to `kv`, which holds ids[0 .. kv->len), up to n tokens in all; at most `files` of them from
 * files.  Returns how many tokens that were.  Nothing is known of a sequence that does not end with a page. */
size_t ng_prefix_extend(ng_prefix *p, ng_kv *kv, const ng_prefix_text *t, size_t files);
/* Keeps the pages of the first n tokens of `kv`. */
void ng_prefix_keep(ng_prefix *p, const ng_kv *kv, const ng_prefix_text *t);
/* For a pool that has no page left: gives one back, of those that only wait to be written, then that unused for
 * longest; false when there is none.  A page may have other holders, so more than one call may be needed. */
bool ng_prefix_evict(ng_prefix *p);
void ng_prefix_flush(ng_prefix *p); /* waits until files are written */
ng_prefix_stats ng_prefix_look(ng_prefix *p);

#endif
