/* api_task.c: the task API: POST /v1/{classify, extract, detect-language, summarize, translate, answer,
 * rewrite} and /v1/route.  One text gives one element of `results` and its headers; of several texts
 * one that fails becomes {"error": ..} in its place, unless all fail: then the first error is the
 * answer.  /v1/route answers one text with the decision itself, several with `results`. */
#include "serve/api.h"

#include <string.h>

typedef bool one_fn(ng_call *c, const ng_request *r, ng_answer **out);
typedef void put_fn(ng_json *j, const ng_answer *a);

/* False: this text failed; the problem is set. */
static bool one_text(ng_call *c, const ng_task_request *t, size_t i, one_fn *ask, ng_answer **out) {
    ng_request r;
    if (!ng_call_request(c, &r, t->task, t->model, t->user)) return false;
    ng_request_set_text(&r, t->input.items[i].text, t->input.items[i].len);
    r.params = t->params;
    return ask(c, &r, out) && !ng_call_over(c);
}

static void answer_texts(ng_call *c, const ng_task_request *t, one_fn *ask, put_fn *put) {
    bool bare = ask == ng_call_route && !t->input.is_array;
    if (c->at_once && t->input.is_array) { /* the last of several may be the one that waits */
        c->would_wait = true;
        return;
    }
    ng_json j = ng_json_init(&c->out);
    size_t n_good = 0;
    ng_problem first = {0};
    if (!bare) {
        ng_json_object(&j);
        ng_json_key(&j, "results");
        ng_json_array(&j);
    }
    for (size_t i = 0; i < t->input.len; i++) {
        ng_answer *a = NULL;
        if (one_text(c, t, i, ask, &a)) {
            n_good++;
            put(&j, a);
            if (!t->input.is_array) ng_call_decision_headers(c, a);
        } else if (!c->would_wait) {
            if (!first.status) first = c->problem;
            ng_problem_json(&j, &c->problem);
            c->problem = (ng_problem){0};
        }
        ng_answer_free(a);
        if (c->would_wait || ng_call_over(c)) return;
    }
    if (!bare) ng_json_end(&j), ng_json_end(&j);
    if (!n_good) c->problem = first;
    else ng_call_send(c, 200);
}

static void serve_task(ng_call *c, ng_task task) {
    ng_task_request t;
    if (ng_task_request_read(&t, task, c->body, c->arena, &c->problem))
        answer_texts(c, &t, ng_call_ask, ng_answer_json);
}

void ng_api_classify(ng_call *c) {
    serve_task(c, NG_TASK_CLASSIFY);
}
void ng_api_extract(ng_call *c) {
    serve_task(c, NG_TASK_EXTRACT);
}
void ng_api_detect_language(ng_call *c) {
    serve_task(c, NG_TASK_DETECT_LANGUAGE);
}
void ng_api_summarize(ng_call *c) {
    serve_task(c, NG_TASK_SUMMARIZE);
}
void ng_api_translate(ng_call *c) {
    serve_task(c, NG_TASK_TRANSLATE);
}
void ng_api_answer(ng_call *c) {
    serve_task(c, NG_TASK_ANSWER);
}
void ng_api_rewrite(ng_call *c) {
    serve_task(c, NG_TASK_REWRITE);
}

void ng_api_route(ng_call *c) {
    ng_task_request t;
    if (ng_route_request_read(&t, c->body, c->arena, &c->problem))
        answer_texts(c, &t, ng_call_route, ng_route_json);
}

void ng_api_feedback(ng_call *c) {
    ng_feedback_request r;
    ng_error err = {0};
    bool correct;
    if (!ng_feedback_request_read(&r, c->body, &c->problem)) return;
    ng_feedback f = {r.decision_id, r.correct, r.label, r.comment};
    if (ng_grid_feedback(c->grid, &f, &correct, &err)) {
        ng_problem_from(&c->problem, &err);
        return;
    }
    ng_json j = ng_json_init(&c->out);
    ng_json_object(&j);
    ng_json_key(&j, "decision_id"), ng_json_str(&j, r.decision_id);
    ng_json_key(&j, "correct"), ng_json_bool(&j, correct);
    ng_json_key(&j, "label"), ng_json_str(&j, r.label);
    ng_json_key(&j, "stored"), ng_json_bool(&j, true);
    ng_json_end(&j);
    ng_call_send(c, 200);
}
