/* linear.h: a linear classifier over hashed n-grams: microseconds a text, the same bytes everywhere.
 *
 *     ng_linear *m;
 *     ng_linear_scratch *s;
 *     ng_linear_open(&m, "models/intent/model.gguf", &err);
 *     ng_linear_scratch_new(&s, m, &err);
 *     float p[ng_linear_n_labels(m)];                calibrated probabilities
 *     ng_linear_apply(m, s, text, len, p, &err);
 *     ng_linear_scratch_free(s);  ng_linear_close(m);
 *
 * An open model is immutable and may be shared; a scratch belongs to one thread at a time and to any
 * model that is not bigger than the one it was made for.
 *
 * The file (general.architecture "nanogrid-linear"):
 *     nanogrid.linear.version        u32     1
 *     nanogrid.task                  string  classify, moderate, detect-language
 *     nanogrid.linear.labels         strings [n_labels], in the order of the weights
 *     nanogrid.linear.multi_label    bool    each label by itself (sigmoid), else one of them (softmax)
 *     nanogrid.linear.bits, .word_max, .char_min, .char_max u32, .lower, .fold, .cross bool
 *                                            the features: linear_features.h
 *     nanogrid.linear.log_tf         bool    a feature seen n times counts 1 + ln n, else 1
 *     nanogrid.linear.unknown        u32     idf code of features that have no row; 0: they do not count
 *     nanogrid.linear.weight_bits    u32     8 or 4
 *     nanogrid.linear.temperature    f32     divides the logits (softmax); missing: not calibrated
 *     nanogrid.linear.platt_scale, .platt_shift  f32 [n_labels] (sigmoid); missing: not calibrated
 *     nanogrid.linear.threshold      f32 [n_labels]  (sigmoid) at or above it a label holds
 *     nanogrid.linear.oos_threshold  f32     in scope at or above this confidence; missing: always
 *     linear.weight  I8  [row_bytes, n_rows]  4 bits: byte j holds labels j (low) and j + row_bytes, + 8
 *     linear.scale, linear.bias  F32 [n_labels]
 *     linear.idf     I8  [n_rows]   (unsigned) 16 * idf, at least 1
 *     linear.rows    I64 [2^bits / 64]  bit b: bucket b has a row; rows stand in the order of buckets */
#ifndef NG_MODEL_LINEAR_H
#define NG_MODEL_LINEAR_H

#include "model/linear_features.h"

enum {
    NG_LINEAR_LABELS_MAX = 4096,
    NG_LINEAR_ROWS_MAX = 1 << 17, /* so that 32-bit sums cannot overflow: see linear.c */
    NG_LINEAR_UNIT = 32767,       /* a feature vector of length 1 in fixed point */
};

typedef struct ng_linear ng_linear;
typedef struct ng_linear_scratch ng_linear_scratch;

ng_status ng_linear_open(ng_linear **out, const char *path, ng_error *err) NG_MUST_USE;
/* The same over memory that outlives the model. */
ng_status ng_linear_open_memory(ng_linear **out, const void *data, size_t len, const char *name,
                                ng_error *err) NG_MUST_USE;
void ng_linear_close(ng_linear *m);

ng_status ng_linear_scratch_new(ng_linear_scratch **out, const ng_linear *m, ng_error *err) NG_MUST_USE;
void ng_linear_scratch_free(ng_linear_scratch *s);

/* p[n_labels]: calibrated probabilities; they sum to 1 unless multi_label.  NG_ELIMIT for a text over
 * NG_FEATURE_TEXT_MAX bytes. */
ng_status ng_linear_apply(const ng_linear *m, ng_linear_scratch *s, const char *text, size_t len,
                          float *p, ng_error *err) NG_MUST_USE;
/* The logits before calibration, what calibration is fitted on. */
ng_status ng_linear_logits(const ng_linear *m, ng_linear_scratch *s, const char *text, size_t len,
                           float *logits, ng_error *err) NG_MUST_USE;
/* ng_linear_apply over recorded features (model/feature_blob.h) instead of the text, the same bits.
 * NG_ENOTFOUND: the blob holds none of the kind that this model reads. */
ng_status ng_linear_apply_recorded(const ng_linear *m, ng_linear_scratch *s, const void *blob, size_t len,
                                   float *p, ng_error *err) NG_MUST_USE;
/* What a file's model reads, without opening the model.  NG_EUNSUPPORTED: no linear model. */
ng_status ng_linear_file_features(ng_feature_config *out, const char *path, ng_error *err) NG_MUST_USE;

size_t ng_linear_n_labels(const ng_linear *m);
const char *ng_linear_label(const ng_linear *m, size_t i); /* NUL-terminated */
const char *ng_linear_task(const ng_linear *m);
bool ng_linear_multi_label(const ng_linear *m);
bool ng_linear_calibrated(const ng_linear *m);
float ng_linear_oos_threshold(const ng_linear *m); /* 0: every text is in scope */
float ng_linear_threshold(const ng_linear *m, size_t label);
size_t ng_linear_file_bytes(const ng_linear *m);

/* ---- shared with the trainer ------------------------------------------------------------------- */

/* Fixed-point weight of a feature seen `count` times with this idf code: what enters the norm. */
uint32_t ng_linear_value(uint32_t count, uint32_t idf, bool log_tf);

#endif
