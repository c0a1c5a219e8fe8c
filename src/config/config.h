/* config.h: YAML into C structs by table: one schema gives parsing, defaults, range checks, errors
 * with line numbers and the reference page.
 *
 *     typedef struct opts { const char *name; int64_t port; ng_config_strs tags; } opts;
 *     static const ng_config_field fields[] = {
 *         {"name", NG_CONFIG_STR, offsetof(opts, name), .help = "shown to people", .required = true},
 *         {"port", NG_CONFIG_INT, offsetof(opts, port), .dflt = "8080", .min = 1, .max = 65535},
 *         {"tags", NG_CONFIG_STRS, offsetof(opts, tags)},
 *         {0}};
 *     static const ng_config_schema schema = {"options", sizeof(opts), fields};
 *     opts o;
 *     ng_config_read(&o, &schema, text, len, "opts.yaml", arena, &err);
 *
 * Errors read "opts.yaml:3: unknown key 'prot' in options; known: name, port, tags".  Unknown and
 * repeated keys, values of the wrong kind or out of range are errors (NG_EINVALID); text that is no
 * YAML is NG_EFORMAT; anchors, aliases, tags and several documents are refused (no use here, and
 * alias bombs are a classic).  A key that is left out, or null, keeps its default.  All strings and
 * arrays of the result live in `arena`. */
#ifndef NG_CONFIG_CONFIG_H
#define NG_CONFIG_CONFIG_H

#include "core/arena.h"
#include <nanogrid/buf.h>

typedef enum ng_config_type {
    NG_CONFIG_STR,   /* const char *; NULL without default */
    NG_CONFIG_BOOL,  /* bool: true|false|yes|no|on|off */
    NG_CONFIG_INT,   /* int64_t */
    NG_CONFIG_NUM,   /* double; default "nan" marks "not given" */
    NG_CONFIG_BYTES, /* uint64_t: 512, 64KB, 64MB, 2GB, 64MiB (KB = KiB = 1024) */
    NG_CONFIG_MS,    /* int64_t milliseconds: 30s, 500ms, 5m, 2h, 7d; a bare number is milliseconds */
    NG_CONFIG_ENUM,  /* int: index into choices "any|mesh|local" */
    NG_CONFIG_STRS,  /* ng_config_strs; one scalar is a list of one */
    NG_CONFIG_NUMS,  /* ng_config_nums */
    NG_CONFIG_GROUP, /* the struct of `sub`, in place */
    NG_CONFIG_LIST,  /* ng_config_list of `sub` structs: a sequence of mappings */
    NG_CONFIG_MAP,   /* ng_config_list of `sub` structs: a mapping NAME: {..}; the key goes into the
                        sub-struct's first field, a const char * that is not in its schema */
    NG_CONFIG_LINE,  /* int: no key; the line of the mapping that filled the struct, 0 by default */
} ng_config_type;

typedef struct ng_config_strs {
    const char **items;
    size_t len;
} ng_config_strs;
typedef struct ng_config_nums {
    double *items;
    size_t len;
} ng_config_nums;
typedef struct ng_config_list {
    void *items; /* [len] structs of the sub-schema's size */
    size_t len;
} ng_config_list;

typedef struct ng_config_schema ng_config_schema;
typedef struct ng_config_field {
    const char *name; /* NULL ends the table; "" for NG_CONFIG_LINE */
    ng_config_type type;
    size_t offset;
    const char *help;    /* one line for the reference page */
    const char *dflt;    /* as it would be written; NULL: zero */
    const char *choices; /* ENUM */
    double min, max;     /* INT, NUM, BYTES, MS: checked unless both are 0 */
    const ng_config_schema *sub; /* GROUP, LIST, MAP */
    bool required;
} ng_config_field;

struct ng_config_schema {
    const char *what; /* "an expert": used in messages */
    size_t size;
    const ng_config_field *fields;
};

/* Fills *out (schema->size bytes) from YAML text; an empty text gives the defaults.  `name` is the
 * file's name for messages. */
ng_status ng_config_read(void *out, const ng_config_schema *schema, const char *text, size_t len,
                         const char *name, ng_arena *arena, ng_error *err);
/* The same from a file of at most 1 MiB. */
ng_status ng_config_read_file(void *out, const ng_config_schema *schema, const char *path,
                              ng_arena *arena, ng_error *err);
/* Appends a Markdown table of every key: name, kind, default, meaning. */
void ng_config_doc(const ng_config_schema *schema, ng_buf *out);

bool ng_config_parse_bytes(uint64_t *out, const char *text);
bool ng_config_parse_ms(int64_t *out, const char *text);

#endif
