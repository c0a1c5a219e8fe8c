/* verb_convert.c: `nanogrid convert DIR OUT.gguf`. */
#include "cli_weights.h"

static struct {
    const char *type, *pre, *name;
    bool json;
} o;

static const cli_option options[] = {
    {"type", 0, CLI_STR, &o.type, "TYPE", "any type that quantize writes, no mix (F16)", NULL},
    {"name", 0, CLI_STR, &o.name, "NAME", "general.name (from config.json or the folder)", NULL},
    {"pre", 0, CLI_STR, &o.pre, "NAME",
     "llama.cpp's name of the pre-tokenizer (found from its pattern)", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

static int run(int argc, char **argv) {
    if (argc != 2) return cli_usage("convert takes DIR and OUT.gguf");
    ng_weights_options opt = {.type = o.type, .pre = o.pre, .name = o.name};
    return cli_weights_run(&(cli_weights){.what = "convert", .make = ng_convert_folder, .json = o.json}, argv, &opt);
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
