/* cli_grid.c: see cli_grid.h. */
#include "cli_grid.h"

#include <nanogrid/text.h>
#include <nanogrid/tools/upstream.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "a,b" to items, in place of the text's own commas. */
static size_t split(const char *text, const char *items[CLI_LIST_MAX]) {
    size_t n = 0;
    for (char *p = (char *)text; p && *p && n < CLI_LIST_MAX;) {
        items[n++] = p;
        p = strchr(p, ',');
        if (p) *p++ = 0;
    }
    return n;
}

static bool in_range(long v, long max) {
    return v >= 0 && v <= max;
}

/* A parameter that the given task does not take is refused; with the router's choice it is told. */
static int check_fit(const cli_ask *a, ng_task t) {
    static const struct {
        const char *name;
        size_t at;
        ng_task task, other;
    } texts[] = {
        {"labels", offsetof(cli_ask, labels), NG_TASK_CLASSIFY, NG_TASK_CLASSIFY},
        {"types", offsetof(cli_ask, types), NG_TASK_EXTRACT, NG_TASK_EXTRACT},
        {"offsets", offsetof(cli_ask, offsets), NG_TASK_EXTRACT, NG_TASK_EXTRACT},
        {"to", offsetof(cli_ask, to), NG_TASK_TRANSLATE, NG_TASK_TRANSLATE},
        {"from", offsetof(cli_ask, from), NG_TASK_TRANSLATE, NG_TASK_TRANSLATE},
        {"context", offsetof(cli_ask, context), NG_TASK_ANSWER, NG_TASK_ANSWER},
        {"documents", offsetof(cli_ask, documents), NG_TASK_RERANK, NG_TASK_RERANK},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *v = *(const char *const *)(const void *)((const char *)a + texts[i].at);
        if (v && t != NG_TASK_AUTO && t != texts[i].task)
            return cli_usage("--%s does not apply to %s", texts[i].name, ng_task_name(t));
        if (v && t == NG_TASK_AUTO && !a->expert)
            return cli_usage("--%s needs --task %s", texts[i].name, ng_task_name(texts[i].task));
    }
    if (a->top_k && t != NG_TASK_AUTO && t != NG_TASK_CLASSIFY && t != NG_TASK_DETECT_LANGUAGE)
        return cli_usage("--top-k does not apply to %s", ng_task_name(t));
    if (a->max_sentences && t != NG_TASK_AUTO && t != NG_TASK_SUMMARIZE)
        return cli_usage("--max-sentences does not apply to %s", ng_task_name(t));
    if (a->max_tokens && t != NG_TASK_AUTO && t != NG_TASK_SUMMARIZE && t != NG_TASK_GENERATE)
        return cli_usage("--max-tokens does not apply to %s", ng_task_name(t));
    if (a->max_sentences && a->max_tokens)
        return cli_usage("--max-sentences and --max-tokens exclude each other");
    if (t == NG_TASK_TRANSLATE && !a->to) return cli_usage("translate needs --to LANG");
    return 0;
}

static int check_ranges(const cli_ask *a) {
    if (!in_range(a->top_k, 4096))
        return cli_usage("--top-k: %ld is out of range, use 1 to 4096", a->top_k);
    if (!in_range(a->max_sentences, 1000))
        return cli_usage("--max-sentences: %ld is out of range, use 1 to 1000", a->max_sentences);
    if (!in_range(a->max_tokens, 1 << 20))
        return cli_usage("--max-tokens: %ld is out of range, use 1 to 1048576", a->max_tokens);
    if (a->max_cost < 0) return cli_usage("--max-cost: %g is below 0; 0 forbids paid calls", a->max_cost);
    if (!in_range(a->deadline_ms, 86400000))
        return cli_usage("--deadline-ms: %ld is out of range", a->deadline_ms);
    if (!in_range(a->threads, 1024))
        return cli_usage("--threads: %ld is out of range, use 1 to 1024", a->threads);
    if (a->offsets && strcmp(a->offsets, "bytes") && strcmp(a->offsets, "chars"))
        return cli_usage("--offsets: '%s' is not one of bytes|chars", a->offsets);
    return 0;
}

/* TEXT, @FILE or - into b, as a string; 0, or 1 after saying what is wrong. */
static int take_text(ng_buf *b, const char *from, const char *what) {
    ng_error err = {0};
    *b = ng_buf_init((size_t)64 << 20);
    ng_status s = !strcmp(from, "-") ? cli_read(b, NULL, &err)
                  : *from == '@'     ? cli_read(b, from + 1, &err)
                                     : ng_buf_puts(b, from);
    if (!s) s = ng_buf_putc(b, 0);
    size_t len = s ? 0 : b->len - 1, bad = s ? 0 : ng_utf8_invalid_at(b->data, len);
    if (!s && bad < len)
        s = ng_fail(&err, NG_EFORMAT, "the %s is not valid UTF-8: byte %zu (0x%02x)", what, bad,
                    (unsigned char)b->data[bad]);
    else if (!s && strlen(b->data) != len)
        s = ng_fail(&err, NG_EFORMAT, "the %s holds a zero byte at %zu", what, strlen(b->data));
    if (s && !err.code) s = ng_fail(&err, s, "the %s is larger than 64 MiB", what);
    return s ? cli_fail(&err) : 0;
}

static int take_context(cli_ask *a, ng_request *r) {
    int code = a->context ? take_text(&a->context_text, a->context, "context") : 0;
    if (!code && a->context) r->params.context = a->context_text.data;
    return code;
}

/* Lines without text are no documents, but count: an index is a line's. */
static int take_documents(cli_ask *a, ng_request *r) {
    if (!a->documents) return 0;
    if (*a->documents != '@' && strcmp(a->documents, "-"))
        return cli_usage("--documents takes @FILE or -, a document a line");
    int code = take_text(&a->document_text, a->documents, "file of documents");
    if (code) return code;
    char *text = a->document_text.data;
    size_t n = 0, max = 1;
    for (const char *c = text; *c; c++) max += *c == '\n';
    a->document_items = calloc(max, sizeof *a->document_items);
    if (!a->document_items) return cli_fail(&(ng_error){NG_ENOMEM, "out of memory"});
    while (text && *text) {
        a->document_items[n++] = text;
        text = strchr(text, '\n');
        if (text) *text++ = 0;
    }
    r->params.documents = a->document_items;
    r->params.n_documents = n;
    return 0;
}

int cli_ask_check(cli_ask *a, ng_request *r) {
    ng_task task = NG_TASK_AUTO;
    if (a->task && !ng_task_parse(&task, a->task)) {
        char known[256] = "";
        for (int i = NG_TASK_AUTO; i < NG_TASK_COUNT; i++) {
            size_t len = strlen(known);
            snprintf(known + len, sizeof known - len, "%s%s", i ? ", " : "",
                     ng_task_name((ng_task)i));
        }
        return cli_usage("there is no task '%s'; known: %s", a->task, known);
    }
    ng_request_init(r, task);
    if (a->privacy && !ng_privacy_parse(&r->privacy, a->privacy))
        return cli_usage("--privacy: '%s' is not one of local|mesh|any", a->privacy);
    int code = check_ranges(a);
    if (!code) code = check_fit(a, task);
    if (code) return code;
    r->model = a->expert;
    r->regions = a->regions, r->consents = a->consents, r->tenant = a->tenant;
    r->max_cost_usd = a->max_cost;
    r->deadline_ms = a->deadline_ms;
    r->params.top_k = (uint32_t)a->top_k;
    r->params.max_sentences = (uint32_t)a->max_sentences;
    r->params.max_tokens = (uint32_t)a->max_tokens;
    r->params.to = a->to, r->params.from = a->from;
    r->params.offsets_chars = a->offsets && !strcmp(a->offsets, "chars");
    r->params.n_labels = split(a->labels, a->label_items);
    r->params.labels = a->label_items;
    r->params.n_types = split(a->types, a->type_items);
    r->params.types = a->type_items;
    if ((code = take_context(a, r)) || (code = take_documents(a, r))) return code;
    if (a->max_tokens && task == NG_TASK_GENERATE) {
        r->params.generate = ng_generate_options_default();
        r->params.generate.n_predict = (uint32_t)a->max_tokens;
        r->params.has_generate = true;
    }
    return 0;
}

ng_status cli_grid_open(ng_grid **out, const cli_ask *a, bool records, ng_error *err) {
    ng_grid_options o = {.path = a->grid,
                         .open_upstream = ng_upstream_open,
                         .no_records = !records,
                         .n_threads = (int)a->threads};
    return ng_grid_open(out, &o, err);
}

static void put_error(ng_buf *b, const ng_error *err) {
    ng_json j = ng_json_init(b);
    ng_json_object(&j);
    ng_json_key(&j, "error"), ng_json_object(&j);
    ng_json_key(&j, "message"), ng_json_str(&j, err->text);
    ng_json_key(&j, "type"), ng_json_str(&j, ng_status_type(err->code));
    ng_json_key(&j, "code"), ng_json_str(&j, ng_status_name(err->code));
    ng_json_end(&j), ng_json_end(&j);
}

static int each_line(const cli_ask *a, ng_buf *text, cli_text_fn *fn, void *ctx) {
    ng_buf b = ng_buf_init((size_t)1 << 30);
    bool failed = false, unread = false;
    for (size_t i = 0, number = 1; i < text->len && !unread; number++) {
        const char *nl = memchr(text->data + i, '\n', text->len - i);
        size_t end = nl ? (size_t)(nl - text->data) : text->len;
        ng_error err = {0};
        text->data[end] = 0;
        ng_buf_reset(&b);
        if (fn(ctx, text->data + i, end - i, &b, &err)) {
            failed = true;
            ng_buf_reset(&b);
            if (a->json) put_error(&b, &err);
            fprintf(stderr, "nanogrid: line %zu: %s\n", number, err.text);
        }
        unread = cli_print(&b) != 0;
        i = end + 1;
    }
    ng_buf_clear(&b);
    return failed || unread;
}

static int one_text(const ng_buf *text, cli_text_fn *fn, void *ctx) {
    ng_error err = {0};
    ng_buf b = ng_buf_init((size_t)1 << 30);
    int code = fn(ctx, text->data, text->len, &b, &err) ? cli_fail(&err) : cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

int cli_each_text(const cli_ask *a, int argc, char **argv, cli_text_fn *fn, void *ctx) {
    ng_error err = {0};
    ng_buf text = ng_buf_init((size_t)256 << 20);
    ng_status s = NG_OK;
    if (argc > 1) return cli_usage("one TEXT at most, %d given; put quotes around it", argc);
    if (a->lines && (!argc || !strcmp(argv[0], "-"))) s = cli_read(&text, NULL, &err);
    else if (a->lines) s = ng_buf_puts(&text, argv[0]);
    else s = cli_text(&text, argc, argv, &err);
    int code = s          ? cli_fail(&err)
               : a->lines ? each_line(a, &text, fn, ctx)
                          : one_text(&text, fn, ctx);
    ng_buf_clear(&text);
    return code;
}

typedef struct asked {
    const cli_asking *verb;
    ng_grid *grid;
    ng_request request;
} asked;

static ng_status ask_one(void *ctx, const char *text, size_t len, ng_buf *b, ng_error *err) {
    asked *k = ctx;
    ng_answer *a;
    ng_request_set_text(&k->request, text, len);
    ng_status s = k->verb->ask_grid(k->grid, &k->request, &a, err);
    if (s) return s;
    if (k->verb->ask->json) {
        ng_json j = ng_json_init(b);
        k->verb->put_json(&j, a);
    } else {
        k->verb->put_text(b, a);
    }
    ng_answer_free(a);
    return NG_OK;
}

int cli_ask_run(const cli_asking *v, int argc, char **argv) {
    ng_error err = {0}, unrecorded = {0};
    asked k = {.verb = v};
    int code = cli_ask_check(v->ask, &k.request);
    if (code) return code;
    if (cli_grid_open(&k.grid, v->ask, true, &err)) return cli_fail(&err);
    code = cli_each_text(v->ask, argc, argv, ask_one, &k);
    if (ng_grid_flush(k.grid, &unrecorded)) fprintf(stderr, "nanogrid: %s\n", unrecorded.text);
    ng_grid_close(k.grid);
    return code;
}
