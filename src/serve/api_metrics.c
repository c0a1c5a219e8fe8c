/* api_metrics.c: GET /metrics: the server's own counters (metrics.h), the grid's, and those of its decoders.
 *
 * A decoder counts where it runs, once a step, and is asked when this page is: a question beside its calls, so that
 * counting costs nothing a token and a page that nobody reads costs nothing at all.  A worker process that does not
 * answer in time, or was not started yet, has no rows; one that was started again counts from zero, as Prometheus
 * expects of counters. */
#include "serve/api.h"

#include "core/clock.h"
#include "model/kv.h"
#include "serve/model_label.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void grid_series(ng_buf *b, const ng_grid_stats *s) {
    const struct {
        const char *name, *help;
        double v;
    } rows[] = {
        {"nanogrid_grid_requests_total", "Requests that reached the grid.", (double)s->requests},
        {"nanogrid_escalations_total", "Requests handed to a higher tier.", (double)s->escalations},
        {"nanogrid_abstentions_total", "Requests that no expert was sure of.", (double)s->abstentions},
        {"nanogrid_cache_hits_total", "Answers from the exact cache.", (double)s->cache_hits},
        {"nanogrid_cache_misses_total", "Look-ups that the exact cache did not hold.", (double)s->cache_misses},
        {"nanogrid_semantic_hits_total", "Answers that were given to requests that meant the same.",
         (double)s->semantic_hits},
        {"nanogrid_semantic_misses_total", "Look-ups that the semantic cache had no answer for.",
         (double)s->semantic_misses},
        {"nanogrid_semantic_checked_total", "Hits that were answered anew, to compare.", (double)s->semantic_checked},
        {"nanogrid_semantic_false_total", "Of these, where the answer was another.", (double)s->semantic_false},
        {"nanogrid_errors_total", "Requests that the grid failed.", (double)s->errors},
        {"nanogrid_deadline_misses_total", "Answers that a contract's deadline replaced by its safe label.",
         (double)s->deadline_misses},
        {"nanogrid_reasks_total", "Turns of a conversation that say the answer before was no good.", (double)s->reasks},
        {"nanogrid_explored_total", "Requests for which every tier was asked.", (double)s->explored},
        {"nanogrid_wasted_tokens_total", "Tokens of answers that nobody got.", (double)s->wasted_tokens},
        {"nanogrid_wasted_usd_total", "Money for answers that nobody got.", s->wasted_usd},
        {"nanogrid_pipelines_total", "Texts sent through a pipeline.", (double)s->pipelines},
        {"nanogrid_pipelines_degraded_total", "Of these, with a step that did not answer.",
         (double)s->pipelines_degraded},
        {"nanogrid_router_versions_total", "Versions of what the router has learnt that were taken up.",
         (double)s->router_versions_made},
        {"nanogrid_router_versions_refused_total", "Candidates that were no better, or moved too much.",
         (double)s->router_versions_refused},
        {"nanogrid_router_rollbacks_total", "Returns to an earlier version after a regression.",
         (double)s->router_rollbacks},
        {"nanogrid_records_written_total", "Decisions in the database.", (double)s->records_written},
        {"nanogrid_records_sampled_out_total", "Plain decisions left out while the ring was full.",
         (double)s->records_sampled_out},
        {"nanogrid_prompt_tokens_total", "Tokens read.", (double)s->prompt_tokens},
        {"nanogrid_cached_tokens_total", "Of the tokens read, those known from earlier texts.",
         (double)s->cached_tokens},
        {"nanogrid_completion_tokens_total", "Tokens written.", (double)s->completion_tokens},
        {"nanogrid_cost_usd_total", "US dollars paid to upstreams.", s->cost_usd},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ng_metrics_value(b, rows[i].name, "counter", rows[i].help, rows[i].v);
    ng_buf_puts(
        b,
        "# HELP nanogrid_answers_total Answers by tier.\n# TYPE nanogrid_answers_total counter\n");
    ng_buf_printf(b, "nanogrid_answers_total{tier=\"nano\"} %llu\n",
                  (unsigned long long)s->answered_nano);
    ng_buf_printf(b, "nanogrid_answers_total{tier=\"small\"} %llu\n",
                  (unsigned long long)s->answered_small);
    ng_buf_printf(b, "nanogrid_answers_total{tier=\"medium\"} %llu\n",
                  (unsigned long long)s->answered_medium);
    ng_buf_printf(b,
                  "# HELP nanogrid_feedback_total Judgements stored, by verdict.\n"
                  "# TYPE nanogrid_feedback_total counter\n"
                  "nanogrid_feedback_total{verdict=\"correct\"} %llu\n"
                  "nanogrid_feedback_total{verdict=\"wrong\"} %llu\n",
                  (unsigned long long)s->feedback_correct, (unsigned long long)s->feedback_wrong);
}

enum { WORKERS_MAX = 32, DECODERS_MAX = 32 };

static void drift_series(ng_buf *b, const ng_grid *g) {
    const char *const help[2] = {
        "# HELP nanogrid_drift Distance of an expert's texts of late from its calibration set, 0 to 1.\n"
        "# TYPE nanogrid_drift gauge\n",
        "# HELP nanogrid_drifting Whether the expert is held to be drifting, and abstains more.\n"
        "# TYPE nanogrid_drifting gauge\n"};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0, first = 1, n = ng_grid_n_entries(g); i < n; i++) {
            ng_grid_entry e = ng_grid_get_entry(g, i);
            if (!e.watched) continue;
            if (first) ng_buf_puts(b, help[k]);
            first = 0;
            ng_buf_printf(b, k ? "nanogrid_drifting{expert=\"%s\"} %.0f\n" : "nanogrid_drift{expert=\"%s\"} %.6f\n",
                          e.name, k ? (double)e.drifting : e.drift);
        }
}

static double resident_bytes(void) {
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long size, pages = 0;
    if (f && fscanf(f, "%lu %lu", &size, &pages) != 2) pages = 0;
    if (f) fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* NAME{model="LABEL"..: the braces are left open. */
static void put_model_label(ng_buf *b, const char *name, const char *const *paths, size_t n, size_t i) {
    ng_buf_printf(b, "%s{model=\"", name);
    ng_model_label(b, paths, n, i);
    ng_buf_putc(b, '"');
}

/* One line a worker process for each of three series. */
static void worker_series(ng_buf *b, const ng_worker_info *w, size_t n) {
    static const struct {
        const char *name, *type, *help;
    } series[] = {{"nanogrid_worker_up", "gauge", "1 when the worker process of a model is ready."},
                  {"nanogrid_worker_restarts_total", "counter", "Times that a worker process died."},
                  {"nanogrid_worker_resident_bytes", "gauge", "Resident memory of a worker process."}};
    const char *paths[WORKERS_MAX];
    for (size_t i = 0; i < n; i++) paths[i] = w[i].model;
    for (size_t k = 0; n && k < 3; k++) {
        ng_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", series[k].name, series[k].help,
                      series[k].name, series[k].type);
        for (size_t i = 0; i < n; i++) {
            uint64_t v = k == 0   ? !strcmp(w[i].state, "ready")
                         : k == 1 ? w[i].restarts
                                  : w[i].resident_bytes;
            put_model_label(b, series[k].name, paths, n, i);
            ng_buf_printf(b, "} %llu\n", (unsigned long long)v);
        }
    }
}

/* One value of one decoder.  Rows with one name stand together; `label` is "" or a second label. */
typedef struct decoder_row {
    const char *name, *type, *help, *label;
    double (*of)(const ng_scheduler_stats *s);
} decoder_row;

#define VALUE(id, expression) \
    static double id(const ng_scheduler_stats *s) { return (double)(expression); }
VALUE(of_steps, s->n_steps)
VALUE(of_step_s, s->step_s)
VALUE(of_read, s->n_read)
VALUE(of_decoded, s->n_rows - s->n_read)
VALUE(of_running, s->n_running)
VALUE(of_waiting, s->n_waiting)
VALUE(of_slots, s->n_slots)
VALUE(of_joined, s->n_joined)
VALUE(of_preempted, s->n_preempted)
VALUE(of_pages_used, s->kv_tok_used / NG_KV_PAGE_TOK)
VALUE(of_pages, s->n_kv_tok / NG_KV_PAGE_TOK)
VALUE(of_memory_hits, s->prefix.memory_hits)
VALUE(of_disk_hits, s->prefix.disk_hits)
VALUE(of_memory_tok, s->prefix.memory_tok)
VALUE(of_disk_tok, s->prefix.disk_tok)
VALUE(of_running_tok, s->n_reused - s->prefix.memory_tok - s->prefix.disk_tok)
VALUE(of_kept_bytes, s->prefix.memory_bytes)
VALUE(of_written, s->prefix.written)
VALUE(of_failed, s->prefix.failed)
VALUE(of_refused, s->prefix.refused)
#undef VALUE

static const decoder_row decoder_rows[] = {
    {"nanogrid_steps_total", "counter", "Forwards of a decoder.", "", of_steps},
    {"nanogrid_step_seconds_total", "counter", "Time that they took.", "", of_step_s},
    {"nanogrid_prefill_tokens_total", "counter", "Tokens of prompts that they read.", "", of_read},
    {"nanogrid_decode_tokens_total", "counter", "Tokens that streams went on by.", "", of_decoded},
    {"nanogrid_streams_running", "gauge", "Generations that have a slot.", "", of_running},
    {"nanogrid_streams_waiting", "gauge", "Generations that wait for one.", "", of_waiting},
    {"nanogrid_slots", "gauge", "Generations that can run at once.", "", of_slots},
    {"nanogrid_streams_total", "counter", "Generations that got a slot.", "", of_joined},
    {"nanogrid_preempted_total", "counter", "Times that one gave its pages to an older one, to read again later.", "", of_preempted},
    {"nanogrid_kv_pages_used", "gauge", "Pages of 64 past tokens in use, kept ones too.", "", of_pages_used},
    {"nanogrid_kv_pages", "gauge", "Pages that there are.", "", of_pages},
    {"nanogrid_prefix_hits_total", "counter", "Texts whose beginning was found, by where.", "from=\"memory\"", of_memory_hits},
    {"nanogrid_prefix_hits_total", "counter", "", "from=\"disk\"", of_disk_hits},
    {"nanogrid_prefix_tokens_total", "counter", "Tokens that were found and not read again, by where.", "from=\"memory\"", of_memory_tok},
    {"nanogrid_prefix_tokens_total", "counter", "", "from=\"disk\"", of_disk_tok},
    {"nanogrid_prefix_tokens_total", "counter", "", "from=\"running\"", of_running_tok},
    {"nanogrid_prefix_kept_bytes", "gauge", "Memory of what is kept of earlier texts.", "", of_kept_bytes},
    {"nanogrid_prefix_files_total", "counter", "Files of pages, by what became of them.", "outcome=\"written\"", of_written},
    {"nanogrid_prefix_files_total", "counter", "", "outcome=\"failed\"", of_failed},
    {"nanogrid_prefix_files_total", "counter", "", "outcome=\"refused\"", of_refused},
};

static void decoder_series(ng_buf *b, ng_grid *g) {
    ng_grid_decoder d[DECODERS_MAX];
    const char *paths[DECODERS_MAX];
    size_t n = ng_grid_decoders(g, d, DECODERS_MAX);
    for (size_t i = 0; i < n; i++) paths[i] = d[i].path;
    for (size_t k = 0; n && k < sizeof decoder_rows / sizeof *decoder_rows; k++) {
        const decoder_row *r = &decoder_rows[k];
        if (*r->help) ng_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", r->name, r->help, r->name, r->type);
        for (size_t i = 0; i < n; i++) {
            put_model_label(b, r->name, paths, n, i);
            ng_buf_printf(b, "%s%s} %.15g\n", *r->label ? "," : "", r->label, r->of(&d[i].stats));
        }
    }
}

void ng_api_metrics(ng_call *c) {
    ng_buf *b = &c->out;
    ng_api *api = c->api;
    ng_grid_stats s = ng_grid_get_stats(c->grid);
    ng_buf_printf(b,
                  "# HELP nanogrid_build_info The version of this program.\n# TYPE "
                  "nanogrid_build_info gauge\n"
                  "nanogrid_build_info{version=\"%s\"} 1\n",
                  ng_version());
    ng_metrics_value(b, "nanogrid_uptime_seconds", "gauge", "Since the server started.",
                     (double)(ng_clock_ns() - api->started_ns) / 1e9);
    ng_metrics_value(b, "nanogrid_queue_length", "gauge", "Requests that wait for a worker.",
                     (double)ng_http_queued(ng_http_of(c->x)));
    ng_metrics_value(b, "nanogrid_active_requests", "gauge", "Requests at a worker.",
                     (double)ng_http_active(ng_http_of(c->x)));
    ng_metrics_value(b, "process_resident_memory_bytes", "gauge", "Resident memory.",
                     resident_bytes());
    grid_series(b, &s);
    drift_series(b, c->grid);
    ng_metrics_value(b, "nanogrid_router_version", "gauge",
                     "The version of what the router has learnt; 0: as trained.", (double)s.router_version);
    ng_worker_info workers[WORKERS_MAX];
    size_t n = api->workers ? ng_workers_list(api->workers, workers, WORKERS_MAX) : 0;
    worker_series(b, workers, n < WORKERS_MAX ? n : WORKERS_MAX);
    decoder_series(b, c->grid);
    ng_metrics_write(b, &api->metrics, ng_api_endpoint_paths(), ng_api_n_endpoints() + 1);
    ng_call_send_as(c, 200, "text/plain; version=0.0.4; charset=utf-8");
}
