/* encoder_task.h: the heads of an encoder while they are trained: their data, losses and scores.
 *
 *     ng_encoder_tasks t;
 *     ng_encoder_tasks_read(&t, &recipe, arena, &err);           labels and texts of every head
 *     ng_encoder_tasks_tokenize(&t, tokenizer, n_ctx, &err);
 *     ng_encoder_tasks_bind(&t, encoder, &nn, batch, &err);
 *     loss = ng_encoder_tasks_train(&t, items, n, &step);        forward, losses and backward of one batch
 *     ng_encoder_tasks_score(&score, &t, k, &err);               of head k on the tuning half of dev
 *
 * A head is a linear layer behind the encoder's weights: head k's matrix [n_labels, width] at heads[k].at, its
 * bias behind it, then for extract what it learns of the words' shapes [n_labels, NG_SHAPE_INPUTS].  It reads the pooled output of a text, of each word (extract), or is no layer at all (embed:
 * the cosine of two pooled texts).  A batch may mix texts of all heads; its loss is the mean over its texts of
 * weight * loss, where a tagged text counts as the mean over the words of the batch; with distill.vectors each sequence adds how far
 * its mean is from the base's. */
#ifndef NG_TRAIN_ENCODER_TASK_H
#define NG_TRAIN_ENCODER_TASK_H

#include "train/data.h"
#include "train/dev_score.h"
#include "train/encoder.h"
#include "train/encoder_ids.h"
#include "train/encoder_recipe.h"

typedef struct ng_encoder_task {
    const ng_encoder_head_recipe *head;
    ng_recipe recipe;
    ng_labels labels;
    ng_dataset train, tune, oos; /* tune: the half of dev that things are fitted on */
    ng_dataset held;     /* the other half: models are compared on it; its items lie in tune's memory */
    ng_id_texts train_ids, tune_ids;
    float *soft;         /* soft labels of the training rows (teacher.h), or NULL */
    float *vectors;      /* [train_ids.n, width] of the base, length 1 (base_vectors.h), or NULL */
    size_t at;   /* of its matrix in the encoder's weights */
    bool each, tokens, pairs; /* moderate, extract, embed */
    bool joined; /* its texts are pairs read as one sequence */
    size_t n_dropped; /* training and dev texts that also stand in test */
} ng_encoder_task;

enum { NG_VECTOR_MAX = 2048 }; /* width of a base whose vectors are kept */

/* Answers of one head against its labels: best label, yes or no to each that is known, or spans of tagged words. */
typedef struct ng_head_tally {
    size_t right, all;
    ng_span_score spans;
} ng_head_tally;

/* Logits z [n_labels] of one text, or [n, n_labels] of its words, whose tags are given; said [n] is scratch. */
void ng_head_tally_text(ng_head_tally *sum, const ng_encoder_task *k, const ng_sample *x, const float *z);
void ng_head_tally_words(ng_head_tally *sum, const ng_encoder_task *k, const int32_t *tags, size_t n, const float *z,
                         int32_t *said);
/* Accuracy, or F1 of spans; NaN without any. */
double ng_head_tally_score(const ng_head_tally *sum, const ng_encoder_task *k);

typedef struct ng_encoder_item {
    uint32_t task, text; /* of its train set */
} ng_encoder_item;

typedef struct ng_encoder_tasks {
    const ng_encoder_recipe *recipe;
    ng_encoder_task *items; /* [len] */
    size_t len;
    ng_encoder *encoder;
    ng_encoder *teacher; /* of hidden values and attention: same width, heads and words; or NULL */
    ng_nn *nn;
    size_t max_batch, max_seq, max_tok;
    /* of the batch at hand */
    size_t n_tok;
    size_t *begin;              /* [max_seq + 1] */
    uint32_t *first;            /* [max_seq] ids of type 0 */
    int32_t *ids;               /* [max_tok] */
    size_t *row;                /* [n_rows_max] extract: of each word */
    uint32_t *seqs;             /* [n_rows_max] */
    int32_t *label;             /* [n_rows_max] */
    uint16_t *shapes;           /* [n_rows_max, NG_SHAPE_WORDS] extract */
    float *score;               /* [max_batch] embed */
    uint64_t *holds, *known;    /* [max_batch] */
    float *pooled, *dpooled, *z, *dz; /* [n_rows_max, width | n_labels] */
    float *want, *dqkv;         /* [n_rows_max, n_labels], [max_tok, 3 width]; NULL without teachers */
} ng_encoder_tasks;

/* Texts that also stand in the same head's test set are left out, always. */
ng_status ng_encoder_tasks_read(ng_encoder_tasks *out, const ng_encoder_recipe *r, ng_arena *arena,
                                ng_error *err) NG_MUST_USE;
ng_status ng_encoder_tasks_tokenize(ng_encoder_tasks *t, const ng_tokenizer *tokenizer, size_t n_ctx,
                                    ng_error *err) NG_MUST_USE;
size_t ng_encoder_tasks_n_extra(const ng_encoder_tasks *t, size_t width); /* weights of all heads */
/* The weights of shapes are trained in units of this, as they must grow further than the others in as many steps. */
#define NG_SHAPE_GAIN 32.0f
/* Before binding: where hidden values and attention are taken from; t owns it from now on. */
void ng_encoder_tasks_teach(ng_encoder_tasks *t, ng_encoder *teacher);
/* `encoder` has n_extra extra weights and is bound to nn here. */
ng_status ng_encoder_tasks_bind(ng_encoder_tasks *t, ng_encoder *e, ng_nn *nn, size_t max_batch,
                                ng_error *err) NG_MUST_USE;
void ng_encoder_tasks_clear(ng_encoder_tasks *t); /* accepts a zeroed one */

/* Every text of an epoch, repeated as the recipe says, in the recipe's order.  *items ends with free(). */
ng_status ng_encoder_tasks_items(const ng_encoder_tasks *t, ng_encoder_item **items, size_t *n,
                                 ng_error *err) NG_MUST_USE;

/* Adds the gradients of the mean loss of n items to the encoder's; returns that loss. */
double ng_encoder_tasks_train(ng_encoder_tasks *t, const ng_encoder_item *items, size_t n, const ng_encoder_batch *how);
/* Of task k on its tuning texts: accuracy (moderate: of the known labels), F1 of whole spans (extract),
 * Spearman's correlation (embed); NaN without any text. */
ng_status ng_encoder_tasks_score(double *score, ng_encoder_tasks *t, size_t k, ng_error *err) NG_MUST_USE;

#endif
