/* system.c: gathers what cpu.h and file.h know.  See nanogrid/system.h. */
#include <nanogrid/system.h>

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
    *out = (ng_machine){.cpu = ng_cpu_name(), .cores = ng_cpu_count(), .kernel_best = ng_cpu_level_name(ng_cpu_best())};
    ng_status s = ng_cpu_get(&level, err);
    if (!s) s = ng_home_dir(out->home, sizeof out->home, err);
    if (s) return s;
    out->kernel = ng_cpu_level_name(level);
    ng_memory_get(&out->memory_total_bytes, &out->memory_available_bytes);
    out->home_writable = can_write(out->home);
    return NG_OK;
}
