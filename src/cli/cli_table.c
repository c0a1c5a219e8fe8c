/* cli_table.c: parsing by table, and the texts made from the table.  See cli.h. */
#include "cli_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VERB(name) extern const cli_verb cli_verb_##name;
#include "verbs.def"
#undef VERB

const cli_verb *const cli_verbs[] = {
#define VERB(name) &cli_verb_##name,
#include "verbs.def"
#undef VERB
    NULL};

const cli_verb *cli_find(const char *name) {
    for (size_t i = 0; cli_verbs[i]; i++)
        if (!strcmp(cli_verbs[i]->name, name)) return cli_verbs[i];
    return NULL;
}

static const cli_option *find_option(const cli_verb *v, const char *name, size_t len, char letter) {
    for (const cli_option *p = v->options; p && p->name; p++) {
        if (letter && p->letter == letter) return p;
        if (name && strlen(p->name) == len && !strncmp(p->name, name, len)) return p;
    }
    return NULL;
}

static bool set(const cli_option *p, const char *word) {
    char *end;
    errno = 0;
    switch (p->type) {
    case CLI_FLAG: *(bool *)p->value = true; return true;
    case CLI_STR: *(const char **)p->value = word; return true;
    case CLI_INT: *(long *)p->value = strtol(word, &end, 10); return *word && !*end && !errno;
    case CLI_NUM: *(double *)p->value = strtod(word, &end); return *word && !*end && !errno;
    case CLI_LIST: {
        cli_list *l = p->value;
        if (l->len == CLI_LIST_MAX) return false;
        l->items[l->len++] = word;
        return true;
    }
    }
    return false;
}

static int bad_value(const cli_verb *v, const cli_option *p, const char *word, const char *where) {
    return cli_usage("%s: %s'%s' is not %s for --%s", v->name, where, word,
                     p->type == CLI_LIST ? "possible" : p->type == CLI_INT ? "a whole number" : "a number", p->name);
}

static int from_environment(const cli_verb *v) {
    for (const cli_option *p = v->options; p && p->name; p++) {
        const char *word = p->env ? getenv(p->env) : NULL;
        if (!word || !*word) continue;
        if (p->type == CLI_FLAG) *(bool *)p->value = strcmp(word, "0") && strcmp(word, "false");
        char where[64];
        snprintf(where, sizeof where, "$%s: ", p->env);
        if (p->type != CLI_FLAG && !set(p, word)) return bad_value(v, p, word, where);
    }
    return -1;
}

/* One word that starts with a dash; may use argv[*i + 1].  -1 to go on. */
static int one_option(const cli_verb *v, int argc, char **argv, int *i) {
    const char *word = argv[*i], *value = NULL;
    const cli_option *p;
    char shown[64];
    if (word[1] == '-') {
        size_t len = strcspn(word + 2, "=");
        p = find_option(v, word + 2, len, 0);
        if (word[2 + len] == '=') value = word + 3 + len;
        snprintf(shown, sizeof shown, "--%.*s", (int)(len < 50 ? len : 50), word + 2);
    } else {
        p = find_option(v, NULL, 0, word[1]);
        if (word[2]) value = word + 2 + (word[2] == '=');
        snprintf(shown, sizeof shown, "-%c", word[1]);
    }
    if (!p) return cli_usage("%s has no option %s; see `nanogrid %s --help`", v->name, shown, v->name);
    if (p->type == CLI_FLAG) {
        if (value) return cli_usage("%s: %s takes no value", v->name, shown);
        set(p, NULL);
        return -1;
    }
    if (!value) {
        if (*i + 1 >= argc) return cli_usage("%s: %s needs a value (%s)", v->name, shown, p->arg);
        value = argv[++*i];
    }
    return set(p, value) ? -1 : bad_value(v, p, value, "");
}

int cli_parse(const cli_verb *v, int *argc, char **argv) {
    int n = 0, code = from_environment(v);
    bool only_words = false;
    for (int i = 0; i < *argc && code < 0; i++) {
        const char *w = argv[i];
        if (only_words || w[0] != '-' || !w[1]) {
            argv[n++] = argv[i];
        } else if (!strcmp(w, "--")) {
            only_words = true;
        } else if (!strcmp(w, "--help") || !strcmp(w, "-h")) {
            cli_print_help(v, stdout);
            return 0;
        } else {
            code = one_option(v, *argc, argv, &i);
        }
    }
    *argc = n;
    return code;
}

void cli_print_overview(FILE *f) {
    fprintf(f, "nanogrid %s: an inference grid of nano language models\n\nusage: nanogrid VERB [OPTIONS] [TEXT]\n\n",
            ng_version());
    for (size_t i = 0; cli_verbs[i]; i++) fprintf(f, "  %-16s %s\n", cli_verbs[i]->name, cli_verbs[i]->summary);
    fprintf(f, "\n`nanogrid VERB --help` tells more.  Exit: 0 done, 1 failed, 2 wrong usage.\n");
}

static void option_names(const cli_option *p, char *out, size_t cap) {
    char letter[8] = "";
    if (p->letter) snprintf(letter, sizeof letter, "-%c, ", p->letter);
    snprintf(out, cap, "%s--%s%s%s", letter, p->name, p->arg ? " " : "", p->arg ? p->arg : "");
}

void cli_print_help(const cli_verb *v, FILE *f) {
    fprintf(f, "usage: nanogrid %s%s%s\n\n%s\n", v->name, *v->args ? " " : "", v->args, v->summary);
    if (v->details) fprintf(f, "\n%s\n", v->details);
    if (v->options && v->options->name) fprintf(f, "\n");
    for (const cli_option *p = v->options; p && p->name; p++) {
        char names[96];
        option_names(p, names, sizeof names);
        fprintf(f, "  %-28s %s", names, p->help);
        if (p->env) fprintf(f, " ($%s)", p->env);
        fputc('\n', f);
    }
}

static void roff(const char *s) { /* dashes and leading dots mean something to roff */
    for (bool line_start = true; *s; s++) {
        if (line_start && (*s == '.' || *s == '\'')) fputs("\\&", stdout);
        if (*s == '-' || *s == '\\') putchar('\\');
        putchar(*s);
        line_start = *s == '\n';
    }
}

void cli_print_man(const cli_verb *v) {
    if (!v) {
        printf(".TH NANOGRID 1 \"\" \"nanogrid %s\"\n.SH NAME\nnanogrid \\- an inference grid of nano language models\n"
               ".SH SYNOPSIS\n.B nanogrid\nVERB [OPTIONS] [TEXT]\n.SH VERBS\n", ng_version());
        for (size_t i = 0; cli_verbs[i]; i++) {
            printf(".TP\n.B %s\n", cli_verbs[i]->name);
            roff(cli_verbs[i]->summary);
            putchar('\n');
        }
        printf(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage.\n");
        return;
    }
    printf(".TH NANOGRID-%s 1 \"\" \"nanogrid %s\"\n.SH NAME\nnanogrid-%s \\- ", v->name, ng_version(), v->name);
    roff(v->summary);
    printf("\n.SH SYNOPSIS\n.B nanogrid %s\n", v->name);
    roff(v->args);
    putchar('\n');
    if (v->details) printf(".SH DESCRIPTION\n"), roff(v->details), putchar('\n');
    if (v->options && v->options->name) printf(".SH OPTIONS\n");
    for (const cli_option *p = v->options; p && p->name; p++) {
        char names[96];
        option_names(p, names, sizeof names);
        printf(".TP\n.B ");
        roff(names);
        putchar('\n');
        roff(p->help);
        if (p->env) printf(" ($%s)", p->env);
        putchar('\n');
    }
}

void cli_print_completion(void) {
    printf("# bash completion for nanogrid; source it or put it into /etc/bash_completion.d\n"
           "_nanogrid() {\n  local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
           "  if [ $COMP_CWORD -eq 1 ]; then words='");
    for (size_t i = 0; cli_verbs[i]; i++) printf("%s ", cli_verbs[i]->name);
    printf("'\n  else case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; cli_verbs[i]; i++) {
        printf("    %s) words='--help", cli_verbs[i]->name);
        for (const cli_option *p = cli_verbs[i]->options; p && p->name; p++) printf(" --%s", p->name);
        printf("';;\n");
    }
    printf("  esac; fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
           "  [ ${#COMPREPLY[@]} -eq 0 ] && COMPREPLY=($(compgen -f -- \"$cur\"))\n}\ncomplete -F _nanogrid "
           "nanogrid\n");
}
