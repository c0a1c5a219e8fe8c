/* pair_score.h: what a head on pairs (rerank, summarize) says of two texts.
 *
 *     ng_pair_scorer s;
 *     ng_pair_scorer_init(&s, session, head, &err);
 *     ng_pair_score(&s, &(ng_text_pair){query, query_len, text, text_len}, &p, &err);        0 .. 1
 *     ng_pair_score_sentences(&s, text, len, spans, n, scores, &err);                        of a document's sentences
 *     ng_pair_scorer_clear(&s);
 *
 * One encoder pass a pair.  A scorer belongs to one thread at a time, as its session does. */
#ifndef NG_MODEL_PAIR_SCORE_H
#define NG_MODEL_PAIR_SCORE_H

#include "model/encoder_heads.h"
#include "model/pair_ids.h"
#include "text/sentence.h"

typedef struct ng_pair_scorer {
    ng_session *session; /* borrowed, as what follows */
    const ng_tokenizer *tokenizer;
    const ng_encoder_head *head; /* pair, two labels */
    size_t n_most;               /* ids of one pass */
    float *hidden;               /* [n_most, width], scratch; its own */
} ng_pair_scorer;

/* NG_EUNSUPPORTED: the session's model has no tokenizer that is known. */
ng_status ng_pair_scorer_init(ng_pair_scorer *out, ng_session *session, const ng_encoder_head *head,
                              ng_error *err) NG_MUST_USE;
void ng_pair_scorer_clear(ng_pair_scorer *s); /* of zeros: nothing happens */

/* The probability of the head's second label; *n_tok (may be NULL) grows by the ids that were read. */
ng_status ng_pair_score(const ng_pair_scorer *s, const ng_text_pair *pair, float *p, size_t *n_tok,
                        ng_error *err) NG_MUST_USE;

/* scores[n]: of each sentence beside the whole text, with its place before it (summary_input.h). */
ng_status ng_pair_score_sentences(const ng_pair_scorer *s, const char *text, size_t len, const ng_span *at, size_t n,
                                  double *scores, ng_error *err) NG_MUST_USE;

#endif
