/* serve.c: see nanogrid/tools/serve.h: the address, the server's parts in order, the grid's exchange. */
#include <nanogrid/tools/serve.h>

#include "serve/api.h"
#include "serve/api_logprobs.h"

#include "core/clock.h"
#include "core/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ng_serve {
    ng_api api;
    ng_http *http;
    char address[300];
};

typedef struct address {
    char host[256];
    uint16_t port;
    bool loopback, bracketed;
} address;

/* "HOST:PORT" or "[V6]:PORT" */
static ng_status parse_address(address *out, const char *text, ng_error *err) {
    const char *colon = strrchr(text, ':');
    const char *from = text, *to = colon;
    out->bracketed = *text == '[';
    if (out->bracketed) {
        from = text + 1;
        to = strchr(text, ']');
        if (!to || to + 1 != colon) colon = NULL;
    }
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    long port = digits && digits <= 5 && !colon[1 + digits] ? strtol(colon + 1, NULL, 10) : -1;
    size_t n = colon ? (size_t)(to - from) : 0;
    if (port < 0 || port > 65535 || !n || n >= sizeof out->host ||
        (!out->bracketed && memchr(from, ':', n)))
        return ng_fail(err, NG_EINVALID,
                       "listen: '%.200s' is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080",
                       text);
    memcpy(out->host, from, n);
    out->host[n] = 0;
    out->port = (uint16_t)port;
    out->loopback = !strcmp(out->host, "localhost") || !strcmp(out->host, "::1") ||
                    !strncmp(out->host, "127.", 4);
    return NG_OK;
}

static ng_status start(ng_serve *s, const ng_serve_options *opt, ng_error *err) {
    address a;
    const char *listen = opt->listen ? opt->listen : ng_grid_get_config(opt->grid).listen;
    if (parse_address(&a, listen, err)) return err->code;
    if (!a.loopback && !opt->insecure_listen)
        return ng_fail(
            err, NG_EDENIED,
            "listen: %s can be reached from other machines and this server has no authentication; "
            "listen on 127.0.0.1, or say --insecure-listen if the network is trusted",
            listen);
    s->api.loopback = a.loopback;
    ng_http_options h = {.host = a.host,
                         .port = a.port,
                         .n_workers = opt->n_workers,
                         .queue_max = opt->queue_max,
                         .body_max = opt->body_max,
                         .request_ms = opt->request_ms,
                         .ping_ms = opt->ping_ms,
                         .handlers = ng_api_handlers(&s->api)};
    if (ng_http_open(&s->http, &h, err)) return err->code;
    snprintf(s->address, sizeof s->address, a.bracketed ? "[%s]:%u" : "%s:%u", a.host,
             ng_http_port(s->http));
    return NG_OK;
}

ng_status ng_serve_open(ng_serve **out, const ng_serve_options *opt, ng_error *err) {
    ng_error local = {0};
    if (!err) err = &local;
    *out = NULL;
    ng_serve *s = calloc(1, sizeof *s);
    if (!s) return ng_fail(err, NG_ENOMEM, "serve: out of memory");
    json_object_seed(0); /* hash keys of bodies must not be guessable */
    s->api.started_ns = ng_clock_ns();
    s->api.id_seed = ng_hash_mix((uint64_t)ng_clock_wall_ms() ^ ng_hash_mix(s->api.started_ns));
    s->api.log = opt->log;
    s->api.log_ctx = opt->log_ctx;
    s->api.workers = opt->workers;
    s->api.grid = ng_grid_ref(opt->grid);
    pthread_mutex_init(&s->api.grid_lock, NULL);
    pthread_mutex_init(&s->api.tokenizers_lock, NULL);
    if (start(s, opt, err)) {
        ng_serve_close(s, 0);
        return err->code;
    }
    *out = s;
    return NG_OK;
}

void ng_serve_close(ng_serve *s, int64_t drain_ms) {
    if (!s) return;
    ng_http_close(s->http, drain_ms);
    ng_logprobs_clear(&s->api);
    ng_grid_close(s->api.grid);
    pthread_mutex_destroy(&s->api.grid_lock);
    pthread_mutex_destroy(&s->api.tokenizers_lock);
    free(s);
}

const char *ng_serve_address(const ng_serve *s) {
    return s->address;
}

void ng_serve_set_grid(ng_serve *s, ng_grid *grid) {
    ng_grid *old;
    ng_grid_ref(grid);
    pthread_mutex_lock(&s->api.grid_lock);
    old = s->api.grid;
    s->api.grid = grid;
    pthread_mutex_unlock(&s->api.grid_lock);
    ng_grid_close(old);
}
