/* plot.c: see plot.h. */
#include "plot.h"

#include "core/file.h"
#include <stdio.h>

enum { WIDTH = 800, HEIGHT = 400, LEFT = 60, RIGHT = 20, TOP = 40, BOTTOM = 40, POINTS = 2000 };

typedef struct frame {
    double top; /* loss at the upper edge */
    size_t n;
} frame;

static double x_of(const frame *f, double step) {
    return LEFT + step / (double)(f->n > 1 ? f->n - 1 : 1) * (WIDTH - LEFT - RIGHT);
}
static double y_of(const frame *f, double loss) { return HEIGHT - BOTTOM - loss / f->top * (HEIGHT - TOP - BOTTOM); }

/* The curve, each point the mean of up to `window` losses before it. */
static void put_line(ng_buf *b, const frame *f, const double *loss, size_t window, const char *style) {
    size_t every = f->n / POINTS + 1;
    double sum = 0;
    ng_buf_printf(b, "<polyline fill=\"none\" %s points=\"", style);
    for (size_t i = 0; i < f->n; i++) {
        sum += loss[i] - (i >= window ? loss[i - window] : 0);
        if (i % every == 0)
            ng_buf_printf(b, "%.1f,%.1f ", x_of(f, (double)i), y_of(f, sum / (double)(i < window ? i + 1 : window)));
    }
    ng_buf_puts(b, "\"/>\n");
}

static void put_axes(ng_buf *b, const frame *f, const char *title, size_t per_epoch) {
    ng_buf_printf(b, "<text x=\"%d\" y=\"24\" font-size=\"16\">%s: loss by step</text>\n", LEFT, title);
    for (int i = 0; i <= 4; i++) {
        double loss = f->top * i / 4, y = y_of(f, loss);
        ng_buf_printf(b,
                      "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" "
                      "text-anchor=\"end\">%.3g</text>\n",
                      LEFT, WIDTH - RIGHT, y, y, LEFT - 6, y + 4, loss);
    }
    size_t epochs = (f->n + per_epoch - 1) / per_epoch, every = epochs / 12 + 1;
    for (size_t e = every; e <= epochs; e += every)
        ng_buf_printf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%zu</text>\n",
                      x_of(f, (double)(e * per_epoch - 1)), HEIGHT - BOTTOM + 18, e);
    ng_buf_printf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">epochs</text>\n", WIDTH - RIGHT, HEIGHT - 6);
}

ng_status ng_plot_write(const char *path, const char *title, const double *loss, size_t n, size_t per_epoch,
                        ng_error *err) {
    frame f = {1e-9, n};
    ng_buf b = ng_buf_init(1 << 20);
    for (size_t i = 0; i < n; i++) f.top = loss[i] > f.top ? loss[i] : f.top;
    ng_buf_printf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n"
                      "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", WIDTH, HEIGHT);
    put_axes(&b, &f, title, per_epoch);
    put_line(&b, &f, loss, 1, "stroke=\"#bbb\" stroke-width=\"0.7\"");
    put_line(&b, &f, loss, n / 40 + 1, "stroke=\"#125\" stroke-width=\"2\"");
    ng_buf_puts(&b, "</svg>\n");
    ng_status s =
        b.status ? ng_fail(err, b.status, "%s: out of memory", path) : ng_file_write_atomic(path, b.data, b.len, err);
    ng_buf_clear(&b);
    return s;
}
