/* gain.c: see gain.h.
 *
 * Newton's method on the logistic loss with a small ridge: seven weights, so it settles in a few steps.  Nobody judged an
 * answer: one that differs is trusted as if three of four had been right. */
#include "gain.h"

#include "core/math.h"
#include "core/solve.h"
#include <math.h>
#include <string.h>

enum { STEPS = 25, W = NG_GAIN_WEIGHTS };
static const double RIDGE = 0.5, PRIOR_FIXED = 3, PRIOR_HARMED = 1;

/* What is not known counts as the usual. */
static double or_else(float v, double usual) { return isnan(v) ? usual : (double)v; }

static void features(double x[W], const ng_gain_facts *f) {
    static const double USUAL_COMPLEXITY = 0.25;
    double p = or_else(f->confidence, 0.5);
    p = p < 1e-6 ? 1e-6 : p > 1 - 1e-6 ? 1 - 1e-6 : p;
    x[0] = 1;
    x[1] = ng_log(p / (1 - p)) / 4;
    x[2] = or_else(f->margin, 0);
    x[3] = ng_log(1 + (f->bytes > 0 ? (double)f->bytes : 0)) / 4 - 1;
    x[4] = or_else(f->complexity, USUAL_COMPLEXITY) - USUAL_COMPLEXITY;
    x[5] = f->technical;
    x[6] = ng_log(or_else(f->turns, 1) > 1 ? (double)f->turns : 1) / 2;
}

static double probability(const double w[W], const double x[W]) {
    double z = 0;
    for (int i = 0; i < W; i++) z += w[i] * x[i];
    return 1 / (1 + ng_exp(-z));
}

static void newton(double w[W], const ng_gain_lesson *l, size_t n) {
    double h[W][W] = {{0}}, g[W];
    for (int i = 0; i < W; i++) g[i] = RIDGE * w[i], h[i][i] = RIDGE;
    for (size_t k = 0; k < n; k++) {
        double x[W];
        features(x, &l[k].facts);
        double p = probability(w, x), v = p * (1 - p);
        for (int i = 0; i < W; i++) {
            g[i] += (p - l[k].differs) * x[i];
            for (int c = 0; c < W; c++) h[i][c] += v * x[i] * x[c];
        }
    }
    ng_solve(&h[0][0], g, W);
    for (int i = 0; i < W; i++) w[i] -= g[i];
}

bool ng_gain_fit(ng_gain *out, const ng_gain_lesson *l, size_t n) {
    size_t differs = 0;
    double fixed = PRIOR_FIXED, harmed = PRIOR_HARMED;
    *out = (ng_gain){.n = 0};
    for (size_t i = 0; i < n; i++) {
        differs += l[i].differs;
        fixed += l[i].fixed > 0;
        harmed += l[i].fixed < 0;
        out->n_judged += l[i].fixed != 0;
    }
    if (n < NG_GAIN_LESSONS_MIN || differs < NG_GAIN_EACH_MIN || n - differs < NG_GAIN_EACH_MIN) return false;
    for (int i = 0; i < STEPS; i++) newton(out->weight, l, n);
    for (int i = 0; i < W; i++)
        if (!isfinite(out->weight[i])) return *out = (ng_gain){.n = 0}, false;
    out->trust = (fixed - harmed) / (fixed + harmed);
    out->n = n;
    return true;
}

double ng_gain_of(const ng_gain *g, const ng_gain_facts *f) {
    double x[W];
    if (!g->n) return 0;
    features(x, f);
    return probability(g->weight, x) * g->trust;
}
