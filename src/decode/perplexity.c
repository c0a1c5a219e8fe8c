/* perplexity.c: -log p and KL divergence over a text, in chunks.  See nanogrid/perplexity.h.
 *
 * A window's logits would be 400 MB at 2,048 positions of 49,152, so a window is evaluated in chunks of
 * 64 positions; the session's results do not depend on the chunking.  Sums are doubles in text order. */
#include <nanogrid/perplexity.h>

#include "core/math.h"
#include "distribution.h"

#include <math.h>
#include <stdlib.h>

enum { CHUNK = 64 };

typedef struct meter {
    const ng_perplexity_options *opt;
    size_t n_vocab;
    float *logits, *base; /* [CHUNK, n_vocab] */
    double nll, kl;
    size_t scored, agree;
} meter;

static ng_status damaged(ng_status s, size_t at, ng_error *err) {
    return ng_fail(err, s, "perplexity: the logits after token %zu are not finite; the weights are damaged", at);
}

/* KL(p || q) of base logits b and model logits x. */
static double divergence(const float *b, const ng_distribution *db, const float *x, const ng_distribution *dx,
                         size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double lp = (double)b[i] - (double)db->log_z;
        if (lp > -60) sum += ng_exp(lp) * (lp - ((double)x[i] - (double)dx->log_z));
    }
    return sum > 0 ? sum : 0; /* rounding may leave -1e-9 for equal models */
}

/* Scores position `at`, whose logits stand in row `row`. */
static ng_status score(meter *m, size_t row, size_t at, ng_error *err) {
    const float *x = m->logits + row * m->n_vocab, *b = m->base ? m->base + row * m->n_vocab : NULL;
    ng_distribution dx, db;
    ng_status s = ng_distribution_read(&dx, x, m->n_vocab);
    if (!s && b) s = ng_distribution_read(&db, b, m->n_vocab);
    if (s) return damaged(s, at, err);
    m->nll -= (double)x[m->opt->ids[at + 1]] - (double)dx.log_z;
    m->scored++;
    if (!b) return NG_OK;
    m->kl += divergence(b, &db, x, &dx, m->n_vocab);
    m->agree += db.best == dx.best;
    return NG_OK;
}

static ng_status window(meter *m, size_t begin, size_t end, ng_error *err) {
    const ng_perplexity_options *o = m->opt;
    ng_session_rewind(o->session, 0);
    if (o->base) ng_session_rewind(o->base, 0);
    for (size_t at = begin; at + 1 < end; at += CHUNK) {
        size_t n = end - at < CHUNK ? end - at : CHUNK;
        ng_status s = ng_session_eval_all(o->session, o->ids + at, n, m->logits, err);
        if (!s && o->base) s = ng_session_eval_all(o->base, o->ids + at, n, m->base, err);
        for (size_t i = 0; !s && i < n && at + i + 1 < end; i++) s = score(m, i, at + i, err);
        if (s) return s;
        if (o->progress) o->progress(o->ctx, at + n, o->n);
    }
    return NG_OK;
}

static ng_status check(const ng_perplexity_options *o, size_t n_vocab, ng_error *err) {
    if (o->n < 2) return ng_fail(err, NG_EINVALID, "perplexity needs at least 2 tokens, the text has %zu", o->n);
    for (size_t i = 0; i < o->n; i++)
        if (o->ids[i] < 0 || (size_t)o->ids[i] >= n_vocab)
            return ng_fail(err, NG_EINVALID, "token %d at %zu lies outside the vocabulary of %zu", (int)o->ids[i], i,
                           n_vocab);
    if (!o->base) return NG_OK;
    size_t other = ng_model_get_info(ng_session_model(o->base)).n_vocab;
    if (other != n_vocab)
        return ng_fail(err, NG_EINVALID, "the models differ in vocabulary: %zu and %zu tokens", n_vocab, other);
    if (ng_session_n_ctx(o->base) < ng_session_n_ctx(o->session))
        return ng_fail(err, NG_EINVALID, "the base model's context of %u tokens is shorter than %u",
                       (unsigned)ng_session_n_ctx(o->base), (unsigned)ng_session_n_ctx(o->session));
    return NG_OK;
}

ng_status ng_perplexity_measure(ng_perplexity *out, const ng_perplexity_options *o, ng_error *err) {
    ng_model_info info = ng_model_get_info(ng_session_model(o->session));
    meter m = {.opt = o, .n_vocab = info.n_vocab};
    size_t n_ctx = ng_session_n_ctx(o->session);
    *out = (ng_perplexity){.kld_mean = NAN, .top1_agree = NAN};
    if (info.kind != NG_MODEL_CAUSAL)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: a model of architecture '%s' predicts no tokens", info.path,
                       info.arch);
    ng_status s = check(o, m.n_vocab, err);
    if (s) return s;
    m.logits = calloc(CHUNK * m.n_vocab, sizeof *m.logits);
    if (o->base) m.base = calloc(CHUNK * m.n_vocab, sizeof *m.base);
    if (!m.logits || (o->base && !m.base)) s = ng_fail(err, NG_ENOMEM, "perplexity: out of memory");
    for (size_t at = 0; !s && at + 1 < o->n; at += n_ctx) {
        size_t end = o->n - at < n_ctx ? o->n : at + n_ctx;
        s = window(&m, at, end, err);
        out->n_windows++;
    }
    free(m.logits);
    free(m.base);
    if (s) return s;
    double n = (double)m.scored;
    out->n_scored = m.scored;
    out->ppl = ng_exp(m.nll / n);
    if (o->base) out->kld_mean = m.kl / n, out->top1_agree = (double)m.agree / n;
    return NG_OK;
}
