/* checkpoint.h: a training run on disk, whole or absent.
 *
 *     ng_checkpoint c = {.digest = d, .step = 1200, .best_epoch = 2, .best_score = 0.91, .n = n_total,
 *                        .weights = w, .moments = m, .best = best};
 *     ng_checkpoint_write(&c, path, &err);              temp file, fsync, rename
 *     if (ng_checkpoint_read(&c, path, &err)) ..        into the same arrays
 *
 * The digest is of everything that decides the run (recipe, seed, data, base): a checkpoint of another
 * run is NG_EINVALID.  What the kernel means to the bytes is the caller's to judge.  The file is GGUF (architecture "nanogrid-checkpoint"). */
#ifndef NG_TRAIN_CHECKPOINT_H
#define NG_TRAIN_CHECKPOINT_H

#include <nanogrid/status.h>

typedef struct ng_checkpoint {
    uint64_t digest;
    uint64_t step;       /* steps done */
    int64_t best_epoch;  /* -1: none yet */
    double best_score, loss; /* the loss is the running mean of the epoch */
    size_t n;            /* weights */
    float *weights, *moments, *best; /* [n], [2 n], [n] or NULL */
    double *curve;       /* [n_curve] losses of all steps so far; room for n_curve_max */
    size_t n_curve, n_curve_max;
    char kernel[128];    /* what computed the steps, on which their bytes depend; "": the file does not say */
} ng_checkpoint;

ng_status ng_checkpoint_write(const ng_checkpoint *c, const char *path, ng_error *err) NG_MUST_USE;
/* digest, n and the arrays are given; the rest is filled. */
ng_status ng_checkpoint_read(ng_checkpoint *c, const char *path, ng_error *err) NG_MUST_USE;

#endif
