/* cli_table.h: what main.c and verb_help.c share: looking verbs up, parsing and printing their tables. */
#ifndef NG_CLI_TABLE_H
#define NG_CLI_TABLE_H

#include "cli.h"
#include <stdio.h>

const cli_verb *cli_find(const char *name);
/* Moves the words that are no options to argv[0..*argc); -1 to go on, else the exit code. */
int cli_parse(const cli_verb *v, int *argc, char **argv);
void cli_print_overview(FILE *f);
void cli_print_help(const cli_verb *v, FILE *f);
void cli_print_man(const cli_verb *v); /* NULL: nanogrid(1) itself */
void cli_print_completion(void);

#endif
