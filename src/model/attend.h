/* attend.h: causal attention of a batch over the pages of a sequence.
 *
 *     ng_attend a = {.q = q, .out = att.x, .n_tok = n, .pos = pos, .layer = l, .n_head = 9,
 *                    .head_dim = 64, .scale = 0.125f, .scores = scores};
 *     ng_attend_store(tm, s, &kvs);  ng_team_barrier(tm);
 *     ng_attend_run(tm, s, &a);
 *
 * Each query takes the keys of its own past, itself included, so a token's result does not depend on
 * how the batch was cut. */
#ifndef NG_MODEL_ATTEND_H
#define NG_MODEL_ATTEND_H

#include "arch.h"

enum { NG_ATTEND_TILE = 8 }; /* queries of one head that share a pass over the keys */

typedef struct ng_attend {
    const float *q;   /* [n_tok, n_head * head_dim], rotated */
    float *out;       /* the same shape */
    size_t n_tok, pos, layer, n_head, head_dim;
    float scale;      /* of the scores: 1 / sqrt(head_dim) */
    float *scores;    /* ng_attend_scratch floats, one part a thread */
} ng_attend;

/* Floats of scores that a session needs. */
size_t ng_attend_scratch(const ng_session *s);
void ng_attend_run(const ng_team *tm, const ng_session *s, const ng_attend *a);

/* Rotates q and k in place and writes k and v into the pages, for this thread's share. */
typedef struct ng_attend_in {
    float *q, *k, *v;      /* [n_tok, n_head * head_dim], [n_tok, n_head_kv * head_dim] twice */
    const float *cos_sin;  /* [n_tok, n_rot] */
    size_t n_tok, pos, layer, n_head, n_head_kv, head_dim, n_rot;
} ng_attend_in;
void ng_attend_store(const ng_team *tm, const ng_session *s, const ng_attend_in *in);

#endif
