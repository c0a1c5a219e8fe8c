/* gemm_amx_avx512.c: products of bf16 on AMX.  See gemm_amx.inc. */
#include "kernel/x86/amx.h"

#define OPS ng_gemm_amx
#define OPS_NAME "amx bf16"

#include "gemm_amx.inc"
