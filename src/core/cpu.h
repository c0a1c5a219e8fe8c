/* cpu.h: what this processor can do, and what NG_CPU allows.
 *
 *     ng_cpu_level level;
 *     if (ng_cpu_get(&level, &err)) ..               NG_CPU asks for what is not here: exit 2
 *     printf("%s\n", ng_cpu_level_name(level));      "avx512"
 *
 * Levels rise; each holds what the lower ones of the same family hold.  NG_CPU caps the level:
 * ref|avx2|avx512|amx on x86-64, ref|neon|dotprod|i8mm on arm64; empty or unset means best. */
#ifndef NG_CORE_CPU_H
#define NG_CORE_CPU_H

#include <nanogrid/status.h>

typedef enum ng_cpu_level {
    NG_CPU_REF,    /* portable C */
    NG_CPU_AVX2,   /* x86-64: AVX2, F16C, FMA present */
    NG_CPU_AVX512, /* AVX-512 F, BW, DQ, VL, VNNI */
    NG_CPU_AMX,    /* AMX int8 and bf16, granted by the OS */
    NG_CPU_NEON,
    NG_CPU_DOTPROD,
    NG_CPU_I8MM,
} ng_cpu_level;

/* The best level that the hardware and the OS allow, NG_CPU not considered. */
ng_cpu_level ng_cpu_best(void);
/* What x86 processors say of themselves (cpuid leaves 1 and 7, XCR0), and the system's answer to a wish for AMX. */
typedef struct ng_cpu_x86 {
    uint32_t ecx1, ebx7, ecx7, edx7;
    uint64_t xcr0;
    bool (*grant_amx)(void); /* asked only where all else is there */
} ng_cpu_x86;
/* The level that follows; *note as ng_cpu_note.  ng_cpu_best() asks the machine; tests ask machines that are not here. */
ng_cpu_level ng_cpu_judge(const ng_cpu_x86 *x, const char **note);
/* Why the best is less than the hardware has (AMX that the OS refuses), as a sentence; "" mostly.  Static. */
const char *ng_cpu_note(void);
/* As capped by NG_CPU; NG_EINVALID when it names an unknown or unavailable level. */
ng_status ng_cpu_get(ng_cpu_level *out, ng_error *err) NG_MUST_USE;
/* Whether `level` could run here. */
bool ng_cpu_can(ng_cpu_level level);
const char *ng_cpu_level_name(ng_cpu_level level);
bool ng_cpu_level_parse(ng_cpu_level *out, const char *name);

/* "AMD EPYC .." as the system names it; never NULL. */
const char *ng_cpu_name(void);
/* Cores this process may use (affinity and cgroup quota considered), at least 1. */
int ng_cpu_count(void);
/* 64-byte aligned memory for big tables that are read through, to be ended with free(); NULL when memory
 * is out.  Asks the system for huge pages, since prefetchers stop at page ends; not zeroed. */
void *ng_memory_alloc_huge(size_t bytes) NG_MUST_USE;

#endif
