/* Tests of request bodies: what is read, what is refused and how it is named; metrics and the queue. */
#include "serve/metrics.h"
#include "serve/queue.h"
#include "serve/request.h"

#include "fault.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HI "\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]"

static bool read_chat(ng_chat_request *r, const char *text, ng_arena *a, json_t **body, ng_problem *p) {
    *p = (ng_problem){0};
    *body = ng_body_parse(text, strlen(text), p);
    return *body && ng_chat_request_read(r, *body, a, p);
}

/* Expects status and code for a chat body; status 200 means that it is taken. */
static void chat_gives(const char *text, int status, const char *code, const char *param) {
    ng_arena *a;
    ng_chat_request r;
    ng_problem p;
    json_t *body;
    assert_int_equal(ng_arena_new(&a, 0), NG_OK);
    bool ok = read_chat(&r, text, a, &body, &p);
    if (ok != (status == 200) || (!ok && p.status != status))
        print_error("%s\n -> %d %s %s: %s\n", text, p.status, p.code, p.param, p.message);
    assert_int_equal(ok ? 200 : p.status, status);
    if (code) assert_string_equal(p.code, code);
    if (param) assert_string_equal(p.param, param);
    json_decref(body);
    ng_arena_free(a);
}

static void bodies_are_checked_before_reading(void **state) {
    (void)state;
    char deep[256] = "";
    chat_gives("", 400, "invalid_json", "");
    chat_gives("{", 400, "invalid_json", "");
    chat_gives("[1]", 400, "invalid_json", "");
    chat_gives("\"text\"", 400, "invalid_json", "");
    chat_gives("{\"model\": \"a\", \"model\": \"b\"}", 400, "invalid_json", "");
    chat_gives("{\"model\": \"a\\u0000b\"}", 400, "invalid_json", "");
    chat_gives("{\"model\": \"\xC3\x28\"}", 400, "invalid_utf8", "");
    chat_gives("{\"model\": \"\xED\xA0\x80\"}", 400, "invalid_utf8", "");
    chat_gives("{\"temperature\": 1e999}", 400, "invalid_json", "");
    for (int levels = NG_BODY_DEPTH_MAX; levels <= NG_BODY_DEPTH_MAX + 1; levels++) {
        size_t n = (size_t)snprintf(deep, sizeof deep, "{\"x\": ");
        for (int i = 1; i < levels; i++) deep[n++] = '[';
        for (int i = 1; i < levels; i++) deep[n++] = ']';
        strcpy(deep + n, "}");
        chat_gives(deep, 400, levels > NG_BODY_DEPTH_MAX ? "too_deep" : "unknown_parameter", NULL);
    }
    chat_gives("{\"model\": \"auto\", \"user\": \"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\", " HI "}", 200, NULL,
               NULL);
}

/* Each numeric field at and beyond both ends of its range. */
static void numbers_have_ranges(void **state) {
    (void)state;
    static const struct {
        const char *name, *good[3], *bad[8];
    } rows[] = {
        {"temperature", {"0", "2", "0.7"}, {"-0.001", "2.001", "1e308", "-1", "\"1\"", "true", "[]", NULL}},
        {"top_p", {"1", "0.0001", "0.5"}, {"0", "1.0001", "-1", "1e308", NULL}},
        {"n", {"1", "4", "2"}, {"0", "5", "-1", "1.0", "2147483648", "9223372036854775807", "\"2\"", NULL}},
        {"max_tokens", {"1", "2147483647", "16"}, {"0", "-1", "2147483648", "9223372036854775807", "1.5", NULL}},
        {"max_completion_tokens", {"1", "2147483647", "16"}, {"0", "-1", "2147483648", NULL}},
        {"presence_penalty", {"-2", "2", "0"}, {"-2.01", "2.01", "1e308", NULL}},
        {"frequency_penalty", {"-2", "2", "0"}, {"-2.01", "2.01", NULL}},
        {"min_p", {"0", "1", "0.05"}, {"-0.01", "1.01", NULL}},
        {"top_k", {"0", "1000000", "40"}, {"-1", "1000001", NULL}},
        {"seed", {"0", "-9223372036854775807", "9223372036854775807"}, {"1.5", "\"1\"", NULL}},
    };
    char text[256];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int k = 0; k < 3; k++) {
            snprintf(text, sizeof text, "{\"model\": \"m\", " HI ", \"%s\": %s}", rows[i].name, rows[i].good[k]);
            chat_gives(text, 200, NULL, NULL);
        }
        for (int k = 0; k < 8 && rows[i].bad[k]; k++) {
            snprintf(text, sizeof text, "{\"model\": \"m\", " HI ", \"%s\": %s}", rows[i].name, rows[i].bad[k]);
            chat_gives(text, 400, NULL, rows[i].name);
        }
    }
}

static void nothing_is_silently_ignored(void **state) {
    (void)state;
    static const struct {
        const char *field;
        int status;
        const char *param;
    } rows[] = {
        {"\"tools\": [{\"type\": \"function\"}]", 501, "tools"},
        {"\"tools\": []", 200, NULL},
        {"\"tools\": null", 200, NULL},
        {"\"tool_choice\": \"none\"", 200, NULL},
        {"\"tool_choice\": \"required\"", 501, "tool_choice"},
        {"\"response_format\": {\"type\": \"text\"}", 200, NULL},
        {"\"response_format\": {\"type\": \"json_object\"}", 501, "response_format"},
        {"\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {}}", 501, "response_format"},
        {"\"logit_bias\": {\"5\": 1}", 501, "logit_bias"},
        {"\"logit_bias\": {}", 200, NULL},
        {"\"store\": false", 200, NULL},
        {"\"store\": true", 501, "store"},
        {"\"modalities\": [\"text\"]", 200, NULL},
        {"\"modalities\": [\"text\", \"audio\"]", 501, "modalities"},
        {"\"service_tier\": \"flex\"", 501, "service_tier"},
        {"\"temprature\": 1", 400, "temprature"},
        {"\"stream\": \"yes\"", 400, "stream"},
        {"\"stream_options\": {\"include_usage\": true}", 400, "stream_options"},
        {"\"stream\": true, \"stream_options\": {\"x\": 1}", 400, "x"},
        {"\"stream\": true, \"stream_options\": 3", 400, "stream_options"},
        {"\"top_logprobs\": 3", 400, "top_logprobs"},
        {"\"logprobs\": true, \"top_logprobs\": 20", 200, NULL},
        {"\"logprobs\": true, \"top_logprobs\": 21", 400, "top_logprobs"},
        {"\"max_tokens\": 3, \"max_completion_tokens\": 4", 400, "max_tokens"},
        {"\"max_tokens\": 3, \"max_completion_tokens\": 3", 200, NULL},
        {"\"stop\": \"\"", 400, "stop"},
        {"\"stop\": [1]", 400, "stop"},
        {"\"stop\": []", 200, NULL},
        {"\"stop\": [\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]",
         200, NULL},
        {"\"stop\": "
         "[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]",
         400, "stop"},
    };
    char text[512];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(text, sizeof text, "{\"model\": \"m\", " HI ", %s}", rows[i].field);
        chat_gives(text, rows[i].status, NULL, rows[i].param);
    }
    char stop[400];
    for (int n = NG_STOP_BYTES_MAX; n <= NG_STOP_BYTES_MAX + 1; n++) {
        memset(stop, 'x', (size_t)n);
        stop[n] = 0;
        snprintf(text, sizeof text, "{\"model\": \"m\", " HI ", \"stop\": \"%s\"}", stop);
        chat_gives(text, n > NG_STOP_BYTES_MAX ? 400 : 200, NULL, NULL);
    }
}

static void messages_are_typed(void **state) {
    (void)state;
#define M(x) "{\"model\": \"m\", \"messages\": " x "}"
    chat_gives("{\"model\": \"m\"}", 400, "missing_parameter", "messages");
    chat_gives("{" HI "}", 400, "missing_parameter", "model");
    chat_gives(M("[]"), 400, NULL, "messages");
    chat_gives(M("{}"), 400, NULL, "messages");
    chat_gives(M("[3]"), 400, NULL, "messages[0]");
    chat_gives(M("[{\"role\": \"user\"}]"), 400, NULL, "messages[0].content");
    chat_gives(M("[{\"role\": \"user\", \"content\": null}]"), 400, NULL, "messages[0].content");
    chat_gives(M("[{\"role\": \"king\", \"content\": \"x\"}]"), 400, NULL, "messages[0].role");
    chat_gives(M("[{\"role\": \"tool\", \"content\": \"x\"}]"), 501, NULL, "messages[0].role");
    chat_gives(M("[{\"role\": \"system\", \"content\": \"x\"}]"), 400, NULL, "messages");
    chat_gives(M("[{\"role\": \"user\", \"content\": \"x\", \"name\": \"bob\"}]"), 501, NULL, "messages[0].name");
    chat_gives(M("[{\"role\": \"user\", \"content\": \"x\", \"nam\": 1}]"), 400, "unknown_parameter",
               "messages[0].nam");
    chat_gives(M("[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"x\"}]}]"), 200, NULL, NULL);
    chat_gives(M("[{\"role\": \"user\", \"content\": []}]"), 400, NULL, "messages[0].content");
    chat_gives(M("[{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {}}]}]"), 400,
               "unsupported_part", "messages[0].content[0]");
    chat_gives(M("[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"x\"}, {\"type\": "
                 "\"input_audio\"}]}]"),
               400, "unsupported_part", "messages[0].content[1]");
}

static void chat_becomes_a_struct(void **state) {
    (void)state;
    ng_arena *a;
    ng_chat_request r;
    ng_problem p;
    json_t *body;
    assert_int_equal(ng_arena_new(&a, 0), NG_OK);
    assert_true(read_chat(&r, "{\"model\": \"chat\", \"messages\": [{\"role\": \"developer\", \"content\": \"be brief\"}, {\"role\": \"user\","
                              " \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"text\", \"text\": \"bc\"}]}], \"stream\": true,"
                              " \"stream_options\": {\"include_usage\": true}, \"temperature\": 0, \"seed\": 7, \"n\": 3, \"stop\": \"END\","
                              " \"max_completion_tokens\": 9, \"logprobs\": true, \"top_logprobs\": 2, \"user\": \"u1\"}", a, &body, &p));
    assert_int_equal(r.n_messages, 2);
    assert_string_equal(r.messages[0].role, "system");
    assert_int_equal(r.messages[1].n_parts, 2);
    assert_int_equal(r.messages[1].parts[1].len, 2);
    assert_true(r.stream && r.include_usage && r.logprobs && r.has_seed);
    assert_true(r.options.temp == 0 && r.options.seed == 7 && r.n == 3 && r.options.n_predict == 9 &&
                r.options.n_top == 2);
    assert_string_equal(r.options.stop[0], "END");
    json_decref(body);
    assert_true(read_chat(&r, "{\"model\": \"auto\", " HI "}", a, &body, &p));
    assert_int_equal(r.options.n_predict, NG_DEFAULT_MAX_TOKENS);
    assert_false(r.has_seed);
    json_decref(body);
    ng_arena_free(a);
}

typedef bool read_fn(ng_task_request *, const json_t *, ng_arena *, ng_problem *);
static bool classify(ng_task_request *r, const json_t *b, ng_arena *a, ng_problem *p) {
    return ng_task_request_read(r, NG_TASK_CLASSIFY, b, a, p);
}
static bool extract(ng_task_request *r, const json_t *b, ng_arena *a, ng_problem *p) {
    return ng_task_request_read(r, NG_TASK_EXTRACT, b, a, p);
}
static bool summarize(ng_task_request *r, const json_t *b, ng_arena *a, ng_problem *p) {
    return ng_task_request_read(r, NG_TASK_SUMMARIZE, b, a, p);
}
static bool translate(ng_task_request *r, const json_t *b, ng_arena *a, ng_problem *p) {
    return ng_task_request_read(r, NG_TASK_TRANSLATE, b, a, p);
}
static bool answer(ng_task_request *r, const json_t *b, ng_arena *a, ng_problem *p) {
    return ng_task_request_read(r, NG_TASK_ANSWER, b, a, p);
}

static void tasks_take_their_own_parameters(void **state) {
    (void)state;
    static const struct {
        read_fn *read;
        const char *body;
        int status;
        const char *param;
    } rows[] = {
        {classify, "{\"input\": \"x\"}", 200, NULL},
        {classify, "{\"input\": [\"x\", \"y\"], \"top_k\": 2, \"labels\": [\"a\", \"b\"]}", 200, NULL},
        {classify, "{}", 400, "input"},
        {classify, "{\"input\": \"\"}", 400, "input"},
        {classify, "{\"input\": []}", 400, "input"},
        {classify, "{\"input\": [\"x\", \"\"]}", 400, "input[1]"},
        {classify, "{\"input\": [1, 2]}", 501, "input[0]"},
        {classify, "{\"input\": {\"type\": \"image_url\"}}", 400, "input"},
        {classify, "{\"input\": true}", 400, "input"},
        {classify, "{\"input\": \"x\", \"top_k\": 0}", 400, "top_k"},
        {classify, "{\"input\": \"x\", \"labels\": []}", 400, "labels"},
        {classify, "{\"input\": \"x\", \"labels\": [\"\"]}", 400, "labels"},
        {classify, "{\"input\": \"x\", \"to\": \"de\"}", 400, "to"},
        {extract, "{\"input\": \"x\", \"offsets\": \"chars\", \"types\": [\"email\"]}", 200, NULL},
        {extract, "{\"input\": \"x\", \"offsets\": \"words\"}", 400, "offsets"},
        {summarize, "{\"input\": \"x\", \"max_sentences\": 2}", 200, NULL},
        {summarize, "{\"input\": \"x\", \"max_sentences\": 2, \"max_tokens\": 3}", 400, "max_tokens"},
        {summarize, "{\"input\": \"x\", \"max_sentences\": 101}", 400, "max_sentences"},
        {translate, "{\"input\": \"x\"}", 400, "to"},
        {translate, "{\"input\": \"x\", \"to\": \"de\", \"from\": \"en\"}", 200, NULL},
        {answer, "{\"input\": \"who?\"}", 400, "context"},
        {answer, "{\"input\": \"who?\", \"context\": \"Ann.\"}", 200, NULL},
        {ng_embed_request_read, "{\"input\": \"x\", \"encoding_format\": \"base64\"}", 200, NULL},
        {ng_embed_request_read, "{\"input\": \"x\", \"encoding_format\": \"hex\"}", 400, "encoding_format"},
        {ng_embed_request_read, "{\"input\": \"x\", \"dimensions\": 64}", 501, "dimensions"},
        {ng_embed_request_read, "{\"input\": [[1, 2]]}", 501, "input[0]"},
        {ng_moderate_request_read, "{\"input\": [{\"type\": \"text\", \"text\": \"x\"}]}", 200, NULL},
        {ng_moderate_request_read, "{\"input\": [{\"type\": \"image_url\"}]}", 400, "input[0]"},
        {ng_route_request_read, "{\"input\": \"x\", \"task\": \"extract\"}", 200, NULL},
        {ng_route_request_read, "{\"input\": \"x\", \"task\": \"dance\"}", 400, "task"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ng_arena *a;
        ng_problem p = {0};
        ng_task_request r;
        assert_int_equal(ng_arena_new(&a, 0), NG_OK);
        json_t *body = ng_body_parse(rows[i].body, strlen(rows[i].body), &p);
        bool ok = rows[i].read(&r, body, a, &p);
        if (ok != (rows[i].status == 200)) print_error("%s -> %d %s\n", rows[i].body, p.status, p.message);
        assert_int_equal(ok ? 200 : p.status, rows[i].status);
        if (rows[i].param) assert_string_equal(p.param, rows[i].param);
        json_decref(body);
        ng_arena_free(a);
    }
}

static void memory_may_run_out(void **state) {
    (void)state;
    static const char text[] = "{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
                               "\"text\", \"text\": \"x\"}]}], \"stop\": [\"a\"]}";
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_arena *a;
        ng_chat_request r;
        ng_problem p;
        json_t *body = NULL;
        if (ng_arena_new(&a, 64)) continue;
        if (read_chat(&r, text, a, &body, &p)) fault_passed();
        else assert_int_equal(p.status, 503);
        json_decref(body);
        ng_arena_free(a);
    }
    assert_true(fault_sweep_rounds() >= 3);
}

static void problems_have_openai_shape(void **state) {
    (void)state;
    ng_buf b = ng_buf_init(1024);
    ng_json j = ng_json_init(&b);
    ng_problem p = {0};
    ng_error err = {0};
    ng_fail(&err, NG_ENOEXPERT, "nothing serves %s", "translate");
    ng_problem_from(&p, &err);
    ng_problem_set(&p, 400, "later", NULL, "the first problem wins");
    ng_problem_json(&j, &p);
    assert_string_equal(b.data, "{\"error\": {\"message\": \"nothing serves translate\", \"type\": \"no_expert\", "
                                "\"param\": null, \"code\": \"no_expert\"}}");
    assert_int_equal(p.status, 422);
    ng_buf_clear(&b);
}

static void the_queue_is_bounded_and_in_order(void **state) {
    (void)state;
    ng_queue q;
    int items[5];
    assert_int_equal(ng_queue_init(&q, 3), NG_OK);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 3; i++) assert_true(ng_queue_push(&q, &items[i]));
        assert_false(ng_queue_push(&q, &items[4]));
        for (int i = 0; i < 2; i++) assert_ptr_equal(ng_queue_pop(&q), &items[i]);
        assert_ptr_equal(ng_queue_pop(&q), &items[2]);
    }
    assert_true(ng_queue_push(&q, &items[0]));
    ng_queue_stop(&q);
    assert_false(ng_queue_push(&q, &items[1]));
    assert_ptr_equal(ng_queue_pop(&q), &items[0]); /* what waited is still handed out */
    assert_null(ng_queue_pop(&q));
    ng_queue_clear(&q);
}

static void metrics_are_prometheus_text(void **state) {
    (void)state;
    static ng_metrics m;
    static const char *const names[] = {"/a", "other"};
    ng_buf b = ng_buf_init(1 << 20);
    ng_metrics_request(&m, 0, 200, 0.003);
    ng_metrics_request(&m, 0, 200, 100);
    ng_metrics_request(&m, 1, 418, 0.001);
    ng_metrics_request(&m, 99, 200, 0.001); /* out of range: dropped, not written elsewhere */
    ng_metrics_write(&b, &m, names, 2);
    assert_int_equal(b.status, NG_OK);
    assert_non_null(strstr(b.data, "nanogrid_requests_total{endpoint=\"/a\",code=\"200\"} 2\n"));
    assert_non_null(strstr(b.data, "nanogrid_requests_total{endpoint=\"other\",code=\"other\"} 1\n"));
    assert_non_null(strstr(b.data, "nanogrid_request_seconds_bucket{endpoint=\"/a\",le=\"0.005\"} 1\n"));
    assert_non_null(strstr(b.data, "nanogrid_request_seconds_bucket{endpoint=\"/a\",le=\"60\"} 1\n"));
    assert_non_null(strstr(b.data, "nanogrid_request_seconds_bucket{endpoint=\"/a\",le=\"+Inf\"} 2\n"));
    assert_non_null(strstr(b.data, "nanogrid_request_seconds_count{endpoint=\"/a\"} 2\n"));
    ng_buf_clear(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_checked_before_reading), cmocka_unit_test(numbers_have_ranges),
        cmocka_unit_test(nothing_is_silently_ignored),       cmocka_unit_test(messages_are_typed),
        cmocka_unit_test(chat_becomes_a_struct),             cmocka_unit_test(tasks_take_their_own_parameters),
        cmocka_unit_test(memory_may_run_out),                cmocka_unit_test(problems_have_openai_shape),
        cmocka_unit_test(the_queue_is_bounded_and_in_order), cmocka_unit_test(metrics_are_prometheus_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
