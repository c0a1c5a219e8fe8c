/* verb_complete.c: `nanogrid complete`: a prompt in, raw tokens out. */
#include "cli_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cli_run run_options;
static cli_sampling sampling = CLI_SAMPLING_DEFAULT;
static struct {
    const char *prompt, *tokens;
    long logprobs;
    bool json;
} o = {.logprobs = -1};

static const cli_option options[] = {
    CLI_MODEL_OPTIONS(&run_options),
    CLI_CTX_OPTION(&run_options),
    CLI_KV_OPTION(&run_options.kv),
    CLI_PREFIX_OPTION(&run_options.prefix_dir),
    {"prompt", 'p', CLI_STR, &o.prompt, "TEXT", "the text to go on from; - or none: standard input", NULL},
    {"tokens", 0, CLI_STR, &o.tokens, "IDS", "the prompt as ids 1,2,3, taken as they are", NULL},
    CLI_SAMPLING_OPTIONS(&sampling),
    {"keep", 0, CLI_INT, &sampling.keep, "N", "with --shift: the first N tokens stay (0)", NULL},
    {"logprobs", 0, CLI_INT, &o.logprobs, "N", "with --json: log p of each token and of the N best (0 to 20)", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

static ng_status read_prompt(const cli_session *cs, int32_t **ids, size_t *n, ng_error *err) {
    if (o.tokens) return cli_ids(o.tokens, ids, n, err);
    const ng_tokenizer *t = ng_model_tokenizer(cs->model, err);
    if (!t) return err->code;
    ng_buf text = ng_buf_init(256 << 20);
    char *words[] = {(char *)o.prompt};
    ng_status s = cli_text(&text, o.prompt ? 1 : 0, words, err);
    ng_tokenize_options opt = {.add_special = true, .parse_special = true};
    if (!s) s = ng_tokenize(t, text.data, text.len, &opt, ids, n, err);
    ng_buf_clear(&text);
    return s;
}

static bool print_piece(void *ctx, const ng_token_event *e) {
    (void)ctx;
    fwrite(e->text, 1, e->len, stdout);
    return fflush(stdout) == 0; /* nobody reads: stop */
}

static void put_logprobs(ng_json *j, const ng_generation *g) {
    ng_json_key(j, "logprobs");
    ng_json_array(j);
    for (size_t i = 0; i < g->n_tokens; i++) {
        ng_json_object(j);
        ng_json_key(j, "token"), ng_json_int(j, g->tokens[i]);
        ng_json_key(j, "logprob"), ng_json_f32(j, g->logprobs[i]);
        ng_json_key(j, "top");
        ng_json_array(j);
        for (size_t k = 0; k < g->n_top; k++) {
            ng_json_object(j);
            ng_json_key(j, "token"), ng_json_int(j, g->top[i * g->n_top + k].id);
            ng_json_key(j, "logprob"), ng_json_f32(j, g->top[i * g->n_top + k].logprob);
            ng_json_end(j);
        }
        ng_json_end(j);
        ng_json_end(j);
    }
    ng_json_end(j);
}

static int print_json(const ng_generation *g) {
    ng_buf b = ng_buf_init(256 << 20);
    ng_json j = ng_json_init(&b);
    ng_json_object(&j);
    ng_json_key(&j, "text"), ng_json_strn(&j, g->text, g->text_len);
    ng_json_key(&j, "tokens");
    ng_json_array(&j);
    for (size_t i = 0; i < g->n_tokens; i++) ng_json_int(&j, g->tokens[i]);
    ng_json_end(&j);
    ng_json_key(&j, "finish"), ng_json_str(&j, g->finish);
    ng_json_key(&j, "prompt_tokens"), ng_json_uint(&j, g->n_prompt);
    ng_json_key(&j, "cached_tokens"), ng_json_uint(&j, g->n_cached);
    if (o.logprobs >= 0) put_logprobs(&j, g);
    ng_json_key(&j, "timings");
    ng_json_object(&j);
    ng_json_key(&j, "prompt_ms"), ng_json_fixed(&j, g->prompt_ms, 3);
    ng_json_key(&j, "predicted_ms"), ng_json_fixed(&j, g->predicted_ms, 3);
    ng_json_end(&j);
    ng_json_end(&j);
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

/* Without a tokenizer there is no text to stream: the ids are the result. */
static int print_text(const ng_generation *g, bool has_text) {
    for (size_t i = 0; !has_text && i < g->n_tokens; i++) printf("%s%d", i ? "," : "", (int)g->tokens[i]);
    putchar('\n');
    if (fflush(stdout)) return fputs("nanogrid: cannot write to standard output\n", stderr), 1;
    return 0;
}

static int run(int argc, char **argv) {
    (void)argv;
    ng_error err = {0};
    ng_generate_options opt;
    if (argc) return cli_usage("complete takes no words; give the prompt with -p TEXT or --tokens IDS");
    if (o.prompt && o.tokens) return cli_usage("give -p TEXT or --tokens IDS, not both");
    if (o.logprobs >= 0 && !o.json) return cli_usage("--logprobs is printed with --json only");
    if (o.logprobs < -1 || o.logprobs > 20) return cli_usage("--logprobs is %ld, it must lie in 0 to 20", o.logprobs);
    if (sampling.keep && !sampling.shift) return cli_usage("--keep acts with --shift only");
    if (cli_sampling_read(&opt, &sampling, &err)) return cli_fail(&err);
    opt.n_top = o.logprobs > 0 ? (uint32_t)o.logprobs : 0;
    opt.ignore_eog = o.tokens != NULL;
    cli_session cs;
    if (cli_session_open(&cs, &run_options, &err)) return cli_fail(&err);
    int32_t *ids = NULL;
    size_t n = 0;
    ng_generation g = {0};
    bool has_text = ng_model_tokenizer(cs.model, NULL) != NULL;
    opt.on_token = o.json ? NULL : print_piece;
    int code = 0;
    if (read_prompt(&cs, &ids, &n, &err) || ng_generate(&g, cs.session, ids, n, &opt, &err)) code = cli_fail(&err);
    else code = o.json ? print_json(&g) : print_text(&g, has_text);
    ng_prefix_stats kept = ng_session_prefix_stats(cs.session);
    cli_prefix_note(&kept, run_options.prefix_dir);
    ng_generation_clear(&g);
    free(ids);
    cli_session_close(&cs);
    return code;
}

const cli_verb cli_verb_complete = {
    "complete", "-m FILE (-p TEXT | --tokens IDS) -n N", "raw generation: go on from a prompt",
    "With -p the prompt gets the special tokens that the model wants (such as BOS), markers such as <|im_start|>\n"
    "are understood, and the answer ends at an end-of-generation token. With --tokens the ids are taken as they\n"
    "are: nothing is added, and exactly N new tokens come out.\n",
    options, run};
