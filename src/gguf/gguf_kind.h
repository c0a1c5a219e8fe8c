/* gguf_kind.h: what reader and writer share about kinds, limits and bytes. */
#ifndef NG_GGUF_KIND_H
#define NG_GGUF_KIND_H

#include "gguf.h"

#include <string.h>

enum {
    NG_GGUF_VERSION = 3,
    NG_GGUF_ALIGNMENT = 32, /* gguf.md: when general.alignment is absent */
    NG_GGUF_ALIGNMENT_MAX = 1 << 20,
    NG_GGUF_KEY_BYTES_MAX = 65535, /* gguf.md */
    NG_GGUF_NAME_BYTES_MAX = 63,   /* ggml: GGML_MAX_NAME - 1 */
    NG_GGUF_KEYS_MAX = 1 << 16,    /* ours: real files have under 100 keys .. */
    NG_GGUF_TENSORS_MAX = 1 << 16, /* .. and under 10,000 tensors */
    NG_GGUF_STRINGS_MAX = 1 << 22, /* ours: strings in all arrays together */
};
extern const char ng_gguf_alignment_key[]; /* "general.alignment" */

/* Bytes of one value; 0 for STRING and ARRAY. */
size_t ng_gguf_kind_bytes(uint32_t kind);
const char *ng_gguf_kind_name(uint32_t kind); /* "u32"; "?" for an unknown one */

/* The unaligned value of a key that holds neither a string nor an array; the key exists. */
const void *ng_gguf_scalar_bytes(const ng_gguf *g, const char *key);

/* The host is little-endian on every platform we build for (a static assertion checks it), so a
 * value in the file is copied as it stands; never dereferenced, since it is unaligned. */
static inline uint32_t ng_load_u32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t ng_load_u64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
/* n rounded up to a multiple of `align` (a power of two); false when that does not fit. */
static inline bool ng_pad_ok(uint64_t *out, uint64_t n, uint64_t align) {
    if (__builtin_add_overflow(n, align - 1, out)) return false;
    *out &= ~(align - 1);
    return true;
}

#endif
