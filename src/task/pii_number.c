/* pii_number.c: numbers that carry their own proof: bank cards (Luhn), IBANs (mod 97), and the US
 * social security number, whose shape and gaps are all it has.
 *
 * A checksum alone is not enough: one random number in ten passes Luhn.  So a card must also have a
 * known issuer prefix with a length that issuer uses (ISO/IEC 7812; the networks' published ranges),
 * and, when written in groups, groups as people write them.  IBAN: ISO 13616 lengths by country, then
 * the remainder of ISO 7064 MOD 97-10. */
#include "pii_rules.h"

#include <string.h>

/* ---- cards -------------------------------------------------------------------------------------- */

enum { CARD_MAX = 19, CARD_MIN = 12 };

static bool luhn(const char *d, size_t n) {
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned v = (unsigned)(d[n - 1 - i] - '0');
        if (i & 1) v = v * 2 > 9 ? v * 2 - 9 : v * 2;
        sum += v;
    }
    return sum % 10 == 0;
}

typedef struct issuer {
    uint32_t low, high; /* first six digits */
    uint32_t lengths;   /* bit n: n digits */
} issuer;

#define LEN(n) (1u << (n))
#define LEN_16_19 (LEN(16) | LEN(17) | LEN(18) | LEN(19))
#define LEN_12_19 (LEN(12) | LEN(13) | LEN(14) | LEN(15) | LEN_16_19)
static const issuer issuers[] = {
    {400000, 499999, LEN(13) | LEN(16) | LEN(19)},                /* Visa */
    {510000, 559999, LEN(16)},          {222100, 272099, LEN(16)}, /* Mastercard */
    {340000, 349999, LEN(15)},          {370000, 379999, LEN(15)}, /* American Express */
    {300000, 305999, LEN(14) | LEN(16)}, {309500, 309599, LEN(14) | LEN(16)}, /* Diners Club */
    {360000, 369999, LEN(14) | LEN(16) | LEN(19)}, {380000, 399999, LEN(14) | LEN(16) | LEN(19)},
    {350000, 359999, LEN(16)},                                    /* JCB, with what it has reserved */
    {180000, 180099, LEN(15)},          {213100, 213199, LEN(15)}, /* JCB, the old range */
    {601100, 601199, LEN_16_19},        {644000, 659999, LEN_16_19}, /* Discover, RuPay */
    {620000, 629999, LEN_16_19},        {810000, 819999, LEN_16_19}, /* UnionPay */
    {220000, 220499, LEN_16_19},                                  /* Mir */
    {500000, 509999, LEN_12_19},        {560000, 589999, LEN_12_19}, /* Maestro, RuPay, Verve */
    {630000, 639999, LEN_12_19},        {670000, 679999, LEN_12_19}, /* Maestro */
};

static bool issuer_known(const char *d, size_t n) {
    uint32_t six = 0;
    for (size_t i = 0; i < 6; i++) six = six * 10 + (uint32_t)(d[i] - '0');
    for (size_t i = 0; i < sizeof issuers / sizeof issuers[0]; i++)
        if (six >= issuers[i].low && six <= issuers[i].high) return issuers[i].lengths >> n & 1;
    return false;
}

/* Groups as they stand on cards: fours with a shorter last one; 4-6-5, 4-6-4; 6-13. */
static bool groups_plausible(const size_t *g, size_t n) {
    if (n == 1) return true;
    if (n == 3 && g[0] == 4 && g[1] == 6 && (g[2] == 5 || g[2] == 4)) return true;
    if (n == 2 && g[0] == 6 && g[1] == 13) return true;
    for (size_t i = 0; i + 1 < n; i++)
        if (g[i] != 4) return false;
    return n >= 3 && (g[n - 1] <= 4 || (n == 3 && g[2] == 5)); /* 4-4-5: 13 digits */
}

typedef struct card_groups {
    char digits[CARD_MAX];
    size_t len[8], end[8]; /* digits in each group, where it ends in the text */
    size_t n;
} card_groups;

/* Groups with one kind of separator throughout, as many as a card could have. */
static void read_groups(const pii_text *t, size_t at, card_groups *g) {
    size_t n = 0, i = at;
    bool first_dash = false;
    g->n = 0;
    while (g->n < 8) {
        size_t stop, k = ng_pii_digits(t, i, g->digits + n, CARD_MAX - n, &stop);
        if (k == 0 || n + k > CARD_MAX) return;
        g->len[g->n] = k;
        g->end[g->n++] = stop;
        n += k;
        bool dash;
        size_t sep = ng_pii_separator(t, stop, &dash);
        if (sep == 0 || (g->n > 1 && dash != first_dash)) return;
        first_dash = dash;
        i = stop + sep;
    }
}

/* "1234 " before "5678 9012 3456": the groups at `at` go on with an earlier one. */
static bool continues_groups(const pii_text *t, size_t at) {
    if (at < 5 || (t->s[at - 1] != ' ' && t->s[at - 1] != '-')) return false;
    for (size_t i = at - 5; i < at - 1; i++)
        if (!pii_digit_at(t, i)) return false;
    return true;
}

/* The longest run of groups that is a card: what follows may be its code or its expiry date. */
bool ng_pii_match_card(const pii_text *t, size_t at, pii_match *m) {
    if (!pii_starts_word(t, at)) return false;
    if (at > 0 && strchr("+./-", t->s[at - 1]) && t->s[at - 1]) return false;
    card_groups g;
    read_groups(t, at, &g);
    size_t n = 0;
    for (size_t k = 0; k < g.n; k++) n += g.len[k];
    for (size_t k = g.n; k > 0; n -= g.len[--k]) {
        size_t end = g.end[k - 1];
        if (n < CARD_MIN || pii_alnum_at(t, end)) continue;
        if (strchr(".-", pii_at(t, end)) && pii_digit_at(t, end + 1)) continue;
        if (k > 1 && continues_groups(t, at)) continue;
        if (!groups_plausible(g.len, k) || !issuer_known(g.digits, n) || !luhn(g.digits, n)) continue;
        *m = (pii_match){at, end};
        return true;
    }
    return false;
}

/* ---- IBAN --------------------------------------------------------------------------------------- */

/* Country and length, as in the SWIFT IBAN registry. */
static const char iban_lengths[][5] = {
    "AD24", "AE23", "AL28", "AT20", "AZ28", "BA20", "BE16", "BG22", "BH22", "BI27", "BR29", "BY28",
    "CH21", "CR22", "CY28", "CZ24", "DE22", "DJ27", "DK18", "DO28", "EE20", "EG29", "ES24", "FI18",
    "FK18", "FO18", "FR27", "GB22", "GE22", "GI23", "GL18", "GR27", "GT28", "HN28", "HR21", "HU28",
    "IE22", "IL23", "IQ23", "IS26", "IT27", "JO30", "KW30", "KZ20", "LB28", "LC32", "LI21", "LT20",
    "LU20", "LV21", "LY25", "MC27", "MD24", "ME22", "MK19", "MN20", "MR27", "MT31", "MU30", "NI28",
    "NL18", "NO15", "OM23", "PK24", "PL28", "PS29", "PT25", "QA29", "RO24", "RS22", "RU33", "SA24",
    "SC31", "SD18", "SE24", "SI19", "SK24", "SM27", "SO23", "ST25", "SV28", "TL23", "TN24", "TR26",
    "UA29", "VA22", "VG24", "XK20", "YE30"};
enum { IBAN_MAX = 34 };

static size_t iban_length(unsigned a, unsigned b) {
    for (size_t i = 0; i < sizeof iban_lengths / sizeof iban_lengths[0]; i++) {
        const char *e = iban_lengths[i];
        if (e[0] == (char)(a & ~32u) && e[1] == (char)(b & ~32u))
            return (size_t)(e[2] - '0') * 10 + (size_t)(e[3] - '0');
    }
    return 0;
}

/* The four first characters move to the end, letters count 10 .. 35, the remainder is 1. */
static bool mod97_is_one(const char *s, size_t n) {
    unsigned r = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned c = (unsigned char)s[(i + 4) % n];
        if (pii_is_digit(c)) r = (r * 10 + (c - '0')) % 97;
        else r = (r * 100 + ((c | 32u) - 'a' + 10)) % 97;
    }
    return r == 1;
}

bool ng_pii_match_iban(const pii_text *t, size_t at, pii_match *m) {
    if (!pii_starts_word(t, at) || !pii_is_letter(pii_at(t, at + 1))) return false;
    size_t want = iban_length(pii_at(t, at), pii_at(t, at + 1)), n = 0, i = at;
    if (want == 0) return false;
    char s[IBAN_MAX];
    while (n < want) {
        bool dash;
        size_t sep = n > 0 ? ng_pii_separator(t, i, &dash) : 0;
        i += sep;
        if (!pii_alnum_at(t, i)) return false;
        s[n++] = t->s[i++];
    }
    if (!pii_is_digit((unsigned char)s[2]) || !pii_is_digit((unsigned char)s[3])) return false;
    if (pii_alnum_at(t, i) || !mod97_is_one(s, n)) return false;
    *m = (pii_match){at, i};
    return true;
}

/* Whatever stands before it, with up to three signs between any two of its characters. */
bool ng_pii_is_spread_iban(const pii_text *t, size_t at) {
    size_t want = pii_is_letter(pii_at(t, at + 1)) ? iban_length(pii_at(t, at), pii_at(t, at + 1)) : 0, n = 0, i = at;
    char s[IBAN_MAX];
    while (n < want) {
        size_t gap = 0;
        while (n && gap < 3 && i < t->len && t->s[i] && strchr(" -./_\t\n", t->s[i])) i++, gap++;
        bool dash;
        i += n ? ng_pii_separator(t, i, &dash) : 0;
        if (!pii_alnum_at(t, i) || (unsigned char)t->s[i] >= 0x80) return false;
        s[n++] = t->s[i++];
    }
    return want && pii_is_digit((unsigned char)s[2]) && pii_is_digit((unsigned char)s[3]) && mod97_is_one(s, n);
}

/* ---- US social security numbers ----------------------------------------------------------------- */

/* AAA-GG-SSSS.  Never issued: area 000, 666, 9xx; group 00; serial 0000 (SSA, "SSN randomization").
 * With spaces only after a word that says so. */
bool ng_pii_match_ssn(const pii_text *t, size_t at, pii_match *m) {
    static const size_t shape[3] = {3, 2, 4};
    if (!pii_starts_word(t, at) || (at > 0 && strchr("-.#/+", t->s[at - 1]) && t->s[at - 1]))
        return false;
    size_t i = at, begin[3];
    bool spaces = false;
    for (size_t g = 0; g < 3; g++) {
        if (g > 0) {
            bool dash;
            size_t sep = ng_pii_separator(t, i, &dash);
            if (sep == 0) return false;
            spaces |= !dash;
            i += sep;
        }
        begin[g] = i;
        for (size_t k = 0; k < shape[g]; k++)
            if (!pii_digit_at(t, i++)) return false;
    }
    unsigned c = pii_at(t, i);
    if (pii_is_alnum(c) || ((c == '-' || c == '.') && pii_digit_at(t, i + 1))) return false;
    unsigned area = ng_pii_number(t, begin[0], 3);
    if (area == 0 || area == 666 || area >= 900) return false;
    if (ng_pii_number(t, begin[1], 2) == 0 || ng_pii_number(t, begin[2], 4) == 0) return false;
    if (spaces && ng_pii_context(t, at, 32, " ssn social security tin ", " ") != 1) return false;
    *m = (pii_match){at, i};
    return true;
}
