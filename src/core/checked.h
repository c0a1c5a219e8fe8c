/* checked.h: arithmetic on sizes that come from a file. */
#ifndef NG_CORE_CHECKED_H
#define NG_CORE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True and *out set when the result fits; false otherwise.  `if (!ng_mul_ok(&n, a, b)) fail` */
static inline bool ng_mul_ok(size_t *out, size_t a, size_t b) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool ng_add_ok(size_t *out, size_t a, size_t b) {
    return !__builtin_add_overflow(a, b, out);
}

#endif
