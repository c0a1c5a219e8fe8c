/* verb_calibrate.c: `nanogrid calibrate RECIPE MODEL..`. */
#include "cli_train.h"

#include <nanogrid/tools/calibrate.h>

#include <math.h>

static struct {
    bool json;
    const char *trials;
    long threads;
} o;

static const cli_option options[] = {{"trials", 0, CLI_STR, &o.trials, "DIR",
                                      "keep what the models said there, every 512 prompts, and take it from there the next time", NULL},
                                     {"threads", 't', CLI_INT, &o.threads, "N",
                                      "threads the models use (by measurement)", "NANOGRID_THREADS"},
                                     {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
                                     {0}};

static void put_text(ng_buf *b, const ng_calibrate_result *r) {
    ng_buf_printf(b, "fitted on %zu answers, %zu for contracts, in %.1f s", r->n_train, r->n_calibration, r->seconds);
    for (size_t i = 0; i < r->n_models; i++) {
        const ng_calibrate_model *m = &r->models[i];
        ng_buf_printf(b, "\n%s: AUROC %.3f (token entropy %.3f), ECE %.3f, AURC %.3f; wrote %s", m->model_path,
                      m->auroc, m->entropy_auroc, m->ece, m->aurc, m->file_path);
        for (size_t t = 0; t < m->n_rows; t++) {
            const ng_calibrate_row *x = &m->rows[t];
            ng_buf_printf(b, "\n  %-16s %4zu right of %4zu", x->task, x->right, x->n);
            if (isnan(x->auroc)) ng_buf_printf(b, "  void: fewer than 50 right or wrong");
            else ng_buf_printf(b, "  AUROC %.3f (token entropy %.3f)", x->auroc, x->entropy_auroc);
            ng_buf_printf(b, "  strange %.1f %%, %.1f %% were this kind not known", 100 * x->strange, 100 * x->unseen);
        }
    }
}

static void on_step(void *ctx, size_t done, size_t total) { cli_progress_step(ctx, (double)done, (double)total); }

static int calibrate_encoder(const char *recipe, const char *model) {
    static ng_train_result r;
    ng_error err = {0};
    return cli_train_calibrated(&r, o.json, ng_train_calibrate(&r, recipe, model, (int)o.threads, &err), &err);
}

static int run(int argc, char **argv) {
    if (argc < 2) return cli_usage("calibrate needs a RECIPE.yaml and a MODEL");
    if (ng_train_is_encoder(argv[0]))
        return argc == 2 && !o.trials ? calibrate_encoder(argv[0], argv[1])
                                      : cli_usage("calibrate takes one MODEL of an encoder's recipe, and no --trials");
    cli_progress progress = {.what = "calibrate"};
    ng_calibrate_options opt = {.trials_dir = o.trials,
                                .n_threads = (int)o.threads,
                                .on_step = on_step,
                                .ctx = &progress};
    static ng_calibrate_result r;
    ng_error err = {0};
    ng_status s = ng_calibrate(&r, argv[0], (const char *const *)argv + 1, (size_t)argc - 1, &opt, &err);
    cli_progress_end(&progress);
    if (s) return cli_fail(&err);
    ng_buf b = ng_buf_init(1 << 20);
    ng_json j = ng_json_init(&b);
    if (o.json) ng_calibrate_json(&j, &r);
    else put_text(&b, &r);
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

const cli_verb cli_verb_calibrate = {
    "calibrate", "RECIPE.yaml MODEL [MODEL ..] [--trials DIR] [--json]", "fits confidences to what a model gets right",
    "Of a recipe of task confidence, for generators: runs the recipe's prompts through each MODEL (one model in several precisions), fits what the engine saw to whether\n"
    "the answers were right, calibrates that for each precision by itself, and measures it on the test prompts.  Beside each\n"
    "goes X.confidence.gguf, by which its experts' answers have a confidence, contracts can be made, and generations that\n"
    "go wrong are given up early (cascade.early_after in grid.yaml).  A prompt of no kind that the recipe trains on is strange: its\n"
    "confidence is 0.\n\n"
    "Of a recipe of task encoder: fits the heads' temperatures, thresholds and scope anew on the file as it is, after it was\n"
    "quantised or merged, or the recipe's `oos:` has changed.  The file is replaced, or untouched after an error.",
    options, run};
