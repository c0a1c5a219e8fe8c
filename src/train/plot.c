/* plot.c: see plot.h.
 *
 * One drawing on two kinds of sheet: an SVG is text, a PNG a picture twice as large (raster.h). */
#include "plot.h"

#include "core/file.h"
#include "train/raster.h"
#include <nanogrid/buf.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    WIDTH = 800,
    HEIGHT = 400,
    LEFT = 60,
    RIGHT = 20,
    TOP = 40,
    BOTTOM = 40,
    POINTS = 2000,
    SCALE = 2
};

typedef enum anchor { START, MIDDLE, END } anchor;

/* Where the drawing goes: one of the two. */
typedef struct sheet {
    ng_buf *svg;
    ng_raster *picture;
} sheet;

typedef struct stroke {
    double width;
    uint8_t grey;
} stroke;

static const stroke grid_line = {1, 0xdd}, every_step = {0.7, 0xbb}, running_mean = {2, 0x22};

/* points: x, y of each. */
static void draw_line(const sheet *s, const double (*points)[2], size_t n, stroke how) {
    if (s->svg) {
        ng_buf_printf(
            s->svg,
            "<polyline fill=\"none\" stroke=\"#%02x%02x%02x\" stroke-width=\"%g\" points=\"",
            how.grey, how.grey, how.grey, how.width);
        for (size_t i = 0; i < n; i++)
            ng_buf_printf(s->svg, "%.1f,%.1f ", points[i][0], points[i][1]);
        ng_buf_puts(s->svg, "\"/>\n");
        return;
    }
    for (size_t i = 1; i < n; i++) {
        const double *a = points[i - 1], *b = points[i];
        float ends[4] = {(float)a[0] * SCALE, (float)a[1] * SCALE, (float)b[0] * SCALE,
                         (float)b[1] * SCALE};
        ng_raster_line(s->picture, ends, (float)how.width * SCALE, how.grey);
    }
}

static void draw_text(const sheet *s, double x, double y, anchor at, const char *text) {
    static const char *const names[] = {"start", "middle", "end"};
    if (s->svg) {
        ng_buf_printf(s->svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y,
                      names[at], text);
        return;
    }
    float left = (float)x * SCALE - (float)at / 2 * ng_raster_text_width(text, SCALE);
    ng_raster_text(s->picture, left, (float)y * SCALE, SCALE, 0, text);
}

/* ---- the curve ---------------------------------------------------------------------------------- */

typedef struct frame {
    double top; /* loss at the upper edge */
    size_t n;
} frame;

static double x_of(const frame *f, double step) {
    return LEFT + step / (double)(f->n > 1 ? f->n - 1 : 1) * (WIDTH - LEFT - RIGHT);
}
static double y_of(const frame *f, double loss) {
    return HEIGHT - BOTTOM - loss / f->top * (HEIGHT - TOP - BOTTOM);
}

/* Each point is the mean of up to `window` losses before it. */
static void draw_curve(const sheet *s, const frame *f, const double *loss, size_t window,
                       stroke how) {
    double points[POINTS][2];
    size_t every = f->n / POINTS + 1, n = 0;
    double sum = 0;
    for (size_t i = 0; i < f->n; i++) {
        sum += loss[i] - (i >= window ? loss[i - window] : 0);
        if (i % every) continue;
        points[n][0] = x_of(f, (double)i);
        points[n++][1] = y_of(f, sum / (double)(i < window ? i + 1 : window));
    }
    draw_line(s, (const double(*)[2])points, n, how);
}

static void draw_axes(const sheet *s, const frame *f, const char *title, size_t per_epoch) {
    char text[128];
    snprintf(text, sizeof text, "%s: loss by step", title);
    draw_text(s, LEFT, 24, START, text);
    for (int i = 0; i <= 4; i++) {
        double loss = f->top * i / 4, y = y_of(f, loss);
        draw_line(s, (const double[][2]){{LEFT, y}, {WIDTH - RIGHT, y}}, 2, grid_line);
        snprintf(text, sizeof text, "%.3g", loss);
        draw_text(s, LEFT - 6, y + 4, END, text);
    }
    size_t epochs = (f->n + per_epoch - 1) / per_epoch, every = epochs / 12 + 1;
    for (size_t e = every; e <= epochs; e += every) {
        snprintf(text, sizeof text, "%zu", e);
        draw_text(s, x_of(f, (double)(e * per_epoch - 1)), HEIGHT - BOTTOM + 18, MIDDLE, text);
    }
    draw_text(s, WIDTH - RIGHT, HEIGHT - 6, END, "epochs");
}

static void draw(const sheet *s, const char *title, const double *loss, size_t n,
                 size_t per_epoch) {
    frame f = {1e-9, n};
    for (size_t i = 0; i < n; i++) f.top = loss[i] > f.top ? loss[i] : f.top;
    draw_axes(s, &f, title, per_epoch);
    draw_curve(s, &f, loss, 1, every_step);
    draw_curve(s, &f, loss, n / 40 + 1, running_mean);
}

/* ---- the file ----------------------------------------------------------------------------------- */

static bool ends_in(const char *path, const char *suffix) {
    size_t n = strlen(path), m = strlen(suffix);
    return n > m && !strcasecmp(path + n - m, suffix);
}

ng_status ng_plot_check(const char *path, ng_error *err) {
    if (ends_in(path, ".svg") || ends_in(path, ".png")) return NG_OK;
    return ng_fail(err, NG_EINVALID, "--plot %s: a curve is drawn as FILE.svg or FILE.png", path);
}

static ng_status write_png(const char *path, const char *title, const double *loss, size_t n,
                           size_t per_epoch, ng_error *err) {
    ng_raster picture;
    ng_status s = ng_raster_new(&picture, WIDTH * SCALE, HEIGHT * SCALE, err);
    if (s) return s;
    draw(&(sheet){.picture = &picture}, title, loss, n, per_epoch);
    s = ng_raster_write(&picture, path, err);
    ng_raster_free(&picture);
    return s;
}

ng_status ng_plot_write(const char *path, const char *title, const double *loss, size_t n,
                        size_t per_epoch, ng_error *err) {
    ng_status s = ng_plot_check(path, err);
    if (s) return s;
    if (ends_in(path, ".png")) return write_png(path, title, loss, n, per_epoch, err);
    ng_buf b = ng_buf_init(1 << 20);
    ng_buf_printf(&b,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
                  WIDTH, HEIGHT);
    draw(&(sheet){.svg = &b}, title, loss, n, per_epoch);
    ng_buf_puts(&b, "</svg>\n");
    s = b.status ? ng_fail(err, b.status, "%s: out of memory", path)
                 : ng_file_write_atomic(path, b.data, b.len, err);
    ng_buf_clear(&b);
    return s;
}
