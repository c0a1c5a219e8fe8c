/* feature_blob.c: see feature_blob.h.
 *
 * Sorted buckets are written as steps: at 24 bits and 200 features a step takes three bytes and a
 * count one, where plain numbers would take six.  The reader trusts nothing: a blob comes from a
 * database that others may have written. */
#include "feature_blob.h"

#include <stdlib.h>
#include <string.h>

enum { BITS = NG_FEATURE_BITS_MAX, COUNT_MAX = 65535, BUCKETS_MAX = 1 << 22 };

static unsigned flags_of(const ng_feature_config *c) {
    return 1u * c->lower + 2u * c->fold + 4u * c->cross;
}

static bool same_kind(const ng_feature_config *a, const ng_feature_config *b) {
    return a->word_max == b->word_max && a->char_max == b->char_max &&
           (!a->char_max || a->char_min == b->char_min) && flags_of(a) == flags_of(b);
}

size_t ng_feature_configs_add(ng_feature_config *list, size_t n, size_t max,
                              const ng_feature_config *c) {
    for (size_t i = 0; i < n; i++)
        if (same_kind(&list[i], c)) return n;
    if (n < max) list[n++] = *c;
    return n;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void put_varint(ng_buf *out, uint32_t v) {
    for (; v >= 128; v >>= 7) ng_buf_putc(out, (char)(v | 128));
    ng_buf_putc(out, (char)v);
}

static void put_section(ng_buf *out, const ng_feature_config *c, ng_features *f) {
    uint32_t n_pairs = 0, last = 0;
    qsort(f->buckets, f->n_buckets, sizeof *f->buckets, by_value);
    for (size_t i = 0; i < f->n_buckets; i++)
        n_pairs += i == 0 || f->buckets[i] != f->buckets[i - 1];
    ng_buf_putc(out, (char)c->word_max), ng_buf_putc(out, (char)c->char_min);
    ng_buf_putc(out, (char)c->char_max), ng_buf_putc(out, (char)flags_of(c));
    put_varint(out, n_pairs);
    for (size_t i = 0, end; i < f->n_buckets; i = end) {
        for (end = i + 1; end < f->n_buckets && f->buckets[end] == f->buckets[i];) end++;
        put_varint(out, f->buckets[i] - last);
        put_varint(out, end - i < COUNT_MAX ? (uint32_t)(end - i) : COUNT_MAX);
        last = f->buckets[i];
    }
}

ng_status ng_feature_blob_put(ng_buf *out, ng_features *scratch, const ng_feature_config *list,
                              size_t n, const char *text, size_t len) {
    size_t before = out->len;
    ng_status s = NG_OK;
    ng_buf_put(out, "NGF2", 4);
    ng_buf_putc(out, (char)n);
    for (size_t i = 0; !s && i < n; i++) {
        ng_feature_config c = list[i];
        c.bits = BITS;
        s = ng_features_extract(scratch, &c, text, len, NULL);
        if (!s) put_section(out, &c, scratch);
    }
    if (!s) s = out->status;
    if (s && !out->status) out->len = before;
    return s;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

static bool get_byte(cursor *c, uint32_t *out) {
    if (c->at == c->end) return false;
    *out = *c->at++;
    return true;
}

static bool get_varint(cursor *c, uint32_t *out) {
    uint32_t v = 0, byte = 128;
    for (int shift = 0; byte & 128; shift += 7) {
        if (shift > 28 || !get_byte(c, &byte)) return false;
        v |= (byte & 127) << shift;
    }
    *out = v;
    return true;
}

static bool add_buckets(ng_features *f, uint32_t bucket, uint32_t count) {
    if (f->n_buckets + count > BUCKETS_MAX) return false;
    if (f->n_buckets + count > f->cap_buckets) {
        size_t cap = (f->n_buckets + count) * 2;
        uint32_t *p = realloc(f->buckets, cap * sizeof *p);
        if (!p) return false;
        f->buckets = p;
        f->cap_buckets = cap;
    }
    for (uint32_t i = 0; i < count; i++) f->buckets[f->n_buckets++] = bucket;
    return true;
}

/* Reads the section at the cursor; into f where it is wanted. */
static bool get_section(cursor *c, ng_features *f, const ng_feature_config *want, bool *found) {
    uint32_t head[4], n, bucket = 0;
    for (int i = 0; i < 4; i++)
        if (!get_byte(c, &head[i])) return false;
    ng_feature_config is = {.word_max = head[0],
                            .char_min = head[1],
                            .char_max = head[2],
                            .lower = head[3] & 1,
                            .fold = head[3] & 2,
                            .cross = head[3] & 4};
    *found = same_kind(&is, want);
    if (!get_varint(c, &n)) return false;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t step, count;
        if (!get_varint(c, &step) || !get_varint(c, &count) || !count || count > COUNT_MAX)
            return false;
        if ((i && !step) || step >= (1u << BITS) - bucket) return false;
        bucket += step;
        if (*found && !add_buckets(f, bucket >> (BITS - want->bits), count)) return false;
    }
    return true;
}

ng_status ng_feature_blob_get(ng_features *f, const ng_feature_config *c, const void *blob,
                              size_t len, ng_error *err) {
    cursor at = {blob, (const uint8_t *)blob + len};
    uint32_t n = 0;
    f->n_buckets = f->n_points = 0;
    if (len < 5 || memcmp(blob, "NGF2", 4) != 0)
        return ng_fail(err, NG_ENOTFOUND, "the decision was recorded without features for this");
    at.at += 4;
    get_byte(&at, &n);
    for (uint32_t i = 0; i < n; i++) {
        bool found = false;
        if (!get_section(&at, f, c, &found))
            return ng_fail(err, NG_EFORMAT, "the recorded features are damaged at byte %zu",
                           (size_t)(at.at - (const uint8_t *)blob));
        if (found) return NG_OK;
    }
    return ng_fail(err, NG_ENOTFOUND, "the decision was recorded without features for this model");
}
