/* train_gemm.c: the products of training against OpenBLAS and oneDNN, where the build found them.
 *
 *     train_gemm [THREADS] [SECONDS]         2 threads; at least 0.3 s a cell and library, alternating
 *
 * Prints GFLOP/s of forward (x w^T), gradient of the input (dy w) and of the weights (dy^T x) for the
 * shapes of MiniLM's layers.  Floats in, floats out: what a side rounds or packs counts for it. */
#include "core/clock.h"
#include "train/gemm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef NG_HAVE_OPENBLAS
#include <cblas.h>
void openblas_set_num_threads(int n);
#endif
#ifdef NG_HAVE_DNNL
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#endif

typedef struct shape {
    const char *name;
    size_t m, n, k;
    bool ta, tb; /* A is stored [k, m], B [n, k] */
} shape;

typedef struct cell {
    shape s;
    float *a, *b, *c;
    void *work;
    ng_pool *pool;
    ng_gemm_ops ops;
} cell;

static void ours(cell *x) {
    const shape *s = &x->s;
    ng_product p = {.m = s->m, .n = s->n, .k = s->k, .c = x->c, .c_stride = s->n,
                    .a = {x->a, s->ta ? 1 : s->k, s->ta ? s->m : 1}, .b = {x->b, s->tb ? 1 : s->n, s->tb ? s->k : 1}};
    ng_product_run(&p, &x->ops, x->pool, x->work);
}

#ifdef NG_HAVE_OPENBLAS
static void openblas(cell *x) {
    const shape *s = &x->s;
    cblas_sgemm(CblasRowMajor, s->ta ? CblasTrans : CblasNoTrans, s->tb ? CblasTrans : CblasNoTrans, (int)s->m,
                (int)s->n, (int)s->k, 1, x->a, s->ta ? (int)s->m : (int)s->k, x->b, s->tb ? (int)s->k : (int)s->n, 0,
                x->c, (int)s->n);
}
#endif
#ifdef NG_HAVE_DNNL
static void onednn(cell *x) {
    const shape *s = &x->s;
    (void)!dnnl_sgemm(s->ta ? 'T' : 'N', s->tb ? 'T' : 'N', (dnnl_dim_t)s->m, (dnnl_dim_t)s->n, (dnnl_dim_t)s->k, 1,
                      x->a, s->ta ? (dnnl_dim_t)s->m : (dnnl_dim_t)s->k, x->b,
                      s->tb ? (dnnl_dim_t)s->k : (dnnl_dim_t)s->n, 0, x->c, (dnnl_dim_t)s->n);
}
#endif

static double rate(cell *x, void (*fn)(cell *), double seconds) {
    fn(x);
    double start = ng_clock_ms(), took;
    int n = 0;
    do fn(x), n++;
    while ((took = ng_clock_ms() - start) < seconds * 1e3);
    return 2e-6 * (double)x->s.m * (double)x->s.n * (double)x->s.k * n / took;
}

static float *filled(size_t n) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = (float)(i * 2654435761u % 1000) / 1000 - 0.5f;
    return x;
}

static void row(cell *x, double seconds) {
    const shape *s = &x->s;
    x->a = filled(s->m * s->k), x->b = filled(s->k * s->n), x->c = filled(s->m * s->n);
    x->work = aligned_alloc(64, (s->m + s->n + 64) * (s->k + 64) * 4);
    if (!x->a || !x->b || !x->c || !x->work) exit(1);
    printf("%-24s %5zu %5zu %5zu", s->name, s->m, s->n, s->k);
    static const ng_precision both[] = {NG_PRECISION_F32, NG_PRECISION_BF16};
    for (int i = 0; i < 2; i++) {
        if (ng_gemm_ops_get(&x->ops, both[i], NULL)) printf(" %9s", "-");
        else printf(" %9.1f", rate(x, ours, seconds));
    }
#ifdef NG_HAVE_OPENBLAS
    printf(" %9.1f", rate(x, openblas, seconds));
#endif
#ifdef NG_HAVE_DNNL
    printf(" %9.1f", rate(x, onednn, seconds));
#endif
    printf("\n");
    free(x->a), free(x->b), free(x->c), free(x->work);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 2;
    double seconds = argc > 2 ? atof(argv[2]) : 0.3;
    ng_error err = {0};
    cell x = {0};
    if (threads < 1 || ng_pool_new(&x.pool, threads, &err)) return fprintf(stderr, "%s\n", err.text), 1;
    printf("%-24s %5s %5s %5s %9s %9s", "GFLOP/s", "m", "n", "k", "own f32", "own bf16");
#ifdef NG_HAVE_OPENBLAS
    openblas_set_num_threads(threads);
    printf(" %9s", "OpenBLAS");
#endif
#ifdef NG_HAVE_DNNL
    omp_set_num_threads(threads);
    printf(" %9s", "oneDNN");
#endif
    printf("\n");
    for (size_t n = 512; n <= 2048; n *= 4) {
        const shape shapes[] = {{"forward 384 > 384", n, 384, 384, false, true},
                                {"forward 384 > 1536", n, 1536, 384, false, true},
                                {"forward 1536 > 384", n, 384, 1536, false, true},
                                {"input 1536 > 384", n, 384, 1536, false, false},
                                {"input 384 > 1536", n, 1536, 384, false, false},
                                {"weights 1536 x 384", 1536, 384, n, true, false},
                                {"weights 384 x 384", 384, 384, n, true, false}};
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            x.s = shapes[i];
            row(&x, seconds);
        }
    }
    ng_pool_free(x.pool);
    return 0;
}
