/* gguf_writer.c: collects keys and tensors, then writes them as GGUF v3 in one atomic commit.  See
 * gguf.h.
 *
 * Invariant: a value is encoded (kind word and all) the moment it is put, so that the caller's
 * memory is free again; only tensor data is borrowed until the commit.  Offsets are computed at the
 * commit: tensors follow each other in the order of the puts, padded to 32 bytes, as every reader
 * demands.
 *
 * The first error stays in the writer and comes out of the commit; a half-built file never appears,
 * since core/file writes beside the old one and renames. */
#include "gguf_kind.h"
#include "name_index.h"

#include "core/checked.h"
#include "core/file.h"
#include <nanogrid/buf.h>

#include <assert.h>
#include <stdlib.h>

enum { HEADER_BYTES_MAX = 1 << 30 };

typedef struct entry {
    char *key;
    ng_buf value; /* kind word and value, as in the file */
} entry;

/* Data is either borrowed (t.data) or made at the commit. */
typedef struct pending {
    ng_gguf_tensor t; /* t.name is ours */
    ng_gguf_make_fn *make;
    void *ctx;
} pending;

struct ng_gguf_writer {
    ng_error err; /* the first one */
    entry *entries;
    size_t n_entries, cap_entries;
    pending *tensors;
    size_t n_tensors, cap_tensors;
    ng_name_index keys, tensor_names;
};

ng_status ng_gguf_writer_new(ng_gguf_writer **out) {
    *out = calloc(1, sizeof **out);
    return *out ? NG_OK : NG_ENOMEM;
}

void ng_gguf_writer_free(ng_gguf_writer *w) {
    if (!w) return;
    for (size_t i = 0; i < w->n_entries; i++) {
        free(w->entries[i].key);
        ng_buf_clear(&w->entries[i].value);
    }
    for (size_t i = 0; i < w->n_tensors; i++) free((char *)(uintptr_t)w->tensors[i].t.name);
    free(w->entries);
    free(w->tensors);
    ng_name_index_clear(&w->keys);
    ng_name_index_clear(&w->tensor_names);
    free(w);
}

/* Room for one more element; NULL when memory is out. */
static void *grow(void *items, size_t len, size_t *cap, size_t size) {
    if (len < *cap) return items;
    size_t grown = *cap ? *cap * 2 : 16, bytes;
    void *p = ng_mul_ok(&bytes, grown, size) ? realloc(items, bytes) : NULL;
    if (p) *cap = grown;
    return p;
}

/* Adds a copy of `name` to the index; on NG_OK *copy is the writer's. */
static ng_status index_copy(ng_name_index *x, const char *name, char **copy, size_t *at) {
    *copy = strdup(name);
    ng_status s = *copy ? ng_name_index_add(x, *copy, at) : NG_ENOMEM;
    if (s) free(*copy);
    return s;
}

/* The emptied value of `key`, new or replaced, with the kind word written; NULL after an error. */
static ng_buf *put(ng_gguf_writer *w, const char *key, uint32_t kind) {
    if (w->err.code) return NULL;
    size_t len = strlen(key), at;
    if (len == 0 || len > NG_GGUF_KEY_BYTES_MAX || !strcmp(key, ng_gguf_alignment_key)) {
        ng_fail(&w->err, NG_EINVALID, "gguf: the key \"%.64s\" cannot be written", key);
        return NULL;
    }
    if (!ng_name_index_find(&w->keys, key, &at)) {
        entry *grown = grow(w->entries, w->n_entries, &w->cap_entries, sizeof *grown);
        if (grown) w->entries = grown;
        char *copy;
        if (!grown || index_copy(&w->keys, key, &copy, &at)) {
            ng_fail(&w->err, NG_ENOMEM, "gguf: no memory for the key %.64s", key);
            return NULL;
        }
        assert(at == w->n_entries);
        w->entries[w->n_entries++] = (entry){copy, ng_buf_init(HEADER_BYTES_MAX)};
    }
    ng_buf *value = &w->entries[at].value;
    ng_buf_reset(value);
    ng_buf_put(value, &kind, sizeof kind);
    return value;
}

static void finish(ng_gguf_writer *w, const char *key, const ng_buf *value) {
    if (value->status)
        ng_fail(&w->err, value->status, "gguf: the value of key %.64s: %s", key,
                ng_status_text(value->status));
}

static void put_value(ng_gguf_writer *w, const char *key, ng_gguf_kind kind, const void *v,
                      size_t bytes) {
    ng_buf *value = put(w, key, kind);
    if (!value) return;
    ng_buf_put(value, v, bytes);
    finish(w, key, value);
}

void ng_gguf_put_u32(ng_gguf_writer *w, const char *key, uint32_t v) {
    put_value(w, key, NG_GGUF_U32, &v, sizeof v);
}
void ng_gguf_put_u64(ng_gguf_writer *w, const char *key, uint64_t v) {
    put_value(w, key, NG_GGUF_U64, &v, sizeof v);
}
void ng_gguf_put_i32(ng_gguf_writer *w, const char *key, int32_t v) {
    put_value(w, key, NG_GGUF_I32, &v, sizeof v);
}
void ng_gguf_put_f32(ng_gguf_writer *w, const char *key, float v) {
    put_value(w, key, NG_GGUF_F32, &v, sizeof v);
}
void ng_gguf_put_bool(ng_gguf_writer *w, const char *key, bool v) {
    uint8_t byte = v;
    put_value(w, key, NG_GGUF_BOOL, &byte, 1);
}
void ng_gguf_put_str(ng_gguf_writer *w, const char *key, const char *v) {
    ng_gguf_put_strn(w, key, v, strlen(v));
}

static void append_str(ng_buf *out, const char *v, size_t len) {
    uint64_t n = len;
    ng_buf_put(out, &n, sizeof n);
    ng_buf_put(out, v, len);
}

void ng_gguf_put_strn(ng_gguf_writer *w, const char *key, const char *v, size_t len) {
    ng_buf *value = put(w, key, NG_GGUF_STRING);
    if (!value) return;
    append_str(value, v, len);
    finish(w, key, value);
}

static void append_array_head(ng_buf *out, uint32_t kind, size_t n) {
    uint64_t len = n;
    ng_buf_put(out, &kind, sizeof kind);
    ng_buf_put(out, &len, sizeof len);
}

void ng_gguf_put_array(ng_gguf_writer *w, const char *key, ng_gguf_kind kind, const void *data,
                       size_t n) {
    size_t bytes;
    if (!ng_gguf_kind_bytes(kind) || !ng_mul_ok(&bytes, ng_gguf_kind_bytes(kind), n)) {
        ng_fail(&w->err, NG_EINVALID, "gguf: the key %.64s cannot hold %zu elements of %s", key, n,
                ng_gguf_kind_name(kind));
        return;
    }
    ng_buf *value = put(w, key, NG_GGUF_ARRAY);
    if (!value) return;
    append_array_head(value, kind, n);
    ng_buf_put(value, data, bytes);
    finish(w, key, value);
}

void ng_gguf_put_strs(ng_gguf_writer *w, const char *key, const ng_str *strs, size_t n) {
    ng_buf *value = put(w, key, NG_GGUF_ARRAY);
    if (!value) return;
    append_array_head(value, NG_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++) append_str(value, strs[i].data, strs[i].len);
    finish(w, key, value);
}

/* The value is copied through the typed getters' view, so that it stands in our own encoding. */
static void put_copy(ng_gguf_writer *w, const ng_gguf *from, const char *key, ng_gguf_kind kind) {
    ng_gguf_array a;
    ng_str str;
    if (kind == NG_GGUF_ARRAY) {
        if (ng_gguf_get_array(from, key, &a, &w->err)) return;
        if (a.kind == NG_GGUF_STRING) ng_gguf_put_strs(w, key, a.strs, a.len);
        else ng_gguf_put_array(w, key, a.kind, a.data, a.len);
    } else if (kind == NG_GGUF_STRING) {
        if (ng_gguf_get_str(from, key, &str, &w->err)) return;
        ng_gguf_put_strn(w, key, str.data, str.len);
    } else {
        put_value(w, key, kind, ng_gguf_scalar_bytes(from, key), ng_gguf_kind_bytes(kind));
    }
}

void ng_gguf_put_all(ng_gguf_writer *w, const ng_gguf *from) { ng_gguf_put_all_but(w, from, NULL); }

void ng_gguf_put_all_but(ng_gguf_writer *w, const ng_gguf *from, const char *prefix) {
    for (size_t i = 0; i < ng_gguf_n_keys(from); i++) {
        ng_gguf_kind kind;
        const char *key = ng_gguf_key(from, i, &kind);
        size_t at;
        /* The alignment describes the file it stands in; ours is always the default. */
        if (!strcmp(key, ng_gguf_alignment_key) || ng_name_index_find(&w->keys, key, &at)) continue;
        if (!prefix || strncmp(key, prefix, strlen(prefix))) put_copy(w, from, key, kind);
    }
}

bool ng_gguf_writer_has(const ng_gguf_writer *w, const char *tensor) {
    size_t at;
    return ng_name_index_find(&w->tensor_names, tensor, &at);
}

static bool tensor_size(ng_gguf_tensor *t, ng_type type, uint32_t n_dims, const uint64_t *dims) {
    if (n_dims < 1 || n_dims > 4) return false;
    size_t bytes;
    if (!ng_type_row_bytes(type, dims[0], &bytes)) return false;
    *t = (ng_gguf_tensor){.type = type, .n_dims = n_dims, .dims = {1, 1, 1, 1}, .data = t->data};
    for (uint32_t i = 0; i < n_dims; i++) {
        t->dims[i] = dims[i];
        if (dims[i] == 0 || (i > 0 && !ng_mul_ok(&bytes, bytes, dims[i]))) return false;
    }
    t->bytes = bytes;
    return true;
}

static void put_pending(ng_gguf_writer *w, const char *name, ng_type type, uint32_t n_dims,
                        const uint64_t *dims, pending p) {
    if (w->err.code) return;
    size_t len = strlen(name), at;
    if (len == 0 || len > NG_GGUF_NAME_BYTES_MAX || !tensor_size(&p.t, type, n_dims, dims)) {
        const char *type_name = ng_type_get_info(type).name;
        ng_fail(&w->err, NG_EINVALID,
                "gguf: the tensor %.64s cannot be written: its name is not 1 to %d bytes long, its "
                "dimensions are "
                "not 1 to 4 positive numbers, or its rows do not fit the blocks of %s",
                name, NG_GGUF_NAME_BYTES_MAX, type_name ? type_name : "an unknown type");
        return;
    }
    pending *grown = grow(w->tensors, w->n_tensors, &w->cap_tensors, sizeof *grown);
    if (grown) w->tensors = grown;
    char *copy = NULL;
    ng_status s = grown ? index_copy(&w->tensor_names, name, &copy, &at) : NG_ENOMEM;
    if (s) {
        ng_fail(&w->err, s,
                s == NG_ENOMEM ? "gguf: no memory for the tensor %.64s"
                               : "gguf: the tensor %.64s is put twice",
                name);
        return;
    }
    p.t.name = copy;
    w->tensors[w->n_tensors++] = p;
}

void ng_gguf_put_tensor(ng_gguf_writer *w, const char *name, ng_type type, uint32_t n_dims,
                        const uint64_t *dims, const void *data) {
    put_pending(w, name, type, n_dims, dims, (pending){.t.data = data});
}

void ng_gguf_put_tensor_made(ng_gguf_writer *w, const char *name, ng_type type, uint32_t n_dims,
                             const uint64_t *dims, ng_gguf_make_fn *make, void *ctx) {
    put_pending(w, name, type, n_dims, dims, (pending){.make = make, .ctx = ctx});
}

/* ---- commit --------------------------------------------------------------------------------- */

static void append_u32(ng_buf *b, uint32_t v) {
    ng_buf_put(b, &v, sizeof v);
}
static void append_u64(ng_buf *b, uint64_t v) {
    ng_buf_put(b, &v, sizeof v);
}

static ng_status append_header(ng_buf *b, const ng_gguf_writer *w, ng_error *err) {
    ng_buf_put(b, "GGUF", 4);
    append_u32(b, NG_GGUF_VERSION);
    append_u64(b, w->n_tensors);
    append_u64(b, w->n_entries);
    for (size_t i = 0; i < w->n_entries; i++) {
        append_str(b, w->entries[i].key, strlen(w->entries[i].key));
        ng_buf_put(b, w->entries[i].value.data, w->entries[i].value.len);
    }
    uint64_t offset = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        const ng_gguf_tensor *t = &w->tensors[i].t;
        append_str(b, t->name, strlen(t->name));
        append_u32(b, t->n_dims);
        for (uint32_t d = 0; d < t->n_dims; d++) append_u64(b, t->dims[d]);
        append_u32(b, t->type);
        append_u64(b, offset);
        if (__builtin_add_overflow(offset, (uint64_t)t->bytes, &offset) ||
            !ng_pad_ok(&offset, offset, NG_GGUF_ALIGNMENT))
            return ng_fail(err, NG_ELIMIT, "gguf: the tensors are larger than any file");
    }
    static const char zeros[NG_GGUF_ALIGNMENT];
    ng_buf_put(b, zeros, (size_t)-b->len % NG_GGUF_ALIGNMENT);
    return b->status ? ng_fail(err, b->status, "gguf: the header: %s", ng_status_text(b->status))
                     : NG_OK;
}

static ng_status put_data(ng_writer *out, const ng_gguf_writer *w, ng_error *err) {
    static const char zeros[NG_GGUF_ALIGNMENT];
    for (size_t i = 0; i < w->n_tensors; i++) {
        const pending *p = &w->tensors[i];
        const ng_gguf_tensor *t = &p->t;
        const void *data = t->data;
        ng_status s = p->make ? p->make(p->ctx, &data, err) : NG_OK;
        if (!s) s = ng_writer_put(out, data, t->bytes, err);
        if (!s) s = ng_writer_put(out, zeros, (size_t)-t->bytes % NG_GGUF_ALIGNMENT, err);
        if (s) return s;
    }
    return NG_OK;
}

static ng_status write_file(const ng_gguf_writer *w, const char *path, ng_error *err) {
    if (w->err.code) return ng_fail(err, w->err.code, "%s", w->err.text);
    ng_buf header = ng_buf_init(HEADER_BYTES_MAX);
    ng_writer *out = NULL;
    ng_status s = append_header(&header, w, err);
    if (!s) s = ng_writer_open(&out, path, err);
    if (!s) s = ng_writer_put(out, header.data, header.len, err);
    if (!s) s = put_data(out, w, err);
    ng_buf_clear(&header);
    if (!s) return ng_writer_commit(out, err);
    ng_writer_abort(out);
    return s;
}

ng_status ng_gguf_writer_commit(ng_gguf_writer *w, const char *path, ng_error *err) {
    ng_status s = write_file(w, path, err);
    ng_gguf_writer_free(w);
    return s;
}
