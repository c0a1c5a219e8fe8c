/* verb_usage.c: `nanogrid usage`: requests, tokens and cost by expert, from the records. */
#include "cli_grid.h"

static cli_ask ask = CLI_ASK_DEFAULT;
static const cli_option options[] = {
    CLI_GRID_OPTION(&ask),
    {"json", 0, CLI_FLAG, &ask.json, NULL, "print one JSON object", NULL},
    {0}};

static int run(int argc, char **argv) {
    (void)argv;
    ng_error err = {0};
    ng_grid *g;
    if (argc) return cli_usage("usage takes no words");
    if (cli_grid_open(&g, &ask, false, &err)) return cli_fail(&err);
    ng_buf b = ng_buf_init((size_t)16 << 20);
    int code = ng_grid_usage(g, ask.json, &b, &err) ? cli_fail(&err) : cli_print(&b);
    ng_buf_clear(&b);
    ng_grid_close(g);
    return code;
}

const cli_verb cli_verb_usage = {
    "usage",
    "[--json]",
    "requests, tokens and cost by expert",
    "Sums of all that was answered, also of what was too plain to be recorded one by one.",
    options,
    run};
