/* cascade.c: climbs the tiers until an answer keeps its contract.  See docs/grid_yaml.md.
 *
 * The line of candidates is the chosen expert, then experts of the same task on higher tiers, then
 * the upstreams by tier and cost.  Each is first held against the hard filters; one that passes is
 * asked, and its answer is judged:
 *
 *     in scope and confidence >= threshold   answered, the climb ends
 *     out of scope                           abstained; kept; climb on unless router.abstain says answer
 *     below the threshold                    below-contract; kept; climb on
 *     an error                               failed; climb on, unless the request itself is wrong
 *
 * A generation whose confidence (decode/confidence.h) is below its threshold after cascade.early_after tokens is given up where
 * somebody above may be asked: its tokens are waste, and what it wrote goes up with the question.  Where nobody above answers
 * it is asked again, to the end.
 *
 * Invariant: `best` is the best answer so far and is never given up before a better one is
 * complete, so a failing upstream costs time, not the answer.  Tokens of a generation that may
 * still escalate are held back, at most cascade.hold_tokens of them; once one was let through the
 * tier is settled. */
#include "grid_parts.h"

#include "core/clock.h"
#include "core/hash.h"
#include "route/reask.h"
#include <nanogrid/text.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_TOP_MAX = 20 }; /* ng_generate_options.n_top goes no further */

typedef struct line {
    const grid_member *m[GRID_CANDIDATES_MAX];
    size_t n;
} line;

static void line_add(line *l, const grid_member *m) {
    if (l->n < GRID_CANDIDATES_MAX) l->m[l->n++] = m;
}

static void add_upstreams(asking *a, line *l) {
    const ng_grid *g = a->grid;
    size_t begin = l->n;
    for (size_t i = g->n_experts; i < g->n_members; i++) line_add(l, &g->members[i]);
    ng_ask_weigh(a, l->m + begin, l->n - begin);
}

/* A conversation goes on where it has escalated to: what is below that comes last. */
static void start_at(line *l, ng_tier_level tier) {
    line sorted = {.n = 0};
    for (int below = 0; below < 2; below++)
        for (size_t i = 0; i < l->n; i++)
            if ((l->m[i]->tier_level < tier) == (below == 1)) line_add(&sorted, l->m[i]);
    *l = sorted;
}

static line line_up(asking *a) {
    const ng_grid *g = a->grid;
    line l = {.n = 0};
    if (a->pinned) {
        line_add(&l, a->pinned);
        return l;
    }
    if (!a->undecided) {
        int above = a->chosen ? (int)a->chosen->tier_level : -1;
        if (a->chosen) line_add(&l, a->chosen);
        if (a->referred) line_add(&l, a->referred);
        /* Other experts of the same tier serve other subtasks, unless labels are given (any expert
         * that takes labels will do) or none was chosen (each then tells why it cannot run). */
        bool all = a->request->params.n_labels > 0;
        for (int tier = NG_TIER_NANO; tier <= NG_TIER_MEDIUM; tier++)
            for (size_t i = 0; i < g->n_experts; i++) {
                const grid_member *m = &g->members[i];
                if (m == a->chosen || m == a->referred || m->task != a->task || (int)m->tier_level != tier) continue;
                if (tier > above || all) line_add(&l, m);
            }
    }
    add_upstreams(a, &l);
    if (!a->goes_on || !l.n) return l;
    ng_tier_level tier = l.m[0]->tier_level;
    bool moved = a->grid->sticky && ng_sticky_get(a->grid->sticky, a->conversation, &tier);
    if (a->rec.reask && tier < NG_TIER_MEDIUM) tier++, moved = true;
    if (moved) start_at(&l, tier);
    return l;
}

/* ---- holding tokens back --------------------------------------------------------------------- */

/* One token held back: its text stands in held.text, its alternatives are copied. */
typedef struct held_token {
    ng_token_event event;
    size_t text_at;
    ng_token_prob top[HELD_TOP_MAX];
} held_token;

typedef struct held {
    asking *a;
    const grid_member *member; /* who generates */
    held_token *tokens; /* [len, max]; NULL: nothing is held back */
    size_t len, max;
    ng_buf text;
    bool stopped; /* the asker said stop */
    size_t n_seen;    /* tokens */
    double threshold; /* below it the generation is given up; NaN: never */
    double confidence; /* the latest estimate */
    bool gave_up;
} held;

static bool let_through(held *h, const ng_token_event *e) {
    if (!h->a->committed) ng_ask_tell_answerer(h->a, h->member->name, h->member->tier_level);
    h->a->committed = true;
    if (!h->stopped) h->stopped = !h->a->request->on_token(h->a->request->on_token_ctx, e);
    return !h->stopped;
}

static bool release(held *h) {
    for (size_t i = 0; i < h->len && !h->stopped; i++) {
        ng_token_event e = h->tokens[i].event;
        e.text = h->text.data + h->tokens[i].text_at;
        e.top = e.n_top ? h->tokens[i].top : NULL;
        let_through(h, &e);
    }
    h->len = h->max = 0;
    return !h->stopped;
}

/* Not once a token has reached the asker. */
static bool gives_up(held *h, const ng_token_event *e) {
    h->n_seen += e->id >= 0;
    if (isnan(e->confidence)) return false;
    h->confidence = (double)e->confidence;
    bool early = h->n_seen >= (size_t)h->a->grid->config.cascade.early_after;
    return h->gave_up = early && !h->a->committed && h->confidence < h->threshold;
}

static bool hold_token(void *ctx, const ng_token_event *e) {
    held *h = ctx;
    if (gives_up(h, e)) return false;
    if (!h->a->request->on_token) return true;
    if (h->max == 0) return let_through(h, e);
    held_token *t = &h->tokens[h->len++];
    t->event = *e;
    t->text_at = h->text.len;
    if (t->event.n_top > HELD_TOP_MAX) t->event.n_top = HELD_TOP_MAX;
    if (t->event.n_top) memcpy(t->top, e->top, t->event.n_top * sizeof *t->top);
    ng_buf_put(&h->text, e->text, e->len);
    ng_buf_putc(&h->text, 0); /* texts of events end in a NUL */
    return !h->text.status && (h->len < h->max || release(h));
}

/* Begins to hold where the answer may still change its tier. */
static ng_status hold_begin(held *h, asking *a, const grid_member *m, bool may_escalate,
                            ng_error *err) {
    *h = (held){.a = a, .member = m, .text = ng_buf_init(1u << 20)};
    h->threshold =
        may_escalate && a->grid->config.cascade.early_after && !a->given_up.member ? ng_ask_threshold(a, m) : NAN;
    h->max = may_escalate && a->request->on_token ? (size_t)a->grid->config.cascade.hold_tokens : 0;
    if (!h->max) return NG_OK;
    h->tokens = calloc(h->max, sizeof *h->tokens);
    return h->tokens ? NG_OK : ng_fail(err, NG_ENOMEM, "cascade: out of memory");
}

static void hold_end(held *h) {
    ng_buf_clear(&h->text);
    free(h->tokens);
}

/* ---- one candidate --------------------------------------------------------------------------- */

static bool higher_admitted(asking *a, const line *l, size_t i) {
    char outcome[NG_OUTCOME_MAX];
    for (i++; i < l->n; i++)
        if (ng_ask_admits(a, l->m[i], outcome)) return true;
    return false;
}

/* The labels of the local answer: what an upstream chooses among when the asker named none. */
static size_t lend_labels(const asking *a, const char *labels[NG_RECORD_SCORES]) {
    size_t n = 0;
    for (; a->best && n < a->best->n_scores && n < NG_RECORD_SCORES; n++)
        labels[n] = a->best->scores[n].label;
    return n;
}

static ng_task task_for(const asking *a, const grid_member *m) {
    /* A bare text that nothing here knows is a question to a bigger model, not a label to find. */
    bool bare = a->request->task == NG_TASK_AUTO && m->upstream && !a->pinned;
    bool lost = a->undecided || (a->best && !a->best->in_scope);
    return bare && lost ? NG_TASK_GENERATE : a->task;
}

double ng_ask_threshold(asking *a, const grid_member *m) {
    int forced = a->grid->forced_drift;
    double t = m->threshold, least = a->request->min_confidence;
    if (!isnan(t) && m->drift) {
        bool drifting = forced < 0 ? ng_drift_get(m->drift).drifting : forced > 0;
        a->drifting |= drifting;
        if (drifting) t = ng_drift_threshold(t);
    }
    return least > 0 && !m->upstream && !(t >= least) ? least : t;
}

static bool keeps_contract(asking *a, const grid_member *m, const ng_answer *said) {
    double t = ng_ask_threshold(a, m);
    return said->in_scope && (isnan(t) || said->confidence >= t);
}

/* Takes what a generation wrote before it was given up; the answer itself is nobody's. */
static ng_status take_draft(asking *a, const line *l, size_t i, const held *h, ng_answer **said, ng_error *err) {
    ng_record_step *step = &a->rec.steps[a->rec.n_steps - 1];
    a->given_up.member = l->m[i];
    a->given_up.at = i;
    a->given_up.draft = strdup((*said)->answer ? (*said)->answer : "");
    step->confidence = h->confidence;
    step->prompt_tokens = (*said)->prompt_tokens;
    step->completion_tokens = (*said)->completion_tokens;
    snprintf(step->outcome, sizeof step->outcome, "given up after %u tokens", (*said)->completion_tokens);
    ng_ask_waste(a, l->m[i], *said);
    *said = NULL;
    return a->given_up.draft ? NG_OK : ng_fail(err, NG_ENOMEM, "cascade: out of memory");
}

static ng_status ask_generation(asking *a, const line *l, size_t i, ng_answer **out, double *us,
                                ng_error *err) {
    held h;
    bool may_escalate = higher_admitted(a, l, i);
    ng_status s = hold_begin(&h, a, l->m[i], may_escalate, err);
    if (s) return s;
    a->req.on_token = hold_token;
    a->req.on_token_ctx = &h;
    s = ng_ask_member(a, l->m[i], NG_TASK_GENERATE, out, us, err);
    if (!s && h.text.status) {
        ng_answer_free(*out);
        *out = NULL;
        s = ng_fail(err, h.text.status, "the held tokens: %s", ng_status_text(h.text.status));
    }
    if (!s && h.gave_up) s = take_draft(a, l, i, &h, out, err);
    else if (!s && a->request->on_token && (keeps_contract(a, l->m[i], *out) || !may_escalate)) release(&h);
    hold_end(&h);
    return s;
}

/* policy.on_long: compress.  A prompt that does not fit is refused before any token, so it can be asked
 * again. */
static ng_status ask_shorter(asking *a, const line *l, size_t i, ng_answer **out, double *us,
                             ng_error *err) {
    ng_status s = NG_ELIMIT;
    for (int round = 0; s == NG_ELIMIT && round < GRID_SHORTEN_TRIES; round++) {
        ng_error why = {0};
        if (ng_ask_shorten(a, round, &why)) return NG_ELIMIT; /* the first error says enough */
        s = a->request->on_token ? ask_generation(a, l, i, out, us, &why)
                                 : ng_ask_member(a, l->m[i], NG_TASK_GENERATE, out, us, &why);
        if (s && s != NG_ELIMIT) *err = why;
    }
    if (!s) {
        ng_ask_warn(a, "the prompt did not fit %s and was compressed from %zu to %zu bytes",
                    l->m[i]->name, a->len, a->shortened_part.len);
        if (err) *err = (ng_error){0};
    }
    return s;
}

/* Where nobody hears the tokens they are listened to all the same, if that can lead to anything. */
static bool can_give_up(asking *a, const grid_member *m) {
    return !m->upstream && a->grid->config.cascade.early_after && !a->given_up.member && !isnan(ng_ask_threshold(a, m));
}

/* The question with what was written below: in front of it, as a word of the system.  False: no memory. */
static bool hand_up(asking *a, const grid_member *m) {
    const char *draft = a->given_up.draft;
    size_t n = a->req.n_messages, len = draft ? strlen(draft) : 0;
    if (!len || m == a->given_up.member) return true;
    if (!a->given_up.messages) {
        static const char said[] = "A smaller model began to answer and was stopped, for it was probably wrong: ";
        a->given_up.messages = calloc(n + 1, sizeof *a->given_up.messages);
        a->given_up.note = malloc(sizeof said + len);
        if (!a->given_up.messages || !a->given_up.note) return false;
        snprintf(a->given_up.note, sizeof said + len, "%s%s", said, draft);
        a->given_up.part = (ng_part){NG_PART_TEXT, a->given_up.note, strlen(a->given_up.note)};
        a->given_up.messages[0] = (ng_message){"system", &a->given_up.part, 1};
        memcpy(a->given_up.messages + 1, a->req.messages, n * sizeof *a->req.messages);
    }
    a->req.messages = a->given_up.messages;
    a->req.n_messages = n + 1;
    return true;
}

static ng_status ask_candidate(asking *a, const line *l, size_t i, ng_answer **out, double *us,
                               ng_error *err) {
    const grid_member *m = l->m[i];
    ng_task task = task_for(a, m);
    const char *labels[NG_RECORD_SCORES];
    ng_tier_request kept = a->req;
    ng_status s;
    if (a->probed && m == a->chosen) {
        *out = a->probed;
        *us = a->probed_us;
        a->probed = NULL;
        return NG_OK;
    }
    if (m->upstream && task == NG_TASK_CLASSIFY && !a->req.params.n_labels && a->best &&
        a->best->in_scope) {
        a->req.params.labels = labels;
        a->req.params.n_labels = lend_labels(a, labels);
    }
    if (task == NG_TASK_GENERATE && !hand_up(a, m)) s = ng_fail(err, NG_ENOMEM, "cascade: out of memory");
    else if (task == NG_TASK_GENERATE && (a->request->on_token || can_give_up(a, m)))
        s = ask_generation(a, l, i, out, us, err);
    else s = ng_ask_member(a, m, task, out, us, err);
    if (s == NG_ELIMIT && task == NG_TASK_GENERATE && !m->upstream &&
        a->grid->config.policy.on_long == GRID_ON_LONG_COMPRESS)
        s = ask_shorter(a, l, i, out, us, err);
    a->req = kept;
    return s;
}

static void keep_best(asking *a, const grid_member *m, ng_answer *said) {
    ng_ask_waste(a, a->best_member, a->best);
    a->best = said;
    a->best_member = m;
}

/* Whether recorded outcomes say that the next tier would fix this answer, which no contract bounds. */
static bool is_worth_asking(asking *a, const line *l, size_t i, const ng_answer *said, ng_record_step *step) {
    const grid_member *m = l->m[i];
    if (!a->grid->gains || m->upstream || a->pinned || !said->label || !isnan(m->max_error)) return false;
    double gain = ng_outcomes_gain(a->grid->gains, m, said, &a->rec);
    if (gain < a->grid->config.cascade.min_gain || !higher_admitted(a, l, i)) return false;
    snprintf(step->outcome, sizeof step->outcome, "gain %.3f", gain);
    return a->by_gain = true;
}

void ng_ask_note_label(ng_record_step *step, const grid_member *m, const ng_answer *said) {
    step->prompt_tokens = said->prompt_tokens;
    step->completion_tokens = said->completion_tokens;
    step->cost_usd = (said->prompt_tokens * m->prompt_per_1m + said->completion_tokens * m->completion_per_1m) * 1e-6;
    if (!said->label || !said->in_scope) return;
    snprintf(step->label, sizeof step->label, "%s", said->label);
    step->label[ng_utf8_invalid_at(step->label, strlen(step->label))] = 0;
    step->margin = ng_answer_margin(said);
}

/* Judges a complete answer, which it takes; true when the climb ends here. */
static bool judge(asking *a, const line *l, size_t i, ng_answer *said, ng_record_step *step) {
    const grid_member *m = l->m[i];
    if (m->drift && a->n_judged < GRID_CANDIDATES_MAX) {
        a->judged[a->n_judged].drift = m->drift;
        a->judged[a->n_judged++].confidence = said->confidence;
    }
    double threshold = ng_ask_threshold(a, m);
    bool unsure = !isnan(threshold) && !(said->confidence >= threshold);
    bool good = keeps_contract(a, m, said);
    step->confidence = said->confidence;
    bool abstained = !said->in_scope;
    snprintf(step->outcome, sizeof step->outcome, "%s",
             abstained ? "abstained"
             : unsure  ? "below-contract"
                       : "answered");
    ng_ask_note_label(step, m, said);
    if (good) good = !is_worth_asking(a, l, i, said, step);
    if (abstained && !m->upstream) a->out_of_scope = true;
    if (!isnan(threshold)) a->rec.threshold = threshold;
    /* Two unsure answers: the one in scope stands, and of two such the lower tier's, which is
     * free. */
    if (good || !a->best || (!a->best->in_scope && said->in_scope)) keep_best(a, m, said);
    else ng_ask_waste(a, m, said);
    a->answered = good;
    bool resigned = abstained && a->grid->config.router.abstain == GRID_ABSTAIN_ANSWER;
    return (good && !a->exploring) || a->committed || resigned;
}

/* The request itself is wrong, or nobody waits any more: asking others would not help. */
static bool is_final(ng_status s) {
    return s == NG_EINVALID || s == NG_ECANCELLED;
}

static ng_status note_failure(asking *a, const grid_member *m, ng_status s, const ng_error *why,
                              ng_error *err) {
    ng_record_step *step = &a->rec.steps[a->rec.n_steps - 1];
    snprintf(step->outcome, sizeof step->outcome, "failed");
    a->passing = true;
    a->n_failed++;
    if (a->first_error.code == NG_OK) a->first_error = *why;
    bool too_long = s == NG_ELIMIT && a->task == NG_TASK_GENERATE &&
                    a->grid->config.policy.on_long == GRID_ON_LONG_REFUSE;
    if (is_final(s) || too_long || a->committed) return ng_fail(err, s, "%s", why->text);
    ng_ask_warn(a, "%s %s failed: %s", m->upstream ? "upstream" : "expert", m->name, why->text);
    return NG_OK;
}

static void note_skip(asking *a, const char *outcome) {
    bool foreign = strstr(outcome, "language") != NULL;
    bool private = strstr(outcome, "privacy") || strstr(outcome, "region") || strstr(outcome, "consent") ||
                   strstr(outcome, "tenant");
    /* privacy and its like are part of the cache's key, the language follows from the text */
    a->passing |= !private && !foreign;
    /* a text in a language that an expert does not serve is out of its scope */
    a->out_of_scope |= foreign;
}

/* The router took the text for one with a question, and it has no answer: the text lacks it, or the router was wrong.  Who names the
 * task is told so; others hear somebody above, who may know. */
static bool finds_nothing(const asking *a, const grid_member *m, const ng_answer *said) {
    return a->request->task == NG_TASK_AUTO && !m->upstream && said->task == NG_TASK_ANSWER && !said->answerable;
}

/* NG_OK with *end false: climb on. */
static ng_status try_candidate(asking *a, const line *l, size_t i, bool *end, ng_error *err) {
    const grid_member *m = l->m[i];
    /* Exploring hears one of each tier. */
    if (a->exploring && a->best_member && a->answered && m->tier_level <= a->best_member->tier_level) return NG_OK;
    ng_record_step *step = ng_ask_step(a, m->upstream ? "upstream" : "expert", m);
    ng_answer *said = NULL;
    if (!ng_ask_admits(a, m, step->outcome)) {
        note_skip(a, step->outcome);
        said = ng_ask_stand_in(a, m, &step);
        if (!said) return NG_OK;
    } else if (!ng_ask_pay(a, m)) { /* another call took the rest since it was looked at */
        snprintf(step->outcome, sizeof step->outcome, "skipped: budget");
        a->passing = true;
        return NG_OK;
    } else {
        ng_error why = {0};
        double before = a->rec.cost_usd;
        ng_status s = ask_candidate(a, l, i, &said, &step->latency_us, &why);
        ng_ask_settle(a, m, a->rec.cost_usd - before);
        if (a->must_wait) return s;
        if (s) {
            *end = a->committed;
            s = note_failure(a, m, s, &why, err);
            if (s || !(said = ng_ask_stand_in(a, m, &step))) return s;
        } else if (!said) return NG_OK; /* given up */
        else said = ng_ask_second(a, m, said, &step);
    }
    if (a->disowned || finds_nothing(a, m, said)) said->in_scope = false;
    *end = judge(a, l, i, said, step) || a->must_wait;
    return NG_OK;
}

/* Why the pinned one may not run, with the code that its caller should see. */
static ng_status fail_pinned(const asking *a, ng_error *err) {
    const char *outcome = a->rec.steps[a->rec.n_steps - 1].outcome;
    ng_status s = strstr(outcome, "privacy") || strstr(outcome, "cost") || strstr(outcome, "tier") ||
                          strstr(outcome, "region") || strstr(outcome, "consent") || strstr(outcome, "tenant") ||
                          strstr(outcome, "budget")
                      ? NG_EDENIED
                  : strstr(outcome, "deadline") ? NG_ETIMEOUT
                                                : NG_EBUSY;
    return ng_fail(err, s, "%s cannot answer this request: %s", a->pinned->name,
                   outcome + strlen("skipped: "));
}

static ng_status fail_unanswered(asking *a, ng_error *err) {
    if (a->n_failed) return ng_fail(err, a->first_error.code, "%s", a->first_error.text);
    if (a->pinned) return fail_pinned(a, err);
    return ng_ask_no_expert(a, err);
}

/* Nobody knows: an answer without content, not an error. */
static ng_status abstain(asking *a, ng_error *err) {
    if (ng_answer_new(&a->best)) return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    a->best->task = a->task;
    a->best->in_scope = false;
    a->out_of_scope = true;
    return NG_OK;
}

/* A held answer that stands in the end, since all above it failed, is told in one piece. */
static void tell_held(asking *a) {
    const ng_answer *b = a->best;
    if (a->committed || !a->request->on_token || b->task != NG_TASK_GENERATE || !b->answer) return;
    ng_token_event e = {.id = -1, .logprob = NAN, .confidence = NAN, .text = b->answer, .len = strlen(b->answer)};
    if (a->best_member) ng_ask_tell_answerer(a, a->best_member->name, a->best_member->tier_level);
    a->request->on_token(a->request->on_token_ctx, &e);
}

/* The member whose contract sets a time, or NULL; a replay has no clock. */
static const grid_member *timed_member(const asking *a) {
    if (a->request->features) return NULL;
    const grid_member *m = a->pinned ? a->pinned : a->chosen;
    return m && !isnan(m->deadline_ms) && !a->request->params.n_labels ? m : NULL;
}

/* Nobody is asked after the contract's time, and who can be cut short is. */
static void set_contract_deadline(asking *a, const grid_member *m) {
    int64_t end = (int64_t)ceil((double)a->t0_ns * 1e-6 + m->deadline_ms);
    if (a->limits.deadline_ms && a->limits.deadline_ms < end) return;
    a->limits.deadline_ms = a->req.deadline_ms = end;
}

/* The declared safe label takes the place of an answer that came too late or not at all. */
static ng_status answer_miss(asking *a, const grid_member *m, ng_error *err) {
    ng_answer *safe;
    double ms = (double)(ng_clock_ns() - a->t0_ns) * 1e-6;
    if (ng_answer_new(&safe)) return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    safe->task = a->task;
    safe->in_scope = true;
    safe->label = ng_answer_strndup(safe, m->on_miss, strlen(m->on_miss));
    keep_best(a, m, safe);
    if (!safe->label) return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    snprintf(ng_ask_step(a, "deadline", m)->outcome, NG_OUTCOME_MAX, "missed after %.3f ms", ms);
    ng_ask_warn(a, "the deadline of %s (%g ms) was missed: this is its declared safe label", m->name,
                m->deadline_ms);
    a->missed = true;
    a->passing = a->answered = true;
    a->out_of_scope = false;
    return NG_OK;
}

/* Labels alone can be compared; a request that sets a price or a deadline is not made dearer. */
static bool explores(asking *a, const line *l) {
    double share = a->grid->config.cascade.explore;
    bool labels = a->task == NG_TASK_CLASSIFY || a->task == NG_TASK_DETECT_LANGUAGE;
    if (!(share > 0) || !labels || a->pinned || a->request->features || !a->chosen ||
        !isnan(a->request->max_cost_usd) || a->limits.deadline_ms || !higher_admitted(a, l, 0))
        return false;
    return (double)(ng_hash64(a->rec.id, strlen(a->rec.id), 11) >> 11) * 0x1p-53 < share;
}

/* What the user said before the answer that now is judged; NULL: nothing. */
static const ng_part *said_before(const ng_request *r) {
    size_t found = 0;
    for (size_t i = r->n_messages; i-- > 0;)
        if (!strcmp(r->messages[i].role, "user") && r->messages[i].n_parts && found++) return &r->messages[i].parts[0];
    return NULL;
}

/* Talk alone has a voice that could change. */
static void note_conversation(asking *a) {
    const ng_request *r = a->request;
    if (a->task != NG_TASK_GENERATE || a->pinned || r->features) return;
    if (a->grid->sticky) a->conversation = ng_sticky_key(r);
    for (size_t i = 0; i < r->n_messages; i++) a->goes_on |= !strcmp(r->messages[i].role, "assistant");
    if (!a->goes_on || !a->grid->config.cascade.reask) return;
    uint64_t t0 = ng_clock_ns();
    const ng_part *before = said_before(r);
    if (before) a->rec.reask = ng_reask_of(before->text, before->len, a->text, a->len);
    a->rec.reask_us = (double)(ng_clock_ns() - t0) * 1e-3;
}

static ng_status climb(asking *a, ng_error *err) {
    note_conversation(a);
    line l = line_up(a);
    a->exploring = a->rec.explored = explores(a, &l);
    bool resigned = a->undecided && a->grid->config.router.abstain == GRID_ABSTAIN_ANSWER;
    bool end = resigned;
    ng_status s = NG_OK;
    a->out_of_scope = a->undecided;
    for (size_t i = 0; !s && !end && i < l.n; i++) s = try_candidate(a, &l, i, &end, err);
    if (!s && !a->best && a->given_up.member) s = try_candidate(a, &l, a->given_up.at, &end, err);
    if (!s && !a->best && a->out_of_scope && !a->n_failed) s = abstain(a, err);
    if (!s && !a->best) s = fail_unanswered(a, err);
    if (!s && a->conversation && a->best_member && a->best_member->tier_level > NG_TIER_NANO)
        ng_sticky_put(a->grid->sticky, a->conversation, a->best_member->tier_level);
    if (!s) tell_held(a);
    return s;
}

ng_status ng_ask_cascade(asking *a, ng_error *err) {
    const grid_member *m = timed_member(a);
    if (!m) return climb(a, err);
    ng_error why = {0};
    set_contract_deadline(a, m);
    ng_status s = climb(a, &why);
    bool late = (double)(ng_clock_ns() - a->t0_ns) * 1e-6 > m->deadline_ms;
    if (late && !is_final(s) && s != NG_ENOMEM) return answer_miss(a, m, err);
    return s ? ng_fail(err, s, "%s", why.text) : NG_OK;
}
