/* verb_prune.c: `nanogrid prune RECIPE`. */
#include "cli_train.h"

static cli_stage_options o = {.seed = -1};
static const cli_option options[] = {CLI_STAGE_OPTIONS(o), {0}};

static int run(int argc, char **argv) { return cli_train_stage(NG_PRUNE, &o, argc, argv); }

const cli_verb cli_verb_prune = {
    "prune", "RECIPE.yaml [--out DIR] [--seed N] [--plot FILE.svg|png] [--json]", "take the least useful parts off an encoder and let it recover",
    "A recipe of the task encoder with a section prune: {inner: SHARE, heads: N, layers: N}.  base.model is a trained encoder with heads; what "
    "stays is chosen by the activations of training texts, and recovers by learning from the whole model's answers.\n\nThe table of "
    "accuracy and speed before and after, on held-out texts, is always printed; a drop beyond limit: fails and leaves the old file "
    "as it was.  A run that was stopped goes on from its checkpoint.",
    options, run};
