/* cli_train.h: what the verbs that train print: steps, heads, and the table of a step of compression.
 *
 *     static cli_stage_options o = {.seed = -1};
 *     static const cli_option options[] = {CLI_STAGE_OPTIONS(o), {0}};
 *     static int run(int argc, char **argv) { return cli_train_stage(NG_DISTILL, &o, argc, argv); } */
#ifndef NG_CLI_TRAIN_H
#define NG_CLI_TRAIN_H

#include "cli.h"

#include <nanogrid/tools/train.h>

typedef struct cli_train {
    cli_progress progress;
    bool json;
} cli_train;

ng_status cli_train_run(cli_train *t, ng_train_result *r, const char *recipe, ng_train_options *opt, ng_error *err);
/* Prints the result (an encoder's) or the failure; the exit code. */
int cli_train_end(const cli_train *t, const ng_train_result *r, ng_status s, const ng_error *err);

typedef struct cli_stage_options {
    bool json;
    const char *out, *plot, *exact;
    long seed, threads;
} cli_stage_options;
#define CLI_STAGE_OPTIONS(o)                                                                                            \
    {"out", 'o', CLI_STR, &(o).out, "DIR", "where the model goes (models/NAME beside the recipe's folder)", NULL},      \
    {"seed", 0, CLI_INT, &(o).seed, "N", "instead of the recipe's seed", NULL},                                         \
    {"threads", 't', CLI_INT, &(o).threads, "N", "of the training (all cores)", "NANOGRID_THREADS"},                    \
    {"plot", 0, CLI_STR, &(o).plot, "FILE.svg|png", "draw the loss curve", NULL},                                       \
    {"json", 0, CLI_FLAG, &(o).json, NULL, "print one JSON object a line: each step, then the result", NULL}
/* `calibrate` of an encoder: prints its heads or the failure; the exit code. */
int cli_train_calibrated(const ng_train_result *r, bool json, ng_status s, const ng_error *err);
int cli_train_stage(ng_train_stage stage, const cli_stage_options *o, int argc, char **argv);

#endif
