/* drift.c: see drift.h.
 *
 * Twenty bins that hold a twentieth of the calibration set each; live texts are counted into them, and
 * all counts are halved at 1,024, so the weight of a text fades over a few thousand.  The distance is
 * the greatest difference of the two cumulated shares (Kolmogorov-Smirnov over the bins' edges).
 *
 * The alarm asks for 2.5 sqrt(1/n + 1/m), where one look in 100,000 goes wrong by chance, since it is
 * looked at with every text; it ends at 1.5, lower, so that it does not flutter.  Before 200 texts
 * nothing is said. */
#include "drift.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { BINS = 20, FADE_AT = 1024, ENOUGH = 200 };
static const double ALARM = 2.5, CALM = 1.5;

struct ng_drift {
    pthread_mutex_t lock;
    float edge[BINS - 1]; /* bin i holds confidences below edge[i] that are not in a lower one */
    double expected[BINS]; /* shares of the calibration set: ties make them unequal */
    double m;              /* calibration texts */
    /* guarded by lock */
    double count[BINS], n;
    ng_drift_state state;
};

static int rising(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static size_t bin_of(const ng_drift *d, float c) {
    size_t i = 0;
    while (i < BINS - 1 && c >= d->edge[i]) i++;
    return i;
}

ng_status ng_drift_new(ng_drift **out, const float *confidence, size_t n, ng_error *err) {
    *out = NULL;
    ng_drift *d = calloc(1, sizeof *d);
    float *sorted = malloc((n + 1) * sizeof *sorted);
    size_t m = 0;
    if (!d || !sorted) {
        free(d);
        free(sorted);
        return ng_fail(err, NG_ENOMEM, "drift watch: out of memory");
    }
    pthread_mutex_init(&d->lock, NULL);
    for (size_t i = 0; i < n; i++)
        if (!isnan(confidence[i])) sorted[m++] = confidence[i];
    if (m) qsort(sorted, m, sizeof *sorted, rising);
    for (size_t i = 0; m && i < BINS - 1; i++) d->edge[i] = sorted[(i + 1) * m / BINS];
    for (size_t i = 0; i < m; i++) d->expected[bin_of(d, sorted[i])] += 1 / (double)m;
    d->m = (double)m;
    free(sorted);
    *out = d;
    return NG_OK;
}

void ng_drift_free(ng_drift *d) {
    if (!d) return;
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static void look(ng_drift *d) { /* lock held */
    double live = 0, was = 0, far = 0;
    for (int i = 0; i < BINS; i++) {
        live += d->count[i] / d->n;
        was += d->expected[i];
        if (fabs(live - was) > far) far = fabs(live - was);
    }
    double unit = sqrt(1 / d->n + 1 / d->m);
    d->state.distance = far;
    if (d->n >= ENOUGH) d->state.drifting = far > (d->state.drifting ? CALM : ALARM) * unit;
}

ng_drift_state ng_drift_add(ng_drift *d, double confidence) {
    pthread_mutex_lock(&d->lock);
    if (!isnan(confidence) && d->m > 0) {
        if (d->n >= FADE_AT) {
            for (int i = 0; i < BINS; i++) d->count[i] /= 2;
            d->n /= 2;
        }
        d->count[bin_of(d, (float)confidence)]++;
        d->n++;
        look(d);
    }
    ng_drift_state s = d->state;
    pthread_mutex_unlock(&d->lock);
    return s;
}

ng_drift_state ng_drift_get(ng_drift *d) {
    pthread_mutex_lock(&d->lock);
    ng_drift_state s = d->state;
    pthread_mutex_unlock(&d->lock);
    return s;
}

double ng_drift_threshold(double threshold) {
    return isfinite(threshold) ? 1 - (1 - threshold) / 2 : threshold;
}
