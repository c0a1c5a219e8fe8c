/* imatrix.h: importance matrices: how much each input column of each weight matrix is used.
 *
 *     ng_imatrix_options o = {.session = session, .text = text, .len = len, .path = "model.imatrix.gguf"};
 *     ng_imatrix_report r;
 *     ng_imatrix_measure(&r, &o, &err);
 *     printf("%zu matrices, %zu tokens\n", r.n_matrices, r.n_tokens);
 *
 * Runs the model over the text and sums the squares of what every matrix is multiplied with.  `quantize`
 * weighs the error of a column by the mean of these (ng_weights_options.imatrix).  The file is GGUF in the
 * form that llama.cpp reads and writes: tensors NAME.in_sum2 [columns] and NAME.counts [1], keys
 * with `full` also NAME.in_products [columns (columns + 1) / 2], which
 * others pass over, keys general.type "imatrix", imatrix.chunk_count, imatrix.chunk_size, imatrix.datasets. */
#ifndef NANOGRID_TOOLS_IMATRIX_H
#define NANOGRID_TOOLS_IMATRIX_H

#include <nanogrid/model.h>

typedef struct ng_imatrix_options {
    ng_session *session; /* of a file whose products run in floats or int8 blocks; is emptied */
    const char *text;    /* decoders: cut into windows of the session's context; encoders: one text a line */
    size_t len;
    const char *dataset; /* its name, kept in the file; NULL: "text" */
    bool full;           /* also the products of each two columns, by which NG4 and NG3 lose less */
    const char *path;    /* of the file to write, atomically */
    void (*progress)(void *ctx, double done, double total); /* or NULL */
    void *progress_ctx;
} ng_imatrix_options;

typedef struct ng_imatrix_report {
    size_t n_matrices, n_tokens, n_windows;
} ng_imatrix_report;

/* NG_EINVALID: the text is shorter than two tokens; NG_EUNSUPPORTED: no product of this file can be seen
 * (a quantised encoder: use its F32 or F16 file), or it has no tokenizer that runs. */
NG_API ng_status ng_imatrix_measure(ng_imatrix_report *out, const ng_imatrix_options *opt, ng_error *err) NG_MUST_USE;

#endif
