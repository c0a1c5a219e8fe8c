/* arena.c: a list of blocks, bump-allocated; the newest block is the one in use.
 *
 * Invariant: used <= touched <= size in every block; bytes from `touched` on are zero, as the heap gave them.
 * Blocks older than the current one are never written again until a reset goes back to them.  Only what
 * was given out before is cleared again, so the pages of a big block become resident when they are
 * used, not when they are asked for. */
#include "arena.h"

#include "checked.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

typedef struct block {
    struct block *older;
    size_t size, used, touched;
    void *heap;    /* what free() takes */
    uint8_t *data; /* the same, aligned */
} block;

struct ng_arena {
    block *current;
    size_t block_bytes;
    size_t bytes;
};

ng_status ng_arena_new(ng_arena **out, size_t block_bytes) {
    ng_arena *a = calloc(1, sizeof *a);
    *out = a;
    if (!a) return NG_ENOMEM;
    a->block_bytes = block_bytes ? block_bytes : 64u << 10;
    return NG_OK;
}

static block *block_free(block *b) {
    block *older = b->older;
    free(b->heap);
    free(b);
    return older;
}

void ng_arena_free(ng_arena *a) {
    if (!a) return;
    while (a->current) a->current = block_free(a->current);
    free(a);
}

static bool block_push(ng_arena *a, size_t bytes) {
    size_t size = bytes > a->block_bytes ? bytes : a->block_bytes;
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (size < bytes || size > SIZE_MAX - ALIGN) return false;
    block *b = calloc(1, sizeof *b);
    if (!b) return false;
    b->heap = calloc(1, size + ALIGN);
    if (!b->heap) {
        free(b);
        return false;
    }
    b->data = (uint8_t *)(((uintptr_t)b->heap + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
    b->size = size;
    b->older = a->current;
    a->current = b;
    a->bytes += size;
    return true;
}

void *ng_arena_alloc(ng_arena *a, size_t bytes) {
    size_t need = bytes ? bytes : 1;
    if (need > SIZE_MAX - ALIGN) return NULL;
    need = (need + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!a->current || need > a->current->size - a->current->used)
        if (!block_push(a, need)) return NULL;
    block *b = a->current;
    void *p = b->data + b->used;
    size_t dirty = b->touched - b->used;
    memset(p, 0, dirty < need ? dirty : need);
    b->used += need;
    if (b->touched < b->used) b->touched = b->used;
    return p;
}

void *ng_arena_array(ng_arena *a, size_t count, size_t size) {
    size_t bytes;
    return ng_mul_ok(&bytes, count, size) ? ng_arena_alloc(a, bytes) : NULL;
}

char *ng_arena_strndup(ng_arena *a, const char *s, size_t len) {
    if (len == SIZE_MAX) return NULL;
    char *p = ng_arena_alloc(a, len + 1);
    if (p && len) memcpy(p, s, len);
    return p;
}

char *ng_arena_strdup(ng_arena *a, const char *s) { return ng_arena_strndup(a, s, strlen(s)); }

char *ng_arena_printf(ng_arena *a, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n < 0 ? NULL : ng_arena_alloc(a, (size_t)n + 1);
    if (p) vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}

ng_arena_mark ng_arena_get_mark(const ng_arena *a) {
    return (ng_arena_mark){a->current, a->current ? a->current->used : 0};
}

void ng_arena_reset(ng_arena *a, ng_arena_mark m) {
    while (a->current && a->current != m.block) {
        a->bytes -= a->current->size;
        a->current = block_free(a->current);
    }
    if (a->current) a->current->used = m.used;
}

size_t ng_arena_bytes(const ng_arena *a) { return a->bytes; }
