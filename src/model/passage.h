/* passage.h: a passage and a question about it, word by word, as what a linear model sees of them.
 *
 *     ng_passage *p;
 *     ng_passage_new(&p, rarity, question, n_question, text, n_text, &err);
 *     for (size_t i = 0; i < p->len; i++) {
 *         uint16_t f[NG_PASSAGE_FEATURES_MAX];
 *         size_t n = ng_passage_features(p, i, f);        buckets of word i
 *     }
 *     ng_passage_free(p);
 *
 * Known of a word: itself and its neighbours with the question's kind (who, where, how many ..), punctuation around it,
 * which of the question's words stand near it and on which side, and how well its sentence and those beside it cover
 * the question.  Words are compared by stem; each counts by its rarity.  Belongs to one thread; linear time and memory.
 * Any bytes are taken, invalid UTF-8 too.  The same buckets on every machine. */
#ifndef NG_MODEL_PASSAGE_H
#define NG_MODEL_PASSAGE_H

#include <nanogrid/status.h>

enum {
    NG_PASSAGE_BUCKETS = 1 << 15,
    NG_PASSAGE_FEATURES_MAX = 64,
    NG_PASSAGE_QUESTION_MAX = 64, /* words of a question that are read */
    NG_PASSAGE_WORDS_MAX = 1 << 20,
    NG_RARITY_BUCKETS = 1 << 14,
};

/* How rare words are: log(sentences / sentences that have it) in steps of 1/NG_RARITY_UNIT, by hash of the stem. */
enum { NG_RARITY_UNIT = 20 };
typedef struct ng_rarity {
    uint8_t of[NG_RARITY_BUCKETS];
} ng_rarity;
/* Adds one to counts[NG_RARITY_BUCKETS] for each different stem of a sentence. */
void ng_rarity_count(uint32_t *counts, const char *text, size_t len);
void ng_rarity_make(ng_rarity *out, const uint32_t *counts, size_t n_sentences);

typedef struct ng_passage_word {
    size_t start, end;       /* bytes of the passage */
    uint64_t hash, stem;     /* of the word without regard to case; of its stem */
    uint32_t sentence;
    uint8_t shape;           /* capital, digits, length: passage.c */
    uint8_t before, after;   /* punctuation beside it: passage.c */
    bool light;              /* an article: of no weight in an answer's F1 */
    int8_t match;            /* which of the question's own words it is; -1: none; -2: a function word of the question */
    int8_t left, right;      /* the nearest match in its sentence before and after it, -1: none .. */
    uint8_t left_by, right_by; /* .. and how many words away, at most 255 */
    uint8_t near;            /* tenths of the question's weight within eight words, itself left out */
} ng_passage_word;

typedef struct ng_passage_sentence {
    uint32_t first, end; /* words */
    float cover;         /* 0..1 of the question's weight */
    uint32_t rank;       /* 0: covers most */
} ng_passage_sentence;

typedef struct ng_passage_question {
    struct {
        uint64_t hash, stem;
        float weight;        /* 0: a function word */
        bool name, found;    /* capital within the question; somewhere in the passage */
    } words[NG_PASSAGE_QUESTION_MAX];
    int n, first, last;      /* the first and last word with weight; -1: none */
    uint64_t kind, kind2, tail; /* hashes: who/what/..; with the word behind it; the last word */
    float weight;            /* of all words */
} ng_passage_question;

typedef struct ng_passage {
    ng_passage_question question;
    ng_passage_word *words;
    size_t len;
    ng_passage_sentence *sentences;
    size_t n_sentences;
    float cover; /* of the question by the whole passage */
    void *memory;
} ng_passage;

/* NG_ELIMIT beyond NG_PASSAGE_WORDS_MAX words. */
ng_status ng_passage_new(ng_passage **out, const ng_rarity *rarity, const char *question, size_t n_question,
                         const char *text, size_t n_text, ng_error *err) NG_MUST_USE;
void ng_passage_free(ng_passage *p);
/* The buckets of word i, into out[NG_PASSAGE_FEATURES_MAX]; how many. */
size_t ng_passage_features(const ng_passage *p, size_t i, uint16_t *out);

#endif
