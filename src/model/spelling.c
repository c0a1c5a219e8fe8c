/* spelling.c: a noisy channel (Kernighan, Church and Gale 1990) over words packed into integers.  See spelling.h.
 *
 * A word of up to twelve letters is one integer, so a slip is a shift and a mask and needs no text.  Every word that one slip
 * could have come from (some 54 a letter) is looked up; a filter of 64 kB that stays in the cache turns nearly all of them
 * away.  What is left is scored: how likely it is between its two neighbours, and how likely that slip is.
 *
 * Most texts have no error, so looking must cost nothing there: a known word is in doubt only where it was never seen beside
 * either neighbour.  The words that stood in doubt are gone over twice, for an error changes how its neighbours look. */
#include "spelling.h"

#include "core/hash.h"
#include "core/math.h"
#include "gguf/gguf.h"
#include <stdlib.h>
#include <string.h>

enum { FILTER_BITS = 19, WORDS_OF_TEXT_MAX = 512, CANDIDATES_MAX = 64, PAIR_LEVELS = 16 };

/* How likely a slip is against none: e^-5, e^-4, e^-5, e^-4, e^-6.5, e^-8. */
static const double LEFT_OUT = 6.7379e-3, SWAPPED = 1.83156e-2, BESIDE = 6.7379e-3, DOUBLED = 1.83156e-2,
                    ADDED = 1.50344e-3, REPLACED = 3.35463e-4;
/* A word of the list is no error until its neighbours speak clearly: e^2. */
static const double KNOWN = 7.38906;
/* How often a word is taken to be seen that is not in the list. */
static const double UNKNOWN_COUNT = 0.3;
/* What pairs say against single words. */
static const double PAIR_SHARE = 0.75, FLOOR = 1e-9;

struct ng_spelling {
    ng_gguf *gguf;
    uint64_t *keys;     /* [mask + 1]; 0: empty */
    uint8_t *codes;     /* [mask + 1] */
    uint64_t *filter;   /* [2^FILTER_BITS / 64] */
    size_t mask;
    const uint16_t *pairs; /* [n_pairs], mapped */
    size_t n_pairs;
    double total;       /* of all counts */
    double count_of[256], pair_count_of[PAIR_LEVELS];
};

/* ---- words of a text ---------------------------------------------------------------------------- */

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
static unsigned letter_code(char c) { return (unsigned)((c | 32) - 'a') < 26 ? (unsigned)((c | 32) - 'a') + 1 : 0; }
static bool is_alnum(char c) { return letter_code(c) || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80; }

static uint64_t pack(const char *word, size_t len) {
    uint64_t key = 0;
    if (len > NG_SPELLING_LETTERS_MAX || !len) return NG_SPELLING_OTHER;
    for (size_t i = 0; i < len; i++) {
        unsigned c = word[i] == '\'' ? 27 : letter_code(word[i]);
        if (!c) return NG_SPELLING_OTHER;
        key = key << 5 | c;
    }
    return key;
}

bool ng_spelling_next(ng_spelling_word *w, const char *text, size_t len, size_t *at) {
    for (size_t i = *at, end; i < len; i = end) {
        while (i < len && is_space(text[i])) i++;
        for (end = i; end < len && !is_space(text[end]);) end++;
        *at = end;
        size_t last = end;
        while (i < last && !is_alnum(text[i])) i++;
        while (last > i && !is_alnum(text[last - 1])) last--;
        if (i == last) continue;
        bool capital = text[i] < 'a' && letter_code(text[i]);
        *w = (ng_spelling_word){i, last, pack(text + i, last - i), capital && last > i + 1 && text[i + 1] >= 'a'};
        return true;
    }
    return false;
}

static size_t n_letters(uint64_t key) { return key ? (size_t)(64 - __builtin_clzll(key) + 4) / 5 : 0; }

/* ---- the list ----------------------------------------------------------------------------------- */

ng_spelling_pair ng_spelling_pair_of(uint64_t first, uint64_t second, size_t n_slots) {
    uint64_t h = ng_hash_mix(first * 0x9e3779b97f4a7c15ULL ^ second);
    uint16_t tag = (uint16_t)(h >> 52);
    return (ng_spelling_pair){(size_t)h & (n_slots / NG_SPELLING_PAIR_SLOTS - 1), (uint16_t)((tag ? tag : 1u) << 4)};
}

static double pair_count(const ng_spelling *s, uint64_t first, uint64_t second) {
    ng_spelling_pair p = ng_spelling_pair_of(first, second, s->n_pairs);
    const uint16_t *slot = s->pairs + p.bucket * NG_SPELLING_PAIR_SLOTS;
    for (size_t i = 0; i < NG_SPELLING_PAIR_SLOTS; i++)
        if ((slot[i] & 0xFFF0) == p.tag) return s->pair_count_of[slot[i] & 15];
    return 0;
}

static uint64_t spread(uint64_t key) { return key * 0x9e3779b97f4a7c15ULL; }

/* Two bits of one word of the filter. */
static uint64_t *filter_word(const ng_spelling *s, uint64_t h, uint64_t *bits) {
    *bits = (uint64_t)1 << (h >> 26 & 63) | (uint64_t)1 << (h >> 20 & 63);
    return &s->filter[h >> (64 - FILTER_BITS + 6)];
}

static void put_key(ng_spelling *s, uint64_t key, uint8_t code) {
    uint64_t h = spread(key), bits;
    size_t i = (h >> 32) & s->mask;
    while (s->keys[i]) i = (i + 1) & s->mask;
    s->keys[i] = key;
    s->codes[i] = code;
    *filter_word(s, h, &bits) |= bits;
}

static bool may_have(const ng_spelling *s, uint64_t h) {
    uint64_t bits;
    return (*filter_word(s, h, &bits) & bits) == bits;
}

/* How often it was seen; 0: it is not in the list. */
static double word_count(const ng_spelling *s, uint64_t key) {
    uint64_t h = spread(key);
    if (!may_have(s, h)) return 0;
    for (size_t i = (h >> 32) & s->mask; s->keys[i]; i = (i + 1) & s->mask)
        if (s->keys[i] == key) return s->count_of[s->codes[i]];
    return 0;
}

static ng_status bad(const ng_spelling *s, ng_error *err, const char *what) {
    return ng_fail(err, NG_EFORMAT, "%s: spelling: %s", ng_gguf_path(s->gguf), what);
}

static const ng_gguf_tensor *row(const ng_spelling *s, const char *name, ng_type type) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(s->gguf, name);
    return t && t->type == type && t->dims[0] && t->dims[1] == 1 && t->dims[2] == 1 && t->dims[3] == 1 ? t : NULL;
}

static bool is_word(uint64_t key) {
    if (!key || key >> (5 * NG_SPELLING_LETTERS_MAX)) return false;
    for (; key; key >>= 5)
        if (!(key & 31) || (key & 31) > 27) return false;
    return true;
}

static ng_status read_words(ng_spelling *s, ng_error *err) {
    const ng_gguf_tensor *words = row(s, "spelling.words", NG_TYPE_I64),
                         *counts = row(s, "spelling.counts", NG_TYPE_I8);
    if (!words || !counts || words->dims[0] != counts->dims[0] || words->dims[0] > NG_SPELLING_WORDS_MAX)
        return bad(s, err, "words and counts must be as many, at most 131072");
    size_t n = words->dims[0], size = 64;
    while (size < 2 * n) size *= 2;
    s->mask = size - 1;
    s->keys = calloc(size, sizeof *s->keys);
    s->codes = calloc(size, 1);
    s->filter = calloc(((size_t)1 << FILTER_BITS) / 64, sizeof *s->filter);
    if (!s->keys || !s->codes || !s->filter) return ng_fail(err, NG_ENOMEM, "spelling: out of memory");
    uint64_t before = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t key;
        memcpy(&key, (const char *)words->data + i * sizeof key, sizeof key);
        if (!is_word(key) || key <= before) return bad(s, err, "the words must be of letters, and rise");
        uint8_t code = ((const uint8_t *)counts->data)[i];
        put_key(s, before = key, code);
        s->total += s->count_of[code];
    }
    return NG_OK;
}

static ng_status read_pairs(ng_spelling *s, ng_error *err) {
    const ng_gguf_tensor *t = row(s, "spelling.pairs", NG_TYPE_I16);
    if (!t || t->dims[0] < NG_SPELLING_PAIR_SLOTS || t->dims[0] & (t->dims[0] - 1))
        return bad(s, err, "the pairs must be a power of two, eight or more");
    s->pairs = t->data;
    s->n_pairs = t->dims[0];
    return NG_OK;
}

static ng_status read_all(ng_spelling *s, ng_error *err) {
    ng_str arch;
    uint32_t version;
    ng_status st = ng_gguf_get_str(s->gguf, "general.architecture", &arch, err);
    if (!st && (arch.len != 17 || memcmp(arch.data, "nanogrid-spelling", 17)))
        st = bad(s, err, "this is no list of words");
    if (!st) st = ng_gguf_get_u32(s->gguf, "nanogrid.spelling.version", &version, err);
    if (!st && version != 1) st = bad(s, err, "only version 1 is known");
    for (size_t i = 0; i < 256; i++) s->count_of[i] = ng_exp((double)i / 8 * 0.69314718055994531);
    for (size_t i = 1; i < PAIR_LEVELS; i++) s->pair_count_of[i] = (double)(1u << (i - 1));
    if (!st) st = read_words(s, err);
    return st ? st : read_pairs(s, err);
}

/* Takes g, also on failure. */
static ng_status open_gguf(ng_spelling **out, ng_gguf *g, ng_error *err) {
    ng_spelling *s = calloc(1, sizeof *s);
    if (!s) {
        ng_gguf_close(g);
        return ng_fail(err, NG_ENOMEM, "spelling: out of memory");
    }
    s->gguf = g;
    ng_status st = read_all(s, err);
    if (st) ng_spelling_close(s);
    else *out = s;
    return st;
}

ng_status ng_spelling_open(ng_spelling **out, const char *path, ng_error *err) {
    ng_gguf *g;
    *out = NULL;
    ng_status s = ng_gguf_open(&g, path, err);
    return s ? s : open_gguf(out, g, err);
}

ng_status ng_spelling_open_memory(ng_spelling **out, const void *data, size_t len, const char *name, ng_error *err) {
    ng_gguf *g;
    *out = NULL;
    ng_status s = ng_gguf_open_memory(&g, data, len, name, err);
    return s ? s : open_gguf(out, g, err);
}

void ng_spelling_close(ng_spelling *s) {
    if (!s) return;
    ng_gguf_close(s->gguf);
    free(s->keys);
    free(s->codes);
    free(s->filter);
    free(s);
}

size_t ng_spelling_file_bytes(const ng_spelling *s) { return ng_gguf_file_bytes(s->gguf); }

/* ---- what a word may have been ------------------------------------------------------------------ */

typedef struct candidate {
    uint64_t key;
    double slip, count; /* how likely; how often it was seen */
} candidate;

typedef struct candidates {
    candidate item[CANDIDATES_MAX];
    size_t n;
} candidates;

static void offer(const ng_spelling *s, candidates *c, uint64_t key, double slip) {
    double count = c->n < CANDIDATES_MAX ? word_count(s, key) : 0;
    if (count <= 0) return;
    for (size_t i = 0; i < c->n; i++)
        if (c->item[i].key == key) {
            if (slip > c->item[i].slip) c->item[i].slip = slip;
            return;
        }
    c->item[c->n++] = (candidate){key, slip, count};
}

/* Keys beside a letter on QWERTY, as a bit each. */
static uint32_t keys_beside(unsigned letter) {
    static const char *const beside[26] = {"qwsz",   "vghn", "xdfv",   "serfcx", "wsdr",   "drtgvc", "ftyhbv",
                                           "gyujnb", "ujko", "huikmn", "jiolm",  "kop",    "njk",    "bhjm",
                                           "iklp",   "ol",   "wa",     "edft",   "awedxz", "rfgy",   "yhji",
                                           "cfgb",   "qase", "zsdc",   "tghu",   "asx"};
    uint32_t mask = 0;
    for (const char *k = letter <= 26 ? beside[letter - 1] : ""; *k; k++) mask |= 1u << letter_code(*k);
    return mask;
}

/* Which letters, as a bit each, the list may have words with at place i of `key`, which has none there.  spread() is linear, so that
 * the next letter is one addition away. */
static uint32_t letters_that_fit(const ng_spelling *s, uint64_t key, size_t i) {
    uint64_t h = spread(key), step = spread((uint64_t)1 << 5 * i);
    uint32_t mask = 0;
    for (uint32_t x = 1; x <= 27; x++) mask |= (uint32_t)may_have(s, h += step) << x;
    return mask;
}

/* Every word of the list that one slip turns into `key`.  Letter i counts from the last. */
static void find_candidates(const ng_spelling *s, candidates *c, uint64_t key) {
    size_t n = n_letters(key);
    for (size_t i = 0; i <= n; i++) {
        uint64_t low = key & (((uint64_t)1 << 5 * i) - 1), high = key >> 5 * i;
        if (n < NG_SPELLING_LETTERS_MAX) /* one was left out here */
            for (uint32_t m = letters_that_fit(s, high << 5 << 5 * i | low, i); m; m &= m - 1)
                offer(s, c, (high << 5 | (uint64_t)__builtin_ctz(m)) << 5 * i | low, LEFT_OUT);
        if (i == n) break;
        uint64_t letter = high & 31, rest = high >> 5, next = rest & 31;
        bool twice = next == letter || (i && (low >> 5 * (i - 1)) == letter);
        if (n > 2) offer(s, c, rest << 5 * i | low, twice ? DOUBLED : ADDED);
        if (next && next != letter) offer(s, c, ((rest >> 5) << 10 | letter << 5 | next) << 5 * i | low, SWAPPED);
        uint32_t beside = keys_beside((unsigned)letter);
        for (uint32_t m = letters_that_fit(s, rest << 5 << 5 * i | low, i) & ~((uint32_t)1 << 27 | (uint32_t)1 << letter); m; m &= m - 1) {
            uint64_t x = (uint64_t)__builtin_ctz(m);
            offer(s, c, (rest << 5 | x) << 5 * i | low, beside >> x & 1 ? BESIDE : REPLACED);
        }
    }
}

static double seen(const ng_spelling *s, uint64_t key) {
    double n = key < NG_SPELLING_EDGE ? word_count(s, key) : 0;
    return n > 0 ? n : UNKNOWN_COUNT;
}

/* Between what stands before and after, and how often these were seen. */
typedef struct place {
    uint64_t before, after;
    double n_before, n_after;
} place;

static place place_of(const ng_spelling *s, uint64_t before, uint64_t after) {
    return (place){before, after, before == NG_SPELLING_EDGE ? s->total / 20 : seen(s, before),
                   after == NG_SPELLING_EDGE ? s->total / 20 : seen(s, after)};
}

/* P(key | before) P(after | key), smoothed by how often words are seen at all; `here`: how often key was. */
static double fits(const ng_spelling *s, const place *at, uint64_t key, double here) {
    double p = PAIR_SHARE * pair_count(s, at->before, key) / at->n_before + (1 - PAIR_SHARE) * here / s->total;
    double q = PAIR_SHARE * pair_count(s, key, at->after) / here + (1 - PAIR_SHARE) * at->n_after / s->total;
    return (p + FLOOR) * (q + FLOOR);
}

/* ---- a text ------------------------------------------------------------------------------------- */

typedef struct reading {
    ng_spelling_word word[WORDS_OF_TEXT_MAX];
    uint64_t now[WORDS_OF_TEXT_MAX + 2]; /* what each is taken for, an edge at either end: word i is now[i + 1] */
    size_t n;
} reading;

/* False: too few words are known. */
static bool read_text(const ng_spelling *s, reading *r, const char *text, size_t len) {
    size_t at = 0, known = 0, words = 0;
    r->n = 0;
    r->now[0] = NG_SPELLING_EDGE;
    while (r->n < WORDS_OF_TEXT_MAX && ng_spelling_next(&r->word[r->n], text, len, &at)) {
        uint64_t key = r->word[r->n].key;
        r->now[++r->n] = key;
        if (key == NG_SPELLING_OTHER) continue;
        words++;
        known += word_count(s, key) > 0;
    }
    r->now[r->n + 1] = NG_SPELLING_EDGE;
    return known && known * 2 >= words;
}

static bool in_doubt(const ng_spelling *s, const reading *r, size_t i) {
    const ng_spelling_word *w = &r->word[i];
    uint64_t key = r->now[i + 1];
    if (w->key == NG_SPELLING_OTHER || w->end - w->begin < 2 || (w->name && i)) return false;
    if (word_count(s, key) <= 0) return true;
    return pair_count(s, r->now[i], key) <= 0 && pair_count(s, key, r->now[i + 2]) <= 0;
}

static bool mend(const ng_spelling *s, reading *r, size_t i) {
    candidates c = {.n = 0};
    uint64_t key = r->word[i].key, best = key;
    find_candidates(s, &c, key);
    if (!c.n) return false;
    place at = place_of(s, r->now[i], r->now[i + 2]);
    double top = fits(s, &at, key, seen(s, key)) * (word_count(s, key) > 0 ? KNOWN : 1);
    for (size_t k = 0; k < c.n; k++) {
        double score = fits(s, &at, c.item[k].key, c.item[k].count) * c.item[k].slip;
        if (score > top) top = score, best = c.item[k].key;
    }
    bool changed = best != r->now[i + 1];
    r->now[i + 1] = best;
    return changed;
}

static void put_word(ng_buf *out, uint64_t key) {
    char word[NG_SPELLING_LETTERS_MAX];
    size_t n = n_letters(key);
    for (size_t i = n; i-- > 0; key >>= 5) word[i] = (key & 31) == 27 ? '\'' : (char)('a' + (key & 31) - 1);
    ng_buf_put(out, word, n);
}

bool ng_spelling_fix(const ng_spelling *s, ng_buf *out, const char *text, size_t len) {
    reading r;
    size_t from = out->len, end = 0;
    bool any = false;
    if (!read_text(s, &r, text, len)) return false;
    for (int round = 0; round < 2 && any == (round > 0); round++)
        for (size_t i = 0; i < r.n; i++)
            if (in_doubt(s, &r, i)) any |= mend(s, &r, i);
    for (size_t i = 0; any && i < r.n; i++) {
        const ng_spelling_word *w = &r.word[i];
        if (r.now[i + 1] == w->key) continue;
        ng_buf_put(out, text + end, w->begin - end);
        put_word(out, r.now[i + 1]);
        end = w->end;
    }
    if (end) ng_buf_put(out, text + end, len - end);
    if (end && !out->status) return true;
    out->len = from;
    return false;
}
