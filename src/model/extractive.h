/* extractive.h: how much a sentence says of its document: the model behind extractive summaries.
 *
 *     ng_extractive *m;  ng_extractive_doc *d;
 *     ng_extractive_open(&m, "models/summarize/model.gguf", &err);
 *     ng_extractive_doc_new(&d, text, spans, n, &err);     the sentences as features
 *     double z[n];
 *     ng_extractive_score(m, d, z);                        log-odds of being the summary, by sentence
 *     ng_extractive_doc_free(d);  ng_extractive_close(m);
 *
 * A model is immutable and may be shared; a document belongs to one thread.  Scores are the same bits
 * on every machine.
 *
 * The file (general.architecture "nanogrid-extractive"):
 *     nanogrid.extractive.version  u32  1
 *     nanogrid.extractive.scale    f32  the hashed weights' unit
 *     extractive.dense  F32 [NG_EXTRACTIVE_DENSE]
 *     extractive.hashed I8  [NG_EXTRACTIVE_BUCKETS] */
#ifndef NG_MODEL_EXTRACTIVE_H
#define NG_MODEL_EXTRACTIVE_H

#include "text/sentence.h"

enum { NG_EXTRACTIVE_DENSE = 15, NG_EXTRACTIVE_BUCKETS = 1 << 13 };

typedef struct ng_extractive ng_extractive;

/* One sentence as the model sees it. */
typedef struct ng_extractive_sentence {
    double dense[NG_EXTRACTIVE_DENSE]; /* position, centrality, length: extractive.c */
    const uint16_t *buckets;           /* [n_buckets] of its words and word pairs, each once */
    size_t n_buckets;
    size_t n_words;
    const uint32_t *words; /* [n_distinct] ids of its words in the document, rising */
    size_t n_distinct;
    double norm; /* of its vector of inverse sentence frequencies */
} ng_extractive_sentence;

typedef struct ng_extractive_doc {
    ng_extractive_sentence *sentences; /* [len] */
    size_t len;
    double *weight; /* by word id: inverse sentence frequency */
    void *memory;
} ng_extractive_doc;

/* `spans` are the sentences of `text`, as ng_sentences gives them. */
ng_status ng_extractive_doc_new(ng_extractive_doc **out, const char *text, const ng_span *spans,
                                size_t n, ng_error *err) NG_MUST_USE;
void ng_extractive_doc_free(ng_extractive_doc *d);
/* Cosine of two sentences' vectors, 0..1. */
double ng_extractive_similarity(const ng_extractive_doc *d, size_t a, size_t b);

ng_status ng_extractive_open(ng_extractive **out, const char *path, ng_error *err) NG_MUST_USE;
void ng_extractive_close(ng_extractive *m);
void ng_extractive_score(const ng_extractive *m, const ng_extractive_doc *d, double *scores);
size_t ng_extractive_file_bytes(const ng_extractive *m);

#endif
