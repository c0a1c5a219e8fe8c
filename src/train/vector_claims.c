/* vector_claims.c: see vector_claims.h.
 *
 * Ridge regression of +1 (here) and -1 (elsewhere) on the vectors of the training texts, both labels weighed alike (balance): closed form,
 * so nothing is tuned, and what it says of a text of `here` had that been left out follows from the same factor,
 * (f - h) / (1 - h), where h is how much the text weighs in its own answer.  Platt's sigmoid is fitted on these and on dev texts, so
 * that every text of the expert serves twice.  The second claim is half of that and half of the linear claim, by log odds; a weight
 * fitted on dev texts was no better among 10 and 18 experts and worse among 49, for dev texts are easier than doubts are.
 *
 * An expert of few texts has no dev texts of its own, and what its linear weights say of texts they were trained on is no evidence.
 * Then the vectors speak alone, and carefully: at most CAREFUL of what is known to be elsewhere may be claimed. */
#include "vector_claims.h"

#include "core/math.h"
#include "core/solve.h"
#include "model/linear.h"
#include "model/vector_claim.h"
#include <nanogrid/model.h>
#include <nanogrid/package.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 64, NEWTON_STEPS = 50, PARAMS = 2, MEASURED_MIN = 10 /* dev texts of `here` that training did not see */ };
static const double PENALTY = 1;     /* beside texts that weigh one each; 0.01 to 10 choose alike */
static const double LINEAR = 0.5;    /* the linear claim's share of the log odds */
static const double CAREFUL = 0.005;

typedef struct learner {
    const ng_claim_job *job;
    ng_claim_found *out;
    ng_error *err;
    char encoder_path[1024];
    ng_model *model;
    ng_session *session;
    size_t width;
    int32_t here;          /* its label */
    ng_dataset kept, tune; /* of the training and dev texts; borrowed but for items */
    double weight[2];  /* of a training text: elsewhere, here */
    double *gram;      /* [width + 1, width + 1], the constant last; then its factor, the lower half */
    double *beta;      /* [width + 1] */
    double *z;         /* [width + 1] scratch: a vector and 1 */
    float *left_out;   /* [kept.len] of `here`: said without the text */
    float *x;          /* [tune.len, 2]: log odds of the linear claim, score of the vectors */
    bool measured;     /* the linear claim, by texts of `here` that it was not trained on */
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

/* ---- the vectors' score ---------------------------------------------------------------------------- */

static void put_text(const learner *l, const float *v) {
    for (size_t i = 0; i < l->width; i++) l->z[i] = (double)v[i];
    l->z[l->width] = 1;
}

static void add_texts(learner *l, const float *v) {
    size_t n = l->width + 1;
    for (size_t i = 0; i < l->kept.len; i++) {
        bool here = l->kept.items[i].label == l->here;
        put_text(l, v + i * l->width);
        for (size_t r = 0; r < n; r++) {
            double f = l->weight[here] * l->z[r];
            l->beta[r] += here ? f : -f;
            for (size_t c = 0; c <= r; c++) l->gram[r * n + c] += f * l->z[c];
        }
    }
    for (size_t i = 0; i < l->width; i++) l->gram[i * n + i] += PENALTY;
}

static double score(const learner *l) {
    double sum = 0;
    for (size_t i = 0; i <= l->width; i++) sum += l->beta[i] * l->z[i];
    return sum;
}

/* What is said of each text of `here` by the fit without it; z becomes L^-1 z on the way. */
static void leave_out(learner *l, const float *v) {
    size_t n = l->width + 1;
    for (size_t i = 0; i < l->kept.len; i++) {
        if (l->kept.items[i].label != l->here) continue;
        put_text(l, v + i * l->width);
        double f = score(l), h = 0;
        ng_solve_lower(l->gram, l->z, n);
        for (size_t r = 0; r < n; r++) h += l->weight[1] * l->z[r] * l->z[r];
        l->left_out[i] = (float)((f - h) / (1 - h));
    }
}

/* Of n[0] texts of elsewhere and n[1] of here. */
static void weigh_labels(const learner *l, const double n[2], double weight[2]) {
    for (int k = 0; k < 2; k++)
        weight[k] = ng_exp(l->job->recipe->training.balance * ng_log((n[0] + n[1]) / (2 * n[k])));
}

static void count_labels(const learner *l, const ng_dataset *d, double n[2]) {
    n[0] = n[1] = 0;
    for (size_t i = 0; i < d->len; i++) n[d->items[i].label == l->here]++;
}

static ng_status fit_vectors(learner *l) {
    size_t n = l->width + 1;
    float *v = malloc((l->kept.len + 1) * l->width * sizeof *v);
    l->gram = calloc(n * n, sizeof *l->gram);
    l->beta = calloc(n, sizeof *l->beta);
    l->z = malloc(n * sizeof *l->z);
    l->left_out = malloc((l->kept.len + 1) * sizeof *l->left_out);
    ng_status s = v && l->gram && l->beta && l->z && l->left_out ? read_texts(l, &l->kept, v) : no_memory(l);
    if (!s) {
        double count[2];
        count_labels(l, &l->kept, count);
        weigh_labels(l, count, l->weight);
        add_texts(l, v);
        ng_factorize(l->gram, n);
        ng_solve_lower(l->gram, l->beta, n);
        ng_solve_upper(l->gram, l->beta, n);
        leave_out(l, v);
        if (!isfinite(score(l)))
            s = ng_fail(l->err, NG_EFORMAT, "%s: `vectors`: the fit is not a number", l->job->recipe->path);
    }
    free(v);
    return s;
}

/* ---- both together -------------------------------------------------------------------------------- */

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

static int by_hash_of_item(const void *a, const void *b) {
    const ng_sample *x = *(const ng_sample *const *)a, *y = *(const ng_sample *const *)b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

/* The left-out score of those texts of `here` that training saw too. */
static ng_status replace_seen(learner *l) {
    const ng_sample **own = malloc((l->kept.len + 1) * sizeof *own);
    size_t n = 0, n_fresh = 0;
    if (!own) return no_memory(l);
    for (size_t i = 0; i < l->kept.len; i++)
        if (l->kept.items[i].label == l->here) own[n++] = &l->kept.items[i];
    qsort(own, n, sizeof *own, by_hash_of_item);
    for (size_t i = 0; i < l->tune.len; i++) {
        const ng_sample *t = &l->tune.items[i];
        if (t->label != l->here) continue;
        const ng_sample **seen = bsearch(&t, own, n, sizeof *own, by_hash_of_item);
        if (seen) l->x[i * 2 + 1] = l->left_out[*seen - l->kept.items];
        else n_fresh++;
    }
    l->measured = n_fresh >= MEASURED_MIN;
    free(own);
    return NG_OK;
}

static ng_status read_tune(learner *l) {
    const ng_dataset *d = &l->tune;
    float *v = malloc((d->len + 1) * l->width * sizeof *v);
    l->x = malloc((d->len + 1) * 2 * sizeof *l->x);
    ng_status s = v && l->x ? read_texts(l, d, v) : no_memory(l);
    for (size_t i = 0; !s && i < d->len; i++) {
        put_text(l, v + i * l->width);
        l->x[i * 2 + 1] = (float)score(l);
    }
    free(v);
    if (!s) s = replace_seen(l);
    return s ? s : read_linear(l);
}

/* What Platt's sigmoid is fitted on: dev texts, and the left-out scores of `here`. */
typedef struct platt {
    double weight, target; /* of the label at hand */
    double h[PARAMS][PARAMS], g[PARAMS];
} platt;

static void add_score(platt *f, const double q[PARAMS], double x) {
    double p = ng_sigmoid(q[0] * x + q[1]), curve = f->weight * p * (1 - p), off = f->weight * (p - f->target);
    f->g[0] += off * x, f->g[1] += off;
    f->h[0][0] += curve * x * x, f->h[0][1] += curve * x, f->h[1][1] += curve;
}

/* Newton's steps to the scale and the shift of a score, by smoothed targets. */
static void calibrate(const learner *l, double q[PARAMS]) {
    double own[2], n[2], weight[2];
    count_labels(l, &l->kept, own);
    count_labels(l, &l->tune, n);
    n[1] += own[1];
    weigh_labels(l, n, weight);
    const double target[2] = {1 / (n[0] + 2), (n[1] + 1) / (n[1] + 2)};
    q[0] = 1, q[1] = 0;
    for (int step = 0; step < NEWTON_STEPS; step++) {
        platt f = {.weight = weight[1], .target = target[1]};
        for (size_t i = 0; i < l->kept.len; i++)
            if (l->kept.items[i].label == l->here) add_score(&f, q, (double)l->left_out[i]);
        for (size_t i = 0; i < l->tune.len; i++) {
            bool here = l->tune.items[i].label == l->here;
            f.weight = weight[here], f.target = target[here];
            add_score(&f, q, (double)l->x[i * 2 + 1]);
        }
        f.h[1][0] = f.h[0][1];
        f.h[0][0] += 1e-3, f.h[1][1] += 1e-3; /* where everything is told apart already the curve is flat */
        ng_solve(&f.h[0][0], f.g, PARAMS);
        double most = 0;
        for (int r = 0; r < PARAMS; r++) {
            double move = f.g[r] > 1 ? 1 : f.g[r] < -1 ? -1 : f.g[r];
            q[r] -= move;
            most = fabs(move) > most ? fabs(move) : most;
        }
        if (most < 1e-9) break;
    }
    if (q[0] < 0) q[0] = q[1] = 0; /* more of it would speak against the expert: it says nothing */
}

static int descending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* Lowers the shift until no more of `elsewhere` is claimed than may be. */
static ng_status be_careful(const learner *l, double q[PARAMS]) {
    size_t n = 0;
    float *x = malloc((l->tune.len + 1) * sizeof *x);
    if (!x) return no_memory(l);
    for (size_t i = 0; i < l->tune.len; i++)
        if (l->tune.items[i].label != l->here) x[n++] = l->x[i * 2 + 1];
    qsort(x, n, sizeof *x, descending);
    double most = q[0] * (double)x[(size_t)(CAREFUL * (double)n)] + q[1];
    if (most > 0) q[1] -= most;
    free(x);
    return NG_OK;
}

/* Both labels count alike. */
static double accuracy(const learner *l, double linear, const double q[PARAMS]) {
    const ng_dataset *d = &l->tune;
    double n[2], right[2] = {0, 0};
    count_labels(l, d, n);
    for (size_t i = 0; i < d->len; i++) {
        bool here = d->items[i].label == l->here;
        right[here] += (linear * (double)l->x[i * 2] + (1 - linear) * (q[0] * (double)l->x[i * 2 + 1] + q[1]) >= 0) == here;
    }
    return (right[0] / n[0] + right[1] / n[1]) / 2;
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static ng_status write_claim(learner *l, double linear, const double q[PARAMS]) {
    const ng_recipe *r = l->job->recipe;
    int stem = (int)strlen(l->job->linear_path) - 5;
    int n = snprintf(l->out->path, sizeof l->out->path, "%.*s.vector.gguf", stem, l->job->linear_path);
    float *w = malloc(l->width * sizeof *w);
    ng_status s = !w ? no_memory(l)
                  : n < 0 || (size_t)n >= sizeof l->out->path
                      ? ng_fail(l->err, NG_EINVALID, "%s: the path of the model is too long", r->path)
                      : NG_OK;
    double scale = (1 - linear) * q[0], bias = scale * l->beta[l->width] + (1 - linear) * q[1];
    for (size_t i = 0; !s && i < l->width; i++) w[i] = (float)(scale * l->beta[i]);
    ng_vector_claim_parts parts = {r->about.name, r->vectors.encoder, l->digest, linear, bias, w, l->width};
    if (!s) s = ng_vector_claim_write(&parts, l->out->path, l->err);
    free(w);
    return s;
}

static ng_status learn(learner *l) {
    double q[PARAMS];
    ng_status s;
    if ((s = ng_claim_job_check(l->job, l->err)) || (s = open_encoder(l)) || (s = identify(l)) || (s = keep_texts(l, &l->kept, l->job->train)) ||
        (s = keep_texts(l, &l->tune, l->job->tune)) || (s = fit_vectors(l)) || (s = read_tune(l)))
        return s;
    l->out->n_texts = l->kept.len;
    calibrate(l, q);
    double linear = l->measured ? LINEAR : 0;
    if (!l->measured && (s = be_careful(l, q))) return s;
    l->out->accuracy = accuracy(l, linear, q);
    l->out->linear_accuracy = accuracy(l, 1, q);
    return write_claim(l, linear, q);
}

ng_status ng_vector_claim_learn(ng_claim_found *out, const ng_claim_job *j, ng_error *err) {
    ng_error local = {0};
    learner l = {.job = j, .out = out, .err = err ? err : &local};
    *out = (ng_claim_found){.accuracy = NAN, .linear_accuracy = NAN};
    l.here = j->labels->len && !strcmp(j->labels->names[0], "here") ? 0 : 1;
    ng_status s = learn(&l);
    ng_session_free(l.session);
    ng_model_close(l.model);
    free(l.kept.items);
    free(l.tune.items);
    free(l.gram);
    free(l.beta);
    free(l.z);
    free(l.left_out);
    free(l.x);
    return s;
}
