/* base_vectors.c: see base_vectors.h. */
#include "base_vectors.h"

#include <math.h>
#include <stdlib.h>

enum { BATCH = 32 };

static void put_vector(const float *x, size_t n, size_t width, float *out) {
    double mean[NG_VECTOR_MAX], length = 1e-24;
    for (size_t c = 0; c < width; c++) mean[c] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < width; c++) mean[c] += (double)x[i * width + c];
    for (size_t c = 0; c < width; c++) length += mean[c] * mean[c];
    length = sqrt(length);
    for (size_t c = 0; c < width; c++) out[c] = (float)(mean[c] / length);
}

/* Texts [from, from + n) of x. */
static void put_batch(ng_encoder *whole, const ng_id_texts *x, size_t from, size_t n, float *out) {
    size_t begin[BATCH + 1] = {0}, width = ng_encoder_get_shape(whole).width;
    for (size_t i = 0; i < n; i++) begin[i + 1] = x->begin[from + i + 1] - x->begin[from];
    ng_encoder_batch b = {.n_seq = n, .begin = begin, .ids = x->ids + x->begin[from], .first = x->first + from};
    const float *y = ng_encoder_forward(whole, &b);
    for (size_t i = 0; i < n; i++)
        put_vector(y + begin[i] * width, begin[i + 1] - begin[i], width, out + (from + i) * width);
}

static ng_status put_task(ng_encoder_task *k, ng_encoder *whole, const ng_encoder_base *base, ng_nn *nn,
                          ng_error *err) {
    ng_id_texts x;
    size_t width = base->shape.width;
    ng_status s = ng_id_texts_new(&x, &k->train, (ng_recipe_task)k->recipe.task, base->teacher, base->shape.n_ctx, err);
    size_t longest = s ? 1 : ng_id_texts_longest(&x);
    if (!s) s = ng_encoder_bind(whole, nn, BATCH * longest, BATCH, longest, err);
    if (!s && !(k->vectors = malloc((x.n + 1) * width * sizeof *k->vectors)))
        s = ng_fail(err, NG_ENOMEM, "%s: no memory for the vectors of %zu texts", k->recipe.path, x.n);
    for (size_t from = 0; !s && from < x.n; from += BATCH)
        put_batch(whole, &x, from, x.n - from < BATCH ? x.n - from : BATCH, k->vectors);
    ng_id_texts_clear(&x);
    return s;
}

ng_status ng_base_vectors(ng_encoder_tasks *t, const ng_encoder_base *base, ng_nn *nn, ng_error *err) {
    ng_encoder *whole = NULL;
    if (base->shape.width > NG_VECTOR_MAX)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: distill.vectors: the base is %zu wide; at most %d", t->recipe->path,
                       base->shape.width, (int)NG_VECTOR_MAX);
    ng_status s = ng_encoder_base_whole(base, true, &whole, err);
    for (size_t i = 0; !s && i < t->len; i++)
        if (t->items[i].head->vectors) s = put_task(&t->items[i], whole, base, nn, err);
    ng_encoder_free(whole);
    return s;
}
