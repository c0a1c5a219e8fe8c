/* decide.h: from calibrated probabilities over a model's own labels to an answer.
 *
 *     ng_decider d = {.n = 150, .label = names, .oos_threshold = 0.4f, .calibrated = true};
 *     if (ng_decide(&d, p, top_k, answer)) ..            NG_ENOMEM is the only error
 *
 * One of the labels (classify, detect-language), or each by itself (moderate).  The confidence is the
 * probability that the answer is right: of the best label, or for moderate of the decision to flag or
 * not.  It is NaN without calibration. */
#ifndef NG_TASK_DECIDE_H
#define NG_TASK_DECIDE_H

#include <nanogrid/answer.h>

typedef struct ng_decider {
    size_t n;
    const char *const *label; /* [n], copied into the answer */
    bool each, calibrated;
    float oos_threshold;    /* one: in scope at or above it */
    const float *threshold; /* each: holds at or above it; NULL: 0.5 */
    const float *scope;     /* one: what oos_threshold is asked of; NULL: the best probability */
} ng_decider;

/* top_k: how many scores of one; 0: five. */
ng_status ng_decide(const ng_decider *d, const float *p, size_t top_k, ng_answer *a) NG_MUST_USE;

#endif
