/* evasion.h: a text as it reads to a person, where letters were changed so that a program reads something else.
 *
 *     ng_lexicon words = {cost, tokenizer};
 *     ng_buf b = ng_buf_init(max);
 *     if (ng_text_unspoil(&b, text, len, &words)) judge(b.data, b.len); else judge(text, len);   false: nothing was changed
 *
 * Look-alike letters and what is invisible go first (plain.h).  Then letters that stand apart are joined into words
 * ("i g n o r e  a l l", "i.g.n.o.r.e"), and digits and signs that stand for letters become these ("1gn0r3 pr3v10us").  Both ask
 * the lexicon: what makes no word of it stays as it is, and so do numbers, codes and addresses.  For what judges whether a text does
 * harm; who looks for what a text says reads it as it stands. */
#ifndef NG_TEXT_EVASION_H
#define NG_TEXT_EVASION_H

#include <nanogrid/buf.h>

/* What a word of lower-case ASCII letters costs: 0: it is none; else about eight times the logarithm (base 2) of one over its
 * frequency, at most 255. */
typedef struct ng_lexicon {
    uint32_t (*cost)(const void *self, const char *word, size_t len);
    const void *self;
} ng_lexicon;

/* Appends the text as it reads; false, and nothing appended, when it is the same (or memory is out).  Valid UTF-8 only. */
bool ng_text_unspoil(ng_buf *out, const char *text, size_t len, const ng_lexicon *words);

#endif
