/* pii_phone.c: telephone numbers: the one kind without a checksum or a fixed shape.
 *
 * A number is read as groups of digits, then the longest run of groups is kept that one of these
 * explains, from sure to weak:
 *
 *     +44 20 7946 0958, 0041 85 806 98 67    an international prefix and a known calling code (E.164)
 *     (212) 555-0123, 1-800-555-0199         the North American plan: NXX NXX XXXX
 *     020 7946 0958, 03.93.92.16.85          a trunk 0, grouped, nine to twelve digits
 *     416 60 039, 3660170548                 anything of 6 to 15 digits beside a word such as "call"
 *
 * A word such as "order" or "account" that stands nearer than the word for a telephone turns the last
 * one off.  What other rules know better (cards, dates, IP) was taken by earlier passes. */
#include "pii_rules.h"

#include <string.h>

enum { GROUPS_MAX = 8, DIGITS_MAX = 18 };

typedef struct groups {
    char digits[DIGITS_MAX];
    size_t len[GROUPS_MAX], end[GROUPS_MAX]; /* digits in the group; where it ends (with its ")") */
    char sep[GROUPS_MAX];                    /* what follows it: ' ', '-', '.', '/', ')' or 0 */
    size_t n;
    bool plus, parens, zero_parens; /* (0) between country and area code */
} groups;

/* ITU-T E.164, the list of assigned codes: one digit, two digits, or three whose first two stand here. */
static bool calling_code_known(const char *d, size_t n) {
    static const char known[] =
        " 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 "
        "65 66 81 82 84 86 90 91 92 93 94 95 98 "
        "21 22 23 24 25 26 29 35 37 38 42 50 59 67 68 69 80 85 87 88 96 97 99 ";
    const pii_text t = {d, n, n};
    return n >= 4 && (d[0] == '1' || d[0] == '7' || ng_pii_word_in(&t, 0, 2, known));
}

/* The separator at i: one of " -./" and their Unicode kin, or two with a space; its bytes, 0: none. */
static size_t separator(const pii_text *t, size_t i, char *kind) {
    bool dash;
    size_t n = ng_pii_separator(t, i, &dash);
    if (n) {
        *kind = dash ? '-' : ' ';
        bool next;
        size_t more = ng_pii_separator(t, i + n, &next);
        if (!more) return n;
        if (next != dash && pii_at(t, i + n + more) != ' ') return *kind = '-', n + more;
        /* " - " */
        if (!dash && next && pii_at(t, i + n + more) == ' ') return *kind = '-', n + more + 1;
        return 0;
    }
    unsigned c = pii_at(t, i);
    if (c != '.' && c != '/') return 0;
    *kind = (char)c;
    return 1;
}

/* "(0)" at i. */
static bool zero_in_parens(const pii_text *t, size_t i) {
    return pii_at(t, i) == '(' && pii_at(t, i + 1) == '0' && pii_at(t, i + 2) == ')';
}

static bool read_group(const pii_text *t, size_t *i, groups *g, size_t *total) {
    size_t k = *i, stop;
    bool open = pii_at(t, k) == '(';
    if (open && zero_in_parens(t, k) && g->n > 0) {
        g->zero_parens = true;
        k += 3;
        if (pii_at(t, k) == ' ' || pii_at(t, k) == '-') k++;
        open = pii_at(t, k) == '(';
    }
    if (open) k++;
    if (open && pii_at(t, k) == '+' && g->n == 0) g->plus = true, k++;
    size_t n = ng_pii_digits(t, k, g->digits + *total, DIGITS_MAX - *total, &stop);
    if (n == 0 || *total + n > DIGITS_MAX) return false;
    if (open && pii_at(t, stop) != ')') return false;
    g->parens |= open;
    stop += open;
    *total += n;
    g->len[g->n] = n;
    g->end[g->n] = stop;
    g->sep[g->n] = open ? ')' : 0;
    *i = stop;
    g->n++;
    return true;
}

static void read_groups(const pii_text *t, size_t at, groups *g) {
    size_t i = at, total = 0;
    *g = (groups){0};
    if (pii_at(t, i) == '+') {
        g->plus = true;
        i++;
        if (pii_at(t, i) == ' ') i++;
    }
    while (g->n < GROUPS_MAX && read_group(t, &i, g, &total)) {
        char kind = 0;
        size_t sep = separator(t, i, &kind);
        if (sep == 0 && pii_at(t, i) != '(' && g->sep[g->n - 1] != ')') return;
        if (g->sep[g->n - 1] == 0) g->sep[g->n - 1] = kind ? kind : '(';
        i += sep;
    }
}

/* ---- what explains the first k groups ----------------------------------------------------------- */

static size_t short_groups(const groups *g, size_t k) {
    size_t n = 0;
    for (size_t i = 0; i < k; i++) n += g->len[i] == 1;
    return n;
}

static bool international(const groups *g, size_t k, size_t n) {
    if (g->plus) return n >= 8 && n <= 15 && short_groups(g, k) <= 2 && calling_code_known(g->digits, n);
    if (n < 11 || n > 17 || k < 2 || short_groups(g, k) > 1) return false;
    return g->digits[0] == '0' && g->digits[1] == '0' && calling_code_known(g->digits + 2, n - 2);
}

static bool north_american(const groups *g, size_t k, size_t n) {
    size_t first = n == 11 && g->digits[0] == '1' && g->len[0] == 1;
    if (n != 10 + first || k != 3 + first) return false;
    if (g->len[first] != 3 || g->len[first + 1] != 3) return false;
    const char *d = g->digits + first;
    return d[0] >= '2' && d[3] >= '2' && !(d[1] == '1' && d[2] == '1') && !(d[4] == '1' && d[5] == '1');
}

static bool trunk_zero(const groups *g, size_t k, size_t n) {
    if (g->digits[0] != '0' || g->digits[1] == '0' || n < 9 || n > 12) return false;
    if (k == 1) /* a mobile number as typed in Britain and France */
        return (n == 11 && g->digits[1] == '7') || (n == 10 && (g->digits[1] == '6' || g->digits[1] == '7'));
    if (g->len[0] < 2 || g->len[0] > 6 || short_groups(g, k) > 0) return false;
    if (k == 2 && g->len[0] == 5 && g->len[1] == 4) return false; /* ZIP+4 */
    /* decimals: "0.12" has a first group of one; "05.12" has one dot */
    return !(k == 2 && g->sep[0] == '.');
}

static bool year_range(const groups *g, size_t k) {
    return k == 2 && g->len[0] == 4 && g->len[1] == 4 &&
           (!strncmp(g->digits, "19", 2) || !strncmp(g->digits, "20", 2));
}

static const char phone_words[] =
    " phone phones telephone tel mobile mob cell cellphone fax call calls called calling dial ring "
    "whatsapp sms text texted reach contact hotline helpline voicemail landline message messages "
    "answering telefon handy telephone portable telefono tlf mobil celular movil rufnummer ";
static const char other_words[] =
    " account order invoice tracking case ticket id ref reference policy ssn card zip postcode code pin "
    "serial isbn amount total price usd eur gbp dollars population year years street population "
    "transaction confirmation booking member customer registration license licence passport iban ";

static bool after_words(const pii_text *t, size_t end) {
    while (end < t->len && strchr(" -(:,", t->s[end]) && t->s[end] != 0) end++;
    size_t stop = end;
    while (stop - end < 12 && pii_is_letter(pii_at(t, stop))) stop++;
    return ng_pii_word_in(t, end, stop, " office fax mobile cell phone desk tel home work ");
}

static bool beside_a_word(const pii_text *t, size_t at, const groups *g, size_t k, size_t n) {
    if (n < 6 || n > 15 || short_groups(g, k) > 1 || year_range(g, k)) return false;
    if (k == 1 && n < 7) return false;
    if (k > 1 && g->sep[0] == '.' && k == 2) return false; /* 1234.567 */
    int before = ng_pii_context(t, at, 40, phone_words, other_words);
    return before > 0 || (before == 0 && after_words(t, g->end[k - 1]));
}

/* " ext. 12", " x12", ", extension 12" */
static size_t extension(const pii_text *t, size_t end) {
    static const char *const words[] = {"extension", "ext.", "ext", "x", "#"};
    size_t k = end;
    while (k < end + 2 && (pii_at(t, k) == ' ' || pii_at(t, k) == ',')) k++;
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
        size_t n = strlen(words[w]);
        if (t->len - k < n || strncmp(t->s + k, words[w], n)) continue;
        k += n;
        if (pii_at(t, k) == ' ') k++;
        char d[6];
        size_t stop, len = ng_pii_digits(t, k, d, 6, &stop);
        return len > 0 && len <= 6 && !pii_alnum_at(t, stop) ? stop : end;
    }
    return end;
}

static bool clean_start(const pii_text *t, size_t at) {
    if (at == 0) return true;
    char c = t->s[at - 1];
    if (pii_at(t, at) == '+') return !pii_is_alnum((unsigned char)c) && c != '+';
    if (!pii_starts_word(t, at)) return false;
    if (pii_is_digit(pii_at(t, at)) && c == '(') return false; /* asked again at the "(" */
    return !strchr("#$/=.+-", c) || c == 0 ||
           ((c == '-' || c == '.' || c == '/') && (at < 2 || !pii_alnum_at(t, at - 2)));
}

/* Whether the first k groups may end there, looking at the text behind them. */
static bool clean_end(const pii_text *t, const groups *g, size_t k) {
    size_t end = g->end[k - 1];
    if (k < g->n && g->sep[k - 1] != ' ') return false; /* may only be cut at a space */
    if (pii_alnum_at(t, end) && extension(t, end) == end) return false;
    if (k == g->n && strchr(".-/,:", pii_at(t, end)) && pii_digit_at(t, end + 1)) return false;
    return pii_at(t, end) != '%';
}

bool ng_pii_match_phone(const pii_text *t, size_t at, pii_match *m) {
    if (!clean_start(t, at)) return false;
    groups g;
    read_groups(t, at, &g);
    size_t total = 0;
    for (size_t k = 0; k < g.n; k++) total += g.len[k];
    /* The sure shapes first: "call 020 7946 0958 12 people wait" ends where the plan says. */
    for (int weak = 0; weak < 2; weak++)
        for (size_t k = g.n, n = total; k > 0; n -= g.len[--k]) {
            bool explained = weak ? beside_a_word(t, at, &g, k, n)
                                  : international(&g, k, n) || north_american(&g, k, n) || trunk_zero(&g, k, n);
            if (!explained || !clean_end(t, &g, k)) continue;
            *m = (pii_match){at, extension(t, g.end[k - 1])};
            return true;
        }
    return false;
}
