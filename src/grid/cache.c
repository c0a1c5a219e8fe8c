/* cache.c: a hash table of answers in order of use.  See cache.h.
 *
 * A chained table whose entries also stand in one doubly linked list, the most recently used first
 * (the classic LRU).  Invariant, under `lock`: bytes is the sum of entry_bytes over the list, every
 * entry is in exactly one chain, and bytes + table <= max_bytes after each put.
 *
 * Answers are copied in and out, so an entry can be evicted while a reader still holds its copy; at
 * nano size (a label, five scores) a copy costs about as much as a reference count that is shared
 * by cores. */
#include "cache.h"

#include "core/arena.h"
#include "core/hash.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    struct entry *chain; /* the next of the same bucket */
    struct entry *newer, *older;
    uint64_t hash;
    ng_answer *answer;
    size_t bytes, key_len;
    unsigned char key[];
} entry;

struct ng_cache {
    pthread_mutex_t lock; /* guards all below */
    entry **buckets;      /* [n_buckets], a power of two */
    size_t n_buckets, len, bytes, max_bytes;
    entry *newest, *oldest;
};

ng_status ng_cache_new(ng_cache **out, size_t max_bytes, ng_error *err) {
    ng_cache *c = *out = calloc(1, sizeof *c);
    if (!c) return ng_fail(err, NG_ENOMEM, "cache: out of memory");
    size_t n = 64; /* a bucket for each 8 KiB: answers of classifiers take about 5 */
    while (n < max_bytes / 8192 && n < (1u << 20)) n *= 2;
    c->n_buckets = n;
    c->max_bytes = max_bytes;
    c->bytes = n * sizeof *c->buckets;
    c->buckets = calloc(n, sizeof *c->buckets);
    if (c->buckets && pthread_mutex_init(&c->lock, NULL) == 0) return NG_OK;
    free(c->buckets);
    free(c);
    *out = NULL;
    return ng_fail(err, NG_ENOMEM, "cache: out of memory");
}

static void entry_free(entry *e) {
    ng_answer_free(e->answer);
    free(e);
}

void ng_cache_free(ng_cache *c) {
    if (!c) return;
    for (entry *e = c->newest, *older; e; e = older) {
        older = e->older;
        entry_free(e);
    }
    pthread_mutex_destroy(&c->lock);
    free(c->buckets);
    free(c);
}

static entry **find(ng_cache *c, uint64_t hash, const void *key, size_t len) {
    entry **e = &c->buckets[hash & (c->n_buckets - 1)];
    while (*e && ((*e)->hash != hash || (*e)->key_len != len || memcmp((*e)->key, key, len)))
        e = &(*e)->chain;
    return e;
}

static void list_remove(ng_cache *c, entry *e) {
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void list_push(ng_cache *c, entry *e) {
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void drop(ng_cache *c, entry **at) {
    entry *e = *at;
    *at = e->chain;
    list_remove(c, e);
    c->bytes -= e->bytes;
    c->len--;
    entry_free(e);
}

ng_answer *ng_cache_get(ng_cache *c, const void *key, size_t key_len) {
    uint64_t hash = ng_hash64(key, key_len, 0);
    ng_answer *copy = NULL;
    pthread_mutex_lock(&c->lock);
    entry *e = *find(c, hash, key, key_len);
    if (e) {
        list_remove(c, e);
        list_push(c, e);
        if (ng_answer_copy(&copy, e->answer)) copy = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    return copy;
}

void ng_cache_put(ng_cache *c, const void *key, size_t key_len, const ng_answer *a) {
    uint64_t hash = ng_hash64(key, key_len, 0);
    entry *e = malloc(sizeof *e + key_len);
    if (!e) return;
    *e = (entry){.hash = hash, .key_len = key_len};
    memcpy(e->key, key, key_len);
    if (ng_answer_copy(&e->answer, a)) {
        free(e);
        return;
    }
    e->bytes = sizeof *e + key_len + ng_arena_bytes(e->answer->arena);
    pthread_mutex_lock(&c->lock);
    entry **old = find(c, hash, key, key_len);
    if (*old) drop(c, old);
    while (c->oldest && c->bytes + e->bytes > c->max_bytes)
        drop(c, find(c, c->oldest->hash, c->oldest->key, c->oldest->key_len));
    bool fits = c->bytes + e->bytes <= c->max_bytes;
    if (fits) {
        entry **bucket = &c->buckets[hash & (c->n_buckets - 1)];
        e->chain = *bucket;
        *bucket = e;
        list_push(c, e);
        c->bytes += e->bytes;
        c->len++;
    }
    pthread_mutex_unlock(&c->lock);
    if (!fits) entry_free(e);
}

size_t ng_cache_bytes(ng_cache *c) {
    pthread_mutex_lock(&c->lock);
    size_t bytes = c->bytes;
    pthread_mutex_unlock(&c->lock);
    return bytes;
}

size_t ng_cache_len(ng_cache *c) {
    pthread_mutex_lock(&c->lock);
    size_t len = c->len;
    pthread_mutex_unlock(&c->lock);
    return len;
}

/* ---- copying an answer ----------------------------------------------------------------------- */

static bool copy_text(ng_answer *to, const char **out, const char *s) {
    *out = s ? ng_answer_strndup(to, s, strlen(s)) : NULL;
    return !s || *out;
}

static bool copy_scores(ng_answer *to, ng_score **out, const ng_score *from, size_t n) {
    *out = n ? ng_answer_alloc(to, n * sizeof *from) : NULL;
    bool ok = !n || *out;
    for (size_t i = 0; ok && i < n; i++) {
        (*out)[i].p = from[i].p;
        ok = copy_text(to, &(*out)[i].label, from[i].label);
    }
    return ok;
}

static bool copy_entities(ng_answer *to, const ng_answer *from) {
    to->entities =
        from->n_entities ? ng_answer_alloc(to, from->n_entities * sizeof *to->entities) : NULL;
    bool ok = !from->n_entities || to->entities;
    for (size_t i = 0; ok && i < from->n_entities; i++) {
        to->entities[i] = from->entities[i];
        ok = copy_text(to, &to->entities[i].label, from->entities[i].label) &&
             copy_text(to, &to->entities[i].text, from->entities[i].text);
    }
    return ok;
}

static void *copy_bytes(ng_answer *to, const void *from, size_t bytes, bool *ok) {
    void *p = bytes ? ng_answer_alloc(to, bytes) : NULL;
    if (p) memcpy(p, from, bytes);
    *ok &= !bytes || p;
    return p;
}

ng_status ng_answer_copy(ng_answer **out, const ng_answer *a) {
    ng_answer *to;
    if (ng_answer_new(out)) return NG_ENOMEM;
    to = *out;
    void *arena = to->arena;
    *to = *a;
    to->arena = arena;
    to->route = NULL, to->n_route = 0;
    to->signals = to->reading = NULL;
    to->warnings = NULL, to->n_warnings = 0;
    to->decision_id[0] = 0;
    to->latency_ms = to->load_ms = to->overhead_us = 0;
    bool ok = copy_text(to, &to->expert, a->expert) && copy_text(to, &to->reason, a->reason) &&
              copy_text(to, &to->label, a->label) && copy_text(to, &to->answer, a->answer) &&
              copy_text(to, &to->finish, a->finish) &&
              copy_scores(to, &to->scores, a->scores, a->n_scores) &&
              copy_scores(to, &to->categories, a->categories, a->n_categories) &&
              copy_entities(to, a);
    to->embedding = copy_bytes(to, a->embedding, a->n_embedding * sizeof *a->embedding, &ok);
    to->results = copy_bytes(to, a->results, a->n_results * sizeof *a->results, &ok);
    if (ok) return NG_OK;
    ng_answer_free(to);
    *out = NULL;
    return NG_ENOMEM;
}
