/* run.c: picks, tells, ends.  See run.h.
 *
 * A token's event is sent before the token is evaluated, so the reader sees it a whole step earlier,
 * and so the last token is never evaluated: what follows it is not wanted.
 *
 * The text that events carry is final: characters are whole (the source's detokenizer holds back
 * bytes of an unfinished one) and no stop text can begin in it (stop.h). */
#include "run.h"

#include "core/checked.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 64 << 20, TEXT_PER_TOKEN = 8 };

static ng_status check(const ng_source *src, const int32_t *prompt, size_t n,
                       const ng_generate_options *opt, ng_error *err) {
    ng_status s = ng_generate_options_check(opt, err);
    if (s) return s;
    if (!n) return ng_fail(err, NG_EINVALID, "the prompt is empty");
    if (opt->n_stop && !src->has_text)
        return ng_fail(err, NG_EUNSUPPORTED, "stop texts need a tokenizer, and this model has none that is supported");
    for (size_t i = 0; i < n; i++)
        if (prompt[i] < 0 || (size_t)prompt[i] >= src->n_vocab)
            return ng_fail(err, NG_EINVALID, "token %d at %zu lies outside the vocabulary of %zu",
                           (int)prompt[i], i, src->n_vocab);
    if (n >= src->room)
        return ng_fail(err, NG_ELIMIT,
                       "the prompt of %zu tokens leaves no room for an answer: the context holds %zu, %zu are in use",
                       n, src->held + src->room, src->held);
    return NG_OK;
}

static ng_status prepare(ng_run *r, const int32_t *prompt, size_t n, ng_error *err) {
    const ng_generate_options *o = r->opt;
    ng_generation *g = &r->g;
    size_t n_top = o->n_top < r->src->n_vocab ? o->n_top : r->src->n_vocab, top_cells;
    r->n_max = o->n_predict < r->src->room - n || r->src->can_shift ? o->n_predict : r->src->room - n;
    if (!ng_mul_ok(&top_cells, r->n_max, n_top)) return ng_fail(err, NG_ENOMEM, "generate: out of memory");
    ng_status s = ng_sampler_init(&r->sampler, o, r->src->n_vocab, err);
    if (s) return s;
    ng_stop_init(&r->stop, o->stop, o->n_stop);
    r->text = ng_buf_init(TEXT_MAX);
    if (r->src->has_text && r->n_max < TEXT_MAX / TEXT_PER_TOKEN)
        ng_buf_reserve(&r->text, r->n_max * TEXT_PER_TOKEN);
    g->tokens = calloc(r->n_max, sizeof *g->tokens);
    g->logprobs = calloc(r->n_max, sizeof *g->logprobs);
    r->entropy = calloc(r->n_max, sizeof *r->entropy);
    r->margin = calloc(r->n_max, sizeof *r->margin);
    g->top = top_cells ? calloc(top_cells, sizeof *g->top) : NULL;
    s = ng_evidence_init(&r->evidence, r->src->confidence, r->n_max + 1);
    g->n_top = n_top;
    g->n_prompt = n;
    bool ok = !s && !r->text.status && g->tokens && g->logprobs && r->entropy && r->margin && (!top_cells || g->top);
    if (!ok)
        return ng_fail(err, NG_ENOMEM, "generate: out of memory for %zu tokens", r->n_max);
    for (size_t i = 0; i < n; i++) ng_sampler_see(&r->sampler, prompt[i]);
    return NG_OK;
}

/* Sends what became final of the text, and the token when there is one; false: the reader stops. */
static bool tell(ng_run *r, ng_token_event *e, size_t sure) {
    e->text = r->text.data + r->shown;
    e->len = sure - r->shown;
    r->shown = sure;
    return !r->opt->on_token || r->opt->on_token(r->opt->on_token_ctx, e);
}

/* Adds the token's text; *sure is how much of all text is final, *hit whether a stop text came. */
static ng_status add_text(ng_run *r, int32_t id, bool last, size_t *sure, bool *hit, ng_error *err) {
    *sure = 0;
    *hit = false;
    if (!r->src->has_text) return NG_OK;
    ng_status s = r->src->put_text(r->src->self, id, &r->text, err);
    if (s) return s;
    *hit = ng_stop_scan(&r->stop, r->text.data, r->text.len, sure);
    if (last && !*hit) {
        r->src->flush_text(r->src->self, &r->text);
        *hit = ng_stop_scan(&r->stop, r->text.data, r->text.len, sure);
        if (!*hit) *sure = r->text.len;
    }
    return r->text.status ? ng_fail(err, r->text.status, "generate: the text: %s", ng_status_text(r->text.status))
                          : NG_OK;
}

/* An end-of-generation id came: what was held back belongs to the answer after all. */
static ng_status end_text(ng_run *r, ng_error *err) {
    if (!r->src->has_text) return NG_OK;
    r->src->flush_text(r->src->self, &r->text);
    if (r->text.status) return ng_fail(err, r->text.status, "generate: the text: %s", ng_status_text(r->text.status));
    ng_token_event e = {.id = -1, .confidence = NAN};
    if (r->text.len > r->shown) tell(r, &e, r->text.len);
    return NG_OK;
}

static ng_status read_distribution(const ng_run *r, const float *logits, ng_distribution *d, ng_error *err) {
    ng_status s = ng_distribution_read(d, logits, r->src->n_vocab);
    return s ? ng_fail(err, s,
                       "generate: the model's logits are not finite after %zu new tokens; its weights are damaged",
                       r->g.n_tokens)
             : NG_OK;
}

ng_status ng_run_step(ng_run *r, const float *logits, const float *hidden, bool *more, ng_error *err) {
    ng_generation *g = &r->g;
    ng_distribution d;
    ng_status s = read_distribution(r, logits, &d, err);
    if (s) return s;
    size_t i = g->n_tokens, sure;
    ng_token_prob *top = g->n_top ? g->top + i * g->n_top : NULL;
    ng_distribution_top(&d, logits, r->src->n_vocab, top, g->n_top);
    int32_t id = ng_sampler_pick(&r->sampler, logits, &d);
    *more = false;
    ng_evidence_add(&r->evidence, &d, logits[id] - d.log_z, hidden);
    if (!r->opt->ignore_eog && r->src->is_eog(r->src->self, id)) {
        g->finish = "stop";
        r->eog = true;
        return end_text(r, err);
    }
    ng_sampler_accept(&r->sampler, id);
    g->tokens[g->n_tokens++] = id;
    g->logprobs[i] = logits[id] - d.log_z;
    r->entropy[i] = d.entropy;
    r->margin[i] = d.margin;
    bool last = g->n_tokens == r->n_max, hit;
    if ((s = add_text(r, id, last, &sure, &hit, err))) return s;
    ng_token_event e = {.id = id, .logprob = g->logprobs[i], .top = top, .n_top = g->n_top, .confidence = NAN};
    if (r->opt->on_token && g->n_tokens % NG_CONFIDENCE_EVERY == 0)
        e.confidence = ng_confidence_of(&r->evidence, g->n_prompt, g->n_tokens);
    bool go_on = tell(r, &e, sure);
    g->finish = hit ? "stop" : last ? "length" : go_on ? NULL : "cancelled";
    *more = !g->finish;
    return NG_OK;
}

ng_status ng_run_begin(ng_run *r, const ng_source *src, const int32_t *prompt, size_t n,
                       const ng_generate_options *opt, ng_error *err) {
    *r = (ng_run){.src = src, .opt = opt};
    ng_status s = check(src, prompt, n, opt, err);
    return s ? s : prepare(r, prompt, n, err);
}

void ng_run_cut(ng_run *r, size_t n, size_t shown) {
    if (n < r->g.n_tokens) r->g.n_tokens = n;
    if (shown < r->shown) r->shown = shown;
}

/* The mean of v[n]; NaN of nothing. */
static float mean(const float *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i];
    return n ? (float)(sum / (double)n) : NAN;
}

ng_status ng_run_end(ng_run *r, ng_generation *out, ng_error *err) {
    ng_generation *g = &r->g;
    size_t n = g->n_tokens;
    g->mean_logprob = mean(g->logprobs, n);
    g->mean_entropy = mean(r->entropy, n);
    g->mean_margin = mean(r->margin, n);
    g->confidence = ng_confidence_of(&r->evidence, g->n_prompt, n);
    g->min_logprob = n ? g->logprobs[0] : NAN;
    for (size_t i = 1; i < n; i++)
        if (g->logprobs[i] < g->min_logprob) g->min_logprob = g->logprobs[i];
    if (ng_buf_reserve(&r->text, 1)) return ng_fail(err, NG_ENOMEM, "generate: out of memory");
    r->text.data[r->shown] = 0; /* a stop text, and what a cancelled answer still held back, go */
    r->text.len = r->shown;
    g->text_len = r->shown;
    g->text = ng_buf_take(&r->text);
    if (!g->text) return ng_fail(err, NG_ENOMEM, "generate: out of memory");
    *out = *g;
    *g = (ng_generation){0};
    return NG_OK;
}

void ng_run_clear(ng_run *r) {
    ng_generation_clear(&r->g);
    free(r->entropy);
    free(r->margin);
    ng_evidence_clear(&r->evidence);
    ng_buf_clear(&r->text);
    ng_sampler_clear(&r->sampler);
    *r = (ng_run){0};
}


void ng_generation_clear(ng_generation *g) {
    free(g->tokens);
    free(g->logprobs);
    free(g->top);
    free(g->text);
    *g = (ng_generation){0};
}
