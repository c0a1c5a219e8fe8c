/* model.c: opens a model: file, architecture, weights, tokenizer.  See nanogrid/model.h.
 *
 * Float weights stay in the mapping; quantised ones are repacked into panels (kernel/panel.h) that all
 * processes share (repack.h).  A tensor that the architecture does not ask for is refused: a
 * weight that is silently left out gives a model that almost works. */
#include "adapter.h"
#include "arch.h"

#include "core/cpu.h"
#include "tokenizer/vocab.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARCH(name) extern const ng_arch ng_arch_##name;
#include "archs.def"
#undef ARCH

static const ng_arch *const archs[] = {
#define ARCH(name) &ng_arch_##name,
#include "archs.def"
#undef ARCH
};

bool ng_model_arch_kind(ng_model_kind *out, const char *arch) {
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        if (!strcmp(archs[i]->name, arch)) return *out = archs[i]->kind, true;
    return false;
}

static ng_status find_arch(ng_model *m, ng_error *err) {
    ng_str name;
    ng_status s = ng_gguf_get_str(m->gguf, "general.architecture", &name, err);
    if (s) return s;
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        if (strlen(archs[i]->name) == name.len && !memcmp(archs[i]->name, name.data, name.len)) m->arch = archs[i];
    if (m->arch) return NG_OK;
    return ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%.*s' is not run by this version", m->info.path,
                   (int)(name.len < 60 ? name.len : 60), name.data);
}

static ng_status check_all_used(const ng_loader *l, ng_error *err) {
    const ng_model *m = l->model;
    for (size_t i = 0; i < ng_gguf_n_tensors(m->gguf); i++)
        if (!l->used[i] && strncmp(ng_gguf_tensor_at(m->gguf, i)->name, "head.", 5) != 0) /* encoder_heads.h */
            return ng_fail(err, NG_EUNSUPPORTED, "%s: tensor %s is not known for architecture %s", m->info.path,
                           ng_gguf_tensor_at(m->gguf, i)->name, m->arch->name);
    return NG_OK;
}

/* What will be resident of the file and as panels. */
static void measure_weights(const ng_loader *l) {
    ng_model *m = l->model;
    for (size_t i = 0; i < ng_gguf_n_tensors(m->gguf); i++)
        if (l->used[i] & NG_LOAD_IN_PLACE) m->bytes.stored += ng_gguf_tensor_at(m->gguf, i)->bytes;
    for (size_t i = 0; i < l->n_mats; i++) {
        size_t n = ng_mat_panel_bytes(l->mats[i]);
        m->bytes.panels = n < NG_MEMORY_FAR - m->bytes.panels ? m->bytes.panels + n : NG_MEMORY_FAR;
    }
}

/* Refuses before the panels are made. */
static ng_status check_memory(const ng_model *m, ng_error *err) {
    ng_memory_need need;
    ng_memory_of_model(&need, m);
    return ng_memory_check(&need, m->info.path, err);
}

/* An architecture asks for its matrices in the order in which a forward reads them, round and round. */
static void chain_mats(const ng_loader *l) {
    for (size_t i = 0; i < l->n_mats; i++) {
        ng_mat *m = l->mats[i], *next = l->mats[(i + 1) % l->n_mats];
        m->next = m->is_q8 && next->is_q8 ? next : NULL;
    }
}

static ng_status load_weights(ng_model *m, bool header_only, ng_error *err) {
    size_t n = ng_gguf_n_tensors(m->gguf);
    ng_loader l = {.model = m, .header_only = header_only};
    l.used = calloc(n + 1, sizeof *l.used);
    l.mats = calloc(2 * n + 1, sizeof *l.mats); /* 2: a tied embedding may be asked for twice */
    ng_status s = l.used && l.mats ? NG_OK : ng_fail(err, NG_ENOMEM, "model: out of memory");
    if (!s) s = m->arch->load(&l, err);
    if (!s) s = check_all_used(&l, err);
    if (!s) measure_weights(&l);
    if (!s && !header_only) s = check_memory(m, err);
    ng_repack_source source = {ng_gguf_map(m->gguf), m->info.path, l.mats, l.n_mats, m->cache_from_bytes};
    if (!s && !header_only) s = ng_repack_open(&m->repack, &source, err);
    if (!s) chain_mats(&l);
    free(l.used);
    free(l.mats);
    return s;
}

/* Parameters, bytes, and the type that holds most of them. */
static void count_weights(ng_model *m) {
    uint64_t best = 0;
    for (size_t i = 0; i < ng_gguf_n_tensors(m->gguf); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(m->gguf, i);
        m->info.n_params += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
        m->info.weight_bytes += t->bytes;
        uint64_t of_type = 0;
        for (size_t j = 0; j < ng_gguf_n_tensors(m->gguf); j++) {
            const ng_gguf_tensor *u = ng_gguf_tensor_at(m->gguf, j);
            if (u->type == t->type) of_type += u->bytes;
        }
        if (of_type > best) {
            best = of_type;
            m->info.file_type = ng_type_get_info(t->type).name;
        }
    }
}

static ng_status fill_info(ng_model *m, ng_error *err) {
    ng_str name = {"", 0};
    if (ng_gguf_has(m->gguf, "general.name")) {
        ng_status s = ng_gguf_get_str(m->gguf, "general.name", &name, err);
        if (s) return s;
    }
    m->info.name = ng_arena_strndup(m->arena, name.data, name.len);
    if (!m->info.name) return ng_fail(err, NG_ENOMEM, "model: out of memory");
    m->info.arch = m->arch->name;
    m->info.kind = m->arch->kind;
    m->info.file_type = "";
    m->info.file_bytes = ng_gguf_file_bytes(m->gguf);
    return NG_OK;
}

static void forget_header(const ng_gguf *g) {
    const ng_map *map = ng_gguf_map(g);
    size_t end = map->len;
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const uint8_t *data = ng_gguf_tensor_at(g, i)->data;
        if (data >= map->data && data < map->data + end) end = (size_t)(data - map->data);
    }
    ng_map_forget(map, 0, end);
}

/* How a model is opened. */
typedef struct opening {
    const char *path, *adapter; /* adapter: NULL for none */
    double scale;
    size_t cache_from_bytes;
    bool header_only;
} opening;

/* Before the weights, which ask for its parts. */
static ng_status open_adapter(ng_model *m, const opening *o, ng_error *err) {
    if (!o->adapter || o->scale == 0) return NG_OK;
    if (m->arch->kind != NG_MODEL_ENCODER)
        return ng_fail(err, NG_EUNSUPPORTED,
                       "%s: adapters run beside encoders; %s is a decoder (merge it: nanogrid finetune --merge)",
                       o->adapter, o->path);
    ng_status s = ng_adapter_open(&m->adapter, o->adapter, m->gguf, o->scale, err);
    if (!s) m->bytes.tables += ng_adapter_bytes(m->adapter);
    return s;
}

static ng_status open_into(ng_model *m, const opening *o, ng_error *err) {
    bool header_only = o->header_only;
    ng_status s = ng_kernels_get(&m->kernels, err);
    if (s) return s;
    if (ng_arena_new(&m->arena, 0) || !(m->info.path = ng_arena_strdup(m->arena, o->path)))
        return ng_fail(err, NG_ENOMEM, "model: out of memory");
    s = ng_gguf_open(&m->gguf, o->path, err);
    if (!s) s = find_arch(m, err);
    if (!s) s = fill_info(m, err);
    if (!s) count_weights(m);
    if (!s) s = open_adapter(m, o, err);
    if (!s) s = load_weights(m, header_only, err);
    if (s) return s;
    m->info.repack = header_only ? "none" : m->repack.how;
    m->info.repack_note = m->repack.note;
    m->info.kernel_note = ng_cpu_note();
    if (m->arch->kind == NG_MODEL_CAUSAL) m->info.kv_bytes_per_tok = ng_kv_bytes_per_tok(&m->kv_shape);
    if (!m->info.n_seq_max) m->info.n_seq_max = m->info.n_ctx_train;
    s = ng_tokenizer_load(&m->tokenizer, m->gguf, &m->tokenizer_error);
    forget_header(m->gguf); /* what is used of it has been copied; megabytes where the vocabulary is large */
    if (m->tokenizer) m->bytes.tables += ng_tokenizer_bytes(m->tokenizer);
    m->bytes.tables += ng_arena_bytes(m->arena) + ng_gguf_heap_bytes(m->gguf);
    return s == NG_ENOMEM ? ng_fail(err, s, "%s", m->tokenizer_error.text) : NG_OK;
}

ng_status ng_model_open(ng_model **out, const char *path, ng_error *err) {
    return ng_model_open_from(out, path, NG_REPACK_CACHE_FROM, err);
}

static ng_status open_model(ng_model **out, const opening *o, ng_error *err) {
    *out = NULL;
    ng_model *m = calloc(1, sizeof *m);
    if (!m) return ng_fail(err, NG_ENOMEM, "model: out of memory");
    m->cache_from_bytes = o->cache_from_bytes;
    ng_status s = open_into(m, o, err);
    if (s) {
        ng_model_close(m);
        return s;
    }
    *out = m;
    return NG_OK;
}

ng_status ng_model_open_from(ng_model **out, const char *path, size_t cache_from_bytes, ng_error *err) {
    return open_model(out, &(opening){.path = path, .cache_from_bytes = cache_from_bytes}, err);
}

ng_status ng_model_open_header(ng_model **out, const char *path, ng_error *err) {
    return open_model(out, &(opening){.path = path, .header_only = true}, err);
}

ng_status ng_model_open_adapted(ng_model **out, const char *path, const char *adapter, double scale, ng_error *err) {
    return open_model(out, &(opening){path, adapter, scale, NG_REPACK_CACHE_FROM, false}, err);
}

void ng_model_close(ng_model *m) {
    if (!m) return;
    ng_tokenizer_close(m->tokenizer);
    ng_gguf_close(m->gguf);
    ng_adapter_close(m->adapter);
    ng_repack_close(&m->repack);
    ng_arena_free(m->arena);
    free(m);
}

ng_status ng_model_digest(ng_digest *out, const ng_model *m, ng_error *err) {
    if (m->repack.has_source) {
        *out = m->repack.source;
        return NG_OK;
    }
    ng_pool *pool;
    ng_status s = ng_pool_new(&pool, 0, err);
    if (s) return s;
    s = ng_repack_digest(out, pool, ng_gguf_map(m->gguf), false, err);
    ng_pool_free(pool);
    return s;
}

ng_model_info ng_model_get_info(const ng_model *m) { return m->info; }

const ng_tokenizer *ng_model_tokenizer(const ng_model *m, ng_error *err) {
    if (!m->tokenizer) ng_fail(err, m->tokenizer_error.code, "%s", m->tokenizer_error.text);
    return m->tokenizer;
}

const char *ng_model_kernel(const ng_model *m) { return ng_cpu_level_name(m->kernels->level); }
