/* fuzz_shortener.c: any bytes as a sentence: words lie in the text, in order; buckets and beliefs are in range; what is written
 * is no longer than the text and its final mark. */
#include "core/hash.h"
#include "model/shortener.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok) {
    if (!ok) abort();
}

static void check(const ng_brief *b, const char *text, size_t size) {
    double(*score)[2] = calloc(8 * b->len + 1, sizeof **score), (*pair)[2] = score + b->len;
    float p[NG_BRIEF_WORDS_MAX];
    bool keep[NG_BRIEF_WORDS_MAX];
    uint32_t f[NG_BRIEF_FEATURES_MAX];
    size_t at = 0;
    must(score != NULL);
    for (size_t i = 0; i < b->len; i++) {
        const ng_brief_word *w = &b->words[i];
        must(w->start >= at && w->start < w->end && w->end <= size);
        at = w->end;
        size_t n = ng_brief_features(b, i, f);
        must(n > 0 && n <= NG_BRIEF_FEATURES_MAX);
        for (size_t k = 0; k < n; k++) must(f[k] < NG_BRIEF_BUCKETS);
        for (size_t k = 0; k < 2; k++) score[i][k] = (double)(ng_hash_mix(f[k + 1]) % 4001) / 100 - 20;
    }
    ng_brief_pass(pair, score, b->len, &score[2 * b->len][0]);
    for (size_t i = 0; i < b->len; i++) {
        double sum = pair[i][0] + pair[i][1];
        must(sum >= 0 && sum < 1 + 1e-6);
        p[i] = (float)sum;
    }
    ng_brief_choose(keep, p, b->len, size % 7);
    ng_buf out = ng_buf_init(2 * size + 64);
    ng_brief_write(&out, b, text, keep);
    must(!out.status && out.len <= size + 1);
    ng_buf_clear(&out);
    free(score);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ng_brief *b;
    ng_error err = {0};
    ng_status s = ng_brief_new(&b, (const char *)data, size, &err);
    must(s == NG_OK || s == NG_ELIMIT);
    if (!s) check(b, (const char *)data, size);
    ng_brief_free(s ? NULL : b);
    return 0;
}
