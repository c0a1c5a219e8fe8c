/* encode.c: a sequence, or a text, to its vector.  See nanogrid/model.h. */
#include "arch.h"

#include <stdlib.h>

static ng_status check_encoder(const ng_session *s, ng_error *err) {
    const ng_model_info *i = &s->model->info;
    if (i->kind == NG_MODEL_ENCODER) return NG_OK;
    return ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%s' is a decoder and gives no embeddings", i->path, i->arch);
}

ng_status ng_session_encode(ng_session *s, const int32_t *tokens, size_t n, float *out, ng_error *err) {
    ng_status status = check_encoder(s, err);
    if (status) return status;
    if (!n) return ng_fail(err, NG_EINVALID, "there are no tokens to encode");
    if (n > s->n_ctx)
        return ng_fail(err, NG_ELIMIT, "the text has %zu tokens, the model holds %u", n, s->n_ctx);
    if ((status = ng_check_tokens(s->model, tokens, n, err))) return status;
    ng_span span = {.n_tok = n};
    ng_batch b = {.tokens = tokens, .n_tok = n, .spans = &span, .n_spans = 1, .out = out};
    ng_session_forward(s, &b);
    return NG_OK;
}

ng_status ng_session_hidden(ng_session *s, const int32_t *tokens, size_t n, float *hidden, ng_error *err) {
    ng_status status = check_encoder(s, err);
    if (status) return status;
    if (!n || n > s->n_ctx)
        return ng_fail(err, n ? NG_ELIMIT : NG_EINVALID, "the text has %zu tokens, the model holds 1 to %u", n, s->n_ctx);
    if ((status = ng_check_tokens(s->model, tokens, n, err))) return status;
    ng_span span = {.n_tok = n};
    ng_batch b = {.tokens = tokens, .n_tok = n, .spans = &span, .n_spans = 1, .hidden = hidden};
    ng_session_forward(s, &b);
    return NG_OK;
}

/* Cuts to `most` tokens and keeps the closing [SEP], as sentence-transformers does. */
static size_t cut(const ng_tokenizer *t, int32_t *ids, size_t n, size_t most) {
    if (n <= most) return n;
    if (ids[n - 1] == ng_tokenizer_eos(t)) ids[most - 1] = ids[n - 1];
    return most;
}

ng_status ng_session_embed(ng_session *s, const char *text, size_t len, bool truncate, float *out,
                           size_t *n_tokens, ng_error *err) {
    ng_error why = {0};
    ng_status status = check_encoder(s, err);
    if (status) return status;
    const ng_tokenizer *t = ng_model_tokenizer(s->model, &why);
    if (!t) return ng_fail(err, why.code, "%s", why.text);
    int32_t *ids;
    size_t n, most = s->model->info.n_seq_max < s->n_ctx ? s->model->info.n_seq_max : s->n_ctx;
    status = ng_tokenize(t, text, len, &(ng_tokenize_options){.add_special = true}, &ids, &n, err);
    if (status) return status;
    if (n_tokens) *n_tokens = n;
    if (n > s->n_ctx && !truncate)
        status = ng_fail(err, NG_ELIMIT, "the text has %zu tokens, the model holds %u; ask for truncation or shorten it", n, s->n_ctx);
    else status = ng_session_encode(s, ids, cut(t, ids, n, most), out, err);
    free(ids);
    return status;
}
