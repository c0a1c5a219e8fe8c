/* learn.h: the expert router learns from feedback and from what escalations came to.
 *
 *     router: {learn: true}                          grid.yaml; off by default
 *     ng_learner_open(&g->learner, g, &err);         takes up the current version
 *     v = ng_learner_apply(g->learner, request, text, len, &decision);   the version that had its say
 *     ng_learner_heard(g);                           after each feedback; now and then makes a version
 *     ng_learner_close(g->learner);
 *
 * Versions are files, $NANOGRID_HOME/router/delta-N.gguf (route/delta.h); `current` beside them names one,
 * 0 is the router as it was trained.  learn.c says when a version is made, refused or taken back.
 * Thread-safe. */
#ifndef NG_GRID_LEARN_H
#define NG_GRID_LEARN_H

#include "route/delta.h"

typedef struct ng_learner ng_learner;

/* A version that cannot be read (damaged, of another router) is left out: version 0 then. */
ng_status ng_learner_open(ng_learner **out, struct ng_grid *g, ng_error *err) NG_MUST_USE;
void ng_learner_close(ng_learner *l); /* NULL is fine */

uint32_t ng_learner_apply(ng_learner *l, const ng_request *r, const char *text, size_t len,
                          ng_decision *d);
void ng_learner_heard(struct ng_grid *g);

typedef struct ng_learner_stats {
    uint32_t version;
    uint64_t made, refused, taken_back;
} ng_learner_stats;
ng_learner_stats ng_learner_get_stats(ng_learner *l);

#endif
