/* linear_features.c: hashed word and character n-grams.  See linear_features.h.
 *
 * The text is first normalised into an array of code points: lower case or accent folding as the
 * model asks, every run of white space one space, one space at either edge.  Then every n-gram is
 * hashed where it stands, as a slice of that array, so nothing is copied and no n-gram needs memory
 * of its own.  The kind and length of an n-gram seed its hash: the word "a" and the letter "a" are
 * different features.
 *
 * A decision asks several models about one text, and most of them read the same n-grams and differ in the number of buckets alone.  So
 * a thread remembers the hashes of the last short text, as many bits of each as the largest table needs: a model that reads it
 * again only shifts them.
 *
 * Hashing instead of a vocabulary (Weinberger et al. 2009, arXiv 0902.2206): a model is a matrix and
 * a few numbers, any text has features, and the cost does not depend on the vocabulary. */
#include "linear_features.h"

#include "core/hash.h"
#include "core/utf8.h"
#include "text/unicode.h"
#include <stdlib.h>
#include <string.h>

enum { WORD_SEED = 0x100, CHAR_SEED = 0x200, LAST_TEXT_MAX = 256, LAST_MAX = 6 * LAST_TEXT_MAX };

/* The last short text of this thread; what its hashes depend on: the text and all of the configuration but the bits. */
static _Thread_local struct last_text {
    ng_feature_config config;
    size_t len, n; /* len 0: none */
    char text[LAST_TEXT_MAX];
    uint32_t hashes[LAST_MAX]; /* [n], NG_FEATURE_BITS_MAX bits each */
} last_text;

ng_status ng_feature_config_check(const ng_feature_config *c, const char *what, ng_error *err) {
    if (c->bits < NG_FEATURE_BITS_MIN || c->bits > NG_FEATURE_BITS_MAX)
        return ng_fail(err, NG_EINVALID, "%s: %u bits of buckets; use %d to %d", what, c->bits,
                       NG_FEATURE_BITS_MIN, NG_FEATURE_BITS_MAX);
    if (c->word_max > NG_FEATURE_WORD_MAX)
        return ng_fail(err, NG_EINVALID, "%s: n-grams of %u words; use 0 to %d", what, c->word_max,
                       NG_FEATURE_WORD_MAX);
    if (c->char_max > NG_FEATURE_CHAR_MAX || (c->char_max && (!c->char_min || c->char_min > c->char_max)))
        return ng_fail(err, NG_EINVALID, "%s: n-grams of %u to %u characters; use 1 to %d, rising", what,
                       c->char_min, c->char_max, NG_FEATURE_CHAR_MAX);
    if (!c->word_max && !c->char_max)
        return ng_fail(err, NG_EINVALID, "%s: neither words nor characters; a text would have no features", what);
    return NG_OK;
}

void ng_features_clear(ng_features *f) {
    free(f->buckets);
    free(f->points);
    *f = (ng_features){0};
}

/* Room for the most that a text of len bytes can give: a code point a byte and the two edges. */
static ng_status reserve(ng_features *f, const ng_feature_config *c, size_t len, ng_error *err) {
    size_t points = len + 3;
    size_t kinds = c->word_max + (c->char_max ? c->char_max - c->char_min + 1 : 0);
    if (points > f->cap_points) {
        uint32_t *p = realloc(f->points, points * sizeof *p);
        if (!p) return ng_fail(err, NG_ENOMEM, "features: out of memory for a text of %zu bytes", len);
        f->points = p;
        f->cap_points = points;
    }
    if (points * kinds > f->cap_buckets) {
        uint32_t *p = realloc(f->buckets, points * kinds * sizeof *p);
        if (!p) return ng_fail(err, NG_ENOMEM, "features: out of memory for a text of %zu bytes", len);
        f->buckets = p;
        f->cap_buckets = points * kinds;
    }
    return NG_OK;
}

/* Appends what one code point of `room` bytes becomes; at most `room` code points, so that the array
 * can never be too small (no decomposition in Unicode needs more). */
static size_t put_point(uint32_t *out, uint32_t cp, size_t room, const ng_feature_config *c) {
    uint32_t several[NG_UNICODE_FOLD_MAX];
    if (!c->fold) {
        *out = c->lower ? ng_unicode_lower(cp) : cp;
        return 1;
    }
    uint32_t one = ng_unicode_fold(cp);
    if (one == NG_UNICODE_NONE) return 0;
    if (one != NG_UNICODE_SEVERAL) {
        *out = one;
        return 1;
    }
    size_t n = ng_unicode_fold_all(cp, several);
    for (size_t i = 0; i < n && i < room; i++) out[i] = several[i];
    return n < room ? n : room;
}

static void normalise(ng_features *f, const ng_feature_config *c, const char *text, size_t len) {
    uint32_t *out = f->points;
    size_t n = 0;
    out[n++] = ' ';
    for (size_t i = 0, step; i < len; i += step) {
        uint32_t cp;
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x80) {
            step = 1;
            cp = byte;
        } else {
            step = ng_utf8_decode(&cp, text + i, len - i);
        }
        if (cp <= ' ' || (cp >= 0x80 && (ng_unicode(cp) & NG_U_SPACE))) {
            if (out[n - 1] != ' ') out[n++] = ' ';
        } else {
            n += put_point(out + n, cp, step, c);
        }
    }
    if (out[n - 1] != ' ') out[n++] = ' ';
    f->n_points = n;
}

static uint32_t top_bits(uint64_t h) { return (uint32_t)(h >> (64 - NG_FEATURE_BITS_MAX)); }

static bool is_word_point(uint32_t cp) {
    if (cp < 0x80) return (cp | 32) - 'a' < 26 || cp - '0' < 10;
    return (ng_unicode(cp) & (NG_U_LETTER | NG_U_NUMBER | NG_U_MARK)) && !(ng_unicode(cp) & NG_U_CJK);
}

/* The end of the word at points[i], which is no space: a run of letters, digits and inner
 * apostrophes, or a single sign or ideograph. */
static size_t word_end(const uint32_t *p, size_t i) {
    if (!is_word_point(p[i])) return i + 1;
    for (i++;; i++) /* the final space stops it */
        if (!is_word_point(p[i]) && !((p[i] == '\'' || p[i] == 0x2019) && is_word_point(p[i + 1]))) return i;
}

/* One step of a hash that grows code point by code point, so that the n-grams that begin at one place
 * share their prefixes' work; ng_hash_mix ends it. */
static uint64_t grow(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
    return h ^ (h >> 32);
}

static void add_words(ng_features *f, const ng_feature_config *c) {
    uint64_t last[NG_FEATURE_WORD_MAX] = {0}; /* hashes of the newest words, newest first */
    size_t n_last = 0;
    for (size_t i = 1, end; i < f->n_points; i = end) {
        if (f->points[i] == ' ') {
            end = i + 1;
            continue;
        }
        uint64_t h = WORD_SEED;
        end = word_end(f->points, i);
        for (size_t k = i; k < end; k++) h = grow(h, f->points[k]);
        for (size_t k = c->word_max - 1; k > 0; k--) last[k] = last[k - 1];
        last[0] = ng_hash_mix(h);
        if (n_last < c->word_max) n_last++;
        h = 0;
        for (size_t n = 0; n < n_last; n++) {
            h = n ? grow(h, last[n]) : last[0];
            f->buckets[f->n_buckets++] = top_bits(n ? ng_hash_mix(h + n) : h);
        }
    }
}

/* Every n-gram of the slice [begin, end), which has a space at either edge. */
static void add_slice(ng_features *f, const ng_feature_config *c, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        uint64_t h = CHAR_SEED;
        for (size_t n = 1; n <= c->char_max && i + n <= end; n++) {
            h = grow(h, f->points[i + n - 1]);
            if (n < c->char_min || (n == 1 && f->points[i] == ' ')) continue;
            f->buckets[f->n_buckets++] = top_bits(ng_hash_mix(h + n));
        }
    }
}

static void add_chars(ng_features *f, const ng_feature_config *c) {
    if (f->n_points < 2) return;
    if (c->cross) {
        add_slice(f, c, 0, f->n_points);
        return;
    }
    for (size_t begin = 0; begin + 1 < f->n_points;) {
        size_t end = begin + 1;
        while (f->points[end] != ' ') end++;
        add_slice(f, c, begin, end + 1);
        begin = end;
    }
}

static bool reads_alike(const ng_feature_config *a, const ng_feature_config *b) {
    return a->word_max == b->word_max && a->char_min == b->char_min && a->char_max == b->char_max && a->lower == b->lower &&
           a->fold == b->fold && a->cross == b->cross;
}

/* Hashes, as many as there is room for, of a text that is not remembered. */
static void hash_all(ng_features *f, const ng_feature_config *c, const char *text, size_t len) {
    normalise(f, c, text, len);
    if (c->word_max) add_words(f, c);
    if (c->char_max) add_chars(f, c);
}

static void remember(const ng_features *f, const ng_feature_config *c, const char *text, size_t len) {
    struct last_text *last = &last_text;
    if (!len || len > LAST_TEXT_MAX || f->n_buckets > LAST_MAX) return;
    last->config = *c;
    last->len = len;
    last->n = f->n_buckets;
    memcpy(last->text, text, len);
    memcpy(last->hashes, f->buckets, f->n_buckets * sizeof *f->buckets);
}

static bool recall(ng_features *f, const ng_feature_config *c, const char *text, size_t len) {
    const struct last_text *last = &last_text;
    if (!last->len || last->len != len || !reads_alike(&last->config, c) || memcmp(last->text, text, len) != 0) return false;
    memcpy(f->buckets, last->hashes, last->n * sizeof *f->buckets);
    f->n_buckets = last->n;
    return true;
}

ng_status ng_features_extract(ng_features *f, const ng_feature_config *c, const char *text, size_t len,
                              ng_error *err) {
    f->n_buckets = f->n_points = 0;
    if (len > NG_FEATURE_TEXT_MAX)
        return ng_fail(err, NG_ELIMIT, "the text has %zu bytes; a linear model reads at most %d", len,
                       NG_FEATURE_TEXT_MAX);
    ng_status s = reserve(f, c, len, err);
    if (s) return s;
    if (!recall(f, c, text, len)) {
        hash_all(f, c, text, len);
        remember(f, c, text, len);
    }
    for (size_t i = 0; i < f->n_buckets; i++) f->buckets[i] >>= NG_FEATURE_BITS_MAX - c->bits;
    return NG_OK;
}
