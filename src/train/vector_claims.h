/* vector_claims.h: learns an expert's second claim: here or elsewhere, over an encoder's vectors of the recipe's texts.
 *
 *     ng_claim_job j = {.recipe = &r, .labels = &l, .train = &train, .tune = &tune, .linear_path = "home/route.gguf"};
 *     ng_claim_found f;
 *     ng_claim_job_check(&j, &err);                     before hours are spent
 *     ng_vector_claim_learn(&f, &j, &err);              writes home/route.vector.gguf (model/vector_claim.h)
 *
 * `vectors: {encoder: nanogrid/encoder-en, texts: 3000}` in the recipe asks for it: which encoder (a package or a .gguf, relative to
 * the recipe), and how many of the training texts of `elsewhere`, and of those of dev, are read: those with the least text hash.  The same recipe, data and
 * encoder give the same bytes.
 *
 * Where fewer than ten dev texts of `here` are none of the training texts, the linear claim cannot be judged and counts for nothing,
 * and at most one in two hundred of the dev texts of `elsewhere` is claimed: twenty texts, given as train and as dev, make an expert
 * that finds its own and leaves the others theirs. */
#ifndef NG_TRAIN_VECTOR_CLAIMS_H
#define NG_TRAIN_VECTOR_CLAIMS_H

#include "train/data.h"

typedef struct ng_claim_job {
    const ng_recipe *recipe;
    const ng_labels *labels;       /* `here` and `elsewhere` */
    const ng_dataset *train, *tune;
    const char *linear_path;       /* of the linear claim */
    int n_threads;                 /* 0: chosen by measurement */
} ng_claim_job;

typedef struct ng_claim_found {
    char path[1024];
    size_t n_texts;                   /* read for training */
    double accuracy, linear_accuracy; /* on the tuning half of dev, both labels counting alike: with the vectors (of training texts: left out), without */
} ng_claim_found;

/* NG_EINVALID for a recipe that learns something else, or has no dev texts. */
ng_status ng_claim_job_check(const ng_claim_job *j, ng_error *err) NG_MUST_USE;
ng_status ng_vector_claim_learn(ng_claim_found *out, const ng_claim_job *j, ng_error *err) NG_MUST_USE;

#endif
