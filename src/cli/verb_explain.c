/* verb_explain.c: `nanogrid explain`: one recorded decision, told in full. */
#include "cli_grid.h"

static cli_ask ask = CLI_ASK_DEFAULT;
static const cli_option options[] = {
    CLI_GRID_OPTION(&ask),
    {"json", 0, CLI_FLAG, &ask.json, NULL, "print the record as one JSON object", NULL},
    {0}};

static int run(int argc, char **argv) {
    ng_error err = {0};
    ng_grid *g;
    if (argc != 1) return cli_usage("explain needs one decision id, as `run` and `route` print it");
    if (cli_grid_open(&g, &ask, false, &err)) return cli_fail(&err);
    ng_buf b = ng_buf_init((size_t)16 << 20);
    int code = ng_grid_explain(g, argv[0], ask.json, &b, &err) ? cli_fail(&err) : cli_print(&b);
    ng_buf_clear(&b);
    ng_grid_close(g);
    return code;
}

const cli_verb cli_verb_explain = {
    "explain",
    "ID [--json]",
    "one decision told in full",
    "Signals, scores, every step of the way, cost and time, from the record.",
    options,
    run};
