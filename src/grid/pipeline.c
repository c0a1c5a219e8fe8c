/* pipeline.c: see nanogrid/pipeline.h.
 *
 * A pipeline adds no way around anything: each step goes through ng_grid_ask with the limits of the request, tightened
 * by the step's own tier, by what is left of the deadline and of the money.  A text made by a step is a text like any
 * other, so what a redacted one may do follows from what is left in it. */
#include <nanogrid/pipeline.h>

#include "core/arena.h"
#include "core/clock.h"
#include "grid_parts.h"
#include <nanogrid/text.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct piping {
    ng_grid *g;
    const grid_pipeline_config *p;
    const ng_request *r;
    ng_pipeline_answer *out;
    const ng_part *text; /* of the request */
    uint64_t t0_ns;
    ng_error *err;
} piping;

const char *ng_step_status_name(ng_step_status s) {
    static const char *const names[] = {"answered", "fallback", "skipped", "failed"};
    return (size_t)s < sizeof names / sizeof names[0] ? names[s] : "unknown";
}

static const grid_pipeline_config *find_pipeline(const ng_grid *g, const char *name) {
    const grid_pipeline_config *p = g->config.pipelines.items;
    for (size_t i = 0; i < g->config.pipelines.len; i++)
        if (!strcmp(p[i].name, name)) return &p[i];
    return NULL;
}

static ng_status no_memory(const piping *k) {
    return ng_fail(k->err, NG_ENOMEM, "pipeline: out of memory");
}

static const grid_step_config *config_of(const piping *k, size_t i) {
    return (const grid_step_config *)k->p->steps.items + i;
}

/* The i-th step's configuration reads `name`, which stands above it (pipeline_config.c). */
static ng_pipeline_step *step_called(const piping *k, const char *name) {
    for (size_t i = 0; i < k->out->n_steps; i++)
        if (!strcmp(k->out->steps[i].name, name)) return &k->out->steps[i];
    return NULL;
}

/* ---- what becomes of one step ---------------------------------------------------------------- */

/* The answer may outlive the grid and the request. */
static ng_status keep(piping *k, const char **out, const char *text, size_t len) {
    *out = ng_arena_strndup(k->out->arena, text, len);
    return *out ? NG_OK : no_memory(k);
}

static ng_status end_step(piping *k, ng_pipeline_step *s, ng_step_status status, const char *why) {
    s->status = status;
    k->out->degraded |= status == NG_STEP_FALLBACK || status == NG_STEP_FAILED;
    return why ? keep(k, &s->why, why, strlen(why)) : NG_OK;
}

static ng_status give_up(piping *k, const grid_step_config *c, ng_pipeline_step *s, const ng_part *input,
                         const char *why) {
    if (!c->fallback) return end_step(k, s, NG_STEP_FAILED, why);
    ng_status status = ng_step_gives_label(c) ? keep(k, &s->label, c->fallback, strlen(c->fallback))
                                              : keep(k, &s->text, input->text, input->len);
    return status ? status : end_step(k, s, NG_STEP_FALLBACK, why);
}

/* The text with [label] for every entity; they come sorted, and those that overlap are one. */
static ng_status redact(piping *k, ng_pipeline_step *s, const ng_part *input) {
    const char *text = input->text;
    size_t len = input->len;
    ng_buf b = ng_buf_init(2u * GRID_TEXT_MAX);
    size_t at = 0;
    for (size_t i = 0; i < s->answer->n_entities; i++) {
        const ng_entity *e = &s->answer->entities[i];
        size_t begin = (size_t)e->start, end = (size_t)e->end;
        if (end > len || end <= at) continue;
        if (begin < at) {
            at = end;
            continue;
        }
        ng_buf_put(&b, text + at, begin - at);
        ng_buf_printf(&b, "[%s]", e->label);
        at = end;
    }
    ng_buf_put(&b, text + at, len - at);
    ng_status status = b.status ? no_memory(k) : keep(k, &s->text, b.data ? b.data : "", b.len);
    ng_buf_clear(&b);
    return status;
}

/* A label from nobody, or from one who is less sure than the step asks. */
static bool is_unsure(const grid_step_config *c, const ng_answer *a, char why[120]) {
    if (!ng_step_gives_label(c)) return false;
    if (!a->label) {
        snprintf(why, 120, "out of scope");
        return true;
    }
    bool above = a->escalated && isnan(a->confidence); /* an upstream's word */
    if (isnan(c->min_confidence) || above || a->confidence >= c->min_confidence) return false;
    snprintf(why, 120, "the confidence %.3f is below %.3f", a->confidence, c->min_confidence);
    return true;
}

static ng_status judge(piping *k, const grid_step_config *c, ng_pipeline_step *s, const ng_part *input) {
    ng_answer *a = s->answer;
    char why[120];
    k->out->prompt_tokens += a->prompt_tokens;
    k->out->completion_tokens += a->completion_tokens;
    k->out->cost_usd += a->cost_usd;
    if (is_unsure(c, a, why)) return give_up(k, c, s, input, why);
    s->label = ng_step_gives_label(c) ? a->label : NULL;
    if (c->redact) {
        ng_status status = redact(k, s, input);
        if (status) return status;
    } else if (ng_step_gives_text(c)) {
        s->text = a->answer;
        if (!s->text) return give_up(k, c, s, input, "nobody answered");
    }
    return end_step(k, s, NG_STEP_ANSWERED, NULL);
}

/* What is left of the request's limits; false when it is nothing. */
static bool tighten(const piping *k, const grid_step_config *c, ng_request *q) {
    int64_t deadline = k->r->deadline_ms ? k->r->deadline_ms : k->g->config.policy.deadline_ms;
    unsigned tier = 1 + (unsigned)c->tier;
    if (!q->max_tier || tier < q->max_tier) q->max_tier = tier;
    if (!isnan(q->max_cost_usd)) q->max_cost_usd = fmax(0, q->max_cost_usd - k->out->cost_usd);
    if (deadline) q->deadline_ms = deadline - (int64_t)((ng_clock_ns() - k->t0_ns) / 1000000);
    return !deadline || q->deadline_ms > 0;
}

static ng_status ask_step(piping *k, const grid_step_config *c, ng_pipeline_step *s, const ng_part *input) {
    ng_request q;
    ng_error why = {0};
    ng_request_init(&q, s->task);
    ng_request_set_text(&q, input->text, input->len);
    q.model = c->expert;
    q.params.to = c->to;
    q.privacy = k->r->privacy;
    q.max_cost_usd = k->r->max_cost_usd;
    q.max_tier = k->r->max_tier;
    q.tenant = k->r->tenant;
    q.regions = k->r->regions, q.consents = k->r->consents;
    q.request_id = k->r->request_id, q.traceparent = k->r->traceparent;
    q.no_cache = k->r->no_cache;
    q.with_signals = k->r->with_signals;
    q.abandoned = k->r->abandoned, q.abandoned_ctx = k->r->abandoned_ctx;
    if (!isnan(c->min_confidence)) q.min_confidence = c->min_confidence;
    q.pipeline.name = k->p->name, q.pipeline.step = c->name, q.pipeline.decision_id = k->out->decision_id;
    if (!tighten(k, c, &q)) return give_up(k, c, s, input, "the deadline is over");
    ng_status status = ng_grid_ask(k->g, &q, &s->answer, &why);
    if (status == NG_ENOMEM || status == NG_ECANCELLED) return ng_fail(k->err, status, "%s", why.text);
    return status ? give_up(k, c, s, input, why.text) : judge(k, c, s, input);
}

static ng_status run_step(piping *k, size_t i) {
    const grid_step_config *c = config_of(k, i);
    const ng_pipeline_step *from = c->input ? step_called(k, c->input) : NULL,
                           *on = c->when.step ? step_called(k, c->when.step) : NULL;
    ng_pipeline_step *s = &k->out->steps[k->out->n_steps++];
    *s = (ng_pipeline_step){.task = (ng_task)(c->task + 1)};
    ng_status status = keep(k, &s->name, c->name, strlen(c->name));
    if (status) return status;
    bool holds = !on;
    for (size_t n = 0; on && on->label && n < c->when.in.len; n++) holds |= !strcmp(on->label, c->when.in.items[n]);
    char why[120];
    if (!holds) {
        snprintf(why, sizeof why, "%.40s is %.60s", c->when.step, on->label ? on->label : "not known");
        return end_step(k, s, NG_STEP_SKIPPED, why);
    }
    if (from && !from->text) {
        k->out->degraded |= from->status != NG_STEP_SKIPPED;
        snprintf(why, sizeof why, "%.40s gave no text", c->input);
        return end_step(k, s, NG_STEP_SKIPPED, why);
    }
    ng_part made = {NG_PART_TEXT, from ? from->text : NULL, from ? strlen(from->text) : 0};
    return ask_step(k, c, s, from ? &made : k->text);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void fill_step(ng_record_step *to, const ng_pipeline_step *s) {
    const ng_answer *a = s->answer;
    *to = (ng_record_step){.confidence = a ? a->confidence : NAN, .latency_us = a ? a->latency_ms * 1e3 : 0};
    snprintf(to->step, sizeof to->step, "%s", s->name);
    snprintf(to->outcome, sizeof to->outcome, "%s%s%.40s", ng_step_status_name(s->status), s->why ? ": " : "",
             s->why ? s->why : "");
    to->outcome[ng_utf8_invalid_at(to->outcome, strlen(to->outcome))] = 0;
    if (a && a->expert) snprintf(to->expert, sizeof to->expert, "%s", a->expert), to->tier = a->tier;
    if (a) memcpy(to->decision_id, a->decision_id, sizeof to->decision_id);
}

static void record(const piping *k, ng_status status) {
    const ng_pipeline_answer *p = k->out;
    ng_record *rec = k->g->records ? calloc(1, sizeof *rec) : NULL;
    if (!rec) {
        if (k->g->records) ng_records_count_lost(k->g->records);
        return;
    }
    memcpy(rec->id, p->decision_id, sizeof rec->id);
    rec->whole_pipeline = true;
    rec->important = p->degraded || status;
    rec->error = status;
    if (status) snprintf(rec->error_text, sizeof rec->error_text, "%.200s", ng_status_text(status));
    rec->time_ms = ng_clock_wall_ms();
    rec->grid_version = k->g->config.version;
    rec->confidence = rec->threshold = rec->asked.max_cost_usd = NAN;
    if (!isnan(k->r->max_cost_usd)) rec->asked.max_cost_usd = k->r->max_cost_usd;
    rec->privacy = rec->asked.privacy = k->r->privacy;
    rec->in_scope = true;
    rec->pii = -1;
    snprintf(rec->pipeline.name, sizeof rec->pipeline.name, "%s", k->p->name);
    snprintf(rec->reason, sizeof rec->reason, "the pipeline %s%s", k->p->name,
             p->degraded ? ", with steps that did not answer" : "");
    for (size_t i = 0; i < p->n_steps && i < NG_RECORD_STEPS; i++) fill_step(&rec->steps[rec->n_steps++], &p->steps[i]);
    rec->prompt_tokens = p->prompt_tokens;
    rec->completion_tokens = p->completion_tokens;
    rec->cost_usd = p->cost_usd;
    rec->latency_us = p->latency_ms * 1e3;
    rec->text_len = k->text->len;
    rec->complexity = NAN;
    ng_records_push(k->g->records, rec);
}

static ng_status find_text(piping *k) {
    const ng_request *r = k->r;
    if (r->n_messages != 1 || r->messages[0].n_parts != 1 || r->messages[0].parts[0].type != NG_PART_TEXT)
        return ng_fail(k->err, NG_EINVALID, "a pipeline takes one text");
    k->text = &r->messages[0].parts[0];
    return NG_OK;
}

static ng_status new_answer(piping *k) {
    ng_arena *arena;
    if (ng_arena_new(&arena, 4096)) return no_memory(k);
    k->out = ng_arena_alloc(arena, sizeof *k->out);
    if (k->out) {
        *k->out = (ng_pipeline_answer){.arena = arena};
        k->out->pipeline = ng_arena_strdup(arena, k->p->name);
        k->out->steps = ng_arena_array(arena, k->p->steps.len, sizeof *k->out->steps);
    }
    if (k->out && k->out->steps && k->out->pipeline) return NG_OK;
    ng_arena_free(arena);
    k->out = NULL;
    return no_memory(k);
}

ng_status ng_grid_ask_pipeline(ng_grid *g, const char *name, const ng_request *r, ng_pipeline_answer **out,
                               ng_error *err) {
    piping k = {.g = g, .p = find_pipeline(g, name), .r = r, .t0_ns = ng_clock_ns(), .err = err};
    *out = NULL;
    if (!k.p)
        return ng_fail(err, NG_ENOTFOUND, "there is no pipeline '%.60s' in %s (`pipelines:` declares them)", name,
                       g->path);
    ng_status s = find_text(&k);
    if (!s) s = new_answer(&k);
    if (s) return s;
    ng_decision_id(k.out->decision_id, ng_clock_wall_ms());
    for (size_t i = 0; !s && i < k.p->steps.len; i++) s = run_step(&k, i);
    k.out->latency_ms = (double)(ng_clock_ns() - k.t0_ns) * 1e-6;
    record(&k, s);
    if (s) {
        ng_pipeline_answer_free(k.out);
        return s;
    }
    atomic_fetch_add(&g->stats.pipelines[k.out->degraded], 1);
    *out = k.out;
    return NG_OK;
}

void ng_pipeline_answer_free(ng_pipeline_answer *p) {
    if (!p) return;
    for (size_t i = 0; i < p->n_steps; i++) ng_answer_free(p->steps[i].answer);
    ng_arena_free(p->arena);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_step(ng_json *j, const ng_pipeline_step *s) {
    ng_json_object(j);
    ng_json_key(j, "step"), ng_json_str(j, s->name);
    ng_json_key(j, "task"), ng_json_str(j, ng_task_name(s->task));
    ng_json_key(j, "status"), ng_json_str(j, ng_step_status_name(s->status));
    if (s->why) ng_json_key(j, "why"), ng_json_str(j, s->why);
    if (s->task == NG_TASK_CLASSIFY || s->task == NG_TASK_DETECT_LANGUAGE)
        ng_json_key(j, "label"), ng_json_str(j, s->label);
    if (s->text) ng_json_key(j, "text"), ng_json_str(j, s->text);
    if (s->answer) ng_json_key(j, "answer"), ng_answer_json(j, s->answer);
    ng_json_end(j);
}

void ng_pipeline_json(ng_json *j, const ng_pipeline_answer *p) {
    ng_json_object(j);
    ng_json_key(j, "pipeline"), ng_json_str(j, p->pipeline);
    ng_json_key(j, "decision_id"), ng_json_str(j, p->decision_id);
    ng_json_key(j, "degraded"), ng_json_bool(j, p->degraded);
    ng_json_key(j, "steps");
    ng_json_array(j);
    for (size_t i = 0; i < p->n_steps; i++) put_step(j, &p->steps[i]);
    ng_json_end(j);
    ng_json_key(j, "tokens");
    ng_json_object(j);
    ng_json_key(j, "prompt"), ng_json_uint(j, p->prompt_tokens);
    ng_json_key(j, "completion"), ng_json_uint(j, p->completion_tokens);
    ng_json_end(j);
    ng_json_key(j, "cost_usd"), ng_json_fixed(j, p->cost_usd, 9);
    ng_json_key(j, "latency_ms"), ng_json_fixed(j, p->latency_ms, 3);
    ng_json_end(j);
}
