/* batch.h: one forward over tokens of several sequences.
 *
 *     ng_span spans[] = {{&a, 0, 3, a.len}, {&b, 3, 1, b.len}};       three tokens of a, then one of b
 *     ng_batch batch = {.tokens = ids, .n_tok = 4, .spans = spans, .n_spans = 2, .out = logits, .out_from = 2};
 *     ng_kv_reserve(&a, 3, &err);  ng_kv_reserve(&b, 1, &err);
 *     ng_session_forward(session, &batch);          logits of a's third token and of b's
 *     ng_kv_advance(&a, 3);  ng_kv_advance(&b, 1);
 *
 * Products with weights run over all rows at once, so that a weight is read once for all sequences;
 * attention runs span by span over the span's own pages.  A row's numbers depend on its own sequence
 * alone: the same bits whatever else is in the batch.
 *
 * A sequence may have several spans in one batch: that is how the last token of a prompt can stand
 * among the rows whose logits are wanted, which are the last rows. */
#ifndef NG_MODEL_BATCH_H
#define NG_MODEL_BATCH_H

#include "core/pool.h"
#include "kv.h"
#include <nanogrid/model.h>

enum { NG_BATCH_MAX = 128 }; /* rows of a forward at most: bounds a session's scratch */

/* Rows row .. row + n_tok - 1 are the tokens at positions pos .. of one sequence. */
typedef struct ng_span {
    ng_kv *kv;          /* its pages, with room for pos + n_tok tokens; encoders: NULL */
    size_t row, n_tok, pos;
    size_t first;       /* encoders: so many rows are of type 0, those behind them of type 1; 0: all are of type 0 */
} ng_span;

typedef struct ng_batch {
    const int32_t *tokens; /* [n_tok], n_tok <= the session's max_batch */
    size_t n_tok;
    const ng_span *spans;  /* [n_spans]: each row stands in exactly one, in rising order */
    size_t n_spans;
    float *out;            /* decoders: logits [n_tok - out_from, n_vocab]; encoders: vectors [n_spans, n_embd] */
    size_t out_from;       /* decoders: first row whose logits are wanted; n_tok: none */
    float *hidden;         /* encoders: the last layer [n_tok, n_embd], or NULL; decoders: what the taps see, [n_tok -
                              out_from, n_taps, n_embd] */
    const uint32_t *taps;  /* decoders: [n_taps] layers, in rising order, whose output goes to hidden too */
    size_t n_taps;
} ng_batch;

/* Runs the model's forward on all threads of the session; the session's own tokens are not touched
 * unless a span names them. */
void ng_session_forward(ng_session *s, const ng_batch *b);
/* Runs fn on the session's threads (core/pool.h): other work between forwards. */
void ng_session_run(ng_session *s, ng_pool_fn *fn, void *ctx);
/* Rows that it takes at once: min(n_ctx, NG_BATCH_MAX) of a decoder; of an encoder n_ctx, or more where
 * that is short, each sequence counted up to whole slots (attend_all.h). */
size_t ng_session_max_batch(const ng_session *s);
/* NG_EINVALID naming the first id outside the vocabulary. */
ng_status ng_check_tokens(const ng_model *m, const int32_t *tokens, size_t n, ng_error *err) NG_MUST_USE;
/* Of the pages that the model's sequences are made of by default, and the session's. */
const ng_kv_shape *ng_model_kv_shape(const ng_model *m);
const ng_kv_shape *ng_session_kv_shape(const ng_session *s);

#endif
