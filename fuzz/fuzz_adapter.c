/* fuzz_adapter.c: any bytes as an adapter beside a small base.  The hash that an adapter names its base by is mended first, so that what
 * is checked after it is reached.  What is accepted is run, its heads are opened, and it is merged into the base: the merged
 * file has the base's tensors.  What is refused says why. */
#include "core/file.h"
#include "model/adapter.h"
#include "model/arch.h"
#include "model/encoder_heads.h"
#include "train/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WIDTH = 32, INNER = 5 };

static const char hash_key[] = "nanogrid.adapter.base";
static const char *const targets[] = {"blk.0.attn_q.weight", "blk.0.ffn_up.weight"};
static char folder[] = "/tmp/ng-fuzz-adapter-XXXXXX", path[64], base_path[64], merged_path[64];
static ng_gguf *base;
static ng_model model;

static void clean(void) {
    ng_gguf_close(base);
    unlink(base_path);
    unlink(path);
    unlink(merged_path);
    rmdir(folder);
}

static void start(void) {
    static float up[INNER * WIDTH];
    static const uint8_t query[WIDTH * 34]; /* Q8_0: zeros */
    ng_gguf_writer *w;
    ng_error err = {0};
    if (!mkdtemp(folder)) abort();
    snprintf(base_path, sizeof base_path, "%s/base", folder);
    snprintf(path, sizeof path, "%s/adapter", folder);
    snprintf(merged_path, sizeof merged_path, "%s/merged", folder);
    for (int i = 0; i < INNER * WIDTH; i++) up[i] = (float)i / 64;
    if (ng_gguf_writer_new(&w)) abort();
    ng_gguf_put_str(w, "general.architecture", "bert");
    ng_gguf_put_tensor(w, targets[0], NG_TYPE_Q8_0, 2, (uint64_t[]){WIDTH, WIDTH}, query);
    ng_gguf_put_tensor(w, targets[1], NG_TYPE_F32, 2, (uint64_t[]){WIDTH, INNER}, up);
    if (ng_gguf_writer_commit(w, base_path, &err) || ng_gguf_open(&base, base_path, &err)) abort();
    model.gguf = base;
    model.info.path = base_path;
    model.info.n_embd = WIDTH;
    if (ng_kernels_get(&model.kernels, &err)) abort();
    atexit(clean);
}

/* The value behind the key and its type. */
static void mend(uint8_t *file, size_t len) {
    const size_t key = sizeof hash_key - 1;
    uint64_t hash = ng_adapter_base_hash(base);
    for (size_t i = 0; i + key + 12 <= len; i++)
        if (!memcmp(file + i, hash_key, key)) memcpy(file + i + key + 4, &hash, sizeof hash);
}

static void run_it(const ng_adapter *a) {
    for (size_t i = 0; i < 2; i++) {
        ng_low_rank l = ng_adapter_find(a, targets[i]);
        if (!l.rank) continue;
        if (l.in != WIDTH || l.out != (i ? INNER : WIDTH) || l.rank > NG_ADAPTER_RANK_MAX) abort();
        float x[2 * WIDTH] = {0}; /* 0 * finite: the outputs stay 0 */
        float *y = calloc(2 * l.out, sizeof *y), *low = malloc(2 * l.rank * sizeof *low);
        if (!y || !low) abort();
        ng_low_rank_add(model.kernels, &l, &(ng_low_rank_io){x, 2, y, l.out, low});
        for (size_t k = 0; k < 2 * l.out; k++)
            if (y[k] != 0) abort();
        free(y);
        free(low);
    }
}

static void open_heads(void) {
    ng_encoder_heads h;
    ng_error err = {0};
    if (ng_encoder_heads_open(&h, &model, &err)) {
        if (!err.text[0]) abort();
        return;
    }
    float row[WIDTH] = {0};
    for (size_t i = 0; i < h.len; i++) {
        float *z = malloc((h.items[i].n_labels + 1) * sizeof *z);
        if (!z) abort();
        if (h.items[i].w) ng_encoder_head_row(&h.items[i], row, z);
        free(z);
    }
    ng_encoder_heads_close(&h);
}

static void merge(bool fits) {
    ng_error err = {0};
    ng_gguf *g;
    if (ng_lora_merge(base, path, 0.5, merged_path, &err)) {
        if (!err.text[0]) abort(); /* it may fit and still give values that are too large for the tensor's type */
        return;
    }
    if (!fits || ng_gguf_open(&g, merged_path, &err)) abort();
    for (size_t i = 0; i < 2; i++)
        if (!ng_gguf_find_tensor(g, targets[i])) abort();
    ng_gguf_close(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ng_error err = {0};
    ng_adapter *a;
    if (size > 1 << 16) return 0;
    if (!path[0]) start();
    uint8_t *file = malloc(size + 1);
    if (!file) abort();
    memcpy(file, data, size);
    mend(file, size);
    if (ng_file_write_atomic(path, file, size, &err)) abort();
    free(file);
    bool fits = !ng_adapter_open(&a, path, base, 0.5, &err);
    if (!fits) {
        if (!err.text[0] || a) abort();
    } else {
        model.adapter = a;
        run_it(a);
        open_heads();
        model.adapter = NULL;
        ng_adapter_close(a);
    }
    merge(fits);
    return 0;
}
