/* package.c: finds package folders.  See nanogrid/package.h.
 *
 * A reference is `NAME` or `nanogrid/NAME`; NAME may hold no slash and not begin with a dot, so
 * that a configuration cannot walk out of the roots. */
#include <nanogrid/package.h>

#include "core/arena.h"
#include "core/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_ROOTS = 3, PATH_CAP = 4096 };

static ng_status roots(char out[N_ROOTS][PATH_CAP], ng_error *err) {
    char home[PATH_CAP - 64], exe[PATH_CAP - 64];
    ng_status s = ng_home_dir(home, sizeof home, err);
    if (!s) s = ng_exe_dir(exe, sizeof exe, err);
    if (s) return s;
    snprintf(out[0], PATH_CAP, "%s/packages", home);
    snprintf(out[1], PATH_CAP, "%s/../share/nanogrid/models", exe);
    snprintf(out[2], PATH_CAP, "%s/../models", exe);
    return NG_OK;
}

/* out = a/b; false when it does not fit. */
static bool join(char *out, size_t cap, const char *a, const char *b) {
    int n = snprintf(out, cap, "%s/%s", a, b);
    return n > 0 && (size_t)n < cap;
}

static const char *bare_name(const char *ref) {
    static const char prefix[] = "nanogrid/";
    const char *name = strncmp(ref, prefix, sizeof prefix - 1) ? ref : ref + sizeof prefix - 1;
    return *name && *name != '.' && !strchr(name, '/') ? name : NULL;
}

ng_status ng_package_find(char *out, size_t cap, const char *ref, ng_error *err) {
    char at[N_ROOTS][PATH_CAP];
    const char *name = bare_name(ref);
    if (!name)
        return ng_fail(err, NG_EINVALID, "'%.80s' is no package name; use nanogrid/NAME or NAME",
                       ref);
    ng_status s = roots(at, err);
    if (s) return s;
    for (int i = 0; i < N_ROOTS; i++) {
        if (join(out, cap, at[i], name) && ng_dir_exists(out)) return NG_OK;
    }
    return ng_fail(err, NG_ENOTFOUND,
                   "the package '%.80s' is not installed; looked in %.120s, %.120s and %.120s",
                   name, at[0], at[1], at[2]);
}

/* card.json, or X.card.json for the file X.gguf of a package that holds several. */
static bool is_card(const char *name) {
    size_t len = strlen(name);
    return !strcmp(name, "card.json") || (len > 10 && !strcmp(name + len - 10, ".card.json"));
}

static uint64_t folder_bytes(const char *dir, bool *is_package) {
    ng_dir_list l;
    uint64_t bytes = 0;
    *is_package = false;
    if (ng_dir_read(&l, dir, NULL)) return 0;
    for (size_t i = 0; i < l.len; i++) {
        char path[PATH_CAP + 256];
        ng_map m;
        *is_package |= is_card(l.names[i]);
        if (join(path, sizeof path, dir, l.names[i]) && ng_map_open(&m, path, NULL) == NG_OK) {
            bytes += m.len;
            ng_map_close(&m);
        }
    }
    ng_dir_list_clear(&l);
    return bytes;
}

static bool has(const ng_packages *p, const char *name) {
    for (size_t i = 0; i < p->len; i++)
        if (!strcmp(p->items[i].name, name)) return true;
    return false;
}

/* Adds the packages of one root; a missing root is fine. */
static ng_status add_root(ng_packages *out, ng_arena *arena, const char *root, ng_error *err) {
    ng_dir_list l;
    if (ng_dir_read(&l, root, NULL)) return NG_OK;
    ng_package *items = ng_arena_array(arena, out->len + l.len, sizeof *items);
    ng_status s = items ? NG_OK : ng_fail(err, NG_ENOMEM, "packages: out of memory");
    if (!s && out->len) memcpy(items, out->items, out->len * sizeof *items);
    if (!s) out->items = items;
    for (size_t i = 0; !s && i < l.len; i++) {
        bool is_package;
        char dir[PATH_CAP + 256];
        if (!join(dir, sizeof dir, root, l.names[i])) continue;
        uint64_t bytes = folder_bytes(dir, &is_package);
        if (!is_package || has(out, l.names[i])) continue;
        ng_package p = {ng_arena_strdup(arena, l.names[i]), ng_arena_strdup(arena, dir), bytes};
        if (!p.name || !p.dir) s = ng_fail(err, NG_ENOMEM, "packages: out of memory");
        else out->items[out->len++] = p;
    }
    ng_dir_list_clear(&l);
    return s;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const ng_package *)a)->name, ((const ng_package *)b)->name);
}

ng_status ng_packages_list(ng_packages *out, ng_error *err) {
    char at[N_ROOTS][PATH_CAP];
    ng_arena *arena;
    *out = (ng_packages){0};
    ng_status s = roots(at, err);
    if (s) return s;
    if (ng_arena_new(&arena, 4096)) return ng_fail(err, NG_ENOMEM, "packages: out of memory");
    out->arena = arena;
    for (int i = 0; !s && i < N_ROOTS; i++) s = add_root(out, arena, at[i], err);
    if (s) ng_packages_clear(out);
    else if (out->len) qsort(out->items, out->len, sizeof *out->items, by_name);
    return s;
}

void ng_packages_clear(ng_packages *p) {
    ng_arena_free(p->arena);
    *p = (ng_packages){0};
}
