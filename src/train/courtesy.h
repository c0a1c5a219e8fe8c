/* courtesy.h: a text with words of courtesy around it, as people write to other people.
 *
 *     ng_courtesy *c;
 *     ng_courtesy_open(&c, "courtesy.txt", &err);
 *     ng_courtesy_put(&buf, c, text, len, &rng);      "hello again, TEXT", "TEXT, cheers mate"; the same seed, the same words
 *     ng_courtesy_close(c);
 *
 * The file has a phrase a line, "< " in front of those that stand before a text, "> " of those behind; [a|b|] stands for one of
 * several wordings (which do not nest), # begins a comment.  Of the copies two fifths begin, two fifths end with a phrase, the
 * others do both. */
#ifndef NG_TRAIN_COURTESY_H
#define NG_TRAIN_COURTESY_H

#include "core/hash.h"
#include <nanogrid/buf.h>

typedef struct ng_courtesy ng_courtesy;

/* A file that lacks either kind, or a line that is neither, is NG_EFORMAT with its number. */
ng_status ng_courtesy_open(ng_courtesy **out, const char *path, ng_error *err) NG_MUST_USE;
void ng_courtesy_close(ng_courtesy *c);
void ng_courtesy_put(ng_buf *out, const ng_courtesy *c, const char *text, size_t len, ng_rng *rng);

#endif
