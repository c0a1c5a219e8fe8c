/* trials.h: prompts with known answers, what a generator said to them, and whether that was right.
 *
 *     ng_trials t;
 *     ng_trials_run(&t, model, &confidence, "test.jsonl", &options, &err);   greedy, through the scheduler
 *     for (size_t i = 0; i < t.n; i++) use(t.features + i * t.n_features, t.correct[i], t.task[i]);
 *     ng_trials_write(&t, "test.trials.gguf", &err);                          and ng_trials_read
 *     ng_trials_clear(&t);
 *
 * A line of the file is {"task", "prompt", "max_tokens", "match", "answers"} and, for match label, "labels":
 *
 *     label      the first of `labels` that the answer names (as a word, whatever its case) is the gold one
 *     number     the last number of the answer is the gold one, as a number
 *     contains   one of `answers` stands in the answer as whole words, whatever their case */
#ifndef NG_EVAL_TRIALS_H
#define NG_EVAL_TRIALS_H

#include "decode/confidence.h"

enum { NG_TRIAL_TASKS_MAX = 32 };

typedef struct ng_trials {
    size_t n, n_features;
    float *features;                 /* [n, n_features] as ng_evidence_features gives them */
    uint8_t *correct, *task;         /* [n]; task: index into names */
    char names[NG_TRIAL_TASKS_MAX][32];
    size_t n_names;
} ng_trials;

/* The index of a task's name, added where it is new; NG_TRIAL_TASKS_MAX: there is no room, or it is too long. */
size_t ng_trials_task(ng_trials *t, const char *name);

typedef struct ng_trials_options {
    int n_threads;                   /* of the model (0: by measurement) */
    const char *keep;                /* "DIR/MODEL": each 512 lines go to DIR/MODEL-HASH.trials.gguf when they are said, and
                                        are taken from there the next time; NULL: nothing is kept */
    void (*on_step)(void *ctx, size_t done, size_t total); /* under a lock; or NULL */
    void *ctx;
} ng_trials_options;

/* of: taps and width, no weights needed.  NG_EFORMAT names the line. */
ng_status ng_trials_run(ng_trials *out, const ng_model *m, const ng_confidence *of, const char *path,
                        const ng_trials_options *opt, ng_error *err) NG_MUST_USE;
ng_status ng_trials_write(const ng_trials *t, const char *path, ng_error *err) NG_MUST_USE;
/* n_features must be what the file has: NG_EINVALID. */
ng_status ng_trials_read(ng_trials *out, const char *path, size_t n_features, ng_error *err) NG_MUST_USE;
void ng_trials_clear(ng_trials *t);

/* Whether `said` is right. */
typedef enum ng_trial_match { NG_MATCH_LABEL, NG_MATCH_NUMBER, NG_MATCH_CONTAINS } ng_trial_match;
bool ng_trial_is_right(ng_trial_match match, const char *said, const char *const *answers, size_t n_answers,
                       const char *const *labels, size_t n_labels);

#endif
