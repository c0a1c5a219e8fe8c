/* verb_quantize.c: `nanogrid quantize IN OUT TYPE`. */
#include "cli.h"

#include <nanogrid/tools/weights.h>
#include <string.h>

static struct { bool json; } o;

static const cli_option options[] = {
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL}, {0}};

static void show_progress(void *ctx, double done, double total) {
    cli_progress_step(ctx, done, total);
}

static int run(int argc, char **argv) {
    if (argc != 3) return cli_usage("quantize takes IN, OUT and TYPE");
    cli_progress progress = {.what = "quantize"};
    ng_weights_options opt = {
        .type = argv[2], .progress = show_progress, .progress_ctx = &progress};
    ng_weights_report r;
    ng_error err = {0};
    ng_status s = ng_quantize_file(&r, argv[0], argv[1], &opt, &err);
    cli_progress_end(&progress);
    if (s) return cli_fail(&err);
    ng_buf out = ng_buf_init(64u << 20);
    ng_json j = ng_json_init(&out);
    if (o.json) ng_weights_report_json(&j, &r);
    else ng_weights_report_text(&out, &r);
    if (!o.json && out.len) out.data[--out.len] = 0; /* cli_print ends the last line */
    int code = cli_print(&out);
    ng_buf_clear(&out);
    ng_weights_report_clear(&r);
    return code;
}

const cli_verb cli_verb_quantize = {"quantize",
                                    "IN.gguf OUT.gguf TYPE [--json]",
                                    "store a model's weights in another precision",
                                    "TYPE is F32, F16, BF16, Q8_0, Q4_0 or Q4_1. Matrices change, "
                                    "the token embedding and the output head included; "
                                    "vectors, norms, biases, position tables and expert routers "
                                    "are stored as F32. A matrix whose rows are no multiple "
                                    "of 32 becomes F16 and is marked. The blocks are the same "
                                    "bytes as ggml's reference quantisers give. Any type that "
                                    "can be run can be read; from one quantised type to another "
                                    "precision is lost twice, so start from F16.",
                                    options,
                                    run};
