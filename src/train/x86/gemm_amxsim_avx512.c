/* gemm_amxsim_avx512.c: the loops of gemm_amx.inc on tiles in plain C: how they are tested on a machine without AMX. */
#include "kernel/x86/amxsim.h"

#define OPS ng_gemm_amx_emulated
#define OPS_NAME "amx bf16, emulated"

#include "gemm_amx.inc"
