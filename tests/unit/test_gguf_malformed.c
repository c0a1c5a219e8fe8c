/* Hostile GGUF files, generated: every class of damage that ggml's own test knows (and some more),
 * each from many seeds; truncation at every byte of the header; every single-bit flip of a header
 * of 64 KiB.  What is asked: a typed code, a message with file, byte and field, little time,
 * bounded memory (RLIMIT_AS), never a read past the end (each file stands before a guard page). */
#include "core/clock.h"
#include "core/file.h"
#include "core/hash.h"
#include "gguf/gguf.h"
#include <nanogrid/buf.h>

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
enum { SEEDS = 120, GUARDED_BYTES = 1 << 20, MEMORY_BYTES = 64 << 20, SLOWEST_MS = 100 };

/* X(NAME, what opening it gives, what the message names) */
#define CLASSES(X)                                                                                 \
    X(HEADER_BAD_MAGIC, NG_EFORMAT, "magic")                                                       \
    X(HEADER_BAD_VERSION_0, NG_EFORMAT, "version")                                                 \
    X(HEADER_BAD_VERSION_1, NG_EUNSUPPORTED, "version")                                            \
    X(HEADER_BAD_VERSION_FUTURE, NG_EUNSUPPORTED, "version")                                       \
    X(HEADER_BIG_ENDIAN, NG_EUNSUPPORTED, "big-endian")                                            \
    X(HEADER_BAD_N_TENSORS, NG_EFORMAT, "number of tensors")                                       \
    X(HEADER_BAD_N_KV, NG_EFORMAT, "number of keys")                                               \
    X(HEADER_EMPTY, NG_OK, "")                                                                     \
    X(KV_BAD_KEY_SIZE, NG_EFORMAT, "key")                                                          \
    X(KV_LONG_KEY, NG_EFORMAT, "more than the 65535 allowed")                                      \
    X(KV_EMPTY_KEY, NG_EFORMAT, "is empty")                                                        \
    X(KV_ZERO_BYTE_IN_KEY, NG_EFORMAT, "zero byte")                                                \
    X(KV_BAD_TYPE, NG_EFORMAT, "unknown kind")                                                     \
    X(KV_BAD_VALUE_SIZE, NG_EFORMAT, "value of key")                                               \
    X(KV_BAD_ARRAY_SIZE, NG_EFORMAT, "value of key")                                               \
    X(KV_BAD_ARRAY_TYPE, NG_EFORMAT, "unknown kind")                                               \
    X(KV_BAD_STRING_IN_ARRAY, NG_EFORMAT, "string 1 of value of key")                              \
    X(KV_NESTED_ARRAY, NG_EUNSUPPORTED, "array of arrays")                                         \
    X(KV_DUPLICATE_KEY, NG_EFORMAT, "as key")                                                      \
    X(KV_BAD_ALIGN, NG_EFORMAT, "general.alignment")                                               \
    X(KV_ZERO_ALIGN, NG_EFORMAT, "general.alignment")                                              \
    X(KV_WRONG_TYPE_ALIGN, NG_EFORMAT, "general.alignment")                                        \
    X(KV_SUCCESS, NG_OK, "")                                                                       \
    X(TENSORS_BAD_NAME_SIZE, NG_EFORMAT, "name of tensor")                                         \
    X(TENSORS_EMPTY_NAME, NG_EFORMAT, "name of tensor")                                            \
    X(TENSORS_BAD_N_DIMS, NG_EFORMAT, "number of dimensions")                                      \
    X(TENSORS_N_DIMS_0, NG_EFORMAT, "number of dimensions")                                        \
    X(TENSORS_BAD_SHAPE, NG_EFORMAT, "dimension")                                                  \
    X(TENSORS_BAD_ROW, NG_EFORMAT, "not a multiple of")                                            \
    X(TENSORS_NE_TOO_BIG, NG_EFORMAT, "larger than any memory")                                    \
    X(TENSORS_NBYTES_TOO_BIG, NG_EFORMAT, "larger than any memory")                                \
    X(TENSORS_NBYTES_PAD_WRAP, NG_EFORMAT, "past the end")                                         \
    X(TENSORS_BAD_TYPE, NG_EUNSUPPORTED, "type of tensor")                                         \
    X(TENSORS_BAD_OFFSET, NG_EFORMAT, "offset of tensor")                                          \
    X(TENSORS_OVERLAP, NG_EFORMAT, "offset of tensor")                                             \
    X(TENSORS_DUPLICATE_NAME, NG_EFORMAT, "as tensor")                                             \
    X(TENSORS_BAD_ALIGN, NG_EFORMAT, "general.alignment")                                          \
    X(TENSORS_INCONSISTENT_ALIGN, NG_EFORMAT, "offset of tensor")                                  \
    X(TENSORS_ZERO_DIM, NG_OK, "")                                                                 \
    X(TENSORS_SUCCESS, NG_OK, "")                                                                  \
    X(TENSORS_CUSTOM_ALIGN, NG_OK, "")                                                             \
    X(DATA_NOT_ENOUGH_DATA, NG_EFORMAT, "tensor")                                                  \
    X(DATA_BAD_ALIGN, NG_EFORMAT, "general.alignment")                                             \
    X(DATA_INCONSISTENT_ALIGN, NG_EFORMAT, "offset of tensor")                                     \
    X(DATA_MEM_SIZE_OVERFLOW, NG_EFORMAT, "past the end")                                          \
    X(DATA_SUCCESS, NG_OK, "")                                                                     \
    X(DATA_CUSTOM_ALIGN, NG_OK, "")

typedef enum class_id {
#define CLASS_ENUM(name, status, field) name,
    CLASSES(CLASS_ENUM)
#undef CLASS_ENUM
        CLASS_COUNT
} class_id;
static const struct {
    const char *name, *field;
    ng_status status;
} classes[] = {
#define CLASS_ROW(name, status, field) {#name, field, status},
    CLASSES(CLASS_ROW)
#undef CLASS_ROW
};

/* ---- the generator --------------------------------------------------------------------------- */

typedef struct maker {
    ng_buf b;
    ng_rng rng;
    class_id is;
    size_t n_kv, n_tensors, header_bytes, data_start;
    uint32_t alignment;
} maker;

static void u32(maker *m, uint32_t v) {
    ng_buf_put(&m->b, &v, 4);
}
static void u64(maker *m, uint64_t v) {
    ng_buf_put(&m->b, &v, 8);
}
static void str(maker *m, const char *s, size_t n) {
    u64(m, n);
    ng_buf_put(&m->b, s, n);
}
static void noise(maker *m, size_t n) {
    for (size_t i = 0; i < n; i++) ng_buf_putc(&m->b, (char)ng_rng_next(&m->rng));
}

static const uint8_t kind_bytes[NG_GGUF_KIND_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static void add_array(maker *m, bool hurt) {
    uint32_t kind = ng_rng_below(&m->rng, NG_GGUF_KIND_COUNT);
    if (kind == NG_GGUF_ARRAY || (hurt && m->is == KV_BAD_STRING_IN_ARRAY)) kind = NG_GGUF_STRING;
    if (hurt && m->is == KV_BAD_ARRAY_SIZE && kind == NG_GGUF_STRING) kind = NG_GGUF_F64;
    size_t n = 2 + ng_rng_below(&m->rng, 15);
    u32(m, hurt && m->is == KV_NESTED_ARRAY     ? NG_GGUF_ARRAY
           : hurt && m->is == KV_BAD_ARRAY_TYPE ? 13
                                                : kind);
    /* 2^63 elements; or so many that the product with the element's size wraps to something
     * small */
    uint64_t lies[] = {1ULL << 63, (1ULL << 61) + 1, UINT64_MAX};
    u64(m, hurt && m->is == KV_BAD_ARRAY_SIZE ? lies[ng_rng_below(&m->rng, 3)] : n);
    if (kind != NG_GGUF_STRING) {
        noise(m, n * kind_bytes[kind]);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        size_t len = ng_rng_below(&m->rng, 5);
        u64(m, hurt && m->is == KV_BAD_STRING_IN_ARRAY && i == 1 ? UINT64_MAX - 7 : len);
        noise(m, len);
    }
}

static void add_value(maker *m, bool hurt) {
    uint32_t kind = ng_rng_below(&m->rng, NG_GGUF_KIND_COUNT);
    if (hurt && m->is == KV_BAD_VALUE_SIZE) kind = NG_GGUF_STRING;
    if (hurt && (m->is == KV_BAD_ARRAY_SIZE || m->is == KV_BAD_ARRAY_TYPE ||
                 m->is == KV_NESTED_ARRAY || m->is == KV_BAD_STRING_IN_ARRAY))
        kind = NG_GGUF_ARRAY;
    u32(m, hurt && m->is == KV_BAD_TYPE ? 13 + ng_rng_below(&m->rng, 1000) : kind);
    if (kind == NG_GGUF_ARRAY) {
        add_array(m, hurt);
    } else if (kind == NG_GGUF_STRING) {
        size_t n = ng_rng_below(&m->rng, 64);
        uint64_t lies[] = {UINT64_MAX, 1ULL << 40, m->b.len + GUARDED_BYTES, (uint64_t)INT64_MIN};
        u64(m, hurt && m->is == KV_BAD_VALUE_SIZE ? lies[ng_rng_below(&m->rng, 4)] : n);
        noise(m, n);
    } else {
        noise(m, kind_bytes[kind]);
    }
}

static void add_kv(maker *m, size_t i, bool hurt) {
    static char long_key[65536];
    memset(long_key, 'k', sizeof long_key);
    char key[32];
    int n = snprintf(key, sizeof key, "my_key_%zu", hurt && m->is == KV_DUPLICATE_KEY ? i - 1 : i);
    if (hurt && m->is == KV_EMPTY_KEY) n = 0;
    if (hurt && m->is == KV_ZERO_BYTE_IN_KEY) key[2] = 0;
    if (hurt && m->is == KV_BAD_KEY_SIZE) {
        u64(m, ng_rng_below(&m->rng, 2) ? UINT64_MAX : UINT64_MAX - m->b.len - 7);
        ng_buf_put(&m->b, key, (size_t)n);
    } else if (hurt && m->is == KV_LONG_KEY) {
        str(m, long_key, sizeof long_key);
    } else {
        str(m, key, (size_t)n);
    }
    add_value(m, hurt);
}

static bool has_alignment(class_id is) {
    return is == KV_BAD_ALIGN || is == KV_ZERO_ALIGN || is == KV_WRONG_TYPE_ALIGN ||
           is == TENSORS_BAD_ALIGN || is == TENSORS_CUSTOM_ALIGN || is == DATA_BAD_ALIGN ||
           is == DATA_CUSTOM_ALIGN;
}

static void add_alignment(maker *m) {
    str(m, "general.alignment", 17);
    u32(m, m->is == KV_WRONG_TYPE_ALIGN ? NG_GGUF_I32 : NG_GGUF_U32);
    m->alignment = m->is == KV_ZERO_ALIGN  ? 0
                   : classes[m->is].status ? 13
                                           : 1u << ng_rng_below(&m->rng, 9);
    u32(m, m->is == KV_WRONG_TYPE_ALIGN ? 32 : m->alignment);
}

static size_t shape(maker *m, size_t i, uint32_t *type, uint32_t *n_dims, uint64_t *dims) {
    static const uint32_t types[] = {0,  1,  2,  3,  6,  7,  8,  10, 11,
                                     12, 13, 14, 24, 25, 26, 27, 28, 30};
    *type = i == 0 ? NG_TYPE_I8 : types[ng_rng_below(&m->rng, sizeof types / sizeof *types)];
    ng_type_info t = ng_type_get_info(*type);
    *n_dims = 1 + ng_rng_below(&m->rng, 4);
    dims[0] =
        i == 0 ? 5
               : t.block_len * (1 + ng_rng_below(&m->rng, 3)); /* 5 bytes: then padding matters */
    size_t bytes = dims[0] / t.block_len * t.block_bytes;
    for (size_t d = 1; d < 4; d++) {
        dims[d] = i && d < *n_dims ? 1 + ng_rng_below(&m->rng, 3) : 1;
        bytes *= dims[d];
    }
    return bytes;
}

/* Shapes that only hurt: the bytes that they pretend to have. */
static void hurt_shape(maker *m, uint32_t *type, uint32_t *n_dims, uint64_t *dims) {
    static const uint64_t lies[][4] = {{1ULL << 40, 1ULL << 40, 1, 1},
                                       {1ULL << 31, 1ULL << 30, 1, 1},
                                       {4, (1ULL << 30) - 1, (1ULL << 30) + 1, 1},
                                       {0x7FFFFFFFFFFFFFC0, 1, 1, 1}};
    int lie = m->is == TENSORS_NE_TOO_BIG        ? 0
              : m->is == TENSORS_NBYTES_TOO_BIG  ? 1
              : m->is == TENSORS_NBYTES_PAD_WRAP ? 2
              : m->is == DATA_MEM_SIZE_OVERFLOW  ? 3
                                                 : -1;
    static const uint32_t lie_types[] = {NG_TYPE_I8, NG_TYPE_I64, NG_TYPE_F32, NG_TYPE_I8};
    if (lie >= 0) {
        *type = lie_types[lie];
        *n_dims = lie == 3 ? 1 : lie == 2 ? 3 : 2;
        memcpy(dims, lies[lie], sizeof lies[lie]);
    }
    if (m->is == TENSORS_BAD_SHAPE)
        dims[ng_rng_below(&m->rng, *n_dims)] = (uint64_t)-1 - ng_rng_below(&m->rng, 100);
    if (m->is == TENSORS_BAD_ROW) *type = NG_TYPE_Q4_0, dims[0] = 33;
    if (m->is == TENSORS_BAD_TYPE)
        *type = ng_rng_below(&m->rng, 2) ? 4 : 1000 + ng_rng_below(&m->rng, 100);
}

static void add_tensor(maker *m, size_t i, bool hurt, uint64_t *offset) {
    char name[100];
    int n = snprintf(name, sizeof name, "my_tensor_%zu",
                     hurt && m->is == TENSORS_DUPLICATE_NAME ? i - 1 : i);
    if (hurt && m->is == TENSORS_BAD_NAME_SIZE) n = snprintf(name, sizeof name, "%064zu", i);
    str(m, name, hurt && m->is == TENSORS_EMPTY_NAME ? 0 : (size_t)n);
    uint32_t type, n_dims;
    uint64_t dims[4], at = *offset;
    size_t bytes = shape(m, i, &type, &n_dims, dims);
    if (hurt) hurt_shape(m, &type, &n_dims, dims);
    if (hurt && m->is == TENSORS_ZERO_DIM) dims[ng_rng_below(&m->rng, n_dims)] = 0, bytes = 0;
    u32(m, hurt && m->is == TENSORS_BAD_N_DIMS ? 5 + ng_rng_below(&m->rng, 1u << 30)
           : hurt && m->is == TENSORS_N_DIMS_0 ? 0
                                               : n_dims);
    for (size_t d = 0; d < n_dims; d++) u64(m, dims[d]);
    u32(m, type);
    if (hurt && m->is == TENSORS_BAD_OFFSET) at += ng_rng_below(&m->rng, 2) ? 32 : 1;
    if (hurt && m->is == TENSORS_OVERLAP) at -= 32;
    u64(m, at);
    size_t pad =
        m->is == TENSORS_INCONSISTENT_ALIGN || m->is == DATA_INCONSISTENT_ALIGN ? 1 : m->alignment;
    if (pad == 13 || pad == 0) pad = 1;
    *offset += (bytes + pad - 1) / pad * pad;
}

static void make(maker *m, class_id is, uint64_t seed) {
    *m = (maker){.b = ng_buf_init(GUARDED_BYTES),
                 .rng = ng_rng_seed(seed * 1000 + is),
                 .is = is,
                 .alignment = 32};
    bool bare = is <= HEADER_EMPTY;
    m->n_kv = bare ? 0 : 3 + ng_rng_below(&m->rng, 30);
    m->n_tensors = bare || is <= KV_SUCCESS ? 0 : 3 + ng_rng_below(&m->rng, 12);
    ng_buf_put(&m->b, is == HEADER_BAD_MAGIC ? "FUGG" : "GGUF", 4);
    u32(m, is == HEADER_BAD_VERSION_0        ? 0
           : is == HEADER_BAD_VERSION_1      ? 1
           : is == HEADER_BIG_ENDIAN         ? 3u << 24
           : is == HEADER_BAD_VERSION_FUTURE ? 4 + ng_rng_below(&m->rng, 60000)
                                             : 2 + ng_rng_below(&m->rng, 2));
    u64(m, is == HEADER_BAD_N_TENSORS ? UINT64_MAX >> ng_rng_below(&m->rng, 40) : m->n_tensors);
    u64(m, is == HEADER_BAD_N_KV ? UINT64_MAX >> ng_rng_below(&m->rng, 40)
                                 : m->n_kv + has_alignment(is));
    size_t hurt =
        1 + ng_rng_below(&m->rng, 2); /* not the first: damage must be found among good records */
    for (size_t i = 0; i < m->n_kv; i++) add_kv(m, i, i == hurt);
    if (has_alignment(is)) add_alignment(m);
    uint64_t offset = 0;
    for (size_t i = 0; i < m->n_tensors; i++)
        add_tensor(m, i, i == hurt || (is == DATA_MEM_SIZE_OVERFLOW && i > hurt), &offset);
    m->header_bytes = m->b.len;
    if (m->alignment)
        while (m->b.len % m->alignment) ng_buf_putc(&m->b, 0);
    m->data_start = m->b.len;
    if (is == DATA_NOT_ENOUGH_DATA) offset -= 32 + ng_rng_below(&m->rng, (uint32_t)offset - 32);
    for (uint64_t i = 0; i < offset; i++) ng_buf_putc(&m->b, (char)(i % 251));
    assert_int_equal(m->b.status, NG_OK);
}

/* ---- opening before a guard page ------------------------------------------------------------- */

static char *guard; /* the first byte that must not be touched */
static long opened;
static double slowest_ms;

static double cpu_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void check_message(const ng_error *err, size_t len) {
    const char *at = strstr(err->text, "gguf: f.gguf: byte ");
    if (!at) fail_msg("no file and byte in: %s", err->text);
    assert_true((size_t)strtoull(at + 19, NULL, 10) <= len);
    for (const char *c = err->text; *c; c++) assert_true(isprint((unsigned char)*c));
}

/* Opens len bytes that stand right before the guard. */
static ng_status open_guarded(size_t len, ng_gguf **g, ng_error *err) {
    double start = cpu_ms();
    *err = (ng_error){0};
    ng_status s = ng_gguf_open_memory(g, guard - len, len, "f.gguf", err);
    double took = cpu_ms() - start;
    if (took > slowest_ms) slowest_ms = took;
    opened++;
    if (s) {
        assert_null(*g);
        assert_int_equal(s, err->code);
        check_message(err, len);
    }
    return s;
}

/* Every byte of every key and tensor can be read. */
static uint64_t touch(const ng_gguf *g) {
    uint64_t sum = 0;
    for (size_t i = 0; i < ng_gguf_n_keys(g); i++) {
        ng_gguf_kind kind;
        const char *key = ng_gguf_key(g, i, &kind);
        ng_gguf_array a;
        ng_str s;
        ng_error err = {0};
        sum += strlen(key);
        if (kind == NG_GGUF_STRING && !ng_gguf_get_str(g, key, &s, &err))
            sum += ng_hash64(s.data, s.len, 0);
        if (kind != NG_GGUF_ARRAY || ng_gguf_get_array(g, key, &a, &err)) continue;
        for (size_t k = 0; k < a.len; k++)
            sum += a.kind == NG_GGUF_STRING ? ng_hash64(a.strs[k].data, a.strs[k].len, 0)
                                            : (uint64_t)ng_gguf_array_int(&a, k);
    }
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
        assert_int_equal((uintptr_t)t->data % 8, 0);
        sum += ng_hash64(t->data, t->bytes, 0) + strlen(t->name);
    }
    return sum;
}

static void check_accepted(const ng_gguf *g, const maker *m) {
    assert_int_equal(ng_gguf_n_keys(g), m->n_kv + has_alignment(m->is));
    assert_int_equal(ng_gguf_n_tensors(g), m->n_tensors);
    size_t offset = 0;
    for (size_t i = 0; i < m->n_tensors; i++) {
        char name[32];
        snprintf(name, sizeof name, "my_tensor_%zu", i);
        const ng_gguf_tensor *t = ng_gguf_find_tensor(g, name);
        assert_non_null(t);
        for (size_t k = 0; k < t->bytes; k++)
            assert_int_equal(((const uint8_t *)t->data)[k], (offset + k) % 251);
        offset += (t->bytes + m->alignment - 1) / m->alignment * m->alignment;
    }
}

static void every_class_is_told_apart(void **state) {
    (void)state;
    for (class_id is = 0; is < CLASS_COUNT; is++) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            maker m;
            ng_gguf *g;
            ng_error err;
            make(&m, is, seed);
            memcpy(guard - m.b.len, m.b.data, m.b.len);
            ng_status s = open_guarded(m.b.len, &g, &err);
            if (s != classes[is].status || !strstr(err.text, classes[is].field))
                fail_msg("%s, seed %d: %s: %s", classes[is].name, (int)seed, ng_status_name(s),
                         err.text);
            if (!s) check_accepted(g, &m);
            ng_gguf_close(s ? NULL : g);
            ng_buf_clear(&m.b);
        }
    }
}

static void files_on_disk_behave_the_same(void **state) {
    (void)state;
    char path[] = "/tmp/nanogrid-test-malformed-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (class_id is = 0; is < CLASS_COUNT; is++) {
        maker m;
        ng_gguf *g;
        ng_error err = {0};
        make(&m, is, 7);
        assert_int_equal(ng_file_write_atomic(path, m.b.data, m.b.len, &err), NG_OK);
        assert_int_equal(ng_gguf_open(&g, path, &err), classes[is].status);
        assert_true(classes[is].status == NG_OK || strstr(err.text, path) != NULL);
        if (!err.code) check_accepted(g, &m);
        ng_gguf_close(g);
        ng_buf_clear(&m.b);
        opened++;
    }
    unlink(path);
}

/* A good file cut anywhere in its header or data is refused; a bad one stays refused. */
static void every_truncation_is_refused(void **state) {
    (void)state;
    int seeds = SANITIZED ? 1 : 4;
    for (class_id is = 0; is < CLASS_COUNT; is++) {
        if (is == KV_LONG_KEY) continue;
        for (int seed = 0; seed < (classes[is].status ? 1 : seeds); seed++) {
            maker m;
            ng_gguf *g;
            ng_error err;
            make(&m, is, 500 + seed);
            size_t end = m.n_tensors ? m.data_start + 1 : m.header_bytes;
            for (size_t len = 0; len < end; len++) {
                memcpy(guard - len, m.b.data, len);
                if (open_guarded(len, &g, &err) == NG_OK)
                    fail_msg("%s cut at %zu is accepted", classes[is].name, len);
            }
            ng_buf_clear(&m.b);
        }
    }
}

/* A header of 64 KiB: a vocabulary, scores, a few tensors. */
static size_t make_long_header(maker *m) {
    *m = (maker){.b = ng_buf_init(GUARDED_BYTES),
                 .rng = ng_rng_seed(11),
                 .is = DATA_SUCCESS,
                 .alignment = 32};
    ng_buf_put(&m->b, "GGUF", 4);
    u32(m, 3), u64(m, 4), u64(m, 3 + 20);
    str(m, "general.architecture", 20), u32(m, NG_GGUF_STRING), str(m, "llama", 5);
    for (size_t i = 0; i < 20; i++) add_kv(m, i, false);
    str(m, "scores", 6), u32(m, NG_GGUF_ARRAY), u32(m, NG_GGUF_F32), u64(m, 5000), noise(m, 20000);
    str(m, "tokens", 6), u32(m, NG_GGUF_ARRAY), u32(m, NG_GGUF_STRING);
    size_t n = (65536 - m->b.len - 500) / 48;
    u64(m, n);
    for (size_t i = 0; i < n; i++) u64(m, 40), noise(m, 40);
    uint64_t offset = 0;
    for (size_t i = 0; i < 4; i++) add_tensor(m, i, false, &offset);
    size_t header = m->b.len;
    while (m->b.len % 32) ng_buf_putc(&m->b, 0);
    for (uint64_t i = 0; i < offset; i++) ng_buf_putc(&m->b, (char)i);
    assert_int_equal(m->b.status, NG_OK);
    return header;
}

static void every_bit_flip_is_survived(void **state) {
    (void)state;
    maker m;
    size_t header = make_long_header(&m), len = m.b.len, step = SANITIZED ? 13 : 1, refused = 0,
           n = 0;
    assert_true(header > 64000);
    char *file = guard - len;
    memcpy(file, m.b.data, len);
    for (size_t bit = 0; bit < header * 8; bit += step, n++) {
        ng_gguf *g;
        ng_error err;
        file[bit / 8] ^= (char)(1 << bit % 8);
        if (open_guarded(len, &g, &err)) {
            refused++;
        } else {
            if (n % 64 == 0) touch(g); /* all bytes each time would take minutes */
            ng_gguf_close(g);
        }
        file[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(refused >
                1000); /* flips in noise are no damage; those in lengths, kinds and offsets are */
    ng_buf_clear(&m.b);
}

/* Random bytes over random places of good files: what opens must be readable in full. */
static void random_damage_is_survived(void **state) {
    (void)state;
    ng_rng rng = ng_rng_seed(5);
    for (int round = 0; round < (SANITIZED ? 2000 : 20000); round++) {
        maker m;
        ng_gguf *g;
        ng_error err;
        make(&m, DATA_SUCCESS + ng_rng_below(&rng, 2), ng_rng_below(&rng, 50));
        memcpy(guard - m.b.len, m.b.data, m.b.len);
        for (uint32_t k = 1 + ng_rng_below(&rng, 4); k; k--) {
            static const uint8_t bytes[] = {0, 1, 0x7f, 0x80, 0xff};
            guard[-(long)m.b.len + ng_rng_below(&rng, (uint32_t)m.header_bytes)] =
                (char)bytes[ng_rng_below(&rng, 5)];
        }
        if (!open_guarded(m.b.len, &g, &err)) {
            touch(g);
            ng_gguf_close(g);
        }
        ng_buf_clear(&m.b);
    }
}

/* Announced sizes cost nothing until the file proves them: 2^20 keys in a file of zeros. */
static void limits_are_told(void **state) {
    (void)state;
    maker m = {.b = ng_buf_init(GUARDED_BYTES)};
    ng_buf_put(&m.b, "GGUF", 4);
    u32(&m, 3), u64(&m, 0), u64(&m, 70000);
    while (m.b.len < GUARDED_BYTES - 100) ng_buf_putc(&m.b, 0);
    memcpy(guard - m.b.len, m.b.data, m.b.len);
    ng_gguf *g;
    ng_error err;
    assert_int_equal(open_guarded(m.b.len, &g, &err), NG_ELIMIT);
    assert_non_null(strstr(err.text, "number of keys is 70000, more than the 65536 that are read"));
    ng_buf_clear(&m.b);
}

static void all_stayed_small_and_quick(void **state) {
    (void)state;
    printf("opened %ld files, the slowest took %.2f ms\n", opened, slowest_ms);
    assert_true(opened >= 10000);
    assert_true(slowest_ms <= SLOWEST_MS * (SANITIZED ? 10 : 1));
}

static int set_up(void **state) {
    (void)state;
    char *p = mmap(NULL, GUARDED_BYTES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    if (p == MAP_FAILED || mprotect(p + GUARDED_BYTES, 4096, PROT_NONE)) return -1;
    guard = p + GUARDED_BYTES;
    if (SANITIZED) return 0; /* the shadow needs terabytes of address space */
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu", &pages) != 1) return -1;
    fclose(f);
    struct rlimit limit = {pages * 4096 + MEMORY_BYTES, pages * 4096 + MEMORY_BYTES};
    return setrlimit(RLIMIT_AS, &limit);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_is_told_apart),
        cmocka_unit_test(files_on_disk_behave_the_same),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_bit_flip_is_survived),
        cmocka_unit_test(random_damage_is_survived),
        cmocka_unit_test(limits_are_told),
        cmocka_unit_test(all_stayed_small_and_quick),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
