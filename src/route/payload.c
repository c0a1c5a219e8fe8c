/* payload.c: what of a request is the instruction, and what is the text it is about.
 *
 * "Which language is this: Wo ist der Bahnhof?" is a request about its last four words; an expert that
 * reads all of it answers English.  There is no list of phrases here: the task router itself, trained on
 * requests as people type them, is asked about the part before a cut (a colon, a question mark, the end
 * of a line) or about the last line, and a part that says the task on its own is the instruction.
 *
 * Only for tasks that are about a text and do not change its meaning by leaving words out: a moderation
 * judges all that was typed, since "just kidding: .." would hide what stands before it. */
#include "route.h"

#include <string.h>

enum { INSTRUCTION_MAX = 120, CUTS_MAX = 3 };

/* A part of a request is an instruction when it names the task with at least this probability: the
 * router gives bare instructions 0.99 and more, ordinary sentences rarely a half. */
static const float SAYS_THE_TASK = 0.9f;

static bool says_task(const ng_tier *router, ng_task task, const char *text, size_t len) {
    char copy[INSTRUCTION_MAX + 1];
    memcpy(copy, text, len);
    copy[len] = 0;
    ng_part part = {NG_PART_TEXT, copy, len};
    ng_message message = {"user", &part, 1};
    ng_tier_request req = {.task = NG_TASK_CLASSIFY, .messages = &message, .n_messages = 1};
    ng_decision d;
    return ng_router_decide(&d, router, &req, NULL) == NG_OK && d.n_scores > 0 && d.in_scope &&
           !strcmp(d.scores[0].label, ng_task_name(task)) && d.scores[0].p >= SAYS_THE_TASK;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static void trim(const char *text, ng_payload *p) {
    while (p->begin < p->end && is_blank(text[p->begin])) p->begin++;
    while (p->end > p->begin && is_blank(text[p->end - 1])) p->end--;
}

/* The instruction first: "Summarize: ..", "what language is this? ..". */
static bool cut_front(ng_payload *p, const ng_tier *router, ng_task task, const char *text) {
    size_t limit = p->end < INSTRUCTION_MAX ? p->end : INSTRUCTION_MAX;
    int cuts = 0;
    for (size_t i = 1; i + 1 < limit && cuts < CUTS_MAX; i++) {
        bool cut = text[i] == '\n' || ((text[i] == ':' || text[i] == '?') && is_blank(text[i + 1]));
        if (!cut) continue;
        cuts++;
        ng_payload rest = {i + 1, p->end};
        trim(text, &rest);
        if (rest.begin == rest.end) return false;
        if (says_task(router, task, text, i + 1)) return *p = rest, true;
    }
    return false;
}

/* The instruction last, on a line of its own. */
static bool cut_back(ng_payload *p, const ng_tier *router, ng_task task, const char *text) {
    const char *line = p->end ? memrchr(text, '\n', p->end) : NULL;
    if (!line) return false;
    size_t at = (size_t)(line - text), len = p->end - at - 1;
    ng_payload rest = {0, at};
    trim(text, &rest);
    if (len == 0 || len > INSTRUCTION_MAX || rest.begin == rest.end) return false;
    if (!says_task(router, task, line + 1, len)) return false;
    *p = rest;
    return true;
}

ng_payload ng_router_payload(const ng_tier *router, ng_task task, const char *text, size_t len) {
    ng_payload p = {0, len};
    if (task != NG_TASK_DETECT_LANGUAGE && task != NG_TASK_SUMMARIZE) return p;
    trim(text, &p);
    if (!cut_front(&p, router, task, text)) cut_back(&p, router, task, text);
    return p;
}
