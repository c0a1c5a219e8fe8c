/* run.h: one generation in progress: everything of the decode loop but the evaluation of tokens.
 *
 *     ng_run r;
 *     ng_run_begin(&r, &source, prompt, n, &options, &err);     checks, and takes all memory
 *     .. evaluate the prompt ..
 *     do {
 *         ng_run_step(&r, logits, &more, &err);                 picks a token and tells on_token
 *         .. evaluate ng_run_last(&r) if more ..
 *     } while (more);
 *     ng_run_end(&r, &generation, &err);
 *     ng_run_clear(&r);                                         always
 *
 * ng_generate() drives one of these with a session, the scheduler many with one batch.  A run belongs
 * to one thread at a time.  No step touches the heap, but for the text, which may grow in doublings. */
#ifndef NG_DECODE_RUN_H
#define NG_DECODE_RUN_H

#include "confidence.h"
#include "sampler.h"
#include "source.h"
#include "stop.h"

typedef struct ng_run {
    const ng_source *src;
    const ng_generate_options *opt;
    ng_generation g;      /* tokens, logprobs, top: whole from the start, n_tokens of them are written */
    ng_sampler sampler;
    ng_stop stop;
    ng_buf text;
    float *entropy, *margin; /* [n_max] of each step's distribution */
    ng_evidence evidence;    /* for a confidence, where the source has one */
    size_t n_max;            /* most new tokens */
    size_t shown;            /* bytes of text that events carried */
    bool eog;                /* an end-of-generation id ended it, not the last token */
} ng_run;

/* Source and options are borrowed until ng_run_clear, the prompt only for the call.  NG_EINVALID,
 * NG_EUNSUPPORTED (stop texts without a tokenizer), NG_ELIMIT (no room), NG_ENOMEM; *r may then be cleared. */
ng_status ng_run_begin(ng_run *r, const ng_source *src, const int32_t *prompt, size_t n,
                       const ng_generate_options *opt, ng_error *err) NG_MUST_USE;
/* One token from logits[n_vocab], and what the taps saw in their row (source.h), or NULL.  *more false: it has ended, and
 * r->g.finish says how. */
ng_status ng_run_step(ng_run *r, const float *logits, const float *hidden, bool *more, ng_error *err) NG_MUST_USE;
static inline int32_t ng_run_last(const ng_run *r) { return r->g.tokens[r->g.n_tokens - 1]; }
/* Forgets all tokens after the first n and all text after `shown` bytes: what a reader who stopped has
 * not seen. */
void ng_run_cut(ng_run *r, size_t n, size_t shown);
/* Moves the result to *out, with its sums; r->g.finish is set. */
ng_status ng_run_end(ng_run *r, ng_generation *out, ng_error *err) NG_MUST_USE;
void ng_run_clear(ng_run *r);

#endif
