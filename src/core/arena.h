/* arena.h: memory that is taken piece by piece and given back all at once.
 *
 *     ng_arena *a;
 *     if (ng_arena_new(&a, 64 << 10)) return NG_ENOMEM;
 *     char *name = ng_arena_strdup(a, "intent");     NULL when memory is out
 *     ng_arena_mark m = ng_arena_get_mark(a);        scratch from here ..
 *     ng_arena_reset(a, m);                          .. is gone again
 *     ng_arena_free(a);
 *
 * Blocks never move, so pointers stay good until the reset or free that covers them.  Not
 * thread-safe: an arena belongs to one thread at a time. */
#ifndef NG_CORE_ARENA_H
#define NG_CORE_ARENA_H

#include <nanogrid/status.h>
#include <stdarg.h>

typedef struct ng_arena ng_arena;
typedef struct ng_arena_mark {
    void *block;
    size_t used;
} ng_arena_mark;

/* `block_bytes` is how much is asked of the heap at a time (0: 64 KiB); bigger requests get a block
 * of their own. */
ng_status ng_arena_new(ng_arena **out, size_t block_bytes) NG_MUST_USE;
void ng_arena_free(ng_arena *a);

/* 64-byte aligned, zeroed; NULL when memory is out.  `bytes` 0 gives a unique valid pointer.  Pages of a big
 * piece are resident from their first use on, not from here. */
void *ng_arena_alloc(ng_arena *a, size_t bytes) NG_MUST_USE;
/* count * size with the multiplication checked; NULL on overflow too. */
void *ng_arena_array(ng_arena *a, size_t count, size_t size) NG_MUST_USE;
char *ng_arena_strdup(ng_arena *a, const char *s) NG_MUST_USE;
char *ng_arena_strndup(ng_arena *a, const char *s, size_t len) NG_MUST_USE;
char *ng_arena_printf(ng_arena *a, const char *fmt, ...) NG_PRINTF(2, 3) NG_MUST_USE;

ng_arena_mark ng_arena_get_mark(const ng_arena *a);
void ng_arena_reset(ng_arena *a, ng_arena_mark m);
/* Bytes asked of the heap so far. */
size_t ng_arena_bytes(const ng_arena *a);

#endif
