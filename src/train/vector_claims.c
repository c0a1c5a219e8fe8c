/* vector_claims.c: see vector_claims.h.
 *
 * Two fits.  Logistic regression over the vectors of the training texts, by the optimiser of linear models (fit.h): a vector is a
 * row of n_embd features that every text has.  Then, on dev texts that neither saw, how much the linear claim and the vectors count
 * together: sigmoid(a * log odds + b * logit + c), a and b at least 0, both labels counting alike as in training (balance), so that
 * one half means the same as it does for the linear claim.  What is written is the two folded into one layer. */
#include "vector_claims.h"

#include "core/math.h"
#include "core/solve.h"
#include "model/linear.h"
#include "model/vector_claim.h"
#include "train/fit.h"
#include <nanogrid/model.h>
#include <nanogrid/package.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 64, EPOCHS = 30, NEWTON_STEPS = 50, PARAMS = 3 };
static const double RATE = 0.5;

typedef struct learner {
    const ng_claim_job *job;
    ng_claim_found *out;
    ng_error *err;
    char encoder_path[1024];
    ng_model *model;
    ng_session *session;
    size_t width;
    int32_t here;      /* its label */
    ng_dataset kept, tune; /* of the training and dev texts; borrowed but for items */
    ng_vectors v;
    ng_fit fit;
    float *x;          /* [tune->len, 2]: log odds of the linear claim, logit of the vectors */
    char digest[NG_VECTOR_DIGEST];
} learner;

static ng_status no_memory(const learner *l) { return ng_fail(l->err, NG_ENOMEM, "%s: out of memory", l->job->recipe->path); }

ng_status ng_claim_job_check(const ng_claim_job *j, ng_error *err) {
    const ng_recipe *r = j->recipe;
    bool here = false, elsewhere = false;
    for (size_t i = 0; i < j->labels->len; i++) {
        here |= !strcmp(j->labels->names[i], "here");
        elsewhere |= !strcmp(j->labels->names[i], "elsewhere");
    }
    if (r->task != NG_RECIPE_CLASSIFY || j->labels->len != 2 || !here || !elsewhere)
        return ng_fail(err, NG_EINVALID,
                       "%s: `vectors` is for routing weights: task classify with the labels `here` and `elsewhere` alone",
                       r->path);
    bool found[2] = {false, false};
    for (size_t i = 0; i < j->tune->len; i++) found[j->tune->items[i].label == 0] = true;
    if (!found[0] || !found[1])
        return ng_fail(err, NG_EINVALID, "%s: `vectors` is calibrated on dev texts, and needs some of both labels", r->path);
    return NG_OK;
}

/* ---- vectors -------------------------------------------------------------------------------------- */

static ng_status open_encoder(learner *l) {
    const ng_recipe *r = l->job->recipe;
    const char *ref = r->vectors.encoder, *slash = strrchr(r->path, '/');
    size_t len = strlen(ref), cap = sizeof l->encoder_path;
    int n;
    if (len > 5 && !strcmp(ref + len - 5, ".gguf")) {
        n = *ref == '/' ? snprintf(l->encoder_path, cap, "%s", ref)
                        : snprintf(l->encoder_path, cap, "%.*s%s", slash ? (int)(slash - r->path) + 1 : 0, r->path, ref);
    } else {
        char dir[900];
        ng_status s = ng_package_find(dir, sizeof dir, ref, l->err);
        if (s) return s;
        n = snprintf(l->encoder_path, cap, "%s/model.gguf", dir);
    }
    if (n < 0 || (size_t)n >= cap) return ng_fail(l->err, NG_EINVALID, "%s: the encoder's path is too long", r->path);
    ng_status s = ng_model_open(&l->model, l->encoder_path, l->err);
    if (s) return s;
    ng_model_info info = ng_model_get_info(l->model);
    if (info.kind != NG_MODEL_ENCODER)
        return ng_fail(l->err, NG_EINVALID, "%s: vectors.encoder: %s is no encoder", r->path, l->encoder_path);
    l->width = info.n_embd;
    return ng_session_new(&l->session, l->model, &(ng_session_options){.n_threads = l->job->n_threads}, l->err);
}

/* out[d->len, width] */
static ng_status read_texts(learner *l, const ng_dataset *d, float *out) {
    ng_embed_text texts[AT_ONCE];
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < d->len; i += AT_ONCE) {
        size_t n = d->len - i < AT_ONCE ? d->len - i : AT_ONCE;
        for (size_t k = 0; k < n; k++) texts[k] = (ng_embed_text){.data = d->items[i + k].text, .len = d->items[i + k].len};
        s = ng_session_embed_batch(l->session, texts, n, true, out + i * l->width, l->err);
    }
    return s;
}

static ng_status identify(learner *l) {
    float *v = malloc(l->width * sizeof *v);
    ng_status s = v ? ng_session_embed(l->session, NG_VECTOR_PROBE, strlen(NG_VECTOR_PROBE), false, v, NULL, l->err)
                    : no_memory(l);
    if (!s) ng_vector_digest(l->digest, v, l->width);
    free(v);
    return s;
}

static int by_hash(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* All texts of `here`, and `texts` of the others. */
static ng_status keep_texts(const learner *l, ng_dataset *out, const ng_dataset *d) {
    size_t most = (size_t)l->job->recipe->vectors.texts, n = 0;
    uint64_t *hash = malloc((d->len + 1) * sizeof *hash), last = UINT64_MAX;
    *out = *d;
    out->len = 0;
    out->items = malloc((d->len + 1) * sizeof *out->items);
    if (!hash || !out->items) return free(hash), no_memory(l);
    for (size_t i = 0; i < d->len; i++)
        if (d->items[i].label != l->here) hash[n++] = d->items[i].hash;
    qsort(hash, n, sizeof *hash, by_hash);
    if (n > most) last = hash[most - 1];
    free(hash);
    for (size_t i = 0; i < d->len; i++)
        if (d->items[i].label == l->here || d->items[i].hash <= last) out->items[out->len++] = d->items[i];
    return NG_OK;
}

static ng_status make_vectors(learner *l) {
    size_t n = l->kept.len, width = l->width;
    l->v = (ng_vectors){.n = n, .begin = malloc((n + 1) * sizeof *l->v.begin), .row = malloc(n * width * sizeof *l->v.row),
                        .value = malloc(n * width * sizeof *l->v.value)};
    if (!l->v.begin || !l->v.row || !l->v.value) return no_memory(l);
    for (size_t i = 0; i <= n; i++) l->v.begin[i] = i * width;
    for (size_t i = 0; i < n * width; i++) l->v.row[i] = (uint32_t)(i % width);
    return read_texts(l, &l->kept, l->v.value);
}

static ng_status fit_vectors(learner *l) {
    const ng_recipe_training *c = &l->job->recipe->training;
    ng_fit_config config = {.l2 = c->l2};
    ng_rng rng = ng_rng_seed((uint64_t)c->seed);
    ng_status s = ng_fit_new(&l->fit, l->width, 2, l->err);
    if (s) return s;
    ng_fit_balance(&l->fit, &l->kept, false, c->balance);
    for (int e = 0; e < EPOCHS; e++) {
        double loss = ng_fit_epoch(&l->fit, &l->v, &l->kept, &config, RATE * (1 - (double)e / EPOCHS), &rng);
        if (loss < 0) return no_memory(l);
        if (!isfinite(loss))
            return ng_fail(l->err, NG_EFORMAT, "%s: `vectors`: training diverged (the loss is not a number)",
                           l->job->recipe->path);
    }
    return NG_OK;
}

/* ---- both together -------------------------------------------------------------------------------- */

static double logit_of(const learner *l, const float *v) {
    const float *w = l->fit.weight;
    int32_t h = l->here, e = 1 - h;
    double sum = (double)l->fit.bias[h] - (double)l->fit.bias[e];
    for (size_t i = 0; i < l->width; i++) sum += ((double)w[i * 2 + (size_t)h] - (double)w[i * 2 + (size_t)e]) * (double)v[i];
    return sum;
}

static ng_status read_linear(learner *l) {
    const ng_dataset *d = &l->tune;
    ng_linear *m;
    ng_linear_scratch *scratch = NULL;
    float p[2];
    ng_status s = ng_linear_open(&m, l->job->linear_path, l->err);
    if (s) return s;
    size_t here = strcmp(ng_linear_label(m, 0), "here") ? 1 : 0;
    if (ng_linear_n_labels(m) != 2 || strcmp(ng_linear_label(m, here), "here"))
        s = ng_fail(l->err, NG_EINVALID, "%s: it does not claim texts: its labels are not `here` and `elsewhere`",
                    l->job->linear_path);
    if (!s) s = ng_linear_scratch_new(&scratch, m, l->err);
    for (size_t i = 0; !s && i < d->len; i++)
        if (!(s = ng_linear_apply(m, scratch, d->items[i].text, d->items[i].len, p, l->err)))
            l->x[i * 2] = (float)ng_log_odds((double)p[here]);
    ng_linear_scratch_free(scratch);
    ng_linear_close(m);
    return s;
}

static ng_status read_tune(learner *l) {
    const ng_dataset *d = &l->tune;
    float *v = malloc((d->len + 1) * l->width * sizeof *v);
    l->x = malloc((d->len + 1) * 2 * sizeof *l->x);
    ng_status s = v && l->x ? read_texts(l, d, v) : no_memory(l);
    for (size_t i = 0; !s && i < d->len; i++) l->x[i * 2 + 1] = (float)logit_of(l, v + i * l->width);
    free(v);
    return s ? s : read_linear(l);
}

/* Newton's steps for the parameters that are in[], Platt's smoothed targets, labels weighed by `weight`. */
static void fit_mix(const learner *l, const bool in[PARAMS], const double weight[2], const double target[2], double q[PARAMS]) {
    const ng_dataset *d = &l->tune;
    for (int step = 0; step < NEWTON_STEPS; step++) {
        double h[PARAMS][PARAMS] = {{0}}, g[PARAMS] = {0};
        for (size_t i = 0; i < d->len; i++) {
            const double x[PARAMS] = {(double)l->x[i * 2], (double)l->x[i * 2 + 1], 1};
            bool here = d->items[i].label == l->here;
            double p = ng_sigmoid(q[0] * x[0] + q[1] * x[1] + q[2]), w = weight[here];
            for (int r = 0; r < PARAMS; r++) {
                g[r] += w * (p - target[here]) * x[r];
                for (int c = 0; c < PARAMS; c++) h[r][c] += w * p * (1 - p) * x[r] * x[c];
            }
        }
        for (int r = 0; r < PARAMS; r++) {
            h[r][r] += 1e-3; /* where everything is told apart already the curve is flat */
            for (int c = 0; c < PARAMS; c++)
                if (!in[r] || !in[c]) h[r][c] = r == c;
            if (!in[r]) g[r] = 0;
        }
        ng_solve(&h[0][0], g, PARAMS);
        double most = 0;
        for (int r = 0; r < PARAMS; r++) {
            double move = g[r] > 1 ? 1 : g[r] < -1 ? -1 : g[r];
            q[r] -= move;
            most = fabs(move) > most ? fabs(move) : most;
        }
        if (most < 1e-9) break;
    }
}

static void mix(const learner *l, double q[PARAMS]) {
    const ng_dataset *d = &l->tune;
    double n[2] = {0, 0}, weight[2];
    for (size_t i = 0; i < d->len; i++) n[d->items[i].label == l->here]++;
    for (int k = 0; k < 2; k++)
        weight[k] = ng_exp(l->job->recipe->training.balance * ng_log((n[0] + n[1]) / (2 * n[k])));
    const double target[2] = {1 / (n[0] + 2), (n[1] + 1) / (n[1] + 2)};
    bool in[PARAMS] = {true, true, true};
    for (int tries = 0; tries < PARAMS; tries++) {
        q[0] = in[0] ? 1 : 0, q[1] = in[1] ? 0.5 : 0, q[2] = 0;
        fit_mix(l, in, weight, target, q);
        int worst = q[0] < q[1] ? 0 : 1;
        if (q[worst] >= 0) break;
        in[worst] = false; /* more of it would speak against the expert: it says nothing */
    }
}

/* Both labels count alike. */
static double accuracy(const learner *l, const double q[PARAMS]) {
    const ng_dataset *d = &l->tune;
    double n[2] = {0, 0}, right[2] = {0, 0};
    for (size_t i = 0; i < d->len; i++) {
        bool here = d->items[i].label == l->here;
        n[here]++;
        right[here] += (q[0] * (double)l->x[i * 2] + q[1] * (double)l->x[i * 2 + 1] + q[2] >= 0) == here;
    }
    return (right[0] / n[0] + right[1] / n[1]) / 2;
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static ng_status write_claim(learner *l, const double q[PARAMS]) {
    const ng_recipe *r = l->job->recipe;
    int stem = (int)strlen(l->job->linear_path) - 5;
    int n = snprintf(l->out->path, sizeof l->out->path, "%.*s.vector.gguf", stem, l->job->linear_path);
    float *w = malloc(l->width * sizeof *w);
    ng_status s = !w ? no_memory(l)
                  : n < 0 || (size_t)n >= sizeof l->out->path
                      ? ng_fail(l->err, NG_EINVALID, "%s: the path of the model is too long", r->path)
                      : NG_OK;
    size_t h = (size_t)l->here, e = 1 - h;
    for (size_t i = 0; !s && i < l->width; i++)
        w[i] = (float)(q[1] * ((double)l->fit.weight[i * 2 + h] - (double)l->fit.weight[i * 2 + e]));
    double bias = q[2] + q[1] * ((double)l->fit.bias[h] - (double)l->fit.bias[e]);
    ng_vector_claim_parts parts = {r->about.name, r->vectors.encoder, l->digest, q[0], bias, w, l->width};
    if (!s) s = ng_vector_claim_write(&parts, l->out->path, l->err);
    free(w);
    return s;
}

static ng_status learn(learner *l) {
    double q[PARAMS];
    const double alone[PARAMS] = {1, 0, 0};
    ng_status s;
    if ((s = ng_claim_job_check(l->job, l->err)) || (s = open_encoder(l)) || (s = identify(l)) || (s = keep_texts(l, &l->kept, l->job->train)) ||
        (s = keep_texts(l, &l->tune, l->job->tune)) || (s = make_vectors(l)) || (s = fit_vectors(l)) || (s = read_tune(l)))
        return s;
    l->out->n_texts = l->kept.len;
    mix(l, q);
    l->out->accuracy = accuracy(l, q);
    l->out->linear_accuracy = accuracy(l, alone);
    return write_claim(l, q);
}

ng_status ng_vector_claim_learn(ng_claim_found *out, const ng_claim_job *j, ng_error *err) {
    ng_error local = {0};
    learner l = {.job = j, .out = out, .err = err ? err : &local};
    *out = (ng_claim_found){.accuracy = NAN, .linear_accuracy = NAN};
    l.here = j->labels->len && !strcmp(j->labels->names[0], "here") ? 0 : 1;
    ng_status s = learn(&l);
    ng_session_free(l.session);
    ng_model_close(l.model);
    ng_vectors_clear(&l.v);
    ng_fit_clear(&l.fit);
    free(l.kept.items);
    free(l.tune.items);
    free(l.x);
    return s;
}
