/* finder.h: where in a passage the answer to a question stands, or that it does not stand there.
 *
 *     ng_finder *m;  ng_passage *p;  ng_found f;
 *     ng_finder_open(&m, "models/answer/model.gguf", &err);
 *     ng_passage_new(&p, ng_finder_rarity(m), question, n_question, text, n_text, &err);
 *     ng_finder_find(m, p, &f, &err);
 *     if (f.answerable) printf("%.*s\n", (int)(f.end - f.start), text + f.start);
 *     ng_passage_free(p);  ng_finder_close(m);
 *
 * A model is immutable and may be shared; the answer is the same bits on every machine.
 *
 * The file (general.architecture "nanogrid-finder"):
 *     nanogrid.finder.version      u32  1
 *     nanogrid.finder.scale        f32  the weights' unit
 *     nanogrid.finder.threshold    f32  answerable at or above this probability
 *     finder.weights     I8  [4 * NG_PASSAGE_BUCKETS]   by bucket: inside, first word, last word, 0
 *     finder.rarity      I8  [NG_RARITY_BUCKETS]        bytes of ng_rarity
 *     finder.answerable  F32 [NG_FOUND_FACTS + 1]       log-odds that the passage holds the answer; the last is the constant
 *     finder.right       F32 [NG_FOUND_FACTS + 1]       log-odds that the span is right, where there is one */
#ifndef NG_MODEL_FINDER_H
#define NG_MODEL_FINDER_H

#include "passage.h"

enum { NG_FOUND_FACTS = 12, NG_FINDER_SPAN_MAX = 40 /* words */ };

typedef enum ng_finder_weight { NG_FINDER_INSIDE, NG_FINDER_FIRST, NG_FINDER_LAST, NG_FINDER_KINDS } ng_finder_weight;

/* What the model believes of each word: probabilities that sum over one span a passage. */
typedef struct ng_beliefs {
    double (*score)[NG_FINDER_KINDS]; /* [len] log-weights of the word as inside, first, last */
    double *before, *behind;          /* [len] log of all ways that end, that begin at the word: the chain's two passes */
    double *inside;                   /* [len] probability of standing in the answer */
    double log_all;                   /* log of the sum over all spans */
} ng_beliefs;

typedef struct ng_found {
    bool answerable;
    double p_answerable, p_right; /* calibrated: the passage holds an answer; the span is one, given that */
    size_t first, last;           /* words */
    size_t start, end;            /* bytes; 0, 0 in a passage without words */
    double expected_f1;           /* of the span, by the model's own beliefs */
    float facts[NG_FOUND_FACTS];  /* what p_answerable and p_right are made of: finder.c */
} ng_found;

typedef struct ng_finder ng_finder;
ng_status ng_finder_open(ng_finder **out, const char *path, ng_error *err) NG_MUST_USE;
void ng_finder_close(ng_finder *m);
const ng_rarity *ng_finder_rarity(const ng_finder *m);
size_t ng_finder_file_bytes(const ng_finder *m);
/* Fills *out; NG_ENOMEM is the only error. */
ng_status ng_finder_find(const ng_finder *m, const ng_passage *p, ng_found *out, ng_error *err) NG_MUST_USE;

/* ---- for training: the same with scores of one's own ---- */

/* Memory for a passage of len words; ends with ng_beliefs_clear. */
ng_status ng_beliefs_init(ng_beliefs *b, size_t len) NG_MUST_USE;
void ng_beliefs_clear(ng_beliefs *b);
/* From b->score to the rest. */
void ng_beliefs_pass(ng_beliefs *b, const ng_passage *p);
double ng_beliefs_first(const ng_beliefs *b, size_t i); /* probability that the answer begins, ends with word i */
double ng_beliefs_last(const ng_beliefs *b, size_t i);
/* The span of the greatest expected F1; fills words, bytes, expected_f1 and facts. */
void ng_beliefs_choose(const ng_beliefs *b, const ng_passage *p, ng_found *out);
/* weights[NG_FOUND_FACTS + 1] */
double ng_found_odds(const ng_found *f, const float *weights);

#endif
