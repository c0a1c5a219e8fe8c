/* session_source.c: ng_generate(): a session and its model's tokenizer as a source of the loop. */
#include "source.h"

typedef struct session_source {
    ng_session *session;
    const ng_tokenizer *tokenizer;
    ng_detokenizer detokenizer;
} session_source;

static ng_status eval(void *self, const int32_t *ids, size_t n, float *logits, ng_error *err) {
    return ng_session_eval(((session_source *)self)->session, ids, n, logits, err);
}

static ng_status put_text(void *self, int32_t id, ng_buf *out, ng_error *err) {
    session_source *s = self;
    if ((size_t)id >= ng_tokenizer_n_vocab(s->tokenizer)) return NG_OK; /* a padded embedding: no token */
    return ng_detokenizer_put(&s->detokenizer, id, out, err);
}

static ng_status flush_text(void *self, ng_buf *out) {
    return ng_detokenizer_flush(&((session_source *)self)->detokenizer, out);
}

static bool is_eog(void *self, int32_t id) {
    const ng_tokenizer *t = ((session_source *)self)->tokenizer;
    return t && ng_tokenizer_is_eog(t, id);
}

ng_status ng_generate(ng_generation *out, ng_session *s, const int32_t *prompt, size_t n,
                      const ng_generate_options *opt, ng_error *err) {
    const ng_model *m = ng_session_model(s);
    ng_model_info info = ng_model_get_info(m);
    *out = (ng_generation){0};
    if (info.kind != NG_MODEL_CAUSAL)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: a model of architecture '%s' cannot generate text; it embeds", info.path,
                       info.arch);
    session_source self = {.session = s, .tokenizer = ng_model_tokenizer(m, NULL)};
    self.detokenizer.tokenizer = self.tokenizer;
    ng_source src = {.self = &self,
                     .n_vocab = info.n_vocab,
                     .held = ng_session_len(s),
                     .room = ng_session_n_ctx(s) - ng_session_len(s),
                     .has_text = self.tokenizer != NULL,
                     .eval = eval,
                     .put_text = put_text,
                     .flush_text = flush_text,
                     .is_eog = is_eog};
    return ng_generate_from(out, &src, prompt, n, opt, err);
}
