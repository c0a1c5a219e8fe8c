/* gain.h: would the next tier fix it?  Learnt from what it did before.
 *
 *     ng_gain g;
 *     ng_gain_fit(&g, lessons, n);                                false: too few, nothing is learnt
 *     if (ng_gain_of(&g, &facts) >= 0.1) ..                       ask the next tier
 *
 * The gain of asking is P(its answer is another one) times how much more often that one is right than wrong.  The first
 * is a logistic regression on what costs nothing: the log odds of the confidence, its lead over the second label, and signals
 * of the text (its length, how complex it is, whether it is more than sentences, which turn of a conversation).  The second is
 * a share of the answers that people judged. */
#ifndef NG_ROUTE_GAIN_H
#define NG_ROUTE_GAIN_H

#include <stdbool.h>
#include <stddef.h>

enum { NG_GAIN_LESSONS_MIN = 50, NG_GAIN_EACH_MIN = 8, NG_GAIN_WEIGHTS = 7 };

typedef struct ng_gain_facts {
    float confidence, margin; /* of the answer here; its lead over the second label */
    float bytes;
    float complexity, turns;  /* NaN: not known, as in records of before */
    bool technical;           /* ng_structure_is_technical */
} ng_gain_facts;

typedef struct ng_gain_lesson {
    ng_gain_facts facts;
    bool differs;             /* the next tier said something else */
    signed char fixed;        /* 1 the next tier was right and here was wrong, -1 the other way round, 0 neither or not known */
} ng_gain_lesson;

typedef struct ng_gain {
    double weight[NG_GAIN_WEIGHTS];
    double trust;   /* of an answer that differs: P(it fixes) - P(it harms), -1..1 */
    size_t n;       /* lessons; 0: nothing is known */
    size_t n_judged;
} ng_gain;

/* False, and *out is empty, with fewer than NG_GAIN_LESSONS_MIN lessons or NG_GAIN_EACH_MIN of either kind.  The same
 * lessons in the same order give the same bits. */
bool ng_gain_fit(ng_gain *out, const ng_gain_lesson *lessons, size_t n);
/* -1..1; 0 when nothing is known. */
double ng_gain_of(const ng_gain *g, const ng_gain_facts *f);

#endif
