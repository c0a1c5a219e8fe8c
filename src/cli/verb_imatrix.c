/* verb_imatrix.c: `nanogrid imatrix`: which columns of a model's matrices matter. */
#include "cli_model.h"

#include <nanogrid/tools/imatrix.h>

#include <string.h>

static cli_run run_options = {.n_ctx = 0};
static struct {
    const char *file, *out;
    bool full, json;
} o;

static const cli_option options[] = {
    CLI_MODEL_OPTIONS(&run_options),
    CLI_CTX_OPTION(&run_options),
    {"file", 'f', CLI_STR, &o.file, "FILE", "the text; - is standard input", NULL},
    {"output", 'o', CLI_STR, &o.out, "FILE", "the importance matrix to write", NULL},
    {"full", 0, CLI_FLAG, &o.full, NULL, "keep the products of columns too: a larger file, less loss", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

static void progress(void *ctx, double done, double total) { cli_progress_step(ctx, done, total); }

static int print(const ng_imatrix_report *r) {
    ng_buf b = ng_buf_init(4096);
    ng_json j = ng_json_init(&b);
    if (o.json) {
        ng_json_object(&j);
        ng_json_key(&j, "file"), ng_json_str(&j, o.out);
        ng_json_key(&j, "matrices"), ng_json_uint(&j, r->n_matrices);
        ng_json_key(&j, "tokens"), ng_json_uint(&j, r->n_tokens);
        ng_json_key(&j, "windows"), ng_json_uint(&j, r->n_windows);
        ng_json_end(&j);
    } else
        ng_buf_printf(&b, "%s: %zu matrices over %zu tokens in %zu windows", o.out, r->n_matrices, r->n_tokens,
                      r->n_windows);
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

static int run(int argc, char **argv) {
    (void)argv;
    ng_error err = {0};
    if (argc) return cli_usage("imatrix takes no words; give the text with -f FILE and the output with -o FILE");
    if (!o.file || !o.out)
        return cli_usage(o.file ? "no output: give one with -o FILE" : "no text: give one with -f FILE");
    ng_buf text = ng_buf_init(256 << 20);
    cli_session cs;
    cli_progress bar = {.what = "imatrix"};
    ng_imatrix_report r;
    ng_status s = cli_read(&text, o.file, &err);
    if (!s) s = cli_session_open(&cs, &run_options, &err);
    if (s) {
        ng_buf_clear(&text);
        return cli_fail(&err);
    }
    const char *slash = strrchr(o.file, '/');
    ng_imatrix_options opt = {.session = cs.session, .text = text.data, .len = text.len, .path = o.out, .full = o.full,
                              .dataset = slash ? slash + 1 : o.file, .progress = progress, .progress_ctx = &bar};
    s = ng_imatrix_measure(&r, &opt, &err);
    cli_progress_end(&bar);
    int code = s ? cli_fail(&err) : print(&r);
    cli_session_close(&cs);
    ng_buf_clear(&text);
    return code;
}

const cli_verb cli_verb_imatrix = {
    "imatrix", "-m FILE -f TEXT -o FILE [--json]", "measure which weights of a model matter, for quantize",
    "Runs the model over a text and sums, for every weight matrix, the squares of what each of its columns is\n"
    "multiplied with; quantize --imatrix then rounds the columns that matter most with the least error. A decoder\n"
    "reads the text in windows of the context length (-c), an encoder one text a line. 20 to 200 thousand tokens of\n"
    "the kind that the model will see are enough. The file is GGUF in the form that llama.cpp reads and writes.\n"
    "Start from the F16 or F32 file; a quantised encoder is refused.\n",
    options, run};
