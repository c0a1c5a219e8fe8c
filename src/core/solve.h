/* solve.h: a few linear equations, as Newton's steps of small fits ask for.
 *
 *     double a[3][3] = .., b[3] = ..;
 *     ng_solve(&a[0][0], b, 3);          b becomes x of a x = b; a is spoilt
 *
 * Or with a factor that serves several b (Cholesky), which takes the lower half of a and leaves L there:
 *
 *     ng_factorize(a, n);  ng_solve_lower(a, b, n);  ng_solve_upper(a, b, n);      b becomes L^-1 b, then x
 *
 * No pivots, one order: the same bits everywhere.  a[n, n] must be symmetric and positive definite. */
#ifndef NG_CORE_SOLVE_H
#define NG_CORE_SOLVE_H

#include <math.h>
#include <stddef.h>

static inline void ng_solve(double *a, double *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++) {
            double f = a[k * n + i] / a[i * n + i];
            for (size_t c = i; c < n; c++) a[k * n + c] -= f * a[i * n + c];
            b[k] -= f * b[i];
        }
    for (size_t i = n; i-- > 0;) {
        for (size_t c = i + 1; c < n; c++) b[i] -= a[i * n + c] * b[c];
        b[i] /= a[i * n + i];
    }
}

static inline void ng_factorize(double *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (size_t c = 0; c < j; c++) sum -= a[i * n + c] * a[j * n + c];
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
}

static inline void ng_solve_lower(const double *l, double *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < i; c++) b[i] -= l[i * n + c] * b[c];
        b[i] /= l[i * n + i];
    }
}

static inline void ng_solve_upper(const double *l, double *b, size_t n) {
    for (size_t i = n; i-- > 0;) {
        for (size_t r = i + 1; r < n; r++) b[i] -= l[r * n + i] * b[r];
        b[i] /= l[i * n + i];
    }
}

#endif
