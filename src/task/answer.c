/* answer.c: the answer object and its one JSON form.  See nanogrid/answer.h. */
#include <nanogrid/tier.h>

#include "core/arena.h"
#include <math.h>
#include <string.h>

static const char *const task_names[NG_TASK_COUNT] = {
    "auto",
#define NAME(name, text) text,
    NG_TASK_MAP(NAME)
#undef NAME
};
static const char *const tier_names[] = {"nano", "small", "medium"};

const char *ng_task_name(ng_task t) { return (size_t)t < NG_TASK_COUNT ? task_names[t] : "unknown"; }

bool ng_task_parse(ng_task *out, const char *name) {
    for (int i = 0; i < NG_TASK_COUNT; i++)
        if (!strcmp(task_names[i], name)) {
            *out = (ng_task)i;
            return true;
        }
    return false;
}

const char *ng_tier_level_name(ng_tier_level t) { return (size_t)t < 3 ? tier_names[t] : "unknown"; }

bool ng_tier_level_parse(ng_tier_level *out, const char *name) {
    for (int i = 0; i < 3; i++)
        if (!strcmp(tier_names[i], name)) {
            *out = (ng_tier_level)i;
            return true;
        }
    return false;
}

const char *ng_part_type_name(ng_part_type t) {
    static const char *const names[] = {"text", "image", "audio", "series"};
    return (size_t)t < sizeof names / sizeof names[0] ? names[t] : "unknown";
}

ng_status ng_answer_new(ng_answer **out) {
    ng_arena *arena;
    *out = NULL;
    if (ng_arena_new(&arena, 4096)) return NG_ENOMEM;
    ng_answer *a = ng_arena_alloc(arena, sizeof *a);
    if (!a) {
        ng_arena_free(arena);
        return NG_ENOMEM;
    }
    a->arena = arena;
    a->confidence = NAN;
    a->in_scope = true;
    a->start = a->end = -1;
    *out = a;
    return NG_OK;
}

void ng_answer_free(ng_answer *a) {
    if (a) ng_arena_free(a->arena);
}

void *ng_answer_alloc(ng_answer *a, size_t bytes) { return ng_arena_alloc(a->arena, bytes); }

const char *ng_answer_strndup(ng_answer *a, const char *s, size_t len) {
    return ng_arena_strndup(a->arena, s, len);
}

static void put_str(ng_json *j, const char *key, const char *v) {
    ng_json_key(j, key);
    ng_json_str(j, v);
}

static void put_fixed(ng_json *j, const char *key, double v, int decimals) {
    ng_json_key(j, key);
    ng_json_fixed(j, v, decimals);
}

static void put_scores(ng_json *j, const char *key, const ng_score *s, size_t n) {
    ng_json_key(j, key);
    ng_json_object(j);
    for (size_t i = 0; i < n; i++) put_fixed(j, s[i].label, (double)s[i].p, 6);
    ng_json_end(j);
}

static void put_entities(ng_json *j, const ng_answer *a) {
    ng_json_key(j, "entities");
    ng_json_array(j);
    for (size_t i = 0; i < a->n_entities; i++) {
        const ng_entity *e = &a->entities[i];
        ng_json_object(j);
        ng_json_key(j, "start"), ng_json_uint(j, e->start);
        ng_json_key(j, "end"), ng_json_uint(j, e->end);
        put_str(j, "label", e->label);
        put_str(j, "text", e->text);
        put_fixed(j, "score", (double)e->score, 6);
        ng_json_end(j);
    }
    ng_json_end(j);
}

static void put_span(ng_json *j, const ng_answer *a) {
    if (!a->answerable) {
        ng_json_key(j, "answerable"), ng_json_bool(j, false);
    } else if (a->start >= 0) {
        ng_json_key(j, "start"), ng_json_int(j, a->start);
        ng_json_key(j, "end"), ng_json_int(j, a->end);
    }
}

static void put_vector(ng_json *j, const ng_answer *a) {
    ng_json_key(j, "embedding");
    ng_json_array(j);
    for (size_t i = 0; i < a->n_embedding; i++) ng_json_f32(j, a->embedding[i]);
    ng_json_end(j);
}

static void put_results(ng_json *j, const ng_answer *a) {
    ng_json_key(j, "results");
    ng_json_array(j);
    for (size_t i = 0; i < a->n_results; i++) {
        ng_json_object(j);
        ng_json_key(j, "index"), ng_json_uint(j, a->results[i].index);
        put_fixed(j, "score", (double)a->results[i].score, 6);
        ng_json_end(j);
    }
    ng_json_end(j);
}

static void put_task(ng_json *j, const ng_answer *a) {
    switch (a->task) {
    case NG_TASK_CLASSIFY:
    case NG_TASK_DETECT_LANGUAGE:
        put_str(j, "label", a->label);
        put_scores(j, "scores", a->scores, a->n_scores);
        break;
    case NG_TASK_MODERATE:
        ng_json_key(j, "flagged"), ng_json_bool(j, a->flagged);
        put_scores(j, "categories", a->categories, a->n_categories);
        break;
    case NG_TASK_EXTRACT: put_entities(j, a); break;
    case NG_TASK_EMBED: put_vector(j, a); break;
    case NG_TASK_RERANK: put_results(j, a); break;
    default:
        put_str(j, "answer", a->answer);
        if (a->task == NG_TASK_ANSWER) put_span(j, a);
        if (a->finish) put_str(j, "finish", a->finish);
    }
}

void ng_answer_task_json(ng_json *j, const ng_answer *a) {
    ng_json_object(j);
    put_str(j, "task", ng_task_name(a->task));
    put_fixed(j, "confidence", a->confidence, 6);
    ng_json_key(j, "in_scope"), ng_json_bool(j, a->in_scope);
    put_task(j, a);
    ng_json_end(j);
}

static void put_route(ng_json *j, const ng_answer *a) {
    ng_json_key(j, "route");
    ng_json_array(j);
    for (size_t i = 0; i < a->n_route; i++) {
        const ng_route_step *s = &a->route[i];
        ng_json_object(j);
        put_str(j, "step", s->step);
        if (s->expert) put_str(j, "expert", s->expert);
        if (s->expert) put_str(j, "tier", ng_tier_level_name(s->tier));
        put_str(j, "outcome", s->outcome);
        if (!isnan(s->confidence)) put_fixed(j, "confidence", s->confidence, 6);
        put_fixed(j, "latency_us", s->latency_us, 1);
        ng_json_end(j);
    }
    ng_json_end(j);
}

void ng_answer_json(ng_json *j, const ng_answer *a) {
    ng_json_object(j);
    put_str(j, "task", ng_task_name(a->task));
    put_str(j, "expert", a->expert);
    put_str(j, "tier", a->expert ? ng_tier_level_name(a->tier) : NULL);
    put_fixed(j, "confidence", a->confidence, 6);
    ng_json_key(j, "escalated"), ng_json_bool(j, a->escalated);
    put_str(j, "decision_id", a->decision_id);
    put_fixed(j, "latency_ms", a->latency_ms, 3);
    ng_json_key(j, "in_scope"), ng_json_bool(j, a->in_scope);
    put_fixed(j, "load_ms", a->load_ms, 3);
    ng_json_key(j, "warnings");
    ng_json_array(j);
    for (size_t i = 0; i < a->n_warnings; i++) ng_json_str(j, a->warnings[i]);
    ng_json_end(j);
    ng_json_key(j, "tokens");
    ng_json_object(j);
    ng_json_key(j, "prompt"), ng_json_uint(j, a->prompt_tokens);
    ng_json_key(j, "completion"), ng_json_uint(j, a->completion_tokens);
    if (a->cached_tokens) ng_json_key(j, "cached"), ng_json_uint(j, a->cached_tokens);
    ng_json_end(j);
    if (a->cached) ng_json_key(j, "cached"), ng_json_bool(j, true);
    if (a->cost_usd > 0) put_fixed(j, "cost_usd", a->cost_usd, 9);
    put_route(j, a);
    if (a->reason) put_str(j, "reason", a->reason);
    if (a->signals) ng_json_key(j, "signals"), ng_json_raw(j, a->signals);
    put_task(j, a);
    ng_json_end(j);
}
