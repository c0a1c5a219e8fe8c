/* verb_predict.c: `nanogrid predict`: one model's head, without a grid. */
#include "cli.h"

#include <nanogrid/head.h>
#include <nanogrid/text.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct {
    const char *model, *head, *task, *adapter;
    double scale;
    long top_k, threads;
    bool lines, json;
} o = {.scale = 1};

static const cli_option options[] =
    {{"model", 'm', CLI_STR, &o.model, "FILE", "the GGUF file of a model (not needed for --task extract)", NULL},
     {"threads", 't', CLI_INT, &o.threads, "N", "threads of a decoder or an encoder (measured)", "NANOGRID_THREADS"},
     {"head", 0, CLI_STR, &o.head, "NAME", "which head of a file that has several", NULL},
     {"adapter", 0, CLI_STR, &o.adapter, "FILE",
      "a LoRA adapter of `finetune` beside an encoder's weights; its heads answer", NULL},
     {"scale", 0, CLI_NUM, &o.scale, "X", "times the adapter (1); 0 turns it off: the base, bit for bit", NULL},
     {"task", 0, CLI_STR, &o.task, "TASK", "classify, moderate, .. (what the file was made for)", NULL},
     {"top-k", 0, CLI_INT, &o.top_k, "K", "classify, detect-language: how many scores (5)", NULL},
     {"lines", 0, CLI_FLAG, &o.lines, NULL, "every line of the input is a text; one result a line", NULL},
     {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object a text", NULL},
     {0}};

static void put_scores(ng_buf *b, const ng_score *s, size_t n) {
    for (size_t i = 0; i < n; i++) ng_buf_printf(b, "  %s %.4f", s[i].label, (double)s[i].p);
}

static void put_text(ng_buf *b, const ng_answer *a) {
    switch (a->task) {
    case NG_TASK_CLASSIFY:
    case NG_TASK_DETECT_LANGUAGE:
        ng_buf_printf(b, "%s", a->label ? a->label : "(out of scope)");
        put_scores(b, a->scores, a->n_scores);
        return;
    case NG_TASK_MODERATE:
        ng_buf_puts(b, a->flagged ? "flagged" : "fine");
        put_scores(b, a->categories, a->n_categories);
        return;
    case NG_TASK_EXTRACT:
        for (size_t i = 0; i < a->n_entities; i++)
            ng_buf_printf(b, "%s%s[%zu..%zu] %s", i ? "  " : "", a->entities[i].label, a->entities[i].start,
                          a->entities[i].end, a->entities[i].text);
        return;
    default:
        if (a->answer) ng_buf_puts(b, a->answer);
        for (size_t i = 0; i < a->n_embedding; i++) ng_buf_printf(b, "%s%.7g", i ? " " : "", (double)a->embedding[i]);
    }
}

static void put_error(ng_buf *b, const ng_error *err) {
    ng_json j = ng_json_init(b);
    ng_json_object(&j);
    ng_json_key(&j, "error");
    ng_json_object(&j);
    ng_json_key(&j, "message"), ng_json_str(&j, err->text);
    ng_json_key(&j, "type"), ng_json_str(&j, ng_status_type(err->code));
    ng_json_key(&j, "code"), ng_json_str(&j, ng_status_name(err->code));
    ng_json_end(&j);
    ng_json_end(&j);
}

/* Appends what one text gives to b. */
static ng_status predict(ng_head *h, ng_task task, const char *text, size_t len, ng_buf *b, ng_error *err) {
    ng_answer *a;
    size_t bad = ng_utf8_invalid_at(text, len);
    if (bad < len)
        return ng_fail(err, NG_EFORMAT, "the text is not valid UTF-8: byte %zu (0x%02x)", bad,
                       (unsigned char)text[bad]);
    if (ng_answer_new(&a)) return ng_fail(err, NG_ENOMEM, "out of memory");
    ng_part part = {NG_PART_TEXT, text, len};
    ng_message message = {"user", &part, 1};
    ng_tier_request req = {.task = task, .messages = &message, .n_messages = 1, .params.top_k = (uint32_t)o.top_k};
    a->task = task;
    ng_status s = ng_head_apply(h, &req, a, err);
    if (!s && o.json) {
        ng_json j = ng_json_init(b);
        ng_answer_task_json(&j, a);
    } else if (!s) {
        put_text(b, a);
    }
    ng_answer_free(a);
    return s;
}

static int predict_one(ng_head *h, ng_task task, const ng_buf *text) {
    ng_error err = {0};
    ng_buf b = ng_buf_init((size_t)1 << 30);
    int code = predict(h, task, text->data, text->len, &b, &err) ? cli_fail(&err) : cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

/* Every line gives a line, in order; one that fails is told in its place and the exit is 1. */
static int predict_lines(ng_head *h, ng_task task, ng_buf *text) {
    ng_buf b = ng_buf_init((size_t)1 << 30);
    int code = 0;
    for (size_t i = 0, number = 1; i < text->len && code != 3; number++) {
        const char *nl = memchr(text->data + i, '\n', text->len - i);
        size_t end = nl ? (size_t)(nl - text->data) : text->len;
        ng_error err = {0};
        text->data[end] = 0;
        ng_buf_reset(&b);
        if (predict(h, task, text->data + i, end - i, &b, &err)) {
            code = 1;
            ng_buf_reset(&b);
            if (o.json) put_error(&b, &err);
            fprintf(stderr, "nanogrid: line %zu: %s\n", number, err.text);
        }
        if (cli_print(&b)) code = 3; /* nobody reads any more */
        i = end + 1;
    }
    ng_buf_clear(&b);
    return code ? 1 : 0;
}

static int run(int argc, char **argv) {
    ng_error err = {0};
    ng_task task = NG_TASK_AUTO;
    ng_head *h = NULL;
    if (!o.model && !o.task) return cli_usage("predict needs -m FILE");
    if (o.task && (!ng_task_parse(&task, o.task) || task == NG_TASK_AUTO))
        return cli_usage("--task: there is no task '%s'", o.task);
    if (o.top_k < 0 || o.top_k > 4096) return cli_usage("--top-k: %ld is out of range, use 1 to 4096", o.top_k);
    if (o.threads < 0 || o.threads > 1024) return cli_usage("--threads: %ld is out of range, use 1 to 1024", o.threads);
    if (!(o.scale >= -16 && o.scale <= 16)) return cli_usage("--scale: %g is out of range, use -16 to 16", o.scale);
    if (o.scale != 1 && !o.adapter) return cli_usage("--scale belongs to --adapter");
    if (argc > 1) return cli_usage("one TEXT at most, %d given; put quotes around it", argc);
    ng_buf text = ng_buf_init((size_t)256 << 20);
    bool adapts = o.adapter && o.scale != 0;
    ng_status s = task == NG_TASK_AUTO ? ng_head_task(&task, adapts ? o.adapter : o.model, o.head, &err) : NG_OK;
    ng_head_spec spec = {.task = task, .path = o.model, .head = o.head, .n_threads = (int)o.threads, .adapter = o.adapter, .adapter_scale = o.scale};
    if (!s) s = ng_head_open(&h, &spec, &err);
    if (!s && o.lines && (!argc || !strcmp(argv[0], "-"))) s = cli_read(&text, NULL, &err);
    else if (!s && o.lines) s = ng_buf_puts(&text, argv[0]);
    else if (!s) s = cli_text(&text, argc, argv, &err);
    int code = s ? cli_fail(&err) : o.lines ? predict_lines(h, task, &text) : predict_one(h, task, &text);
    ng_head_close(h);
    ng_buf_clear(&text);
    return code;
}

const cli_verb cli_verb_predict = {
    "predict", "-m FILE [--head NAME] [--lines] [--json] [TEXT]", "run one model's head without a grid",
    "Prints the task's part of an answer: label and scores, flagged and categories, entities, ..  Without TEXT the "
    "text is standard input.",
    options, run};
