/* session_source.c: a model's tokenizer, and a session, as a source of the loop.  See source.h. */
#include "source.h"

#include <nanogrid/prefix.h>

#include <stdlib.h>
#include <string.h>

/* The prompt may come in pieces; those that are known are passed over.  Its last token never is. */
static ng_status eval(void *self, const int32_t *ids, size_t n, float *logits, ng_error *err) {
    ng_text_source *s = self;
    if (s->prompt) s->n_cached = s->skip = ng_session_recall(s->session, s->prompt, s->n_prompt - 1);
    s->prompt = NULL;
    size_t known = s->skip < n ? s->skip : n;
    s->skip -= known;
    if (s->ids) {
        memcpy(s->ids + s->n_ids, ids, n * sizeof *ids);
        s->n_ids += n;
    }
    if (known == n) return NG_OK;
    if (!s->ids || s->n_ids <= ng_session_n_ctx(s->session))
        return ng_session_eval(s->session, ids + known, n - known, logits, err);
    size_t from = ng_source_shift(s->ids, &s->n_ids, s->n_keep);
    ng_session_rewind(s->session, from);
    return ng_session_eval(s->session, s->ids + from, s->n_ids - from, logits, err);
}

static ng_status put_text(void *self, int32_t id, ng_buf *out, ng_error *err) {
    ng_text_source *s = self;
    if ((size_t)id >= ng_tokenizer_n_vocab(s->tokenizer)) return NG_OK; /* a padded embedding: no token */
    return ng_detokenizer_put(&s->detokenizer, id, out, err);
}

static ng_status flush_text(void *self, ng_buf *out) {
    return ng_detokenizer_flush(&((ng_text_source *)self)->detokenizer, out);
}

static bool is_eog(void *self, int32_t id) {
    const ng_tokenizer *t = ((ng_text_source *)self)->tokenizer;
    return t && ng_tokenizer_is_eog(t, id);
}

ng_status ng_text_source_init(ng_text_source *self, ng_source *out, const ng_model *m, ng_error *err) {
    ng_model_info info = ng_model_get_info(m);
    if (info.kind != NG_MODEL_CAUSAL)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: a model of architecture '%s' cannot generate text; it embeds",
                       info.path, info.arch);
    *self = (ng_text_source){.tokenizer = ng_model_tokenizer(m, NULL)};
    self->detokenizer.tokenizer = self->tokenizer;
    *out = (ng_source){.self = self,
                       .n_vocab = info.n_vocab,
                       .has_text = self->tokenizer != NULL,
                       .put_text = put_text,
                       .flush_text = flush_text,
                       .is_eog = is_eog};
    return NG_OK;
}

size_t ng_source_shift(int32_t *ids, size_t *n_ids, size_t n_keep) {
    size_t gone = (*n_ids - n_keep) / 2;
    memmove(ids + n_keep, ids + n_keep + gone, (*n_ids - n_keep - gone) * sizeof *ids);
    *n_ids -= gone;
    return n_keep;
}

ng_status ng_source_shift_check(const ng_generate_options *opt, size_t n_ctx, ng_error *err) {
    if (!opt->shift || opt->n_keep + (size_t)2 <= n_ctx) return NG_OK;
    return ng_fail(err, NG_EINVALID, "%u tokens to keep leave nothing to go from a context of %zu; keep fewer",
                   opt->n_keep, n_ctx);
}

/* What the session holds now, which began empty: the prompt and all new tokens but the last. */
static void keep(const ng_text_source *t, const int32_t *prompt, size_t n, const ng_generation *g) {
    int32_t *ids = t->ids ? NULL : malloc((n + g->n_tokens) * sizeof *ids);
    if (ids) {
        memcpy(ids, prompt, n * sizeof *ids);
        memcpy(ids + n, g->tokens, g->n_tokens * sizeof *ids);
    }
    if (ids || t->ids) ng_session_keep(t->session, t->ids ? t->ids : ids);
    free(ids);
}

ng_status ng_generate(ng_generation *out, ng_session *s, const int32_t *prompt, size_t n,
                      const ng_generate_options *opt, ng_error *err) {
    ng_text_source self;
    ng_source src;
    *out = (ng_generation){0};
    ng_status status = ng_text_source_init(&self, &src, ng_session_model(s), err);
    if (status) return status;
    self.session = s;
    src.eval = eval;
    src.held = ng_session_len(s);
    src.room = ng_session_n_ctx(s) - src.held;
    if (!src.held) self.prompt = prompt, self.n_prompt = n;
    src.can_shift = opt->shift && !src.held;
    if (src.can_shift) {
        self.ids = calloc(src.room + 1, sizeof *self.ids);
        self.n_keep = opt->n_keep;
        status =
            self.ids ? ng_source_shift_check(opt, src.room, err) : ng_fail(err, NG_ENOMEM, "generate: out of memory");
    }
    if (!status) status = ng_generate_from(out, &src, prompt, n, opt, err);
    if (!status) out->n_cached = self.n_cached;
    if (!status && !src.held) keep(&self, prompt, n, out);
    free(self.ids);
    return status;
}
