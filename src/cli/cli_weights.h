/* cli_weights.h: what convert and quantize share: progress while a file is made, then its report.
 *
 *     ng_weights_options opt = {.type = argv[2]};
 *     return cli_weights_run(&(cli_weights){.what = "quantize", .make = ng_quantize_file, .json = o.json}, argv, &opt); */
#ifndef NG_CLI_WEIGHTS_H
#define NG_CLI_WEIGHTS_H

#include "cli.h"

#include <nanogrid/tools/weights.h>

typedef struct cli_weights {
    const char *what; /* for the progress bar */
    ng_status (*make)(ng_weights_report *r, const char *in, const char *out,
                      const ng_weights_options *opt, ng_error *err);
    bool json;
    bool compare;     /* measure what was lost; without `accept` a file that lost too much is not kept */
    bool accept;
    const char *text; /* a file to compare on, or NULL: see cli_loss.h */
} cli_weights;

/* Makes argv[1] from argv[0] and prints the report; sets the progress of `opt`.  The exit code. */
int cli_weights_run(const cli_weights *w, char **argv, ng_weights_options *opt);

#endif
