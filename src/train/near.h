/* near.h: which texts nearly stand in another set: what training must not have seen of a test.
 *
 *     size_t n = ng_dataset_near(&train, &test, 0.8, keep);      keep[i] = not near; SIZE_MAX: no memory
 *     ng_dataset_separate(&train, &test, &recipe, drop, &n, &err);      as the recipe's duplicates and near say
 *
 * Nearness is the Jaccard similarity of the sets of four successive letters or digits (lower case, one gap for
 * whatever stands between words).  Exact, not sampled: of two sets so alike, the rarest grams of one must meet those of
 * the other (prefix filtering, Chaudhuri, Ganti and Kaushik 2006), so few pairs are compared. */
#ifndef NG_TRAIN_NEAR_H
#define NG_TRAIN_NEAR_H

#include "train/data.h"

/* Copies of a text count as near.  0 < least <= 1. */
size_t ng_dataset_near(const ng_dataset *d, const ng_dataset *other, double least, bool *keep);
/* Counts (*n += ..) what of `d` also stands in `test`, or is near it where the recipe says so; drops it with `drop`.
 * `duplicates: refuse`: NG_EFORMAT naming the first. */
ng_status ng_dataset_separate(ng_dataset *d, const ng_dataset *test, const ng_recipe *r, bool drop, size_t *n,
                              ng_error *err) NG_MUST_USE;

#endif
