/* escalation.c: see escalation.h.
 *
 * Gap recovered and APGR are those of RouteLLM (Ong et al. 2024, section 3.1); quality is the share of right answers. */
#include "escalation.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct ranked {
    float gain;
    int delta; /* large right minus small right */
} ranked;

static int falling(const void *a, const void *b) {
    float x = ((const ranked *)a)->gain, y = ((const ranked *)b)->gain;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* recovered[i]: expected sum of deltas of the i greatest gains, tied ones in random order; NULL without memory. */
static double *recover(const ng_outcomes *o, const float *gain) {
    ranked *r = malloc((o->n + 1) * sizeof *r);
    double *sum = malloc((o->n + 1) * sizeof *sum);
    if (!r || !sum) {
        free(r);
        free(sum);
        return NULL;
    }
    for (size_t i = 0; i < o->n; i++) r[i] = (ranked){gain[i], (int)o->large[i] - (int)o->small[i]};
    qsort(r, o->n, sizeof *r, falling);
    sum[0] = 0;
    for (size_t i = 0, end; i < o->n; i = end) {
        double all = 0;
        for (end = i; end < o->n && r[end].gain >= r[i].gain; end++) all += r[end].delta;
        for (size_t k = i; k < end; k++) sum[k + 1] = sum[k] + all / (double)(end - i);
    }
    free(r);
    return sum;
}

static double count(const uint8_t *marks, size_t n) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += marks[i] != 0;
    return (double)sum;
}

double ng_escalation_apgr(const ng_outcomes *o, const float *gain) {
    double *sum = recover(o, gain), area = 0, gap;
    if (!sum) return NAN;
    gap = sum[o->n];
    for (size_t i = 0; i < o->n; i++) area += (sum[i] + sum[i + 1]) / 2;
    free(sum);
    return fabs(gap) > 0 ? area / (double)o->n / gap : NAN;
}

double ng_escalation_share(const ng_outcomes *o, const float *gain, double gap) {
    double *sum = recover(o, gain), share = NAN;
    if (!sum) return NAN;
    for (size_t i = 0; i <= o->n && isnan(share) && o->n; i++)
        if (sum[i] >= gap * sum[o->n]) share = (double)i / (double)o->n;
    free(sum);
    return share;
}

double ng_escalation_accuracy(const ng_outcomes *o, const float *gain, double share) {
    double *sum = recover(o, gain);
    if (!sum || !o->n) {
        free(sum);
        return NAN;
    }
    size_t k = (size_t)floor(share * (double)o->n + 0.5);
    double right = count(o->small, o->n) + sum[k > o->n ? o->n : k];
    free(sum);
    return right / (double)o->n;
}

ng_cascade_figures ng_cascade_judge(const ng_outcomes *o, const uint8_t *escalated) {
    double n = (double)o->n, up = count(escalated, o->n);
    ng_cascade_figures f = {.n = o->n, .mid = NAN, .is_void = true};
    size_t either = 0;
    if (!o->n) return f;
    for (size_t i = 0; i < o->n; i++) {
        f.n_right += escalated[i] ? o->large[i] != 0 : o->small[i] != 0;
        either += o->large[i] || o->small[i];
    }
    f.share = up / n;
    f.cascade = (double)f.n_right / n;
    f.small = count(o->small, o->n) / n;
    f.large = count(o->large, o->n) / n;
    f.random = f.small + f.share * (f.large - f.small);
    f.oracle = (double)either / n;
    f.gap = fabs(f.large - f.small) > 0 ? (f.cascade - f.small) / (f.large - f.small) : NAN;
    f.small_cost = o->small_cost;
    f.large_cost = o->large_cost;
    f.mid_cost = o->mid_cost;
    f.cascade_cost = o->small_cost + f.share * o->large_cost;
    if (o->mid && o->mid_cost <= f.cascade_cost) f.mid = count(o->mid, o->n) / n;
    f.is_void = f.n_right < NG_CASCADE_EACH_MIN || o->n - f.n_right < NG_CASCADE_EACH_MIN;
    f.loses = f.cascade < f.random || f.cascade < f.mid; /* false for NaN */
    return f;
}
