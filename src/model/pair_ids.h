/* pair_ids.h: two texts as one sequence of BERT, or one text, cut to what an encoder reads.
 *
 *     ng_pair_ids p;
 *     ng_pair_ids_new(&p, tokenizer, &(ng_text_pair){a, a_len, b, b_len}, n_most, &err);
 *     ng_session_hidden_pair(session, p.ids, p.n, p.n_first, hidden, &err);        [CLS] a [SEP] b [SEP]
 *     free(p.ids);
 *
 * The first n_first ids, up to the first [SEP], are of type 0.  Where both do not fit n_most, the longer one loses its last
 * tokens until they do (Devlin et al. 2018).  Without a second text (b NULL) it is [CLS] a [SEP] and n_first 0. */
#ifndef NG_MODEL_PAIR_IDS_H
#define NG_MODEL_PAIR_IDS_H

#include <nanogrid/tokenizer.h>

typedef struct ng_text_pair {
    const char *a;
    size_t a_len;
    const char *b; /* NULL: one text */
    size_t b_len;
} ng_text_pair;

typedef struct ng_pair_ids {
    int32_t *ids; /* ends with free() */
    size_t n, n_first;
    size_t n_all; /* before it was cut */
} ng_pair_ids;

/* n_most at least 8. */
ng_status ng_pair_ids_new(ng_pair_ids *out, const ng_tokenizer *t, const ng_text_pair *p, size_t n_most,
                          ng_error *err) NG_MUST_USE;

#endif
