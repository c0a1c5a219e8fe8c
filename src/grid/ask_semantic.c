/* ask_semantic.c: the second tier of the cache: a request that means what another meant.  See semantic.h.
 *
 * It is asked for what is dear alone: text that a decoder or an upstream would write, in a conversation that has just begun.
 * Experts that label answer sooner than a vector is made.  What is private in any degree is neither looked up nor kept, so that
 * no score of likeness ever stands between a text and its limits; tenant, consents and regions are part of the scope.  What may
 * be kept is decided in ask.c, for both tiers alike: no errors, no partial answers, nothing drawn by chance. */
#include "grid_parts.h"

#include "core/clock.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEMANTIC_TEXT_MAX = 4096 };
static const double SAME_ANSWER = 0.9; /* likeness from which two answers in other words say the same, where no guard objects */

static bool is_eligible(const asking *a) {
    bool written = a->task == NG_TASK_GENERATE || a->task == NG_TASK_TRANSLATE || a->task == NG_TASK_REWRITE ||
                   a->task == NG_TASK_ANSWER;
    if (!a->grid->semantic || !written || a->undecided || a->limits.privacy != NG_PRIVACY_ANY || a->request->features ||
        !a->len || a->len > SEMANTIC_TEXT_MAX)
        return false;
    for (size_t i = 0; i < a->request->n_messages; i++)
        if (!strcmp(a->request->messages[i].role, "assistant")) return false;
    return true;
}

ng_status ng_ask_vector(asking *a, const ng_tier *t, const char *text, size_t len, ng_answer **out, ng_error *err) {
    ng_part part = {NG_PART_TEXT, text, len};
    ng_message message = {"user", &part, 1};
    ng_tier_request r = {.task = NG_TASK_EMBED, .messages = &message, .n_messages = 1, .tenant = a->req.tenant,
                         .deadline_ms = a->req.deadline_ms, .abandoned = a->req.abandoned, .abandoned_ctx = a->req.abandoned_ctx};
    if (ng_answer_new(out)) return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    (*out)->task = NG_TASK_EMBED;
    ng_status s = t->submit(t->self, &r, *out, err);
    if (!s && !(*out)->n_embedding) s = ng_fail(err, NG_EFORMAT, "it gave no vector");
    if (!s) return NG_OK;
    ng_answer_free(*out);
    *out = NULL;
    return s;
}

/* The vector lives in *out, which is the caller's. */
static bool embed(asking *a, const char *text, size_t len, ng_answer **out) {
    ng_error ignored = {0}; /* a text that is too long, a worker that is down: the request is answered without */
    uint64_t t0 = ng_clock_ns();
    bool ok = ng_ask_vector(a, &a->grid->embedder, text, len, out, &ignored) == NG_OK;
    a->expert_ns += ng_clock_ns() - t0;
    return ok;
}

static ng_semantic_query query_of(const asking *a) {
    return (ng_semantic_query){.scope = a->near.scope, .text = a->text, .len = a->len, .vector = a->near.vector->embedding,
                               .n = a->near.vector->n_embedding, .language = a->near.language};
}

/* What the text is written in, where that is certain. */
static void read_language(asking *a) {
    const grid_member *m = a->grid->language;
    ng_answer *said;
    ng_error ignored = {0};
    if (!m || !m->tier.self || ng_answer_new(&said)) return;
    ng_tier_request r = a->req;
    r.task = said->task = NG_TASK_DETECT_LANGUAGE;
    r.expert = m->name;
    r.params = (ng_params){0};
    if (m->tier.submit(m->tier.self, &r, said, &ignored) == NG_OK && said->label && said->confidence >= 0.95)
        snprintf(a->near.language, sizeof a->near.language, "%s", said->label);
    ng_answer_free(said);
}

static void tell(ng_record_step *step, const ng_semantic_found *f, bool hit) {
    step->confidence = NAN;
    if (hit || f->check)
        snprintf(step->outcome, sizeof step->outcome, "%s %.3f of %.3f", hit ? "hit" : "checked", f->similarity,
                 f->threshold);
    else if (isnan(f->similarity)) snprintf(step->outcome, sizeof step->outcome, "miss");
    else if (f->unlike || f->other_language)
        snprintf(step->outcome, sizeof step->outcome, "miss: %.3f, other %s", f->similarity,
                 f->other_language ? "language" : ng_unlike_name(f->unlike));
    else snprintf(step->outcome, sizeof step->outcome, "miss: %.3f of %.3f", f->similarity, f->threshold);
}

bool ng_ask_recall(asking *a, ng_digest scope) {
    if (!is_eligible(a)) return false;
    if (a->request->would_wait) return a->must_wait = true, false;
    ng_record_step *step = ng_ask_step(a, "semantic", NULL);
    uint64_t t0 = ng_clock_ns();
    ng_semantic_found f;
    if (!embed(a, a->text, a->len, &a->near.vector)) {
        snprintf(step->outcome, sizeof step->outcome, "no vector");
        return false;
    }
    a->near.scope = scope;
    read_language(a);
    ng_semantic_query q = query_of(a);
    a->best = ng_semantic_get(a->grid->semantic, &q, &f);
    step->latency_us = (double)(ng_clock_ns() - t0) * 1e-3;
    tell(step, &f, a->best != NULL);
    if (f.check) a->near.entry = f.entry, a->near.similarity = f.similarity;
    if (!a->best) return false;
    snprintf(a->rec.reason, sizeof a->rec.reason, "a request that means the same was answered before (%.3f alike)",
             f.similarity);
    return true;
}

static bool same_text(asking *a, const char *x, const char *y) {
    ng_answer *u = NULL, *v = NULL;
    double sum = 0;
    if (!strcmp(x, y)) return true;
    ng_unlike unlike = ng_text_unlike(x, strlen(x), y, strlen(y));
    if (unlike && unlike != NG_UNLIKE_WORDS) return false;
    bool ok = embed(a, x, strlen(x), &u) && embed(a, y, strlen(y), &v) && u->n_embedding == v->n_embedding;
    for (size_t i = 0; ok && i < u->n_embedding; i++) sum += (double)u->embedding[i] * (double)v->embedding[i];
    ng_answer_free(u);
    ng_answer_free(v);
    return ok && sum >= SAME_ANSWER;
}

/* Both answers to a hit that was checked. */
static void compare(asking *a) {
    ng_answer *kept = ng_semantic_answer(a->grid->semantic, a->near.entry);
    if (kept && kept->answer && a->best->answer)
        ng_semantic_learn(a->grid->semantic, a->near.entry, a->near.similarity,
                          same_text(a, kept->answer, a->best->answer));
    ng_answer_free(kept);
}

void ng_ask_keep(asking *a) {
    if (!a->near.vector) return;
    ng_semantic_query q = query_of(a);
    if (a->near.entry) compare(a);
    ng_semantic_put(a->grid->semantic, &q, a->best);
}
