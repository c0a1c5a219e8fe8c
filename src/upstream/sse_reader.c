/* sse_reader.c: see sse_reader.h. */
#include "sse_reader.h"

#include <string.h>

enum { EVENT_MAX = 1 << 20 };

void ng_sse_reader_init(ng_sse_reader *r, ng_sse_event_fn *on_event, void *ctx) {
    *r = (ng_sse_reader){.line = ng_buf_init(EVENT_MAX), .data = ng_buf_init(EVENT_MAX), .on_event = on_event, .ctx = ctx};
}

void ng_sse_reader_clear(ng_sse_reader *r) {
    ng_buf_clear(&r->line);
    ng_buf_clear(&r->data);
}

static ng_status end_of_line(ng_sse_reader *r) {
    ng_status s = NG_OK;
    const char *line = r->line.data;
    if (r->line.len == 0) {
        if (r->has_data) s = r->on_event(r->ctx, r->data.data, r->data.len);
        ng_buf_reset(&r->data);
        r->has_data = false;
    } else if (!strncmp(line, "data", 4) && (line[4] == ':' || line[4] == 0)) {
        const char *value = line + 4 + (line[4] == ':');
        value += *value == ' ';
        if (r->has_data) ng_buf_putc(&r->data, '\n');
        s = ng_buf_put(&r->data, value, r->line.len - (size_t)(value - line));
        r->has_data = true;
    }
    ng_buf_reset(&r->line);
    return s;
}

ng_status ng_sse_reader_put(ng_sse_reader *r, const char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        char c = bytes[i];
        ng_status s = NG_OK;
        if (c == '\n' && r->after_cr) r->after_cr = false; /* the second half of CRLF */
        else if (c == '\n' || c == '\r') s = end_of_line(r);
        else s = ng_buf_putc(&r->line, c);
        if (c == '\r' || c != '\n') r->after_cr = c == '\r';
        if (s) return s;
    }
    return NG_OK;
}
