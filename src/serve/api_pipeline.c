/* api_pipeline.c: POST /v1/pipelines/NAME: one text or several through a pipeline of grid.yaml.  Each text gives one
 * element of `results` (nanogrid/pipeline.h); a text that could not be begun at all becomes {"error": ..} in its place. */
#include "serve/api.h"

#include "core/clock.h"
#include <nanogrid/pipeline.h>

static double own_ns(const ng_pipeline_answer *p) {
    double us = 0;
    for (size_t i = 0; i < p->n_steps; i++)
        if (p->steps[i].answer) us += p->steps[i].answer->overhead_us;
    return us * 1e3;
}

static bool one_text(ng_call *c, const ng_task_request *t, size_t i, ng_pipeline_answer **out) {
    ng_request r;
    ng_error err = {0};
    uint64_t begin = ng_clock_ns();
    *out = NULL;
    if (!ng_call_request(c, &r, NG_TASK_AUTO, NULL, t->user)) return false;
    ng_request_set_text(&r, t->input.items[i].text, t->input.items[i].len);
    ng_status s = ng_grid_ask_pipeline(c->grid, c->tail, &r, out, &err);
    c->told_ns = ng_clock_ns();
    if (!c->asked_ns) c->asked_ns = begin;
    if (s) return ng_call_over(c) ? false : ng_problem_from(&c->problem, &err);
    double spent = (double)(c->told_ns - begin), own = own_ns(*out);
    if (spent > own) c->expert_ns += (uint64_t)(spent - own);
    c->grid_us += own / 1e3;
    return !ng_call_over(c);
}

void ng_api_pipeline(ng_call *c) {
    ng_task_request t;
    ng_problem first = {0};
    size_t n_good = 0;
    if (!ng_pipeline_request_read(&t, c->body, c->arena, &c->problem)) return;
    ng_json j = ng_json_init(&c->out);
    ng_json_object(&j);
    ng_json_key(&j, "results");
    ng_json_array(&j);
    for (size_t i = 0; i < t.input.len; i++) {
        ng_pipeline_answer *p;
        if (one_text(c, &t, i, &p)) {
            n_good++;
            ng_pipeline_json(&j, p);
            if (!t.input.is_array) ng_http_set_header(c->x, "x-nanogrid-decision-id", p->decision_id);
        } else {
            if (!first.status) first = c->problem;
            ng_problem_json(&j, &c->problem);
            c->problem = (ng_problem){0};
        }
        ng_pipeline_answer_free(p);
        if (ng_call_over(c)) return;
    }
    ng_json_end(&j), ng_json_end(&j);
    if (!n_good) c->problem = first;
    else ng_call_send(c, 200);
}
