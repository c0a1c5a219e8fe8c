/* reask.c: see reask.h.
 *
 * Words are runs of letters and digits in lower case, kept as hashes; a set of at most WORDS_MAX, so a long text is judged
 * by its beginning.  Texts in scripts without spaces make one long word each, and then only the same text is a repetition. */
#include "reask.h"

#include "core/hash.h"
#include "core/utf8.h"
#include "text/unicode.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { WORDS_MAX = 128, REPEATED_MIN = 3, DISSATISFIED_MAX = 24 };

typedef struct words {
    uint64_t hash[WORDS_MAX]; /* in order, with repeats */
    size_t n;
} words;

static void read_words(words *w, const char *text, size_t len) {
    uint64_t h = 0;
    w->n = 0;
    for (size_t i = 0; i < len && w->n < WORDS_MAX;) {
        uint32_t cp;
        i += ng_utf8_decode(&cp, text + i, len - i);
        bool quote = cp == '\'' || cp == 0x2019; /* "that's" is one word, however it is typed */
        bool in = quote ? h != 0 : (ng_unicode(cp) & (NG_U_LETTER | NG_U_NUMBER | NG_U_MARK)) != 0;
        if (in && !quote) h = ng_hash_mix(h ^ ng_unicode_lower(cp)) | 1;
        if (h && (!in || i == len)) {
            w->hash[w->n++] = h;
            h = 0;
        }
    }
}

static bool has(const words *w, uint64_t h, size_t before) {
    for (size_t i = 0; i < before; i++)
        if (w->hash[i] == h) return true;
    return false;
}

/* Distinct words of a, and how many of them b has. */
static void count(const words *a, const words *b, size_t *distinct, size_t *shared) {
    *distinct = *shared = 0;
    for (size_t i = 0; i < a->n; i++) {
        if (has(a, a->hash[i], i)) continue;
        ++*distinct;
        *shared += has(b, a->hash[i], b->n);
    }
}

static bool is_repeated(const words *a, const words *b) {
    size_t n_a, n_b, shared;
    count(b, a, &n_b, &shared);
    count(a, b, &n_a, &shared);
    return n_a >= REPEATED_MIN && n_b >= REPEATED_MIN && 10 * shared >= 7 * (n_a + n_b - shared);
}

static bool says(const words *w, const char *phrase) {
    words p;
    read_words(&p, phrase, strlen(phrase));
    for (size_t i = 0; i + p.n <= w->n; i++)
        if (!memcmp(w->hash + i, p.hash, p.n * sizeof *p.hash)) return true;
    return false;
}

static bool is_dissatisfied(const words *w) {
    static const char *const phrases[] = {
        "thats wrong", "that is wrong", "thats not right", "that is not right", "not what i asked", "not what i meant", "wrong answer",
        "you are wrong", "youre wrong", "thats incorrect", "that is incorrect", "thats not correct", "that is not correct",
        "not helpful", "didnt answer my question", "did not answer my question", "doesnt answer my question", "does not answer my question",
        "try again", "that makes no sense", "read my question again", "you misunderstood"};
    for (size_t i = 0; w->n <= DISSATISFIED_MAX && i < sizeof phrases / sizeof phrases[0]; i++)
        if (says(w, phrases[i])) return true;
    return false;
}

ng_reask ng_reask_of(const char *before, size_t before_len, const char *now, size_t now_len) {
    words a, b;
    read_words(&b, now, now_len);
    if (is_dissatisfied(&b)) return NG_REASK_DISSATISFIED;
    read_words(&a, before, before_len);
    return is_repeated(&a, &b) ? NG_REASK_REPEATED : NG_REASK_NO;
}

const char *ng_reask_name(ng_reask r) {
    return r == NG_REASK_REPEATED ? "repeated" : r == NG_REASK_DISSATISFIED ? "dissatisfied" : NULL;
}
