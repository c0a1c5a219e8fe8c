/* data.h: labelled texts from TSV, CSV, JSONL, CoNLL and plain lines, as a recipe describes them.
 *
 *     ng_labels labels = {0};
 *     ng_dataset d;
 *     ng_dataset_read(&d, &sources, &labels, &recipe, &err);      adds new labels unless `fixed`
 *     for (size_t i = 0; i < d.len; i++) use(d.items[i].text, d.items[i].label);
 *     ng_dataset_clear(&d);
 *
 * A malformed line is an error that names file and line: nothing is skipped.  Texts must be UTF-8. */
#ifndef NG_TRAIN_DATA_H
#define NG_TRAIN_DATA_H

#include "train/recipe.h"

enum { NG_LABELS_MULTI_MAX = 64 };

typedef struct ng_sample {
    const char *text; /* NUL-terminated, in the data set's arena */
    uint32_t len;
    int32_t label;    /* index; -1: none (out of scope), or several: see the masks */
    uint64_t holds, known; /* moderate: bit i: label i holds / is known */
    uint32_t source;  /* which of the set's sources */
    uint64_t hash;    /* ng_text_hash */
    const int16_t *tags; /* extract: [n_words] labels of the text's words, which one space parts */
    uint32_t n_words;
    const char *second;  /* embed: the other text */
    uint32_t second_len;
    float score;         /* embed: 0 .. 1 */
} ng_sample;

typedef struct ng_dataset {
    ng_arena *arena;
    ng_sample *items;
    size_t len, cap;
} ng_dataset;

typedef struct ng_labels {
    ng_arena *arena;
    const char **names; /* sorted bytewise unless the recipe gave an order; extract: "O", "B-x", "I-x", .. */
    size_t len;
} ng_labels;

/* The recipe's own list, else every label of its training sources, sorted.  An empty list is an
 * error; so is a label without a training text (found by the trainer). */
ng_status ng_labels_read(ng_labels *out, const ng_recipe *r, ng_error *err) NG_MUST_USE;
void ng_labels_clear(ng_labels *l);
int32_t ng_labels_find(const ng_labels *l, const char *name, size_t len); /* -1 */

/* All sources after each other.  labels NULL: samples have no label (out-of-scope texts). */
ng_status ng_dataset_read(ng_dataset *out, const ng_config_list *sources, const ng_labels *labels,
                          const ng_recipe *r, ng_error *err) NG_MUST_USE;
void ng_dataset_clear(ng_dataset *d);
/* Keeps the samples for which keep[i]; order stays. */
void ng_dataset_filter(ng_dataset *d, const bool *keep);

/* The hash that splits data sets and finds duplicates: over the text's letters and digits in lower
 * case, with one gap for whatever stands between them, so that "What's up?" and "what s up" are the
 * same text and never stand on both sides of a split.  A text without either is hashed as it is. */
uint64_t ng_text_hash(const char *text, size_t len);
/* Dev texts come in two halves: true for those that temperature and thresholds are fitted on, false for
 * the calibration set, on which nothing is fitted. */
bool ng_text_tunes(uint64_t hash);
/* Which samples of `d` have a text that also stands in `other`; keep[i] = !duplicate.  Returns how
 * many duplicates, or SIZE_MAX when memory is out. */
size_t ng_dataset_duplicates(const ng_dataset *d, const ng_dataset *other, bool *keep);

/* One source's bytes, for tests and fuzzing: rows go to `row`, whose error ends the reading. */
typedef struct ng_row {
    const char *text, *label; /* label NULL: the source has a fixed one */
    const char *second;       /* the source's column `second`; NULL: it names none */
    size_t text_len, label_len, second_len;
    size_t line;
} ng_row;
typedef ng_status ng_row_fn(void *ctx, const ng_row *row, ng_error *err);
ng_status ng_source_parse(const ng_source *s, const char *name, const char *data, size_t len, bool need_label,
                          ng_row_fn *row, void *ctx, ng_error *err) NG_MUST_USE;

#endif
