/* evasion.c: see evasion.h.
 *
 * Joining: a letter stands alone when no letter is beside it; letters that stand alone, with the same separator between each two,
 * are a run.  Words of a run have lost their borders ("i g n o r e a l l"), so the cheapest cut into words is looked for
 * (Viterbi over the letters, a word of the lexicon costs what it is rare, any other letter more than most words).  Three letters
 * make a run only where they are one word; more are a run in any case, since nobody writes them so for another reason.
 *
 * Letters behind signs: a core (letters, digits, signs) is strong evidence where a sign stands between letters, or in front of three,
 * and what it stands for is a word.  What is weak alone ("15", "7he", "level5") is believed where two strong ones are in the text. */
#include "evasion.h"

#include "plain.h"
#include <string.h>

enum {
    RUN_MIN = 3, RUN_SURE = 4, RUN_MAX = 256, /* letters that stand apart */
    WORD_MAX = 20,
    LETTER_COST = 170, /* of a letter that belongs to no word */
    CORE_MIN = 3, CORE_MAX = 24,
    EVIDENCE_MIN = 2,  /* strong cores, before weak ones are believed */
    CHOICES_MAX = 5,   /* signs of two readings in a core */
};

static bool is_letter(char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool find_word(const ng_lexicon *l, const char *s, size_t n, uint32_t *cost) {
    *cost = l->cost(l->self, s, n);
    return *cost != 0;
}

/* ---- letters that stand apart ------------------------------------------------------------------- */

/* No letter, digit or byte of a longer character beside it. */
static bool stands_alone(const char *t, size_t len, size_t i) {
    bool left = i && (is_letter(t[i - 1]) || is_digit(t[i - 1]) || t[i - 1] & 0x80);
    bool right = i + 1 < len && (is_letter(t[i + 1]) || is_digit(t[i + 1]) || t[i + 1] & 0x80);
    return is_letter(t[i]) && !left && !right;
}

/* The letters of the run at t[i]: at i, i + 2, i + 4 .. */
static size_t run_at(const char *t, size_t len, size_t i) {
    size_t n = 0;
    char by = i + 1 < len ? t[i + 1] : 0;
    for (; n < RUN_MAX && stands_alone(t, len, i); i += 2, n++)
        if (i + 2 >= len || t[i + 1] != by || !strchr(" -._*|/,~", by)) return n + 1;
    return n;
}

/* Where the words of s[n] end: ends[i] is the length of the word that ends behind letter i, on the cheapest way; 0: a letter
 * of no word. */
static void cut_words(const ng_lexicon *l, const char *s, size_t n, uint8_t *ends) {
    uint32_t best[RUN_MAX + 1] = {0}, cost;
    for (size_t i = 1; i <= n; i++) {
        best[i] = best[i - 1] + LETTER_COST;
        ends[i - 1] = 0;
        for (size_t k = 1; k <= i && k <= WORD_MAX; k++)
            if ((k > 1 || s[i - 1] == 'a' || s[i - 1] == 'i') && find_word(l, s + i - k, k, &cost) && best[i - k] + cost < best[i])
                best[i] = best[i - k] + cost, ends[i - 1] = (uint8_t)k;
    }
}

/* The run's letters as words; letters of no word stay together. */
static void put_run(ng_buf *out, const ng_lexicon *l, const char *s, size_t n) {
    uint8_t ends[RUN_MAX];
    bool begins[RUN_MAX + 1] = {false};
    cut_words(l, s, n, ends);
    for (size_t i = n, k; i > 0; i -= k) {
        k = ends[i - 1] ? ends[i - 1] : 1;
        if (ends[i - 1]) begins[i] = begins[i - k] = true;
    }
    for (size_t i = 0; i < n; i++) {
        if (i && begins[i]) ng_buf_putc(out, ' ');
        ng_buf_putc(out, s[i]);
    }
}

static bool join(ng_buf *out, const ng_lexicon *l, const char *t, size_t len) {
    bool changed = false;
    size_t kept = 0;
    for (size_t i = 0; i < len;) {
        size_t n = stands_alone(t, len, i) ? run_at(t, len, i) : 0;
        char s[RUN_MAX];
        uint32_t cost;
        for (size_t k = 0; k < n; k++) s[k] = (char)(t[i + 2 * k] | 32);
        if (n < RUN_MIN || (n < RUN_SURE && !find_word(l, s, n, &cost))) {
            i += n ? 2 * n - 1 : 1;
            continue;
        }
        ng_buf_put(out, t + kept, i - kept);
        put_run(out, l, s, n);
        kept = i += 2 * n - 1;
        changed = true;
    }
    if (changed) ng_buf_put(out, t + kept, len - kept);
    return changed;
}

/* ---- signs that stand for letters --------------------------------------------------------------- */

/* The letters that a sign stands for, the usual one first. */
static const char *readings(char c) {
    static const char from[] = "01345789@$!|+";
    static const char *const to[] = {"o", "il", "e", "a", "s", "t", "b", "g", "a", "s", "i", "li", "t"};
    const char *at = c ? strchr(from, c) : NULL;
    return at ? to[at - from] : NULL;
}

static bool in_core(char c) { return is_letter(c) || is_digit(c) || (c && strchr("@$!|+", c)); }

typedef struct core {
    size_t begin, end;
    size_t letters, digits, signs; /* signs: not digits; all of [begin, end) is one of the three */
    bool strong;                   /* by where its signs stand */
} core;

/* Addresses of pages and mail, and what is written with a slash. */
static bool is_address(const char *t, size_t n) {
    bool at = memchr(t, '@', n) && memchr(t, '.', n);
    return at || memchr(t, '/', n) || memchr(t, '\\', n) || (n > 4 && !strncmp(t, "www.", 4));
}

static core core_at(const char *t, size_t begin, size_t end) {
    core c = {.begin = begin, .end = end};
    while (c.end > c.begin && strchr("!|+", t[c.end - 1])) c.end--;
    while (c.begin < c.end && strchr("!|+@", t[c.begin])) c.begin++; /* @: somebody is named */
    size_t lead = c.begin, behind = 0;
    while (lead < c.end && !is_letter(t[lead])) lead++;
    for (size_t i = c.begin; i < c.end; i++) {
        c.letters += is_letter(t[i]);
        c.digits += is_digit(t[i]);
        c.signs += !is_letter(t[i]) && !is_digit(t[i]);
        if (i > lead && is_letter(t[i]) && !is_letter(t[i - 1])) behind++; /* a sign between letters */
    }
    bool in_front = lead > c.begin && lead - c.begin <= 2 && c.letters >= 3, signs_behind = c.signs && c.letters;
    c.strong = c.end - c.begin >= CORE_MIN && (behind || in_front || signs_behind);
    return c;
}

/* The best word that the core stands for; its cost, or 0.  Without any, `out` holds the usual readings, or nothing (len 0) where a
 * sign has none. */
static uint32_t read_core(const ng_lexicon *l, const char *t, const core *c, char out[CORE_MAX], size_t *len) {
    size_t n = c->end - c->begin, at[CHOICES_MAX], n_two = 0;
    char s[CORE_MAX];
    uint32_t least = 0, cost;
    *len = 0;
    if (n > CORE_MAX) return 0;
    for (size_t i = 0; i < n; i++) {
        const char *r = readings(t[c->begin + i]);
        if (!is_letter(t[c->begin + i]) && !r) return 0;
        if (r && r[1] && n_two < CHOICES_MAX) at[n_two++] = i;
        s[i] = r ? r[0] : (char)(t[c->begin + i] | 32);
    }
    memcpy(out, s, n);
    *len = n;
    for (size_t choice = 0; choice < (size_t)1 << n_two; choice++) {
        for (size_t k = 0; k < n_two; k++) s[at[k]] = readings(t[c->begin + at[k]])[choice >> k & 1];
        if (!find_word(l, s, n, &cost) || (least && cost >= least)) continue;
        least = cost;
        memcpy(out, s, n);
    }
    return least;
}

/* One pass over the cores; evidence: of the pass before.  Writes where `out` is not NULL; returns the strong cores that are
 * words. */
static size_t read_signs(ng_buf *out, const ng_lexicon *l, const char *t, size_t len, size_t evidence) {
    size_t strong = 0, kept = 0;
    for (size_t i = 0, end; i < len; i = end) {
        for (end = i; end < len && !is_space(t[end]);) end++;
        bool address = is_address(t + i, end - i);
        for (size_t from = i, to; !address && from < end; from = to + (to == from)) {
            for (to = from; to < end && in_core(t[to]);) to++;
            core c = core_at(t, from, to);
            char word[CORE_MAX];
            size_t n = 0;
            if (c.digits + c.signs == 0 || (c.letters == 0 && (evidence < EVIDENCE_MIN || c.signs || c.digits > 3))) continue;
            bool is_word = read_core(l, t, &c, word, &n) != 0;
            strong += c.strong && is_word;
            bool believed = is_word ? c.strong || evidence >= EVIDENCE_MIN : n && c.letters && evidence > EVIDENCE_MIN;
            if (!believed) continue;
            if (out) ng_buf_put(out, t + kept, c.begin - kept), ng_buf_put(out, word, n);
            kept = c.end;
        }
        end += end < len;
    }
    if (out && kept) ng_buf_put(out, t + kept, len - kept);
    return out ? kept : strong;
}

/* A digit or sign beside a letter, or letters apart: what most texts have none of. */
static void look(const char *t, size_t len, bool *apart, bool *signs) {
    size_t alone = 0;
    for (size_t i = 0; i < len; i++) {
        if (is_letter(t[i])) alone += stands_alone(t, len, i);
        else *signs |= readings(t[i]) && ((i && is_letter(t[i - 1])) || (i + 1 < len && is_letter(t[i + 1])));
    }
    *apart = alone >= RUN_MIN;
}

bool ng_text_unspoil(ng_buf *out, const char *text, size_t len, const ng_lexicon *words) {
    ng_buf plain = ng_buf_init(len + 64), joined = ng_buf_init(2 * len + 64);
    const char *t = text;
    size_t n = len, from = out->len;
    bool apart = false, signs = false, changed = ng_text_plain(&plain, text, len);
    if (changed) t = plain.data, n = plain.len;
    look(t, n, &apart, &signs);
    if (apart && join(&joined, words, t, n)) t = joined.data, n = joined.len, changed = true;
    size_t evidence = signs ? read_signs(NULL, words, t, n, 0) : 0;
    bool written = evidence && read_signs(out, words, t, n, evidence);
    if (!written && changed) ng_buf_put(out, t, n);
    bool failed = out->status || plain.status || joined.status;
    ng_buf_clear(&plain);
    ng_buf_clear(&joined);
    if (failed) out->len = from;
    return !failed && (written || changed);
}
