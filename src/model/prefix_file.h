/* prefix_file.h: one page of keys and values as a file.
 *
 *     ng_prefix_dir d;
 *     ng_prefix_dir_open(&d, "prefixes", identity, page_bytes, max, &err);
 *     ng_prefix_key k = ng_prefix_key_first(&d, tenant);
 *     while (ng_prefix_key_next(&k, ids, n) == 64) {              for each whole page of ids[0 .. n)
 *         if (ng_prefix_file_read(&d, &k, page, &err)) break;     NG_ENOTFOUND: there is none
 *     }
 *     same = ng_prefix_file_near(&d, &k, page, &err);             a page that begins with some of the key's last ids
 *     ng_prefix_dir_close(&d);
 *
 * DIR/<identity>-<page>-<chain>-<own>.kv: the chain a digest of the tenant and all tokens before the page, `own` a hash
 * of those in it.  The file:
 *
 *     header   magic, version, number of tokens, identity, bytes of the page, digest of the tokens, of the page
 *     ids      int32, all tokens from the first
 *     page     as it lies in memory (kv.h)
 *
 * A reader knows every byte of header and ids but the page's digest beforehand; they are compared, not parsed.  Only
 * of a page that is near does it take the ids, which then must have the digest that the header names. */
#ifndef NG_MODEL_PREFIX_FILE_H
#define NG_MODEL_PREFIX_FILE_H

#include "core/file.h"
#include "core/hash.h"
#include "kv.h"
#include <limits.h>

typedef struct ng_prefix_dir {
    char path[PATH_MAX - 128];
    ng_digest identity;
    size_t page_bytes;
    uint64_t max;     /* bytes of all files */
    uint64_t foreign; /* files of other identities when it was opened */
    ng_dir_list names; /* those of this one, then */
} ng_prefix_dir;
/* Makes the folder.  NG_EIO or NG_EINVALID where it cannot be used. */
ng_status ng_prefix_dir_open(ng_prefix_dir *out, const char *path, ng_digest identity, size_t page_bytes, uint64_t max,
                             ng_error *err) NG_MUST_USE;
void ng_prefix_dir_close(ng_prefix_dir *d); /* accepts a zeroed one */
/* Removes temporary files of processes that died, and what was not used for longest until all fits. */
void ng_prefix_dir_trim(const ng_prefix_dir *d);

typedef struct ng_prefix_key {
    const int32_t *ids;  /* [n_ids] from the text's start; borrowed */
    size_t begin, n_ids; /* the page holds ids[begin .. n_ids), at most 64 */
    ng_digest chain;     /* of what stands before */
} ng_prefix_key;
ng_prefix_key ng_prefix_key_first(const ng_prefix_dir *d, uint64_t tenant);
/* Goes on to the next page of ids[0 .. n) from one that is whole; returns how many ids it has. */
size_t ng_prefix_key_next(ng_prefix_key *k, const int32_t *ids, size_t n);

/* NG_ENOTFOUND: no such file.  NG_EFORMAT: it is refused, with its name and why, and removed. */
ng_status ng_prefix_file_read(const ng_prefix_dir *d, const ng_prefix_key *k, void *page, ng_error *err) NG_MUST_USE;
/* The page of this folder (as it was opened) that stands where the key's does and has most of its ids at its
 * beginning; returns how many, 0 for none.  *err says what was refused. */
size_t ng_prefix_file_near(const ng_prefix_dir *d, const ng_prefix_key *k, void *page, ng_error *err);
/* *fresh: it was not there before; then it is only marked as used. */
ng_status ng_prefix_file_write(const ng_prefix_dir *d, const ng_prefix_key *k, const void *page, bool *fresh,
                               ng_error *err) NG_MUST_USE;

#endif
