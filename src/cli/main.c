/* main.c: picks the verb, parses its options, runs it. */
#include "cli_table.h"

#include <nanogrid/system.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* A cap that this machine lacks is wrong usage in every verb, also where no kernel would run. */
static int check_cpu(void) {
    const char *cap = getenv("NG_CPU");
    ng_error err = {0};
    ng_machine m;
    return cap && *cap && ng_machine_get(&m, &err) == NG_EINVALID ? cli_fail(&err) : -1;
}

int main(int argc, char **argv) {
    signal(SIGXFSZ, SIG_IGN); /* a file larger than `ulimit -f` allows is an error of its write, as a full disk is */
    if (argc < 2) {
        cli_print_overview(stderr);
        return 2;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) name = "help";
    if (!strcmp(name, "--version")) name = "version";
    const cli_verb *v = cli_find(name);
    if (!v) return cli_usage("there is no verb '%s'; `nanogrid --help` lists them", name);
    int n = argc - 2;
    int code = cli_parse(v, &n, argv + 2);
    if (code < 0) code = check_cpu();
    return code >= 0 ? code : v->run(n, argv + 2);
}
