/* fuzz_confidence.c: any bytes as what judges a generator: refused with a reason, or every estimate is a probability. */
#include "decode/confidence.h"
#include "gguf/gguf.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ng_model_info model = {.n_layer = 6, .n_embd = 4};
    ng_gguf *g;
    ng_confidence *c;
    ng_evidence e;
    ng_error err = {0};
    if (ng_gguf_open_memory(&g, data, size, "fuzz.gguf", &err)) return 0;
    ng_status s = ng_confidence_read(&c, g, &model, "0123456789abcdef0123456789abcdef", &err);
    ng_gguf_close(g);
    if (s && !err.text[0]) abort(); /* a refusal says why */
    if (s) return 0;
    float hidden[4 * NG_CONFIDENCE_TAPS_MAX];
    if (ng_evidence_init(&e, c, 8)) abort();
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < 4 * NG_CONFIDENCE_TAPS_MAX; k++) hidden[k] = (float)(i * k % 7) * 1e6f;
        ng_evidence_add(&e, &(ng_distribution){.entropy = (float)i, .margin = 0.5f}, -(float)i, hidden);
        float p = ng_confidence_of(&e, 9, (size_t)i);
        if (!(p >= 0 && p <= 1)) abort();
    }
    ng_evidence_clear(&e);
    ng_confidence_free(c);
    return 0;
}
