/* distribution.h: what one vector of logits says as a distribution over tokens.
 *
 *     ng_distribution d;
 *     if (ng_distribution_read(&d, logits, n_vocab)) ..      NG_EFORMAT: not finite
 *     float lp = logits[id] - d.log_z;                       log p(id)
 *     ng_token_prob top[5];
 *     ng_distribution_top(&d, logits, n_vocab, top, 5);
 *
 * Everything is at temperature 1 and before any penalty: the model's own words. */
#ifndef NG_DECODE_DISTRIBUTION_H
#define NG_DECODE_DISTRIBUTION_H

#include <nanogrid/generate.h>

typedef struct ng_distribution {
    int32_t best;     /* the lowest id among the greatest logits */
    float max;        /* logits[best] */
    float log_z;      /* log of the sum of e^logit */
    float entropy;    /* nats */
    float margin;     /* p(best) - p(second best) */
} ng_distribution;

/* logits[n], n > 0.  NG_EFORMAT when the sum is not finite (damaged weights): the call sets no text. */
ng_status ng_distribution_read(ng_distribution *out, const float *logits, size_t n) NG_MUST_USE;
/* The k best, best first, ties by lower id; k <= n. */
void ng_distribution_top(const ng_distribution *d, const float *logits, size_t n,
                         ng_token_prob *top, size_t k);
/* The sum over n logits of e^((logit - max) * scale), and where p is not NULL each term in p[n]
 * (p may alias logits).  Relative error below 1e-6; arguments under -87 count as e^-87. */
double ng_exp_sum(float *p, const float *logits, size_t n, float max, float scale);

#endif
