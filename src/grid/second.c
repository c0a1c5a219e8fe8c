/* second.c: the model that an expert's `unsure` names, on the same tier: when it is asked, and whose word stands.
 *
 *     surer, second   asked where the expert's own model is less sure than `below`, or calls the text out of scope
 *     greater         the same, and of each category of the task moderate the greater probability stands: models of two kinds
 *                     miss different attacks, so what either sees is flagged
 *     fallback        not asked while the expert's own model answers
 *
 * Whatever stands, the second answers alone where the first fails or cannot run: its worker has died, its memory was refused.
 *
 * A text that the first has read as a person would (text/evasion.h) is told to the second so: a linear model has no vocabulary
 * that could tell "1gn0r3" from a code. */
#include "grid_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool is_asked(const asking *a, const grid_member *m, const ng_answer *first) {
    if (!m->second || a->request->params.n_labels || m->stands == GRID_STANDS_FALLBACK) return false;
    return !first->in_scope || first->confidence < m->below;
}

static bool first_stands(const grid_member *m, const ng_answer *first, const ng_answer *second) {
    if (m->stands == GRID_STANDS_SURER) return first->confidence >= second->confidence;
    return !second->in_scope && first->in_scope && first->confidence >= m->refuse_below;
}

static double greater(double a, double b) { return a > b ? a : b; }

/* Into `first`.  An answer from a record has no categories and stands as it is.  What both flag is as sure as the surer says; that
 * neither does, as the less sure one. */
static void join(ng_answer *first, const ng_answer *second) {
    double sure[2] = {first->confidence, second->confidence};
    if (!first->n_categories) return;
    for (size_t i = 0; i < first->n_categories; i++)
        for (size_t k = 0; k < second->n_categories; k++)
            if (!strcmp(first->categories[i].label, second->categories[k].label) && second->categories[k].p > first->categories[i].p)
                first->categories[i].p = second->categories[k].p;
    if (first->flagged == second->flagged) first->confidence = first->flagged ? greater(sure[0], sure[1]) : -greater(-sure[0], -sure[1]);
    else if (second->flagged) first->confidence = sure[1];
    first->flagged |= second->flagged;
}

/* Asks the second; NULL where it fails, which the step tells. */
static ng_answer *ask(asking *a, const grid_member *m, const char *reading, ng_record_step **step) {
    ng_answer *said = NULL;
    ng_error why = {0};
    ng_part part = {NG_PART_TEXT, reading, reading ? strlen(reading) : 0};
    ng_message message = {"user", &part, 1};
    *step = ng_ask_step(a, "second", m);
    a->reading = reading ? &message : NULL;
    ng_status s = ng_ask_member(a, m->second, a->task, &said, &(*step)->latency_us, &why);
    a->reading = NULL;
    if (!s) return said;
    ng_ask_warn(a, "the second model of %s failed: %s", m->name, why.text);
    snprintf((*step)->outcome, sizeof (*step)->outcome, "failed");
    a->passing = true;
    return NULL;
}

ng_answer *ng_ask_second(asking *a, const grid_member *m, ng_answer *first, ng_record_step **step) {
    ng_record_step *second;
    if (!is_asked(a, m, first)) return first;
    (*step)->confidence = first->confidence;
    snprintf((*step)->outcome, sizeof (*step)->outcome, m->stands == GRID_STANDS_GREATER ? "joined" : "unsure");
    ng_ask_note_label(*step, m, first);
    ng_answer *said = ask(a, m, first->reading, &second);
    if (!said) return first; /* judged on its own step */
    if (m->stands == GRID_STANDS_GREATER) {
        join(first, said);
        ng_answer_free(said);
        *step = second;
        return first;
    }
    if (first_stands(m, first, said)) {
        second->confidence = said->confidence;
        snprintf(second->outcome, sizeof second->outcome, m->stands == GRID_STANDS_SECOND ? "refused" : "less sure");
        ng_ask_note_label(second, m, said);
        ng_ask_waste(a, m, said);
        return first;
    }
    ng_ask_waste(a, m, first);
    *step = second;
    return said;
}

ng_answer *ng_ask_stand_in(asking *a, const grid_member *m, ng_record_step **step) {
    ng_record_step *second;
    char outcome[NG_OUTCOME_MAX];
    if (!m->second || a->request->params.n_labels || !ng_ask_admits(a, m->second, outcome)) return NULL;
    ng_answer *said = ask(a, m, NULL, &second);
    if (!said) return NULL;
    ng_ask_warn(a, "%s does not run: its second model answers alone", m->name);
    a->passing = true;
    *step = second;
    return said;
}
