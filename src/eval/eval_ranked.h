/* eval_ranked.h: figures of an encoder's heads that score pairs: rerank and summarize.
 *
 *     ng_eval_rerank(out, "recipes/encoder-en/rerank.yaml", &s, &err);       mrr, top1, and those of the vectors' cosines
 *     ng_eval_picks(out, "recipes/encoder-en/summary.yaml", &s, &err);       ROUGE of the best sentence, by source, and of the first
 *
 * On the recipe's test sources; latency is of one pair, or of one document, one after the other. */
#ifndef NG_EVAL_EVAL_RANKED_H
#define NG_EVAL_EVAL_RANKED_H

#include "head_eval.h"

ng_status ng_eval_rerank(ng_eval_result *out, const char *recipe_path, const ng_encoder_subject *s,
                         ng_error *err) NG_MUST_USE;
ng_status ng_eval_picks(ng_eval_result *out, const char *recipe_path, const ng_encoder_subject *s,
                        ng_error *err) NG_MUST_USE;

#endif
