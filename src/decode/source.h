/* source.h: what the decode loop needs of a model: logits for tokens, text for ids.
 *
 * ng_generate() fills it from a session; tests fill it with a script, so that every rule of the loop
 * is tested without weights. */
#ifndef NG_DECODE_SOURCE_H
#define NG_DECODE_SOURCE_H

#include <nanogrid/buf.h>
#include <nanogrid/generate.h>

typedef struct ng_source {
    void *self;
    size_t n_vocab;
    size_t room;   /* tokens that may still be evaluated */
    size_t held;   /* tokens held before, for messages */
    bool can_shift; /* it makes room when it is full */
    const struct ng_confidence *confidence; /* what judges its generations, or NULL; whoever evaluates then gives the run what
                                             * its taps see */
    bool has_text; /* put_text and flush_text may be called */
    /* Evaluates n tokens; logits[n_vocab] of the last.  NULL where somebody else evaluates. */
    ng_status (*eval)(void *self, const int32_t *ids, size_t n, float *logits, ng_error *err);
    /* Appends the whole characters that `id` completes. */
    ng_status (*put_text)(void *self, int32_t id, ng_buf *out, ng_error *err);
    /* Appends what stands for an unfinished character. */
    ng_status (*flush_text)(void *self, ng_buf *out);
    bool (*is_eog)(void *self, int32_t id);
} ng_source;

/* A model's tokenizer as the text half of a source. */
typedef struct ng_text_source {
    const ng_tokenizer *tokenizer; /* NULL: the model has none that is supported */
    ng_detokenizer detokenizer;
    ng_session *session;           /* whose eval it is, or NULL */
    const int32_t *prompt;         /* [n_prompt] of a session that was empty, until it is read; else NULL */
    size_t n_prompt, n_cached, skip;
    int32_t *ids;                  /* [n_ctx + 1] with options that shift: all that the session holds, then the next; else NULL */
    size_t n_ids, n_keep;
} ng_text_source;
/* Fills both: `out` borrows `self`.  NG_EUNSUPPORTED for a model that cannot generate. */
ng_status ng_text_source_init(ng_text_source *self, ng_source *out, const ng_model *m, ng_error *err) NG_MUST_USE;

/* The context shift: of n_ids ids, n_ctx + 1 of them, those that go are taken out.  Returns where they stood: what
 * follows has to be read again. */
size_t ng_source_shift(int32_t *ids, size_t *n_ids, size_t n_keep);
/* NG_EINVALID where nothing could go. */
ng_status ng_source_shift_check(const ng_generate_options *opt, size_t n_ctx, ng_error *err) NG_MUST_USE;

/* ng_generate() over any source. */
ng_status ng_generate_from(ng_generation *out, const ng_source *src, const int32_t *prompt, size_t n,
                           const ng_generate_options *opt, ng_error *err) NG_MUST_USE;

#endif
