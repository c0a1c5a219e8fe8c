/* delta.h: what a router has learnt since it was trained: a small, bounded correction.
 *
 *     ng_delta *d;
 *     ng_delta_learn(&d, lessons, n, labels, n_labels, &err);       deterministic; from nothing, each time
 *     ng_delta_apply(d, &features, &decision);                      shifts its probabilities, sorts again
 *     ng_delta_write(d, &tag, "delta-3.gguf", &err);  ng_delta_read(&d, &tag, path, &err);
 *     ng_delta_free(d);
 *
 * A delta holds a weight for some buckets and each of the router's labels.  Its say in a decision is
 * bounded twice: a weight by NG_DELTA_WEIGHT_MAX, and all it adds to a label's log odds by
 * NG_DELTA_SHIFT_MAX, so that no feedback, however much or malicious, outvotes a router that is sure.
 * An immutable delta may be shared by threads. */
#ifndef NG_ROUTE_DELTA_H
#define NG_ROUTE_DELTA_H

#include "model/linear_features.h"
#include "route.h"

#define NG_DELTA_WEIGHT_MAX 1.0
#define NG_DELTA_SHIFT_MAX 2.0
enum { NG_DELTA_LESSONS_MAX = 20000, NG_DELTA_BUCKETS_MAX = 1 << 18 };

typedef struct ng_delta ng_delta;

/* "This text was for that label", and what the router without delta says of it. */
typedef struct ng_lesson {
    const uint32_t *buckets; /* [n_buckets] rising, with repeats */
    size_t n_buckets;
    size_t label;
    const ng_decision *said;
} ng_lesson;

ng_status ng_delta_learn(ng_delta **out, const ng_lesson *lessons, size_t n,
                         const char *const *labels, size_t n_labels, ng_error *err) NG_MUST_USE;
void ng_delta_free(ng_delta *d);
/* buckets[n] rising. */
void ng_delta_apply(const ng_delta *d, const uint32_t *buckets, size_t n, ng_decision *decision);

/* What a file says of itself. */
typedef struct ng_delta_tag {
    uint32_t version;
    uint64_t router; /* of the router's file it was learnt on: another one is refused (NG_EINVALID) */
    uint32_t n_lessons;
} ng_delta_tag;
ng_status ng_delta_write(const ng_delta *d, const ng_delta_tag *tag, const char *path,
                         ng_error *err) NG_MUST_USE;
/* tag->router is what the file must name; version and n_lessons are read. */
ng_status ng_delta_read(ng_delta **out, ng_delta_tag *tag, const char *path,
                        ng_error *err) NG_MUST_USE;

#endif
