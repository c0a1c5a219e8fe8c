/* safetensors.c: see safetensors.h.  The format: u64 header length, a JSON object, tensor data.
 *
 * How.  jansson parses the header, which may be 4 MiB long (jansson's values take some 40 bytes for
 * each byte of the worst text).  Each entry becomes an ng_st_tensor; sorted by offset, each must
 * begin where the one before it ends, the first at 0, the last ending with the file.  That is the
 * format's own rule, and it leaves no room for overlaps, gaps or lies about sizes.
 *
 * Names and metadata stay borrowed from the JSON tree, which lives as long as the file. */
#include "safetensors.h"

#include "core/checked.h"
#include "core/file.h"
#include "gguf/name_index.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct ng_safetensors {
    ng_map map;
    char *path;
    const uint8_t *data;
    size_t len, data_start;
    json_t *header, *meta;
    ng_st_tensor *tensors; /* [n_tensors] */
    size_t n_tensors;
    ng_name_index names;
};

static const struct {
    const char *name;
    int32_t type;
    uint8_t bytes;
} dtypes[] = {
    {"F32", NG_TYPE_F32, 4}, {"F16", NG_TYPE_F16, 2}, {"BF16", NG_TYPE_BF16, 2},
    {"F64", NG_TYPE_F64, 8}, {"I8", NG_TYPE_I8, 1},   {"I16", NG_TYPE_I16, 2},
    {"I32", NG_TYPE_I32, 4}, {"I64", NG_TYPE_I64, 8}, {"U8", -1, 1},
    {"U16", -1, 2},          {"U32", -1, 4},          {"U64", -1, 8},
    {"BOOL", -1, 1},         {"F8_E4M3", -1, 1},      {"F8_E5M2", -1, 1},
    {"F8_E8M0", -1, 1},
};

/* A name from the file, fit for a message: cut, printable. */
typedef struct shown {
    char text[68];
} shown;
static shown show(const char *name) {
    shown s = {{0}};
    for (size_t i = 0; i < 64 && name[i]; i++)
        s.text[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    return s;
}

static ng_status take_shape(const ng_safetensors *f, ng_st_tensor *t, const json_t *shape,
                            size_t *n, ng_error *err) {
    size_t n_dims = json_array_size(shape);
    if (!json_is_array(shape) || n_dims > NG_ST_DIMS_MAX)
        return ng_fail(err, NG_EFORMAT,
                       "safetensors: %.200s: shape of tensor %s is no list of at most %d numbers",
                       f->path, show(t->name).text, NG_ST_DIMS_MAX);
    *n = 1;
    for (size_t i = 0; i < n_dims; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0 ||
            !ng_mul_ok(n, *n, (size_t)json_integer_value(dim)))
            return ng_fail(err, NG_EFORMAT,
                           "safetensors: %.200s: dimension %zu of tensor %s is negative, no number "
                           "or too large",
                           f->path, i, show(t->name).text);
        t->dims[i] = (uint64_t)json_integer_value(dim);
    }
    t->n_dims = (uint32_t)n_dims;
    return NG_OK;
}

/* data becomes the offset from the start of the data; place() turns it into a pointer. */
static ng_status take_offsets(const ng_safetensors *f, ng_st_tensor *t, const json_t *offsets,
                              size_t bytes, ng_error *err) {
    const json_t *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to))
        return ng_fail(err, NG_EFORMAT,
                       "safetensors: %.200s: data_offsets of tensor %s are not two numbers",
                       f->path, show(t->name).text);
    json_int_t a = json_integer_value(from), b = json_integer_value(to);
    size_t room = f->len - f->data_start;
    if (a < 0 || b < a || (uint64_t)b > room || (uint64_t)(b - a) != bytes)
        return ng_fail(err, NG_EFORMAT,
                       "safetensors: %.200s: data_offsets of tensor %s are %" JSON_INTEGER_FORMAT
                       " to %" JSON_INTEGER_FORMAT
                       ", but its shape needs %zu bytes and the file has %zu bytes of data",
                       f->path, show(t->name).text, a, b, bytes, room);
    t->bytes = bytes;
    t->data = (const void *)(uintptr_t)a;
    return NG_OK;
}

static ng_status take_tensor(const ng_safetensors *f, ng_st_tensor *t, const char *name,
                             const json_t *entry, ng_error *err) {
    *t = (ng_st_tensor){.name = name};
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    size_t k = 0, n = 0, bytes;
    if (!dtype)
        return ng_fail(err, NG_EFORMAT, "safetensors: %.200s: tensor %s has no dtype", f->path,
                       show(name).text);
    while (k < sizeof dtypes / sizeof *dtypes && strcmp(dtypes[k].name, dtype)) k++;
    if (k == sizeof dtypes / sizeof *dtypes)
        return ng_fail(
            err, NG_EUNSUPPORTED,
            "safetensors: %.200s: dtype of tensor %s is %s, which this version does not know",
            f->path, show(name).text, show(dtype).text);
    t->dtype = dtypes[k].name;
    t->type = dtypes[k].type;
    ng_status s = take_shape(f, t, json_object_get(entry, "shape"), &n, err);
    if (s) return s;
    if (!ng_mul_ok(&bytes, n, dtypes[k].bytes))
        return ng_fail(err, NG_EFORMAT, "safetensors: %.200s: tensor %s is larger than any memory",
                       f->path, show(name).text);
    return take_offsets(f, t, json_object_get(entry, "data_offsets"), bytes, err);
}

static int by_offset(const void *a, const void *b) {
    const ng_st_tensor *x = a, *y = b;
    uintptr_t i = (uintptr_t)x->data, k = (uintptr_t)y->data;
    if (i != k) return i < k ? -1 : 1;
    if (!x->bytes != !y->bytes) return x->bytes ? 1 : -1; /* empty ones first */
    return strcmp(x->name, y->name);
}

static ng_status place(ng_safetensors *f, ng_error *err) {
    size_t end = 0, at, room = f->len - f->data_start;
    if (f->n_tensors) qsort(f->tensors, f->n_tensors, sizeof *f->tensors, by_offset);
    for (size_t i = 0; i < f->n_tensors; i++) {
        ng_st_tensor *t = &f->tensors[i];
        size_t offset = (size_t)(uintptr_t)t->data;
        if (offset != end)
            return ng_fail(err, NG_EFORMAT,
                           "safetensors: %.200s: tensor %s begins at offset %zu, but the one "
                           "before it ends at %zu",
                           f->path, show(t->name).text, offset, end);
        end = offset + t->bytes; /* both within room */
        t->data = f->data + f->data_start + offset;
        if (ng_name_index_add(&f->names, t->name, &at))
            return ng_fail(err, NG_ENOMEM, "safetensors: %.200s: no memory for the header",
                           f->path);
    }
    if (end != room)
        return ng_fail(
            err, NG_EFORMAT,
            "safetensors: %.200s: the tensors take %zu bytes, but the file has %zu bytes of data",
            f->path, end, room);
    return NG_OK;
}

static ng_status take_header(ng_safetensors *f, ng_error *err) {
    uint64_t n = 0;
    if (f->len < sizeof n)
        return ng_fail(err, NG_EFORMAT,
                       "safetensors: %.200s: byte 0: the file ends within the header length",
                       f->path);
    memcpy(&n, f->data, sizeof n);
    if (n > f->len - sizeof n)
        return ng_fail(err, NG_EFORMAT,
                       "safetensors: %.200s: byte 0: header length is %" PRIu64
                       ", but the file has %zu bytes left",
                       f->path, n, f->len - sizeof n);
    if (n > NG_ST_HEADER_BYTES_MAX)
        return ng_fail(err, NG_ELIMIT,
                       "safetensors: %.200s: byte 0: header length is %" PRIu64
                       ", more than the %d that are read",
                       f->path, n, NG_ST_HEADER_BYTES_MAX);
    f->data_start = sizeof n + (size_t)n;
    json_error_t why;
    f->header =
        json_loadb((const char *)f->data + sizeof n, (size_t)n, JSON_REJECT_DUPLICATES, &why);
    if (!f->header)
        return ng_fail(err,
                       json_error_code(&why) == json_error_out_of_memory ? NG_ENOMEM : NG_EFORMAT,
                       "safetensors: %.200s: byte %d: header: %.120s", f->path,
                       8 + (why.position > 0 ? why.position : 0), why.text);
    if (!json_is_object(f->header))
        return ng_fail(err, NG_EFORMAT, "safetensors: %.200s: byte 8: the header is no JSON object",
                       f->path);
    return NG_OK;
}

static ng_status take_meta(ng_safetensors *f, ng_error *err) {
    const char *key;
    json_t *value;
    f->meta = json_object_get(f->header, "__metadata__");
    if (f->meta && !json_is_object(f->meta))
        return ng_fail(err, NG_EFORMAT, "safetensors: %.200s: __metadata__ is no JSON object",
                       f->path);
    json_object_foreach(f->meta, key, value) if (!json_is_string(value)) return ng_fail(
        err, NG_EFORMAT, "safetensors: %.200s: __metadata__ key %s is no string", f->path,
        show(key).text);
    return NG_OK;
}

static ng_status parse(ng_safetensors *f, ng_error *err) {
    ng_status s = take_header(f, err);
    if (!s) s = take_meta(f, err);
    if (s) return s;
    size_t n = json_object_size(f->header);
    if (n > NG_ST_TENSORS_MAX)
        return ng_fail(err, NG_ELIMIT,
                       "safetensors: %.200s: %zu tensors, more than the %d that are read", f->path,
                       n, NG_ST_TENSORS_MAX);
    f->tensors = calloc(n + 1, sizeof *f->tensors);
    if (!f->tensors)
        return ng_fail(err, NG_ENOMEM, "safetensors: %.200s: no memory for the header", f->path);
    const char *name;
    json_t *entry;
    json_object_foreach(f->header, name, entry) {
        if (entry == f->meta) continue;
        if ((s = take_tensor(f, &f->tensors[f->n_tensors], name, entry, err))) return s;
        f->n_tensors++;
    }
    return place(f, err);
}

static ng_status open_with(ng_safetensors **out, ng_map map, const void *data, size_t len,
                           const char *name, ng_error *err) {
    *out = NULL;
    ng_safetensors *f = calloc(1, sizeof *f);
    if (f) f->path = strdup(name);
    if (!f || !f->path) {
        free(f);
        ng_map_close(&map);
        return ng_fail(err, NG_ENOMEM, "safetensors: %.200s: no memory to open it", name);
    }
    f->map = map;
    f->data = data;
    f->len = len;
    ng_status s = parse(f, err);
    if (s) ng_safetensors_close(f);
    else *out = f;
    return s;
}

ng_status ng_safetensors_open(ng_safetensors **out, const char *path, ng_error *err) {
    ng_map map;
    *out = NULL;
    ng_status s = ng_map_open(&map, path, err);
    return s ? s : open_with(out, map, map.data, map.len, path, err);
}

ng_status ng_safetensors_open_memory(ng_safetensors **out, const void *data, size_t len,
                                     const char *name, ng_error *err) {
    return open_with(out, (ng_map){0}, data, len, name, err);
}

void ng_safetensors_close(ng_safetensors *f) {
    if (!f) return;
    ng_name_index_clear(&f->names);
    free(f->tensors);
    json_decref(f->header);
    free(f->path);
    ng_map_close(&f->map);
    free(f);
}

const char *ng_safetensors_path(const ng_safetensors *f) {
    return f->path;
}
size_t ng_safetensors_file_bytes(const ng_safetensors *f) {
    return f->len;
}
size_t ng_safetensors_n_tensors(const ng_safetensors *f) {
    return f->n_tensors;
}

const ng_st_tensor *ng_safetensors_at(const ng_safetensors *f, size_t i) {
    assert(i < f->n_tensors);
    return &f->tensors[i];
}

const ng_st_tensor *ng_safetensors_find(const ng_safetensors *f, const char *name) {
    size_t at;
    return ng_name_index_find(&f->names, name, &at) ? &f->tensors[at] : NULL;
}

size_t ng_safetensors_n_meta(const ng_safetensors *f) {
    return json_object_size(f->meta);
}

const char *ng_safetensors_meta(const ng_safetensors *f, size_t i, const char **value) {
    void *it = json_object_iter(f->meta);
    for (size_t k = 0; it && k < i; k++) it = json_object_iter_next(f->meta, it);
    assert(it);
    *value = json_string_value(json_object_iter_value(it));
    return json_object_iter_key(it);
}
