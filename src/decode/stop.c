/* stop.c: see stop.h.  At most 16 texts of 256 bytes against a held-back tail of at most 255 bytes
 * and one new token: plain comparison beats building an automaton for each request. */
#include "stop.h"

#include <string.h>

void ng_stop_init(ng_stop *s, const char *const *texts, size_t n) {
    *s = (ng_stop){.texts = texts, .n = n};
}

/* The length of the shortest stop text that stands at text[0..len), or 0; *begins tells whether
 * text[0..len) as a whole is the beginning of a longer one. */
static size_t match_at(const ng_stop *s, const char *text, size_t len, bool *begins) {
    size_t shortest = 0;
    *begins = false;
    for (size_t i = 0; i < s->n; i++) {
        size_t want = strlen(s->texts[i]), both = want < len ? want : len;
        if (memcmp(s->texts[i], text, both)) continue;
        if (want > len) *begins = true;
        else if (!shortest || want < shortest) shortest = want;
    }
    return shortest;
}

/* Of several stop texts the one that is complete first counts (and of those the longest), so that
 * the answer does not depend on how the text was cut into tokens. */
bool ng_stop_scan(ng_stop *s, const char *text, size_t len, size_t *sure) {
    size_t held = len, hit = len, hit_end = len + 1;
    for (size_t i = s->sure; i < len; i++) {
        bool begins;
        size_t n = match_at(s, text + i, len - i, &begins);
        if (begins && held == len) held = i;
        if (n && i + n < hit_end) hit = i, hit_end = i + n;
    }
    s->sure = *sure = hit_end <= len ? hit : held;
    return hit_end <= len;
}
