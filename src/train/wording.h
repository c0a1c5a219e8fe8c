/* wording.h: one of several wordings, drawn.
 *
 *     size_t len = 5;
 *     const char *s = ng_wording_draw("a|b|c", &len, '|', &rng);       "a", "b" or "c", each as often; len 1
 *
 * Any wording may be empty.  One number is drawn, also where there is one wording alone. */
#ifndef NG_TRAIN_WORDING_H
#define NG_TRAIN_WORDING_H

#include "core/hash.h"
#include <string.h>

/* Points into s[*len]. */
static inline const char *ng_wording_draw(const char *s, size_t *len, char separator, ng_rng *rng) {
    uint32_t n = 1;
    for (size_t i = 0; i < *len; i++) n += s[i] == separator;
    size_t at = 0;
    for (uint32_t skip = ng_rng_below(rng, n); skip; at++) skip -= s[at] == separator;
    const char *end = memchr(s + at, separator, *len - at);
    *len = end ? (size_t)(end - s) - at : *len - at;
    return s + at;
}

#endif
