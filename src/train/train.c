/* train.c: the order of work from a recipe to a model.  See nanogrid/tools/train.h.
 *
 *   1. read     labels, training, dev and test texts; count (or drop) what stands in test too
 *   2. select   when there are more features than rows: a few passes over all of them, then the rows
 *               with the greatest weights stay (the sum of squares over labels, times how often the
 *               feature is seen)
 *   3. fit      the passes that count; with patience, the weights of the best pass on dev are kept
 *   4. round    to 8 or 4 bits, written
 *   5. calibrate on the logits of the rounded model over the tuning half of dev, written again
 *   6. routing weights: a second claim over an encoder's vectors, where the recipe asks for one
 *
 * Test texts are only compared with, never learned from. */
#include <nanogrid/tools/train.h>

#include "core/clock.h"
#include "core/math.h"
#include "core/file.h"
#include "model/linear.h"
#include "train/calibrate.h"
#include "train/encoder_recipe.h"
#include "train/export.h"
#include "train/finder_data.h"
#include "train/near.h"
#include "train/summary_data.h"
#include "train/train_encoder.h"
#include "train/train_shortener.h"
#include "train/train_spelling.h"
#include "train/vector_claims.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SELECT_BYTES_MAX = 1 << 30 }; /* of weights while selecting */

typedef struct trainer {
    const ng_train_options *opt;
    ng_train_result *result;
    ng_error *err;
    ng_arena *arena;
    ng_recipe recipe;
    ng_labels labels;
    ng_dataset train, tune, oos; /* tune: the half of dev that things are fitted on */
    ng_feature_config features;
    ng_counts counts, tune_counts;
    ng_rows rows;
    ng_fit fit;
    float *best;                 /* [n_rows * n_labels + n_labels]: the best pass's weights */
    double best_accuracy;
    ng_rng rng;
    int64_t step, n_steps;
    bool multi_label;
} trainer;

static ng_status no_memory(trainer *t) { return ng_fail(t->err, NG_ENOMEM, "%s: out of memory", t->recipe.path); }

/* ---- 1. data ------------------------------------------------------------------------------------ */

static void keep_tuning_half(ng_dataset *d) {
    size_t n = 0;
    for (size_t i = 0; i < d->len; i++)
        if (ng_text_tunes(d->items[i].hash)) d->items[n++] = d->items[i];
    d->len = n;
}

static ng_status check_labels(trainer *t) {
    for (size_t c = 0; c < t->labels.len; c++) {
        bool holds = false, fails = !t->multi_label;
        for (size_t i = 0; i < t->train.len && !(holds && fails); i++) {
            const ng_sample *s = &t->train.items[i];
            bool here = t->multi_label ? s->holds >> c & 1 : s->label == (int32_t)c;
            holds |= here;
            fails |= t->multi_label && (s->known >> c & 1) && !here;
        }
        if (!holds || !fails)
            return ng_fail(t->err, NG_EFORMAT, "%s: label '%s' has no training text%s", t->recipe.path,
                           t->labels.names[c], holds ? " for which it does not hold" : "");
    }
    if (t->labels.len < 2 && !t->multi_label)
        return ng_fail(t->err, NG_EFORMAT, "%s: one label alone ('%s') leaves nothing to decide", t->recipe.path,
                       t->labels.names[0]);
    return NG_OK;
}

static ng_status read_data(trainer *t) {
    const ng_recipe *r = &t->recipe;
    ng_dataset test = {0};
    ng_status s;
    if ((s = ng_labels_read(&t->labels, r, t->err)) ||
        (s = ng_dataset_read(&t->train, &r->data.train, &t->labels, r, t->err)) ||
        (s = ng_dataset_read(&t->tune, &r->data.dev, &t->labels, r, t->err)) ||
        (s = ng_dataset_read(&t->oos, &r->data.oos_dev, NULL, r, t->err)) ||
        (s = ng_dataset_read(&test, &r->data.test, &t->labels, r, t->err)))
        return s;
    if (!(s = ng_dataset_separate(&t->train, &test, r, &t->result->n_duplicates, t->err)))
        s = ng_dataset_separate(&t->tune, &test, r, &t->result->n_duplicates, t->err);
    if (!s) s = ng_dataset_thin(&t->train, r, &t->result->n_repeated, t->err);
    ng_dataset_clear(&test);
    if (s) return s;
    t->result->n_dev = t->tune.len;
    keep_tuning_half(&t->tune);
    t->result->n_train = t->train.len;
    t->result->n_labels = t->labels.len;
    t->result->duplicates_dropped = r->duplicates == NG_DUPLICATES_DROP;
    return check_labels(t);
}

/* ---- 2. and 3. fitting -------------------------------------------------------------------------- */

static ng_status one_pass(trainer *t, const ng_vectors *v, const ng_vectors *tune, const char *phase, double rate) {
    ng_recipe_training *c = &t->recipe.training;
    ng_fit_config config = {t->multi_label, c->l2, c->dropout, c->smoothing};
    double loss = ng_fit_epoch(&t->fit, v, &t->train, &config, rate, &t->rng);
    if (loss < 0) return no_memory(t);
    if (!isfinite(loss))
        return ng_fail(t->err, NG_EFORMAT, "%s: training diverged (the loss is not a number); lower training.rate",
                       t->recipe.path);
    t->result->loss = loss;
    ng_train_step step = {.phase = phase, .step = ++t->step, .n_steps = t->n_steps, .loss = loss, .dev_accuracy = NAN};
    if (tune && tune->n) step.dev_accuracy = ng_fit_accuracy(&t->fit, tune, &t->tune, t->multi_label);
    t->result->dev_accuracy = step.dev_accuracy;
    if (t->opt->on_step && !t->opt->on_step(t->opt->ctx, &step))
        return ng_fail(t->err, NG_ECANCELLED, "%s: training was stopped", t->recipe.path);
    return NG_OK;
}

static ng_status select_rows(trainer *t) {
    ng_recipe_training *c = &t->recipe.training;
    size_t n_labels = t->labels.len, max = SELECT_BYTES_MAX / sizeof(float) / n_labels;
    ng_status s = ng_rows_new(&t->rows, &t->counts, &t->recipe.features, max, t->err);
    if (s || (s = ng_fit_new(&t->fit, t->rows.n, n_labels, t->err))) return s;
    ng_fit_balance(&t->fit, &t->train, t->multi_label, c->balance);
    bool select = t->rows.n > (size_t)t->recipe.features.rows;
    t->n_steps = c->epochs + (select ? c->prune_epochs : 0);
    if (!select) return NG_OK;
    ng_vectors v = {0};
    s = ng_vectors_new(&v, &t->counts, &t->rows, t->err);
    for (int64_t e = 0; !s && e < c->prune_epochs; e++) s = one_pass(t, &v, NULL, "select", c->rate);
    ng_vectors_clear(&v);
    if (s) return s;
    float *scores = malloc(t->rows.n * sizeof *scores);
    int32_t *moved = malloc(t->rows.n * sizeof *moved);
    for (size_t i = 0; scores && i < t->rows.n; i++) {
        double sum = 0;
        const float *w = t->fit.weight + i * n_labels;
        for (size_t k = 0; k < n_labels; k++) sum += (double)w[k] * (double)w[k];
        scores[i] = (float)(sum * (double)t->counts.df[t->rows.bucket[i]]);
    }
    if (!scores || !moved) s = no_memory(t);
    else s = ng_rows_keep(&t->rows, scores, (size_t)t->recipe.features.rows, moved, t->err);
    if (!s) ng_fit_keep(&t->fit, moved, t->rows.n);
    free(scores);
    free(moved);
    return s;
}

static void keep_best(trainer *t, int64_t epoch, int64_t *best_epoch) {
    size_t n = t->fit.n_rows * t->fit.n_labels;
    if (!t->best || !(t->result->dev_accuracy > t->best_accuracy)) return;
    t->best_accuracy = t->result->dev_accuracy;
    *best_epoch = epoch;
    memcpy(t->best, t->fit.weight, n * sizeof *t->best);
    memcpy(t->best + n, t->fit.bias, t->fit.n_labels * sizeof *t->best);
}

static ng_status fit(trainer *t) {
    ng_recipe_training *c = &t->recipe.training;
    ng_vectors v = {0}, tune = {0};
    size_t n = t->fit.n_rows * t->fit.n_labels;
    int64_t best_epoch = 0;
    ng_status s = ng_vectors_new(&v, &t->counts, &t->rows, t->err);
    if (!s) s = ng_vectors_new(&tune, &t->tune_counts, &t->rows, t->err);
    if (!s && c->patience && tune.n && !(t->best = malloc((n + t->fit.n_labels) * sizeof *t->best))) s = no_memory(t);
    t->best_accuracy = -1;
    for (int64_t e = 0; !s && e < c->epochs && !(t->best && e - best_epoch > c->patience); e++) {
        s = one_pass(t, &v, &tune, "fit", c->rate * (1 - (double)e / (double)c->epochs));
        if (!s) keep_best(t, e, &best_epoch);
    }
    if (!s && t->best) {
        memcpy(t->fit.weight, t->best, n * sizeof *t->best);
        memcpy(t->fit.bias, t->best + n, t->fit.n_labels * sizeof *t->best);
    }
    ng_vectors_clear(&v);
    ng_vectors_clear(&tune);
    return s;
}

/* ---- 4. and 5. the file ------------------------------------------------------------------------- */

/* logits[d->len, n_labels] of the model as it was written. */
static ng_status model_logits(trainer *t, const ng_linear *m, const ng_dataset *d, float *logits) {
    ng_linear_scratch *scratch;
    ng_status s = ng_linear_scratch_new(&scratch, m, t->err);
    for (size_t i = 0; !s && i < d->len; i++)
        s = ng_linear_logits(m, scratch, d->items[i].text, d->items[i].len, logits + i * t->labels.len, t->err);
    ng_linear_scratch_free(scratch);
    return s;
}

static float softmax_top(float *z, size_t n, double temperature) {
    float top = 0;
    ng_softmax(z, z, n, 1 / (float)temperature);
    for (size_t i = 0; i < n; i++) top = z[i] > top ? z[i] : top;
    return top;
}

static void calibrate_softmax(trainer *t, float *z, float *oos, ng_calibration *c) {
    size_t n = t->labels.len, right = 0;
    float *top = z; /* the confidences overwrite the logits behind the reader */
    int32_t *labels = malloc((t->tune.len + 1) * sizeof *labels);
    if (!labels) {
        (void)no_memory(t);
        return;
    }
    for (size_t i = 0; i < t->tune.len; i++) {
        size_t best = 0;
        labels[i] = t->tune.items[i].label;
        for (size_t k = 1; k < n; k++)
            if (z[i * n + k] > z[i * n + best]) best = k;
        right += best == (size_t)labels[i];
    }
    t->result->dev_accuracy = (double)right / (double)t->tune.len;
    c->temperature = (double)(float)ng_temperature_fit(z, labels, t->tune.len, n);
    free(labels);
    if (!t->oos.len) return;
    for (size_t i = 0; i < t->tune.len; i++) top[i] = softmax_top(z + i * n, n, c->temperature);
    for (size_t i = 0; i < t->oos.len; i++) oos[i] = softmax_top(oos + i * n, n, c->temperature);
    c->oos_threshold = ng_oos_threshold(top, t->tune.len, oos, t->oos.len, t->recipe.oos.in_scope);
}

/* platt[2, n_labels]: a label whose texts in dev are all alike keeps its logits as they are. */
static ng_status calibrate_sigmoid(trainer *t, const float *z, float *platt, ng_calibration *c) {
    size_t n = t->labels.len, right = 0, all = 0;
    float *column = malloc((t->tune.len + 1) * sizeof *column);
    bool *holds = malloc(t->tune.len + 1);
    for (size_t k = 0; column && holds && k < n; k++) {
        size_t m = 0, n_holds = 0;
        for (size_t i = 0; i < t->tune.len; i++) {
            if (!(t->tune.items[i].known >> k & 1)) continue;
            column[m] = z[i * n + k];
            holds[m] = t->tune.items[i].holds >> k & 1;
            n_holds += holds[m++];
        }
        ng_platt p = n_holds && n_holds < m ? ng_platt_fit(column, holds, m) : (ng_platt){1, 0};
        platt[k] = (float)p.scale;
        platt[n + k] = (float)p.shift;
        for (size_t i = 0; i < m; i++, all++) right += ((double)column[i] * p.scale + p.shift >= 0) == holds[i];
    }
    ng_status s = column && holds ? NG_OK : no_memory(t);
    free(column);
    free(holds);
    t->result->dev_accuracy = all ? (double)right / (double)all : NAN;
    c->platt_scale = platt;
    c->platt_shift = platt + n;
    return s;
}

static ng_status calibrate(trainer *t, const ng_linear *m, const ng_export *e) {
    size_t n = t->labels.len;
    ng_calibration c = {NAN, NAN, NULL, NULL, NULL};
    float *z = malloc((t->tune.len + 1) * n * sizeof *z), *oos = malloc((t->oos.len + 1) * n * sizeof *oos);
    float *platt = malloc(2 * n * sizeof *platt);
    ng_status s = z && oos && platt ? NG_OK : no_memory(t);
    if (!s) s = model_logits(t, m, &t->tune, z);
    if (!s) s = model_logits(t, m, &t->oos, oos);
    if (!s && t->multi_label) s = calibrate_sigmoid(t, z, platt, &c);
    if (!s && !t->multi_label) calibrate_softmax(t, z, oos, &c);
    if (!s && !t->multi_label && isnan(c.temperature)) s = NG_ENOMEM;
    if (!s) s = ng_export_write(e, &c, t->result->model_path, t->err);
    t->result->temperature = c.temperature;
    t->result->oos_threshold = c.oos_threshold;
    free(z);
    free(oos);
    free(platt);
    return s;
}

static ng_status make_folder(trainer *t) {
    char *path = ng_recipe_path(&t->recipe, t->opt->out_dir, "model", t->arena);
    if (!path) return no_memory(t);
    if (strlen(path) >= sizeof t->result->model_path)
        return ng_fail(t->err, NG_EINVALID, "%s: the path of the model is too long", t->recipe.path);
    strcpy(t->result->model_path, path);
    *strrchr(path, '/') = 0;
    return ng_dir_make(path, t->err);
}

static ng_status write_model(trainer *t) {
    ng_export e = {&t->recipe, &t->labels, t->features, &t->rows, &t->fit};
    ng_linear *m;
    ng_status s = make_folder(t);
    if (s || (s = ng_export_write(&e, NULL, t->result->model_path, t->err)) ||
        (s = ng_linear_open(&m, t->result->model_path, t->err)))
        return s;
    t->result->dev_accuracy = NAN;
    if (t->tune.len) s = calibrate(t, m, &e);
    t->result->n_rows = t->rows.n;
    ng_linear_close(m);
    ng_map file;
    if (s || (s = ng_map_open(&file, t->result->model_path, t->err))) return s;
    t->result->model_bytes = file.len;
    ng_map_close(&file);
    return NG_OK;
}

/* ---- 6. the second claim ------------------------------------------------------------------------ */

static ng_claim_job claim_job(const trainer *t) {
    return (ng_claim_job){&t->recipe, &t->labels, &t->train, &t->tune, t->result->model_path, t->opt->n_threads};
}

static ng_status learn_claim(trainer *t) {
    ng_claim_job job = claim_job(t);
    ng_claim_found found;
    ng_status s = ng_vector_claim_learn(&found, &job, t->err);
    if (s) return s;
    memcpy(t->result->vector_path, found.path, sizeof found.path);
    t->result->vector_accuracy = found.accuracy;
    t->result->vector_accuracy_before = found.linear_accuracy;
    return NG_OK;
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static ng_status no_second_claim(const char *path, ng_error *err) {
    return ng_fail(err, NG_EINVALID, "%s: it has no `vectors`, so there is no second claim to learn", path);
}

static ng_status run(trainer *t, const char *path) {
    ng_status s = ng_recipe_read(&t->recipe, path, t->arena, t->err);
    if (s) return s;
    if (t->opt->vectors_only && !t->recipe.vectors.encoder) return no_second_claim(path, t->err);
    if (t->recipe.task == NG_RECIPE_SPELLING)
        return ng_train_spelling(t->result, &t->recipe, t->opt->out_dir, t->arena, t->err);
    if (t->recipe.task == NG_RECIPE_COMPRESS)
        return ng_train_shortener(t->result, &t->recipe, t->opt, t->arena, t->err);
    if (t->recipe.task > NG_RECIPE_DETECT_LANGUAGE)
        return ng_fail(t->err, NG_EUNSUPPORTED,
                       "%s: the task %s is learned by a head of an encoder (task: encoder), not by a linear model",
                       path, ng_recipe_task_name(&t->recipe));
    const ng_recipe_features *f = &t->recipe.features;
    if (ng_recipe_joins(&t->recipe))
        return ng_fail(t->err, NG_EUNSUPPORTED,
                       "%s: pairs of texts (`second`) are learned by a head of an encoder (task: encoder), not by a "
                       "linear model",
                       path);
    t->multi_label = t->recipe.task == NG_RECIPE_MODERATE;
    t->rng = ng_rng_seed((uint64_t)(t->opt->seed >= 0 ? t->opt->seed : t->recipe.training.seed));
    t->features = (ng_feature_config){(uint32_t)f->bits, (uint32_t)f->words, f->char_max ? (uint32_t)f->char_min : 0,
                                      (uint32_t)f->char_max, f->lower, f->fold, f->cross};
    bool claims = t->recipe.vectors.encoder != NULL;
    if ((s = ng_feature_config_check(&t->features, path, t->err)) || (s = read_data(t)) ||
        (s = claims ? ng_claim_job_check(&(ng_claim_job){&t->recipe, &t->labels, &t->train, &t->tune, NULL, 0}, t->err) : NG_OK))
        return s;
    if (t->opt->vectors_only) return (s = make_folder(t)) ? s : learn_claim(t);
    if ((s = ng_counts_new(&t->counts, &t->train, &t->features, t->err)) ||
        (s = ng_counts_new(&t->tune_counts, &t->tune, &t->features, t->err)))
        return s;
    t->result->n_features = t->counts.n_used;
    if ((s = select_rows(t)) || (s = fit(t)) || (s = write_model(t))) return s;
    return claims ? learn_claim(t) : NG_OK;
}

ng_status ng_train(ng_train_result *out, const char *recipe_path, const ng_train_options *opt, ng_error *err) {
    static const ng_train_options defaults = {.seed = -1};
    if (opt && opt->vectors_only &&
        (ng_encoder_recipe_is(recipe_path) || ng_recipe_has_task(recipe_path, "answer") || ng_recipe_has_task(recipe_path, "summarize")))
        return no_second_claim(recipe_path, err);
    if (ng_encoder_recipe_is(recipe_path)) return ng_train_encoder(out, recipe_path, opt ? opt : &defaults, err);
    if (opt && opt->stage != NG_TRAIN)
        return ng_fail(err, NG_EINVALID,
                       "%s: only recipes of `task: encoder` are distilled and pruned; `nanogrid train` is for the "
                       "others",
                       recipe_path);
    if (ng_recipe_has_task(recipe_path, "answer")) return ng_train_finder(out, recipe_path, opt ? opt : &defaults, err);
    if (ng_recipe_has_task(recipe_path, "summarize"))
        return ng_train_extractive(out, recipe_path, opt ? opt : &defaults, err);
    ng_error local = {0};
    double start = ng_clock_ms();
    trainer t = {.opt = opt ? opt : &defaults, .result = out, .err = err ? err : &local};
    *out = (ng_train_result){.dev_accuracy = NAN, .temperature = NAN, .oos_threshold = NAN};
    if (ng_arena_new(&t.arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    ng_status s = run(&t, recipe_path);
    out->seconds = (ng_clock_ms() - start) / 1e3;
    free(t.best);
    ng_fit_clear(&t.fit);
    ng_rows_clear(&t.rows);
    ng_counts_clear(&t.counts);
    ng_counts_clear(&t.tune_counts);
    ng_dataset_clear(&t.train);
    ng_dataset_clear(&t.tune);
    ng_dataset_clear(&t.oos);
    ng_labels_clear(&t.labels);
    ng_arena_free(t.arena);
    return s;
}

bool ng_train_is_encoder(const char *recipe_path) { return ng_encoder_recipe_is(recipe_path); }
