/* fuzz_yaml.c: any bytes as a configuration of every kind of field. */
#include "config/config.h"

#include <stdint.h>

typedef struct child {
    const char *name;
    double rate;
} child;
typedef struct options {
    const char *title;
    int64_t port, wait_ms;
    uint64_t size;
    ng_config_strs tags;
    ng_config_nums sizes;
    child one;
    ng_config_list many, named;
} options;

static const ng_config_field child_fields[] = {
    {"name", NG_CONFIG_STR, offsetof(child, name)},
    {"rate", NG_CONFIG_NUM, offsetof(child, rate), .dflt = "nan", .max = 1},
    {0}};
static const ng_config_field named_fields[] = {{"rate", NG_CONFIG_NUM, offsetof(child, rate)}, {0}};
static const ng_config_schema child_schema = {"a child", sizeof(child), child_fields};
static const ng_config_schema named_schema = {"a name", sizeof(child), named_fields};
static const ng_config_field fields[] = {
    {"title", NG_CONFIG_STR, offsetof(options, title)},
    {"port", NG_CONFIG_INT, offsetof(options, port), .min = 1, .max = 65535},
    {"wait", NG_CONFIG_MS, offsetof(options, wait_ms)},
    {"size", NG_CONFIG_BYTES, offsetof(options, size)},
    {"tags", NG_CONFIG_STRS, offsetof(options, tags)},
    {"sizes", NG_CONFIG_NUMS, offsetof(options, sizes)},
    {"one", NG_CONFIG_GROUP, offsetof(options, one), .sub = &child_schema},
    {"many", NG_CONFIG_LIST, offsetof(options, many), .sub = &child_schema},
    {"named", NG_CONFIG_MAP, offsetof(options, named), .sub = &named_schema},
    {0}};
static const ng_config_schema schema = {"the options", sizeof(options), fields};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ng_arena *arena;
    options o;
    ng_error err = {0};
    if (ng_arena_new(&arena, 0)) return 0;
    ng_status s = ng_config_read(&o, &schema, (const char *)data, size, "fuzz.yaml", arena, &err);
    if (s != NG_OK && !err.text[0]) __builtin_trap(); /* an error without a sentence */
    ng_arena_free(arena);
    return 0;
}
