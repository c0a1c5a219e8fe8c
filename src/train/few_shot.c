/* few_shot.c: see nanogrid/tools/few_shot.h.
 *
 * Features are the mean of the encoder's last hidden rows, what a pooled head reads (model/encoder_heads.h), so the
 * head that ridge.c fits is one of these.  Beneath it nothing learns: seconds, and no forgetting. */
#include <nanogrid/tools/few_shot.h>

#include "config/config.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/math.h"
#include "gguf/gguf.h"
#include "model/encoder_heads.h"
#include "train/calibrate.h"
#include "train/data.h"
#include "train/ridge.h"
#include <nanogrid/model.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct label_spec {
    const char *name, *description;
    ng_config_strs examples;
} label_spec;

typedef struct spec {
    const char *name, *encoder;
    ng_config_list labels; /* of label_spec */
    ng_config_strs out_of_scope;
} spec;

static const ng_config_field label_fields[] = {
    {"description", NG_CONFIG_STR, offsetof(label_spec, description), .help = "a sentence; counts as an example"},
    {"examples", NG_CONFIG_STRS, offsetof(label_spec, examples), .help = "texts of this label"},
    {0}};
static const ng_config_schema label_schema = {"a label", sizeof(label_spec), label_fields};
static const ng_config_field fields[] = {
    {"name", NG_CONFIG_STR, offsetof(spec, name), .required = true},
    {"encoder", NG_CONFIG_STR, offsetof(spec, encoder)},
    {"labels", NG_CONFIG_MAP, offsetof(spec, labels), .sub = &label_schema, .required = true},
    {"out_of_scope", NG_CONFIG_STRS, offsetof(spec, out_of_scope)},
    {0}};
static const ng_config_schema schema = {"the labels", sizeof(spec), fields};

typedef struct job {
    const char *path;
    const ng_few_shot_options *opt;
    ng_few_shot_result *out;
    ng_error *err;
    ng_arena *arena;
    spec spec;
    const char *encoder_path;
    ng_model *model;
    ng_session *session;
    ng_encoder_heads heads;
    size_t width, n_labels, n, n_oos;
    float *x;       /* [n, width] */
    int32_t *label; /* [n] */
    float *oos;     /* [n_oos, width] */
    float *w, *b;   /* [n_labels, width], [n_labels] */
} job;

static ng_status no_memory(const job *j) { return ng_fail(j->err, NG_ENOMEM, "%s: out of memory", j->path); }

/* ---- what was asked for ------------------------------------------------------------------------- */

static const char *text_of(const label_spec *l, size_t i) {
    return i < l->examples.len ? l->examples.items[i] : l->description;
}
static size_t n_texts(const label_spec *l) { return l->examples.len + (l->description != NULL); }

static ng_status check_name(const job *j) {
    const char *name = j->spec.name;
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
    if (!n || name[n] || n > 40 || name[0] == '.')
        return ng_fail(j->err, NG_EINVALID, "%s: name '%.60s' must be at most 40 letters, digits, '-', '_' and '.'",
                       j->path, name);
    return NG_OK;
}

/* The same text under two labels would be learned as a coin toss. */
static ng_status check_texts(const job *j) {
    const label_spec *l = j->spec.labels.items;
    uint64_t *hash = ng_arena_array(j->arena, j->n + 1, sizeof *hash);
    size_t used = 0;
    if (!hash) return no_memory(j);
    for (size_t c = 0; c < j->n_labels; c++) {
        size_t first = used;
        if (!n_texts(&l[c]))
            return ng_fail(j->err, NG_EINVALID, "%s: label '%s' has neither examples nor a description", j->path,
                           l[c].name);
        for (size_t i = 0; i < n_texts(&l[c]); i++) {
            const char *text = text_of(&l[c], i);
            if (!*text) return ng_fail(j->err, NG_EINVALID, "%s: label '%s' has an empty example", j->path, l[c].name);
            uint64_t h = ng_text_hash(text, strlen(text));
            for (size_t k = 0; k < first; k++)
                if (hash[k] == h)
                    return ng_fail(j->err, NG_EINVALID, "%s: '%.60s' of label '%s' also stands under another label",
                                   j->path, text, l[c].name);
            hash[used++] = h;
        }
    }
    return NG_OK;
}

static ng_status read_spec(job *j) {
    ng_status s = ng_config_read_file(&j->spec, &schema, j->path, j->arena, j->err);
    if (s || (s = check_name(j))) return s;
    const label_spec *l = j->spec.labels.items;
    j->n_labels = j->spec.labels.len;
    j->n_oos = j->spec.out_of_scope.len;
    for (size_t c = 0; c < j->n_labels; c++) j->n += n_texts(&l[c]);
    if (j->n_labels < 2 || j->n_labels > NG_ENCODER_LABELS_MAX || j->n > NG_RIDGE_EXAMPLES_MAX)
        return ng_fail(j->err, NG_EINVALID,
                       "%s: %zu labels with %zu examples; 2 to %d labels and at most %d examples are learned this way",
                       j->path, j->n_labels, j->n, NG_ENCODER_LABELS_MAX, NG_RIDGE_EXAMPLES_MAX);
    if ((s = check_texts(j))) return s;
    const char *slash = strrchr(j->path, '/'), *encoder = j->opt->encoder;
    int folder = slash ? (int)(slash - j->path) + 1 : 0;
    if (!encoder && !j->spec.encoder)
        return ng_fail(j->err, NG_EINVALID,
                       "%s: no encoder is named; give `encoder:` in the file or -m MODEL (a BERT as GGUF)", j->path);
    if (!encoder)
        encoder = *j->spec.encoder == '/' ? j->spec.encoder
                                          : ng_arena_printf(j->arena, "%.*s%s", folder, j->path, j->spec.encoder);
    j->encoder_path = encoder;
    int n = j->opt->out_dir
                ? snprintf(j->out->model_path, sizeof j->out->model_path, "%s/%s.gguf", j->opt->out_dir, j->spec.name)
                : snprintf(j->out->model_path, sizeof j->out->model_path, "%.*s%s.gguf", folder, j->path, j->spec.name);
    if (n < 0 || (size_t)n >= sizeof j->out->model_path)
        return ng_fail(j->err, NG_EINVALID, "%s: the path of the model is too long", j->path);
    return encoder ? NG_OK : no_memory(j);
}

/* ---- features ----------------------------------------------------------------------------------- */

static ng_status open_encoder(job *j) {
    ng_session_options opt = {.n_threads = j->opt->n_threads};
    ng_status s = ng_model_open(&j->model, j->encoder_path, j->err);
    if (s) return s;
    ng_model_info info = ng_model_get_info(j->model);
    if (info.kind != NG_MODEL_ENCODER || strcmp(info.arch, "bert") != 0)
        return ng_fail(j->err, NG_EUNSUPPORTED, "%s: architecture '%s' carries no heads; a BERT does", j->encoder_path,
                       info.arch);
    if (!ng_model_tokenizer(j->model, j->err)) return NG_EUNSUPPORTED;
    if ((s = ng_encoder_heads_open(&j->heads, j->model, j->err)) ||
        (s = ng_session_new(&j->session, j->model, &opt, j->err)))
        return s;
    for (size_t i = 0; i < j->heads.len; i++)
        if (!strcmp(j->heads.items[i].name, j->spec.name))
            return ng_fail(j->err, NG_EINVALID, "%s: the encoder %s already carries a head '%s'; choose another name",
                           j->path, j->encoder_path, j->spec.name);
    if (j->heads.len == NG_ENCODER_HEADS_MAX)
        return ng_fail(j->err, NG_ELIMIT, "%s: the encoder carries %d heads already", j->encoder_path,
                       NG_ENCODER_HEADS_MAX);
    j->width = info.n_embd;
    return NG_OK;
}

/* x[width] of one text, as heads pool it. */
static ng_status pooled(job *j, const char *text, float *hidden, size_t n_most, float *x) {
    const ng_tokenizer *t = ng_model_tokenizer(j->model, NULL);
    int32_t *ids;
    size_t n;
    ng_status s = ng_tokenize(t, text, strlen(text), &(ng_tokenize_options){.add_special = true}, &ids, &n, j->err);
    if (s) return s;
    if (n > n_most) ids[n_most - 1] = ids[n - 1], n = n_most;
    s = ng_session_hidden(j->session, ids, n, hidden, j->err);
    free(ids);
    for (size_t c = 0; !s && c < j->width; c++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)hidden[i * j->width + c];
        x[c] = (float)(sum / (double)n);
    }
    return s;
}

static ng_status make_features(job *j) {
    const label_spec *l = j->spec.labels.items;
    size_t n_most = ng_session_n_seq(j->session), at = 0;
    float *hidden = malloc(n_most * j->width * sizeof *hidden);
    j->x = malloc(j->n * j->width * sizeof *j->x);
    j->label = malloc(j->n * sizeof *j->label);
    j->oos = malloc((j->n_oos + 1) * j->width * sizeof *j->oos);
    ng_status s = hidden && j->x && j->label && j->oos ? NG_OK : no_memory(j);
    for (size_t c = 0; !s && c < j->n_labels; c++)
        for (size_t i = 0; !s && i < n_texts(&l[c]); i++, at++) {
            j->label[at] = (int32_t)c;
            s = pooled(j, text_of(&l[c], i), hidden, n_most, j->x + at * j->width);
        }
    for (size_t i = 0; !s && i < j->n_oos; i++)
        s = pooled(j, j->spec.out_of_scope.items[i], hidden, n_most, j->oos + i * j->width);
    free(hidden);
    return s;
}

/* ---- the head ----------------------------------------------------------------------------------- */

static float top_of(float *z, size_t n, double temperature) {
    float top = 0;
    ng_softmax(z, z, n, 1 / (float)temperature);
    for (size_t c = 0; c < n; c++) top = z[c] > top ? z[c] : top;
    return top;
}

static ng_status fit_threshold(job *j, float *z) {
    float *in = malloc(j->n * sizeof *in), *outside = malloc(j->n_oos * sizeof *outside),
          *one = malloc(j->n_labels * sizeof *one);
    ng_status s = in && outside && one ? NG_OK : no_memory(j);
    ng_encoder_head h = {.n_labels = j->n_labels, .width = j->width, .w = j->w, .b = j->b};
    for (size_t i = 0; !s && i < j->n; i++) in[i] = top_of(z + i * j->n_labels, j->n_labels, j->out->temperature);
    for (size_t i = 0; !s && i < j->n_oos; i++) {
        ng_encoder_head_row(&h, j->oos + i * j->width, one);
        outside[i] = top_of(one, j->n_labels, j->out->temperature);
    }
    if (!s) j->out->oos_threshold = ng_oos_threshold(in, j->n, outside, j->n_oos, 0.9);
    free(in);
    free(outside);
    free(one);
    return s;
}

static ng_status fit(job *j) {
    ng_ridge r = {.n = j->n, .width = j->width, .n_labels = j->n_labels, .x = j->x, .label = j->label};
    float *z = malloc(j->n * j->n_labels * sizeof *z);
    j->w = malloc(j->n_labels * j->width * sizeof *j->w);
    j->b = malloc(j->n_labels * sizeof *j->b);
    ng_status s = z && j->w && j->b ? ng_ridge_fit(&r, j->w, j->b, z, j->err) : no_memory(j);
    if (!s) {
        j->out->accuracy = r.accuracy;
        j->out->temperature = (double)(float)ng_temperature_fit(z, j->label, j->n, j->n_labels);
        if (j->n_oos) s = fit_threshold(j, z);
    }
    free(z);
    return s;
}

/* ---- the file ----------------------------------------------------------------------------------- */

static ng_status put_head(const job *j, ng_gguf_writer *w, const ng_gguf *g) {
    size_t n = j->n_labels;
    const label_spec *l = j->spec.labels.items;
    ng_str *names = ng_arena_array(j->arena, j->heads.len + 1, sizeof *names),
           *labels = ng_arena_array(j->arena, n, sizeof *labels);
    const char *what[] = {"task", "labels", "pooling", "temperature", "oos_threshold"}, *keys[5];
    const char *weight = ng_arena_printf(j->arena, "head.%s.weight", j->spec.name),
               *bias = ng_arena_printf(j->arena, "head.%s.bias", j->spec.name);
    bool ok = names && labels && weight && bias;
    for (size_t i = 0; ok && i < 5; i++)
        ok = (keys[i] = ng_arena_printf(j->arena, "nanogrid.head.%s.%s", j->spec.name, what[i]));
    if (!ok) return no_memory(j);
    names[0] = (ng_str){j->spec.name, strlen(j->spec.name)};
    for (size_t i = 0; i < j->heads.len; i++)
        names[i + 1] = (ng_str){j->heads.items[i].name, strlen(j->heads.items[i].name)};
    for (size_t c = 0; c < n; c++) labels[c] = (ng_str){l[c].name, strlen(l[c].name)};
    ng_gguf_put_all(w, g);
    ng_gguf_put_strs(w, "nanogrid.heads", names, j->heads.len + 1);
    ng_gguf_put_str(w, keys[0], "classify");
    ng_gguf_put_strs(w, keys[1], labels, n);
    ng_gguf_put_u32(w, keys[2], 1);
    ng_gguf_put_f32(w, keys[3], (float)j->out->temperature);
    if (j->n_oos) ng_gguf_put_f32(w, keys[4], (float)j->out->oos_threshold);
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
        ng_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data);
    }
    ng_gguf_put_tensor(w, weight, NG_TYPE_F32, 2, (uint64_t[]){j->width, n}, j->w);
    ng_gguf_put_tensor(w, bias, NG_TYPE_F32, 1, (uint64_t[]){n}, j->b);
    return NG_OK;
}

static ng_status write_file(const job *j) {
    ng_gguf *g;
    ng_gguf_writer *w = NULL;
    ng_status s = j->opt->out_dir ? ng_dir_make(j->opt->out_dir, j->err) : NG_OK;
    if (s || (s = ng_gguf_open(&g, j->encoder_path, j->err))) return s;
    s = ng_gguf_writer_new(&w) ? no_memory(j) : put_head(j, w, g);
    if (s) ng_gguf_writer_free(w);
    else s = ng_gguf_writer_commit(w, j->out->model_path, j->err);
    ng_gguf_close(g);
    return s;
}

ng_status ng_few_shot(ng_few_shot_result *out, const char *path, const ng_few_shot_options *opt, ng_error *err) {
    static const ng_few_shot_options defaults = {0};
    ng_error local = {0};
    double start = ng_clock_ms();
    *out = (ng_few_shot_result){.oos_threshold = NAN};
    job j = {.path = path, .opt = opt ? opt : &defaults, .out = out, .err = err ? err : &local};
    if (ng_arena_new(&j.arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_status s = read_spec(&j);
    if (!s && !(s = open_encoder(&j)) && !(s = make_features(&j)) && !(s = fit(&j))) s = write_file(&j);
    if (!s) snprintf(out->name, sizeof out->name, "%s", j.spec.name);
    out->n_labels = j.n_labels;
    out->n_examples = j.n;
    out->seconds = (ng_clock_ms() - start) / 1e3;
    ng_session_free(j.session);
    ng_encoder_heads_close(&j.heads);
    ng_model_close(j.model);
    free(j.x);
    free(j.label);
    free(j.oos);
    free(j.w);
    free(j.b);
    ng_arena_free(j.arena);
    return s;
}
