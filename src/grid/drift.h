/* drift.h: have an expert's texts of late left the ones its contract was fitted on?
 *
 *     ng_drift *d;
 *     ng_drift_new(&d, calibration.confidence, calibration.n, &err);
 *     ng_drift_state s = ng_drift_add(d, answer->confidence);       every text that it is asked about
 *     if (s.drifting) ..                                            ask for more confidence
 *     ng_drift_free(d);
 *
 * The confidence of the expert is the eye: texts unlike the calibration set shift its distribution, and
 * nothing about the texts need be kept.  The watch remembers some 1,000 texts, older ones fade.
 * Thread-safe. */
#ifndef NG_GRID_DRIFT_H
#define NG_GRID_DRIFT_H

#include <nanogrid/status.h>

typedef struct ng_drift ng_drift;
typedef struct ng_drift_state {
    double distance; /* Kolmogorov-Smirnov, 0..1 */
    bool drifting;
} ng_drift_state;

/* confidence[n]: of the calibration set; NaN are left out. */
ng_status ng_drift_new(ng_drift **out, const float *confidence, size_t n, ng_error *err) NG_MUST_USE;
void ng_drift_free(ng_drift *d); /* NULL is fine */
ng_drift_state ng_drift_add(ng_drift *d, double confidence); /* NaN adds nothing */
ng_drift_state ng_drift_get(ng_drift *d);

/* What a drifting expert must be sure of instead of `threshold`: half the doubt is left to it. */
double ng_drift_threshold(double threshold);

#endif
