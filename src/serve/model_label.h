/* model_label.h: names of models for metrics, short and never the same twice.
 *
 *     const char *paths[] = {"/m/a/model.gguf", "/m/b/model.gguf", "/m/chat.gguf"};
 *     ng_model_label(&buf, paths, 3, 0);     a/model.gguf
 *     ng_model_label(&buf, paths, 3, 2);     chat.gguf
 *
 * The file's name, with as many of its folders as tell it from the others; of equal paths the second is NAME#2. */
#ifndef NG_SERVE_MODEL_LABEL_H
#define NG_SERVE_MODEL_LABEL_H

#include <nanogrid/buf.h>

/* Appends the label of paths[i], fit to stand between quotation marks in the Prometheus format. */
void ng_model_label(ng_buf *b, const char *const *paths, size_t n, size_t i);

#endif
