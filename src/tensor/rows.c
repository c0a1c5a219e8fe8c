/* rows.c: see rows.h. */
#include "rows.h"

#include "core/checked.h"
#include <assert.h>

bool ng_rows_init(ng_rows *r, ng_arena *a, size_t n, size_t n_cols, bool is_u8) {
    size_t cells;
    *r = (ng_rows){.n_cols = n_cols};
    if (!ng_mul_ok(&cells, n, n_cols) || !(r->x = ng_arena_array(a, cells, sizeof *r->x))) return false;
    if (!is_u8) return true;
    r->q.u = ng_arena_alloc(a, cells);
    r->q.d = ng_arena_array(a, n, sizeof *r->q.d);
    r->q.z = ng_arena_array(a, n, sizeof *r->q.z);
    return r->q.u && r->q.d && r->q.z;
}

void ng_rows_quantize(const ng_kernels *k, const ng_rows *r, size_t begin, size_t end) {
    for (size_t t = begin; r->q.u && t < end; t++)
        k->quantize_u8(r->q.u + t * r->n_cols, r->q.d + t, r->q.z + t, r->x + t * r->n_cols, r->n_cols);
}

void ng_rows_gelu(const ng_kernels *k, const ng_rows *r, size_t begin, size_t end) {
    for (size_t t = begin; t < end; t++) {
        float *x = r->x + t * r->n_cols;
        if (r->q.u) k->gelu_u8(r->q.u + t * r->n_cols, r->q.d + t, r->q.z + t, x, r->n_cols);
        else k->gelu(x, x, r->n_cols);
    }
}

void ng_rows_linear(const ng_team *tm, const ng_kernels *k, const ng_mat *m, ng_rows_in in, ng_out out) {
    const ng_rows *r = in.r;
    size_t n = r->n_cols, begin = in.begin, end = in.end;
    assert(n == m->n_cols && m->is_q8 == m->is_w8 && (!m->is_w8 || r->q.u));
    if (tm->observer)
        tm->observer->see(tm->observer->ctx, m, &(ng_act){.x = r->x + begin * n, .n_cols = n}, end - begin);
    if (m->is_w8) {
        ng_gemm_w8 g = {.w = m->w, .w_stride = m->w_stride, .row_end = m->n_rows, .n_cols = n,
                        .x = {r->q.u + begin * n, r->q.d + begin, r->q.z + begin}, .x_stride = n,
                        .n_tok = end - begin, .y = out.y, .y_stride = out.stride, .bias = out.bias, .add = out.add};
        k->gemm_w8(&g);
        return;
    }
    ng_gemm g = {.w = m->w, .w_stride = m->w_stride, .row_end = m->n_rows, .n_cols = n, .x = r->x + begin * n,
                 .x_stride = n, .n_tok = end - begin, .y = out.y, .y_stride = out.stride, .bias = out.bias, .add = out.add};
    m->gemm(&g);
}
