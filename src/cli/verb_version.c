/* verb_version.c: `nanogrid version`. */
#include "cli.h"

#include <stdio.h>

static struct {
    bool json;
} o;

static const cli_option options[] = {{"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL}, {0}};

static int run(int argc, char **argv) {
    (void)argv;
    if (argc) return cli_usage("version takes no words");
    printf(o.json ? "{\"version\": \"%s\"}\n" : "nanogrid %s\n", ng_version());
    return 0;
}

const cli_verb cli_verb_version = {"version", "", "the version of this program", NULL, options, run};
