/* summary_data.h: recipes of the task summarize, and their documents with reference summaries.
 *
 *     ng_summary_recipe r;
 *     ng_summary_recipe_read(&r, "recipes/summarize.yaml", arena, &err);
 *     ng_summary_docs d;
 *     ng_summary_docs_read(&d, &r.train, arena, &err);
 *
 * The recipe: name, task: summarize, languages, description, licence, attribution, source as in
 * recipe.h, and
 *     data: {train: [SOURCE, ..], test: [SOURCE, ..]}
 *     training: {epochs: 12, rate: 0.3, seed: 1}
 * A SOURCE is a JSONL file below $NANOGRID_DATA:
 *       - {file: scitldr/train.jsonl, document: source, summary: target, every: 1}
 * `document` is a text or an array of sentences, `summary` a text or an array of references; with
 * `every: 6` each sixth line is read. */
#ifndef NG_TRAIN_SUMMARY_DATA_H
#define NG_TRAIN_SUMMARY_DATA_H

#include "train/recipe.h"
#include "text/sentence.h"
#include <nanogrid/tools/train.h>

typedef struct ng_summary_source {
    const char *file, *document, *summary;
    int64_t every;
} ng_summary_source;

typedef struct ng_summary_recipe {
    ng_about about;
    const char *task;
    ng_config_list train, test; /* of ng_summary_source */
    int64_t epochs, seed;
    double rate;
    const char *path;
} ng_summary_recipe;

typedef struct ng_summary_doc {
    const char *text;
    ng_span *spans; /* [n] sentences */
    size_t n;
    const char **references; /* [n_references] */
    size_t n_references;
    size_t source; /* which of the list */
} ng_summary_doc;

typedef struct ng_summary_docs {
    ng_summary_doc *items; /* ends with free() */
    size_t len, cap;
} ng_summary_docs;

ng_status ng_summary_recipe_read(ng_summary_recipe *out, const char *path, ng_arena *arena, ng_error *err) NG_MUST_USE;
/* Texts live in `arena`. */
ng_status ng_summary_docs_read(ng_summary_docs *out, const ng_config_list *sources,
                               ng_arena *arena, ng_error *err) NG_MUST_USE;
/* The best ROUGE of text[0, len) over the document's references. */
ng_status ng_summary_rouge(double f1[3], const ng_summary_doc *d, const char *text, size_t len) NG_MUST_USE;

/* ng_train() for such a recipe: train_extractive.c. */
ng_status ng_train_extractive(ng_train_result *out, const char *recipe_path, const ng_train_options *opt,
                              ng_error *err) NG_MUST_USE;

#endif
