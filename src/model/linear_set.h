/* linear_set.h: many linear models of two labels, asked about a text together.
 *
 *     ng_linear_set *set;
 *     ng_linear_set_scratch *s;
 *     ng_linear_set_new(&set, models, n, &err);          the models stay the caller's and open
 *     ng_linear_set_scratch_new(&s, set, &err);
 *     ng_linear_set_apply(set, s, text, len, p, &err);   p[2 * n]: what ng_linear_apply gives each, the same bits
 *     ng_linear_set_scratch_free(s);  ng_linear_set_free(set);
 *
 * The text's features are made and looked up once, whatever n is.  A set is immutable and may be shared; a scratch belongs to one
 * thread at a time.  Models may differ in weights, rows, idf and calibration, but read the same features. */
#ifndef NG_MODEL_LINEAR_SET_H
#define NG_MODEL_LINEAR_SET_H

#include "model/linear.h"

enum { NG_LINEAR_SET_MAX = 256 };

typedef struct ng_linear_set ng_linear_set;
typedef struct ng_linear_set_scratch ng_linear_set_scratch;

/* Whether m may stand in a set with `first` (NULL: in any): two labels that exclude each other, 8-bit weights, the same features. */
bool ng_linear_set_fits(const ng_linear *m, const ng_linear *first);
/* 1 <= n <= NG_LINEAR_SET_MAX models that fit: NG_EINVALID. */
ng_status ng_linear_set_new(ng_linear_set **out, const ng_linear *const *models, size_t n, ng_error *err) NG_MUST_USE;
void ng_linear_set_free(ng_linear_set *set);

ng_status ng_linear_set_scratch_new(ng_linear_set_scratch **out, const ng_linear_set *set, ng_error *err) NG_MUST_USE;
void ng_linear_set_scratch_free(ng_linear_set_scratch *s);

/* NG_ELIMIT for a text over NG_FEATURE_TEXT_MAX bytes. */
ng_status ng_linear_set_apply(const ng_linear_set *set, ng_linear_set_scratch *s, const char *text, size_t len,
                              float *p, ng_error *err) NG_MUST_USE;

#endif
