/* fuzz_grid_yaml.c: any bytes as grid.yaml: read, merged with the built-in grid, or refused with a
 * sentence that names the file; never a crash, a leak or a half-made grid. */
#include "grid/grid_config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a reader of the configuration relies on. */
static void check(const ng_grid_config *c) {
    const grid_expert_config *e = c->experts.items;
    for (size_t i = 0; i < c->experts.len; i++) {
        if (!e[i].name || strlen(e[i].name) > 47 || strchr(e[i].name, '/') || e[i].task < 0 ||
            e[i].task >= NG_TASK_COUNT - 1)
            abort();
        for (size_t k = 0; k < i; k++)
            if (!strcmp(e[i].name, e[k].name)) abort();
    }
    if (!c->listen || c->cascade.hold_tokens < 0 || c->records.max < 1 ||
        (int)c->pii > NG_PRIVACY_LOCAL)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ng_arena *arena;
    ng_grid_config c;
    ng_error err = {0};
    if (size > 1 << 20 || ng_arena_new(&arena, 0)) return 0;
    ng_status s = ng_grid_config_read(&c, (const char *)data, size, "fuzz.yaml", arena, &err);
    if (!s) check(&c);
    else if (s != err.code || !strstr(err.text, "fuzz.yaml")) abort();
    ng_arena_free(arena);
    return 0;
}
