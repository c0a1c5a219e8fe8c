/* os_cpu.c: what the processor and the system offer.  See cpu.h.
 *
 * AVX-512 and AMX need the OS to save their registers: XCR0 says so (Intel SDM vol. 1, 13.3), and
 * Linux grants AMX only on request (arch_prctl ARCH_REQ_XCOMP_PERM); a tile instruction without the
 * grant raises SIGILL, so the request is part of the check. */
#include "cpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    ng_cpu_level level;
    const char *name;
} names[] = {
    {NG_CPU_REF, "ref"},   {NG_CPU_AVX2, "avx2"},       {NG_CPU_AVX512, "avx512"}, {NG_CPU_AMX, "amx"},
    {NG_CPU_NEON, "neon"}, {NG_CPU_DOTPROD, "dotprod"}, {NG_CPU_I8MM, "i8mm"},
};
enum { N_NAMES = sizeof names / sizeof names[0] };

const char *ng_cpu_level_name(ng_cpu_level level) { return names[level].name; }

bool ng_cpu_level_parse(ng_cpu_level *out, const char *name) {
    for (int i = 0; i < N_NAMES; i++)
        if (!strcmp(names[i].name, name)) {
            *out = names[i].level;
            return true;
        }
    return false;
}

static const char *note = ""; /* as cached below: racing threads write the same */

const char *ng_cpu_note(void) {
    (void)ng_cpu_best();
    return __atomic_load_n(&note, __ATOMIC_RELAXED);
}

ng_cpu_level ng_cpu_judge(const ng_cpu_x86 *x, const char **why) {
    bool fma = x->ecx1 >> 12 & 1, f16c = x->ecx1 >> 29 & 1;
    bool avx2 = (x->xcr0 & 6) == 6 && fma && f16c && (x->ebx7 >> 5 & 1);
    bool avx512 = avx2 && (x->xcr0 & 0xE6) == 0xE6 && (x->ebx7 >> 16 & 1) && (x->ebx7 >> 17 & 1) &&
                  (x->ebx7 >> 30 & 1) && (x->ebx7 >> 31 & 1) && (x->ecx7 >> 11 & 1);
    bool amx = avx512 && (x->edx7 >> 24 & 1) && (x->edx7 >> 25 & 1) && (x->edx7 >> 22 & 1);
    *why = "";
    if (!amx) return avx512 ? NG_CPU_AVX512 : avx2 ? NG_CPU_AVX2 : NG_CPU_REF;
    if ((x->xcr0 >> 17 & 3) != 3)
        *why = "this processor has AMX, but the system does not save its tiles (XCR0): avx512 is used";
    else if (!x->grant_amx())
        *why = "this processor has AMX, but the system refuses it to this process (arch_prctl): avx512 is used";
    return **why ? NG_CPU_AVX512 : NG_CPU_AMX;
}

#if defined(__x86_64__)
#include <cpuid.h>

static bool ask_for_amx(void) { return !syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18); }

static uint64_t xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

ng_cpu_level ng_cpu_best(void) {
    static int cached = -1; /* the same answer from every thread, so a race writes one value */
    int known = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    if (known >= 0) return (ng_cpu_level)known;
    uint32_t a, b, c, d;
    ng_cpu_x86 x = {.grant_amx = ask_for_amx};
    const char *why = "";
    ng_cpu_level level = NG_CPU_REF;
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        x.ecx1 = c;
        x.xcr0 = c >> 27 & 1 ? xcr0() : 0; /* OSXSAVE */
        __get_cpuid_count(7, 0, &a, &x.ebx7, &x.ecx7, &x.edx7);
        level = ng_cpu_judge(&x, &why);
    }
    __atomic_store_n(&note, why, __ATOMIC_RELAXED);
    __atomic_store_n(&cached, (int)level, __ATOMIC_RELAXED);
    return level;
}

bool ng_cpu_can(ng_cpu_level level) { return level <= NG_CPU_AMX && level <= ng_cpu_best(); }

#elif defined(__aarch64__)
#include <sys/auxv.h>

ng_cpu_level ng_cpu_best(void) {
    unsigned long a = getauxval(AT_HWCAP), b = getauxval(AT_HWCAP2);
    bool dotprod = a >> 20 & 1, i8mm = b >> 13 & 1;
    return i8mm && dotprod ? NG_CPU_I8MM : dotprod ? NG_CPU_DOTPROD : NG_CPU_NEON;
}

bool ng_cpu_can(ng_cpu_level level) {
    return level == NG_CPU_REF || (level >= NG_CPU_NEON && level <= ng_cpu_best());
}
#else
ng_cpu_level ng_cpu_best(void) { return NG_CPU_REF; }
bool ng_cpu_can(ng_cpu_level level) { return level == NG_CPU_REF; }
#endif

ng_status ng_cpu_get(ng_cpu_level *out, ng_error *err) {
    const char *cap = getenv("NG_CPU");
    *out = ng_cpu_best();
    if (!cap || !*cap) return NG_OK;
    ng_cpu_level level;
    if (!ng_cpu_level_parse(&level, cap))
        return ng_fail(err, NG_EINVALID, "NG_CPU=%s: no such level; use ref, avx2, avx512, amx, neon, dotprod or i8mm",
                       cap);
    if (!ng_cpu_can(level))
        return ng_fail(err, NG_EINVALID, "NG_CPU=%s: this machine offers %s at most; unset NG_CPU for the best%s%s",
                       cap, ng_cpu_level_name(ng_cpu_best()), *ng_cpu_note() ? "; " : "", ng_cpu_note());
    *out = level;
    return NG_OK;
}

const char *ng_cpu_name(void) {
    static char name[128]; /* filled once; two racing threads write the same bytes */
    if (name[0]) return name;
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[512], found[128] = "unknown CPU";
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "model name", 10) || !strncmp(line, "Model", 5)) {
            const char *p = strchr(line, ':');
            if (p) snprintf(found, sizeof found, "%.*s", (int)strcspn(p + 2, "\n"), p + 2);
            break;
        }
    if (f) fclose(f);
    memcpy(name, found, sizeof name);
    return name;
}

/* The first number of a one-line file; -1 where there is none ("max" too). */
static long long read_number(const char *path, long long *second) {
    FILE *f = fopen(path, "re");
    long long a = -1, b = -1;
    if (f) {
        int n = fscanf(f, "%lld %lld", &a, &b);
        if (n < 1) a = -1;
        if (n < 2) b = -1;
        fclose(f);
    }
    if (second) *second = b;
    return a;
}

int ng_cpu_count(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    long long period, quota = read_number("/sys/fs/cgroup/cpu.max", &period);
    if (quota > 0 && period > 0 && (quota + period - 1) / period < n)
        n = (int)((quota + period - 1) / period);
    return n < 1 ? 1 : n;
}

void *ng_memory_alloc_huge(size_t bytes) {
    enum { HUGE = 2 << 20, SMALL = 64 };
    size_t align = bytes >= 4 * (size_t)HUGE ? HUGE : SMALL;
    if (bytes > SIZE_MAX - align) return NULL;
    bytes = (bytes / align + 1) * align;
    void *p = aligned_alloc(align, bytes);
    if (p && align == HUGE) (void)madvise(p, bytes, MADV_HUGEPAGE); /* a wish: without it all works */
    return p;
}
