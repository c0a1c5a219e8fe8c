/* shortener.h: which words of a sentence a shorter one keeps.
 *
 *     ng_shortener *m;  bool done;
 *     ng_shortener_open(&m, "models/summarize/shortener.gguf", &err);
 *     ng_shorten(&out, m, text, len, 0, &done, &err);        "A woman was injured by a falling tree."
 *     ng_shortener_close(m);
 *
 * A model is immutable and may be shared; a brief belongs to one thread.  The same bits on every machine.
 *
 * The file (general.architecture "nanogrid-shortener"):
 *     nanogrid.shortener.version  u32  1
 *     nanogrid.shortener.scale    f32  the weights' unit
 *     shortener.weights  I8 [2 * NG_BRIEF_BUCKETS]  by bucket: keep this word where the one before is dropped, is kept */
#ifndef NG_MODEL_SHORTENER_H
#define NG_MODEL_SHORTENER_H

#include <nanogrid/buf.h>
#include <nanogrid/status.h>

enum { NG_BRIEF_BUCKETS = 1 << 17, NG_BRIEF_FEATURES_MAX = 80, NG_BRIEF_WORDS_MAX = 1024, NG_BRIEF_WORDS_MIN = 8 };

typedef struct ng_brief_word {
    size_t start, end;         /* bytes between spaces, with punctuation */
    uint64_t hash;             /* without punctuation at its ends and case */
    uint16_t suffix2, suffix3; /* hashes */
    uint8_t class, before, after, shape; /* shortener.c */
    uint8_t segment, in_segment, segment_len; /* between commas and the like */
    uint8_t head_by, next_head_by;            /* words to the function word that begins its phrase, to the next such word */
    uint8_t verbs_before, verbs_after, heads_before, verb_by, run;
    uint64_t head;             /* that function word */
    bool enclosed, repeated;
} ng_brief_word;

typedef struct ng_brief {
    ng_brief_word *words; /* [len] */
    size_t len;
    bool english; /* one word in eight and more is a function word of English */
    void *memory;
} ng_brief;

/* NG_ELIMIT beyond NG_BRIEF_WORDS_MAX words. */
ng_status ng_brief_new(ng_brief **out, const char *text, size_t len, ng_error *err) NG_MUST_USE;
void ng_brief_free(ng_brief *b);
size_t ng_brief_features(const ng_brief *b, size_t i, uint32_t *out);
/* Appends the kept words as a sentence: a capital first, no comma last, the text's own final mark. */
void ng_brief_write(ng_buf *out, const ng_brief *b, const char *text, const bool *keep);

typedef struct ng_shortener ng_shortener;
ng_status ng_shortener_open(ng_shortener **out, const char *path, ng_error *err) NG_MUST_USE;
void ng_shortener_close(ng_shortener *m);
size_t ng_shortener_file_bytes(const ng_shortener *m);
/* Appends the sentence text[0, len) shortened, at most max_words (text/words.h; 0: no limit).  *done false: nothing is
 * appended, for it has fewer than NG_BRIEF_WORDS_MIN words (without a limit), more than NG_BRIEF_WORDS_MAX, or is not English. */
ng_status ng_shorten(ng_buf *out, const ng_shortener *m, const char *text, size_t len, size_t max_words, bool *done,
                     ng_error *err) NG_MUST_USE;
/* p[len]: the probability that a word is kept. */
ng_status ng_shortener_believe(const ng_shortener *m, const ng_brief *b, float *p, ng_error *err) NG_MUST_USE;
/* The choice of the greatest expected F1, of at most max words (0: no limit); len <= NG_BRIEF_WORDS_MAX. */
void ng_brief_choose(bool *keep, const float *p, size_t len, size_t max);

/* ---- for training ---- */
/* score[len][2]: log-weight of keeping word i where the one before is dropped, is kept.  Gives pair[len][2], the
 * probabilities of (dropped, kept) and (kept, kept), which sum to that of keeping; returns the log of the sum over all ways.
 * way[4 * len] is scratch. */
double ng_brief_pass(double (*pair)[2], double (*score)[2], size_t len, double *way);

#endif
