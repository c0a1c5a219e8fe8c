/* encoder_export.h: a trained encoder and its heads into a file that the engine runs.
 *
 *     ng_encoder_export_write(&base, &tasks, path, &err);       BERT GGUF of recipe.weights, heads beside it
 *     ng_encoder_export_calibrate(&tasks, path, threads, &scores, &err);    fitted on the file as written
 *
 * The second opens the file with the engine, takes the logits of the tuning half of each head's dev set,
 * fits temperature, scope score and its threshold (softmax) or Platt scales (sigmoids), and writes the file
 * again with them: what is calibrated is what is shipped, rounding included.  Head format:
 * model/encoder_heads.h. */
#ifndef NG_TRAIN_ENCODER_EXPORT_H
#define NG_TRAIN_ENCODER_EXPORT_H

#include "train/encoder_base.h"
#include "train/encoder_task.h"

ng_status ng_encoder_export_write(const ng_encoder_base *b, const ng_encoder_tasks *t, const char *path,
                                  ng_error *err) NG_MUST_USE;
/* The same as F32, whatever the recipe says. */
ng_status ng_encoder_export_exact(const ng_encoder_base *b, const ng_encoder_tasks *t, const char *path,
                                  ng_error *err) NG_MUST_USE;
/* Keys and tensors of the heads alone; they refer to the tasks and to arena until the commit. */
ng_status ng_encoder_export_heads(const ng_encoder_tasks *t, ng_gguf_writer *w, ng_arena *arena,
                                  ng_error *err) NG_MUST_USE;
/* scores[t->len]: accuracy of the file's heads on those texts; NaN without any. */
/* A second time on the same file: replaces what the first fitted. */
ng_status ng_encoder_export_calibrate(const ng_encoder_tasks *t, const char *path, int n_threads, double *scores,
                                      ng_error *err) NG_MUST_USE;

#endif
