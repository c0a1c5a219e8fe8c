/* fuzz_feature_blob.c: any bytes as a record's features: an error, or buckets within their range. */
#include "model/feature_blob.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ng_feature_config kinds[] = {
        {.bits = 18, .word_max = 2, .char_min = 3, .char_max = 5, .lower = true, .cross = true},
        {.bits = 24, .word_max = 1, .char_min = 1, .char_max = 4, .lower = true}};
    ng_features f = {0};
    for (int i = 0; i < 2; i++) {
        if (ng_feature_blob_get(&f, &kinds[i], data, size, NULL)) continue;
        for (size_t k = 0; k < f.n_buckets; k++)
            if (f.buckets[k] >> kinds[i].bits || (k && f.buckets[k] < f.buckets[k - 1])) abort();
    }
    ng_features_clear(&f);
    return 0;
}
