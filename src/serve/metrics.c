/* metrics.c: see metrics.h.  Buckets are counted apart and summed up when read, so that adding is one
 * atomic increment; a reader may see a request in one series and not yet in another, which Prometheus
 * allows. */
#include "serve/metrics.h"

#include <stdio.h>
#include <string.h>

static const double seconds_le[NG_HISTOGRAM_BUCKETS] = {
    5e-6, 1e-5,   2.5e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2.5e-3, 5e-3,
    1e-2, 2.5e-2, 5e-2,   0.1,  0.25, 0.5,  1,    2.5,  10,     60};
static const double tokens_le[NG_HISTOGRAM_BUCKETS] = {
    1,    2,    4,    8,    16,    32,    64,    128,    256,    512,
    1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288};
static const int codes[NG_METRICS_CODES_MAX - 1] = {
    200, 204, 400, 401, 403, 404, 405, 413, 414, 415, 422, 429, 431, 499, 500, 501, 502, 503, 504};

static const double *bounds(ng_histogram_scale s) {
    return s == NG_SCALE_SECONDS ? seconds_le : tokens_le;
}

void ng_histogram_add(ng_histogram *h, ng_histogram_scale scale, double v) {
    const double *le = bounds(scale);
    size_t i = 0;
    while (i < NG_HISTOGRAM_BUCKETS && v > le[i]) i++;
    atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
    if (v > 0) atomic_fetch_add_explicit(&h->sum_e9, (uint64_t)(v * 1e9), memory_order_relaxed);
}

void ng_metrics_request(ng_metrics *m, size_t endpoint, int status, double seconds) {
    if (endpoint >= NG_METRICS_ENDPOINTS_MAX) return;
    size_t i = 0;
    while (codes[i] && codes[i] != status) i++;
    atomic_fetch_add_explicit(&m->requests[endpoint][i], 1, memory_order_relaxed);
    ng_histogram_add(&m->request_s[endpoint], NG_SCALE_SECONDS, seconds);
}

static void head(ng_buf *b, const char *name, const char *type, const char *help) {
    ng_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void ng_metrics_value(ng_buf *b, const char *name, const char *type, const char *help, double v) {
    head(b, name, type, help);
    ng_buf_printf(b, "%s %.15g\n", name, v);
}

void ng_metrics_histogram(ng_buf *b, const char *name, const char *labels, ng_histogram_scale scale,
                          const ng_histogram *h) {
    const double *le = bounds(scale);
    const char *comma = *labels ? "," : "", *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    uint64_t n = 0;
    for (size_t i = 0; i <= NG_HISTOGRAM_BUCKETS; i++) {
        n += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        if (i < NG_HISTOGRAM_BUCKETS)
            ng_buf_printf(b, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma, le[i],
                          (unsigned long long)n);
        else
            ng_buf_printf(b, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
                          (unsigned long long)n);
    }
    ng_buf_printf(b, "%s_sum%s%s%s %.9g\n", name, open, labels, close,
                  (double)atomic_load(&h->sum_e9) / 1e9);
    ng_buf_printf(b, "%s_count%s%s%s %llu\n", name, open, labels, close, (unsigned long long)n);
}

static void write_requests(ng_buf *b, const ng_metrics *m, const char *const *endpoints, size_t n) {
    head(b, "nanogrid_requests_total", "counter",
         "Requests answered, by endpoint and HTTP status.");
    for (size_t e = 0; e < n; e++)
        for (size_t i = 0; i < NG_METRICS_CODES_MAX; i++) {
            uint64_t v = atomic_load_explicit(&m->requests[e][i], memory_order_relaxed);
            char code[8];
            bool known = i + 1 < NG_METRICS_CODES_MAX && codes[i];
            snprintf(code, sizeof code, "%d", known ? codes[i] : 0);
            if (v)
                ng_buf_printf(b, "nanogrid_requests_total{endpoint=\"%s\",code=\"%s\"} %llu\n",
                              endpoints[e], known ? code : "other", (unsigned long long)v);
        }
    head(b, "nanogrid_request_seconds", "histogram",
         "From the last byte of the request to the last byte of the answer.");
    for (size_t e = 0; e < n; e++) {
        char labels[160];
        snprintf(labels, sizeof labels, "endpoint=\"%s\"", endpoints[e]);
        uint64_t any = 0;
        for (size_t i = 0; i <= NG_HISTOGRAM_BUCKETS; i++)
            any |= atomic_load(&m->request_s[e].counts[i]);
        if (any)
            ng_metrics_histogram(b, "nanogrid_request_seconds", labels, NG_SCALE_SECONDS,
                                 &m->request_s[e]);
    }
}

void ng_metrics_write(ng_buf *b, const ng_metrics *m, const char *const *endpoints,
                      size_t n_endpoints) {
    write_requests(b, m, endpoints, n_endpoints);
    const struct {
        const char *name, *labels, *help;
        ng_histogram_scale scale;
        const ng_histogram *h;
    } rows[] = {
        {"nanogrid_overhead_seconds", "",
         "Time of an answer spent outside its expert, without queueing.", NG_SCALE_SECONDS,
         &m->overhead_s},
        {"nanogrid_queue_seconds", "",
         "Time from the last byte of the request to its start at a worker.", NG_SCALE_SECONDS,
         &m->queue_s},
        {"gen_ai_server_time_to_first_token_seconds",
         "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"nanogrid\"",
         "Time to the first token of an answer.", NG_SCALE_SECONDS, &m->first_token_s},
        {"gen_ai_server_time_per_output_token_seconds",
         "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"nanogrid\"",
         "Time per token after the first.", NG_SCALE_SECONDS, &m->token_s},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        head(b, rows[i].name, "histogram", rows[i].help);
        ng_metrics_histogram(b, rows[i].name, rows[i].labels, rows[i].scale, rows[i].h);
    }
    head(b, "gen_ai_client_token_usage", "histogram", "Tokens of one request.");
    ng_metrics_histogram(b, "gen_ai_client_token_usage",
                         "gen_ai_provider_name=\"nanogrid\",gen_ai_token_type=\"input\"",
                         NG_SCALE_TOKENS, &m->tokens_in);
    ng_metrics_histogram(b, "gen_ai_client_token_usage",
                         "gen_ai_provider_name=\"nanogrid\",gen_ai_token_type=\"output\"",
                         NG_SCALE_TOKENS, &m->tokens_out);
    ng_metrics_value(b, "nanogrid_rejected_total", "counter",
                     "Requests refused because the queue was full.",
                     (double)atomic_load(&m->rejected));
    ng_metrics_value(b, "nanogrid_cancelled_total", "counter",
                     "Requests whose client went away or whose time was over.",
                     (double)atomic_load(&m->cancelled));
    ng_metrics_value(b, "nanogrid_broken_total", "counter",
                     "Answers that could not be sent to their end.",
                     (double)atomic_load(&m->broken));
}
