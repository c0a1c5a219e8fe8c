/* math.c: exp, log, tanh, erf from plain double arithmetic.  See math.h.
 *
 * exp: x = k ln2 + r, |r| <= ln2/2, Taylor to r^13 (error < 2e-17), scaled by 2^k through the
 * exponent bits.  log: x = 2^k m with m in [sqrt(1/2), sqrt(2)), atanh series in s = (m-1)/(m+1).
 * erf: Abramowitz & Stegun 7.1.5 (series) below 3, 7.1.14 (continued fraction) above. */
#include "math.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static double scale2(double x, int k) { /* x * 2^k without ldexp's libm call; |k| <= 1100 */
    while (k > 1000) x *= 0x1p1000, k -= 1000;
    while (k < -1000) x *= 0x1p-1000, k += 1000;
    uint64_t bits = (uint64_t)(1023 + k) << 52;
    double f;
    memcpy(&f, &bits, sizeof f);
    return x * f;
}

static const double exp_first = 1.0 / 6227020800.0;
static const double exp_terms[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
                                   1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      0.5,         1.0,
                                   1.0};
static const double log2_e = 1.4426950408889634, ln2_high = 0.693147180369123816490, ln2_low = 1.90821492927058770002e-10; /* fdlibm */
enum { EXP_TERMS = sizeof exp_terms / sizeof exp_terms[0] };

double ng_exp(double x) {
    if (isnan(x)) return x;
    if (x > 709.78) return INFINITY;
    if (x < -745.1) return 0;
    double kf = x * log2_e;
    int k = (int)(kf < 0 ? kf - 0.5 : kf + 0.5);
    double r = x - k * ln2_high;
    r -= k * ln2_low;
    double p = exp_first;
    for (int i = 0; i < EXP_TERMS; i++) p = p * r + exp_terms[i];
    return scale2(p, k);
}

/* Eight at once, each -690 .. 0: the same operations in the same order as ng_exp, in loops that a compiler makes vectors of. */
enum { LANES = 8 };
static void exp_lanes(double x[LANES]) {
    double p[LANES];
    int32_t k[LANES];
    for (int j = 0; j < LANES; j++) k[j] = (int32_t)(x[j] * log2_e - 0.5);
    for (int j = 0; j < LANES; j++) x[j] = x[j] - k[j] * ln2_high;
    for (int j = 0; j < LANES; j++) x[j] -= k[j] * ln2_low;
    for (int j = 0; j < LANES; j++) p[j] = exp_first;
    for (int i = 0; i < EXP_TERMS; i++)
        for (int j = 0; j < LANES; j++) p[j] = p[j] * x[j] + exp_terms[i];
    for (int j = 0; j < LANES; j++) {
        uint64_t bits = (uint64_t)(uint32_t)(1023 + k[j]) << 52;
        double f;
        memcpy(&f, &bits, sizeof f);
        x[j] = p[j] * f;
    }
}

double ng_log(double x) {
    if (isnan(x) || x < 0) return NAN;
    if (x == 0) return -INFINITY;
    if (isinf(x)) return x;
    int k = 0;
    if (x < 0x1p-1022) x *= 0x1p54, k = -54;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    k += (int)(bits >> 52) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFFull) | (1023ull << 52);
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) m *= 0.5, k++;
    double s = (m - 1) / (m + 1), z = s * s, p = 1.0 / 25;
    for (int i = 23; i >= 1; i -= 2) p = p * z + 1.0 / i;
    return k * 1.90821492927058770002e-10 + 2 * s * p + k * 0.693147180369123816490;
}

double ng_tanh(double x) {
    if (x < -20) return -1;
    if (x > 20) return 1;
    if (x > -1e-4 && x < 1e-4) return x;
    double e = ng_exp(2 * x);
    return (e - 1) / (e + 1);
}

double ng_sigmoid(double x) { return x >= 0 ? 1 / (1 + ng_exp(-x)) : ng_exp(x) / (1 + ng_exp(x)); }

float ng_expf(float x) { return (float)ng_exp((double)x); }
float ng_logf(float x) { return (float)ng_log((double)x); }
float ng_tanhf(float x) { return (float)ng_tanh((double)x); }

float ng_erff(float xf) {
    double x = xf < 0 ? -(double)xf : (double)xf, r;
    if (isnan(x)) return xf;
    if (x > 6) {
        r = 1;
    } else if (x < 3) {
        double term = x, sum = x;
        for (int n = 1; n < 60; n++) {
            term *= -x * x / n;
            sum += term / (2 * n + 1);
        }
        r = 1.1283791670955126 * sum;
    } else {
        double f = x;
        for (int n = 60; n >= 1; n--) f = x + n * 0.5 / f;
        r = 1 - ng_exp(-x * x) / (1.7724538509055159 * f);
    }
    return (float)(xf < 0 ? -r : r);
}

void ng_softmax(float *p, const float *x, size_t n, float scale) {
    if (!n) return;
    double max = -INFINITY, sum = 0;
    size_t i;
    for (i = 0; i < n; i++) {
        double v = (double)x[i] * (double)scale;
        if (v > max) max = v;
    }
    for (i = 0; i + LANES <= n; i += LANES) {
        double e[LANES];
        bool fit = true;
        for (size_t j = 0; j < LANES; j++) {
            e[j] = (double)x[i + j] * (double)scale - max;
            fit &= e[j] >= -690; /* not what is next to nothing, nor what is no number */
        }
        if (!fit) break;
        exp_lanes(e);
        for (size_t j = 0; j < LANES; j++) sum += e[j], p[i + j] = (float)e[j];
    }
    for (; i < n; i++) {
        double e = ng_exp((double)x[i] * (double)scale - max);
        sum += e;
        p[i] = (float)e;
    }
    for (i = 0; i < n; i++) p[i] = (float)((double)p[i] / sum);
}
