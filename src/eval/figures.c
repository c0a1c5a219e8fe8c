/* figures.c: see figures.h. */
#include "figures.h"

#include <math.h>
#include <stdlib.h>

double ng_metric_ece(const float *confidence, const uint8_t *correct, size_t n, int bins) {
    double error = 0;
    for (int b = 0; b < bins; b++) {
        double sum = 0, right = 0;
        for (size_t i = 0; i < n; i++) {
            int at = (int)((double)confidence[i] * bins);
            if ((at >= bins ? bins - 1 : at) != b) continue;
            sum += (double)confidence[i];
            right += correct[i];
        }
        error += fabs(sum - right);
    }
    return n ? error / (double)n : NAN;
}

typedef struct ranked {
    float score;
    uint8_t mark;
    size_t at;
} ranked;

static int falling(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1; /* NOLINT: exact */
    return x->at < y->at ? -1 : x->at > y->at;
}

static ranked *rank(const float *score, const uint8_t *mark, size_t n) {
    ranked *r = malloc((n + 1) * sizeof *r);
    for (size_t i = 0; r && i < n; i++) r[i] = (ranked){score[i], mark[i], i};
    if (r) qsort(r, n, sizeof *r, falling);
    return r;
}

double ng_metric_aurc(const float *confidence, const uint8_t *correct, size_t n) {
    ranked *r = rank(confidence, correct, n);
    double sum = 0, wrong = 0;
    if (!r) return NAN;
    for (size_t i = 0; i < n; i++) {
        wrong += !r[i].mark;
        sum += wrong / (double)(i + 1);
    }
    free(r);
    return n ? sum / (double)n : NAN;
}

double ng_metric_coverage(const float *confidence, const uint8_t *correct, size_t n, double risk) {
    ranked *r = rank(confidence, correct, n);
    double wrong = 0, best = 0;
    if (!r) return NAN;
    for (size_t i = 0; i < n; i++) {
        wrong += !r[i].mark;
        if (wrong <= risk * (double)(i + 1)) best = (double)(i + 1) / (double)n;
    }
    free(r);
    return n ? best : NAN;
}

double ng_metric_macro_f1(const int32_t *gold, const int32_t *predicted, size_t n, size_t n_labels) {
    double sum = 0;
    size_t present = 0;
    for (size_t c = 0; c < n_labels; c++) {
        size_t tp = 0, fp = 0, fn = 0;
        for (size_t i = 0; i < n; i++) {
            bool is = gold[i] == (int32_t)c, said = predicted[i] == (int32_t)c;
            tp += is && said;
            fp += !is && said;
            fn += is && !said;
        }
        if (!(tp + fn)) continue;
        present++;
        sum += 2.0 * (double)tp / (double)(2 * tp + fp + fn);
    }
    return present ? sum / (double)present : NAN;
}

/* Positives have mark 1. */
static ranked *join(const float *positive, size_t n, const float *negative, size_t m) {
    ranked *r = malloc((n + m + 1) * sizeof *r);
    if (!r) return NULL;
    for (size_t i = 0; i < n; i++) r[i] = (ranked){positive[i], 1, i};
    for (size_t i = 0; i < m; i++) r[n + i] = (ranked){negative[i], 0, n + i};
    qsort(r, n + m, sizeof *r, falling);
    return r;
}

double ng_metric_auroc(const float *positive, size_t n, const float *negative, size_t m) {
    ranked *r = n && m ? join(positive, n, negative, m) : NULL;
    double above = 0, sum = 0; /* positives seen so far */
    if (!r) return NAN;
    for (size_t i = 0, k; i < n + m; i = k) {
        double pos = 0, neg = 0;
        for (k = i; k < n + m && r[k].score >= r[i].score; k++) pos += r[k].mark, neg += !r[k].mark;
        sum += neg * (above + pos / 2);
        above += pos;
    }
    free(r);
    return sum / ((double)n * (double)m);
}

double ng_metric_fpr(const float *positive, size_t n, const float *negative, size_t m, double keep) {
    ranked *r = n && m ? join(positive, n, negative, m) : NULL;
    double kept = 0, passed = 0;
    if (!r) return NAN;
    for (size_t i = 0, k; i < n + m && kept < keep * (double)n; i = k)
        for (k = i; k < n + m && r[k].score >= r[i].score; k++) kept += r[k].mark, passed += !r[k].mark;
    free(r);
    return passed / (double)m;
}

double ng_metric_recall_at(const float *positive, size_t n, const float *negative, size_t m, double fpr) {
    ranked *r = n && m ? join(positive, n, negative, m) : NULL;
    double kept = 0, passed = 0, recall = 0;
    if (!r) return NAN;
    for (size_t i = 0, k; i < n + m; i = k) {
        for (k = i; k < n + m && r[k].score >= r[i].score; k++) kept += r[k].mark, passed += !r[k].mark;
        if (passed > fpr * (double)m) break;
        recall = kept / (double)n;
    }
    free(r);
    return recall;
}

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double ng_metric_quantile(double *values, size_t n, double q) {
    if (!n) return NAN;
    qsort(values, n, sizeof *values, rising);
    size_t at = (size_t)ceil(q * (double)n);
    return values[at ? at - 1 : 0];
}
