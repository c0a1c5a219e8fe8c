/* system.h: what this machine offers, as `nanogrid doctor` tells it.
 *
 *     ng_machine m;
 *     ng_machine_get(&m, &err);                      NG_EINVALID when NG_CPU asks for what is not here
 *     printf("%s, %d cores, kernels %s\n", m.cpu, m.cores, m.kernel); */
#ifndef NANOGRID_SYSTEM_H
#define NANOGRID_SYSTEM_H

#include <nanogrid/status.h>

typedef struct ng_machine {
    const char *cpu;            /* as the system names it; static */
    int cores;                  /* that this process may use */
    const char *kernel;         /* level in use: "avx512", as NG_CPU caps it; static */
    const char *kernel_best;    /* what the hardware and the OS allow; static */
    const char *kernel_note;    /* why that is less than the hardware has, or ""; static */
    uint64_t memory_total_bytes, memory_available_bytes; /* to this process */
    const char *memory_limited_by; /* what the available bytes come from: "machine", "cgroup" or
                                      "NANOGRID_MEMORY" (the most that the process may hold); static */
    char home[1024];            /* NANOGRID_HOME as resolved */
    bool home_writable;         /* it, or the nearest folder that exists above it */
} ng_machine;

NG_API ng_status ng_machine_get(ng_machine *out, ng_error *err) NG_MUST_USE;

/* Resident set of this process: now, and the most it ever was. */
NG_API void ng_process_memory(uint64_t *resident_bytes, uint64_t *peak_bytes);

/* Everything that a process needs beside a model's weights and KV pages: code, tables, scratch and
 * the C library.  Measured as the resident set of `nanogrid serve` before a model is loaded, rounded
 * up. */
enum { NG_PROCESS_BYTES = 24 << 20 };

#endif
