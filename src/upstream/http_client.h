/* http_client.h: one POST of JSON over libcurl, within its time.
 *
 *     ng_http_client *c;
 *     ng_http_client_new(&c, &err);
 *     ng_http_call call = {.url = url, .key = key, .body = json, .timeout_ms = 30000, ..};
 *     ng_status s = ng_http_client_post(c, &call, &err);    call.http, call.reply
 *
 * Any number of threads may post at a time; finished handles (with their open connections) are kept
 * for the next.  Redirects are not followed: a key must not travel to where nobody configured it. */
#ifndef NG_UPSTREAM_HTTP_CLIENT_H
#define NG_UPSTREAM_HTTP_CLIENT_H

#include <nanogrid/buf.h>

typedef struct ng_http_client ng_http_client;

/* Called with pieces of a 200 reply as they come; anything but NG_OK ends the call with it. */
typedef ng_status ng_http_piece_fn(void *ctx, const char *bytes, size_t len);

typedef struct ng_http_call {
    const char *url, *key, *traceparent; /* key and traceparent may be NULL */
    const char *body;                    /* JSON, body_len bytes */
    size_t body_len;
    int64_t timeout_ms, connect_timeout_ms;
    ng_http_piece_fn *on_piece; /* NULL: a 200 reply is collected in `reply` */
    void *on_piece_ctx;
    bool (*abandoned)(void *ctx); /* asked at least once a second: true ends the call; or NULL */
    void *abandoned_ctx;
    /* results */
    long http;    /* status; 0 when there was no reply */
    ng_buf reply; /* caller-initialised; error replies land here in any case */
    bool started; /* on_piece was called */
} ng_http_call;

ng_status ng_http_client_new(ng_http_client **out, ng_error *err) NG_MUST_USE;
void ng_http_client_free(ng_http_client *c);
/* NG_OK for any complete HTTP reply (look at call->http); NG_ETIMEOUT, NG_ENET, NG_ELIMIT (reply too
 * large), NG_ECANCELLED, or what on_piece returned. */
ng_status ng_http_client_post(ng_http_client *c, ng_http_call *call, ng_error *err) NG_MUST_USE;
/* Ends every call in flight with NG_ECANCELLED. */
void ng_http_client_cancel(ng_http_client *c);

#endif
