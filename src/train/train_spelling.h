/* train_spelling.h: recipes of the task spelling: a list of words, and which follow each other.
 *
 *     if (recipe.task == NG_RECIPE_SPELLING) ng_train_spelling(&result, &recipe, dir, arena, &err);
 *
 * Of the recipe's keys (recipe.h) it reads data.train (texts; labels do not count), features.rows (most words),
 * features.min_count (a word stands at least so often) and features.bits (2^bits places for pairs). */
#ifndef NG_TRAIN_TRAIN_SPELLING_H
#define NG_TRAIN_TRAIN_SPELLING_H

#include "train/recipe.h"
#include <nanogrid/tools/train.h>

/* dir NULL: models/NAME beside the recipe's folder. */
ng_status ng_train_spelling(ng_train_result *out, const ng_recipe *r, const char *dir, ng_arena *arena,
                            ng_error *err) NG_MUST_USE;

#endif
