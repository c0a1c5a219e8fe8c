/* verb_embed.c: `nanogrid embed`: texts, one a line, to vectors. */
#include "cli_model.h"

#include <nanogrid/text.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cli_run run_options = {.scale = 1};
static struct {
    bool truncate, json;
} o;

static const cli_option options[] = {
    CLI_MODEL_OPTIONS(&run_options),
    CLI_ADAPTER_OPTIONS(&run_options),
    {"truncate", 0, CLI_FLAG, &o.truncate, NULL, "cut texts that are longer than the model's context", NULL},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object for all texts", NULL},
    {0}};

enum { AT_ONCE = 256 }; /* texts of one call: many packs, few enough that the bar moves */

typedef struct job {
    ng_session *session;
    ng_model_info info;
    float *vectors; /* [AT_ONCE, n_embd] */
    ng_embed_text texts[AT_ONCE];
    size_t n, line; /* texts held; lines before them */
    ng_buf out;
    ng_json json;
} job;

static void put_vector(job *k, const float *v, bool first) {
    if (o.json) {
        ng_json_array(&k->json);
        for (uint32_t i = 0; i < k->info.n_embd; i++) ng_json_f32(&k->json, v[i]);
        ng_json_end(&k->json);
        return;
    }
    for (uint32_t i = 0; i < k->info.n_embd; i++)
        ng_buf_printf(&k->out, "%s%.9g", i ? " " : first ? "" : "\n", (double)v[i]);
}

/* The texts held: vectors, notices, and room for more. */
static ng_status flush(job *k, ng_error *err) {
    ng_error why = {0};
    ng_status s = ng_session_embed_batch(k->session, k->texts, k->n, o.truncate, k->vectors, &why);
    for (size_t i = 0; i < k->n; i++) {
        size_t line = k->line + i + 1;
        if (k->texts[i].failed) return ng_fail(err, why.code, "line %zu: %s", line, why.text);
        if (!s && k->texts[i].n_tokens > k->info.n_seq_max)
            fprintf(stderr, "nanogrid: line %zu has %zu tokens; this model embeds the first %u\n", line,
                    k->texts[i].n_tokens, (unsigned)k->info.n_seq_max);
        if (!s) put_vector(k, k->vectors + i * k->info.n_embd, line == 1);
    }
    k->line += k->n;
    k->n = 0;
    return s ? ng_fail(err, why.code, "%s", why.text) : NG_OK;
}

static ng_status add_text(job *k, const char *text, size_t len, ng_error *err) {
    size_t bad = ng_utf8_invalid_at(text, len);
    if (bad < len)
        return ng_fail(err, NG_EFORMAT, "line %zu is not valid UTF-8: byte %zu (0x%02x)", k->line + k->n + 1, bad,
                       (unsigned char)text[bad]);
    k->texts[k->n++] = (ng_embed_text){.data = text, .len = len};
    return k->n == AT_ONCE ? flush(k, err) : NG_OK;
}

static ng_status all_lines(job *k, const ng_buf *in, ng_error *err) {
    size_t total = 0, done = 0;
    for (size_t i = 0; i < in->len; i++) total += in->data[i] == '\n';
    cli_progress bar = {.what = "embed"};
    ng_status s = NG_OK;
    for (size_t at = 0; at < in->len && !s; done++) {
        const char *end = memchr(in->data + at, '\n', in->len - at);
        size_t len = end ? (size_t)(end - in->data) - at : in->len - at;
        s = add_text(k, in->data + at, len, err);
        at += len + 1;
        cli_progress_step(&bar, (double)done, (double)total);
    }
    if (!s) s = flush(k, err);
    cli_progress_end(&bar);
    return s;
}

static ng_status embed(job *k, int argc, char **argv, ng_error *err) {
    ng_buf in = ng_buf_init(1 << 30);
    ng_status s = argc && strcmp(argv[0], "-") ? ng_buf_puts(&in, argv[0]) : cli_read(&in, NULL, err);
    k->vectors = malloc(AT_ONCE * (size_t)k->info.n_embd * sizeof *k->vectors);
    if (!k->vectors && !s) s = ng_fail(err, NG_ENOMEM, "out of memory");
    if (o.json) {
        ng_json_object(&k->json);
        ng_json_key(&k->json, "embeddings");
        ng_json_array(&k->json);
    }
    if (!s) s = all_lines(k, &in, err);
    if (o.json && !s) ng_json_end(&k->json), ng_json_end(&k->json);
    ng_buf_clear(&in);
    free(k->vectors);
    return s ? ng_fail(err, s, "%s", ng_status_text(s)) : NG_OK;
}

static int run(int argc, char **argv) {
    ng_error err = {0};
    if (argc > 1) return cli_usage("one TEXT at most, %d given; put quotes around it", argc);
    if (!(run_options.scale >= -16 && run_options.scale <= 16))
        return cli_usage("--scale: %g is out of range, use -16 to 16", run_options.scale);
    if (run_options.scale != 1 && !run_options.adapter) return cli_usage("--scale belongs to --adapter");
    cli_session cs;
    if (cli_session_open(&cs, &run_options, &err)) return cli_fail(&err);
    job k = {.session = cs.session, .info = ng_model_get_info(cs.model), .out = ng_buf_init((size_t)4 << 30)};
    k.json = ng_json_init(&k.out);
    int code = embed(&k, argc, argv, &err) ? cli_fail(&err) : cli_print(&k.out);
    ng_buf_clear(&k.out);
    cli_session_close(&cs);
    return code;
}

const cli_verb cli_verb_embed = {
    "embed", "-m FILE [TEXT]", "texts to vectors, one text a line",
    "Each line of standard input (or TEXT) is one text; its vector is pooled as the model says and has length 1.\n"
    "A text that is longer than the model's context is refused with both counts; --truncate cuts it. Where the\n"
    "model reads less than its context holds (sentence-transformers' max_seq_length), the rest of a longer text\n"
    "is left out with a notice on standard error.\n",
    options, run};
