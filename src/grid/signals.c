/* signals.c: what the grid looks at before it decides: personal data, language, and the shape of the request.
 *
 * Each signal is taken only where it can change something: personal data where an upstream could be
 * asked or the text could be kept, the language where an expert names the languages that it serves.
 * What cannot be looked at counts as the strictest case: without a detector all text is
 * personal. */
#include "grid_parts.h"

#include "core/clock.h"
#include "route/complexity.h"
#include "task/pii.h"
#include "text/plain.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A language is believed from this confidence on and for texts of at least this many bytes:
 * language models err on single words (two of three are right at best), and a wrong language would
 * send an English request away.  Measured with language-id on the test sets of the English experts
 * (CLINC150, TagMyNews, TREC, SST-2, Snips: 11,342 texts of 20 bytes and more): one of them is
 * taken for another language at 0.95, eight at 0.9. */
static const double LANGUAGE_SURE = 0.95;
enum { LANGUAGE_MIN_BYTES = 20 };

/* Dates and addresses of pages say nothing about a person. */
static bool is_personal(const char *label) {
    return strcmp(label, "date") && strcmp(label, "time") && strcmp(label, "url");
}

static int8_t search(const ng_tier *pii, const char *text, size_t len, const ng_tier_request *req) {
    ng_answer *found;
    ng_error err = {0};
    if (!pii->self || ng_answer_new(&found)) return 1;
    ng_part part = {NG_PART_TEXT, text, len};
    ng_message message = {"user", &part, 1};
    ng_tier_request r = {.task = NG_TASK_EXTRACT, .messages = &message, .n_messages = 1, .features = req->features,
                         .features_len = req->features_len};
    found->task = NG_TASK_EXTRACT;
    int8_t personal = pii->submit(pii->self, &r, found, &err) != NG_OK;
    for (size_t i = 0; i < found->n_entities; i++)
        personal |= is_personal(found->entities[i].label);
    ng_answer_free(found);
    return personal;
}

/* As it is written, and as it reads: an address with an invisible letter in it is an address. */
static int8_t find_in_text(const ng_tier *pii, const char *text, size_t len, const ng_tier_request *req) {
    ng_buf plain = ng_buf_init(GRID_TEXT_MAX + 64);
    int8_t personal = search(pii, text, len, req) || (!req->features && ng_pii_suspected(text, len));
    if (!personal && !req->features && ng_text_plain(&plain, text, len))
        personal = search(pii, plain.data, plain.len, req) || ng_pii_suspected(plain.data, plain.len);
    ng_buf_clear(&plain);
    return personal;
}

static int8_t find_in_texts(const ng_tier *pii, const char *const *texts, size_t n, const ng_tier_request *req) {
    int8_t personal = 0;
    for (size_t i = 0; i < n && !personal; i++) personal = find_in_text(pii, texts[i], strlen(texts[i]), req);
    return personal;
}

/* In all that an upstream would be sent: every message, and the texts among the parameters. */
static int8_t find_personal(const ng_tier *pii, const ng_tier_request *req) {
    const ng_params *p = &req->params;
    int8_t personal = 0;
    for (size_t i = req->n_messages; i-- > 0 && !personal;)
        for (size_t k = 0; k < req->messages[i].n_parts && !personal; k++)
            personal = find_in_text(pii, req->messages[i].parts[k].text, req->messages[i].parts[k].len, req);
    if (!personal && p->context) personal = find_in_texts(pii, &p->context, 1, req);
    if (!personal) personal = find_in_texts(pii, p->documents, p->n_documents, req);
    if (!personal) personal = find_in_texts(pii, p->labels, p->n_labels, req);
    return personal;
}

static bool pii_matters(const asking *a) {
    const ng_grid *g = a->grid;
    return g->config.pii != NG_PRIVACY_ANY &&
           (g->n_members > g->n_experts || g->config.records.text || g->config.cache.prefix_disk || g->semantic) &&
           a->limits.privacy < g->config.pii;
}

bool ng_has_foreign_letters(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] >= 0xC3 && (unsigned char)text[i] != 0xE2)
            return true; /* E2: dashes, quotes */
    return false;
}

/* Telling 75 languages takes longer (some 25 us) than both decisions together, so it is asked for
 * only where a doubt exists: letters beyond ASCII, or a router that is not sure. */
static bool language_matters(const asking *a) {
    static const double SURE = 0.95;
    bool labels =
        a->task == NG_TASK_AUTO || a->task == NG_TASK_CLASSIFY || a->task == NG_TASK_MODERATE;
    if (!a->grid->languages_matter || !a->grid->language || a->pinned || !labels ||
        a->len < LANGUAGE_MIN_BYTES)
        return false;
    const ng_decision *d = a->rec.experts.n_scores ? &a->rec.experts : &a->rec.tasks;
    return !(d->n_scores && (double)d->scores[0].p >= SURE) || ng_has_foreign_letters(a->text, a->len);
}

void ng_ask_language(asking *a) {
    const grid_member *m = a->grid->language;
    ng_answer *said;
    ng_error err = {0};
    if (!language_matters(a) || ng_answer_new(&said)) return;
    uint64_t t0 = ng_clock_ns();
    ng_tier_request r = a->req;
    r.task = said->task = NG_TASK_DETECT_LANGUAGE;
    r.expert = m->name;
    r.params = (ng_params){0};
    if (m->tier.submit(m->tier.self, &r, said, &err) == NG_OK && said->label &&
        said->confidence >= LANGUAGE_SURE) {
        snprintf(a->rec.language, sizeof a->rec.language, "%s", said->label);
        a->limits.language = a->rec.language;
    }
    a->rec.language_us = (double)(ng_clock_ns() - t0) * 1e-3;
    ng_answer_free(said);
}

/* What the text looks like and where the conversation stands: the cascade learns from it (outcomes.c), records tell it.  A replay has
 * no text and takes what was seen then. */
static void look_at_shape(asking *a) {
    const grid_hooks *h = &a->grid->hooks;
    ng_record *rec = &a->rec;
    if (h->recall_shape) {
        h->recall_shape(h->ctx, rec);
        return;
    }
    uint64_t t0 = ng_clock_ns();
    rec->structure = ng_structure_of(a->text, a->len);
    rec->complexity = ng_complexity_of(a->text, a->len, &rec->structure);
    rec->turns = ng_turns_of(a->request->messages, a->request->n_messages);
    rec->shape_us = (double)(ng_clock_ns() - t0) * 1e-3;
}

void ng_ask_signals(asking *a) {
    look_at_shape(a);
    a->rec.pii = -1;
    if (pii_matters(a)) {
        uint64_t t0 = ng_clock_ns();
        a->rec.pii = find_personal(&a->grid->pii, &a->req);
        a->rec.pii_us = (double)(ng_clock_ns() - t0) * 1e-3;
        if (a->rec.pii) a->limits.privacy = ng_privacy_meet(a->limits.privacy, a->grid->config.pii);
        if (!a->grid->pii.self)
            ng_ask_warn(a,
                        "personal data cannot be looked for (%s): the text is treated as personal",
                        a->grid->pii_why);
    }
    a->rec.privacy = a->limits.privacy;
}

/* Where nothing could leave, nobody looked before the answer; a replay under another configuration has
 * to know all the same. */
void ng_late_signals(void *ctx, ng_record *r) {
    const ng_grid *g = ctx;
    if (r->pii >= 0 || !r->text || !g->pii.self) return;
    ng_part part = {NG_PART_TEXT, r->text, r->text_len};
    ng_message message = {"user", &part, 1};
    ng_tier_request req = {.messages = &message, .n_messages = 1};
    r->pii = find_personal(&g->pii, &req);
}
