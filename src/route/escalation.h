/* escalation.h: was it worth asking the next tier?
 *
 *     ng_outcomes o = {.small = right_here, .large = right_there, .n = n};
 *     double apgr = ng_escalation_apgr(&o, gain);              gain[i]: how much the next tier is expected to help
 *     ng_cascade_figures f = ng_cascade_judge(&o, escalated);  against the five baselines
 *     if (f.loses) ..                                          one mid model would have been better
 *
 * The five baselines: always the small tier, always the large one, random escalation of the same share, the mid model
 * alone (where it was heard and costs no more), and the oracle that escalates exactly what gets right by it.  Pure
 * functions; NaN where a figure has no meaning. */
#ifndef NG_ROUTE_ESCALATION_H
#define NG_ROUTE_ESCALATION_H

#include <nanogrid/status.h>
#include <stdint.h>

/* Fewer right or wrong answers of the cascade say nothing. */
enum { NG_CASCADE_EACH_MIN = 50 };

/* What each tier makes of n requests. */
typedef struct ng_outcomes {
    const uint8_t *small, *large; /* [n] right? */
    const uint8_t *mid;           /* [n] or NULL: there is none */
    size_t n;
    double small_cost, mid_cost, large_cost; /* of a request, in any one unit; the small tier is paid in any case */
} ng_outcomes;

/* Average performance gap recovered: the mean over all shares of (quality - small) / (large - small), escalating the
 * greatest gain first; ties as a random order would give.  Random is 0.5.  NaN when both are equally good. */
double ng_escalation_apgr(const ng_outcomes *o, const float *gain);
/* The least share that recovers `gap` (0..1) of the difference (CPT50: 0.5); NaN when none does. */
double ng_escalation_share(const ng_outcomes *o, const float *gain, double gap);
/* Accuracy when this share is escalated. */
double ng_escalation_accuracy(const ng_outcomes *o, const float *gain, double share);

typedef struct ng_cascade_figures {
    size_t n, n_right;
    double share; /* escalated */
    double cascade, small, large, random, mid, oracle; /* accuracy; mid NaN: none, or dearer than the cascade */
    double cascade_cost, small_cost, large_cost, mid_cost; /* a request */
    double gap;    /* of (large - small), recovered */
    bool is_void;  /* fewer than NG_CASCADE_EACH_MIN right or wrong answers */
    bool loses;    /* worse than the mid model at no more cost, or than random */
} ng_cascade_figures;
ng_cascade_figures ng_cascade_judge(const ng_outcomes *o, const uint8_t *escalated);

#endif
