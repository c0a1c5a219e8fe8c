/* confidence_fit.c: see confidence_fit.h.
 *
 * One hidden layer with ReLU, dropout on the input and on the hidden layer, AdamW with a rate that falls to zero in a line.
 * Features are brought to mean 0 and deviation 1 first.  More layers, taps or units were no better on held-out tasks' prompts. */
#include "confidence_fit.h"

#include "core/hash.h"
#include "core/math.h"
#include "train/calibrate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16 };

typedef struct adam {
    float *w, *g, *m, *v;
    size_t n;
} adam;

typedef struct fitter {
    const ng_confidence_training *o;
    size_t n_in, n_hidden;
    float *z, *drop; /* [n_in] one trial's features, and its dropout's factors */
    float *a, *ah;   /* [n_hidden] activations, their factors */
    adam w1, b1, w2, b2;
    ng_rng rng;
    int64_t step;
} fitter;

static float uniform(ng_rng *r) { return (float)(ng_rng_next(r) >> 40) * 0x1p-24f; }

static bool adam_init(adam *p, size_t n, ng_arena *arena) {
    p->n = n;
    p->w = ng_arena_array(arena, n, sizeof *p->w);
    p->g = calloc(3 * n, sizeof *p->g);
    if (!p->w || !p->g) return false;
    memset(p->w, 0, n * sizeof *p->w);
    p->m = p->g + n;
    p->v = p->m + n;
    return true;
}

/* AdamW (Loshchilov and Hutter 2019), beta 0.9 and 0.999. */
static void adam_step(adam *p, double rate, double decay, int64_t step, size_t batch) {
    double c1 = 1, c2 = 1;
    for (int64_t i = 0; i < step && c1 * c1 > 1e-20; i++) c1 *= 0.9;
    for (int64_t i = 0; i < step && c2 > 1e-10; i++) c2 *= 0.999;
    float lr = (float)(rate / (1 - c1)), fix = (float)(1 / (1 - c2)), keep = (float)(1 - rate * decay),
          mean = 1.0f / (float)batch;
    for (size_t i = 0; i < p->n; i++) {
        float g = p->g[i] * mean;
        p->m[i] = 0.9f * p->m[i] + 0.1f * g;
        p->v[i] = 0.999f * p->v[i] + 0.001f * g * g;
        p->w[i] = p->w[i] * keep - lr * p->m[i] / (sqrtf(p->v[i] * fix) + 1e-8f);
        p->g[i] = 0;
    }
}

static float dot(const float *a, const float *b, size_t n) {
    float lanes[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++) lanes[k] += a[i + k] * b[i + k];
    for (size_t k = 0; i + k < n; k++) lanes[k] += a[i + k] * b[i + k];
    for (size_t k = 0; k < LANES; k++) sum += lanes[k];
    return sum;
}

/* What stays when each value is dropped with probability p: 0 or 1 / (1 - p). */
static void draw(float *factors, size_t n, double p, ng_rng *rng) {
    float keep = (float)(1 / (1 - p));
    for (size_t i = 0; i < n; i++) factors[i] = (double)uniform(rng) < p ? 0 : keep;
}

static void normalise(const ng_confidence *c, const float *x, float *z) {
    for (size_t i = 0; i < c->n_features; i++) {
        float v = (x[i] - c->mean[i]) * c->scale[i];
        z[i] = v > 6 ? 6 : v < -6 ? -6 : v;
    }
}

/* Adds one trial's gradients. */
static void learn(fitter *f, const ng_confidence *c, const float *x, float right) {
    normalise(c, x, f->z);
    draw(f->drop, f->n_in, f->o->dropout, &f->rng);
    draw(f->ah, f->n_hidden, f->o->dropout, &f->rng);
    for (size_t i = 0; i < f->n_in; i++) f->z[i] *= f->drop[i];
    float y = f->b2.w[0];
    for (size_t h = 0; h < f->n_hidden; h++) {
        float s = dot(f->w1.w + h * f->n_in, f->z, f->n_in) + f->b1.w[h];
        f->a[h] = s > 0 ? s * f->ah[h] : 0;
        y += f->w2.w[h] * f->a[h];
    }
    float d = (float)ng_sigmoid((double)y) - right;
    f->b2.g[0] += d;
    for (size_t h = 0; h < f->n_hidden; h++) {
        f->w2.g[h] += d * f->a[h];
        float dh = f->a[h] > 0 ? d * f->w2.w[h] * f->ah[h] : 0, *g = f->w1.g + h * f->n_in;
        if (dh == 0) continue; /* most units, most of the time */
        f->b1.g[h] += dh;
        for (size_t i = 0; i < f->n_in; i++) g[i] += dh * f->z[i];
    }
}

/* mean and 1 / deviation of every feature. */
static bool measure(ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n, ng_arena *arena) {
    float *mean = ng_arena_array(arena, c->n_features, sizeof *mean),
          *scale = ng_arena_array(arena, c->n_features, sizeof *scale);
    if (!mean || !scale) return false;
    for (size_t i = 0; i < c->n_features; i++) {
        double sum = 0, square = 0;
        for (size_t k = 0; k < n; k++) sum += (double)t->features[rows[k] * c->n_features + i];
        double m = sum / (double)n;
        for (size_t k = 0; k < n; k++) {
            double d = (double)t->features[rows[k] * c->n_features + i] - m;
            square += d * d;
        }
        mean[i] = (float)m;
        scale[i] = (float)(1 / (sqrt(square / (double)n) + 1e-4));
    }
    c->mean = mean;
    c->scale = scale;
    return true;
}

static void shuffle(size_t *order, size_t n, ng_rng *rng) {
    for (size_t i = n; i > 1; i--) {
        size_t k = ng_rng_below(rng, (uint32_t)i), x = order[k];
        order[k] = order[i - 1];
        order[i - 1] = x;
    }
}

static void train(fitter *f, const ng_confidence *c, const ng_trials *t, size_t *order, size_t n) {
    int64_t per_epoch = ((int64_t)n + f->o->batch - 1) / f->o->batch, total = per_epoch * f->o->epochs;
    for (int64_t e = 0; e < f->o->epochs; e++) {
        shuffle(order, n, &f->rng);
        for (size_t at = 0; at < n;) {
            size_t end = at + (size_t)f->o->batch < n ? at + (size_t)f->o->batch : n, batch = end - at;
            for (; at < end; at++) learn(f, c, t->features + order[at] * c->n_features, (float)t->correct[order[at]]);
            double rate = f->o->rate * (1 - (double)f->step / (double)total);
            f->step++;
            adam *const all[] = {&f->w1, &f->b1, &f->w2, &f->b2};
            for (size_t k = 0; k < 4; k++) adam_step(all[k], rate, f->o->decay, f->step, batch);
        }
    }
}

static bool begin(fitter *f, ng_arena *arena) {
    size_t n = f->n_in, h = f->n_hidden;
    f->rng = ng_rng_seed((uint64_t)f->o->seed);
    bool ok = adam_init(&f->w1, n * h, arena) && adam_init(&f->b1, h, arena) && adam_init(&f->w2, h, arena) &&
              adam_init(&f->b2, 1, arena);
    f->z = ng_arena_array(arena, 2 * n + 2 * h, sizeof *f->z);
    if (!ok || !f->z) return false;
    f->drop = f->z + n;
    f->a = f->drop + n;
    f->ah = f->a + h;
    float in = (float)(1 / sqrt((double)n)), out = (float)(1 / sqrt((double)h));
    for (size_t i = 0; i < n * h; i++) f->w1.w[i] = (2 * uniform(&f->rng) - 1) * in;
    for (size_t i = 0; i < h; i++) f->w2.w[i] = (2 * uniform(&f->rng) - 1) * out;
    return true;
}

ng_status ng_confidence_fit(ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n,
                            const ng_confidence_training *o, ng_arena *arena, ng_error *err) {
    fitter f = {.o = o, .n_in = c->n_features, .n_hidden = (size_t)o->n_hidden};
    size_t *order = malloc(n * sizeof *order);
    bool ok = order && n && measure(c, t, rows, n, arena) && begin(&f, arena);
    if (ok) {
        memcpy(order, rows, n * sizeof *order);
        train(&f, c, t, order, n);
        c->n_hidden = f.n_hidden;
        c->w1 = f.w1.w, c->b1 = f.b1.w, c->w2 = f.w2.w, c->b2 = f.b2.w[0];
        c->platt_scale = 1;
        c->platt_shift = 0;
    }
    free(f.w1.g), free(f.b1.g), free(f.w2.g), free(f.b2.g);
    free(order);
    return ok ? NG_OK : ng_fail(err, NG_ENOMEM, "calibrate: out of memory");
}

static float *logits(const ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n) {
    float *out = malloc((n ? n : 1) * sizeof *out), *z = malloc(c->n_features * sizeof *z);
    for (size_t i = 0; out && z && i < n; i++) {
        normalise(c, t->features + rows[i] * c->n_features, z);
        out[i] = (float)ng_confidence_logit(c, z);
    }
    if (!z) free(out), out = NULL;
    free(z);
    return out;
}

ng_status ng_confidence_platt(ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n, ng_error *err) {
    float *z = logits(c, t, rows, n);
    bool *right = malloc(n ? n : 1);
    for (size_t i = 0; right && i < n; i++) right[i] = t->correct[rows[i]];
    if (z && right) {
        ng_platt p = ng_platt_fit(z, right, n);
        c->platt_scale = (float)p.scale;
        c->platt_shift = (float)p.shift;
    }
    bool ok = z && right;
    free(z);
    free(right);
    return ok ? NG_OK : ng_fail(err, NG_ENOMEM, "calibrate: out of memory");
}

/* ---- kinds --------------------------------------------------------------------------------------------- */

static const float *first_rows(const ng_confidence *c, const ng_trials *t, size_t row) {
    return t->features + row * c->n_features + NG_CONFIDENCE_STATS;
}

/* Of number i: each kind's mean into centre; the deviation within kinds is returned. */
static float measure_number(const ng_trials *t, const size_t *rows, size_t n, const ng_confidence *c, size_t i,
                            float *centre) {
    size_t width = c->n_taps * c->n_embd, len[NG_TRIAL_TASKS_MAX] = {0};
    double sum[NG_TRIAL_TASKS_MAX] = {0}, within = 0;
    for (size_t r = 0; r < n; r++)
        sum[t->task[rows[r]]] += (double)first_rows(c, t, rows[r])[i], len[t->task[rows[r]]]++;
    for (size_t r = 0; r < n; r++) {
        size_t k = t->task[rows[r]];
        double d = (double)first_rows(c, t, rows[r])[i] - sum[k] / (double)len[k];
        within += d * d;
    }
    for (size_t k = 0; k < t->n_names; k++) centre[k * width + i] = (float)(sum[k] / (double)(len[k] ? len[k] : 1));
    return (float)(sqrt(within / (double)(n ? n : 1)) + 1e-4);
}

ng_status ng_confidence_kinds(ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n, ng_arena *arena,
                              ng_error *err) {
    size_t width = c->n_taps * c->n_embd, cells = t->n_names * width;
    float *centre = ng_arena_array(arena, cells + 1, sizeof *centre),
          *spread = ng_arena_array(arena, width + 1, sizeof *spread);
    if (!centre || !spread) return ng_fail(err, NG_ENOMEM, "calibrate: out of memory");
    for (size_t i = 0; i < width; i++) spread[i] = measure_number(t, rows, n, c, i, centre);
    c->centre = centre;
    c->spread = spread;
    c->n_kinds = t->n_names;
    return NG_OK;
}

ng_status ng_confidence_radii(ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n, ng_arena *arena,
                              ng_error *err) {
    float *radius = ng_arena_array(arena, c->n_kinds + 1, sizeof *radius);
    size_t len[NG_TRIAL_TASKS_MAX] = {0};
    if (!radius) return ng_fail(err, NG_ENOMEM, "calibrate: out of memory");
    for (size_t k = 0; k < c->n_kinds; k++) radius[k] = 0; /* without a row nothing of this kind can be told */
    for (size_t r = 0; r < n; r++) {
        size_t k = t->task[rows[r]];
        float d = (float)ng_confidence_distance(c, k, first_rows(c, t, rows[r]));
        if (d > radius[k]) radius[k] = d;
        len[k]++;
    }
    for (size_t k = 0; k < c->n_kinds; k++) /* the farthest of few is nearer than the farthest of all */
        if (len[k]) radius[k] *= (float)(1 + 0.5 / sqrt((double)len[k]));
    c->radius = radius;
    return NG_OK;
}

float *ng_confidence_apply(const ng_confidence *c, const ng_trials *t, const size_t *rows, size_t n) {
    float *out = logits(c, t, rows, n);
    for (size_t i = 0; out && i < n; i++)
        out[i] = ng_confidence_strangeness(c, first_rows(c, t, rows[i])) > 1
                     ? 0
                     : (float)ng_sigmoid((double)c->platt_scale * (double)out[i] + (double)c->platt_shift);
    return out;
}
