/* confidence_calibrate.c: see nanogrid/tools/calibrate.h.
 *
 * One network is fitted to what all the precisions said: coarse weights give other answers and other states, and a network that
 * saw only fine ones misjudges them.  Of the training prompts five eighths fit it; an eighth fits the calibration (Platt, and how
 * far the kinds of prompts reach) and a quarter is the calibration set that contracts rest on, each precision's by itself: nothing
 * is fitted on it, and it is large since every kind must keep a contract by itself.  A prompt is in the
 * same part for every precision.  The test prompts are of other splits, templates or numbers. */
#include <nanogrid/tools/calibrate.h>

#include "confidence_fit.h"

#include "config/config.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/hash.h"
#include "eval/figures.h"
#include "gguf/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_CAP = 4096, VOID_BELOW = 50, ECE_BINS = 15 };

typedef struct recipe {
    const char *name, *task;
    ng_config_strs train, test;
    ng_config_nums taps;
    ng_confidence_training training;
} recipe;

#define AT(type, member) offsetof(type, member)
static const ng_config_field training_fields[] =
    {{"hidden", NG_CONFIG_INT, AT(ng_confidence_training, n_hidden), .dflt = "32", .min = 1,
      .max = NG_CONFIDENCE_HIDDEN_MAX},
     {"epochs", NG_CONFIG_INT, AT(ng_confidence_training, epochs), .dflt = "20", .min = 1, .max = 10000},
     {"batch", NG_CONFIG_INT, AT(ng_confidence_training, batch), .dflt = "64", .min = 1, .max = 65536},
     {"rate", NG_CONFIG_NUM, AT(ng_confidence_training, rate), .dflt = "1e-3", .min = 1e-9, .max = 1},
     {"dropout", NG_CONFIG_NUM, AT(ng_confidence_training, dropout), .dflt = "0.3", .min = 0, .max = 0.9},
     {"decay", NG_CONFIG_NUM, AT(ng_confidence_training, decay), .dflt = "0.01", .min = 0, .max = 10},
     {"seed", NG_CONFIG_INT, AT(ng_confidence_training, seed), .dflt = "1", .min = 0, .max = 9e15},
     {0}};
static const ng_config_schema training_schema = {"training", sizeof(ng_confidence_training), training_fields};
static const ng_config_field fields[] = {
    {"name", NG_CONFIG_STR, AT(recipe, name), .required = true},
    {"task", NG_CONFIG_STR, AT(recipe, task), .required = true},
    {"train", NG_CONFIG_STRS, AT(recipe, train), .required = true},
    {"test", NG_CONFIG_STRS, AT(recipe, test), .required = true},
    {"taps", NG_CONFIG_NUMS, AT(recipe, taps)},
    {"training", NG_CONFIG_GROUP, AT(recipe, training), .sub = &training_schema},
    {0}};
static const ng_config_schema schema = {"the recipe", sizeof(recipe), fields};

typedef struct calibration {
    const char *path;
    recipe recipe;
    const ng_calibrate_options *opt;
    ng_arena *arena;
    ng_confidence c;
    uint32_t taps[NG_CONFIDENCE_TAPS_MAX];
    ng_str digests[NG_CALIBRATE_MODELS_MAX];
    ng_trials train;                      /* of all models, one after the other */
    size_t begin[NG_CALIBRATE_MODELS_MAX + 1]; /* where a model's begin */
    size_t *rows;                         /* [train.n] */
    ng_calibrate_result *out;
    ng_error *err;
} calibration;

static ng_status no_memory(const calibration *k) { return ng_fail(k->err, NG_ENOMEM, "calibrate: out of memory"); }

/* ---- trials ------------------------------------------------------------------------------------------- */

static ng_status find_file(const calibration *k, const char *name, char out[PATH_CAP]) {
    const char *slash = strrchr(k->path, '/'), *data = getenv("NANOGRID_DATA");
    int n;
    if (name[0] == '/') n = snprintf(out, PATH_CAP, "%s", name);
    else if (name[0] == '.')
        n = snprintf(out, PATH_CAP, "%.*s%s", slash ? (int)(slash - k->path + 1) : 0, k->path, name);
    else if (!data || !*data)
        return ng_fail(k->err, NG_EINVALID, "%s: set NANOGRID_DATA to the folder that holds %s", k->path, name);
    else n = snprintf(out, PATH_CAP, "%s/%s", data, name);
    return n > 0 && n < PATH_CAP ? NG_OK
                                 : ng_fail(k->err, NG_ELIMIT, "%s: the path of %.60s is too long", k->path, name);
}

static ng_status run_file(calibration *k, ng_trials *t, const ng_model *m, const char *digest, const char *name) {
    char path[PATH_CAP], keep[PATH_CAP];
    const char *dir = k->opt->trials_dir;
    ng_status s = find_file(k, name, path);
    int n = s || !dir ? 0 : snprintf(keep, sizeof keep, "%s/%s", dir, digest);
    if (!s && n >= PATH_CAP) s = ng_fail(k->err, NG_ELIMIT, "calibrate: the path of the trials is too long");
    if (s) return s;
    ng_trials_options o = {.n_threads = k->opt->n_threads,
                           .keep = dir ? keep : NULL,
                           .on_step = k->opt->on_step,
                           .ctx = k->opt->ctx};
    return ng_trials_run(t, m, &k->c, path, &o, k->err);
}

static ng_status append(calibration *k, ng_trials *all, const ng_trials *t) {
    size_t n = all->n + t->n, width = t->n_features;
    float *f = realloc(all->features, n * width * sizeof *f);
    if (f) all->features = f;
    uint8_t *right = f ? realloc(all->correct, n) : NULL;
    if (right) all->correct = right;
    uint8_t *task = right ? realloc(all->task, n) : NULL;
    if (!task) return no_memory(k);
    all->task = task;
    memcpy(f + all->n * width, t->features, t->n * width * sizeof *f);
    memcpy(right + all->n, t->correct, t->n);
    for (size_t i = 0; i < t->n; i++) {
        size_t x = ng_trials_task(all, t->names[t->task[i]]);
        if (x == NG_TRIAL_TASKS_MAX)
            return ng_fail(k->err, NG_ELIMIT, "%s: more than %d tasks", k->path, NG_TRIAL_TASKS_MAX);
        task[all->n + i] = (uint8_t)x;
    }
    all->n = n;
    return NG_OK;
}

/* Adds the trials of these files to `all`. */
static ng_status run_files(calibration *k, ng_trials *all, const ng_model *m, const char *digest,
                           const ng_config_strs *files) {
    ng_status s = NG_OK;
    all->n_features = k->c.n_features;
    for (size_t i = 0; !s && i < files->len; i++) {
        ng_trials t;
        s = run_file(k, &t, m, digest, files->items[i]);
        if (!s) s = append(k, all, &t), ng_trials_clear(&t);
    }
    return s;
}

/* ---- fitting ------------------------------------------------------------------------------------------- */

enum { FIT = 0x1F, PLATT = 0x20, HELD = 0xC0 };

/* Of model i, into k->rows + at; by the number of the prompt, so that every task is in each part alike. */
static size_t rows_of(calibration *k, size_t at, size_t i, unsigned parts) {
    size_t len = 0;
    for (size_t r = k->begin[i]; r < k->begin[i + 1]; r++)
        if (parts >> (ng_hash_mix(r - k->begin[i] + 1) % 8) & 1) k->rows[at + len++] = r;
    return len;
}

static ng_status fit(calibration *k) {
    size_t n = 0;
    if (!(k->rows = ng_arena_array(k->arena, k->train.n, sizeof *k->rows))) return no_memory(k);
    for (size_t i = 0; i < k->out->n_models; i++) n += rows_of(k, n, i, FIT);
    if (n < 100 || k->begin[1] < 200)
        return ng_fail(k->err, NG_EINVALID, "%s: %zu training prompts are too few; 200 are the least", k->path,
                       k->begin[1]);
    k->out->n_train = n;
    return ng_confidence_fit(&k->c, &k->train, k->rows, n, &k->recipe.training, k->arena, k->err);
}

static ng_status place_kinds(calibration *k) {
    size_t n = 0;
    for (size_t i = 0; i < k->out->n_models; i++) n += rows_of(k, n, i, FIT);
    return ng_confidence_kinds(&k->c, &k->train, k->rows, n, k->arena, k->err);
}

/* What is each precision's own. */
static ng_status calibrate(calibration *k, size_t i) {
    size_t n = rows_of(k, 0, i, PLATT);
    ng_status s = ng_confidence_platt(&k->c, &k->train, k->rows, n, k->err);
    return s ? s : ng_confidence_radii(&k->c, &k->train, k->rows, n, k->arena, k->err);
}

/* ---- measuring ----------------------------------------------------------------------------------------- */

/* P(score of a right answer > of a wrong one) among the trials of a task. */
static double auroc(const ng_trials *t, const float *score, size_t task) {
    float *right = malloc((t->n + 1) * sizeof *right), *wrong = malloc((t->n + 1) * sizeof *wrong);
    size_t n = 0, m = 0;
    for (size_t i = 0; right && wrong && i < t->n; i++) {
        if (t->task[i] != task) continue;
        if (t->correct[i]) right[n++] = score[i];
        else wrong[m++] = score[i];
    }
    double a = right && wrong ? ng_metric_auroc(right, n, wrong, m) : NAN;
    free(right);
    free(wrong);
    return a;
}

static void measure_strange(const ng_confidence *c, const ng_trials *train, ng_calibrate_row *row, const ng_trials *t,
                            size_t task) {
    float radius[NG_CONFIDENCE_KINDS_MAX];
    ng_confidence without = *c;
    for (size_t i = 0; i < c->n_kinds; i++) radius[i] = strcmp(train->names[i], row->task) ? c->radius[i] : 0;
    without.radius = radius;
    for (size_t i = 0; i < t->n; i++) {
        const float *first = t->features + i * t->n_features + NG_CONFIDENCE_STATS;
        if (t->task[i] != task) continue;
        row->strange += ng_confidence_strangeness(c, first) > 1;
        row->unseen += ng_confidence_strangeness(&without, first) > 1;
    }
    row->strange /= (double)row->n;
    row->unseen /= (double)row->n;
}

static void measure_task(const calibration *k, ng_calibrate_model *r, const ng_trials *t, const float *p,
                         const float *calm, size_t task) {
    ng_calibrate_row *row = &r->rows[r->n_rows++];
    *row = (ng_calibrate_row){.auroc = NAN, .entropy_auroc = NAN};
    snprintf(row->task, sizeof row->task, "%s", t->names[task]);
    for (size_t i = 0; i < t->n; i++) row->n += t->task[i] == task, row->right += t->task[i] == task && t->correct[i];
    measure_strange(&k->c, &k->train, row, t, task);
    if (row->right < VOID_BELOW || row->n - row->right < VOID_BELOW) return;
    row->auroc = auroc(t, p, task);
    row->entropy_auroc = auroc(t, calm, task);
}

static ng_status measure(calibration *k, ng_calibrate_model *r, const ng_trials *t, float **confidence) {
    size_t *rows = ng_arena_array(k->arena, t->n, sizeof *rows), n = 0;
    float *calm = ng_arena_array(k->arena, t->n, sizeof *calm);
    if (!rows || !calm) return no_memory(k);
    for (size_t i = 0; i < t->n; i++) rows[i] = i, calm[i] = -t->features[i * t->n_features]; /* the first feature: mean entropy */
    float *p = *confidence = ng_confidence_apply(&k->c, t, rows, t->n);
    if (!p) return no_memory(k);
    r->auroc = r->entropy_auroc = 0;
    for (size_t task = 0; task < t->n_names; task++) {
        measure_task(k, r, t, p, calm, task);
        const ng_calibrate_row *row = &r->rows[task];
        if (isnan(row->auroc)) continue;
        r->auroc += row->auroc, r->entropy_auroc += row->entropy_auroc, n++;
    }
    r->auroc = n ? r->auroc / (double)n : NAN;
    r->entropy_auroc = n ? r->entropy_auroc / (double)n : NAN;
    r->ece = ng_metric_ece(p, t->correct, t->n, ECE_BINS);
    r->aurc = ng_metric_aurc(p, t->correct, t->n);
    return NG_OK;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

typedef struct scores {
    float *confidence; /* [n] */
    uint8_t *correct, *kind;
    size_t n;
} scores;

static ng_status put_file(calibration *k, const ng_calibrate_model *r, const scores *held, const scores *test) {
    const ng_confidence *c = &k->c;
    const uint64_t wide[] = {c->n_features}, kinds[] = {c->n_kinds}, places[] = {c->n_taps * c->n_embd, c->n_kinds},
                   hidden[] = {c->n_hidden}, both[] = {c->n_features, c->n_hidden}, one[] = {1};
    ng_gguf_writer *w;
    if (ng_gguf_writer_new(&w)) return no_memory(k);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-confidence");
    ng_gguf_put_str(w, "general.name", k->recipe.name);
    ng_gguf_put_strs(w, "nanogrid.requires", k->digests, k->out->n_models);
    ng_gguf_put_array(w, "nanogrid.confidence.taps", NG_GGUF_U32, k->taps, c->n_taps);
    ng_gguf_put_u32(w, "nanogrid.confidence.n_hidden", (uint32_t)c->n_hidden);
    ng_gguf_put_f32(w, "nanogrid.confidence.platt_scale", c->platt_scale);
    ng_gguf_put_f32(w, "nanogrid.confidence.platt_shift", c->platt_shift);
    ng_gguf_put_f32(w, "nanogrid.confidence.auroc", (float)r->auroc);
    ng_gguf_put_f32(w, "nanogrid.confidence.ece", (float)r->ece);
    ng_gguf_put_array(w, "nanogrid.calibration.confidence", NG_GGUF_F32, held->confidence, held->n);
    ng_gguf_put_array(w, "nanogrid.calibration.correct", NG_GGUF_U8, held->correct, held->n);
    ng_gguf_put_array(w, "nanogrid.calibration.kind", NG_GGUF_U8, held->kind, held->n);
    ng_gguf_put_array(w, "nanogrid.test.confidence", NG_GGUF_F32, test->confidence, test->n);
    ng_gguf_put_array(w, "nanogrid.test.correct", NG_GGUF_U8, test->correct, test->n);
    ng_gguf_put_tensor(w, "mean", NG_TYPE_F32, 1, wide, c->mean);
    ng_gguf_put_tensor(w, "scale", NG_TYPE_F32, 1, wide, c->scale);
    ng_gguf_put_tensor(w, "w1", NG_TYPE_F32, 2, both, c->w1);
    ng_gguf_put_tensor(w, "b1", NG_TYPE_F32, 1, hidden, c->b1);
    ng_gguf_put_tensor(w, "w2", NG_TYPE_F32, 1, hidden, c->w2);
    ng_gguf_put_tensor(w, "b2", NG_TYPE_F32, 1, one, &c->b2);
    ng_gguf_put_tensor(w, "kind.centre", NG_TYPE_F32, 2, places, c->centre);
    ng_gguf_put_tensor(w, "kind.spread", NG_TYPE_F32, 1, places, c->spread);
    ng_gguf_put_tensor(w, "kind.radius", NG_TYPE_F32, 1, kinds, c->radius);
    return ng_gguf_writer_commit(w, r->file_path, k->err);
}

static ng_status write_file(calibration *k, size_t i, const ng_trials *test, float *p) {
    size_t n = rows_of(k, 0, i, HELD);
    scores held = {ng_confidence_apply(&k->c, &k->train, k->rows, n), malloc(n + 1), malloc(n + 1), n},
           tested = {p, test->correct, NULL, test->n};
    bool ok = held.confidence && held.correct && held.kind;
    for (size_t r = 0; ok && r < n; r++)
        held.correct[r] = k->train.correct[k->rows[r]], held.kind[r] = k->train.task[k->rows[r]];
    k->out->n_calibration = n;
    ng_status s = ok ? put_file(k, &k->out->models[i], &held, &tested) : no_memory(k);
    free(held.confidence);
    free(held.correct);
    free(held.kind);
    return s;
}

/* ---- the way ------------------------------------------------------------------------------------------- */

static ng_status choose_taps(calibration *k, const ng_model_info *info) {
    const ng_config_nums *n = &k->recipe.taps;
    if (n->len > NG_CONFIDENCE_TAPS_MAX)
        return ng_fail(k->err, NG_EINVALID, "%s: at most %d taps", k->path, NG_CONFIDENCE_TAPS_MAX);
    k->taps[0] = 2 * info->n_layer / 3 ? 2 * info->n_layer / 3 - 1 : 0;
    k->c.n_taps = n->len ? n->len : 1;
    for (size_t i = 0; i < n->len; i++) {
        double x = n->items[i];
        if (!(x >= 0 && x < (double)info->n_layer) || x - floor(x) > 0 || (i && x <= n->items[i - 1]))
            return ng_fail(k->err, NG_EINVALID, "%s: taps must be layers 0 to %u, rising", k->path, info->n_layer - 1);
        k->taps[i] = (uint32_t)x;
    }
    k->c.taps = k->taps;
    k->c.n_embd = info->n_embd;
    k->c.n_features = ng_confidence_n_features(k->c.n_taps, k->c.n_embd);
    return NG_OK;
}

/* What it says to the training and the test prompts. */
static ng_status run_model(calibration *k, size_t i, ng_trials *test) {
    ng_calibrate_model *r = &k->out->models[i];
    char digest[NG_CONFIDENCE_DIGEST];
    ng_model *m;
    ng_status s = ng_model_open(&m, r->model_path, k->err);
    if (s) return s;
    ng_model_info info = ng_model_get_info(m);
    if (info.kind != NG_MODEL_CAUSAL)
        s = ng_fail(k->err, NG_EUNSUPPORTED, "%s: '%s' cannot generate text", info.path, info.arch);
    if (!s && !i) s = choose_taps(k, &info);
    if (!s && i && (info.n_embd != k->c.n_embd || k->taps[k->c.n_taps - 1] >= info.n_layer))
        s = ng_fail(k->err, NG_EINVALID, "%s is no other precision of %s", r->model_path, k->out->models[0].model_path);
    if (!s) s = ng_confidence_digest(digest, m, k->err);
    const char *kept = s ? NULL : ng_arena_strdup(k->arena, digest);
    if (!s && !kept) s = no_memory(k);
    if (!s) k->digests[i] = (ng_str){kept, strlen(kept)};
    if (!s) s = run_files(k, &k->train, m, digest, &k->recipe.train);
    if (!s) s = run_files(k, test, m, digest, &k->recipe.test);
    ng_model_close(m);
    k->begin[i + 1] = k->train.n;
    return s;
}

static ng_status finish_model(calibration *k, size_t i, const ng_trials *test) {
    float *p = NULL;
    ng_status s = calibrate(k, i);
    if (!s) s = measure(k, &k->out->models[i], test, &p);
    if (!s) s = write_file(k, i, test, p);
    free(p);
    return s;
}

static ng_status run_all(calibration *k) {
    ng_trials tests[NG_CALIBRATE_MODELS_MAX] = {0};
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < k->out->n_models; i++) s = run_model(k, i, &tests[i]);
    if (!s) s = fit(k);
    if (!s) s = place_kinds(k);
    for (size_t i = 0; !s && i < k->out->n_models; i++) s = finish_model(k, i, &tests[i]);
    for (size_t i = 0; i < k->out->n_models; i++) ng_trials_clear(&tests[i]);
    ng_trials_clear(&k->train);
    return s;
}

static ng_status name_files(calibration *k, const char *const *models, size_t n) {
    if (!n || n > NG_CALIBRATE_MODELS_MAX)
        return ng_fail(k->err, NG_EINVALID, "calibrate: 1 to %d models", NG_CALIBRATE_MODELS_MAX);
    k->out->n_models = n;
    for (size_t i = 0; i < n; i++) {
        char *path = ng_confidence_path(models[i]);
        if (!path) return no_memory(k);
        bool fits = strlen(path) < sizeof k->out->models[i].file_path;
        if (fits) {
            snprintf(k->out->models[i].model_path, sizeof k->out->models[i].model_path, "%s", models[i]);
            snprintf(k->out->models[i].file_path, sizeof k->out->models[i].file_path, "%s", path);
        }
        free(path);
        if (!fits) return ng_fail(k->err, NG_ELIMIT, "calibrate: the path of a model is too long");
    }
    return NG_OK;
}

ng_status ng_calibrate(ng_calibrate_result *out, const char *recipe_path, const char *const *models, size_t n_models,
                       const ng_calibrate_options *opt, ng_error *err) {
    static const ng_calibrate_options defaults = {0};
    calibration k = {.path = recipe_path, .opt = opt ? opt : &defaults, .out = out, .err = err};
    double t0 = ng_clock_ms();
    *out = (ng_calibrate_result){0};
    if (ng_arena_new(&k.arena, 0)) return no_memory(&k);
    ng_status s = ng_config_read_file(&k.recipe, &schema, recipe_path, k.arena, err);
    if (!s && strcmp(k.recipe.task, "confidence"))
        s = ng_fail(err, NG_EUNSUPPORTED, "%s: calibrate is for recipes of the task confidence, not '%s'", recipe_path,
                    k.recipe.task);
    if (!s) s = name_files(&k, models, n_models);
    if (!s) s = run_all(&k);
    ng_arena_free(k.arena);
    out->seconds = (ng_clock_ms() - t0) * 1e-3;
    return s;
}

static void put_number(ng_json *j, const char *key, double v) {
    ng_json_key(j, key);
    if (isnan(v)) ng_json_null(j);
    else ng_json_fixed(j, v, 4);
}

void ng_calibrate_json(ng_json *j, const ng_calibrate_result *r) {
    ng_json_object(j);
    ng_json_key(j, "train"), ng_json_uint(j, r->n_train);
    ng_json_key(j, "calibration"), ng_json_uint(j, r->n_calibration);
    ng_json_key(j, "models");
    ng_json_array(j);
    for (size_t i = 0; i < r->n_models; i++) {
        const ng_calibrate_model *m = &r->models[i];
        ng_json_object(j);
        ng_json_key(j, "model"), ng_json_str(j, m->model_path);
        ng_json_key(j, "file"), ng_json_str(j, m->file_path);
        put_number(j, "auroc", m->auroc), put_number(j, "entropy_auroc", m->entropy_auroc);
        put_number(j, "ece", m->ece), put_number(j, "aurc", m->aurc);
        ng_json_key(j, "tasks");
        ng_json_array(j);
        for (size_t t = 0; t < m->n_rows; t++) {
            ng_json_object(j);
            ng_json_key(j, "task"), ng_json_str(j, m->rows[t].task);
            ng_json_key(j, "n"), ng_json_uint(j, m->rows[t].n);
            ng_json_key(j, "right"), ng_json_uint(j, m->rows[t].right);
            put_number(j, "auroc", m->rows[t].auroc), put_number(j, "entropy_auroc", m->rows[t].entropy_auroc);
            put_number(j, "strange", m->rows[t].strange), put_number(j, "unseen", m->rows[t].unseen);
            ng_json_end(j);
        }
        ng_json_end(j);
        ng_json_end(j);
    }
    ng_json_end(j);
    ng_json_key(j, "seconds"), ng_json_fixed(j, r->seconds, 1);
    ng_json_end(j);
}
