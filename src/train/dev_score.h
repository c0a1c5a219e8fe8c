/* dev_score.h: how good tagged spans and rankings are.
 *
 *     ng_span_score s = {0};
 *     ng_span_score_add(&s, gold, said, n_words, labels);       a text at a time
 *     double f1 = ng_span_f1(&s), r = ng_spearman(a, b, n);
 *
 * A span is right when kind, first and last word are those of a span of gold. */
#ifndef NG_TRAIN_DEV_SCORE_H
#define NG_TRAIN_DEV_SCORE_H

#include <stddef.h>
#include <stdint.h>

typedef struct ng_span_score {
    size_t n_right, n_said, n_gold;
} ng_span_score;

/* Tags [n] are indices of labels "O", "B-x", "I-x"; an I- that continues nothing begins a span. */
void ng_span_score_add(ng_span_score *s, const int32_t *gold, const int32_t *said, size_t n, const char *const *labels);
double ng_span_f1(const ng_span_score *s); /* NaN without any span */
/* Rank correlation, ties at their mean rank; NaN below two values, where all are equal, without memory. */
double ng_spearman(const float *a, const float *b, size_t n);

#endif
