/* pipeline_config.h: `pipelines:` of grid.yaml as structs, and what must hold between their steps.
 *
 *     {"pipelines", NG_CONFIG_LIST, .., .sub = &ng_pipeline_schema}      in the grid's schema
 *     ng_pipelines_check(&config, "grid.yaml", &err);                    after experts and upstreams are merged */
#ifndef NG_GRID_PIPELINE_CONFIG_H
#define NG_GRID_PIPELINE_CONFIG_H

#include "config/config.h"

enum { PIPELINE_STEPS_MAX = 16, PIPELINE_STEP_NAME_MAX = 23 };

typedef struct grid_step_config {
    const char *name;
    int task;           /* ng_task - 1 */
    const char *expert; /* an expert or upstream; NULL: the grid decides */
    int tier;           /* ng_tier_level: the highest that may be asked */
    double min_confidence; /* NaN: none */
    const char *fallback;  /* a label, or "input" for tasks that give a text; NULL: none */
    const char *input;     /* an earlier step that gives a text; NULL: what was asked */
    bool redact;           /* extract: what was found is taken out of the text */
    const char *to;        /* translate */
    struct {
        const char *step; /* an earlier one that gives a label; NULL: always */
        ng_config_strs in;
        int line;
    } when;
    int line;
} grid_step_config;

typedef struct grid_pipeline_config {
    const char *name;
    ng_config_list steps; /* grid_step_config */
    int line;
} grid_pipeline_config;

extern const ng_config_schema ng_pipeline_schema;

struct ng_grid_config;
ng_status ng_pipelines_check(const struct ng_grid_config *c, const char *name, ng_error *err) NG_MUST_USE;

/* Whether a step's result is a label, or a text that later steps may read. */
bool ng_step_gives_label(const grid_step_config *s);
bool ng_step_gives_text(const grid_step_config *s);

#endif
