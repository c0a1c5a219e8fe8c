/* on_long.c: a prompt that does not fit its expert, made shorter.
 *
 * The grid's own summariser picks sentences of the last message of the user, in their order; what is
 * left is a part of what was written, no word of it is new.  Each try halves the budget of words, so at
 * most TRIES questions to the expert are made, which refuses by counting and before any token. */
#include "grid_parts.h"

#include "task/head_ops.h"

#include <stdlib.h>
#include <string.h>

static const grid_member *find_summariser(const ng_grid *g) {
    for (size_t i = 0; i < g->n_experts; i++) {
        const char *why;
        if (g->members[i].task == NG_TASK_SUMMARIZE && ng_member_runs(&g->members[i], &why))
            return &g->members[i];
    }
    return NULL;
}

static ng_status summarise(asking *a, const grid_member *m, uint32_t max_words, ng_answer **out,
                           ng_error *err) {
    ng_part part = {NG_PART_TEXT, a->text, a->len};
    ng_message message = {"user", &part, 1};
    ng_tier_request req = {.task = NG_TASK_SUMMARIZE,
                           .expert = m->name,
                           .messages = &message,
                           .n_messages = 1,
                           .params = {.max_tokens = max_words},
                           .deadline_ms = a->req.deadline_ms};
    if (ng_answer_new(out)) return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    (*out)->task = NG_TASK_SUMMARIZE;
    ng_status s = m->tier.submit(m->tier.self, &req, *out, err);
    if (!s && !((*out)->answer && *(*out)->answer))
        s = ng_fail(err, NG_ELIMIT, "nothing of the text is short enough");
    if (s) ng_answer_free(*out), *out = NULL;
    return s;
}

/* The request with `text` in place of the last message of the user. */
static ng_status replace_text(asking *a, const char *text, ng_error *err) {
    const ng_request *r = a->request;
    size_t len = strlen(text), at = 0;
    char *copy = malloc(len + 1);
    ng_message *messages = malloc(r->n_messages * sizeof *messages);
    if (!copy || !messages) {
        free(copy);
        free(messages);
        return ng_fail(err, NG_ENOMEM, "compression: out of memory");
    }
    memcpy(copy, text, len + 1);
    memcpy(messages, r->messages, r->n_messages * sizeof *messages);
    for (size_t i = 0; i < r->n_messages; i++)
        if (!strcmp(messages[i].role, "user") && messages[i].n_parts) at = i;
    free(a->shortened);
    free(a->shortened_messages);
    a->shortened = copy;
    a->shortened_messages = messages;
    a->shortened_part = (ng_part){NG_PART_TEXT, copy, len};
    messages[at].parts = &a->shortened_part;
    messages[at].n_parts = 1;
    a->req.messages = messages;
    a->req.n_messages = r->n_messages;
    return NG_OK;
}

ng_status ng_ask_shorten(asking *a, int round, ng_error *err) {
    const grid_member *m = find_summariser(a->grid);
    size_t words = ng_words_count(a->text, a->len) >> (round + 1);
    ng_answer *said;
    if (!m) return ng_fail(err, NG_ELIMIT, "no expert here summarises, so it cannot be compressed");
    if (!words) return ng_fail(err, NG_ELIMIT, "no shorter text says it");
    ng_status s = summarise(a, m, (uint32_t)words, &said, err);
    if (s) return s;
    s = replace_text(a, said->answer, err);
    ng_answer_free(said);
    return s;
}
