/* tier_head.h: a model of this process behind struct ng_tier.
 *
 *     ng_tier t;
 *     ng_tier_open_head(&t, &spec, &err);            cheap: nothing is loaded yet
 *     t.submit(t.self, &request, answer, &err);      the first call loads; answer->load_ms says how long
 *     t.close(t.self);
 *
 * submit() may be called from several threads; the head is loaded once.  A file that cannot be
 * loaded makes the tier unhealthy for good, since a grid is a snapshot; running out of memory does
 * not. Deadlines and cancel() act between the tokens of a generation. */
#ifndef NG_GRID_TIER_HEAD_H
#define NG_GRID_TIER_HEAD_H

#include <nanogrid/head.h>

ng_status ng_tier_open_head(ng_tier *out, const ng_head_spec *spec, ng_error *err) NG_MUST_USE;

#endif
