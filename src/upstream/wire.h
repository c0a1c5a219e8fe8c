/* wire.h: requests and answers as bytes, between a grid and the worker processes of its models.
 *
 *     ng_wire_put_request(&buf, &request);                     a SUBMIT's payload
 *     ng_wire w = {buf.data, buf.len};
 *     ng_wire_request *r;                                      owns the strings
 *     ng_wire_get_request(&r, &w, &err);  use(&r->request);  ng_wire_request_free(r);
 *
 * A frame is a header of NG_WIRE_HEADER bytes (u32 payload bytes, u32 kind, u64 call) and its payload; numbers are in
 * the machine's byte order, floats their bits, since both ends are one binary on one machine.  A text is a u32 length
 * (NG_WIRE_NULL: the null pointer) and its bytes.  Readers trust nothing: a worker that went wrong must not take the
 * grid along, so every length is held against what is left, every enum against its range, and what does not fit is
 * NG_EFORMAT. */
#ifndef NG_UPSTREAM_WIRE_H
#define NG_UPSTREAM_WIRE_H

#include <nanogrid/head.h>

enum { NG_WIRE_HEADER = 16, NG_WIRE_PAYLOAD_MAX = 64 << 20 };
#define NG_WIRE_NULL UINT32_MAX

typedef enum ng_wire_kind {
    NG_WIRE_SUBMIT = 1, /* to the worker: a head's task and name, a request */
    NG_WIRE_CANCEL,     /* to the worker: nobody waits for this call */
    NG_WIRE_READY,      /* from it: the model is loaded; f64 milliseconds */
    NG_WIRE_BROKEN,     /* the model cannot be loaded, the worker ends; an error */
    NG_WIRE_BEAT,       /* a call makes progress that has no tokens to show */
    NG_WIRE_TOKEN,      /* of a generation */
    NG_WIRE_DONE,       /* an answer */
    NG_WIRE_FAILED,     /* an error */
    NG_WIRE_LOOK,       /* to the worker: what are your sequences doing? */
    NG_WIRE_SEEN,       /* from it, at once */
    NG_WIRE_NOTE,       /* from it: an error that no call saw, for the log */
    NG_WIRE_KINDS
} ng_wire_kind;

typedef struct ng_wire_head {
    uint32_t len, kind;
    uint64_t call;
} ng_wire_head;
void ng_wire_head_put(unsigned char out[NG_WIRE_HEADER], const ng_wire_head *h);
/* NG_EFORMAT: an unknown kind, or more than NG_WIRE_PAYLOAD_MAX bytes. */
ng_status ng_wire_head_get(ng_wire_head *out, const unsigned char in[NG_WIRE_HEADER], ng_error *err) NG_MUST_USE;

/* A payload being read. */
typedef struct ng_wire {
    const char *data;
    size_t len, pos;
} ng_wire;

void ng_wire_put_error(ng_buf *b, const ng_error *e);
ng_status ng_wire_get_error(ng_error *out, ng_wire *w, ng_error *err) NG_MUST_USE;
void ng_wire_put_f64(ng_buf *b, double v);
ng_status ng_wire_get_f64(double *out, ng_wire *w, ng_error *err) NG_MUST_USE;

/* top[] must hold NG_WIRE_TOP_MAX; e->text lies in the payload and is followed by a NUL there. */
enum { NG_WIRE_TOP_MAX = 20 };
void ng_wire_put_token(ng_buf *b, const ng_token_event *e);
ng_status ng_wire_get_token(ng_token_event *out, ng_token_prob top[], ng_wire *w, ng_error *err) NG_MUST_USE;

/* Stats, but for the prefix's note, and slots; none: stats.n_slots is 0. */
void ng_wire_put_look(ng_buf *b, const ng_tier_look *l);
ng_status ng_wire_get_look(ng_tier_look *out, ng_wire *w, ng_error *err) NG_MUST_USE;

/* All but the callbacks, which do not travel: on_token, abandoned. */
void ng_wire_put_request(ng_buf *b, const ng_tier_request *r);
typedef struct ng_wire_request {
    ng_tier_request request; /* callbacks NULL */
    bool wants_tokens;       /* the asker had an on_token */
    void *arena;
} ng_wire_request;
ng_status ng_wire_get_request(ng_wire_request **out, ng_wire *w, ng_error *err) NG_MUST_USE;
void ng_wire_request_free(ng_wire_request *r);

/* What a tier fills: the task's part, confidence, scope, counts, warnings, load time. */
void ng_wire_put_answer(ng_buf *b, const ng_answer *a);
/* Into a new, empty answer. */
ng_status ng_wire_get_answer(ng_answer *out, ng_wire *w, ng_error *err) NG_MUST_USE;

#endif
