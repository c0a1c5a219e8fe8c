/* reask.c: see reask.h.
 *
 * Words are runs of letters and digits in lower case, kept as hashes; a set of at most WORDS_MAX, so a long text is judged
 * by its beginning.  Texts in scripts without spaces make one long word each, and then only the same text is a repetition. */
#include "reask.h"

#include "core/hash.h"
#include "core/utf8.h"
#include "text/unicode.h"
#include <assert.h>
#include <pthread.h>
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

enum { PHRASE_WORDS = 5 };
static const char *const phrases[] = {
    "thats wrong", "that is wrong", "thats not right", "that is not right", "not what i asked", "not what i meant", "wrong answer",
    "you are wrong", "youre wrong", "thats incorrect", "that is incorrect", "thats not correct", "that is not correct",
    "not helpful", "didnt answer my question", "did not answer my question", "doesnt answer my question", "does not answer my question",
    "try again", "that makes no sense", "read my question again", "you misunderstood"};
enum { PHRASES = sizeof phrases / sizeof phrases[0] };

/* Read once: to hash them again for each turn took longer than all else here. */
static struct {
    uint64_t hash[PHRASE_WORDS];
    size_t n;
} known[PHRASES];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_phrases(void) {
    words w;
    for (size_t i = 0; i < PHRASES; i++) {
        read_words(&w, phrases[i], strlen(phrases[i]));
        assert(w.n <= PHRASE_WORDS);
        memcpy(known[i].hash, w.hash, w.n * sizeof *w.hash);
        known[i].n = w.n;
    }
}

static bool says(const words *w, size_t phrase) {
    for (size_t i = 0; i + known[phrase].n <= w->n; i++)
        if (!memcmp(w->hash + i, known[phrase].hash, known[phrase].n * sizeof *w->hash)) return true;
    return false;
}

static bool is_dissatisfied(const words *w) {
    pthread_once(&once, read_phrases);
    for (size_t i = 0; w->n <= DISSATISFIED_MAX && i < PHRASES; i++)
        if (says(w, i)) return true;
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
