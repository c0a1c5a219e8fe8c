/* load.c: what an architecture's load() asks for: keys and tensors, each checked before it is used.
 * See arch.h. */
#include "arch.h"

#include "kernel/dequant.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEY_MAX = 128 };

static const char *full_key(const ng_loader *l, const char *key, char out[KEY_MAX]) {
    snprintf(out, KEY_MAX, "%s.%s", l->model->arch->name, key);
    return out;
}

static ng_status check_u32(const char *name, uint32_t v, uint32_t max, ng_error *err) {
    if (v >= 1 && v <= max) return NG_OK;
    return ng_fail(err, NG_EFORMAT, "%s is %u; 1 to %u is possible", name, v, max);
}

ng_status ng_load_u32(ng_loader *l, const char *key, uint32_t max, uint32_t *out, ng_error *err) {
    char name[KEY_MAX];
    ng_status s = ng_gguf_get_u32(l->model->gguf, full_key(l, key, name), out, err);
    return s ? s : check_u32(name, *out, max, err);
}

ng_status ng_load_u32_or(ng_loader *l, const char *key, uint32_t dflt, uint32_t max, uint32_t *out,
                         ng_error *err) {
    char name[KEY_MAX];
    ng_status s = ng_gguf_get_u32_or(l->model->gguf, full_key(l, key, name), dflt, out, err);
    return s ? s : check_u32(name, *out, max, err);
}

ng_status ng_load_f32(ng_loader *l, const char *key, float *out, ng_error *err) {
    char name[KEY_MAX];
    return ng_gguf_get_f32(l->model->gguf, full_key(l, key, name), out, err);
}

ng_status ng_load_f32_or(ng_loader *l, const char *key, float dflt, float *out, ng_error *err) {
    char name[KEY_MAX];
    return ng_gguf_get_f32_or(l->model->gguf, full_key(l, key, name), dflt, out, err);
}

static void mark(ng_loader *l, const ng_gguf_tensor *t, uint8_t how) {
    const ng_gguf *g = l->model->gguf;
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++)
        if (ng_gguf_tensor_at(g, i) == t) l->used[i] |= how;
}

/* The tensor by name, marked as known; NULL when absent. */
static const ng_gguf_tensor *find(ng_loader *l, const char *name) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(l->model->gguf, name);
    if (t) mark(l, t, NG_LOAD_KNOWN);
    return t;
}

static ng_status check_shape(const ng_loader *l, const ng_gguf_tensor *t, size_t rows, size_t cols,
                             ng_error *err) {
    const uint64_t *d = t->dims;
    if (d[0] != cols || d[1] != rows || d[2] != 1 || d[3] != 1)
        return ng_fail(err, NG_EFORMAT, "%s: tensor %s has shape [%llu, %llu, %llu, %llu], but %s needs [%zu, %zu]",
                       l->model->info.path, t->name, (unsigned long long)d[0], (unsigned long long)d[1],
                       (unsigned long long)d[2], (unsigned long long)d[3], l->model->arch->name, cols, rows);
    return NG_OK;
}

static ng_status missing(const ng_loader *l, const char *name, ng_error *err) {
    return ng_fail(err, NG_EFORMAT, "%s: tensor %s is missing; architecture %s needs it", l->model->info.path,
                   name, l->model->arch->name);
}

static ng_status check_type(const ng_loader *l, const ng_gguf_tensor *t, bool ok, ng_error *err) {
    if (ok) return NG_OK;
    return ng_fail(err, NG_EUNSUPPORTED, "%s: tensor %s is %s, a type that this version does not run; use Q8_0 or Q4_K",
                   l->model->info.path, t->name, ng_type_get_info(t->type).name);
}

/* The matrix tensor, once its shape and type are known to be right. */
static ng_status find_mat(ng_loader *l, const char *name, size_t n_rows, size_t n_cols,
                          const ng_gguf_tensor **out, ng_error *err) {
    *out = find(l, name);
    if (!*out) return missing(l, name, err);
    ng_status s = check_shape(l, *out, n_rows, n_cols, err);
    return s ? s : check_type(l, *out, ng_mat_can((*out)->type), err);
}

ng_status ng_load_mat(ng_loader *l, ng_mat *m, const char *name, size_t n_rows, size_t n_cols,
                      ng_error *err) {
    const ng_gguf_tensor *t;
    ng_status s = find_mat(l, name, n_rows, n_cols, &t, err);
    if (!s) s = ng_mat_init(m, t, l->model->kernels, err);
    if (s) return s;
    l->mats[l->n_mats++] = m;
    if (!ng_mat_panel_bytes(m)) mark(l, t, NG_LOAD_IN_PLACE);
    return NG_OK;
}

ng_status ng_load_lookup(ng_loader *l, ng_mat *m, const char *name, size_t n_rows, size_t n_cols,
                         ng_error *err) {
    const ng_gguf_tensor *t;
    ng_status s = find_mat(l, name, n_rows, n_cols, &t, err);
    if (s) return s;
    mark(l, t, NG_LOAD_IN_PLACE);
    return ng_mat_init_lookup(m, t, err);
}

ng_status ng_load_vec(ng_loader *l, const float **out, const char *name, size_t n, bool optional,
                      ng_error *err) {
    const ng_gguf_tensor *t = find(l, name);
    *out = NULL;
    if (!t) return optional ? NG_OK : missing(l, name, err);
    ng_status s = check_shape(l, t, 1, n, err);
    if (!s) s = check_type(l, t, t->type == NG_TYPE_F32 || t->type == NG_TYPE_F16 || t->type == NG_TYPE_BF16, err);
    if (s) return s;
    /* Always a copy: the file aligns data to 32 bytes at most by agreement, and vectors are small. */
    float *v = ng_arena_array(l->model->arena, n, sizeof *v);
    if (!v) return ng_fail(err, NG_ENOMEM, "tensor %s: out of memory", name);
    if (!l->header_only) ng_dequantize_row(t->type, t->data, v, n);
    for (size_t i = 0; l->header_only && i < n; i++) v[i] = 1;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return ng_fail(err, NG_EFORMAT, "%s: tensor %s: value %zu is not finite; the weights are damaged",
                           l->model->info.path, name, i);
    *out = v;
    return NG_OK;
}

bool ng_load_has(const ng_loader *l, const char *name) {
    return ng_gguf_find_tensor(l->model->gguf, name) != NULL;
}

void ng_load_ignore(ng_loader *l, const char *name) { (void)find(l, name); }
