/* pii_wide.c: addresses and numbers as they stand in code, logs and other scripts.  See pii.h.
 *
 * The rules of pii_scan name what they find, so they must be sure where it begins and ends; here it is enough that something is there.
 * So an @ with a name before it is an address whatever its quotes and escapes, an IBAN may have any signs between its groups and a
 * word before it, an IPv6 address may stand behind "ref=", and seven decimal digits of any script are a number. */
#include "pii_wide.h"

#include "core/utf8.h"
#include "pii_rules.h"
#include <string.h>

enum { DIGITS_MIN = 7, GAP_MAX = 4 };

static bool is_hex(char c) { return pii_is_hex((unsigned char)c); }

/* The sign itself, or as URLs, JSON and HTML write it, behind a name. */
static bool is_at_sign(const char *text, size_t len, size_t i) {
    static const char *const forms[] = {"@", "%40", "\\u0040", "&#64;", "&#x40;", "&commat;"};
    unsigned char before = i ? (unsigned char)text[i - 1] : ' ';
    if (!pii_is_alnum(before) && before < 0x80 && !strchr("\"'._-+~", before)) return false;
    for (size_t k = 0; k < sizeof forms / sizeof forms[0]; k++) {
        size_t n = strlen(forms[k]);
        if (len - i > n && !strncmp(text + i, forms[k], n)) return true;
    }
    return false;
}

/* From the first of a run of hex digits and colons: an address has "::" or seven colons, and a digit. */
static bool is_ipv6(const char *text, size_t len, size_t i, size_t *end) {
    size_t colons = 0, digits = 0, groups = 0, longest = 0, run = 0;
    bool twice = false;
    size_t k = i;
    for (; k < len && (is_hex(text[k]) || text[k] == ':'); k++) {
        bool colon = text[k] == ':';
        colons += colon;
        twice |= colon && k > i && text[k - 1] == ':';
        digits += pii_is_digit((unsigned char)text[k]);
        run = colon ? 0 : run + 1;
        groups += run == 1;
        longest = run > longest ? run : longest;
    }
    *end = k;
    return longest <= 4 && digits && (colons >= 7 || (twice && groups >= 2 && colons >= 3));
}

static uint32_t digit_zero(uint32_t cp) {
    static const uint16_t zeros[] = {0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66,
                                     0xDE6, 0xE50, 0xED0, 0xF20, 0x1040, 0x17E0, 0x1810, 0xFF10};
    for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++)
        if (cp >= zeros[i] && cp < zeros[i] + 10u) return zeros[i];
    return 0;
}

/* Digits beyond ASCII, with at most GAP_MAX other characters between two of them. */
static bool has_foreign_number(const char *text, size_t len) {
    size_t n = 0, gap = 0;
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t step = (unsigned char)text[i] < 0x80 ? 1 : ng_utf8_decode(&cp, text + i, len - i);
        if (step > 1 && digit_zero(cp)) n++, gap = 0;
        else if (n && ++gap > GAP_MAX) n = 0;
        if (n >= DIGITS_MIN) return true;
        i += step;
    }
    return false;
}

bool ng_pii_wide(const char *text, size_t len) {
    const pii_text t = {text, len, len};
    bool foreign = false;
    size_t end = 0; /* of the last run that could have been an IPv6 address */
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool begins_at = c == '@' || c == '%' || c == '\\' || c == '&';
        if (begins_at && is_at_sign(text, len, i)) return true;
        foreign |= (unsigned char)c >= 0xD9; /* the first byte of the lowest digit beyond ASCII */
        if (pii_is_letter((unsigned char)c) && i + 3 < len && pii_is_digit((unsigned char)text[i + 2]) &&
            ng_pii_is_spread_iban(&t, i))
            return true;
        bool begins = i >= end && (is_hex(c) || (c == ':' && i + 1 < len && text[i + 1] == ':'));
        if (begins && (!i || !pii_is_alnum((unsigned char)text[i - 1])) && is_ipv6(text, len, i, &end)) return true;
    }
    return foreign && has_foreign_number(text, len);
}
