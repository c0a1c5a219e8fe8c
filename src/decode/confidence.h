/* confidence.h: how probably a generation is right, learnt from what the engine saw while it made it.
 *
 *     ng_confidence *c;
 *     ng_confidence_open(&c, "SmolLM2.confidence.gguf", model, &err);     fitted by `nanogrid calibrate`
 *     ng_evidence e;
 *     ng_evidence_init(&e, c, n_max);                                     one generation
 *     ng_evidence_add(&e, &distribution, logprob, hidden);                each step, the one that ends it too
 *     float p = ng_confidence_of(c, &e, n_prompt, n_tokens);
 *     ng_evidence_clear(&e);  ng_confidence_free(c);
 *
 * Evidence is turned into features: entropy, margin and log p of the steps (mean, extremes, quantiles, first, last), lengths,
 * and at each tap the residual stream at the first step (what the model makes of the question), at the last (with the
 * answer read) and in the mean.  A network of one hidden layer reads them; its last step is Platt's, so what comes out is a
 * probability.  The model is never asked how sure it is, and log p is never summed over an answer.
 *
 * A probability holds for the kinds of prompts that it was calibrated on.  So the file also knows where the first step's rows of
 * each kind lie; a prompt that is outside all of them is strange, and its confidence is 0: nothing is promised about it.
 *
 * The file (GGUF, architecture nanogrid-confidence): nanogrid.confidence.{taps, n_hidden, n_embd, platt_scale, platt_shift},
 * nanogrid.requires (digests of the model files that it was measured on; another is refused), tensors mean, scale [features],
 * w1 [features, hidden], b1, w2 [hidden], b2 [1], and kind.centre [taps * n_embd, kinds], kind.spread [taps * n_embd], kind.radius
 * [kinds] (a file without these three takes every prompt for known).  It also carries labelled scores (route/scores.h), for contracts and audit. */
#ifndef NG_DECODE_CONFIDENCE_H
#define NG_DECODE_CONFIDENCE_H

#include "distribution.h"

enum { NG_CONFIDENCE_STATS = 20, NG_CONFIDENCE_TAPS_MAX = 4, NG_CONFIDENCE_HIDDEN_MAX = 256, NG_CONFIDENCE_KINDS_MAX = 32,
    NG_CONFIDENCE_EVERY = 8 /* tokens: so often events carry an estimate */ };

typedef struct ng_confidence {
    const uint32_t *taps;  /* [n_taps] layers */
    size_t n_taps, n_embd, n_features, n_hidden; /* n_hidden 0: evidence alone, no estimate */
    const float *mean, *scale; /* [n_features] */
    const float *w1, *b1;      /* [n_hidden, n_features], [n_hidden] */
    const float *w2;           /* [n_hidden] */
    float b2, platt_scale, platt_shift;
    size_t n_kinds;            /* 0: not told */
    const float *centre, *spread; /* [n_kinds, n_taps * n_embd] of the first step's rows, [n_taps * n_embd] within a kind */
    const float *radius;       /* [n_kinds] what is known lies within */
    void *arena;
} ng_confidence;

/* NG_EFORMAT, NG_EINVALID (fitted on another model: names both digests), NG_ENOMEM. */
ng_status ng_confidence_open(ng_confidence **out, const char *path, const ng_model *m, ng_error *err) NG_MUST_USE;
/* The same from an open file, which may be closed afterwards, for a model of this depth and width and with this digest. */
struct ng_gguf;
ng_status ng_confidence_read(ng_confidence **out, const struct ng_gguf *g, const ng_model_info *info,
                             const char *digest, ng_error *err) NG_MUST_USE;
void ng_confidence_free(ng_confidence *c); /* NULL is fine */
/* "X.confidence.gguf" for a model X.gguf; NULL when memory is out.  The caller's. */
char *ng_confidence_path(const char *model_path) NG_MUST_USE;
enum { NG_CONFIDENCE_DIGEST = 33 };
/* Of the model's file, as nanogrid.requires has it. */
ng_status ng_confidence_digest(char out[NG_CONFIDENCE_DIGEST], const ng_model *m, ng_error *err) NG_MUST_USE;
/* Features of a model with these taps. */
size_t ng_confidence_n_features(size_t n_taps, size_t n_embd);

typedef struct ng_evidence {
    const ng_confidence *of;    /* NULL: nothing is gathered */
    float *entropy, *margin, *logprob; /* [n] */
    size_t n, max;
    float *first, *last, *sum;  /* [n_taps * n_embd] */
    float *features;            /* [n_features] the latest */
} ng_evidence;

/* n_max steps.  `of` NULL: an empty one. */
ng_status ng_evidence_init(ng_evidence *e, const ng_confidence *of, size_t n_max) NG_MUST_USE;
void ng_evidence_clear(ng_evidence *e);
/* hidden: [n_taps, n_embd] of the step's row. */
void ng_evidence_add(ng_evidence *e, const ng_distribution *d, float logprob, const float *hidden);
/* Fills e->features. */
void ng_evidence_features(ng_evidence *e, size_t n_prompt, size_t n_tokens);
/* The probability that the answer so far leads to a right one; 0 for a strange prompt, NaN without evidence or weights. */
float ng_confidence_of(ng_evidence *e, size_t n_prompt, size_t n_tokens);
/* How far first[n_taps * n_embd] is from the nearest kind, as a share of that kind's radius: above 1 it is strange.  0 where no
 * kinds are told. */
double ng_confidence_strangeness(const ng_confidence *c, const float *first);
/* Root of the mean squared distance from a kind's centre, each number by its spread. */
double ng_confidence_distance(const ng_confidence *c, size_t kind, const float *first);
/* The network's answer to normalised features z[n_features], before Platt. */
double ng_confidence_logit(const ng_confidence *c, const float *z);

#endif
