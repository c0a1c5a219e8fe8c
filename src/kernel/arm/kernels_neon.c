/* kernels_neon.c: the 16-lane kernels on plain Advanced SIMD (ARMv8.0, as Cortex-A72).
 * See lanes.inc, tiles_neon.inc and dot_neon.inc. */
#include "lanes_neon.h"

#define LANES_TILES "kernel/arm/tiles_neon.inc"
#define LANES_DOT "kernel/arm/dot_neon.inc"
#include "kernel/lanes.inc"

void ng_kernels_fill_neon(ng_kernels *k) {
    k->level = NG_CPU_NEON;
    fill_all(k);
}
