/* rounded.c: see rounded.h. */
#include "rounded.h"

#include "kernel/dequant.h"
#include "quant/quantize_row.h"
#include <stdlib.h>
#include <string.h>

ng_status ng_rounded_new(ng_rounded *r, ng_encoder *e, const char *type, const ng_nn *nn, ng_error *err) {
    *r = (ng_rounded){.encoder = e, .nn = nn};
    if (!ng_type_parse(&r->type, type) || !ng_can_quantize(r->type))
        return ng_fail(err, NG_EUNSUPPORTED,
                       "training.rounded: no type '%s' to round to (Q8_0, Q5_1, Q5_0, Q4_1, Q4_0, NG4, ..)", type);
    ng_encoder_shape s = ng_encoder_get_shape(e);
    r->row_bytes = ((s.n_ff > s.width ? s.n_ff : s.width) * sizeof(float) + 63) / 64 * 64; /* no type takes more */
    r->exact = malloc(ng_encoder_n_total(e) * sizeof *r->exact);
    r->rows = malloc(r->row_bytes * (size_t)ng_pool_threads(nn->pool));
    if (r->exact && r->rows) return NG_OK;
    ng_rounded_clear(r);
    return ng_fail(err, NG_ENOMEM, "training.rounded: no memory for a copy of the weights");
}

void ng_rounded_clear(ng_rounded *r) {
    free(r->exact);
    free(r->rows);
    *r = (ng_rounded){0};
}

typedef struct job {
    ng_rounded *r;
    const ng_encoder_tensor *t;
} job;

static void round_rows(void *ctx, int part, int n_parts) {
    const job *j = ctx;
    size_t begin, end;
    char *block = (char *)j->r->rows + (size_t)part * j->r->row_bytes;
    ng_pool_slice(j->t->rows, 1, part, n_parts, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        float *row = ng_encoder_weights(j->r->encoder) + j->t->at + i * j->t->cols;
        if (ng_quantize_row(j->r->type, row, NULL, block, j->t->cols))
            ng_dequantize_row(j->r->type, block, row, j->t->cols);
    }
}

void ng_rounded_put(ng_rounded *r) {
    size_t n, block = ng_type_get_info(r->type).block_len;
    const ng_encoder_tensor *t = ng_encoder_tensors(r->encoder, &n);
    memcpy(r->exact, ng_encoder_weights(r->encoder), ng_encoder_n_total(r->encoder) * sizeof *r->exact);
    for (size_t i = 0; i < n; i++) {
        if ((!t[i].decays && strcmp(t[i].name, "token_embd.weight") != 0) || t[i].cols % block) continue;
        job j = {r, &t[i]};
        ng_pool_run(r->nn->pool, round_rows, &j);
    }
}

void ng_rounded_restore(ng_rounded *r) {
    memcpy(ng_encoder_weights(r->encoder), r->exact, ng_encoder_n_total(r->encoder) * sizeof *r->exact);
}
