/* pair_rows.h: pairs of texts made of questions over passages and of documents with summaries.
 *
 *     ng_pair_rows_make(&source, path, row_fn, ctx, &err);        for the formats `questions` and `documents` of a source
 *
 * questions: a JSONL file as finder_data.h reads it.  Passages are cut into windows of one to three sentences (how many, the
 * question's hash says); the pairs are the question and a window.  Those that hold an answer are "relevant", the others "other".
 * Questions without an answer in their passage, or with more than two such windows, are left out.
 * documents: a JSONL file as summary_data.h reads it.  The pairs are a sentence, with its place before it (ng_summary_sentence),
 * and the document.  Sentences nearly as good as the best one, by ROUGE against the references, are "summary", the others "other".
 *
 * `others` bounds the "other" pairs of a question or document, those with the least hashes; of a question one of them is then
 * from another story.  0: all of the passage or document, and none from elsewhere: for tests, where a query's pairs follow each other. */
#ifndef NG_TRAIN_PAIR_ROWS_H
#define NG_TRAIN_PAIR_ROWS_H

#include "train/data.h"

/* Label of a row: one of these. */
#define NG_PAIR_OTHER "other"
#define NG_PAIR_RELEVANT "relevant"
#define NG_PAIR_SUMMARY "summary"

ng_status ng_pair_rows_make(const ng_source *s, ng_row_fn *row, void *ctx, ng_error *err) NG_MUST_USE;

#endif
