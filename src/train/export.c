/* export.c: quantises and writes a linear model.  See export.h.
 *
 * One scale a label, so that inference can add integers over features.  With 4 bits the few greatest
 * weights are clipped where that lowers the squared error of the rest. */
#include "export.h"

#include "gguf/gguf.h"
#include "model/linear.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEY "nanogrid.linear."

static int round_to(float x, int max) {
    int q = (int)(x < 0 ? x - 0.5f : x + 0.5f);
    return q > max ? max : q < -max ? -max : q;
}

static double squared_error(const float *w, size_t n, size_t stride, int max, float step) {
    double e = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)w[i * stride] - (double)(step * (float)round_to(w[i * stride] / step, max));
        e += d * d;
    }
    return e;
}

float ng_quantise_column(const float *w, size_t n, size_t stride, int max, int8_t *out) {
    float top = 0, best = 0;
    double least = INFINITY;
    for (size_t i = 0; i < n; i++)
        if (fabsf(w[i * stride]) > top) top = fabsf(w[i * stride]);
    for (int k = 20; k >= (max < 64 ? 4 : 16) && top > 0; k--) {
        float step = top * (float)k / 20 / (float)max;
        double e = squared_error(w, n, stride, max, step);
        if (e < least) least = e, best = step;
    }
    for (size_t i = 0; i < n; i++) out[i * stride] = (int8_t)(best > 0 ? round_to(w[i * stride] / best, max) : 0);
    return best;
}

/* Packs rows of n_labels values in [-7, 7] two a byte, in place of the plain ones. */
static void pack4(int8_t *q, size_t n_rows, size_t n_labels) {
    size_t half = (n_labels + 1) / 2;
    for (size_t r = 0; r < n_rows; r++) {
        const int8_t *in = q + r * n_labels;
        int8_t *out = q + r * half; /* never behind `in` */
        for (size_t j = 0; j < half; j++) {
            int low = in[j] + 8, high = (half + j < n_labels ? in[half + j] : 0) + 8;
            /* in[half + j] of this row stands at or behind every byte written so far */
            out[j] = (int8_t)(uint8_t)(low | high << 4);
        }
    }
}

static void put_config(ng_gguf_writer *w, const ng_export *e) {
    const ng_feature_config *f = &e->features;
    ng_gguf_put_u32(w, KEY "bits", f->bits);
    ng_gguf_put_u32(w, KEY "word_max", f->word_max);
    ng_gguf_put_u32(w, KEY "char_min", f->char_min);
    ng_gguf_put_u32(w, KEY "char_max", f->char_max);
    ng_gguf_put_bool(w, KEY "lower", f->lower);
    ng_gguf_put_bool(w, KEY "fold", f->fold);
    ng_gguf_put_bool(w, KEY "cross", f->cross);
    ng_gguf_put_bool(w, KEY "log_tf", e->rows->log_tf);
    ng_gguf_put_u32(w, KEY "unknown", e->rows->unknown);
    ng_gguf_put_u32(w, KEY "weight_bits", (uint32_t)e->recipe->training.weight_bits);
    ng_gguf_put_bool(w, KEY "multi_label", e->recipe->task == NG_RECIPE_MODERATE);
}

static void put_head(ng_gguf_writer *w, const ng_export *e) {
    const ng_recipe *r = e->recipe;
    ng_gguf_put_str(w, "general.architecture", "nanogrid-linear");
    ng_gguf_put_str(w, "general.name", r->about.name);
    if (r->about.description) ng_gguf_put_str(w, "general.description", r->about.description);
    if (r->about.licence) ng_gguf_put_str(w, "general.license", r->about.licence);
    ng_gguf_put_u32(w, KEY "version", 1);
    ng_gguf_put_str(w, "nanogrid.task", ng_recipe_task_name(r));
}

static void put_calibration(ng_gguf_writer *w, const ng_calibration *c, size_t n) {
    if (!isnan(c->temperature)) ng_gguf_put_f32(w, KEY "temperature", (float)c->temperature);
    if (!isnan(c->oos_threshold)) ng_gguf_put_f32(w, KEY "oos_threshold", (float)c->oos_threshold);
    if (c->platt_scale) ng_gguf_put_array(w, KEY "platt_scale", NG_GGUF_F32, c->platt_scale, n);
    if (c->platt_shift) ng_gguf_put_array(w, KEY "platt_shift", NG_GGUF_F32, c->platt_shift, n);
    if (c->threshold) ng_gguf_put_array(w, KEY "threshold", NG_GGUF_F32, c->threshold, n);
}

typedef struct tensors {
    int8_t *weight;
    float *scale;
    uint64_t *used;
    ng_str *labels;
} tensors;

static ng_status make_tensors(tensors *t, const ng_export *e) {
    size_t n = e->fit->n_labels, rows = e->rows->n;
    int max = e->recipe->training.weight_bits == 8 ? 127 : 7;
    t->weight = malloc(rows * n + 1);
    t->scale = malloc(n * sizeof *t->scale);
    t->used = calloc(e->rows->n_buckets / 64, sizeof *t->used);
    t->labels = malloc(n * sizeof *t->labels);
    if (!t->weight || !t->scale || !t->used || !t->labels) return NG_ENOMEM;
    for (size_t c = 0; c < n; c++) {
        t->scale[c] = ng_quantise_column(e->fit->weight + c, rows, n, max, t->weight + c);
        t->labels[c] = (ng_str){e->labels->names[c], strlen(e->labels->names[c])};
    }
    if (max == 7) pack4(t->weight, rows, n);
    for (size_t i = 0; i < rows; i++) t->used[e->rows->bucket[i] >> 6] |= (uint64_t)1 << (e->rows->bucket[i] & 63);
    return NG_OK;
}

static void put_tensors(ng_gguf_writer *w, const ng_export *e, const tensors *t) {
    uint64_t n = e->fit->n_labels, rows = e->rows->n;
    uint64_t row_bytes = e->recipe->training.weight_bits == 8 ? n : (n + 1) / 2;
    ng_gguf_put_strs(w, KEY "labels", t->labels, n);
    ng_gguf_put_tensor(w, "linear.rows", NG_TYPE_I64, 1, (uint64_t[1]){e->rows->n_buckets / 64}, t->used);
    ng_gguf_put_tensor(w, "linear.idf", NG_TYPE_I8, 1, &rows, e->rows->idf);
    ng_gguf_put_tensor(w, "linear.scale", NG_TYPE_F32, 1, &n, t->scale);
    ng_gguf_put_tensor(w, "linear.bias", NG_TYPE_F32, 1, &n, e->fit->bias);
    ng_gguf_put_tensor(w, "linear.weight", NG_TYPE_I8, 2, (uint64_t[2]){row_bytes, rows}, t->weight);
}

ng_status ng_export_write(const ng_export *e, const ng_calibration *c, const char *path, ng_error *err) {
    tensors t = {0};
    ng_gguf_writer *w = NULL;
    ng_status s = make_tensors(&t, e);
    if (!s) s = ng_gguf_writer_new(&w);
    if (s) {
        s = ng_fail(err, s, "%s: out of memory", path);
    } else {
        put_head(w, e);
        put_config(w, e);
        if (c) put_calibration(w, c, e->fit->n_labels);
        put_tensors(w, e, &t);
        s = ng_gguf_writer_commit(w, path, err);
    }
    free(t.weight);
    free(t.scale);
    free(t.used);
    free(t.labels);
    return s;
}
