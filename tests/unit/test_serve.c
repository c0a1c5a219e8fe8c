/* Tests of the API over HTTP with a grid of fake tiers (tests/support/fake_tier.h): shapes, headers,
 * streams, errors before and after the first byte, Host and Origin, changing the grid under way. */
#include <nanogrid/tools/serve.h>

#include "fake_tier.h"
#include "fault.h"
#include "test_home.h"

#include <arpa/inet.h>
#include <math.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static const char yaml[] =
    "embedded: false\nmodels: {m: {path: m.gguf}}\nrouter: {model: router-test}\ncache: {exact: 0MB}\n"
    "experts:\n  - {name: intent, task: classify, model: m}\n  - {name: finder, task: extract}\n"
    "  - {name: chat, task: generate, model: m}\n"
    "upstreams:\n  - {name: cloud, base_url: \"http://x/v1\", model: big}\n";

static ng_grid *open_grid(void) {
    ng_grid *g;
    ng_error err = {0};
    ng_grid_options o = {.open_upstream = fake_open_upstream, .no_records = true};
    if (ng_grid_open_text(&g, &o, yaml, "test.yaml", &fake_hooks, &err)) fail_msg("%s", err.text);
    return g;
}

static ng_serve *start(ng_grid *g, const ng_serve_options *more) {
    ng_serve *s;
    ng_error err = {0};
    ng_serve_options o = more ? *more : (ng_serve_options){0};
    o.grid = g;
    if (!o.listen) o.listen = "127.0.0.1:0";
    if (!o.n_workers) o.n_workers = 2;
    if (ng_serve_open(&s, &o, &err)) fail_msg("%s", err.text);
    return s;
}

static int fresh(void **state) {
    (void)state;
    fake_reset();
    *fake_get("router/task") = (fake){.label = "classify", .confidence = 0.95};
    *fake_get("router/expert") = (fake){.label = "intent", .confidence = 0.9};
    *fake_get("intent") = (fake){.label = "greet", .confidence = 0.9};
    *fake_get("finder") = (fake){.confidence = NAN, .entity = "email"};
    *fake_get("chat") = (fake){.confidence = NAN, .n_tokens = 3};
    *fake_get("cloud") = (fake){.confidence = NAN, .text = "from above", .n_tokens = 0};
    fake_get("signal/pii")->entity = "email";
    return 0;
}

static int make_home(void **state) {
    if (test_home_make(state)) return 1;
    return system("mkdir -p $NANOGRID_HOME/packages/router-test");
}

/* One request on its own connection; the whole answer in a static buffer. */
static const char *ask(const ng_serve *s, const char *line, const char *headers, const char *body) {
    static char text[1 << 18];
    char head[2048];
    size_t len = 0;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)atoi(strrchr(ng_serve_address(s), ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    int n = snprintf(head, sizeof head, "%s HTTP/1.1\r\n%s%sConnection: close\r\n", line,
                     strcasestr(headers, "host:") ? "" : "Host: localhost\r\n", headers);
    n += snprintf(head + n, sizeof head - (size_t)n, body ? "Content-Length: %zu\r\n\r\n" : "\r\n",
                  body ? strlen(body) : 0);
    assert_int_equal(send(fd, head, (size_t)n, MSG_NOSIGNAL), n);
    if (body) assert_int_equal(send(fd, body, strlen(body), MSG_NOSIGNAL), (ssize_t)strlen(body));
    for (ssize_t got; len < sizeof text - 1 && (got = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0;)
        len += (size_t)got;
    text[len] = 0;
    close(fd);
    return text;
}

static json_t *json_of(const char *answer) {
    const char *body = strstr(answer, "\r\n\r\n");
    json_t *j = body ? json_loads(body + 4, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!j) fail_msg("no JSON in: %.500s", answer);
    return j;
}

#define EXPECT(text, what)                                                                         \
    do {                                                                                           \
        const char *got_ = (text);                                                                 \
        if (!strcasestr(got_, what)) fail_msg("no %s in: %.900s", what, got_);                     \
    } while (0)

#define CHAT(model, more)                                                                                              \
    "{\"model\": \"" model "\", \"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]" more "}"

static void chat_has_openai_shape(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    ng_serve *s = start(g, NULL);
    const char *got = ask(s, "POST /v1/chat/completions", "", CHAT("chat", ", \"n\": 2"));
    EXPECT(got, "200 OK");
    EXPECT(got, "x-nanogrid-expert: chat");
    EXPECT(got, "x-nanogrid-tier: nano");
    EXPECT(got, "x-nanogrid-confidence: null");
    EXPECT(got, "x-nanogrid-decision-id: ");
    EXPECT(got, "x-nanogrid-overhead-us: ");
    json_t *j = json_of(got);
    const json_t *choices = json_object_get(j, "choices");
    assert_string_equal(json_string_value(json_object_get(j, "object")), "chat.completion");
    assert_int_equal(json_array_size(choices), 2);
    const json_t *message = json_object_get(json_array_get(choices, 1), "message");
    assert_string_equal(json_string_value(json_object_get(message, "content")), "t0 t1 t2 ");
    const json_t *usage = json_object_get(j, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "prompt_tokens")), 10);
    assert_int_equal(json_integer_value(json_object_get(usage, "completion_tokens")), 6);
    assert_int_equal(json_integer_value(json_object_get(usage, "total_tokens")), 16);
    assert_null(json_object_get(j, "nanogrid"));
    json_decref(j);
    got = ask(s, "POST /v1/chat/completions", "x-nanogrid-debug: true\r\n", CHAT("auto", ", \"temperature\": 0.5"));
    j = json_of(got); /* the router says classify: the label is the content */
    message = json_object_get(json_array_get(json_object_get(j, "choices"), 0), "message");
    assert_string_equal(json_string_value(json_object_get(message, "content")), "greet");
    assert_string_equal(json_string_value(json_object_get(json_object_get(j, "nanogrid"), "task")), "classify");
    assert_non_null(strstr(json_string_value(json_array_get(json_object_get(j, "warnings"), 0)), "temperature"));
    json_decref(j);
    ng_serve_close(s, 1000);
    ng_grid_close(g);
}

static void streams_end_in_done(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    ng_serve *s = start(g, NULL);
    const char *got = ask(s, "POST /v1/chat/completions", "",
                          CHAT("chat", ", \"stream\": true, \"stream_options\": {\"include_usage\": true}"));
    EXPECT(got, "content-type: text/event-stream");
    EXPECT(got, "x-nanogrid-expert: chat");
    EXPECT(got, "x-nanogrid-tier: nano");
    EXPECT(got, "x-nanogrid-decision-id: ");
    assert_null(strstr(got, "x-nanogrid-confidence")); /* known at the end: in the last chunk */
    EXPECT(got, "\"delta\": {\"role\": \"assistant\", \"content\": \"\"}");
    EXPECT(got, "\"delta\": {\"content\": \"t1 \"}");
    EXPECT(got, "\"finish_reason\": \"stop\"");
    EXPECT(got, "\"usage\": {\"prompt_tokens\": 10, \"completion_tokens\": 3, \"total_tokens\": 13, "
                "\"prompt_tokens_details\": {\"cached_tokens\": 0}}");
    const char *decision = strstr(got, "\"nanogrid\": {\"expert\": \"chat\", \"tier\": \"nano\", \"confidence\": null");
    const char *end = strstr(got, "data: [DONE]\n\n");
    assert_true(decision && end && decision < end);
    assert_null(strstr(decision, "chat.completion.chunk")); /* the last event before [DONE] */

    /* an answer that was not streamed token by token is one piece */
    fake_get("router/task")->label = "generate";
    got = ask(s, "POST /v1/chat/completions", "", CHAT("cloud", ", \"stream\": true"));
    EXPECT(got, "\"content\": \"from above\"");
    EXPECT(got, "x-nanogrid-expert: cloud");
    EXPECT(got, "data: [DONE]");
    ng_serve_close(s, 1000);
    ng_grid_close(g);
}

static void stream_errors_have_a_status_or_an_event(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    ng_serve *s = start(g, NULL);
    *fake_get("chat") = (fake){.confidence = NAN, .fails = NG_ELIMIT};
    const char *got = ask(s, "POST /v1/chat/completions", "", CHAT("chat", ", \"stream\": true"));
    EXPECT(got, " 400 ");
    EXPECT(got, "limit_exceeded");
    assert_null(strstr(got, "text/event-stream"));
    *fake_get("chat") = (fake){.confidence = NAN, .n_tokens = 40, .fails = NG_ENET, .fails_after = 38};
    got = ask(s, "POST /v1/chat/completions", "", CHAT("chat", ", \"stream\": true"));
    EXPECT(got, " 200 ");
    EXPECT(got, "data: {\"error\": {\"message\": ");
    assert_null(strstr(got, "[DONE]"));
    ng_serve_close(s, 1000);
    ng_grid_close(g);
}

static void tasks_give_results(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    ng_serve *s = start(g, NULL);
    const char *got = ask(s, "POST /v1/classify", "X-Request-Id: my-id-7\r\n", "{\"input\": \"hello\"}");
    EXPECT(got, "x-request-id: my-id-7");
    EXPECT(got, "x-nanogrid-confidence: 0.9");
    json_t *j = json_of(got), *first = json_array_get(json_object_get(j, "results"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "label")), "greet");
    assert_string_equal(json_string_value(json_object_get(first, "task")), "classify");
    json_decref(j);
    got = ask(s, "POST /v1/extract", "", "{\"input\": [\"a@b\", \"none\"], \"model\": \"finder\"}");
    assert_null(strcasestr(got, "x-nanogrid-expert")); /* arrays carry it in each result */
    j = json_of(got);
    assert_int_equal(json_array_size(json_object_get(j, "results")), 2);
    first = json_array_get(json_object_get(j, "results"), 0);
    assert_int_equal(json_array_size(json_object_get(first, "entities")), 1);
    json_decref(j);
    got = ask(s, "POST /v1/route", "", "{\"input\": \"hello\"}");
    j = json_of(got);
    assert_string_equal(json_string_value(json_object_get(j, "expert")), "intent");
    assert_non_null(json_object_get(j, "decision_id"));
    json_decref(j);
    got = ask(s, "POST /v1/moderations", "x-nanogrid-privacy: local\r\n", "{\"input\": \"hello\"}");
    EXPECT(got, " 422 ");
    EXPECT(got, "no_expert");
    ng_serve_close(s, 1000);
    ng_grid_close(g);
}

/* Tried on the thread that read it; what turns out to wait begins anew elsewhere and is answered once. */
static void short_answers_are_tried_at_once(void **state) {
    (void)state;
    static const char *const small[] = {"router/task", "router/expert", "signal/pii", "intent"};
    for (size_t i = 0; i < 4; i++) fake_get(small[i])->at_once = true;
    ng_grid *g = open_grid();
    ng_serve *s = start(g, NULL);
    EXPECT(ask(s, "POST /v1/classify", "", "{\"input\": \"hello\"}"), "greet");
    assert_int_equal(fake_get("intent")->calls, 1);
    fake_get("intent")->out_of_scope = true;
    fake_get("cloud")->label = "from far";
    const char *got = ask(s, "POST /v1/classify", "", "{\"input\": \"hello\"}");
    EXPECT(got, "from far");
    assert_null(strcasestr(strcasestr(got, "x-nanogrid-expert:") + 1, "x-nanogrid-expert:"));
    assert_true(fake_get("intent")->calls == 3 && fake_get("cloud")->calls == 1);
    got = ask(s, "POST /v1/classify", "", "{\"input\": [\"hello\", \"again\"]}");
    EXPECT(got, "from far");
    assert_int_equal(ng_grid_get_stats(g).requests, 4);
    ng_serve_close(s, 1000);
    ng_grid_close(g);
}

static void refusals_name_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *line, *headers, *body, *status, *what;
    } rows[] = {
        {"GET /nowhere", "", NULL, " 404 ", "unknown_path"},
        {"POST /v1/responses", "", "{}", " 501 ", "not_supported"},
        {"GET /v1/classify", "", NULL, " 405 ", "Allow: POST"},
        {"DELETE /health", "", NULL, " 405 ", "Allow: GET, HEAD"},
        {"POST /v1/classify", "Content-Type: text/plain\r\n", "{}", " 415 ", "content-type"},
        {"POST /v1/classify", "Content-Encoding: gzip\r\n", "{}", " 415 ", "content-encoding"},
        {"POST /v1/classify", "", "{\"input\": \"x\", \"model\": \"nobody\"}", " 404 ", "model_not_found"},
        {"POST /v1/classify", "", "{\"input\": \"x\", \"model\": \"finder\"}", " 400 ", "wrong_task"},
        {"POST /v1/classify", "", "{\"input\": \"\xFF\"}", " 400 ", "invalid_utf8"},
        {"POST /v1/classify", "x-nanogrid-privacy: secret\r\n", "{\"input\": \"x\"}", " 400 ", "x-nanogrid-privacy"},
        {"POST /v1/classify", "x-nanogrid-max-cost-usd: -1\r\n", "{\"input\": \"x\"}", " 400 ",
         "x-nanogrid-max-cost-usd"},
        {"POST /v1/classify", "x-nanogrid-max-cost-usd: nan\r\n", "{\"input\": \"x\"}", " 400 ",
         "x-nanogrid-max-cost-usd"},
        {"POST /v1/classify", "x-nanogrid-deadline-ms: 0\r\n", "{\"input\": \"x\"}", " 400 ", "x-nanogrid-deadline-ms"},
        {"POST /v1/classify", "x-nanogrid-deadline-ms: 5s\r\n", "{\"input\": \"x\"}", " 400 ",
         "x-nanogrid-deadline-ms"},
        {"POST /v1/classify", "x-nanogrid-debug: 1\r\n", "{\"input\": \"x\"}", " 400 ", "x-nanogrid-debug"},
        {"POST /v1/classify", "x-request-id: a b\r\n", "{\"input\": \"x\"}", " 400 ", "x-request-id"},
        {"GET /health", "Host: evil.example\r\n", NULL, " 403 ", "foreign_host"},
        {"GET /health", "Host: 127.0.0.1.evil.example\r\n", NULL, " 403 ", "foreign_host"},
        {"GET /health", "Host: localhost.evil.example:80\r\n", NULL, " 403 ", "foreign_host"},
        {"GET /health", "Host: LOCALHOST:1234\r\n", NULL, " 200 ", "ok"},
        {"GET /health", "Host: [::1]:1234\r\n", NULL, " 200 ", "ok"},
        {"GET /health", "Host: 127.1.2.3\r\n", NULL, " 200 ", "ok"},
        {"GET /health", "Origin: http://evil.example\r\n", NULL, " 403 ", "foreign_origin"},
        {"GET /health", "Origin: null\r\n", NULL, " 403 ", "foreign_origin"},
        {"GET /health", "Host: localhost:80\r\nOrigin: http://localhost:81\r\n", NULL, " 403 ", "foreign_origin"},
        {"GET /health", "Host: localhost:80\r\nOrigin: http://localhost:80\r\n", NULL, " 200 ", "ok"},
        {"GET /v1/decisions?n=0", "", NULL, " 400 ", "\"n\""},
        {"GET /v1/decisions?n=1001", "", NULL, " 400 ", "\"n\""},
        {"GET /v1/decisions?n=ten", "", NULL, " 400 ", "\"n\""},
        {"GET /v1/models/nobody", "", NULL, " 404 ", "model_not_found"},
        {"GET /v1/models/intent", "", NULL, " 200 ", "\"task\": \"classify\""},
        {"GET /v1/models/a/b", "", NULL, " 404 ", "unknown_path"},
        {"GET //health", "", NULL, " 404 ", "unknown_path"},
        {"GET /health/", "", NULL, " 404 ", "unknown_path"},
    };
    ng_grid *g = open_grid();
    ng_serve *s = start(g, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *got = ask(s, rows[i].line, rows[i].headers, rows[i].body);
        if (!strstr(got, rows[i].status) || !strcasestr(got, rows[i].what))
            fail_msg("%s %s: no%sor %s in: %.500s", rows[i].line, rows[i].headers, rows[i].status, rows[i].what, got);
    }
    EXPECT(ask(s, "GET /metrics", "", NULL), "nanogrid_requests_total{endpoint=\"/v1/classify\",code=\"404\"} 1\n");
    ng_serve_close(s, 1000);
    ng_grid_close(g);
}

static void the_page_has_no_foreign_part(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    ng_serve *s = start(g, NULL);
    const char *got = ask(s, "GET /", "", NULL);
    EXPECT(got, "content-type: text/html");
    EXPECT(got, "default-src 'none'");
    EXPECT(got, "</html>");
    assert_null(strstr(got, "<script src"));
    assert_null(strstr(got, "<link rel=\"stylesheet"));
    assert_null(strstr(got, "innerHTML"));
    ng_serve_close(s, 1000);
    ng_grid_close(g);
}

static void addresses_are_safe_by_default(void **state) {
    (void)state;
    static const struct {
        const char *listen;
        bool insecure;
        ng_status status;
    } rows[] = {
        {"0.0.0.0:0", false, NG_EDENIED},      {"0.0.0.0:0", true, NG_OK},
        {"[::]:0", false, NG_EDENIED},         {"localhost:0", false, NG_OK},
        {"8080", false, NG_EINVALID},          {":8080", false, NG_EINVALID},
        {"127.0.0.1:", false, NG_EINVALID},    {"127.0.0.1:65536", false, NG_EINVALID},
        {"127.0.0.1:80x", false, NG_EINVALID}, {"::1:0", false, NG_EINVALID},
        {"[::1:0", false, NG_EINVALID},        {"127.evil:0", false, NG_EINVALID},
    };
    ng_grid *g = open_grid();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ng_serve *s;
        ng_error err = {0};
        ng_serve_options o = {.grid = g, .listen = rows[i].listen, .insecure_listen = rows[i].insecure, .n_workers = 1};
        ng_status got = ng_serve_open(&s, &o, &err);
        if (got != rows[i].status) fail_msg("%s: %s %s", rows[i].listen, ng_status_name(got), err.text);
        ng_serve_close(s, 0);
    }
    ng_grid_close(g);
}

static void the_grid_can_be_changed(void **state) {
    (void)state;
    ng_grid *g = open_grid(), *next;
    ng_error err = {0};
    ng_grid_options o = {.no_records = true};
    ng_serve *s = start(g, NULL);
    ng_grid_close(g); /* the server keeps its own reference */
    EXPECT(ask(s, "GET /v1/models", "", NULL), "\"cloud\"");
    if (ng_grid_open_text(&next, &o, "embedded: false\nexperts:\n  - {name: finder2, task: extract}\n", "n.yaml",
                          &fake_hooks, &err))
        fail_msg("%s", err.text);
    ng_serve_set_grid(s, next);
    ng_grid_close(next);
    const char *got = ask(s, "GET /v1/models", "", NULL);
    EXPECT(got, "\"finder2\"");
    assert_null(strstr(got, "\"cloud\""));
    ng_serve_close(s, 1000);
}

static void memory_may_run_out(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    ng_answer *a;
    ng_request r;
    for (int i = 0; i < 2; i++) { /* what the grid loads on first use is not this test's business */
        ng_request_init(&r, NG_TASK_CLASSIFY);
        ng_request_set_text(&r, "warm", 4);
        assert_int_equal(ng_grid_ask(g, &r, &a, NULL), NG_OK);
        ng_answer_free(a);
    }
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_serve *s;
        ng_error err = {0};
        ng_serve_options o = {.grid = g, .listen = "127.0.0.1:0", .n_workers = 1};
        if (ng_serve_open(&s, &o, &err)) {
            assert_int_equal(err.code, NG_ENOMEM);
            continue;
        }
        bool whole = strstr(ask(s, "POST /v1/classify", "", "{\"input\": \"hello\", \"model\": \"intent\"}"),
                            "\"greet\"") != NULL;
        bool stream =
            strstr(ask(s, "POST /v1/chat/completions", "", CHAT("chat", ", \"stream\": true")), "[DONE]") != NULL;
        ng_serve_close(s, 1000);
        if (whole && stream) fault_passed();
    }
    assert_true(fault_sweep_rounds() >= 20);
    ng_grid_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(chat_has_openai_shape, fresh),
        cmocka_unit_test_setup(streams_end_in_done, fresh),
        cmocka_unit_test_setup(stream_errors_have_a_status_or_an_event, fresh),
        cmocka_unit_test_setup(tasks_give_results, fresh),
        cmocka_unit_test_setup(short_answers_are_tried_at_once, fresh),
        cmocka_unit_test_setup(refusals_name_what_is_wrong, fresh),
        cmocka_unit_test_setup(the_page_has_no_foreign_part, fresh),
        cmocka_unit_test_setup(addresses_are_safe_by_default, fresh),
        cmocka_unit_test_setup(the_grid_can_be_changed, fresh),
        cmocka_unit_test_setup(memory_may_run_out, fresh),
    };
    return cmocka_run_group_tests(tests, make_home, test_home_drop);
}
