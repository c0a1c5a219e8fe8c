/* spelling.h: typing errors put right before routers and classifiers read a text.
 *
 *     ng_spelling *s;
 *     ng_spelling_open(&s, "models/router-en/spelling.gguf", &err);
 *     ng_buf b = ng_buf_init(max);
 *     if (ng_spelling_fix(s, &b, text, len)) use(b.data, b.len); else use(text, len);   false: nothing to put right
 *     ng_spelling_close(s);
 *
 * A word that is one slip (a letter left out, added, replaced, two swapped) away from a word of the list becomes that word
 * where its neighbours make it likelier than what stands there.  Only words of 2 to 12 ASCII letters between spaces
 * (punctuation around them aside) are looked at; a text of which less than half of the words are known, in another
 * language for instance, stays as it is, and so do capitalised words within a text.  What is put right is in lower case.
 *
 * An open list is immutable and may be shared.  The same text gives the same bytes everywhere.
 *
 * The file (general.architecture "nanogrid-spelling"):
 *     nanogrid.spelling.version  u32  1
 *     spelling.words   I64 [n]  rising; five bits a letter, the last letter lowest: a = 1 .. z = 26, ' = 27
 *     spelling.counts  I8  [n]  (unsigned) 8 log2 of how often it was seen, rounded
 *     spelling.pairs   I16 [2^k]  buckets of eight; which words follow each other: twelve bits of a hash, four of
 *                               1 + log2 of how often; 0: empty */
#ifndef NG_MODEL_SPELLING_H
#define NG_MODEL_SPELLING_H

#include <nanogrid/buf.h>

enum {
    NG_SPELLING_WORDS_MAX = 1 << 17,
    NG_SPELLING_LETTERS_MAX = 12,
    NG_SPELLING_PAIR_SLOTS = 8, /* a bucket */
};

typedef struct ng_spelling ng_spelling;

ng_status ng_spelling_open(ng_spelling **out, const char *path, ng_error *err) NG_MUST_USE;
/* The same over memory that outlives the list. */
ng_status ng_spelling_open_memory(ng_spelling **out, const void *data, size_t len, const char *name,
                                  ng_error *err) NG_MUST_USE;
void ng_spelling_close(ng_spelling *s);
/* Appends the text with its words put right; false, and nothing appended, where none is (or memory is out). */
bool ng_spelling_fix(const ng_spelling *s, ng_buf *out, const char *text, size_t len);
size_t ng_spelling_file_bytes(const ng_spelling *s);

/* ---- shared with the trainer ------------------------------------------------------------------- */

/* The next word of a text: what spaces part, without punctuation around it.  key: its letters packed, or
 * NG_SPELLING_OTHER where it is no word of letters.  False at the end. */
typedef struct ng_spelling_word {
    size_t begin, end;
    uint64_t key;
    bool name; /* begins with a capital, goes on in small letters */
} ng_spelling_word;
bool ng_spelling_next(ng_spelling_word *w, const char *text, size_t len, size_t *at);

#define NG_SPELLING_OTHER ((uint64_t)1 << 62) /* a number, an address, a long word */
#define NG_SPELLING_EDGE ((uint64_t)1 << 61)  /* the text begins or ends */

/* Where a pair of words stands: its bucket, and what of its hash is kept there (never 0). */
typedef struct ng_spelling_pair {
    size_t bucket;
    uint16_t tag; /* << 4 */
} ng_spelling_pair;
ng_spelling_pair ng_spelling_pair_of(uint64_t first, uint64_t second, size_t n_slots);

#endif
