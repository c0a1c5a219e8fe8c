/* raster.c: see raster.h. */
#include "raster.h"

#include "core/file.h"
#include <ctype.h>
#include <math.h>
#include <nanogrid/buf.h>
#include <stdlib.h>
#include <string.h>

enum { GLYPH_WIDTH = 5, GLYPH_HEIGHT = 7, ADVANCE = 6, STORED_MAX = 65535 };

/* Seven rows of five pixels, a row an octal pair, the left pixel the highest bit. */
static const struct glyph {
    char letter;
    uint8_t rows[GLYPH_HEIGHT];
} glyphs[] = {
    {'0', {016, 021, 023, 025, 031, 021, 016}}, {'1', {004, 014, 004, 004, 004, 004, 016}},
    {'2', {016, 021, 001, 002, 004, 010, 037}}, {'3', {037, 002, 004, 002, 001, 021, 016}},
    {'4', {002, 006, 012, 022, 037, 002, 002}}, {'5', {037, 020, 036, 001, 001, 021, 016}},
    {'6', {006, 010, 020, 036, 021, 021, 016}}, {'7', {037, 001, 002, 004, 010, 010, 010}},
    {'8', {016, 021, 021, 016, 021, 021, 016}}, {'9', {016, 021, 021, 017, 001, 002, 014}},
    {'a', {000, 000, 016, 001, 017, 021, 017}}, {'b', {020, 020, 036, 021, 021, 021, 036}},
    {'c', {000, 000, 016, 020, 020, 021, 016}}, {'d', {001, 001, 017, 021, 021, 021, 017}},
    {'e', {000, 000, 016, 021, 037, 020, 016}}, {'f', {006, 011, 010, 034, 010, 010, 010}},
    {'g', {000, 017, 021, 021, 017, 001, 016}}, {'h', {020, 020, 026, 031, 021, 021, 021}},
    {'i', {004, 000, 014, 004, 004, 004, 016}}, {'j', {002, 000, 006, 002, 002, 022, 014}},
    {'k', {020, 020, 022, 024, 030, 024, 022}}, {'l', {014, 004, 004, 004, 004, 004, 016}},
    {'m', {000, 000, 032, 025, 025, 025, 025}}, {'n', {000, 000, 026, 031, 021, 021, 021}},
    {'o', {000, 000, 016, 021, 021, 021, 016}}, {'p', {000, 000, 036, 021, 036, 020, 020}},
    {'q', {000, 000, 017, 021, 017, 001, 001}}, {'r', {000, 000, 026, 031, 020, 020, 020}},
    {'s', {000, 000, 017, 020, 016, 001, 036}}, {'t', {010, 010, 034, 010, 010, 011, 006}},
    {'u', {000, 000, 021, 021, 021, 023, 015}}, {'v', {000, 000, 021, 021, 021, 012, 004}},
    {'w', {000, 000, 021, 021, 025, 025, 012}}, {'x', {000, 000, 021, 012, 004, 012, 021}},
    {'y', {000, 000, 021, 021, 017, 001, 016}}, {'z', {000, 000, 037, 002, 004, 010, 037}},
    {'-', {000, 000, 000, 037, 000, 000, 000}}, {'_', {000, 000, 000, 000, 000, 000, 037}},
    {'.', {000, 000, 000, 000, 000, 014, 014}}, {':', {000, 014, 014, 000, 014, 014, 000}},
    {'+', {000, 004, 004, 037, 004, 004, 000}},
};

ng_status ng_raster_new(ng_raster *out, size_t width, size_t height, ng_error *err) {
    *out = (ng_raster){width, height, malloc(width * height)};
    if (!out->pixels)
        return ng_fail(err, NG_ENOMEM, "a picture of %zu by %zu: out of memory", width, height);
    memset(out->pixels, 255, width * height);
    return NG_OK;
}

void ng_raster_free(ng_raster *r) {
    free(r->pixels);
    *r = (ng_raster){0};
}

/* ---- drawing ------------------------------------------------------------------------------------ */

/* The pixel takes `share` of the grey, and never gets lighter. */
static void blend(ng_raster *r, long x, long y, float share, uint8_t grey) {
    if (x < 0 || y < 0 || x >= (long)r->width || y >= (long)r->height || share <= 0) return;
    uint8_t *p = r->pixels + (size_t)y * r->width + (size_t)x;
    float want = 255 - (share < 1 ? share : 1) * (float)(255 - grey);
    if (want < (float)*p) *p = (uint8_t)lrintf(want);
}

/* How far the middle of a pixel lies from the line's nearest point. */
static float distance(const float e[4], float x, float y) {
    float dx = e[2] - e[0], dy = e[3] - e[1], length = dx * dx + dy * dy;
    float t = length > 0 ? ((x - e[0]) * dx + (y - e[1]) * dy) / length : 0;
    t = fminf(1, fmaxf(0, t));
    return hypotf(x - e[0] - t * dx, y - e[1] - t * dy);
}

void ng_raster_line(ng_raster *r, const float ends[4], float thickness, uint8_t grey) {
    float reach = thickness / 2 + 1;
    float left = fmaxf(0, fminf(ends[0], ends[2]) - reach),
          right = fminf((float)r->width, fmaxf(ends[0], ends[2]) + reach);
    float top = fmaxf(0, fminf(ends[1], ends[3]) - reach),
          bottom = fminf((float)r->height, fmaxf(ends[1], ends[3]) + reach);
    for (long y = (long)top; (float)y < bottom; y++)
        for (long x = (long)left; (float)x < right; x++)
            blend(r, x, y, thickness / 2 + 0.5f - distance(ends, (float)x + 0.5f, (float)y + 0.5f),
                  grey);
}

float ng_raster_text_width(const char *text, size_t size) {
    return (float)(strlen(text) * ADVANCE * size);
}

void ng_raster_text(ng_raster *r, float x, float y, size_t size, uint8_t grey, const char *text) {
    long at = lrintf(x), top = lrintf(y) - (long)(GLYPH_HEIGHT * size);
    for (; *text; text++, at += (long)(ADVANCE * size))
        for (size_t g = 0; g < sizeof glyphs / sizeof glyphs[0]; g++) {
            if (glyphs[g].letter != tolower((unsigned char)*text)) continue;
            for (size_t i = 0; i < GLYPH_HEIGHT * size; i++)
                for (size_t j = 0; j < GLYPH_WIDTH * size; j++)
                    if (glyphs[g].rows[i / size] >> (GLYPH_WIDTH - 1 - j / size) & 1)
                        blend(r, at + (long)j, top + (long)i, 1, grey);
        }
}

/* ---- PNG ---------------------------------------------------------------------------------------- */

static void put_be32(ng_buf *b, uint32_t v) {
    uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    ng_buf_put(b, bytes, sizeof bytes);
}

/* PNG, annex D. */
static uint32_t crc32_of(const uint8_t *p, size_t n) {
    uint32_t c = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    }
    return ~c;
}

static void put_chunk(ng_buf *b, const char type[5], const void *data, size_t n) {
    put_be32(b, (uint32_t)n);
    size_t from = b->len;
    ng_buf_put(b, type, 4);
    if (n) ng_buf_put(b, data, n);
    if (!b->status) put_be32(b, crc32_of((const uint8_t *)b->data + from, b->len - from));
}

/* Rows, each behind a byte 0 (no filter), as a zlib stream (RFC 1950) of stored blocks. */
static void put_zlib(ng_buf *b, const uint8_t *rows, size_t n) {
    ng_buf_put(b, "\x78\x01", 2);
    for (size_t at = 0; at < n; at += STORED_MAX) {
        size_t len = n - at < STORED_MAX ? n - at : STORED_MAX;
        uint8_t head[5] = {at + len == n, (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)~len,
                           (uint8_t)(~len >> 8)};
        ng_buf_put(b, head, sizeof head);
        ng_buf_put(b, rows + at, len);
    }
    uint32_t low = 1, high = 0;
    for (size_t i = 0; i < n; i++) {
        low = (low + rows[i]) % 65521;
        high = (high + low) % 65521;
    }
    put_be32(b, high << 16 | low);
}

ng_status ng_raster_write(const ng_raster *r, const char *path, ng_error *err) {
    ng_buf rows = ng_buf_init(1 << 24), packed = ng_buf_init(1 << 24), file = ng_buf_init(1 << 24);
    for (size_t y = 0; y < r->height; y++) {
        ng_buf_putc(&rows, 0);
        ng_buf_put(&rows, r->pixels + y * r->width, r->width);
    }
    if (!rows.status) put_zlib(&packed, (const uint8_t *)rows.data, rows.len);
    ng_buf_put(&file, "\x89PNG\r\n\x1a\n", 8);
    ng_buf header = ng_buf_init(64);
    put_be32(&header, (uint32_t)r->width);
    put_be32(&header, (uint32_t)r->height);
    /* 8 bits, grey, deflate, adaptive filters, not interlaced */
    ng_buf_put(&header, "\x08\0\0\0\0", 5);
    bool whole = !rows.status && !packed.status && !header.status;
    if (whole) {
        put_chunk(&file, "IHDR", header.data, header.len);
        put_chunk(&file, "IDAT", packed.data, packed.len);
        put_chunk(&file, "IEND", NULL, 0);
    }
    ng_status s = !whole || file.status ? ng_fail(err, NG_ENOMEM, "%s: out of memory", path)
                                        : ng_file_write_atomic(path, file.data, file.len, err);
    ng_buf_clear(&header);
    ng_buf_clear(&rows);
    ng_buf_clear(&packed);
    ng_buf_clear(&file);
    return s;
}
