/* plain.c: see plain.h.
 *
 * One pass over the bytes finds out whether anything could need a change; most texts end there.  The second works a word
 * at a time, because a look-alike is only one among Latin letters: a Russian word is left alone, and so is a Latin word with
 * a letter that has no double.  The rules are conservative on purpose: what they change was either invisible or looks the
 * same afterwards. */
#include "plain.h"

#include "core/utf8.h"
#include "unicode.h"
#include <string.h>

enum { RUN_MIN = 3, WORD_MAX = 512 };

/* Latin doubles of U+0391..U+03C9 (Greek) and U+0405..U+0475 (Cyrillic). */
static const struct {
    uint16_t cp;
    char latin;
} doubles[] = {{0x391, 'A'}, {0x392, 'B'}, {0x395, 'E'}, {0x396, 'Z'}, {0x397, 'H'}, {0x399, 'I'}, {0x39A, 'K'},
               {0x39C, 'M'}, {0x39D, 'N'}, {0x39F, 'O'}, {0x3A1, 'P'}, {0x3A4, 'T'}, {0x3A5, 'Y'}, {0x3A7, 'X'},
               {0x3B1, 'a'}, {0x3B9, 'i'}, {0x3BD, 'v'}, {0x3BF, 'o'}, {0x3C1, 'p'}, {0x3C5, 'u'}, {0x3C7, 'x'},
               {0x405, 'S'}, {0x406, 'I'}, {0x408, 'J'}, {0x410, 'A'}, {0x412, 'B'}, {0x415, 'E'}, {0x41A, 'K'},
               {0x41C, 'M'}, {0x41D, 'H'}, {0x41E, 'O'}, {0x420, 'P'}, {0x421, 'C'}, {0x422, 'T'}, {0x423, 'Y'},
               {0x425, 'X'}, {0x430, 'a'}, {0x435, 'e'}, {0x43A, 'k'}, {0x43E, 'o'}, {0x440, 'p'}, {0x441, 'c'},
               {0x443, 'y'}, {0x445, 'x'}, {0x455, 's'}, {0x456, 'i'}, {0x458, 'j'}, {0x475, 'v'}};

static char double_of(uint32_t cp) {
    for (size_t i = 0; cp >= 0x391 && cp <= 0x475 && i < sizeof doubles / sizeof doubles[0]; i++)
        if (doubles[i].cp == cp) return doubles[i].latin;
    return 0;
}

static bool is_invisible(uint32_t cp) {
    return cp == 0xAD || cp == 0x34F || cp == 0x61C || cp == 0x180E || (cp >= 0x200B && cp <= 0x200F) ||
           (cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2060 && cp <= 0x2064) || (cp >= 0x2066 && cp <= 0x206F) ||
           cp == 0xFEFF || (cp >= 0xFE00 && cp <= 0xFE0F) || (cp >= 0xE0000 && cp <= 0xE01EF);
}

static bool is_ascii_punct(unsigned char c) {
    return (c > ' ' && c < '0') || (c > '9' && c < 'A') || (c > 'Z' && c < 'a') || (c > 'z' && c < 0x7F);
}

/* Lead bytes of everything that may change, and runs of punctuation. */
static bool may_change(const char *text, size_t len) {
    const unsigned char *t = (const unsigned char *)text;
    for (size_t i = 0; i < len; i++) {
        if (t[i] >= 0xC2 && (t[i] == 0xC2 || t[i] == 0xCD || (t[i] >= 0xCE && t[i] <= 0xD8) || t[i] == 0xE1 ||
                             t[i] == 0xE2 || t[i] == 0xEF || t[i] == 0xF3))
            return true;
        if (i + 2 < len && t[i] == t[i + 1] && t[i] == t[i + 2] && is_ascii_punct(t[i])) return true;
    }
    return false;
}

static uint32_t narrow(uint32_t cp) {
    return cp >= 0xFF01 && cp <= 0xFF5E ? cp - 0xFEE0 : cp == 0x3000 ? ' ' : cp;
}

typedef struct cleaner {
    ng_buf *out;
    size_t from; /* where this text begins in out */
    bool dense;  /* most letters are Latin: a word of nothing but doubles is Latin too */
} cleaner;

static void put(cleaner *c, uint32_t cp) {
    char b[4];
    if (cp < 0x80) {
        ng_buf_putc(c->out, (char)cp);
        return;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; cp >>= 6) b[i] = (char)(0x80 | (cp & 0x3F));
    b[0] = (char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | cp);
    ng_buf_put(c->out, b, n);
}

/* A run of letters: doubles become Latin when every other letter is. */
static void put_word(cleaner *c, const uint32_t *word, size_t n) {
    size_t latin = 0, twins = 0;
    for (size_t i = 0; i < n; i++) {
        latin += word[i] < 0x80;
        twins += double_of(word[i]) != 0;
    }
    bool change = twins && latin + twins == n && (latin || c->dense);
    for (size_t i = 0; i < n; i++) {
        char d = change ? double_of(word[i]) : 0;
        put(c, d ? (uint32_t)(unsigned char)d : word[i]);
    }
}

/* The next visible code point, full width made narrow; 0 at the end.  Invisible ones beside ASCII are passed over. */
static uint32_t next(const char *text, size_t len, size_t *i, uint32_t before) {
    while (*i < len) {
        uint32_t cp, after = 0;
        *i += ng_utf8_decode(&cp, text + *i, len - *i);
        if (!is_invisible(cp)) return narrow(cp);
        if (*i < len) (void)ng_utf8_decode(&after, text + *i, len - *i);
        bool beside = before < 0x80 || after < 0x80 || is_invisible(after) || narrow(after) < 0x80 || double_of(before);
        if (!beside) return cp;
    }
    return 0;
}

static size_t run_of(const char *text, size_t len, size_t i, uint32_t mark, uint32_t *after) {
    size_t n = 1;
    uint32_t cp = 0;
    while (i < len) {
        size_t step = ng_utf8_decode(&cp, text + i, len - i);
        if (narrow(cp) != mark) break;
        i += step;
        n++;
        cp = 0;
    }
    *after = narrow(cp);
    return n;
}

static bool mostly_latin(const char *text, size_t len) {
    size_t latin = 0, twins = 0, others = 0;
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        i += ng_utf8_decode(&cp, text + i, len - i);
        cp = narrow(cp);
        if (!(ng_unicode(cp) & NG_U_LETTER)) continue;
        if (cp < 0x80) latin++;
        else if (double_of(cp)) twins++;
        else others++;
    }
    return latin > twins && latin > 4 * others;
}

static void clean(cleaner *c, const char *text, size_t len) {
    uint32_t word[WORD_MAX], cp, before = ' ';
    size_t n = 0;
    for (size_t i = 0; (cp = next(text, len, &i, before)); before = cp) {
        if (ng_unicode(cp) & (NG_U_LETTER | NG_U_MARK)) {
            if (n == WORD_MAX) put_word(c, word, n), n = 0;
            word[n++] = cp;
            continue;
        }
        put_word(c, word, n);
        n = 0;
        uint32_t after = 0;
        size_t run = cp < 0x80 && is_ascii_punct((unsigned char)cp) ? run_of(text, len, i, cp, &after) : 1;
        if (run < RUN_MIN) {
            put(c, cp);
            continue;
        }
        bool alone = (before == ' ' || before == '\n' || before == '\t') &&
                     (!after || after == ' ' || after == '\n' || after == '\t');
        if (!alone) put(c, cp);
        for (; run > 1; run--) i += ng_utf8_decode(&after, text + i, len - i);
        if (alone) cp = before; /* a second run behind it stands alone too */
    }
    put_word(c, word, n);
}

bool ng_text_plain(ng_buf *out, const char *text, size_t len) {
    if (!may_change(text, len)) return false;
    cleaner c = {.out = out, .from = out->len, .dense = mostly_latin(text, len)};
    clean(&c, text, len);
    size_t made = out->len - c.from;
    bool same = made == len && !memcmp(out->data + c.from, text, len);
    if (!out->status && made && !same) return true;
    out->len = c.from; /* nothing visible is left, nothing changed, or no memory: the text itself */
    return false;
}
