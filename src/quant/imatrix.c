/* imatrix.c: measures, writes and reads importance matrices.  See nanogrid/tools/imatrix.h and imatrix.h.
 *
 * Why: the error that rounding a weight w[r, c] makes in the output is (its error) * x[c]; summed over what a
 * matrix sees, column c counts by the mean of x[c]^2 (the diagonal of the Hessian that GPTQ and AWQ use).
 * What is summed is what the kernels read, before it becomes int8: sums are doubles in order of tokens, so
 * the same file and text give the same matrix everywhere.
 *
 * A matrix is known by where its rows lie in the file, which the loader keeps (ng_mat.stored). */
#include "imatrix.h"

#include "model/arch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64, NAME_MAX_LEN = 128, LANES = 8 };
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

typedef struct column_sums {
    double *squares; /* [n] */
    float *products; /* the lower triangle of their products [n (n + 1) / 2], or NULL: not asked for, or as those of `like` */
    size_t n, count, like; /* like: a matrix before this one that sees the same, or itself */
} column_sums;

typedef struct measuring {
    const ng_imatrix_options *opt;
    const ng_gguf *gguf;
    column_sums *sums; /* a tensor of the file */
    size_t n_tensors;
    size_t last;   /* the tensor seen last, and what it saw */
    float *last_x; /* [last_len] */
    size_t last_len, last_cap;
    bool out_of_memory;
    ng_imatrix_report *report;
} measuring;

/* products += x^T x, four tokens at a time. */
static void add_products(float *products, const float *x, size_t n_tok, size_t n) {
    for (size_t t = 0; t < n_tok; t += 4) {
        const float *row[4];
        for (size_t k = 0; k < 4; k++) row[k] = x + (t + k < n_tok ? t + k : t) * n;
        float *to = products;
        for (size_t i = 0; i < n; i++) {
            float f[4];
            for (size_t k = 0; k < 4; k++) f[k] = t + k < n_tok ? row[k][i] : 0.0f;
            size_t j = 0;
            for (; j + LANES <= i + 1; j += LANES) {
                lanes sum, a, b, c, d;
                memcpy(&sum, to + j, sizeof sum);
                memcpy(&a, row[0] + j, sizeof a), memcpy(&b, row[1] + j, sizeof b);
                memcpy(&c, row[2] + j, sizeof c), memcpy(&d, row[3] + j, sizeof d);
                sum += (f[0] * a + f[1] * b) + (f[2] * c + f[3] * d);
                memcpy(to + j, &sum, sizeof sum);
            }
            for (; j <= i; j++) to[j] += (f[0] * row[0][j] + f[1] * row[1][j]) + (f[2] * row[2][j] + f[3] * row[3][j]);
            to += i + 1;
        }
    }
}

/* Is this what the tensor before saw?  q, k and v share their input, and so do gate and up. */
static bool same_as_last(measuring *k, const float *x, size_t n) {
    if (n == k->last_len && !memcmp(x, k->last_x, n * sizeof *x)) return true;
    if (n > k->last_cap) {
        free(k->last_x);
        k->last_cap = k->last_len = 0;
        k->last_x = malloc(n * sizeof *x);
        if (!k->last_x) {
            k->out_of_memory = true;
            return false;
        }
        k->last_cap = n;
    }
    memcpy(k->last_x, x, n * sizeof *x);
    k->last_len = n;
    return false;
}

static void see_products(measuring *k, size_t i, const ng_act *act, size_t n_tok) {
    column_sums *s = &k->sums[i];
    bool same = same_as_last(k, act->x, n_tok * s->n);
    if (k->out_of_memory) return;
    if (!s->count) {
        s->like = same ? k->sums[k->last].like : i;
        if (!same && !(s->products = calloc(s->n * (s->n + 1) / 2, sizeof *s->products))) k->out_of_memory = true;
    }
    k->last = i;
    if (s->products && !k->out_of_memory) add_products(s->products, act->x, n_tok, s->n);
}

static void see(void *ctx, const ng_mat *m, const ng_act *act, size_t n_tok) {
    measuring *k = ctx;
    size_t i = 0;
    while (i < k->n_tensors && ng_gguf_tensor_at(k->gguf, i)->data != m->stored) i++;
    if (i == k->n_tensors) return;
    column_sums *s = &k->sums[i];
    if (!s->squares) {
        s->n = m->n_cols;
        s->squares = calloc(s->n, sizeof *s->squares);
        if (!s->squares) k->out_of_memory = true;
    }
    if (!k->out_of_memory && k->opt->full) see_products(k, i, act, n_tok);
    if (k->out_of_memory) return;
    for (size_t t = 0; t < n_tok; t++)
        for (size_t c = 0; c < s->n; c++) {
            double x = (double)act->x[t * act->n_cols + c];
            s->squares[c] += x * x;
        }
    s->count += n_tok;
}

static void step(const measuring *k, size_t done, size_t total) {
    if (k->opt->progress) k->opt->progress(k->opt->progress_ctx, (double)done, (double)total);
}

static ng_status over_windows(measuring *k, const int32_t *ids, size_t n, ng_error *err) {
    ng_session *s = k->opt->session;
    size_t n_vocab = ng_model_get_info(ng_session_model(s)).n_vocab, n_ctx = ng_session_n_ctx(s);
    float *logits = calloc(CHUNK * n_vocab, sizeof *logits); /* all positions, so that the head sees them too */
    ng_status status = logits ? NG_OK : ng_fail(err, NG_ENOMEM, "imatrix: out of memory");
    for (size_t at = 0; !status && at < n;) {
        size_t in_window = at % n_ctx, left = n - at, now = n_ctx - in_window;
        if (now > CHUNK) now = CHUNK;
        if (now > left) now = left;
        if (!in_window) ng_session_rewind(s, 0), k->report->n_windows++;
        status = ng_session_eval_all(s, ids + at, now, logits, err);
        at += now;
        step(k, at, n);
    }
    free(logits);
    k->report->n_tokens = n;
    return status;
}

static ng_status over_text(measuring *k, const ng_tokenizer *t, ng_error *err) {
    int32_t *ids;
    size_t n;
    ng_status s = ng_tokenize(t, k->opt->text, k->opt->len, NULL, &ids, &n, err);
    if (s) return s;
    s = n < 2 ? ng_fail(err, NG_EINVALID, "imatrix needs at least 2 tokens, the text has %zu", n)
              : over_windows(k, ids, n, err);
    free(ids);
    return s;
}

static ng_status over_lines(measuring *k, ng_error *err) {
    const ng_imatrix_options *o = k->opt;
    size_t n_embd = ng_model_get_info(ng_session_model(o->session)).n_embd;
    float *vector = malloc(n_embd * sizeof *vector);
    ng_status s = vector ? NG_OK : ng_fail(err, NG_ENOMEM, "imatrix: out of memory");
    for (size_t at = 0; !s && at < o->len;) {
        const char *end = memchr(o->text + at, '\n', o->len - at);
        size_t len = end ? (size_t)(end - o->text) - at : o->len - at, n_tokens = 0;
        if (len) {
            s = ng_session_embed(o->session, o->text + at, len, true, vector, &n_tokens, err);
            k->report->n_tokens += n_tokens;
            k->report->n_windows++;
        }
        at += len + 1;
        step(k, at < o->len ? at : o->len, o->len);
    }
    free(vector);
    if (!s && !k->report->n_windows) s = ng_fail(err, NG_EINVALID, "imatrix needs at least one line of text");
    return s;
}

/* ---- writing --------------------------------------------------------------------------------------- */

static ng_status put_sums(ng_gguf_writer *w, const measuring *k, float *values, ng_error *err) {
    for (size_t i = 0; i < k->n_tensors; i++) {
        const column_sums *s = &k->sums[i];
        char name[NAME_MAX_LEN];
        if (!s->squares) continue;
        const char *of = ng_gguf_tensor_at(k->gguf, i)->name;
        if ((size_t)snprintf(name, sizeof name, "%s.in_sum2", of)  + 4 >= sizeof name)
            return ng_fail(err, NG_EUNSUPPORTED, "imatrix: the name %.100s is too long", of);
        uint64_t dims[2] = {s->n, 1}, one[2] = {1, 1};
        for (size_t c = 0; c < s->n; c++) {
            values[c] = (float)s->squares[c];
            if (!isfinite(values[c]))
                return ng_fail(err, NG_EFORMAT,
                               "imatrix: what reaches tensor %.64s is not finite; the weights are damaged", of);
        }
        ng_gguf_put_tensor(w, name, NG_TYPE_F32, 2, dims, values);
        values += s->n;
        *values = (float)s->count;
        snprintf(name, sizeof name, "%s.counts", of);
        ng_gguf_put_tensor(w, name, NG_TYPE_F32, 2, one, values++);
        if (k->opt->full) {
            uint64_t half[1] = {s->n * (s->n + 1) / 2};
            snprintf(name, sizeof name, "%s.in_products", of);
            ng_gguf_put_tensor(w, name, NG_TYPE_F32, 1, half, k->sums[s->like].products);
        }
        k->report->n_matrices++;
    }
    return NG_OK;
}

static ng_status write_file(const measuring *k, ng_error *err) {
    size_t n_values = 0;
    for (size_t i = 0; i < k->n_tensors; i++)
        if (k->sums[i].squares) n_values += k->sums[i].n + 1;
    if (!n_values)
        return ng_fail(err, NG_EUNSUPPORTED, "imatrix: no product of %s can be seen; use its F32 or F16 file",
                       ng_gguf_path(k->gguf));
    float *values = malloc(n_values * sizeof *values);
    ng_gguf_writer *w;
    if (!values || ng_gguf_writer_new(&w)) {
        free(values);
        return ng_fail(err, NG_ENOMEM, "imatrix: out of memory");
    }
    const char *dataset = k->opt->dataset ? k->opt->dataset : "text";
    ng_str names[1] = {{dataset, strlen(dataset)}};
    ng_gguf_put_str(w, "general.type", "imatrix");
    ng_gguf_put_strs(w, "imatrix.datasets", names, 1);
    ng_gguf_put_u32(w, "imatrix.chunk_count", (uint32_t)k->report->n_windows);
    ng_gguf_put_u32(w, "imatrix.chunk_size", ng_session_n_ctx(k->opt->session));
    ng_status s = put_sums(w, k, values, err);
    if (s) ng_gguf_writer_free(w);
    else s = ng_gguf_writer_commit(w, k->opt->path, err);
    free(values);
    return s;
}

ng_status ng_imatrix_measure(ng_imatrix_report *out, const ng_imatrix_options *opt, ng_error *err) {
    const ng_model *m = ng_session_model(opt->session);
    measuring k = {.opt = opt, .gguf = m->gguf, .n_tensors = ng_gguf_n_tensors(m->gguf), .report = out};
    ng_error why = {0};
    *out = (ng_imatrix_report){0};
    const ng_tokenizer *t = ng_model_tokenizer(m, &why);
    if (!t) return ng_fail(err, why.code, "%s", why.text);
    k.sums = calloc(k.n_tensors + 1, sizeof *k.sums);
    if (!k.sums) return ng_fail(err, NG_ENOMEM, "imatrix: out of memory");
    ng_observer observer = {see, &k};
    ng_session_observe(opt->session, &observer);
    ng_status s = m->info.kind == NG_MODEL_CAUSAL ? over_text(&k, t, err) : over_lines(&k, err);
    ng_session_observe(opt->session, NULL);
    if (!s && k.out_of_memory) s = ng_fail(err, NG_ENOMEM, "imatrix: out of memory");
    if (!s) s = write_file(&k, err);
    for (size_t i = 0; i < k.n_tensors; i++) free(k.sums[i].squares), free(k.sums[i].products);
    free(k.sums);
    free(k.last_x);
    return s;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

struct ng_imatrix {
    ng_gguf *gguf;
};

ng_status ng_imatrix_open(ng_imatrix **out, const char *path, ng_error *err) {
    ng_imatrix *im = calloc(1, sizeof *im);
    ng_str type = {"", 0};
    *out = NULL;
    if (!im) return ng_fail(err, NG_ENOMEM, "imatrix: out of memory");
    ng_status s = ng_gguf_open(&im->gguf, path, err);
    if (!s && ng_gguf_has(im->gguf, "general.type")) s = ng_gguf_get_str(im->gguf, "general.type", &type, err);
    if (!s && (type.len != 7 || memcmp(type.data, "imatrix", 7)))
        s = ng_fail(err, NG_EFORMAT,
                    "%.200s is no importance matrix: general.type is not \"imatrix\"; make one with `nanogrid imatrix`",
                    path);
    if (s) {
        ng_imatrix_close(im);
        return s;
    }
    *out = im;
    return NG_OK;
}

void ng_imatrix_close(ng_imatrix *im) {
    if (!im) return;
    ng_gguf_close(im->gguf);
    free(im);
}

static const ng_gguf_tensor *part_of(const ng_imatrix *im, const char *name, const char *part) {
    char full[NAME_MAX_LEN];
    if ((size_t)snprintf(full, sizeof full, "%s.%s", name, part) >= sizeof full) return NULL;
    const ng_gguf_tensor *t = ng_gguf_find_tensor(im->gguf, full);
    return t && t->type == NG_TYPE_F32 ? t : NULL;
}

ng_status ng_imatrix_weights(const ng_imatrix *im, float *weight, const char *name, size_t n, bool *found,
                             ng_error *err) {
    const ng_gguf_tensor *sums = part_of(im, name, "in_sum2"), *counts = part_of(im, name, "counts");
    *found = false;
    if (!sums || !counts) return NG_OK;
    if (sums->dims[0] != n || sums->dims[1] * sums->dims[2] * sums->dims[3] != 1 || counts->bytes != sizeof(float))
        return ng_fail(err, NG_EFORMAT, "%.200s: %.64s.in_sum2 does not have the %zu columns of the matrix",
                       ng_gguf_path(im->gguf), name, n);
    float count;
    double total = 0;
    memcpy(&count, counts->data, sizeof count);
    memcpy(weight, sums->data, n * sizeof *weight);
    for (size_t i = 0; i < n; i++) {
        if (!(weight[i] >= 0 && weight[i] < INFINITY))
            return ng_fail(err, NG_EFORMAT, "%.200s: column %zu of %.64s.in_sum2 is negative or not finite",
                           ng_gguf_path(im->gguf), i, name);
        total += (double)weight[i];
    }
    if (!(count > 0) || !(total > 0)) return NG_OK; /* nothing was seen */
    /* A column that the text never used may be used by another: it must not cost nothing. */
    for (size_t i = 0; i < n; i++) weight[i] = (float)((double)weight[i] * (double)n / total) + 0.01f;
    *found = true;
    return NG_OK;
}

ng_status ng_imatrix_products(const ng_imatrix *im, const float **products, const char *name, size_t n, ng_error *err) {
    const ng_gguf_tensor *t = part_of(im, name, "in_products"), *counts = part_of(im, name, "counts");
    *products = NULL;
    if (!t || !counts) return NG_OK;
    size_t want = n * (n + 1) / 2;
    if (t->bytes != want * sizeof(float) || counts->bytes != sizeof(float))
        return ng_fail(err, NG_EFORMAT, "%.200s: %.64s.in_products does not have the products of %zu columns",
                       ng_gguf_path(im->gguf), name, n);
    const float *p = t->data; /* tensors lie at multiples of 32 bytes */
    for (size_t i = 0; i < want; i++)
        if (!(p[i] - p[i] == 0.0f))
            return ng_fail(err, NG_EFORMAT, "%.200s: a value of %.64s.in_products is not finite",
                           ng_gguf_path(im->gguf), name);
    *products = p;
    return NG_OK;
}
