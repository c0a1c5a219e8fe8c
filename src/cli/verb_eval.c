/* verb_eval.c: `nanogrid eval RECIPE`. */
#include "cli.h"

#include <nanogrid/tools/eval.h>

#include <math.h>
#include <stdio.h>

static struct {
    bool json, card;
    const char *dir, *noise, *beside;
} o;

static const cli_option options[] = {{"dir", 'd', CLI_STR, &o.dir, "DIR",
                                      "where the model is (models/NAME beside the recipe's folder)", NULL},
                                     {"card", 0, CLI_FLAG, &o.card, NULL,
                                      "write card.json and scores.gguf beside the model", NULL},
                                     {"noise", 0, CLI_STR, &o.noise, "KIND",
                                      "spoil the test texts of labels: typos, spacing, homoglyphs or leetspeak", NULL},
                                     {"beside", 0, CLI_STR, &o.beside, "FILE",
                                      "of labels that an encoder moderates by, the greater probability of its and this linear model's", NULL},
                                     {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
                                     {0}};

static void put_text(ng_buf *b, const ng_eval_result *r) {
    ng_buf_printf(b, "%s", r->model_path);
    for (size_t i = 0; i < r->n; i++)
        if (!isnan(r->items[i].value)) ng_buf_printf(b, "\n  %-28s %.6g", r->items[i].name, r->items[i].value);
    if (*r->card_path)
        ng_buf_printf(b, "\nwrote %s%s%s", r->card_path, *r->scores_path ? " and " : "", r->scores_path);
}

static int run(int argc, char **argv) {
    if (argc != 1) return cli_usage("eval needs one RECIPE.yaml");
    ng_eval_options opt = {.model_dir = o.dir, .card = o.card, .noise = o.noise, .beside = o.beside};
    ng_eval_result r;
    ng_error err = {0};
    if (ng_eval(&r, argv[0], &opt, &err)) return cli_fail(&err);
    ng_buf b = ng_buf_init(1 << 20);
    ng_json j = ng_json_init(&b);
    if (o.json) ng_eval_json(&j, &r);
    else put_text(&b, &r);
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

const cli_verb cli_verb_eval =
    {"eval",
     "RECIPE.yaml [--dir DIR] [--card] [--noise KIND] [--beside FILE] [--json]",
     "accuracy, calibration, speed and size of a package's model",
     "Measures on the recipe's test set; nothing is fitted. All figures but speed, energy and memory are the same on every "
     "machine.",
     options,
     run};
