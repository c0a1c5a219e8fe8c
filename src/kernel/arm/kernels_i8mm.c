/* kernels_i8mm.c: the 16-lane kernels on Advanced SIMD with SDOT and SMMLA (ARMv8.6).
 * See lanes.inc, tiles_neon.inc and dot_i8mm.inc. */
#include "lanes_neon.h"

#define LANES_TILES "kernel/arm/tiles_neon.inc"
#define LANES_DOT "kernel/arm/dot_i8mm.inc"
#include "kernel/lanes.inc"

void ng_kernels_fill_i8mm(ng_kernels *k) {
    k->level = NG_CPU_I8MM;
    fill_all(k);
}
