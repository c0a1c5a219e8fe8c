/* kernels_avx512.c: the 16-lane kernels on AVX-512 VNNI: a lane of 16 is one register.  See lanes.inc and lanes_avx512.h. */
#include "lanes_avx512.h"

#include "kernel/lanes.inc"

void ng_kernels_fill_avx512(ng_kernels *k) {
    k->level = NG_CPU_AVX512;
    fill_all(k);
}
