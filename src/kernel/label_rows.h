/* label_rows.h: four rows of a linear model at once, the bodies of two kernels for every level.
 *
 *     static void add_rows_i8(..) { ng_k_add_rows_i8(sums, w, u, n); }
 *
 * The inner loop has a fixed count, so that each level's compiler flags make vectors of it; integers, so the order is free.
 * Four rows: the sums are read and written once for all of them, which is where a row alone spends its time.  Factors of 16
 * bits: such a product is two instructions on every machine, one of 32 bits is eight on the oldest. */
#ifndef NG_KERNEL_LABEL_ROWS_H
#define NG_KERNEL_LABEL_ROWS_H

#include <stddef.h>
#include <stdint.h>

enum { NG_ROWS_STEP = 16, NG_ROWS_FEW = 4 };

static inline void ng_k_add_rows_i8(int32_t *restrict sums, const int8_t *const w[4], const int16_t u[4], size_t n) {
    const int8_t *restrict a = w[0], *restrict b = w[1], *restrict c = w[2], *restrict d = w[3];
    const int16_t ua = u[0], ub = u[1], uc = u[2], ud = u[3];
    size_t i = 0;
    for (; i + NG_ROWS_STEP <= n; i += NG_ROWS_STEP)
        for (size_t k = i; k < i + NG_ROWS_STEP; k++)
            sums[k] += (int32_t)ua * (int16_t)a[k] + (int32_t)ub * (int16_t)b[k] +
                       ((int32_t)uc * (int16_t)c[k] + (int32_t)ud * (int16_t)d[k]);
    for (; i + NG_ROWS_FEW <= n; i += NG_ROWS_FEW) /* models of few labels have nothing else */
        for (size_t k = i; k < i + NG_ROWS_FEW; k++)
            sums[k] += (int32_t)ua * (int16_t)a[k] + (int32_t)ub * (int16_t)b[k] +
                       ((int32_t)uc * (int16_t)c[k] + (int32_t)ud * (int16_t)d[k]);
    for (; i < n; i++) sums[i] += (int32_t)ua * a[i] + (int32_t)ub * b[i] + ((int32_t)uc * c[i] + (int32_t)ud * d[i]);
}

/* Weights of 4 bits, -8 .. 7, in n bytes a row: low[n] are of the low nibbles, high[n] of the high ones. */
static inline void ng_k_add_nibbles(int32_t *restrict low, int32_t *restrict high, const int8_t *const w[4], const int16_t u[4],
                                    size_t begin, size_t end) {
    const int16_t ua = u[0], ub = u[1], uc = u[2], ud = u[3];
    for (size_t k = begin; k < end; k++) {
        const uint8_t a = (uint8_t)w[0][k], b = (uint8_t)w[1][k], c = (uint8_t)w[2][k], d = (uint8_t)w[3][k];
        low[k] += (int32_t)ua * (int16_t)((a & 15) - 8) + (int32_t)ub * (int16_t)((b & 15) - 8) +
                  ((int32_t)uc * (int16_t)((c & 15) - 8) + (int32_t)ud * (int16_t)((d & 15) - 8));
        high[k] += (int32_t)ua * (int16_t)((a >> 4) - 8) + (int32_t)ub * (int16_t)((b >> 4) - 8) +
                   ((int32_t)uc * (int16_t)((c >> 4) - 8) + (int32_t)ud * (int16_t)((d >> 4) - 8));
    }
}

static inline void ng_k_add_rows_i4(int32_t *sums, const int8_t *const w[4], const int16_t u[4], size_t n) {
    size_t i = 0;
    for (; i + NG_ROWS_STEP <= n; i += NG_ROWS_STEP) ng_k_add_nibbles(sums, sums + n, w, u, i, i + NG_ROWS_STEP);
    for (; i + NG_ROWS_FEW <= n; i += NG_ROWS_FEW) ng_k_add_nibbles(sums, sums + n, w, u, i, i + NG_ROWS_FEW);
    ng_k_add_nibbles(sums, sums + n, w, u, i, n);
}

#endif
