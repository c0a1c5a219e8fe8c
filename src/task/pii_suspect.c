/* pii_suspect.c: could there be personal data that no rule can prove?  See pii.h.
 *
 * One pass over the tokens of a text.  A run is digits with at most GAP_MAX signs between them; words of digits ("seven"), letters
 * typed for digits (O, l, I) and spoken signs ("dot") belong to it, a date does not.  Seven digits are a telephone number
 * somewhere; shorter ones are prices, years and rooms.  An address counts when its "at" and "dot" are spelled out.
 *
 * This decides where a text may go, not what is redacted: to hold back a text too many costs an escalation, one too few a leak. */
#include "pii.h"

#include "pii_wide.h"

#include <string.h>
#include <strings.h>

enum { DIGITS_MIN = 7, GAP_MAX = 4, GROUPS_MAX = 16, DOTS_MIN = 3, AT_REACH = 8 };

typedef struct run {
    size_t digits, dots, gap; /* gap: signs since the last digit */
    struct {
        unsigned value;
        uint8_t len;
        char before; /* the sign before it */
    } group[GROUPS_MAX];
    size_t n_groups;
} run;

typedef struct token {
    const char *s;
    size_t len;
} token;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (unsigned char)((c | 32) - 'a') < 26 || (unsigned char)c >= 0x80; }
static bool is(const token *t, const char *word) {
    return (t->s[0] | 32) == word[0] && strlen(word) == t->len && !strncasecmp(t->s, word, t->len);
}

static bool is_one_of(const token *t, const char *const *words) {
    for (; *words; words++)
        if (is(t, *words)) return true;
    return false;
}

static bool is_number_word(const token *t) {
    static const char *const words[] = {"zero",  "one",   "two",  "three", "four",   "five",   "six",
                                        "seven", "eight", "nine", "oh",    "double", "triple", NULL};
    return is_one_of(t, words);
}

static bool is_spoken_sign(const token *t) {
    static const char *const words[] = {"dot", "point", "dash", "hyphen", "minus", "plus", "space", "slash", NULL};
    return is_one_of(t, words);
}

/* Whatever letters stand around them. */
static bool has_long_number(const token *t) {
    for (size_t i = 0, n = 0; i < t->len; i++) {
        n = is_digit(t->s[i]) ? n + 1 : 0;
        if (n == DIGITS_MIN + 1) return true; /* seven alone are still a run's affair: a date may be among them */
    }
    return false;
}

/* How many digits a token stands for that has some, or could have in a run; 0: it ends the run. */
static size_t digits_of(const token *t, bool in_run) {
    size_t digits = 0, others = 0;
    for (size_t i = 0; i < t->len; i++) {
        digits += is_digit(t->s[i]);
        others += !is_digit(t->s[i]) && !strchr("OolI", t->s[i]);
    }
    return others || (!digits && !(in_run && t->len <= 4)) ? 0 : t->len;
}

static bool is_date(const run *r, size_t i) {
    if (i + 3 > r->n_groups) return false;
    const unsigned a = r->group[i].value, b = r->group[i + 1].value, c = r->group[i + 2].value;
    const unsigned la = r->group[i].len, lb = r->group[i + 1].len, lc = r->group[i + 2].len;
    char sign = r->group[i + 1].before;
    bool longer = (i && r->group[i].before == sign) || (i + 3 < r->n_groups && r->group[i + 3].before == sign); /* 06.32.24.01.07 */
    if (sign != r->group[i + 2].before || !strchr("-./", sign) || lb > 2 || longer) return false;
    bool first = la == 4 && lc <= 2 && a >= 1800 && a < 2200 && b >= 1 && b <= 12 && c >= 1 && c <= 31;
    bool last = la <= 2 && (lc == 2 || lc == 4) && a >= 1 && b >= 1 && a <= 31 && b <= 31 && (a <= 12 || b <= 12) &&
                (lc == 2 || (c >= 1800 && c < 2200));
    return first || last;
}

static bool is_year(const run *r, size_t i) {
    return r->group[i].len == 4 && r->group[i].value >= 1800 && r->group[i].value < 2200;
}

/* The run is over: is it more than dates and years? */
static bool is_suspect(const run *r) {
    size_t digits = r->digits;
    if (r->dots >= DOTS_MIN) return true;
    if (digits < DIGITS_MIN) return false;
    if (r->n_groups == GROUPS_MAX) return true;
    if (r->n_groups == 2 && is_year(r, 0) && is_year(r, 1) && strchr("-/", r->group[1].before)) return false;
    for (size_t i = 0; i < r->n_groups; i++)
        if (is_date(r, i)) {
            digits -= r->group[i].len + r->group[i + 1].len + r->group[i + 2].len;
            i += 2;
        }
    return digits >= DIGITS_MIN;
}

static void add_group(run *r, const token *t, size_t digits, char before) {
    unsigned value = 0;
    for (size_t i = 0; i < t->len && i < 6; i++)
        value = value * 10 + (is_digit(t->s[i]) ? (unsigned)(t->s[i] - '0') : 0);
    if (r->n_groups < GROUPS_MAX) {
        r->group[r->n_groups].value = value;
        r->group[r->n_groups].len = (uint8_t)(digits < 255 ? digits : 255);
        r->group[r->n_groups++].before = before;
    }
    r->digits += digits;
    r->gap = 0;
}

/* A new run with the digits that a word ends in, if any: "fax0425". */
static void begin_behind(run *r, const token *word) {
    token tail = {word->s + word->len, 0};
    while (tail.len < word->len && is_digit(tail.s[-1])) tail.s--, tail.len++;
    *r = (run){0};
    if (tail.len) add_group(r, &tail, tail.len, 0);
}

/* Signs that stand within numbers; others, such as the comma of a sum or the colon of a time, end a run. */
static size_t sign_len(const char *s, size_t left) {
    if (strchr(" -./()+\n\t_", *s)) return 1;
    if (left >= 2 && (!memcmp(s, "\xC2\xA0", 2) || !memcmp(s, "\xC2\xB7", 2))) return 2; /* space, dot in the middle */
    if (left >= 3 && !memcmp(s, "\xE2\x80", 2) && ((unsigned char)s[2] >= 0x80 && (unsigned char)s[2] <= 0xAF)) return 3; /* spaces, dashes */
    return 0;
}

/* "name (at) host dot com", "n a m e @ h o s t". */
typedef struct mail {
    size_t since_at; /* tokens; 0: no "at" yet */
    size_t singles;  /* tokens of one letter in a row */
    bool spaced_at;  /* an @ behind one */
} mail;

static bool is_mail(mail *m, const token *t) {
    bool dot = is(t, "dot") || is(t, "punkt");
    m->singles = t->len == 1 ? m->singles + 1 : 0;
    if (m->spaced_at && m->singles >= 2) return true;
    if (m->since_at && ++m->since_at > AT_REACH) m->since_at = 0;
    if (m->since_at > 2 && dot) return true;
    if (is(t, "at") || is(t, "arroba")) m->since_at = 1;
    return false;
}

bool ng_pii_suspected(const char *text, size_t len) {
    if (ng_pii_wide(text, len)) return true;
    run r = {0};
    mail m = {0};
    char sign = 0;
    for (size_t i = 0; i < len;) {
        token t = {text + i, 0};
        while (i + t.len < len &&
               (is_digit(t.s[t.len]) || (is_letter(t.s[t.len]) && !sign_len(t.s + t.len, len - i - t.len))))
            t.len++;
        if (!t.len) {
            size_t n = sign_len(text + i, len - i);
            m.spaced_at = text[i] == '@' && i && text[i - 1] == ' ' && m.singles ? true : m.spaced_at && n;
            sign = text[i];
            r.gap += n > 0;
            if (!n || r.gap > GAP_MAX) {
                if (is_suspect(&r)) return true;
                r = (run){0};
            }
            i += n ? n : 1;
            continue;
        }
        if (has_long_number(&t)) return true;
        size_t digits = digits_of(&t, r.digits > 0);
        if (digits) add_group(&r, &t, digits, sign);
        else if (is_number_word(&t)) add_group(&r, &t, 1, sign);
        else if (r.digits && is_spoken_sign(&t)) r.dots += is(&t, "dot"), r.gap = 0;
        else if (is_suspect(&r)) return true;
        else begin_behind(&r, &t);
        if (is_mail(&m, &t)) return true;
        i += t.len;
    }
    return is_suspect(&r);
}
