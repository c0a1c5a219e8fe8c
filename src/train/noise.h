/* noise.h: a test text as careless or evasive people write it, to measure what that costs.
 *
 *     ng_noise kind;
 *     if (!ng_noise_parse(&kind, "leetspeak")) ..
 *     ng_noise_apply(kind, text, len, &buf);             replaces what buf holds
 *
 * The same text always gets the same noise. */
#ifndef NG_TRAIN_NOISE_H
#define NG_TRAIN_NOISE_H

#include <nanogrid/buf.h>

typedef enum ng_noise {
    NG_NOISE_NONE,
    NG_NOISE_TYPOS,      /* in 30 % of the words a letter is dropped, doubled or swapped with the next */
    NG_NOISE_SPACING,    /* 30 % of the words are s p a c e d */
    NG_NOISE_HOMOGLYPHS, /* 30 % of the letters that have one become a Cyrillic twin */
    NG_NOISE_LEETSPEAK   /* half of the letters a e i o s t become 4 3 1 0 5 7 */
} ng_noise;

bool ng_noise_parse(ng_noise *out, const char *name); /* "typos", .. */
ng_status ng_noise_apply(ng_noise kind, const char *text, size_t len, ng_buf *out) NG_MUST_USE;

#endif
