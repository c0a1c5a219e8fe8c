/* eval_linear.c: evaluates linear models: classify, detect-language, moderate.  Figures: eval_labels.h. */
#include "eval_labels.h"

#include "model/linear.h"
#include "train/recipe.h"
#include <stdio.h>
#include <string.h>

typedef struct opened {
    ng_linear *model;
    ng_linear_scratch *scratch;
} opened;

static bool serves(const char *task) {
    return !strcmp(task, "classify") || !strcmp(task, "moderate") || !strcmp(task, "detect-language");
}

static ng_status apply(void *self, const ng_text_pair *text, float *p, ng_error *err) {
    const opened *o = self;
    return ng_linear_apply(o->model, o->scratch, text->a, text->a_len, p, err);
}

static ng_status make_subject(ng_subject *s, opened *o, ng_arena *arena, ng_error *err) {
    size_t n = ng_linear_n_labels(o->model);
    const char **labels = ng_arena_array(arena, n, sizeof *labels);
    float *threshold = ng_arena_array(arena, n, sizeof *threshold);
    if (!labels || !threshold) return ng_fail(err, NG_ENOMEM, "eval: out of memory");
    for (size_t i = 0; i < n; i++)
        labels[i] = ng_linear_label(o->model, i), threshold[i] = ng_linear_threshold(o->model, i);
    *s = (ng_subject){.task = ng_linear_task(o->model), .n_labels = n, .labels = labels, .each = ng_linear_multi_label(o->model),
                      .calibrated = ng_linear_calibrated(o->model), .oos_threshold = ng_linear_oos_threshold(o->model),
                      .threshold = threshold, .file_bytes = ng_linear_file_bytes(o->model), .timed = 4000, .apply = apply, .self = o};
    return NG_OK;
}

static ng_status run_in(ng_eval_result *out, const char *recipe_path, const ng_eval_options *opt, opened *o,
                        ng_arena *arena, ng_error *err) {
    ng_recipe r;
    ng_subject subject;
    ng_status s = ng_recipe_read(&r, recipe_path, arena, err);
    if (s) return s;
    const char *path = ng_recipe_path(&r, opt->model_dir, "model", arena);
    ng_label_files files = {ng_recipe_path(&r, opt->model_dir, "card", arena),
                            ng_recipe_path(&r, opt->model_dir, "scores", arena)};
    if (!path || !files.card || !files.scores) return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    snprintf(out->model_path, sizeof out->model_path, "%s", path);
    if ((s = ng_linear_open(&o->model, path, err)) || (s = ng_linear_scratch_new(&o->scratch, o->model, err)) ||
        (s = make_subject(&subject, o, arena, err)))
        return s;
    if (opt->noise) (void)ng_noise_parse(&subject.noise, opt->noise); /* checked by ng_eval */
    return ng_eval_labels(out, recipe_path, &subject, opt->card ? &files : NULL, err);
}

static ng_status run(ng_eval_result *out, const char *recipe_path, const ng_eval_options *opt, ng_error *err) {
    ng_arena *arena;
    opened o = {0};
    if (ng_arena_new(&arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    ng_status s = run_in(out, recipe_path, opt, &o, arena, err);
    ng_linear_scratch_free(o.scratch);
    ng_linear_close(o.model);
    ng_arena_free(arena);
    return s;
}

const ng_eval_ops ng_eval_linear = {serves, run};
