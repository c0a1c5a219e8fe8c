/* verb_route.c: `nanogrid route`: the decision without the answer. */
#include "cli_grid.h"

#include <stdio.h>

static cli_ask ask = CLI_ASK_DEFAULT;
static const cli_option options[] = {CLI_GRID_OPTION(&ask), CLI_ASK_OPTIONS(&ask), {0}};

typedef struct routing {
    ng_grid *grid;
    ng_request request;
} routing;

static void put_text(ng_buf *b, const ng_answer *a) {
    ng_buf_printf(b, "%s > %s (%s)%s", ng_task_name(a->task), a->expert ? a->expert : "nobody",
                  ng_tier_level_name(a->tier), a->in_scope ? "" : ", out of scope");
    if (ask.lines) return;
    for (size_t i = 0; i < a->n_scores; i++)
        ng_buf_printf(b, "%s%s %.1f %%", i ? ", " : "\n\n  scores   ", a->scores[i].label,
                      100 * (double)a->scores[i].p);
    ng_buf_printf(b, "\n  because  %s\n  took     %.0f us", a->reason, a->latency_ms * 1e3);
    for (size_t i = 0; i < a->n_warnings; i++) ng_buf_printf(b, "\n  warning  %s", a->warnings[i]);
    ng_buf_printf(b, "\n  more     nanogrid explain %s", a->decision_id);
}

static ng_status route_one(void *ctx, const char *text, size_t len, ng_buf *b, ng_error *err) {
    routing *r = ctx;
    ng_answer *a;
    ng_request_set_text(&r->request, text, len);
    ng_status s = ng_grid_route(r->grid, &r->request, &a, err);
    if (s) return s;
    if (ask.json) {
        ng_json j = ng_json_init(b);
        ng_route_json(&j, a);
    } else {
        put_text(b, a);
    }
    ng_answer_free(a);
    return NG_OK;
}

static int run(int argc, char **argv) {
    ng_error err = {0}, unrecorded = {0};
    routing r = {0};
    int code = cli_ask_check(&ask, &r.request);
    if (code) return code;
    if (cli_grid_open(&r.grid, &ask, true, &err)) return cli_fail(&err);
    code = cli_each_text(&ask, argc, argv, route_one, &r);
    if (ng_grid_flush(r.grid, &unrecorded)) fprintf(stderr, "nanogrid: %s\n", unrecorded.text);
    ng_grid_close(r.grid);
    return code;
}

const cli_verb cli_verb_route = {
    "route",
    "[TEXT] [--task T] [--grid FILE] [--lines] [--json]",
    "the decision alone: task, expert, tier, in scope?",
    "Only classifiers are asked (for their scope); nothing leaves this machine.",
    options,
    run};
