/* math.h: exp, log, tanh and friends that give the same bits on every machine.
 *
 * libm differs between versions and platforms in the last bit; a replayed decision, a cached answer
 * and a model card that a test recomputes must not.  Each function is plain C arithmetic on doubles
 * (no FMA: the build sets -ffp-contract=off), correct to 1 ulp of float, and is the definition that
 * SIMD kernels must reproduce where they offer their own. */
#ifndef NG_CORE_MATH_H
#define NG_CORE_MATH_H

#include <stddef.h>

double ng_exp(double x);
double ng_log(double x);  /* x > 0; 0 gives -inf */
double ng_tanh(double x);
float ng_expf(float x);
float ng_logf(float x);
float ng_tanhf(float x);
/* Error function, for exact GELU (Abramowitz-Stegun is not enough: max error 1e-7 here). */
float ng_erff(float x);
double ng_sigmoid(double x);
/* p[n] = softmax(x[n] * scale), summed in index order in double; p may alias x. */
void ng_softmax(float *p, const float *x, size_t n, float scale);

#endif
