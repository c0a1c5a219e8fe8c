/* api.c: from an exchange to an endpoint and back.
 *
 * How: admit() runs on an io thread with the headers alone.  It finds the endpoint and refuses what
 * must not go further: a foreign Host or Origin (a page in the user's browser that resolves its own
 * name to 127.0.0.1 must not reach the grid: DNS rebinding), a wrong method, a body that is not JSON.
 * handle() takes a reference to the grid of this moment, reads limits and body, and calls the
 * endpoint.  Whatever happens, one answer goes out, in OpenAI's shape when it is an error.
 *
 * Nothing of a request's text is logged. */
#include "serve/api.h"

#include "core/clock.h"
#include "core/hash.h"

#include <nanogrid/text.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define QUEUE  NG_HTTP_QUEUE
#define INLINE NG_HTTP_INLINE
#define TRY    NG_HTTP_TRY
static const struct {
    const char *method, *path;
    void (*handle)(ng_call *c);
    ng_http_path where;
} endpoints[] = {
#define ENDPOINT(method, path, handler, flags) {method, path, handler, flags},
#include "serve/endpoints.def"
#undef ENDPOINT
};
#undef QUEUE
#undef INLINE
#undef TRY
enum { N_ENDPOINTS = sizeof endpoints / sizeof *endpoints };
_Static_assert(sizeof endpoints / sizeof *endpoints < (size_t)NG_METRICS_ENDPOINTS_MAX,
               "a metrics row for every endpoint and one for the rest");

size_t ng_api_n_endpoints(void) {
    return N_ENDPOINTS;
}

const char *const *ng_api_endpoint_paths(void) {
    static const char *const paths[] = {
#define ENDPOINT(method, path, handler, flags) path,
#include "serve/endpoints.def"
#undef ENDPOINT
        "other"};
    return paths;
}

static const size_t OUT_MAX = 256u << 20;
/* Of a body that is answered on an io thread: some 100 us of a linear model's time. */
enum { AT_ONCE_BYTES = 2048 };

ng_grid *ng_api_get_grid(ng_api *api) {
    pthread_mutex_lock(&api->grid_lock);
    ng_grid *g = ng_grid_ref(api->grid);
    pthread_mutex_unlock(&api->grid_lock);
    return g;
}

/* ---- a call ---------------------------------------------------------------------------------- */

static ng_call *call_new(ng_api *api, ng_http_x *x) {
    ng_call *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->api = api;
    c->x = x;
    c->endpoint = N_ENDPOINTS;
    c->out = ng_buf_init(OUT_MAX);
    c->max_cost_usd = NAN;
    ng_http_set_user(x, c);
    return c;
}

static void call_free(ng_call *c) {
    ng_buf_clear(&c->out);
    json_decref(c->body);
    ng_arena_free(c->arena);
    if (c->grid) ng_grid_close(c->grid);
    free(c);
}

void ng_call_new_id(ng_call *c, const char *prefix, char out[64]) {
    uint64_t n = atomic_fetch_add(&c->api->next_id, 1);
    snprintf(out, 64, "%s%016llx%08llx", prefix,
             (unsigned long long)ng_hash_mix(c->api->id_seed + n),
             (unsigned long long)(ng_hash_mix(c->api->id_seed ^ ~n) & 0xffffffffu));
}

double ng_call_overhead_us(const ng_call *c) {
    ng_http_times t = ng_http_get_times(c->x);
    if (t.answered &&
        t.answered < c->told_ns) /* a stream: its first byte left while the expert was at work */
        return (double)(c->asked_ns - t.started) / 1e3 + c->grid_us;
    uint64_t end = t.answered ? t.answered : ng_clock_ns();
    double ns =
        (double)(end - t.received) - (double)(t.started - t.received) - (double)c->expert_ns;
    return ns > 0 ? ns / 1e3 : 0;
}

bool ng_call_over(ng_call *c) {
    if (!ng_http_cancelled(c->x)) return false;
    if (ng_http_timed_out(c->x))
        ng_problem_set(&c->problem, 504, "timeout", NULL,
                       "the request took longer than this server allows");
    else if (ng_http_draining(ng_http_of(c->x)))
        ng_problem_set(&c->problem, 503, "shutdown", NULL, "the server is shutting down");
    else ng_problem_set(&c->problem, 499, "cancelled", NULL, "the client closed the connection");
    return true;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void common_headers(ng_call *c, const char *type) {
    ng_http_set_header(c->x, "Content-Type", type);
    ng_http_set_header(c->x, "X-Content-Type-Options", "nosniff");
    ng_http_set_header(c->x, "Cache-Control", "no-store");
    if (c->request_id[0]) ng_http_set_header(c->x, "x-request-id", c->request_id);
}

static void send_problem(ng_call *c) {
    if (c->problem.status == 503) ng_http_set_header(c->x, "Retry-After", "1");
    if (c->problem.status >= 500 && c->problem.status != 501 && c->api->log) {
        char line[NG_ERROR_TEXT_MAX + 256];
        snprintf(line, sizeof line,
                 "level=error event=answer status=%d path=%s request_id=%s message=\"%s\"",
                 c->problem.status, ng_api_endpoint_paths()[c->endpoint], c->request_id,
                 c->problem.message);
        c->api->log(c->api->log_ctx, line);
    }
    ng_buf_reset(&c->out);
    ng_json j = ng_json_init(&c->out);
    ng_problem_json(&j, &c->problem);
    common_headers(c, "application/json");
    ng_http_reply(c->x, c->problem.status, &c->out);
}

void ng_call_send_as(ng_call *c, int status, const char *type) {
    if (c->out.status) {
        ng_problem_set(&c->problem, c->out.status == NG_ELIMIT ? 500 : 503, NULL, NULL,
                       "the answer does not fit in memory");
        send_problem(c);
        return;
    }
    common_headers(c, type);
    ng_http_reply(c->x, status, &c->out);
}

void ng_call_send(ng_call *c, int status) {
    ng_call_send_as(c, status, "application/json");
}

/* ---- admission ------------------------------------------------------------------------------- */

/* The host part of "name:port", "[::1]:8080", "localhost". */
static size_t host_len(const char *s) {
    if (*s == '[') {
        const char *end = strchr(s, ']');
        return end ? (size_t)(end - s) + 1 : strlen(s);
    }
    return strcspn(s, ":");
}

static bool is_loopback_name(const char *s, size_t n) {
    bool digits = strspn(s, "0123456789.") >= n;
    return (n == 9 && !strncasecmp(s, "localhost", n)) || (n == 5 && !strncmp(s, "[::1]", n)) ||
           (digits && n > 4 && !strncmp(s, "127.", 4));
}

static bool check_origin(ng_call *c) {
    const char *host = ng_http_header(c->x, "host"), *origin = ng_http_header(c->x, "origin");
    if (c->api->loopback && host && !is_loopback_name(host, host_len(host)))
        return ng_problem_set(&c->problem, 403, "foreign_host", NULL,
                              "the Host header names another machine; use 127.0.0.1 or localhost");
    if (!origin) return true;
    const char *name = !strncasecmp(origin, "http://", 7)    ? origin + 7
                       : !strncasecmp(origin, "https://", 8) ? origin + 8
                                                             : NULL;
    if (name && host && !strcasecmp(name, host)) return true;
    return ng_problem_set(&c->problem, 403, "foreign_origin", NULL,
                          "requests from pages of another origin are not allowed");
}

static bool matches(const char *path, const char *url) {
    size_t n = strlen(path);
    if (n > 1 && path[n - 1] == '/')
        return !strncmp(url, path, n) && url[n] && !strchr(url + n, '/');
    return !strcmp(url, path);
}

/* What clients of the APIs that we speak may ask for and this version does not serve: 501, so that they can tell a
 * missing feature from a wrong address. */
static const char *const absent[] = {"/v1/completions", "/v1/responses", "/v1/messages", "/api/chat",
                                     "/api/generate",   "/api/embed", "/api/tags",      "/api/show",    "/api/ps",
                                     "/api/version",    "/tokenize",  "/detokenize"};

static bool nothing_there(ng_call *c, const char *url) {
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (!strcmp(url, absent[i]))
            return ng_problem_set(&c->problem, 501, "not_supported", NULL, "%s is not served by this version", url);
    return ng_problem_set(&c->problem, 404, "unknown_path", NULL, "there is nothing at %.128s", url);
}

static bool find_endpoint(ng_call *c) {
    const char *url = ng_http_url(c->x), *method = ng_http_method(c->x), *allow = NULL;
    if (!strcmp(method, "HEAD")) method = "GET";
    for (size_t i = 0; i < N_ENDPOINTS; i++) {
        if (!matches(endpoints[i].path, url)) continue;
        c->endpoint = i;
        c->tail = url + strlen(endpoints[i].path);
        if (!strcmp(endpoints[i].method, method)) return true;
        allow = endpoints[i].method;
    }
    if (!allow) return nothing_there(c, url);
    ng_http_set_header(c->x, "Allow", !strcmp(allow, "GET") ? "GET, HEAD" : allow);
    return ng_problem_set(&c->problem, 405, "method_not_allowed", NULL,
                          "%s is answered for %s only", url, allow);
}

/* JSON is what bodies hold; curl's default type is let through because its Origin rule is the same. */
static bool check_type(ng_call *c) {
    if (strcmp(endpoints[c->endpoint].method, "POST")) return true;
    const char *type = ng_http_header(c->x, "content-type"),
               *coding = ng_http_header(c->x, "content-encoding");
    if (coding && strcasecmp(coding, "identity"))
        return ng_problem_set(&c->problem, 415, "unsupported_encoding", "content-encoding",
                              "bodies must not be compressed");
    if (!type) return true;
    size_t n = strcspn(type, "; \t");
    if ((n == 16 && !strncasecmp(type, "application/json", n)) ||
        (n == 33 && !strncasecmp(type, "application/x-www-form-urlencoded", n)))
        return true;
    return ng_problem_set(&c->problem, 415, "unsupported_type", "content-type",
                          "bodies must be application/json");
}

static bool read_request_id(ng_call *c) {
    const char *id = ng_http_header(c->x, "x-request-id");
    if (!id) {
        ng_call_new_id(c, "req-", c->request_id);
        return true;
    }
    size_t n = strlen(id);
    for (size_t i = 0; i < n; i++)
        if (id[i] <= ' ' || id[i] > '~' || id[i] == '"' || id[i] == '\\') n = 0;
    if (!n || n > NG_REQUEST_ID_MAX)
        return ng_problem_set(&c->problem, 400, "invalid_header", "x-request-id",
                              "x-request-id must be 1 to %d visible ASCII characters",
                              NG_REQUEST_ID_MAX);
    memcpy(c->request_id, id, n + 1);
    return true;
}

static ng_http_path admit(void *ctx, ng_http_x *x) {
    ng_call *c = call_new(ctx, x);
    if (!c) {
        ng_http_reply(x, 503, NULL);
        return NG_HTTP_REFUSED;
    }
    if (read_request_id(c) && check_origin(c) && find_endpoint(c) && check_type(c))
        return endpoints[c->endpoint].where;
    send_problem(c);
    return NG_HTTP_REFUSED;
}

/* The server itself says no (size, framing, queue, shutdown). */
static void refused(void *ctx, ng_http_x *x, int status, const char *why) {
    ng_call *c = ng_http_user(x);
    if (!c) c = call_new(ctx, x);
    if (!c) {
        ng_http_reply(x, status, NULL);
        return;
    }
    if (status == 503) atomic_fetch_add(&c->api->metrics.rejected, 1);
    const char *code = status == 413   ? "body_too_large"
                       : status == 431 ? "headers_too_large"
                       : status == 503 ? "overloaded"
                                       : NULL;
    ng_problem_set(&c->problem, status, code, NULL, "%s", why);
    send_problem(c);
}

/* ---- limits from the headers ----------------------------------------------------------------- */

static bool bad_header(ng_call *c, const char *name, const char *must) {
    return ng_problem_set(&c->problem, 400, "invalid_header", name, "%s must be %s", name, must);
}

/* W3C Trace Context: version-traceid-parentid-flags, lower-case hex; anything else is as if absent. */
static void read_traceparent(ng_call *c) {
    const char *t = ng_http_header(c->x, "traceparent");
    if (!t || strlen(t) != 55 || strncmp(t, "ff", 2) == 0) return;
    for (size_t i = 0; i < 55; i++) {
        bool dash = i == 2 || i == 35 || i == 52;
        if (dash ? t[i] != '-' : !strchr("0123456789abcdef", t[i])) return;
    }
    if (strspn(t + 3, "0") >= 32 || strspn(t + 36, "0") >= 16) return;
    strcpy(c->traceparent, t);
}

/* "eu,uk": what is said must be understood in full, for a limit that was misread is none. */
static bool read_words(ng_call *c, const char *name, const char **out) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,";
    const char *v = ng_http_header(c->x, name);
    size_t len = v ? strlen(v) : 0;
    *out = v;
    if (!v || (len && len <= 63 && strspn(v, allowed) == len)) return true;
    return bad_header(c, name, "1 to 63 letters, digits or - _ . with commas between words");
}

static bool read_limits(ng_call *c) {
    const char *privacy = ng_http_header(c->x, "x-nanogrid-privacy");
    if (privacy && !ng_privacy_parse(&c->privacy, privacy))
        return bad_header(c, "x-nanogrid-privacy", "local, mesh or any");
    if (!read_words(c, "x-nanogrid-regions", &c->regions) || !read_words(c, "x-nanogrid-consents", &c->consents) ||
        !read_words(c, "x-nanogrid-tenant", &c->tenant))
        return false;
    const char *task = ng_http_header(c->x, "x-nanogrid-task");
    if (task && strcmp(task, "auto") && !ng_task_parse(&c->task, task))
        return bad_header(c, "x-nanogrid-task", "the name of a task, or auto");
    const char *cost = ng_http_header(c->x, "x-nanogrid-max-cost-usd");
    char *end = NULL;
    if (cost) {
        c->max_cost_usd = strtod(cost, &end);
        bool plain = *cost && strspn(cost, "0123456789.eE-+") == strlen(cost) && !*end;
        if (!plain || !isfinite(c->max_cost_usd) || c->max_cost_usd < 0)
            return bad_header(c, "x-nanogrid-max-cost-usd", "a number of US dollars, 0 or more");
    }
    const char *deadline = ng_http_header(c->x, "x-nanogrid-deadline-ms");
    if (deadline) {
        size_t n = strspn(deadline, "0123456789");
        c->deadline_ms = n && n <= 9 && !deadline[n] ? strtoll(deadline, NULL, 10) : 0;
        if (!c->deadline_ms)
            return bad_header(c, "x-nanogrid-deadline-ms",
                              "a whole number of milliseconds, 1 to 999999999");
    }
    const char *debug = ng_http_header(c->x, "x-nanogrid-debug");
    c->debug = debug && !strcasecmp(debug, "true");
    if (debug && !c->debug && strcasecmp(debug, "false"))
        return bad_header(c, "x-nanogrid-debug", "true or false");
    read_traceparent(c);
    return true;
}

static bool read_body(ng_call *c) {
    if (strcmp(endpoints[c->endpoint].method, "POST")) return true;
    size_t len;
    const char *data = ng_http_body(c->x, &len);
    c->body = ng_body_parse(data, len, &c->problem);
    return c->body != NULL;
}

static void call_endpoint(ng_call *c) {
    if (ng_arena_new(&c->arena, 8 << 10)) {
        ng_problem_set(&c->problem, 503, NULL, NULL, "out of memory");
    } else if (read_limits(c) && read_body(c)) {
        c->grid = ng_api_get_grid(c->api);
        endpoints[c->endpoint].handle(c);
    }
}

static void send_any_problem(ng_call *c) {
    if (c->problem.status && !ng_http_status(c->x) && ng_http_unstream(c->x)) send_problem(c);
}

static void handle(void *ctx, ng_http_x *x) {
    (void)ctx;
    ng_call *c = ng_http_user(x);
    call_endpoint(c);
    send_any_problem(c);
}

/* As if it had never been tried. */
static void begin_anew(ng_call *c) {
    ng_buf_reset(&c->out);
    json_decref(c->body);
    ng_arena_free(c->arena);
    if (c->grid) ng_grid_close(c->grid);
    c->body = NULL, c->arena = NULL, c->grid = NULL;
    c->problem = (ng_problem){0};
    c->expert_ns = c->asked_ns = c->told_ns = 0;
    c->grid_us = 0;
    c->at_once = c->would_wait = false;
}

static bool handle_at_once(void *ctx, ng_http_x *x) {
    (void)ctx;
    ng_call *c = ng_http_user(x);
    size_t len;
    ng_http_body(x, &len);
    if (len > AT_ONCE_BYTES) return false;
    c->at_once = true;
    call_endpoint(c);
    if (c->would_wait) begin_anew(c);
    else send_any_problem(c);
    return c->at_once;
}

static void answering(void *ctx, ng_http_x *x) {
    (void)ctx;
    ng_call *c = ng_http_user(x);
    if (!c || !c->asked_ns) return;
    char text[32];
    double us = ng_call_overhead_us(c);
    snprintf(text, sizeof text, "%.1f", us);
    ng_http_set_header(x, "x-nanogrid-overhead-us", text);
    ng_histogram_add(&c->api->metrics.overhead_s, NG_SCALE_SECONDS, us / 1e6);
}

static void done(void *ctx, ng_http_x *x, bool sent) {
    ng_api *api = ctx;
    ng_call *c = ng_http_user(x);
    if (!c) return;
    ng_http_times t = ng_http_get_times(x);
    int status = ng_http_status(x) ? ng_http_status(x) : 200;
    if (t.received)
        ng_metrics_request(&api->metrics, c->endpoint, status,
                           (double)(ng_clock_ns() - t.received) / 1e9);
    if (t.started > t.received)
        ng_histogram_add(&api->metrics.queue_s, NG_SCALE_SECONDS,
                         (double)(t.started - t.received) / 1e9);
    if (ng_http_cancelled(x)) atomic_fetch_add(&api->metrics.cancelled, 1);
    else if (!sent && t.answered) atomic_fetch_add(&api->metrics.broken, 1);
    call_free(c);
}

ng_http_handlers ng_api_handlers(ng_api *api) {
    return (ng_http_handlers){api, admit, handle, refused, answering, done, handle_at_once};
}
