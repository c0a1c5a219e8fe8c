/* kept.h: which words of a sentence its shortened form keeps.
 *
 *     size_t n;
 *     bool *kept = ng_words_kept(text, len, "The council plans to cancel.", 28, &n);
 *     for (size_t i = 0; i < n; i++) use(kept[i]);
 *     free(kept);                                         NULL: out of memory, or more than NG_KEPT_WORDS_MAX words
 *
 * Words are what spaces part; two are the same but for case and for punctuation at their ends.  The longest common
 * subsequence, its words as early as possible; words that the shortened form adds or changes are in no one's favour. */
#ifndef NG_TRAIN_KEPT_H
#define NG_TRAIN_KEPT_H

#include <stdbool.h>
#include <stddef.h>

enum { NG_KEPT_WORDS_MAX = 1024 };

bool *ng_words_kept(const char *text, size_t len, const char *brief, size_t brief_len, size_t *n);

#endif
