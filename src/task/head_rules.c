/* head_rules.c: the task extract by rules alone: personal data that carries its own proof or shape.
 *
 * Holds no state: the rules are code (pii.c), so a head opens without a file and any thread may apply
 * it.  The answer has no confidence: a score stands on each entity, and how sure one is that nothing
 * was missed is not something that a rule knows. */
#include "head_ops.h"

#include "pii.h"
#include <math.h>
#include <string.h>

static bool rules_serve(ng_task task, const char *arch) { return task == NG_TASK_EXTRACT && !*arch; }

static ng_status rules_open(void **self, const ng_head_spec *spec, ng_error *err) {
    (void)spec, (void)err;
    *self = NULL;
    return NG_OK;
}

static ng_status wanted_types(uint32_t *mask, const ng_params *p, ng_error *err) {
    *mask = p->n_types ? 0 : NG_PII_ALL;
    for (size_t i = 0; i < p->n_types; i++) {
        ng_pii_type type;
        if (!ng_pii_parse(&type, p->types[i]))
            return ng_fail(err, NG_EINVALID, "types: '%.40s' is not found by this expert; it finds %s",
                           p->types[i], ng_pii_labels());
        *mask |= 1u << type;
    }
    return NG_OK;
}

/* Byte offsets become counts of characters (code points) in one walk; spans are in order. */
static void offsets_to_chars(ng_entity *e, size_t n, const char *text, size_t len) {
    size_t chars = 0, k = 0, open = 0;
    for (size_t i = 0; i <= len && k < n; i++) {
        if (i == len || ((unsigned char)text[i] & 0xC0) != 0x80) {
            if (i == e[k].start) open = chars;
            if (i == e[k].end) {
                e[k].start = open;
                e[k].end = chars;
                k++;
                if (k < n && i == e[k].start) open = chars; /* spans that touch */
            }
            chars++;
        }
    }
}

static ng_status fill(ng_answer *a, const ng_pii_spans *found, const char *text, ng_error *err) {
    a->entities = ng_answer_alloc(a, found->len * sizeof *a->entities);
    if (!a->entities) return ng_fail(err, NG_ENOMEM, "extract: out of memory");
    for (size_t i = 0; i < found->len; i++) {
        const ng_pii_span *s = &found->items[i];
        const char *copy = ng_answer_strndup(a, text + s->start, s->end - s->start);
        if (!copy) return ng_fail(err, NG_ENOMEM, "extract: out of memory");
        a->entities[i] =
            (ng_entity){s->start, s->end, ng_pii_label(s->type), copy, ng_pii_score(s->type)};
    }
    a->n_entities = found->len;
    return NG_OK;
}

static ng_status rules_apply(void *self, const ng_tier_request *req, ng_answer *answer, ng_error *err) {
    (void)self;
    const char *text;
    size_t len;
    uint32_t mask;
    ng_pii_spans found = {0};
    ng_status s = ng_request_text(req, &text, &len, err);
    if (!s) s = wanted_types(&mask, &req->params, err);
    if (!s) s = ng_pii_scan(&found, text, len, mask, err);
    if (!s) s = fill(answer, &found, text, err);
    ng_pii_spans_clear(&found);
    if (s) return s;
    if (req->params.offsets_chars) offsets_to_chars(answer->entities, answer->n_entities, text, len);
    answer->task = NG_TASK_EXTRACT;
    answer->prompt_tokens = ng_words_count(text, len);
    answer->confidence = NAN;
    answer->in_scope = true;
    return NG_OK;
}

static void rules_close(void *self) { (void)self; }

const ng_head_ops ng_head_rules = {"rules", rules_serve, rules_open, rules_apply, rules_close};
