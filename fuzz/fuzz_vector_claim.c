/* fuzz_vector_claim.c: any bytes as an expert's second claim: refused with a reason, or every claim is a probability. */
#include "model/vector_claim.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ng_gguf *g;
    ng_vector_claim *c;
    ng_error err = {0};
    if (ng_gguf_open_memory(&g, data, size, "fuzz.gguf", &err)) return 0;
    ng_status s = ng_vector_claim_read(&c, g, &err);
    ng_gguf_close(g);
    if (s && !err.text[0]) abort(); /* a refusal says why */
    if (s) return 0;
    static const char digest[] = "00112233445566778899aabbccddeeff";
    float v[8] = {1, -1, 0.5f, 3e38f, -3e38f, 0, 1e-38f, 2};
    for (size_t n = 1; n <= 8; n++) {
        ng_error why = {0};
        if (!ng_vector_claim_fits(c, digest, n, &why)) {
            if (!why.text[0]) abort();
            continue;
        }
        double p = ng_vector_claim_apply(c, 0.5, v);
        if (!(p >= 0 && p <= 1)) abort();
    }
    ng_vector_claim_free(c);
    return 0;
}
