/* rapl.h: energy counters of the processor as Linux shows them.
 *
 *     ng_rapl_zone zones[NG_RAPL_MAX];
 *     int n = ng_rapl_read(zones, NG_RAPL_ROOT);     0: none can be read
 *
 * Only packages and their memory are read: cores and graphics lie inside the packages. */
#ifndef NG_CORE_RAPL_H
#define NG_CORE_RAPL_H

#include <nanogrid/status.h>

#define NG_RAPL_ROOT "/sys/class/powercap"
enum { NG_RAPL_MAX = 16 };

typedef struct ng_rapl_zone {
    uint64_t uj;     /* microjoules since some moment */
    uint64_t max_uj; /* where the counter starts again at 0 */
} ng_rapl_zone;

/* All zones or none: a machine of which one package cannot be read has no total.  Zones come in a fixed
 * order. */
int ng_rapl_read(ng_rapl_zone zones[NG_RAPL_MAX], const char *root);
/* Microjoules from `before` to `after`, of which each counter may have started again once. */
uint64_t ng_rapl_between(const ng_rapl_zone *before, const ng_rapl_zone *after, int n);

#endif
