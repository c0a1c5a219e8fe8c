/* eval.h: how good a package's model is on its recipe's test set, and what it costs.
 *
 *     ng_eval_options o = {.card = true};
 *     ng_eval_result r;
 *     if (ng_eval(&r, "recipes/clinc150.yaml", &o, &err)) ..
 *     for (size_t i = 0; i < r.n; i++) printf("%s %g\n", r.items[i].name, r.items[i].value);
 *
 * All figures but the measured ones (speed, memory) are the same on every machine, to the last digit
 * that is printed; a card's figures can therefore be compared exactly. */
#ifndef NANOGRID_TOOLS_EVAL_H
#define NANOGRID_TOOLS_EVAL_H

#include <nanogrid/json.h>
#include <nanogrid/status.h>

enum { NG_EVAL_METRICS_MAX = 512, NG_EVAL_DECIMALS = 6 };

typedef struct ng_metric {
    char name[48];  /* "accuracy"; "latency_ms.p50" is p50 in the group latency_ms */
    double value;   /* NaN: does not apply */
    bool measured;  /* speed and memory: differs from run to run */
} ng_metric;

typedef struct ng_eval_result {
    char model_path[1024], card_path[1024], scores_path[1024]; /* the last two "" without `card` */
    ng_metric items[NG_EVAL_METRICS_MAX];
    size_t n;
} ng_eval_result;

typedef struct ng_eval_options {
    const char *model_dir; /* NULL: models/NAME beside the recipe's folder */
    bool card;             /* write the card and the scores beside the model */
    const char *noise;     /* of the test texts of labels: typos, spacing, homoglyphs, leetspeak; NULL: none.  Not with card */
    const char *beside;    /* of an encoder's heads that moderate: of each label the greater probability of theirs and of this linear
                              model's, as in a grid with `stands: greater`; NULL: theirs.  Not with card */
} ng_eval_options;

NG_API ng_status ng_eval(ng_eval_result *out, const char *recipe_path, const ng_eval_options *opt,
                         ng_error *err) NG_MUST_USE;
/* Adds a figure (its name cut to fit); does nothing when the table is full. */
NG_API void ng_eval_put(ng_eval_result *r, const char *name, double value, bool measured);
/* {"accuracy": .., "latency_ms": {"p50": ..}}; keys of a group must stand together. */
NG_API void ng_eval_json(ng_json *j, const ng_eval_result *r);

#endif
