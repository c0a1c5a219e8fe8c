/* pii_net.c: addresses of the network: e-mail, URL, IP, MAC.
 *
 * E-mail is the practical part of RFC 5321/6531: a dot-separated local part without quotes, a domain
 * of at least two labels whose last has no digit, both in any script.  Scripts that write no spaces
 * pose the one riddle: in "邮箱是a@b.co" the address begins where the script changes, so a run of
 * ASCII and Latin letters does not go on into other letters, nor the reverse.  IPv6 follows RFC 4291,
 * section 2.2; a compressed form without any digit is left to C++ ("Abc::def"). */
#include "pii_rules.h"

#include "core/utf8.h"
#include "text/unicode.h"
#include <string.h>

/* ---- letters of any script ---------------------------------------------------------------------- */

typedef enum script { SCRIPT_NONE, SCRIPT_LATIN, SCRIPT_OTHER } script;

static script script_of(uint32_t cp) {
    if (cp < 0x80) return pii_is_alnum(cp) ? SCRIPT_LATIN : SCRIPT_NONE;
    if (!(ng_unicode(cp) & (NG_U_LETTER | NG_U_MARK))) return SCRIPT_NONE;
    return cp < 0x250 ? SCRIPT_LATIN : SCRIPT_OTHER;
}

/* Length and script of the character at i; 0 at the end or on a byte that is no UTF-8. */
static size_t char_at(const pii_text *t, size_t i, script *kind, uint32_t *cp) {
    if (i >= t->len || ng_utf8_sequence(t->s + i, t->len - i) == 0) return 0;
    size_t n = ng_utf8_decode(cp, t->s + i, t->len - i);
    *kind = script_of(*cp);
    return n;
}

/* The same for the character that ends at `end`. */
static size_t char_before(const pii_text *t, size_t end, script *kind, uint32_t *cp) {
    for (size_t n = 1; n <= 4 && n <= end; n++) {
        if (((unsigned char)t->s[end - n] & 0xC0) == 0x80) continue;
        return char_at(t, end - n, kind, cp) == n ? n : 0;
    }
    return 0;
}

/* ---- domains ------------------------------------------------------------------------------------ */

enum { DOMAIN_MAX = 253, LABEL_MAX = 63, LOCAL_MAX = 64 };

/* One label at i: letters and digits of one script family, hyphens inside.  Returns its end, i when
 * there is none; *digits: an ASCII digit stands in it. */
static size_t domain_label(const pii_text *t, size_t i, bool *digits) {
    script first = SCRIPT_NONE, kind;
    size_t end = i, n;
    uint32_t cp;
    *digits = false;
    for (size_t k = i; (n = char_at(t, k, &kind, &cp)) > 0 && k + n - i <= LABEL_MAX * 2; k += n) {
        bool hyphen = cp == '-' && k > i;
        bool digit = cp < 0x80 && pii_is_digit(cp);
        if (!hyphen && kind == SCRIPT_NONE) break;
        if (!hyphen && !digit) {
            if (first == SCRIPT_NONE) first = kind;
            if (kind != first) break;
        }
        *digits |= digit;
        if (!hyphen) end = k + n;
    }
    return end;
}

/* A host name of two labels or more at i; 0 when there is none, else its end. */
static size_t domain(const pii_text *t, size_t i) {
    size_t good = 0, start = i;
    for (int labels = 1;; labels++) {
        bool digits;
        size_t end = domain_label(t, i, &digits);
        if (end == i || end - start > DOMAIN_MAX) break;
        bool xn = end - i > 4 && !strncmp(t->s + i, "xn--", 4);
        if (labels > 1 && (!digits || xn) && end - i >= 2) good = end;
        if (pii_at(t, end) != '.') break;
        i = end + 1;
    }
    /* "a@b.com_x" or "a@b.c0m": the last label goes on */
    return good && !pii_alnum_at(t, good) && pii_at(t, good) != '_' ? good : 0;
}

/* ---- e-mail ------------------------------------------------------------------------------------- */

/* Where the local part that ends at `at` begins; `at` when there is none. */
static size_t local_part(const pii_text *t, size_t at) {
    script first = SCRIPT_NONE, kind;
    size_t start = at, n;
    uint32_t cp;
    for (size_t i = at; (n = char_before(t, i, &kind, &cp)) > 0 && at - (i - n) <= LOCAL_MAX; i -= n) {
        if (kind == SCRIPT_NONE) {
            if (cp == 0 || cp >= 0x80 || !strchr("._%+-'~", (int)cp)) break;
            if (cp == '.' && (i == at || t->s[i] == '.')) break; /* "a.@b", "..a@b" */
            if (cp == '_' || cp == '+') start = i - n;
            continue;
        }
        bool digit = cp < 0x80 && pii_is_digit(cp);
        if (!digit && first == SCRIPT_NONE) first = kind;
        if (!digit && kind != first) break;
        start = i - n;
    }
    return start;
}

bool ng_pii_match_email(const pii_text *t, size_t at, pii_match *m) {
    size_t start = local_part(t, at), end;
    if (start == at || (start > 0 && t->s[start - 1] == '@')) return false; /* @user@host: a handle */
    if (at - start == LOCAL_MAX && start > 0 && pii_alnum_at(t, start - 1)) return false;
    end = domain(t, at + 1);
    if (end == 0) return false;
    if (pii_at(t, end) == '@') return false;
    *m = (pii_match){start, end};
    return true;
}

/* ---- URLs --------------------------------------------------------------------------------------- */

static size_t scheme(const pii_text *t, size_t at) {
    static const char *const starts[] = {"https://", "http://", "ftp://", "www."};
    for (size_t k = 0; k < sizeof starts / sizeof starts[0]; k++) {
        size_t n = strlen(starts[k]), i = 0;
        while (i < n && (pii_is_letter(pii_at(t, at + i)) ? pii_at(t, at + i) | 32u
                                                         : pii_at(t, at + i)) == (unsigned char)starts[k][i])
            i++;
        if (i == n) return k == 3 ? at : at + n;
    }
    return SIZE_MAX;
}

/* Ends a path before closing punctuation that belongs to the sentence; a ")" stays when the URL has
 * its "(". */
static size_t trim(const pii_text *t, size_t start, size_t end) {
    long open = 0;
    for (size_t i = start; i < end; i++) open += t->s[i] == '(' ? 1 : t->s[i] == ')' ? -1 : 0;
    while (end > start) {
        char c = t->s[end - 1];
        if (c == ')' && open < 0) open++;
        else if (!strchr(".,;:!?'*_]}", c)) break;
        end--;
    }
    return end;
}

static size_t dotted_quad(const pii_text *t, size_t i);

bool ng_pii_match_url(const pii_text *t, size_t at, pii_match *m) {
    if (!pii_starts_word(t, at)) return false;
    size_t host = scheme(t, at);
    if (host == SIZE_MAX) return false;
    size_t end = domain(t, host);
    if (end == 0) end = dotted_quad(t, host);
    if (end == 0 && host > at && !strncmp(t->s + host, "localhost", t->len - host < 9 ? 0 : 9) &&
        t->len - host >= 9)
        end = host + 9;
    if (end == 0) return false;
    if (pii_at(t, end) == ':' && pii_digit_at(t, end + 1))
        for (end++; pii_digit_at(t, end);) end++;
    size_t path = end;
    if (strchr("/?#", pii_at(t, end)) && end < t->limit)
        while (end < t->limit && (unsigned char)t->s[end] > ' ' && !strchr("<>\"`", t->s[end]) &&
               t->s[end] != 0x7F)
            end++;
    end = trim(t, path, end);
    *m = (pii_match){at, end};
    return end <= t->limit;
}

/* ---- IP ----------------------------------------------------------------------------------------- */

/* Four numbers 0..255 without leading zeros at i; 0, or the end. */
static size_t dotted_quad(const pii_text *t, size_t i) {
    for (int part = 0; part < 4; part++) {
        if (part > 0 && pii_at(t, i++) != '.') return 0;
        size_t n = 0;
        while (n < 4 && pii_digit_at(t, i + n)) n++;
        if (n == 0 || n > 3 || (n > 1 && t->s[i] == '0') || ng_pii_number(t, i, n) > 255) return 0;
        i += n;
    }
    return i;
}

static bool match_v4(const pii_text *t, size_t at, size_t *end) {
    static const char version[] =
        " v version ver versions release build firmware section sections chapter clause paragraph "
        "figure table driver bios software update sdk runtime ";
    if (at > 0 && strchr(".-", t->s[at - 1]) && t->s[at - 1]) return false;
    *end = dotted_quad(t, at);
    if (*end == 0 || pii_alnum_at(t, *end) || pii_at(t, *end) == '_') return false;
    unsigned next = pii_at(t, *end + 1);
    if ((pii_at(t, *end) == '.' || pii_at(t, *end) == '-') && pii_is_alnum(next) &&
        pii_at(t, *end) == '.')
        return false; /* 1.2.3.4.5, 1.2.3.4.tar */
    return ng_pii_context(t, at, 10, " ", version) >= 0;
}

/* Groups of 1..4 hex digits between colons; one "::" may stand for the missing ones; the last 32 bits
 * may be a dotted quad. */
static bool match_v6(const pii_text *t, size_t at, size_t *end) {
    size_t i = at, groups = 0, digits = 0;
    bool gap = false;
    if (pii_at(t, i) == ':') {
        if (pii_at(t, i + 1) != ':') return false;
        gap = true;
        i += 2;
    }
    while (groups < 8) {
        size_t quad = groups <= 6 ? dotted_quad(t, i) : 0;
        if (quad) {
            groups += 2;
            digits++;
            i = quad;
            break;
        }
        size_t n = 0;
        while (n < 5 && pii_is_hex(pii_at(t, i + n))) digits += pii_digit_at(t, i + n++);
        if (n == 0) break;
        if (n > 4) return false;
        groups++;
        i += n;
        if (pii_at(t, i) != ':') break;
        if (pii_at(t, i + 1) == ':') {
            if (gap) return false;
            gap = true;
            i += 2;
        } else if (pii_is_hex(pii_at(t, i + 1))) {
            i++;
        } else {
            break;
        }
    }
    *end = i;
    if (pii_alnum_at(t, i) || (pii_at(t, i) == ':' && pii_alnum_at(t, i + 1))) return false;
    return gap ? groups >= 1 && groups <= 7 && digits > 0 : groups == 8;
}

bool ng_pii_match_ip(const pii_text *t, size_t at, pii_match *m) {
    size_t end;
    unsigned c = pii_at(t, at);
    if (!pii_starts_word(t, at) || (at > 0 && t->s[at - 1] == ':' && c != ':' &&
                                    (at < 2 || pii_alnum_at(t, at - 2) || t->s[at - 2] == ':')))
        return false;
    if ((pii_is_digit(c) && match_v4(t, at, &end)) || ((pii_is_hex(c) || c == ':') && match_v6(t, at, &end))) {
        *m = (pii_match){at, end};
        return true;
    }
    return false;
}

/* ---- MAC ---------------------------------------------------------------------------------------- */

bool ng_pii_match_mac(const pii_text *t, size_t at, pii_match *m) {
    if (!pii_starts_word(t, at) || (at > 0 && (t->s[at - 1] == ':' || t->s[at - 1] == '-')) ) return false;
    unsigned sep = pii_at(t, at + 2);
    if (sep != ':' && sep != '-') return false;
    size_t i = at;
    for (int k = 0; k < 6; k++) {
        if (k > 0 && pii_at(t, i++) != sep) return false;
        if (!pii_is_hex(pii_at(t, i)) || !pii_is_hex(pii_at(t, i + 1))) return false;
        i += 2;
    }
    if (pii_alnum_at(t, i) || (pii_at(t, i) == sep && pii_alnum_at(t, i + 1))) return false;
    *m = (pii_match){at, i};
    return true;
}
