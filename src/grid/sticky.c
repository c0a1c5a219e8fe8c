/* sticky.c: see sticky.h.  One word a place: 62 bits of the key and the tier, so a place is read and written whole
 * without a lock. */
#include "sticky.h"

#include "core/hash.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 1 << 14 };

struct ng_sticky {
    _Atomic uint64_t places[PLACES]; /* key with its lowest two bits replaced by the tier; 0: empty */
};

ng_status ng_sticky_new(ng_sticky **out, ng_error *err) {
    *out = calloc(1, sizeof **out);
    return *out ? NG_OK : ng_fail(err, NG_ENOMEM, "conversations: out of memory");
}

void ng_sticky_free(ng_sticky *s) {
    free(s);
}

uint64_t ng_sticky_key(const ng_request *r) {
    uint64_t h = ng_hash64(r->tenant ? r->tenant : "", r->tenant ? strlen(r->tenant) : 0, 5);
    for (size_t i = 0; i < r->n_messages; i++) {
        const ng_message *m = &r->messages[i];
        h = ng_hash64(m->role, strlen(m->role), h);
        for (size_t k = 0; k < m->n_parts; k++) h = ng_hash64(m->parts[k].text, m->parts[k].len, h);
        if (!strcmp(m->role, "user")) return h | 4; /* never 0 */
    }
    return 0;
}

bool ng_sticky_get(ng_sticky *s, uint64_t key, ng_tier_level *tier) {
    uint64_t v = atomic_load(&s->places[(key >> 2) % PLACES]);
    if (!v || (v ^ key) >> 2) return false;
    *tier = (ng_tier_level)(v & 3);
    return true;
}

void ng_sticky_put(ng_sticky *s, uint64_t key, ng_tier_level tier) {
    atomic_store(&s->places[(key >> 2) % PLACES], (key & ~(uint64_t)3) | (uint64_t)tier);
}
