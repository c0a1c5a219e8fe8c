/* dev_score.c: see dev_score.h. */
#include "dev_score.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- spans -------------------------------------------------------------------------------------- */

/* Whether the tag at i begins a span. */
static bool begins(const int32_t *tags, size_t i, const char *const *labels) {
    const char *l = labels[tags[i]];
    if (l[0] == 'O') return false;
    if (l[0] == 'B' || !i) return true;
    const char *before = labels[tags[i - 1]];
    return before[0] == 'O' || strcmp(before + 2, l + 2) != 0;
}

static size_t end_of(const int32_t *tags, size_t i, size_t n, const char *const *labels) {
    for (i++; i < n && labels[tags[i]][0] == 'I' && !begins(tags, i, labels);) i++;
    return i;
}

void ng_span_score_add(ng_span_score *s, const int32_t *gold, const int32_t *said, size_t n,
                       const char *const *labels) {
    for (size_t i = 0; i < n; i++) {
        bool g = begins(gold, i, labels), p = begins(said, i, labels);
        s->n_gold += g;
        s->n_said += p;
        s->n_right += g && p && !strcmp(labels[gold[i]] + 2, labels[said[i]] + 2) &&
                      end_of(gold, i, n, labels) == end_of(said, i, n, labels);
    }
}

double ng_span_f1(const ng_span_score *s) {
    return s->n_said + s->n_gold ? 2.0 * (double)s->n_right / (double)(s->n_said + s->n_gold) : NAN;
}

/* ---- ranks -------------------------------------------------------------------------------------- */

typedef struct ranked {
    float value;
    size_t at;
} ranked;

static int by_value(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void to_ranks(double *rank, ranked *scratch, const float *v, size_t n) {
    for (size_t i = 0; i < n; i++) scratch[i] = (ranked){v[i], i};
    qsort(scratch, n, sizeof *scratch, by_value);
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n && scratch[k].value == scratch[i].value;) k++;
        for (size_t j = i; j < k; j++) rank[scratch[j].at] = (double)(i + k - 1) / 2;
    }
}

double ng_spearman(const float *a, const float *b, size_t n) {
    double *x = malloc(2 * n * sizeof *x + 1), *y = x + n, middle = ((double)n - 1) / 2, xy = 0, xx = 0, yy = 0;
    ranked *scratch = malloc(n * sizeof *scratch + 1);
    if (!x || !scratch || n < 2) {
        free(x);
        free(scratch);
        return NAN;
    }
    to_ranks(x, scratch, a, n);
    to_ranks(y, scratch, b, n);
    for (size_t i = 0; i < n; i++) {
        xy += (x[i] - middle) * (y[i] - middle);
        xx += (x[i] - middle) * (x[i] - middle);
        yy += (y[i] - middle) * (y[i] - middle);
    }
    free(x);
    free(scratch);
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}
