/* energy.h: joules that a piece of work cost: read where the machine counts them, else by a declared model.
 *
 *     ng_energy_meter m;
 *     ng_energy_start(&m);
 *     .. work ..
 *     ng_energy e = ng_energy_stop(&m, bytes_from_memory);
 *     printf("%.3f J by %s\n", e.joules, e.source);
 *
 * "rapl": the processor's own counters (Linux powercap), package and memory.  They count the whole machine,
 * other work too.  "model", where the counters cannot be read (virtual machines, ARM):
 *
 *     joules = cores * wall s * NG_ENERGY_IDLE_W + CPU s of this process * NG_ENERGY_CORE_W
 *            + bytes * NG_ENERGY_DRAM_J_PER_BYTE
 *
 * It is meant for two programs on one machine; it is no measurement.  The constants: a 96-core server
 * processor of 360 W (AMD EPYC 9654, data sheet) gives 3.75 W a core, of which about 1 W flows when the core
 * sleeps (uncore, its share of the package); reading 64 bits of DRAM takes 1.3 nJ at least (M. Horowitz,
 * "Computing's energy problem", ISSCC 2014). */
#ifndef NANOGRID_ENERGY_H
#define NANOGRID_ENERGY_H

#include <nanogrid/status.h>

#define NG_ENERGY_IDLE_W 1.0
#define NG_ENERGY_CORE_W 2.75
#define NG_ENERGY_DRAM_J_PER_BYTE 162.5e-12

/* Plain data. */
typedef struct ng_energy_meter {
    uint64_t wall_ns, cpu_ns;
    uint64_t counters_uj[16]; /* of the RAPL zones; see n_counters */
    int n_counters;           /* 0: not readable, the model is used */
} ng_energy_meter;

typedef struct ng_energy {
    double joules, wall_s, cpu_s;
    const char *source; /* "rapl" or "model"; static */
} ng_energy;

NG_API void ng_energy_start(ng_energy_meter *m);
/* Since the start.  dram_bytes is what the work read from memory, for the model. */
NG_API ng_energy ng_energy_stop(const ng_energy_meter *m, uint64_t dram_bytes);
/* What ng_energy_stop would use: "rapl" or "model". */
NG_API const char *ng_energy_source(void);

#endif
