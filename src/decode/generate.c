/* generate.c: the decode loop over one source: evaluate, step, again.  See nanogrid/generate.h and run.h.
 *
 * Everything that a token needs is taken from the heap before the first one. */
#include "run.h"

#include "core/clock.h"

#include <stdlib.h>

enum { PROMPT_PIECE = 256 };

/* The whole prompt at once, or, when somebody may leave meanwhile, in pieces with a question before
 * each; the logits are the same bits either way.  *more is false when nobody waits any longer. */
static ng_status read_prompt(ng_run *r, const int32_t *prompt, size_t n, float *logits, bool *more, ng_error *err) {
    size_t piece = r->opt->abandoned ? PROMPT_PIECE : n;
    ng_status s = NG_OK;
    for (size_t at = 0; at < n && !s; at += piece) {
        if (r->opt->abandoned && r->opt->abandoned(r->opt->abandoned_ctx)) {
            r->g.finish = "cancelled";
            *more = false;
            return NG_OK;
        }
        s = r->src->eval(r->src->self, prompt + at, n - at < piece ? n - at : piece, logits, err);
    }
    return s;
}

static ng_status loop(ng_run *r, const int32_t *prompt, size_t n, float *logits, ng_error *err) {
    double t0 = ng_clock_ms();
    bool more = true;
    ng_status s = read_prompt(r, prompt, n, logits, &more, err);
    if (s) return s;
    double t1 = ng_clock_ms();
    r->g.prompt_ms = t1 - t0;
    while (more && !s) {
        s = ng_run_step(r, logits, NULL, &more, err);
        if (s || !more) break;
        int32_t last = ng_run_last(r);
        s = r->src->eval(r->src->self, &last, 1, logits, err);
    }
    r->g.predicted_ms = ng_clock_ms() - t1;
    return s;
}

ng_status ng_generate_from(ng_generation *out, const ng_source *src, const int32_t *prompt, size_t n,
                           const ng_generate_options *opt, ng_error *err) {
    ng_run r;
    *out = (ng_generation){0};
    ng_status s = ng_run_begin(&r, src, prompt, n, opt, err);
    float *logits = s ? NULL : calloc(src->n_vocab, sizeof *logits);
    if (!s && !logits) s = ng_fail(err, NG_ENOMEM, "generate: out of memory");
    if (!s) s = loop(&r, prompt, n, logits, err);
    if (!s) s = ng_run_end(&r, out, err);
    free(logits);
    ng_run_clear(&r);
    return s;
}
