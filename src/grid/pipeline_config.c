/* pipeline_config.c: see pipeline_config.h.
 *
 * Steps see only what stands above them, so a pipeline cannot go round.  What a step could never do is refused when
 * the grid is read: an expert of another task or above the step's tier, a fallback of the wrong kind, a condition on a
 * step that gives no label, a confidence without a way out. */
#include "pipeline_config.h"

#include "grid_config.h"
#include <math.h>
#include <string.h>

#define AT(type, field) offsetof(type, field)
#define IN_WHEN(field) (offsetof(grid_step_config, when.field) - offsetof(grid_step_config, when))

static const ng_config_field when_fields[] = {{"step", NG_CONFIG_STR, IN_WHEN(step), .required = true,
                                               .help = "an earlier step that gives a label"},
                                              {"in", NG_CONFIG_STRS, IN_WHEN(in), .required = true,
                                               .help = "the labels with which this step runs; else it is skipped"},
                                              {"", NG_CONFIG_LINE, IN_WHEN(line)},
                                              {0}};
static const ng_config_schema when_schema = {"when", sizeof(((grid_step_config *)0)->when), when_fields};

static const ng_config_field step_fields[] =
    {{"name", NG_CONFIG_STR, AT(grid_step_config, name), .required = true,
      .help = "how results and other steps call it"},
     {"task", NG_CONFIG_ENUM, AT(grid_step_config, task), .required = true,
      .choices = "generate|classify|extract|moderate|detect-language|summarize|translate|answer|rewrite|embed|rerank"},
     {"expert", NG_CONFIG_STR, AT(grid_step_config, expert), .help = "an expert or upstream; none: the grid decides"},
     {"tier", NG_CONFIG_ENUM, AT(grid_step_config, tier), .dflt = "medium", .choices = "nano|small|medium",
      .help = "the highest that this step may ask"},
     {"min_confidence", NG_CONFIG_NUM, AT(grid_step_config, min_confidence), .dflt = "nan", .min = 0.01, .max = 1,
      .help = "less sure answers escalate, then the fallback stands"},
     {"fallback", NG_CONFIG_STR, AT(grid_step_config, fallback),
      .help = "a label; `input` where a text is asked for: the text unchanged"},
     {"input", NG_CONFIG_STR, AT(grid_step_config, input),
      .help = "an earlier step whose text it reads; none: the request's"},
     {"redact", NG_CONFIG_BOOL, AT(grid_step_config, redact), .dflt = "false",
      .help = "extract: replaces what was found by [label], a text for later steps"},
     {"to", NG_CONFIG_STR, AT(grid_step_config, to), .help = "translate: into this language"},
     {"when", NG_CONFIG_GROUP, AT(grid_step_config, when), .sub = &when_schema},
     {"", NG_CONFIG_LINE, AT(grid_step_config, line)},
     {0}};
static const ng_config_schema step_schema = {"a step", sizeof(grid_step_config), step_fields};

static const ng_config_field pipeline_fields[] = {
    {"name", NG_CONFIG_STR, AT(grid_pipeline_config, name), .required = true, .help = "how requests call it"},
    {"steps", NG_CONFIG_LIST, AT(grid_pipeline_config, steps), .sub = &step_schema, .required = true},
    {"", NG_CONFIG_LINE, AT(grid_pipeline_config, line)},
    {0}};
const ng_config_schema ng_pipeline_schema = {"a pipeline", sizeof(grid_pipeline_config), pipeline_fields};

static ng_task task_of(const grid_step_config *s) {
    return (ng_task)(s->task + 1);
}

bool ng_step_gives_label(const grid_step_config *s) {
    ng_task t = task_of(s);
    return t == NG_TASK_CLASSIFY || t == NG_TASK_DETECT_LANGUAGE;
}

bool ng_step_gives_text(const grid_step_config *s) {
    ng_task t = task_of(s);
    return s->redact || t == NG_TASK_SUMMARIZE || t == NG_TASK_TRANSLATE || t == NG_TASK_REWRITE ||
           t == NG_TASK_GENERATE;
}

typedef struct checker {
    const ng_grid_config *c;
    const grid_pipeline_config *p;
    const char *name; /* of the file */
    ng_error *err;
} checker;

static ng_status wrong(const checker *k, const grid_step_config *s, const char *what, const char *which) {
    return ng_fail(k->err, NG_EINVALID, "%s:%d: the step '%s' of the pipeline '%s': %s%s%s%s", k->name, s->line,
                   s->name, k->p->name, what, which ? " '" : "", which ? which : "", which ? "'" : "");
}

/* The step above the i-th that is called `name`, or NULL. */
static const grid_step_config *above(const checker *k, size_t i, const char *name) {
    const grid_step_config *s = k->p->steps.items;
    while (i-- > 0)
        if (!strcmp(s[i].name, name)) return &s[i];
    return NULL;
}

static ng_status check_task(const checker *k, const grid_step_config *s) {
    ng_task t = task_of(s);
    if (t == NG_TASK_RERANK || t == NG_TASK_ANSWER)
        return wrong(k, s, "needs more than one text, no step can do", ng_task_name(t));
    if (s->redact && t != NG_TASK_EXTRACT) return wrong(k, s, "redact is for extract, not for", ng_task_name(t));
    if ((t == NG_TASK_TRANSLATE) != (s->to != NULL))
        return wrong(k, s, s->to ? "`to` is for translate, not for" : "`to` is missing: the language to translate into",
                     s->to ? ng_task_name(t) : NULL);
    if (!isnan(s->min_confidence) && !ng_step_gives_label(s))
        return wrong(k, s, "min_confidence is for labels; there is none from", ng_task_name(t));
    if (!s->fallback || ng_step_gives_label(s)) return NG_OK;
    if (s->redact) return wrong(k, s, "a text that could not be searched has no safe fallback", NULL);
    if (!ng_step_gives_text(s)) return wrong(k, s, "there is no fallback for", ng_task_name(t));
    return strcmp(s->fallback, "input") ? wrong(k, s, "fallback must be `input` (the text unchanged), not", s->fallback)
                                        : NG_OK;
}

/* Somebody must be able to do it. */
static ng_status check_expert(const checker *k, const grid_step_config *s) {
    const grid_expert_config *e = k->c->experts.items;
    const grid_upstream_config *u = k->c->upstreams.items;
    bool found = false, known = false, lower = false;
    for (size_t i = 0; i < k->c->experts.len; i++) {
        if (s->expert && strcmp(e[i].name, s->expert)) continue;
        known |= s->expert != NULL;
        lower |= e[i].task == s->task;
        found |= e[i].task == s->task && e[i].tier <= s->tier;
    }
    for (size_t i = 0; i < k->c->upstreams.len; i++) {
        if (s->expert && strcmp(u[i].name, s->expert)) continue;
        known |= s->expert != NULL;
        lower = true;
        found |= u[i].tier <= s->tier;
    }
    if (found) return NG_OK;
    if (s->expert && !known) return wrong(k, s, "there is no expert or upstream", s->expert);
    if (lower)
        return wrong(k, s, "nothing can answer it, for its tier excludes",
                     s->expert ? s->expert : "all that serve the task");
    return wrong(k, s, s->expert ? "of another task is" : "no expert and no upstream serves",
                 s->expert ? s->expert : ng_task_name(task_of(s)));
}

static ng_status check_links(const checker *k, size_t i) {
    const grid_step_config *s = (const grid_step_config *)k->p->steps.items + i;
    const grid_step_config *from = s->input ? above(k, i, s->input) : NULL,
                           *on = s->when.step ? above(k, i, s->when.step) : NULL;
    if (s->input && (!from || !ng_step_gives_text(from)))
        return wrong(k, s, from ? "input: no text comes from the step" : "input: there is no earlier step", s->input);
    if (s->when.step && (!on || !ng_step_gives_label(on)))
        return wrong(k, s, on ? "when: no label comes from the step" : "when: there is no earlier step", s->when.step);
    return NG_OK;
}

static bool good_name(const char *s, size_t max) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t len = strlen(s);
    return len && len <= max && strspn(s, allowed) == len && *s != '.';
}

static ng_status check_pipeline(const checker *k) {
    const grid_step_config *s = k->p->steps.items;
    if (!good_name(k->p->name, 47))
        return ng_fail(k->err, NG_EINVALID, "%s:%d: a pipeline's name '%.60s' must be 1 to 47 letters, digits or - _ .",
                       k->name, k->p->line, k->p->name);
    if (!k->p->steps.len || k->p->steps.len > PIPELINE_STEPS_MAX)
        return ng_fail(k->err, NG_EINVALID, "%s:%d: the pipeline '%s' has %zu steps, 1 to %d are possible", k->name,
                       k->p->line, k->p->name, k->p->steps.len, PIPELINE_STEPS_MAX);
    for (size_t i = 0; i < k->p->steps.len; i++) {
        ng_status status = NG_OK;
        if (!good_name(s[i].name, PIPELINE_STEP_NAME_MAX))
            status = wrong(k, &s[i], "its name must be 1 to 23 letters, digits or - _ .", NULL);
        else if (above(k, i, s[i].name)) status = wrong(k, &s[i], "its name is taken", NULL);
        if (!status) status = check_task(k, &s[i]);
        if (!status) status = check_expert(k, &s[i]);
        if (!status) status = check_links(k, i);
        if (status) return status;
    }
    return NG_OK;
}

ng_status ng_pipelines_check(const ng_grid_config *c, const char *name, ng_error *err) {
    const grid_pipeline_config *p = c->pipelines.items;
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < c->pipelines.len; i++) {
        checker k = {c, &p[i], name, err};
        for (size_t j = 0; j < i; j++)
            if (!strcmp(p[j].name, p[i].name))
                return ng_fail(err, NG_EINVALID, "%s:%d: the name '%s' is taken (line %d)", name, p[i].line, p[i].name,
                               p[j].line);
        s = check_pipeline(&k);
    }
    return s;
}
