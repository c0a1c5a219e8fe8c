/* os_budget.c: memory as the system, cgroups and the user allow it.  See budget.h.
 *
 * A cgroup counts the files that its processes read (page cache) as used.  The system drops those when
 * memory is asked for, as it does outside, so they are taken off: the lists "active_file" and
 * "inactive_file", the same two that MemAvailable is made of. */
#include "budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PATH_LEN = 1024, SELF_MAX = 8192 };

/* The number behind `key` at the start of a line, times `unit`; 0 when there is none. */
static uint64_t read_key(const char *path, const char *key, uint64_t unit) {
    FILE *f = fopen(path, "re");
    char line[256];
    unsigned long long v = 0;
    size_t len = strlen(key);
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, len) && sscanf(line + len, "%llu", &v) == 1) break;
    if (f) fclose(f);
    return (uint64_t)v * unit;
}

void ng_memory_self(uint64_t *rss_bytes, uint64_t *peak_bytes) {
    if (rss_bytes) *rss_bytes = read_key("/proc/self/status", "VmRSS:", 1024);
    if (peak_bytes) *peak_bytes = read_key("/proc/self/status", "VmHWM:", 1024);
}

static void lower(ng_budget *b, uint64_t total, uint64_t available, const char *by) {
    if (total < b->total_bytes) b->total_bytes = total;
    if (available < b->available_bytes) b->available_bytes = available, b->limited_by = by;
}

/* ---- cgroups --------------------------------------------------------------------------------------- */

/* Names of the same four files in both versions. */
static const struct version {
    const char *limit, *used, *inactive, *active;
} v1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ", "total_active_file "},
  v2 = {"memory.max", "memory.current", "inactive_file ", "active_file "};

static bool read_file(uint64_t *out, const char *folder, const char *name) {
    char path[PATH_LEN + 64];
    unsigned long long v;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "re");
    bool ok = f && fscanf(f, "%llu", &v) == 1; /* "max" is no number: no limit */
    if (f) fclose(f);
    if (ok) *out = v;
    return ok;
}

static void lower_by_group(ng_budget *b, const char *folder, const struct version *v) {
    uint64_t limit, used;
    char stat[PATH_LEN + 64];
    if (!read_file(&limit, folder, v->limit) || limit >= b->total_bytes || !read_file(&used, folder, v->used)) return;
    snprintf(stat, sizeof stat, "%s/memory.stat", folder);
    uint64_t files = read_key(stat, v->inactive, 1) + read_key(stat, v->active, 1);
    used = files < used ? used - files : 0;
    lower(b, limit, used < limit ? limit - used : 0, "cgroup");
}

/* A process in /a/b is bound by the limits of /a/b, /a and /.  In a container the path may be that of the
 * host: levels that are not there are passed over. */
static void lower_by_path(ng_budget *b, const char *root, const char *path, const struct version *v) {
    char folder[PATH_LEN];
    int n = snprintf(folder, sizeof folder, "%s%s", root, path);
    if (n < 0 || (size_t)n >= sizeof folder) return;
    for (size_t least = strlen(root);;) {
        lower_by_group(b, folder, v);
        char *slash = strrchr(folder + least, '/');
        if (!slash) break;
        *slash = 0;
    }
}

/* The path in a line "4:memory:/a/b" (v1) or "0::/a/b" (v2); NULL when the line is about something else. */
static const char *group_path(const char *line, bool *is_v2) {
    const char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
    if (!path) return NULL;
    *is_v2 = path == names + 1;
    for (const char *p = names + 1; p < path; p += strcspn(p, ",:") + 1)
        if (!strncmp(p, "memory", 6) && (p[6] == ',' || p[6] == ':')) return path + 1;
    return *is_v2 ? path + 1 : NULL;
}

void ng_budget_cgroups(ng_budget *b, const char *self, const char *root) {
    static const char *const v2_mounts[] = {"", "/unified"}; /* alone, and beside v1 */
    for (const char *line = self; *line;) {
        char copy[PATH_LEN], mount[PATH_LEN];
        size_t len = strcspn(line, "\n");
        snprintf(copy, sizeof copy, "%.*s", (int)(len < PATH_LEN ? len : PATH_LEN - 1), line);
        line += len + (line[len] == '\n');
        bool is_v2;
        const char *path = group_path(copy, &is_v2);
        if (!path) continue;
        if (!strcmp(path, "/")) path = "";
        for (int i = 0; i < (is_v2 ? 2 : 1); i++) {
            snprintf(mount, sizeof mount, "%.500s%s", root, is_v2 ? v2_mounts[i] : "/memory");
            lower_by_path(b, mount, path, is_v2 ? &v2 : &v1);
        }
    }
}

static void lower_by_cgroups(ng_budget *b) {
    char *self = calloc(1, SELF_MAX);
    FILE *f = self ? fopen("/proc/self/cgroup", "re") : NULL;
    if (f) {
        self[fread(self, 1, SELF_MAX - 1, f)] = 0;
        fclose(f);
        ng_budget_cgroups(b, self, "/sys/fs/cgroup");
    }
    free(self);
}

/* ---- the user's limit, and all together ---------------------------------------------------------------- */

bool ng_budget_parse(uint64_t *out, const char *text) {
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},         {"B", 1},         {"KB", 1024},       {"KiB", 1024},
                 {"MB", 1048576}, {"MiB", 1048576}, {"GB", 1073741824}, {"GiB", 1073741824}};
    char *end;
    double v = strtod(text, &end);
    if (end == text || !(v >= 0)) return false;
    while (*end == ' ') end++;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (!strcasecmp(end, units[i].name) && v * units[i].factor < 9e18)
            return *out = (uint64_t)(v * units[i].factor), true;
    return false;
}

ng_status ng_budget_get(ng_budget *out, ng_error *err) {
    out->total_bytes = read_key("/proc/meminfo", "MemTotal:", 1024);
    out->available_bytes = read_key("/proc/meminfo", "MemAvailable:", 1024);
    out->limited_by = "machine";
    if (!out->total_bytes) out->total_bytes = out->available_bytes = UINT64_MAX / 2; /* a system that does not say */
    lower_by_cgroups(out);
    const char *text = getenv("NANOGRID_MEMORY");
    if (!text || !*text) return NG_OK;
    uint64_t limit, rss;
    if (!ng_budget_parse(&limit, text))
        return ng_fail(err, NG_EINVALID, "NANOGRID_MEMORY=%.40s is no size; write it as 512MB or 2GB", text);
    ng_memory_self(&rss, NULL);
    lower(out, limit, rss < limit ? limit - rss : 0, "NANOGRID_MEMORY");
    return NG_OK;
}
