/* http_client.c: libcurl easy handles, one per call, pooled.  See http_client.h.
 *
 * libcurl's own rule is that a handle belongs to one thread at a time; a share object for
 * connections is not thread-safe in the version we build against (7.88), so idle handles are kept
 * with their connections instead. */
#include "http_client.h"

#include "late_curl.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { IDLE_MAX = 8 };

struct ng_http_client {
    pthread_mutex_t lock;
    CURL *idle[IDLE_MAX]; /* guarded by lock */
    int n_idle;
    atomic_uint epoch; /* raised by cancel: calls of an older epoch end */
};

typedef struct transfer {
    ng_http_client *client;
    ng_http_call *call;
    CURL *curl;
    unsigned epoch;
    ng_status status; /* why a callback stopped the transfer */
} transfer;

static ng_error start_error;

static void start(void) {
    if (ng_curl_load(&start_error)) return; /* it says why */
}

ng_status ng_http_client_new(ng_http_client **out, ng_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *out = NULL;
    pthread_once(&once, start);
    if (start_error.code) return ng_fail(err, start_error.code, "upstream: %s", start_error.text);
    ng_http_client *c = *out = calloc(1, sizeof *c);
    if (!c) return ng_fail(err, NG_ENOMEM, "upstream: out of memory");
    pthread_mutex_init(&c->lock, NULL);
    return NG_OK;
}

void ng_http_client_free(ng_http_client *c) {
    if (!c) return;
    for (int i = 0; i < c->n_idle; i++) curl_easy_cleanup(c->idle[i]);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void ng_http_client_cancel(ng_http_client *c) { atomic_fetch_add(&c->epoch, 1); }

static CURL *take_handle(ng_http_client *c) {
    CURL *h = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->n_idle) h = c->idle[--c->n_idle];
    pthread_mutex_unlock(&c->lock);
    if (h) curl_easy_reset(h); /* keeps its connections */
    return h ? h : curl_easy_init();
}

static void give_handle(ng_http_client *c, CURL *h) {
    pthread_mutex_lock(&c->lock);
    bool kept = c->n_idle < IDLE_MAX;
    if (kept) c->idle[c->n_idle++] = h;
    pthread_mutex_unlock(&c->lock);
    if (!kept) curl_easy_cleanup(h);
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *arg) {
    transfer *t = arg;
    long http = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &http);
    if (t->call->on_piece && http == 200) {
        t->call->started = true;
        t->status = t->call->on_piece(t->call->on_piece_ctx, bytes, size * n);
    } else {
        t->status = ng_buf_put(&t->call->reply, bytes, size * n);
    }
    return t->status ? 0 : size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    transfer *t = arg;
    (void)a, (void)b, (void)c, (void)d;
    bool left = t->call->abandoned && t->call->abandoned(t->call->abandoned_ctx);
    if (!left && atomic_load(&t->client->epoch) == t->epoch) return 0;
    t->status = NG_ECANCELLED;
    return 1;
}

static struct curl_slist *make_headers(const ng_http_call *call) {
    ng_buf line = ng_buf_init(8192);
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
    if (call->key) {
        ng_buf_printf(&line, "Authorization: Bearer %s", call->key);
        struct curl_slist *more = line.status ? NULL : curl_slist_append(list, line.data);
        if (!more) curl_slist_free_all(list);
        list = more;
    }
    if (list && call->traceparent) {
        ng_buf_reset(&line);
        ng_buf_printf(&line, "traceparent: %s", call->traceparent);
        struct curl_slist *more = line.status ? NULL : curl_slist_append(list, line.data);
        if (more) list = more;
    }
    ng_buf_clear(&line);
    return list;
}

static void set_options(CURL *h, transfer *t, struct curl_slist *headers) {
    const ng_http_call *call = t->call;
    curl_easy_setopt(h, CURLOPT_URL, call->url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_POSTFIELDS, call->body);
    curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)call->connect_timeout_ms);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "nanogrid/" NG_VERSION_TEXT);
}

static ng_status result(const transfer *t, CURLcode code, ng_error *err) {
    const char *url = t->call->url;
    if (t->status == NG_ECANCELLED) return ng_fail(err, NG_ECANCELLED, "%s: cancelled", url);
    if (t->status == NG_ELIMIT) return ng_fail(err, NG_ELIMIT, "%s: the reply is larger than allowed", url);
    if (t->status) return ng_fail(err, t->status, "%s: %s", url, ng_status_text(t->status));
    switch (code) {
    case CURLE_OK: return NG_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return ng_fail(err, NG_ETIMEOUT, "%s: no answer within %lld ms", url, (long long)t->call->timeout_ms);
    case CURLE_OUT_OF_MEMORY: return ng_fail(err, NG_ENOMEM, "%s: out of memory", url);
    default: return ng_fail(err, NG_ENET, "%s: %s", url, curl_easy_strerror(code));
    }
}

ng_status ng_http_client_post(ng_http_client *c, ng_http_call *call, ng_error *err) {
    call->http = 0;
    call->started = false;
    ng_buf_reset(&call->reply);
    CURL *h = take_handle(c);
    struct curl_slist *headers = make_headers(call);
    if (!h || !headers) {
        if (h) curl_easy_cleanup(h);
        curl_slist_free_all(headers);
        return ng_fail(err, NG_ENOMEM, "%s: out of memory", call->url);
    }
    transfer t = {c, call, h, atomic_load(&c->epoch), NG_OK};
    set_options(h, &t, headers);
    CURLcode code = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &call->http);
    curl_slist_free_all(headers);
    ng_status s = result(&t, code, err);
    if (code == CURLE_OK) give_handle(c, h);
    else curl_easy_cleanup(h); /* its connection is in an unknown state */
    return s;
}
