/* fit.c: the optimiser of linear models.  See fit.h.
 *
 * AdaGrad (Duchi et al. 2011) with one step size a row instead of one a weight: a rare n-gram moves
 * far the few times it is seen, a frequent one settles, and the memory is one float a row.  The rate
 * falls linearly to nothing over the passes, which takes the place of averaging.  Dropout hides
 * features at random (Wang and Manning 2013: it acts as an adaptive L2 penalty). */
#include "fit.h"

#include "core/math.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

ng_status ng_fit_new(ng_fit *out, size_t n_rows, size_t n_labels, ng_error *err) {
    *out = (ng_fit){.n_rows = n_rows, .n_labels = n_labels};
    out->weight = calloc(n_rows * n_labels, sizeof(float));
    out->bias = calloc(n_labels, sizeof(float));
    out->square = calloc(n_rows, sizeof(float));
    out->square_bias = calloc(n_labels, sizeof(float));
    out->label_weight = calloc(n_labels, sizeof(float));
    out->logits = calloc(n_labels, sizeof(float));
    out->gradient = calloc(n_labels, sizeof(float));
    if (!out->weight || !out->bias || !out->square || !out->square_bias || !out->label_weight || !out->logits ||
        !out->gradient) {
        ng_fit_clear(out);
        return ng_fail(err, NG_ENOMEM, "training: out of memory for %zu rows of %zu weights", n_rows, n_labels);
    }
    for (size_t c = 0; c < n_labels; c++) out->label_weight[c] = 1;
    return NG_OK;
}

void ng_fit_clear(ng_fit *f) {
    free(f->weight);
    free(f->bias);
    free(f->square);
    free(f->square_bias);
    free(f->label_weight);
    free(f->logits);
    free(f->gradient);
    free(f->order);
    *f = (ng_fit){0};
}

void ng_fit_balance(ng_fit *f, const ng_dataset *d, bool multi_label, double balance) {
    for (size_t c = 0; c < f->n_labels; c++) {
        size_t holds = 0, known = 0;
        for (size_t i = 0; i < d->len; i++) {
            holds += multi_label ? d->items[i].holds >> c & 1 : d->items[i].label == (int32_t)c;
            known += multi_label ? d->items[i].known >> c & 1 : 1;
        }
        double ratio = multi_label ? (double)(known - holds) / (double)holds
                                   : (double)known / ((double)f->n_labels * (double)holds);
        f->label_weight[c] = holds && ratio > 0 ? (float)ng_exp(balance * ng_log(ratio)) : 1;
    }
}

void ng_fit_keep(ng_fit *f, const int32_t *moved, size_t n_rows) {
    for (size_t i = 0; i < f->n_rows; i++) /* new rows never stand behind old ones */
        if (moved[i] >= 0)
            memmove(f->weight + (size_t)moved[i] * f->n_labels, f->weight + i * f->n_labels,
                    f->n_labels * sizeof *f->weight);
    f->n_rows = n_rows;
    memset(f->square, 0, n_rows * sizeof *f->square);
    memset(f->square_bias, 0, f->n_labels * sizeof *f->square_bias);
}

/* y += a x */
static void add_scaled(float *restrict y, const float *restrict x, float a, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

void ng_fit_logits(const ng_fit *f, const ng_vectors *v, size_t i, float *logits) {
    memcpy(logits, f->bias, f->n_labels * sizeof *logits);
    for (size_t k = v->begin[i]; k < v->begin[i + 1]; k++)
        add_scaled(logits, f->weight + v->row[k] * f->n_labels, v->value[k], f->n_labels);
}

static double softmax_loss(const ng_fit *f, const float *logits, const ng_sample *s, const ng_fit_config *c,
                           float *gradient) {
    size_t n = f->n_labels, y = (size_t)s->label;
    float rest = (float)(c->smoothing / (double)n), w = f->label_weight[y];
    ng_softmax(gradient, logits, n, 1);
    double loss = 0;
    if (c->smoothing > 0)
        for (size_t i = 0; i < n; i++) loss -= (double)rest * ng_log((double)gradient[i] + 1e-30);
    loss -= (1 - c->smoothing) * ng_log((double)gradient[y] + 1e-30);
    for (size_t i = 0; i < n; i++) gradient[i] = w * (gradient[i] - rest);
    gradient[y] -= w * (float)(1 - c->smoothing);
    return (double)w * loss;
}

static double sigmoid_loss(const ng_fit *f, const float *logits, const ng_sample *s, const ng_fit_config *c,
                           float *gradient) {
    double loss = 0;
    for (size_t i = 0; i < f->n_labels; i++) {
        gradient[i] = 0;
        if (!(s->known >> i & 1)) continue;
        bool holds = s->holds >> i & 1;
        double w = holds ? (double)f->label_weight[i] : 1, p = ng_sigmoid((double)logits[i]);
        double target = holds ? 1 - c->smoothing / 2 : c->smoothing / 2;
        loss -= w * (target * ng_log(p + 1e-30) + (1 - target) * ng_log(1 - p + 1e-30));
        gradient[i] = (float)(w * (p - target));
    }
    return loss;
}

double ng_fit_loss(const ng_fit *f, const float *logits, const ng_sample *s, const ng_fit_config *c, float *gradient) {
    return c->multi_label ? sigmoid_loss(f, logits, s, c, gradient) : softmax_loss(f, logits, s, c, gradient);
}

/* Hides features: the kept ones of vector i go to the front of row[], value[]; returns how many. */
static size_t drop(const ng_vectors *v, size_t i, double dropout, ng_rng *rng, uint32_t *row, float *value) {
    size_t n = 0;
    float up = (float)(1 / (1 - dropout));
    for (size_t k = v->begin[i]; k < v->begin[i + 1]; k++) {
        if (ng_rng_unit(rng) < dropout) continue;
        row[n] = v->row[k];
        value[n++] = v->value[k] * up;
    }
    return n;
}

typedef struct sparse {
    const uint32_t *row;
    const float *value;
    size_t n;
} sparse;

static double train_one(ng_fit *f, sparse x, const ng_sample *s, const ng_fit_config *c, double rate) {
    size_t n = f->n_labels;
    memcpy(f->logits, f->bias, n * sizeof *f->logits);
    for (size_t k = 0; k < x.n; k++) add_scaled(f->logits, f->weight + x.row[k] * n, x.value[k], n);
    double loss = ng_fit_loss(f, f->logits, s, c, f->gradient);
    float square = 0;
    for (size_t i = 0; i < n; i++) {
        float g = f->gradient[i];
        square += g * g;
        f->square_bias[i] += g * g;
        if (f->square_bias[i] > 0) f->bias[i] -= (float)rate * 0.1f * g / sqrtf(f->square_bias[i]);
    }
    for (size_t k = 0; k < x.n; k++) {
        float *w = f->weight + x.row[k] * n, *h = &f->square[x.row[k]];
        *h += x.value[k] * x.value[k] * square;
        if (*h <= 0) continue;
        float step = (float)rate / sqrtf(*h);
        if (c->l2 > 0) {
            float shrink = 1 - step * (float)c->l2;
            for (size_t i = 0; i < n; i++) w[i] *= shrink;
        }
        add_scaled(w, f->gradient, -step * x.value[k], n);
    }
    return loss;
}

static ng_status new_order(ng_fit *f, size_t n) {
    if (f->n_order == n) return NG_OK;
    free(f->order);
    f->n_order = 0;
    f->order = malloc((n + 1) * sizeof *f->order);
    if (!f->order) return NG_ENOMEM;
    f->n_order = n;
    return NG_OK;
}

double ng_fit_epoch(ng_fit *f, const ng_vectors *v, const ng_dataset *d, const ng_fit_config *c, double rate,
                    ng_rng *rng) {
    size_t longest = 0;
    for (size_t i = 0; i < v->n; i++)
        if (v->begin[i + 1] - v->begin[i] > longest) longest = v->begin[i + 1] - v->begin[i];
    uint32_t *row = malloc((longest + 1) * sizeof *row);
    float *value = malloc((longest + 1) * sizeof *value);
    double loss = -1;
    if (row && value && !new_order(f, v->n)) {
        loss = 0;
        for (uint32_t i = 0; i < v->n; i++) f->order[i] = i;
        ng_rng_shuffle(rng, f->order, v->n);
        for (size_t k = 0; k < v->n; k++) {
            uint32_t i = f->order[k];
            sparse x = {v->row + v->begin[i], v->value + v->begin[i], v->begin[i + 1] - v->begin[i]};
            if (c->dropout > 0) x = (sparse){row, value, drop(v, i, c->dropout, rng, row, value)};
            loss += train_one(f, x, &d->items[i], c, rate);
        }
        loss /= (double)v->n;
    }
    free(row);
    free(value);
    return loss;
}

static size_t argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

double ng_fit_accuracy(const ng_fit *f, const ng_vectors *v, const ng_dataset *d, bool multi_label) {
    size_t right = 0, n = 0;
    for (size_t i = 0; i < v->n; i++) {
        const ng_sample *s = &d->items[i];
        ng_fit_logits(f, v, i, f->logits);
        if (!multi_label) {
            n++;
            right += argmax(f->logits, f->n_labels) == (size_t)s->label;
            continue;
        }
        for (size_t c = 0; c < f->n_labels; c++) {
            if (!(s->known >> c & 1)) continue;
            n++;
            right += (f->logits[c] > 0) == (s->holds >> c & 1);
        }
    }
    return n ? (double)right / (double)n : NAN;
}
