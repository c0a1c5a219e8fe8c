/* panel.h: quantised weights, repacked once so that the lanes of a register are output rows.
 *
 *     size_t bytes = ng_panel_bytes(NG_TYPE_Q4_0, n_cols);
 *     for (r = 0; r < n_rows; r += NG_PANEL_ROWS)
 *         ng_panel_pack(type, panels + r / 16 * bytes, rows + r * row_bytes, row_bytes,
 *                       min(16, n_rows - r), n_cols);
 *
 * A panel holds 16 rows (missing ones are zero).  First come the scales of the whole panel:
 *   32-blocks     for each block:        d:f16[16]  (m:f16[16])
 *   Q4_K, Q5_K    for each super-block:  d:f16[16]  dmin:f16[16]  8 x { sc:u8[16] mn:u8[16] }
 *   NG4           for each 32 columns:   scale:u8[16]
 *   NG3, NG3_S    for each 64 columns:   scale:u8[16]
 *   Q6_K          for each super-block:  d:f16[16]  8 x { sc:i8[16] of columns 0..15, i8[16] of 16..31 }
 * then, at the next multiple of 64 bytes, for each 32 columns the codes, in pieces of 64 bytes in
 * which byte 4 r + j belongs to row r:
 *   8 bits        piece g = 0..7: column 4 g + j
 *   4, 5, 6 bits  piece g = 0..3: low nibble column 4 g + j, high nibble column 16 + 4 g + j
 *   5 bits        one more piece: bit g (0..7) of byte (r, j) is bit 4 of column 4 g + j
 *   6 bits        two more: field g % 4 (2 bits) of piece g / 4 is bits 4 and 5 of column 4 g + j
 *   3 bits        piece 0, 1: field g % 4 (2 bits) of piece g / 4 is bits 1 and 2 of column 4 g + j;
 *                 piece 2: bit g of byte (r, j) is bit 0 of column 4 g + j
 * So one 512-bit load, a shift and a mask feed one dpbusd for 16 rows and 4 columns on any ISA.
 * Codes are unsigned; the offset is taken off through the sums of the activations. */
#ifndef NG_KERNEL_PANEL_H
#define NG_KERNEL_PANEL_H

#include "dequant.h"

enum { NG_PANEL_ROWS = 16, NG_PANEL_ALIGN = 64 };

/* Bytes of the parts of a panel, and of the whole (a multiple of 64). */
typedef struct ng_panel_layout {
    size_t codes_at;    /* offset of the codes */
    size_t scale_bytes; /* of one block or super-block */
    size_t code_bytes;  /* of 32 columns */
    size_t bytes;
} ng_panel_layout;
/* bytes is 0 when the type has no panels or n_cols is no multiple of its block. */
ng_panel_layout ng_panel_get_layout(uint32_t type, size_t n_cols);
size_t ng_panel_bytes(uint32_t type, size_t n_cols);
/* dst is 64-byte aligned; rows lie row_bytes apart; 1 <= n_rows <= 16. */
void ng_panel_pack(uint32_t type, uint8_t *dst, const uint8_t *rows, size_t row_bytes, size_t n_rows,
                   size_t n_cols);
/* Row r (0..15) of a panel as floats: the same bits as ng_dequantize_row of what was packed.  Reads the cache
 * lines of the whole panel, so it is for looking up single rows. */
void ng_panel_row(uint32_t type, const uint8_t *panel, size_t r, float *dst, size_t n_cols);

#endif
