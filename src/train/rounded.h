/* rounded.h: weights as a file of a type will have them, while training goes on with the exact ones.
 *
 *     ng_rounded r;
 *     ng_rounded_new(&r, encoder, "Q4_0", &nn, &err);
 *     ng_rounded_put(&r);         the encoder's matrices are rounded
 *     ..forward, backward..
 *     ng_rounded_restore(&r);     exact again; the gradients are applied to these
 *     ng_rounded_clear(&r);
 *
 * Quantisation-aware training with the straight-through estimator (Bengio et al. 2013; Jacob et al. 2017): the gradient of a rounded
 * weight is taken for that of the exact one.  What is rounded, and how, is what ng_quantize_file does without an importance matrix. */
#ifndef NG_TRAIN_ROUNDED_H
#define NG_TRAIN_ROUNDED_H

#include "gguf/gguf.h"
#include "train/encoder.h"

typedef struct ng_rounded {
    ng_encoder *encoder;
    const ng_nn *nn;
    ng_type type;
    float *exact;   /* [n_total] */
    void *rows;     /* a row of blocks for each thread */
    size_t row_bytes;
} ng_rounded;

ng_status ng_rounded_new(ng_rounded *out, ng_encoder *e, const char *type, const ng_nn *nn, ng_error *err) NG_MUST_USE;
void ng_rounded_put(ng_rounded *r);
void ng_rounded_restore(ng_rounded *r);
void ng_rounded_clear(ng_rounded *r); /* accepts a zeroed one */

#endif
