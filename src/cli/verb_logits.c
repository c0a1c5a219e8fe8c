/* verb_logits.c: `nanogrid logits`: the last position's logits, for conformance tests. */
#include "cli.h"
#include "cli_model.h"

#include <nanogrid/model.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    const char *model, *tokens;
    long threads;
    bool json;
} o;

static const cli_option options[] = {
    {"model", 'm', CLI_STR, &o.model, "FILE", "the GGUF file to run", "NANOGRID_MODEL"},
    {"tokens", 0, CLI_STR, &o.tokens, "IDS", "token ids such as 1,2,3; taken as they are, no BOS is added", NULL},
    {"threads", 't', CLI_INT, &o.threads, "N", "threads (measured)", "NANOGRID_THREADS"},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

static int print_logits(const float *logits, size_t n) {
    ng_buf b = ng_buf_init((size_t)64 << 20);
    ng_json j = ng_json_init(&b);
    if (o.json) {
        ng_json_object(&j);
        ng_json_key(&j, "logits");
        ng_json_array(&j);
        for (size_t i = 0; i < n; i++) ng_json_f32(&j, logits[i]);
        ng_json_end(&j);
        ng_json_end(&j);
    } else {
        for (size_t i = 0; i < n; i++) ng_buf_printf(&b, "%s%zu %.9g", i ? "\n" : "", i, (double)logits[i]);
    }
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

static ng_status check(const float *logits, size_t n, ng_error *err) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(logits[i]))
            return ng_fail(err, NG_EFORMAT, "logit %zu is not finite; the weights of %s are damaged", i, o.model);
    return NG_OK;
}

static ng_status evaluate(const ng_model *m, const int32_t *ids, size_t n, float **logits, ng_error *err) {
    ng_session *s;
    uint32_t n_ctx = ng_model_get_info(m).n_ctx_train;
    ng_session_options opt = {.n_threads = (int)o.threads, .n_ctx = n <= n_ctx ? (uint32_t)n : 0};
    ng_status status = ng_session_new(&s, m, &opt, err);
    if (status) return status;
    *logits = malloc(ng_model_get_info(m).n_vocab * sizeof **logits);
    status = *logits ? ng_session_eval(s, ids, n, *logits, err) : ng_fail(err, NG_ENOMEM, "out of memory");
    if (!status) status = check(*logits, ng_model_get_info(m).n_vocab, err);
    ng_session_free(s);
    return status;
}

static int run(int argc, char **argv) {
    (void)argv;
    if (argc) return cli_usage("logits takes no words; give ids with --tokens");
    if (!o.model || !o.tokens) return cli_usage("logits needs -m FILE and --tokens 1,2,3");
    if (o.threads < 0 || o.threads > 256) return cli_usage("-t %ld: use 1 to 256, or 0 to measure", o.threads);
    ng_error err = {0};
    ng_model *m = NULL;
    int32_t *ids = NULL;
    float *logits = NULL;
    size_t n;
    ng_status status = cli_ids(o.tokens, &ids, &n, &err);
    if (!status) status = ng_model_open(&m, o.model, &err);
    if (!status) cli_model_note(m);
    if (!status) status = evaluate(m, ids, n, &logits, &err);
    int code = status ? cli_fail(&err) : print_logits(logits, ng_model_get_info(m).n_vocab);
    free(logits);
    ng_model_close(m);
    free(ids);
    return code;
}

const cli_verb cli_verb_logits = {
    "logits", "-m FILE --tokens IDS", "the logits that follow a list of token ids",
    "Runs the ids through the model and prints the logits of the last position. The file's tokenizer\n"
    "is not used and need not be supported.", options, run};
