/* verb_show.c: `nanogrid show grid` prints the built-in grid.yaml, `show PACKAGE` a model card. */
#include "cli.h"

#include <nanogrid/grid.h>
#include <nanogrid/package.h>

#include <string.h>

static struct { bool json; } o;

static const cli_option options[] = {
    {"json", 0, CLI_FLAG, &o.json, NULL, "a card as one JSON object on one line", NULL}, {0}};

static int show_grid(void) {
    if (o.json) return cli_usage("the grid is YAML; --json is for cards");
    ng_buf b = ng_buf_init(1u << 20);
    ng_buf_puts(&b, ng_grid_default_yaml());
    if (b.len) b.data[--b.len] = 0; /* cli_print ends the line */
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

static int show_card(const char *name) {
    ng_error err = {0};
    ng_buf b = ng_buf_init((size_t)8 << 20);
    int code = ng_package_card(&b, name, o.json, &err) ? cli_fail(&err) : cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

static int run(int argc, char **argv) {
    if (argc != 1)
        return cli_usage(
            "show needs one word: grid, or the name of a package (`nanogrid list` names them)");
    return strcmp(argv[0], "grid") ? show_card(argv[0]) : show_grid();
}

const cli_verb cli_verb_show = {"show",
                                "grid | PACKAGE [--json]",
                                "the built-in grid.yaml, or a package's model card",
                                NULL,
                                options,
                                run};
