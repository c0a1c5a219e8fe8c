/* record_features.h: the sparse features of a text as the blob that a record keeps.
 *
 *     NGF1 | bits, word_max, char_min, char_max: u8 | flags: u8 (1 lower, 2 fold, 4 cross) | 3 zero bytes
 *          | n: u32 | n times bucket: u32, count: u16, little-endian, buckets rising
 *
 * The configuration is the one that the shipped linear models share (recipes/), so a decision can
 * be scored again by any of them without the text.  Texts over 64 KiB and those with more than
 * 65,535 different buckets keep none. */
#ifndef NG_GRID_RECORD_FEATURES_H
#define NG_GRID_RECORD_FEATURES_H

#include "model/linear_features.h"
#include "records.h"

/* For ng_records_options: ctx is an ng_features, zeroed before the first call. */
void ng_record_features(void *ctx, const ng_record *r, ng_buf *out);

#endif
