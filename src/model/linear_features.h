/* linear_features.h: a text as a bag of hashed words and character n-grams.
 *
 *     ng_features f = {0};
 *     ng_feature_config c = {.bits = 18, .word_max = 2, .char_min = 3, .char_max = 5, .lower = true};
 *     if (ng_features_extract(&f, &c, text, len, &err)) ..
 *     for (size_t i = 0; i < f.n_buckets; i++) use(f.buckets[i]);      repeats count
 *     ng_features_clear(&f);
 *
 * Any bytes are accepted: an invalid one is U+FFFD.  The same text gives the same buckets in the same
 * order on every machine.  Memory grows to the longest text seen and is reused. */
#ifndef NG_MODEL_LINEAR_FEATURES_H
#define NG_MODEL_LINEAR_FEATURES_H

#include <nanogrid/status.h>

enum {
    NG_FEATURE_BITS_MIN = 6,
    NG_FEATURE_BITS_MAX = 24,
    NG_FEATURE_WORD_MAX = 4,
    NG_FEATURE_CHAR_MAX = 8,
    NG_FEATURE_TEXT_MAX = 4 << 20, /* bytes; a longer text is NG_ELIMIT */
};

typedef struct ng_feature_config {
    uint32_t bits;               /* 2^bits buckets */
    uint32_t word_max;           /* n-grams of 1..word_max words; 0: none */
    uint32_t char_min, char_max; /* n-grams of code points; char_max 0: none */
    bool lower;                  /* case does not count */
    bool fold;                   /* nor do accents (implies lower) */
    bool cross;                  /* character n-grams may span words; else a word with its two edges */
} ng_feature_config;

typedef struct ng_features {
    uint32_t *buckets; /* [n_buckets] */
    size_t n_buckets;
    uint32_t *points;  /* scratch: [n_points], the normalised text, one space at each edge and between words */
    size_t n_points;
    size_t cap_buckets, cap_points;
} ng_features;

/* NG_EINVALID naming the field; `what` begins the sentence. */
ng_status ng_feature_config_check(const ng_feature_config *c, const char *what,
                                  ng_error *err) NG_MUST_USE;
ng_status ng_features_extract(ng_features *f, const ng_feature_config *c, const char *text, size_t len,
                              ng_error *err) NG_MUST_USE;
void ng_features_clear(ng_features *f);

#endif
