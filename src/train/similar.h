/* similar.h: a text in which some words are replaced by similar ones, or left out.
 *
 *     ng_similar *s;
 *     ng_similar_open(&s, "similar-words.tsv", &err);
 *     ng_similar_put(&buf, s, text, len, 0.2, &rng);      a word in five; the same seed, the same words
 *     ng_similar_close(s);
 *
 * The file has a word in lower case, a tab and similar words with spaces between a line, in the order of the words' bytes.
 * Words are what spaces part; one that is not in the file stays, one replaced of seven
 * is left out instead.  A classifier that has seen such copies leans on no single word. */
#ifndef NG_TRAIN_SIMILAR_H
#define NG_TRAIN_SIMILAR_H

#include "core/hash.h"
#include <nanogrid/buf.h>

typedef struct ng_similar ng_similar;

/* A line out of order or without similar words is NG_EFORMAT with its number. */
ng_status ng_similar_open(ng_similar **out, const char *path, ng_error *err) NG_MUST_USE;
void ng_similar_close(ng_similar *s);
void ng_similar_put(ng_buf *out, const ng_similar *s, const char *text, size_t len, double share, ng_rng *rng);

#endif
