/* verb_train.c: `nanogrid train RECIPE`. */
#include "cli.h"

#include <nanogrid/tools/train.h>

#include <math.h>
#include <stdio.h>

static struct {
    bool json;
    const char *out;
    long seed;
} o = {.seed = -1};

static const cli_option options[] = {
    {"out", 'o', CLI_STR, &o.out, "DIR", "where the model goes (models/NAME beside the recipe's folder)", NULL},
    {"seed", 0, CLI_INT, &o.seed, "N", "instead of the recipe's seed", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object a line: each step, then the result", NULL},
    {0}};

static bool on_step(void *ctx, const ng_train_step *s) {
    cli_progress_step(ctx, (double)s->step, (double)s->n_steps);
    ng_buf b = ng_buf_init(1024);
    if (o.json) {
        ng_json j = ng_json_init(&b);
        ng_json_object(&j);
        ng_json_key(&j, "step"), ng_json_int(&j, s->step);
        ng_json_key(&j, "steps"), ng_json_int(&j, s->n_steps);
        ng_json_key(&j, "phase"), ng_json_str(&j, s->phase);
        ng_json_key(&j, "loss"), ng_json_fixed(&j, s->loss, 6);
        if (!isnan(s->dev_accuracy)) ng_json_key(&j, "dev_accuracy"), ng_json_fixed(&j, s->dev_accuracy, 6);
        ng_json_end(&j);
    } else {
        ng_buf_printf(&b, "step %lld/%lld  %s  loss %.5f", (long long)s->step, (long long)s->n_steps, s->phase, s->loss);
        if (!isnan(s->dev_accuracy)) ng_buf_printf(&b, "  dev accuracy %.4f", s->dev_accuracy);
    }
    bool ok = cli_print(&b) == 0;
    ng_buf_clear(&b);
    return ok;
}

static void put_json(ng_buf *b, const ng_train_result *r) {
    ng_json j = ng_json_init(b);
    ng_json_object(&j);
    ng_json_key(&j, "model"), ng_json_str(&j, r->model_path);
    ng_json_key(&j, "model_mb"), ng_json_fixed(&j, (double)r->model_bytes / 1e6, 6);
    ng_json_key(&j, "train"), ng_json_uint(&j, r->n_train);
    ng_json_key(&j, "dev"), ng_json_uint(&j, r->n_dev);
    ng_json_key(&j, "labels"), ng_json_uint(&j, r->n_labels);
    ng_json_key(&j, "features"), ng_json_uint(&j, r->n_features);
    ng_json_key(&j, "rows"), ng_json_uint(&j, r->n_rows);
    ng_json_key(&j, "duplicates"), ng_json_uint(&j, r->n_duplicates);
    ng_json_key(&j, "duplicates_dropped"), ng_json_bool(&j, r->duplicates_dropped);
    ng_json_key(&j, "loss"), ng_json_fixed(&j, r->loss, 6);
    ng_json_key(&j, "dev_accuracy"), ng_json_fixed(&j, r->dev_accuracy, 6);
    ng_json_key(&j, "temperature"), ng_json_fixed(&j, r->temperature, 6);
    ng_json_key(&j, "oos_threshold"), ng_json_fixed(&j, r->oos_threshold, 6);
    ng_json_key(&j, "seconds"), ng_json_fixed(&j, r->seconds, 3);
    ng_json_end(&j);
}

static void put_text(ng_buf *b, const ng_train_result *r) {
    ng_buf_printf(b, "%s: %.2f MB, %zu labels, %zu of %zu features, trained on %zu texts in %.1f s\n", r->model_path,
                  (double)r->model_bytes / 1e6, r->n_labels, r->n_rows, r->n_features, r->n_train, r->seconds);
    if (!isnan(r->dev_accuracy)) ng_buf_printf(b, "dev accuracy %.4f", r->dev_accuracy);
    else ng_buf_puts(b, "no dev texts: the confidence is not calibrated");
    if (!isnan(r->temperature)) ng_buf_printf(b, ", temperature %.4f", r->temperature);
    if (!isnan(r->oos_threshold)) ng_buf_printf(b, ", out-of-scope threshold %.4f", r->oos_threshold);
    if (r->n_duplicates)
        ng_buf_printf(b, "\n%zu training or dev texts also stand in test; they were %s", r->n_duplicates,
                      r->duplicates_dropped ? "dropped" : "kept (duplicates: drop leaves them out)");
}

static int run(int argc, char **argv) {
    if (argc != 1) return cli_usage("train needs one RECIPE.yaml");
    cli_progress progress = {.what = "training"};
    ng_train_options opt = {o.out, o.seed, on_step, &progress};
    ng_train_result r;
    ng_error err = {0};
    ng_status s = ng_train(&r, argv[0], &opt, &err);
    cli_progress_end(&progress);
    if (s) return cli_fail(&err);
    ng_buf b = ng_buf_init(8192);
    if (o.json) put_json(&b, &r);
    else put_text(&b, &r);
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

const cli_verb cli_verb_train = {
    "train", "RECIPE.yaml [--out DIR] [--seed N] [--json]", "make a package's model from its recipe",
    "The recipe names data below $NANOGRID_DATA, features and settings.  The same recipe, data and seed give the "
    "same bytes.",
    options, run};
