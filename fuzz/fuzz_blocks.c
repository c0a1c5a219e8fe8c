/* fuzz_blocks.c: any bytes as rows of a quantised type, scales of NaN and infinity included: taken apart, packed into a
 * panel and multiplied at every level that runs here.  The first byte chooses the type, the second the number of rows.
 * A panel gives back the floats of its rows, and every level the same bits. */
#include "kernel/kernel.h"
#include "kernel/panel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COLS = 256, ROWS = NG_PANEL_ROWS };
static const uint32_t types[] = {NG_TYPE_NG4, NG_TYPE_NG3, NG_TYPE_Q4_0, NG_TYPE_Q4_1, NG_TYPE_Q5_0, NG_TYPE_Q5_1,
                                 NG_TYPE_Q8_0, NG_TYPE_Q4_K, NG_TYPE_Q5_K, NG_TYPE_Q6_K, NG_TYPE_NG3_S};

/* The same number; a NaN may have other bits, since which of two NaNs a sum keeps is the compiler's choice. */
static bool same(float a, float b) { return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)); }

static void multiply(const ng_kernels *k, uint32_t type, const uint8_t *panel, float y[ROWS]) {
    static int8_t q[COLS];
    static float d[COLS / 32], s[COLS / 32];
    static int32_t sum[COLS / 16];
    memset(sum, 0, sizeof sum);
    for (size_t i = 0; i < COLS; i++) sum[i / 16] += q[i] = (int8_t)(i * 37 % 255 - 127);
    for (size_t i = 0; i < COLS / 32; i++) d[i] = 0.5f, s[i] = 0.5f * (float)(sum[2 * i] + sum[2 * i + 1]);
    ng_gemm g = {.w = panel, .w_stride = ng_panel_bytes(type, COLS), .row_end = ROWS, .n_cols = COLS, .x_stride = COLS,
                 .q = {q, d, s, sum}, .n_tok = 1, .y = y, .y_stride = ROWS};
    ng_kernels_gemm(k, type)(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    uint32_t type = types[data[0] % (sizeof types / sizeof *types)];
    size_t row, n = 1 + data[1] % ROWS;
    if (!ng_type_row_bytes(type, COLS, &row)) abort();
    uint8_t *rows = calloc(n, row), *panel = aligned_alloc(NG_PANEL_ALIGN, ng_panel_bytes(type, COLS));
    if (!rows || !panel) goto out;
    memcpy(rows, data + 2, size - 2 < n * row ? size - 2 : n * row);
    ng_panel_pack(type, panel, rows, row, n, COLS);
    float want[COLS], got[COLS], y[ROWS], ref[ROWS];
    for (size_t r = 0; r < n; r++) {
        ng_dequantize_row(type, rows + r * row, want, COLS);
        ng_panel_row(type, panel, r, got, COLS);
        for (size_t i = 0; i < COLS; i++)
            if (!same(want[i], got[i])) abort();
    }
    multiply(ng_kernels_at(NG_CPU_REF), type, panel, ref);
    for (int level = NG_CPU_REF + 1; level <= NG_CPU_I8MM; level++) {
        const ng_kernels *k = ng_kernels_at((ng_cpu_level)level);
        if (!k) continue;
        multiply(k, type, panel, y);
        for (size_t r = 0; r < n; r++)
            if (!same(ref[r], y[r])) abort();
    }
out:
    free(rows);
    free(panel);
    return 0;
}
