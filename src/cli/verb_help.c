/* verb_help.c: `nanogrid help [VERB]`, man pages and shell completion, all from the option tables. */
#include "cli_table.h"

#include <stdio.h>
#include <string.h>

static struct {
    bool man, completion;
} o;

static const cli_option options[] = {
    {"man", 0, CLI_FLAG, &o.man, NULL, "print the man page source of VERB (roff)", NULL},
    {"completion", 0, CLI_FLAG, &o.completion, NULL, "print a bash completion script", NULL},
    {0}};

static int run(int argc, char **argv) {
    if (o.completion) return cli_print_completion(), 0;
    if (argc == 0) {
        if (o.man) cli_print_man(NULL);
        else cli_print_overview(stdout);
        return 0;
    }
    const cli_verb *v = cli_find(argv[0]);
    if (!v) return cli_usage("there is no verb '%s'; `nanogrid help` lists them", argv[0]);
    if (o.man) cli_print_man(v);
    else cli_print_help(v, stdout);
    return 0;
}

const cli_verb cli_verb_help = {"help", "[VERB]", "how to use a verb; man pages and completion", NULL, options, run};
