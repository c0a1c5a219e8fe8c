/* imatrix.h (quant): an importance matrix as read from its file.
 *
 *     ng_imatrix *im;
 *     if (ng_imatrix_open(&im, "model.imatrix.gguf", &err)) ..
 *     ng_imatrix_weights(im, weights, "blk.0.attn_q.weight", 576, &found, &err);
 *     ng_imatrix_close(im);
 *
 * Immutable once open. */
#ifndef NG_QUANT_IMATRIX_H
#define NG_QUANT_IMATRIX_H

#include "gguf/gguf.h"
#include <nanogrid/tools/imatrix.h>

typedef struct ng_imatrix ng_imatrix;

/* NG_EFORMAT: not a GGUF file of general.type "imatrix". */
ng_status ng_imatrix_open(ng_imatrix **out, const char *path, ng_error *err) NG_MUST_USE;
void ng_imatrix_close(ng_imatrix *im); /* NULL is fine */
/* weight[n]: the mean square of each column, scaled to a mean of 1 and lifted a little above 0, for the matrix
 * of this name; *found false, and nothing written, when the file has none.  NG_EFORMAT: it has another number
 * of columns, or values that are negative or not finite. */
ng_status ng_imatrix_weights(const ng_imatrix *im, float *weight, const char *name, size_t n, bool *found,
                             ng_error *err) NG_MUST_USE;
/* *products: the lower triangle, row by row, of the summed products of the n columns; NULL when the file has
 * none of this name.  Lives as long as im.  NG_EFORMAT as above. */
ng_status ng_imatrix_products(const ng_imatrix *im, const float **products, const char *name, size_t n,
                              ng_error *err) NG_MUST_USE;

#endif
