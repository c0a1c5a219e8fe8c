/* encode.c: sequences, or texts, to their vectors.  See nanogrid/model.h.
 *
 * Many sequences are packed, one after another without padding, into forwards of at most max_batch rows;
 * a sequence's numbers depend on it alone, so how they are packed does not change a bit. */
#include "attend_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PACK_ROWS = 256 }; /* a forward's rows where sequences are short: the weights of a layer are read once for all */

size_t ng_encode_rows(size_t n_ctx) { return n_ctx > PACK_ROWS ? n_ctx : PACK_ROWS; }

size_t ng_session_n_seq(const ng_session *s) {
    return s->model->info.n_seq_max < s->n_ctx ? s->model->info.n_seq_max : s->n_ctx;
}

static ng_status check_encoder(const ng_session *s, ng_error *err) {
    const ng_model_info *i = &s->model->info;
    if (i->kind == NG_MODEL_ENCODER) return NG_OK;
    return ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%s' is a decoder and gives no embeddings", i->path,
                   i->arch);
}

static ng_status check_sequence(const ng_session *s, const int32_t *tokens, size_t n, ng_error *err) {
    if (!n) return ng_fail(err, NG_EINVALID, "there are no tokens to encode");
    if (n > s->n_ctx)
        return ng_fail(err, NG_ELIMIT, "the text has %zu tokens, the model holds %u", n, s->n_ctx);
    return ng_check_tokens(s->model, tokens, n, err);
}

/* A matrix is not read when it is loaded; what it spoils is seen here, in vectors of texts or tokens. */
static ng_status check_vectors(const ng_session *s, const char *what, const float *v, size_t n, ng_error *err) {
    size_t n_embd = s->model->info.n_embd;
    for (size_t i = 0; i < n * n_embd; i++)
        if (!isfinite(v[i]))
            return ng_fail(err, NG_EFORMAT, "%s: the vector of %s %zu is not finite; the weights are damaged",
                           s->model->info.path, what, i / n_embd);
    return NG_OK;
}

ng_status ng_session_encode(ng_session *s, const int32_t *tokens, size_t n, float *out, ng_error *err) {
    ng_status status = check_encoder(s, err);
    if (!status) status = check_sequence(s, tokens, n, err);
    if (status) return status;
    ng_span span = {.n_tok = n};
    ng_batch b = {.tokens = tokens, .n_tok = n, .spans = &span, .n_spans = 1, .out = out};
    ng_session_forward(s, &b);
    return check_vectors(s, "text", out, 1, err);
}

ng_status ng_session_hidden(ng_session *s, const int32_t *tokens, size_t n, float *hidden, ng_error *err) {
    return ng_session_hidden_pair(s, tokens, n, 0, hidden, err);
}

static ng_status hidden_of(ng_session *s, const int32_t *tokens, ng_span span, float *hidden, float *pooled,
                           ng_error *err) {
    ng_status status = check_encoder(s, err);
    if (!status) status = check_sequence(s, tokens, span.n_tok, err);
    if (status) return status;
    ng_batch b = {.tokens = tokens, .n_tok = span.n_tok, .spans = &span, .n_spans = 1, .hidden = hidden, .out = pooled};
    ng_session_forward(s, &b);
    return check_vectors(s, "token", hidden, span.n_tok, err);
}

ng_status ng_session_hidden_pair(ng_session *s, const int32_t *tokens, size_t n, size_t n_first, float *hidden,
                                 ng_error *err) {
    return hidden_of(s, tokens, (ng_span){.n_tok = n, .first = n_first}, hidden, NULL, err);
}

ng_status ng_session_hidden_pooled(ng_session *s, const int32_t *tokens, size_t n, float *hidden, float *pooled,
                                   ng_error *err) {
    return hidden_of(s, tokens, (ng_span){.n_tok = n}, hidden, pooled, err);
}

/* ---- many sequences ------------------------------------------------------------------------------- */

typedef struct pack {
    ng_session *s;
    int32_t *ids;   /* [max_batch] */
    ng_span *spans; /* [max_batch / NG_ATTEND_SLOT, rounded up] */
    size_t n_tok, n_spans, slots;
    float *out;     /* of the first sequence that is not done yet */
} pack;

static ng_status pack_init(pack *p, ng_session *s, float *out, ng_error *err) {
    size_t slots = ng_attend_slots(s->max_batch);
    *p = (pack){.s = s, .out = out};
    p->ids = malloc(slots * sizeof *p->ids);
    p->spans = malloc(slots / NG_ATTEND_SLOT * sizeof *p->spans);
    return p->ids && p->spans ? NG_OK : ng_fail(err, NG_ENOMEM, "encoder: out of memory");
}

static void pack_clear(pack *p) {
    free(p->ids);
    free(p->spans);
}

static void pack_run(pack *p) {
    if (!p->n_spans) return;
    ng_batch b = {.tokens = p->ids, .n_tok = p->n_tok, .spans = p->spans, .n_spans = p->n_spans, .out = p->out};
    ng_session_forward(p->s, &b);
    p->out += p->n_spans * p->s->model->info.n_embd;
    p->n_tok = p->n_spans = p->slots = 0;
}

/* A sequence that check_sequence has passed. */
static void pack_add(pack *p, const int32_t *ids, size_t n) {
    if (p->slots + ng_attend_slots(n) > ng_attend_slots(p->s->max_batch) || p->n_tok + n > p->s->max_batch) pack_run(p);
    memcpy(p->ids + p->n_tok, ids, n * sizeof *ids);
    p->spans[p->n_spans++] = (ng_span){.row = p->n_tok, .n_tok = n};
    p->n_tok += n;
    p->slots += ng_attend_slots(n);
}

ng_status ng_session_encode_batch(ng_session *s, const ng_sequence *seqs, size_t n, float *out, ng_error *err) {
    pack p = {0};
    ng_status status = check_encoder(s, err);
    for (size_t i = 0; !status && i < n; i++) {
        ng_error why = {0};
        status = check_sequence(s, seqs[i].ids, seqs[i].n, &why);
        if (status) ng_fail(err, status, "sequence %zu: %s", i, why.text);
    }
    if (!status) status = pack_init(&p, s, out, err);
    for (size_t i = 0; !status && i < n; i++) pack_add(&p, seqs[i].ids, seqs[i].n);
    if (!status) pack_run(&p);
    if (!status) status = check_vectors(s, "text", out, n, err);
    pack_clear(&p);
    return status;
}

/* ---- texts ---------------------------------------------------------------------------------------- */

/* Cuts to `most` tokens and keeps the closing [SEP], as sentence-transformers does. */
static size_t cut(const ng_tokenizer *t, int32_t *ids, size_t n, size_t most) {
    if (n <= most) return n;
    if (ids[n - 1] == ng_tokenizer_eos(t)) ids[most - 1] = ids[n - 1];
    return most;
}

static ng_status add_text(pack *p, const ng_tokenizer *t, ng_embed_text *text, bool truncate, ng_error *err) {
    const ng_session *s = p->s;
    size_t n;
    int32_t *ids;
    ng_status status =
        ng_tokenize(t, text->data, text->len, &(ng_tokenize_options){.add_special = true}, &ids, &n, err);
    if (status) return status;
    text->n_tokens = n;
    if (n > s->n_ctx && !truncate)
        status = ng_fail(err, NG_ELIMIT,
                         "the text has %zu tokens, the model holds %u; ask for truncation or shorten it", n, s->n_ctx);
    n = cut(t, ids, n, ng_session_n_seq(s));
    if (!status) status = check_sequence(s, ids, n, err);
    if (!status) pack_add(p, ids, n);
    free(ids);
    return status;
}

ng_status ng_session_embed_batch(ng_session *s, ng_embed_text *texts, size_t n, bool truncate, float *out,
                                 ng_error *err) {
    ng_error why = {0};
    pack p = {0};
    const ng_tokenizer *t = NULL;
    for (size_t i = 0; i < n; i++) texts[i].failed = false;
    ng_status status = check_encoder(s, err);
    if (!status && !(t = ng_model_tokenizer(s->model, &why))) status = ng_fail(err, why.code, "%s", why.text);
    if (!status) status = pack_init(&p, s, out, err);
    for (size_t i = 0; !status && i < n; i++) {
        status = add_text(&p, t, &texts[i], truncate, err);
        texts[i].failed = status != NG_OK;
    }
    if (!status) pack_run(&p);
    if (!status) status = check_vectors(s, "text", out, n, err);
    pack_clear(&p);
    return status;
}

ng_status ng_session_embed(ng_session *s, const char *text, size_t len, bool truncate, float *out,
                           size_t *n_tokens, ng_error *err) {
    ng_embed_text one = {.data = text, .len = len};
    ng_status status = ng_session_embed_batch(s, &one, 1, truncate, out, err);
    if (n_tokens) *n_tokens = one.n_tokens;
    return status;
}
