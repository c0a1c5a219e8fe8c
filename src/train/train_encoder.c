/* train_encoder.c: the order of work from an encoder's recipe to its file.
 *
 *   1. read     the heads' texts and labels, the base; choose words, copy layers
 *   2. train    steps over shuffled texts of all heads; at each epoch's end the heads' dev scores
 *   3. write    the weights (of the best epoch, with patience), rounded as the recipe says
 *   4. calibrate on the file as written
 *
 * A step depends on its number alone: the order of an epoch is drawn from (seed, epoch), dropout from
 * (seed, step), the rate from the step.  So a checkpoint holds weights, moments, the step and the best
 * weights so far, nothing else, and a run that goes on from it ends in the bytes of one that was never
 * stopped.  (By the same kernel: the checkpoint names the one that it was made by, and a run that goes on by another one says so.)
 * Checkpoints are written between steps; how often does not matter to the result.
 *
 * `distill` and `prune` are the same run with more before and after: teachers answer the training texts first, a pruned
 * encoder takes its weights from the whole one, and the file is written beside its name, compared with another model on the half
 * of dev that nothing is fitted on, and only named when it is within the recipe's limit.
 *
 * A loss or gradient that is no number ends the run before the weights change; the last checkpoint stays. */
#include "train_encoder.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/math.h"
#include "model/encoder_heads.h"
#include "model/token_spans.h"
#include "train/base_vectors.h"
#include "train/checkpoint.h"
#include "train/encoder_export.h"
#include "train/lora.h"
#include "train/plot.h"
#include "train/prune.h"
#include "train/rounded.h"
#include "train/teacher.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT_STEPS = 20, PRUNE_TEXTS = 1024 };

typedef struct run {
    const ng_train_options *opt;
    ng_train_result *result;
    ng_error *err;
    ng_arena *arena;
    ng_encoder_recipe recipe;
    ng_encoder_base base;
    ng_encoder_tasks tasks;
    ng_encoder *encoder;
    ng_nn nn;
    ng_lora_base lora;      /* with recipe.lora */
    ng_rounded rounded;     /* with training.rounded */
    char folder[1024], checkpoint[1100];
    char kernels[128];      /* that computed the steps so far: one, or which came after which */
    uint64_t seed, digest;
    ng_encoder_item *items; /* [n_items] of an epoch */
    uint32_t *order;        /* [n_items] */
    size_t n_items;
    uint64_t step, n_steps, n_all, per_epoch; /* n_all: of all epochs */
    double *curve;          /* [n_steps] */
    float *best;            /* [n_total] with patience */
    double best_score, sum; /* sum: of the epoch's losses */
    int64_t best_epoch;
    double saved_ms, reported_ms, reported_sum;
    uint64_t reported_tok, n_reported;
} run;

static ng_status no_memory(run *r) { return ng_fail(r->err, NG_ENOMEM, "%s: out of memory", r->recipe.path); }

/* ---- 1. reading --------------------------------------------------------------------------------- */

static ng_status make_folder(run *r) {
    char *path = ng_encoder_recipe_file(&r->recipe, r->opt->out_dir, "model", r->arena);
    if (!path) return no_memory(r);
    if (strlen(path) + 16 >= sizeof r->result->model_path)
        return ng_fail(r->err, NG_EINVALID, "%s: the path of the model is too long", r->recipe.path);
    strcpy(r->result->model_path, path);
    snprintf(r->checkpoint, sizeof r->checkpoint, "%s.checkpoint", path);
    *strrchr(path, '/') = 0;
    snprintf(r->folder, sizeof r->folder, "%s", path);
    return ng_dir_make(path, r->err);
}

/* Their words, and whether there are pairs. */
static ng_status look_at_texts(run *r) {
    ng_status s = NG_OK;
    for (size_t k = 0; !s && k < r->tasks.len; k++) {
        if (r->tasks.items[k].joined) ng_encoder_base_pairs(&r->base);
        for (size_t i = 0; !s && i < r->tasks.items[k].train.len; i++) {
            const ng_sample *x = &r->tasks.items[k].train.items[i];
            s = ng_encoder_base_count(&r->base, x->text, x->len, r->err);
            if (!s && x->second) s = ng_encoder_base_count(&r->base, x->second, x->second_len, r->err);
        }
    }
    return s;
}

/* Of what decides the result: recipe, seed, texts, words, first weights. */
static ng_status take_digest(run *r) {
    ng_buf text = ng_buf_init(1 << 20);
    ng_status s = ng_file_read(&text, r->recipe.path, r->err);
    uint64_t h = ng_hash64(text.data, text.len, r->seed);
    ng_buf_clear(&text);
    for (size_t k = 0; k < r->tasks.len; k++) {
        const ng_encoder_task *t = &r->tasks.items[k];
        h = ng_hash64(t->train_ids.ids, t->train_ids.begin[t->train_ids.n] * sizeof(int32_t), h);
        h = ng_hash64(t->tune_ids.ids, t->tune_ids.begin[t->tune_ids.n] * sizeof(int32_t), h);
        for (size_t i = 0; i < t->train.len; i++)
            h = ng_hash_mix(h ^ t->train.items[i].holds ^ (uint64_t)(uint32_t)t->train.items[i].label);
        for (size_t i = 0; t->pairs && i < t->train.len; i++) h = ng_hash64(&t->train.items[i].score, sizeof(float), h);
        size_t rows = t->tokens ? t->train_ids.word_begin[t->train_ids.n] : t->train.len;
        if (t->vectors) h = ng_hash64(t->vectors, t->train_ids.n * r->base.shape.width * sizeof(float), h);
        if (t->soft) h = ng_hash64(t->soft, rows * t->labels.len * sizeof(float), h);
        if (t->tokens) h = ng_hash64(t->train_ids.tags, t->train_ids.word_begin[t->train_ids.n] * sizeof(int32_t), h);
    }
    r->digest = ng_hash64(ng_encoder_weights(r->encoder), ng_encoder_n_total(r->encoder) * sizeof(float), h);
    return s;
}

/* Whether the student's weights are what pruning leaves of the base. */
static bool whole_first(const run *r) { return r->recipe.stage == NG_STAGE_PRUNE || r->recipe.base.inner > 0; }

/* The student's first weights: chosen layers of the base, or what pruning leaves of it. */
static ng_status first_weights(run *r, size_t n_extra, ng_encoder *whole) {
    ng_prune_plan p = {0};
    bool prunes = whole_first(r);
    ng_prune_recipe inner = {.inner = r->recipe.base.inner, .texts = PRUNE_TEXTS};
    const ng_prune_recipe *how_much = r->recipe.stage == NG_STAGE_PRUNE ? &r->recipe.prune : &inner;
    ng_status s = prunes ? ng_prune_plan_new(&p, whole, &r->tasks, how_much, &r->nn, r->err) : NG_OK;
    if (prunes) r->base.shape = p.shape;
    if (!s && r->recipe.stage == NG_STAGE_FINETUNE) {
        const ng_lora_recipe *l = &r->recipe.lora;
        ng_encoder_lora how = {(size_t)l->rank, l->alpha, l->mask, l->layer_mask, ng_lora_read, &r->lora};
        if (r->base.shape.n_layer < 64 && l->layer_mask >> r->base.shape.n_layer)
            return ng_fail(r->err, NG_EINVALID, "%s: lora.layers: the base has %zu layers, counted from 0",
                           r->recipe.path, r->base.shape.n_layer);
        s = ng_encoder_new_lora(&r->encoder, &r->base.shape, n_extra, &how, r->err);
        if (!s) s = ng_lora_base_open(&r->lora, &r->base, r->encoder, r->err);
        if (!s) ng_encoder_randomize(r->encoder, r->seed);
        return s;
    }
    if (!s) s = ng_encoder_new(&r->encoder, &r->base.shape, n_extra, r->err);
    if (s) return s;
    ng_encoder_randomize(r->encoder, r->seed); /* the heads keep it */
    if (prunes) ng_prune_copy(&p, whole, r->encoder);
    else s = ng_encoder_base_copy(&r->base, r->encoder, r->err);
    ng_prune_plan_clear(&p);
    return s;
}

/* What the teachers of all heads say of the training texts. */
static ng_status ask_teachers(run *r) {
    ng_status s = NG_OK;
    for (size_t k = 0; !s && k < r->tasks.len; k++)
        if (!r->tasks.items[k].pairs || r->recipe.stage != NG_STAGE_PRUNE)
            s = ng_soft_labels(&r->tasks.items[k].soft, &r->tasks, k, r->opt->n_threads, r->err);
    return s;
}

static ng_status make_encoder(run *r) {
    size_t n_extra = ng_encoder_tasks_n_extra(&r->tasks, r->base.shape.width);
    const ng_distill_recipe *d = &r->recipe.distill;
    bool matches = r->recipe.stage != NG_STAGE_TRAIN && (d->hidden > 0 || d->attention > 0);
    ng_encoder *whole = NULL;
    ng_status s = matches || whole_first(r) ? ng_encoder_base_whole(&r->base, false, &whole, r->err) : NG_OK;
    if (!s) s = first_weights(r, n_extra, whole);
    if (matches) ng_encoder_tasks_teach(&r->tasks, whole);
    else ng_encoder_free(whole);
    if (s) return s;
    ng_encoder_freeze(r->encoder, (size_t)r->recipe.training.freeze);
    if ((s = ng_encoder_tasks_bind(&r->tasks, r->encoder, &r->nn, (size_t)r->recipe.training.batch, r->err)) ||
        (s = ask_teachers(r)))
        return s;
    if (d->vectors > 0 && (s = ng_base_vectors(&r->tasks, &r->base, &r->nn, r->err))) return s;
    if (r->recipe.training.rounded) s = ng_rounded_new(&r->rounded, r->encoder, r->recipe.weights, &r->nn, r->err);
    for (size_t k = 0; !s && k < r->tasks.len; k++) {
        const ng_encoder_task *t = &r->tasks.items[k];
        float *w = ng_encoder_weights(r->encoder) + t->at, *of_shapes = w + t->labels.len * (r->base.shape.width + 1);
        bool shapes = t->tokens;
        if (!t->pairs) s = ng_encoder_base_copy_head(&r->base, t->head->name, &t->labels, &shapes, w, r->err);
        for (size_t i = 0; shapes && i < t->labels.len * NG_SHAPE_INPUTS; i++) of_shapes[i] /= NG_SHAPE_GAIN;
    }
    return s;
}

static ng_status read_all(run *r, const char *path) {
    ng_status s = ng_encoder_recipe_read(&r->recipe, path, r->arena, r->err);
    if (s) return s;
    if (r->recipe.stage != (ng_encoder_stage)r->opt->stage)
        return ng_fail(r->err, NG_EINVALID, "%s: this recipe is for `nanogrid %s`: it %s", path,
                       ng_encoder_stage_name(r->recipe.stage),
                       r->recipe.stage == NG_STAGE_TRAIN ? "has neither distill:, prune: nor lora:"
                                                         : "says so by its sections");
    const ng_encoder_training *t = &r->recipe.training;
    r->seed = (uint64_t)(r->opt->seed >= 0 ? r->opt->seed : t->seed);
    if ((s = make_folder(r)) || (s = ng_nn_init(&r->nn, r->opt->n_threads, (ng_precision)t->precision, r->err)) ||
        (s = ng_encoder_base_open(&r->base, &r->recipe, r->folder, r->err)) ||
        (s = ng_encoder_tasks_read(&r->tasks, &r->recipe, r->arena, r->err)) || (s = look_at_texts(r)) ||
        (s = ng_encoder_base_choose(&r->base, r->folder, r->err)) ||
        (s = ng_encoder_tasks_tokenize(&r->tasks, r->base.tokenizer, r->base.shape.n_ctx, r->err)) ||
        (s = make_encoder(r)) || (s = take_digest(r)) ||
        (s = ng_encoder_tasks_items(&r->tasks, &r->items, &r->n_items, r->err)))
        return s;
    uint64_t a_step = (uint64_t)(t->batch * t->accumulate);
    r->per_epoch = (r->n_items + a_step - 1) / a_step;
    r->n_all = r->n_steps = r->per_epoch * (uint64_t)t->epochs;
    if (t->steps && (uint64_t)t->steps < r->n_steps) r->n_steps = (uint64_t)t->steps;
    r->order = malloc((r->n_items + 1) * sizeof *r->order);
    r->curve = malloc(r->n_steps * sizeof *r->curve);
    if (t->patience) r->best = malloc(ng_encoder_n_total(r->encoder) * sizeof *r->best);
    return r->order && r->curve && (r->best || !t->patience) ? NG_OK : no_memory(r);
}

/* ---- 2. training -------------------------------------------------------------------------------- */

static void draw_order(run *r, uint64_t epoch) {
    ng_rng rng = ng_rng_seed(ng_hash_mix(r->seed ^ ng_hash_mix(epoch + 1)));
    for (size_t i = 0; i < r->n_items; i++) r->order[i] = (uint32_t)i;
    if (r->recipe.training.shuffle) ng_rng_shuffle(&rng, r->order, r->n_items);
}

/* The rate of step `step` (from 1). */
static double rate_of(const run *r, uint64_t step) {
    const ng_encoder_training *t = &r->recipe.training;
    double n = (double)(step < (uint64_t)t->settle ? r->n_all : r->n_steps), warm = t->warmup * n, at = (double)step;
    if (at < warm) return t->rate * at / warm;
    double rest = (at - warm) / (n - warm + 1); /* [0, 1) */
    if (t->schedule == NG_SCHEDULE_LINEAR) return t->rate * (1 - rest);
    if (t->schedule == NG_SCHEDULE_CONSTANT) return t->rate;
    double half = 1.5707963267948966 * rest, s = half, term = half; /* sin by its series: cos(pi x) = 1 - 2 sin^2(pi x / 2) */
    for (int k = 1; k < 12; k++) s += term *= -half * half / (double)((2 * k) * (2 * k + 1));
    return t->rate * (1 - s * s);
}

static ng_status save(run *r) {
    ng_checkpoint c = {r->digest, r->step, r->best_epoch, r->best_score, r->sum, ng_encoder_n_total(r->encoder),
                       ng_encoder_weights(r->encoder), ng_encoder_moments(r->encoder), r->best, r->curve, r->step, r->n_steps};
    snprintf(c.kernel, sizeof c.kernel, "%s", r->kernels);
    r->saved_ms = ng_clock_ms();
    return ng_checkpoint_write(&c, r->checkpoint, r->err);
}

/* Going on by another kernel is allowed, for else a run would be lost with its machine; that its bytes differ then is said. */
static ng_status tell_kernel(run *r, const ng_checkpoint *c) {
    const char *was = *c->kernel ? c->kernel : "an unknown kernel", *now = r->nn.gemm.name;
    char note[512];
    if (!strcmp(was, now)) return NG_OK;
    snprintf(r->kernels, sizeof r->kernels, "%.100s, then %s", was, now);
    snprintf(note, sizeof note,
             "%s: the first %llu steps were computed by %s, the next ones are by %s: the model's bytes %s differ from those of "
             "the uninterrupted run",
             r->recipe.path, (unsigned long long)c->step, was, now, *c->kernel ? "will" : "may");
    ng_train_step step = {.phase = "resume", .step = (int64_t)c->step, .n_steps = (int64_t)r->n_steps, .loss = NAN,
                          .dev_accuracy = NAN, .note = note};
    if (!r->opt->on_step || r->opt->on_step(r->opt->ctx, &step)) return NG_OK;
    return ng_fail(r->err, NG_ECANCELLED, "%s: training was stopped", r->recipe.path);
}

static ng_status resume(run *r) {
    r->best_epoch = -1;
    r->best_score = -1;
    r->saved_ms = ng_clock_ms();
    snprintf(r->kernels, sizeof r->kernels, "%s", r->nn.gemm.name);
    if (!ng_file_exists(r->checkpoint)) return NG_OK;
    ng_checkpoint c = {.digest = r->digest, .n = ng_encoder_n_total(r->encoder), .weights = ng_encoder_weights(r->encoder),
                       .moments = ng_encoder_moments(r->encoder), .best = r->best, .curve = r->curve, .n_curve_max = r->n_steps};
    ng_status s = ng_checkpoint_read(&c, r->checkpoint, r->err);
    if (s) return s;
    ng_encoder_touch_moments(r->encoder);
    r->step = c.step;
    r->best_epoch = c.best_epoch;
    r->best_score = c.best_score;
    r->sum = c.loss;
    r->result->resumed = true;
    return tell_kernel(r, &c);
}

static ng_status report(run *r, const char *phase, const char *head, double loss, double score) {
    double now = ng_clock_ms();
    ng_train_step step = {phase, (int64_t)r->step, (int64_t)r->n_steps, loss, score, rate_of(r, r->step),
                          1e3 * (double)r->reported_tok / (now - r->reported_ms), head};
    r->reported_ms = now;
    r->reported_tok = r->n_reported = 0;
    r->reported_sum = 0;
    if (!r->opt->on_step || r->opt->on_step(r->opt->ctx, &step)) return NG_OK;
    ng_status s = save(r);
    return s ? s
             : ng_fail(r->err, NG_ECANCELLED, "%s: training was stopped; the checkpoint %s keeps step %llu",
                       r->recipe.path, r->checkpoint, (unsigned long long)r->step);
}

static ng_status not_a_number(run *r, const char *what) {
    bool kept = ng_file_exists(r->checkpoint);
    return ng_fail(r->err, NG_EFORMAT, "%s: step %llu: the %s is not a number; lower training.rate, raise warmup or use precision: f32.  %s%s", r->recipe.path,
                   (unsigned long long)r->step + 1, what, kept ? "The last good weights are kept in " : "No checkpoint was written yet", kept ? r->checkpoint : "");
}

/* One optimiser step; r->step counts it afterwards. */
static ng_status one_step(run *r) {
    const ng_encoder_training *t = &r->recipe.training;
    size_t first = (size_t)(r->step % r->per_epoch) * (size_t)(t->batch * t->accumulate), done = 0, parts = 0;
    ng_encoder_item batch[4096];
    double loss = 0;
    if (r->rounded.exact) ng_rounded_put(&r->rounded);
    for (; parts < (size_t)t->accumulate && first + done < r->n_items; parts++) {
        size_t n = r->n_items - first - done < (size_t)t->batch ? r->n_items - first - done : (size_t)t->batch;
        for (size_t i = 0; i < n; i++) batch[i] = r->items[r->order[first + done + i]];
        ng_encoder_batch how = {.dropout = (float)t->dropout,
                                .seed = r->seed,
                                .step = r->step * (uint64_t)t->accumulate + parts};
        loss += ng_encoder_tasks_train(&r->tasks, batch, n, &how);
        r->reported_tok += r->tasks.n_tok;
        done += n;
    }
    if (r->rounded.exact) ng_rounded_restore(&r->rounded);
    loss /= (double)parts;
    if (!isfinite(loss)) return not_a_number(r, "loss");
    ng_encoder_update u = {.rate = rate_of(r, r->step + 1), .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = t->decay,
                           .clip = t->clip, .scale = 1 / (double)parts, .step = r->step + 1};
    if (!isfinite(ng_encoder_step(r->encoder, &u))) return not_a_number(r, "gradient");
    r->curve[r->step++] = loss;
    r->sum += loss;
    r->reported_sum += loss;
    r->n_reported++;
    return NG_OK;
}

static ng_status mean_score(double *mean, run *r) {
    double sum = 0, score;
    size_t n = 0;
    ng_status s = NG_OK;
    if (r->rounded.exact) ng_rounded_put(&r->rounded);
    for (size_t k = 0; !s && k < r->tasks.len; k++) {
        s = ng_encoder_tasks_score(&score, &r->tasks, k, r->err);
        if (!s && !isnan(score)) sum += score, n++;
        if (!s && !isnan(score)) s = report(r, "score", r->tasks.items[k].head->name, NAN, score);
    }
    if (r->rounded.exact) ng_rounded_restore(&r->rounded);
    *mean = n ? sum / (double)n : NAN;
    return s;
}

/* Scores, and with patience the best weights; *stop when no epoch has been better for long enough. */
static ng_status end_epoch(run *r, bool *stop) {
    int64_t epoch = (int64_t)(r->step / r->per_epoch) - 1, patience = r->recipe.training.patience;
    double score, loss = r->sum / (double)r->per_epoch;
    ng_status s = mean_score(&score, r);
    if (s) return s;
    r->result->loss = loss;
    r->sum = 0;
    if (r->best && (score > r->best_score || r->best_epoch < 0)) {
        r->best_score = score;
        r->best_epoch = epoch;
        memcpy(r->best, ng_encoder_weights(r->encoder), ng_encoder_n_total(r->encoder) * sizeof *r->best);
    }
    *stop = r->best && epoch - r->best_epoch >= patience;
    return report(r, "epoch", NULL, loss, score);
}

static ng_status train(run *r) {
    bool stop = false;
    ng_status s = resume(r);
    if (s) return s;
    uint64_t drawn = UINT64_MAX, times = (uint64_t)r->recipe.training.scores,
             score_steps = (r->per_epoch + times - 1) / times;
    double mean;
    r->reported_ms = ng_clock_ms();
    if (r->step && r->step % r->per_epoch == 0 && r->best) /* stopped between an epoch's end and the next step */
        stop = (int64_t)(r->step / r->per_epoch) - 1 - r->best_epoch >= r->recipe.training.patience;
    while (!s && !stop && r->step < r->n_steps) {
        uint64_t epoch = r->step / r->per_epoch;
        if (epoch != drawn) draw_order(r, drawn = epoch);
        if ((s = one_step(r))) return s;
        if (r->n_reported == REPORT_STEPS) s = report(r, "train", NULL, r->reported_sum / REPORT_STEPS, NAN);
        if (!s && r->step % r->per_epoch == 0) s = end_epoch(r, &stop);
        else if (!s && r->step % r->per_epoch % score_steps == 0) s = mean_score(&mean, r);
        if (!s && ng_clock_ms() - r->saved_ms >= (double)r->recipe.training.checkpoint_ms) s = save(r);
    }
    if (!s && r->best)
        memcpy(ng_encoder_weights(r->encoder), r->best, ng_encoder_n_total(r->encoder) * sizeof *r->best);
    if (r->step % r->per_epoch) r->result->loss = r->sum / (double)(r->step % r->per_epoch); /* ended within an epoch */
    r->result->n_steps = (int64_t)r->step;
    r->result->kernel = r->nn.gemm.name;
    return s;
}

/* ---- 3. and 4. ---------------------------------------------------------------------------------- */

enum { PASSES = 2 };

/* Scores of both models on every head's held texts, and the time of a text over all heads.  They take turns head by head, on one thread
 * each and by its processor time, so that other work of the machine hardly counts. */
static ng_status measure(run *r, ng_teacher models[2], double scores[2][32], double ms[2]) {
    double sum[2] = {0}, texts = 0;
    ng_status s = NG_OK;
    for (size_t k = 0; !s && k < r->tasks.len; k++) {
        const ng_encoder_task *task = &r->tasks.items[k];
        for (int i = 0; !s && i < 2; i++) {
            double one;
            s = ng_teacher_score(&models[i], task, NULL, &scores[i][k], &one, r->err);
            if (!s && task->held.len) sum[i] += one * (double)task->held.len;
        }
        texts += (double)task->held.len;
    }
    for (int i = 0; !s && texts > 0 && i < 2; i++)
        if (!(sum[i] / texts >= ms[i])) ms[i] = sum[i] / texts; /* the better of all passes; NaN before the first */
    return s;
}

/* What is beyond the limit is refused. */
static ng_status compare(run *r, const char *made) {
    const ng_limit_recipe *limit = &r->recipe.limit;
    ng_train_result *out = r->result;
    double scores[2][32], ms[2] = {NAN, NAN}, *before = scores[0], *after = scores[1];
    ng_teacher models[2] = {0};
    ng_map file;
    const char *against = ng_encoder_recipe_base(&r->recipe, limit->against, r->arena, r->err);
    if (!against) return NG_ENOTFOUND;
    ng_status s = ng_map_open(&file, against, r->err);
    if (s) return s;
    out->before_bytes = file.len;
    ng_map_close(&file);
    s = ng_teacher_open(&models[0], against, 1, r->err);
    if (!s) s = ng_teacher_open(&models[1], made, 1, r->err);
    for (int i = 0; !s && i < PASSES; i++) s = measure(r, models, scores, ms);
    for (int i = 0; i < 2; i++) ng_teacher_close(&models[i]);
    if (s) return s;
    out->before_ms = ms[0];
    out->after_ms = ms[1];
    out->compared = true;
    for (size_t k = 0; k < r->tasks.len; k++)
        out->heads[k].held_before = before[k], out->heads[k].held_after = after[k];
    for (size_t k = 0; k < r->tasks.len; k++)
        if (!(100 * (before[k] - after[k]) <= limit->drop) && r->tasks.items[k].held.len)
            return ng_fail(r->err, NG_ELIMIT,
                           "%s: head '%s' falls from %.2f to %.2f points, more than limit.drop: %g; nothing was "
                           "written",
                           r->recipe.path, r->tasks.items[k].head->name, 100 * before[k], 100 * after[k], limit->drop);
    if (limit->speed > 0 && !(out->before_ms / out->after_ms >= limit->speed))
        return ng_fail(r->err, NG_ELIMIT, "%s: %.3f ms a text after %.3f of one thread's time is not limit.speed: %g; nothing was written",
                       r->recipe.path, out->after_ms, out->before_ms, limit->speed);
    return NG_OK;
}

/* The base with the adapters in it. */
static ng_status write_adapted(run *r, const char *made) {
    char path[1200];
    snprintf(path, sizeof path, "%s/.adapter.made", r->folder);
    ng_status s = ng_lora_write(&r->base, &r->tasks, NULL, path, r->err);
    if (!s) s = ng_lora_merge(r->base.g, path, 1, made, r->err);
    ng_file_remove(path);
    return s;
}

/* The adapter with the calibration that the merged model `made` got: beside it, or alone. */
static ng_status finish_adapter(run *r, const char *made) {
    char path[1200];
    ng_gguf *g;
    int64_t changed;
    ng_train_result *out = r->result;
    ng_status s = ng_gguf_open(&g, made, r->err);
    if (s) return s;
    if (r->recipe.lora.merged) snprintf(path, sizeof path, "%s/adapter.gguf", r->folder);
    else snprintf(path, sizeof path, "%s", out->model_path);
    s = ng_lora_write(&r->base, &r->tasks, g, path, r->err);
    ng_gguf_close(g);
    if (!r->recipe.lora.merged) {
        ng_file_remove(made);
        (void)ng_file_stat(path, &out->model_bytes, &changed);
    }
    out->n_trained = ng_encoder_n_total(r->encoder);
    out->n_adapters = ng_encoder_extra_at(r->encoder);
    out->n_base = ng_encoder_n_weights(&r->base.shape);
    return s;
}

/* What was read, and what the file's heads reach on dev. */
static void put_heads(ng_train_result *out, const ng_encoder_tasks *tasks, const double *scores) {
    double sum = 0;
    size_t n = 0;
    out->n_heads = tasks->len;
    for (size_t k = 0; k < tasks->len; k++) {
        const ng_encoder_task *t = &tasks->items[k];
        snprintf(out->heads[k].name, sizeof out->heads[k].name, "%s", t->head->name);
        out->heads[k].n_train = t->train.len;
        out->heads[k].n_labels = t->labels.len;
        out->heads[k].dev_accuracy = scores[k];
        out->n_train += t->train.len;
        out->n_dev += t->tune.len;
        out->n_labels += t->labels.len;
        out->n_duplicates += t->n_dropped;
        if (!isnan(scores[k])) sum += scores[k], n++;
    }
    out->duplicates_dropped = true;
    out->dev_accuracy = n ? sum / (double)n : NAN;
}

static ng_status write_model(run *r) {
    ng_train_result *out = r->result;
    double scores[32];
    ng_map file;
    char made[1100];
    bool adapts = r->recipe.stage == NG_STAGE_FINETUNE, alone = adapts && !r->recipe.lora.merged;
    snprintf(made, sizeof made, "%s%s", out->model_path, alone || r->recipe.limit.against ? ".made" : "");
    ng_status s = adapts ? write_adapted(r, made) : ng_encoder_export_write(&r->base, &r->tasks, made, r->err);
    if (!s) s = ng_encoder_export_calibrate(&r->tasks, made, r->opt->n_threads, scores, r->err);
    if (!s) s = ng_map_open(&file, made, r->err);
    if (s) return s;
    out->model_bytes = file.len;
    ng_map_close(&file);
    put_heads(out, &r->tasks, scores);
    if (r->recipe.limit.against) {
        s = compare(r, made);
        if (!s && !alone && rename(made, out->model_path))
            s = ng_fail(r->err, NG_EIO, "%s: cannot be renamed to %s", made, out->model_path);
        if (s) {
            ng_file_remove(made);
            return s;
        }
    }
    if (r->opt->exact && !(s = ng_encoder_export_exact(&r->base, &r->tasks, r->opt->exact, r->err)))
        s = ng_encoder_export_calibrate(&r->tasks, r->opt->exact, r->opt->n_threads, scores, r->err);
    if (!s && r->opt->plot)
        s = ng_plot_write(r->opt->plot, r->recipe.about.name, r->curve, r->step, r->per_epoch, r->err);
    if (!s && adapts) s = finish_adapter(r, alone ? made : out->model_path);
    if (!s) ng_file_remove(r->checkpoint);
    return s;
}

ng_status ng_train_encoder(ng_train_result *out, const char *recipe_path, const ng_train_options *opt, ng_error *err) {
    ng_error local = {0};
    double start = ng_clock_ms();
    run r = {.opt = opt, .result = out, .err = err ? err : &local};
    *out = (ng_train_result){.dev_accuracy = NAN, .temperature = NAN, .oos_threshold = NAN};
    if (ng_arena_new(&r.arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    ng_status s = opt->plot ? ng_plot_check(opt->plot, r.err) : NG_OK;
    if (!s) s = read_all(&r, recipe_path);
    if (!s) s = train(&r);
    if (!s) s = write_model(&r);
    ng_rounded_clear(&r.rounded);
    ng_lora_base_clear(&r.lora);
    ng_encoder_tasks_clear(&r.tasks);
    ng_encoder_base_close(&r.base);
    ng_encoder_free(r.encoder);
    ng_nn_clear(&r.nn);
    free(r.items);
    free(r.order);
    free(r.curve);
    free(r.best);
    ng_arena_free(r.arena);
    out->seconds = (ng_clock_ms() - start) / 1e3;
    return s;
}

/* ---- calibration alone -------------------------------------------------------------------------- */

/* Each head of the recipe must be the file's, label by label, as the file's are calibrated by number. */
static ng_status same_heads(const ng_encoder_tasks *t, const ng_model *m, const char *path, ng_error *err) {
    ng_encoder_heads h;
    ng_status s = ng_encoder_heads_open(&h, m, err);
    if (s) return s;
    bool same = h.len == t->len;
    for (size_t k = 0; same && k < t->len; k++) {
        const ng_encoder_task *task = &t->items[k];
        same = !strcmp(h.items[k].name, task->head->name) && (task->pairs || h.items[k].n_labels == task->labels.len);
        for (size_t i = 0; same && !task->pairs && i < task->labels.len; i++)
            same = !strcmp(h.items[k].labels[i], task->labels.names[i]);
    }
    ng_encoder_heads_close(&h);
    return same ? NG_OK
                : ng_fail(err, NG_EINVALID, "%s: its heads are not those of %s, in that order and with those labels; calibrate it by the recipe that made it",
                          path, t->recipe->path);
}

static ng_status calibrate_in(ng_train_result *out, ng_encoder_tasks *tasks, ng_encoder_recipe *r, const char *model_path,
                              int n_threads, ng_arena *arena, ng_error *err) {
    double scores[32];
    ng_model *m = NULL;
    ng_status s = ng_encoder_tasks_read(tasks, r, arena, err);
    if (!s) s = ng_model_open(&m, model_path, err);
    if (!s) s = same_heads(tasks, m, model_path, err);
    const ng_tokenizer *t = s ? NULL : ng_model_tokenizer(m, err);
    if (!s && !t) s = NG_EUNSUPPORTED;
    if (!s) s = ng_encoder_tasks_tokenize(tasks, t, ng_model_get_info(m).n_ctx_train, err);
    ng_model_close(m); /* the file is written anew */
    if (!s) s = ng_encoder_export_calibrate(tasks, model_path, n_threads, scores, err);
    if (!s) put_heads(out, tasks, scores);
    return s;
}

ng_status ng_train_calibrate(ng_train_result *out, const char *recipe_path, const char *model_path, int n_threads,
                             ng_error *err) {
    ng_error local = {0};
    ng_encoder_tasks tasks = {0};
    ng_encoder_recipe r;
    ng_arena *arena = NULL;
    double start = ng_clock_ms();
    uint64_t bytes = 0;
    int64_t changed;
    err = err ? err : &local;
    *out = (ng_train_result){.dev_accuracy = NAN, .temperature = NAN, .oos_threshold = NAN};
    snprintf(out->model_path, sizeof out->model_path, "%s", model_path);
    if (ng_arena_new(&arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    ng_status s = ng_encoder_recipe_read(&r, recipe_path, arena, err);
    if (!s) s = calibrate_in(out, &tasks, &r, model_path, n_threads, arena, err);
    ng_encoder_tasks_clear(&tasks);
    ng_arena_free(arena);
    (void)ng_file_stat(model_path, &bytes, &changed);
    out->model_bytes = bytes;
    out->seconds = (ng_clock_ms() - start) / 1e3;
    return s;
}
