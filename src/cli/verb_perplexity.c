/* verb_perplexity.c: `nanogrid perplexity`: how well a model predicts a file, how far it is from another. */
#include "cli_model.h"

#include <nanogrid/perplexity.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cli_run run_options;
static struct {
    const char *file, *base;
    bool json;
} o;

static const cli_option options[] = {
    CLI_MODEL_OPTIONS(&run_options),
    CLI_CTX_OPTION(&run_options),
    CLI_KV_OPTION(&run_options.kv),
    {"file", 'f', CLI_STR, &o.file, "FILE", "the text; - is standard input", NULL},
    {"kl-base", 0, CLI_STR, &o.base, "GGUF", "also compare with this model", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

static void progress(void *ctx, size_t done, size_t total) { cli_progress_step(ctx, (double)done, (double)total); }

static ng_status read_ids(const ng_model *m, int32_t **ids, size_t *n, ng_error *err) {
    const ng_tokenizer *t = ng_model_tokenizer(m, err);
    if (!t) return err->code;
    ng_buf text = ng_buf_init(256 << 20);
    ng_status s = cli_read(&text, o.file, err);
    if (!s && text.len && text.data[text.len - 1] == '\n') text.data[--text.len] = 0;
    if (!s) s = ng_tokenize(t, text.data, text.len, NULL, ids, n, err);
    ng_buf_clear(&text);
    return s;
}

static int print(const ng_perplexity *p) {
    ng_buf b = ng_buf_init(4096);
    ng_json j = ng_json_init(&b);
    if (o.json) {
        ng_json_object(&j);
        ng_json_key(&j, "ppl"), ng_json_fixed(&j, p->ppl, 6);
        ng_json_key(&j, "kld_mean"), ng_json_fixed(&j, p->kld_mean, 9);
        ng_json_key(&j, "top1_agree"), ng_json_fixed(&j, p->top1_agree, 6);
        ng_json_key(&j, "tokens"), ng_json_uint(&j, p->n_scored);
        ng_json_key(&j, "windows"), ng_json_uint(&j, p->n_windows);
        ng_json_end(&j);
    } else {
        ng_buf_printf(&b, "perplexity %.4f over %zu tokens in %zu windows", p->ppl, p->n_scored, p->n_windows);
        if (!isnan(p->kld_mean))
            ng_buf_printf(&b, "\nKL %.6f nats a token, the same best token in %.2f %%", p->kld_mean,
                          100 * p->top1_agree);
    }
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

static int run(int argc, char **argv) {
    (void)argv;
    ng_error err = {0};
    if (argc) return cli_usage("perplexity takes no words; give the text with -f FILE");
    if (!o.file) return cli_usage("no text: give one with -f FILE");
    cli_session cs, base = {0};
    cli_run base_options = run_options;
    base_options.model = o.base;
    base_options.kv = NULL; /* --kv is measured against none */
    int32_t *ids = NULL;
    cli_progress bar = {.what = "perplexity"};
    ng_perplexity p;
    if (cli_session_open(&cs, &run_options, &err)) return cli_fail(&err);
    ng_perplexity_options opt = {.session = cs.session, .progress = progress, .ctx = &bar};
    ng_status s = read_ids(cs.model, &ids, &opt.n, &err);
    base_options.n_ctx = (long)ng_session_n_ctx(cs.session);
    if (!s && o.base) s = cli_session_open(&base, &base_options, &err);
    opt.ids = ids;
    opt.base = base.session;
    if (!s) s = ng_perplexity_measure(&p, &opt, &err);
    cli_progress_end(&bar);
    int code = s ? cli_fail(&err) : print(&p);
    free(ids);
    cli_session_close(&base);
    cli_session_close(&cs);
    return code;
}

const cli_verb cli_verb_perplexity = {
    "perplexity", "-m FILE -f FILE [--kl-base GGUF]", "how well a model predicts a text",
    "The text is cut into windows of the context length (-c) without overlap; no special token is added, and\n"
    "-log p counts from the second token of each window. With --kl-base the mean of KL(base || model) over the\n"
    "same positions and the share of equal best tokens are added; --kv is not for the base, so the same file\n"
    "twice tells what 8-bit past tokens cost.\n",
    options, run};
