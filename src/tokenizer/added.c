/* added.c: see added.h.  A node's children are a linked list: added tokens share long prefixes and
 * seldom branch more than a few ways, and the root, which is asked at every byte, is a table. */
#include "added.h"

ng_status ng_added_init(ng_added *t, ng_arena *a, size_t bytes) {
    *t = (ng_added){0};
    if (bytes >= UINT32_MAX) return NG_ELIMIT;
    t->n_nodes = 1;
    t->n_nodes_max = bytes + 1;
    t->nodes = ng_arena_array(a, t->n_nodes_max, sizeof *t->nodes);
    return t->nodes ? NG_OK : NG_ENOMEM;
}

static uint32_t child_of(const ng_added *t, uint32_t list, uint8_t byte) {
    while (list && t->nodes[list].byte != byte) list = t->nodes[list].sibling;
    return list;
}

void ng_added_put(ng_added *t, const char *text, size_t len, int32_t id, bool special) {
    uint32_t *link = NULL, node = 0;
    if (!len) return;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)text[i];
        link = i ? &t->nodes[node].child : &t->root[byte];
        uint32_t next = child_of(t, *link, byte);
        if (!next) {
            if (t->n_nodes == t->n_nodes_max) return; /* cannot be: one node a byte was counted */
            next = (uint32_t)t->n_nodes++;
            t->nodes[next] = (ng_added_node){.sibling = *link, .id = -1, .byte = byte};
            *link = next;
        }
        node = next;
    }
    if (t->nodes[node].id >= 0) return;
    t->nodes[node].id = id;
    t->nodes[node].special = special;
    *(special ? &t->any_special : &t->any_plain) = true;
}

/* The longest token at i, or false. */
static bool match_at(const ng_added *t, const char *text, size_t len, size_t i, bool special,
                     ng_added_hit *hit) {
    uint32_t node = t->root[(uint8_t)text[i]];
    hit->id = -1;
    for (size_t k = i + 1; node; k++) {
        const ng_added_node *n = &t->nodes[node];
        if (n->id >= 0 && (special || !n->special)) *hit = (ng_added_hit){i, k, n->id};
        if (k >= len) break;
        node = child_of(t, n->child, (uint8_t)text[k]);
    }
    return hit->id >= 0;
}

bool ng_added_find(const ng_added *t, const char *text, size_t len, size_t from, bool special,
                   ng_added_hit *hit) {
    if (!t->any_plain && !(special && t->any_special)) return false;
    for (size_t i = from; i < len; i++)
        if (t->root[(uint8_t)text[i]] && match_at(t, text, len, i, special, hit)) return true;
    return false;
}
