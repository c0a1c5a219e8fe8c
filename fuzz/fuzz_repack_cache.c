/* fuzz_repack_cache.c: any bytes as a cache file of repacked weights.  The first byte chooses whether the
 * header's sum is mended first, so that the fields behind it are reached too; what is accepted must be
 * exactly as long as the panels of the matrices that were asked for. */
#include "model/repack.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SUM_AT = 64, HEAD_BYTES = 72, PANELS_AT = 4096 };

static void mend(uint8_t *file, size_t len) {
    uint8_t head[HEAD_BYTES] = {0};
    memcpy(head, file, SUM_AT);
    uint64_t sum = ng_hash64(file + HEAD_BYTES, len - HEAD_BYTES, ng_hash64(head, HEAD_BYTES, 1));
    memcpy(file + SUM_AT, &sum, sizeof sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ng_pool *pool;
    static const uint8_t rows[16 * 34];
    ng_error err = {0};
    if (!size || (!pool && ng_pool_new(&pool, 1, &err))) return 0;
    const ng_kernels *k;
    if (ng_kernels_get(&k, &err)) return 0;
    ng_mat q8, q4;
    ng_gguf_tensor t8 = {.name = "a", .type = NG_TYPE_Q8_0, .n_dims = 2, .dims = {32, 16, 1, 1}, .data = rows};
    ng_gguf_tensor t4 = {.name = "b", .type = NG_TYPE_Q4_1, .n_dims = 2, .dims = {32, 3, 1, 1}, .data = rows};
    if (ng_mat_init(&q8, &t8, k, &err) || ng_mat_init(&q4, &t4, k, &err)) abort();
    ng_mat *mats[] = {&q8, &q4};
    ng_map model = {rows, sizeof rows};
    ng_repack_source src = {&model, "fuzz", mats, 2, 0};
    ng_digest source = ng_digest_of(rows, sizeof rows);
    size_t len = size - 1;
    uint8_t *copy = malloc(len ? len : 1); /* exactly as long, so that a read past the end is seen */
    if (!copy) return 0;
    memcpy(copy, data + 1, len);
    if (data[0] & 1 && len >= PANELS_AT) mend(copy, PANELS_AT);
    ng_map file = {copy, len};
    ng_status s = ng_repack_check(&file, &src, source, pool, &err);
    if (s && !err.text[0]) abort(); /* a refusal says why */
    if (!s && len != PANELS_AT + ng_mat_panel_bytes(&q8) + ng_mat_panel_bytes(&q4)) abort();
    free(copy);
    return 0;
}
