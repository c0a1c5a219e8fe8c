/* fuzz_safetensors.c: any bytes as a safetensors file; what opens is read to the last byte. */
#include "quant/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static volatile uint64_t sink;
    ng_error err = {0};
    ng_safetensors *f;
    if (ng_safetensors_open_memory(&f, data, size, "fuzz", &err)) {
        if (!err.code || !err.text[0]) abort(); /* a refusal says why */
        return 0;
    }
    size_t total = 0;
    for (size_t i = 0; i < ng_safetensors_n_tensors(f); i++) {
        const ng_st_tensor *t = ng_safetensors_at(f, i);
        if (ng_safetensors_find(f, t->name) != t) abort();
        for (size_t k = 0; k < t->bytes; k++) sink += ((const uint8_t *)t->data)[k];
        total += t->bytes;
    }
    if (total > size) abort();
    for (size_t i = 0; i < ng_safetensors_n_meta(f); i++) {
        const char *value, *key = ng_safetensors_meta(f, i, &value);
        sink += strlen(key) + strlen(value);
    }
    ng_safetensors_close(f);
    return 0;
}
