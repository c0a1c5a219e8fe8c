/* eval_tokens.h: figures of an encoder's heads that are no classifier: tagged words, pairs of texts.
 *
 *     ng_encoder_subject s = {model, session, head, n_most};
 *     ng_eval_spans(out, "recipes/encoder-en/entities.yaml", &s, &err);      precision, recall, f1, also by kind
 *     ng_eval_pairs(out, "recipes/encoder-en/similarity.yaml", &s, &err);    spearman
 *
 * On the recipe's test sources; latency is of one text, one after the other. */
#ifndef NG_EVAL_EVAL_TOKENS_H
#define NG_EVAL_EVAL_TOKENS_H

#include "head_eval.h"

ng_status ng_eval_spans(ng_eval_result *out, const char *recipe_path, const ng_encoder_subject *s,
                        ng_error *err) NG_MUST_USE;
ng_status ng_eval_pairs(ng_eval_result *out, const char *recipe_path, const ng_encoder_subject *s,
                        ng_error *err) NG_MUST_USE;

#endif
