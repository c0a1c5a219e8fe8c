/* train_shortener.h: learns which words of a sentence its shortened form keeps (model/shortener.h).
 *
 *     if (recipe.task == NG_RECIPE_COMPRESS) ng_train_shortener(&result, &recipe, dir, opt, arena, &err);
 *
 * Such a recipe's sources are those of the task extract with one kind of words: `text`, `second` (its shortened form) and
 * `value`; training: {epochs, rate, decay, seed}.  The words that are kept are found as kept.h tells. */
#ifndef NG_TRAIN_TRAIN_SHORTENER_H
#define NG_TRAIN_TRAIN_SHORTENER_H

#include "model/shortener.h"
#include "train/data.h"
#include <nanogrid/tools/train.h>

/* A sentence, and which of its words are kept. */
typedef struct ng_shortening {
    ng_brief *brief;
    bool *keep; /* [brief->len] */
} ng_shortening;

typedef struct ng_shortenings {
    ng_shortening *items;
    size_t len;
} ng_shortenings;

ng_status ng_shortenings_read(ng_shortenings *out, const ng_config_list *sources, const ng_recipe *r, ng_arena *arena,
                              ng_error *err) NG_MUST_USE;
void ng_shortenings_clear(ng_shortenings *s);
/* F1 of a choice of words; 1 where neither keeps any. */
double ng_shortening_f1(const ng_shortening *s, const bool *keep);

ng_status ng_train_shortener(ng_train_result *out, const ng_recipe *r, const ng_train_options *opt, ng_arena *arena,
                             ng_error *err) NG_MUST_USE;

#endif
