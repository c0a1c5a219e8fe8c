/* attend.h: causal attention of a batch, each span over the pages of its own sequence.
 *
 *     ng_linear(tm, &wq, ..q), .. wk, wv
 *     ng_attend_store(tm, s, &in);  ng_team_barrier(tm);      q, k rotated; k, v in the pages
 *     ng_attend_run(tm, s, &a);     ng_team_barrier(tm);      a.out is complete, in both forms
 *
 * Each query takes the keys of its own sequence's past, itself included, so a token's result does not
 * depend on how the batch was cut nor on what else is in it. */
#ifndef NG_MODEL_ATTEND_H
#define NG_MODEL_ATTEND_H

#include "arch.h"

enum { NG_ATTEND_TILE = 16 }; /* queries of one head that share a pass over the keys */

typedef struct ng_attend {
    const float *q;    /* [n_tok, n_head * head_dim], rotated */
    const ng_act *out; /* the same shape */
    const ng_batch *batch;
    size_t layer, n_head, head_dim;
    float scale;      /* of the scores: 1 / sqrt(head_dim) */
    float *scores;    /* ng_attend_scratch floats, one part a thread */
} ng_attend;

/* Floats of scores that a session needs. */
size_t ng_attend_scratch(const ng_session *s);
void ng_attend_run(const ng_team *tm, const ng_session *s, const ng_attend *a);

/* Rotates q and k in place and writes k and v into the pages: those rows that this thread's ng_linear
 * has just made, so no barrier is needed between.  head_dim is even. */
typedef struct ng_attend_in {
    float *q, *k, *v;      /* [n_tok, n_head * head_dim], [n_tok, n_head_kv * head_dim] twice */
    const float *cos_sin;  /* [n_tok, n_rot] */
    const ng_batch *batch;
    size_t layer, n_head, n_head_kv, head_dim, n_rot;
} ng_attend_in;
void ng_attend_store(const ng_team *tm, const ng_session *s, const ng_attend_in *in);

#endif
