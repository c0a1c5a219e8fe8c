/* metrics.h: counters and histograms that many threads add to without a lock, told as Prometheus text.
 *
 *     static ng_metrics m;                           zero is ready
 *     ng_metrics_request(&m, endpoint, 200, 0.0012);
 *     ng_histogram_add(&m.overhead_s, 0.00004);
 *     ng_metrics_write(&buf, &m, endpoint_names);
 *
 * Format: Prometheus text exposition 0.0.4.  Names of ours begin with nanogrid_; the gen_ai_* series are
 * the OpenTelemetry semantic conventions for generative AI in Prometheus spelling. */
#ifndef NG_SERVE_METRICS_H
#define NG_SERVE_METRICS_H

#include <nanogrid/buf.h>

#include <stdatomic.h>

enum { NG_METRICS_ENDPOINTS_MAX = 32, NG_METRICS_CODES_MAX = 24, NG_HISTOGRAM_BUCKETS = 20 };

typedef struct ng_histogram {
    atomic_uint_fast64_t
        counts[NG_HISTOGRAM_BUCKETS + 1]; /* per bucket, not cumulative; last: +Inf */
    atomic_uint_fast64_t sum_e9;          /* sum times 1e9 */
} ng_histogram;

/* Which bounds a histogram uses. */
typedef enum ng_histogram_scale { NG_SCALE_SECONDS, NG_SCALE_TOKENS } ng_histogram_scale;

typedef struct ng_metrics {
    atomic_uint_fast64_t requests[NG_METRICS_ENDPOINTS_MAX][NG_METRICS_CODES_MAX];
    ng_histogram request_s[NG_METRICS_ENDPOINTS_MAX];
    ng_histogram overhead_s, queue_s, first_token_s, token_s, tokens_in, tokens_out;
    atomic_uint_fast64_t rejected, cancelled, broken; /* queue full; by the client; sent in part */
} ng_metrics;

void ng_histogram_add(ng_histogram *h, ng_histogram_scale scale, double v);
void ng_metrics_request(ng_metrics *m, size_t endpoint, int status, double seconds);

void ng_metrics_value(ng_buf *b, const char *name, const char *type, const char *help, double v);
/* `labels` is "" or `a="b"`; writes buckets, sum and count. */
void ng_metrics_histogram(ng_buf *b, const char *name, const char *labels, ng_histogram_scale scale,
                          const ng_histogram *h);
/* The series of ng_metrics itself. */
void ng_metrics_write(ng_buf *b, const ng_metrics *m, const char *const *endpoints,
                      size_t n_endpoints);

#endif
