/* fuzz_spelling.c: any bytes as a list of words: refused with a reason, or texts come out whole. */
#include "model/spelling.h"

#include <nanogrid/text.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const texts[] = {"", "teh quick brwon fox jumps ovre the lazy dgo", "a b c",
                                        "don't \xC3\xA9 42 aa@b.cc , ,, x", "wher is my crad i cant fnid it anywere"};
    ng_spelling *s;
    ng_error err = {0};
    if (ng_spelling_open_memory(&s, data, size, "fuzz.gguf", &err)) {
        if (!err.text[0]) abort(); /* a refusal says why */
        return 0;
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ng_buf b = ng_buf_init(4096);
        bool changed = ng_spelling_fix(s, &b, texts[i], strlen(texts[i]));
        if (!changed && b.len) abort();
        if (changed && ng_utf8_invalid_at(b.data, b.len) < b.len) abort();
        ng_buf_clear(&b);
    }
    ng_spelling_close(s);
    return 0;
}
