/* head_eval.h: what evaluations of an encoder's heads share: the recipe, its test texts, times, where figures go.
 *
 *     static ng_status body(ng_head_eval *e) {
 *         ng_status s = ng_head_eval_read(e);                  e->test, in the head's labels
 *         for (size_t i = 0; !s && i < e->test.len; i++) {
 *             uint64_t start = ng_clock_ns();
 *             ..
 *             if (!s) s = ng_head_eval_time(e, start);
 *         }
 *         ng_head_eval_put(e, "f1", f1);
 *         ng_head_eval_put_speed(e);
 *         return s;
 *     }
 *     return ng_head_eval_run(out, path, subject, NG_RECIPE_EXTRACT, body, err);
 *
 * One thread.  e->arena ends with the evaluation, as does what it has read. */
#ifndef NG_EVAL_HEAD_EVAL_H
#define NG_EVAL_HEAD_EVAL_H

#include "eval_ops.h"
#include "model/encoder_heads.h"
#include "train/data.h"

typedef struct ng_encoder_subject {
    const ng_model *model;
    ng_session *session;
    const ng_encoder_head *head;
    size_t n_most; /* tokens of a text that one forward reads */
} ng_encoder_subject;

typedef struct ng_head_eval {
    ng_eval_result *out;
    ng_error *err; /* never NULL */
    ng_arena *arena;
    const ng_encoder_subject *s;
    ng_recipe recipe;
    ng_labels labels;  /* the head's; no arena of its own */
    ng_dataset test;
    double *ms;        /* [n_ms] of what was timed */
    size_t n_ms, cap_ms;
    ng_energy_meter meter; /* since the texts were read */
} ng_head_eval;

/* Reads the recipe, which must be of the task and have test sources (NG_EINVALID), and runs body. */
ng_status ng_head_eval_run(ng_eval_result *out, const char *path, const ng_encoder_subject *subject,
                           ng_recipe_task task, ng_status (*body)(ng_head_eval *e), ng_error *err) NG_MUST_USE;
/* Reads the test sources, and starts the meter. */
ng_status ng_head_eval_read(ng_head_eval *e) NG_MUST_USE;
/* Notes what has passed since `start_ns` (core/clock.h). */
ng_status ng_head_eval_time(ng_head_eval *e, uint64_t start_ns) NG_MUST_USE;
void ng_head_eval_put(const ng_head_eval *e, const char *name, double value);
/* Latency from what was timed, which is sorted for it, and energy. */
void ng_head_eval_put_speed(const ng_head_eval *e);
ng_status ng_head_eval_no_memory(const ng_head_eval *e);

#endif
