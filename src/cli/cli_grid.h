/* cli_grid.h: what the verbs that ask a grid share: opening it, the options of a request, its texts.
 *
 *     static cli_ask ask;
 *     static const cli_option options[] = {CLI_GRID_OPTION(&ask), CLI_ASK_OPTIONS(&ask), {0}};
 *     static const cli_asking asking = {&ask, ng_grid_ask, ng_answer_json, put_text};
 *     return cli_ask_run(&asking, argc, argv);                       one TEXT, or one a line */
#ifndef NG_CLI_GRID_H
#define NG_CLI_GRID_H

#include "cli.h"

#include <nanogrid/grid.h>

#include <math.h>

typedef struct cli_ask {
    const char *grid, *task, *expert, *privacy, *regions, *consents, *tenant;
    const char *to, *from, *labels, *types, *offsets, *context, *documents;
    double max_cost;
    long deadline_ms, max_sentences, max_tokens, top_k, threads;
    bool lines, json;
    /* made by cli_ask_check */
    const char *label_items[CLI_LIST_MAX], *type_items[CLI_LIST_MAX];
    ng_buf context_text, document_text;
    const char **document_items; /* into document_text */
} cli_ask;

#define CLI_ASK_DEFAULT {.max_cost = NAN}

#define CLI_GRID_OPTION(a)                                                                         \
    {"grid", 0, CLI_STR, &(a)->grid, "FILE", "the grid.yaml to use ($NANOGRID_HOME/grid.yaml, else built in)", \
     "NANOGRID_GRID"}

#define CLI_ASK_OPTIONS(a)                                                                         \
    {"task", 0, CLI_STR, &(a)->task, "TASK", "classify, extract, moderate, .. (the router decides)", NULL}, \
    {"expert", 0, CLI_STR, &(a)->expert, "NAME", "this expert or upstream, past the router", NULL}, \
    {"privacy", 0, CLI_STR, &(a)->privacy, "P", "how far the text may go: local|mesh|any (any)", "NANOGRID_PRIVACY"}, \
    {"regions", 0, CLI_STR, &(a)->regions, "R,..", "only upstreams of these regions may see the text", NULL}, \
    {"consents", 0, CLI_STR, &(a)->consents, "C,..", "what the owner of the text agreed to (nothing)", NULL}, \
    {"tenant", 0, CLI_STR, &(a)->tenant, "NAME", "who asks: budgets, caches and experts of its own", NULL}, \
    {"max-cost", 0, CLI_NUM, &(a)->max_cost, "USD", "the most an upstream may cost; 0 forbids paid calls (no limit)", NULL}, \
    {"deadline-ms", 0, CLI_INT, &(a)->deadline_ms, "MS", "answer within this time (the grid's)", NULL}, \
    {"lines", 0, CLI_FLAG, &(a)->lines, NULL, "every line of the input is a request; one result a line", NULL}, \
    {"json", 0, CLI_FLAG, &(a)->json, NULL, "print one JSON object a request", NULL},              \
    {"threads", 't', CLI_INT, &(a)->threads, "N", "threads for models (chosen by measurement)", "NANOGRID_THREADS"}

/* The parameters of tasks. */
#define CLI_PARAM_OPTIONS(a)                                                                       \
    {"top-k", 0, CLI_INT, &(a)->top_k, "K", "classify, detect-language: how many scores (5)", NULL}, \
    {"labels", 0, CLI_STR, &(a)->labels, "A,B,..", "classify: choose among these (experts that take labels, upstreams)", NULL}, \
    {"types", 0, CLI_STR, &(a)->types, "A,B,..", "extract: only these labels", NULL},               \
    {"offsets", 0, CLI_STR, &(a)->offsets, "UNIT", "extract: offsets in bytes|chars (bytes)", NULL}, \
    {"max-sentences", 0, CLI_INT, &(a)->max_sentences, "N", "summarize: at most N sentences", NULL}, \
    {"max-tokens", 0, CLI_INT, &(a)->max_tokens, "N", "summarize, generate: at most N tokens", NULL}, \
    {"context", 0, CLI_STR, &(a)->context, "TEXT", "answer: the text that holds the answer; @FILE: a file, -: standard input", NULL}, \
    {"documents", 0, CLI_STR, &(a)->documents, "@FILE", "rerank: the documents to order, one a line; -: standard input", NULL}, \
    {"to", 0, CLI_STR, &(a)->to, "LANG", "translate: into this language (required there)", NULL},  \
    {"from", 0, CLI_STR, &(a)->from, "LANG", "translate: from this language", NULL}

/* What one verb asks of the grid about each text, and how it shows what comes back. */
typedef struct cli_asking {
    cli_ask *ask;
    ng_status (*ask_grid)(ng_grid *g, const ng_request *r, ng_answer **out, ng_error *err);
    void (*put_json)(ng_json *j, const ng_answer *a);
    void (*put_text)(ng_buf *b, const ng_answer *a);
} cli_asking;
/* The whole verb: opens the grid, asks about TEXT or each line, waits for the records, closes. */
int cli_ask_run(const cli_asking *v, int argc, char **argv);

/* Fills the request from the options, all but the text; 0, or 1 or 2 after saying what is wrong.  Context and documents live in `a`. */
int cli_ask_check(cli_ask *a, ng_request *r);
ng_status cli_grid_open(ng_grid **out, const cli_ask *a, bool records, ng_error *err) NG_MUST_USE;

/* Appends the result for one text to b. */
typedef ng_status cli_text_fn(void *ctx, const char *text, size_t len, ng_buf *b, ng_error *err);
/* Calls fn for TEXT, or for each line with --lines: every line gives a line, in order, and one that
 * fails is told in its place ({"error": ..} with --json).  Returns the exit code. */
int cli_each_text(const cli_ask *a, int argc, char **argv, cli_text_fn *fn, void *ctx);

#endif
