/* plot.h: a loss curve as an SVG file.
 *
 *     ng_plot_write("loss.svg", "encoder-en", losses, n_steps, steps_per_epoch, &err);
 *
 * One grey line of all steps, one dark line of their running mean, a tick an epoch. */
#ifndef NG_TRAIN_PLOT_H
#define NG_TRAIN_PLOT_H

#include <nanogrid/status.h>

ng_status ng_plot_write(const char *path, const char *title, const double *loss, size_t n, size_t per_epoch,
                        ng_error *err) NG_MUST_USE;

#endif
