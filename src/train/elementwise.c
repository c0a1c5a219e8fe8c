/* elementwise.c: the plain build of elementwise.inc, and the choice of a level. */
#include "elementwise.h"

#include "core/hash.h"

#define OPS ng_elementwise_plain
#include "elementwise.inc"

const ng_elementwise *ng_elementwise_get(ng_cpu_level level) {
#if defined(__x86_64__)
    if (level == NG_CPU_AVX512 || level == NG_CPU_AMX) return &ng_elementwise_avx512;
    if (level == NG_CPU_AVX2) return &ng_elementwise_avx2;
#endif
    (void)level;
    return &ng_elementwise_plain;
}

uint32_t ng_dropout_key(uint64_t seed, uint64_t step, uint32_t tensor) {
    return (uint32_t)(ng_hash_mix(ng_hash_mix(ng_hash_mix(seed) ^ step) ^ tensor) >> 32);
}
