/* choose.c: the two decisions: which task, which expert.  See docs/grid_yaml.md.
 *
 * Task: the request's word, a named expert's, else the task router's.  Expert: the only one of that
 * task on its lowest tier; among several classifiers the expert router's order; experts that the
 * router was not trained on are asked and win when they are surer than the router's favourite.
 * Scores only order what the hard filters admit. */
#include "grid_parts.h"

#include "core/clock.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void list_names(const ng_grid *g, ng_task task, char *out, size_t cap) {
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; i < g->n_members; i++) {
        const grid_member *m = &g->members[i];
        if (task != NG_TASK_AUTO && m->task != task) continue;
        int n = snprintf(out + len, cap - len, "%s%s", len ? ", " : "", m->name);
        if (n < 0 || (size_t)n >= cap - len) break;
        len += (size_t)n;
    }
}

static ng_status take_pinned(asking *a, ng_error *err) {
    const ng_grid *g = a->grid;
    const char *name = a->request->model;
    for (size_t i = 0; i < g->n_members; i++)
        if (!strcmp(g->members[i].name, name)) a->pinned = &g->members[i];
    if (!a->pinned) {
        char known[320];
        list_names(g, NG_TASK_AUTO, known, sizeof known);
        return ng_fail(err, NG_ENOTFOUND, "there is no expert or upstream '%.60s'; known: %s", name,
                       *known ? known : "none");
    }
    if (a->pinned->upstream) {
        if (a->task == NG_TASK_AUTO) a->task = NG_TASK_GENERATE;
    } else if (a->task != NG_TASK_AUTO && a->task != a->pinned->task) {
        return ng_fail(err, NG_EINVALID, "the expert '%s' serves %s, not %s", name,
                       ng_task_name(a->pinned->task), ng_task_name(a->task));
    } else {
        a->task = a->pinned->task;
    }
    snprintf(a->rec.reason, sizeof a->rec.reason, "%s was named by the request", name);
    return NG_OK;
}

/* Without a router: the only task that anything here serves. */
static ng_status only_task(asking *a, ng_error *err) {
    const ng_grid *g = a->grid;
    ng_task only = NG_TASK_AUTO;
    size_t n = 0;
    for (size_t i = 0; i < g->n_experts; i++)
        if (!g->members[i].why && g->members[i].task != only) only = g->members[i].task, n++;
    if (n == 0 && g->n_members == g->n_experts) return ng_ask_no_expert(a, err);
    if (n > 1 ||
        (n && g->config.router.model)) /* a router that is missing is not a router left out */
        return ng_fail(
            err, NG_ENOEXPERT,
            "the request names no task and no router decides (%s); name a task or an expert",
            g->router_why ? g->router_why : "router.model is not set");
    a->task = n ? only : NG_TASK_GENERATE;
    snprintf(a->rec.reason, sizeof a->rec.reason, "%s is the only task served",
             ng_task_name(a->task));
    return NG_OK;
}

/* From here on the experts see the text that the instruction is about, without the instruction. */
static ng_status take_payload(asking *a, ng_error *err) {
    ng_payload p = ng_router_payload(&a->grid->task_router, a->task, a->text, a->len);
    if (p.end - p.begin == a->len || a->req.n_messages != 1) return NG_OK;
    a->payload = malloc(p.end - p.begin + 1);
    if (!a->payload) return ng_fail(err, NG_ENOMEM, "routing: out of memory");
    memcpy(a->payload, a->text + p.begin, p.end - p.begin);
    a->payload[p.end - p.begin] = 0;
    a->payload_part = (ng_part){NG_PART_TEXT, a->payload, p.end - p.begin};
    a->payload_message = (ng_message){"user", &a->payload_part, 1};
    a->req.messages = &a->payload_message;
    size_t len = strlen(a->rec.reason);
    snprintf(a->rec.reason + len, sizeof a->rec.reason - len, ", about bytes %zu to %zu", p.begin, p.end);
    return NG_OK;
}

static ng_status route_task(asking *a, ng_error *err) {
    ng_decision *d = &a->rec.tasks;
    if (!a->grid->task_router.self) return only_task(a, err);
    ng_error why = {0};
    ng_tier_request plain = ng_ask_reading(a, NG_TASK_CLASSIFY);
    ng_status s = ng_router_decide(d, &a->grid->task_router, &plain, &why);
    ng_record_step *step = ng_ask_step(a, "router", NULL);
    step->latency_us = d->latency_us;
    step->confidence = d->confidence;
    a->rec.load_ms += d->load_ms;
    if (s || !d->n_scores || !ng_task_parse(&a->task, d->scores[0].label) ||
        a->task == NG_TASK_AUTO) {
        d->n_scores = 0;
        snprintf(step->outcome, sizeof step->outcome, "failed");
        ng_ask_warn(a, "the router failed: %s", s ? why.text : "it named no task");
        return s == NG_ENOMEM ? ng_fail(err, s, "%s", why.text) : only_task(a, err);
    }
    a->undecided = !d->in_scope;
    snprintf(step->outcome, sizeof step->outcome, "%s", a->undecided ? "abstained" : "decided");
    snprintf(a->rec.reason, sizeof a->rec.reason,
             a->undecided ? "no task fits (best: %s at %.2f)" : "the task is %s (%.2f)",
             ng_task_name(a->task), (double)d->scores[0].p);
    return a->undecided ? NG_OK : take_payload(a, err);
}

/* The experts of the task on the lowest tier that has one which the limits admit. */
static size_t find_candidates(asking *a, const grid_member *out[GRID_CANDIDATES_MAX]) {
    const ng_grid *g = a->grid;
    size_t n = 0;
    for (int tier = NG_TIER_NANO; tier <= NG_TIER_MEDIUM && !n; tier++)
        for (size_t i = 0; i < g->n_experts && n < GRID_CANDIDATES_MAX; i++) {
            const grid_member *m = &g->members[i];
            char outcome[NG_OUTCOME_MAX];
            if (m->task == a->task && (int)m->tier_level == tier && ng_ask_admits(a, m, outcome))
                out[n++] = m;
        }
    return n;
}

/* Asks each of them; the surest in scope wins over `floor` and becomes chosen, its answer is
 * kept. */
static void probe(asking *a, const grid_member *const *m, size_t n, double floor) {
    double best = floor;
    for (size_t i = 0; i < n; i++) {
        ng_answer *said = NULL;
        ng_error err = {0};
        double us = 0;
        if (ng_ask_member(a, m[i], a->task, &said, &us, &err)) continue;
        double sure = isnan(said->confidence) ? 0 : said->confidence;
        ng_decision *d = &a->rec.experts;
        if (d->n_scores < NG_DECISION_MAX) {
            snprintf(d->scores[d->n_scores].label, NG_DECISION_LABEL_MAX, "%s", m[i]->name);
            d->scores[d->n_scores++].p = (float)(said->in_scope ? sure : 0);
        }
        d->latency_us += us;
        if (!said->in_scope || sure <= best) {
            ng_ask_waste(a, m[i], said);
            continue;
        }
        best = sure;
        ng_ask_waste(a, a->chosen, a->probed);
        a->probed = said;
        a->probed_us = us;
        a->chosen = m[i];
    }
}

/* A favourite with less than this is none: the router was trained on experts that this grid
 * lacks. */
static const double FITS_AT_ALL = 0.1;

static const grid_member *find_member(const ng_grid *g, ng_task task, const char *name) {
    for (size_t i = 0; i < g->n_experts; i++)
        if (g->members[i].task == task && !strcmp(g->members[i].name, name)) return &g->members[i];
    return NULL;
}

static void add_reason(asking *a, const char *fmt, ...) {
    size_t len = strlen(a->rec.reason);
    va_list ap;
    if (len && len + 2 < sizeof a->rec.reason)
        len += (size_t)snprintf(a->rec.reason + len, sizeof a->rec.reason - len, ", ");
    va_start(ap, fmt);
    vsnprintf(a->rec.reason + len, sizeof a->rec.reason - len, fmt, ap);
    va_end(ap);
}

/* Their own routing weights decide; what the router said of others stays on record. */
static void take_claim(asking *a, const ng_claims *c, const ng_decision *heard) {
    ng_decision *d = &a->rec.experts;
    for (size_t i = 0; i < heard->n_scores; i++) ng_decision_add(d, heard->scores[i].label, (double)heard->scores[i].p);
    d->latency_us += heard->latency_us;
    a->chosen = c->best;
    if (c->second_p >= NG_CLAIM_MIN) a->referred = c->second;
    a->rec.claims_by_vectors = c->by_vectors;
    add_reason(a, "%s claims it (%.2f) among %zu with routing weights of their own%s", c->best->name, c->best_p, c->n,
               c->by_vectors ? ", the encoder asked" : "");
}

static void choose_classifier(asking *a, const grid_member *const *m, size_t n) {
    ng_decision *d = &a->rec.experts;
    const grid_member *unknown[GRID_CANDIDATES_MAX];
    size_t n_unknown = 0;
    double best = -1;
    ng_error err = {0};
    ng_tier_request plain = ng_ask_reading(a, NG_TASK_CLASSIFY);
    if (a->grid->expert_router.self && ng_router_decide(d, &a->grid->expert_router, &plain, &err)) {
        ng_ask_warn(a, "the expert router failed: %s", err.text);
        d->n_scores = 0;
    }
    a->rec.load_ms += d->load_ms;
    ng_part read = ng_ask_read_part(a);
    if (a->grid->learner && d->n_scores)
        a->rec.router_version = ng_learner_apply(a->grid->learner, a->request, read.text, read.len, d);
    ng_decision heard = {.n_scores = 0};
    ng_claims claims = ng_ask_claims(a, m, n, &heard);
    if (claims.best_p >= NG_CLAIM_MIN) return take_claim(a, &claims, &heard);
    for (size_t i = 0; i < n; i++) {
        double p = ng_decision_score(d, m[i]->name);
        if (m[i]->route.self) continue;
        if (p < 0) unknown[n_unknown++] = m[i];
        else if (p > best) best = p, a->chosen = m[i];
    }
    /* The favourite stays the favourite where it cannot be asked: what is about sports is no
     * sentiment because the expert for topics is down.  The cascade then skips it and climbs. */
    const grid_member *favourite =
        d->n_scores ? find_member(a->grid, a->task, d->scores[0].label) : NULL;
    if (favourite && favourite != a->chosen) a->chosen = favourite, best = (double)d->scores[0].p;
    if (a->chosen && best < FITS_AT_ALL) a->chosen = NULL;
    const grid_member *routed = a->chosen;
    double routed_p = best;
    if (n_unknown) probe(a, unknown, n_unknown, routed ? best : -1);
    if (a->chosen && a->chosen == routed)
        add_reason(a, "%s fits best among %zu experts (%.2f)", routed->name, n, routed_p);
    else if (a->chosen)
        add_reason(a, "%s is surest among %zu experts asked", a->chosen->name, n_unknown);
    else if (claims.best_p >= NG_CLAIM_AT_ALL) take_claim(a, &claims, &heard);
    else if (n_unknown) a->chosen = unknown[0], add_reason(a, "none of %zu experts is in scope", n);
    else a->undecided = true, add_reason(a, "none of %zu experts fits", n);
}

/* Configured, not admitted: which expert a text is for does not change when another is down. */
static size_t count_experts(const asking *a) {
    size_t n = 0;
    for (size_t i = 0; i < a->grid->n_experts; i++) n += a->grid->members[i].task == a->task;
    return n;
}

static void choose_expert(asking *a) {
    const grid_member *m[GRID_CANDIDATES_MAX];
    uint64_t t0 = ng_clock_ns(), spent = a->expert_ns;
    size_t n = find_candidates(a, m);
    if (n == 0) return;
    if (count_experts(a) > 1 && a->task == NG_TASK_CLASSIFY && !a->request->params.n_labels)
        choose_classifier(a, m, n);
    else a->chosen = m[0], add_reason(a, "%s serves it", m[0]->name);
    ng_record_step *step = ng_ask_step(a, "router", a->chosen);
    snprintf(step->outcome, sizeof step->outcome, "%s", a->undecided ? "abstained" : "decided");
    step->latency_us = (double)(ng_clock_ns() - t0 - (a->expert_ns - spent)) * 1e-3;
}

ng_status ng_ask_choose(asking *a, ng_error *err) {
    a->task = a->request->task;
    ng_ask_spell(a);
    if (a->request->model && strcmp(a->request->model, "auto")) {
        ng_status s = take_pinned(a, err);
        if (!s) ng_ask_signals(a);
        if (!s) a->disowned = ng_ask_disowns(a, a->pinned);
        return s;
    }
    ng_ask_signals(a);
    if (a->task == NG_TASK_AUTO) {
        ng_status s = route_task(a, err);
        if (s) return s;
    }
    if (!a->undecided) choose_expert(a);
    if (!a->undecided) ng_ask_language(a);
    return NG_OK;
}
