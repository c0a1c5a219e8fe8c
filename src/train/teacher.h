/* teacher.h: what other models say to a head's texts: soft labels to learn from, scores to be compared with.
 *
 *     ng_teacher t;
 *     ng_teacher_open(&t, "first.gguf", n_threads, &err);          an encoder with heads, run by the engine
 *     ng_teacher_score(&t, &task, NULL, &score, &ms, &err);         of its head of that name on the held half of dev
 *     ng_teacher_close(&t);
 *     float *soft;
 *     ng_soft_labels(&soft, &tasks, k, &err);                       the mean of all teachers of head k
 *
 * A teacher is a GGUF file (its head has the same labels, in any order) or a .jsonl file of recorded outputs: a line
 * a text, {"text": "..", "scores": {"label": probability, ..}}, as any upstream or `predict --json` gave them; labels
 * that a line does not have count as 0.  Texts that a recording lacks have no soft label from it. */
#ifndef NG_TRAIN_TEACHER_H
#define NG_TRAIN_TEACHER_H

#include "model/encoder_heads.h"
#include "train/encoder_task.h"

typedef struct ng_teacher {
    ng_model *model;
    ng_session *session;
    ng_encoder_heads heads;
    float *hidden; /* [n_ctx, width] */
} ng_teacher;

ng_status ng_teacher_open(ng_teacher *out, const char *path, int n_threads, ng_error *err) NG_MUST_USE;
void ng_teacher_close(ng_teacher *t); /* accepts a zeroed one */
/* Accuracy (moderate: of the known labels), F1 of spans or Spearman's correlation on the head's held texts; NaN without
 * any.  *ms: processor time of this thread for a text, in the mean: all that it takes where the teacher has one thread.
 * `head` NULL: the task's own name. */
ng_status ng_teacher_score(ng_teacher *t, const ng_encoder_task *k, const char *head, double *score, double *ms,
                           ng_error *err) NG_MUST_USE;

/* Probabilities at the recipe's temperature for each row of the head's training texts (texts; extract: words), NaN where no
 * teacher has any: *out is [rows, n_labels], ends with free(); NULL when the head has no teachers. */
ng_status ng_soft_labels(float **out, const ng_encoder_tasks *t, size_t k, int n_threads, ng_error *err) NG_MUST_USE;

#endif
