/* kernels_amx_avx512.c: products of many tokens on AMX.  See tiles_amx.inc. */
#include "lanes_avx512.h"

#include "amx.h"

#define AMX_LEVEL ng_kernels_fill_amx

#include "tiles_amx.inc"
