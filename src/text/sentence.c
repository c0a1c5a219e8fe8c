/* sentence.c: see sentence.h.
 *
 * One pass over code points.  Three things end a sentence: a blank line or a list item; a full stop
 * of a script that writes no space after it; and a stop of the other scripts followed by space, if
 * nothing says that it belongs to the word before it.  What says so is, in order: a lower-case letter
 * after it (UAX #29, SB8), an initial, an abbreviation, a list number.  Abbreviations that may stand
 * at an end as well ("Inc.", "p.m.") end the sentence only before a word that usually starts one:
 * proper names after them are as frequent as new sentences. */
#include "sentence.h"

#include "core/utf8.h"
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

/* A text and the place in it. */
typedef struct scan {
    const char *text;
    size_t len, start; /* start: of the sentence being read */
} scan;

static uint32_t at(const scan *s, size_t i, size_t *n) {
    uint32_t cp = 0;
    *n = 0;
    if (i < s->len) *n = ng_utf8_decode(&cp, s->text + i, s->len - i);
    return cp;
}

/* Stops that need no space behind them. */
static bool is_full_stop(uint32_t cp) {
    return cp == 0x3002 || cp == 0xFF01 || cp == 0xFF1F || cp == 0xFF61 || cp == 0x0964 || cp == 0x0965 ||
           cp == 0x1362 || cp == 0x1367 || cp == 0x1368 || cp == 0x17D4 || cp == 0x17D5 || cp == 0x104B;
}

static bool is_stop(uint32_t cp) {
    return cp == '.' || cp == '!' || cp == '?' || cp == 0x2026 || cp == 0x203C || (cp >= 0x2047 && cp <= 0x2049) ||
           cp == 0x061F || cp == 0x06D4 || cp == 0x0589 || cp == 0x037E;
}

static bool is_closer(uint32_t cp) {
    return cp == '"' || cp == '\'' || cp == ')' || cp == ']' || cp == '}' || cp == 0xBB || cp == 0x201D ||
           cp == 0x2019 || cp == 0x203A || cp == 0x300D || cp == 0x300F || cp == 0xFF09 || cp == 0x3011 ||
           cp == 0x300B || cp == 0x3009;
}

static bool is_opener(uint32_t cp) {
    return cp == '"' || cp == '\'' || cp == '(' || cp == '[' || cp == '{' || cp == 0xAB || cp == 0x201C ||
           cp == 0x2018 || cp == 0x201E || cp == 0x201A || cp == 0x2039 || cp == 0x300C || cp == 0x300E ||
           cp == 0xBF || cp == 0xA1 || cp == '*' || cp == '_' || cp == '-' || cp == 0x2014 || cp == 0x2013;
}

static bool is_space(uint32_t cp) { return (ng_unicode(cp) & NG_U_SPACE) != 0; }

static size_t skip_spaces(const scan *s, size_t i) {
    size_t n;
    while (i < s->len && is_space(at(s, i, &n))) i += n;
    return i;
}

/* "- item", "* item", "3. item", "12) item" at i? */
static bool is_bullet(const scan *s, size_t i) {
    size_t n;
    uint32_t cp = at(s, i, &n);
    if (cp == '-' || cp == '*' || cp == '+' || cp == 0x2022 || cp == 0x2013 || cp == 0x25AA || cp == 0x25CF)
        return is_space(at(s, i + n, &n));
    size_t d = i;
    while (d < s->len && d - i < 4 && s->text[d] >= '0' && s->text[d] <= '9') d++;
    return d > i && d - i < 4 && d + 1 < s->len && (s->text[d] == '.' || s->text[d] == ')') &&
           is_space(at(s, d + 1, &n));
}

/* Words that a full stop follows and a sentence goes on; sorted.  Before a digit only: "no", "fig". */
static const char *const never_last[] = {
    "adm",  "approx", "brig", "capt", "cf",  "cmdr", "col",  "dr",  "e.g",  "eg",   "fr",  "ft",
    "gen",  "gov",    "hon",  "i.e",  "ie",  "lt",   "maj",  "messrs", "mlle", "mm", "mme", "mr",
    "mrs",  "ms",     "mt",   "pres", "prof", "rep", "rev",  "sen", "sgt",  "st",   "vs"};
static const char *const before_digit[] = {
    "apr", "art", "aug", "ca",  "ch",  "chap", "dec", "eq",  "feb", "fig", "figs", "jan", "jul",
    "jun", "mar", "no",  "nos", "nov", "nr",   "oct", "p",   "par", "pp",  "sec",  "sep", "sept", "vol"};
/* These may end a sentence. */
static const char *const perhaps_last[] = {"a.m", "al", "bros", "co", "corp", "dept", "est", "etc", "inc",
                                           "jr",  "ltd", "p.m", "sr", "u.k", "u.n", "u.s", "univ"};
static const char *const starters[] = {
    "a",    "after", "all",  "also", "an",   "and",   "as",    "at",   "but",  "for",   "he",   "her",
    "his",  "how",   "however", "i", "if",   "in",    "it",    "its",  "my",   "no",    "now",  "on",
    "one",  "our",   "she",  "so",   "some", "such",  "that",  "the",  "their", "then", "there", "these",
    "they", "this",  "those", "to",  "we",   "what",  "when",  "where", "while", "who", "why",  "you", "your"};

static int by_name(const void *key, const void *item) { return strcmp(key, *(const char *const *)item); }
#define IN(list, word) \
    (bsearch(word, list, sizeof list / sizeof *list, sizeof *list, by_name) != NULL)

enum { WORD_MAX = 16 };

/* The lower-cased ASCII word (letters and inner dots) that ends at `end`, or "" when it is longer or
 * has other letters; *from is where it begins, *capital whether it begins with a capital. */
static size_t word_before(const scan *s, size_t end, char word[WORD_MAX], bool *capital) {
    size_t i = end;
    while (i > s->start && end - i < WORD_MAX && ((s->text[i - 1] | 32) >= 'a' && (s->text[i - 1] | 32) <= 'z'))
        i--;
    while (i > s->start + 1 && end - i < WORD_MAX && s->text[i - 1] == '.' &&
           ((s->text[i - 2] | 32) >= 'a' && (s->text[i - 2] | 32) <= 'z'))
        i -= 2;
    size_t n = end - i;
    if (n >= WORD_MAX || (i > s->start && ((unsigned char)s->text[i - 1] >= 0x80 ||
                                           (s->text[i - 1] >= '0' && s->text[i - 1] <= '9'))))
        n = 0;
    for (size_t k = 0; k < n; k++) word[k] = s->text[i + k] == '.' ? '.' : (char)(s->text[i + k] | 32);
    word[n] = 0;
    *capital = n && s->text[i] >= 'A' && s->text[i] <= 'Z';
    return i;
}

static void word_after(const scan *s, size_t i, char word[WORD_MAX]) {
    size_t n = 0;
    while (i + n < s->len && n < WORD_MAX - 1 && (s->text[i + n] | 32) >= 'a' && (s->text[i + n] | 32) <= 'z') {
        word[n] = (char)(s->text[i + n] | 32);
        n++;
    }
    word[n] = 0;
}

/* Does the lone full stop at `dot` belong to what stands before it, given what stands at `next`? */
static bool is_abbreviation(const scan *s, size_t dot, size_t next) {
    char word[WORD_MAX], after[WORD_MAX];
    bool capital;
    size_t n, from = word_before(s, dot, word, &capital);
    word_after(s, next, after);
    bool digit = (ng_unicode(at(s, next, &n)) & NG_U_NUMBER) != 0;
    if (!*word) { /* "3. Item" at the beginning */
        size_t i = dot;
        while (i > s->start && s->text[i - 1] >= '0' && s->text[i - 1] <= '9') i--;
        return i == s->start && dot > i && dot - i < 4;
    }
    if (IN(never_last, word)) return true;
    if (IN(before_digit, word)) return digit;
    bool initial = (word[1] == 0 && capital) || strchr(word, '.') != NULL;
    if (!initial && !IN(perhaps_last, word)) return false;
    if (from == s->start && word[1] == 0) return true; /* "A. First" */
    if (word[1] == 0 && !strcmp(word, "i")) return false; /* "So do I." */
    return !IN(starters, after);
}

/* With the stops of a run at [i, j) and closers up to k: does the sentence end at k? */
static bool ends_here(const scan *s, size_t i, size_t j, size_t k) {
    size_t n, next = skip_spaces(s, k);
    if (next == k && k < s->len) return false; /* no space: "3.14", "example.com", "?!x" */
    while (next < s->len && is_opener(at(s, next, &n))) next += n;
    if (next >= s->len) return true;
    bool lower = (ng_unicode(at(s, next, &n)) & NG_U_LOWER) != 0;
    uint32_t stop = at(s, i, &n);
    bool lone_dot = stop == '.' && j - i == 1;
    if (lower && (stop == '.' || stop == 0x2026 || k > j)) return false; /* `"Stop!" he said.` */
    return !(lone_dot && is_abbreviation(s, i, next));
}

/* Is the line break at i (a run of spaces up to *end) the end of a paragraph or list item? */
static bool paragraph_ends(const scan *s, size_t i, size_t *end) {
    int breaks = 0;
    size_t n;
    uint32_t cp;
    *end = i;
    while (*end < s->len && is_space(cp = at(s, *end, &n))) {
        breaks += cp == '\n' || cp == 0x2028 ? 1 : cp == 0x2029 ? 2 : 0;
        *end += n;
    }
    return breaks > 1 || (breaks == 1 && is_bullet(s, *end));
}

/* Where the sentence that begins at s->start ends, spaces behind it not counted. */
static size_t sentence_end(const scan *s) {
    size_t n, i = s->start;
    while (i < s->len) {
        uint32_t cp = at(s, i, &n);
        if (cp == '\n' || cp == 0x2028 || cp == 0x2029 || cp == '\r') {
            size_t end;
            if (paragraph_ends(s, i, &end)) return i;
            i = end;
            continue;
        }
        bool full = is_full_stop(cp);
        if (!full && !is_stop(cp)) {
            i += n;
            continue;
        }
        size_t j = i + n, k;
        while (j < s->len && (is_stop(cp = at(s, j, &n)) || is_full_stop(cp))) j += n, full |= is_full_stop(cp);
        for (k = j; k < s->len && is_closer(at(s, k, &n));) k += n;
        if (full || ends_here(s, i, j, k)) return k;
        i = j;
    }
    return s->len;
}

bool ng_sentence_next(const char *text, size_t len, size_t *pos, ng_span *out) {
    scan s = {text, len, 0};
    s.start = skip_spaces(&s, *pos);
    if (s.start >= len) return *pos = len, false;
    size_t end = sentence_end(&s);
    *pos = end;
    while (end > s.start) { /* spaces before a line break; all of them are valid UTF-8 */
        size_t n, last = end - 1;
        while (last > s.start && ((unsigned char)text[last] & 0xC0) == 0x80) last--;
        if (!is_space(at(&s, last, &n)) || last + n != end) break;
        end = last;
    }
    *out = (ng_span){s.start, end};
    return true;
}

ng_status ng_sentences(const char *text, size_t len, ng_span **out, size_t *n, ng_error *err) {
    size_t cap = 16, used = 0, pos = 0;
    ng_span *spans = malloc(cap * sizeof *spans), one;
    *out = NULL;
    *n = 0;
    while (spans && ng_sentence_next(text, len, &pos, &one)) {
        if (used == cap) {
            ng_span *more = realloc(spans, 2 * cap * sizeof *spans);
            if (!more) free(spans);
            if (!(spans = more)) break;
            cap *= 2;
        }
        spans[used++] = one;
    }
    if (!spans) return ng_fail(err, NG_ENOMEM, "sentences: out of memory after %zu", used);
    *out = spans;
    *n = used;
    return NG_OK;
}
