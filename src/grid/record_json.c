/* record_json.c: a record as the JSON object that is kept and that `explain --json` prints.
 *
 * It holds labels, scores and counts, never the text, an entity's text, a summary or a generated
 * answer: those may say what the user said. */
#include "records.h"

#include <math.h>
#include <stdlib.h>

void ng_record_free(ng_record *r) {
    if (!r) return;
    free(r->text);
    free(r->plain);
    free(r);
}

static void put_str(ng_json *j, const char *key, const char *v) {
    ng_json_key(j, key);
    ng_json_str(j, v && *v ? v : NULL);
}

static void put_num(ng_json *j, const char *key, double v, int decimals) {
    ng_json_key(j, key);
    ng_json_fixed(j, v, decimals);
}

static void put_bool(ng_json *j, const char *key, bool v) {
    ng_json_key(j, key);
    ng_json_bool(j, v);
}

static void put_decision(ng_json *j, const char *key, const ng_decision *d) {
    if (!d->n_scores) return;
    ng_json_key(j, key);
    ng_json_object(j);
    put_num(j, "confidence", d->confidence, 6);
    put_bool(j, "in_scope", d->in_scope);
    put_num(j, "latency_us", d->latency_us, 2);
    ng_json_key(j, "scores");
    ng_json_object(j);
    for (size_t i = 0; i < d->n_scores; i++)
        put_num(j, d->scores[i].label, (double)d->scores[i].p, 6);
    ng_json_end(j);
    ng_json_end(j);
}

static void put_shape(ng_json *j, const ng_record *r) {
    const ng_structure *s = &r->structure;
    put_num(j, "complexity", r->complexity, 6);
    ng_json_key(j, "structure");
    ng_json_object(j);
    put_bool(j, "technical", ng_structure_is_technical(s));
    if (s->code) put_bool(j, "code", true);
    if (s->list) put_bool(j, "list", true);
    if (s->table) put_bool(j, "table", true);
    if (s->maths) put_bool(j, "maths", true);
    ng_json_key(j, "numbers"), ng_json_uint(j, s->numbers);
    ng_json_key(j, "lines"), ng_json_uint(j, s->lines);
    ng_json_end(j);
    ng_json_key(j, "conversation");
    ng_json_object(j);
    ng_json_key(j, "turns"), ng_json_uint(j, r->turns.users);
    ng_json_key(j, "bytes"), ng_json_uint(j, r->turns.bytes);
    if (r->turns.system) put_bool(j, "system", true);
    if (r->turns.refers) put_bool(j, "refers", true);
    ng_json_end(j);
    put_num(j, "shape_us", r->shape_us, 2);
}

static void put_weighed(ng_json *j, const ng_record *r) {
    if (!r->n_weighed) return;
    ng_json_key(j, "weighed");
    ng_json_object(j);
    for (size_t i = 0; i < r->n_weighed; i++) {
        ng_json_key(j, r->weighed[i].name);
        ng_json_object(j);
        put_num(j, "usd", r->weighed[i].usd, 9);
        ng_json_key(j, "in_flight"), ng_json_uint(j, r->weighed[i].in_flight);
        ng_json_end(j);
    }
    ng_json_end(j);
}

void ng_record_signals_json(ng_json *j, const ng_record *r) {
    ng_json_object(j);
    ng_json_key(j, "bytes"), ng_json_uint(j, r->text_len);
    if (r->pii >= 0) put_bool(j, "pii", r->pii);
    if (r->pii_us > 0) put_num(j, "pii_us", r->pii_us, 2);
    if (r->spelling_us > 0) put_num(j, "spelling_us", r->spelling_us, 2);
    if (*r->language)
        put_str(j, "language", r->language), put_num(j, "language_us", r->language_us, 2);
    if (!isnan(r->complexity)) put_shape(j, r);
    put_weighed(j, r);
    if (r->reask_us > 0) put_str(j, "reask", ng_reask_name(r->reask)), put_num(j, "reask_us", r->reask_us, 2);
    put_decision(j, "tasks", &r->tasks);
    put_decision(j, "experts", &r->experts);
    if (r->claims_by_vectors) put_str(j, "claims", "vectors");
    ng_json_end(j);
}

static void put_steps(ng_json *j, const ng_record *r) {
    ng_json_key(j, "route");
    ng_json_array(j);
    for (size_t i = 0; i < r->n_steps; i++) {
        const ng_record_step *s = &r->steps[i];
        ng_json_object(j);
        put_str(j, "step", s->step);
        if (*s->expert)
            put_str(j, "expert", s->expert), put_str(j, "tier", ng_tier_level_name(s->tier));
        put_str(j, "outcome", s->outcome);
        if (*s->decision_id) put_str(j, "decision_id", s->decision_id);
        if (*s->label) put_str(j, "label", s->label), put_num(j, "margin", s->margin, 6);
        if (s->prompt_tokens) ng_json_key(j, "prompt_tokens"), ng_json_uint(j, s->prompt_tokens);
        if (s->completion_tokens) ng_json_key(j, "completion_tokens"), ng_json_uint(j, s->completion_tokens);
        if (s->cost_usd > 0) put_num(j, "cost_usd", s->cost_usd, 9);
        if (!isnan(s->confidence)) put_num(j, "confidence", s->confidence, 6);
        put_num(j, "latency_us", s->latency_us, 2);
        ng_json_end(j);
    }
    ng_json_end(j);
}

static void put_asked(ng_json *j, const ng_record *r) {
    ng_json_key(j, "asked");
    ng_json_object(j);
    put_str(j, "task", ng_task_name(r->asked.task));
    put_str(j, "model", r->asked.model);
    put_str(j, "privacy", ng_privacy_name(r->asked.privacy));
    ng_json_key(j, "max_cost_usd"), ng_json_num(j, r->asked.max_cost_usd);
    ng_json_key(j, "labels"), ng_json_uint(j, r->asked.n_labels);
    put_bool(j, "foreign", r->asked.foreign);
    put_bool(j, "cut", r->asked.cut);
    if (r->asked.cleaned) put_bool(j, "cleaned", true);
    if (r->asked.spelt) put_bool(j, "spelt", true);
    if (*r->asked.regions) put_str(j, "regions", r->asked.regions);
    if (*r->asked.consents) put_str(j, "consents", r->asked.consents);
    if (r->asked.max_tier) put_str(j, "max_tier", ng_tier_level_name((ng_tier_level)(r->asked.max_tier - 1)));
    if (r->asked.min_confidence > 0) put_num(j, "min_confidence", r->asked.min_confidence, 6);
    ng_json_end(j);
}

static void put_result(ng_json *j, const ng_record *r) {
    if (*r->label) put_str(j, "label", r->label);
    if (r->n_scores) {
        ng_json_key(j, "scores");
        ng_json_object(j);
        for (size_t i = 0; i < r->n_scores; i++)
            put_num(j, r->scores[i].label, (double)r->scores[i].p, 6);
        ng_json_end(j);
    }
    if (r->task == NG_TASK_EXTRACT) ng_json_key(j, "entities"), ng_json_uint(j, r->n_entities);
    if (r->error) {
        ng_json_key(j, "error");
        ng_json_object(j);
        put_str(j, "code", ng_status_name(r->error));
        put_str(j, "message", r->error_text);
        ng_json_end(j);
    }
}

const char *ng_record_kind(const ng_record *r) {
    return r->decision_only ? "route" : r->whole_pipeline ? "pipeline" : "answer";
}

static void put_pipeline(ng_json *j, const ng_record *r) {
    if (!*r->pipeline.name) return;
    ng_json_key(j, "pipeline");
    ng_json_object(j);
    put_str(j, "name", r->pipeline.name);
    if (*r->pipeline.step) put_str(j, "step", r->pipeline.step);
    if (*r->pipeline.decision_id) put_str(j, "decision_id", r->pipeline.decision_id);
    ng_json_end(j);
}

void ng_record_json(ng_json *j, const ng_record *r) {
    ng_json_object(j);
    put_str(j, "decision_id", r->id);
    ng_json_key(j, "time_ms"), ng_json_int(j, r->time_ms);
    put_str(j, "kind", ng_record_kind(r));
    put_pipeline(j, r);
    put_str(j, "task", ng_task_name(r->task));
    put_str(j, "expert", r->expert);
    if (*r->adapter) put_str(j, "adapter", r->adapter);
    put_str(j, "tier", ng_tier_level_name(r->tier));
    put_num(j, "confidence", r->confidence, 6);
    if (!isnan(r->threshold)) ng_json_key(j, "threshold"), ng_json_num(j, r->threshold);
    put_bool(j, "in_scope", r->in_scope);
    put_bool(j, "escalated", r->escalated);
    put_bool(j, "cached", r->cached);
    if (r->drifting) put_bool(j, "drifting", true);
    if (r->explored) put_bool(j, "explored", true);
    put_str(j, "privacy", ng_privacy_name(r->privacy));
    put_str(j, "reason", r->reason);
    put_asked(j, r);
    ng_json_key(j, "signals"), ng_record_signals_json(j, r);
    put_steps(j, r);
    put_result(j, r);
    ng_json_key(j, "warnings");
    ng_json_array(j);
    for (size_t i = 0; i < r->n_warnings; i++) ng_json_str(j, r->warnings[i]);
    ng_json_end(j);
    ng_json_key(j, "tokens");
    ng_json_object(j);
    ng_json_key(j, "prompt"), ng_json_uint(j, r->prompt_tokens);
    ng_json_key(j, "completion"), ng_json_uint(j, r->completion_tokens);
    ng_json_end(j);
    if (r->wasted.prompt_tokens || r->wasted.completion_tokens) {
        ng_json_key(j, "wasted");
        ng_json_object(j);
        ng_json_key(j, "prompt"), ng_json_uint(j, r->wasted.prompt_tokens);
        ng_json_key(j, "completion"), ng_json_uint(j, r->wasted.completion_tokens);
        put_num(j, "cost_usd", r->wasted.cost_usd, 9);
        ng_json_end(j);
    }
    put_num(j, "cost_usd", r->cost_usd, 9);
    put_num(j, "latency_us", r->latency_us, 1);
    put_num(j, "overhead_us", r->overhead_us, 1);
    put_num(j, "load_ms", r->load_ms, 3);
    if (*r->tenant) put_str(j, "tenant", r->tenant);
    if (*r->request_id) put_str(j, "request_id", r->request_id);
    ng_json_key(j, "grid_version"), ng_json_uint(j, r->grid_version);
    ng_json_key(j, "router_version"), ng_json_uint(j, r->router_version);
    ng_json_end(j);
}
