/* verb_detokenize.c: `nanogrid detokenize`: ids to text. */
#include "cli.h"

#include <nanogrid/tokenizer.h>
#include <stdlib.h>

static struct {
    const char *model, *tokens;
    bool json, special;
} o;

static const cli_option options[] = {
    {"model", 'm', CLI_STR, &o.model, "FILE", "the GGUF file whose vocabulary to use", "NANOGRID_MODEL"},
    {"tokens", 0, CLI_STR, &o.tokens, "1,2,3", "the ids", NULL},
    {"special", 0, CLI_FLAG, &o.special, NULL, "write special tokens too", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

static int print_text(const ng_buf *text) {
    if (!o.json) return cli_print(text);
    ng_buf out = ng_buf_init(SIZE_MAX / 2);
    ng_json j = ng_json_init(&out);
    ng_json_object(&j);
    ng_json_key(&j, "text"), ng_json_strn(&j, text->data, text->len);
    ng_json_end(&j);
    int rc = cli_print(&out);
    ng_buf_clear(&out);
    return rc;
}

static int run(int argc, char **argv) {
    ng_error err = {0};
    ng_tokenizer *t = NULL;
    ng_buf text = ng_buf_init((size_t)1 << 30);
    int32_t *ids = NULL;
    size_t n = 0;
    (void)argv;
    if (argc) return cli_usage("detokenize takes no words, but --tokens");
    if (!o.model || !o.tokens) return cli_usage("detokenize needs -m FILE and --tokens 1,2,3");
    ng_status s = cli_ids(o.tokens, &ids, &n, &err);
    if (!s) s = ng_tokenizer_open(&t, o.model, &err);
    if (!s) s = ng_detokenize(t, ids, n, o.special, &text, &err);
    int rc = s ? cli_fail(&err) : print_text(&text);
    free(ids);
    ng_buf_clear(&text);
    ng_tokenizer_close(t);
    return rc;
}

const cli_verb cli_verb_detokenize = {
    "detokenize", "-m FILE --tokens 1,2,3 [--special]", "token ids to text",
    "With --json, bytes that are not UTF-8 are written as U+FFFD; without, as they are.", options, run};
