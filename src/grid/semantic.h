/* semantic.h: answers to requests that meant the same, where the risk of being wrong is bounded.
 *
 *     ng_semantic *s;
 *     ng_semantic_new(&s, 16 << 20, 0.01, &err);
 *     ng_semantic_query q = {scope, text, len, vector, n};
 *     ng_semantic_found f;
 *     ng_answer *a = ng_semantic_get(s, &q, &f);          a copy that is yours, or NULL: f tells why
 *     if (f.check) { .. ask all the same ..; ng_semantic_learn(s, f.entry, f.similarity, said_the_same); }
 *     if (!a) ng_semantic_put(s, &q, answer);
 *     ng_semantic_free(s);
 *
 * Two requests may share an answer only in one `scope` (a digest of all that is no text: tenant, privacy, model, parameters,
 * other messages), when no guard speaks against it (text/alike.h), and when their vectors are at least as alike as the entry's
 * own threshold says.
 *
 * Thresholds are learnt (Schroeder et al. 2025, vCache, arXiv 2502.03771): every n-th hit is checked, that is the request is
 * answered anew and both answers are compared.  One that differs lifts its entry's threshold above that likeness.  All checks
 * together bound the false hits: while their 95 % upper bound is above `max_false_hit`, more is checked; when even the lower
 * bound is above it, all thresholds rise.
 *
 * Memory is bounded; what was used longest ago goes first.  Thread-safe. */
#ifndef NG_GRID_SEMANTIC_H
#define NG_GRID_SEMANTIC_H

#include "core/hash.h"
#include "text/alike.h"
#include <nanogrid/answer.h>

typedef struct ng_semantic ng_semantic;

typedef struct ng_semantic_query {
    ng_digest scope;
    const char *text;
    size_t len;
    const float *vector; /* [n] of length 1 */
    size_t n;
    const char *language; /* as far as it is known for certain, else "" */
} ng_semantic_query;

typedef struct ng_semantic_found {
    double similarity;  /* of the nearest entry in scope; NaN: there is none */
    double threshold;   /* of that entry */
    ng_unlike unlike;   /* the guard that spoke against it */
    bool other_language;
    bool check;         /* a hit that is to be checked: no answer is given */
    uint64_t entry;     /* for ng_semantic_learn; 0: none */
} ng_semantic_found;

ng_status ng_semantic_new(ng_semantic **out, size_t max_bytes, double max_false_hit, ng_error *err) NG_MUST_USE;
void ng_semantic_free(ng_semantic *s);
ng_answer *ng_semantic_get(ng_semantic *s, const ng_semantic_query *q, ng_semantic_found *f) NG_MUST_USE;
/* Keeps a copy where it fits. */
void ng_semantic_put(ng_semantic *s, const ng_semantic_query *q, const ng_answer *a);
/* What asking anew said about a hit.  An entry that is gone by now is none. */
void ng_semantic_learn(ng_semantic *s, uint64_t entry, double similarity, bool same);
/* The answer that an entry holds, a copy that is yours: for the comparison. */
ng_answer *ng_semantic_answer(ng_semantic *s, uint64_t entry) NG_MUST_USE;

typedef struct ng_semantic_stats {
    uint64_t hits, misses, checked, checked_false;
    size_t len, bytes;
    double threshold; /* that new entries begin with */
} ng_semantic_stats;
ng_semantic_stats ng_semantic_look(ng_semantic *s);

#endif
