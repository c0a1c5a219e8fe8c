/* gguf_reader.c: opens a GGUF file and trusts nothing in it.  See gguf.h; the format is ggml's
 * docs/gguf.md, versions 2 and 3, little-endian.
 *
 * How.  The header is walked twice with the same code.  The first walk allocates nothing: it checks
 * every length, count, kind and offset and adds up what memory the second walk needs.  So a file
 * cannot make us ask for memory before it has proven that it holds what it announces.  Then each
 * array is allocated once at its exact size and the second walk fills it.
 *
 * Invariants: w->off <= w->len always, and every size is compared with `w->len - w->off`, never
 * added to an offset first (a sum of two of the file's words may wrap).  Tensors must follow each
 * other in the order of their entries, each padded to the alignment, as ggml itself demands: then
 * none can overlap, and the check is one comparison.
 *
 * Kernels read tensor data through typed pointers, so data is 8-byte aligned: where a file's own
 * alignment is smaller, the tensors that lie askew are copied.
 *
 * Not here: what the keys mean (model/, tokenizer/). */
#include "gguf_kind.h"
#include "name_index.h"

#include "core/checked.h"
#include "core/file.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    KV_BYTES_MIN = 8 + 1 + 4 + 1,             /* key length, key, kind, the smallest value */
    TENSOR_BYTES_MIN = 8 + 1 + 4 + 8 + 4 + 8, /* name length, name, n_dims, one dim, type, offset */
    DATA_ALIGN = 8,
    COPY_ALIGN = 64,
    SHOWN_MAX = 72,
};

typedef struct kv {
    ng_gguf_kind kind, array_kind;
    size_t len;          /* bytes of a string, elements of an array */
    const uint8_t *data; /* the value; in an array of strings the first length word */
    ng_str *strs;        /* array of strings: [len] */
} kv;

struct ng_gguf {
    ng_map map;
    char *path;
    const uint8_t *data;
    size_t len;
    size_t n_kv, n_tensors;
    uint64_t alignment;
    kv *kvs;                 /* [n_kv] */
    ng_gguf_tensor *tensors; /* [n_tensors] */
    char *names;             /* keys and tensor names, each NUL-terminated */
    ng_str *strs;            /* elements of all arrays of strings */
    void *copies;            /* tensors that lay askew in the file */
    ng_name_index keys, tensor_names;
    size_t heap_bytes;       /* of all these */
};

/* A position in the file.  strs and names point to the next free element in the second walk and are
 * NULL in the first. */
typedef struct walk {
    const uint8_t *data;
    size_t len, off;
    const char *path;
    ng_error *err;
    size_t n_strs, name_bytes; /* what the walk came by so far */
    ng_str *strs;
    char *names;
} walk;

/* ---- messages ------------------------------------------------------------------------------- */

static ng_status bad(walk *w, ng_status code, size_t at, const char *fmt, ...) NG_PRINTF(4, 5);
static ng_status bad(walk *w, ng_status code, size_t at, const char *fmt, ...) {
    char text[NG_ERROR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return ng_fail(w->err, code, "gguf: %.200s: byte %zu: %s", w->path, at, text);
}

typedef struct shown {
    char text[SHOWN_MAX];
} shown;

/* A name from the file, fit for a terminal and a log: printable ASCII, cut at 64 bytes. */
static shown show(const char *name, size_t len) {
    shown s = {{0}};
    size_t n = len < SHOWN_MAX - 8 ? len : SHOWN_MAX - 8;
    for (size_t i = 0; i < n; i++) s.text[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    if (n < len) memcpy(s.text + n, "..", 3);
    return s;
}

/* ---- words of the file ---------------------------------------------------------------------- */

static size_t left(const walk *w) {
    return w->len - w->off;
}

static ng_status take(walk *w, const uint8_t **p, size_t n, const char *field) {
    if (n > left(w))
        return bad(w, NG_EFORMAT, w->off, "%s needs %zu bytes, but the file ends after %zu", field,
                   n, left(w));
    *p = w->data + w->off;
    w->off += n;
    return NG_OK;
}

static ng_status take_u32(walk *w, uint32_t *v, const char *field) {
    const uint8_t *p = NULL;
    *v = 0;
    ng_status s = take(w, &p, sizeof *v, field);
    if (!s) *v = ng_load_u32(p);
    return s;
}

static ng_status take_u64(walk *w, uint64_t *v, const char *field) {
    const uint8_t *p = NULL;
    *v = 0;
    ng_status s = take(w, &p, sizeof *v, field);
    if (!s) *v = ng_load_u64(p);
    return s;
}

/* A length word and that many bytes. */
static ng_status take_string(walk *w, ng_str *out, uint64_t max, const char *field) {
    size_t at = w->off;
    uint64_t n;
    ng_status s = take_u64(w, &n, field);
    if (s) return s;
    if (n > left(w))
        return bad(w, NG_EFORMAT, at,
                   "%s is %" PRIu64 " bytes long, but the file has %zu bytes left", field, n,
                   left(w));
    if (n > max)
        return bad(w, NG_EFORMAT, at,
                   "%s is %" PRIu64 " bytes long, more than the %" PRIu64 " allowed", field, n,
                   max);
    *out = (ng_str){(const char *)w->data + w->off, (size_t)n};
    w->off += (size_t)n;
    return NG_OK;
}

/* A key or a tensor's name: 1..max bytes without NUL; in the second walk a terminated copy. */
static ng_status take_name(walk *w, ng_str *out, uint64_t max, const char *field) {
    size_t at = w->off;
    ng_status s = take_string(w, out, max, field);
    if (s) return s;
    if (out->len == 0) return bad(w, NG_EFORMAT, at, "%s is empty", field);
    if (memchr(out->data, 0, out->len))
        return bad(w, NG_EFORMAT, at, "%s holds a zero byte", field);
    w->name_bytes += out->len + 1;
    if (w->names) {
        memcpy(w->names, out->data, out->len);
        w->names[out->len] = 0;
        out->data = w->names;
        w->names += out->len + 1;
    }
    return NG_OK;
}

/* ---- metadata ------------------------------------------------------------------------------- */

static ng_status take_strings(walk *w, kv *out, const char *field) {
    size_t at = w->off;
    if (out->len > left(w) / sizeof(uint64_t))
        return bad(w, NG_EFORMAT, at, "%s has %zu strings, but the file has %zu bytes left", field,
                   out->len, left(w));
    if (out->len > NG_GGUF_STRINGS_MAX - w->n_strs)
        return bad(w, NG_ELIMIT, at, "%s brings the strings in arrays to more than %d", field,
                   NG_GGUF_STRINGS_MAX);
    w->n_strs += out->len;
    out->strs = w->strs;
    char name[SHOWN_MAX + 128];
    for (size_t i = 0; i < out->len; i++) {
        ng_str str;
        /* The name of the field is only built when it is needed: vocabularies are long. */
        if (left(w) < 8 || ng_load_u64(w->data + w->off) > left(w) - 8) {
            snprintf(name, sizeof name, "string %zu of %s", i, field);
            ng_status s = take_string(w, &str, UINT64_MAX, name);
            assert(s);
            return s;
        }
        size_t n = (size_t)ng_load_u64(w->data + w->off);
        if (w->strs) w->strs[i] = (ng_str){(const char *)w->data + w->off + 8, n};
        w->off += 8 + n;
    }
    if (w->strs) w->strs += out->len;
    return NG_OK;
}

static ng_status take_array(walk *w, kv *out, const char *field) {
    size_t at = w->off;
    uint32_t kind;
    uint64_t n;
    ng_status s = take_u32(w, &kind, field);
    if (!s) s = take_u64(w, &n, field);
    if (s) return s;
    if (kind == NG_GGUF_ARRAY)
        return bad(w, NG_EUNSUPPORTED, at, "%s is an array of arrays, which no model needs", field);
    if (kind >= NG_GGUF_KIND_COUNT)
        return bad(w, NG_EFORMAT, at, "%s has elements of the unknown kind %" PRIu32, field, kind);
    if (n > left(w)) /* the smallest element takes a byte */
        return bad(w, NG_EFORMAT, at + 4,
                   "%s has %" PRIu64 " elements, but the file has %zu bytes left", field, n,
                   left(w));
    out->array_kind = (ng_gguf_kind)kind;
    out->len = (size_t)n;
    out->data = w->data + w->off;
    if (kind == NG_GGUF_STRING) return take_strings(w, out, field);
    size_t bytes;
    if (!ng_mul_ok(&bytes, out->len, ng_gguf_kind_bytes(kind)) || bytes > left(w))
        return bad(w, NG_EFORMAT, at + 4,
                   "%s has %" PRIu64 " elements of %s, but the file has %zu bytes left", field, n,
                   ng_gguf_kind_name(kind), left(w));
    w->off += bytes;
    return NG_OK;
}

static ng_status take_kv(walk *w, size_t i, kv *out, ng_str *key) {
    *out = (kv){0};
    char field[SHOWN_MAX + 64];
    snprintf(field, sizeof field, "key %zu", i);
    ng_status s = take_name(w, key, NG_GGUF_KEY_BYTES_MAX, field);
    if (s) return s;
    size_t at = w->off;
    uint32_t kind;
    snprintf(field, sizeof field, "value of key %s", show(key->data, key->len).text);
    if ((s = take_u32(w, &kind, field))) return s;
    if (kind >= NG_GGUF_KIND_COUNT)
        return bad(w, NG_EFORMAT, at, "%s is of the unknown kind %" PRIu32, field, kind);
    out->kind = (ng_gguf_kind)kind;
    if (kind == NG_GGUF_ARRAY) return take_array(w, out, field);
    if (kind == NG_GGUF_STRING) {
        ng_str str;
        if ((s = take_string(w, &str, UINT64_MAX, field))) return s;
        out->data = (const uint8_t *)str.data;
        out->len = str.len;
        return NG_OK;
    }
    return take(w, &out->data, ng_gguf_kind_bytes(kind), field);
}

static ng_status take_alignment(walk *w, const kv *v, size_t at, uint64_t *alignment) {
    uint32_t n = v->kind == NG_GGUF_U32 ? ng_load_u32(v->data) : 0;
    if (v->kind != NG_GGUF_U32)
        return bad(w, NG_EFORMAT, at, "%s is of kind %s, not u32", ng_gguf_alignment_key,
                   ng_gguf_kind_name(v->kind));
    if (n == 0 || n & (n - 1) || n > NG_GGUF_ALIGNMENT_MAX)
        return bad(w, NG_EFORMAT, at, "%s is %" PRIu32 ", not a power of two up to %d",
                   ng_gguf_alignment_key, n, NG_GGUF_ALIGNMENT_MAX);
    *alignment = n;
    return NG_OK;
}

/* ---- tensors -------------------------------------------------------------------------------- */

static ng_status take_dims(walk *w, ng_gguf_tensor *t, const char *name) {
    char field[SHOWN_MAX + 64];
    size_t at = w->off;
    snprintf(field, sizeof field, "number of dimensions of tensor %s", name);
    ng_status s = take_u32(w, &t->n_dims, field);
    if (s) return s;
    if (t->n_dims < 1 || t->n_dims > 4)
        return bad(w, NG_EFORMAT, at, "%s is %" PRIu32 ", not 1 to 4", field, t->n_dims);
    for (size_t i = 0; i < 4; i++) {
        t->dims[i] = 1;
        if (i >= t->n_dims) continue;
        at = w->off;
        snprintf(field, sizeof field, "dimension %zu of tensor %s", i, name);
        if ((s = take_u64(w, &t->dims[i], field))) return s;
        if (t->dims[i] > INT64_MAX)
            return bad(w, NG_EFORMAT, at, "%s is %" PRIu64 ", more than any memory", field,
                       t->dims[i]);
    }
    return NG_OK;
}

/* bytes = the product of the dimensions in blocks of the type; every factor is checked, also those
 * after a zero, so that no caller multiplies into an overflow. */
static ng_status take_type(walk *w, ng_gguf_tensor *t, const char *name) {
    char field[SHOWN_MAX + 64];
    size_t at = w->off, n = 1;
    uint32_t type;
    snprintf(field, sizeof field, "type of tensor %s", name);
    ng_status s = take_u32(w, &type, field);
    if (s) return s;
    ng_type_info info = ng_type_get_info(type);
    if (!info.name)
        return bad(w, NG_EUNSUPPORTED, at, "%s is %" PRIu32 ", which this version does not read",
                   field, type);
    t->type = (ng_type)type;
    if (t->dims[0] % info.block_len)
        return bad(w, NG_EFORMAT, at,
                   "rows of tensor %s have %" PRIu64 " elements, not a multiple of %s's %u", name,
                   t->dims[0], info.name, (unsigned)info.block_len);
    bool fits = true;
    for (size_t i = 0; i < 4; i++)
        fits = fits && ng_mul_ok(&n, n, t->dims[i] ? (size_t)t->dims[i] : 1);
    size_t bytes;
    fits = fits && n <= INT64_MAX && ng_mul_ok(&bytes, n, info.block_bytes);
    if (!fits)
        return bad(w, NG_EFORMAT, at,
                   "tensor %s of %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64
                   " %s is larger than any memory",
                   name, t->dims[0], t->dims[1], t->dims[2], t->dims[3], info.name);
    bool empty = !t->dims[0] || !t->dims[1] || !t->dims[2] || !t->dims[3];
    t->bytes = empty ? 0 : n / info.block_len * info.block_bytes;
    return NG_OK;
}

/* `expected` is where the tensors before this one end, from the start of the data. */
static ng_status take_tensor(walk *w, size_t i, ng_gguf_tensor *t, uint64_t alignment,
                             uint64_t *expected) {
    *t = (ng_gguf_tensor){0};
    char field[SHOWN_MAX + 64];
    snprintf(field, sizeof field, "name of tensor %zu", i);
    ng_str str;
    ng_status s = take_name(w, &str, NG_GGUF_NAME_BYTES_MAX, field);
    if (s) return s;
    t->name = str.data;
    shown name = show(str.data, str.len);
    if ((s = take_dims(w, t, name.text)) || (s = take_type(w, t, name.text))) return s;
    size_t at = w->off;
    uint64_t offset;
    snprintf(field, sizeof field, "offset of tensor %s", name.text);
    if ((s = take_u64(w, &offset, field))) return s;
    if (offset != *expected)
        return bad(w, NG_EFORMAT, at,
                   "%s is %" PRIu64 ", but the tensors before it end at %" PRIu64, field, offset,
                   *expected);
    uint64_t end, padded;
    if (__builtin_add_overflow(offset, (uint64_t)t->bytes, &end) ||
        !ng_pad_ok(&padded, end, alignment) || end > w->len)
        return bad(w, NG_EFORMAT, at,
                   "tensor %s has %zu bytes at offset %" PRIu64 ", past the end of the file of %zu",
                   name.text, t->bytes, offset, w->len);
    t->data =
        (const void *)(uintptr_t)offset; /* made a pointer once the start of the data is known */
    *expected = padded;
    return NG_OK;
}

/* ---- the two walks -------------------------------------------------------------------------- */

static ng_status take_magic(walk *w) {
    const uint8_t *magic = NULL;
    uint32_t version;
    ng_status s = take(w, &magic, 4, "magic");
    if (s) return s;
    if (memcmp(magic, "GGUF", 4))
        return bad(w, NG_EFORMAT, 0,
                   "magic is %02x %02x %02x %02x, not \"GGUF\": this is no GGUF file", magic[0],
                   magic[1], magic[2], magic[3]);
    if ((s = take_u32(w, &version, "version"))) return s;
    if (version == 0) return bad(w, NG_EFORMAT, 4, "version is 0");
    if ((version & 0xFFFF) == 0)
        return bad(w, NG_EUNSUPPORTED, 4,
                   "version is %" PRIu32 ": a big-endian file; convert it to little-endian",
                   version);
    if (version == 1 || version > NG_GGUF_VERSION)
        return bad(w, NG_EUNSUPPORTED, 4,
                   "version is %" PRIu32 ", but only 2 and 3 are read; convert the model anew",
                   version);
    return NG_OK;
}

static ng_status take_count(walk *w, size_t *out, const char *field, size_t record_bytes,
                            size_t max) {
    size_t at = w->off;
    uint64_t n;
    ng_status s = take_u64(w, &n, field);
    if (s) return s;
    if (n > left(w) / record_bytes)
        return bad(w, NG_EFORMAT, at, "%s is %" PRIu64 ", but the file has %zu bytes left", field,
                   n, left(w));
    if (n > max)
        return bad(w, NG_ELIMIT, at, "%s is %" PRIu64 ", more than the %zu that are read", field, n,
                   max);
    *out = (size_t)n;
    return NG_OK;
}

static ng_status take_counts(walk *w, ng_gguf *g) {
    ng_status s = take_magic(w);
    if (!s)
        s = take_count(w, &g->n_tensors, "number of tensors", TENSOR_BYTES_MIN,
                       NG_GGUF_TENSORS_MAX);
    if (!s) s = take_count(w, &g->n_kv, "number of keys", KV_BYTES_MIN, NG_GGUF_KEYS_MAX);
    return s;
}

static ng_status measure(walk *w, ng_gguf *g) {
    uint64_t expected = 0;
    ng_status s = take_counts(w, g);
    g->alignment = NG_GGUF_ALIGNMENT;
    for (size_t i = 0; !s && i < g->n_kv; i++) {
        size_t at = w->off;
        kv v;
        ng_str key;
        s = take_kv(w, i, &v, &key);
        if (!s && key.len == strlen(ng_gguf_alignment_key) &&
            !memcmp(key.data, ng_gguf_alignment_key, key.len))
            s = take_alignment(w, &v, at, &g->alignment);
    }
    for (size_t i = 0; !s && i < g->n_tensors; i++) {
        ng_gguf_tensor t;
        s = take_tensor(w, i, &t, g->alignment, &expected);
    }
    return s;
}

static ng_status out_of_memory(walk *w) {
    return ng_fail(w->err, NG_ENOMEM, "gguf: %.200s: no memory for the header", w->path);
}

static ng_status fill_kvs(walk *w, ng_gguf *g) {
    for (size_t i = 0; i < g->n_kv; i++) {
        size_t at = w->off, first;
        ng_str key;
        ng_status s = take_kv(w, i, &g->kvs[i], &key);
        if (s) return s;
        s = ng_name_index_add(&g->keys, key.data, &first);
        if (s == NG_ENOMEM) return out_of_memory(w);
        if (s)
            return bad(w, NG_EFORMAT, at, "key %zu is %s, as key %zu is", i,
                       show(key.data, key.len).text, first);
    }
    return NG_OK;
}

static ng_status fill_tensors(walk *w, ng_gguf *g) {
    uint64_t expected = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        size_t at = w->off, first;
        ng_gguf_tensor *t = &g->tensors[i];
        ng_status s = take_tensor(w, i, t, g->alignment, &expected);
        if (s) return s;
        s = ng_name_index_add(&g->tensor_names, t->name, &first);
        if (s == NG_ENOMEM) return out_of_memory(w);
        if (s)
            return bad(w, NG_EFORMAT, at, "tensor %zu is named %s, as tensor %zu is", i,
                       show(t->name, strlen(t->name)).text, first);
    }
    return NG_OK;
}

/* Offsets become pointers.  w stands at the end of the header. */
static ng_status place_tensors(walk *w, ng_gguf *g) {
    uint64_t start;
    if (!ng_pad_ok(&start, w->off, g->alignment))
        return bad(w, NG_EFORMAT, w->off, "the header has no end");
    size_t askew = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        ng_gguf_tensor *t = &g->tensors[i];
        size_t offset = (size_t)(uintptr_t)t->data;
        if (start > g->len || offset > g->len - start || t->bytes > g->len - start - offset)
            return bad(w, NG_EFORMAT, w->off,
                       "tensor %s has %zu bytes at offset %zu of the data, which starts at "
                       "byte %" PRIu64 ", but the file ends at byte %zu",
                       show(t->name, strlen(t->name)).text, t->bytes, offset, start, g->len);
        t->data = g->data + start + offset;
        if ((uintptr_t)t->data % DATA_ALIGN)
            askew += (t->bytes + COPY_ALIGN) & ~(size_t)(COPY_ALIGN - 1);
    }
    if (!askew) return NG_OK;
    uint8_t *to = g->copies = aligned_alloc(COPY_ALIGN, askew);
    if (!to)
        return ng_fail(w->err, NG_ENOMEM, "gguf: %.200s: no memory to align %zu bytes of tensors",
                       w->path, askew);
    g->heap_bytes += askew;
    for (size_t i = 0; i < g->n_tensors; i++) {
        ng_gguf_tensor *t = &g->tensors[i];
        if ((uintptr_t)t->data % DATA_ALIGN == 0) continue;
        memcpy(to, t->data, t->bytes);
        t->data = to;
        to += (t->bytes + COPY_ALIGN) & ~(size_t)(COPY_ALIGN - 1);
    }
    return NG_OK;
}

static ng_status parse(ng_gguf *g, ng_error *err) {
    walk w = {.data = g->data, .len = g->len, .path = g->path, .err = err};
    ng_status s = measure(&w, g);
    if (s) return s;
    g->kvs = calloc(g->n_kv + 1, sizeof *g->kvs);
    g->tensors = calloc(g->n_tensors + 1, sizeof *g->tensors);
    g->names = malloc(w.name_bytes + 1);
    g->strs = malloc((w.n_strs + 1) * sizeof *g->strs);
    if (!g->kvs || !g->tensors || !g->names || !g->strs) return out_of_memory(&w);
    g->heap_bytes =
        g->n_kv * sizeof *g->kvs + g->n_tensors * sizeof *g->tensors + w.name_bytes + w.n_strs * sizeof *g->strs;
    walk again = {.data = g->data,
                  .len = g->len,
                  .path = g->path,
                  .err = err,
                  .strs = g->strs,
                  .names = g->names};
    if ((s = take_counts(&again, g)) || (s = fill_kvs(&again, g)) || (s = fill_tensors(&again, g)))
        return s;
    assert(again.off == w.off && again.n_strs == w.n_strs && again.name_bytes == w.name_bytes);
    return place_tensors(&again, g);
}

/* ---- opening -------------------------------------------------------------------------------- */

static ng_status open_with(ng_gguf **out, ng_map map, const void *data, size_t len,
                           const char *name, ng_error *err) {
    *out = NULL;
    ng_gguf *g = calloc(1, sizeof *g);
    if (g) g->path = strdup(name);
    if (!g || !g->path) {
        free(g);
        ng_map_close(&map);
        return ng_fail(err, NG_ENOMEM, "gguf: %.200s: no memory to open it", name);
    }
    g->map = map;
    g->data = data;
    g->len = len;
    ng_status s = parse(g, err);
    if (s) ng_gguf_close(g);
    else *out = g;
    return s;
}

ng_status ng_gguf_open(ng_gguf **out, const char *path, ng_error *err) {
    ng_map map;
    *out = NULL;
    ng_status s = ng_map_open(&map, path, err);
    return s ? s : open_with(out, map, map.data, map.len, path, err);
}

ng_status ng_gguf_open_memory(ng_gguf **out, const void *data, size_t len, const char *name,
                              ng_error *err) {
    return open_with(out, (ng_map){0}, data, len, name, err);
}

void ng_gguf_close(ng_gguf *g) {
    if (!g) return;
    ng_name_index_clear(&g->keys);
    ng_name_index_clear(&g->tensor_names);
    free(g->kvs);
    free(g->tensors);
    free(g->names);
    free(g->strs);
    free(g->copies);
    free(g->path);
    ng_map_close(&g->map);
    free(g);
}

/* ---- what is in it -------------------------------------------------------------------------- */

const char *ng_gguf_path(const ng_gguf *g) {
    return g->path;
}
size_t ng_gguf_file_bytes(const ng_gguf *g) {
    return g->len;
}
size_t ng_gguf_heap_bytes(const ng_gguf *g) {
    return g->heap_bytes;
}
const ng_map *ng_gguf_map(const ng_gguf *g) {
    return &g->map;
}
size_t ng_gguf_n_keys(const ng_gguf *g) {
    return g->n_kv;
}
size_t ng_gguf_n_tensors(const ng_gguf *g) {
    return g->n_tensors;
}

bool ng_gguf_has(const ng_gguf *g, const char *key) {
    size_t at;
    return ng_name_index_find(&g->keys, key, &at);
}

const char *ng_gguf_key(const ng_gguf *g, size_t i, ng_gguf_kind *kind) {
    assert(i < g->n_kv);
    if (kind) *kind = g->kvs[i].kind;
    return g->keys.names[i];
}

const ng_gguf_tensor *ng_gguf_tensor_at(const ng_gguf *g, size_t i) {
    assert(i < g->n_tensors);
    return &g->tensors[i];
}

const ng_gguf_tensor *ng_gguf_find_tensor(const ng_gguf *g, const char *name) {
    size_t at;
    return ng_name_index_find(&g->tensor_names, name, &at) ? &g->tensors[at] : NULL;
}

static ng_status find(const ng_gguf *g, const char *key, const kv **out, ng_error *err) {
    size_t at;
    if (!ng_name_index_find(&g->keys, key, &at))
        return ng_fail(err, NG_EFORMAT, "gguf: %.200s: the key %.64s is missing", g->path, key);
    *out = &g->kvs[at];
    return NG_OK;
}

const void *ng_gguf_scalar_bytes(const ng_gguf *g, const char *key) {
    size_t at;
    bool found = ng_name_index_find(&g->keys, key, &at);
    assert(found && ng_gguf_kind_bytes(g->kvs[at].kind));
    return found ? g->kvs[at].data : NULL;
}

static ng_status wrong_kind(const ng_gguf *g, const char *key, const kv *v, const char *want,
                            ng_error *err) {
    return ng_fail(err, NG_EFORMAT, "gguf: %.200s: byte %zu: the key %.64s is of kind %s, not %s",
                   g->path, (size_t)(v->data - g->data), key, ng_gguf_kind_name(v->kind), want);
}

/* A whole number of any kind: its value and, for u64 beyond INT64_MAX, *big. */
static bool load_int(ng_gguf_kind kind, const uint8_t *p, int64_t *v, bool *big) {
    uint16_t h;
    *big = false;
    switch (kind) {
    case NG_GGUF_BOOL:
        *v = *p != 0;
        return true;
    case NG_GGUF_U8:
        *v = *p;
        return true;
    case NG_GGUF_I8:
        *v = (int8_t)*p;
        return true;
    case NG_GGUF_U16:
        memcpy(&h, p, 2);
        *v = h;
        return true;
    case NG_GGUF_I16:
        memcpy(&h, p, 2);
        *v = (int16_t)h;
        return true;
    case NG_GGUF_U32:
        *v = ng_load_u32(p);
        return true;
    case NG_GGUF_I32:
        *v = (int32_t)ng_load_u32(p);
        return true;
    case NG_GGUF_U64:
        *v = (int64_t)ng_load_u64(p);
        *big = *v < 0;
        return true;
    case NG_GGUF_I64:
        *v = (int64_t)ng_load_u64(p);
        return true;
    default:
        return false;
    }
}

static bool load_real(ng_gguf_kind kind, const uint8_t *p, double *v) {
    float f;
    if (kind == NG_GGUF_F32) {
        memcpy(&f, p, sizeof f);
        *v = (double)f;
    } else if (kind == NG_GGUF_F64) {
        memcpy(v, p, sizeof *v);
    } else {
        return false;
    }
    return true;
}

static ng_status get_int(const ng_gguf *g, const char *key, int64_t *out, bool *big,
                         ng_error *err) {
    const kv *v = NULL;
    ng_status s = find(g, key, &v, err);
    if (s) return s;
    if (v->kind == NG_GGUF_BOOL || !load_int(v->kind, v->data, out, big))
        return wrong_kind(g, key, v, "a whole number", err);
    return NG_OK;
}

static ng_status out_of_range(const ng_gguf *g, const char *key, int64_t v, bool big,
                              const char *range, ng_error *err) {
    char text[32];
    if (big) snprintf(text, sizeof text, "%" PRIu64, (uint64_t)v);
    else snprintf(text, sizeof text, "%" PRId64, v);
    return ng_fail(err, NG_EFORMAT, "gguf: %.200s: the key %.64s is %s, not within %s", g->path,
                   key, text, range);
}

ng_status ng_gguf_get_u32(const ng_gguf *g, const char *key, uint32_t *out, ng_error *err) {
    int64_t v;
    bool big;
    ng_status s = get_int(g, key, &v, &big, err);
    if (s) return s;
    if (big || v < 0 || v > UINT32_MAX) return out_of_range(g, key, v, big, "0..2^32-1", err);
    *out = (uint32_t)v;
    return NG_OK;
}

ng_status ng_gguf_get_u64(const ng_gguf *g, const char *key, uint64_t *out, ng_error *err) {
    int64_t v;
    bool big;
    ng_status s = get_int(g, key, &v, &big, err);
    if (s) return s;
    if (!big && v < 0) return out_of_range(g, key, v, big, "0..2^64-1", err);
    *out = (uint64_t)v;
    return NG_OK;
}

ng_status ng_gguf_get_i64(const ng_gguf *g, const char *key, int64_t *out, ng_error *err) {
    int64_t v;
    bool big;
    ng_status s = get_int(g, key, &v, &big, err);
    if (s) return s;
    if (big) return out_of_range(g, key, v, big, "-2^63..2^63-1", err);
    *out = v;
    return NG_OK;
}

ng_status ng_gguf_get_f32(const ng_gguf *g, const char *key, float *out, ng_error *err) {
    const kv *v = NULL;
    ng_status s = find(g, key, &v, err);
    if (s) return s;
    double d;
    if (!load_real(v->kind, v->data, &d)) return wrong_kind(g, key, v, "a real number", err);
    *out = (float)d;
    return NG_OK;
}

ng_status ng_gguf_get_bool(const ng_gguf *g, const char *key, bool *out, ng_error *err) {
    const kv *v = NULL;
    ng_status s = find(g, key, &v, err);
    if (s) return s;
    if (v->kind != NG_GGUF_BOOL) return wrong_kind(g, key, v, "true or false", err);
    *out = *v->data != 0;
    return NG_OK;
}

ng_status ng_gguf_get_str(const ng_gguf *g, const char *key, ng_str *out, ng_error *err) {
    const kv *v = NULL;
    ng_status s = find(g, key, &v, err);
    if (s) return s;
    if (v->kind != NG_GGUF_STRING) return wrong_kind(g, key, v, "a string", err);
    *out = (ng_str){(const char *)v->data, v->len};
    return NG_OK;
}

ng_status ng_gguf_get_array(const ng_gguf *g, const char *key, ng_gguf_array *out, ng_error *err) {
    const kv *v = NULL;
    ng_status s = find(g, key, &v, err);
    if (s) return s;
    if (v->kind != NG_GGUF_ARRAY) return wrong_kind(g, key, v, "an array", err);
    bool strings = v->array_kind == NG_GGUF_STRING;
    *out =
        (ng_gguf_array){v->array_kind, v->len, strings ? NULL : v->data, strings ? v->strs : NULL};
    return NG_OK;
}

ng_status ng_gguf_get_u32_or(const ng_gguf *g, const char *key, uint32_t dflt, uint32_t *out,
                             ng_error *err) {
    if (ng_gguf_has(g, key)) return ng_gguf_get_u32(g, key, out, err);
    *out = dflt;
    return NG_OK;
}

ng_status ng_gguf_get_f32_or(const ng_gguf *g, const char *key, float dflt, float *out,
                             ng_error *err) {
    if (ng_gguf_has(g, key)) return ng_gguf_get_f32(g, key, out, err);
    *out = dflt;
    return NG_OK;
}

ng_status ng_gguf_get_bool_or(const ng_gguf *g, const char *key, bool dflt, bool *out,
                              ng_error *err) {
    if (ng_gguf_has(g, key)) return ng_gguf_get_bool(g, key, out, err);
    *out = dflt;
    return NG_OK;
}

double ng_gguf_array_num(const ng_gguf_array *a, size_t i) {
    assert(i < a->len && a->kind != NG_GGUF_STRING);
    const uint8_t *p = (const uint8_t *)a->data + i * ng_gguf_kind_bytes(a->kind);
    double d = 0;
    int64_t v;
    bool big;
    if (load_real(a->kind, p, &d)) return d;
    if (!load_int(a->kind, p, &v, &big)) return 0;
    return big ? (double)(uint64_t)v : (double)v;
}

int64_t ng_gguf_array_int(const ng_gguf_array *a, size_t i) {
    assert(i < a->len && a->kind != NG_GGUF_STRING);
    const uint8_t *p = (const uint8_t *)a->data + i * ng_gguf_kind_bytes(a->kind);
    double d;
    int64_t v = 0;
    bool big;
    if (load_int(a->kind, p, &v, &big)) return big ? INT64_MAX : v;
    if (!load_real(a->kind, p, &d)) return 0;
    /* A real number outside the range, or NaN, has no whole value: the nearest end, or 0. */
    return d >= 0x1p63 ? INT64_MAX : d < -0x1p63 ? INT64_MIN : d == d ? (int64_t)d : 0;
}
