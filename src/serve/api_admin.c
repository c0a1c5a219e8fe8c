/* api_admin.c: what the server says of itself: models, decisions, health, readiness, and the dashboard page,
 * which is compiled in (web/dashboard.html). */
#include "serve/api.h"
#include "serve/dashboard.h"

#include "core/clock.h"

#include <stdlib.h>
#include <string.h>

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
    if (e->adapter) ng_json_key(j, "adapter"), ng_json_str(j, e->adapter);
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
