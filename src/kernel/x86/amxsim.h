/* amxsim.h: AMX tiles in plain C, by the names of amx.h: how loops over tiles are tested on a machine without AMX.
 *
 * Each macro does what the SDM says of its instruction, rows and columns beyond a tile's shape included: a load zeroes
 * them, a product needs shapes that match, and whoever asks for others is stopped. */
#ifndef NG_KERNEL_AMXSIM_H
#define NG_KERNEL_AMXSIM_H

#include "amx_config.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

/* In every build, unlike an assertion. */
#define SIM_NEEDS(x) ((x) ? (void)0 : __builtin_trap())

#define amx_begin(config) sim_begin((const uint8_t *)(const void *)(config))
#define amx_end() memset(&sim, 0, sizeof sim)
#define amx_zero(T) memset(sim.tile[T], 0, sizeof sim.tile[T])
#define amx_load(T, p, stride) sim_load(T, (const uint8_t *)(const void *)(p), stride)
#define amx_store(T, p, stride) sim_store(T, (uint8_t *)(void *)(p), stride)
#define amx_dp_ss(C, A, B) sim_product(C, A, B, true)
#define amx_dp_us(C, A, B) sim_product(C, A, B, false)
#define amx_dp_bf16(C, A, B) sim_product_bf16(C, A, B)

static _Thread_local struct {
    uint8_t tile[8][16][64];
    unsigned rows[8], colsb[8];
} sim;

static inline void sim_begin(const uint8_t config[64]) {
    memset(&sim, 0, sizeof sim);
    SIM_NEEDS(config[0] == 1 && config[1] == 0);
    for (int i = 0; i < 8; i++) {
        sim.colsb[i] = config[16 + 2 * i] | (unsigned)config[17 + 2 * i] << 8;
        sim.rows[i] = config[48 + i];
        SIM_NEEDS(sim.colsb[i] <= 64 && sim.rows[i] <= 16 && !sim.rows[i] == !sim.colsb[i]);
    }
}

static inline void sim_load(int t, const uint8_t *p, size_t stride) {
    SIM_NEEDS(sim.rows[t]);
    memset(sim.tile[t], 0, sizeof sim.tile[t]);
    for (unsigned r = 0; r < sim.rows[t]; r++) memcpy(sim.tile[t][r], p + r * stride, sim.colsb[t]);
}

static inline void sim_store(int t, uint8_t *p, size_t stride) {
    SIM_NEEDS(sim.rows[t]);
    for (unsigned r = 0; r < sim.rows[t]; r++) memcpy(p + r * stride, sim.tile[t][r], sim.colsb[t]);
}

static inline void sim_check(int c, int a, int b) {
    SIM_NEEDS(sim.rows[c] == sim.rows[a] && sim.colsb[c] == sim.colsb[b] && sim.colsb[a] == 4 * sim.rows[b] &&
           sim.rows[b]);
}

static inline void sim_product(int c, int a, int b, bool a_is_signed) {
    sim_check(c, a, b);
    for (unsigned m = 0; m < sim.rows[c]; m++)
        for (unsigned n = 0; n < sim.colsb[c] / 4; n++) {
            int32_t sum;
            memcpy(&sum, &sim.tile[c][m][4 * n], 4);
            for (unsigned k = 0; k < sim.colsb[a]; k++) {
                uint8_t x = sim.tile[a][m][k], w = sim.tile[b][k / 4][4 * n + k % 4];
                sum += (a_is_signed ? (int8_t)x : x) * (int8_t)w;
            }
            memcpy(&sim.tile[c][m][4 * n], &sum, 4);
        }
}

/* A denormal counts as zero of its sign. */
static inline float sim_flush(float x) { return fabsf(x) < FLT_MIN ? copysignf(0, x) : x; }

static inline float sim_bf16(const uint8_t *p) {
    uint32_t bits = (uint32_t)(p[0] | p[1] << 8) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return sim_flush(x);
}

/* Sums of even and of odd columns, each product added with one rounding; then both to each other, then to C. */
static inline void sim_product_bf16(int c, int a, int b) {
    sim_check(c, a, b);
    for (unsigned m = 0; m < sim.rows[c]; m++)
        for (unsigned n = 0; n < sim.colsb[c] / 4; n++) {
            float sum[2] = {0, 0}, to;
            for (unsigned k = 0; k < sim.colsb[a] / 2; k++)
                sum[k % 2] = sim_flush(fmaf(sim_bf16(&sim.tile[a][m][2 * k]),
                                            sim_bf16(&sim.tile[b][k / 2][4 * n + k % 2 * 2]), sum[k % 2]));
            memcpy(&to, &sim.tile[c][m][4 * n], 4);
            to = sim_flush(sim_flush(to) + sim_flush(sum[0] + sum[1]));
            memcpy(&sim.tile[c][m][4 * n], &to, 4);
        }
}

#endif
