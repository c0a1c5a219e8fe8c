/* config.c: binds a YAML tree to structs by schema.  See config.h.
 *
 * A struct is filled twice: first with the defaults of its fields (themselves parsed from text, so
 * that a default cannot be out of range), then with what the mapping gives. */
#include "config.h"

#include "core/checked.h"
#include "core/file.h"
#include "yaml_tree.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct binder {
    const char *name;
    ng_arena *arena;
    ng_error *err;
} binder;

static ng_status out_of_memory(binder *b) {
    return ng_fail(b->err, NG_ENOMEM, "%s: out of memory", b->name);
}

/* ---- scalars --------------------------------------------------------------------------------- */

typedef struct unit {
    const char *name;
    double factor;
} unit;

/* A non-negative number with an optional unit behind it; false for anything else. */
static bool parse_unit(double *out, const char *text, const unit *units) {
    char *end;
    if (!isdigit((unsigned char)*text) && *text != '.') return false;
    double v = strtod(text, &end);
    while (*end == ' ') end++;
    if (!*end) return *out = v, true;
    for (; units->name; units++)
        if (!strcasecmp(units->name, end)) return *out = v * units->factor, true;
    return false;
}

bool ng_config_parse_bytes(uint64_t *out, const char *text) {
    static const unit units[] = {{"B", 1}, {"KB", 1024}, {"KiB", 1024}, {"MB", 1048576}, {"MiB", 1048576},
                                 {"GB", 1073741824}, {"GiB", 1073741824}, {NULL, 0}};
    double v;
    if (!parse_unit(&v, text, units) || v > 9e18) return false;
    *out = (uint64_t)v;
    return true;
}

bool ng_config_parse_ms(int64_t *out, const char *text) {
    static const unit units[] = {{"ms", 1},    {"s", 1e3},    {"m", 6e4}, {"min", 6e4},
                                 {"h", 3.6e6}, {"d", 8.64e7}, {NULL, 0}};
    double v;
    if (!parse_unit(&v, text, units) || v > 9e18) return false;
    *out = (int64_t)v;
    return true;
}

static bool parse_bool(bool *out, const char *text) {
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    for (int i = 0; i < 3; i++) {
        if (!strcasecmp(text, yes[i])) return *out = true, true;
        if (!strcasecmp(text, no[i])) return *out = false, true;
    }
    return false;
}

static bool parse_choice(int *out, const char *text, const char *choices) {
    size_t len = strlen(text);
    for (int i = 0; *choices; i++) {
        size_t n = strcspn(choices, "|");
        if (n == len && !memcmp(choices, text, n)) return *out = i, true;
        choices += n + (choices[n] == '|');
    }
    return false;
}

static bool parse_number(double *out, const char *text) {
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return end != text && !*end && errno != ERANGE;
}

static bool parse_int(int64_t *out, const char *text) {
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && !*end && !errno;
}

static const char *kind_text(ng_config_type t) {
    static const char *const texts[] = {"a text", "true or false", "a whole number", "a number",
        "a size such as 64MB", "a time such as 30s", "a choice", "a list of texts", "a list of numbers",
        "a mapping", "a list of mappings", "a mapping of names", ""};
    return texts[t];
}

static ng_status wrong_kind(binder *b, const ng_config_field *f, int line, const char *text) {
    return ng_fail(b->err, NG_EINVALID, "%s:%d: %s: '%.60s' is not %s%s", b->name, line, f->name, text,
                   f->type == NG_CONFIG_ENUM ? "one of " : kind_text(f->type),
                   f->type == NG_CONFIG_ENUM ? f->choices : "");
}

/* Writes one scalar to its place; *value is its size as a number for the range check. */
static bool parse_scalar(const ng_config_field *f, const char *text, void *at, double *value) {
    *value = 0;
    switch (f->type) {
    case NG_CONFIG_STR: *(const char **)at = text; return true;
    case NG_CONFIG_BOOL: return parse_bool(at, text);
    case NG_CONFIG_ENUM: return parse_choice(at, text, f->choices);
    case NG_CONFIG_NUM:
        if (!parse_number(at, text)) return false;
        *value = *(double *)at;
        return true;
    case NG_CONFIG_INT:
        if (!parse_int(at, text)) return false;
        *value = (double)*(int64_t *)at;
        return true;
    case NG_CONFIG_BYTES:
        if (!ng_config_parse_bytes(at, text)) return false;
        *value = (double)*(uint64_t *)at;
        return true;
    case NG_CONFIG_MS:
        if (!ng_config_parse_ms(at, text)) return false;
        *value = (double)*(int64_t *)at;
        return true;
    default: return false;
    }
}

static ng_status set_scalar(binder *b, const ng_config_field *f, const char *text, int line, void *at) {
    double v;
    if (!parse_scalar(f, text, at, &v)) return wrong_kind(b, f, line, text);
    /* `line` 0 is a default: "nan" there means "not given" and passes */
    bool ranged = (f->min != 0 || f->max != 0) && line > 0; /* NOLINT: exact zero is "no range" */
    if (f->type == NG_CONFIG_NUM && line > 0 && !isfinite(v)) return wrong_kind(b, f, line, text);
    if (ranged && !(v >= f->min && v <= f->max))
        return ng_fail(b->err, NG_EINVALID, "%s:%d: %s: %s is out of range, use %g to %g", b->name, line, f->name,
                       text, f->min, f->max);
    return NG_OK;
}

/* ---- structs --------------------------------------------------------------------------------- */

static ng_status set_defaults(binder *b, const ng_config_schema *schema, char *out) {
    for (const ng_config_field *f = schema->fields; f->name; f++) {
        ng_status s = NG_OK;
        if (f->type == NG_CONFIG_GROUP) s = set_defaults(b, f->sub, out + f->offset);
        else if (f->dflt) s = set_scalar(b, f, f->dflt, 0, out + f->offset);
        if (s) return s;
    }
    return NG_OK;
}

static ng_status bind_struct(binder *b, const ng_config_schema *schema, const ng_yaml_node *n, char *out);

static size_t count_children(const ng_yaml_node *n) {
    size_t len = 0;
    for (const ng_yaml_node *c = n->child; c; c = c->next) len++;
    return len;
}

static ng_status bind_strs(binder *b, const ng_config_field *f, const ng_yaml_node *n, ng_config_strs *out) {
    bool one = n->kind == NG_YAML_SCALAR;
    size_t len = one ? 1 : count_children(n), i = 0;
    if (n->kind == NG_YAML_MAPPING) return wrong_kind(b, f, n->line, "{..}");
    out->items = ng_arena_array(b->arena, len, sizeof *out->items);
    if (!out->items) return out_of_memory(b);
    for (const ng_yaml_node *c = one ? n : n->child; c; c = one ? NULL : c->next) {
        if (c->kind != NG_YAML_SCALAR) return wrong_kind(b, f, c->line, "[..]");
        out->items[i++] = c->text;
    }
    out->len = len;
    return NG_OK;
}

static ng_status bind_nums(binder *b, const ng_config_field *f, const ng_yaml_node *n, ng_config_nums *out) {
    bool one = n->kind == NG_YAML_SCALAR;
    size_t len = one ? 1 : count_children(n), i = 0;
    if (n->kind == NG_YAML_MAPPING) return wrong_kind(b, f, n->line, "{..}");
    ng_config_field number = *f;
    number.type = NG_CONFIG_NUM;
    out->items = ng_arena_array(b->arena, len, sizeof *out->items);
    if (!out->items) return out_of_memory(b);
    for (const ng_yaml_node *c = one ? n : n->child; c; c = one ? NULL : c->next) {
        ng_status s = c->kind != NG_YAML_SCALAR ? wrong_kind(b, f, c->line, "[..]")
                                               : set_scalar(b, &number, c->text, c->line, &out->items[i++]);
        if (s) return s;
    }
    out->len = len;
    return NG_OK;
}

static ng_status bind_list(binder *b, const ng_config_field *f, const ng_yaml_node *n, ng_config_list *out) {
    bool map = f->type == NG_CONFIG_MAP;
    if (n->kind != (map ? NG_YAML_MAPPING : NG_YAML_SEQUENCE))
        return wrong_kind(b, f, n->line, n->kind == NG_YAML_SCALAR ? n->text : "this");
    size_t len = count_children(n);
    char *items = ng_arena_array(b->arena, len, f->sub->size);
    if (!items) return out_of_memory(b);
    *out = (ng_config_list){items, len};
    for (const ng_yaml_node *c = n->child; c; c = c->next, items += f->sub->size) {
        ng_status s = set_defaults(b, f->sub, items);
        if (map) *(const char **)(void *)items = c->key;
        if (!s) s = bind_struct(b, f->sub, c, items);
        if (s) return s;
    }
    return NG_OK;
}

static bool is_null(const ng_yaml_node *n) {
    return n->kind == NG_YAML_SCALAR && n->plain && (!*n->text || !strcmp(n->text, "~") || !strcmp(n->text, "null"));
}

static ng_status bind_field(binder *b, const ng_config_field *f, const ng_yaml_node *n, char *at) {
    if (is_null(n)) return NG_OK; /* keeps the default; a required key is missing then */
    switch (f->type) {
    case NG_CONFIG_GROUP: return bind_struct(b, f->sub, n, at);
    case NG_CONFIG_LIST:
    case NG_CONFIG_MAP: return bind_list(b, f, n, (void *)at);
    case NG_CONFIG_STRS: return bind_strs(b, f, n, (void *)at);
    case NG_CONFIG_NUMS: return bind_nums(b, f, n, (void *)at);
    default:
        if (n->kind != NG_YAML_SCALAR) return wrong_kind(b, f, n->line, n->kind == NG_YAML_MAPPING ? "{..}" : "[..]");
        return set_scalar(b, f, n->text, n->line, at);
    }
}

static ng_status unknown_key(binder *b, const ng_config_schema *schema, const ng_yaml_node *c) {
    char known[256] = "";
    size_t len = 0;
    for (const ng_config_field *f = schema->fields; f->name; f++) {
        if (!*f->name) continue;
        int n = snprintf(known + len, sizeof known - len, "%s%s", len ? ", " : "", f->name);
        if (n < 0 || (size_t)n >= sizeof known - len) break;
        len += (size_t)n;
    }
    return ng_fail(b->err, NG_EINVALID, "%s:%d: unknown key '%.60s' in %s; known: %s", b->name, c->key_line, c->key,
                   schema->what, known);
}

static const ng_yaml_node *find_child(const ng_yaml_node *n, const char *key) {
    for (const ng_yaml_node *c = n->child; c; c = c->next)
        if (!strcmp(c->key, key)) return c;
    return NULL;
}

static ng_status bind_struct(binder *b, const ng_config_schema *schema, const ng_yaml_node *n, char *out) {
    if (n->kind != NG_YAML_MAPPING)
        return ng_fail(b->err, NG_EINVALID, "%s:%d: %s must be a mapping (key: value)", b->name, n->line, schema->what);
    for (const ng_yaml_node *c = n->child; c; c = c->next) {
        const ng_config_field *f = schema->fields;
        while (f->name && (!*f->name || strcmp(f->name, c->key))) f++;
        ng_status s = f->name ? bind_field(b, f, c, out + f->offset) : unknown_key(b, schema, c);
        if (s) return s;
    }
    for (const ng_config_field *f = schema->fields; f->name; f++) {
        if (f->type == NG_CONFIG_LINE) *(int *)(void *)(out + f->offset) = n->line;
        const ng_yaml_node *given = f->required ? find_child(n, f->name) : NULL;
        if (f->required && (!given || is_null(given)))
            return ng_fail(b->err, NG_EINVALID, "%s:%d: %s lacks the key '%s'", b->name, n->line, schema->what,
                           f->name);
    }
    return NG_OK;
}

ng_status ng_config_read(void *out, const ng_config_schema *schema, const char *text, size_t len,
                         const char *name, ng_arena *arena, ng_error *err) {
    binder b = {name, arena, err};
    memset(out, 0, schema->size);
    ng_status s = set_defaults(&b, schema, out);
    ng_yaml_node *root = NULL;
    if (!s) s = ng_yaml_parse(&root, text, len, name, arena, err);
    if (s) return s;
    static const ng_yaml_node nothing = {.kind = NG_YAML_MAPPING, .line = 1};
    return bind_struct(&b, schema, root ? root : &nothing, out);
}

ng_status ng_config_read_file(void *out, const ng_config_schema *schema, const char *path,
                              ng_arena *arena, ng_error *err) {
    ng_buf text = ng_buf_init(1u << 20);
    ng_status s = ng_file_read(&text, path, err);
    if (!s) s = ng_config_read(out, schema, text.data, text.len, path, arena, err);
    ng_buf_clear(&text);
    return s;
}

static void doc_fields(const ng_config_schema *schema, const char *prefix, ng_buf *out) {
    for (const ng_config_field *f = schema->fields; f->name; f++) {
        char path[160];
        if (!*f->name) continue;
        snprintf(path, sizeof path, "%s%s", prefix, f->name);
        ng_buf_printf(out, "| `%s` | %s | %s | %s |\n", path,
                      f->type == NG_CONFIG_ENUM ? f->choices : kind_text(f->type),
                      f->required ? "required" : f->dflt ? f->dflt : "", f->help ? f->help : "");
        if (!f->sub) continue;
        size_t len = strlen(path);
        snprintf(path + len, sizeof path - len,
                 f->type == NG_CONFIG_LIST  ? "[]."
                 : f->type == NG_CONFIG_MAP ? ".NAME."
                                            : ".");
        doc_fields(f->sub, path, out);
    }
}

void ng_config_doc(const ng_config_schema *schema, ng_buf *out) {
    ng_buf_puts(out, "| key | value | default | meaning |\n|---|---|---|---|\n");
    doc_fields(schema, "", out);
}
