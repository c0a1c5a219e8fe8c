/* verb_train.c: `nanogrid train RECIPE`. */
#include "cli_train.h"

#include <nanogrid/tools/few_shot.h>

#include <math.h>
#include <stdio.h>

static struct {
    bool json, bench, vectors;
    const char *out, *plot, *few_shot, *model;
    long seed, threads;
} o = {.seed = -1};

static const cli_option options[] =
    {{"out", 'o', CLI_STR, &o.out, "DIR", "where the model goes (models/NAME beside the recipe's folder)", NULL},
     {"seed", 0, CLI_INT, &o.seed, "N", "instead of the recipe's seed", NULL},
     {"threads", 't', CLI_INT, &o.threads, "N", "of an encoder's training (all cores)", "NANOGRID_THREADS"},
     {"plot", 0, CLI_STR, &o.plot, "FILE.svg|png", "draw an encoder's loss curve", NULL},
     {"bench", 0, CLI_FLAG, &o.bench, NULL, "only time an encoder's training steps", NULL},
     {"vectors", 0, CLI_FLAG, &o.vectors, NULL, "routing weights: learn only the second claim anew, over the encoder that the recipe names"},
     {"few-shot", 0, CLI_STR, &o.few_shot, "LABELS.yaml",
      "instead of a recipe: a head from a few examples a label, in seconds", NULL},
     {"model", 'm', CLI_STR, &o.model, "MODEL", "with --few-shot: the encoder (a BERT as GGUF)", NULL},
     {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object a line: each step, then the result", NULL},
     {0}};

static bool on_bench(void *ctx, const ng_train_bench_row *r) {
    (void)ctx;
    ng_buf b = ng_buf_init(1024);
    if (o.json) {
        ng_json j = ng_json_init(&b);
        ng_json_object(&j);
        ng_json_key(&j, "batch"), ng_json_int(&j, r->batch);
        ng_json_key(&j, "length"), ng_json_int(&j, r->length);
        ng_json_key(&j, "dtype"), ng_json_str(&j, r->dtype);
        ng_json_key(&j, "kernel"), ng_json_str(&j, r->kernel);
        ng_json_key(&j, "tokens_per_s"), ng_json_fixed(&j, r->tokens_per_s, 1);
        ng_json_end(&j);
    } else {
        ng_buf_printf(&b, "batch %d  length %d  %s (%s)  %.0f tokens/s", r->batch, r->length, r->dtype, r->kernel,
                      r->tokens_per_s);
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
    ng_json_key(&j, "repeated_dropped"), ng_json_uint(&j, r->n_repeated);
    ng_json_key(&j, "loss"), ng_json_fixed(&j, r->loss, 6);
    ng_json_key(&j, "dev_accuracy"), ng_json_fixed(&j, r->dev_accuracy, 6);
    ng_json_key(&j, "temperature"), ng_json_fixed(&j, r->temperature, 6);
    ng_json_key(&j, "oos_threshold"), ng_json_fixed(&j, r->oos_threshold, 6);
    if (*r->vector_path) {
        ng_json_key(&j, "vectors"), ng_json_str(&j, r->vector_path);
        ng_json_key(&j, "vectors_accuracy"), ng_json_fixed(&j, r->vector_accuracy, 6);
        ng_json_key(&j, "linear_accuracy"), ng_json_fixed(&j, r->vector_accuracy_before, 6);
    }
    ng_json_key(&j, "seconds"), ng_json_fixed(&j, r->seconds, 3);
    ng_json_end(&j);
}

static void put_vectors(ng_buf *b, const ng_train_result *r) {
    if (*r->vector_path)
        ng_buf_printf(b, "%s: the second claim; both labels alike, %.4f of dev are right with it, %.4f without", r->vector_path,
                      r->vector_accuracy, r->vector_accuracy_before);
}

static void put_text(ng_buf *b, const ng_train_result *r) {
    if (o.vectors) {
        put_vectors(b, r);
        return;
    }
    ng_buf_printf(b, "%s: %.2f MB, %zu labels, %zu of %zu features, trained on %zu texts in %.1f s\n", r->model_path,
                  (double)r->model_bytes / 1e6, r->n_labels, r->n_rows, r->n_features, r->n_train, r->seconds);
    if (!isnan(r->dev_accuracy)) ng_buf_printf(b, "dev accuracy %.4f", r->dev_accuracy);
    else ng_buf_puts(b, "no dev texts: the confidence is not calibrated");
    if (!isnan(r->temperature)) ng_buf_printf(b, ", temperature %.4f", r->temperature);
    if (!isnan(r->oos_threshold)) ng_buf_printf(b, ", out-of-scope threshold %.4f", r->oos_threshold);
    if (r->n_duplicates)
        ng_buf_printf(b, "\n%zu training or dev texts also stand in test or are near it; they were %s", r->n_duplicates,
                      r->duplicates_dropped ? "left out" : "kept (duplicates: drop leaves them out)");
    if (r->n_repeated) ng_buf_printf(b, "\n%zu training texts nearly repeat another of their label; they were left out", r->n_repeated);
    if (*r->vector_path) ng_buf_putc(b, '\n');
    put_vectors(b, r);
}

static void put_few_shot(ng_buf *b, const ng_few_shot_result *r) {
    if (!o.json) {
        ng_buf_printf(b, "%s: %zu labels from %zu examples in %.1f s; %.1f %% of the examples are right when left out",
                      r->model_path, r->n_labels, r->n_examples, r->seconds, 100 * r->accuracy);
        if (!isnan(r->oos_threshold)) ng_buf_printf(b, "; out of scope below %.2f", r->oos_threshold);
        ng_buf_printf(b,
                      "\ntry: nanogrid predict -m %s \"..\"; in grid.yaml: models: {%s: {path: %s}} and an expert "
                      "{name: %s, task: classify, model: %s, head: %s}",
                      r->model_path, r->name, r->model_path, r->name, r->name, r->name);
        return;
    }
    ng_json j = ng_json_init(b);
    ng_json_object(&j);
    ng_json_key(&j, "model"), ng_json_str(&j, r->model_path);
    ng_json_key(&j, "labels"), ng_json_uint(&j, r->n_labels);
    ng_json_key(&j, "examples"), ng_json_uint(&j, r->n_examples);
    ng_json_key(&j, "accuracy"), ng_json_fixed(&j, r->accuracy, 6);
    ng_json_key(&j, "temperature"), ng_json_fixed(&j, r->temperature, 6);
    if (!isnan(r->oos_threshold)) ng_json_key(&j, "oos_threshold"), ng_json_fixed(&j, r->oos_threshold, 6);
    ng_json_key(&j, "seconds"), ng_json_fixed(&j, r->seconds, 3);
    ng_json_end(&j);
}

static int run_few_shot(void) {
    ng_error err = {0};
    ng_few_shot_result r;
    ng_few_shot_options opt = {.encoder = o.model, .out_dir = o.out, .n_threads = (int)o.threads};
    if (ng_few_shot(&r, o.few_shot, &opt, &err)) return cli_fail(&err);
    ng_buf b = ng_buf_init(16384);
    put_few_shot(&b, &r);
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

static int run(int argc, char **argv) {
    if (o.threads < 0 || o.threads > 1024) return cli_usage("--threads: %ld is out of range, use 1 to 1024", o.threads);
    if (o.few_shot && (argc || o.bench || o.plot || o.vectors || o.seed >= 0))
        return cli_usage("--few-shot stands for the recipe and takes --out, -m and -t only");
    if (o.few_shot) return run_few_shot();
    if (o.model) return cli_usage("-m belongs to --few-shot; a recipe names its base");
    if (argc != 1) return cli_usage("train needs one RECIPE.yaml");
    ng_error err = {0};
    if (o.bench) return ng_train_bench(argv[0], (int)o.threads, on_bench, NULL, &err) ? cli_fail(&err) : 0;
    cli_train t = {.progress = {.what = "training"}, .json = o.json};
    ng_train_options opt = {.out_dir = o.out, .seed = o.seed, .n_threads = (int)o.threads, .plot = o.plot, .vectors_only = o.vectors};
    ng_train_result r;
    ng_status s = cli_train_run(&t, &r, argv[0], &opt, &err);
    if (s || r.n_heads) return cli_train_end(&t, &r, s, &err);
    ng_buf b = ng_buf_init(8192);
    (o.json ? put_json : put_text)(&b, &r);
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

const cli_verb cli_verb_train = {
    "train", "(RECIPE.yaml [--vectors] | --few-shot LABELS.yaml -m MODEL) [--out DIR] [--seed N] [--plot FILE.svg|png] [--bench] [--json]", "make a package's model from its recipe",
    "The recipe names data below $NANOGRID_DATA, features and settings.  The same recipe, data and seed give the "
    "same bytes.  A recipe of task encoder trains an encoder with several heads; a run that was stopped goes on "
    "from its checkpoint.\n\nLABELS.yaml: name, labels: {NAME: {description: .., examples: [..]}, ..}, out_of_scope: [..], encoder: FILE.  About "
    "eight examples a label give a usable expert: one more head on an encoder that stays as it is.  Accuracy is that of "
    "examples left out one at a time.",
    options, run};
