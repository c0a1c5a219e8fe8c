/* pii.c: walks the rules over a text and keeps what does not overlap.
 *
 * How: one pass over the text for each rule, in the order of rank.  A pass jumps over what earlier
 * passes took, so a card number is never also a phone number, and a URL is cut before the e-mail
 * address in its query.  The invariant: `taken` is sorted and free of overlaps after every pass.
 *
 * Why passes and not one automaton: rank then needs no conflict resolution (the earlier pass simply
 * wins), a rule can be read and tested alone, and a pass costs about a nanosecond a byte because a
 * table of byte classes skips what cannot start a span.  A rule whose spans all have a digit (an @, a colon) is left out where
 * the text has none, which most texts have not.
 *
 * Not here: names, which need a model. */
#include "pii.h"

#include "pii_rules.h"
#include <stdlib.h>
#include <string.h>

typedef struct pii_rule {
    unsigned classes; /* of the byte that the rule is asked about */
    unsigned needs;   /* one of these must stand somewhere in the text, or the rule finds nothing; 0: none must */
    pii_match_fn *match;
} pii_rule;

static const pii_rule rules[NG_PII_TYPE_COUNT] = {
    [NG_PII_IBAN] = {PII_LETTER, PII_DIGIT, ng_pii_match_iban},
    [NG_PII_CARD] = {PII_DIGIT, PII_DIGIT, ng_pii_match_card},
    [NG_PII_EMAIL] = {PII_AT, PII_AT, ng_pii_match_email},
    [NG_PII_URL] = {PII_LETTER, PII_COLON | PII_DOT, ng_pii_match_url},
    [NG_PII_IP] = {PII_DIGIT | PII_LETTER | PII_COLON, PII_DIGIT | PII_COLON, ng_pii_match_ip},
    [NG_PII_MAC] = {PII_DIGIT | PII_LETTER, PII_COLON | PII_DASH, ng_pii_match_mac},
    [NG_PII_SSN] = {PII_DIGIT, PII_DIGIT, ng_pii_match_ssn},
    [NG_PII_ADDRESS] = {PII_DIGIT, PII_DIGIT, ng_pii_match_address},
    [NG_PII_DATE] = {PII_DIGIT | PII_LETTER, PII_DIGIT, ng_pii_match_date},
    [NG_PII_PHONE] = {PII_DIGIT | PII_OPEN, PII_DIGIT, ng_pii_match_phone},
};

/* Behind all others: it takes what none of them wants. */
static const pii_rule last_rule = {PII_DIGIT | PII_LETTER, 0, ng_pii_match_day};

static const uint8_t byte_class[256] = {
    ['0' ... '9'] = PII_DIGIT, ['A' ... 'Z'] = PII_LETTER, ['a' ... 'z'] = PII_LETTER,
    ['@'] = PII_AT,            [':'] = PII_COLON,          ['+'] = PII_OPEN,
    ['('] = PII_OPEN,          ['.'] = PII_DOT,            ['-'] = PII_DASH,
};

static const char *const labels[] = {
#define LABEL(name, label, score) label,
    NG_PII_TYPES(LABEL)
#undef LABEL
};
static const float scores[] = {
#define SCORE(name, label, score) score,
    NG_PII_TYPES(SCORE)
#undef SCORE
};

const char *ng_pii_label(ng_pii_type t) {
    return (size_t)t < NG_PII_TYPE_COUNT ? labels[t] : "unknown";
}

float ng_pii_score(ng_pii_type t) { return (size_t)t < NG_PII_TYPE_COUNT ? scores[t] : 0; }

bool ng_pii_parse(ng_pii_type *out, const char *label) {
    for (int i = 0; i < NG_PII_TYPE_COUNT; i++)
        if (!strcmp(labels[i], label)) {
            *out = (ng_pii_type)i;
            return true;
        }
    return false;
}

const char *ng_pii_labels(void) {
#define JOIN(name, label, score) ", " label
    static const char all[] = NG_PII_TYPES(JOIN);
#undef JOIN
    return all + 2;
}

/* ---- questions that rules share ----------------------------------------------------------------- */

size_t ng_pii_separator(const pii_text *t, size_t i, bool *dash) {
    unsigned c = pii_at(t, i);
    *dash = c == '-';
    if (c == ' ' || c == '-') return 1;
    if (c == 0xC2 && pii_at(t, i + 1) == 0xA0) return 2; /* U+00A0 */
    if (c != 0xE2 || pii_at(t, i + 1) != 0x80) return 0;
    unsigned last = pii_at(t, i + 2);
    if (last == 0xAF || last == 0x89) return 3; /* U+202F, U+2009 */
    *dash = last >= 0x90 && last <= 0x93;       /* U+2010 .. U+2013 */
    return *dash ? 3 : 0;
}

size_t ng_pii_digits(const pii_text *t, size_t i, char *out, size_t cap, size_t *end) {
    size_t n = 0;
    while (pii_digit_at(t, i + n)) {
        if (n == cap) return cap + 1;
        out[n] = t->s[i + n];
        n++;
    }
    *end = i + n;
    return n;
}

unsigned ng_pii_number(const pii_text *t, size_t i, size_t n) {
    unsigned v = 0;
    for (size_t k = 0; k < n; k++) v = v * 10 + (unsigned)(t->s[i + k] - '0');
    return v;
}

bool ng_pii_word_in(const pii_text *t, size_t start, size_t end, const char *words) {
    char key[24];
    size_t n = end - start;
    if (n == 0 || n + 3 > sizeof key) return false;
    key[0] = ' ';
    for (size_t i = 0; i < n; i++) {
        unsigned c = (unsigned char)t->s[start + i];
        key[i + 1] = (char)(c - 'A' < 26u ? c | 32 : c);
    }
    key[n + 1] = ' ';
    key[n + 2] = 0;
    return strstr(words, key) != NULL;
}

int ng_pii_context(const pii_text *t, size_t at, size_t reach, const char *yes, const char *no) {
    size_t floor = at > reach ? at - reach : 0, end = at;
    int lines = 0;
    while (end > floor && lines < 2) {
        unsigned char c = (unsigned char)t->s[end - 1];
        if (!pii_is_letter(c)) {
            if (c == '\n') lines++;
            end--;
            continue;
        }
        size_t start = end;
        while (start > 0 && end - start < 24 && pii_is_letter((unsigned char)t->s[start - 1])) start--;
        if (ng_pii_word_in(t, start, end, yes)) return 1;
        if (ng_pii_word_in(t, start, end, no)) return -1;
        end = start;
    }
    return 0;
}

/* ---- the walk ----------------------------------------------------------------------------------- */

static ng_status spans_push(ng_pii_spans *s, ng_pii_span item) {
    if (s->len == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        ng_pii_span *items = realloc(s->items, cap * sizeof *items);
        if (!items) return NG_ENOMEM;
        s->items = items;
        s->cap = cap;
    }
    s->items[s->len++] = item;
    return NG_OK;
}

void ng_pii_spans_clear(ng_pii_spans *s) {
    free(s->items);
    *s = (ng_pii_spans){0};
}

/* Appends to `out` what the rule, one of `type`, finds between the spans taken so far; `out` receives those too,
 * in order. */
static ng_status pass(ng_pii_spans *out, const ng_pii_spans *taken, const char *text, size_t len,
                      const pii_rule *rule, ng_pii_type type) {
    pii_text t = {text, len, taken->len ? taken->items[0].start : len};
    size_t k = 0, floor = 0;
    out->len = 0;
    for (size_t i = 0; i < len;) {
        if (i >= t.limit) {
            if (spans_push(out, taken->items[k])) return NG_ENOMEM;
            i = floor = taken->items[k++].end;
            t.limit = k < taken->len ? taken->items[k].start : len;
            continue;
        }
        pii_match m;
        if ((byte_class[(unsigned char)text[i]] & rule->classes) && rule->match(&t, i, &m) &&
            m.start >= floor && m.end <= t.limit) {
            if (spans_push(out, (ng_pii_span){m.start, m.end, type})) return NG_ENOMEM;
            i = floor = m.end;
        } else {
            i++;
        }
    }
    return NG_OK;
}

static unsigned classes_of(const char *text, size_t len) {
    unsigned classes = 0;
    for (size_t i = 0; i < len; i++) classes |= byte_class[(unsigned char)text[i]];
    return classes;
}

ng_status ng_pii_scan(ng_pii_spans *out, const char *text, size_t len, uint32_t types,
                      ng_error *err) {
    ng_pii_spans taken = {0}, next = {0};
    const unsigned classes = classes_of(text, len);
    out->len = 0;
    for (int i = 0; i <= NG_PII_TYPE_COUNT; i++) {
        bool last = i == NG_PII_TYPE_COUNT;
        const pii_rule *rule = last ? &last_rule : &rules[i];
        if (rule->needs && !(rule->needs & classes)) continue;
        if (pass(&next, &taken, text, len, rule, last ? NG_PII_DATE : (ng_pii_type)i)) goto fail;
        ng_pii_spans swap = taken;
        taken = next;
        next = swap;
    }
    for (size_t i = 0; i < taken.len; i++)
        if ((types >> taken.items[i].type & 1) && spans_push(out, taken.items[i])) goto fail;
    ng_pii_spans_clear(&taken);
    ng_pii_spans_clear(&next);
    return NG_OK;
fail:
    ng_pii_spans_clear(&taken);
    ng_pii_spans_clear(&next);
    ng_pii_spans_clear(out);
    return ng_fail(err, NG_ENOMEM, "extract: out of memory for the spans of %zu bytes of text", len);
}
