/* fuzz_gguf.c: any bytes as a GGUF file; what opens is read to the last byte. */
#include "gguf/gguf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sum_of(const void *p, size_t n) {
    const uint8_t *b = p;
    uint64_t sum = n;
    for (size_t i = 0; i < n; i++) sum = sum * 31 + b[i];
    return sum;
}

static uint64_t read_key(const ng_gguf *g, const char *key) {
    ng_error err = {0};
    ng_gguf_array a;
    ng_str s;
    uint64_t sum = 0, u;
    int64_t i;
    uint32_t n;
    float f;
    bool b;
    if (!ng_gguf_get_str(g, key, &s, &err)) sum += sum_of(s.data, s.len);
    if (!ng_gguf_get_u64(g, key, &u, &err)) sum += u;
    if (!ng_gguf_get_i64(g, key, &i, &err)) sum += (uint64_t)i;
    if (!ng_gguf_get_u32_or(g, key, 1, &n, &err)) sum += n;
    if (!ng_gguf_get_f32(g, key, &f, &err)) sum += f > 0;
    if (!ng_gguf_get_bool(g, key, &b, &err)) sum += b;
    if (ng_gguf_get_array(g, key, &a, &err)) return sum;
    for (size_t k = 0; k < a.len; k++)
        sum += a.kind == NG_GGUF_STRING
                   ? sum_of(a.strs[k].data, a.strs[k].len)
                   : (uint64_t)ng_gguf_array_int(&a, k) + (ng_gguf_array_num(&a, k) > 0);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static volatile uint64_t sink;
    ng_error err = {0};
    ng_gguf *g;
    if (ng_gguf_open_memory(&g, data, size, "fuzz", &err)) {
        if (!err.code || !err.text[0]) abort(); /* a refusal says why */
        return 0;
    }
    for (size_t i = 0; i < ng_gguf_n_keys(g); i++) {
        const char *key = ng_gguf_key(g, i, NULL);
        if (!ng_gguf_has(g, key)) abort();
        sink += read_key(g, key);
    }
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
        if (ng_gguf_find_tensor(g, t->name) != t || (uintptr_t)t->data % 8) abort();
        sink += sum_of(t->data, t->bytes);
    }
    ng_gguf_close(g);
    return 0;
}
