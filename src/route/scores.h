/* scores.h: the labelled scores that a package carries, and what they say about a promise.
 *
 *     ng_scores s;
 *     ng_scores_read(&s, "models/intent/model.gguf", "test", &err);
 *     ng_risk r = ng_risk_at(&s, 0.9);               r.wrong of r.n answers, of r.n_texts texts
 *     printf("%g at most %g\n", r.risk, r.upper95);
 *     ng_scores_clear(&s);
 *
 * The scores stand in the model's own GGUF, in X.confidence.gguf beside a generator X.gguf (written by `calibrate`), or in
 * scores.gguf beside it (written by `eval --card`):
 *
 *     nanogrid.SET.confidence   F32 array: the calibrated confidence of the answer given
 *     nanogrid.SET.correct      U8 array of the same length: 1 where that answer was right
 *     nanogrid.SET.kind         U8 array of the same length, may be missing: which kind of question it was (of what a generator is asked)
 *
 * for the sets `calibration` (texts that no weight, temperature or out-of-scope threshold was fitted
 * on; thresholds of contracts are), `test` (nothing was fitted on them) and `test_oos` (texts of no
 * label).  A NaN confidence counts as a text that is never answered. */
#ifndef NG_ROUTE_SCORES_H
#define NG_ROUTE_SCORES_H

#include <nanogrid/status.h>

typedef struct ng_scores {
    float *confidence; /* [n] */
    uint8_t *correct;  /* [n] */
    uint8_t *kind;     /* [n] or NULL */
    size_t n;
} ng_scores;

/* NG_ENOTFOUND: neither file holds the set.  *out is ended with ng_scores_clear either way. */
ng_status ng_scores_read(ng_scores *out, const char *model_path, const char *set,
                         ng_error *err) NG_MUST_USE;
void ng_scores_clear(ng_scores *s);

/* What answering exactly when confidence >= threshold does on a set. */
typedef struct ng_risk {
    size_t n_texts, n, wrong;        /* n: answered */
    double risk, lower95, upper95;   /* of the answers; NaN, 0 and 1 without answers */
    double coverage;                 /* n / n_texts; NaN without texts */
} ng_risk;
ng_risk ng_risk_at(const ng_scores *s, double threshold);
ng_risk ng_risk_of(size_t n_texts, size_t n, size_t wrong);

/* One-sided Clopper-Pearson bounds: the greatest (least) error rate under which seeing as few (many)
 * as `wrong` of n has a probability of at least `doubt`. */
double ng_binomial_upper(size_t n, size_t wrong, double doubt);
double ng_binomial_lower(size_t n, size_t wrong, double doubt);
/* P(X <= wrong) for X ~ Bin(n, p), 0 < p < 1. */
double ng_binomial_tail(size_t n, size_t wrong, double p);

#endif
