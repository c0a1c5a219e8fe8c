/* api.h: what every endpoint shares: one call, its limits, its grid, its answer or its problem.
 *
 * An endpoint is one function in an api_*.c and one line in endpoints.def:
 *
 *     void ng_api_models(ng_call *c) {
 *         ng_json j = ng_json_init(&c->out);
 *         ..
 *         ng_call_send(c, 200);                      or, on trouble, ng_problem_set(&c->problem, ..)
 *     }
 *
 * The dispatcher answers with the problem when there is one.  A call belongs to the thread that runs
 * its handler; `api` is shared and says below what guards it. */
#ifndef NG_SERVE_API_H
#define NG_SERVE_API_H

#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/request.h"

#include <nanogrid/grid.h>
#include <nanogrid/tokenizer.h>
#include <nanogrid/tools/worker.h>

#include <pthread.h>

typedef struct ng_api {
    ng_metrics metrics;
    bool loopback; /* bound to this machine only: foreign Host headers are refused */
    uint64_t started_ns;
    uint64_t id_seed; /* with next_id: identifiers that differ between runs */
    atomic_uint_fast64_t next_id;
    void (*log)(void *ctx, const char *line);
    void *log_ctx;
    ng_workers *workers;       /* borrowed; NULL: none */
    pthread_mutex_t grid_lock; /* guards the pointer; the grid itself is immutable and counted */
    ng_grid *grid;
    pthread_mutex_t tokenizers_lock; /* guards the list; entries stay until the end */
    struct ng_api_tokenizer *tokenizers;
} ng_api;

enum { NG_REQUEST_ID_MAX = 128 };

typedef struct ng_call {
    ng_api *api;
    ng_http_x *x;
    size_t endpoint;  /* row of endpoints.def; their number: none matched */
    const char *tail; /* what follows a path that ends in '/' */
    ng_grid *grid;    /* this request's snapshot */
    ng_arena *arena;
    json_t *body; /* parsed, for POST */
    ng_problem problem;
    ng_buf out;
    /* limits and identity from the headers */
    ng_privacy privacy;
    ng_task task; /* that a header names; AUTO: none */
    const char *regions, *consents, *tenant; /* NULL: not said */
    double max_cost_usd;
    int64_t deadline_ms;
    bool debug;
    bool at_once;    /* on an io thread: what would wait sets would_wait, and the call begins anew on a worker */
    bool would_wait;
    char request_id[NG_REQUEST_ID_MAX + 1], traceparent[56];
    uint64_t expert_ns;         /* spent in experts: what is not overhead */
    uint64_t asked_ns, told_ns; /* when the grid was first asked, and last answered; 0: never */
    double grid_us;             /* the grid's own share of overhead */
} ng_call;

/* api.c */
ng_http_handlers ng_api_handlers(ng_api *api);
size_t ng_api_n_endpoints(void);
const char *const *ng_api_endpoint_paths(void); /* [n + 1], the last is "other" */
ng_grid *ng_api_get_grid(ng_api *api);          /* a reference */

/* Sends c->out as JSON (or `type`); the problem instead when memory ran out. */
void ng_call_send(ng_call *c, int status);
void ng_call_send_as(ng_call *c, int status, const char *type);
/* Microseconds since the last byte of the request that were neither queue nor expert. */
double ng_call_overhead_us(const ng_call *c);
/* "chatcmpl-" and 24 hex digits. */
void ng_call_new_id(ng_call *c, const char *prefix, char out[64]);
/* True, and the problem is set, when the client is gone or the time is over. */
bool ng_call_over(ng_call *c);

/* api_ask.c: from requests to the grid and back */
/* A request with this call's limits; `model` NULL, "" or "auto": the grid decides.  False: no such model. */
bool ng_call_request(ng_call *c, ng_request *r, ng_task task, const char *model, const char *user);
/* ng_grid_ask or ng_grid_route with clock and metrics; on failure the problem is set. */
bool ng_call_ask(ng_call *c, const ng_request *r, ng_answer **out);
bool ng_call_route(ng_call *c, const ng_request *r, ng_answer **out);
/* x-nanogrid-{expert,tier,confidence,decision-id} */
void ng_call_decision_headers(ng_call *c, const ng_answer *a);
/* {"expert", "tier", "confidence", "decision_id", "escalated", "overhead_us"}, or the whole answer when
 * the client asked for debug. */
void ng_call_decision_json(ng_json *j, const ng_call *c, const ng_answer *a);
/* What the answer says, as one text, whatever its task: chat's content. */
void ng_answer_content(ng_buf *out, const ng_answer *a);

#define ENDPOINT(method, path, handler, flags) void handler(ng_call *c);
#include "serve/endpoints.def"
#undef ENDPOINT

#endif
