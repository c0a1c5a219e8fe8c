/* adapter.c: see adapter.h.  B is kept scaled, so that the second product adds to what the base gave with no step between. */
#include "adapter.h"

#include "arch.h"
#include "core/checked.h"
#include "core/hash.h"
#include "kernel/dequant.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char of_a[] = ".lora_a", of_b[] = ".lora_b";

typedef struct pair {
    const char *tensor; /* of the base */
    ng_low_rank l;
} pair;

struct ng_adapter {
    ng_arena *arena;
    ng_gguf *g;
    pair *pairs; /* [len] */
    size_t len;
};

uint64_t ng_adapter_base_hash(const ng_gguf *g) {
    const ng_map *m = ng_gguf_map(g);
    return ng_hash64(m->data, m->len, 0);
}

/* Whether `adapter` is one for this base, and its alpha. */
static ng_status check_base(const ng_gguf *adapter, const ng_gguf *base, float *alpha, ng_error *err) {
    uint64_t hash;
    ng_str type, kind;
    ng_status s = NG_OK;
    if (ng_gguf_get_str(adapter, "general.type", &type, NULL) ||
        ng_gguf_get_str(adapter, "adapter.type", &kind, NULL) || type.len != 7 ||
        memcmp(type.data, "adapter", 7) != 0 || kind.len != 4 || memcmp(kind.data, "lora", 4) != 0)
        return ng_fail(err, NG_EFORMAT, "%s: not an adapter of the type lora", ng_gguf_path(adapter));
    if ((s = ng_gguf_get_f32(adapter, "adapter.lora.alpha", alpha, err)) ||
        (s = ng_gguf_get_u64(adapter, "nanogrid.adapter.base", &hash, err)))
        return s;
    if (!isfinite(*alpha))
        return ng_fail(err, NG_EFORMAT, "%s: adapter.lora.alpha is not a number", ng_gguf_path(adapter));
    if (hash == ng_adapter_base_hash(base)) return NG_OK;
    return ng_fail(err, NG_EINVALID, "%s: made for another base: its bytes have the hash %016llx, those of %s %016llx",
                   ng_gguf_path(adapter), (unsigned long long)hash, ng_gguf_path(base),
                   (unsigned long long)ng_adapter_base_hash(base));
}

static ng_status misfit(const ng_adapter *a, const char *name, ng_error *err) {
    return ng_fail(err, NG_EFORMAT,
                   "%s: tensor %s does not fit the base: a matrix of [in, rank] and [rank, out] are wanted, rank at most %d",
                   ng_gguf_path(a->g), name, (int)NG_ADAPTER_RANK_MAX);
}

static bool all_finite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* The tensor's values as floats in the arena. */
static float *read_floats(ng_adapter *a, const ng_gguf_tensor *t) {
    size_t cols = t->dims[0], rows = t->dims[1], cells;
    float *x = ng_mul_ok(&cells, cols, rows) ? ng_arena_array(a->arena, cells, sizeof *x) : NULL;
    for (size_t r = 0; x && r < rows; r++)
        ng_dequantize_row(t->type, (const char *)t->data + r * (t->bytes / rows), x + r * cols, cols);
    return x;
}

/* The pair whose A is t, a tensor "NAME.lora_a". */
static ng_status read_pair(ng_adapter *a, pair *p, const ng_gguf_tensor *t, const ng_gguf *base, float scale,
                           ng_error *err) {
    size_t n = strlen(t->name) - (sizeof of_a - 1);
    p->tensor = ng_arena_strndup(a->arena, t->name, n);
    const char *other = p->tensor ? ng_arena_printf(a->arena, "%s%s", p->tensor, of_b) : NULL;
    if (!other) return ng_fail(err, NG_ENOMEM, "%s: out of memory", ng_gguf_path(a->g));
    const ng_gguf_tensor *b = ng_gguf_find_tensor(a->g, other), *of = ng_gguf_find_tensor(base, p->tensor);
    bool fits = b && of && ng_can_dequantize(t->type) && ng_can_dequantize(b->type) && t->n_dims == 2 && b->n_dims == 2 &&
                of->n_dims == 2 && t->dims[0] == of->dims[0] && b->dims[1] == of->dims[1] && t->dims[1] == b->dims[0] &&
                b->dims[0] >= 1 && b->dims[0] <= NG_ADAPTER_RANK_MAX;
    if (!fits) return misfit(a, t->name, err);
    const float *plain = t->type == NG_TYPE_F32 ? t->data : read_floats(a, t);
    float *scaled = read_floats(a, b);
    if (!plain || !scaled) return ng_fail(err, NG_ENOMEM, "%s: out of memory", ng_gguf_path(a->g));
    p->l = (ng_low_rank){b->dims[0], t->dims[0], b->dims[1], plain, scaled};
    size_t cells = p->l.rank * p->l.out;
    for (size_t i = 0; i < cells; i++) scaled[i] *= scale / (float)p->l.rank;
    if (all_finite(p->l.a, p->l.rank * p->l.in) && all_finite(scaled, cells)) return NG_OK;
    return ng_fail(err, NG_EFORMAT, "%s: tensor %s holds a value that is no number", ng_gguf_path(a->g), t->name);
}

static bool ends_with(const char *name, const char *tail) {
    size_t n = strlen(name), m = strlen(tail);
    return n > m && !strcmp(name + n - m, tail);
}

static ng_status read_pairs(ng_adapter *a, const ng_gguf *base, float scale, ng_error *err) {
    size_t n = ng_gguf_n_tensors(a->g), n_b = 0;
    if (!(a->pairs = ng_arena_array(a->arena, n + 1, sizeof *a->pairs)))
        return ng_fail(err, NG_ENOMEM, "%s: out of memory", ng_gguf_path(a->g));
    for (size_t i = 0; i < n; i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(a->g, i);
        ng_status s = ends_with(t->name, of_a) ? read_pair(a, &a->pairs[a->len], t, base, scale, err) : NG_OK;
        if (s) return s;
        a->len += ends_with(t->name, of_a);
        n_b += ends_with(t->name, of_b);
        if (!ends_with(t->name, of_a) && !ends_with(t->name, of_b) && strncmp(t->name, "head.", 5) != 0)
            return ng_fail(err, NG_EUNSUPPORTED, "%s: tensor %s belongs to no adapter of the type lora",
                           ng_gguf_path(a->g), t->name);
    }
    if (n_b != a->len)
        return ng_fail(err, NG_EFORMAT, "%s: %zu tensors .lora_a and %zu .lora_b", ng_gguf_path(a->g), a->len, n_b);
    return NG_OK;
}

ng_status ng_adapter_open(ng_adapter **out, const char *path, const ng_gguf *base, double scale, ng_error *err) {
    float alpha;
    ng_adapter *a = calloc(1, sizeof *a);
    *out = NULL;
    if (!a || ng_arena_new(&a->arena, 0)) {
        free(a);
        return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    }
    ng_status s = ng_gguf_open(&a->g, path, err);
    if (!s) s = check_base(a->g, base, &alpha, err);
    if (!s) s = read_pairs(a, base, (float)(scale * (double)alpha), err);
    if (s) ng_adapter_close(a);
    else *out = a;
    return s;
}

void ng_adapter_close(ng_adapter *a) {
    if (!a) return;
    ng_gguf_close(a->g);
    ng_arena_free(a->arena);
    free(a);
}

const ng_gguf *ng_adapter_heads(const ng_adapter *a) { return a && ng_gguf_has(a->g, "nanogrid.heads") ? a->g : NULL; }

uint64_t ng_adapter_bytes(const ng_adapter *a) {
    return a ? ng_gguf_file_bytes(a->g) + ng_arena_bytes(a->arena) + ng_gguf_heap_bytes(a->g) : 0;
}

ng_low_rank ng_adapter_find(const ng_adapter *a, const char *tensor) {
    for (size_t i = 0; a && i < a->len; i++)
        if (!strcmp(a->pairs[i].tensor, tensor)) return a->pairs[i].l;
    return (ng_low_rank){0};
}

void ng_low_rank_add(const ng_kernels *k, const ng_low_rank *l, const ng_low_rank_io *io) {
    ng_gemm down = {.w = l->a, .w_stride = l->in * sizeof(float), .row_end = l->rank, .n_cols = l->in, .x = io->x, .x_stride = l->in,
                    .n_tok = io->n_tok, .y = io->low, .y_stride = l->rank};
    ng_gemm up = {.w = l->b, .w_stride = l->rank * sizeof(float), .row_end = l->out, .n_cols = l->rank, .x = io->low, .x_stride = l->rank,
                  .n_tok = io->n_tok, .y = io->y, .y_stride = io->stride, .add = true};
    if (!l->rank) return;
    k->gemm_f32(&down);
    k->gemm_f32(&up);
}
