/* system.c: gathers what budget.h, cpu.h and file.h know.  See nanogrid/system.h. */
#include <nanogrid/system.h>

#include "budget.h"
#include "cpu.h"
#include "file.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool can_write(const char *path) {
    char part[1024];
    snprintf(part, sizeof part, "%s", path);
    for (;;) {
        if (ng_dir_exists(part)) return !access(part, W_OK);
        char *slash = strrchr(part, '/');
        if (!slash) return !access(".", W_OK);
        if (slash == part) return !access("/", W_OK);
        *slash = 0;
    }
}

ng_status ng_machine_get(ng_machine *out, ng_error *err) {
    ng_cpu_level level;
    ng_budget budget;
    *out = (ng_machine){.cpu = ng_cpu_name(), .cores = ng_cpu_count(), .kernel_best = ng_cpu_level_name(ng_cpu_best()),
                         .kernel_note = ng_cpu_note()};
    ng_status s = ng_cpu_get(&level, err);
    if (!s) s = ng_budget_get(&budget, err);
    if (!s) s = ng_home_dir(out->home, sizeof out->home, err);
    if (s) return s;
    out->kernel = ng_cpu_level_name(level);
    out->memory_total_bytes = budget.total_bytes;
    out->memory_available_bytes = budget.available_bytes;
    out->memory_limited_by = budget.limited_by;
    out->home_writable = can_write(out->home);
    return NG_OK;
}

void ng_process_memory(uint64_t *resident_bytes, uint64_t *peak_bytes) { ng_memory_self(resident_bytes, peak_bytes); }
