/* record_features.c: see record_features.h. */
#include "record_features.h"

#include <stdlib.h>

enum { TEXT_MAX = 64 << 10, BUCKETS_MAX = 65535 };

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void put_le(ng_buf *out, uint32_t v, int bytes) {
    for (int i = 0; i < bytes; i++) ng_buf_putc(out, (char)(v >> 8 * i));
}

static void put_counts(ng_buf *out, const uint32_t *buckets, size_t n) {
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && buckets[end] == buckets[i];) end++;
        put_le(out, buckets[i], 4);
        put_le(out, end - i < 65535 ? (uint32_t)(end - i) : 65535, 2);
    }
}

static size_t count_unique(const uint32_t *buckets, size_t n) {
    size_t unique = n > 0;
    for (size_t i = 1; i < n; i++) unique += buckets[i] != buckets[i - 1];
    return unique;
}

void ng_record_features(void *ctx, const ng_record *r, ng_buf *out) {
    static const ng_feature_config c = {
        .bits = 18, .word_max = 2, .char_min = 3, .char_max = 5, .lower = true, .cross = true};
    ng_features *f = ctx;
    if (!r->text || r->text_len > TEXT_MAX ||
        ng_features_extract(f, &c, r->text, r->text_len, NULL))
        return;
    qsort(f->buckets, f->n_buckets, sizeof *f->buckets, by_value);
    size_t n = count_unique(f->buckets, f->n_buckets);
    if (n > BUCKETS_MAX) return;
    ng_buf_put(out, "NGF1", 4);
    const uint32_t head[] = {c.bits, c.word_max, c.char_min, c.char_max,
                             1u * c.lower + 2u * c.fold + 4u * c.cross};
    for (int i = 0; i < 5; i++) put_le(out, head[i], 1);
    put_le(out, 0, 3);
    put_le(out, (uint32_t)n, 4);
    put_counts(out, f->buckets, f->n_buckets);
}
