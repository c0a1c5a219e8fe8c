/* verb_convert.c: `nanogrid convert DIR OUT.gguf`. */
#include "cli.h"

#include <nanogrid/tools/weights.h>

static struct {
    const char *type, *pre, *name;
    bool json;
} o;

static const cli_option options[] = {
    {"type", 0, CLI_STR, &o.type, "TYPE", "F32, F16, BF16, Q8_0, Q4_0 or Q4_1 (F16)", NULL},
    {"name", 0, CLI_STR, &o.name, "NAME", "general.name (from config.json or the folder)", NULL},
    {"pre", 0, CLI_STR, &o.pre, "NAME",
     "llama.cpp's name of the pre-tokenizer (found from its pattern)", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

static void show_progress(void *ctx, double done, double total) {
    cli_progress_step(ctx, done, total);
}

static int run(int argc, char **argv) {
    if (argc != 2) return cli_usage("convert takes DIR and OUT.gguf");
    cli_progress progress = {.what = "convert"};
    ng_weights_options opt = {.type = o.type,
                              .pre = o.pre,
                              .name = o.name,
                              .progress = show_progress,
                              .progress_ctx = &progress};
    ng_weights_report r;
    ng_error err = {0};
    ng_status s = ng_convert_folder(&r, argv[0], argv[1], &opt, &err);
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

const cli_verb cli_verb_convert = {"convert",
                                   "DIR OUT.gguf [--type TYPE] [--json]",
                                   "a Hugging Face folder to GGUF",
                                   "DIR holds config.json, model.safetensors (or its shards with "
                                   "model.safetensors.index.json) and tokenizer.json (BERT: or "
                                   "vocab.txt); a sentence-transformers folder also gives its "
                                   "pooling. Read are BertModel, BertForMaskedLM and "
                                   "LlamaForCausalLM. The output has the names and conventions of "
                                   "llama.cpp's converter. Every tensor must be known and of "
                                   "the shape that config.json gives.",
                                   options,
                                   run};
