/* encoder_export.c: see encoder_export.h. */
#include "encoder_export.h"

#include "core/math.h"
#include "kernel/half.h"
#include "model/encoder_heads.h"
#include "model/pair_ids.h"
#include "model/token_spans.h"
#include "train/calibrate.h"
#include "train/dev_score.h"
#include <nanogrid/tools/weights.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ng_status no_memory(const ng_encoder_tasks *t, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "%s: out of memory", t->recipe->path);
}

/* ---- writing ------------------------------------------------------------------------------------ */

/* A key or tensor name of a head, in `arena`. */
static const char *head_key(ng_arena *arena, const ng_encoder_task *k, const char *prefix, const char *what) {
    return ng_arena_printf(arena, "%s.%s.%s", prefix, k->head->name, what);
}

static ng_status put_shapes(const ng_encoder_tasks *t, const ng_encoder_task *k, ng_gguf_writer *w, ng_arena *arena,
                            ng_error *err) {
    size_t n = k->labels.len, count = n * NG_SHAPE_INPUTS;
    const float *trained = ng_encoder_weights(t->encoder) + k->at + n * (ng_encoder_get_shape(t->encoder).width + 1);
    const char *name = head_key(arena, k, "head", "shapes");
    float *x = ng_arena_array(arena, count, sizeof *x);
    if (!name || !x) return no_memory(t, err);
    for (size_t i = 0; i < count; i++) x[i] = NG_SHAPE_GAIN * trained[i];
    ng_gguf_put_tensor(w, name, NG_TYPE_F32, 2, (uint64_t[]){NG_SHAPE_INPUTS, n}, x);
    return NG_OK;
}

static ng_status put_head(const ng_encoder_tasks *t, const ng_encoder_task *k, ng_gguf_writer *w, ng_arena *arena,
                          ng_error *err) {
    size_t n = k->labels.len, width = ng_encoder_get_shape(t->encoder).width;
    const float *weights = ng_encoder_weights(t->encoder) + k->at;
    ng_str *labels = ng_arena_array(arena, n, sizeof *labels);
    const char *task = head_key(arena, k, "nanogrid.head", "task"),
               *list = head_key(arena, k, "nanogrid.head", "labels");
    const char *pooling = head_key(arena, k, "nanogrid.head", "pooling");
    if (k->pairs) { /* the pooled vector itself */
        if (!task || !pooling) return no_memory(t, err);
        ng_gguf_put_str(w, task, ng_recipe_task_name(&k->recipe));
        ng_gguf_put_u32(w, pooling, k->head->pooling == 1 ? 2 : 1);
        return NG_OK;
    }
    const char *weight = head_key(arena, k, "head", "weight"), *bias = head_key(arena, k, "head", "bias");
    const char *pair = head_key(arena, k, "nanogrid.head", "pair");
    if (!labels || !task || !list || !pooling || !weight || !bias || !pair) return no_memory(t, err);
    if (k->joined) ng_gguf_put_bool(w, pair, true);
    for (size_t i = 0; i < n; i++) labels[i] = (ng_str){k->labels.names[i], strlen(k->labels.names[i])};
    ng_gguf_put_str(w, task, ng_recipe_task_name(&k->recipe));
    ng_gguf_put_strs(w, list, labels, n);
    ng_gguf_put_u32(w, pooling, k->tokens ? 0 : k->head->pooling == 1 ? 2 : 1);
    ng_gguf_put_tensor(w, weight, NG_TYPE_F32, 2, (uint64_t[]){width, n}, weights);
    ng_gguf_put_tensor(w, bias, NG_TYPE_F32, 1, (uint64_t[]){n}, weights + n * width);
    return k->tokens ? put_shapes(t, k, w, arena, err) : NG_OK;
}

ng_status ng_encoder_export_heads(const ng_encoder_tasks *t, ng_gguf_writer *w, ng_arena *arena, ng_error *err) {
    ng_status s = NG_OK;
    ng_str *names = ng_arena_array(arena, t->len, sizeof *names);
    if (!names) return no_memory(t, err);
    for (size_t i = 0; i < t->len; i++) names[i] = (ng_str){t->items[i].head->name, strlen(t->items[i].head->name)};
    ng_gguf_put_strs(w, "nanogrid.heads", names, t->len);
    for (size_t i = 0; !s && i < t->len; i++) s = put_head(t, &t->items[i], w, arena, err);
    return s;
}

static ng_status put_all(const ng_encoder_base *b, const ng_encoder_tasks *t, ng_gguf_writer *w, ng_arena *arena,
                         ng_error *err) {
    ng_gguf_put_u32(w, "bert.pooling_type", 1);
    ng_status s = ng_encoder_base_put(b, w, arena, err);
    size_t n;
    const ng_encoder_tensor *x = ng_encoder_tensors(t->encoder, &n);
    for (size_t i = 0; !s && i < n; i++) {
        uint64_t dims[2] = {x[i].cols, x[i].rows};
        bool vector = x[i].rows == 1 && strcmp(x[i].name, "token_types.weight") != 0;
        ng_gguf_put_tensor(w, x[i].name, NG_TYPE_F32, vector ? 1 : 2, dims, ng_encoder_weights(t->encoder) + x[i].at);
    }
    return s ? s : ng_encoder_export_heads(t, w, arena, err);
}

ng_status ng_encoder_export_exact(const ng_encoder_base *b, const ng_encoder_tasks *t, const char *path,
                                  ng_error *err) {
    ng_gguf_writer *w = NULL;
    ng_arena *arena = NULL;
    ng_status s = ng_arena_new(&arena, 0) || ng_gguf_writer_new(&w) ? no_memory(t, err) : put_all(b, t, w, arena, err);
    if (s) ng_gguf_writer_free(w);
    else s = ng_gguf_writer_commit(w, path, err);
    ng_arena_free(arena);
    return s;
}

ng_status ng_encoder_export_write(const ng_encoder_base *b, const ng_encoder_tasks *t, const char *path,
                                  ng_error *err) {
    ng_status s = ng_encoder_export_exact(b, t, path, err);
    if (s || (!strcmp(t->recipe->weights, "F32") && !t->recipe->head_weights)) return s;
    ng_weights_report report;
    ng_weights_options opt = {.type = t->recipe->weights, .heads = t->recipe->head_weights};
    s = ng_quantize_file(&report, path, path, &opt, err);
    ng_weights_report_clear(&report);
    return s;
}

/* ---- calibration -------------------------------------------------------------------------------- */

typedef struct engine {
    ng_model *model;
    ng_session *session;
    ng_encoder_heads heads;
    float *hidden; /* [n_seq_max, n_embd] */
} engine;

static void engine_close(engine *e) {
    ng_session_free(e->session);
    ng_encoder_heads_close(&e->heads);
    ng_model_close(e->model);
    free(e->hidden);
}

static ng_status engine_open(engine *e, const char *path, int n_threads, ng_error *err) {
    ng_session_options opt = {.n_threads = n_threads};
    ng_status s = ng_model_open(&e->model, path, err);
    if (!s) s = ng_encoder_heads_open(&e->heads, e->model, err);
    if (!s) s = ng_session_new(&e->session, e->model, &opt, err);
    if (s) return s;
    ng_model_info info = ng_model_get_info(e->model);
    e->hidden = malloc((size_t)info.n_ctx_train * info.n_embd * sizeof *e->hidden);
    return e->hidden ? NG_OK : ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
}

/* e->hidden[*n, width] of one text. */
static ng_status read_text(engine *e, const ng_sample *x, size_t *n, ng_error *err) {
    ng_pair_ids p;
    const ng_tokenizer *t = ng_model_tokenizer(e->model, err);
    if (!t) return NG_EUNSUPPORTED;
    ng_status s = ng_pair_ids_new(&p, t, &(ng_text_pair){x->text, x->len, x->second, x->second_len},
                                  ng_session_n_ctx(e->session), err);
    if (s) return s;
    s = ng_session_hidden_pair(e->session, p.ids, p.n, p.n_first, e->hidden, err);
    *n = p.n;
    free(p.ids);
    return s;
}

/* z[n_labels] of one text by the engine. */
static ng_status text_logits(engine *e, const ng_encoder_head *h, const ng_sample *x, float *z, ng_error *err) {
    size_t n;
    ng_status s = read_text(e, x, &n, err);
    if (!s) ng_encoder_head_logits(h, e->hidden, n, z);
    return s;
}

static ng_status set_logits(engine *e, const ng_encoder_head *h, const ng_dataset *d, float **z, ng_error *err) {
    ng_status s = NG_OK;
    *z = malloc((d->len + 1) * h->n_labels * sizeof **z);
    if (!*z) return ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    for (size_t i = 0; !s && i < d->len; i++) s = text_logits(e, h, &d->items[i], *z + i * h->n_labels, err);
    return s;
}

static ng_status fit_softmax(engine *e, const ng_encoder_head *h, const ng_encoder_task *k, double *score,
                             float *temperature, ng_error *err) {
    size_t n = k->tune.len, right = 0;
    float *z = NULL;
    int32_t *gold = malloc((n + 1) * sizeof *gold);
    ng_status s = gold ? NG_OK : ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    if (!s) s = set_logits(e, h, &k->tune, &z, err);
    for (size_t i = 0; !s && i < n; i++) {
        gold[i] = k->tune.items[i].label;
        right += ng_encoder_head_best(h, z + i * h->n_labels) == (size_t)gold[i];
    }
    if (!s) {
        *score = (double)right / (double)n;
        *temperature = (float)ng_temperature_fit(z, gold, n, h->n_labels);
    }
    free(z);
    free(gold);
    return s;
}

/* ---- scope -------------------------------------------------------------------------------------- */

/* sum[width] += the pooled rows, of length 1. */
static void add_pooled(const ng_encoder_head *h, const float *hidden, size_t n_tok, double *v, double *sum) {
    size_t rows = h->first ? 1 : n_tok;
    double square = 1e-30;
    for (size_t c = 0; c < h->width; c++) {
        v[c] = 0;
        for (size_t t = 0; t < rows; t++) v[c] += (double)hidden[t * h->width + c];
        square += v[c] * v[c];
    }
    for (size_t c = 0; c < h->width; c++) sum[c] += v[c] / sqrt(square);
}

/* half[n_labels, width]: the direction of each label's training texts; zero for a label without any. */
static ng_status label_means(engine *e, const ng_encoder_head *h, const ng_encoder_task *k, uint16_t *half, ng_error *err) {
    double *sum = calloc((h->n_labels + 1) * h->width, sizeof *sum);
    ng_status s = sum ? NG_OK : ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    for (size_t i = 0; !s && i < k->train.len; i++) {
        size_t n;
        s = read_text(e, &k->train.items[i], &n, err);
        if (!s) add_pooled(h, e->hidden, n, sum + h->n_labels * h->width, sum + (size_t)k->train.items[i].label * h->width);
    }
    for (size_t l = 0; !s && l < h->n_labels; l++) {
        double square = 1e-30, *x = sum + l * h->width;
        for (size_t c = 0; c < h->width; c++) square += x[c] * x[c];
        for (size_t c = 0; c < h->width; c++) half[l * h->width + c] = ng_f32_to_f16((float)(x[c] / sqrt(square)));
    }
    free(sum);
    return s;
}

static ng_status set_places(engine *e, const ng_encoder_head *h, const ng_dataset *d, ng_scope_place *out, ng_error *err) {
    float *p = malloc(h->n_labels * sizeof *p);
    ng_status s = p ? NG_OK : ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    for (size_t i = 0; !s && i < d->len; i++) {
        size_t n;
        if ((s = read_text(e, &d->items[i], &n, err))) break;
        ng_encoder_head_logits(h, e->hidden, n, p);
        ng_encoder_head_decide(h, p, p);
        out[i] = ng_encoder_head_place(h, e->hidden, n, p);
    }
    free(p);
    return s;
}

/* What the head makes of places. */
static float *scores_of(const ng_encoder_head *h, const ng_scope_place *place, size_t n, ng_arena *arena) {
    float *x = ng_arena_array(arena, n + 1, sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = ng_encoder_head_scope_at(h, place[i]);
    return x;
}

/* The scope score and its threshold, fitted on tuning texts and texts of no label by the means as they are written. */
static ng_status put_scope(engine *e, const ng_encoder_head *head, const ng_encoder_task *k, float temperature,
                           ng_gguf_writer *w, ng_arena *arena, ng_error *err) {
    ng_encoder_head h = *head;
    size_t n = k->tune.len, m = k->oos.len, count = h.n_labels * h.width;
    const char *means_name = head_key(arena, k, "head", "means"), *scope_key = head_key(arena, k, "nanogrid.head", "scope"),
               *threshold_key = head_key(arena, k, "nanogrid.head", "oos_threshold");
    uint16_t *half = ng_arena_array(arena, count, sizeof *half);
    float *means = ng_arena_array(arena, count, sizeof *means), *scope = ng_arena_array(arena, 3, sizeof *scope);
    ng_scope_place *in = ng_arena_array(arena, n + 1, sizeof *in), *out = ng_arena_array(arena, m + 1, sizeof *out);
    ng_status s = means_name && scope_key && threshold_key && half && means && scope && in && out
                      ? label_means(e, &h, k, half, err)
                      : ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    if (s) return s;
    for (size_t i = 0; i < count; i++) means[i] = ng_f16_to_f32(half[i]);
    h.temperature = temperature;
    h.means = means;
    h.scope = scope;
    if ((s = set_places(e, &h, &k->tune, in, err)) || (s = set_places(e, &h, &k->oos, out, err))) return s;
    ng_scope_fit(in, n, out, m, scope);
    float *in_scope = scores_of(&h, in, n, arena), *out_of_scope = scores_of(&h, out, m, arena);
    if (!in_scope || !out_of_scope) return ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    ng_gguf_put_tensor(w, means_name, NG_TYPE_F16, 2, (uint64_t[]){h.width, h.n_labels}, half);
    ng_gguf_put_array(w, scope_key, NG_GGUF_F32, scope, 3);
    ng_gguf_put_f32(w, threshold_key, (float)ng_oos_threshold(in_scope, n, out_of_scope, m, k->recipe.oos.in_scope));
    return NG_OK;
}

/* ---- all heads ---------------------------------------------------------------------------------- */

/* platt[2, n_labels]. */
static ng_status fit_sigmoids(engine *e, const ng_encoder_head *h, const ng_encoder_task *k, double *score,
                              float *platt, ng_error *err) {
    size_t n = k->tune.len, labels = h->n_labels, right = 0, all = 0;
    float *z = NULL, *column = malloc((n + 1) * sizeof *column);
    bool *holds = malloc(n + 1);
    ng_status s = column && holds ? NG_OK : ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    if (!s) s = set_logits(e, h, &k->tune, &z, err);
    for (size_t c = 0; !s && c < labels; c++) {
        size_t m = 0, n_holds = 0;
        for (size_t i = 0; i < n; i++) {
            if (!(k->tune.items[i].known >> c & 1)) continue;
            column[m] = z[i * labels + c];
            holds[m] = k->tune.items[i].holds >> c & 1;
            n_holds += holds[m++];
        }
        ng_platt p = n_holds && n_holds < m ? ng_platt_fit(column, holds, m) : (ng_platt){1, 0};
        platt[c] = (float)p.scale;
        platt[labels + c] = (float)p.shift;
        for (size_t i = 0; i < m; i++, all++) right += ((double)column[i] * p.scale + p.shift >= 0) == holds[i];
    }
    if (!s && all) *score = (double)right / (double)all;
    free(z);
    free(column);
    free(holds);
    return s;
}

/* The temperature of a word's label; the score is that of whole spans. */
static ng_status fit_words(engine *e, const ng_encoder_head *h, const ng_encoder_task *k, double *score,
                           float *temperature, ng_error *err) {
    const ng_id_texts *x = &k->tune_ids;
    size_t n = x->word_begin[x->n], labels = h->n_labels;
    float *z = malloc((n + 1) * labels * sizeof *z);
    int32_t *said = malloc((n + 1) * sizeof *said);
    ng_span_score spans = {0};
    ng_status s = z && said ? NG_OK : ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    for (size_t i = 0; !s && i < x->n; i++) {
        size_t begin = x->word_begin[i], end = x->word_begin[i + 1];
        s = ng_session_hidden(e->session, x->ids + x->begin[i], x->begin[i + 1] - x->begin[i], e->hidden, err);
        for (size_t w = begin; !s && w < end; w++) {
            ng_encoder_head_row(h, e->hidden + x->rows[w] * h->width, z + w * labels);
            ng_encoder_head_shapes(h, x->shapes + w * NG_SHAPE_WORDS, z + w * labels);
            said[w] = (int32_t)ng_encoder_head_best(h, z + w * labels);
        }
        if (!s) ng_span_score_add(&spans, x->tags + begin, said + begin, end - begin, h->labels);
    }
    if (!s) *score = ng_span_f1(&spans);
    if (!s) *temperature = n ? (float)ng_temperature_fit(z, x->tags, n, labels) : 1;
    free(z);
    free(said);
    return s;
}

/* Nothing is fitted: the cosine of two texts says itself how alike they are. */
static ng_status score_pairs(engine *e, const ng_encoder_task *k, double *score, ng_error *err) {
    const ng_id_texts *x = &k->tune_ids;
    size_t n = x->n / 2, width = ng_model_get_info(e->model).n_embd;
    float *v = malloc(2 * width * sizeof *v), *said = malloc((n + 1) * sizeof *said),
          *gold = malloc((n + 1) * sizeof *gold);
    ng_status s = v && said && gold ? NG_OK : ng_fail(err, NG_ENOMEM, "calibration: out of memory");
    for (size_t i = 0; !s && i < n; i++) {
        for (size_t side = 0; !s && side < 2; side++)
            s = ng_session_encode(e->session, x->ids + x->begin[2 * i + side],
                                  x->begin[2 * i + side + 1] - x->begin[2 * i + side], v + side * width, err);
        double dot = 0;
        for (size_t c = 0; !s && c < width; c++) dot += (double)v[c] * (double)v[width + c];
        said[i] = (float)dot; /* the engine's vectors have length 1 */
        gold[i] = k->tune.items[i].score;
    }
    if (!s) *score = ng_spearman(said, gold, n);
    free(v);
    free(said);
    free(gold);
    return s;
}

static ng_status calibrate_head(engine *e, const ng_encoder_tasks *t, size_t i, double *score, ng_gguf_writer *w,
                                ng_arena *arena, ng_error *err) {
    const ng_encoder_task *k = &t->items[i];
    const ng_encoder_head *h = &e->heads.items[i];
    if (k->each) {
        float *platt = ng_arena_array(arena, 2 * h->n_labels, sizeof *platt);
        const char *scale = head_key(arena, k, "nanogrid.head", "platt_scale"),
                   *shift = head_key(arena, k, "nanogrid.head", "platt_shift");
        ng_status s = platt && scale && shift ? fit_sigmoids(e, h, k, score, platt, err) : no_memory(t, err);
        if (s) return s;
        ng_gguf_put_array(w, scale, NG_GGUF_F32, platt, h->n_labels);
        ng_gguf_put_array(w, shift, NG_GGUF_F32, platt + h->n_labels, h->n_labels);
        return NG_OK;
    }
    if (k->pairs) return score_pairs(e, k, score, err);
    float fitted = 0;
    const char *temperature = head_key(arena, k, "nanogrid.head", "temperature");
    ng_status s = !temperature ? no_memory(t, err)
                  : k->tokens  ? fit_words(e, h, k, score, &fitted, err)
                               : fit_softmax(e, h, k, score, &fitted, err);
    if (s) return s;
    ng_gguf_put_f32(w, temperature, fitted);
    return k->oos.len && !k->tokens && !h->pair ? put_scope(e, h, k, fitted, w, arena, err) : NG_OK;
}

/* Everything of the file at `path` behind what the writer has. */
static ng_status copy_rest(ng_gguf_writer *w, const char *path, ng_error *err) {
    ng_gguf *g;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) {
        ng_gguf_writer_free(w);
        return s;
    }
    ng_gguf_put_all(w, g);
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
        if (!ng_gguf_writer_has(w, t->name)) ng_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data);
    }
    s = ng_gguf_writer_commit(w, path, err);
    ng_gguf_close(g);
    return s;
}

ng_status ng_encoder_export_calibrate(const ng_encoder_tasks *t, const char *path, int n_threads, double *scores,
                                      ng_error *err) {
    engine e = {0};
    ng_gguf_writer *w = NULL;
    ng_arena *arena = NULL;
    ng_status s = engine_open(&e, path, n_threads, err);
    if (!s && (ng_arena_new(&arena, 0) || ng_gguf_writer_new(&w))) s = no_memory(t, err);
    for (size_t i = 0; !s && i < t->len; i++) {
        scores[i] = NAN;
        if (t->items[i].tune.len) s = calibrate_head(&e, t, i, &scores[i], w, arena, err);
    }
    engine_close(&e);
    if (s) ng_gguf_writer_free(w);
    else s = copy_rest(w, path, err);
    ng_arena_free(arena);
    return s;
}
