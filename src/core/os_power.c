/* os_power.c: see power.h.  A supply that does not say that it discharges (full, charging, unknown) is mains: a battery
 * that nobody can read must not stop a machine. */
#include "power.h"

#include "file.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static bool read_word(char out[32], const char *root, const char *supply, const char *file) {
    char path[512];
    int n = snprintf(path, sizeof path, "%.200s/%.100s/%s", root, supply, file);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    bool ok = f && fscanf(f, "%31s", out) == 1;
    if (f) fclose(f);
    return ok;
}

double ng_battery_left(const char *root) {
    ng_dir_list list;
    double least = NAN;
    if (ng_dir_read(&list, root, NULL)) return NAN;
    for (size_t i = 0; i < list.len; i++) {
        char type[32], status[32], capacity[32];
        int percent;
        if (!read_word(type, root, list.names[i], "type") || strcmp(type, "Battery")) continue;
        if (!read_word(status, root, list.names[i], "status") || strcmp(status, "Discharging")) continue;
        if (!read_word(capacity, root, list.names[i], "capacity") || sscanf(capacity, "%d", &percent) != 1) continue;
        if (percent < 0 || percent > 100) continue;
        if (isnan(least) || percent / 100.0 < least) least = percent / 100.0;
    }
    ng_dir_list_clear(&list);
    return least;
}
