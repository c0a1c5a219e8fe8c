/* token_table.h: from bytes to a token id, and the vector that ids are written to.
 *
 *     ng_token_table t = {0};
 *     if (ng_token_table_init(&t, arena, n_tokens)) ..      room is fixed here
 *     ng_token_table_put(&t, "the", 3, 262);                the first of equal keys wins
 *     int32_t id = ng_token_table_get(&t, s, len);          -1 when absent
 *
 * Keys are borrowed and must outlive the table.  Reading is thread-safe once it is filled. */
#ifndef NG_TOKENIZER_TOKEN_TABLE_H
#define NG_TOKENIZER_TOKEN_TABLE_H

#include "core/arena.h"

#include <stdlib.h>
#include <string.h>

typedef struct ng_token_slot {
    const char *key;
    uint32_t hash, len;
    int32_t id; /* the slot is free where key is NULL */
} ng_token_slot;

typedef struct ng_token_table {
    ng_token_slot *slots; /* [mask + 1], at most half full */
    uint32_t mask;
} ng_token_table;

/* 32 well mixed bits of a short string: at most two loads and one 128-bit product for 16 bytes. */
static inline uint32_t ng_token_hash(const char *s, size_t len) {
    uint64_t a = 0, b = 0, h = len * 0x9e3779b97f4a7c15ULL;
    for (; len > 16; s += 16, len -= 16) {
        memcpy(&a, s, 8);
        memcpy(&b, s + 8, 8);
        __uint128_t p = (__uint128_t)(a ^ h ^ 0xa0761d6478bd642fULL) * (b ^ 0xe7037ed1a0b428dbULL);
        h = (uint64_t)p ^ (uint64_t)(p >> 64);
    }
    if (len >= 8) {
        memcpy(&a, s, 8);
        memcpy(&b, s + len - 8, 8);
    } else if (len >= 4) {
        uint32_t x, y;
        memcpy(&x, s, 4);
        memcpy(&y, s + len - 4, 4);
        a = x, b = y;
    } else if (len) {
        a = (uint64_t)(unsigned char)s[0] << 16 | (uint64_t)(unsigned char)s[len / 2] << 8 | (unsigned char)s[len - 1];
        b = 0;
    }
    __uint128_t p = (__uint128_t)(a ^ h ^ 0xa0761d6478bd642fULL) * (b ^ 0xe7037ed1a0b428dbULL);
    return (uint32_t)p ^ (uint32_t)(p >> 64);
}

ng_status ng_token_table_init(ng_token_table *t, ng_arena *a, size_t n) NG_MUST_USE;
/* At most the n of init calls; an equal key that is there already stays. */
void ng_token_table_put(ng_token_table *t, const char *key, size_t len, int32_t id);

static inline int32_t ng_token_table_get_hashed(const ng_token_table *t, const char *s, size_t len, uint32_t hash) {
    for (uint32_t i = hash & t->mask;; i = (i + 1) & t->mask) {
        const ng_token_slot *slot = &t->slots[i];
        if (!slot->key) return -1;
        if (slot->hash == hash && slot->len == len && !memcmp(slot->key, s, len)) return slot->id;
    }
}
static inline int32_t ng_token_table_get(const ng_token_table *t, const char *s, size_t len) {
    return ng_token_table_get_hashed(t, s, len, ng_token_hash(s, len));
}

/* A growing vector of ids.  Zero-initialise; data ends with free(). */
typedef struct ng_ids {
    int32_t *data;
    size_t len, cap;
} ng_ids;

ng_status ng_ids_grow(ng_ids *v, size_t extra) NG_MUST_USE;
/* Room for `extra` more; afterwards data[len ..) may be written. */
static inline NG_MUST_USE ng_status ng_ids_reserve(ng_ids *v, size_t extra) {
    return v->cap - v->len >= extra ? NG_OK : ng_ids_grow(v, extra);
}

#endif
