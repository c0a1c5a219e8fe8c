/* pii_rules.h: what a rule of the PII scanner is; private to src/task/pii*.c.
 *
 *     static const pii_rule rule = {NG_PII_SSN, PII_DIGIT, pii_match_ssn};
 *     pii_span m;
 *     if (rule.match(&t, i, &m)) ..                  t.s[i] is of class PII_DIGIT
 *
 * A rule looks at the text around position `at`, whose byte belongs to one of the rule's classes, and
 * says whether a span stands there.  It may look anywhere in the text but only a bounded distance,
 * and must not depend on earlier calls. */
#ifndef NG_TASK_PII_RULES_H
#define NG_TASK_PII_RULES_H

#include "pii.h"

enum { PII_DIGIT = 1, PII_LETTER = 2, PII_AT = 4, PII_COLON = 8, PII_OPEN = 16 /* + or ( */, PII_DOT = 32, PII_DASH = 64 };

typedef struct pii_text {
    const char *s;
    size_t len;
    size_t limit; /* a span of higher rank starts here (or the text ends) */
} pii_text;

typedef struct pii_match {
    size_t start, end;
} pii_match;

typedef bool pii_match_fn(const pii_text *t, size_t at, pii_match *m);

pii_match_fn ng_pii_match_iban, ng_pii_match_card, ng_pii_match_ssn;               /* pii_number.c */
bool ng_pii_is_spread_iban(const pii_text *t, size_t at); /* for pii_wide.c */
pii_match_fn ng_pii_match_email, ng_pii_match_url, ng_pii_match_ip, ng_pii_match_mac; /* pii_net.c */
pii_match_fn ng_pii_match_date, ng_pii_match_day;                                   /* pii_date.c */
pii_match_fn ng_pii_match_address;                                                  /* pii_address.c */
pii_match_fn ng_pii_match_phone;                                                    /* pii_phone.c */

/* ---- small questions about bytes; all take any position, also past the end ---------------------- */

static inline unsigned char pii_at(const pii_text *t, size_t i) {
    return i < t->len ? (unsigned char)t->s[i] : 0;
}
static inline bool pii_is_digit(unsigned c) { return c - '0' < 10u; }
static inline bool pii_is_letter(unsigned c) { return (c | 32u) - 'a' < 26u; }
static inline bool pii_is_alnum(unsigned c) { return pii_is_digit(c) || pii_is_letter(c); }
static inline bool pii_is_hex(unsigned c) { return pii_is_digit(c) || (c | 32u) - 'a' < 6u; }
static inline bool pii_digit_at(const pii_text *t, size_t i) { return pii_is_digit(pii_at(t, i)); }
static inline bool pii_alnum_at(const pii_text *t, size_t i) { return pii_is_alnum(pii_at(t, i)); }
/* No ASCII letter, digit or underscore stands before i.  Letters of other scripts may: Chinese and
 * Japanese write no space before a number. */
static inline bool pii_starts_word(const pii_text *t, size_t i) {
    return i == 0 || (!pii_alnum_at(t, i - 1) && t->s[i - 1] != '_');
}

/* Bytes of a separator between groups of digits: space, no-break spaces, hyphens; 0: none.  *dash
 * tells which of the two families. */
size_t ng_pii_separator(const pii_text *t, size_t i, bool *dash);
/* Reads digits at i into out[cap], with the end in *end; how many, or cap + 1 when there are more. */
size_t ng_pii_digits(const pii_text *t, size_t i, char *out, size_t cap, size_t *end);
/* The value of the 1..9 digits at [i, i + n). */
unsigned ng_pii_number(const pii_text *t, size_t i, size_t n);
/* Whether the word at i (ASCII case folded) is one of `words`, which stand between single spaces in
 * " one two three ". */
bool ng_pii_word_in(const pii_text *t, size_t start, size_t end, const char *words);
/* The nearest word before `at`, no more than `reach` bytes and on the same or the previous line, that
 * stands in `yes` (1) or `no` (-1); 0: neither. */
int ng_pii_context(const pii_text *t, size_t at, size_t reach, const char *yes, const char *no);

#endif
