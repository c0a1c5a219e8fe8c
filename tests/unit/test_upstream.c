/* Tests of src/upstream: the breaker, the SSE reader, and the client against a scripted server that
 * answers, hangs, resets, fails and talks nonsense. */
#include "upstream/breaker.h"
#include "upstream/sse_reader.h"
#include <nanogrid/tools/upstream.h>

#include "core/clock.h"
#include <arpa/inet.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- a scripted server: one behaviour a connection, in order ------------------------------------ */

typedef struct server {
    int fd, port;
    const char *const *script; /* NULL-terminated */
    char last[8192];           /* the last request, whole */
    int n_served;
    pthread_t thread;
} server;

static void read_request(server *s, int fd) {
    size_t len = 0, want = SIZE_MAX;
    while (len < sizeof s->last - 1 && len < want) {
        ssize_t n = recv(fd, s->last + len, sizeof s->last - 1 - len, 0);
        if (n <= 0) break;
        len += (size_t)n;
        s->last[len] = 0;
        char *end = strstr(s->last, "\r\n\r\n"), *cl = strstr(s->last, "Content-Length: ");
        if (end && cl) want = (size_t)(end + 4 - s->last) + (size_t)atol(cl + 16);
    }
}

static void serve(int fd, const char *what) {
    char head[256];
    if (!strcmp(what, "reset")) {
        struct linger l = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    } else if (!strcmp(what, "hang")) {
        char c;
        while (recv(fd, &c, 1, 0) > 0) {} /* until the client gives up */
    } else {
        const char *status = "200 OK", *body = what;
        if (*what == '!') status = what + 1, body = strchr(what, '|') + 1;
        int n = snprintf(head, sizeof head, "HTTP/1.1 %.*s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                         (int)strcspn(status, "|"), status, strlen(body));
        send(fd, head, (size_t)n, MSG_NOSIGNAL);
        send(fd, body, strlen(body), MSG_NOSIGNAL);
    }
    close(fd);
}

static void *server_main(void *arg) {
    server *s = arg;
    for (size_t i = 0; s->script[i]; i++) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0) return NULL;
        read_request(s, fd);
        s->n_served++;
        serve(fd, s->script[i]);
    }
    return NULL;
}

static void server_start(server *s, const char *const *script) {
    *s = (server){.script = script, .fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_int_equal(bind(s->fd, (void *)&a, sizeof a), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (void *)&a, &len), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_stop(server *s) {
    shutdown(s->fd, SHUT_RDWR);
    close(s->fd);
    pthread_join(s->thread, NULL);
}

/* ---- asking --------------------------------------------------------------------------------------- */

#define SAYS(text) "{\"choices\": [{\"message\": {\"content\": \"" text "\"}, \"finish_reason\": \"stop\"}], " \
                   "\"usage\": {\"prompt_tokens\": 10, \"completion_tokens\": 4}}"

typedef struct fixture {
    server server;
    ng_tier tier;
    ng_answer *answer;
    ng_error err;
    ng_message message;
    ng_part part;
    ng_tier_request req;
} fixture;

static void begin(fixture *f, const char *const *script, int fails, ng_task task, const char *text) {
    *f = (fixture){0};
    server_start(&f->server, script);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/", f->server.port);
    ng_upstream_config c = {.name = "up", .base_url = url, .model = "m", .allowed_fails = fails, .cooldown_ms = 150,
                            .timeout_ms = 300, .connect_timeout_ms = 300, .prompt_per_1m = 1, .completion_per_1m = 10};
    assert_int_equal(ng_upstream_open(&f->tier, &c, &f->err), NG_OK);
    f->part = (ng_part){NG_PART_TEXT, text, strlen(text)};
    f->message = (ng_message){"user", &f->part, 1};
    f->req = (ng_tier_request){.task = task, .messages = &f->message, .n_messages = 1};
}

static ng_status ask(fixture *f) {
    ng_answer_free(f->answer);
    f->err = (ng_error){0};
    assert_int_equal(ng_answer_new(&f->answer), NG_OK);
    f->answer->task = f->req.task;
    return f->tier.submit(f->tier.self, &f->req, f->answer, &f->err);
}

static void end(fixture *f) {
    f->tier.close(f->tier.self);
    ng_answer_free(f->answer);
    server_stop(&f->server);
}

static void answers_with_cost_and_tokens(void **state) {
    (void)state;
    fixture f;
    begin(&f, (const char *const[]){SAYS("hello"), NULL}, 2, NG_TASK_GENERATE, "hi \"there\"");
    f.req.params.has_generate = true;
    f.req.params.generate = ng_generate_options_default();
    f.req.params.generate.seed = UINT64_MAX;
    assert_int_equal(ask(&f), NG_OK);
    assert_string_equal(f.answer->answer, "hello");
    assert_string_equal(f.answer->finish, "stop");
    assert_true(f.answer->prompt_tokens == 10 && f.answer->completion_tokens == 4);
    assert_true(fabs(f.answer->cost_usd - 50e-6) < 1e-12 && isnan(f.answer->confidence));
    assert_non_null(strstr(f.server.last, "POST /v1/chat/completions HTTP/1.1"));
    assert_non_null(strstr(f.server.last, "{\"role\": \"user\", \"content\": \"hi \\\"there\\\"\"}"));
    assert_non_null(strstr(f.server.last, "\"seed\": 9007199254740991}"));
    end(&f);
}

static void retries_once(void **state) {
    (void)state;
    static const char *const first[] = {"reset", "!500 Oops|{}", "no json", "{\"choices\": []}",
                                        "hang",  "!429 Slow|{}"};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        fixture f;
        begin(&f, (const char *const[]){first[i], SAYS("ok"), NULL}, 5, NG_TASK_GENERATE, "x");
        assert_int_equal(ask(&f), NG_OK);
        assert_string_equal(f.answer->answer, "ok");
        assert_int_equal(f.server.n_served, 2);
        end(&f);
    }
}

static void says_what_was_wrong(void **state) {
    (void)state;
    static const struct {
        const char *reply, *says;
        ng_status code;
        int n_served;
    } rows[] = {
        {"!400 Bad|{\"error\": {\"message\": \"too long\"}}", "HTTP 400: too long", NG_ENET, 1},
        {"!401 No|{\"error\": {\"message\": \"bad key\"}}", "HTTP 401: bad key", NG_EDENIED, 1},
        {"!500 No|oops", "HTTP 500: oops", NG_ENET, 2},
        {"hang", "upstream up: http://127.0.0.1", NG_ETIMEOUT, 2},
        {"not json", "unreadable reply", NG_ENET, 2},
        {"reset", "127.0.0.1", NG_ENET, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fixture f;
        begin(&f, (const char *const[]){rows[i].reply, rows[i].reply, NULL}, 9, NG_TASK_GENERATE, "x");
        assert_int_equal(ask(&f), rows[i].code);
        if (!strstr(f.err.text, rows[i].says)) fail_msg("'%s' does not say '%s'", f.err.text, rows[i].says);
        assert_int_equal(f.server.n_served, rows[i].n_served);
        end(&f);
    }
}

static void breaker_opens_and_probes(void **state) {
    (void)state;
    fixture f;
    begin(&f, (const char *const[]){"!500 a|", "!500 b|", "!500 c|", SAYS("back"), SAYS("still"), NULL}, 2,
          NG_TASK_GENERATE, "x");
    const char *why;
    assert_true(f.tier.healthy(f.tier.self, &why));
    assert_int_equal(ask(&f), NG_ENET); /* two attempts, two failures: open */
    assert_false(f.tier.healthy(f.tier.self, &why));
    assert_non_null(strstr(why, "breaker"));
    assert_int_equal(ask(&f), NG_EBUSY);
    assert_int_equal(f.server.n_served, 2); /* not asked */
    usleep(200000);
    assert_true(f.tier.healthy(f.tier.self, &why));
    assert_int_equal(ask(&f), NG_EBUSY); /* the probe fails, the second attempt is refused */
    assert_int_equal(f.server.n_served, 3);
    usleep(200000);
    assert_int_equal(ask(&f), NG_OK);
    assert_int_equal(ask(&f), NG_OK);
    end(&f);
}

static void deadline_bounds_everything(void **state) {
    (void)state;
    fixture f;
    begin(&f, (const char *const[]){"hang", "hang", NULL}, 9, NG_TASK_GENERATE, "x");
    double t0 = ng_clock_ms();
    f.req.deadline_ms = (int64_t)t0 + 120;
    assert_int_equal(ask(&f), NG_ETIMEOUT);
    assert_true(ng_clock_ms() - t0 < 280);
    assert_int_equal(ask(&f), NG_ETIMEOUT); /* passed already: nobody is asked */
    end(&f);
}

static bool collect(void *ctx, const ng_token_event *e) {
    ng_buf_put(ctx, e->text, e->len);
    return !strstr(((ng_buf *)ctx)->data, "STOP");
}

#define CHUNK(t) "data: {\"choices\": [{\"delta\": {\"content\": \"" t "\"}}]}\n\n"

static void streams(void **state) {
    (void)state;
    fixture f;
    ng_buf got = ng_buf_init(1000);
    begin(&f, (const char *const[]){": ping\n\n" CHUNK("one ") CHUNK("two") "data: {\"choices\": [], \"usage\": "
                                    "{\"prompt_tokens\": 3, \"completion_tokens\": 2}}\n\ndata: [DONE]\n\n",
                                    CHUNK("cut "), CHUNK("a STOP") CHUNK("b") "data: [DONE]\n\n", NULL}, 9, NG_TASK_GENERATE, "x");
    f.req.on_token = collect;
    f.req.on_token_ctx = &got;
    assert_int_equal(ask(&f), NG_OK);
    assert_string_equal(got.data, "one two");
    assert_string_equal(f.answer->answer, "one two");
    assert_int_equal(f.answer->completion_tokens, 2);
    ng_buf_reset(&got);
    assert_int_equal(ask(&f), NG_ENET); /* broken off after a token was told: no second attempt */
    assert_string_equal(got.data, "cut ");
    assert_int_equal(f.server.n_served, 2);
    ng_buf_reset(&got);
    assert_int_equal(ask(&f), NG_ECANCELLED);
    ng_buf_clear(&got);
    end(&f);
}

static void tasks_are_asked_and_read(void **state) {
    (void)state;
    fixture f;
    static const char *const labels[] = {"freeze_account", "balance"};
    begin(&f,
          (const char *const[]){SAYS("Balance."), SAYS("none"), SAYS("something else"), SAYS("something else"), NULL},
          9, NG_TASK_CLASSIFY, "how much");
    f.req.params.labels = labels;
    f.req.params.n_labels = 2;
    assert_int_equal(ask(&f), NG_OK);
    assert_string_equal(f.answer->label, "balance");
    assert_non_null(strstr(f.server.last, "freeze_account, balance"));
    assert_int_equal(ask(&f), NG_OK);
    assert_true(!f.answer->label && !f.answer->in_scope);
    assert_int_equal(ask(&f), NG_EFORMAT);
    assert_non_null(strstr(f.err.text, "something else"));
    end(&f);

    begin(&f,
          (const char *const[]){SAYS("```json\\n[{\\\"label\\\": \\\"email\\\", \\\"text\\\": \\\"a@b.co\\\"}, "
                                     "{\\\"label\\\": \\\"person\\\", \\\"text\\\": \\\"Nobody\\\"}]\\n```"),
                                NULL},
          9, NG_TASK_EXTRACT, "mail a@b.co");
    assert_int_equal(ask(&f), NG_OK);
    assert_int_equal(f.answer->n_entities, 1);
    assert_true(f.answer->entities[0].start == 5 && f.answer->entities[0].end == 11);
    end(&f);

    begin(&f,
          (const char *const[]){SAYS("{\\\"toxicity\\\": 0.9, \\\"hate\\\": 0.1, \\\"injection\\\": 0}"),
                                SAYS("{\\\"toxicity\\\": 7}"), NULL},
          9, NG_TASK_MODERATE, "x");
    assert_int_equal(ask(&f), NG_OK);
    assert_true(f.answer->flagged && f.answer->n_categories == 3);
    assert_int_equal(ask(&f), NG_EFORMAT);
    end(&f);

    begin(&f, (const char *const[]){NULL}, 9, NG_TASK_EMBED, "x");
    assert_int_equal(ask(&f), NG_EUNSUPPORTED);
    f.req.task = NG_TASK_GENERATE;
    f.part.type = NG_PART_IMAGE;
    assert_int_equal(ask(&f), NG_EUNSUPPORTED);
    assert_non_null(strstr(f.err.text, "image"));
    end(&f);
}

static void configuration_is_checked(void **state) {
    (void)state;
    ng_tier t;
    ng_error err = {0};
    ng_upstream_config c = {.name = "up", .base_url = "ftp://x"};
    assert_int_equal(ng_upstream_open(&t, &c, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "http://"));
    unsetenv("NG_TEST_KEY");
    c = (ng_upstream_config){.name = "up", .base_url = "http://127.0.0.1:9/v1", .api_key_env = "NG_TEST_KEY"};
    assert_int_equal(ng_upstream_open(&t, &c, NULL), NG_OK);
    const char *why;
    assert_false(t.healthy(t.self, &why));
    setenv("NG_TEST_KEY", "k", 1);
    assert_true(t.healthy(t.self, &why));
    t.close(t.self);
}

static void breaker_lets_one_probe_through(void **state) {
    (void)state;
    ng_breaker b;
    ng_breaker_init(&b, 1, 100);
    assert_true(ng_breaker_allow(&b, 0));
    ng_breaker_report(&b, false, 0);
    assert_false(ng_breaker_allow(&b, 99));
    assert_true(ng_breaker_peek(&b, 100) && ng_breaker_allow(&b, 100));
    assert_false(ng_breaker_allow(&b, 100)); /* one probe at a time */
    ng_breaker_forget(&b);
    assert_true(ng_breaker_allow(&b, 101));
    ng_breaker_report(&b, true, 101);
    assert_true(ng_breaker_allow(&b, 101) && ng_breaker_allow(&b, 101));
    ng_breaker_clear(&b);
}

static ng_status join_event(void *ctx, const char *data, size_t len) {
    ng_buf_putc(ctx, '[');
    ng_buf_put(ctx, data, len);
    return ng_buf_putc(ctx, ']');
}

static void sse_in_any_pieces(void **state) {
    (void)state;
    static const char text[] = ": c\r\ndata: a\r\ndata:b\n\nevent: x\ndata\n\rdata: z\r\r\n\nid: 1\n\ndata: tail";
    for (size_t step = 1; step < sizeof text; step++) {
        ng_buf out = ng_buf_init(100);
        ng_sse_reader r;
        ng_sse_reader_init(&r, join_event, &out);
        for (size_t i = 0; i < sizeof text - 1; i += step)
            assert_int_equal(ng_sse_reader_put(&r, text + i, sizeof text - 1 - i < step ? sizeof text - 1 - i : step),
                             NG_OK);
        assert_string_equal(out.data, "[a\nb][][z]");
        ng_sse_reader_clear(&r);
        ng_buf_clear(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_with_cost_and_tokens), cmocka_unit_test(retries_once),
        cmocka_unit_test(says_what_was_wrong),          cmocka_unit_test(breaker_opens_and_probes),
        cmocka_unit_test(deadline_bounds_everything),   cmocka_unit_test(streams),
        cmocka_unit_test(tasks_are_asked_and_read),     cmocka_unit_test(configuration_is_checked),
        cmocka_unit_test(breaker_lets_one_probe_through), cmocka_unit_test(sse_in_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
