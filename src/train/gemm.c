/* gemm.c: packing, cutting into tiles and giving them to threads.  See gemm.h.
 *
 * A pass packs both operands (threads share the work), waits, and walks the tiles: a block of rows of A
 * that stays in the second-level cache meets one panel of B after the other, which stays in the first.
 * B always becomes panels.  A stays in rows where its k is contiguous, since a tile only broadcasts from
 * it; where its rows are contiguous (the gradient of the weights) groups of 12 keep the broadcasts of
 * one step side by side.  AMX has its A in tiles in either case.
 *
 * The cut depends on the shape alone and every output belongs to one thread, so the number of threads
 * changes no bit. */
#include "gemm.h"

#include <stdlib.h>
#include <string.h>

enum {
    GEMM_K = 384,    /* a panel of 32 columns is 24 KiB of bf16 */
    GEMM_ROWS = 480, /* rows of A a block: 360 KiB of bf16 */
};

#if defined(__x86_64__)
#include <cpuid.h>
static bool has_bf16(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}
#endif

ng_status ng_gemm_ops_get(ng_gemm_ops *out, ng_precision precision, ng_error *err) {
    ng_cpu_level level;
    ng_status s = ng_cpu_get(&level, err);
    if (s) return s;
    *out = ng_gemm_plain;
#if defined(__x86_64__)
    if (level >= NG_CPU_AVX2 && level <= NG_CPU_AMX) *out = ng_gemm_avx2;
    if (level == NG_CPU_AVX512 || level == NG_CPU_AMX) {
        *out = ng_gemm_avx512;
        if (precision != NG_PRECISION_F32 && has_bf16()) *out = level == NG_CPU_AMX ? ng_gemm_amx : ng_gemm_bf16;
    }
#endif
    if (precision == NG_PRECISION_BF16 && out->precision != NG_PRECISION_BF16)
        return ng_fail(err, NG_EUNSUPPORTED,
                       "precision bf16: this processor (as NG_CPU allows) has neither AMX nor AVX512_BF16; use f32 or "
                       "auto");
    return NG_OK;
}

size_t ng_gemm_ops_all(const ng_gemm_ops *out[NG_GEMM_LEVELS_MAX]) {
    size_t n = 0;
    out[n++] = &ng_gemm_plain;
#if defined(__x86_64__)
    if (ng_cpu_can(NG_CPU_AVX2)) out[n++] = &ng_gemm_avx2;
    if (ng_cpu_can(NG_CPU_AVX512)) out[n++] = &ng_gemm_avx512;
    if (ng_cpu_can(NG_CPU_AVX512) && has_bf16()) out[n++] = &ng_gemm_bf16;
    if (ng_cpu_can(NG_CPU_AMX) && has_bf16()) out[n++] = &ng_gemm_amx;
#endif
    return n;
}

const char *ng_precision_name(ng_precision p) {
    return p == NG_PRECISION_BF16 ? "bf16" : p == NG_PRECISION_F32 ? "f32" : "auto";
}

/* ---- layout of the scratch ---------------------------------------------------------------------- */

typedef struct plan {
    const ng_product *p;
    const ng_gemm_ops *ops;
    char *a, *b;          /* packed */
    bool grouped;         /* A in groups of n_rows */
    bool direct;          /* A read where it lies */
    size_t step;          /* elements of k a step: 1, or 2 for bf16 */
    size_t steps;         /* of all k, and zeros */
    size_t unit;          /* bytes of one element (or pair) in a packed form */
    size_t n_panels;
} plan;

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

static size_t a_bytes(const plan *x) {
    if (x->direct) return 0;
    return round_up(round_up(x->p->m, x->ops->n_rows) * x->steps * x->unit, 64);
}

static plan make_plan(const ng_product *p, const ng_gemm_ops *ops) {
    plan x = {.p = p, .ops = ops, .unit = 4};
    x.step = ops->precision == NG_PRECISION_BF16 ? 2 : 1;
    x.steps = round_up((p->k + x.step - 1) / x.step, ops->n_steps);
    x.grouped = ops->groups_only || p->a.col != 1;
    x.direct = !x.grouped && !ops->pack_rows;
    x.n_panels = (p->n + ops->n_panel - 1) / ops->n_panel;
    return x;
}

size_t ng_product_bytes(const ng_product *p, const ng_gemm_ops *ops) {
    plan x = make_plan(p, ops);
    return a_bytes(&x) + x.n_panels * x.steps * ops->n_panel * x.unit;
}

/* ---- tiles -------------------------------------------------------------------------------------- */

/* Steps [from, to) of the rows [begin, end) against panel j. */
static void walk_rows(const plan *x, size_t j, const size_t row[2], const size_t step[2]) {
    const ng_product *p = x->p;
    size_t width = x->ops->n_panel, left = p->n - j * width, group = x->ops->n_rows;
    ng_tile t = {.k = step[1] - step[0], .c_stride = p->c_stride, .n = left < width ? left : width,
                 .add = p->add || step[0] > 0, .bias = p->bias && !step[0] ? p->bias + j * width : NULL};
    t.b = x->b + (j * x->steps + step[0]) * width * x->unit;
    for (size_t i = row[0]; i < row[1];) {
        if (x->direct) {
            t.a = (const char *)(p->a.data + i * p->a.row + step[0]);
            t.a_row = p->a.row * sizeof(float);
            t.a_col = sizeof(float);
        } else if (x->grouped) {
            t.a = x->a + ((i / group * x->steps + step[0]) * group + i % group) * x->unit;
            t.a_row = x->unit;
            t.a_col = group * x->unit;
        } else {
            t.a = x->a + (i * x->steps + step[0]) * x->unit;
            t.a_row = x->steps * x->unit;
            t.a_col = x->unit;
        }
        t.c = p->c + i * p->c_stride + j * width;
        t.rows = row[1] - i;
        i += x->ops->tile(&t);
    }
}

static void walk(const plan *x, const size_t row[2], const size_t panel[2]) {
    size_t k_block = GEMM_K / x->step;
    if (x->ops->begin) x->ops->begin();
    for (size_t r = row[0]; r < row[1]; r += GEMM_ROWS) {
        size_t rows[2] = {r, r + GEMM_ROWS < row[1] ? r + GEMM_ROWS : row[1]};
        for (size_t k = 0; k < x->steps; k += k_block) {
            size_t steps[2] = {k, k + k_block < x->steps ? k + k_block : x->steps};
            for (size_t j = panel[0]; j < panel[1]; j++) walk_rows(x, j, rows, steps);
        }
    }
    if (x->ops->end) x->ops->end();
}

/* ---- threads ------------------------------------------------------------------------------------ */

typedef struct job {
    plan x;
    ng_pool *pool;
} job;

static void pack(const plan *x, int part, int n_parts) {
    size_t begin, end;
    if (x->grouped) {
        ng_pool_slice(x->p->m, x->ops->n_rows, part, n_parts, &begin, &end);
        if (end > begin) x->ops->pack_groups(x->a, x->p, x->steps, begin, end);
    } else if (!x->direct) {
        ng_pool_slice(x->p->m, 1, part, n_parts, &begin, &end);
        x->ops->pack_rows(x->a, x->p, x->steps, begin, end);
    }
    ng_pool_slice(x->n_panels, 1, part, n_parts, &begin, &end);
    x->ops->pack_panels(x->b, x->p, x->steps, begin, end);
}

static void run_part(void *ctx, int part, int n_parts) {
    job *j = ctx;
    size_t row[2] = {0, j->x.p->m}, panel[2] = {0, j->x.n_panels};
    pack(&j->x, part, n_parts);
    if (n_parts > 1) ng_pool_barrier(j->pool);
    if (j->x.p->m >= j->x.p->n) ng_pool_slice(j->x.p->m, j->x.ops->n_rows, part, n_parts, &row[0], &row[1]);
    else ng_pool_slice(j->x.n_panels, 1, part, n_parts, &panel[0], &panel[1]);
    walk(&j->x, row, panel);
}

void ng_product_run(const ng_product *p, const ng_gemm_ops *ops, ng_pool *pool, void *work) {
    job j = {make_plan(p, ops), pool};
    j.x.a = work;
    j.x.b = j.x.a + a_bytes(&j.x);
    ng_pool_run(pool, run_part, &j);
}

void ng_product_run_alone(const ng_product *p, const ng_gemm_ops *ops, void *work) {
    job j = {make_plan(p, ops), NULL};
    j.x.a = work;
    j.x.b = j.x.a + a_bytes(&j.x);
    run_part(&j, 0, 1);
}
