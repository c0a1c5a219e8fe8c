/* repack.h: quantised weights as panels, written once to a file that all processes map.
 *
 *     ng_repack_source src = {&map, path, mats, n_mats, NG_REPACK_CACHE_FROM};
 *     ng_repack r = {0};
 *     if (ng_repack_open(&r, &src, &err)) ..          every mats[i]->w is good now
 *     puts(r.how);                                    "cache", "written", "memory" or "none"
 *     ng_repack_close(&r);
 *
 * The file is $NANOGRID_HOME/cache/<digest of the model file>-<NG_REPACK_LAYOUT>.  Nothing in it is
 * believed: its header must be, field by field, the one that this build would write for these matrices,
 * and its panels must have the digest that the header names; else it is made anew.  Where it cannot be
 * written (read-only home, full disk), the panels stay in this process and `note` says so.
 * docs/decisions/007-repack-cache.md has the reasons. */
#ifndef NG_MODEL_REPACK_H
#define NG_MODEL_REPACK_H

#include "core/file.h"
#include "core/hash.h"
#include "tensor/tensor.h"

/* The form of a panel (kernel/panel.h) and of this file: a new name whenever either changes.  Panels are
 * the same for all instruction sets. */
#define NG_REPACK_LAYOUT "panel16-1"

enum {
    NG_REPACK_CACHE_FROM = 4 << 20, /* bytes of panels; fewer are repacked in a few milliseconds */
    NG_REPACK_NOTE_MAX = 512,
};
/* All files of the cache together; what was not used for longest goes first. */
#define NG_REPACK_CACHE_MAX ((uint64_t)4 << 30)

typedef struct ng_repack_source {
    const ng_map *file; /* the whole model file */
    const char *path;   /* for messages */
    ng_mat **mats;      /* [n_mats] from ng_mat_init; those without panels are passed over */
    size_t n_mats;
    size_t cache_from_bytes; /* fewer bytes of panels are not cached */
} ng_repack_source;

typedef struct ng_repack {
    ng_map file;     /* the cache file, or .. */
    uint8_t *memory; /* .. the panels of this process */
    ng_digest source; /* of the model file, where has_source */
    bool has_source;
    const char *how; /* static; see ng_model_info.repack */
    char note[NG_REPACK_NOTE_MAX]; /* "" when there is nothing to say */
} ng_repack;

ng_status ng_repack_open(ng_repack *out, const ng_repack_source *src, ng_error *err) NG_MUST_USE;
void ng_repack_close(ng_repack *r); /* accepts a zeroed one */

/* ---- the parts, for tests ---------------------------------------------------------------------------- */

/* Digest of the digests of the pieces of 1 MiB, so that a team can share the work; pages are let go as
 * they have been read where `forget`. */
ng_status ng_repack_digest(ng_digest *out, ng_pool *pool, const ng_map *bytes, bool forget,
                           ng_error *err) NG_MUST_USE;
/* NG_EFORMAT with the reason when these bytes are not the cache of these matrices of that file. */
ng_status ng_repack_check(const ng_map *cache, const ng_repack_source *src, ng_digest source, ng_pool *pool,
                          ng_error *err) NG_MUST_USE;
/* The header of a cache file of these panels into *out (free() it), *len bytes: the panels follow. */
ng_status ng_repack_header(uint8_t **out, size_t *len, const ng_repack_source *src, ng_digest source,
                           ng_digest panels, ng_error *err) NG_MUST_USE;

#endif
