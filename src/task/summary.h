/* summary.h: the sentences of a text that say most of it, in the text's own order.
 *
 *     ng_buf out = ng_buf_init(1 << 20);
 *     ng_summary_options o = {.max_sentences = 2};  bool cut;
 *     if (ng_summarize(&out, &(ng_summary_judge){.model = model}, text, len, &o, &cut, &err)) ..
 *
 * Stateless beyond the judge: with a model calls are thread-safe, with pairs they are one thread's at a time. */
#ifndef NG_TASK_SUMMARY_H
#define NG_TASK_SUMMARY_H

#include "model/extractive.h"
#include "model/pair_score.h"
#include "model/shortener.h"
#include <nanogrid/buf.h>

/* Who scores sentences: one of the two. */
typedef struct ng_summary_judge {
    const ng_extractive *model;
    const ng_pair_scorer *pairs; /* an encoder's head: a pass a sentence, so at most NG_SUMMARY_READ of them are candidates */
} ng_summary_judge;

enum { NG_SUMMARY_READ = 64 };

typedef struct ng_summary_options {
    uint32_t max_sentences; /* 0: a third of the text's sentences, at least 1 and at most 3 */
    uint32_t max_tokens;    /* words in all; 0: no limit */
    const ng_shortener *shortener; /* for texts of one sentence, and where none fits; NULL: sentences stay whole */
} ng_summary_options;

/* Appends the chosen sentences, one space between them.  A text without words gives nothing.  Of a
 * text of one sentence the shortener leaves words out.  Where not even one sentence fits max_tokens, the best is shortened, or
 * without a shortener cut after so many words, and *cut is true. */
ng_status ng_summarize(ng_buf *out, const ng_summary_judge *judge, const char *text, size_t len,
                       const ng_summary_options *opt, bool *cut, ng_error *err) NG_MUST_USE;

#endif
