/* sse.h: server-sent events (WHATWG HTML, section 9.2) as OpenAI's clients read them: one JSON object an
 * event, `data: [DONE]` at the end.
 *
 *     ng_json j = ng_sse_begin(&buf);                appends "data: "
 *     ng_json_object(&j); .. ng_json_end(&j);
 *     ng_sse_end(&buf);                              appends the empty line
 *     if (!ng_sse_send(x, &buf)) ..                  one write for all events in buf; empties it */
#ifndef NG_SERVE_SSE_H
#define NG_SERVE_SSE_H

#include "serve/http.h"

#include <nanogrid/json.h>

ng_json ng_sse_begin(ng_buf *b);
void ng_sse_end(ng_buf *b);
void ng_sse_done(ng_buf *b); /* appends the [DONE] event */
/* False when the client is gone or memory ran out. */
bool ng_sse_send(ng_http_x *x, ng_buf *b);

#endif
