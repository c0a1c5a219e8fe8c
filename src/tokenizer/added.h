/* added.h: finds the tokens that are matched in the raw text before anything else: special tokens
 * (<|im_start|>) and the user-defined ones.
 *
 *     ng_added_find(&t->added, text, len, i, parse_special, &hit);   the first at or after i
 *
 * Leftmost first, then longest, as Hugging Face's added vocabulary does it. */
#ifndef NG_TOKENIZER_ADDED_H
#define NG_TOKENIZER_ADDED_H

#include "core/arena.h"

/* A trie in arrays; node 0 is none, roots stand by first byte. */
typedef struct ng_added_node {
    uint32_t child, sibling;
    int32_t id; /* -1: no token ends here */
    uint8_t byte;
    bool special; /* the token counts only when special tokens are parsed */
} ng_added_node;

typedef struct ng_added {
    ng_added_node *nodes;
    size_t n_nodes, n_nodes_max;
    uint32_t root[256];
    bool any_plain, any_special;
} ng_added;

typedef struct ng_added_hit {
    size_t start, end;
    int32_t id;
} ng_added_hit;

/* Room for tokens of `bytes` bytes together. */
ng_status ng_added_init(ng_added *t, ng_arena *a, size_t bytes) NG_MUST_USE;
void ng_added_put(ng_added *t, const char *text, size_t len, int32_t id, bool special);
bool ng_added_find(const ng_added *t, const char *text, size_t len, size_t from, bool special,
                   ng_added_hit *hit);

#endif
