/* recipe.h: what `train` and `eval` are told: data, features, training, in one YAML file.
 *
 *     ng_arena *a;  ng_recipe r;
 *     ng_recipe_read(&r, "recipes/clinc150.yaml", a, &err);
 *
 * Every key (r: required; [x]: default):
 *
 *     name: intent            r the package: models/NAME beside the recipe's folder, unless --out says else
 *     task: classify          r classify | moderate (labels are independent) | detect-language; as data of an encoder's
 *                             head (encoder_recipe.h) also extract (tagged words), embed (pairs of texts), rerank and
 *                             summarize (two labels for a pair read as one sequence, the second label is what is scored);
 *                             spelling: a list of words (train_spelling.h says which keys it reads)
 *                             compress: words that a shorter sentence keeps (train_shortener.h)
 *     output: model.gguf      [model.gguf] the file in the package.  Card and scores are card.json and
 *                             scores.gguf; for another output X.gguf they are X.card.json, X.scores.gguf
 *     languages: [en]         \
 *     description: one line    | for the card
 *     licence: CC BY 3.0       | of the data
 *     attribution: whom        | and a source without an explicit licence says so here
 *     source: where           /
 *     labels: [a, b]          [all of the training data, sorted] fixes labels and their order
 *     duplicates: drop        [drop] | keep | refuse: training and dev texts that also stand in test (but for case and
 *                             punctuation); drop refuses, too, where a tenth of the test texts stand in them
 *     near: 0.9               [0.9] texts so alike one of test count as duplicates too, and drop leaves out training texts
 *                             so alike an earlier one of their label (near.h); 0: copies alone
 *     data:
 *       train: [SOURCE, ..]   r
 *       dev: [SOURCE, ..]     one half by text hash: early stopping, temperature, thresholds;
 *                             the other half: the calibration set (nothing is fitted on it)
 *       test: [SOURCE, ..]
 *       oos_dev, oos_test: [SOURCE, ..]   texts of no label (for the out-of-scope threshold; its measure)
 *     features: {bits: 18, words: 2, char_min: 3, char_max: 5, lower: true, fold: false, cross: true,
 *                log_tf: true, rows: 16384, min_count: 1, unknown: 0}
 *                             rows: how many buckets keep weights (the most useful), at most 131072
 *                             min_count: a feature must stand in that many training texts
 *                             unknown: idf of features without a row in the text's length (0: none)
 *     training: {epochs: 20, rate: 0.5, l2: 0, dropout: 0, smoothing: 0, seed: 1, patience: 0,
 *                balance: 0, weight_bits: 8, prune_epochs: 3}
 *                             balance: 0 texts count alike .. 1 labels count alike
 *     vectors: {encoder: nanogrid/encoder-en, texts: 3000}   routing weights (labels here, elsewhere): a second claim over the
 *                             encoder's vectors too, X.vector.gguf beside the output X.gguf (vector_claims.h)
 *     oos: {in_scope: 0.95}   the out-of-scope threshold keeps at least this share of in-scope dev texts and
 *                             else rejects as many out-of-scope ones as it can
 *
 * A SOURCE is a file and how to read it:
 *
 *       - file: clinc150/train.tsv      below $NANOGRID_DATA; ./x is beside the recipe
 *         format: tsv                   [by extension] tsv (header line) | csv (RFC 4180, header line) | jsonl | lines |
 *                                       requests | conll (word, tab, .., tag in IOB2; blank lines end sentences;
 *                                       an empty word tagged O counts as none, one that holds a space as several)
 *         text: text                    [text] column or key of the text
 *         label: label                  [label] column or key of the label; extract in JSONL: of [[start, end, kind], ..],
 *                                       in characters
 *         value: toxic                  instead of label: every row has this one
 *         positive: [hate]              moderate, instead of label: these hold for every row,
 *         negative: [injection]         these do not, the others are unknown
 *         rename: ["0=negative"]        labels by other names; "x=" drops the row (extract: the tags of that kind)
 *         where: ["fold<8", "a=x|y"]    all must hold: = != (texts, | means or), < <= > >= (numbers)
 *         hash: {of: 5, keep: [0]}      rows whose text hash modulo `of` is in `keep`; with `by: COLUMN` that
 *                                       column's number instead
 *         typos: {copies: 2, share: 0.3}  beside each text so many copies with a typing error in that share of the words
 *                                       (typos.h); for training data
 *         pieces: {copies: 8, words: 2} beside each text so many runs of one word, of two, .. (pieces.h), with its label
 *         courtesy: {file: ./courtesy.txt, copies: 1}   beside each text so many copies with words of courtesy around it (courtesy.h)
 *         similar: {file: ./similar-words.tsv, copies: 1, share: 0.2}   and so many with that share of the words replaced by
 *                                       similar ones or left out (similar.h); all four for texts with labels
 *         split: train                for the format requests: train | dev | test (task_requests.h)
 *         second: short                 extract, with `value`: column of the text's shortened form; words it keeps are of that kind
 *         second: s2                    embed: column of the text that `text` is compared with; `label` is how alike
 *         scale: 5                      they are, from 0 to this
 *         join: location                extract: neighbours of this kind become one where a digit is within (an address marked in pieces)
 *         glue: "@"                     extract, CoNLL: this word and the next are one, with the tag of this one ("@" "ada": "@ada")
 *         second: sentence2             classify, moderate as heads of an encoder: column of the other text of a pair, which
 *                                       is read with `text` as one sequence, [CLS] text [SEP] sentence2 [SEP]; in all sources or none
 *         format: questions             rerank, summarize: pairs made of questions over passages (text: question, label: answers, second:
 *                 documents             passage or stories: FILE) or of documents (text: document, label: summary); see pair_rows.h
 *         others: 3                     [0: all] of these: pairs with the label `other` of one question or document
 *         every: 6                      documents: each sixth line is read
 *         spoil: [leetspeak, spacing]   texts as evasive people write them: each by one of these kinds (noise.h), by its hash
 *         limit: 1000                   at most so many rows, those with the least text hash
 *
 * The text hash is ng_text_hash (train/data.h): it does not depend on order, file or machine, nor on
 * case and punctuation, so copies of a text always fall on the same side. */
#ifndef NG_TRAIN_RECIPE_H
#define NG_TRAIN_RECIPE_H

#include "config/config.h"
#include <nanogrid/answer.h>

typedef struct ng_source_hash {
    int64_t of;
    ng_config_nums keep;
    const char *by; /* NULL: the text */
} ng_source_hash;

typedef struct ng_source_typos {
    int64_t copies; /* 0: none */
    double share;
} ng_source_typos;

typedef struct ng_source_pieces {
    int64_t copies; /* 0: none */
    int64_t words;
} ng_source_pieces;

typedef struct ng_source_courtesy {
    const char *file;
    int64_t copies; /* 0: none */
} ng_source_courtesy;

typedef struct ng_source_similar {
    const char *file;
    int64_t copies; /* 0: none */
    double share;
} ng_source_similar;

typedef struct ng_source {
    const char *file, *text, *label, *value, *split;
    int format; /* ng_source_format */
    ng_config_strs positive, negative, rename, where;
    ng_source_hash hash;
    ng_source_typos typos;
    ng_source_pieces pieces;
    ng_source_courtesy courtesy;
    ng_source_similar similar;
    int64_t limit, others, every;
    const char *stories;
    ng_config_strs spoil;
    const char *second; /* embed */
    const char *join, *glue; /* extract */
    double scale;
    int line; /* in the recipe */
} ng_source;

typedef enum ng_source_format { NG_FORMAT_AUTO, NG_FORMAT_TSV, NG_FORMAT_JSONL, NG_FORMAT_LINES, NG_FORMAT_REQUESTS,
    NG_FORMAT_CSV, NG_FORMAT_CONLL, NG_FORMAT_QUESTIONS, NG_FORMAT_DOCUMENTS } ng_source_format;

typedef struct ng_recipe_data {
    ng_config_list train, dev, test, oos_dev, oos_test; /* of ng_source */
} ng_recipe_data;

typedef struct ng_recipe_features {
    int64_t bits, words, char_min, char_max, rows, min_count;
    bool lower, fold, cross, log_tf;
    double unknown;
} ng_recipe_features;

typedef struct ng_recipe_training {
    int64_t epochs, seed, patience, weight_bits, prune_epochs;
    double rate, l2, dropout, smoothing, balance;
} ng_recipe_training;

typedef struct ng_recipe_vectors {
    const char *encoder; /* NULL: none */
    int64_t texts;
} ng_recipe_vectors;

typedef struct ng_recipe_oos {
    double in_scope;
} ng_recipe_oos;

/* What every kind of recipe says of its package, and what of its card comes from there. */
typedef struct ng_about {
    const char *name, *description, *licence, *attribution, *source;
    ng_config_strs languages;
} ng_about;
/* Its fields in the schema of a recipe struct `type` that holds it as `member`. */
#define NG_ABOUT_FIELDS(type, member)                                                                                     \
    {"name", NG_CONFIG_STR, offsetof(type, member.name), .help = "of the package", .required = true},                     \
        {"languages", NG_CONFIG_STRS, offsetof(type, member.languages)}, {"description", NG_CONFIG_STR, offsetof(type, member.description)}, \
        {"licence", NG_CONFIG_STR, offsetof(type, member.licence)}, {"attribution", NG_CONFIG_STR, offsetof(type, member.attribution)}, \
        {"source", NG_CONFIG_STR, offsetof(type, member.source)}

typedef struct ng_recipe {
    ng_about about;
    const char *output;
    ng_config_strs labels;
    int task;       /* ng_recipe_task */
    int duplicates; /* ng_duplicates */
    double near;
    ng_recipe_data data;
    ng_recipe_features features;
    ng_recipe_training training;
    ng_recipe_oos oos;
    ng_recipe_vectors vectors;
    const char *path; /* of the recipe */
} ng_recipe;

typedef enum ng_duplicates { NG_DUPLICATES_KEEP, NG_DUPLICATES_DROP, NG_DUPLICATES_REFUSE } ng_duplicates;
typedef enum ng_recipe_task { NG_RECIPE_CLASSIFY, NG_RECIPE_MODERATE, NG_RECIPE_DETECT_LANGUAGE, NG_RECIPE_EXTRACT, NG_RECIPE_EMBED, NG_RECIPE_SPELLING, NG_RECIPE_COMPRESS, NG_RECIPE_RERANK, NG_RECIPE_SUMMARIZE } ng_recipe_task;

/* Whether the file is a recipe of this task, also one of those with a schema of their own; false when it cannot be read. */
bool ng_recipe_has_task(const char *path, const char *task);
/* Strings live in `arena`. */
ng_status ng_recipe_read(ng_recipe *out, const char *path, ng_arena *arena, ng_error *err) NG_MUST_USE;
/* "classify" and so on. */
const char *ng_recipe_task_name(const ng_recipe *r);
/* Whether a source's texts are pairs that are read as one sequence; whether any of the recipe's are (then all must be). */
bool ng_source_joins(const ng_source *s, const ng_recipe *r);
bool ng_recipe_joins(const ng_recipe *r);
/* `file` in the folder of the file `recipe`; NULL when memory is out. */
char *ng_beside_recipe(const char *recipe, const char *file, ng_arena *arena) NG_MUST_USE;
/* The file `what` of the recipe's package ("model", "card", "scores") in its folder (ng_package_folder below); NULL when memory
 * is out. */
char *ng_recipe_path(const ng_recipe *r, const char *dir, const char *what, ng_arena *arena) NG_MUST_USE;

/* The folder of a recipe's package: `dir` or, when that is NULL, models/NAME beside the recipe's folder; and a file in it.
 * NULL when memory is out. */
char *ng_package_folder(const char *recipe_path, const char *name, const char *dir, ng_arena *arena) NG_MUST_USE;
char *ng_package_file(const char *recipe_path, const char *name, const char *dir, const char *file,
                      ng_arena *arena) NG_MUST_USE;

extern const ng_config_schema ng_recipe_schema, ng_source_schema;

#endif
