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
    uint32_t *table;           /* [2^bits / 64, 3] as the kernel find_rows wants it */
};

/* Which of the buckets 64 i to 64 i + 63 have a row. */
static inline uint64_t ng_linear_used(const uint32_t *table, size_t i) {
    return table[3 * i] | (uint64_t)table[3 * i + 1] << 32;
}
/* `rows` rows stand before them.  Returns how many do behind. */
uint32_t ng_linear_put_used(uint32_t *table, size_t i, uint64_t used, uint32_t rows);

/* Counts rows: which there are, and how often each. */
typedef struct ng_row_counter {
    uint32_t *slots;  /* a hash table of 1 + places in the list, as big as the text needs */
    uint16_t *counts; /* [rows of the model] */
} ng_row_counter;

bool ng_row_counter_init(ng_row_counter *c, size_t n_rows);
void ng_row_counter_clear(ng_row_counter *c);
/* rows[n] of at most n_rows kinds becomes the list of the different ones, counts[] how often each stood in it; returns how many. */
size_t ng_row_counter_apply(ng_row_counter *c, uint32_t *rows, size_t n, size_t n_rows);

/* p[n_labels] from what the rows gave: sums of integers to logits. */
void ng_linear_finish(const ng_linear *m, const int32_t *sums, float *logits);
/* Logits to calibrated probabilities, in place. */
void ng_linear_calibrate(const ng_linear *m, float *p);

#endif
