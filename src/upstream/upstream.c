/* upstream.c: struct ng_tier over an OpenAI-compatible endpoint.  See nanogrid/tools/upstream.h.
 *
 * Invariant: once a token has been handed to the caller there is no second attempt, so nobody ever
 * sees the beginning of one reply and the end of another. */
#include <nanogrid/tools/upstream.h>

#include "breaker.h"
#include "core/clock.h"
#include "http_client.h"
#include "sse_reader.h"
#include "task_prompt.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY_MAX = 8 << 20, BODY_MAX = 64 << 20, ATTEMPTS = 2 };

typedef struct upstream {
    char *name, *url, *model, *key_env;
    ng_upstream_config config; /* its strings are not used after open */
    ng_http_client *http;
    ng_breaker breaker;
} upstream;

/* What a reply says, gathered from one object or from a stream of chunks. */
typedef struct reply {
    const ng_tier_request *req;
    ng_buf text;
    char finish[16];
    json_int_t prompt_tokens, completion_tokens;
    bool done, cancelled, told;
    ng_sse_reader sse;
    ng_error *err;
} reply;

static ng_status nonsense(ng_error *err, const upstream *u, const char *what) {
    return ng_fail(err, NG_ENET, "upstream %s: unreadable reply: %s", u->name, what);
}

static void read_usage(reply *r, const json_t *root) {
    const json_t *usage = json_object_get(root, "usage");
    if (!json_is_object(usage)) return;
    r->prompt_tokens = json_integer_value(json_object_get(usage, "prompt_tokens"));
    r->completion_tokens = json_integer_value(json_object_get(usage, "completion_tokens"));
}

static void read_finish(reply *r, const json_t *choice) {
    const char *f = json_string_value(json_object_get(choice, "finish_reason"));
    if (f) snprintf(r->finish, sizeof r->finish, "%s", f);
}

static ng_status tell(reply *r, const char *text) {
    ng_token_event e = {.id = -1, .logprob = NAN, .confidence = NAN, .text = text, .len = strlen(text)};
    if (!r->req->on_token || !e.len) return NG_OK;
    r->told = true;
    r->cancelled = !r->req->on_token(r->req->on_token_ctx, &e);
    return r->cancelled ? NG_ECANCELLED : NG_OK;
}

/* One `data:` of a stream: a chunk, or [DONE]. */
static ng_status on_event(void *ctx, const char *data, size_t len) {
    reply *r = ctx;
    if (len == 6 && !memcmp(data, "[DONE]", 6)) {
        r->done = true;
        return NG_OK;
    }
    json_t *root = json_loadb(data, len, 0, NULL);
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    const char *text = json_string_value(json_object_get(json_object_get(choice, "delta"), "content"));
    ng_status s = json_is_object(root) && !json_object_get(root, "error") ? NG_OK : NG_EFORMAT;
    if (!s) read_usage(r, root);
    if (!s && choice) read_finish(r, choice);
    if (!s && text) s = ng_buf_puts(&r->text, text);
    if (!s && text) s = tell(r, text);
    json_decref(root);
    return s;
}

static ng_status on_piece(void *ctx, const char *bytes, size_t len) {
    reply *r = ctx;
    return ng_sse_reader_put(&r->sse, bytes, len);
}

static ng_status read_whole(const upstream *u, reply *r, const ng_buf *body, ng_error *err) {
    json_error_t problem;
    json_t *root = json_loadb(body->data, body->len, 0, &problem);
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    const char *text = json_string_value(json_object_get(json_object_get(choice, "message"), "content"));
    ng_status s = NG_OK;
    if (!root) s = nonsense(err, u, problem.text);
    else if (!text) s = nonsense(err, u, "no choices[0].message.content");
    else if (ng_buf_puts(&r->text, text)) s = ng_fail(err, r->text.status, "upstream %s: reply too large", u->name);
    if (!s) {
        read_usage(r, root);
        read_finish(r, choice);
        r->done = true;
    }
    json_decref(root);
    return s;
}

/* The sentence inside an OpenAI error object, or the first bytes of whatever came. */
static ng_status http_error(const upstream *u, const ng_http_call *call, ng_error *err) {
    json_t *root = json_loadb(call->reply.data, call->reply.len, 0, NULL);
    const char *text = json_string_value(json_object_get(json_object_get(root, "error"), "message"));
    ng_status code = call->http == 429 || call->http == 503 ? NG_EBUSY
                     : call->http == 401 || call->http == 403 ? NG_EDENIED
                     : call->http == 504 ? NG_ETIMEOUT : NG_ENET;
    ng_status s = ng_fail(err, code, "upstream %s: HTTP %ld: %.200s", u->name, call->http,
                          text ? text : call->reply.len ? call->reply.data : "(empty reply)");
    json_decref(root);
    return s;
}

/* One attempt.  *again: a second one may help. */
static ng_status attempt(upstream *u, reply *r, ng_http_call *call, bool *again, ng_error *err) {
    bool stream = call->on_piece != NULL;
    *again = false;
    ng_error why = {0};
    ng_status s = ng_http_client_post(u->http, call, &why);
    if (s && !r->cancelled) ng_fail(err, s, "upstream %s: %s", u->name, why.text);
    if (r->cancelled) return ng_fail(err, NG_ECANCELLED, "upstream %s: cancelled", u->name);
    if (!s && call->http != 200) {
        *again = call->http == 429 || call->http >= 500;
        return http_error(u, call, err);
    }
    if (!s && stream && !r->done) s = nonsense(err, u, "the stream ended before [DONE]");
    if (!s && !stream) s = read_whole(u, r, &call->reply, err);
    *again = s && s != NG_ENOMEM && s != NG_ECANCELLED && !r->told;
    return s;
}

static int64_t now_ms(void) { return (int64_t)(ng_clock_ns() / 1000000u); }

/* Whether a failure says something about the upstream, not about this request. */
static bool blames_upstream(ng_status s, long http) {
    if (s == NG_ECANCELLED || s == NG_ENOMEM) return false;
    return http == 0 || http == 200 || http == 401 || http == 403 || http == 429 || http >= 500;
}

static ng_status run_attempts(upstream *u, const ng_tier_request *req, reply *r, ng_http_call *call, ng_error *err) {
    for (int i = 1;; i++) {
        ng_error e = {0};
        bool again;
        int64_t left = req->deadline_ms ? req->deadline_ms - now_ms() : u->config.timeout_ms;
        if (left <= 0) return ng_fail(err, NG_ETIMEOUT, "upstream %s: the deadline has passed", u->name);
        if (!ng_breaker_allow(&u->breaker, now_ms()))
            return ng_fail(err, NG_EBUSY, "upstream %s: not asked, it failed %d times in a row", u->name,
                           u->config.allowed_fails);
        call->timeout_ms = left < u->config.timeout_ms ? left : u->config.timeout_ms;
        ng_buf_reset(&r->text);
        ng_status s = attempt(u, r, call, &again, &e);
        if (!s || blames_upstream(s, call->http)) ng_breaker_report(&u->breaker, !s, now_ms());
        else ng_breaker_forget(&u->breaker);
        if (!s) return NG_OK;
        if (!again || i == ATTEMPTS) return ng_fail(err, e.code, "%s", e.text);
    }
}

static ng_status fill_answer(const upstream *u, const ng_tier_request *req, const reply *r, ng_answer *a,
                             ng_error *err) {
    a->prompt_tokens = (uint32_t)(r->prompt_tokens > 0 ? r->prompt_tokens : 0);
    a->completion_tokens = (uint32_t)(r->completion_tokens > 0 ? r->completion_tokens : 0);
    a->cost_usd =
        (a->prompt_tokens * u->config.prompt_per_1m + a->completion_tokens * u->config.completion_per_1m) / 1e6;
    a->confidence = NAN;
    if (r->finish[0]) a->finish = ng_answer_strndup(a, r->finish, strlen(r->finish));
    return ng_task_prompt_read(a, req, r->text.data, r->text.len, err);
}

static ng_status submit(void *self, const ng_tier_request *req, ng_answer *answer, ng_error *err) {
    upstream *u = self;
    bool stream = req->task == NG_TASK_GENERATE && req->on_token;
    reply r = {.req = req, .text = ng_buf_init(REPLY_MAX), .err = err};
    ng_buf body = ng_buf_init(BODY_MAX);
    ng_http_call call = {.url = u->url, .key = u->key_env ? getenv(u->key_env) : NULL, .traceparent = req->traceparent,
                         .abandoned = req->abandoned, .abandoned_ctx = req->abandoned_ctx,
                         .connect_timeout_ms = u->config.connect_timeout_ms, .reply = ng_buf_init(REPLY_MAX)};
    ng_sse_reader_init(&r.sse, on_event, &r);
    if (stream) call.on_piece = on_piece, call.on_piece_ctx = &r;
    ng_status s = ng_task_prompt_write(&body, req, u->model, stream, err);
    call.body = body.data;
    call.body_len = body.len;
    if (!s && u->key_env && !call.key)
        s = ng_fail(err, NG_EDENIED, "upstream %s: the environment variable %s holds no key", u->name, u->key_env);
    if (!s) s = run_attempts(u, req, &r, &call, err);
    if (!s) s = fill_answer(u, req, &r, answer, err);
    ng_sse_reader_clear(&r.sse);
    ng_buf_clear(&r.text);
    ng_buf_clear(&body);
    ng_buf_clear(&call.reply);
    return s;
}

static bool healthy(void *self, const char **why) {
    upstream *u = self;
    if (u->key_env && !getenv(u->key_env)) {
        *why = "its API key is not in the environment";
        return false;
    }
    if (!ng_breaker_peek(&u->breaker, now_ms())) {
        *why = "its breaker is open after failures";
        return false;
    }
    return true;
}

static void cancel(void *self) { ng_http_client_cancel(((upstream *)self)->http); }

static void close_upstream(void *self) {
    upstream *u = self;
    if (!u) return;
    ng_http_client_free(u->http);
    ng_breaker_clear(&u->breaker);
    free(u->name);
    free(u->url);
    free(u->model);
    free(u->key_env);
    free(u);
}

static char *join_url(const char *base) {
    size_t len = strlen(base);
    while (len && base[len - 1] == '/') len--;
    ng_buf b = ng_buf_init(4096);
    ng_buf_put(&b, base, len);
    ng_buf_puts(&b, "/chat/completions");
    return ng_buf_take(&b);
}

ng_status ng_upstream_open(ng_tier *out, const ng_upstream_config *config, ng_error *err) {
    *out = (ng_tier){0};
    const char *base = config->base_url;
    if (!base || (strncmp(base, "http://", 7) && strncmp(base, "https://", 8)) || strlen(base) > 2000)
        return ng_fail(err, NG_EINVALID, "upstream %s: base_url must begin with http:// or https://, such as https://host/v1",
                       config->name);
    upstream *u = calloc(1, sizeof *u);
    if (!u) return ng_fail(err, NG_ENOMEM, "upstream: out of memory");
    u->config = *config;
    if (u->config.allowed_fails < 1) u->config.allowed_fails = 2;
    if (u->config.cooldown_ms <= 0) u->config.cooldown_ms = 30000;
    if (u->config.timeout_ms <= 0) u->config.timeout_ms = 30000;
    if (u->config.connect_timeout_ms <= 0) u->config.connect_timeout_ms = 2000;
    ng_breaker_init(&u->breaker, u->config.allowed_fails, u->config.cooldown_ms);
    u->name = strdup(config->name);
    u->url = join_url(base);
    u->model = strdup(config->model ? config->model : "auto");
    if (config->api_key_env && *config->api_key_env) u->key_env = strdup(config->api_key_env);
    bool bad = !u->name || !u->url || !u->model || (config->api_key_env && *config->api_key_env && !u->key_env);
    ng_status s = bad ? ng_fail(err, NG_ENOMEM, "upstream: out of memory") : ng_http_client_new(&u->http, err);
    if (s) {
        close_upstream(u);
        return s;
    }
    *out = (ng_tier){u, submit, healthy, cancel, close_upstream};
    return NG_OK;
}
