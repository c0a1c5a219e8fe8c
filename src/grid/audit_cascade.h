/* audit_cascade.h: is the cascade of each expert worth what it costs?  Judged on explored decisions that people judged too.
 *
 *     ng_audit_cascades(g, json ? NULL : &text, json ? &rows : NULL, &held, &err);
 *
 * One row an expert that has such outcomes, with the five baselines of route/escalation.h.  *held becomes false for a
 * cascade that loses to a mid model that costs no more, or to escalating at random. */
#ifndef NG_GRID_AUDIT_CASCADE_H
#define NG_GRID_AUDIT_CASCADE_H

#include <nanogrid/grid.h>

ng_status ng_audit_cascades(ng_grid *g, ng_buf *text, ng_json *j, bool *held, ng_error *err) NG_MUST_USE;

#endif
