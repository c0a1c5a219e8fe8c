/* linear_parts.h: what a linear model is made of; for linear.c and linear_set.c alone. */
#ifndef NG_MODEL_LINEAR_PARTS_H
#define NG_MODEL_LINEAR_PARTS_H

#include "model/linear.h"

#include "core/arena.h"
#include "gguf/gguf.h"
#include "kernel/kernel.h"

struct ng_linear {
    ng_arena *arena;
    ng_gguf *gguf;
    const char *name;          /* of the file, for messages */
    ng_feature_config features;
    const char **labels;       /* [n_labels] */
    const char *task;
    size_t n_labels, n_rows, row_bytes;
    uint32_t weight_bits, unknown;
    bool multi_label, log_tf, calibrated;
    float temperature, oos_threshold;
    float *platt_scale, *platt_shift, *thresholds; /* [n_labels], multi_label */
    float *scale, *bias;       /* [n_labels] */
    const int8_t *weight;      /* [n_rows, row_bytes], mapped */
    const uint8_t *idf;        /* [n_rows], mapped */
    const ng_kernels *kernels;
    uint64_t *used;            /* [2^bits / 64] */
    uint32_t *rank;            /* [2^bits / 64]: rows before this word */
};

/* p[n_labels] from what the rows gave: sums of integers to logits. */
void ng_linear_finish(const ng_linear *m, const int32_t *sums, float *logits);
/* Logits to calibrated probabilities, in place. */
void ng_linear_calibrate(const ng_linear *m, float *p);

#endif
