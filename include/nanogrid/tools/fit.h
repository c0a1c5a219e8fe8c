/* fit.h: which expert for this task, within this memory and this time, on this device?
 *
 *     ng_device_fit_options o = {.task = NG_TASK_CLASSIFY, .ram_bytes = 32 << 20, .latency_ms = 2, .data = "tickets.csv"};
 *     ng_device_fit r;
 *     if (ng_device_fit_run(&r, &o, &err)) ..                 NG_ELIMIT: nothing fits; the text has the nearest miss
 *     printf("%s: %s\n", r.rows[r.chosen].name, r.grid_path);
 *     for (size_t i = 0; i < r.n_rows; i++) use(&r.rows[i]);   what was tried
 *
 * With data: rows are split by their text into ten parts; seven train, one tunes, one is chosen on, one is judged by at
 * the end.  Tried are linear models of two sizes, heads on encoders cut to fewer layers, and a linear model with an
 * encoder behind it where it is unsure; for tags and for several labels at once an adapter on the shared encoder.  Without data: the packages (or `models`) that serve the task, judged by their cards.
 * A model that generates is tried in its own and in fewer bits, with shorter contexts and a past in 8 bits; with prompts and their answers
 * it is judged by the replies in which the answer stands, or by the bits that free answers cost it.
 *
 * Each candidate answers the held-out texts through a grid of its own in a process of its own, which is this program
 * with the verb `run`; memory is the most that process held, and what a server takes beside it; time is what the
 * answers say, at the 95th of 100.  Of those within the limits the most accurate is chosen, unless a smaller one is as
 * good: right on so few texts less that chance would do it (one standard deviation of the difference).
 *
 * The folder `out_dir` then holds grid.yaml, the model files that it names and, with data, their recipes. */
#ifndef NANOGRID_TOOLS_FIT_H
#define NANOGRID_TOOLS_FIT_H

#include <nanogrid/answer.h>

enum { NG_DEVICE_FIT_ROWS_MAX = 32 };

typedef struct ng_device_fit_row {
    char name[40];      /* "encoder-2" */
    char what[120];     /* one line for people */
    char why[160];      /* "fits", or what it misses, or why it could not be tried */
    double model_mb;    /* files together */
    double accuracy;    /* on the texts that the choice is made on (extract: F1 of entities; ng_device_fit.by_bits: the bits a byte, less is
                           better), or by the card; NaN: not known */
    double p50_ms, p95_ms, peak_mb; /* NaN: not measured */
    bool fits;
} ng_device_fit_row;

typedef struct ng_device_fit_options {
    ng_task task;
    uint64_t ram_bytes;      /* 0: no limit */
    double latency_ms;       /* 0: no limit */
    const char *data;        /* .csv, .tsv, .jsonl, for extract .conll or .jsonl with spans; or NULL */
    const char *text, *label; /* its columns; NULL: "text", "label", for generate "prompt", "answer" */
    const char *const *models; /* GGUF files to try beside the packages */
    size_t n_models;
    const char *out_dir;     /* NULL: "fit" */
    int n_threads;           /* of the models; 0: measured */
    void (*on_row)(void *ctx, const ng_device_fit_row *row, size_t done, size_t of); /* or NULL */
    void *ctx;
} ng_device_fit_options;

typedef struct ng_device_fit {
    ng_device_fit_row rows[NG_DEVICE_FIT_ROWS_MAX];
    size_t n_rows, chosen;
    size_t n_train, n_choose, n_test; /* texts; 0 without data */
    bool by_bits;                     /* generate: the answers are free texts, and told is what a byte of them costs */
    double test_accuracy;             /* of the chosen one, as the rows' accuracy; NaN without data */
    char because[200], grid_path[1024];
    double seconds;
} ng_device_fit;

/* NG_EINVALID: data too few or with one label, a task that data cannot train, an out_dir in use.  On failure nothing
 * new is left in out_dir; *out has the rows tried so far. */
NG_API ng_status ng_device_fit_run(ng_device_fit *out, const ng_device_fit_options *opt, ng_error *err) NG_MUST_USE;

#endif
