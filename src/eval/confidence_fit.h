/* confidence_fit.h: fits the network that judges generations (decode/confidence.h) to trials.
 *
 *     ng_confidence_training o = {.n_hidden = 32, .epochs = 20, .rate = 1e-3, .dropout = 0.3, .decay = 0.01, .batch = 64, .seed = 1};
 *     ng_confidence_fit(&c, &trials, rows, n_rows, &o, arena, &err);       c has taps and widths; it gets weights
 *     ng_confidence_platt(&c, &trials, other_rows, n);                     on rows that it was not fitted to
 *     ng_confidence_kinds(&c, &trials, rows, n_rows, arena, &err);         where the kinds of prompts (the trials' tasks) lie
 *     ng_confidence_radii(&c, &trials, other_rows, n, arena, &err);        and how far they reach
 *
 * One thread, sums in a fixed order: same trials and seed, same bytes. */
#ifndef NG_EVAL_CONFIDENCE_FIT_H
#define NG_EVAL_CONFIDENCE_FIT_H

#include "core/arena.h"
#include "trials.h"

typedef struct ng_confidence_training {
    int64_t n_hidden, epochs, batch, seed;
    double rate, dropout, decay;
} ng_confidence_training;

/* rows: indices into the trials. */
ng_status ng_confidence_fit(ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n,
                            const ng_confidence_training *o, ng_arena *arena, ng_error *err) NG_MUST_USE;
ng_status ng_confidence_platt(ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n,
                              ng_error *err) NG_MUST_USE;
ng_status ng_confidence_kinds(ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n, ng_arena *arena,
                              ng_error *err) NG_MUST_USE;
/* Each kind's radius holds all of its rows, and somewhat more where they are few. */
ng_status ng_confidence_radii(ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n, ng_arena *arena,
                              ng_error *err) NG_MUST_USE;
/* The confidence of each of n rows; NULL when memory is out.  The caller's. */
float *ng_confidence_apply(const ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n) NG_MUST_USE;

#endif
