/* ask.c: one request's way through the grid: check, cache, choose, climb, finish, record.
 *
 * All state of a request is one struct on the stack (grid_parts.h: struct asking); the record is
 * filled on the way and copied to the heap once, at the end, so the path pays a memcpy for it and
 * nothing else. What reaches the asker (route, reason, warnings) and what is recorded are the same
 * fields. */
#include "grid_parts.h"

#include "core/clock.h"
#include "core/hash.h"
#include <nanogrid/text.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the other files use ---------------------------------------------------------------- */

ng_record_step *ng_ask_step(asking *a, const char *step, const grid_member *m) {
    /* The last slot is overwritten rather than lost: it tells how the climb ended. */
    size_t i = a->rec.n_steps < NG_RECORD_STEPS ? a->rec.n_steps++ : NG_RECORD_STEPS - 1;
    ng_record_step *s = &a->rec.steps[i];
    *s = (ng_record_step){.confidence = NAN};
    snprintf(s->step, sizeof s->step, "%s", step);
    if (m) snprintf(s->expert, sizeof s->expert, "%s", m->name);
    if (m) s->tier = m->tier_level;
    return s;
}

void ng_ask_warn(asking *a, const char *fmt, ...) {
    va_list ap;
    if (a->rec.n_warnings == NG_RECORD_WARNINGS) return;
    char *w = a->rec.warnings[a->rec.n_warnings++];
    va_start(ap, fmt);
    vsnprintf(w, sizeof a->rec.warnings[0], fmt, ap);
    va_end(ap);
    /* a cut in the middle of a character would make the JSON invalid */
    w[ng_utf8_invalid_at(w, strlen(w))] = 0;
}

bool ng_member_runs(const grid_member *m, const char **why) {
    *why = m->why;
    return !m->why && (!m->tier.healthy || m->tier.healthy(m->tier.self, why));
}

/* Four bytes a token and the most that may be generated: an upper estimate in practice. */
static double prompt_tokens(const asking *a) { return 16 + (double)a->len / 4; }

static double completion_tokens(const asking *a) {
    return a->req.params.has_generate ? a->req.params.generate.n_predict : 256;
}

double ng_member_cost(const grid_member *m, const asking *a) {
    return (prompt_tokens(a) * m->prompt_per_1m + completion_tokens(a) * m->completion_per_1m) * 1e-6;
}

double ng_ask_tokens(const asking *a) { return prompt_tokens(a) + completion_tokens(a); }

bool ng_ask_admits(asking *a, const grid_member *m, char *outcome) {
    const char *why = NULL;
    bool runs = ng_member_runs(m, &why);
    ng_candidate c = {.tier = m->tier_level,
                      .remote = m->upstream,
                      .cost_usd = ng_member_cost(m, a),
                      .unhealthy = runs  ? NULL
                                   : why ? why
                                         : "unhealthy",
                      .region = m->region,
                      .consent = m->consent,
                      .tenants = m->tenants,
                      .n_tenants = m->n_tenants,
                      .min_battery = m->min_battery,
                      .languages = m->languages,
                      .n_languages = a->pinned ? 0 : m->n_languages};
    if (m->upstream && a->grid->budgets && !a->request->features)
        ng_budgets_admits(a->grid->budgets, a->rec.tenant, c.cost_usd, a->rec.time_ms, &c.over_budget);
    a->limits.now_ms = a->limits.deadline_ms ? (int64_t)ng_clock_ms() : 0;
    return ng_policy_admits(&a->limits, &c, outcome);
}

/* A generation that somebody ended: half an answer is no fact to cache. */
static void note_cut(asking *a, const grid_member *m) {
    a->passing = true;
    if (a->limits.deadline_ms && (int64_t)ng_clock_ms() >= a->limits.deadline_ms)
        ng_ask_warn(a, "the deadline cut the answer of %s short", m->name);
}

static bool answers_at_once(const ng_tier *t) {
    return t->at_once && t->at_once(t->self);
}

ng_status ng_ask_member(asking *a, const grid_member *m, ng_task task, ng_answer **out, double *us,
                        ng_error *err) {
    if (a->request->would_wait && !answers_at_once(&m->tier)) {
        a->must_wait = true;
        return ng_fail(err, NG_EBUSY, "%s takes longer than this thread may wait", m->name);
    }
    if (ng_answer_new(out)) return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    bool labels = task == NG_TASK_CLASSIFY || task == NG_TASK_MODERATE || task == NG_TASK_DETECT_LANGUAGE;
    ng_tier_request r = labels && !m->upstream ? ng_ask_reading(a, task) : a->req;
    r.task = (*out)->task = task;
    r.is_private = a->limits.privacy == NG_PRIVACY_LOCAL;
    r.expert = m->upstream ? m->upstream_model : m->name;
    uint64_t t0 = ng_clock_ns();
    atomic_fetch_add(&a->grid->in_flight[m->index], 1);
    ng_status s = m->tier.submit(m->tier.self, &r, *out, err);
    atomic_fetch_sub(&a->grid->in_flight[m->index], 1);
    uint64_t spent = ng_clock_ns() - t0;
    a->expert_ns += spent; /* with loading, which overhead_us leaves out too */
    *us = (double)spent * 1e-3;
    double cost = ((*out)->prompt_tokens * m->prompt_per_1m +
                   (*out)->completion_tokens * m->completion_per_1m) *
                  1e-6;
    a->rec.cost_usd += cost;
    a->rec.load_ms += (*out)->load_ms;
    if (!s && task == NG_TASK_GENERATE && (*out)->finish && !strcmp((*out)->finish, "cancelled"))
        note_cut(a, m);
    if (!s) return NG_OK;
    ng_ask_waste(a, m, *out);
    *out = NULL;
    return s;
}

void ng_ask_waste(asking *a, const grid_member *m, ng_answer *said) {
    if (said && m) {
        double usd = (said->prompt_tokens * m->prompt_per_1m + said->completion_tokens * m->completion_per_1m) * 1e-6;
        a->rec.wasted.prompt_tokens += said->prompt_tokens;
        a->rec.wasted.completion_tokens += said->completion_tokens;
        a->rec.wasted.cost_usd += usd;
    }
    ng_answer_free(said);
}

double ng_answer_margin(const ng_answer *a) {
    if (!a->n_scores) return NAN;
    return (double)a->scores[0].p - (a->n_scores > 1 ? (double)a->scores[1].p : 0);
}

ng_status ng_ask_no_expert(asking *a, ng_error *err) {
    const ng_grid *g = a->grid;
    char why[200] = "";
    for (size_t i = 0; i < a->rec.n_steps && !*why; i++)
        if (!strncmp(a->rec.steps[i].outcome, "skipped", 7))
            snprintf(why, sizeof why, "; %s is ruled out (%s)", a->rec.steps[i].expert,
                     a->rec.steps[i].outcome + 9);
    for (size_t i = 0; i < g->n_experts && !*why; i++)
        if (g->members[i].task == a->task && g->members[i].why)
            snprintf(why, sizeof why, "; %s is not available: %.140s", g->members[i].name,
                     g->members[i].why);
    return ng_fail(
        err, NG_ENOEXPERT,
        "no expert here serves the task '%s'%s%s. Add a model (`models:` and `experts:` in "
        "grid.yaml; `nanogrid show grid` shows how) or an upstream (`upstreams:`)",
        ng_task_name(a->task), why,
        g->n_members > g->n_experts ? "" : " and no upstream is configured");
}

/* ---- begin ----------------------------------------------------------------------------------- */

static ng_status find_text(asking *a, ng_error *err) {
    const ng_request *r = a->request;
    for (size_t i = 0; i < r->n_messages; i++)
        for (size_t k = 0; k < r->messages[i].n_parts; k++) {
            const ng_part *p = &r->messages[i].parts[k];
            if (p->type != NG_PART_TEXT)
                return ng_fail(err, NG_EUNSUPPORTED,
                               "parts of type '%s' are not served by this version; only text is",
                               ng_part_type_name(p->type));
            size_t bad = ng_utf8_invalid_at(p->text, p->len);
            if (bad < p->len)
                return ng_fail(err, NG_EFORMAT, "the text is not valid UTF-8: byte %zu (0x%02x)",
                               bad, (unsigned char)p->text[bad]);
            if (p->len > GRID_TEXT_MAX)
                return ng_fail(err, NG_ELIMIT, "the text has %zu bytes, at most %d are taken",
                               p->len, GRID_TEXT_MAX);
        }
    for (size_t i = r->n_messages; i-- > 0;)
        if (!strcmp(r->messages[i].role, "user") && r->messages[i].n_parts) {
            a->text = r->messages[i].parts[0].text;
            a->len = r->messages[i].parts[0].len;
            return NG_OK;
        }
    return ng_fail(err, NG_EINVALID, "the request has no message of the user");
}

/* Foreign text into a field: cut to fit, never within a character. */
static void put_cut(char *out, size_t cap, const char *s) {
    size_t len = s ? strnlen(s, cap - 1) : 0;
    if (len) memcpy(out, s, len);
    out[len] = 0;
    out[ng_utf8_invalid_at(out, len)] = 0;
}

static ng_status begin(asking *a, ng_grid *g, const ng_request *r, ng_error *err) {
    memset(a, 0, sizeof *a);
    a->t0_ns = ng_clock_ns();
    a->grid = g;
    a->request = r;
    ng_status s = find_text(a, err);
    if (!s) s = ng_params_check(&r->params, r->task, err);
    if (s) return s;
    int64_t deadline = r->features ? 0 : r->deadline_ms ? r->deadline_ms : g->config.policy.deadline_ms;
    a->limits = (ng_limits){.privacy = r->privacy,
                            .max_cost_usd = r->max_cost_usd,
                            .max_tier = r->max_tier,
                            .deadline_ms = deadline ? (int64_t)ng_clock_ms() + deadline : 0};
    a->req = (ng_tier_request){.task = r->task,
                               .messages = r->messages,
                               .n_messages = r->n_messages,
                               .params = r->params,
                               .tenant = r->tenant && *r->tenant ? ng_hash64(r->tenant, strlen(r->tenant), 1) : 0,
                               .deadline_ms = a->limits.deadline_ms,
                               .traceparent = r->traceparent,
                               .abandoned = r->abandoned,
                               .abandoned_ctx = r->abandoned_ctx,
                               .features = r->features,
                               .features_len = r->features_len};
    ng_ask_read(a);
    ng_record *rec = &a->rec;
    rec->text_len = a->len;
    rec->time_ms = ng_clock_wall_ms();
    ng_decision_id(rec->id, rec->time_ms);
    rec->grid_version = g->config.version;
    rec->confidence = rec->threshold = NAN;
    rec->tasks.confidence = rec->experts.confidence = NAN;
    rec->pii = -1;
    rec->complexity = NAN;
    rec->in_scope = true;
    rec->privacy = rec->asked.privacy = r->privacy;
    rec->asked.task = r->task;
    rec->asked.max_cost_usd = r->max_cost_usd;
    rec->asked.n_labels = (uint32_t)r->params.n_labels;
    rec->asked.max_tier = r->max_tier;
    rec->asked.min_confidence = r->min_confidence;
    put_cut(rec->pipeline.name, sizeof rec->pipeline.name, r->pipeline.name);
    put_cut(rec->pipeline.step, sizeof rec->pipeline.step, r->pipeline.step);
    put_cut(rec->pipeline.decision_id, sizeof rec->pipeline.decision_id, r->pipeline.decision_id);
    if (r->model && strcmp(r->model, "auto"))
        put_cut(rec->asked.model, sizeof rec->asked.model, r->model);
    put_cut(rec->tenant, sizeof rec->tenant, r->tenant);
    put_cut(rec->request_id, sizeof rec->request_id, r->request_id);
    put_cut(rec->asked.regions, sizeof rec->asked.regions, r->regions);
    put_cut(rec->asked.consents, sizeof rec->asked.consents, r->consents);
    ng_ask_limits(a);
    return NG_OK;
}

/* ---- cache ----------------------------------------------------------------------------------- */

static void key_str(ng_buf *b,
                    const char *s) { /* with its length, so that no two lists of fields collide */
    uint64_t len = s ? strlen(s) : UINT64_MAX;
    ng_buf_put(b, &len, sizeof len);
    if (s) ng_buf_puts(b, s);
}

static void key_list(ng_buf *b, const char *const *items, size_t n) {
    uint64_t len = n;
    ng_buf_put(b, &len, sizeof len);
    for (size_t i = 0; i < n; i++) key_str(b, items[i]);
}

static void key_params(ng_buf *b, const ng_params *p) {
    const uint32_t n[] = {p->max_sentences, p->max_tokens, p->top_k, p->offsets_chars,
                          p->has_generate};
    ng_buf_put(b, n, sizeof n);
    key_str(b, p->to), key_str(b, p->from), key_str(b, p->context);
    key_list(b, p->labels, p->n_labels);
    key_list(b, p->types, p->n_types);
    key_list(b, p->documents, p->n_documents);
    if (!p->has_generate) return;
    const ng_generate_options *g = &p->generate;
    const float f[] = {
        g->temp, g->top_p, g->min_p, g->repeat_penalty, g->frequency_penalty, g->presence_penalty};
    const uint64_t u[] = {g->n_predict, g->top_k, g->temp > 0 ? g->seed : 0, g->ignore_eog}; /* a server draws a seed where none is given */
    ng_buf_put(b, f, sizeof f);
    ng_buf_put(b, u, sizeof u);
    key_list(b, g->stop, g->n_stop);
}

/* whole: with the text, as it stands in the last message of the user.
 * Tenant, privacy class, model, task, grid version, parameters, then every message.  The request's
 * privacy is the class: personal data follow from the text, which is in the key, and the
 * version. */
static void make_key(const asking *a, bool whole, ng_buf *b) {
    const ng_request *r = a->request;
    ng_learner *l = a->grid->learner;
    const uint64_t head[] = {a->grid->config.version, l ? ng_learner_get_stats(l).version : 0,
                             (uint64_t)r->privacy, (uint64_t)r->task, r->n_messages, r->max_tier};
    key_str(b, r->tenant && *r->tenant ? r->tenant : NULL);
    key_str(b, r->model && strcmp(r->model, "auto") ? r->model : NULL);
    key_str(b, r->regions);
    key_str(b, r->consents);
    ng_buf_put(b, head, sizeof head);
    ng_buf_put(b, &r->min_confidence, sizeof r->min_confidence);
    key_params(b, &r->params);
    for (size_t i = 0; i < r->n_messages; i++) {
        const ng_message *m = &r->messages[i];
        uint64_t n = m->n_parts;
        key_str(b, m->role);
        ng_buf_put(b, &n, sizeof n);
        for (size_t k = 0; k < m->n_parts; k++) {
            uint64_t len = m->parts[k].len;
            if (!whole && m->parts[k].text == a->text) continue;
            ng_buf_put(b, &len, sizeof len);
            ng_buf_put(b, m->parts[k].text, m->parts[k].len);
        }
    }
}

/* Probabilities of tokens are events that cannot be played again. */
static bool is_cacheable(const asking *a) {
    const ng_request *r = a->request;
    bool tokens = r->params.has_generate && r->params.generate.n_top > 0;
    return (a->grid->cache || a->grid->semantic) && !r->no_cache && !tokens;
}

/* Whether the answer is what the same request would get again: complete, made without a failure or
 * a passing obstacle, and no random draw (a local generation is repeatable, an upstream's is
 * not). */
static bool is_fact(const asking *a) {
    const ng_params *p = &a->req.params;
    const grid_member *m = a->best_member;
    bool drawn = m && m->upstream && a->best->task == NG_TASK_GENERATE &&
                 !(p->has_generate && p->generate.temp <= 0);
    return !a->passing && !drawn && a->best->n_warnings == 0;
}

void ng_ask_tell_answerer(asking *a, const char *expert, ng_tier_level tier) {
    const ng_request *r = a->request;
    if (r->on_answerer && expert) r->on_answerer(r->on_token_ctx, expert, tier, a->rec.id);
}

/* An answer that was kept, as one to this request. */
static void serve_kept(asking *a) {
    a->best->cached = true;
    a->best->cost_usd = 0;
    a->rec.cached = true;
    a->task = a->best->task;
    a->out_of_scope = !a->best->in_scope;
    a->rec.escalated = a->best->escalated;
    if (a->request->on_token && a->best->answer) {
        ng_token_event e = {
            .id = -1, .logprob = NAN, .confidence = NAN, .text = a->best->answer, .len = strlen(a->best->answer)};
        ng_ask_tell_answerer(a, a->best->expert, a->best->tier);
        a->request->on_token(a->request->on_token_ctx, &e);
    }
}

static bool from_cache(asking *a, const ng_buf *key) {
    ng_record_step *step = ng_ask_step(a, "cache", NULL);
    uint64_t t0 = ng_clock_ns();
    a->best = key->status ? NULL : ng_cache_get(a->grid->cache, key->data, key->len);
    step->latency_us = (double)(ng_clock_ns() - t0) * 1e-3;
    snprintf(step->outcome, sizeof step->outcome, "%s", a->best ? "hit" : "miss");
    a->cache_asked = true;
    if (!a->best) return false;
    serve_kept(a);
    snprintf(a->rec.reason, sizeof a->rec.reason, "the same request was answered before");
    return true;
}

/* Of all but the text; a failure of memory gives a scope of its own. */
static ng_digest scope_of(const asking *a) {
    ng_buf b = ng_buf_init(GRID_TEXT_MAX * 2u);
    make_key(a, false, &b);
    ng_digest d = b.status ? (ng_digest){{(uint64_t)(uintptr_t)a, a->t0_ns}} : ng_digest_of(b.data, b.len);
    ng_buf_clear(&b);
    return d;
}

static bool from_semantic(asking *a) {
    if (!ng_ask_recall(a, scope_of(a))) return false;
    serve_kept(a);
    return true;
}

/* ---- finish ---------------------------------------------------------------------------------- */

static bool copy_route(ng_answer *out, const ng_record *rec) {
    out->route = ng_answer_alloc(out, (rec->n_steps + 1) * sizeof *out->route);
    bool ok = out->route != NULL;
    for (size_t i = 0; ok && i < rec->n_steps; i++) {
        const ng_record_step *s = &rec->steps[i];
        ng_route_step *r = &out->route[out->n_route++];
        *r = (ng_route_step){
            .tier = s->tier, .confidence = s->confidence, .latency_us = s->latency_us};
        r->step = ng_answer_strndup(out, s->step, strlen(s->step));
        r->outcome = ng_answer_strndup(out, s->outcome, strlen(s->outcome));
        if (*s->expert) r->expert = ng_answer_strndup(out, s->expert, strlen(s->expert));
        ok = r->step && r->outcome && (!*s->expert || r->expert);
    }
    return ok;
}

/* The member's own warnings (a field it does not act upon, ..) stay, ours follow. */
static bool copy_warnings(ng_answer *out, const ng_record *rec) {
    const char **w = ng_answer_alloc(out, (out->n_warnings + rec->n_warnings + 1) * sizeof *w);
    if (!w) return false;
    if (out->n_warnings) memcpy(w, out->warnings, out->n_warnings * sizeof *w);
    bool ok = true;
    for (size_t i = 0; ok && i < rec->n_warnings; i++)
        ok = (w[out->n_warnings++] =
                  ng_answer_strndup(out, rec->warnings[i], strlen(rec->warnings[i]))) != NULL;
    out->warnings = w;
    return ok;
}

static void explain_choice(asking *a) {
    ng_record *rec = &a->rec;
    size_t len = strlen(rec->reason);
    const char *more = NULL;
    if (rec->escalated && rec->explored) more = "all tiers were asked to learn what they say";
    else if (rec->escalated && rec->reask)
        more = rec->reask == NG_REASK_REPEATED ? "the question was asked again, so it escalated"
                                               : "the answer before was called wrong, so it escalated";
    else if (rec->escalated && a->by_gain) more = "the next tier is likely to fix it, so it escalated";
    else if (rec->escalated)
        more = a->out_of_scope ? "out of scope here, so it escalated"
                               : "below the contract, so it escalated";
    else if (a->out_of_scope) more = "out of scope, and no higher tier answered";
    else if (!a->answered && a->by_gain) more = "the next tier was likely to fix it, but did not answer";
    else if (!a->answered && !rec->cached) more = "below the contract, and no higher tier answered";
    if (more) snprintf(rec->reason + len, sizeof rec->reason - len, "%s%s", len ? "; " : "", more);
    bool below = !a->answered && !a->by_gain && !a->out_of_scope && !rec->cached && a->best_member;
    if (below && isnan(a->best_member->max_error))
        ng_ask_warn(a, "the confidence %.3f of %s is below the %.3f that is asked for", a->best->confidence,
                    a->best_member->name, rec->threshold);
    else if (below)
        ng_ask_warn(
            a, "the confidence %.3f is below what %s promised (%.3f for at most %.2g %% error)",
            a->best->confidence, a->best_member->name, rec->threshold,
            100 * a->best_member->max_error);
    if (a->drifting) {
        len = strlen(rec->reason);
        rec->drifting = true;
        snprintf(rec->reason + len, sizeof rec->reason - len,
                 "%sthe texts of late have left the calibration set, so it must be surer", len ? "; " : "");
    }
}

/* What the grid itself took: neither experts nor the first loading of router heads. */
static double overhead_us(const asking *a, double total_ns) {
    double loads_us = (a->rec.tasks.load_ms + a->rec.experts.load_ms) * 1e3;
    double us = (total_ns - (double)a->expert_ns) * 1e-3 - loads_us;
    return us > 0 ? us : 0;
}

static ng_status finish(asking *a, ng_error *err) {
    ng_answer *out = a->best;
    ng_record *rec = &a->rec;
    const grid_member *m = a->best_member;
    char lost[200];
    if (m) {
        rec->escalated =
            m->upstream ? !a->pinned : a->chosen && m->tier_level > a->chosen->tier_level;
        out->expert = ng_answer_strndup(out, m->name, strlen(m->name));
        out->tier = m->tier_level;
        if (!out->expert) return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    }
    explain_choice(a);
    if (a->grid->records && ng_records_warning(a->grid->records, lost, sizeof lost))
        ng_ask_warn(a, "%s", lost);
    out->escalated = rec->escalated;
    out->in_scope = !a->out_of_scope;
    if (a->out_of_scope && !out->escalated) out->label = NULL;
    out->cost_usd = rec->cost_usd;
    out->load_ms = rec->load_ms;
    memcpy(out->decision_id, rec->id, sizeof out->decision_id);
    out->reason = ng_answer_strndup(out, rec->reason, strlen(rec->reason));
    if (!out->reason || !copy_route(out, rec) || !copy_warnings(out, rec))
        return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    double total = (double)(ng_clock_ns() - a->t0_ns);
    out->latency_ms = total * 1e-6;
    out->overhead_us = overhead_us(a, total);
    return NG_OK;
}

/* After the cache has its copy: signals are of this request alone. */
static ng_status tell_signals(asking *a, ng_error *err) {
    if (!a->request->with_signals) return NG_OK;
    ng_buf b = ng_buf_init(1u << 20);
    ng_json j = ng_json_init(&b);
    ng_record_signals_json(&j, &a->rec);
    a->best->signals = b.status ? NULL : ng_answer_strndup(a->best, b.data, b.len);
    ng_buf_clear(&b);
    return a->best->signals ? NG_OK : ng_fail(err, NG_ENOMEM, "signals: out of memory");
}

/* All that a request leaves behind but its record and its cache entry. */
static void count(asking *a, ng_status s) {
    ng_grid *g = a->grid;
    const ng_answer *out = a->best;
    const ng_record *rec = &a->rec;
    atomic_fetch_add(&g->stats.requests, 1);
    atomic_fetch_add(&g->stats.cost_nano_usd, (uint64_t)(rec->cost_usd * 1e9));
    atomic_fetch_add(&g->stats.wasted_tokens, rec->wasted.prompt_tokens + rec->wasted.completion_tokens);
    atomic_fetch_add(&g->stats.wasted_nano_usd, (uint64_t)(rec->wasted.cost_usd * 1e9));
    if (a->cache_asked)
        atomic_fetch_add(rec->cached && !a->near.vector ? &g->stats.cache_hits : &g->stats.cache_misses, 1);
    if (a->missed) atomic_fetch_add(&g->stats.deadline_misses, 1);
    if (rec->reask) atomic_fetch_add(&g->stats.reasks, 1);
    for (size_t i = 0; i < a->n_judged; i++) ng_drift_add(a->judged[i].drift, a->judged[i].confidence);
    if (s) {
        atomic_fetch_add(&g->stats.errors, 1);
        return;
    }
    if (a->exploring) atomic_fetch_add(&g->stats.explored, 1);
    if (out->expert) atomic_fetch_add(&g->stats.answered[out->tier], 1);
    if (out->escalated && !out->cached) atomic_fetch_add(&g->stats.escalations, 1);
    if (!out->in_scope && !out->escalated) atomic_fetch_add(&g->stats.abstentions, 1);
    if (out->cached) return;
    atomic_fetch_add(&g->stats.prompt_tokens, out->prompt_tokens);
    atomic_fetch_add(&g->stats.completion_tokens, out->completion_tokens);
    atomic_fetch_add(&g->stats.cached_tokens, out->cached_tokens);
}

static void fill_from_answer(ng_record *rec, const ng_answer *out) {
    const ng_score *scores = out->n_categories ? out->categories : out->scores;
    size_t n = out->n_categories ? out->n_categories : out->n_scores;
    if (out->expert) snprintf(rec->expert, sizeof rec->expert, "%s", out->expert);
    if (out->label) snprintf(rec->label, sizeof rec->label, "%s", out->label);
    rec->tier = out->tier;
    rec->confidence = out->confidence;
    rec->in_scope = out->in_scope;
    rec->task = out->task;
    rec->n_scores = n < NG_RECORD_SCORES ? n : NG_RECORD_SCORES;
    for (size_t i = 0; i < rec->n_scores; i++) {
        snprintf(rec->scores[i].label, sizeof rec->scores[i].label, "%s", scores[i].label);
        rec->scores[i].p = scores[i].p;
    }
    rec->n_entities = out->n_entities;
    rec->prompt_tokens = out->cached ? 0 : out->prompt_tokens;
    rec->completion_tokens = out->cached ? 0 : out->completion_tokens;
    rec->overhead_us = out->overhead_us;
}

static void complete_record(asking *a, ng_status s, const ng_error *err) {
    a->rec.task = a->task;
    a->rec.error = s;
    if (s) put_cut(a->rec.error_text, sizeof a->rec.error_text, err ? err->text : NULL);
    else fill_from_answer(&a->rec, a->best);
    const char *adapter = a->best_member ? a->best_member->adapter : NULL, *slash = adapter ? strrchr(adapter, '/') : NULL;
    put_cut(a->rec.adapter, sizeof a->rec.adapter, slash ? slash + 1 : adapter);
    a->rec.important = s || a->rec.escalated || !a->rec.in_scope || a->rec.n_warnings > 0;
    a->rec.latency_us = (double)(ng_clock_ns() - a->t0_ns) * 1e-3;
    a->rec.keep_text = a->grid->config.records.text && a->rec.privacy != NG_PRIVACY_LOCAL;
    a->rec.asked.foreign = ng_has_foreign_letters(a->text, a->len);
    a->rec.asked.cut = a->payload != NULL || ng_ask_read_twice(a);
    a->rec.asked.cleaned = a->plain != NULL;
    a->rec.asked.spelt = a->spelt != NULL;
}

/* The text goes along in memory: its features are computed by the writer, behind the answer. */
static void record(asking *a, ng_status s, const ng_error *err) {
    const grid_hooks *h = &a->grid->hooks;
    if (!a->grid->records && !h->on_record) return;
    complete_record(a, s, err);
    if (h->on_record) h->on_record(h->ctx, &a->rec);
    if (!a->grid->records) return;
    ng_record *rec = malloc(sizeof *rec);
    if (!rec) {
        ng_records_count_lost(a->grid->records);
        return;
    }
    *rec = a->rec;
    rec->text = malloc(a->len + 1);
    if (rec->text) {
        memcpy(rec->text, a->text, a->len);
        rec->text[a->len] = 0;
    }
    rec->plain = ng_ask_take_reading(a);
    ng_records_push(a->grid->records, rec);
}

/* Routers and signals are small models: only their loading takes time. */
static bool small_models_wait(const ng_grid *g) {
    const ng_tier *t[] = {&g->task_router, &g->expert_router, &g->pii, g->language ? &g->language->tier : NULL};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        if (t[i] && t[i]->self && !answers_at_once(t[i])) return true;
    return false;
}

static ng_status refuse_to_wait(const ng_request *r, ng_error *err) {
    *r->would_wait = true;
    return ng_fail(err, NG_EBUSY, "the answer takes longer than this thread may wait");
}

static void free_asking(asking *a) {
    ng_answer_free(a->best);
    ng_answer_free(a->probed);
    ng_answer_free(a->near.vector);
    free((char *)a->given_up.draft);
    free(a->given_up.messages);
    free(a->given_up.note);
    free(a->payload);
    free(a->plain);
    free(a->spelt);
    free(a->shortened);
    free(a->shortened_messages);
}

static ng_status hand_over(asking *a, ng_status s, const ng_error *why, ng_answer **out, ng_error *err) {
    if (!s) *out = a->best, a->best = NULL;
    free_asking(a);
    return s ? ng_fail(err, s, "%s", why->text) : NG_OK;
}

/* ---- the two questions ----------------------------------------------------------------------- */

ng_status ng_grid_ask(ng_grid *g, const ng_request *r, ng_answer **out, ng_error *err) {
    asking a;
    ng_error why = {0};
    *out = NULL;
    if (r->would_wait && small_models_wait(g)) return refuse_to_wait(r, err);
    ng_status s = begin(&a, g, r, &why);
    if (s) return ng_fail(err, s, "%s", why.text); /* nothing was decided, so nothing is recorded */
    ng_buf key = ng_buf_init(GRID_TEXT_MAX * 2u);
    bool cacheable = is_cacheable(&a);
    if (cacheable) make_key(&a, true, &key);
    bool hit = cacheable && g->cache && from_cache(&a, &key);
    if (!hit) s = ng_ask_choose(&a, &why);
    bool near = !hit && !s && cacheable && from_semantic(&a);
    if (!hit && !near && !s && !a.must_wait) s = ng_ask_cascade(&a, &why);
    if (a.must_wait) {
        ng_buf_clear(&key);
        free_asking(&a);
        return refuse_to_wait(r, err);
    }
    if (!s) s = finish(&a, &why);
    if (!s && cacheable && !hit && !near && is_fact(&a)) {
        if (g->cache && !key.status) ng_cache_put(g->cache, key.data, key.len, a.best);
        ng_ask_keep(&a);
    }
    if (!s) s = tell_signals(&a, &why);
    ng_buf_clear(&key);
    count(&a, s);
    record(&a, s, &why);
    return hand_over(&a, s, &why, out, err);
}

static bool copy_scores(ng_answer *out, const ng_decision *d) {
    out->scores = ng_answer_alloc(out, (d->n_scores + 1) * sizeof *out->scores);
    bool ok = out->scores != NULL;
    for (size_t i = 0; ok && i < d->n_scores; i++) {
        out->scores[i].p = d->scores[i].p;
        ok = (out->scores[i].label =
                  ng_answer_strndup(out, d->scores[i].label, strlen(d->scores[i].label))) != NULL;
        out->n_scores += ok;
    }
    return ok;
}

/* Scope is the chosen classifier's own word, so a cheap one is asked; others answer when asked
 * to. */
static ng_status decide_scope(asking *a, ng_error *err) {
    const grid_member *m = a->pinned ? a->pinned : a->chosen;
    ng_answer *said = NULL;
    double us = 0;
    a->out_of_scope = a->undecided;
    if (a->probed) return a->out_of_scope = !a->probed->in_scope, NG_OK;
    if (!m || m->upstream || m->task != NG_TASK_CLASSIFY || a->request->params.n_labels)
        return NG_OK;
    ng_error why = {0};
    ng_status s = ng_ask_member(a, m, m->task, &said, &us, &why);
    if (s) return ng_fail(err, s, "%s", why.text);
    a->out_of_scope = !said->in_scope || a->disowned;
    a->rec.confidence = said->confidence;
    ng_record_step *step = ng_ask_step(a, "expert", m);
    step->latency_us = us;
    step->confidence = said->confidence;
    snprintf(step->outcome, sizeof step->outcome, "%s", said->in_scope ? "in scope" : "abstained");
    ng_answer_free(said);
    return NG_OK;
}

/* Who would answer: the chosen expert, or for what is out of scope the first upstream admitted. */
static const grid_member *likely(asking *a) {
    const grid_member *m = a->pinned ? a->pinned : a->chosen;
    char outcome[NG_OUTCOME_MAX];
    bool climbs =
        !m || (a->out_of_scope && a->grid->config.router.abstain == GRID_ABSTAIN_ESCALATE);
    for (size_t i = a->grid->n_experts; climbs && !a->pinned && i < a->grid->n_members; i++)
        if (ng_ask_admits(a, &a->grid->members[i], outcome)) return &a->grid->members[i];
    return m;
}

static ng_status fill_decision(asking *a, ng_answer *out, ng_error *err) {
    const grid_member *m = likely(a);
    if (!m && !a->undecided) return ng_ask_no_expert(a, err);
    ng_decision only = {.n_scores = 0};
    const ng_decision *d = &a->rec.experts;
    if (!d->n_scores && m) { /* a single candidate: the task's probability is all there is to say */
        only.n_scores = 1;
        only.scores[0].p = a->rec.tasks.n_scores ? a->rec.tasks.scores[0].p : 1;
        snprintf(only.scores[0].label, NG_DECISION_LABEL_MAX, "%s", m->name);
        d = &only;
    }
    out->task = a->task;
    out->in_scope = !a->out_of_scope;
    out->confidence = a->rec.confidence;
    size_t len = strlen(a->rec.reason);
    if (m && m->upstream && !a->pinned)
        snprintf(a->rec.reason + len, sizeof a->rec.reason - len, "%sit would escalate to %s",
                 len ? "; " : "", m->name);
    else if (a->out_of_scope)
        snprintf(a->rec.reason + len, sizeof a->rec.reason - len,
                 "%sout of scope, it would be left unanswered", len ? "; " : "");
    if (m) out->expert = ng_answer_strndup(out, m->name, strlen(m->name));
    if (m) out->tier = m->tier_level;
    out->reason = ng_answer_strndup(out, a->rec.reason, strlen(a->rec.reason));
    memcpy(out->decision_id, a->rec.id, sizeof out->decision_id);
    bool ok = (!m || out->expert) && out->reason && copy_scores(out, d) &&
              copy_route(out, &a->rec) && copy_warnings(out, &a->rec);
    double total = (double)(ng_clock_ns() - a->t0_ns);
    out->latency_ms = total * 1e-6;
    out->overhead_us = overhead_us(a, total);
    out->load_ms = a->rec.load_ms;
    return ok ? NG_OK : ng_fail(err, NG_ENOMEM, "answer: out of memory");
}

ng_status ng_grid_route(ng_grid *g, const ng_request *r, ng_answer **out, ng_error *err) {
    asking a;
    ng_error why = {0};
    *out = NULL;
    if (r->would_wait && small_models_wait(g)) return refuse_to_wait(r, err);
    ng_status s = begin(&a, g, r, &why);
    if (s) return ng_fail(err, s, "%s", why.text);
    a.rec.decision_only = true;
    s = ng_ask_choose(&a, &why);
    if (!s) s = decide_scope(&a, &why);
    if (a.must_wait) {
        free_asking(&a);
        return refuse_to_wait(r, err);
    }
    if (!s && ng_answer_new(&a.best)) s = ng_fail(&why, NG_ENOMEM, "answer: out of memory");
    if (!s) s = fill_decision(&a, a.best, &why);
    if (!s) s = tell_signals(&a, &why);
    record(&a, s, &why);
    return hand_over(&a, s, &why, out, err);
}

void ng_route_json(ng_json *j, const ng_answer *a) {
    ng_json_object(j);
    ng_json_key(j, "decision_id"), ng_json_str(j, a->decision_id);
    ng_json_key(j, "task"), ng_json_str(j, ng_task_name(a->task));
    ng_json_key(j, "expert"), ng_json_str(j, a->expert);
    ng_json_key(j, "tier"), ng_json_str(j, ng_tier_level_name(a->tier));
    ng_json_key(j, "in_scope"), ng_json_bool(j, a->in_scope);
    ng_json_key(j, "scores"), ng_json_object(j);
    for (size_t i = 0; i < a->n_scores; i++)
        ng_json_key(j, a->scores[i].label), ng_json_fixed(j, (double)a->scores[i].p, 6);
    ng_json_end(j);
    ng_json_key(j, "reason"), ng_json_str(j, a->reason);
    ng_json_key(j, "latency_us"), ng_json_fixed(j, a->latency_ms * 1e3, 2);
    if (a->signals) ng_json_key(j, "signals"), ng_json_raw(j, a->signals);
    ng_json_end(j);
}
