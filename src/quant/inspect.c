/* inspect.c: see nanogrid/inspect.h.
 *
 * Both formats are read into one list of tensors and one list of metadata values, already rendered
 * as JSON text; the two printers then know nothing of formats.  Foreign strings pass through the
 * JSON writer, which escapes control characters and replaces invalid UTF-8, so a terminal is safe
 * too. */
#include <nanogrid/inspect.h>

#include "core/arena.h"
#include "core/file.h"
#include "safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ARRAY_SHOWN = 16, TEXT_SHOWN = 72, KEPT_TYPES = 24, META_BYTES_MAX = 64 << 20 };

typedef struct meta {
    const char *key, *json; /* the value as JSON text */
} meta;

typedef struct tensor {
    const char *name, *type;
    uint32_t n_dims;
    uint64_t dims[NG_ST_DIMS_MAX]; /* slowest first */
    size_t bytes;
} tensor;

typedef struct type_sum {
    const char *type;
    size_t tensors, bytes;
} type_sum;

struct ng_inspection {
    ng_arena *arena;
    ng_inspect_summary sum;
    meta *metas; /* [n_metas] */
    size_t n_metas;
    tensor *tensors; /* [sum.n_tensors] */
    type_sum types[KEPT_TYPES];
    size_t n_types;
};

static ng_status no_memory(const char *path, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "%.200s: no memory to inspect it", path);
}

static void count(ng_inspection *in, const tensor *t) {
    uint64_t n = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) n *= t->dims[d]; /* the reader checked the product */
    in->sum.parameters += n;
    size_t k = 0;
    while (k < in->n_types && strcmp(in->types[k].type, t->type)) k++;
    if (k == KEPT_TYPES) return; /* there are fewer types than that */
    if (k == in->n_types) in->types[in->n_types++] = (type_sum){.type = t->type};
    in->types[k].tensors++;
    in->types[k].bytes += t->bytes;
}

/* ---- GGUF ----------------------------------------------------------------------------------- */

static void json_element(ng_json *j, const ng_gguf_array *a, size_t i) {
    switch (a->kind) {
    case NG_GGUF_STRING:
        ng_json_strn(j, a->strs[i].data, a->strs[i].len);
        break;
    case NG_GGUF_BOOL:
        ng_json_bool(j, ng_gguf_array_int(a, i) != 0);
        break;
    case NG_GGUF_F32:
        ng_json_f32(j, (float)ng_gguf_array_num(a, i));
        break;
    case NG_GGUF_F64:
        ng_json_num(j, ng_gguf_array_num(a, i));
        break;
    default:
        ng_json_int(j, ng_gguf_array_int(a, i));
    }
}

static void json_array(ng_json *j, const ng_gguf_array *a) {
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    bool cut = a->len > ARRAY_SHOWN;
    if (cut) {
        ng_json_object(j);
        ng_json_key(j, "type"), ng_json_str(j, names[a->kind]);
        ng_json_key(j, "length"), ng_json_uint(j, a->len);
        ng_json_key(j, "first");
    }
    ng_json_array(j);
    for (size_t i = 0; i < a->len && i < ARRAY_SHOWN; i++) json_element(j, a, i);
    ng_json_end(j);
    if (cut) ng_json_end(j);
}

static ng_status json_value(ng_json *j, const ng_gguf *g, const char *key, ng_gguf_kind kind,
                            ng_error *err) {
    ng_status s = NG_OK;
    ng_gguf_array a;
    ng_str str;
    uint64_t u = 0;
    int64_t i = 0;
    float f = 0;
    bool b = false;
    switch (kind) {
    case NG_GGUF_ARRAY:
        if (!(s = ng_gguf_get_array(g, key, &a, err))) json_array(j, &a);
        break;
    case NG_GGUF_STRING:
        if (!(s = ng_gguf_get_str(g, key, &str, err))) ng_json_strn(j, str.data, str.len);
        break;
    case NG_GGUF_BOOL:
        if (!(s = ng_gguf_get_bool(g, key, &b, err))) ng_json_bool(j, b);
        break;
    case NG_GGUF_F32:
    case NG_GGUF_F64:
        if (!(s = ng_gguf_get_f32(g, key, &f, err))) ng_json_f32(j, f);
        break;
    case NG_GGUF_U64:
        if (!(s = ng_gguf_get_u64(g, key, &u, err))) ng_json_uint(j, u);
        break;
    default:
        if (!(s = ng_gguf_get_i64(g, key, &i, err))) ng_json_int(j, i);
    }
    return s;
}

static ng_status read_keys(ng_inspection *in, const ng_gguf *g, ng_buf *b, ng_error *err) {
    for (size_t i = 0; i < ng_gguf_n_keys(g); i++) {
        ng_gguf_kind kind;
        const char *key = ng_gguf_key(g, i, &kind);
        ng_buf_reset(b);
        ng_json j = ng_json_init(b);
        ng_status s = json_value(&j, g, key, kind, err);
        if (s) return s;
        meta *m = &in->metas[in->n_metas++];
        m->key = ng_arena_strdup(in->arena, key);
        m->json = b->status ? NULL : ng_arena_strndup(in->arena, b->data, b->len);
        if (!m->key || !m->json) return no_memory(in->sum.file, err);
    }
    return NG_OK;
}

static ng_status read_name(ng_inspection *in, const ng_gguf *g, const char *key, const char **out,
                           ng_error *err) {
    ng_str str = {"", 0};
    ng_status s = ng_gguf_has(g, key) ? ng_gguf_get_str(g, key, &str, err) : NG_OK;
    if (s) return s;
    *out = ng_arena_strndup(in->arena, str.data, str.len);
    return *out ? NG_OK : no_memory(in->sum.file, err);
}

static ng_status read_gguf(ng_inspection *in, const ng_gguf *g, ng_error *err) {
    in->sum.format = "gguf";
    in->sum.bytes = ng_gguf_file_bytes(g);
    in->sum.n_tensors = ng_gguf_n_tensors(g);
    in->metas = ng_arena_array(in->arena, ng_gguf_n_keys(g) + 1, sizeof *in->metas);
    in->tensors = ng_arena_array(in->arena, in->sum.n_tensors + 1, sizeof *in->tensors);
    if (!in->metas || !in->tensors) return no_memory(in->sum.file, err);
    ng_status s = read_name(in, g, "general.architecture", &in->sum.architecture, err);
    if (!s) s = read_name(in, g, "general.name", &in->sum.name, err);
    if (s) return s;
    for (size_t i = 0; i < in->sum.n_tensors; i++) {
        const ng_gguf_tensor *from = ng_gguf_tensor_at(g, i);
        tensor *t = &in->tensors[i];
        *t = (tensor){.type = ng_type_get_info(from->type).name,
                      .n_dims = from->n_dims,
                      .bytes = from->bytes,
                      .name = ng_arena_strdup(in->arena, from->name)};
        if (!t->name) return no_memory(in->sum.file, err);
        for (uint32_t d = 0; d < t->n_dims; d++) t->dims[d] = from->dims[t->n_dims - 1 - d];
        count(in, t);
    }
    ng_buf b = ng_buf_init(META_BYTES_MAX);
    s = read_keys(in, g, &b, err);
    ng_buf_clear(&b);
    return s;
}

/* ---- safetensors ---------------------------------------------------------------------------- */

static ng_status read_meta(ng_inspection *in, const ng_safetensors *f, ng_error *err) {
    ng_buf b = ng_buf_init(META_BYTES_MAX);
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < ng_safetensors_n_meta(f); i++) {
        const char *value, *key = ng_safetensors_meta(f, i, &value);
        ng_buf_reset(&b);
        ng_json j = ng_json_init(&b);
        ng_json_str(&j, value);
        meta *m = &in->metas[in->n_metas++];
        m->key = ng_arena_strdup(in->arena, key);
        m->json = b.status ? NULL : ng_arena_strndup(in->arena, b.data, b.len);
        if (!m->key || !m->json) s = no_memory(in->sum.file, err);
    }
    ng_buf_clear(&b);
    return s;
}

static ng_status read_safetensors(ng_inspection *in, const ng_safetensors *f, ng_error *err) {
    in->sum.format = "safetensors";
    in->sum.architecture = in->sum.name = "";
    in->sum.bytes = ng_safetensors_file_bytes(f);
    in->sum.n_tensors = ng_safetensors_n_tensors(f);
    in->metas = ng_arena_array(in->arena, ng_safetensors_n_meta(f) + 1, sizeof *in->metas);
    in->tensors = ng_arena_array(in->arena, in->sum.n_tensors + 1, sizeof *in->tensors);
    if (!in->metas || !in->tensors) return no_memory(in->sum.file, err);
    for (size_t i = 0; i < in->sum.n_tensors; i++) {
        const ng_st_tensor *from = ng_safetensors_at(f, i);
        tensor *t = &in->tensors[i];
        *t = (tensor){.type = from->dtype,
                      .n_dims = from->n_dims,
                      .bytes = from->bytes,
                      .name = ng_arena_strdup(in->arena, from->name)};
        if (!t->name) return no_memory(in->sum.file, err);
        memcpy(t->dims, from->dims, sizeof t->dims);
        count(in, t);
    }
    return read_meta(in, f, err);
}

/* ---- opening -------------------------------------------------------------------------------- */

/* GGUF has a magic; safetensors a length and then the brace of its header. */
static ng_status looks_like_safetensors(const char *path, bool *yes, ng_error *err) {
    ng_map m;
    ng_status s = ng_map_open(&m, path, err);
    if (s) return s;
    *yes = m.len > 8 && memcmp(m.data, "GGUF", 4) && m.data[8] == '{';
    ng_map_close(&m);
    return NG_OK;
}

static ng_status read_file(ng_inspection *in, const char *path, ng_error *err) {
    bool tensors = false;
    ng_status s = looks_like_safetensors(path, &tensors, err);
    if (s) return s;
    if (tensors) {
        ng_safetensors *f;
        if ((s = ng_safetensors_open(&f, path, err))) return s;
        s = read_safetensors(in, f, err);
        ng_safetensors_close(f);
    } else {
        ng_gguf *g;
        if ((s = ng_gguf_open(&g, path, err))) return s;
        s = read_gguf(in, g, err);
        ng_gguf_close(g);
    }
    return s;
}

ng_status ng_inspect_open(ng_inspection **out, const char *path, ng_error *err) {
    *out = NULL;
    ng_inspection *in = calloc(1, sizeof *in);
    if (!in || ng_arena_new(&in->arena, 0)) {
        free(in);
        return no_memory(path, err);
    }
    in->sum.file = ng_arena_strdup(in->arena, path);
    ng_status s = in->sum.file ? read_file(in, path, err) : no_memory(path, err);
    if (s) ng_inspect_close(in);
    else *out = in;
    return s;
}

void ng_inspect_close(ng_inspection *i) {
    if (!i) return;
    ng_arena_free(i->arena);
    free(i);
}

ng_inspect_summary ng_inspect_get_summary(const ng_inspection *i) {
    return i->sum;
}

/* ---- printing ------------------------------------------------------------------------------- */

static void json_tensors(ng_json *j, const ng_inspection *in) {
    ng_json_key(j, "tensors"), ng_json_array(j);
    for (size_t i = 0; i < in->sum.n_tensors; i++) {
        const tensor *t = &in->tensors[i];
        ng_json_object(j);
        ng_json_key(j, "name"), ng_json_str(j, t->name);
        ng_json_key(j, "type"), ng_json_str(j, t->type);
        ng_json_key(j, "shape"), ng_json_array(j);
        for (uint32_t d = 0; d < t->n_dims; d++) ng_json_uint(j, t->dims[d]);
        ng_json_end(j);
        ng_json_key(j, "bytes"), ng_json_uint(j, t->bytes);
        ng_json_end(j);
    }
    ng_json_end(j);
}

void ng_inspect_json(ng_json *j, const ng_inspection *in, bool tensors) {
    ng_json_object(j);
    ng_json_key(j, "file"), ng_json_str(j, in->sum.file);
    ng_json_key(j, "format"), ng_json_str(j, in->sum.format);
    ng_json_key(j, "architecture"), ng_json_str(j, in->sum.architecture);
    ng_json_key(j, "name"), ng_json_str(j, in->sum.name);
    ng_json_key(j, "parameters"), ng_json_uint(j, in->sum.parameters);
    ng_json_key(j, "bytes"), ng_json_uint(j, in->sum.bytes);
    ng_json_key(j, "n_tensors"), ng_json_uint(j, in->sum.n_tensors);
    ng_json_key(j, "types"), ng_json_object(j);
    for (size_t k = 0; k < in->n_types; k++) {
        ng_json_key(j, in->types[k].type), ng_json_object(j);
        ng_json_key(j, "tensors"), ng_json_uint(j, in->types[k].tensors);
        ng_json_key(j, "bytes"), ng_json_uint(j, in->types[k].bytes);
        ng_json_end(j);
    }
    ng_json_end(j);
    ng_json_key(j, "metadata"), ng_json_object(j);
    for (size_t k = 0; k < in->n_metas; k++)
        ng_json_key(j, in->metas[k].key), ng_json_raw(j, in->metas[k].json);
    ng_json_end(j);
    if (tensors) json_tensors(j, in);
    ng_json_end(j);
}

/* At most TEXT_SHOWN bytes, cut between UTF-8 characters. */
static void text_value(ng_buf *out, const char *json) {
    size_t n = strlen(json);
    if (n <= TEXT_SHOWN) {
        ng_buf_put(out, json, n);
        return;
    }
    n = TEXT_SHOWN;
    while (n && ((unsigned char)json[n] & 0xC0) == 0x80) n--;
    ng_buf_put(out, json, n);
    ng_buf_puts(out, "..");
}

static void text_name(ng_buf *out, const char *name) { /* foreign bytes: through the JSON escapes */
    ng_json j = ng_json_init(out);
    size_t at = out->len;
    ng_json_str(&j, name);
    if (out->status || out->len < at + 2) return;
    memmove(out->data + at, out->data + at + 1, out->len - at - 2); /* without the quotes */
    out->len -= 2;
    out->data[out->len] = 0;
}

void ng_inspect_text(ng_buf *out, const ng_inspection *in, bool tensors) {
    ng_buf_printf(out, "%s: %s", in->sum.file, in->sum.format);
    if (in->sum.architecture[0]) ng_buf_puts(out, ", "), text_name(out, in->sum.architecture);
    if (in->sum.name[0]) ng_buf_puts(out, ", "), text_name(out, in->sum.name);
    ng_buf_printf(out, "\n%" PRIu64 " parameters (%.1f M), %zu bytes (%.1f MB), %zu tensors\n",
                  in->sum.parameters, (double)in->sum.parameters / 1e6, in->sum.bytes,
                  (double)in->sum.bytes / 1e6, in->sum.n_tensors);
    for (size_t k = 0; k < in->n_types; k++)
        ng_buf_printf(out, "  %-8s %6zu tensors %14zu bytes\n", in->types[k].type,
                      in->types[k].tensors, in->types[k].bytes);
    if (in->n_metas) ng_buf_puts(out, "metadata\n");
    for (size_t k = 0; k < in->n_metas; k++) {
        ng_buf_puts(out, "  ");
        text_name(out, in->metas[k].key);
        ng_buf_puts(out, " = ");
        text_value(out, in->metas[k].json);
        ng_buf_putc(out, '\n');
    }
    if (tensors) ng_buf_puts(out, "tensors\n");
    for (size_t i = 0; tensors && i < in->sum.n_tensors; i++) {
        const tensor *t = &in->tensors[i];
        ng_buf_printf(out, "  %-6s %12zu  ", t->type, t->bytes);
        text_name(out, t->name);
        for (uint32_t d = 0; d < t->n_dims; d++)
            ng_buf_printf(out, "%s%" PRIu64, d ? " x " : "  ", t->dims[d]);
        ng_buf_putc(out, '\n');
    }
}
