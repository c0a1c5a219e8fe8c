/* amx.h: the tile instructions of AMX (Intel SDM vol. 1, chapter 18); amxsim.h has the same names in plain C.
 *
 *     static const amx_config shapes = {.palette = 1, .colsb = {64, 64, 64}, .rows = {16, 16, 16}};
 *     amx_begin(&shapes);                      tiles belong to the thread, so each begins and ends for itself
 *     amx_zero(0); amx_load(1, a, stride); amx_load(2, b, stride);
 *     amx_dp_bf16(0, 1, 2);                    tile 0 += tile 1 * tile 2
 *     amx_store(0, c, stride); amx_end();
 *
 * A tile number is a literal.  The first factor's rows lie as in memory, four 8-bit or two 16-bit columns a word; row i
 * of the second holds columns 4 i .. (or 2 i ..) of 16 outputs, a word each.  The system must have granted the tiles
 * (core/cpu.h).
 *
 * As inline assembly and not intrinsics: GCC 12 drops the stores to the configuration that _tile_loadconfig reads, and
 * -mamx-int8 would let it use tiles elsewhere in a file.  A memory operand says what is read; the tile registers
 * themselves need no naming, since no compiler allocates them. */
#ifndef NG_KERNEL_AMX_H
#define NG_KERNEL_AMX_H

#include "amx_config.h"

#include <stddef.h>

#define amx_begin(config) __asm__ volatile("ldtilecfg %0" ::"m"(*(config)))
#define amx_end() __asm__ volatile("tilerelease")
#define amx_zero(T) __asm__ volatile("tilezero %%tmm" #T ::)
#define amx_load(T, p, stride)                                                                                         \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #T ::"r"((const void *)(p)), "r"((size_t)(stride)) : "memory")
#define amx_store(T, p, stride)                                                                                        \
    __asm__ volatile("tilestored %%tmm" #T ", (%0,%1,1)" ::"r"((void *)(p)), "r"((size_t)(stride)) : "memory")
#define amx_dp_ss(C, A, B) __asm__ volatile("tdpbssd %%tmm" #B ", %%tmm" #A ", %%tmm" #C ::)
#define amx_dp_us(C, A, B) __asm__ volatile("tdpbusd %%tmm" #B ", %%tmm" #A ", %%tmm" #C ::)
#define amx_dp_bf16(C, A, B) __asm__ volatile("tdpbf16ps %%tmm" #B ", %%tmm" #A ", %%tmm" #C ::)

#endif
