/* verb_replay.c: `nanogrid replay`: recorded traffic through another configuration. */
#include "cli_grid.h"

static struct {
    const char *grid, *since;
    long flips;
    bool json;
} o = {.flips = 20};

static const cli_option options[] = {CLI_GRID_OPTION(&o),
                                     {"since", 0, CLI_STR, &o.since, "WHEN",
                                      "only decisions since then: 7d, 12h, 2026-11-21, 2026-11-21T09:00:00Z (all)",
                                      NULL},
                                     {"flips", 0, CLI_INT, &o.flips, "N",
                                      "tell at most N changed decisions one by one (20)", NULL},
                                     {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
                                     {0}};

static int run(int argc, char **argv) {
    (void)argv;
    ng_error err = {0};
    if (argc) return cli_usage("replay takes no words");
    if (o.flips < 0) return cli_usage("--flips must not be negative");
    ng_replay_options r = {.path = o.grid, .since = o.since, .n_flips = (size_t)o.flips};
    ng_buf b = ng_buf_init((size_t)256 << 20);
    int code = ng_grid_replay(&r, o.json, &b, &err) ? cli_fail(&err) : cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

const cli_verb cli_verb_replay = {
    "replay",
    "[--grid FILE] [--since WHEN] [--flips N] [--json]",
    "recorded traffic through another configuration",
    "Makes every recorded decision again, from its recorded features, with the given configuration and its "
    "models, and tells what changes: decisions, tiers, cost, expected risk. Upstreams are not asked, only "
    "counted and priced. Two runs over the same records print the same bytes.",
    options,
    run};
