/* pipeline.h: several experts in sequence over one text, as grid.yaml declares them (docs/grid_yaml.md).
 *
 *     ng_pipeline_answer *p;
 *     ng_request_init(&r, NG_TASK_AUTO);  ng_request_set_text(&r, text, len);
 *     ng_grid_ask_pipeline(g, "triage", &r, &p, &err);
 *     for (size_t i = 0; i < p->n_steps; i++) use(p->steps[i].label);
 *     ng_pipeline_answer_free(p);
 *
 * Every step is a request of its own to the grid: hard filters, contracts, cascade, cache and records hold for it.  A
 * step that fails takes its fallback or stays empty; only the steps that read its text are skipped with it. */
#ifndef NANOGRID_PIPELINE_H
#define NANOGRID_PIPELINE_H

#include <nanogrid/grid.h>

typedef enum ng_step_status {
    NG_STEP_ANSWERED,
    NG_STEP_FALLBACK, /* what is declared stands in for an answer */
    NG_STEP_SKIPPED,  /* its condition does not hold, or the step that it reads gave no text */
    NG_STEP_FAILED,
} ng_step_status;
NG_API const char *ng_step_status_name(ng_step_status s);

typedef struct ng_pipeline_step {
    const char *name;
    ng_task task;
    ng_step_status status;
    const char *why;   /* not answered: the reason; else NULL */
    const char *label; /* classify, detect-language: the answer's or the fallback; or NULL */
    const char *text;  /* what later steps read from it: a summary, a text with [label] for what was found; or NULL */
    ng_answer *answer; /* NULL: nothing answered */
} ng_pipeline_step;

typedef struct ng_pipeline_answer {
    char decision_id[33];
    const char *pipeline;
    ng_pipeline_step *steps;
    size_t n_steps;
    bool degraded; /* a step failed, fell back, or was skipped for want of its input */
    uint32_t prompt_tokens, completion_tokens;
    double cost_usd, latency_ms;
    struct ng_arena *arena; /* owns everything but the answers */
} ng_pipeline_answer;

/* r: text, limits, tenant, ids; its task, model, parameters and tokens are the steps' matter and not looked at.  Its
 * deadline and greatest cost hold for all steps together.  NG_ENOTFOUND: no such pipeline. */
NG_API ng_status ng_grid_ask_pipeline(ng_grid *g, const char *name, const ng_request *r, ng_pipeline_answer **out,
                                      ng_error *err) NG_MUST_USE;
NG_API void ng_pipeline_answer_free(ng_pipeline_answer *p);
/* {pipeline, decision_id, degraded, steps: [{step, task, status, why?, label?, text?, answer?}], tokens, cost_usd, latency_ms} */
NG_API void ng_pipeline_json(ng_json *j, const ng_pipeline_answer *p);

#endif
