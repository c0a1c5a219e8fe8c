/* yaml_tree.h: a YAML text as a small tree of nodes with line numbers, in an arena.
 *
 *     yaml_node *root;
 *     ng_yaml_parse(&root, text, len, "grid.yaml", arena, &err);
 *
 * Limits: depth 32, 100,000 nodes.  Anchors, aliases, explicit tags and further documents are
 * refused. */
#ifndef NG_CONFIG_YAML_TREE_H
#define NG_CONFIG_YAML_TREE_H

#include "core/arena.h"

typedef enum ng_yaml_kind { NG_YAML_SCALAR, NG_YAML_SEQUENCE, NG_YAML_MAPPING } ng_yaml_kind;

typedef struct ng_yaml_node ng_yaml_node;
struct ng_yaml_node {
    ng_yaml_kind kind;
    int line;            /* from 1 */
    const char *text;    /* SCALAR */
    bool plain;          /* SCALAR: written without quotes */
    const char *key;     /* of a mapping's child */
    int key_line;
    ng_yaml_node *child; /* first child of a sequence or mapping */
    ng_yaml_node *next;  /* next sibling */
};

/* *out is NULL for an empty document. */
ng_status ng_yaml_parse(ng_yaml_node **out, const char *text, size_t len, const char *name,
                        ng_arena *arena, ng_error *err) NG_MUST_USE;

#endif
