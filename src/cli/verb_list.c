/* verb_list.c: `nanogrid list`: what this grid can be asked, and the packages installed. */
#include "cli_grid.h"

#include <nanogrid/package.h>

static cli_ask ask = CLI_ASK_DEFAULT;
static const cli_option options[] = {
    CLI_GRID_OPTION(&ask),
    {"json", 0, CLI_FLAG, &ask.json, NULL, "print one JSON object", NULL},
    {0}};

static void put_json(ng_buf *b, const ng_grid *g, const ng_packages *p) {
    ng_json j = ng_json_init(b);
    ng_json_object(&j);
    ng_json_key(&j, "experts"), ng_json_array(&j);
    for (size_t i = 0; i < ng_grid_n_entries(g); i++) {
        ng_grid_entry e = ng_grid_get_entry(g, i);
        ng_json_object(&j);
        ng_json_key(&j, "name"), ng_json_str(&j, e.name);
        ng_json_key(&j, "task"), ng_json_str(&j, e.upstream ? NULL : ng_task_name(e.task));
        ng_json_key(&j, "tier"), ng_json_str(&j, ng_tier_level_name(e.tier));
        ng_json_key(&j, "upstream"), ng_json_bool(&j, e.upstream);
        ng_json_key(&j, "available"), ng_json_bool(&j, e.available);
        if (e.why) ng_json_key(&j, "why"), ng_json_str(&j, e.why);
        if (e.model_path) ng_json_key(&j, "model"), ng_json_str(&j, e.model_path);
        if (e.adapter) ng_json_key(&j, "adapter"), ng_json_str(&j, e.adapter);
        ng_json_end(&j);
    }
    ng_json_end(&j);
    ng_json_key(&j, "packages"), ng_json_array(&j);
    for (size_t i = 0; i < p->len; i++) {
        ng_json_object(&j);
        ng_json_key(&j, "name"), ng_json_str(&j, p->items[i].name);
        ng_json_key(&j, "bytes"), ng_json_uint(&j, p->items[i].bytes);
        ng_json_key(&j, "path"), ng_json_str(&j, p->items[i].dir);
        ng_json_end(&j);
    }
    ng_json_end(&j), ng_json_end(&j);
}

static void put_text(ng_buf *b, const ng_grid *g, const ng_packages *p) {
    ng_buf_printf(b, "%-16s %-16s %-7s\n", "expert", "task", "tier");
    for (size_t i = 0; i < ng_grid_n_entries(g); i++) {
        ng_grid_entry e = ng_grid_get_entry(g, i);
        ng_buf_printf(b, "%-16s %-16s %-7s", e.name, e.upstream ? "any (upstream)" : ng_task_name(e.task),
                      ng_tier_level_name(e.tier));
        if (e.adapter) ng_buf_printf(b, " with the adapter %s", e.adapter);
        if (!e.available) ng_buf_printf(b, " not available: %s", e.why ? e.why : "");
        ng_buf_putc(b, '\n');
    }
    ng_buf_printf(b, "\n%-16s %10s  %s\n", "package", "KiB", "folder");
    for (size_t i = 0; i < p->len; i++)
        ng_buf_printf(b, "%-16s %10.0f  %s%s", p->items[i].name, (double)p->items[i].bytes / 1024,
                      p->items[i].dir, i + 1 < p->len ? "\n" : "");
    if (!p->len) ng_buf_puts(b, "(none installed)");
}

static int run(int argc, char **argv) {
    (void)argv;
    ng_error err = {0};
    ng_grid *g;
    ng_packages p;
    if (argc) return cli_usage("list takes no words");
    if (cli_grid_open(&g, &ask, false, &err)) return cli_fail(&err);
    if (ng_packages_list(&p, &err)) {
        ng_grid_close(g);
        return cli_fail(&err);
    }
    ng_buf b = ng_buf_init((size_t)16 << 20);
    if (ask.json) put_json(&b, g, &p);
    else put_text(&b, g, &p);
    int code = cli_print(&b);
    ng_buf_clear(&b);
    ng_packages_clear(&p);
    ng_grid_close(g);
    return code;
}

const cli_verb cli_verb_list = {"list",
                                "[--grid FILE] [--json]",
                                "the experts of the grid and the packages installed",
                                NULL,
                                options,
                                run};
