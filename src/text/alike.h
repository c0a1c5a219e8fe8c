/* alike.h: whether two texts that a vector calls alike ask for different things all the same.
 *
 *     ng_unlike u = ng_text_unlike(a, a_len, b, b_len);
 *     if (u) printf("they differ in %s\n", ng_unlike_name(u));
 *
 * An embedding hardly sees what changes an answer: a number, a name, a negation, the one slot of a template.  Each guard looks
 * at the words alone:
 *
 *     numbers    the numbers of both ("two" is 2), in any order
 *     negation   how many negations there are
 *     names      each has a word with a capital, inside a sentence, that the other has in no form
 *     payload    what stands in quotation marks or after a colon, and all of a text of several lines, differs in a word
 *     signs      + < = % $ and their like, - and / beside digits, C# and C
 *     quantity   words that say of how much or when: all, only, first, before
 *     slot       but for one stretch they are the same words, and the stretches share none
 *     particles  where one has a small word the other has another that cannot stand for it: from and to, on and off, my and his
 *     order      two words that both have stand in each other's place: from euros to dollars
 *     request    one is a question or an order, and they differ in a word that names a thing, a deed or a quality
 *     length     more words than are compared
 *     words      a statement, reworded in more than one place, in which such a word is replaced by another: the only one that a great
 *                likeness of the vectors may outvote
 *
 * The words are compared by a crude English stem, roles of small words are English (roles.h); other languages keep their words whole, which errs on the side of telling
 * them apart.  Guards on words: GPTCache and its kind have none, and answer templates wrongly. */
#ifndef NG_TEXT_ALIKE_H
#define NG_TEXT_ALIKE_H

#include <stddef.h>

typedef enum ng_unlike {
    NG_UNLIKE_NOT, /* nothing speaks against it */
    NG_UNLIKE_NUMBERS,
    NG_UNLIKE_NEGATION,
    NG_UNLIKE_NAMES,
    NG_UNLIKE_PAYLOAD,
    NG_UNLIKE_SIGNS,
    NG_UNLIKE_QUANTITY,
    NG_UNLIKE_SLOT,
    NG_UNLIKE_PARTICLES,
    NG_UNLIKE_ORDER,
    NG_UNLIKE_REQUEST,
    NG_UNLIKE_LENGTH,
    NG_UNLIKE_WORDS,
} ng_unlike;

enum { NG_ALIKE_WORDS_MAX = 400 };

ng_unlike ng_text_unlike(const char *a, size_t a_len, const char *b, size_t b_len);
const char *ng_unlike_name(ng_unlike u); /* "numbers"; "nothing" for NG_UNLIKE_NOT */

#endif
