/* prefix_file.h: one page of keys and values as a file.
 *
 *     ng_prefix_dir d;
 *     ng_prefix_dir_open(&d, "prefixes", identity, page_bytes, max, &err);
 *     ng_prefix_key k = ng_prefix_key_first(&d, tenant);
 *     while (ng_prefix_key_next(&k, ids, n)) {                    for each whole page of ids[0 .. n)
 *         if (ng_prefix_file_read(&d, &k, page, &err)) ..         NG_ENOTFOUND: there is none
 *     }
 *
 * DIR/<identity>-<page>-<chain>.kv, the chain a digest of the tenant and all tokens up to the page's end.  The file:
 *
 *     header   magic, version, number of tokens, identity, bytes of the page, digest of the page
 *     ids      int32, all tokens from the first
 *     page     as it lies in memory (kv.h)
 *
 * A reader knows every byte of header and ids but the digest beforehand; they are compared, not parsed. */
#ifndef NG_MODEL_PREFIX_FILE_H
#define NG_MODEL_PREFIX_FILE_H

#include "core/hash.h"
#include "kv.h"
#include <limits.h>

typedef struct ng_prefix_dir {
    char path[PATH_MAX - 80];
    ng_digest identity;
    size_t page_bytes;
    uint64_t max;     /* bytes of all files */
    uint64_t foreign; /* files of other identities when it was opened */
} ng_prefix_dir;
/* Makes the folder.  NG_EIO or NG_EINVALID where it cannot be used. */
ng_status ng_prefix_dir_open(ng_prefix_dir *out, const char *path, ng_digest identity, size_t page_bytes, uint64_t max,
                             ng_error *err) NG_MUST_USE;
/* Removes temporary files of processes that died, and what was not used for longest until all fits. */
void ng_prefix_dir_trim(const ng_prefix_dir *d);

typedef struct ng_prefix_key {
    const int32_t *ids; /* [n_ids] from the text's start; borrowed */
    size_t n_ids;       /* a multiple of 64 */
    uint64_t tenant;
    ng_digest chain;
} ng_prefix_key;
ng_prefix_key ng_prefix_key_first(const ng_prefix_dir *d, uint64_t tenant);
/* The key of the next page of ids[0 .. n); false when it is not whole. */
bool ng_prefix_key_next(ng_prefix_key *k, const int32_t *ids, size_t n);

/* NG_ENOTFOUND: no such file.  NG_EFORMAT: it is refused, with its name and why, and removed. */
ng_status ng_prefix_file_read(const ng_prefix_dir *d, const ng_prefix_key *k, void *page, ng_error *err) NG_MUST_USE;
/* *fresh: it was not there before; then it is only marked as used. */
ng_status ng_prefix_file_write(const ng_prefix_dir *d, const ng_prefix_key *k, const void *page, bool *fresh,
                               ng_error *err) NG_MUST_USE;

#endif
