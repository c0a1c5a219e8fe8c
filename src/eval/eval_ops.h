/* eval_ops.h: what a kind of evaluation provides.
 *
 * A kind is one file src/eval/eval_KIND.c that ends in its table, and one line in evals.def.  The
 * first kind that serves the recipe's `task` runs it; it reads the rest of the recipe by a schema of
 * its own.  Kinds fill the result with ng_eval_put and write their card with ng_card_write. */
#ifndef NG_EVAL_EVAL_OPS_H
#define NG_EVAL_EVAL_OPS_H

#include "train/recipe.h"
#include <nanogrid/energy.h>
#include <nanogrid/tools/eval.h>

typedef struct ng_eval_ops {
    bool (*serves)(const char *task);
    ng_status (*run)(ng_eval_result *out, const char *recipe_path, const ng_eval_options *opt, ng_error *err);
} ng_eval_ops;

/* What was measured: latency_ms.p50 and .p99 of the n texts that were timed (sorts ms), and energy_mj, millijoules a text, in
 * the group of what tells it, "rapl" or "model" (nanogrid/energy.h; no memory is counted): their share, by time, of what was
 * used since the meter started. */
void ng_eval_put_speed(ng_eval_result *r, double *ms, size_t n, const ng_energy_meter *since);

/* What a card says besides the figures; NULL texts become null. */
typedef struct ng_card {
    const ng_about *about;
    const char *task, *recipe; /* the recipe's path, whose last part is told */
    const char *const *labels;
    size_t n_labels;
} ng_card;

/* card.json: the fields of `card`, "figures" (the same everywhere) and "measured" (here, with the
 * name of the cpu).  The result says where it is. */
ng_status ng_card_write(const ng_card *card, ng_eval_result *r, const char *path, ng_error *err) NG_MUST_USE;

#endif
