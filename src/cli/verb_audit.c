/* verb_audit.c: `nanogrid audit`: are the contracts held? */
#include "cli_grid.h"

#include <nanogrid/tools/upstream.h>

static cli_ask ask = CLI_ASK_DEFAULT;
static const cli_option options[] = {
    CLI_GRID_OPTION(&ask),
    {"json", 0, CLI_FLAG, &ask.json, NULL, "print one JSON object", NULL},
    {0}};

static int run(int argc, char **argv) {
    (void)argv;
    ng_error err = {0};
    ng_grid *g;
    bool held;
    if (argc) return cli_usage("audit takes no words");
    ng_grid_options o = {.path = ask.grid,
                         .open_upstream = ng_upstream_open,
                         .no_records = true,
                         .keep_broken_contracts = true};
    if (ng_grid_open(&g, &o, &err)) return cli_fail(&err);
    ng_buf b = ng_buf_init((size_t)16 << 20);
    int code = ng_grid_audit(g, ask.json, &b, &held, &err) ? cli_fail(&err) : cli_print(&b);
    if (!code && !held) code = 1;
    ng_buf_clear(&b);
    ng_grid_close(g);
    return code;
}

const cli_verb cli_verb_audit = {
    "audit",
    "[--json] [--grid FILE]",
    "are the contracts held?",
    "Risk and coverage of every route, recomputed from the labelled scores that its package carries and from "
    "feedback. Exit 0 only if every contract has at least 300 judged answers and their 95 % upper bound is "
    "within it; a contract without evidence is broken.",
    options,
    run};
