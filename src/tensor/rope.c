/* rope.c: rotary position embedding.  See tensor.h.
 *
 * Angles are pos * inv_freq with inv_freq rounded to float (as PyTorch does), but the product and
 * its sine are taken in double: at position 8,000 a float angle is off by 5e-4. */
#include "tensor.h"

#include "core/math.h"

void ng_sincos(double x, double *s, double *c) {
    /* x = k pi/2 + r, |r| <= pi/4; pi/2 in two parts (fdlibm), so that r is good to 2^-60 or so. */
    double kf = x * 0.63661977236758134308;
    long k = (long)(kf < 0 ? kf - 0.5 : kf + 0.5);
    double r = x - (double)k * 1.57079632673412561417;
    r = r - (double)k * 6.07710050650619224932e-11;
    double z = r * r, ps = 0, pc = 0;
    static const double cs[] = {-1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880,
                                -1.0 / 5040,          1.0 / 120,        -1.0 / 6,        1.0};
    static const double cc[] = {-1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320,
                                -1.0 / 720,         1.0 / 24,        -0.5,           1.0};
    for (int i = 0; i < 8; i++) {
        ps = ps * z + cs[i];
        pc = pc * z + cc[i];
    }
    ps = ps * r;
    switch (k & 3) {
    case 0: *s = ps, *c = pc; break;
    case 1: *s = pc, *c = -ps; break;
    case 2: *s = -ps, *c = -pc; break;
    default: *s = -pc, *c = ps; break;
    }
}

void ng_rope_freqs(float *inv_freq, size_t n_rot, double base, const float *factors) {
    double log_base = ng_log(base);
    for (size_t i = 0; i < n_rot / 2; i++) {
        double f = ng_exp(-2.0 * (double)i / (double)n_rot * log_base);
        inv_freq[i] = (float)(factors ? f / (double)factors[i] : f);
    }
}

void ng_rope_table(const ng_team *tm, float *cos_sin, const float *inv_freq, size_t n_rot, size_t pos,
                   size_t n_tok) {
    size_t begin, end;
    ng_team_slice(tm, n_tok * (n_rot / 2), 1, &begin, &end);
    for (size_t j = begin; j < end; j++) {
        size_t t = j / (n_rot / 2), i = j % (n_rot / 2);
        double s, c;
        ng_sincos((double)(pos + t) * (double)inv_freq[i], &s, &c);
        cos_sin[t * n_rot + 2 * i] = (float)c;
        cos_sin[t * n_rot + 2 * i + 1] = (float)s;
    }
}

void ng_rope_pairs(float *h, const float *cos_sin, size_t n_rot) {
    for (size_t i = 0; i < n_rot; i += 2) {
        float c = cos_sin[i], s = cos_sin[i + 1], a = h[i], b = h[i + 1];
        h[i] = a * c - b * s;
        h[i + 1] = a * s + b * c;
    }
}
