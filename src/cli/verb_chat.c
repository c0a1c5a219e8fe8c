/* verb_chat.c: `nanogrid chat`: a conversation, line by line. */
#include "cli_model.h"

#include <nanogrid/head.h>
#include <nanogrid/text.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGES_MAX = 1024 };

static cli_run run_options;
static cli_sampling sampling = CLI_SAMPLING_DEFAULT;
static const char *system_text, *prefix_dir;

static const cli_option options[] = {
    CLI_MODEL_OPTIONS(&run_options),
    {"system", 0, CLI_STR, &system_text, "TEXT", "what the model is told before the conversation", NULL},
    CLI_PREFIX_OPTION(&prefix_dir),
    CLI_SAMPLING_OPTIONS(&sampling),
    {0}};

typedef struct talk {
    ng_head *head;
    ng_generate_options opt;
    ng_message messages[MESSAGES_MAX];
    ng_part parts[MESSAGES_MAX]; /* texts are the talk's, except the system's */
    size_t n, n_system;          /* messages; 1 when the first is the system's */
} talk;

static volatile sig_atomic_t interrupted;
static void on_interrupt(int sig) { interrupted = sig; }

static bool print_piece(void *ctx, const ng_token_event *e) {
    (void)ctx;
    fwrite(e->text, 1, e->len, stdout);
    return fflush(stdout) == 0 && !interrupted;
}

/* Takes `text` (heap). */
static void push(talk *t, const char *role, char *text) {
    t->parts[t->n] = (ng_part){NG_PART_TEXT, text, strlen(text)};
    t->messages[t->n] = (ng_message){role, &t->parts[t->n], 1};
    t->n++;
}

static void pop(talk *t) { free((char *)t->parts[--t->n].text); }

static void reset(talk *t) {
    while (t->n > t->n_system) pop(t);
}

/* One turn; a failed or stopped one leaves the conversation as it was before it. */
static int turn(talk *t, const char *line) {
    ng_error err = {0};
    ng_answer *a = NULL;
    char *said = strdup(line), *answered = NULL;
    if (!said || ng_answer_new(&a)) {
        free(said);
        return err.code = NG_ENOMEM, cli_fail(&err);
    }
    push(t, "user", said);
    ng_tier_request req = {.task = NG_TASK_GENERATE, .messages = t->messages, .n_messages = t->n,
                           .params = {.generate = t->opt, .has_generate = true}, .on_token = print_piece};
    interrupted = 0;
    ng_status s = ng_head_apply(t->head, &req, a, &err);
    putchar('\n');
    fflush(stdout);
    if (!s && (answered = strdup(a->answer))) push(t, "assistant", answered);
    else pop(t);
    if (s == NG_ELIMIT) fputs("nanogrid: the conversation fills the context; /reset starts a new one\n", stderr);
    if (!s && !strcmp(a->finish, "length")) fputs("nanogrid: cut at -n tokens or the end of the context\n", stderr);
    ng_answer_free(a);
    return s ? cli_fail(&err) : 0;
}

/* 0 to go on, 1 to end; *code keeps the last failure. */
static bool one_line(talk *t, char *line, ssize_t len, int *code) {
    if (len && line[len - 1] == '\n') line[--len] = 0;
    if (len && line[len - 1] == '\r') line[--len] = 0;
    if (!strcmp(line, "/exit") || !strcmp(line, "/quit")) return true;
    if (!strcmp(line, "/reset")) {
        reset(t);
        return false;
    }
    if (line[0] == '/') {
        fprintf(stderr, "nanogrid: '%.40s' is no command; there are /reset and /exit\n", line);
        return false;
    }
    if (!len) return false;
    if (strlen(line) != (size_t)len || ng_utf8_invalid_at(line, (size_t)len) < (size_t)len) {
        fputs("nanogrid: the line is not valid UTF-8 text\n", stderr);
        *code = 1;
        return false;
    }
    if (t->n + 2 > MESSAGES_MAX) {
        fputs("nanogrid: the conversation is too long; /reset starts a new one\n", stderr);
        *code = 1;
        return false;
    }
    int failed = turn(t, line);
    if (failed) *code = failed;
    return false;
}

static int converse(talk *t) {
    bool terminal = isatty(STDIN_FILENO);
    char *line = NULL;
    size_t cap = 0;
    int code = 0;
    /* Without SA_RESTART Ctrl-C at the prompt ends the read, and with it the program. */
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_interrupt}, NULL);
    if (terminal) fputs("/reset starts anew, /exit or Ctrl-D ends; Ctrl-C stops an answer\n", stderr);
    for (;;) {
        if (terminal) fputs("> ", stderr);
        ssize_t len = getline(&line, &cap, stdin);
        if (len < 0) break;
        if (one_line(t, line, len, &code)) break;
    }
    if (terminal) fputc('\n', stderr);
    free(line);
    return code;
}

static int run(int argc, char **argv) {
    (void)argv;
    ng_error err = {0};
    static talk t;
    if (argc) return cli_usage("chat takes no words");
    if (!run_options.model) return cli_usage("no model: give one with -m FILE");
    if (run_options.threads < 0 || run_options.threads > 256) return cli_usage("-t must lie in 0 to 256");
    if (cli_sampling_read(&t.opt, &sampling, &err)) return cli_fail(&err);
    ng_head_spec spec = {.task = NG_TASK_GENERATE, .path = run_options.model, .n_threads = (int)run_options.threads,
                         .prefix = {.dir = prefix_dir, .eager = true}};
    if (ng_head_open(&t.head, &spec, &err)) return cli_fail(&err);
    if (system_text) {
        t.parts[0] = (ng_part){NG_PART_TEXT, system_text, strlen(system_text)};
        t.messages[0] = (ng_message){"system", &t.parts[0], 1};
        t.n = t.n_system = 1;
    }
    int code = converse(&t);
    reset(&t);
    ng_head_close(t.head);
    return code;
}

const cli_verb cli_verb_chat = {
    "chat", "-m FILE", "talk with a model",
    "Each line of standard input is one message; the answer streams to standard output. /reset forgets the\n"
    "conversation, /exit ends it; Ctrl-C stops the answer that is being written and keeps what is there.\n",
    options, run};
