/* tensor.c: operations over kernels and pool.  See tensor.h. */
#include "tensor.h"

#include "core/checked.h"
#include "kernel/panel.h"
#include <assert.h>
#include <string.h>

bool ng_mat_can(uint32_t type) { return ng_can_dequantize(type); }

ng_status ng_mat_init_lookup(ng_mat *m, const ng_gguf_tensor *t, ng_error *err) {
    *m = (ng_mat){.type = t->type, .n_rows = (size_t)t->dims[1], .n_cols = (size_t)t->dims[0], .stored = t->data};
    if (ng_type_row_bytes(t->type, m->n_cols, &m->stored_stride)) return NG_OK;
    return ng_fail(err, NG_EFORMAT, "tensor %s: rows of %zu elements are not whole blocks of %s", t->name,
                   m->n_cols, ng_type_get_info(t->type).name);
}

ng_status ng_mat_init(ng_mat *m, const ng_gguf_tensor *t, const ng_kernels *k, ng_error *err) {
    ng_status s = ng_mat_init_lookup(m, t, err);
    if (s) return s;
    m->gemm = ng_kernels_gemm(k, t->type);
    m->is_q8 = ng_quant_get_info(t->type).bits != 0;
    m->w = m->is_q8 ? NULL : m->stored;
    m->w_stride = m->is_q8 ? ng_panel_bytes(t->type, m->n_cols) : m->stored_stride;
    return NG_OK;
}

bool ng_mat_use_w8(ng_mat *m) {
    if (!m->is_q8) return true;
    m->is_w8 = true;
    m->w_stride = ng_w8_panel_bytes(m->n_cols);
    return m->n_cols <= NG_W8_COLS_MAX;
}

size_t ng_mat_panel_bytes(const ng_mat *m) {
    size_t n_panels = (m->n_rows + NG_PANEL_ROWS - 1) / NG_PANEL_ROWS, bytes;
    if (!m->is_q8) return 0;
    return ng_mul_ok(&bytes, n_panels, m->w_stride) ? bytes : SIZE_MAX;
}

void ng_mat_place(ng_mat *m, uint8_t *panels) { m->w = panels; }

/* n rows from `r`, through floats; the plain kernel, since this runs once a model file. */
static void pack_w8(const ng_mat *m, uint8_t *panel, size_t r, size_t n) {
    float row[NG_W8_COLS_MAX]; /* 256 KiB of stack */
    if (n < NG_PANEL_ROWS) memset(panel, 0, m->w_stride);
    for (size_t i = 0; i < n; i++) {
        ng_dequantize_row(m->type, m->stored + (r + i) * m->stored_stride, row, m->n_cols);
        ng_kernels_at(NG_CPU_REF)->w8_row(panel, i, row, m->n_cols);
    }
}

void ng_mat_pack(const ng_team *tm, const ng_mat *m) {
    if (!m->is_q8) return;
    size_t begin, end;
    ng_team_slice(tm, m->n_rows, NG_PANEL_ROWS, &begin, &end);
    for (size_t r = begin; r < end; r += NG_PANEL_ROWS) {
        size_t n = m->n_rows - r < NG_PANEL_ROWS ? m->n_rows - r : NG_PANEL_ROWS;
        uint8_t *panel = (uint8_t *)(uintptr_t)m->w + r / NG_PANEL_ROWS * m->w_stride;
        if (m->is_w8) pack_w8(m, panel, r, n);
        else ng_panel_pack(m->type, panel, m->stored + r * m->stored_stride, m->stored_stride, n, m->n_cols);
    }
}

void ng_mat_row(const ng_mat *m, size_t row, float *dst) {
    assert(row < m->n_rows && !m->is_w8);
    if (m->is_q8) {
        ng_panel_row(m->type, m->w + row / NG_PANEL_ROWS * m->w_stride, row % NG_PANEL_ROWS, dst, m->n_cols);
        return;
    }
    ng_dequantize_row(m->type, m->stored + row * m->stored_stride, dst, m->n_cols);
}

bool ng_act_init(ng_act *act, ng_arena *a, size_t max_tok, size_t n_cols, bool is_q8) {
    size_t n;
    *act = (ng_act){.n_cols = n_cols};
    if (!ng_mul_ok(&n, max_tok, n_cols)) return false;
    act->x = ng_arena_array(a, n, sizeof *act->x);
    if (!is_q8) return act->x != NULL;
    act->q.q = ng_arena_alloc(a, n);
    act->q.d = ng_arena_array(a, n / 32, sizeof *act->q.d);
    act->q.s = ng_arena_array(a, n / 32, sizeof *act->q.s);
    act->q.sum = ng_arena_array(a, n / 16, sizeof *act->q.sum);
    return act->x && act->q.q && act->q.d && act->q.s && act->q.sum;
}

static ng_q8 q8_at(const ng_q8 *q, size_t i) {
    return (ng_q8){q->q + i, q->d + i / 32, q->s + i / 32, q->sum + i / 16};
}

ng_act ng_act_from(const ng_act *act, size_t row) {
    size_t at = row * act->n_cols;
    return (ng_act){act->x + at, act->n_cols, act->q.q ? q8_at(&act->q, at) : (ng_q8){0}};
}

void ng_act_quantize(const ng_team *tm, const ng_kernels *k, const ng_act *act, size_t n_tok) {
    if (!act->q.q) return;
    size_t begin, end;
    ng_team_slice(tm, n_tok * act->n_cols, 32, &begin, &end);
    ng_q8 q = q8_at(&act->q, begin);
    if (end > begin) k->quantize_q8(&q, act->x + begin, end - begin);
}

void ng_act_quantize_cols(const ng_kernels *k, const ng_act *act, size_t tok, size_t begin, size_t end) {
    if (!act->q.q) return;
    size_t at = tok * act->n_cols + begin;
    ng_q8 q = q8_at(&act->q, at);
    k->quantize_q8(&q, act->x + at, end - begin);
}

void ng_act_norm(const ng_team *tm, const ng_kernels *k, const ng_act *act, const float *x,
                 const ng_norm *norm, size_t n_tok) {
    size_t begin, end, n = act->n_cols;
    ng_team_slice(tm, n_tok, 1, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        float *y = act->x + t * n;
        if (norm->b) k->layernorm(y, x + t * n, &(ng_affine){norm->w, norm->b}, n, norm->eps);
        else k->rmsnorm(y, x + t * n, norm->w, n, norm->eps);
        ng_q8 q = act->q.q ? q8_at(&act->q, t * n) : (ng_q8){0};
        if (act->q.q) k->quantize_q8(&q, y, n);
    }
}

void ng_linear(const ng_team *tm, const ng_mat *m, const ng_act *act, size_t n_tok, ng_out out) {
    assert(act->n_cols == m->n_cols && (!m->is_q8 || act->q.q));
    if (tm->observer && tm->part == 0) tm->observer->see(tm->observer->ctx, m, act, n_tok);
    ng_gemm g = {.w = m->w, .w_stride = m->w_stride, .n_cols = m->n_cols, .x = act->x,
                 .x_stride = m->n_cols, .q = act->q, .n_tok = n_tok, .y = out.y,
                 .y_stride = out.stride, .bias = out.bias, .add = out.add};
    ng_linear_slice(tm, m->n_rows, &g.row_begin, &g.row_end);
    if (m->next) {
        size_t begin, end;
        ng_linear_slice(tm, m->next->n_rows, &begin, &end);
        g.next = m->next->w + begin / NG_PANEL_ROWS * m->next->w_stride;
        g.next_panels = (end - begin) / NG_PANEL_ROWS;
        g.next_stride = m->next->w_stride;
    }
    if (g.row_end > g.row_begin) m->gemm(&g);
}
