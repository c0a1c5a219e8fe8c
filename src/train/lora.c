/* lora.c: see lora.h. */
#include "lora.h"

#include "core/arena.h"
#include "kernel/dequant.h"
#include "model/adapter.h"
#include "quant/quantize_row.h"
#include "train/encoder_export.h"
#include <nanogrid/tools/train.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ng_status no_memory(const char *path, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
}

/* ---- the base while it is trained on ------------------------------------------------------------ */

ng_status ng_lora_base_open(ng_lora_base *l, const ng_encoder_base *b, const ng_encoder *e, ng_error *err) {
    size_t n;
    const ng_encoder_tensor *t = ng_encoder_tensors(e, &n);
    if (!(l->tensors = calloc(n, sizeof *l->tensors))) return no_memory(ng_gguf_path(b->g), err);
    for (size_t i = 0; i < n; i++) {
        const ng_gguf_tensor *x = l->tensors[i] = ng_gguf_find_tensor(b->g, t[i].name);
        bool ok = x && x->dims[0] == t[i].cols && x->dims[1] * x->dims[2] * x->dims[3] >= t[i].rows &&
                  ng_can_dequantize(x->type);
        if (!ok)
            return ng_fail(err, NG_EFORMAT, "%s: tensor %s must be %zu wide and have %zu rows", ng_gguf_path(b->g),
                           t[i].name, t[i].cols, t[i].rows);
    }
    return NG_OK;
}

void ng_lora_base_clear(ng_lora_base *l) {
    free(l->tensors);
    *l = (ng_lora_base){0};
}

static const char *row_of(const ng_gguf_tensor *t, size_t row) {
    return (const char *)t->data + row * (t->bytes / t->dims[1]);
}

void ng_lora_read(void *self, size_t tensor, size_t row, size_t n, float *out) {
    const ng_gguf_tensor *t = ((const ng_lora_base *)self)->tensors[tensor];
    for (size_t i = 0; i < n; i++) ng_dequantize_row(t->type, row_of(t, row + i), out + i * t->dims[0], t->dims[0]);
}

/* ---- the adapter's file ------------------------------------------------------------------------- */

typedef struct part { /* of an adapter */
    size_t layer, target, rows, cols;
    char name;      /* 'a' or 'b' */
    const float *x; /* [rows, cols] */
} part;

static ng_status put_part(ng_gguf_writer *w, const ng_encoder_tasks *t, const part *m, ng_arena *arena, ng_error *err) {
    ng_type type;
    size_t row_bytes;
    const char *as = t->recipe->weights, *path = t->recipe->path;
    const char *name = ng_arena_printf(arena, "blk.%zu.%s.weight.lora_%c", m->layer, ng_lora_names[m->target], m->name);
    if (!ng_type_parse(&type, as) || !ng_type_row_bytes(type, m->cols, &row_bytes)) /* the columns of A; those of B were checked with the recipe */
        return ng_fail(err, NG_EINVALID, "%s: weights: %s cannot hold rows of %zu", path, as, m->cols);
    char *bytes = ng_arena_array(arena, m->rows, row_bytes);
    if (!name || !bytes) return no_memory(path, err);
    for (size_t r = 0; r < m->rows; r++)
        if (!ng_quantize_row(type, m->x + r * m->cols, NULL, bytes + r * row_bytes, m->cols))
            return ng_fail(err, NG_EFORMAT, "%s: %s has values that are not finite or too large for %s", path, name, as);
    ng_gguf_put_tensor(w, name, type, 2, (uint64_t[]){m->cols, m->rows}, bytes);
    return NG_OK;
}

static ng_status put_adapters(const ng_encoder_tasks *t, ng_gguf_writer *w, ng_arena *arena, ng_error *err) {
    ng_encoder_shape shape = ng_encoder_get_shape(t->encoder);
    const float *weights = ng_encoder_weights(t->encoder);
    size_t rank = (size_t)t->recipe->lora.rank;
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < shape.n_layer; i++)
        for (size_t k = 0; !s && k < NG_LORA_TARGETS; k++) {
            size_t at = ng_encoder_lora_at(t->encoder, i, k), in = ng_lora_in(&shape, k), out = ng_lora_out(&shape, k);
            if (at == SIZE_MAX) continue;
            s = put_part(w, t, &(part){i, k, rank, in, 'a', weights + at}, arena, err);
            if (!s) s = put_part(w, t, &(part){i, k, out, rank, 'b', weights + at + rank * in}, arena, err);
        }
    return s;
}

/* The calibration of head `name`, as encoder_export.c wrote it. */
static ng_status put_calibration(ng_gguf_writer *w, const ng_gguf *from, const char *name, ng_arena *arena,
                                 ng_error *err) {
    static const char *const numbers[] = {"temperature", "oos_threshold"};
    static const char *const lists[] = {"platt_scale", "platt_shift", "scope"};
    ng_gguf_array a;
    float v;
    for (size_t i = 0; i < 2; i++) {
        const char *number = ng_arena_printf(arena, "nanogrid.head.%s.%s", name, numbers[i]);
        if (!number) return no_memory(ng_gguf_path(from), err);
        if (!ng_gguf_get_f32(from, number, &v, NULL)) ng_gguf_put_f32(w, number, v);
    }
    for (size_t i = 0; i < 3; i++) {
        const char *list = ng_arena_printf(arena, "nanogrid.head.%s.%s", name, lists[i]);
        if (!list) return no_memory(ng_gguf_path(from), err);
        if (!ng_gguf_get_array(from, list, &a, NULL) && a.kind == NG_GGUF_F32)
            ng_gguf_put_array(w, list, a.kind, a.data, a.len);
    }
    const char *means = ng_arena_printf(arena, "head.%s.means", name);
    if (!means) return no_memory(ng_gguf_path(from), err);
    const ng_gguf_tensor *t = ng_gguf_find_tensor(from, means);
    if (t) ng_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data);
    return NG_OK;
}

ng_status ng_lora_write(const ng_encoder_base *b, const ng_encoder_tasks *t, const ng_gguf *calibrated,
                        const char *path, ng_error *err) {
    ng_gguf_writer *w = NULL;
    ng_arena *arena = NULL;
    ng_status s = ng_arena_new(&arena, 0) || ng_gguf_writer_new(&w) ? no_memory(path, err) : NG_OK;
    if (!s) {
        ng_gguf_put_str(w, "general.type", "adapter");
        ng_gguf_put_str(w, "general.architecture", "bert");
        ng_gguf_put_str(w, "general.name", t->recipe->about.name);
        ng_gguf_put_str(w, "adapter.type", "lora");
        ng_gguf_put_f32(w, "adapter.lora.alpha", (float)t->recipe->lora.alpha);
        ng_gguf_put_u64(w, "nanogrid.adapter.base", ng_adapter_base_hash(b->g));
        s = put_adapters(t, w, arena, err);
    }
    if (!s) s = ng_encoder_export_heads(t, w, arena, err);
    for (size_t k = 0; !s && calibrated && k < t->len; k++)
        s = put_calibration(w, calibrated, t->items[k].head->name, arena, err);
    if (s) ng_gguf_writer_free(w);
    else s = ng_gguf_writer_commit(w, path, err);
    ng_arena_free(arena);
    return s;
}

/* ---- merging ------------------------------------------------------------------------------------ */

/* row += b[rank] A[rank, n] */
static void add_row(float *row, const ng_low_rank *l, const float *b) {
    for (size_t k = 0; k < l->rank; k++)
        for (size_t c = 0; c < l->in; c++) row[c] += b[k] * l->a[k * l->in + c];
}

/* Tensor t with its adapter, in the type it had. */
static ng_status put_merged(ng_gguf_writer *w, const ng_gguf_tensor *t, const ng_low_rank *l, const char *path,
                            ng_arena *arena, ng_error *err) {
    size_t row_bytes = t->bytes / l->out;
    if (!ng_can_dequantize(t->type) || !ng_can_quantize(t->type))
        return ng_fail(err, NG_EUNSUPPORTED, "%s: no adapter can be merged into the type of %s", path, t->name);
    float *row = malloc(l->in * sizeof *row);
    char *bytes = ng_arena_alloc(arena, t->bytes);
    ng_status s = row && bytes ? NG_OK : no_memory(path, err);
    for (size_t r = 0; !s && r < l->out; r++) {
        ng_dequantize_row(t->type, row_of(t, r), row, l->in);
        add_row(row, l, l->b + r * l->rank);
        if (!ng_quantize_row(t->type, row, NULL, bytes + r * row_bytes, l->in))
            s = ng_fail(err, NG_EFORMAT, "%s: merged, %s has values that are not finite or too large for its type",
                        path, t->name);
    }
    free(row);
    if (!s) ng_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims, bytes);
    return s;
}

static bool is_head(const char *name) { return !strncmp(name, "head.", 5); }
static void put_as_it_is(ng_gguf_writer *w, const ng_gguf_tensor *t) {
    ng_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data);
}

/* Heads and their keys are the adapter's, if it has any; else those of the base stay. */
static ng_status put_all(ng_gguf_writer *w, const ng_gguf *base, const ng_adapter *a, bool off, ng_arena *arena,
                         ng_error *err) {
    const ng_gguf *heads = ng_adapter_heads(a);
    ng_gguf_array names;
    ng_status s = heads ? ng_gguf_get_array(heads, "nanogrid.heads", &names, err) : NG_OK;
    if (s) return s;
    if (heads && names.kind == NG_GGUF_STRING) ng_gguf_put_strs(w, "nanogrid.heads", names.strs, names.len);
    ng_gguf_put_str(w, "general.type", "model");
    ng_gguf_put_all_but(w, base, heads ? "nanogrid.head." : NULL); /* a head of the same name may have other labels */
    if (heads) ng_gguf_put_all(w, heads);
    for (size_t i = 0; !s && i < ng_gguf_n_tensors(base); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(base, i);
        ng_low_rank l = ng_adapter_find(a, t->name);
        if (heads && is_head(t->name)) continue;
        if (l.rank && !off) s = put_merged(w, t, &l, ng_gguf_path(base), arena, err);
        else put_as_it_is(w, t);
    }
    for (size_t i = 0; !s && heads && i < ng_gguf_n_tensors(heads); i++)
        if (is_head(ng_gguf_tensor_at(heads, i)->name)) put_as_it_is(w, ng_gguf_tensor_at(heads, i));
    return s;
}

ng_status ng_lora_merge(const ng_gguf *base, const char *path, double scale, const char *out, ng_error *err) {
    ng_adapter *a = NULL;
    ng_gguf_writer *w = NULL;
    ng_arena *arena = NULL;
    ng_status s = ng_adapter_open(&a, path, base, scale, err);
    if (!s && (ng_arena_new(&arena, 0) || ng_gguf_writer_new(&w))) s = no_memory(path, err);
    if (!s) s = put_all(w, base, a, scale == 0, arena, err);
    if (s) ng_gguf_writer_free(w);
    else s = ng_gguf_writer_commit(w, out, err);
    ng_arena_free(arena);
    ng_adapter_close(a);
    return s;
}

ng_status ng_adapter_merge(const char *base, const char *adapter, double scale, const char *out, ng_error *err) {
    ng_gguf *g;
    ng_status s = ng_gguf_open(&g, base, err);
    if (s) return s;
    s = ng_lora_merge(g, adapter, scale, out, err);
    ng_gguf_close(g);
    return s;
}
