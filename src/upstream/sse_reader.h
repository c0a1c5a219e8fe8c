/* sse_reader.h: server-sent events out of bytes that arrive in any pieces.
 *
 *     ng_sse_reader r;
 *     ng_sse_reader_init(&r, on_event, ctx);         called with the text of each event's data
 *     ng_sse_reader_put(&r, bytes, n);               as often as bytes come
 *     ng_sse_reader_clear(&r);
 *
 * Follows the WHATWG HTML standard, 9.2.6: lines end in LF, CR or CRLF, `data:` lines of an event
 * are joined by LF, comments and other fields are skipped.  An event larger than 1 MiB is NG_ELIMIT. */
#ifndef NG_UPSTREAM_SSE_READER_H
#define NG_UPSTREAM_SSE_READER_H

#include <nanogrid/buf.h>

/* Anything but NG_OK ends the reading and is returned by put. */
typedef ng_status ng_sse_event_fn(void *ctx, const char *data, size_t len);

typedef struct ng_sse_reader {
    ng_buf line, data;
    bool has_data, after_cr;
    ng_sse_event_fn *on_event;
    void *ctx;
} ng_sse_reader;

void ng_sse_reader_init(ng_sse_reader *r, ng_sse_event_fn *on_event, void *ctx);
void ng_sse_reader_clear(ng_sse_reader *r);
ng_status ng_sse_reader_put(ng_sse_reader *r, const char *bytes, size_t len);

#endif
