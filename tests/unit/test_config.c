/* Tests of src/config: every kind of field, every kind of error with its line, the fault sweep. */
#include "config/config.h"
#include "fault.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct child {
    const char *name;
    double rate;
    int line;
} child;
typedef struct options {
    const char *title;
    bool on;
    int64_t port, wait_ms;
    uint64_t size;
    double ratio;
    int privacy;
    ng_config_strs tags;
    ng_config_nums sizes;
    child one;
    ng_config_list many, named;
} options;

static const ng_config_field child_fields[] = {
    {"name", NG_CONFIG_STR, offsetof(child, name), .required = true},
    {"rate", NG_CONFIG_NUM, offsetof(child, rate), .dflt = "nan", .min = 0, .max = 1},
    {"", NG_CONFIG_LINE, offsetof(child, line)},
    {0}};
static const ng_config_field named_fields[] = {
    {"rate", NG_CONFIG_NUM, offsetof(child, rate), .dflt = "0.5"}, {0}};
static const ng_config_schema child_schema = {"a child", sizeof(child), child_fields};
static const ng_config_schema group_schema = {"one", sizeof(child), named_fields};
static const ng_config_field fields[] = {
    {"title", NG_CONFIG_STR, offsetof(options, title), .dflt = "none", .help = "shown"},
    {"on", NG_CONFIG_BOOL, offsetof(options, on)},
    {"port", NG_CONFIG_INT, offsetof(options, port), .dflt = "8080", .min = 1, .max = 65535},
    {"wait", NG_CONFIG_MS, offsetof(options, wait_ms), .dflt = "30s"},
    {"size", NG_CONFIG_BYTES, offsetof(options, size), .dflt = "64MB"},
    {"ratio", NG_CONFIG_NUM, offsetof(options, ratio)},
    {"privacy", NG_CONFIG_ENUM, offsetof(options, privacy), .dflt = "mesh", .choices = "any|mesh|local"},
    {"tags", NG_CONFIG_STRS, offsetof(options, tags)},
    {"sizes", NG_CONFIG_NUMS, offsetof(options, sizes)},
    {"one", NG_CONFIG_GROUP, offsetof(options, one), .sub = &group_schema},
    {"many", NG_CONFIG_LIST, offsetof(options, many), .sub = &child_schema},
    {"named", NG_CONFIG_MAP, offsetof(options, named), .sub = &group_schema},
    {0}};
static const ng_config_schema schema = {"the options", sizeof(options), fields};

static ng_status read_text(options *o, const char *text, ng_arena **arena, ng_error *err) {
    if (ng_arena_new(arena, 0)) return NG_ENOMEM;
    return ng_config_read(o, &schema, text, strlen(text), "t.yaml", *arena, err);
}

static const char good[] = "title: 'a: b'\non: yes\nport: 99\nwait: 2m\nsize: 1.5KB\nratio: 1e-3\n"
                           "privacy: local\ntags: [x, \"y z\"]\nsizes: [1, 2.5]\none: {rate: 0.25}\n"
                           "many:\n  - {name: a}\n  - name: b\n    rate: 1\nnamed:\n  p: {rate: 3}\n  q: {}\n";

static void reads_every_kind(void **state) {
    (void)state;
    options o;
    ng_arena *arena;
    ng_error err = {0};
    assert_int_equal(read_text(&o, good, &arena, &err), NG_OK);
    assert_string_equal(o.title, "a: b");
    assert_true(o.on && o.port == 99 && o.wait_ms == 120000 && o.size == 1536 && o.ratio == 1e-3 && o.privacy == 2);
    assert_int_equal(o.tags.len, 2);
    assert_string_equal(o.tags.items[1], "y z");
    assert_true(o.sizes.len == 2 && o.sizes.items[1] == 2.5 && o.one.rate == 0.25);
    const child *many = o.many.items, *named = o.named.items;
    assert_true(o.many.len == 2 && isnan(many[0].rate) && many[1].rate == 1 && many[1].line == 13);
    assert_true(o.named.len == 2 && named[0].rate == 3 && named[1].rate == 0.5);
    assert_string_equal(named[1].name, "q");
    ng_arena_free(arena);
    assert_int_equal(read_text(&o, "# nothing\n", &arena, &err), NG_OK);
    assert_true(o.port == 8080 && o.wait_ms == 30000 && o.size == 64u << 20 && o.privacy == 1 && o.one.rate == 0.5);
    assert_string_equal(o.title, "none");
    ng_arena_free(arena);
}

static void names_line_and_mend(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
        ng_status code;
    } bad[] = {
        {"title: x\nprot: 1\n", "t.yaml:2: unknown key 'prot' in the options; known: title, on, port", NG_EINVALID},
        {"many:\n  - nome: a\n", "t.yaml:2: unknown key 'nome' in a child; known: name, rate", NG_EINVALID},
        {"many:\n  - rate: 0.5\n", "t.yaml:2: a child lacks the key 'name'", NG_EINVALID},
        {"many:\n  - {name: , rate: 0.5}\n", "t.yaml:2: a child lacks the key 'name'", NG_EINVALID},
        {"many:\n  - name: ~\n", "t.yaml:2: a child lacks the key 'name'", NG_EINVALID},
        {"port: 70000\n", "t.yaml:1: port: 70000 is out of range, use 1 to 65535", NG_EINVALID},
        {"port: 80x\n", "t.yaml:1: port: '80x' is not a whole number", NG_EINVALID},
        {"\nport: [1]\n", "t.yaml:2: port: '[..]' is not a whole number", NG_EINVALID},
        {"privacy: secret\n", "is not one of any|mesh|local", NG_EINVALID},
        {"on: perhaps\n", "is not true or false", NG_EINVALID},
        {"ratio: nan\n", "is not a number", NG_EINVALID},
        {"wait: 3 weeks\n", "is not a time such as 30s", NG_EINVALID},
        {"size: -1\n", "is not a size such as 64MB", NG_EINVALID},
        {"title: a\ntitle: b\n", "t.yaml:2: the key 'title' stands here a second time (first on line 1)", NG_EINVALID},
        {"title: &a x\n", "t.yaml:1: anchors, aliases and tags are not supported", NG_EINVALID},
        {"title: !!int 3\n", "not supported", NG_EINVALID},
        {"- a\n", "t.yaml:1: the options must be a mapping", NG_EINVALID},
        {"one: 3\n", "t.yaml:1: one must be a mapping", NG_EINVALID},
        {"many: {a: 1}\n", "is not a list of mappings", NG_EINVALID},
        {"tags: {a: b}\n", "is not a list of texts", NG_EINVALID},
        {"title: x\n---\ntitle: y\n", "one document only", NG_EINVALID},
        {"title: [\n", "t.yaml:2: not YAML", NG_EFORMAT},
        {"title: \"\xff\"\n", "not YAML", NG_EFORMAT},
        {"title: \"a\\0b\"\n", "may not hold a NUL", NG_EINVALID},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options o;
        ng_arena *arena;
        ng_error err = {0};
        assert_int_equal(read_text(&o, bad[i].text, &arena, &err), bad[i].code);
        if (!strstr(err.text, bad[i].says)) fail_msg("'%s' does not say '%s'", err.text, bad[i].says);
        ng_arena_free(arena);
    }
    char deep[400];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    memcpy(deep, "tags: ", 6);
    options o;
    ng_arena *arena;
    ng_error err = {0};
    assert_int_equal(read_text(&o, deep, &arena, &err), NG_ELIMIT);
    ng_arena_free(arena);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        options o;
        ng_arena *arena = NULL;
        ng_error err = {0};
        ng_status s = ng_arena_new(&arena, 64);
        if (!s) s = ng_config_read(&o, &schema, good, strlen(good), "t.yaml", arena, &err);
        assert_true(s == NG_OK || s == NG_ENOMEM);
        ng_arena_free(arena);
        if (!s) fault_passed();
    }
    assert_true(fault_sweep_rounds() > 20);
}

static void documents_itself(void **state) {
    (void)state;
    ng_buf b = ng_buf_init(1 << 16);
    ng_config_doc(&schema, &b);
    assert_non_null(strstr(b.data, "| `title` | a text | none | shown |"));
    assert_non_null(strstr(b.data, "| `many[].name` | a text | required |"));
    assert_non_null(strstr(b.data, "| `named.NAME.rate` | a number | 0.5 |"));
    ng_buf_clear(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind),
        cmocka_unit_test(names_line_and_mend),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(documents_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
