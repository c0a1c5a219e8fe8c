/* words.c: see words.h.
 *
 * One pass, one code point of look-ahead.  A word begins at a letter, mark or digit; it goes on over
 * letters, marks, digits and underscores, and over one joining character when what stands on both
 * sides fits (UAX #29 rules WB6/7 for letters and WB11/12 for digits). */
#include "words.h"

#include "core/utf8.h"
#include "unicode.h"

static bool is_alone(uint32_t cp) {
    return (cp >= 0x3041 && cp <= 0x309F) || /* Hiragana */
           (ng_unicode(cp) & NG_U_CJK) != 0;
}

static bool joins_letters(uint32_t cp) {
    return cp == '\'' || cp == 0x2019 || cp == 0x2018 || cp == 0xB7 || cp == 0x387 || cp == 0x5F4 ||
           cp == 0x2027;
}

static bool joins_digits(uint32_t cp) {
    return cp == '.' || cp == ',' || cp == '\'' || cp == 0x2019 || cp == 0x66B || cp == 0x66C;
}

/* Format characters inside words (soft hyphen, joiners) belong to the word. */
static bool is_glue(uint32_t cp) {
    return cp == 0xAD || cp == 0x200C || cp == 0x200D || cp == 0x2060 || (cp >= 0xFE00 && cp <= 0xFE0F);
}

enum { WORD_PART = NG_U_LETTER | NG_U_MARK | NG_U_NUMBER };

static bool is_ascii_letter(char c) { return (unsigned)((c | 32) - 'a') < 26; }

/* Most words are ASCII letters before a space or the end; true for these alone.  *at skips what is no word. */
static bool next_plain(const char *text, size_t len, size_t *at, ng_word *out) {
    size_t i = *at;
    while (i < len && (unsigned char)text[i] < 0x80 && !is_ascii_letter(text[i]) && (unsigned)(text[i] - '0') > 9) i++;
    *at = i;
    while (i < len && is_ascii_letter(text[i])) i++;
    *out = (ng_word){*at, i, NG_WORD_LETTERS};
    return i > *at && (i == len || text[i] == ' ');
}

bool ng_word_next(const char *text, size_t len, size_t *pos, ng_word *out) {
    if (next_plain(text, len, pos, out)) return *pos = out->end, true;
    size_t i = *pos, n = 0;
    uint32_t cp = 0;
    for (; i < len; i += n) {
        n = ng_utf8_decode(&cp, text + i, len - i);
        if (ng_unicode(cp) & (NG_U_LETTER | NG_U_NUMBER)) break;
    }
    if (i >= len) return *pos = len, false;
    *out = (ng_word){i, i + n, is_alone(cp) ? NG_WORD_IDEOGRAPH
                               : ng_unicode(cp) & NG_U_NUMBER ? NG_WORD_NUMBER : NG_WORD_LETTERS};
    uint32_t last = ng_unicode(cp);
    for (i += n; i < len; i += n) {
        n = ng_utf8_decode(&cp, text + i, len - i);
        uint32_t f = ng_unicode(cp);
        if (f & NG_U_MARK || is_glue(cp)) {
            out->end = i + n;
            continue;
        }
        if (out->kind == NG_WORD_IDEOGRAPH) break;
        if (cp == '_') continue; /* part of the word when more of it follows */
        bool join = last & NG_U_NUMBER ? joins_digits(cp) : joins_letters(cp);
        if (join) { /* both neighbours must be of the same kind */
            uint32_t next;
            if (i + n >= len) break;
            ng_utf8_decode(&next, text + i + n, len - i - n);
            uint32_t want = last & NG_U_NUMBER ? NG_U_NUMBER : NG_U_LETTER;
            if (!(ng_unicode(next) & want) || is_alone(next) || out->end != i) break;
            continue;
        }
        if (!(f & WORD_PART) || is_alone(cp)) break;
        if (f & NG_U_LETTER) out->kind = NG_WORD_LETTERS;
        last = f;
        out->end = i + n;
    }
    *pos = out->end;
    return true;
}
