/* perplexity.h: how well a model predicts a text, and how far two models are apart on it.
 *
 *     ng_perplexity p;
 *     ng_perplexity_options o = {.session = session, .ids = ids, .n = n};
 *     ng_perplexity_measure(&p, &o, &err);
 *     printf("%.4f\n", p.ppl);
 *
 * The text is cut into windows of the session's context length without overlap; each starts anew, and
 * -log p counts from its second token. */
#ifndef NANOGRID_PERPLEXITY_H
#define NANOGRID_PERPLEXITY_H

#include <nanogrid/model.h>

typedef struct ng_perplexity {
    double ppl;        /* e^(mean of -log p) */
    double kld_mean;   /* mean KL(base || model) in nats; NaN without a base */
    double top1_agree; /* share of positions where both have the same best token; NaN without a base */
    size_t n_scored, n_windows;
} ng_perplexity;

/* Called now and then with how many of the tokens are done. */
typedef void ng_perplexity_fn(void *ctx, size_t done, size_t total);

typedef struct ng_perplexity_options {
    ng_session *session;
    ng_session *base; /* or NULL: a model of the same vocabulary, with the same context length */
    const int32_t *ids;
    size_t n; /* at least 2 */
    ng_perplexity_fn *progress; /* or NULL */
    void *ctx;
} ng_perplexity_options;

/* Both sessions are emptied. */
NG_API ng_status ng_perplexity_measure(ng_perplexity *out, const ng_perplexity_options *opt,
                                       ng_error *err) NG_MUST_USE;

#endif
