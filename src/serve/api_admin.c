/* api_admin.c: what the server says of itself: models, decisions, health, readiness, metrics, and the
 * dashboard page, which is compiled in (web/dashboard.html). */
#include "serve/api.h"
#include "serve/dashboard.h"

#include "core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DECISIONS_DEFAULT = 20, DECISIONS_MAX = 1000 };

static void put_model(ng_json *j, const ng_grid_entry *e) {
    ng_json_object(j);
    ng_json_key(j, "id"), ng_json_str(j, e->name);
    ng_json_key(j, "object"), ng_json_str(j, "model");
    ng_json_key(j, "created"), ng_json_int(j, 0);
    ng_json_key(j, "owned_by"), ng_json_str(j, e->upstream ? "upstream" : "nanogrid");
    ng_json_key(j, "task"), ng_json_str(j, e->upstream ? NULL : ng_task_name(e->task));
    ng_json_key(j, "tier"), ng_json_str(j, ng_tier_level_name(e->tier));
    ng_json_key(j, "available"), ng_json_bool(j, e->available);
    if (!e->available) ng_json_key(j, "why"), ng_json_str(j, e->why);
    ng_json_end(j);
}

void ng_api_models(ng_call *c) {
    ng_json j = ng_json_init(&c->out);
    ng_json_object(&j);
    ng_json_key(&j, "object"), ng_json_str(&j, "list");
    ng_json_key(&j, "data");
    ng_json_array(&j);
    for (size_t i = 0, n = ng_grid_n_entries(c->grid); i < n; i++) {
        ng_grid_entry e = ng_grid_get_entry(c->grid, i);
        put_model(&j, &e);
    }
    ng_json_end(&j);
    ng_json_end(&j);
    ng_call_send(c, 200);
}

void ng_api_model(ng_call *c) {
    for (size_t i = 0, n = ng_grid_n_entries(c->grid); i < n; i++) {
        ng_grid_entry e = ng_grid_get_entry(c->grid, i);
        if (strcmp(e.name, c->tail)) continue;
        ng_json j = ng_json_init(&c->out);
        put_model(&j, &e);
        ng_call_send(c, 200);
        return;
    }
    ng_problem_set(&c->problem, 404, "model_not_found", "model",
                   "there is no model '%.64s'; GET /v1/models lists them", c->tail);
}

void ng_api_slots(ng_call *c) {
    ng_json j = ng_json_init(&c->out);
    ng_grid_slots(c->grid, &j);
    ng_call_send(c, 200);
}

void ng_api_decisions(ng_call *c) {
    const char *text = ng_http_query(c->x, "n");
    char *end = NULL;
    long n = text ? strtol(text, &end, 10) : DECISIONS_DEFAULT;
    if (n < 1 || n > DECISIONS_MAX || (text && (*end || end == text))) {
        ng_problem_set(&c->problem, 400, "out_of_range", "n", "n must be a whole number, 1 to %d",
                       DECISIONS_MAX);
        return;
    }
    ng_error err = {0};
    ng_json j = ng_json_init(&c->out);
    ng_json_object(&j);
    ng_json_key(&j, "object"), ng_json_str(&j, "list");
    ng_json_key(&j, "data");
    if (ng_grid_decisions(c->grid, (size_t)n, &j, &err)) {
        ng_problem_from(&c->problem, &err);
        return;
    }
    ng_json_end(&j);
    ng_call_send(c, 200);
}

void ng_api_decision(ng_call *c) {
    ng_error err = {0};
    ng_status s = ng_grid_flush(c->grid, &err); /* the answer may be newer than the database */
    if (!s) s = ng_grid_explain(c->grid, c->tail, true, &c->out, &err);
    if (s) ng_problem_from(&c->problem, &err);
    else ng_call_send(c, 200);
}

void ng_api_health(ng_call *c) {
    ng_json j = ng_json_init(&c->out);
    ng_json_object(&j);
    ng_json_key(&j, "status"), ng_json_str(&j, "ok");
    ng_json_key(&j, "version"), ng_json_str(&j, ng_version());
    ng_json_key(&j, "uptime_s"),
        ng_json_fixed(&j, (double)(ng_clock_ns() - c->api->started_ns) / 1e9, 1);
    ng_json_key(&j, "drifting"); /* experts whose texts have left what their contract was fitted on */
    ng_json_array(&j);
    for (size_t i = 0, n = ng_grid_n_entries(c->grid); i < n; i++) {
        ng_grid_entry e = ng_grid_get_entry(c->grid, i);
        if (e.drifting) ng_json_str(&j, e.name);
    }
    ng_json_end(&j);
    ng_json_end(&j);
    ng_call_send(c, 200);
}

void ng_api_ready(ng_call *c) {
    size_t available = 0, n = ng_grid_n_entries(c->grid);
    for (size_t i = 0; i < n; i++) available += ng_grid_get_entry(c->grid, i).available;
    bool ready = available && !ng_http_draining(ng_http_of(c->x));
    ng_json j = ng_json_init(&c->out);
    ng_json_object(&j);
    ng_json_key(&j, "ready"), ng_json_bool(&j, ready);
    ng_json_key(&j, "models"), ng_json_uint(&j, n);
    ng_json_key(&j, "available"), ng_json_uint(&j, available);
    ng_json_end(&j);
    if (!ready) ng_http_set_header(c->x, "Retry-After", "1");
    ng_call_send(c, ready ? 200 : 503);
}

static void grid_series(ng_buf *b, const ng_grid_stats *s) {
    const struct {
        const char *name, *help;
        double v;
    } rows[] = {
        {"nanogrid_grid_requests_total", "Requests that reached the grid.", (double)s->requests},
        {"nanogrid_escalations_total", "Requests handed to a higher tier.", (double)s->escalations},
        {"nanogrid_abstentions_total", "Requests that no expert was sure of.",
         (double)s->abstentions},
        {"nanogrid_cache_hits_total", "Answers from the exact cache.", (double)s->cache_hits},
        {"nanogrid_cache_misses_total", "Look-ups that the exact cache did not hold.",
         (double)s->cache_misses},
        {"nanogrid_errors_total", "Requests that the grid failed.", (double)s->errors},
        {"nanogrid_deadline_misses_total", "Answers that a contract's deadline replaced by its safe label.",
         (double)s->deadline_misses},
        {"nanogrid_reasks_total", "Turns of a conversation that say the answer before was no good.", (double)s->reasks},
        {"nanogrid_explored_total", "Requests for which every tier was asked.", (double)s->explored},
        {"nanogrid_wasted_tokens_total", "Tokens of answers that nobody got.", (double)s->wasted_tokens},
        {"nanogrid_wasted_usd_total", "Money for answers that nobody got.", s->wasted_usd},
        {"nanogrid_pipelines_total", "Texts sent through a pipeline.", (double)s->pipelines},
        {"nanogrid_pipelines_degraded_total", "Of these, with a step that did not answer.", (double)s->pipelines_degraded},
        {"nanogrid_router_versions_total", "Versions of what the router has learnt that were taken up.",
         (double)s->router_versions_made},
        {"nanogrid_router_versions_refused_total", "Candidates that were no better, or moved too much.",
         (double)s->router_versions_refused},
        {"nanogrid_router_rollbacks_total", "Returns to an earlier version after a regression.",
         (double)s->router_rollbacks},
        {"nanogrid_records_written_total", "Decisions in the database.",
         (double)s->records_written},
        {"nanogrid_records_sampled_out_total", "Plain decisions left out while the ring was full.",
         (double)s->records_sampled_out},
        {"nanogrid_prompt_tokens_total", "Tokens read.", (double)s->prompt_tokens},
        {"nanogrid_cached_tokens_total", "Of the tokens read, those known from earlier texts.", (double)s->cached_tokens},
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

enum { WORKERS_MAX = 32 };

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

/* One line a worker process for each of three series. */
static void worker_series(ng_buf *b, const ng_worker_info *w, size_t n) {
    static const struct {
        const char *name, *type, *help;
    } series[] = {{"nanogrid_worker_up", "gauge", "1 when the worker process of a model is ready."},
                  {"nanogrid_worker_restarts_total", "counter", "Times that a worker process died."},
                  {"nanogrid_worker_resident_bytes", "gauge", "Resident memory of a worker process."}};
    for (size_t k = 0; n && k < 3; k++) {
        ng_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", series[k].name, series[k].help,
                      series[k].name, series[k].type);
        for (size_t i = 0; i < n; i++) {
            uint64_t v = k == 0   ? !strcmp(w[i].state, "ready")
                         : k == 1 ? w[i].restarts
                                  : w[i].resident_bytes;
            const char *slash = strrchr(w[i].model, '/');
            ng_buf_printf(b, "%s{model=\"", series[k].name);
            for (const char *p = slash ? slash + 1 : w[i].model; *p; p++)
                if (*p == '"' || *p == '\\') ng_buf_printf(b, "\\%c", *p);
                else ng_buf_putc(b, *p == '\n' ? ' ' : *p);
            ng_buf_printf(b, "\"} %llu\n", (unsigned long long)v);
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
    ng_metrics_write(b, &api->metrics, ng_api_endpoint_paths(), ng_api_n_endpoints() + 1);
    ng_call_send_as(c, 200, "text/plain; version=0.0.4; charset=utf-8");
}

void ng_api_dashboard(ng_call *c) {
    ng_buf_put(&c->out, ng_dashboard_html, ng_dashboard_html_len);
    ng_http_set_header(
        c->x, "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src "
        "'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    ng_http_set_header(c->x, "Referrer-Policy", "no-referrer");
    ng_call_send_as(c, 200, "text/html; charset=utf-8");
}
