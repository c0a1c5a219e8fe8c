/* verb_quantize.c: `nanogrid quantize IN OUT TYPE`. */
#include "cli_weights.h"

static struct { bool json; } o;

static const cli_option options[] = {
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL}, {0}};

static int run(int argc, char **argv) {
    if (argc != 3) return cli_usage("quantize takes IN, OUT and TYPE");
    ng_weights_options opt = {.type = argv[2]};
    return cli_weights_run(&(cli_weights){"quantize", ng_quantize_file, o.json}, argv, &opt);
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
