/* gguf_kind.c: the tables of tensor types and value kinds.  See gguf.h and gguf_kind.h. */
#include "gguf_kind.h"

#include "core/checked.h"

#include <strings.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "GGUF values are copied as they stand: a big-endian host needs byte swaps in ng_load_*"
#endif

const char ng_gguf_alignment_key[] = "general.alignment";

ng_type_info ng_type_get_info(uint32_t type) {
    switch (type) {
#define TYPE_CASE(name, id, text, n, bytes)                                                        \
    case id:                                                                                       \
        return (ng_type_info){text, n, bytes};
        NG_TENSOR_TYPES(TYPE_CASE)
#undef TYPE_CASE
    default:
        return (ng_type_info){NULL, 0, 0};
    }
}

bool ng_type_parse(ng_type *out, const char *name) {
#define TYPE_PARSE(id_name, id, text, n, bytes)                                                    \
    if (!strcasecmp(name, text)) {                                                                 \
        *out = NG_TYPE_##id_name;                                                                  \
        return true;                                                                               \
    }
    NG_TENSOR_TYPES(TYPE_PARSE)
#undef TYPE_PARSE
    return false;
}

bool ng_type_row_bytes(uint32_t type, uint64_t n, size_t *bytes) {
    ng_type_info t = ng_type_get_info(type);
    return t.name && n % t.block_len == 0 && ng_mul_ok(bytes, n / t.block_len, t.block_bytes);
}

static const struct {
    const char *name;
    size_t bytes;
} kinds[NG_GGUF_KIND_COUNT] = {
    [NG_GGUF_U8] = {"u8", 1},       [NG_GGUF_I8] = {"i8", 1},     [NG_GGUF_U16] = {"u16", 2},
    [NG_GGUF_I16] = {"i16", 2},     [NG_GGUF_U32] = {"u32", 4},   [NG_GGUF_I32] = {"i32", 4},
    [NG_GGUF_F32] = {"f32", 4},     [NG_GGUF_BOOL] = {"bool", 1}, [NG_GGUF_STRING] = {"string", 0},
    [NG_GGUF_ARRAY] = {"array", 0}, [NG_GGUF_U64] = {"u64", 8},   [NG_GGUF_I64] = {"i64", 8},
    [NG_GGUF_F64] = {"f64", 8},
};

size_t ng_gguf_kind_bytes(uint32_t kind) {
    return kind < NG_GGUF_KIND_COUNT ? kinds[kind].bytes : 0;
}
const char *ng_gguf_kind_name(uint32_t kind) {
    return kind < NG_GGUF_KIND_COUNT ? kinds[kind].name : "?";
}
