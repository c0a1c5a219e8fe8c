/* sampler.h: from logits to one token.
 *
 *     ng_sampler s;
 *     ng_sampler_init(&s, &options, n_vocab, &err);
 *     ng_sampler_see(&s, prompt[i]);                  for repeat_penalty
 *     int32_t id = ng_sampler_pick(&s, logits, &d);
 *     ng_sampler_accept(&s, id);
 *     ng_sampler_clear(&s);
 *
 * The order of the steps: penalties, top_k, top_p, min_p, temperature, draw.  repeat_penalty counts
 * the prompt and the new tokens, frequency_penalty and presence_penalty the new tokens only (as
 * OpenAI describes them).  No call after init touches the heap. */
#ifndef NG_DECODE_SAMPLER_H
#define NG_DECODE_SAMPLER_H

#include "core/hash.h"
#include "distribution.h"

typedef struct ng_candidate {
    float logit;
    int32_t id;
} ng_candidate;

typedef struct ng_sampler {
    float temp, top_p, min_p, repeat, frequency, presence;
    size_t top_k, n_vocab;
    ng_rng rng;
    float *work;         /* [n_vocab] logits after penalties; NULL for plain greedy */
    ng_candidate *cand;  /* [n_vocab]; NULL when greedy */
    uint32_t *count;     /* [n_vocab] times generated; NULL without penalties */
    bool *seen;          /* [n_vocab] in the prompt or generated */
    int32_t *seen_ids;   /* [n_seen] */
    size_t n_seen;
} ng_sampler;

/* `o` has passed ng_generate_options_check.  On failure *s is cleared. */
ng_status ng_sampler_init(ng_sampler *s, const ng_generate_options *o, size_t n_vocab,
                          ng_error *err) NG_MUST_USE;
void ng_sampler_clear(ng_sampler *s);
/* A token of the prompt (an id in the vocabulary). */
void ng_sampler_see(ng_sampler *s, int32_t id);
/* A token that was generated. */
void ng_sampler_accept(ng_sampler *s, int32_t id);
/* Picks from logits[n_vocab], of which `d` was read. */
int32_t ng_sampler_pick(ng_sampler *s, const float *logits, const ng_distribution *d);

#endif
