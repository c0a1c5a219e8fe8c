/* kernels_amx_avx512.c: products of many tokens on AMX.  See tiles_amx.inc.
 *
 * As inline assembly and not intrinsics: GCC 12 drops the stores to the configuration that _tile_loadconfig reads, and
 * -mamx-int8 would let it use tiles elsewhere in this file.  A memory operand says what is read; the tile registers
 * themselves need no naming, since no compiler allocates them. */
#include "lanes_avx512.h"

#define amx_begin(config) __asm__ volatile("ldtilecfg %0" ::"m"(*(config)))
#define amx_end() __asm__ volatile("tilerelease")
#define amx_zero(T) __asm__ volatile("tilezero %%tmm" #T ::)
#define amx_load(T, p, stride)                                                                                         \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #T ::"r"((const void *)(p)), "r"((size_t)(stride)) : "memory")
#define amx_store(T, p, stride)                                                                                        \
    __asm__ volatile("tilestored %%tmm" #T ", (%0,%1,1)" ::"r"((void *)(p)), "r"((size_t)(stride)) : "memory")
#define amx_dp_su(C, A, B) __asm__ volatile("tdpbsud %%tmm" #B ", %%tmm" #A ", %%tmm" #C ::)
#define amx_dp_us(C, A, B) __asm__ volatile("tdpbusd %%tmm" #B ", %%tmm" #A ", %%tmm" #C ::)
#define AMX_LEVEL ng_kernels_fill_amx

#include "tiles_amx.inc"
