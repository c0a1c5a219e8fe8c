/* near.h: which texts nearly stand in another set, or in their own: what training must not have seen of a test, or has seen.
 *
 *     size_t n = ng_dataset_near(&train, &test, 0.8, keep);      keep[i] = not near; SIZE_MAX: no memory
 *     ng_dataset_separate(&train, &test, &recipe, &n, &err);      as the recipe's duplicates and near say
 *     ng_dataset_thin(&train, &recipe, &m, &err);                 what nearly repeats another training text
 *
 * Nearness is the Jaccard similarity of the sets of four successive letters or digits (lower case, one gap for
 * whatever stands between words).  Exact, not sampled: of two sets so alike, the rarest grams of one must meet those of
 * the other (prefix filtering, Chaudhuri, Ganti and Kaushik 2006), so few pairs are compared. */
#ifndef NG_TRAIN_NEAR_H
#define NG_TRAIN_NEAR_H

#include "train/data.h"

/* Copies of a text count as near, a pair is near where its two texts together are.  0 < least <= 1.  Within one set (other == d)
 * the first stays: near is what is near an earlier text of the same label that stays, and was not made of it. */
size_t ng_dataset_near(const ng_dataset *d, const ng_dataset *other, double least, bool *keep);
/* Counts (*n += ..) what of `d` also stands in `test`, or is near it (`near:`), with the copies made of it (typos, courtesy).
 * `duplicates: drop` leaves it out; NG_EFORMAT where a tenth of the test texts and more stand in `d`.
 * `duplicates: refuse`: NG_EFORMAT naming the first. */
ng_status ng_dataset_separate(ng_dataset *d, const ng_dataset *test, const ng_recipe *r, size_t *n, ng_error *err) NG_MUST_USE;
/* `duplicates: drop`: leaves out (*n += ..) texts near an earlier one of the same label (`near:`), and the copies made of them. */
ng_status ng_dataset_thin(ng_dataset *d, const ng_recipe *r, size_t *n, ng_error *err) NG_MUST_USE;

#endif
