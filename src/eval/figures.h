/* figures.h: how good predictions and their confidences are.
 *
 *     double e = ng_metric_ece(confidence, correct, n, 15);
 *     double a = ng_metric_auroc(in_scope, n, out_of_scope, m);
 *
 * Pure functions with a fixed order of sums; ties are broken by position.  NaN where a figure has no
 * meaning (no samples).  Those that sort need memory and give NaN without it. */
#ifndef NG_EVAL_FIGURES_H
#define NG_EVAL_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Expected calibration error: |accuracy - mean confidence| over bins of equal width, weighted. */
double ng_metric_ece(const float *confidence, const uint8_t *correct, size_t n, int bins);
/* Mean over k of the error among the k most confident (El-Yaniv and Wiener 2010). */
double ng_metric_aurc(const float *confidence, const uint8_t *correct, size_t n);
/* The greatest share of samples, most confident first, whose error is at most `risk`. */
double ng_metric_coverage(const float *confidence, const uint8_t *correct, size_t n, double risk);
/* Mean over the labels that occur as gold of 2 tp / (2 tp + fp + fn); -1 in gold is no label. */
double ng_metric_macro_f1(const int32_t *gold, const int32_t *predicted, size_t n, size_t n_labels);
/* P(score of a positive > score of a negative), ties half. */
double ng_metric_auroc(const float *positive, size_t n, const float *negative, size_t m);
/* Share of negatives that stay when the threshold keeps `keep` of the positives. */
double ng_metric_fpr(const float *positive, size_t n, const float *negative, size_t m, double keep);
/* Share of positives at or above the lowest threshold that lets at most `fpr` of the negatives pass. */
double ng_metric_recall_at(const float *positive, size_t n, const float *negative, size_t m, double fpr);
/* The q-quantile (0..1) of n values, by nearest rank; sorts them. */
double ng_metric_quantile(double *values, size_t n, double q);

#endif
