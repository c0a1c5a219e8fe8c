/* verb_quantize.c: `nanogrid quantize IN OUT TYPE`. */
#include "cli_weights.h"

static struct {
    const char *imatrix, *text;
    bool accept, json;
} o;

static const cli_option options[] = {
    {"imatrix", 0, CLI_STR, &o.imatrix, "FILE", "weigh errors by this importance matrix (nanogrid imatrix)", NULL},
    {"file", 'f', CLI_STR, &o.text, "FILE", "the text that the loss is measured on (a page of prose)", NULL},
    {"accept-loss", 0, CLI_FLAG, &o.accept, NULL, "keep OUT whatever it lost", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

static int run(int argc, char **argv) {
    if (argc != 3) return cli_usage("quantize takes IN, OUT and TYPE");
    ng_weights_options opt = {.type = argv[2], .imatrix = o.imatrix};
    cli_weights w = {.what = "quantize", .make = ng_quantize_file, .json = o.json, .compare = true,
                     .accept = o.accept, .text = o.text};
    return cli_weights_run(&w, argv, &opt);
}

const cli_verb cli_verb_quantize = {
    "quantize", "IN.gguf OUT.gguf TYPE [--imatrix FILE] [--accept-loss] [--json]",
    "store a model's weights in another precision",
    "TYPE is F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K, Q5_1, Q5_0, Q4_K_M, Q4_K, Q4_1 or Q4_0, which other engines\n"
    "read too, or NG4_M, NG4 (4.25 bits) or NG3 (about 2.9 bits), which are this engine's own and made for rows of nano models.\n"
    "Matrices change, the token embedding and the output head included; vectors, norms, biases, position tables\n"
    "and expert routers are stored as F32. The mixes Q4_K_M and Q5_K_M give the head and some layers Q6_K, NG4_M\n"
    "gives attn_v and attn_output Q8_0, NG3 gives ffn_gate and ffn_up 2.625 bits (NG3_S); NG types are best with `imatrix --full`. A\n"
    "matrix whose rows do not fit the type's blocks gets the next type that fits, and is marked.\n\n"
    "The new file is then compared with IN: decoders by KL divergence, encoders by the cosine of their vectors,\n"
    "both by speed. A file that lost more than its type may (docs/formats.md) is removed, OUT stays as it was and\n"
    "the exit is 1, unless --accept-loss is given. Types of 2 bits and less are refused (1) in any case. A file that this version cannot run is kept and not measured.\n\n"
    "Any type that can be run can be read; from one quantised type to another precision is lost twice, so start\n"
    "from F16. A NaN or an infinity in the weights is refused with the tensor's name.\n",
    options, run};
