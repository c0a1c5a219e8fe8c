/* passage.c: see passage.h.
 *
 * A question is its content words (weights by rarity) and its kind: the question word, with the word behind it.  "did",
 * "the", "he" have no weight.  Stems are the first letters of a word without its ending, irregular verbs by table: for
 * "what did the wolf eat" the passage says "ate".
 *
 * Features are pairs and triples of small facts, hashed: the linear model on top has no other way to say "after `because`
 * in the sentence that covers most of a why-question". */
#include "passage.h"

#include "core/arena.h"
#include "core/hash.h"
#include "core/math.h"
#include "core/utf8.h"
#include "text/sentence.h"
#include "text/unicode.h"
#include "text/words.h"
#include <stdlib.h>
#include <string.h>

enum { WORD_BYTES = 48, STEM_BYTES = 5, REACH = 8 };

/* ---- words -------------------------------------------------------------------------------------- */

typedef struct folded {
    char s[WORD_BYTES];
    size_t n;
} folded;

static folded fold(const char *s, size_t len) {
    folded f = {.n = 0};
    for (size_t i = 0; i < len && f.n + 4 <= sizeof f.s;) {
        uint32_t cp;
        i += ng_utf8_decode(&cp, s + i, len - i);
        cp = ng_unicode_lower(cp);
        f.n += ng_utf8_encode(f.s + f.n, cp == 0x2019 ? '\'' : cp);
    }
    return f;
}

static uint64_t hash_of(const folded *f) { return ng_hash64(f->s, f->n, 0) | 1; }

static bool ends(const folded *f, const char *with, size_t least) {
    size_t n = strlen(with);
    return f->n >= n + least && !memcmp(f->s + f->n - n, with, n);
}

/* Verbs whose past shares no beginning with the present. */
static const char *const irregular[][2] = {
    {"went", "go"},      {"gone", "go"},      {"said", "say"},     {"told", "tell"},    {"gave", "give"},   {"took", "take"},
    {"found", "find"},   {"saw", "see"},      {"seen", "see"},     {"came", "come"},    {"made", "make"},   {"got", "get"},
    {"thought", "think"}, {"brought", "bring"}, {"ate", "eat"},    {"knew", "know"},    {"became", "become"}, {"felt", "feel"},
    {"left", "leave"},   {"ran", "run"},      {"fell", "fall"},    {"heard", "hear"},   {"met", "meet"},    {"kept", "keep"},
    {"bought", "buy"},   {"sent", "send"},    {"lost", "lose"},    {"wrote", "write"},  {"spoke", "speak"}, {"broke", "break"},
    {"stole", "steal"},  {"chose", "choose"}, {"drove", "drive"},  {"rode", "ride"},    {"rose", "rise"},   {"threw", "throw"},
    {"flew", "fly"},     {"grew", "grow"},    {"drew", "draw"},    {"slept", "sleep"},  {"wept", "weep"},   {"built", "build"},
    {"held", "hold"},    {"stood", "stand"},  {"understood", "understand"}, {"sold", "sell"}, {"caught", "catch"},
    {"taught", "teach"}, {"sought", "seek"},  {"fought", "fight"}, {"began", "begin"},  {"begun", "begin"}, {"drank", "drink"},
    {"sang", "sing"},    {"sat", "sit"},      {"swam", "swim"},    {"won", "win"},      {"wore", "wear"},   {"woke", "wake"},
    {"paid", "pay"},     {"laid", "lay"},     {"lay", "lie"},      {"led", "lead"},     {"fed", "feed"},    {"hid", "hide"},
    {"bit", "bite"},     {"shot", "shoot"},   {"struck", "strike"}, {"hung", "hang"},   {"dug", "dig"},     {"forgot", "forget"},
    {"died", "die"},     {"dead", "die"},     {"death", "die"},    {"children", "child"}, {"men", "man"},   {"women", "woman"},
    {"wives", "wife"},   {"feet", "foot"},    {"meant", "mean"},   {"spent", "spend"},  {"swore", "swear"}, {"tore", "tear"},
};

static void cut_ending(folded *f) {
    if (ends(f, "'s", 1)) f->n -= 2;
    for (size_t i = 0; i < sizeof irregular / sizeof *irregular; i++)
        if (f->n == strlen(irregular[i][0]) && !memcmp(f->s, irregular[i][0], f->n)) {
            f->n = strlen(irregular[i][1]);
            memcpy(f->s, irregular[i][1], f->n);
            return;
        }
    size_t before = f->n;
    if (ends(f, "ing", 3)) f->n -= 3;
    else if (ends(f, "ied", 2) || ends(f, "ies", 2)) f->n -= 2;
    else if (ends(f, "ed", 3) || ends(f, "es", 3) || ends(f, "ly", 3)) f->n -= 2;
    else if (ends(f, "s", 3) && f->s[f->n - 2] != 's') f->n -= 1;
    if (f->n < before && f->n > 3 && f->s[f->n - 1] == f->s[f->n - 2] && !strchr("ls", f->s[f->n - 1])) f->n--; /* running */
    if (f->n > 3 && f->s[f->n - 1] == 'e') f->n--;
    if (f->n > 2 && f->s[f->n - 1] == 'y') f->s[f->n - 1] = 'i';
}

static uint64_t stem_of(const folded *word) {
    folded f = *word;
    cut_ending(&f);
    if (f.n > STEM_BYTES) f.n = STEM_BYTES;
    return ng_hash64(f.s, f.n, 1) | 1;
}

/* Sorted words between spaces; the function words of questions and of what they are about. */
static bool is_function_word(const folded *f) {
    static const char words[] =
        " a about after all an and any are as at be because been before being both but by can could did do does done "
        "for from had "
        "has have he her him his how i if in into is it its just me might my no not of off on one or our out over "
        "people put "
        "she should so some than that the their them then there these they this those through to too under up use used "
        "very was "
        "we were what when where which while who whom whose why will with would you your happen happened ";
    char key[WORD_BYTES + 3];
    key[0] = ' ';
    memcpy(key + 1, f->s, f->n);
    key[f->n + 1] = ' ', key[f->n + 2] = 0;
    return f->n < 16 && !memchr(f->s, 0, f->n) && strstr(words, key);
}

/* ---- rarity ------------------------------------------------------------------------------------- */

static uint32_t rarity_bucket(uint64_t stem) { return (uint32_t)(ng_hash_mix(stem) % NG_RARITY_BUCKETS); }

void ng_rarity_count(uint32_t *counts, const char *text, size_t len) {
    uint32_t seen[256];
    size_t n = 0, pos = 0;
    ng_word w;
    while (n < sizeof seen / sizeof *seen && ng_word_next(text, len, &pos, &w)) {
        folded f = fold(text + w.start, w.end - w.start);
        uint32_t b = rarity_bucket(stem_of(&f));
        bool again = false;
        for (size_t i = 0; i < n && !again; i++) again = seen[i] == b;
        if (!again) seen[n++] = b, counts[b]++;
    }
}

void ng_rarity_make(ng_rarity *out, const uint32_t *counts, size_t n_sentences) {
    for (size_t i = 0; i < NG_RARITY_BUCKETS; i++) {
        double r = NG_RARITY_UNIT * ng_log((double)(n_sentences + 1) / (double)(counts[i] + 1));
        out->of[i] = (uint8_t)(r < 0 ? 0 : r > 255 ? 255 : r);
    }
}

/* ---- the question ------------------------------------------------------------------------------- */

static void read_question(ng_passage_question *q, const ng_rarity *rarity, const char *text, size_t len) {
    static const char *const kinds[] = {"who", "whom", "whose", "what", "which", "where", "when", "why", "how"};
    size_t pos = 0;
    ng_word w;
    int kind_at = -1;
    q->first = q->last = -1;
    while (q->n < NG_PASSAGE_QUESTION_MAX && ng_word_next(text, len, &pos, &w)) {
        folded f = fold(text + w.start, w.end - w.start);
        int i = q->n++;
        q->words[i].hash = hash_of(&f);
        q->words[i].stem = stem_of(&f);
        q->words[i].name = i > 0 && text[w.start] >= 'A' && text[w.start] <= 'Z';
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds && kind_at < 0; k++)
            if (f.n == strlen(kinds[k]) && !memcmp(f.s, kinds[k], f.n)) kind_at = i, q->kind = k + 1;
        if (is_function_word(&f)) continue;
        q->words[i].weight = (float)(1 + rarity->of[rarity_bucket(q->words[i].stem)]) / NG_RARITY_UNIT;
        q->weight += q->words[i].weight;
        if (q->first < 0) q->first = i;
        q->last = i;
    }
    q->kind2 = q->kind;
    if (kind_at >= 0 && kind_at + 1 < q->n) q->kind2 ^= q->words[kind_at + 1].hash;
    else if (q->n) q->kind2 ^= q->words[0].hash;
    q->tail = q->n ? q->words[q->n - 1].stem : 0;
}

static int match_of(const ng_passage_question *q, uint64_t stem) {
    int found = -1;
    for (int i = 0; i < q->n; i++)
        if (q->words[i].stem == stem) {
            if (q->words[i].weight > 0) return i;
            found = -2;
        }
    return found;
}

/* ---- the passage -------------------------------------------------------------------------------- */

/* What stands between words, reduced to its strongest mark. */
static uint8_t mark_of(const char *s, size_t len) {
    static const char rising[] = " -,;:\"'(.!?\n";
    uint8_t best = 0;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == (char)0xE2) c = '"'; /* dashes and quotes of typographers */
        const char *at = c ? strchr(rising, c == ')' || c == '[' ? '(' : c) : NULL;
        if (at && (uint8_t)(at - rising + 1) > best) best = (uint8_t)(at - rising + 1);
    }
    return best;
}

static uint8_t shape_of(const char *s, size_t len, ng_word_kind kind) {
    if (kind == NG_WORD_NUMBER) return (uint8_t)(1 + (len > 5 ? 5 : len));
    bool capital = s[0] >= 'A' && s[0] <= 'Z';
    bool all = capital && len > 1 && s[1] >= 'A' && s[1] <= 'Z';
    return (uint8_t)(8 + (all ? 2 : capital ? 1 : 0) * 4 + (len < 3 ? 0 : len < 5 ? 1 : len < 8 ? 2 : 3));
}

static ng_status take_words(ng_passage *p, ng_arena *arena, const char *text, const ng_span *spans, size_t n,
                            ng_error *err) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t pos = spans[i].start; total <= NG_PASSAGE_WORDS_MAX;) {
            ng_word w;
            if (!ng_word_next(text, spans[i].end, &pos, &w)) break;
            total++;
        }
    if (total > NG_PASSAGE_WORDS_MAX)
        return ng_fail(err, NG_ELIMIT, "answer: the text has more than %d words; send the part that matters",
                       NG_PASSAGE_WORDS_MAX);
    p->words = ng_arena_array(arena, total, sizeof *p->words);
    p->sentences = ng_arena_array(arena, n, sizeof *p->sentences);
    if (!p->words || !p->sentences) return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    for (size_t i = 0; i < n; i++) {
        size_t pos = spans[i].start, before = spans[i].start;
        ng_word w;
        ng_passage_sentence *s = &p->sentences[p->n_sentences];
        s->first = (uint32_t)p->len;
        while (ng_word_next(text, spans[i].end, &pos, &w)) {
            folded f = fold(text + w.start, w.end - w.start);
            ng_passage_word *x = &p->words[p->len++];
            *x = (ng_passage_word){.start = w.start, .end = w.end, .hash = hash_of(&f), .stem = stem_of(&f),
                                   .sentence = (uint32_t)p->n_sentences, .shape = shape_of(text + w.start, w.end - w.start, w.kind)};
            x->light = (f.n == 1 && f.s[0] == 'a') || (f.n == 2 && !memcmp(f.s, "an", 2)) ||
                       (f.n == 3 && !memcmp(f.s, "the", 3));
            x->match = (int8_t)match_of(&p->question, x->stem);
            x->before = mark_of(text + before, w.start - before);
            if (p->len - 1 > s->first) x[-1].after = x->before;
            before = w.end;
        }
        if (p->len == s->first) continue;
        p->words[p->len - 1].after = mark_of(text + before, spans[i].end - before);
        s->end = (uint32_t)p->len;
        p->n_sentences++;
    }
    return NG_OK;
}

/* The share of the question's weight that stands in words[first, end), `without` left out. */
static float cover_of(ng_passage *p, size_t first, size_t end, size_t without) {
    uint64_t seen = 0;
    float sum = 0;
    for (size_t i = first; i < end; i++) {
        int m = p->words[i].match;
        if (i == without || m < 0 || seen >> m & 1) continue;
        seen |= (uint64_t)1 << m;
        sum += p->question.words[m].weight;
    }
    return p->question.weight > 0 ? sum / p->question.weight : 0;
}

static void look_around(ng_passage *p, const ng_passage_sentence *s) {
    int at = -1;
    size_t where = 0;
    for (size_t i = s->first; i < s->end; i++) {
        ng_passage_word *w = &p->words[i];
        size_t by = i - where;
        w->left = (int8_t)at, w->left_by = (uint8_t)(at < 0 || by > 255 ? 255 : by);
        if (w->match >= 0) at = w->match, where = i, p->question.words[w->match].found = true;
    }
    at = -1;
    for (size_t i = s->end; i-- > s->first;) {
        ng_passage_word *w = &p->words[i];
        size_t by = where - i;
        w->right = (int8_t)at, w->right_by = (uint8_t)(at < 0 || by > 255 ? 255 : by);
        if (w->match >= 0) at = w->match, where = i;
        size_t from = i > s->first + REACH ? i - REACH : s->first, to = i + REACH < s->end ? i + REACH : s->end;
        w->near = (uint8_t)(10 * cover_of(p, from, to, i));
    }
}

typedef struct ranked {
    float cover;
    uint32_t at;
} ranked;

static int by_cover(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->cover > y->cover) return -1;
    if (x->cover < y->cover) return 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static ng_status rank_sentences(ng_passage *p, ng_arena *arena) {
    ranked *r = ng_arena_array(arena, p->n_sentences, sizeof *r);
    if (!r) return NG_ENOMEM;
    for (size_t i = 0; i < p->n_sentences; i++) r[i] = (ranked){p->sentences[i].cover, (uint32_t)i};
    qsort(r, p->n_sentences, sizeof *r, by_cover);
    for (size_t i = 0; i < p->n_sentences; i++) p->sentences[r[i].at].rank = (uint32_t)i;
    return NG_OK;
}

static ng_status build(ng_passage *p, ng_arena *arena, const char *text, size_t len, ng_error *err) {
    ng_span *spans;
    size_t n;
    ng_status s = ng_sentences(text, len, &spans, &n, err);
    if (s) return s;
    s = take_words(p, arena, text, spans, n, err);
    free(spans);
    if (s) return s;
    for (size_t i = 0; i < p->n_sentences; i++) {
        ng_passage_sentence *x = &p->sentences[i];
        x->cover = cover_of(p, x->first, x->end, SIZE_MAX);
        look_around(p, x);
    }
    for (int i = 0; i < p->question.n; i++)
        if (p->question.words[i].found) p->cover += p->question.words[i].weight;
    if (p->question.weight > 0) p->cover /= p->question.weight;
    return rank_sentences(p, arena) ? ng_fail(err, NG_ENOMEM, "answer: out of memory") : NG_OK;
}

ng_status ng_passage_new(ng_passage **out, const ng_rarity *rarity, const char *question, size_t n_question,
                         const char *text, size_t n_text, ng_error *err) {
    ng_arena *arena;
    *out = NULL;
    if (ng_arena_new(&arena, 0)) return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    ng_passage *p = ng_arena_alloc(arena, sizeof *p);
    ng_status s = p ? NG_OK : ng_fail(err, NG_ENOMEM, "answer: out of memory");
    if (!s) {
        read_question(&p->question, rarity, question, n_question);
        s = build(p, arena, text, n_text, err);
    }
    if (s) {
        ng_arena_free(arena);
        return s;
    }
    p->memory = arena;
    *out = p;
    return NG_OK;
}

void ng_passage_free(ng_passage *p) {
    if (p) ng_arena_free(p->memory);
}

/* ---- features ----------------------------------------------------------------------------------- */

typedef struct features {
    uint16_t *out;
    size_t n;
} features;

static void add(features *f, uint64_t kind, uint64_t a, uint64_t b) {
    f->out[f->n++] = (uint16_t)(ng_hash_mix(a * 0x9E3779B97F4A7C15u ^ ng_hash_mix(b + kind * 0xD6E8FEB86659FD93u)) %
                                NG_PASSAGE_BUCKETS);
}

static unsigned distance_bin(unsigned by) {
    return by == 255 ? 9 : by < 5 ? by : by < 8 ? 5 : by < 12 ? 6 : by < 20 ? 7 : 8;
}

static unsigned place_bin(size_t i) { return i < 4 ? (unsigned)i : i < 7 ? 4 : i < 12 ? 5 : 6; }

/* What of the sentence: how it and its neighbours cover the question. */
static void add_sentence(features *f, const ng_passage *p, const ng_passage_word *w, uint64_t kind) {
    const ng_passage_sentence *s = &p->sentences[w->sentence];
    unsigned rank = s->rank < 4 ? s->rank : 4, cover = (unsigned)(10 * s->cover);
    unsigned before = w->sentence ? (unsigned)(5 * s[-1].cover) : 7;
    unsigned after = w->sentence + 1 < p->n_sentences ? (unsigned)(5 * s[1].cover) : 7;
    add(f, 40, rank, 0);
    add(f, 41, rank, kind);
    add(f, 42, cover, rank);
    add(f, 43, before * 16 + after, rank);
    add(f, 44, before * 16 + cover / 2, kind);
    add(f, 45, place_bin(w->sentence), kind);
    add(f, 46, w->sentence && s[-1].rank == 0, kind);
    add(f, 47, rank * 16 + w->near, 0);
    add(f, 48, (unsigned)(10 * p->cover), w->near);
}

/* What of the question's words around it. */
static void add_matches(features *f, const ng_passage *p, size_t i, uint64_t kind) {
    const ng_passage_word *w = &p->words[i];
    const ng_passage_question *q = &p->question;
    const ng_passage_sentence *s = &p->sentences[w->sentence];
    int own = w->match < 0 ? w->match + 2 : 2;
    int prev = i > s->first ? (w[-1].match < 0 ? w[-1].match + 2 : 2) : 3;
    int next = i + 1 < s->end ? (w[1].match < 0 ? w[1].match + 2 : 2) : 3;
    unsigned left = distance_bin(w->left_by), right = distance_bin(w->right_by);
    unsigned ends = (unsigned)(w->left >= 0 && w->left == q->last) * 2 + (w->right >= 0 && w->right == q->first);
    add(f, 20, (unsigned)own, 0);
    add(f, 21, (unsigned)(own + 4 * prev + 16 * next), 0);
    add(f, 22, (unsigned)(own + 4 * prev + 16 * next), kind);
    add(f, 23, left, kind);
    add(f, 24, right, kind);
    add(f, 25, left * 16 + right, s->rank < 2);
    add(f, 26, left * 4 + ends, kind);
    add(f, 27, right * 4 + ends, kind);
    add(f, 28, w->near, kind);
    add(f, 29, w->near, (unsigned)own);
    add(f, 30, left * 16 + right, kind);
}

size_t ng_passage_features(const ng_passage *p, size_t i, uint16_t *out) {
    const ng_passage_word *w = &p->words[i];
    const ng_passage_question *q = &p->question;
    const ng_passage_sentence *s = &p->sentences[w->sentence];
    bool has_prev = i > s->first, has_next = i + 1 < s->end;
    uint64_t prev = has_prev ? w[-1].hash : 2, next = has_next ? w[1].hash : 4,
             prev2 = i > s->first + 1 ? w[-2].hash : 6;
    unsigned marks = w->before * 16u + w->after;
    features f = {out, 0};
    add(&f, 1, 0, 0);
    add(&f, 2, q->kind, 0);
    add(&f, 3, q->kind2, 0);
    add(&f, 4, w->hash, 0);
    add(&f, 5, w->hash, q->kind);
    add(&f, 6, w->hash, q->kind2);
    add(&f, 7, w->stem, q->tail);
    add(&f, 8, prev, q->kind);
    add(&f, 9, prev, q->kind2);
    add(&f, 10, next, q->kind);
    add(&f, 11, prev ^ ng_hash_mix(prev2), 0);
    add(&f, 12, w->shape, q->kind);
    add(&f, 13, w->shape, q->kind2);
    add(&f, 14, marks, q->kind);
    add(&f, 15, marks, 0);
    add(&f, 16, prev, w->before);
    add(&f, 17, next, w->after);
    add(&f, 18, has_prev ? w[-1].shape : 1, (has_next ? w[1].shape : 1) * 64u + w->shape);
    add(&f, 19, place_bin(i - s->first) * 8 + place_bin(s->end - 1 - i), q->kind);
    add_matches(&f, p, i, q->kind);
    add_sentence(&f, p, w, q->kind);
    return f.n;
}
