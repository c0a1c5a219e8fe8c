/* buf.h: a growing byte buffer that knows its limit.
 *
 *     ng_buf b = ng_buf_init(1 << 20);               at most 1 MiB
 *     ng_buf_put(&b, "hello ", 6);
 *     ng_buf_printf(&b, "%d", 42);
 *     if (b.status) ..                               NG_ENOMEM or NG_ELIMIT, sticky
 *     fwrite(b.data, 1, b.len, stdout);
 *     ng_buf_clear(&b);
 *
 * Errors are sticky: after the first failure every put is a no-op that returns the same status, so
 * a writer checks once, at the end.  `data` is always NUL-terminated (never NULL). */
#ifndef NANOGRID_BUF_H
#define NANOGRID_BUF_H

#include <nanogrid/status.h>

typedef struct ng_buf {
    char *data; /* len bytes and a NUL; "" before the first put */
    size_t len; /* used */
    size_t cap; /* allocated; 0 while data is the static "" */
    size_t max; /* limit on len */
    ng_status status;
} ng_buf;

NG_API ng_buf ng_buf_init(size_t max);
NG_API void ng_buf_clear(ng_buf *b); /* frees the contents; b is as after init with the same max */
NG_API void ng_buf_reset(ng_buf *b); /* len = 0 and status = OK, keeps the memory */

NG_API ng_status ng_buf_put(ng_buf *b, const void *data, size_t len);
NG_API ng_status ng_buf_puts(ng_buf *b, const char *s);
NG_API ng_status ng_buf_putc(ng_buf *b, char c);
NG_API ng_status ng_buf_printf(ng_buf *b, const char *fmt, ...) NG_PRINTF(2, 3);
/* Makes room for `extra` more bytes; afterwards data[len .. len+extra) may be written and len
 * advanced by the caller. */
NG_API ng_status ng_buf_reserve(ng_buf *b, size_t extra);
/* Hands the heap block (NUL-terminated, to be ended with free()) to the caller; NULL when status is
 * not OK or memory is out.  The buffer is empty afterwards. */
NG_API char *ng_buf_take(ng_buf *b) NG_MUST_USE;

#endif
