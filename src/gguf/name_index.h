/* name_index.h: names to positions 0, 1, 2 .. in the order they were added.
 *
 *     ng_name_index x = {0};
 *     size_t at;
 *     ng_status s = ng_name_index_add(&x, "token_embd.weight", &at);   NG_EINVALID: it was there
 *     if (ng_name_index_find(&x, "output.weight", &at)) ..
 *     ng_name_index_clear(&x);
 *
 * The names are borrowed and must outlive the index.  Not thread-safe while adding; finding is. */
#ifndef NG_GGUF_NAME_INDEX_H
#define NG_GGUF_NAME_INDEX_H

#include <nanogrid/status.h>

typedef struct ng_name_index {
    const char **names; /* [len] */
    size_t len, cap;
    uint32_t *slots; /* [n_slots]: position + 1, 0 is free; n_slots is a power of two >= 2 len */
    size_t n_slots;
    uint64_t seed; /* secret, so that a file cannot choose names that all collide */
} ng_name_index;

/* NG_OK: *at is the new position.  NG_EINVALID: the name stands at *at already.  NG_ENOMEM. */
ng_status ng_name_index_add(ng_name_index *x, const char *name, size_t *at) NG_MUST_USE;
bool ng_name_index_find(const ng_name_index *x, const char *name, size_t *at);
void ng_name_index_clear(ng_name_index *x);

#endif
