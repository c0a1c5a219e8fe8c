/* yaml_tree.c: libyaml's events, read recursively into nodes.  See yaml_tree.h.
 *
 * Invariant: every event that libyaml hands out is deleted in next(), so that no path leaks one:
 * what is needed of it is copied into the arena first. */
#include "yaml_tree.h"

#include <string.h>
#include <yaml.h>

enum { DEPTH_MAX = 32, NODES_MAX = 100000 };

typedef struct reader {
    yaml_parser_t parser;
    const char *name;
    ng_arena *arena;
    ng_error *err;
    int n_nodes;
    /* the current event, copied */
    yaml_event_type_t type;
    int line;
    const char *text;
    bool plain;
} reader;

static ng_status out_of_memory(reader *r) {
    return ng_fail(r->err, NG_ENOMEM, "%s: out of memory", r->name);
}

static bool is_tagged(const yaml_event_t *e) {
    switch (e->type) {
    case YAML_SCALAR_EVENT: return e->data.scalar.anchor || e->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT: return e->data.sequence_start.anchor || e->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT: return e->data.mapping_start.anchor || e->data.mapping_start.tag;
    case YAML_ALIAS_EVENT: return true;
    default: return false;
    }
}

static ng_status next(reader *r) {
    yaml_event_t e;
    if (!yaml_parser_parse(&r->parser, &e)) {
        if (r->parser.error == YAML_MEMORY_ERROR) return out_of_memory(r);
        size_t line = r->parser.problem_mark.line + 1;
        return ng_fail(r->err, NG_EFORMAT, "%s:%zu: not YAML: %s", r->name, line,
                       r->parser.problem ? r->parser.problem : "unreadable");
    }
    ng_status s = NG_OK;
    r->type = e.type;
    r->line = (int)e.start_mark.line + 1;
    if (is_tagged(&e)) {
        s = ng_fail(r->err, NG_EINVALID, "%s:%d: anchors, aliases and tags are not supported", r->name, r->line);
    } else if (e.type == YAML_SCALAR_EVENT) {
        const char *text = (const char *)e.data.scalar.value;
        if (strlen(text) != e.data.scalar.length)
            s = ng_fail(r->err, NG_EINVALID, "%s:%d: a text may not hold a NUL", r->name, r->line);
        r->text = s ? NULL : ng_arena_strdup(r->arena, text);
        r->plain = e.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        if (!s && !r->text) s = out_of_memory(r);
    }
    yaml_event_delete(&e);
    return s;
}

static ng_status read_node(reader *r, ng_yaml_node **out, int depth);

static ng_status read_children(reader *r, ng_yaml_node *parent, int depth) {
    bool mapping = parent->kind == NG_YAML_MAPPING;
    yaml_event_type_t end = mapping ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    ng_yaml_node **tail = &parent->child;
    for (;;) {
        const char *key = NULL;
        ng_status s = next(r);
        if (s) return s;
        if (r->type == end) return NG_OK;
        int key_line = r->line;
        if (mapping) {
            if (r->type != YAML_SCALAR_EVENT)
                return ng_fail(r->err, NG_EINVALID, "%s:%d: a key must be a plain word", r->name, r->line);
            key = r->text;
            for (ng_yaml_node *n = parent->child; n; n = n->next)
                if (!strcmp(n->key, key))
                    return ng_fail(r->err, NG_EINVALID,
                                   "%s:%d: the key '%s' stands here a second time (first on line %d)", r->name,
                                   key_line, key, n->key_line);
            if ((s = next(r))) return s;
        }
        if ((s = read_node(r, tail, depth + 1))) return s;
        (*tail)->key = key;
        (*tail)->key_line = key_line;
        tail = &(*tail)->next;
    }
}

/* The current event begins the node. */
static ng_status read_node(reader *r, ng_yaml_node **out, int depth) {
    if (depth > DEPTH_MAX || ++r->n_nodes > NODES_MAX)
        return ng_fail(r->err, NG_ELIMIT, "%s:%d: nested deeper than %d or more than %d values", r->name,
                       r->line, DEPTH_MAX, NODES_MAX);
    ng_yaml_node *n = *out = ng_arena_alloc(r->arena, sizeof *n);
    if (!n) return out_of_memory(r);
    n->line = r->line;
    if (r->type == YAML_SCALAR_EVENT) {
        n->text = r->text;
        n->plain = r->plain;
        return NG_OK;
    }
    n->kind = r->type == YAML_SEQUENCE_START_EVENT ? NG_YAML_SEQUENCE : NG_YAML_MAPPING;
    return read_children(r, n, depth);
}

static ng_status read_document(reader *r, ng_yaml_node **out) {
    ng_status s;
    do /* stream start, document start */
        if ((s = next(r))) return s;
    while (r->type == YAML_STREAM_START_EVENT || r->type == YAML_DOCUMENT_START_EVENT);
    if (r->type == YAML_STREAM_END_EVENT) return NG_OK;
    if ((s = read_node(r, out, 0))) return s;
    if ((s = next(r)) || (s = next(r))) return s; /* document end, then the stream's */
    if (r->type != YAML_STREAM_END_EVENT)
        return ng_fail(r->err, NG_EINVALID, "%s:%d: one document only", r->name, r->line);
    return NG_OK;
}

ng_status ng_yaml_parse(ng_yaml_node **out, const char *text, size_t len, const char *name,
                        ng_arena *arena, ng_error *err) {
    reader r = {.name = name, .arena = arena, .err = err};
    *out = NULL;
    if (!yaml_parser_initialize(&r.parser)) return out_of_memory(&r);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    ng_status s = read_document(&r, out);
    yaml_parser_delete(&r.parser);
    return s;
}
