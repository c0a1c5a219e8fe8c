/* kernels_amxsim_avx512.c: the loops of tiles_amx.inc on tiles in plain C: how they are tested on a machine without AMX.
 *
 * Each macro does what the SDM says of its instruction, rows and columns beyond a tile's shape included: a load zeroes
 * them, a product needs shapes that match, and whoever asks for others is stopped by an assertion. */
#include "lanes_avx512.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#define amx_begin(config) sim_begin((const uint8_t *)(const void *)(config))
#define amx_end() memset(&sim, 0, sizeof sim)
#define amx_zero(T) memset(sim.tile[T], 0, sizeof sim.tile[T])
#define amx_load(T, p, stride) sim_load(T, (const uint8_t *)(const void *)(p), stride)
#define amx_store(T, p, stride) sim_store(T, (uint8_t *)(void *)(p), stride)
#define amx_dp_su(C, A, B) sim_product(C, A, B, true)
#define amx_dp_us(C, A, B) sim_product(C, A, B, false)
#define AMX_LEVEL ng_kernels_fill_amx_emulated

static _Thread_local struct {
    uint8_t tile[8][16][64];
    unsigned rows[8], colsb[8];
} sim;

static void sim_begin(const uint8_t config[64]) {
    memset(&sim, 0, sizeof sim);
    assert(config[0] == 1 && config[1] == 0);
    for (int i = 0; i < 8; i++) {
        sim.colsb[i] = config[16 + 2 * i] | (unsigned)config[17 + 2 * i] << 8;
        sim.rows[i] = config[48 + i];
        assert(sim.colsb[i] <= 64 && sim.rows[i] <= 16 && !sim.rows[i] == !sim.colsb[i]);
    }
}

static void sim_load(int t, const uint8_t *p, size_t stride) {
    assert(sim.rows[t]);
    memset(sim.tile[t], 0, sizeof sim.tile[t]);
    for (unsigned r = 0; r < sim.rows[t]; r++) memcpy(sim.tile[t][r], p + r * stride, sim.colsb[t]);
}

static void sim_store(int t, uint8_t *p, size_t stride) {
    assert(sim.rows[t]);
    for (unsigned r = 0; r < sim.rows[t]; r++) memcpy(p + r * stride, sim.tile[t][r], sim.colsb[t]);
}

static void sim_product(int c, int a, int b, bool a_is_signed) {
    assert(sim.rows[c] == sim.rows[a] && sim.colsb[c] == sim.colsb[b] && sim.colsb[a] == 4 * sim.rows[b] && sim.rows[b]);
    for (unsigned m = 0; m < sim.rows[c]; m++)
        for (unsigned n = 0; n < sim.colsb[c] / 4; n++) {
            int32_t sum;
            memcpy(&sum, &sim.tile[c][m][4 * n], 4);
            for (unsigned k = 0; k < sim.colsb[a]; k++) {
                uint8_t x = sim.tile[a][m][k], w = sim.tile[b][k / 4][4 * n + k % 4];
                sum += a_is_signed ? (int8_t)x * w : x * (int8_t)w;
            }
            memcpy(&sim.tile[c][m][4 * n], &sum, 4);
        }
}

#include "tiles_amx.inc"
