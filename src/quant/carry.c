/* carry.c: see carry.h.
 *
 * What a row w adds up to over the inputs x is w.x; its mean squared change is e H e, where e is the row's
 * error and H the mean of x x^T.  With H = R R^T, R upper triangular, that is the sum over columns i of
 * (R[i][i] (t_i - q_i))^2, t_i = w_i + sum over j < i of (R[j][i] / R[i][i]) e_j: each column is rounded not to
 * its weight but to t_i, which makes up for the errors before it.  So one pass from left to right
 * quantises a row, as GPTQ does (Frantar et al. 2022; that this is Babai's nearest plane: Chen et al. 2025).
 *
 * Better than rounding to the nearest level is to keep a few ways open: the WAYS best beginnings of a group of one
 * scale go on with two levels each (the M algorithm).  NG3 keeps half of them in each parity, since eight
 * codes must add up to an even number, and NG3_S the best two for each of the sixteen syndromes of its code.
 *
 * H gets a part of its mean diagonal added, and the columns of the inputs that were never used all of it,
 * so that R exists.  Doubles in fixed order: the same file on every machine and thread count. */
#include "carry.h"

#include "core/checked.h"
#include "kernel/dequant.h"
#include "kernel/half.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 8, SYNDROMES = 16, WAYS_MAX = 2 * SYNDROMES, GROUP_MAX = 64, LANES = 8 };

struct ng_carry {
    size_t n;
    float *pull;   /* [n, n]: row i holds R[j][i] / R[i][i] for j < i */
    float *weight; /* [n]: R[i][i]^2 */
};

void ng_carry_free(ng_carry *f) {
    if (!f) return;
    free(f->pull);
    free(f->weight);
    free(f);
}

bool ng_can_carry(uint32_t type) {
    return type == NG_TYPE_NG4 || type == NG_TYPE_NG3 || type == NG_TYPE_NG3_S;
}

static double dot(const double *a, const double *b, size_t n) {
    double lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++) lane[k] += a[i + k] * b[i + k];
    for (; i < n; i++) sum += a[i] * b[i];
    for (size_t k = 0; k < LANES; k++) sum += lane[k];
    return sum;
}

/* Columns i from last to first of R, a part the rows j of each. */
typedef struct factoring {
    ng_pool *pool;
    double *h; /* [n, n]: the lower triangle of H; its upper becomes R, read as R[j][i] = h[j * n + i] */
    double *diagonal; /* [n]: H's */
    size_t n;
} factoring;

static void factor_part(void *ctx, int part, int n_parts) {
    factoring *k = ctx;
    size_t n = k->n;
    for (size_t i = n; i-- > 0;) {
        double *row = k->h + i * n;
        size_t begin, end;
        double left = k->diagonal[i] - dot(row + i + 1, row + i + 1, n - i - 1);
        double least = 1e-9 * k->diagonal[i];
        double r = sqrt(left > least ? left : least);
        ng_pool_slice(i, 1, part, n_parts, &begin, &end);
        for (size_t j = begin; j < end; j++) {
            double *other = k->h + j * n;
            other[i] = (row[j] - dot(other + i + 1, row + i + 1, n - i - 1)) / r;
        }
        if (part == 0) row[i] = r; /* which none reads before all are done */
        ng_pool_barrier(k->pool);
    }
}

static void fill(factoring *k, const float *gram, double damping) {
    double mean = 0;
    for (size_t i = 0; i < k->n; i++) mean += (double)gram[i * (i + 1) / 2 + i];
    mean /= (double)k->n;
    if (!(mean > 0)) mean = 1;
    for (size_t i = 0; i < k->n; i++, gram += i) {
        for (size_t j = 0; j < i; j++) k->h[i * k->n + j] = (double)gram[j];
        k->diagonal[i] = (double)gram[i] + (gram[i] > 0 ? damping : 1) * mean;
    }
}

/* False: these were no products of real columns.  Real ones pull by sqrt(n / damping) at most. */
static bool keep(ng_carry *f, const factoring *k) {
    bool ok = true;
    for (size_t i = 0; i < f->n; i++) {
        double r = k->h[i * f->n + i];
        f->weight[i] = (float)(r * r);
        ok &= r > 0 && isfinite(f->weight[i]);
        for (size_t j = 0; j < i; j++) {
            double pull = k->h[j * f->n + i] / r;
            ok &= fabs(pull) < 1e6;
            f->pull[i * f->n + j] = (float)pull;
        }
    }
    return ok;
}

ng_status ng_carry_new(ng_carry **out, const float *gram, size_t n, double damping, ng_pool *pool, ng_error *err) {
    size_t cells, doubles;
    *out = NULL;
    if (!ng_mul_ok(&cells, n, n) || !ng_mul_ok(&doubles, cells, sizeof(double)))
        return ng_fail(err, NG_ENOMEM, "no memory for the products of %zu columns", n);
    ng_carry *f = calloc(1, sizeof *f);
    factoring k = {.pool = pool, .h = malloc(doubles), .diagonal = malloc(n * sizeof(double)), .n = n};
    if (f) *f = (ng_carry){.n = n, .pull = malloc(cells * sizeof(float)), .weight = malloc(n * sizeof(float))};
    ng_status s = NG_OK;
    if (!f || !k.h || !k.diagonal || !f->pull || !f->weight)
        s = ng_fail(err, NG_ENOMEM, "no memory for the products of %zu columns", n);
    if (!s) {
        fill(&k, gram, damping);
        ng_pool_run(pool, factor_part, &k);
        if (!keep(f, &k)) s = ng_fail(err, NG_EFORMAT, "no columns have such products");
    }
    free(k.h);
    free(k.diagonal);
    if (s) ng_carry_free(f);
    else *out = f;
    return s;
}

/* ---- a row ---------------------------------------------------------------------------------------------- */

/* A beginning of a group. */
typedef struct way {
    float error[GROUP_MAX], loss;
    uint8_t codes[GROUP_MAX], syndrome; /* of the lowest bits of the eight that column i is among */
} way;

typedef struct group {
    const ng_carry *f;
    const float *row;
    float target[GROUP_MAX]; /* with the pull of what is before the group */
    size_t at, n;
    float d, value[16]; /* of each code */
    ng_quant_info q;
} group;

static float pull_of(const float *pull, const float *errors, size_t n) {
    float lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++) lane[k] += pull[i + k] * errors[i + k];
    for (; i < n; i++) sum += pull[i] * errors[i];
    for (size_t k = 0; k < LANES; k++) sum += lane[k];
    return sum;
}

typedef struct step {
    float loss, error;
    uint8_t from, code, syndrome;
} step;

/* The two levels around t, of a way that lost `loss` so far. */
static void two_steps(const group *g, size_t i, float t, const way *from, step out[2]) {
    int a = 0, b = (1 << g->q.bits) - 1;
    bool rising = g->d > 0;
    while (b - a > 1) {
        int mid = (a + b) / 2;
        if ((g->value[mid] <= t) == rising) a = mid;
        else b = mid;
    }
    float w = g->f->weight[g->at + i];
    uint8_t of_one = ng_low_syndrome(g->q.low, i);
    for (int k = 0; k < 2; k++) {
        int code = k ? b : a;
        float e = t - g->value[code];
        out[k] = (step){.loss = from->loss + w * (e * e), .error = g->row[g->at + i] - g->value[code],
                        .code = (uint8_t)code,
                        .syndrome = (uint8_t)(from->syndrome ^ (code & 1 ? of_one : 0))};
    }
}

/* Of the n steps the `want` least with each syndrome below n_syndromes go to kept, of each the best first; returns
 * how many. */
static size_t keep_least(const step *steps, size_t n, size_t n_syndromes, size_t want, step *kept) {
    uint8_t best[SYNDROMES][WAYS];
    size_t have[SYNDROMES] = {0}, got = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t *of = best[steps[i].syndrome];
        size_t at = have[steps[i].syndrome];
        if (at < want) have[steps[i].syndrome]++;
        else if (steps[i].loss < steps[of[at - 1]].loss) at--;
        else continue;
        for (; at && steps[i].loss < steps[of[at - 1]].loss; at--) of[at] = of[at - 1];
        of[at] = (uint8_t)i;
    }
    for (size_t s = 0; s < n_syndromes; s++)
        for (size_t k = 0; k < have[s]; k++) kept[got++] = steps[best[s][k]];
    return got;
}

/* The ways after column i; `to` gets them. */
static size_t advance(const group *g, size_t i, const way *from, size_t n_from, way *to) {
    step steps[2 * WAYS_MAX], kept[WAYS_MAX];
    size_t n = 0;
    for (size_t s = 0; s < n_from; s++, n += 2) {
        const float *pull = g->f->pull + (g->at + i) * g->f->n + g->at;
        two_steps(g, i, g->target[i] + pull_of(pull, from[s].error, i), &from[s], &steps[n]);
        steps[n].from = steps[n + 1].from = (uint8_t)s;
    }
    /* At the end of eight only ways whose lowest bits may stand go on. */
    if (i % 8 == 7 || g->q.low == NG_LOW_ANY) n = keep_least(steps, n, 1, WAYS, kept);
    else if (g->q.low == NG_LOW_EVEN) n = keep_least(steps, n, 2, WAYS / 2, kept);
    else n = keep_least(steps, n, SYNDROMES, 2, kept);
    for (size_t s = 0; s < n; s++) {
        const way *w = &from[kept[s].from];
        memcpy(to[s].error, w->error, i * sizeof *w->error);
        memcpy(to[s].codes, w->codes, i);
        to[s].error[i] = kept[s].error;
        to[s].codes[i] = kept[s].code;
        to[s].loss = kept[s].loss;
        to[s].syndrome = kept[s].syndrome;
    }
    return n;
}

/* Codes of one group; its errors are put after those before it. */
static uint8_t code_group(group *g, uint32_t type, float *errors, uint8_t *codes) {
    way ways[2][WAYS_MAX];
    for (size_t i = 0; i < g->n; i++)
        g->target[i] = g->row[g->at + i] + pull_of(g->f->pull + (g->at + i) * g->f->n, errors, g->at);
    uint8_t scale = ng_search_scale8(type, g->target, g->f->weight + g->at, g->n);
    g->d = ng_f16_to_f32(ng_scale8_to_f16(scale));
    for (int c = 0; c < 1 << g->q.bits; c++) g->value[c] = g->d * ((float)g->q.levels[c] - (float)g->q.offset);
    ways[0][0].loss = 0;
    ways[0][0].syndrome = 0;
    size_t n = 1;
    for (size_t i = 0; i < g->n; i++) n = advance(g, i, ways[i % 2], n, ways[(i + 1) % 2]);
    const way *best = &ways[g->n % 2][0]; /* keep_least puts the best first */
    memcpy(errors + g->at, best->error, g->n * sizeof *errors);
    memcpy(codes, best->codes, g->n);
    return scale;
}

void ng_quantize_carried(uint32_t type, const ng_carry *f, const float *row, float *errors, void *dst) {
    assert(ng_can_carry(type));
    group g = {.f = f, .row = row, .n = type == NG_TYPE_NG4 ? 32 : 64, .q = ng_quant_get_info(type)};
    uint8_t *to = dst, scales[2] = {0, 0}, codes[64];
    for (size_t at = 0; at < f->n; at += 64, to += g.q.block_bytes) {
        for (size_t k = 0; k < 64 / g.n; k++) {
            g.at = at + k * g.n;
            scales[k] = code_group(&g, type, errors, codes + k * g.n);
        }
        ng_put_block64(type, scales, codes, to);
    }
}
