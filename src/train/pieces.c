/* pieces.c: see pieces.h.  What is drawn is a run of words, so that what stands together in a language stays together. */
#include "pieces.h"

#include "core/utf8.h"
#include "text/unicode.h"
#include <string.h>

static size_t spaces(const char *s, size_t len) {
    size_t n = 0;
    while (n < len && s[n] == ' ') n++;
    return n;
}

static size_t word(const char *s, size_t len) {
    const char *end = memchr(s, ' ', len);
    return end ? (size_t)(end - s) : len;
}

/* Adds a word without the signs around it; returns its letters. */
static size_t put_word(ng_buf *out, const char *s, size_t len) {
    size_t first = len, end = 0, letters = 0;
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t cp;
        n = ng_utf8_decode(&cp, s + i, len - i);
        uint32_t kind = ng_unicode(cp);
        letters += (kind & NG_U_LETTER) != 0;
        if (!(kind & (NG_U_LETTER | NG_U_NUMBER | NG_U_MARK))) continue;
        if (first == len) first = i;
        end = i + n;
    }
    if (end > first) ng_buf_put(out, s + first, end - first);
    return letters;
}

bool ng_piece_set(ng_buf *out, const char *text, size_t len, size_t n_words, ng_rng *rng) {
    size_t n = 0, at = 0, letters = 0;
    ng_buf_reset(out);
    for (size_t i = spaces(text, len); i < len; i += spaces(text + i, len - i), n++) i += word(text + i, len - i);
    if (!n_words || n < 2 * n_words) return false;
    size_t skip = ng_rng_below(rng, (uint32_t)(n - n_words + 1));
    for (size_t k = 0; k < skip + n_words; k++) {
        at += spaces(text + at, len - at);
        size_t w = word(text + at, len - at);
        if (k > skip) ng_buf_putc(out, ' ');
        if (k >= skip) letters += put_word(out, text + at, w);
        at += w;
    }
    return letters >= 2;
}
