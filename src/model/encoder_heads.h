/* encoder_heads.h: the heads that an encoder's file carries: small output layers on one shared forward.
 *
 *     ng_encoder_heads h;
 *     ng_encoder_heads_open(&h, model, &err);            none in the file: h.len 0
 *     ng_session_hidden(session, ids, n, hidden, &err);  once a text, for all heads
 *     float z[h.items[0].n_labels];
 *     ng_encoder_head_logits(&h.items[0], hidden, n, z); pooled heads
 *     ng_encoder_head_decide(&h.items[0], z, p);         calibrated probabilities
 *     ng_encoder_heads_close(&h);
 *
 * Immutable once open, so threads may share it; logits are the same bits on every machine.
 *
 * In the file (general.architecture "bert"):
 *     nanogrid.heads            strings [n]  the names, in the order of training
 *     nanogrid.head.N.task      string  classify, moderate, detect-language (pooled); extract (each token);
 *                                       embed (no layer: the pooled vector, as without heads);
 *                                       rerank (query and text), summarize (sentence and document, summary_input.h): pairs,
 *                                       scored by the probability of the second of two labels
 *     nanogrid.head.N.labels    strings [n_labels]; extract: "O", then "B-x", "I-x" for each kind x
 *     nanogrid.head.N.pair      bool    true: it reads two texts as one sequence (pair_ids.h); missing: one
 *     nanogrid.head.N.pooling   u32     1 mean over all tokens, 2 the first one; extract: 0
 *     nanogrid.head.N.temperature f32   divides the logits (softmax); missing: not calibrated
 *     nanogrid.head.N.oos_threshold f32 in scope at or above this scope score; missing: always
 *     nanogrid.head.N.scope     f32 [3]  one label a text: what the scope score is made of (ng_encoder_head_scope); with head.N.means
 *     nanogrid.head.N.platt_scale, .platt_shift, .threshold  f32 [n_labels] (moderate), as in linear.h
 *     head.N.weight [n_embd, n_labels], head.N.bias F32 [n_labels]
 *     head.N.means [n_embd, n_labels]   the mean of each label's training texts, pooled and of length 1; may be missing
 *     head.N.shapes [NG_SHAPE_INPUTS, n_labels]  extract: added for the shapes of a word and its neighbours; may be missing */
#ifndef NG_MODEL_ENCODER_HEADS_H
#define NG_MODEL_ENCODER_HEADS_H

#include "core/arena.h"
#include <nanogrid/model.h>

enum { NG_ENCODER_HEADS_MAX = 64, NG_ENCODER_LABELS_MAX = 4096 };

typedef struct ng_encoder_head {
    const char *name, *task;
    const char **labels; /* [n_labels] */
    size_t n_labels, width;
    bool first;      /* pools the first token, else the mean */
    bool each;       /* moderate: a sigmoid a label, else softmax */
    bool tokens;     /* extract: logits for every token */
    bool pair;       /* reads two texts as one sequence */
    const float *w, *b;  /* [n_labels, width], [n_labels] */
    const float *shapes; /* [n_labels, NG_SHAPE_INPUTS] or NULL (token_spans.h) */
    float temperature;   /* 0: not calibrated */
    float oos_threshold; /* of the scope score; 0: every text is in scope */
    const float *means;  /* [n_labels, width], each of length 1, or NULL */
    const float *scope;  /* [3] with means: weights of the two places (below) and a constant */
    const float *platt_scale, *platt_shift, *threshold; /* [n_labels] or NULL */
} ng_encoder_head;

typedef struct ng_encoder_heads {
    ng_arena *arena;
    ng_encoder_head *items; /* [len] */
    size_t len;
} ng_encoder_heads;

ng_status ng_encoder_heads_open(ng_encoder_heads *out, const ng_model *m, ng_error *err) NG_MUST_USE;
void ng_encoder_heads_close(ng_encoder_heads *h);
/* NULL with the names of those that exist in the message. `name` NULL: the first. */
const ng_encoder_head *ng_encoder_heads_find(const ng_encoder_heads *h, const char *name, ng_error *err);
/* The first that serves the task, or NULL. */
const ng_encoder_head *ng_encoder_heads_first(const ng_encoder_heads *h, const char *task);
/* The one that shall serve the task: the named one, or the first (`name` NULL); messages begin with `path`.  NG_ENOTFOUND: none has the
 * name; NG_EINVALID: it was trained for another task; NG_EUNSUPPORTED: none serves the task. */
ng_status ng_encoder_heads_choose(const ng_encoder_head **out, const ng_encoder_heads *h, const char *path,
                                  const char *task, const char *name, ng_error *err) NG_MUST_USE;

/* z[n_labels] of the pooled rows of hidden[n_tok, width]. */
void ng_encoder_head_logits(const ng_encoder_head *h, const float *hidden, size_t n_tok, float *z);
/* z[n_labels] of one row, for heads on tokens. */
void ng_encoder_head_row(const ng_encoder_head *h, const float *row, float *z);
/* Adds what the head has learnt of shapes[NG_SHAPE_WORDS] to z. */
void ng_encoder_head_shapes(const ng_encoder_head *h, const uint16_t *shapes, float *z);
size_t ng_encoder_head_best(const ng_encoder_head *h, const float *z); /* the label of the greatest logit, the first of equals */
/* p[n_labels] from logits: softmax or sigmoids with what calibration the file has; p may be z. */
void ng_encoder_head_decide(const ng_encoder_head *h, const float *z, float *p);
/* Where a text lies among what a head of one label was trained on: the log-odds of its best probability and the cosine of
 * its pooled vector to the nearest label's mean.  Needs h->means. */
typedef struct ng_scope_place {
    double sure, near;
} ng_scope_place;
ng_scope_place ng_encoder_head_place(const ng_encoder_head *h, const float *hidden, size_t n_tok, const float *p);
/* In [0, 1]: the sigmoid of scope[0] sure + scope[1] near + scope[2]; without means the best of p[n_labels].  A text that no
 * label fits can be sure of one and still lie far from all (Lee et al. 2018, "A simple unified framework for detecting
 * out-of-distribution samples"; here by cosines). */
float ng_encoder_head_scope(const ng_encoder_head *h, const float *hidden, size_t n_tok, const float *p);
float ng_encoder_head_scope_at(const ng_encoder_head *h, ng_scope_place at);
bool ng_encoder_head_calibrated(const ng_encoder_head *h);
float ng_encoder_head_threshold(const ng_encoder_head *h, size_t label); /* moderate: holds at or above */

#endif
