/* package.h: the packages installed on this machine.
 *
 *     ng_packages p;
 *     ng_packages_list(&p, &err);
 *     for (size_t i = 0; i < p.len; i++) puts(p.items[i].name);
 *     ng_packages_clear(&p);
 *
 * A package is a folder with card.json (or X.card.json for each X.gguf) and GGUF files.  Folders
 * are looked for in $NANOGRID_HOME/packages, then EXE/../share/nanogrid/models, then EXE/../models,
 * where EXE is the folder of the running program; the working directory plays no part.  The first
 * folder of a name wins. */
#ifndef NANOGRID_PACKAGE_H
#define NANOGRID_PACKAGE_H

#include <nanogrid/buf.h>

typedef struct ng_package {
    const char *name; /* "intent" */
    const char *dir;
    uint64_t bytes; /* of its files */
} ng_package;
typedef struct ng_packages {
    ng_package *items; /* sorted by name */
    size_t len;
    void *arena;
} ng_packages;

NG_API ng_status ng_packages_list(ng_packages *out, ng_error *err) NG_MUST_USE;
NG_API void ng_packages_clear(ng_packages *p);
/* The folder of "nanogrid/intent" or "intent" into out[cap].  NG_ENOTFOUND names the roots. */
NG_API ng_status ng_package_find(char *out, size_t cap, const char *ref, ng_error *err) NG_MUST_USE;
/* Appends a package's card: one line of JSON, or `path  value` lines for people.  A package of
 * several models has a card for each (X.card.json for X.gguf): they appear under their names. */
NG_API ng_status ng_package_card(ng_buf *out, const char *ref, bool json,
                                 ng_error *err) NG_MUST_USE;

#endif
