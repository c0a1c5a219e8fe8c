/* panel.c: repacks rows of stored blocks into panels of 16 rows, and takes one out again.  See panel.h. */
#include "panel.h"

#include "half.h"
#include <assert.h>
#include <string.h>

enum { SUPER = 256 };

ng_panel_layout ng_panel_get_layout(uint32_t type, size_t n_cols) {
    ng_quant_info q = ng_quant_get_info(type);
    ng_panel_layout l = {0};
    if (!q.bits || !n_cols || n_cols % q.block_len) return l;
    l.scale_bytes = q.has_min ? 64 : 32;
    if (q.block_len == SUPER) l.scale_bytes += 256;
    if (q.levels) l.scale_bytes = type == NG_TYPE_NG4 ? 32 : 16;
    l.code_bytes = (size_t)q.bits * 64;
    l.codes_at = (n_cols / q.block_len * l.scale_bytes + 63) / 64 * 64;
    l.bytes = l.codes_at + n_cols / 32 * l.code_bytes;
    return l;
}

size_t ng_panel_bytes(uint32_t type, size_t n_cols) { return ng_panel_get_layout(type, n_cols).bytes; }

/* The scales of one block of row r. */
static void put_scales(uint32_t type, ng_quant_info q, uint8_t *s, const uint8_t *block, size_t r) {
    if (q.levels) {
        s[r] = block[0];
        if (type == NG_TYPE_NG4) s[16 + r] = block[1];
        return;
    }
    const uint8_t *d = type == NG_TYPE_Q6_K ? block + 208 : block;
    memcpy(s + 2 * r, d, 2);
    if (q.has_min) memcpy(s + 32 + 2 * r, block + 2, 2);
    if (q.block_len != SUPER) return;
    if (type == NG_TYPE_Q6_K) {
        for (size_t i = 0; i < 16; i++) s[32 + 16 * i + r] = block[192 + i];
        return;
    }
    uint8_t sc[8], mn[8];
    ng_block_k_scales(block + 4, sc, mn);
    for (size_t i = 0; i < 8; i++) {
        s[64 + 32 * i + r] = sc[i];
        s[64 + 32 * i + 16 + r] = mn[i];
    }
}

/* The codes of 32 columns of row r, four columns to a word. */
static void put_codes(unsigned bits, uint8_t *dst, const uint8_t *codes, size_t r) {
    uint32_t word[8], high[2] = {0, 0};
    memcpy(word, codes, sizeof word);
    uint8_t *p = dst + 4 * r;
    if (bits == 8) {
        for (size_t g = 0; g < 8; g++) memcpy(p + 64 * g, &word[g], 4);
        return;
    }
    if (bits == 3) {
        uint32_t low = 0;
        for (size_t g = 0; g < 8; g++) {
            high[g / 4] |= (word[g] >> 1 & 0x03030303) << (g % 4 * 2);
            low |= (word[g] & 0x01010101) << g;
        }
        memcpy(p, &high[0], 4);
        memcpy(p + 64, &high[1], 4);
        memcpy(p + 128, &low, 4);
        return;
    }
    for (size_t g = 0; g < 4; g++) {
        uint32_t low = (word[g] & 0x0F0F0F0F) | (word[g + 4] & 0x0F0F0F0F) << 4;
        memcpy(p + 64 * g, &low, 4);
    }
    if (bits == 5) {
        for (size_t g = 0; g < 8; g++) high[0] |= (word[g] >> 4 & 0x01010101) << g;
        memcpy(p + 256, high, 4);
    }
    if (bits == 6) {
        for (size_t g = 0; g < 8; g++) high[g / 4] |= (word[g] >> 4 & 0x03030303) << (g % 4 * 2);
        memcpy(p + 256, &high[0], 4);
        memcpy(p + 320, &high[1], 4);
    }
}

void ng_panel_pack(uint32_t type, uint8_t *dst, const uint8_t *rows, size_t row_bytes, size_t n_rows,
                   size_t n_cols) {
    ng_quant_info q = ng_quant_get_info(type);
    ng_panel_layout l = ng_panel_get_layout(type, n_cols);
    assert(l.bytes && n_rows >= 1 && n_rows <= NG_PANEL_ROWS);
    size_t scales = n_cols / q.block_len * l.scale_bytes;
    if (n_rows < NG_PANEL_ROWS) memset(dst, 0, l.bytes);
    else memset(dst + scales, 0, l.codes_at - scales); /* panels go to a file: no stale memory in the gap */
    uint8_t codes[SUPER];
    for (size_t b = 0; b < n_cols / q.block_len; b++)
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *block = rows + r * row_bytes + b * q.block_bytes;
            put_scales(type, q, dst + b * l.scale_bytes, block, r);
            ng_block_codes(type, block, codes);
            for (size_t c = 0; c < q.block_len; c += 32)
                put_codes(q.bits, dst + l.codes_at + (b * q.block_len + c) / 32 * l.code_bytes, codes + c, r);
        }
}

/* The inverse of put_codes. */
static void get_codes(unsigned bits, const uint8_t *src, uint8_t *codes, size_t r) {
    uint32_t word[8], high[2] = {0, 0};
    const uint8_t *p = src + 4 * r;
    if (bits == 8) {
        for (size_t g = 0; g < 8; g++) memcpy(codes + 4 * g, p + 64 * g, 4);
        return;
    }
    if (bits == 3) {
        uint32_t low;
        memcpy(&high[0], p, 4);
        memcpy(&high[1], p + 64, 4);
        memcpy(&low, p + 128, 4);
        for (size_t g = 0; g < 8; g++)
            word[g] = (high[g / 4] >> (g % 4 * 2) & 0x03030303) << 1 | (low >> g & 0x01010101);
        memcpy(codes, word, sizeof word);
        return;
    }
    for (size_t g = 0; g < 4; g++) {
        uint32_t both;
        memcpy(&both, p + 64 * g, 4);
        word[g] = both & 0x0F0F0F0F;
        word[g + 4] = both >> 4 & 0x0F0F0F0F;
    }
    if (bits > 4) memcpy(&high[0], p + 256, 4);
    if (bits == 6) memcpy(&high[1], p + 320, 4);
    for (size_t g = 0; bits == 5 && g < 8; g++) word[g] |= (high[0] >> g & 0x01010101) << 4;
    for (size_t g = 0; bits == 6 && g < 8; g++) word[g] |= (high[g / 4] >> (g % 4 * 2) & 0x03030303) << 4;
    memcpy(codes, word, sizeof word);
}

static float half_of(const uint8_t *halves, size_t r) {
    uint16_t h;
    memcpy(&h, halves + 2 * r, sizeof h);
    return ng_f16_to_f32(h);
}

/* The inverse of put_scales, as dequant.c makes them. */
static void get_scales(uint32_t type, ng_quant_info q, const uint8_t *s, ng_block *b, size_t r) {
    if (q.levels) {
        b->d[0] = ng_f16_to_f32(ng_scale8_to_f16(s[r]));
        b->d[1] = type == NG_TYPE_NG4 ? ng_f16_to_f32(ng_scale8_to_f16(s[16 + r])) : b->d[0];
        return;
    }
    float d = half_of(s, r), dmin = q.has_min ? half_of(s + 32, r) : 0;
    if (q.block_len != SUPER) {
        b->d[0] = d;
        b->m[0] = -dmin;
    } else if (type == NG_TYPE_Q6_K) {
        for (size_t i = 0; i < 16; i++) b->d[i] = d * (float)(int8_t)s[32 + 16 * i + r];
    } else {
        for (size_t i = 0; i < 8; i++) {
            b->d[i] = d * (float)s[64 + 32 * i + r];
            b->m[i] = dmin * (float)s[64 + 32 * i + 16 + r];
        }
    }
}

void ng_panel_row(uint32_t type, const uint8_t *panel, size_t r, float *dst, size_t n_cols) {
    ng_quant_info q = ng_quant_get_info(type);
    ng_panel_layout l = ng_panel_get_layout(type, n_cols);
    assert(l.bytes && r < NG_PANEL_ROWS);
    ng_block block;
    for (size_t b = 0; b < n_cols / q.block_len; b++) {
        get_scales(type, q, panel + b * l.scale_bytes, &block, r);
        for (size_t c = 0; c < q.block_len; c += 32)
            get_codes(q.bits, panel + l.codes_at + (b * q.block_len + c) / 32 * l.code_bytes, block.codes + c, r);
        ng_block_values(&q, &block, dst + b * q.block_len);
    }
}
