/* os_energy.c: energy counters, and the model that stands in for them.  See nanogrid/energy.h and rapl.h.
 *
 * The powercap tree: intel-rapl:0 is a package (its file `name` says "package-0"), intel-rapl:0:1 a part of
 * it, of which only "dram" is outside the package's count.  AMD processors show the same names.  Since
 * 2020 kernels let only root read energy_uj (CVE-2020-8694), so "not readable" is the common case. */
#include <nanogrid/energy.h>

#include "clock.h"
#include "cpu.h"
#include "rapl.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PATH_LEN = 512, PARTS_MAX = 8, PACKAGES_MAX = 8 };

static bool read_word(char out[64], const char *folder, const char *file) {
    char path[PATH_LEN + 64];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "re");
    bool ok = f && fscanf(f, "%63s", out) == 1;
    if (f) fclose(f);
    return ok;
}

static bool read_uj(uint64_t *out, const char *folder, const char *file) {
    char word[64];
    unsigned long long v;
    bool ok = read_word(word, folder, file) && sscanf(word, "%llu", &v) == 1;
    if (ok) *out = v;
    return ok;
}

/* -1: there, and not readable; 0: no such zone, or one that is not counted; 1: read. */
static int read_zone(ng_rapl_zone *z, const char *folder) {
    char name[64];
    if (!read_word(name, folder, "name")) return 0;
    if (strncmp(name, "package", 7) && strcmp(name, "dram")) return 0;
    return read_uj(&z->uj, folder, "energy_uj") && read_uj(&z->max_uj, folder, "max_energy_range_uj") ? 1 : -1;
}

int ng_rapl_read(ng_rapl_zone zones[NG_RAPL_MAX], const char *root) {
    int n = 0;
    char folder[PATH_LEN];
    for (int package = 0; package < PACKAGES_MAX; package++)
        for (int part = -1; part < PARTS_MAX && n < NG_RAPL_MAX; part++) {
            if (part < 0) snprintf(folder, sizeof folder, "%.400s/intel-rapl:%d", root, package);
            else snprintf(folder, sizeof folder, "%.400s/intel-rapl:%d:%d", root, package, part);
            int got = read_zone(&zones[n], folder);
            if (got < 0) return 0;
            n += got;
        }
    return n;
}

uint64_t ng_rapl_between(const ng_rapl_zone *before, const ng_rapl_zone *after, int n) {
    uint64_t total = 0;
    for (int i = 0; i < n; i++)
        total +=
            after[i].uj >= before[i].uj ? after[i].uj - before[i].uj : after[i].uj + (before[i].max_uj - before[i].uj);
    return total;
}

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

_Static_assert(NG_RAPL_MAX == sizeof((ng_energy_meter *)0)->counters_uj / sizeof(uint64_t), "one counter a zone");

void ng_energy_start(ng_energy_meter *m) {
    ng_rapl_zone zones[NG_RAPL_MAX];
    *m = (ng_energy_meter){.n_counters = ng_rapl_read(zones, NG_RAPL_ROOT)};
    for (int i = 0; i < m->n_counters; i++) m->counters_uj[i] = zones[i].uj;
    m->cpu_ns = cpu_ns();
    m->wall_ns = ng_clock_ns();
}

ng_energy ng_energy_stop(const ng_energy_meter *m, uint64_t dram_bytes) {
    ng_energy e = {.source = "model", .wall_s = (double)(ng_clock_ns() - m->wall_ns) * 1e-9,
                   .cpu_s = (double)(cpu_ns() - m->cpu_ns) * 1e-9};
    ng_rapl_zone before[NG_RAPL_MAX], after[NG_RAPL_MAX];
    int n = m->n_counters ? ng_rapl_read(after, NG_RAPL_ROOT) : 0;
    if (n && n == m->n_counters) {
        for (int i = 0; i < n; i++) before[i] = (ng_rapl_zone){m->counters_uj[i], after[i].max_uj};
        e.source = "rapl";
        e.joules = (double)ng_rapl_between(before, after, n) * 1e-6;
        return e;
    }
    e.joules = ng_cpu_count() * e.wall_s * NG_ENERGY_IDLE_W + e.cpu_s * NG_ENERGY_CORE_W +
               (double)dram_bytes * NG_ENERGY_DRAM_J_PER_BYTE;
    return e;
}

const char *ng_energy_source(void) {
    ng_rapl_zone zones[NG_RAPL_MAX];
    return ng_rapl_read(zones, NG_RAPL_ROOT) ? "rapl" : "model";
}
