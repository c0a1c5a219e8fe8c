/* outcomes.h: what escalations came to, read back from the records: what learns when to escalate, and judges it.
 *
 *     ng_outcomes_open(&g->gains, g, &err);           fits a gain for each expert that has enough outcomes
 *     double gain = ng_outcomes_gain(g->gains, m, said, &record);
 *     ng_outcomes_refresh(g);                         after feedback
 *     ng_outcome *o; size_t n;
 *     ng_outcomes_read(g, "intent", &o, &n, &err);    for audits; free(o)
 *
 * An outcome is a decision in which both the chosen expert and a higher tier gave a label: because the first was unsure,
 * because the gain said so, or because it was explored (cascade.explore), which alone is a fair sample.  Thread-safe. */
#ifndef NG_GRID_OUTCOMES_H
#define NG_GRID_OUTCOMES_H

#include "route/gain.h"
#include "route/route.h"

typedef struct ng_outcome {
    ng_gain_lesson lesson;
    bool explored, escalated;       /* escalated: it would have been, or was, without exploring */
    signed char small, mid, large;  /* right?  -1 not known, or nobody of that kind was heard */
    float mid_cost, large_cost;     /* USD as recorded for the steps */
} ng_outcome;

struct grid_member;
struct ng_record;
typedef struct ng_outcomes_model ng_outcomes_model;

/* Fails for want of memory only; without records nothing is known. */
ng_status ng_outcomes_open(ng_outcomes_model **out, struct ng_grid *g, ng_error *err) NG_MUST_USE;
void ng_outcomes_close(ng_outcomes_model *m); /* NULL is fine */
void ng_outcomes_refresh(struct ng_grid *g);
/* From the answer and the signals of its record; 0 when nothing is known. */
double ng_outcomes_gain(ng_outcomes_model *m, const struct grid_member *expert, const ng_answer *said,
                        const struct ng_record *rec);

/* The newest outcomes of one expert, oldest first; NULL for all experts.  NG_ENOTFOUND: no database yet. */
ng_status ng_outcomes_read(struct ng_grid *g, const char *expert, ng_outcome **out, size_t *n,
                           ng_error *err) NG_MUST_USE;

#endif
