/* session_source.c: a model's tokenizer, and a session, as a source of the loop.  See source.h. */
#include "source.h"

static ng_status eval(void *self, const int32_t *ids, size_t n, float *logits, ng_error *err) {
    return ng_session_eval(((ng_text_source *)self)->session, ids, n, logits, err);
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
        return ng_fail(err, NG_EUNSUPPORTED, "%s: a model of architecture '%s' cannot generate text; it embeds", info.path,
                       info.arch);
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
    return ng_generate_from(out, &src, prompt, n, opt, err);
}
