/* vector_claim.h: an expert's second word on whether a text is for it, over an encoder's vector of the text.
 *
 *     ng_vector_claim *c;
 *     ng_vector_claim_open(&c, "packages/hotels/route.vector.gguf", &err);
 *     if (ng_vector_claim_fits(c, digest, n, &why)) ..             learnt on vectors of this kind
 *     double p = ng_vector_claim_apply(c, p_linear, vector);       vector[n]
 *     ng_vector_claim_free(c);
 *
 * It starts from what the linear weights beside it claim (route.gguf) and is calibrated by itself, so that claims of experts with and
 * without a second word stay comparable:
 *
 *     p = sigmoid(linear * log(q / (1 - q)) + weight . vector + bias)       q: the linear claim
 *
 * It is true of one encoder alone and names it by the digest of the vector that the encoder gives for a fixed text: that tells
 * encoders apart wherever they run, and still holds where only a head of the file was trained anew.
 *
 * The file (general.architecture "nanogrid-vector-claim"):
 *     nanogrid.claim.version  u32     1
 *     nanogrid.claim.encoder  string  the encoder's name, for messages
 *     nanogrid.requires       strings [1]  the digest
 *     nanogrid.claim.linear   f32     at least 0
 *     nanogrid.claim.bias     f32
 *     claim.weight            F32 [n_embd]
 *
 * Immutable once open, so threads may share it; the same bits on every machine. */
#ifndef NG_MODEL_VECTOR_CLAIM_H
#define NG_MODEL_VECTOR_CLAIM_H

#include "gguf/gguf.h"

typedef struct ng_vector_claim ng_vector_claim;

#define NG_VECTOR_PROBE "Which of these experts is a text for? 1, 2 or 30 of them: the encoder's own answer to this line tells it from any other."
enum { NG_VECTOR_DIGEST = 33, NG_VECTOR_CLAIM_MAX = 65536 };

ng_status ng_vector_claim_open(ng_vector_claim **out, const char *path, ng_error *err) NG_MUST_USE;
/* From an open file, which may be closed then. */
ng_status ng_vector_claim_read(ng_vector_claim **out, const ng_gguf *g, ng_error *err) NG_MUST_USE;
void ng_vector_claim_free(ng_vector_claim *c);
/* False, with a sentence that names both encoders, for vectors of another one: NG_EINVALID.  digest: of the probe's vector. */
bool ng_vector_claim_fits(const ng_vector_claim *c, const char *digest, size_t n, ng_error *err);
double ng_vector_claim_apply(const ng_vector_claim *c, double linear, const float *vector);
/* Of vector[n], the one of NG_VECTOR_PROBE. */
void ng_vector_digest(char out[NG_VECTOR_DIGEST], const float *vector, size_t n);
/* Log odds of a probability, as far as the claim looks: 1e-6 from either end. */
double ng_log_odds(double p);

/* For the trainer; written atomically. */
typedef struct ng_vector_claim_parts {
    const char *name, *encoder, *digest;
    double linear, bias;
    const float *weight; /* [n] */
    size_t n;
} ng_vector_claim_parts;
ng_status ng_vector_claim_write(const ng_vector_claim_parts *c, const char *path, ng_error *err) NG_MUST_USE;

#endif
