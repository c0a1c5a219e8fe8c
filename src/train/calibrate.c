/* calibrate.c: temperature, Platt scaling, out-of-scope threshold.  See calibrate.h. */
#include "calibrate.h"

#include "core/math.h"
#include "core/solve.h"
#include <math.h>
#include <stdlib.h>

/* Mean negative log likelihood at 1 / t = scale. */
static double nll(const float *logits, const int32_t *labels, size_t n, size_t n_labels, double scale) {
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        const float *z = logits + i * n_labels;
        double max = (double)z[0], sum = 0;
        for (size_t c = 1; c < n_labels; c++)
            if ((double)z[c] > max) max = (double)z[c];
        for (size_t c = 0; c < n_labels; c++) sum += ng_exp(((double)z[c] - max) * scale);
        total += ng_log(sum) - ((double)z[labels[i]] - max) * scale;
    }
    return total / (double)n;
}

double ng_temperature_fit(const float *logits, const int32_t *labels, size_t n, size_t n_labels) {
    if (!n) return 1;
    /* Golden section over log(1 / t): the likelihood is convex in 1 / t, so it has one minimum. */
    double ratio = 0.6180339887498949, lo = -3, hi = 3;
    double a = hi - ratio * (hi - lo), b = lo + ratio * (hi - lo);
    double fa = nll(logits, labels, n, n_labels, ng_exp(a)), fb = nll(logits, labels, n, n_labels, ng_exp(b));
    for (int i = 0; i < 30; i++) {
        if (fa < fb) {
            hi = b, b = a, fb = fa, a = hi - ratio * (hi - lo);
            fa = nll(logits, labels, n, n_labels, ng_exp(a));
        } else {
            lo = a, a = b, fa = fb, b = lo + ratio * (hi - lo);
            fb = nll(logits, labels, n, n_labels, ng_exp(b));
        }
    }
    return ng_exp(-(lo + hi) / 2);
}

typedef struct newton {
    double g0, g1, h00, h01, h11, loss;
} newton;

static newton derivatives(const float *z, const bool *holds, size_t n, ng_platt p, double high, double low) {
    newton d = {0, 0, 1e-6, 0, 1e-6, 0};
    for (size_t i = 0; i < n; i++) {
        double x = (double)z[i], t = holds[i] ? high : low, q = ng_sigmoid(p.scale * x + p.shift), w = q * (1 - q);
        d.g0 += (q - t) * x;
        d.g1 += q - t;
        d.h00 += w * x * x;
        d.h01 += w * x;
        d.h11 += w;
        d.loss -= t * ng_log(q + 1e-300) + (1 - t) * ng_log(1 - q + 1e-300);
    }
    return d;
}

ng_platt ng_platt_fit(const float *z, const bool *holds, size_t n) {
    size_t n_holds = 0;
    for (size_t i = 0; i < n; i++) n_holds += holds[i];
    double high = (double)(n_holds + 1) / (double)(n_holds + 2), low = 1 / (double)(n - n_holds + 2);
    ng_platt p = {1, 0};
    newton d = derivatives(z, holds, n, p, high, low);
    for (int i = 0; i < 50; i++) {
        double det = d.h00 * d.h11 - d.h01 * d.h01, step = 1;
        double da = (d.h11 * d.g0 - d.h01 * d.g1) / det, db = (d.h00 * d.g1 - d.h01 * d.g0) / det;
        newton next = d;
        ng_platt q = p;
        for (; step > 1e-6; step /= 2) { /* backtrack until the loss falls */
            q = (ng_platt){p.scale - step * da, p.shift - step * db};
            next = derivatives(z, holds, n, q, high, low);
            if (next.loss < d.loss) break;
        }
        if (!(next.loss < d.loss - 1e-10)) break;
        p = q;
        d = next;
    }
    if (p.scale < 0) p = (ng_platt){0, ng_log((double)(n_holds + 1) / (double)(n - n_holds + 1))};
    return p;
}

enum { SCOPE = 3 }; /* sure, near, 1 */

/* Adds the first and second derivatives at w of the loss of n places, each counted `weight` times. */
static void add_derivatives(const ng_scope_place *x, size_t n, bool in, double weight, const double w[SCOPE],
                            double g[SCOPE], double h[SCOPE][SCOPE]) {
    for (size_t i = 0; i < n; i++) {
        double v[SCOPE] = {x[i].sure, x[i].near, 1}, z = w[0] * v[0] + w[1] * v[1] + w[2], q = ng_sigmoid(z);
        for (int a = 0; a < SCOPE; a++) {
            g[a] += weight * (q - in) * v[a];
            for (int b = 0; b < SCOPE; b++) h[a][b] += weight * q * (1 - q) * v[a] * v[b];
        }
    }
}

void ng_scope_fit(const ng_scope_place *in, size_t n, const ng_scope_place *out, size_t m, float scope[3]) {
    enum { STEPS = 40 };
    const double decay = 1e-5; /* of both weights; cosines differ by tenths, so theirs is of the order of 10 */
    double w[SCOPE] = {0};
    for (int step = 0; n && m && step < STEPS; step++) {
        double g[SCOPE] = {decay * w[0], decay * w[1], 0}, h[SCOPE][SCOPE] = {{decay, 0, 0}, {0, decay, 0}, {0, 0, 1e-9}};
        add_derivatives(in, n, true, 0.5 / (double)n, w, g, h);
        add_derivatives(out, m, false, 0.5 / (double)m, w, g, h);
        ng_solve(&h[0][0], g, SCOPE);
        double longest = fmax(fabs(g[0]), fmax(fabs(g[1]), fabs(g[2]))), part = longest > 2 ? 2 / longest : 1;
        for (int a = 0; a < SCOPE; a++) w[a] -= part * g[a];
    }
    for (int a = 0; a < SCOPE; a++) scope[a] = (float)w[a];
}

static int rising(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

double ng_oos_threshold(float *in_scope, size_t n, float *out_of_scope, size_t m, double keep) {
    double best = -1, threshold = 0;
    size_t rejected = 0;
    qsort(in_scope, n, sizeof *in_scope, rising);
    qsort(out_of_scope, m, sizeof *out_of_scope, rising);
    for (size_t i = 0; i < n; i++) {
        double kept = (double)(n - i) / (double)n;
        if (kept < keep) break;
        if (i && in_scope[i] <= in_scope[i - 1]) continue;
        while (rejected < m && out_of_scope[rejected] < in_scope[i]) rejected++;
        double gain = kept + (m ? (double)rejected / (double)m : 0);
        if (gain > best) best = gain, threshold = (double)in_scope[i];
    }
    return threshold;
}
