/* token_table.c: open addressing with linear probing, at most half full.  See token_table.h. */
#include "token_table.h"

#include "core/checked.h"

ng_status ng_token_table_init(ng_token_table *t, ng_arena *a, size_t n) {
    size_t cap = 16;
    if (n > UINT32_MAX / 4) return NG_ELIMIT;
    while (cap < 2 * n) cap *= 2;
    t->slots = ng_arena_array(a, cap, sizeof *t->slots);
    t->mask = (uint32_t)cap - 1;
    return t->slots ? NG_OK : NG_ENOMEM;
}

void ng_token_table_put(ng_token_table *t, const char *key, size_t len, int32_t id) {
    uint32_t hash = ng_token_hash(key, len);
    if (ng_token_table_get_hashed(t, key, len, hash) >= 0) return;
    uint32_t i = hash & t->mask;
    while (t->slots[i].key) i = (i + 1) & t->mask;
    t->slots[i] = (ng_token_slot){key, hash, (uint32_t)len, id};
}

ng_status ng_ids_grow(ng_ids *v, size_t extra) {
    size_t need, cap = v->cap ? v->cap : 32;
    if (!ng_add_ok(&need, v->len, extra) || need > SIZE_MAX / 8) return NG_ENOMEM;
    while (cap < need) cap *= 2;
    int32_t *data = realloc(v->data, cap * sizeof *data);
    if (!data) return NG_ENOMEM;
    v->data = data;
    v->cap = cap;
    return NG_OK;
}
