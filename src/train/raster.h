/* raster.h: a grey picture that lines and small letters are drawn into, written as PNG.
 *
 *     ng_raster r;
 *     ng_raster_new(&r, 800, 400, &err);                        white
 *     ng_raster_line(&r, (float[]){60, 40, 780, 40}, 2, 0);     from (60, 40) to (780, 40), 2 wide, black
 *     ng_raster_text(&r, 60, 24, 2, 0, "loss by step");         letters of 14 pixels, their feet at y = 24
 *     ng_raster_write(&r, "loss.png", &err);
 *     ng_raster_free(&r);
 *
 * PNG (W3C, third edition) of 8-bit grey in blocks that are stored, not packed (RFC 1951, 3.2.4): no library, some 320 KB. */
#ifndef NG_TRAIN_RASTER_H
#define NG_TRAIN_RASTER_H

#include <nanogrid/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ng_raster {
    size_t width, height;
    uint8_t *pixels; /* [height, width], 0 black, 255 white; owned */
} ng_raster;

ng_status ng_raster_new(ng_raster *out, size_t width, size_t height, ng_error *err) NG_MUST_USE;
void ng_raster_free(ng_raster *r); /* accepts a zeroed one */
/* ends: x1 y1 x2 y2 in pixels, whatever lies outside is dropped; smooth edges. */
void ng_raster_line(ng_raster *r, const float ends[4], float thickness, uint8_t grey);
/* Letters (drawn as small ones), digits and - _ . : +; anything else is a gap.  5 by 7 pixels each, `size` times. */
void ng_raster_text(ng_raster *r, float x, float y, size_t size, uint8_t grey, const char *text);
float ng_raster_text_width(const char *text, size_t size);
ng_status ng_raster_write(const ng_raster *r, const char *path, ng_error *err) NG_MUST_USE;

#endif
