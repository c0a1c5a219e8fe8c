/* load.c: an open-loop load generator for `nanogrid serve`.
 *
 *     nanogrid serve --listen 127.0.0.1:8080 &
 *     load --rate 100 --seconds 30                    table; --json one object
 *
 * Open loop: requests have their send times before the run begins (evenly spaced, or a Poisson process
 * with --poisson) and keep them however slowly the server answers.  A request whose turn comes while
 * all connections are busy waits here, and that wait counts: latency runs from the *scheduled* time to
 * the last byte of the answer, so a stall is seen by every request that it delayed (Tene's
 * "coordinated omission").  One thread, ppoll, keep-alive connections; the generator's own lateness is
 * printed, so that a run on a machine too busy to generate the load can be told from a slow server.
 *
 * `{n}` in a body becomes the number of the request: without it most answers would come from the
 * server's exact cache, and the figures would be those of the cache.
 *
 * Overhead is what the server says of itself in x-nanogrid-overhead-us. */
#include <nanogrid/buf.h>
#include <nanogrid/json.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/math.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, LINE_MAX_BYTES = 1 << 20, ANSWER_MAX = 16 << 20 };

static struct {
    const char *host, *path, *file;
    int port, connections;
    double rate, seconds, warmup;
    bool poisson, json;
    uint64_t seed;
} o = {"127.0.0.1", "/v1/classify", NULL, 8080, 32, 100, 10, 1, false, false, 1};

static const char *const default_bodies[] = {
    "{\"input\": \"please freeze my card, I lost it on train {n}\"}",
    "{\"input\": \"what is the weather like in Lisbon on day {n}\"}",
    "{\"input\": \"transfer {n} euros to my savings account\"}",
    "{\"input\": \"how do you say thank you for {n} in Japanese\"}",
    "{\"input\": \"set an alarm in {n} minutes\"}",
    "{\"input\": \"is my flight {n} to Oslo on time\"}",
};

typedef struct request {
    double due_ms;      /* scheduled, on the monotonic clock */
    double latency_ms;  /* from due_ms; < 0: failed */
    double overhead_us; /* < 0: the server said none */
} request;

typedef struct connection {
    int fd;       /* -1: closed */
    long current; /* request under way, -1: idle */
    ng_buf in;
} connection;

typedef struct run {
    request *requests;
    long n, next; /* next: first not yet sent */
    long done, failed;
    char **bodies; /* [n_bodies], sent in turn */
    size_t n_bodies;
    ng_buf body, wire; /* of the request that is being sent */
    connection *connections;
    double late_ms_max; /* how late this generator itself sent, connections being free */
} run;

static int fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    return 1;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void make_wire(run *r, long n) {
    ng_buf_reset(&r->body);
    ng_buf_reset(&r->wire);
    for (const char *p = r->bodies[(size_t)n % r->n_bodies], *mark; p; p = mark ? mark + 3 : NULL) {
        mark = strstr(p, "{n}");
        ng_buf_put(&r->body, p, mark ? (size_t)(mark - p) : strlen(p));
        if (mark) ng_buf_printf(&r->body, "%ld", n);
    }
    ng_buf_printf(&r->wire,
                  "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: "
                  "application/json\r\nContent-Length: %zu\r\n\r\n",
                  o.path, o.host, o.port, r->body.len);
    ng_buf_put(&r->wire, r->body.data, r->body.len);
}

static bool add_body(run *r, const char *text) {
    char **more = realloc(r->bodies, (r->n_bodies + 1) * sizeof *more), *copy = strdup(text);
    if (more) r->bodies = more;
    if (!more || !copy) {
        free(copy);
        return false;
    }
    r->bodies[r->n_bodies++] = copy;
    return true;
}

static int load_bodies(run *r) {
    r->body = ng_buf_init(LINE_MAX_BYTES);
    r->wire = ng_buf_init(LINE_MAX_BYTES + 1024);
    for (size_t i = 0; !o.file && i < sizeof default_bodies / sizeof *default_bodies; i++)
        if (!add_body(r, default_bodies[i])) return fail("memory");
    if (!o.file) return 0;
    FILE *f = fopen(o.file, "re");
    if (!f) return fail(o.file);
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0;) {
        while (n && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
        if (n && !add_body(r, line)) break;
    }
    free(line);
    fclose(f);
    if (!r->n_bodies) fprintf(stderr, "load: %s holds no request bodies\n", o.file);
    return r->n_bodies ? 0 : 1;
}

static int plan(run *r) {
    double span_s = o.warmup + o.seconds;
    r->n = (long)(span_s * o.rate);
    r->requests = calloc((size_t)r->n + 1, sizeof *r->requests);
    if (!r->requests || r->n < 1) return fail("nothing to send");
    ng_rng rng = ng_rng_seed(o.seed);
    double at = ng_clock_ms() + 50;
    for (long i = 0; i < r->n; i++) {
        r->requests[i] = (request){.due_ms = at, .latency_ms = -1, .overhead_us = -1};
        double u = 1 - ng_rng_unit(&rng);
        at += 1e3 / o.rate * (o.poisson ? -ng_log(u) : 1);
    }
    return 0;
}

/* ---- connections ----------------------------------------------------------------------------- */

static bool connect_one(connection *c) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o.port)};
    int on = 1;
    c->fd = inet_pton(AF_INET, o.host, &a.sin_addr) == 1
                ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)
                : -1;
    if (c->fd < 0) return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) || fcntl(c->fd, F_SETFL, O_NONBLOCK)) {
        close(c->fd);
        c->fd = -1;
    }
    c->current = -1;
    return c->fd >= 0;
}

static void give_up(run *r, connection *c) {
    if (c->current >= 0) r->done++, r->failed++;
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->current = -1;
    ng_buf_reset(&c->in);
}

static void send_next(run *r, connection *c) {
    const ng_buf *w = &r->wire;
    make_wire(r, r->next);
    c->current = r->next++;
    /* a request fits the socket buffer of an idle connection, so a short write is a failure */
    if (w->status || send(c->fd, w->data, w->len, MSG_NOSIGNAL) != (ssize_t)w->len) give_up(r, c);
}

static const char *header(const char *head, const char *name) {
    const char *p = strcasestr(head, name);
    return p ? p + strlen(name) : NULL;
}

/* True when a whole answer is in. */
static bool take_answer(run *r, connection *c) {
    const char *end = strstr(c->in.data, "\r\n\r\n");
    if (!end) return false;
    const char *length = header(c->in.data, "\r\ncontent-length:");
    size_t body = length && length < end ? strtoul(length, NULL, 10) : 0;
    if (c->in.len < (size_t)(end - c->in.data) + 4 + body) return false;
    request *q = &r->requests[c->current];
    const char *overhead = header(c->in.data, "\r\nx-nanogrid-overhead-us:");
    if (overhead && overhead < end) q->overhead_us = strtod(overhead, NULL);
    bool ok = !strncmp(c->in.data, "HTTP/1.1 200", 12);
    if (ok) q->latency_ms = ng_clock_ms() - q->due_ms;
    else r->failed++;
    r->done++;
    c->current = -1;
    ng_buf_reset(&c->in);
    return true;
}

static void receive(run *r, connection *c) {
    if (ng_buf_reserve(&c->in, 65536)) {
        give_up(r, c);
        return;
    }
    ssize_t n = recv(c->fd, c->in.data + c->in.len, 65536, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) give_up(r, c);
        return;
    }
    c->in.len += (size_t)n;
    c->in.data[c->in.len] = 0;
    take_answer(r, c);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void send_due(run *r) {
    double now = ng_clock_ms();
    for (int i = 0; i < o.connections && r->next < r->n && r->requests[r->next].due_ms <= now;
         i++) {
        connection *c = &r->connections[i];
        if (c->current >= 0 || (c->fd < 0 && !connect_one(c))) continue;
        if (r->done == r->next) { /* all earlier ones are answered, so only we can be late */
            double late = now - r->requests[r->next].due_ms;
            if (late > r->late_ms_max) r->late_ms_max = late;
        }
        send_next(r, c);
    }
}

static bool any_idle(const run *r) {
    for (int i = 0; i < o.connections; i++)
        if (r->connections[i].current < 0) return true;
    return false;
}

static void loop(run *r) {
    static struct pollfd p[CONNECTIONS_MAX];
    double give_up_at = r->requests[r->n - 1].due_ms + 30000;
    while (r->done < r->n && ng_clock_ms() < give_up_at) {
        send_due(r);
        for (int i = 0; i < o.connections; i++)
            p[i] = (struct pollfd){r->connections[i].fd, POLLIN, 0};
        double wait_ms = 100;
        if (r->next < r->n && any_idle(r)) wait_ms = r->requests[r->next].due_ms - ng_clock_ms();
        if (wait_ms > 100) wait_ms = 100;
        struct timespec t = {.tv_nsec = wait_ms > 0 ? (long)(wait_ms * 1e6) % 1000000000 : 0};
        if (ppoll(p, (nfds_t)o.connections, &t, NULL) <= 0) continue;
        for (int i = 0; i < o.connections; i++)
            if (p[i].revents) receive(r, &r->connections[i]);
    }
    for (int i = 0; i < o.connections; i++) give_up(r, &r->connections[i]);
    long unsent = r->n - r->done;
    r->failed += unsent;
}

/* ---- what came out --------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* p50, p90, p99, p99.9 and the greatest; nearest rank. */
static void quantiles(double q[5], double *v, size_t n) {
    static const double p[] = {0.5, 0.9, 0.99, 0.999, 1};
    qsort(v, n, sizeof *v, by_value);
    for (int i = 0; i < 5; i++) {
        size_t rank = (size_t)(p[i] * (double)n + 0.999999);
        q[i] = n ? v[rank ? rank - 1 : 0] : 0;
    }
}

static void put_quantiles(ng_json *j, const char *name, const double q[5]) {
    static const char *const names[] = {"p50", "p90", "p99", "p999", "max"};
    ng_json_key(j, name);
    ng_json_object(j);
    for (int i = 0; i < 5; i++) ng_json_key(j, names[i]), ng_json_fixed(j, q[i], 3);
    ng_json_end(j);
}

static int report(const run *r) {
    double *latency = calloc((size_t)r->n + 1, sizeof *latency),
           *overhead = calloc((size_t)r->n + 1, sizeof *overhead);
    if (!latency || !overhead) return fail("memory");
    size_t n = 0, n_overhead = 0;
    double from = r->requests[0].due_ms + o.warmup * 1e3, last = from;
    for (long i = 0; i < r->n; i++) {
        const request *q = &r->requests[i];
        if (q->due_ms < from || q->latency_ms < 0) continue;
        latency[n++] = q->latency_ms;
        if (q->overhead_us >= 0) overhead[n_overhead++] = q->overhead_us;
        if (q->due_ms + q->latency_ms > last) last = q->due_ms + q->latency_ms;
    }
    double ql[5], qo[5], throughput = last > from ? (double)n / (last - from) * 1e3 : 0;
    quantiles(ql, latency, n);
    quantiles(qo, overhead, n_overhead);
    if (o.json) {
        ng_buf b = ng_buf_init(4096);
        ng_json j = ng_json_init(&b);
        ng_json_object(&j);
        ng_json_key(&j, "path"), ng_json_str(&j, o.path);
        ng_json_key(&j, "rate"), ng_json_num(&j, o.rate);
        ng_json_key(&j, "schedule"), ng_json_str(&j, o.poisson ? "poisson" : "fixed");
        ng_json_key(&j, "seconds"), ng_json_num(&j, o.seconds);
        ng_json_key(&j, "connections"), ng_json_int(&j, o.connections);
        ng_json_key(&j, "requests"), ng_json_uint(&j, n);
        ng_json_key(&j, "errors"), ng_json_int(&j, r->failed);
        ng_json_key(&j, "throughput"), ng_json_fixed(&j, throughput, 2);
        put_quantiles(&j, "latency_ms", ql);
        put_quantiles(&j, "overhead_us", qo);
        ng_json_key(&j, "generator_late_ms_max"), ng_json_fixed(&j, r->late_ms_max, 3);
        ng_json_end(&j);
        puts(b.data);
        ng_buf_clear(&b);
    } else {
        printf("%s, %g/s %s for %g s over %d connections\n", o.path, o.rate,
               o.poisson ? "poisson" : "fixed", o.seconds, o.connections);
        printf("answered %zu (%.1f/s), errors %ld, generator late by at most %.3f ms\n", n,
               throughput, r->failed, r->late_ms_max);
        printf("%-12s %9s %9s %9s %9s %9s\n", "", "p50", "p90", "p99", "p99.9", "max");
        printf("%-12s %9.3f %9.3f %9.3f %9.3f %9.3f\n", "latency ms", ql[0], ql[1], ql[2], ql[3],
               ql[4]);
        printf("%-12s %9.1f %9.1f %9.1f %9.1f %9.1f\n", "overhead us", qo[0], qo[1], qo[2], qo[3],
               qo[4]);
    }
    free(latency);
    free(overhead);
    return r->failed ? 1 : 0;
}

static int usage(void) {
    fputs("usage: load [--host IP] [--port N] [--path /v1/classify] [--bodies FILE] [--rate 100] "
          "[--seconds 10]\n"
          "            [--warmup 1] [--connections 32] [--poisson] [--seed 1] [--json]\n"
          "Sends requests at fixed times whatever the answers do; FILE holds one JSON body a line, "
          "and {n} in it\n"
          "is replaced by the number of the request.\n",
          stderr);
    return 2;
}

static bool parse(int argc, char **argv) {
    static const struct option options[] = {
        {"host", 1, 0, 'H'},   {"port", 1, 0, 'p'},        {"path", 1, 0, 'P'},
        {"bodies", 1, 0, 'b'}, {"rate", 1, 0, 'r'},        {"seconds", 1, 0, 's'},
        {"warmup", 1, 0, 'w'}, {"connections", 1, 0, 'c'}, {"poisson", 0, 0, 'x'},
        {"json", 0, 0, 'j'},   {"seed", 1, 0, 'S'},        {0}};
    for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (k) {
        case 'H':
            o.host = optarg;
            break;
        case 'p':
            o.port = atoi(optarg);
            break;
        case 'P':
            o.path = optarg;
            break;
        case 'b':
            o.file = optarg;
            break;
        case 'r':
            o.rate = atof(optarg);
            break;
        case 's':
            o.seconds = atof(optarg);
            break;
        case 'w':
            o.warmup = atof(optarg);
            break;
        case 'c':
            o.connections = atoi(optarg);
            break;
        case 'S':
            o.seed = strtoull(optarg, NULL, 10);
            break;
        case 'x':
            o.poisson = true;
            break;
        case 'j':
            o.json = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc && o.rate > 0 && o.seconds > 0 && o.warmup >= 0 && o.connections > 0 &&
           o.connections <= CONNECTIONS_MAX && o.port > 0 && o.port < 65536 &&
           o.rate * (o.seconds + o.warmup) < 1e8;
}

int main(int argc, char **argv) {
    if (!parse(argc, argv)) return usage();
    run r = {0};
    r.connections = calloc((size_t)o.connections, sizeof *r.connections);
    if (!r.connections || load_bodies(&r)) return 1;
    for (int i = 0; i < o.connections; i++) {
        r.connections[i].in = ng_buf_init(ANSWER_MAX);
        if (!connect_one(&r.connections[i])) return fail("connect");
    }
    if (plan(&r)) return 1;
    loop(&r);
    int code = report(&r);
    for (int i = 0; i < o.connections; i++) ng_buf_clear(&r.connections[i].in);
    for (size_t i = 0; i < r.n_bodies; i++) free(r.bodies[i]);
    free(r.bodies);
    ng_buf_clear(&r.body);
    ng_buf_clear(&r.wire);
    free(r.requests);
    free(r.connections);
    return code;
}
