/* name_index.c: an open-addressing hash table with linear probing.  See name_index.h.
 *
 * Invariant: n_slots is a power of two and at least twice len, so that a probe always meets a free
 * slot.  Nothing is ever removed.  The seed differs from run to run: names come from files. */
#include "name_index.h"

#include "core/clock.h"
#include "core/hash.h"

#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 32 };

static size_t slot_of(const ng_name_index *x, const char *name) {
    return (size_t)ng_hash64(name, strlen(name), x->seed) & (x->n_slots - 1);
}

/* The slot that holds `name`, or the free slot where it belongs. */
static uint32_t *probe(const ng_name_index *x, const char *name) {
    size_t i = slot_of(x, name);
    while (x->slots[i] && strcmp(x->names[x->slots[i] - 1], name)) i = (i + 1) & (x->n_slots - 1);
    return &x->slots[i];
}

static bool grow(ng_name_index *x) {
    size_t n_slots = x->n_slots ? x->n_slots * 2 : SMALLEST, cap = n_slots / 2;
    const char **names = realloc(x->names, cap * sizeof *names);
    if (!names) return false;
    x->names = names;
    x->cap = cap;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots) {
        x->cap = x->n_slots / 2;
        return false;
    }
    free(x->slots);
    x->slots = slots;
    x->n_slots = n_slots;
    for (size_t i = 0; i < x->len; i++) *probe(x, x->names[i]) = (uint32_t)i + 1;
    return true;
}

ng_status ng_name_index_add(ng_name_index *x, const char *name, size_t *at) {
    if (!x->n_slots) x->seed = ng_hash_mix(ng_clock_ns() ^ (uint64_t)(uintptr_t)x);
    if (x->len == x->cap && !grow(x)) return NG_ENOMEM;
    uint32_t *slot = probe(x, name);
    if (*slot) {
        *at = *slot - 1;
        return NG_EINVALID;
    }
    *at = x->len;
    x->names[x->len++] = name;
    *slot = (uint32_t)x->len;
    return NG_OK;
}

bool ng_name_index_find(const ng_name_index *x, const char *name, size_t *at) {
    uint32_t slot = x->n_slots ? *probe(x, name) : 0;
    if (slot) *at = slot - 1;
    return slot != 0;
}

void ng_name_index_clear(ng_name_index *x) {
    free(x->names);
    free(x->slots);
    *x = (ng_name_index){0};
}
