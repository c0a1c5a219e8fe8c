/* prune.h: a smaller encoder out of a trained one: fewer inner values, fewer heads, fewer layers.
 *
 *     ng_encoder *student;
 *     ng_prune_plan p;
 *     ng_prune_plan_new(&p, whole, &tasks, &recipe.prune, &nn, &err);      scores from the training texts
 *     ng_encoder_new(&student, &p.shape, n_extra, &err);
 *     ng_prune_copy(&p, whole, student);
 *     ng_prune_plan_clear(&p);
 *
 * Inner value j of a layer scores |activations_j| * |column j of ffn_down| (Wanda's product, a column at a time; Sun et al. 2023); of each
 * layer the same number stays, a multiple of 32.  What goes is replaced by its mean, added to ffn_down's bias.  A head
 * scores the same with its values and its columns of attn_output, added up over them (Michel et al. 2019 show how few heads matter); of each layer the same number
 * goes.  A layer scores by how much
 * its output turns away from its input; the least go, never the last but one left. */
#ifndef NG_TRAIN_PRUNE_H
#define NG_TRAIN_PRUNE_H

#include "train/encoder_task.h"

typedef struct ng_prune_plan {
    ng_encoder_shape shape; /* of the student */
    uint32_t *layers;       /* [shape.n_layer] of the whole */
    uint32_t *inner;        /* [whole's layers, shape.n_ff] that stay */
    uint32_t *heads;        /* [whole's layers, shape.n_head] that stay */
    float *mean;            /* [whole's layers, whole's n_ff] */
    float *head_mean;       /* [whole's layers, whole's attention width] */
} ng_prune_plan;

ng_status ng_prune_plan_new(ng_prune_plan *out, ng_encoder *whole, const ng_encoder_tasks *t, const ng_prune_recipe *r,
                            ng_nn *nn, ng_error *err) NG_MUST_USE;
void ng_prune_copy(const ng_prune_plan *p, ng_encoder *whole, ng_encoder *student);
void ng_prune_plan_clear(ng_prune_plan *p); /* accepts a zeroed one */

#endif
