/* train_shortener.c: see train_shortener.h.
 *
 * The chain of model/shortener.h by its log-likelihood: the gradient of a weight is how often its feature stands at a kept
 * word behind a dropped one (a kept one), as the model believes, less how often it does.  AdaGrad (Duchi et al. 2011), one
 * sentence at a time, in an order drawn from the seed; the mean of the weights over all steps is what is rounded to eight
 * bits.  One thread, sums in a fixed order: same recipe and seed, same bytes. */
#include "train_shortener.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/hash.h"
#include "gguf/gguf.h"
#include "train/export.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_WEIGHTS = 2 * NG_BRIEF_BUCKETS };

typedef struct learner {
    ng_error *err;
    const ng_recipe *recipe;
    ng_shortenings train, dev;
    float *weight, *seen;    /* [N_WEIGHTS]; sums of squared gradients */
    double *drift;           /* [N_WEIGHTS] sum of (step number * change): the mean is weight - drift / steps */
    double *memory;          /* of the longest sentence */
    double n_steps;
} learner;

static ng_status no_memory(const learner *l) {
    return ng_fail(l->err, NG_ENOMEM, "%s: out of memory", l->recipe->path);
}

/* ---- data --------------------------------------------------------------------------------------- */

ng_status ng_shortenings_read(ng_shortenings *out, const ng_config_list *sources, const ng_recipe *r, ng_arena *arena,
                              ng_error *err) {
    ng_recipe as = *r;
    ng_labels labels = {0};
    ng_dataset set = {0};
    *out = (ng_shortenings){0};
    as.task = NG_RECIPE_EXTRACT;
    ng_status s = ng_labels_read(&labels, &as, err);
    if (!s) s = ng_dataset_read(&set, sources, &labels, &as, err);
    if (!s) out->items = calloc(set.len + 1, sizeof *out->items);
    if (!s && !out->items) s = ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    for (size_t i = 0; !s && i < set.len; i++) {
        const ng_sample *x = &set.items[i];
        ng_shortening *y = &out->items[out->len++];
        s = ng_brief_new(&y->brief, x->text, x->len, err);
        if (!s) y->keep = ng_arena_array(arena, y->brief->len, 1);
        if (!s && y->brief->len != x->n_words)
            s = ng_fail(err, NG_EFORMAT, "%s: '%.40s..': words must be parted by one space", r->path, x->text);
        if (!s && !y->keep) s = ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
        for (size_t k = 0; !s && k < y->brief->len; k++) y->keep[k] = x->tags[k] > 0;
    }
    ng_dataset_clear(&set);
    ng_labels_clear(&labels);
    return s;
}

void ng_shortenings_clear(ng_shortenings *s) {
    for (size_t i = 0; i < s->len; i++) ng_brief_free(s->items[i].brief);
    free(s->items);
    *s = (ng_shortenings){0};
}

double ng_shortening_f1(const ng_shortening *s, const bool *keep) {
    size_t both = 0, sum = 0;
    for (size_t i = 0; i < s->brief->len; i++) both += keep[i] && s->keep[i], sum += (size_t)keep[i] + s->keep[i];
    return sum ? 2 * (double)both / (double)sum : 1;
}

/* ---- fit ---------------------------------------------------------------------------------------- */

static void move(const learner *l, size_t at, double gradient) {
    float g = (float)(gradient + l->recipe->training.l2 * (double)l->weight[at]);
    l->seen[at] += g * g;
    double change = l->recipe->training.rate * (double)g / (sqrt((double)l->seen[at]) + 1e-6);
    l->weight[at] -= (float)change;
    l->drift[at] -= l->n_steps * change;
}

static double step(learner *l, const ng_shortening *x) {
    const ng_brief *b = x->brief;
    double(*score)[2] = (double(*)[2])(void *)l->memory, (*pair)[2] = score + b->len, gold = 0;
    uint32_t f[NG_BRIEF_FEATURES_MAX];
    for (size_t i = 0; i < b->len; i++) {
        size_t n = ng_brief_features(b, i, f);
        score[i][0] = score[i][1] = 0;
        for (size_t k = 0; k < n; k++)
            for (size_t c = 0; c < 2; c++) score[i][c] += (double)l->weight[2 * f[k] + c];
        if (x->keep[i]) gold += score[i][i && x->keep[i - 1]];
    }
    double all = ng_brief_pass(pair, score, b->len, l->memory + 4 * b->len);
    for (size_t i = 0; i < b->len; i++) {
        size_t n = ng_brief_features(b, i, f);
        for (size_t c = 0; c < 2; c++) {
            double g = pair[i][c] - (x->keep[i] && (i && x->keep[i - 1]) == (c == 1));
            for (size_t k = 0; fabs(g) > 1e-4 && k < n; k++) move(l, 2 * f[k] + c, g);
        }
    }
    return all - gold;
}

static ng_status fit(learner *l, ng_train_result *out, const ng_train_options *opt) {
    ng_rng rng = ng_rng_seed((uint64_t)(opt->seed >= 0 ? opt->seed : l->recipe->training.seed));
    uint32_t *order = malloc((l->train.len + 1) * sizeof *order);
    ng_status s = order ? NG_OK : no_memory(l);
    for (size_t i = 0; !s && i < l->train.len; i++) order[i] = (uint32_t)i;
    for (int64_t e = 0; !s && e < l->recipe->training.epochs; e++) {
        double loss = 0;
        ng_rng_shuffle(&rng, order, l->train.len);
        for (size_t i = 0; i < l->train.len; i++, l->n_steps++) loss += step(l, &l->train.items[order[i]]);
        out->loss = loss / (double)l->train.len;
        const ng_train_step report = {"fit", e + 1, l->recipe->training.epochs, out->loss, NAN};
        if (opt->on_step && !opt->on_step(opt->ctx, &report))
            s = ng_fail(l->err, NG_ECANCELLED, "%s: training was stopped", l->recipe->path);
    }
    for (size_t i = 0; i < N_WEIGHTS; i++) l->weight[i] -= (float)(l->drift[i] / l->n_steps);
    free(order);
    return s;
}

static ng_status write_model(const learner *l, const char *path, ng_arena *arena) {
    static const uint64_t n = N_WEIGHTS;
    int8_t *rounded = ng_arena_alloc(arena, n);
    ng_gguf_writer *w;
    if (!rounded || ng_gguf_writer_new(&w)) return no_memory(l);
    float scale = ng_quantise_column(l->weight, n, 1, 127, rounded);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-shortener");
    ng_gguf_put_str(w, "general.name", l->recipe->about.name);
    ng_gguf_put_u32(w, "nanogrid.shortener.version", 1);
    ng_gguf_put_f32(w, "nanogrid.shortener.scale", scale);
    ng_gguf_put_tensor(w, "shortener.weights", NG_TYPE_I8, 1, &n, rounded);
    return ng_gguf_writer_commit(w, path, l->err);
}

static ng_status measure_dev(const learner *l, const char *path, ng_train_result *out) {
    ng_shortener *m;
    float p[NG_BRIEF_WORDS_MAX];
    bool keep[NG_BRIEF_WORDS_MAX];
    double f1 = 0;
    ng_status s = ng_shortener_open(&m, path, l->err);
    if (s) return s;
    for (size_t i = 0; !s && i < l->dev.len; i++) {
        const ng_shortening *x = &l->dev.items[i];
        if ((s = ng_shortener_believe(m, x->brief, p, l->err))) break;
        ng_brief_choose(keep, p, x->brief->len, 0);
        f1 += ng_shortening_f1(x, keep);
    }
    out->model_bytes = ng_shortener_file_bytes(m);
    out->dev_accuracy = l->dev.len ? f1 / (double)l->dev.len : NAN;
    ng_shortener_close(m);
    return s;
}

static ng_status learn(learner *l, ng_train_result *out, const ng_train_options *opt, ng_arena *arena) {
    const ng_recipe *r = l->recipe;
    size_t longest = 1;
    ng_status s = ng_shortenings_read(&l->train, &r->data.train, r, arena, l->err);
    if (!s) s = ng_shortenings_read(&l->dev, &r->data.dev, r, arena, l->err);
    if (!s && !l->train.len) s = ng_fail(l->err, NG_EFORMAT, "%s: no training sentences", r->path);
    if (s) return s;
    for (size_t i = 0; i < l->train.len; i++)
        if (l->train.items[i].brief->len > longest) longest = l->train.items[i].brief->len;
    l->weight = calloc(2 * N_WEIGHTS, sizeof *l->weight);
    l->drift = calloc(N_WEIGHTS, sizeof *l->drift);
    l->memory = calloc(8 * longest, sizeof *l->memory);
    if (!l->weight || !l->drift || !l->memory) return no_memory(l);
    l->seen = l->weight + N_WEIGHTS;
    if ((s = fit(l, out, opt))) return s;
    const char *path = ng_recipe_path(r, opt->out_dir, "model", arena);
    const char *dir = path ? ng_arena_strndup(arena, path, (size_t)(strrchr(path, '/') - path)) : NULL;
    if (!dir) return no_memory(l);
    s = ng_dir_make(dir, l->err);
    if (!s) s = write_model(l, path, arena);
    if (!s) s = measure_dev(l, path, out);
    snprintf(out->model_path, sizeof out->model_path, "%s", path);
    out->n_train = l->train.len, out->n_dev = l->dev.len;
    out->n_rows = out->n_features = N_WEIGHTS;
    return s;
}

ng_status ng_train_shortener(ng_train_result *out, const ng_recipe *r, const ng_train_options *opt, ng_arena *arena,
                             ng_error *err) {
    double start = ng_clock_ms();
    learner l = {.err = err, .recipe = r};
    *out = (ng_train_result){.dev_accuracy = NAN, .temperature = NAN, .oos_threshold = NAN};
    ng_status s = learn(&l, out, opt, arena);
    ng_shortenings_clear(&l.train);
    ng_shortenings_clear(&l.dev);
    free(l.weight);
    free(l.drift);
    free(l.memory);
    out->seconds = (ng_clock_ms() - start) / 1e3;
    return s;
}
