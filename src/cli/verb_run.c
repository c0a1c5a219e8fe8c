/* verb_run.c: `nanogrid run`: one request through the grid, and its answer. */
#include "cli_grid.h"

#include <nanogrid/pipeline.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static cli_ask ask = CLI_ASK_DEFAULT;
static const char *pipeline;
static const cli_option options[] = {
    {"pipeline", 0, CLI_STR, &pipeline, "NAME", "through this pipeline of grid.yaml", NULL},
    CLI_GRID_OPTION(&ask), CLI_ASK_OPTIONS(&ask), CLI_PARAM_OPTIONS(&ask), {0}};

static void put_scores(ng_buf *b, const char *head, const ng_score *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        ng_buf_printf(b, "%s%s %.1f %%", i ? ", " : head, s[i].label, 100 * (double)s[i].p);
}

static void put_result(ng_buf *b, const ng_answer *a) {
    switch (a->task) {
    case NG_TASK_CLASSIFY:
    case NG_TASK_DETECT_LANGUAGE:
        ng_buf_puts(b, a->label ? a->label : "(no answer: out of scope)");
        break;
    case NG_TASK_MODERATE:
        ng_buf_puts(b, a->flagged ? "flagged" : "fine");
        break;
    case NG_TASK_EXTRACT:
        if (!a->n_entities) ng_buf_puts(b, "(nothing found)");
        for (size_t i = 0; i < a->n_entities; i++)
            ng_buf_printf(b, "%s%s: %s [%zu..%zu]", i ? "; " : "", a->entities[i].label,
                          a->entities[i].text, a->entities[i].start, a->entities[i].end);
        break;
    case NG_TASK_EMBED:
        for (size_t i = 0; i < a->n_embedding; i++)
            ng_buf_printf(b, "%s%.7g", i ? " " : "", (double)a->embedding[i]);
        break;
    case NG_TASK_RERANK:
        for (size_t i = 0; i < a->n_results; i++)
            ng_buf_printf(b, "%s%zu (%.1f %%)", i ? ", " : "", a->results[i].index, 100 * (double)a->results[i].score);
        break;
    default:
        ng_buf_puts(b, a->answer                   ? a->answer
                       : a->task == NG_TASK_ANSWER ? "(the text does not hold the answer)"
                                                   : "(no answer)");
    }
}

static void put_route(ng_buf *b, const ng_answer *a) {
    for (size_t i = 0; i < a->n_route; i++) {
        const ng_route_step *s = &a->route[i];
        ng_buf_printf(b, "%s%s", i ? " > " : "", s->step);
        if (s->expert) ng_buf_printf(b, " %s", s->expert);
        ng_buf_printf(b, ": %s", s->outcome);
    }
}

static void put_facts(ng_buf *b, const ng_answer *a) {
    ng_buf_printf(b, "%s (%s)", a->expert ? a->expert : "nobody", ng_tier_level_name(a->tier));
    if (!isnan(a->confidence)) ng_buf_printf(b, ", %.1f %% sure", 100 * a->confidence);
    ng_buf_printf(b, ", %.2f ms", a->latency_ms);
    if (a->load_ms >= 0.1) ng_buf_printf(b, " (%.1f of it loading)", a->load_ms);
    if (a->cost_usd > 0) ng_buf_printf(b, ", %.6f USD", a->cost_usd);
}

static void put_text(ng_buf *b, const ng_answer *a) {
    put_result(b, a);
    if (ask.lines) {
        ng_buf_puts(b, "\t");
        put_facts(b, a);
        return;
    }
    ng_buf_puts(b, "\n\n  by       ");
    put_facts(b, a);
    if (a->n_scores > 1) put_scores(b, "\n  scores   ", a->scores, a->n_scores);
    if (a->n_categories) put_scores(b, "\n  scores   ", a->categories, a->n_categories);
    ng_buf_puts(b, "\n  way      ");
    put_route(b, a);
    if (a->reason) ng_buf_printf(b, "\n  because  %s", a->reason);
    for (size_t i = 0; i < a->n_warnings; i++) ng_buf_printf(b, "\n  warning  %s", a->warnings[i]);
    ng_buf_printf(b, "\n  more     nanogrid explain %s", a->decision_id);
}

/* ---- pipelines ------------------------------------------------------------------------------- */

static void put_step(ng_buf *b, const ng_pipeline_step *s) {
    ng_buf_printf(b, "%s", s->label ? s->label : "");
    if (!s->label && s->text) ng_buf_puts(b, s->text);
    if (!s->label && !s->text && s->status == NG_STEP_ANSWERED) put_result(b, s->answer);
    if (s->status != NG_STEP_ANSWERED)
        ng_buf_printf(b, "%s(%s: %s)", s->label || s->text ? "  " : "", ng_step_status_name(s->status), s->why);
}

static void put_pipeline(ng_buf *b, const ng_pipeline_answer *p) {
    for (size_t i = 0; i < p->n_steps; i++) {
        ng_buf_printf(b, ask.lines ? "%s%s: " : "%s%-12s ", !i ? "" : ask.lines ? "\t" : "\n", p->steps[i].name);
        put_step(b, &p->steps[i]);
    }
    if (!ask.lines)
        ng_buf_printf(b, "\n\n  took     %.2f ms\n  more     nanogrid explain %s", p->latency_ms, p->decision_id);
}

typedef struct piped {
    ng_grid *grid;
    ng_request request;
} piped;

static ng_status pipe_one(void *ctx, const char *text, size_t len, ng_buf *b, ng_error *err) {
    piped *k = ctx;
    ng_pipeline_answer *p;
    ng_request_set_text(&k->request, text, len);
    ng_status s = ng_grid_ask_pipeline(k->grid, pipeline, &k->request, &p, err);
    if (s) return s;
    ng_json j = ng_json_init(b);
    if (ask.json) ng_pipeline_json(&j, p);
    else put_pipeline(b, p);
    ng_pipeline_answer_free(p);
    return NG_OK;
}

static int run_pipeline(int argc, char **argv) {
    ng_error err = {0}, unrecorded = {0};
    piped k;
    if (ask.task || ask.expert)
        return cli_usage("the steps of a pipeline name their task and expert; leave --%s out",
                         ask.task ? "task" : "expert");
    if (ask.to || ask.from || ask.context || ask.documents || ask.labels || ask.types || ask.offsets || ask.top_k ||
        ask.max_sentences || ask.max_tokens)
        return cli_usage("the parameters of a pipeline's tasks stand in grid.yaml");
    int code = cli_ask_check(&ask, &k.request);
    if (code) return code;
    if (cli_grid_open(&k.grid, &ask, true, &err)) return cli_fail(&err);
    code = cli_each_text(&ask, argc, argv, pipe_one, &k);
    if (ng_grid_flush(k.grid, &unrecorded)) fprintf(stderr, "nanogrid: %s\n", unrecorded.text);
    ng_grid_close(k.grid);
    return code;
}

static int run(int argc, char **argv) {
    if (pipeline) return run_pipeline(argc, argv);
    static const cli_asking asking = {&ask, ng_grid_ask, ng_answer_json, put_text};
    return cli_ask_run(&asking, argc, argv);
}

const cli_verb cli_verb_run = {"run",
                               "[TEXT] [--task T] [--expert NAME] [--pipeline NAME] [--grid FILE] [--lines] [--json]",
                               "route one request and answer it",
                               "The router decides what is asked for and which expert answers; an "
                               "answer that is out of scope or below its "
                               "contract escalates to a higher tier where one may be asked.  "
                               "Without TEXT the text is standard input.",
                               options,
                               run};
