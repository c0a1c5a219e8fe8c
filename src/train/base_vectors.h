/* base_vectors.h: what the base of a student says of its training texts: one vector each, which the student is to keep.
 *
 *     ng_base_vectors(&tasks, &base, &nn, &err);       tasks.items[k].vectors, for all heads that want them
 *     loss = ng_encoder_tasks_train(&tasks, ..);       each text's mean output is drawn to its vector
 *
 * The base reads every text once, with all its layers and all its words, before training: a vector is the mean of its last layer,
 * brought to length 1, as `embed` gives it (Reimers and Gurevych 2020 distil sentence vectors so).  They take width * 4 bytes a text. */
#ifndef NG_TRAIN_BASE_VECTORS_H
#define NG_TRAIN_BASE_VECTORS_H

#include "train/encoder_base.h"
#include "train/encoder_task.h"

/* The tasks are tokenized.  NG_EUNSUPPORTED: the base is wider than NG_VECTOR_MAX. */
ng_status ng_base_vectors(ng_encoder_tasks *t, const ng_encoder_base *base, ng_nn *nn, ng_error *err) NG_MUST_USE;

#endif
