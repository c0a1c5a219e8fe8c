/* fuzz_request_json.c: any bytes as the body of every POST endpoint; then the problem as JSON, which
 * must itself be readable.  A struct that is taken must hold what its header promises. */
#include "serve/request.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok) {
    if (!ok) abort();
}

static void check_problem(const ng_problem *p) {
    ng_buf b = ng_buf_init(1 << 16);
    ng_json j = ng_json_init(&b);
    must(p->status >= 400 && p->status < 600 && p->type && p->message[0]);
    ng_problem_json(&j, p);
    json_t *back = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, NULL);
    must(back != NULL);
    json_decref(back);
    ng_buf_clear(&b);
}

static void check_chat(const json_t *body, ng_arena *a) {
    ng_problem p = {0};
    ng_chat_request r;
    if (!ng_chat_request_read(&r, body, a, &p)) {
        check_problem(&p);
        return;
    }
    must(r.n_messages > 0 && r.n >= 1 && r.n <= NG_CHOICES_MAX &&
         r.options.n_stop <= NG_STOPS_MAX && r.options.n_predict > 0);
    for (size_t i = 0; i < r.n_messages; i++)
        for (size_t k = 0; k < r.messages[i].n_parts; k++)
            must(strlen(r.messages[i].parts[k].text) == r.messages[i].parts[k].len);
}

static void check_task(int which, const json_t *body, ng_arena *a) {
    ng_problem p = {0};
    ng_task_request r;
    bool ok = which == NG_TASK_AUTO       ? ng_route_request_read(&r, body, a, &p)
              : which == NG_TASK_EMBED    ? ng_embed_request_read(&r, body, a, &p)
              : which == NG_TASK_MODERATE ? ng_moderate_request_read(&r, body, a, &p)
                                          : ng_task_request_read(&r, (ng_task)which, body, a, &p);
    if (!ok) {
        check_problem(&p);
        return;
    }
    must(r.input.len > 0 && r.input.len <= NG_INPUTS_MAX);
    for (size_t i = 0; i < r.input.len; i++) must(r.input.items[i].len > 0);
}

static void check_feedback(const json_t *body) {
    ng_problem p = {0};
    ng_feedback_request r;
    if (!ng_feedback_request_read(&r, body, &p)) check_problem(&p);
    else must(*r.decision_id && (r.correct >= 0 || r.label));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ng_problem p = {0};
    ng_arena *a;
    json_t *body = ng_body_parse((const char *)data, size, &p);
    if (!body) {
        check_problem(&p);
        return 0;
    }
    if (ng_arena_new(&a, 0) == NG_OK) {
        check_chat(body, a);
        check_feedback(body);
        for (int t = NG_TASK_AUTO; t < NG_TASK_COUNT; t++)
            if (t != NG_TASK_GENERATE && t != NG_TASK_RERANK) check_task(t, body, a);
        ng_arena_free(a);
    }
    json_decref(body);
    return 0;
}
