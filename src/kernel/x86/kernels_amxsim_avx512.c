/* kernels_amxsim_avx512.c: the loops of tiles_amx.inc on tiles in plain C: how they are tested on a machine without AMX. */
#include "lanes_avx512.h"

#include "amxsim.h"

#define AMX_LEVEL ng_kernels_fill_amx_emulated

#include "tiles_amx.inc"
