/* solve.h: a few linear equations, as Newton's steps of small fits ask for.
 *
 *     double a[3][3] = .., b[3] = ..;
 *     ng_solve(&a[0][0], b, 3);          b becomes x of a x = b; a is spoilt
 *
 * Elimination without pivots, in one order: the same bits everywhere.  a[n, n] must be symmetric and positive definite. */
#ifndef NG_CORE_SOLVE_H
#define NG_CORE_SOLVE_H

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

#endif
