/* buf.c: see buf.h.  Invariant: data[len] is NUL and len <= max; cap is 0 or > len. */
#include <nanogrid/buf.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char empty[1] = "";

ng_buf ng_buf_init(size_t max) { return (ng_buf){.data = empty, .max = max}; }

void ng_buf_clear(ng_buf *b) {
    if (b->cap) free(b->data);
    *b = ng_buf_init(b->max);
}

void ng_buf_reset(ng_buf *b) {
    b->len = 0;
    b->status = NG_OK;
    if (b->cap) b->data[0] = 0;
}

ng_status ng_buf_reserve(ng_buf *b, size_t extra) {
    if (b->status) return b->status;
    if (extra > b->max - b->len) return b->status = NG_ELIMIT;
    size_t need = b->len + extra + 1;
    if (need <= b->cap) return NG_OK;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    char *data = realloc(b->cap ? b->data : NULL, cap);
    if (!data) return b->status = NG_ENOMEM;
    if (!b->cap) data[0] = 0;
    b->data = data;
    b->cap = cap;
    return NG_OK;
}

ng_status ng_buf_put(ng_buf *b, const void *data, size_t len) {
    if (ng_buf_reserve(b, len)) return b->status;
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
    return NG_OK;
}

ng_status ng_buf_puts(ng_buf *b, const char *s) { return ng_buf_put(b, s, strlen(s)); }
ng_status ng_buf_putc(ng_buf *b, char c) { return ng_buf_put(b, &c, 1); }

ng_status ng_buf_printf(ng_buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0) {
        b->status = b->status ? b->status : NG_EINVALID;
    } else if (!ng_buf_reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(ap);
    return b->status;
}

char *ng_buf_take(ng_buf *b) {
    char *p = NULL;
    if (!ng_buf_reserve(b, 0) && b->cap) {
        p = b->data;
        *b = ng_buf_init(b->max);
    } else {
        ng_buf_clear(b);
    }
    return p;
}
