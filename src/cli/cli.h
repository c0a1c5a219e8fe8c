/* cli.h: one table of options a verb; --help, man pages, completion and NANOGRID_* names come from it.
 *
 * A verb is one file, src/cli/verb_NAME.c, that ends in its descriptor, and one line in verbs.def:
 *
 *     static struct { const char *model; long n; bool json; } o = {.n = 128};
 *     static const cli_option options[] = {
 *         {"model", 'm', CLI_STR, &o.model, "FILE", "the GGUF file to run"},
 *         {"n-predict", 'n', CLI_INT, &o.n, "N", "tokens to generate (128)"},
 *         {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object"},
 *         {0}};
 *     static int run(int argc, char **argv) { .. }      what is left after the options
 *     const cli_verb cli_verb_complete = {"complete", "-m FILE (-p TEXT | --tokens IDS) -n N",
 *         "raw generation", "..more text for --help..", options, run};
 *
 * Rules for every verb: results on stdout, everything else on stderr; --json where it prints a
 * result; `-` or no TEXT means standard input; exit 0 done, 1 failed, 2 wrong usage.  Verbs include
 * only <nanogrid/...>. */
#ifndef NG_CLI_H
#define NG_CLI_H

#include <nanogrid/buf.h>
#include <nanogrid/json.h>
#include <nanogrid/status.h>

typedef enum cli_type {
    CLI_FLAG, /* bool *      */
    CLI_STR,  /* const char ** */
    CLI_INT,  /* long *; the whole word must be a number */
    CLI_NUM,  /* double *    */
    CLI_LIST, /* cli_list *: may be given again and again */
} cli_type;

enum { CLI_LIST_MAX = 64 };
typedef struct cli_list {
    const char *items[CLI_LIST_MAX];
    int len;
} cli_list;

typedef struct cli_option {
    const char *name; /* long name without dashes; NULL ends the table */
    char letter;      /* short name or 0; `-h` is help everywhere */
    cli_type type;
    void *value;
    const char *arg;  /* "FILE" in the help text; NULL for flags */
    const char *help; /* one line, with the default in brackets */
    const char *env;  /* NANOGRID_..: read when the option is not given; or NULL */
} cli_option;

typedef struct cli_verb {
    const char *name;
    const char *args;    /* the synopsis after `nanogrid NAME` */
    const char *summary; /* one line, lower case, no full stop */
    const char *details; /* paragraphs for --help and the man page, or NULL */
    const cli_option *options;
    int (*run)(int argc, char **argv); /* argv[0..argc): the words that are no options */
} cli_verb;

extern const cli_verb *const cli_verbs[]; /* NULL ends it */

/* Prints "nanogrid: TEXT" on stderr and returns the exit code that belongs to err->code. */
int cli_fail(const ng_error *err);
/* The same for usage errors found by the verb itself; returns 2. */
int cli_usage(const char *fmt, ...) NG_PRINTF(1, 2);

/* TEXT from the command line: argv[0], or standard input for none or "-"; drops one final newline;
 * refuses invalid UTF-8 (NG_EFORMAT).  `out` is an initialised buffer. */
ng_status cli_text(ng_buf *out, int argc, char **argv, ng_error *err) NG_MUST_USE;
/* Standard input or FILE as bytes. */
ng_status cli_read(ng_buf *out, const char *path, ng_error *err) NG_MUST_USE;
/* "1,2,3" to ids; NG_EINVALID names the word. *ids ends with free(). */
ng_status cli_ids(const char *text, int32_t **ids, size_t *n, ng_error *err) NG_MUST_USE;
/* Writes the buffer and a newline to stdout; returns 0, or 1 when memory or stdout failed. */
int cli_print(const ng_buf *b);

/* A progress bar on stderr for work over a second when stderr is a terminal; silent otherwise. */
typedef struct cli_progress {
    const char *what;
    double started_ms, drawn_ms;
    bool shown;
} cli_progress;
void cli_progress_step(cli_progress *p, double done, double total);
void cli_progress_end(cli_progress *p);

#endif
