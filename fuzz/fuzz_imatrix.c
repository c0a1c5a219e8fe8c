/* fuzz_imatrix.c: any bytes as an importance matrix; what is taken from it is finite and of the length asked for. */
#include "core/file.h"
#include "quant/imatrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t columns[] = {1, 2, 32, 64};
    char path[64];
    ng_imatrix *im;
    ng_error err = {0};
    snprintf(path, sizeof path, "/tmp/ng-fuzz-imatrix-%d", (int)getpid());
    if (ng_file_write_atomic(path, data, size, &err)) return 0;
    ng_status s = ng_imatrix_open(&im, path, &err);
    if (s && !err.text[0]) abort(); /* a refusal says why */
    for (size_t i = 0; !s && i < sizeof columns / sizeof *columns; i++) {
        size_t n = columns[i];
        float *w = malloc(n * sizeof *w); /* exactly as long, so that a write past the end is seen */
        const float *products;
        bool found;
        err = (ng_error){0};
        if (w && !ng_imatrix_weights(im, w, "a.weight", n, &found, &err))
            for (size_t c = 0; found && c < n; c++)
                if (!(w[c] > 0) || !isfinite(w[c])) abort();
        if (!ng_imatrix_products(im, &products, "a.weight", n, &err) && products)
            for (size_t c = 0; c < n * (n + 1) / 2; c++)
                if (!isfinite(products[c])) abort();
        free(w);
    }
    if (!s) ng_imatrix_close(im);
    unlink(path);
    return 0;
}
