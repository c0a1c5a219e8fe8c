/* alike.c: see alike.h.
 *
 * A text becomes a list of words, each with the hash of its stem and a few marks; all guards work on two such lists, on the
 * stack.  Words are compared by hash alone: a collision of 64 bits would at worst let one pair pass a guard. */
#include "alike.h"

#include "core/hash.h"
#include "core/utf8.h"
#include "unicode.h"
#include "words.h"

#include <stdint.h>
#include <string.h>

enum { WORD_BYTES = 48, HAS_STOP = 1, HAS_NAME = 2, HAS_NUMBER = 4, HAS_NEGATION = 8, HAS_PAYLOAD = 16 };

typedef struct word {
    uint64_t stem, whole; /* whole: as it is but for case; of a number: its value */
    unsigned marks;
} word;

typedef struct words {
    word w[NG_ALIKE_WORDS_MAX];
    size_t n;
} words;

static const char *const stops[] = {
    "a", "about", "also", "am", "an", "and", "another", "any", "are", "as", "at", "be", "been", "being", "but", "by", "can",
    "could", "d", "did", "do", "does", "down", "for", "from", "had", "has", "have", "having", "he", "her", "here", "him", "his",
    "how", "i", "if", "in", "into", "is", "it", "its", "just", "ll", "m", "many", "may", "me", "might", "more", "most", "much",
    "must", "my", "of", "off", "on", "one", "onto", "or", "other", "our", "out", "over", "please", "re", "s", "shall", "she",
    "should", "so", "some", "t", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to",
    "under", "up", "us", "ve", "very", "was", "we", "were", "what", "when", "where", "which", "who", "will", "with", "would",
    "you", "your"};
static const char *const negations[] = {"cannot", "neither", "never", "no", "nobody", "none", "nor", "not", "nothing", "without"};
static const char *const numbers[] = {"zero", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"};
static const char *const values[] = {"0", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}; /* "one" is rarely a number */

/* ---- one word ------------------------------------------------------------------------------------------ */

/* Where w stands in a list; n: nowhere. */
static size_t place(const char *const *list, size_t n, const char *w) {
    size_t i = 0;
    while (i < n && strcmp(list[i], w)) i++;
    return i;
}
#define COUNT(list) (sizeof list / sizeof *list)

/* Lower case, into out[WORD_BYTES]; longer words are cut, and typographic apostrophes become plain. */
static size_t lower(char *out, const char *s, size_t len) {
    size_t n = 0;
    for (size_t i = 0, step; i < len; i += step) {
        uint32_t cp;
        step = ng_utf8_decode(&cp, s + i, len - i);
        cp = cp == 0x2019 || cp == 0x2018 ? '\'' : ng_unicode_lower(cp);
        char bytes[4];
        size_t k = ng_utf8_encode(bytes, cp);
        if (n + k >= WORD_BYTES) break;
        memcpy(out + n, bytes, k);
        n += k;
    }
    out[n] = 0;
    return n;
}

static size_t cut_suffix(char *w, size_t n, const char *suffix) {
    size_t k = strlen(suffix);
    if (n < k + 3 || memcmp(w + n - k, suffix, k)) return 0;
    w[n - k] = 0;
    return n - k;
}

/* In place: inflections of English words fall together, more or less. */
static void stem(char *w, size_t n) {
    static const char *const suffixes[] = {"ingly", "edly", "ings", "ing", "ies", "ied", "ers", "er", "es", "ed", "s", "e", "y"};
    if (n > 2 && !memcmp(w + n - 2, "'s", 2)) w[n -= 2] = 0;
    for (size_t i = 0; i < COUNT(suffixes); i++) {
        size_t left = cut_suffix(w, n, suffixes[i]);
        if (!left) continue;
        n = left;
        break;
    }
    if (n > 3 && w[n - 1] == w[n - 2]) w[n - 1] = 0;
}

/* Digits with what separates thousands left out. */
static uint64_t number_of(const char *s, size_t len) {
    char digits[WORD_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < len && n < sizeof digits; i++)
        if (s[i] != ',' && s[i] != '\'') digits[n++] = s[i];
    return ng_hash64(digits, n, 0);
}

static bool begins_upper(const char *s, size_t len) {
    uint32_t cp;
    ng_utf8_decode(&cp, s, len);
    return (ng_unicode(cp) & NG_U_UPPER) != 0;
}

static word word_of(const char *s, const ng_word *at, bool sentence_begins) {
    char w[WORD_BYTES];
    size_t len = at->end - at->start, n = lower(w, s + at->start, len), k;
    word out = {.whole = ng_hash64(w, n, 0)};
    bool digits = false;
    for (size_t i = 0; i < n; i++) digits |= w[i] >= '0' && w[i] <= '9';
    if (at->kind == NG_WORD_NUMBER || digits) out.marks |= HAS_NUMBER, out.whole = number_of(w, n);
    else if ((k = place(numbers, COUNT(numbers), w)) < COUNT(numbers))
        out.marks |= HAS_NUMBER, out.whole = number_of(values[k], strlen(values[k]));
    if (place(negations, COUNT(negations), w) < COUNT(negations) || (n > 3 && !memcmp(w + n - 3, "n't", 3))) out.marks |= HAS_NEGATION;
    if (place(stops, COUNT(stops), w) < COUNT(stops)) out.marks |= HAS_STOP;
    if (!sentence_begins && begins_upper(s + at->start, len) && strcmp(w, "i")) out.marks |= HAS_NAME;
    stem(w, n);
    out.stem = out.marks & HAS_NUMBER ? out.whole : ng_hash64(w, strlen(w), 0);
    return out;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

/* What the characters between two words say of the words after them. */
typedef struct reading {
    bool begins;  /* a sentence */
    bool quoted;
    bool payload; /* after a colon, or in a text of several lines */
} reading;

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static void read_gap(reading *r, const char *s, size_t from, size_t to, size_t len) {
    for (size_t i = from, step; i < to; i += step) {
        uint32_t cp;
        step = ng_utf8_decode(&cp, s + i, to - i);
        bool open = i == 0 || is_blank(s[i - 1]), close = i + step >= len || !begins_upper(s + i + step, len - i - step);
        if (cp == '"') r->quoted = !r->quoted;
        else if (cp == 0x201C || cp == 0xAB) r->quoted = true;
        else if (cp == 0x201D || cp == 0xBB) r->quoted = false;
        else if (cp == '\'' || cp == 0x2018 || cp == 0x2019) r->quoted = open ? true : close ? false : r->quoted;
        if (cp == ':' && (i + 1 >= len || is_blank(s[i + 1]))) r->payload = true;
        if (cp == '.' || cp == '!' || cp == '?' || cp == ':' || cp == '\n' || cp == '"' || cp == '\'' || cp == 0x201C) r->begins = true;
    }
}

/* NG_ALIKE_WORDS_MAX words at most; false: there are more. */
static bool read_words(words *out, const char *s, size_t len) {
    size_t pos = 0, last = 0;
    ng_word at;
    while (len && is_blank(s[len - 1])) len--;
    reading r = {.begins = true, .payload = memchr(s, '\n', len) != NULL};
    out->n = 0;
    while (ng_word_next(s, len, &pos, &at)) {
        if (out->n == NG_ALIKE_WORDS_MAX) return false;
        read_gap(&r, s, last, at.start, len);
        word w = word_of(s, &at, r.begins);
        if (r.quoted || r.payload) w.marks |= HAS_PAYLOAD;
        out->w[out->n++] = w;
        r.begins = false;
        last = at.end;
    }
    return true;
}

/* ---- guards -------------------------------------------------------------------------------------------- */

static bool has(const words *in, size_t from, size_t to, uint64_t stem) {
    for (size_t i = from; i < to; i++)
        if (in->w[i].stem == stem) return true;
    return false;
}

static size_t count(const words *in, unsigned mark, uint64_t whole) {
    size_t n = 0;
    for (size_t i = 0; i < in->n; i++) n += (in->w[i].marks & mark) && (!whole || in->w[i].whole == whole);
    return n;
}

static bool same_numbers(const words *a, const words *b) {
    if (count(a, HAS_NUMBER, 0) != count(b, HAS_NUMBER, 0)) return false;
    for (size_t i = 0; i < a->n; i++)
        if ((a->w[i].marks & HAS_NUMBER) && count(a, HAS_NUMBER, a->w[i].whole) != count(b, HAS_NUMBER, a->w[i].whole)) return false;
    return true;
}

static bool has_own_name(const words *a, const words *b) {
    for (size_t i = 0; i < a->n; i++)
        if ((a->w[i].marks & HAS_NAME) && !has(b, 0, b->n, a->w[i].stem)) return true;
    return false;
}

static bool same_payload(const words *a, const words *b) {
    size_t i = 0, k = 0;
    for (;; i++, k++) {
        while (i < a->n && !(a->w[i].marks & HAS_PAYLOAD)) i++;
        while (k < b->n && !(b->w[k].marks & HAS_PAYLOAD)) k++;
        if (i == a->n || k == b->n) return i == a->n && k == b->n;
        if (a->w[i].whole != b->w[k].whole) return false;
    }
}

/* Between what they begin and end with alike: words on both sides, none in common, and not all of them stop words. */
static bool is_slot(const words *a, const words *b) {
    size_t begin = 0, end = 0, n = a->n < b->n ? a->n : b->n;
    bool content = false;
    while (begin < n && a->w[begin].stem == b->w[begin].stem) begin++;
    while (end < n - begin && a->w[a->n - 1 - end].stem == b->w[b->n - 1 - end].stem) end++;
    if (begin == a->n - end || begin == b->n - end) return false;
    for (size_t i = begin; i < a->n - end; i++) {
        if (has(b, begin, b->n - end, a->w[i].stem)) return false;
        content |= !(a->w[i].marks & HAS_STOP);
    }
    for (size_t i = begin; i < b->n - end; i++) content |= !(b->w[i].marks & HAS_STOP);
    return content;
}

ng_unlike ng_text_unlike(const char *a, size_t a_len, const char *b, size_t b_len) {
    words x, y;
    if (!read_words(&x, a, a_len) || !read_words(&y, b, b_len)) return NG_UNLIKE_LENGTH;
    if (!same_numbers(&x, &y)) return NG_UNLIKE_NUMBERS;
    if (count(&x, HAS_NEGATION, 0) != count(&y, HAS_NEGATION, 0)) return NG_UNLIKE_NEGATION;
    if (has_own_name(&x, &y) && has_own_name(&y, &x)) return NG_UNLIKE_NAMES;
    if (!same_payload(&x, &y)) return NG_UNLIKE_PAYLOAD;
    return is_slot(&x, &y) ? NG_UNLIKE_SLOT : NG_UNLIKE_NOT;
}

const char *ng_unlike_name(ng_unlike u) {
    static const char *const names[] = {"nothing", "numbers", "negation", "names", "payload", "slot", "length"};
    return names[u];
}
