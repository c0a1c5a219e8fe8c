/* pieces.h: a few successive words of a text, for what must be told from few words.
 *
 *     ng_rng rng = ng_rng_seed(7);
 *     if (ng_piece_set(&b, "Where is the station?", 21, 2, &rng)) ..       "the station"; the same seed, the same words
 *
 * A word is what spaces part, without the signs around it. */
#ifndef NG_TRAIN_PIECES_H
#define NG_TRAIN_PIECES_H

#include "core/hash.h"
#include <nanogrid/buf.h>

/* Takes the place of what `out` held.  false: the text has fewer than twice as many words, or those drawn hold fewer than two
 * letters. */
bool ng_piece_set(ng_buf *out, const char *text, size_t len, size_t n_words, ng_rng *rng);

#endif
