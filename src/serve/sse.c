/* sse.c: see sse.h.  JSON on one line holds no newline, so one `data:` line an event is enough. */
#include "serve/sse.h"

ng_json ng_sse_begin(ng_buf *b) {
    ng_buf_puts(b, "data: ");
    return ng_json_init(b);
}

void ng_sse_end(ng_buf *b) {
    ng_buf_puts(b, "\n\n");
}
void ng_sse_done(ng_buf *b) {
    ng_buf_puts(b, "data: [DONE]\n\n");
}

bool ng_sse_send(ng_http_x *x, ng_buf *b) {
    bool ok = !b->status && ng_http_stream_write(x, b->data, b->len);
    ng_buf_reset(b);
    return ok;
}
