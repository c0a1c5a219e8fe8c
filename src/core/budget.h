/* budget.h: how much memory this process may still take.
 *
 *     ng_budget b;
 *     if (ng_budget_get(&b, &err)) ..                NG_EINVALID: NANOGRID_MEMORY is no size
 *     if (need > b.available_bytes) ..               b.limited_by: "machine", "cgroup", "NANOGRID_MEMORY"
 *
 * The least of three: what the system calls available (files that it can drop are), what the memory cgroups
 * (v1 or v2) of this process leave at every level up, and what NANOGRID_MEMORY ("512MB": the most that this
 * process may hold in all) leaves beside what is resident already. */
#ifndef NG_CORE_BUDGET_H
#define NG_CORE_BUDGET_H

#include <nanogrid/status.h>

typedef struct ng_budget {
    uint64_t total_bytes, available_bytes;
    const char *limited_by; /* of the available bytes; static */
} ng_budget;

ng_status ng_budget_get(ng_budget *out, ng_error *err) NG_MUST_USE;

/* Lowers *b by the cgroups that `self` (the lines of /proc/self/cgroup) names, in the trees mounted at `root`
 * (/sys/fs/cgroup). */
void ng_budget_cgroups(ng_budget *b, const char *self, const char *root);
/* "512MB", "1.5GiB", "1000": units are powers of 1024. */
bool ng_budget_parse(uint64_t *out, const char *text);

/* Resident set of this process in bytes: now, and its peak. */
void ng_memory_self(uint64_t *rss_bytes, uint64_t *peak_bytes);

#endif
