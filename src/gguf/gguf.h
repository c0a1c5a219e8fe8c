/* gguf.h: reads and writes GGUF v3 files (ggml docs/gguf.md), trusting nothing in them.
 *
 *     ng_gguf *g;
 *     if (ng_gguf_open(&g, "model.gguf", &err)) ..
 *     uint32_t n; ng_gguf_get_u32(g, "llama.block_count", &n, &err);
 *     const ng_gguf_tensor *t = ng_gguf_find_tensor(g, "token_embd.weight");
 *     ng_gguf_close(g);                              t->data dies here
 *
 * The file is mapped; strings, arrays and tensor data are borrowed from the mapping.  Every length,
 * count, offset, type and alignment is checked before it is used; messages name the field and the
 * byte.  An open file is immutable and may be shared by threads. */
#ifndef NG_GGUF_GGUF_H
#define NG_GGUF_GGUF_H

#include "core/file.h"
#include <nanogrid/status.h>

/* X(NAME, id, "name", elements a block, bytes a block): ggml's tensor types that we know.  Ours
 * have ids >= 1000 and never stand in a file that others are told to read. */
#define NG_TENSOR_TYPES(X)                                                                         \
    X(F32, 0, "F32", 1, 4)                                                                         \
    X(F16, 1, "F16", 1, 2)                                                                         \
    X(Q4_0, 2, "Q4_0", 32, 18)                                                                     \
    X(Q4_1, 3, "Q4_1", 32, 20)                                                                     \
    X(Q5_0, 6, "Q5_0", 32, 22)                                                                     \
    X(Q5_1, 7, "Q5_1", 32, 24)                                                                     \
    X(Q8_0, 8, "Q8_0", 32, 34)                                                                     \
    X(Q2_K, 10, "Q2_K", 256, 84)                                                                   \
    X(Q3_K, 11, "Q3_K", 256, 110)                                                                  \
    X(Q4_K, 12, "Q4_K", 256, 144)                                                                  \
    X(Q5_K, 13, "Q5_K", 256, 176)                                                                  \
    X(Q6_K, 14, "Q6_K", 256, 210)                                                                  \
    X(I8, 24, "I8", 1, 1)                                                                          \
    X(I16, 25, "I16", 1, 2)                                                                        \
    X(I32, 26, "I32", 1, 4)                                                                        \
    X(I64, 27, "I64", 1, 8)                                                                        \
    X(F64, 28, "F64", 1, 8)                                                                        \
    X(BF16, 30, "BF16", 1, 2)                                                                      \
    X(NG3_S, 0x4E4732, "NG3_S", 64, 21)                                                                \
    X(NG3, 0x4E4733, "NG3", 64, 24)                                                                    \
    X(NG4, 0x4E4734, "NG4", 64, 34)

typedef enum ng_type {
#define NG_TYPE_ENUM(name, id, text, n, bytes) NG_TYPE_##name = id,
    NG_TENSOR_TYPES(NG_TYPE_ENUM)
#undef NG_TYPE_ENUM
} ng_type;

typedef struct ng_type_info {
    const char *name;   /* "Q4_0"; NULL for an unknown type */
    uint32_t block_len; /* elements a block */
    uint32_t block_bytes;
} ng_type_info;
ng_type_info ng_type_get_info(uint32_t type);
bool ng_type_parse(ng_type *out, const char *name); /* case-insensitive */
/* Bytes of one row of n elements; false when n is not a multiple of the block or it overflows. */
bool ng_type_row_bytes(uint32_t type, uint64_t n, size_t *bytes);

/* Value types of metadata (gguf.md: gguf_metadata_value_type). */
typedef enum ng_gguf_kind {
    NG_GGUF_U8,
    NG_GGUF_I8,
    NG_GGUF_U16,
    NG_GGUF_I16,
    NG_GGUF_U32,
    NG_GGUF_I32,
    NG_GGUF_F32,
    NG_GGUF_BOOL,
    NG_GGUF_STRING,
    NG_GGUF_ARRAY,
    NG_GGUF_U64,
    NG_GGUF_I64,
    NG_GGUF_F64,
    NG_GGUF_KIND_COUNT
} ng_gguf_kind;

typedef struct ng_gguf ng_gguf;

typedef struct ng_str {
    const char *data; /* not NUL-terminated */
    size_t len;
} ng_str;

typedef struct ng_gguf_array {
    ng_gguf_kind kind; /* of the elements; never ARRAY */
    size_t len;
    const void *data;   /* fixed-size kinds: len unaligned little-endian values */
    const ng_str *strs; /* STRING: [len] */
} ng_gguf_array;

typedef struct ng_gguf_tensor {
    const char *name; /* NUL-terminated */
    ng_type type;
    uint32_t n_dims;  /* 1..4 */
    uint64_t dims[4]; /* ggml order: dims[0] is the row length (contiguous); unused are 1 */
    const void *data;
    size_t bytes;
} ng_gguf_tensor;

ng_status ng_gguf_open(ng_gguf **out, const char *path, ng_error *err) NG_MUST_USE;
/* The same over memory that outlives the result (fuzzing, embedded models). `name` is for
 * messages. */
ng_status ng_gguf_open_memory(ng_gguf **out, const void *data, size_t len, const char *name,
                              ng_error *err) NG_MUST_USE;
void ng_gguf_close(ng_gguf *g);

const char *ng_gguf_path(const ng_gguf *g);
size_t ng_gguf_file_bytes(const ng_gguf *g);
/* Of the heap, beside the mapping. */
size_t ng_gguf_heap_bytes(const ng_gguf *g);
/* The mapped file; len 0 when it was opened from memory. */
const ng_map *ng_gguf_map(const ng_gguf *g);

/* Metadata.  `has` tells presence; the getters convert between integer kinds when the value fits
 * and fail with NG_EFORMAT naming the key when it is missing, of another kind or out of range.  The
 * `_or` forms give `dflt` for a missing key only.  Strings are borrowed and NOT NUL-terminated
 * (ng_str). */
bool ng_gguf_has(const ng_gguf *g, const char *key);
size_t ng_gguf_n_keys(const ng_gguf *g);
const char *ng_gguf_key(const ng_gguf *g, size_t i, ng_gguf_kind *kind);
ng_status ng_gguf_get_u32(const ng_gguf *g, const char *key, uint32_t *out,
                          ng_error *err) NG_MUST_USE;
ng_status ng_gguf_get_u64(const ng_gguf *g, const char *key, uint64_t *out,
                          ng_error *err) NG_MUST_USE;
ng_status ng_gguf_get_i64(const ng_gguf *g, const char *key, int64_t *out,
                          ng_error *err) NG_MUST_USE;
ng_status ng_gguf_get_f32(const ng_gguf *g, const char *key, float *out, ng_error *err) NG_MUST_USE;
ng_status ng_gguf_get_bool(const ng_gguf *g, const char *key, bool *out, ng_error *err) NG_MUST_USE;
ng_status ng_gguf_get_str(const ng_gguf *g, const char *key, ng_str *out,
                          ng_error *err) NG_MUST_USE;
ng_status ng_gguf_get_array(const ng_gguf *g, const char *key, ng_gguf_array *out,
                            ng_error *err) NG_MUST_USE;
ng_status ng_gguf_get_u32_or(const ng_gguf *g, const char *key, uint32_t dflt, uint32_t *out,
                             ng_error *err) NG_MUST_USE;
ng_status ng_gguf_get_f32_or(const ng_gguf *g, const char *key, float dflt, float *out,
                             ng_error *err) NG_MUST_USE;
ng_status ng_gguf_get_bool_or(const ng_gguf *g, const char *key, bool dflt, bool *out,
                              ng_error *err) NG_MUST_USE;
/* Element i of a fixed-size array as a number; i < len. */
double ng_gguf_array_num(const ng_gguf_array *a, size_t i);
int64_t ng_gguf_array_int(const ng_gguf_array *a, size_t i);

size_t ng_gguf_n_tensors(const ng_gguf *g);
const ng_gguf_tensor *ng_gguf_tensor_at(const ng_gguf *g, size_t i);
const ng_gguf_tensor *ng_gguf_find_tensor(const ng_gguf *g,
                                          const char *name); /* NULL when absent */

/* ---- writing ------------------------------------------------------------------------------------
 *     ng_gguf_writer *w;
 *     ng_gguf_writer_new(&w);
 *     ng_gguf_put_str(w, "general.architecture", "llama");
 *     ng_gguf_put_tensor(w, "x.weight", NG_TYPE_F32, 2, dims, data);  data lives until the commit
 *     ng_gguf_writer_commit(w, "out.gguf", &err);   written atomically; frees w
 * Errors of the put calls are sticky and reported by the commit. Keys and tensors keep their order;
 * a repeated key replaces the earlier value. */
typedef struct ng_gguf_writer ng_gguf_writer;
ng_status ng_gguf_writer_new(ng_gguf_writer **out) NG_MUST_USE;
void ng_gguf_writer_free(ng_gguf_writer *w);
void ng_gguf_put_u32(ng_gguf_writer *w, const char *key, uint32_t v);
void ng_gguf_put_u64(ng_gguf_writer *w, const char *key, uint64_t v);
void ng_gguf_put_i32(ng_gguf_writer *w, const char *key, int32_t v);
void ng_gguf_put_f32(ng_gguf_writer *w, const char *key, float v);
void ng_gguf_put_bool(ng_gguf_writer *w, const char *key, bool v);
void ng_gguf_put_str(ng_gguf_writer *w, const char *key, const char *v);
void ng_gguf_put_strn(ng_gguf_writer *w, const char *key, const char *v, size_t len);
void ng_gguf_put_array(ng_gguf_writer *w, const char *key, ng_gguf_kind kind, const void *data,
                       size_t n);
void ng_gguf_put_strs(ng_gguf_writer *w, const char *key, const ng_str *strs, size_t n);
/* Every key of `from` that `w` does not have yet. */
void ng_gguf_put_all(ng_gguf_writer *w, const ng_gguf *from);
/* But those whose names begin so. */
void ng_gguf_put_all_but(ng_gguf_writer *w, const ng_gguf *from, const char *prefix);
bool ng_gguf_writer_has(const ng_gguf_writer *w, const char *tensor);
void ng_gguf_put_tensor(ng_gguf_writer *w, const char *name, ng_type type, uint32_t n_dims,
                        const uint64_t *dims, const void *data);
/* The same with data made when its turn comes: the commit calls `make`, once, in the order of the
 * puts; *data must stay good until the next call.  So a file larger than memory can be written. */
typedef ng_status ng_gguf_make_fn(void *ctx, const void **data, ng_error *err);
void ng_gguf_put_tensor_made(ng_gguf_writer *w, const char *name, ng_type type, uint32_t n_dims,
                             const uint64_t *dims, ng_gguf_make_fn *make, void *ctx);
ng_status ng_gguf_writer_commit(ng_gguf_writer *w, const char *path, ng_error *err) NG_MUST_USE;

#endif
