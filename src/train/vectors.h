/* vectors.h: texts as sparse vectors over the rows of a linear model.
 *
 *     ng_counts c;                                   how often each bucket stands in each text
 *     ng_counts_new(&c, &dataset, &features, &err);
 *     ng_rows r;                                     which buckets have weights, their idf
 *     ng_rows_new(&r, &c, min_count, max, &err);
 *     ng_vectors v;
 *     ng_vectors_new(&v, &c, &r, &err);              v.row[v.begin[i] .. v.begin[i + 1]), v.value
 *     .. ng_vectors_clear(&v); ng_rows_clear(&r); ng_counts_clear(&c); */
#ifndef NG_TRAIN_VECTORS_H
#define NG_TRAIN_VECTORS_H

#include "model/linear_features.h"
#include "train/data.h"

typedef struct ng_counts {
    size_t n;          /* texts */
    size_t *begin;     /* [n + 1] */
    uint32_t *bucket;  /* [begin[n]] rising within a text */
    uint16_t *count;   /* [begin[n]] */
    uint32_t *df;      /* [2^bits]: texts that have the bucket */
    size_t n_buckets;  /* 2^bits */
    size_t n_used;     /* buckets with df > 0 */
} ng_counts;

typedef struct ng_rows {
    int32_t *of;      /* [n_buckets]: row, or -1 */
    uint32_t *bucket; /* [n]: rising */
    uint8_t *idf;     /* [n]: code, at least 1 */
    size_t n, n_buckets;
    bool log_tf;
    uint8_t unknown;  /* idf code of buckets without a row */
} ng_rows;

typedef struct ng_vectors {
    size_t n;
    size_t *begin;   /* [n + 1] */
    uint32_t *row;
    float *value;    /* length 1 a text, unless it has no known feature */
} ng_vectors;

ng_status ng_counts_new(ng_counts *out, const ng_dataset *d, const ng_feature_config *c, ng_error *err) NG_MUST_USE;
void ng_counts_clear(ng_counts *c);
/* Buckets that at least min_count texts have; when these are more than `max`, the most frequent. */
ng_status ng_rows_new(ng_rows *out, const ng_counts *c, const ng_recipe_features *f, size_t max,
                      ng_error *err) NG_MUST_USE;
/* Keeps the `max` rows with the greatest scores (ties: the lower row); moved[old] = new or -1. */
ng_status ng_rows_keep(ng_rows *r, const float *scores, size_t max, int32_t *moved, ng_error *err) NG_MUST_USE;
void ng_rows_clear(ng_rows *r);
ng_status ng_vectors_new(ng_vectors *out, const ng_counts *c, const ng_rows *r, ng_error *err) NG_MUST_USE;
void ng_vectors_clear(ng_vectors *v);

#endif
