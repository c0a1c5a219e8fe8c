/* plot.h: a loss curve as an SVG or a PNG file.
 *
 *     ng_plot_check("loss.svg", &err);                          before the hours of training: .svg or .png
 *     ng_plot_write("loss.svg", "encoder-en", losses, n_steps, steps_per_epoch, &err);
 *
 * One grey line of all steps, one dark line of their running mean, a tick an epoch. */
#ifndef NG_TRAIN_PLOT_H
#define NG_TRAIN_PLOT_H

#include <nanogrid/status.h>

/* NG_EINVALID for a name that ends in neither. */
ng_status ng_plot_check(const char *path, ng_error *err) NG_MUST_USE;
ng_status ng_plot_write(const char *path, const char *title, const double *loss, size_t n,
                        size_t per_epoch, ng_error *err) NG_MUST_USE;

#endif
