/* pair_score.c: see pair_score.h. */
#include "pair_score.h"

#include "summary_input.h"
#include <stdlib.h>

ng_status ng_pair_scorer_init(ng_pair_scorer *out, ng_session *session, const ng_encoder_head *head, ng_error *err) {
    const ng_model *m = ng_session_model(session);
    ng_error why = {0};
    *out = (ng_pair_scorer){.session = session, .head = head, .n_most = ng_session_n_seq(session)};
    if (!(out->tokenizer = ng_model_tokenizer(m, &why))) return ng_fail(err, why.code, "%s", why.text);
    out->hidden = malloc(out->n_most * head->width * sizeof *out->hidden);
    return out->hidden ? NG_OK : ng_fail(err, NG_ENOMEM, "%s: out of memory", ng_model_get_info(m).path);
}

void ng_pair_scorer_clear(ng_pair_scorer *s) {
    free(s->hidden);
    *s = (ng_pair_scorer){0};
}

ng_status ng_pair_score(const ng_pair_scorer *s, const ng_text_pair *pair, float *p, size_t *n_tok, ng_error *err) {
    ng_pair_ids x;
    float z[2];
    ng_status st = ng_pair_ids_new(&x, s->tokenizer, pair, s->n_most, err);
    if (st) return st;
    st = ng_session_hidden_pair(s->session, x.ids, x.n, x.n_first, s->hidden, err);
    free(x.ids);
    if (st) return st;
    if (n_tok) *n_tok += x.n;
    ng_encoder_head_logits(s->head, s->hidden, x.n, z);
    ng_encoder_head_decide(s->head, z, z);
    *p = z[1];
    return NG_OK;
}

ng_status ng_pair_score_sentences(const ng_pair_scorer *s, const char *text, size_t len, const ng_span *at, size_t n,
                                  double *scores, ng_error *err) {
    ng_buf b = ng_buf_init(1 << 24);
    ng_status st = NG_OK;
    for (size_t i = 0; !st && i < n; i++) {
        float p = 0;
        if (ng_summary_sentence(&b, i, n, text + at[i].start, at[i].end - at[i].start))
            st = ng_fail(err, NG_ENOMEM, "summarize: out of memory");
        if (!st) st = ng_pair_score(s, &(ng_text_pair){b.data, b.len, text, len}, &p, NULL, err);
        scores[i] = (double)p;
    }
    ng_buf_clear(&b);
    return st;
}
