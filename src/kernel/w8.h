/* w8.h: products of encoders: int8 weights with one scale a row, 8-bit activations with one scale and one
 * zero point a row, and no float in the inner loop.
 *
 *     k->quantize_u8(u, &d, &z, x, 384);                     x[i] ~ d * (u[i] - z)
 *     for (r = 0; r < 16; r++) k->w8_row(panel, r, w + r * 384, 384);
 *     ng_gemm_w8 g = {.w = panel, .row_end = 16, .n_cols = 384, .x = {u, &d, &z}, ..}; k->gemm_w8(&g);
 *
 * An encoder computes on many tokens at once, so its limit is the multiply-add and not memory: whatever
 * type the file has, its rows become int8.  Attention uses the same product: the keys of a head are the
 * rows of one panel (w8_row), its values the columns of another (w8_columns), and the weights of a query
 * are 8-bit codes relative to the largest (softmax_u8).
 *
 * PANEL of 16 rows: scale f32[16], sum of codes i32[16], then for each 4 columns 64 bytes in which byte
 * 4 r + j is the code (-127..127) of column 4 g + j in row r.  64-byte aligned.
 *
 * CANONICAL ORDER: isum = exact integer sum of (u - z) * code over all columns;
 *     y = (scale[r] * d) * (float)isum;  y = y + bias;  with `add`: y = y_old + (scale * d * isum + bias) */
#ifndef NG_KERNEL_W8_H
#define NG_KERNEL_W8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NG_W8_HEAD = 128,
    NG_W8_COLS_MAX = 65536, /* 255 * 127 * columns stays below 2^31 */
};

/* Rows of 8-bit codes: a NaN or an infinity makes d NaN and the codes 0, so it is not hidden. */
typedef struct ng_u8 {
    uint8_t *u; /* [rows, stride] */
    float *d;   /* [rows] */
    int32_t *z; /* [rows]: the code of 0 */
} ng_u8;

/* y[t, r] for r in [row_begin, row_end) and all t; row_begin is a multiple of 16. */
typedef struct ng_gemm_w8 {
    const uint8_t *w; /* panel 0 */
    size_t w_stride;  /* bytes between panels */
    size_t row_begin, row_end;
    size_t n_cols;    /* a multiple of 4, at most NG_W8_COLS_MAX */
    ng_u8 x;          /* [n_tok, n_cols] */
    size_t x_stride;  /* bytes between rows of x.u */
    size_t n_tok;
    float *y;         /* [n_tok, y_stride] */
    size_t y_stride;
    const float *bias; /* [rows] or NULL */
    bool add;          /* add to what y holds */
} ng_gemm_w8;

/* Bytes of a panel whose rows have n_cols columns, counted up to a multiple of 4. */
static inline size_t ng_w8_panel_bytes(size_t n_cols) { return NG_W8_HEAD + (n_cols + 3) / 4 * 64; }

#endif
