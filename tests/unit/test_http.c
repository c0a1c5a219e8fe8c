/* Tests of the HTTP server by itself, with handlers of the test and raw sockets as clients: the bounded
 * queue, hang-ups, slow readers, pings, limits, framing, draining, and every allocation failing once. */
#include "serve/http.h"

#include "core/clock.h"
#include "fault.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

/* What the handlers saw; the paths say what they do. */
static struct {
    atomic_int running, finished, cancelled, timed_out, done, sent;
    atomic_bool release; /* /hold waits for it */
    atomic_long written; /* bytes that /flood got rid of */
} seen;

static void nap(int ms) { usleep((useconds_t)ms * 1000); }

static bool wait_for(atomic_int *what, int value, int ms) {
    for (double until = ng_clock_ms() + ms; ng_clock_ms() < until; nap(2))
        if (atomic_load(what) >= value) return true;
    return false;
}

static void reply_text(ng_http_x *x, int status, const char *text) {
    ng_buf b = ng_buf_init(4096);
    ng_buf_puts(&b, text);
    ng_http_set_header(x, "Content-Type", "text/plain");
    ng_http_reply(x, status, &b);
    ng_buf_clear(&b);
}

static ng_http_path admit(void *ctx, ng_http_x *x) {
    (void)ctx;
    if (!strcmp(ng_http_url(x), "/no")) {
        reply_text(x, 404, "no");
        return NG_HTTP_REFUSED;
    }
    if (!strncmp(ng_http_url(x), "/try", 4)) return NG_HTTP_TRY;
    return strcmp(ng_http_url(x), "/inline") ? NG_HTTP_QUEUE : NG_HTTP_INLINE;
}

static void hold(ng_http_x *x) {
    while (!ng_http_cancelled(x) && !atomic_load(&seen.release)) nap(1);
    if (ng_http_timed_out(x)) seen.timed_out++;
    if (ng_http_cancelled(x)) seen.cancelled++;
    reply_text(x, 200, "held");
}

static void flood(ng_http_x *x) {
    static char block[4096];
    memset(block, 'x', sizeof block);
    ng_http_stream_prepare(x);
    while (ng_http_stream_write(x, block, sizeof block)) seen.written += (long)sizeof block;
    if (ng_http_cancelled(x)) seen.cancelled++;
    ng_http_stream_end(x);
}

static void sleepy(ng_http_x *x) {
    ng_http_stream_prepare(x);
    while (!ng_http_cancelled(x) && !atomic_load(&seen.release)) nap(1);
    ng_http_stream_write(x, "end", 3);
    ng_http_stream_end(x);
}

static void handle(void *ctx, ng_http_x *x) {
    (void)ctx;
    const char *url = ng_http_url(x);
    size_t len;
    const char *body = ng_http_body(x, &len);
    seen.running++;
    if (!strcmp(url, "/hold")) hold(x);
    else if (!strcmp(url, "/flood")) flood(x);
    else if (!strcmp(url, "/sleepy")) sleepy(x);
    else if (!strcmp(url, "/torn")) ng_http_stream_prepare(x), ng_http_stream_write(x, "half", 4);
    else if (!strcmp(url, "/nothing")) {}
    else if (len) {
        ng_buf b = ng_buf_init(2 << 20);
        ng_buf_put(&b, body, len);
        ng_http_reply(x, 200, &b);
        ng_buf_clear(&b);
    } else reply_text(x, 200, "hello");
    seen.finished++;
}

static bool handle_at_once(void *ctx, ng_http_x *x) {
    (void)ctx;
    if (strcmp(ng_http_url(x), "/try/quick")) return false;
    reply_text(x, 200, "at once");
    return true;
}

static void refuse(void *ctx, ng_http_x *x, int status, const char *why) {
    (void)ctx;
    if (status == 503) ng_http_set_header(x, "Retry-After", "1");
    reply_text(x, status, why);
}

static void answering(void *ctx, ng_http_x *x) {
    (void)ctx;
    ng_http_set_header(x, "X-Last", "yes");
}

static void done(void *ctx, ng_http_x *x, bool sent) {
    (void)ctx, (void)x;
    seen.done++;
    seen.sent += sent;
}

static ng_http *start(ng_http_options o) {
    ng_http *h;
    ng_error err = {0};
    memset(&seen, 0, sizeof seen);
    o.host = "127.0.0.1";
    o.handlers = (ng_http_handlers){NULL, admit, handle, refuse, answering, done, handle_at_once};
    if (ng_http_open(&h, &o, &err)) fail_msg("%s", err.text);
    return h;
}

static int dial(ng_http *h) {
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(ng_http_port(h)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), small = 2048;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) fail_msg("connect");
    return fd;
}

static void say(int fd, const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        ssize_t n = send(fd, text + i, len - i, MSG_NOSIGNAL);
        if (n <= 0) return;
        i += (size_t)n;
    }
}

/* Sends a GET, or `body` as POST. */
static void ask(int fd, const char *path, const char *more, const char *body) {
    char head[512];
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", body ? "POST" : "GET", path, more);
    if (body) n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %zu\r\n", strlen(body));
    strcpy(head + n, "\r\n");
    say(fd, head, strlen(head));
    if (body) say(fd, body, strlen(body));
}

/* Reads until the peer closes or nothing comes for ms; into a static buffer. */
static const char *hear(int fd, int ms) {
    static char text[1 << 16];
    size_t len = 0;
    struct pollfd p = {fd, POLLIN, 0};
    while (len < sizeof text - 1 && poll(&p, 1, ms) > 0) {
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
        if (n <= 0) break;
        len += (size_t)n;
        text[len] = 0;
        const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
        if (end && length && strlen(end + 4) >= strtoul(length + 16, NULL, 10)) return text; /* whole */
    }
    text[len] = 0;
    return text;
}

#define EXPECT(text, what)                                                                         \
    do {                                                                                           \
        const char *got_ = (text);                                                                 \
        if (!strstr(got_, what)) fail_msg("no %s in: %.300s", what, got_);                         \
    } while (0)

static void answers_come_over_one_connection(void **state) {
    (void)state;
    ng_http *h = start((ng_http_options){0});
    int fd = dial(h);
    ask(fd, "/", "", NULL);
    EXPECT(hear(fd, 2000), "hello");
    ask(fd, "/inline", "", NULL);
    EXPECT(hear(fd, 2000), "X-Last: yes");
    ask(fd, "/try/quick", "", NULL);
    EXPECT(hear(fd, 2000), "at once");
    assert_int_equal(seen.running, 2); /* no worker had it */
    ask(fd, "/try/slow", "", NULL);
    EXPECT(hear(fd, 2000), "hello");
    ask(fd, "/no", "", "{\"a\": 1}");
    EXPECT(hear(fd, 2000), "404");
    ask(fd, "/echo", "", "some body");
    EXPECT(hear(fd, 2000), "some body");
    ask(fd, "/nothing", "", NULL);
    EXPECT(hear(fd, 2000), "500");
    static const char pieces[] =
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    say(fd, pieces, strlen(pieces));
    EXPECT(hear(fd, 2000), "abcde");
    close(fd);
    ng_http_close(h, 1000);
    assert_int_equal(seen.done, 8);
    assert_int_equal(seen.sent, 8);
}

static void a_full_queue_refuses_at_once(void **state) {
    (void)state;
    ng_http *h = start((ng_http_options){.n_workers = 1, .queue_max = 2});
    int busy[3], extra = dial(h);
    for (int i = 0; i < 3; i++) {
        busy[i] = dial(h);
        ask(busy[i], "/hold", "", NULL);
        if (i == 0) assert_true(wait_for(&seen.running, 1, 2000));
        else for (double until = ng_clock_ms() + 2000; ng_http_queued(h) < (size_t)i && ng_clock_ms() < until;) nap(1);
    }
    double begin = ng_clock_ms();
    ask(extra, "/hold", "", NULL);
    const char *got = hear(extra, 2000);
    assert_true(ng_clock_ms() - begin < 500);
    EXPECT(got, "503");
    EXPECT(got, "Retry-After: 1");
    ask(extra, "/inline", "", NULL); /* health and metrics still answer */
    EXPECT(hear(extra, 2000), "200");
    seen.release = true;
    for (int i = 0; i < 3; i++) {
        EXPECT(hear(busy[i], 2000), "held");
        close(busy[i]);
    }
    close(extra);
    ng_http_close(h, 1000);
}

static void a_hang_up_cancels(void **state) {
    (void)state;
    ng_http *h = start((ng_http_options){.n_workers = 1});
    int a = dial(h), b = dial(h);
    ask(a, "/hold", "", NULL);
    assert_true(wait_for(&seen.running, 1, 2000));
    ask(b, "/hold", "", NULL); /* waits in the queue */
    for (double until = ng_clock_ms() + 2000; !ng_http_queued(h) && ng_clock_ms() < until;) nap(1);
    close(b);
    double begin = ng_clock_ms();
    close(a);
    assert_true(wait_for(&seen.cancelled, 1, 1000));
    assert_true(ng_clock_ms() - begin < 500); /* not only at the watcher's next tick */
    assert_true(wait_for(&seen.done, 2, 2000));
    assert_int_equal(seen.running, 1); /* the queued one was never begun */
    int fd = dial(h);
    ask(fd, "/", "", NULL);
    EXPECT(hear(fd, 2000), "hello");
    close(fd);
    ng_http_close(h, 1000);
}

static void a_slow_reader_is_held_up_then_cut(void **state) {
    (void)state;
    ng_http *h = start((ng_http_options){.stream_max = 32768, .slow_ms = 300});
    int fd = dial(h);
    ask(fd, "/flood", "", NULL);
    assert_true(wait_for(&seen.cancelled, 1, 5000));
    assert_true(wait_for(&seen.finished, 1, 2000));
    assert_true(seen.written < 8 << 20); /* our buffer and the kernel's, no more */
    close(fd);
    fd = dial(h);
    ask(fd, "/flood", "", NULL);
    hear(fd, 100); /* takes 64 KiB, then goes away */
    close(fd);
    assert_true(wait_for(&seen.cancelled, 2, 5000));
    ng_http_close(h, 1000);
}

static void silent_streams_ping(void **state) {
    (void)state;
    ng_http *h = start((ng_http_options){.ping_ms = 100});
    int fd = dial(h);
    ask(fd, "/sleepy", "Connection: close\r\n", NULL);
    nap(1100);
    seen.release = true;
    const char *got = hear(fd, 2000), *first = strstr(got, ": ping\n\n");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, ": ping\n\n"));
    EXPECT(got, "end");
    EXPECT(got, "\r\n0\r\n\r\n");
    close(fd);
    fd = dial(h);
    ask(fd, "/torn", "", NULL); /* a handler that breaks off: the stream must not look whole */
    got = hear(fd, 2000);
    EXPECT(got, "half");
    assert_null(strstr(got, "\r\n0\r\n\r\n"));
    close(fd);
    ng_http_close(h, 1000);
}

static void time_limits_hold(void **state) {
    (void)state;
    ng_http *h = start((ng_http_options){.request_ms = 200, .receive_ms = 400});
    int fd = dial(h), slow = dial(h);
    ask(fd, "/hold", "", NULL);
    assert_true(wait_for(&seen.timed_out, 1, 3000));
    EXPECT(hear(fd, 2000), "200");
    double begin = ng_clock_ms();
    for (int i = 0; i < 60; i++) { /* a header line, drop by drop: every byte resets an idle timeout */
        char c = "GET / HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"[i];
        if (send(slow, &c, 1, MSG_NOSIGNAL) != 1) break;
        nap(50);
        struct pollfd p = {slow, POLLIN, 0};
        if (poll(&p, 1, 0) > 0) break;
    }
    assert_true(ng_clock_ms() - begin < 2000);
    close(slow);
    close(fd);
    ng_http_close(h, 1000);
}

static void bad_framing_is_refused_and_closed(void **state) {
    (void)state;
    static const struct {
        const char *head, *status;
    } rows[] = {
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", " 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", " 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", " 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         " 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", " 501 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", " 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", " 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n", " 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nabcde", " 400 "},
        {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", " 400 "},
        {"GET / HTTP/1.1\r\n\r\n", " 400 "},
    };
    ng_http *h = start((ng_http_options){.body_max = 1000});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = dial(h);
        say(fd, rows[i].head, strlen(rows[i].head));
        const char *got = hear(fd, 2000);
        if (!strstr(got, rows[i].status)) fail_msg("%s -> %.200s", rows[i].head, got);
        char c;
        struct pollfd p = {fd, POLLIN, 0};
        assert_true(poll(&p, 1, 2000) > 0 && recv(fd, &c, 1, 0) <= 0); /* closed: nothing can be smuggled behind */
        close(fd);
    }
    assert_int_equal(seen.running, 0);
    ng_http_close(h, 1000);
}

static void sizes_are_limited(void **state) {
    (void)state;
    static char big[20000];
    ng_http *h = start((ng_http_options){.body_max = 1000, .header_max = 2000});
    memset(big, 'a', sizeof big - 1);
    for (int n = 1000; n <= 1001; n++) {
        int fd = dial(h);
        big[n] = 0;
        ask(fd, "/echo", "", big);
        EXPECT(hear(fd, 2000), n > 1000 ? " 413 " : " 200 ");
        ask(fd, "/", "", NULL); /* the connection survives a refused body that was read */
        EXPECT(hear(fd, 2000), "hello");
        close(fd);
        char head[4096];
        fd = dial(h);
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: x\r\nX: %.*s\r\n\r\n", n > 1000 ? 1990 : 1900, big + 1002);
        say(fd, head, strlen(head));
        EXPECT(hear(fd, 2000), n > 1000 ? " 431 " : " 200 ");
        close(fd);
        big[n] = 'a';
    }
    int fd = dial(h);
    static const char huge[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n";
    say(fd, huge, strlen(huge));
    EXPECT(hear(fd, 2000), " 413 ");
    close(fd);
    ng_http_close(h, 1000);
}

static void closing_lets_running_requests_end(void **state) {
    (void)state;
    ng_http *h = start((ng_http_options){0});
    int fd = dial(h), idle = dial(h);
    ask(idle, "/", "", NULL);
    EXPECT(hear(idle, 2000), "hello");
    ask(fd, "/hold", "", NULL);
    assert_true(wait_for(&seen.running, 2, 2000));
    ng_http_drain(h);
    ask(idle, "/", "", NULL);
    EXPECT(hear(idle, 2000), " 503 ");
    double begin = ng_clock_ms();
    ng_http_close(h, 300); /* /hold never ends by itself: cancelled after 300 ms */
    assert_true(ng_clock_ms() - begin >= 290);
    assert_true(ng_clock_ms() - begin < 3000);
    assert_int_equal(seen.cancelled, 1);
    EXPECT(hear(fd, 1000), "held");
    close(fd);
    close(idle);
}

static void addresses_are_checked(void **state) {
    (void)state;
    ng_http *h, *again;
    ng_error err = {0};
    ng_http_options o = {.host = "example.com", .handlers = {NULL, admit, handle, refuse, answering, done}};
    assert_int_equal(ng_http_open(&h, &o, &err), NG_EINVALID);
    assert_null(h);
    h = start((ng_http_options){0});
    o.host = "127.0.0.1";
    o.port = ng_http_port(h);
    err = (ng_error){0};
    assert_int_equal(ng_http_open(&again, &o, &err), NG_EIO); /* taken */
    assert_non_null(strstr(err.text, "in use"));
    ng_http_close(h, 100);
}

static void memory_may_run_out(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_http *h;
        ng_error err = {0};
        ng_http_options o = {.host = "127.0.0.1",
                             .n_workers = 1,
                             .handlers = {NULL, admit, handle, refuse, answering, done}};
        if (ng_http_open(&h, &o, &err)) {
            assert_int_equal(err.code, NG_ENOMEM);
            continue;
        }
        int fd = dial(h), torn = dial(h);
        ask(fd, "/echo", "Connection: close\r\n", "abc");
        bool good = strstr(hear(fd, 2000), "abc") != NULL;
        ask(torn, "/torn", "Connection: close\r\n", NULL);
        hear(torn, 2000);
        close(fd);
        close(torn);
        ng_http_close(h, 100);
        if (good) fault_passed();
    }
    assert_true(fault_sweep_rounds() >= 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_over_one_connection), cmocka_unit_test(a_full_queue_refuses_at_once),
        cmocka_unit_test(a_hang_up_cancels),                cmocka_unit_test(a_slow_reader_is_held_up_then_cut),
        cmocka_unit_test(silent_streams_ping),              cmocka_unit_test(time_limits_hold),
        cmocka_unit_test(bad_framing_is_refused_and_closed), cmocka_unit_test(sizes_are_limited),
        cmocka_unit_test(closing_lets_running_requests_end), cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
