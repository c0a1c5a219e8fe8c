/* alike.c: see alike.h.
 *
 * A text becomes a list of words, each with the hash of its stem and a few marks; all guards work on two such lists, on the
 * stack.  Words are compared by hash alone: a collision of 64 bits would at worst let one pair pass a guard.
 *
 * Particles, order and words look at the gaps of an alignment: the longest common subsequence of the stems leaves stretches that
 * only one text has, or both have differently. */
#include "alike.h"

#include "core/hash.h"
#include "core/utf8.h"
#include "roles.h"
#include "unicode.h"
#include "words.h"

#include <stdint.h>
#include <string.h>

enum { WORD_BYTES = 48, HAS_NAME = 2, HAS_NUMBER = 4, HAS_NEGATION = 8, HAS_PAYLOAD = 16, BEGINS = 32, ALIGNED_MAX = 120, SIGNS = 16 };

typedef struct word {
    uint64_t stem, whole; /* whole: as it is but for case; of a number: its value */
    unsigned marks, roles;
} word;

typedef struct words {
    word w[NG_ALIKE_WORDS_MAX];
    size_t n;
    unsigned signs[SIGNS]; /* how often each stands there */
    bool asks;
} words;

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
    static const char *const suffixes[] = {"ingly", "edly", "ings", "ing", "ies", "ied", "ers",
                                           "er",    "es",   "ed",   "s",   "e",   "y"};
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

/* Of "it's" those of "it". */
static unsigned roles_of(const char *w) {
    char first[WORD_BYTES];
    size_t n = strcspn(w, "'");
    if (!w[n]) return ng_word_roles(w);
    memcpy(first, w, n);
    first[n] = 0;
    return ng_word_roles(first) & ~(unsigned)NG_ROLE_NEGATION;
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
    out.roles = roles_of(w);
    if ((out.roles & NG_ROLE_NEGATION) || (n > 3 && !memcmp(w + n - 3, "n't", 3))) out.marks |= HAS_NEGATION;
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
        bool open = i == 0 || is_blank(s[i - 1]),
             close = i + step >= len || !begins_upper(s + i + step, len - i - step);
        if (cp == '"') r->quoted = !r->quoted;
        else if (cp == 0x201C || cp == 0xAB) r->quoted = true;
        else if (cp == 0x201D || cp == 0xBB) r->quoted = false;
        else if (cp == '\'' || cp == 0x2018 || cp == 0x2019) r->quoted = open ? true : close ? false : r->quoted;
        if (cp == ':' && (i + 1 >= len || is_blank(s[i + 1]))) r->payload = true;
        if (cp == '.' || cp == '!' || cp == '?' || cp == ':' || cp == '\n' || cp == '"' || cp == '\'' || cp == 0x201C)
            r->begins = true;
    }
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Signs that change what is meant.  A hyphen or a slash counts where a digit follows and no letter stands before, # behind a letter. */
static void count_signs(words *out, const char *s, size_t len) {
    static const uint32_t signs[SIGNS] = {'+', '=', '<', '>',    '^',  '%',  '$',  '*',
                                          '-', '/', '#', 0x20AC, 0xA3, 0xA5, 0xB0, 0xB1};
    for (size_t i = 0, step; i < len; i += step) {
        uint32_t cp;
        step = ng_utf8_decode(&cp, s + i, len - i);
        size_t k = 0;
        while (k < SIGNS && signs[k] != cp) k++;
        if (k == SIGNS) continue;
        char before = 0, after = i + step < len ? s[i + step] : 0;
        if (i) before = s[i - 1];
        if (after == ' ' && i + step + 1 < len) after = s[i + step + 1];
        bool digits = is_digit(after) && (is_blank(before) || is_digit(before) || !before);
        bool letter = (before | 32) >= 'a' && (before | 32) <= 'z';
        if (((cp == '-' || cp == '/') && !digits) || (cp == '#' && !letter)) continue;
        out->signs[k]++;
    }
}

/* A question or an order begins at `first`, perhaps behind words of courtesy. */
static bool asks_from(const words *in, size_t first) {
    while (first < in->n && (in->w[first].roles & NG_ROLE_FILLER) && !(in->w[first].roles & NG_ROLE_ASKS)) first++;
    if (first == in->n) return false;
    if (in->w[first].roles & NG_ROLE_ASKS) return true;
    return first + 1 < in->n && in->w[first].whole == ng_hash64("i", 1, 0) && (in->w[first + 1].roles & NG_ROLE_WANTS);
}

static bool asks(const words *in, const char *s, size_t len) {
    if (memchr(s, '?', len)) return true;
    for (size_t i = 0; i < in->n; i++)
        if ((in->w[i].marks & BEGINS) && asks_from(in, i)) return true;
    return false;
}

/* NG_ALIKE_WORDS_MAX words at most; false: there are more. */
static bool read_words(words *out, const char *s, size_t len) {
    size_t pos = 0, last = 0;
    ng_word at;
    while (len && is_blank(s[len - 1])) len--;
    reading r = {.begins = true, .payload = memchr(s, '\n', len) != NULL};
    *out = (words){.n = 0};
    count_signs(out, s, len);
    while (ng_word_next(s, len, &pos, &at)) {
        if (out->n == NG_ALIKE_WORDS_MAX) return false;
        read_gap(&r, s, last, at.start, len);
        word w = word_of(s, &at, r.begins);
        if (r.quoted || r.payload) w.marks |= HAS_PAYLOAD;
        if (r.begins) w.marks |= BEGINS;
        out->w[out->n++] = w;
        r.begins = false;
        last = at.end;
    }
    out->asks = asks(out, s, len);
    return true;
}

/* ---- guards -------------------------------------------------------------------------------------------- */

/* A thing, a deed or a quality: it has content of its own. */
static bool names(const word *w) { return !(w->roles & NG_ROLE_STOP); }

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
        if ((a->w[i].marks & HAS_NUMBER) && count(a, HAS_NUMBER, a->w[i].whole) != count(b, HAS_NUMBER, a->w[i].whole))
            return false;
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
        content |= names(&a->w[i]);
    }
    for (size_t i = begin; i < b->n - end; i++) content |= names(&b->w[i]);
    return content;
}

static bool same_quantities(const words *a, const words *b) {
    for (size_t i = 0; i < a->n; i++)
        if ((a->w[i].roles & NG_ROLE_QUANTIFIER) && !has(b, 0, b->n, a->w[i].stem)) return false;
    return true;
}

/* Every word of content stands in the other text, in some form. */
static bool same_content(const words *a, const words *b) {
    for (size_t i = 0; i < a->n; i++)
        if (names(&a->w[i]) && !(a->w[i].roles & NG_ROLE_WANTS) && !has(b, 0, b->n, a->w[i].stem)) return false;
    return true;
}

/* ---- guards on the gaps of an alignment ------------------------------------------------------------------ */

/* Words [from, to) of both texts between two words that are aligned. */
typedef struct gap {
    const words *a, *b;
    size_t a_from, a_to, b_from, b_to;
} gap;

/* Heavy small words of one side need a mate of their class on the other; the same of light ones that stand alone. */
static bool has_odd_particle(const words *a, size_t from, size_t to, const words *b, size_t b_from, size_t b_to) {
    for (size_t i = from; i < to; i++) {
        bool alone = to - from == 1 && b_to - b_from == 1, mate = false;
        if ((a->w[i].roles & NG_ROLES_LIGHT) && !alone) continue;
        for (size_t k = b_from; k < b_to; k++)
            mate |= a->w[i].stem == b->w[k].stem || (a->w[i].roles & b->w[k].roles & NG_ROLES_CLASSES);
        if (!mate) return true;
    }
    return false;
}

static ng_unlike judge_gap(const gap *g) {
    size_t own_a = 0, own_b = 0, moved_a = 0, moved_b = 0;
    if (g->a_from == g->a_to || g->b_from == g->b_to) return NG_UNLIKE_NOT;
    for (size_t i = g->a_from; i < g->a_to; i++)
        if (names(&g->a->w[i])) has(g->b, 0, g->b->n, g->a->w[i].stem) ? moved_a++ : own_a++;
    for (size_t i = g->b_from; i < g->b_to; i++)
        if (names(&g->b->w[i])) has(g->a, 0, g->a->n, g->b->w[i].stem) ? moved_b++ : own_b++;
    if (own_a && own_b) return NG_UNLIKE_WORDS;
    if (moved_a && moved_b && !own_a && !own_b) return NG_UNLIKE_ORDER;
    if (own_a + own_b + moved_a + moved_b) return NG_UNLIKE_NOT;
    bool odd = has_odd_particle(g->a, g->a_from, g->a_to, g->b, g->b_from, g->b_to) ||
               has_odd_particle(g->b, g->b_from, g->b_to, g->a, g->a_from, g->a_to);
    return odd ? NG_UNLIKE_PARTICLES : NG_UNLIKE_NOT;
}

/* Of the stretches that differ, `begin` words from the front and `end` from the back being equal: the first guard that speaks, words last. */
static ng_unlike judge_gaps(const words *a, const words *b, size_t begin, size_t end) {
    uint8_t common[ALIGNED_MAX + 1][ALIGNED_MAX + 1] = {{0}}; /* words in common from [i] and [k] on */
    size_t n = a->n - begin - end, m = b->n - begin - end;
    const word *x = a->w + begin, *y = b->w + begin;
    bool replaced = false;
    if (n > ALIGNED_MAX || m > ALIGNED_MAX) return NG_UNLIKE_LENGTH;
    for (size_t i = n; i-- > 0;)
        for (size_t k = m; k-- > 0;) {
            uint8_t skip = common[i + 1][k] > common[i][k + 1] ? common[i + 1][k] : common[i][k + 1];
            common[i][k] = x[i].stem == y[k].stem ? (uint8_t)(common[i + 1][k + 1] + 1) : skip;
        }
    gap g = {a, b, begin, begin, begin, begin};
    for (size_t i = 0, k = 0;;) {
        bool over = i == n || k == m, pair = !over && x[i].stem == y[k].stem;
        if (over || pair) {
            g.a_to = begin + (over ? n : i);
            g.b_to = begin + (over ? m : k);
            ng_unlike u = judge_gap(&g);
            if (u && u != NG_UNLIKE_WORDS) return u;
            replaced |= u == NG_UNLIKE_WORDS;
            if (over) return replaced ? NG_UNLIKE_WORDS : NG_UNLIKE_NOT;
            g.a_from = begin + ++i;
            g.b_from = begin + ++k;
        } else if (common[i + 1][k] >= common[i][k + 1]) i++;
        else k++;
    }
}

static bool same_stems(const word *a, const word *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (a[i].stem != b[i].stem) return false;
    return true;
}

static bool has_content(const word *w, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (names(&w[i])) return true;
    return false;
}

/* a is X between Y, b is Y between X: "from euros to dollars".  Around "and" and "or" that changes nothing. */
static bool exchanges(const word *a, const word *b, size_t n) {
    static const char *const both[] = {"and", "or"};
    if (n > ALIGNED_MAX / 2) return false;
    for (size_t x = 1; x + 2 <= n; x++) {
        if (!same_stems(a, b + n - x, x) || !has_content(a, x)) continue;
        for (size_t y = 1; x + y < n; y++) {
            size_t middle = n - x - y;
            bool even =
                middle == 1 && (a[x].whole == ng_hash64(both[0], 3, 0) || a[x].whole == ng_hash64(both[1], 2, 0));
            if (!even && same_stems(a + n - y, b, y) && has_content(b, y) && same_stems(a + x, b + y, middle))
                return true;
        }
    }
    return false;
}

static ng_unlike judge_order(const words *a, const words *b) {
    size_t begin = 0, end = 0, n = a->n < b->n ? a->n : b->n;
    while (begin < n && a->w[begin].stem == b->w[begin].stem) begin++;
    while (end < n - begin && a->w[a->n - 1 - end].stem == b->w[b->n - 1 - end].stem) end++;
    if (a->n == b->n && exchanges(a->w + begin, b->w + begin, a->n - begin - end)) return NG_UNLIKE_ORDER;
    return judge_gaps(a, b, begin, end);
}

ng_unlike ng_text_unlike(const char *a, size_t a_len, const char *b, size_t b_len) {
    words x, y;
    if (!read_words(&x, a, a_len) || !read_words(&y, b, b_len)) return NG_UNLIKE_LENGTH;
    if (!same_numbers(&x, &y)) return NG_UNLIKE_NUMBERS;
    if (count(&x, HAS_NEGATION, 0) != count(&y, HAS_NEGATION, 0)) return NG_UNLIKE_NEGATION;
    if (has_own_name(&x, &y) && has_own_name(&y, &x)) return NG_UNLIKE_NAMES;
    if (!same_payload(&x, &y)) return NG_UNLIKE_PAYLOAD;
    if (memcmp(x.signs, y.signs, sizeof x.signs)) return NG_UNLIKE_SIGNS;
    if (!same_quantities(&x, &y) || !same_quantities(&y, &x)) return NG_UNLIKE_QUANTITY;
    if (is_slot(&x, &y)) return NG_UNLIKE_SLOT;
    bool asked = x.asks || y.asks;
    ng_unlike gaps = judge_order(&x, &y);
    if (gaps == NG_UNLIKE_PARTICLES && !asked) gaps = NG_UNLIKE_WORDS;
    if (gaps && gaps != NG_UNLIKE_WORDS) return gaps;
    return asked && (!same_content(&x, &y) || !same_content(&y, &x)) ? NG_UNLIKE_REQUEST : gaps;
}

const char *ng_unlike_name(ng_unlike u) {
    static const char *const names[] = {"nothing", "numbers",   "negation", "names",   "payload", "signs", "quantity",
                                        "slot",    "particles", "order",    "request", "length",  "words"};
    return names[u];
}
