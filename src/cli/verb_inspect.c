/* verb_inspect.c: `nanogrid inspect FILE`. */
#include "cli.h"

#include <nanogrid/inspect.h>

static struct { bool json, tensors; } o;

static const cli_option options[] = {
    {"tensors", 0, CLI_FLAG, &o.tensors, NULL, "list every tensor", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

static int run(int argc, char **argv) {
    if (argc != 1) return cli_usage("inspect takes one FILE");
    ng_inspection *in;
    ng_error err = {0};
    if (ng_inspect_open(&in, argv[0], &err)) return cli_fail(&err);
    ng_buf out = ng_buf_init(256u << 20);
    ng_json j = ng_json_init(&out);
    if (o.json) ng_inspect_json(&j, in, o.tensors);
    else ng_inspect_text(&out, in, o.tensors);
    if (!o.json && out.len) out.data[--out.len] = 0; /* cli_print ends the last line */
    int code = cli_print(&out);
    ng_buf_clear(&out);
    ng_inspect_close(in);
    return code;
}

const cli_verb cli_verb_inspect = {"inspect",
                                   "FILE [--tensors] [--json]",
                                   "what is in a model file",
                                   "Reads GGUF and safetensors. The whole header is checked: a "
                                   "file that inspect shows has sound sizes, offsets and "
                                   "names; one that it refuses is named with the byte and the "
                                   "field. Long values are cut in the text and arrays of "
                                   "more than 16 elements in both.",
                                   options,
                                   run};
