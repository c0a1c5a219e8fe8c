/* reading.c: the text as routers and experts for labels read it.
 *
 * Two steps, both only where there is something to do.  Dirt goes for every task with labels (text/plain.h).  Typing errors
 * are put right (model/spelling.h) for routers and for `classify` alone: a list of usual words could turn an insult that is
 * spelt oddly into a harmless word, and a foreign language into English.  Other experts, upstreams and the search for personal
 * data see the text as it is.  No memory for that: the text is read as it is. */
#include "grid_parts.h"

#include "core/clock.h"
#include "text/plain.h"
#include <stdlib.h>
#include <string.h>

static bool take(ng_buf *b, char **copy, ng_part *part, ng_message *message) {
    if (!(*copy = strndup(b->data, b->len))) return false;
    *part = (ng_part){NG_PART_TEXT, *copy, strlen(*copy)};
    *message = (ng_message){"user", part, 1};
    return true;
}

void ng_ask_read(asking *a) {
    ng_buf b = ng_buf_init(GRID_TEXT_MAX + 64);
    if (!a->request->features && ng_text_plain(&b, a->text, a->len))
        take(&b, &a->plain, &a->plain_part, &a->plain_message);
    ng_buf_clear(&b);
}

void ng_ask_spell(asking *a) {
    const ng_task task = a->request->task;
    if (!a->grid->spelling || a->request->features || (task != NG_TASK_AUTO && task != NG_TASK_CLASSIFY)) return;
    uint64_t t0 = ng_clock_ns();
    ng_buf b = ng_buf_init(2 * GRID_TEXT_MAX);
    const char *text = a->plain ? a->plain : a->text;
    if (ng_spelling_fix(a->grid->spelling, &b, text, a->plain ? a->plain_part.len : a->len))
        take(&b, &a->spelt, &a->spelt_part, &a->spelt_message);
    ng_buf_clear(&b);
    a->rec.spelling_us = (double)(ng_clock_ns() - t0) * 1e-3;
}

ng_tier_request ng_ask_reading(const asking *a, ng_task task) {
    ng_tier_request r = a->req;
    const ng_message *m = a->reading                           ? a->reading
                          : a->spelt && task == NG_TASK_CLASSIFY ? &a->spelt_message
                          : a->plain                           ? &a->plain_message
                                                               : NULL;
    if (m && (a->reading || !a->payload)) r.messages = m, r.n_messages = 1;
    return r;
}

ng_part ng_ask_read_part(const asking *a) {
    return a->spelt ? a->spelt_part : a->plain ? a->plain_part : (ng_part){NG_PART_TEXT, a->text, a->len};
}

bool ng_ask_read_twice(const asking *a) {
    return a->spelt && a->request->task == NG_TASK_AUTO &&
           (a->task == NG_TASK_MODERATE || a->task == NG_TASK_DETECT_LANGUAGE);
}

char *ng_ask_take_reading(asking *a) {
    char **from = a->spelt ? &a->spelt : &a->plain, *text = *from;
    *from = NULL;
    return text;
}
