/* api_ask.c: one question to the grid: its limits, its clock, its headers, its text.
 *
 * Overhead is what DESIGN 4 says: all time between the last byte of the request and the first byte of
 * the answer that was neither queue nor expert.  The grid tells its own share (routing, policy,
 * recording) in overhead_us, so the rest of the time inside ng_grid_ask is the expert's. */
#include "serve/api.h"

#include "core/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool find_model(const ng_grid *g, const char *name, ng_grid_entry *out) {
    for (size_t i = 0, n = ng_grid_n_entries(g); i < n; i++) {
        *out = ng_grid_get_entry(g, i);
        if (!strcmp(out->name, name)) return true;
    }
    return false;
}

static bool abandoned(void *ctx) {
    return ng_http_cancelled(((const ng_call *)ctx)->x);
}

bool ng_call_request(ng_call *c, ng_request *r, ng_task task, const char *model, const char *user) {
    if (task == NG_TASK_AUTO) task = c->task;
    else if (c->task != NG_TASK_AUTO && c->task != task)
        return ng_problem_set(&c->problem, 400, "wrong_task", NULL,
                              "the header x-nanogrid-task says %s, but this endpoint serves %s", ng_task_name(c->task),
                              ng_task_name(task));
    ng_request_init(r, task);
    if (model && *model && strcmp(model, "auto")) {
        ng_grid_entry e;
        if (!find_model(c->grid, model, &e)) {
            ng_problem_set(&c->problem, 404, "model_not_found", "model",
                           "there is no model '%.64s'; GET /v1/models lists them, \"auto\" lets "
                           "the grid decide",
                           model);
            c->problem.type = "invalid_request_error";
            return false;
        }
        if (task == NG_TASK_AUTO) r->task = e.upstream ? NG_TASK_GENERATE : e.task;
        else if (!e.upstream && e.task != task)
            return ng_problem_set(&c->problem, 400, "wrong_task", "model",
                                  "model '%.64s' serves %s, not %s", model, ng_task_name(e.task),
                                  ng_task_name(task));
        r->model = model;
    }
    r->privacy = c->privacy;
    r->with_signals = c->debug;
    r->would_wait = c->at_once ? &c->would_wait : NULL;
    r->max_cost_usd = c->max_cost_usd;
    r->deadline_ms = c->deadline_ms;
    r->tenant = c->tenant ? c->tenant : user;
    r->regions = c->regions, r->consents = c->consents;
    r->abandoned = abandoned;
    r->abandoned_ctx = c;
    r->request_id = c->request_id;
    r->traceparent = c->traceparent[0] ? c->traceparent : NULL;
    return true;
}

typedef ng_status ask_fn(ng_grid *g, const ng_request *r, ng_answer **out, ng_error *err);

static bool timed(ng_call *c, ask_fn *ask, const ng_request *r, ng_answer **out) {
    ng_error err = {0};
    *out = NULL;
    uint64_t begin = ng_clock_ns();
    ng_status s = ask(c->grid, r, out, &err);
    c->told_ns = ng_clock_ns();
    double spent = (double)(c->told_ns - begin);
    double own = *out ? (*out)->overhead_us * 1e3 : 0;
    if (spent > own) c->expert_ns += (uint64_t)(spent - own);
    if (!c->asked_ns) c->asked_ns = begin;
    c->grid_us += own / 1e3;
    if (s == NG_OK) return true;
    if (c->would_wait) return false;
    if (err.code == NG_OK) ng_fail(&err, s, "%s", ng_status_text(s));
    return ng_call_over(c) ? false : ng_problem_from(&c->problem, &err);
}

bool ng_call_ask(ng_call *c, const ng_request *r, ng_answer **out) {
    if (!timed(c, ng_grid_ask, r, out)) return false;
    ng_metrics *m = &c->api->metrics;
    ng_histogram_add(&m->tokens_in, NG_SCALE_TOKENS, (*out)->prompt_tokens);
    if ((*out)->completion_tokens)
        ng_histogram_add(&m->tokens_out, NG_SCALE_TOKENS, (*out)->completion_tokens);
    return true;
}

bool ng_call_route(ng_call *c, const ng_request *r, ng_answer **out) {
    return timed(c, ng_grid_route, r, out);
}

void ng_call_decision_headers(ng_call *c, const ng_answer *a) {
    char confidence[32] = "null";
    if (!isnan(a->confidence)) snprintf(confidence, sizeof confidence, "%.6g", a->confidence);
    ng_http_set_header(c->x, "x-nanogrid-expert", a->expert ? a->expert : "none");
    ng_http_set_header(c->x, "x-nanogrid-tier", a->expert ? ng_tier_level_name(a->tier) : "none");
    ng_http_set_header(c->x, "x-nanogrid-confidence", confidence);
    ng_http_set_header(c->x, "x-nanogrid-decision-id", a->decision_id);
}

void ng_call_decision_json(ng_json *j, const ng_call *c, const ng_answer *a) {
    if (c->debug) {
        ng_answer_json(j, a);
        return;
    }
    ng_json_object(j);
    ng_json_key(j, "expert"), ng_json_str(j, a->expert);
    ng_json_key(j, "tier"), ng_json_str(j, a->expert ? ng_tier_level_name(a->tier) : NULL);
    ng_json_key(j, "confidence"), ng_json_num(j, a->confidence);
    ng_json_key(j, "decision_id"), ng_json_str(j, a->decision_id);
    ng_json_key(j, "escalated"), ng_json_bool(j, a->escalated);
    ng_json_key(j, "overhead_us"), ng_json_fixed(j, ng_call_overhead_us(c), 1);
    ng_json_end(j);
}

static void flagged_text(ng_buf *out, const ng_answer *a) {
    if (!a->flagged) {
        ng_buf_puts(out, "not flagged");
        return;
    }
    ng_buf_puts(out, "flagged");
    size_t best = 0;
    for (size_t i = 1; i < a->n_categories; i++)
        if (a->categories[i].p > a->categories[best].p) best = i;
    if (a->n_categories) ng_buf_printf(out, ": %s", a->categories[best].label);
}

static void entities_text(ng_json *j, const ng_answer *a) {
    ng_json_array(j);
    for (size_t i = 0; i < a->n_entities; i++) {
        const ng_entity *e = &a->entities[i];
        ng_json_object(j);
        ng_json_key(j, "label"), ng_json_str(j, e->label);
        ng_json_key(j, "text"), ng_json_str(j, e->text);
        ng_json_key(j, "start"), ng_json_uint(j, e->start);
        ng_json_key(j, "end"), ng_json_uint(j, e->end);
        ng_json_end(j);
    }
    ng_json_end(j);
}

void ng_answer_content(ng_buf *out, const ng_answer *a) {
    ng_json j = ng_json_init(out);
    switch (a->task) {
    case NG_TASK_CLASSIFY:
    case NG_TASK_DETECT_LANGUAGE:
        ng_buf_puts(out, a->label ? a->label : "");
        break;
    case NG_TASK_MODERATE:
        flagged_text(out, a);
        break;
    case NG_TASK_EXTRACT:
        entities_text(&j, a);
        break;
    case NG_TASK_EMBED:
        ng_json_array(&j);
        for (size_t i = 0; i < a->n_embedding; i++) ng_json_f32(&j, a->embedding[i]);
        ng_json_end(&j);
        break;
    case NG_TASK_RERANK:
        ng_json_array(&j);
        for (size_t i = 0; i < a->n_results; i++) ng_json_uint(&j, a->results[i].index);
        ng_json_end(&j);
        break;
    default:
        ng_buf_puts(out, a->answer ? a->answer : "");
    }
}
