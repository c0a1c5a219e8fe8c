/* nn_match.c: losses between a student and its teacher.  See nn.h.
 *
 * Soft labels: Hinton et al. 2015.  Hidden values and attention of the last layer: Jiao et al. 2019 (TinyBERT), Wang et al. 2020
 * (MiniLM: the last layer alone, KL of attention).  The sums of threads' parts are kept a row (or head) and added in order. */
#include "nn.h"

#include "core/math.h"
#include <math.h>
#include <string.h>

static double soft_row(const ng_nn_soft *o, const float *z, const float *want, float *dz) {
    double top = (double)z[0], all = 0, loss = 0, t = o->temperature;
    for (size_t c = 1; c < o->n_labels; c++) top = (double)z[c] > top ? (double)z[c] : top;
    for (size_t c = 0; c < o->n_labels; c++) all += ng_exp(((double)z[c] - top) / t);
    double log_all = ng_log(all);
    for (size_t c = 0; c < o->n_labels; c++) {
        double p = (double)want[c], log_q = ((double)z[c] - top) / t - log_all;
        if (p > 0) loss += p * (ng_log(p) - log_q);
        dz[c] += (float)(o->scale * t * (ng_exp(log_q) - p));
    }
    return t * t * loss;
}

/* x log(x / y), 0 for x = 0 */
static double part(double x, double y) { return x > 0 ? x * (ng_log(x) - ng_log(y)) : 0; }

static double soft_labels(const ng_nn_soft *o, const float *z, const float *want, float *dz) {
    double loss = 0, t = o->temperature, share = 1 / (double)o->n_labels;
    for (size_t c = 0; c < o->n_labels; c++) {
        double p = (double)want[c], q = ng_sigmoid((double)z[c] / t);
        loss += part(p, q + 1e-12) + part(1 - p, 1 - q + 1e-12);
        dz[c] += (float)(o->scale * t * share * (q - p));
    }
    return t * t * share * loss;
}

double ng_nn_soft_loss(const ng_nn_soft *o) {
    double sum = 0;
    for (size_t i = 0; i < o->n; i++) {
        size_t at = i * o->n_labels;
        if (o->n_labels && !isnan(o->want[at]))
            sum += (o->each ? soft_labels : soft_row)(o, o->z + at, o->want + at, o->dz + at);
    }
    return sum;
}

/* ---- hidden values ------------------------------------------------------------------------------ */

typedef struct hidden_job {
    const ng_nn_hidden *o;
    double *rows; /* [n] */
} hidden_job;

static void hidden_rows(void *ctx, int part_at, int n_parts) {
    const hidden_job *j = ctx;
    const ng_nn_hidden *o = j->o;
    size_t begin, end;
    ng_pool_slice(o->n, 1, part_at, n_parts, &begin, &end);
    float g = (float)(2 * o->scale / (double)o->width);
    for (size_t i = begin; i < end; i++) {
        double sum = 0;
        for (size_t c = i * o->width; c < (i + 1) * o->width; c++) {
            float off = o->x[c] - o->want[c];
            sum += (double)off * (double)off;
            o->dx[c] += g * off;
        }
        j->rows[i] = sum / (double)o->width;
    }
}

double ng_nn_hidden_loss(const ng_nn *nn, const ng_nn_hidden *o) {
    hidden_job j = {o, nn->work};
    double sum = 0;
    ng_pool_run(nn->pool, hidden_rows, &j);
    for (size_t i = 0; i < o->n; i++) sum += j.rows[i];
    return sum;
}

/* ---- attention ---------------------------------------------------------------------------------- */

typedef struct match_job {
    const ng_nn_attention_match *o;
    double *units;      /* [n_seq, n_head] */
    float *scratch;     /* a part: [2, longest] */
    size_t longest;
} match_job;

/* log softmax(q_i K^T / sqrt(d)) over the rows of a sequence; returns nothing, out[len]. */
static void log_attention(const float *q, const float *k, size_t stride, size_t len, size_t d, float *out) {
    float scale = 1.0f / sqrtf((float)d);
    double top = -1e30, all = 0;
    for (size_t j = 0; j < len; j++) {
        float dot = 0;
        for (size_t c = 0; c < d; c++) dot += q[c] * k[j * stride + c];
        out[j] = dot * scale;
        top = (double)out[j] > top ? (double)out[j] : top;
    }
    for (size_t j = 0; j < len; j++) all += ng_exp((double)out[j] - top);
    float log_all = (float)(top + ng_log(all));
    for (size_t j = 0; j < len; j++) out[j] -= log_all;
}

/* One head of one sequence: rows from `at`. */
static double match_unit(const ng_nn_attention_match *o, size_t at, size_t len, size_t head, float *scratch) {
    size_t w = o->width, d = w / o->n_head, stride = 3 * w, from = at * stride + head * d;
    const float *q = o->qkv + from, *k = q + w, *tq = o->want + from, *tk = tq + w;
    float *dq = o->dqkv + from, *dk = dq + w, *mine = scratch, *theirs = scratch + len;
    float g = (float)(o->scale / (double)o->n_head / sqrt((double)d));
    double sum = 0;
    for (size_t i = 0; i < len; i++)
        for (size_t part_of = 0; part_of < 3; part_of++) memset(dq + i * stride + part_of * w, 0, d * sizeof *dq);
    for (size_t i = 0; i < len; i++) {
        log_attention(q + i * stride, k, stride, len, d, mine);
        log_attention(tq + i * stride, tk, stride, len, d, theirs);
        for (size_t j = 0; j < len; j++) {
            double p = ng_exp((double)theirs[j]);
            sum += p * ((double)theirs[j] - (double)mine[j]);
            float ds = g * (float)(ng_exp((double)mine[j]) - p);
            for (size_t c = 0; c < d; c++) {
                dq[i * stride + c] += ds * k[j * stride + c];
                dk[j * stride + c] += ds * q[i * stride + c];
            }
        }
    }
    return sum / (double)o->n_head;
}

static void match_units(void *ctx, int part_at, int n_parts) {
    const match_job *j = ctx;
    const ng_nn_attention_match *o = j->o;
    size_t begin, end;
    ng_pool_slice(o->n_seq * o->n_head, 1, part_at, n_parts, &begin, &end);
    for (size_t u = begin; u < end; u++) {
        size_t s = u / o->n_head;
        j->units[u] = match_unit(o, o->begin[s], o->begin[s + 1] - o->begin[s], u % o->n_head,
                                 j->scratch + (size_t)part_at * 2 * j->longest);
    }
}

size_t ng_nn_match_bytes(const ng_nn *nn, size_t n_seq, size_t n_head, size_t n, size_t longest) {
    size_t units = n_seq * n_head > n ? n_seq * n_head : n;
    return units * sizeof(double) + (size_t)ng_pool_threads(nn->pool) * 2 * longest * sizeof(float);
}

double ng_nn_attention_loss(const ng_nn *nn, const ng_nn_attention_match *o) {
    match_job j = {.o = o, .units = nn->work};
    double sum = 0;
    for (size_t s = 0; s < o->n_seq; s++)
        if (o->begin[s + 1] - o->begin[s] > j.longest) j.longest = o->begin[s + 1] - o->begin[s];
    j.scratch = (float *)(j.units + o->n_seq * o->n_head);
    ng_pool_run(nn->pool, match_units, &j);
    for (size_t u = 0; u < o->n_seq * o->n_head; u++) sum += j.units[u];
    return sum;
}
