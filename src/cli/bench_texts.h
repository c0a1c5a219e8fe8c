/* bench_texts.h: texts of a given number of tokens, so that an encoder's time can include the tokenizer's.
 *
 *     bench_texts t = {0};
 *     if (bench_texts_make(&t, model, 32, 16, &err)) ..        32 texts of 16 tokens, [CLS] and [SEP] among them
 *     ng_session_embed_batch(s, t.texts, t.n, false, out, &err);
 *     bench_texts_clear(&t); */
#ifndef NG_CLI_BENCH_TEXTS_H
#define NG_CLI_BENCH_TEXTS_H

#include <nanogrid/buf.h>
#include <nanogrid/model.h>

typedef struct bench_texts {
    ng_embed_text *texts; /* [n]; NULL: this model has no such texts */
    size_t n;
    ng_buf bytes;
} bench_texts;

/* Words of one token each, spread over the vocabulary, always the same.  Without a tokenizer, or where N
 * tokens cannot be made of such words, t->texts stays NULL: that is no error. */
ng_status bench_texts_make(bench_texts *t, const ng_model *m, size_t n_texts, size_t n_tok, ng_error *err) NG_MUST_USE;
void bench_texts_clear(bench_texts *t);

#endif
