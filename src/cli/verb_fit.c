/* verb_fit.c: `nanogrid fit`: which expert, for this task, on this device. */
#include "cli.h"

#include <nanogrid/tools/fit.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    bool json;
    const char *task, *ram, *latency, *data, *text, *label, *out;
    cli_list models;
    long threads;
} o;

static const cli_option options[] =
    {{"task", 0, CLI_STR, &o.task, "T", "what is asked for: classify, moderate, detect-language, ..", NULL},
     {"ram", 0, CLI_STR, &o.ram, "R", "most memory that serving may take, such as 512MB (no limit)", NULL},
     {"latency", 0, CLI_STR, &o.latency, "L", "95 of 100 answers within this time, such as 20ms or 500us (no limit)",
      NULL},
     {"data", 0, CLI_STR, &o.data, "FILE", "labelled texts, or prompts and answers: .csv, .tsv, .jsonl, for extract .conll (the packages as they are)", NULL},
     {"text", 0, CLI_STR, &o.text, "COLUMN", "of the texts (text; generate: prompt)", NULL},
     {"label", 0, CLI_STR, &o.label, "COLUMN", "of the labels (label; generate: answer)", NULL},
     {"model", 'm', CLI_LIST, &o.models, "FILE", "a GGUF to try as well, with --data a BERT; may be given again", NULL},
     {"out", 'o', CLI_STR, &o.out, "DIR", "where grid.yaml and its models go (fit)", NULL},
     {"threads", 't', CLI_INT, &o.threads, "N", "threads for models (chosen by measurement)", "NANOGRID_THREADS"},
     {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
     {0}};

/* A number and one of the units; false: it is none. */
static bool with_unit(const char *text, const char *const units[], const double factor[], double *out) {
    char *end;
    double x = strtod(text, &end);
    if (end == text || !(x > 0) || !isfinite(x)) return false;
    for (int i = 0; units[i]; i++)
        if (!strcmp(end, units[i])) return *out = x * factor[i], true;
    return false;
}

static int read_limits(ng_device_fit_options *f) {
    static const char *const sizes[] = {"B", "KB", "KiB", "MB", "MiB", "GB", "GiB", NULL}, *const times[] = {"ms", "us",
                                                                                                             "s", NULL};
    static const double bytes[] = {1, 1024, 1024, 1 << 20, 1 << 20, 1 << 30, 1 << 30}, ms[] = {1, 1e-3, 1e3};
    double ram = 0;
    if (o.ram && (!with_unit(o.ram, sizes, bytes, &ram) || ram < 1 || ram > 1e15))
        return cli_usage("--ram: '%.40s' is no size such as 512MB", o.ram);
    if (o.latency && !with_unit(o.latency, times, ms, &f->latency_ms))
        return cli_usage("--latency: '%.40s' is no time such as 20ms", o.latency);
    f->ram_bytes = (uint64_t)ram;
    return 0;
}

static void put_number(ng_json *j, const char *key, double x, int decimals) {
    ng_json_key(j, key);
    if (isnan(x)) ng_json_null(j);
    else ng_json_fixed(j, x, decimals);
}

static void put_json(ng_buf *b, const ng_device_fit *r) {
    ng_json j = ng_json_init(b);
    ng_json_object(&j);
    const char *figure = r->by_bits ? "bits_per_byte" : "accuracy", *test = r->by_bits ? "test_bits_per_byte" : "test_accuracy";
    ng_json_key(&j, "task"), ng_json_str(&j, o.task);
    ng_json_key(&j, "tried"), ng_json_array(&j);
    for (size_t i = 0; i < r->n_rows; i++) {
        const ng_device_fit_row *w = &r->rows[i];
        ng_json_object(&j);
        ng_json_key(&j, "name"), ng_json_str(&j, w->name);
        ng_json_key(&j, "what"), ng_json_str(&j, w->what);
        put_number(&j, figure, w->accuracy, 6);
        put_number(&j, "p50_ms", w->p50_ms, 4);
        put_number(&j, "p95_ms", w->p95_ms, 4);
        put_number(&j, "memory_mb", w->peak_mb, 2);
        put_number(&j, "model_mb", w->model_mb, 3);
        ng_json_key(&j, "fits"), ng_json_bool(&j, w->fits);
        ng_json_key(&j, "why"), ng_json_str(&j, w->why);
        ng_json_end(&j);
    }
    ng_json_end(&j);
    ng_json_key(&j, "chosen"), ng_json_str(&j, r->rows[r->chosen].name);
    ng_json_key(&j, "because"), ng_json_str(&j, r->because);
    put_number(&j, test, r->test_accuracy, 6);
    ng_json_key(&j, "train"), ng_json_uint(&j, r->n_train);
    ng_json_key(&j, "choose"), ng_json_uint(&j, r->n_choose);
    ng_json_key(&j, "test"), ng_json_uint(&j, r->n_test);
    ng_json_key(&j, "grid"), ng_json_str(&j, r->grid_path);
    put_number(&j, "seconds", r->seconds, 1);
    ng_json_end(&j);
}

static void put_cell(ng_buf *b, double x, const char *form) {
    if (isnan(x)) ng_buf_printf(b, "%11s", "-");
    else ng_buf_printf(b, form, x);
}

static void put_table(ng_buf *b, const ng_device_fit *r, bool done) {
    ng_buf_printf(b, "%-24s%11s%11s%11s%11s%11s", "", r->by_bits ? "bits/byte" : "accuracy", "p50 ms", "p95 ms", "memory MB", "files MB");
    for (size_t i = 0; i < r->n_rows; i++) {
        const ng_device_fit_row *w = &r->rows[i];
        ng_buf_printf(b, "\n%s %-22s", done && i == r->chosen ? ">" : " ", w->name);
        put_cell(b, w->accuracy, "%11.4f"), put_cell(b, w->p50_ms, "%11.3f"), put_cell(b, w->p95_ms, "%11.3f");
        put_cell(b, w->peak_mb, "%11.1f"), put_cell(b, w->model_mb, "%11.2f");
        ng_buf_printf(b, "  %s", w->why);
    }
}

static void put_text(ng_buf *b, const ng_device_fit *r) {
    put_table(b, r, true);
    ng_buf_printf(b, "\n\n%s", r->because);
    if (!isnan(r->test_accuracy) && r->by_bits)
        ng_buf_printf(b, "; on %zu texts that decided nothing: %.3f bits a byte", r->n_test, r->test_accuracy);
    else if (!isnan(r->test_accuracy))
        ng_buf_printf(b, "; on %zu texts that decided nothing: %.1f %%", r->n_test, 100 * r->test_accuracy);
    ng_buf_printf(b, "\n%s written in %.0f s; try: nanogrid run --grid %s --task %s \"..\"", r->grid_path, r->seconds,
                  r->grid_path, o.task);
}

static void on_row(void *ctx, const ng_device_fit_row *row, size_t done, size_t of) {
    (void)row;
    cli_progress_step(ctx, (double)done, (double)of);
}

static int run(int argc, char **argv) {
    (void)argv;
    ng_device_fit_options f = {.data = o.data, .text = o.text, .label = o.label, .models = o.models.items, .n_models = (size_t)o.models.len,
                               .out_dir = o.out, .n_threads = (int)o.threads, .on_row = on_row};
    if (argc) return cli_usage("fit takes options only");
    if (!o.task || !ng_task_parse(&f.task, o.task) || f.task == NG_TASK_AUTO)
        return cli_usage(o.task ? "--task: there is no task '%.40s'" : "fit needs --task T, such as classify", o.task);
    if (!o.data && (o.text || o.label)) return cli_usage("--%s names a column of --data", o.text ? "text" : "label");
    if (o.threads < 0 || o.threads > 1024) return cli_usage("--threads: %ld is out of range, use 1 to 1024", o.threads);
    int code = read_limits(&f);
    if (code) return code;
    ng_error err = {0};
    cli_progress progress = {.what = "trying"};
    f.ctx = &progress;
    ng_device_fit *r = calloc(1, sizeof *r);
    ng_buf b = ng_buf_init(1 << 20);
    if (!r) return cli_fail(&(ng_error){.code = NG_ENOMEM, .text = "fit: out of memory"});
    ng_status s = ng_device_fit_run(r, &f, &err);
    cli_progress_end(&progress);
    if (s && r->n_rows) {
        put_table(&b, r, false);
        fprintf(stderr, "%.*s\n", (int)b.len, b.data);
    } else if (!s) {
        (o.json ? put_json : put_text)(&b, r);
    }
    code = s ? cli_fail(&err) : cli_print(&b);
    ng_buf_clear(&b);
    free(r);
    return code;
}

const cli_verb cli_verb_fit = {
    "fit", "--task T [--ram R] [--latency L] [--data FILE] [-m FILE] [--out DIR] [--json]", "choose an expert for this device and write its grid.yaml",
    "Tries what can serve the task, on this device: with labelled texts, linear models of two sizes, heads on encoders cut to "
    "fewer layers, and both together, for moderate and extract an adapter on the shared encoder; without, the packages as they are.  A model that generates is tried in fewer bits and with shorter contexts; with prompts and answers it is "
    "judged by the replies that hold the answer, or by the bits that long answers cost it.  Each is asked held-out texts in a process of its own; of "
    "those within --ram and --latency the most accurate is chosen, unless a smaller one is as good.\n\nDIR then holds grid.yaml, "
    "its models and their recipes.  Nothing fits: exit 1, and the nearest miss is told.",
    options, run};
