/* utf8.c: RFC 3629, table 3-7 of the Unicode Standard.  See utf8.h. */
#include "utf8.h"

size_t ng_utf8_sequence(const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    if (!len) return 0;
    unsigned char c = s[0];
    if (c < 0x80) return 1;
    size_t n = c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
    if (!n || n > len) return 0;
    unsigned char lo = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    unsigned char hi = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < lo || s[1] > hi) return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    return n;
}

size_t ng_utf8_decode(uint32_t *cp, const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    switch (ng_utf8_sequence(text, len)) {
    case 1: *cp = s[0]; return 1;
    case 2: *cp = (s[0] & 0x1Fu) << 6 | (s[1] & 0x3Fu); return 2;
    case 3: *cp = (s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu); return 3;
    case 4: *cp = (s[0] & 0x07u) << 18 | (s[1] & 0x3Fu) << 12 | (s[2] & 0x3Fu) << 6 | (s[3] & 0x3Fu); return 4;
    default: *cp = NG_UTF8_REPLACEMENT; return 1;
    }
}

size_t ng_utf8_encode(char out[4], uint32_t cp) {
    if (cp < 0x80) return out[0] = (char)cp, 1;
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n - 1; i > 0; i--, cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)(lead[n] | cp);
    return n;
}

size_t ng_utf8_tail(const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = s[len - back];
        if (c < 0x80) return 0;
        if (c >= 0xC0) { /* a lead byte: is its sequence longer than what is here? */
            size_t n = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
            return c >= 0xC2 && c < 0xF5 && n > back ? back : 0;
        }
    }
    return 0;
}

size_t ng_utf8_invalid_at(const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        size_t n = ng_utf8_sequence(text + i, len - i);
        if (!n) return i;
        i += n;
    }
    return len;
}
