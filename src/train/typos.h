/* typos.h: a text as careless people type it.
 *
 *     ng_rng rng = ng_rng_seed(7);
 *     ng_buf b = ng_buf_init(2 * len + 16);
 *     ng_typos_put(&b, text, len, 0.3, &rng);        an error in three words of ten; the same seed, the same errors
 *
 * One error a word: a letter left out, a letter doubled, two neighbours swapped, or the key beside (QWERTY).  A word is
 * what spaces part; those without an ASCII letter stay.  Bytes beyond ASCII are never touched, so UTF-8 stays valid. */
#ifndef NG_TRAIN_TYPOS_H
#define NG_TRAIN_TYPOS_H

#include "core/hash.h"
#include <nanogrid/buf.h>

void ng_typos_put(ng_buf *out, const char *text, size_t len, double share, ng_rng *rng);

#endif
