/* wordpiece.h: BERT's tokenizer (Devlin et al. 2019; Schuster and Nakajima 2012).
 *
 *     ng_wordpiece_encode(&t->wordpiece, text, len, &ids, &err);
 *
 * Text is cleaned (controls dropped, white space to spaces), ideographs and punctuation become words
 * of their own, an uncased model's text loses accents and case; each word is then cut greedily into
 * the longest known pieces, or is [UNK] when that fails or it has more than 100 characters. */
#ifndef NG_TOKENIZER_WORDPIECE_H
#define NG_TOKENIZER_WORDPIECE_H

#include "token_table.h"

typedef struct ng_wordpiece {
    ng_token_table words; /* pieces that begin a word, without their mark */
    ng_token_table tails; /* pieces that go on ("##ing") */
    size_t words_longest, tails_longest; /* bytes */
    bool lower;           /* fold case */
    bool strip;           /* and accents */
    int32_t unk;
} ng_wordpiece;

ng_status ng_wordpiece_encode(const ng_wordpiece *w, const char *text, size_t len, ng_ids *ids,
                              ng_error *err) NG_MUST_USE;

#endif
