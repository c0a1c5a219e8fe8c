/* encoder_base.h: where an encoder's training starts from: chosen layers and words of a teacher.
 *
 *     ng_encoder_base b;
 *     ng_encoder_base_open(&b, &recipe, scratch_dir, &err);       maps the file (converts a folder first)
 *     ng_encoder_base_count(&b, text, len, &err);                 .. all training texts
 *     ng_encoder_base_choose(&b, scratch_dir, &err);              b.shape and b.tokenizer of the student
 *     ng_encoder_base_copy(&b, encoder, &err);                    the student's first weights: the teacher's, over
 *                                                                 them those of base.start where it has them
 *     ng_encoder_base_close(&b);
 *
 * A word that does not stay is written by shorter pieces: WordPiece does that by itself, since every
 * ASCII letter and digit stays in both forms.  The order of words is the teacher's. */
#ifndef NG_TRAIN_ENCODER_BASE_H
#define NG_TRAIN_ENCODER_BASE_H

#include "gguf/gguf.h"
#include "train/encoder.h"
#include "train/data.h"
#include "train/encoder_recipe.h"
#include <nanogrid/tokenizer.h>

typedef struct ng_encoder_base {
    const ng_encoder_recipe *recipe;
    ng_gguf *g;                /* of the teacher */
    ng_gguf *start;            /* base.start; NULL: none */
    ng_tokenizer *teacher;
    ng_encoder_shape shape;    /* of the student */
    uint64_t *counts;          /* [teacher's words] */
    size_t n_words;            /* the teacher's */
    int32_t *kept;             /* [shape.n_vocab]: the teacher's ids */
    int32_t *moved;            /* [n_words]: the student's id, or -1 */
    uint32_t *layers;          /* [shape.n_layer] */
    ng_tokenizer *tokenizer;   /* the student's */
} ng_encoder_base;

ng_status ng_encoder_base_open(ng_encoder_base *out, const ng_encoder_recipe *r, const char *scratch_dir,
                               ng_error *err) NG_MUST_USE;
ng_status ng_encoder_base_count(ng_encoder_base *b, const char *text, size_t len, ng_error *err) NG_MUST_USE;
/* Before choosing: the student tells the second text of a pair from the first (token types). */
void ng_encoder_base_pairs(ng_encoder_base *b);
ng_status ng_encoder_base_choose(ng_encoder_base *b, const char *scratch_dir, ng_error *err) NG_MUST_USE;
ng_status ng_encoder_base_copy(const ng_encoder_base *b, ng_encoder *e, ng_error *err) NG_MUST_USE;
/* An encoder of all layers of base.model over the student's words, or over all its own (b->teacher's ids): what a student
 * is compared with. */
ng_status ng_encoder_base_whole(const ng_encoder_base *b, bool all_words, ng_encoder **out, ng_error *err) NG_MUST_USE;
/* The weights and bias of a head that base.start (without one: base.model) has with the same labels, behind each other at `out`;
 * what it lacks stays as it is.  *shapes: whether those of shapes are wanted too; then whether they came, in the file's unit. */
ng_status ng_encoder_base_copy_head(const ng_encoder_base *b, const char *name, const ng_labels *labels, bool *shapes,
                                    float *out, ng_error *err) NG_MUST_USE;
/* The keys of the student's file: the teacher's, with the vocabulary and the shape replaced.  What they
 * refer to lives in `arena` until the commit. */
ng_status ng_encoder_base_put(const ng_encoder_base *b, ng_gguf_writer *w, ng_arena *arena, ng_error *err) NG_MUST_USE;
void ng_encoder_base_close(ng_encoder_base *b); /* accepts a zeroed one */

#endif
