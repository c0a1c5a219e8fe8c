/* finder_data.h: recipes of the task answer, and their questions over passages.
 *
 *     ng_finder_recipe r;
 *     ng_finder_recipe_read(&r, "recipes/answer.yaml", arena, &err);
 *     ng_finder_examples e;
 *     ng_finder_examples_read(&e, &r.train, arena, &err);
 *     .. ng_answer_f1(text, len, &e.items[0]) ..
 *     free(e.items);
 *
 * The recipe: name, task: answer, languages, description, licence, attribution, source as in recipe.h, and
 *     data: {train: [SOURCE, ..], dev: [SOURCE, ..], test: [SOURCE, ..]}
 *     training: {epochs: 6, rate: 0.1, decay: 1e-6, refuse: 0.88, seed: 1}
 * A SOURCE is a JSONL file below $NANOGRID_DATA with a question and its answers (a text or an array of texts) a line:
 *       - {file: my/train.jsonl, question: question, answers: answers, passage: context}
 *       - {file: fairytaleqa/qa.train.jsonl, question: q, stories: fairytaleqa/stories.train.jsonl}
 * where with `stories` the passage is put together from the story's `sections` that the line names ("1,2").  `refuse` is
 * the share of questions without an answer that the threshold must refuse on dev. */
#ifndef NG_TRAIN_FINDER_DATA_H
#define NG_TRAIN_FINDER_DATA_H

#include "train/recipe.h"
#include <nanogrid/tools/train.h>

typedef struct ng_finder_source {
    const char *file, *question, *answers, *passage, *stories;
} ng_finder_source;

typedef struct ng_finder_recipe {
    ng_about about;
    const char *task;
    ng_config_list train, dev, test; /* of ng_finder_source */
    int64_t epochs, seed;
    double rate, decay, refuse;
    const char *path;
} ng_finder_recipe;

typedef struct ng_finder_example {
    const char *question, *passage; /* the passage with single spaces */
    size_t passage_len;
    const char **answers; /* [n_answers] */
    size_t n_answers;
    uint64_t group;       /* of its story, or of its passage: those of another group do not answer it */
    bool literal;         /* an answer stands in the passage, but for case, articles and punctuation .. */
    size_t start, end;    /* .. and here, bytes, for the first time */
} ng_finder_example;

typedef struct ng_finder_examples {
    ng_finder_example *items; /* ends with free() */
    size_t len, cap;
} ng_finder_examples;

ng_status ng_finder_recipe_read(ng_finder_recipe *out, const char *path, ng_arena *arena, ng_error *err) NG_MUST_USE;
/* Texts live in `arena`. */
ng_status ng_finder_examples_read(ng_finder_examples *out, const ng_config_list *sources, ng_arena *arena,
                                  ng_error *err) NG_MUST_USE;
/* Words shared, F1 (Rajpurkar et al. 2016: lower case, without punctuation and articles), the best over the answers. */
double ng_answer_f1(const char *text, size_t len, const ng_finder_example *e);
/* The k-th place of answer a in the passage, as bytes; false: there are fewer. */
bool ng_answer_place(const ng_finder_example *e, size_t a, size_t k, size_t *start, size_t *end);
/* For each example one of another group, drawn from the seed: its question is one that this passage does not answer. */
uint32_t *ng_finder_others(const ng_finder_examples *e, uint64_t seed, ng_arena *arena) NG_MUST_USE;

/* Which half of dev a question is in, by its story: what is fitted on dev is fitted on one half, contracts on the other. */
bool ng_finder_tunes(const ng_finder_example *e);

/* ng_train() for such a recipe: train_finder.c. */
ng_status ng_train_finder(ng_train_result *out, const char *recipe_path, const ng_train_options *opt,
                          ng_error *err) NG_MUST_USE;

#endif
