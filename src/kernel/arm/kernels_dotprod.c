/* kernels_dotprod.c: the 16-lane kernels on Advanced SIMD with SDOT (ARMv8.2).
 * See lanes.inc, tiles_neon.inc and dot_dotprod.inc. */
#include "lanes_neon.h"

#define LANES_TILES "kernel/arm/tiles_neon.inc"
#define LANES_DOT "kernel/arm/dot_dotprod.inc"
#include "kernel/lanes.inc"

void ng_kernels_fill_dotprod(ng_kernels *k) {
    k->level = NG_CPU_DOTPROD;
    fill_all(k);
}
