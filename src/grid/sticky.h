/* sticky.h: conversations stay on the tier that they have escalated to, so that a talk does not change its voice.
 *
 *     uint64_t k = ng_sticky_key(request);            0: no conversation that goes on
 *     if (k && ng_sticky_get(s, k, &tier)) ..         begin there
 *     ng_sticky_put(s, k, NG_TIER_MEDIUM);
 *
 * A conversation is known by its tenant and its beginning (everything up to the first message of the user), which every
 * client sends again with each turn; only a hash of it is kept, in memory.  Bounded: of two that share a place the
 * younger stays.  Thread-safe. */
#ifndef NG_GRID_STICKY_H
#define NG_GRID_STICKY_H

#include <nanogrid/grid.h>

typedef struct ng_sticky ng_sticky;

ng_status ng_sticky_new(ng_sticky **out, ng_error *err) NG_MUST_USE;
void ng_sticky_free(ng_sticky *s); /* NULL is fine */
uint64_t ng_sticky_key(const ng_request *r);
bool ng_sticky_get(ng_sticky *s, uint64_t key, ng_tier_level *tier);
void ng_sticky_put(ng_sticky *s, uint64_t key, ng_tier_level tier);

#endif
