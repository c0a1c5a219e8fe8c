/* fuzz_wire.c: any bytes as what comes from a worker process or goes to one.  The first byte chooses the message; what is
 * accepted must be written back to the same bytes, except that a flag or a number has one spelling only. */
#include "upstream/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const ng_buf *b, const ng_wire *w) {
    if (b->status || b->len != w->len || memcmp(b->data, w->data, b->len)) abort();
}

static void as_answer(ng_wire w) {
    ng_answer *a;
    ng_buf b = ng_buf_init(1 << 22);
    if (ng_answer_new(&a)) return;
    if (!ng_wire_get_answer(a, &w, NULL)) ng_wire_put_answer(&b, a), same(&b, &w);
    ng_answer_free(a);
    ng_buf_clear(&b);
}

static bool heard(void *ctx, const ng_token_event *e) { return ctx == e; }

static void as_request(ng_wire w) {
    ng_wire_request *r;
    ng_buf b = ng_buf_init(1 << 22);
    if (ng_wire_get_request(&r, &w, NULL)) return;
    if (r->wants_tokens) r->request.on_token = heard;
    ng_wire_put_request(&b, &r->request);
    same(&b, &w);
    ng_wire_request_free(r);
    ng_buf_clear(&b);
}

static void as_token(ng_wire w) {
    ng_token_prob top[NG_WIRE_TOP_MAX];
    ng_token_event e;
    ng_buf b = ng_buf_init(1 << 22);
    if (!ng_wire_get_token(&e, top, &w, NULL)) ng_wire_put_token(&b, &e), same(&b, &w);
    ng_buf_clear(&b);
}

static void as_look(ng_wire w) {
    ng_tier_look l;
    ng_buf b = ng_buf_init(1 << 20);
    if (!ng_wire_get_look(&l, &w, NULL)) ng_wire_put_look(&b, &l), same(&b, &w);
    ng_buf_clear(&b);
}

static void as_error(ng_wire w) {
    ng_error said, err = {0};
    if (ng_wire_get_error(&said, &w, &err) ? !err.code : !said.code) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    char *copy = malloc(size > 1 ? size - 1 : 1); /* exactly as long, so that a read past the end is seen */
    if (!copy) return 0;
    memcpy(copy, data + 1, size - 1);
    ng_wire w = {copy, size - 1, 0};
    switch (data[0] % 5) {
    case 0: as_answer(w); break;
    case 1: as_request(w); break;
    case 2: as_token(w); break;
    case 4: as_look(w); break;
    default: as_error(w);
    }
    free(copy);
    return 0;
}
