/* verb_distill.c: `nanogrid distill RECIPE`. */
#include "cli_train.h"

static cli_stage_options o = {.seed = -1};
static const cli_option options[] = {
    CLI_STAGE_OPTIONS(o),
    {"exact", 0, CLI_STR, &o.exact, "FILE.gguf", "also write the weights before rounding (F32)", NULL},
    {0}};

static int run(int argc, char **argv) { return cli_train_stage(NG_DISTILL, &o, argc, argv); }

const cli_verb cli_verb_distill = {
    "distill", "RECIPE.yaml [--out DIR] [--seed N] [--plot FILE.svg|png] [--exact FILE.gguf] [--json]", "teach a small encoder what larger models answer",
    "A recipe of the task encoder with a section distill:.  Each head's teachers are GGUF files, run by this engine, or recorded "
    "answers (JSONL: text, scores); their probabilities are softened and averaged.  The student starts from chosen layers and words "
    "of the base, and may follow the base's last layer, too.\n\nWith limit: the new model is compared on held-out texts; the table is "
    "printed, and a drop beyond the limit fails and leaves the old file as it was.  A run that was stopped goes on from its checkpoint"
    ".",
    options, run};
