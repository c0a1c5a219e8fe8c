/* feature_blob.h: the sparse features of a text as bytes, for models that come later.
 *
 *     ng_feature_config list[4]; size_t n = 0;
 *     n = ng_feature_configs_add(list, n, 4, &c);            of every model that may ask
 *     ng_feature_blob_put(&out, &scratch, list, n, text, len);
 *     ..
 *     ng_feature_blob_get(&f, &c, out.data, out.len, &err);  f.buckets as the text would give them
 *
 * A decision can so be scored again, to the last bit, without the text.
 *
 *     NGF2 | n: u8 | n sections: word_max, char_min, char_max: u8 | flags: u8 (1 lower, 2 fold, 4 cross)
 *          | pairs: varint | each: step to the next bucket: varint, count: varint; buckets rising
 *
 * Buckets have 24 bits: fewer bits are the upper ones (linear_features.c), so models that differ in
 * nothing else share a section.  A varint has seven bits a byte, the lowest first. */
#ifndef NG_MODEL_FEATURE_BLOB_H
#define NG_MODEL_FEATURE_BLOB_H

#include "model/linear_features.h"
#include <nanogrid/buf.h>

/* Adds c, its bits aside, unless it is there or the list full; returns the new length. */
size_t ng_feature_configs_add(ng_feature_config *list, size_t n, size_t max,
                              const ng_feature_config *c);
/* Appends the blob; on failure (memory, a text over NG_FEATURE_TEXT_MAX) out is as it was. */
ng_status ng_feature_blob_put(ng_buf *out, ng_features *scratch, const ng_feature_config *list,
                              size_t n, const char *text, size_t len);
/* Fills f->buckets.  NG_ENOTFOUND: the blob was made for other models; NG_EFORMAT: it is damaged. */
ng_status ng_feature_blob_get(ng_features *f, const ng_feature_config *c, const void *blob,
                              size_t len, ng_error *err) NG_MUST_USE;

#endif
