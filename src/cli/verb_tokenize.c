/* verb_tokenize.c: `nanogrid tokenize`: standard input, byte for byte, to ids. */
#include "cli.h"

#include <nanogrid/tokenizer.h>
#include <stdlib.h>

static struct {
    const char *model;
    bool json, special, bos;
} o;

static const cli_option options[] = {
    {"model", 'm', CLI_STR, &o.model, "FILE", "the GGUF file whose vocabulary to use", "NANOGRID_MODEL"},
    {"special", 0, CLI_FLAG, &o.special, NULL, "special tokens in the text (<|im_start|>) become their ids", NULL},
    {"bos", 0, CLI_FLAG, &o.bos, NULL, "add what the model wants around a text (BOS, [CLS] and [SEP])", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

static int print_ids(const int32_t *ids, size_t n) {
    ng_buf out = ng_buf_init(SIZE_MAX / 2);
    if (o.json) {
        ng_json j = ng_json_init(&out);
        ng_json_object(&j);
        ng_json_key(&j, "tokens"), ng_json_array(&j);
        for (size_t i = 0; i < n; i++) ng_json_int(&j, ids[i]);
        ng_json_end(&j);
        ng_json_end(&j);
    } else {
        for (size_t i = 0; i < n; i++) ng_buf_printf(&out, i ? ",%d" : "%d", ids[i]);
    }
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
    if (argc) return cli_usage("tokenize reads standard input and takes no words");
    if (!o.model) return cli_usage("tokenize needs -m FILE");
    ng_tokenize_options opt = {.add_special = o.bos, .parse_special = o.special};
    ng_status s = ng_tokenizer_open(&t, o.model, &err);
    if (!s) s = cli_read(&text, "-", &err);
    if (!s) s = ng_tokenize(t, text.data, text.len, &opt, &ids, &n, &err);
    int rc = s ? cli_fail(&err) : print_ids(ids, n);
    free(ids);
    ng_buf_clear(&text);
    ng_tokenizer_close(t);
    return rc;
}

const cli_verb cli_verb_tokenize = {
    "tokenize", "-m FILE [--special] [--bos]", "text on standard input to token ids",
    "Every byte counts, a final newline and invalid UTF-8 too. Without options nothing is added and special tokens "
    "are plain text, so `detokenize` gives the same text back (byte-level vocabularies).",
    options, run};
