/* kernels_avx2.c: the 16-lane kernels on AVX2: a lane of 16 is two registers.  See lanes.inc and lanes_avx2.h. */
#include "lanes_avx2.h"

#include "kernel/lanes.inc"

void ng_kernels_fill_avx2(ng_kernels *k) {
    k->level = NG_CPU_AVX2;
    fill_all(k);
}
