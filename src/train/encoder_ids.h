/* encoder_ids.h: a data set's texts as an encoder's ids, special ones included, with what a head's kind needs beside them.
 *
 *     ng_id_texts x;
 *     ng_id_texts_new(&x, &dataset, NG_RECIPE_EXTRACT, tokenizer, n_ctx, &err);
 *     text i is x.ids[x.begin[i] .. x.begin[i + 1]); its words' rows x.rows[x.word_begin[i] ..], their labels x.tags[..]
 *     ng_id_texts_clear(&x);
 *
 * Embed: pair i is the texts 2 i and 2 i + 1.  In the other tasks a sample with a second text is one text, [CLS] a [SEP] b [SEP].  Longer texts are cut to n_ctx and keep the closing [SEP], as the
 * engine does (model/encode.c, model/token_spans.h). */
#ifndef NG_TRAIN_ENCODER_IDS_H
#define NG_TRAIN_ENCODER_IDS_H

#include "train/data.h"
#include <nanogrid/tokenizer.h>

typedef struct ng_id_texts {
    int32_t *ids;
    size_t *begin; /* [n + 1] */
    uint32_t *first; /* [n]: ids of type 0; 0: all (model/pair_ids.h) */
    size_t n;      /* texts: two a pair */
    size_t ids_cap, words_cap;
    uint32_t *rows;     /* extract: [words] of a text's word, from its first id */
    int32_t *tags;      /* extract: [words] */
    uint16_t *shapes;   /* extract: [words, NG_SHAPE_WORDS] (model/token_spans.h) */
    size_t *word_begin; /* extract: [n + 1] */
} ng_id_texts;

ng_status ng_id_texts_new(ng_id_texts *out, const ng_dataset *d, ng_recipe_task task, const ng_tokenizer *t,
                          size_t n_ctx, ng_error *err) NG_MUST_USE;
void ng_id_texts_clear(ng_id_texts *x); /* accepts a zeroed one */
size_t ng_id_texts_longest(const ng_id_texts *x);

#endif
