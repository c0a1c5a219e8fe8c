/* fuzz_pii.c: any bytes through the PII scanner: spans stay inside, in order, without overlap. */
#include "task/pii.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ng_pii_spans found = {0};
    (void)ng_pii_suspected((const char *)data, size);
    if (ng_pii_scan(&found, (const char *)data, size, NG_PII_ALL, NULL)) return 0;
    size_t floor = 0;
    for (size_t i = 0; i < found.len; i++) {
        if (found.items[i].start < floor || found.items[i].start >= found.items[i].end) __builtin_trap();
        floor = found.items[i].end;
    }
    if (floor > size) __builtin_trap();
    ng_pii_spans_clear(&found);
    return 0;
}
