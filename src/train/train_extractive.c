/* train_extractive.c: learns which sentence of a document is its summary.
 *
 * Listwise: the wanted distribution over a document's sentences is softmax(8 * (ROUGE-1 + ROUGE-2))
 * against the references, the model's is softmax(score); stochastic gradient steps on their cross
 * entropy, one document at a time, with a falling rate.  Dense features learn at a third of the rate
 * of the hashed words, for they are seen in every document.  The words' weights are rounded to eight
 * bits.  Documents come in an order drawn from the seed, so the same recipe gives the same bytes. */
#include "core/clock.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/math.h"
#include "gguf/gguf.h"
#include "model/extractive.h"
#include "train/recipe.h"
#include "train/summary_data.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCES_MAX = 256, SHARPNESS = 8 };

typedef struct learner {
    ng_arena *arena;
    ng_summary_recipe recipe;
    ng_summary_docs docs;
    ng_extractive_doc **features; /* [docs.len] */
    float **wanted;               /* [docs.len][n] */
    uint32_t *order;
    double dense[NG_EXTRACTIVE_DENSE], hashed[NG_EXTRACTIVE_BUCKETS];
} learner;

static ng_status prepare(learner *l, ng_error *err) {
    size_t n = l->docs.len;
    l->features = calloc(n + 1, sizeof *l->features);
    l->wanted = ng_arena_array(l->arena, n, sizeof *l->wanted);
    l->order = ng_arena_array(l->arena, n, sizeof *l->order);
    if (!l->features || !l->wanted || !l->order) return ng_fail(err, NG_ENOMEM, "%s: out of memory", l->recipe.path);
    for (size_t i = 0; i < n; i++) {
        ng_summary_doc *d = &l->docs.items[i];
        if (d->n > SENTENCES_MAX) d->n = SENTENCES_MAX;
        ng_status s = ng_extractive_doc_new(&l->features[i], d->text, d->spans, d->n, err);
        if (s) return s;
        float *w = l->wanted[i] = ng_arena_array(l->arena, d->n, sizeof *w);
        for (size_t k = 0; w && k < d->n; k++) {
            double f[3];
            if (ng_summary_rouge(f, d, d->text + d->spans[k].start, d->spans[k].end - d->spans[k].start)) w = NULL;
            else w[k] = (float)(f[0] + f[1]);
        }
        if (!w) return ng_fail(err, NG_ENOMEM, "%s: out of memory", l->recipe.path);
        ng_softmax(w, w, d->n, SHARPNESS);
        l->order[i] = (uint32_t)i;
    }
    return NG_OK;
}

/* One gradient step on a document; returns its loss. */
static double step(learner *l, size_t index, double rate) {
    const ng_extractive_doc *d = l->features[index];
    float p[SENTENCES_MAX];
    double loss = 0;
    for (size_t i = 0; i < d->len; i++) {
        const ng_extractive_sentence *s = &d->sentences[i];
        double z = 0, h = 0;
        for (size_t k = 0; k < NG_EXTRACTIVE_DENSE; k++) z += l->dense[k] * s->dense[k];
        for (size_t k = 0; k < s->n_buckets; k++) h += l->hashed[s->buckets[k]];
        p[i] = (float)(z + h / sqrt((double)s->n_buckets + 1));
    }
    ng_softmax(p, p, d->len, 1);
    for (size_t i = 0; i < d->len; i++) {
        const ng_extractive_sentence *s = &d->sentences[i];
        double g = (double)p[i] - (double)l->wanted[index][i];
        loss -= (double)l->wanted[index][i] * ng_log((double)p[i] + 1e-12);
        for (size_t k = 0; k < NG_EXTRACTIVE_DENSE; k++) l->dense[k] -= rate * 0.3 * g * s->dense[k];
        double share = rate * g / sqrt((double)s->n_buckets + 1);
        for (size_t k = 0; k < s->n_buckets; k++) l->hashed[s->buckets[k]] -= share;
    }
    return loss;
}

static ng_status fit(learner *l, ng_train_result *out, const ng_train_options *opt, ng_error *err) {
    ng_rng rng = ng_rng_seed((uint64_t)(opt->seed >= 0 ? opt->seed : l->recipe.seed));
    for (int64_t e = 0; e < l->recipe.epochs; e++) {
        double loss = 0;
        ng_rng_shuffle(&rng, l->order, l->docs.len);
        for (size_t i = 0; i < l->docs.len; i++) loss += step(l, l->order[i], l->recipe.rate / (double)(1 + e));
        out->loss = loss / (double)l->docs.len;
        const ng_train_step report = {"fit", e + 1, l->recipe.epochs, out->loss, NAN};
        if (opt->on_step && !opt->on_step(opt->ctx, &report))
            return ng_fail(err, NG_ECANCELLED, "%s: training was stopped", l->recipe.path);
    }
    return NG_OK;
}

static ng_status write_model(const learner *l, const char *path, ng_error *err) {
    static const uint64_t n_dense = NG_EXTRACTIVE_DENSE, n_hashed = NG_EXTRACTIVE_BUCKETS;
    float dense[NG_EXTRACTIVE_DENSE];
    int8_t hashed[NG_EXTRACTIVE_BUCKETS];
    double most = 0;
    for (size_t i = 0; i < NG_EXTRACTIVE_DENSE; i++) dense[i] = (float)l->dense[i];
    for (size_t i = 0; i < NG_EXTRACTIVE_BUCKETS; i++) most = fmax(most, fabs(l->hashed[i]));
    float scale = (float)(most > 0 ? most / 127 : 1);
    for (size_t i = 0; i < NG_EXTRACTIVE_BUCKETS; i++) hashed[i] = (int8_t)nearbyint(l->hashed[i] / (double)scale);
    ng_gguf_writer *w;
    if (ng_gguf_writer_new(&w)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-extractive");
    ng_gguf_put_str(w, "general.name", l->recipe.about.name);
    ng_gguf_put_u32(w, "nanogrid.extractive.version", 1);
    ng_gguf_put_f32(w, "nanogrid.extractive.scale", scale);
    ng_gguf_put_tensor(w, "extractive.dense", NG_TYPE_F32, 1, &n_dense, dense);
    ng_gguf_put_tensor(w, "extractive.hashed", NG_TYPE_I8, 1, &n_hashed, hashed);
    return ng_gguf_writer_commit(w, path, err);
}

static ng_status learn(learner *l, ng_train_result *out, const char *path, const ng_train_options *opt, ng_error *err) {
    ng_status s = ng_summary_recipe_read(&l->recipe, path, l->arena, err);
    if (!s) s = ng_summary_docs_read(&l->docs, &l->recipe.train, l->arena, err);
    if (!s && !l->docs.len) s = ng_fail(err, NG_EFORMAT, "%s: no training documents", path);
    if (!s) s = prepare(l, err);
    if (!s) s = fit(l, out, opt, err);
    if (s) return s;
    const char *dir = ng_package_file(l->recipe.path, l->recipe.about.name, opt->out_dir, ".", l->arena);
    const char *model = ng_package_file(l->recipe.path, l->recipe.about.name, opt->out_dir, "model.gguf", l->arena);
    if (!dir || !model) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    s = ng_dir_make(dir, err);
    if (!s) s = write_model(l, model, err);
    if (s) return s;
    ng_extractive *check;
    s = ng_extractive_open(&check, model, err);
    if (s) return s;
    out->model_bytes = ng_extractive_file_bytes(check);
    ng_extractive_close(check);
    snprintf(out->model_path, sizeof out->model_path, "%s", model);
    out->n_train = l->docs.len;
    out->n_rows = out->n_features = NG_EXTRACTIVE_BUCKETS + NG_EXTRACTIVE_DENSE;
    return NG_OK;
}

ng_status ng_train_extractive(ng_train_result *out, const char *recipe_path, const ng_train_options *opt,
                              ng_error *err) {
    double start = ng_clock_ms();
    *out = (ng_train_result){.dev_accuracy = NAN, .temperature = NAN, .oos_threshold = NAN};
    learner *l = calloc(1, sizeof *l);
    if (!l || ng_arena_new(&l->arena, 1 << 20)) {
        free(l);
        return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    }
    ng_status s = learn(l, out, recipe_path, opt, err);
    for (size_t i = 0; l->features && i < l->docs.len; i++) ng_extractive_doc_free(l->features[i]);
    free(l->features);
    free(l->docs.items);
    ng_arena_free(l->arena);
    free(l);
    out->seconds = (ng_clock_ms() - start) / 1e3;
    return s;
}
