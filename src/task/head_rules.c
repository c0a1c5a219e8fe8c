/* head_rules.c: the task extract by rules alone: personal data that carries its own proof or shape.
 *
 * Holds no state: the rules are code (pii.c), so a head opens without a file and any thread may apply
 * it.  The answer has no confidence: a score stands on each entity, and how sure one is that nothing
 * was missed is not something that a rule knows. */
#include "entities.h"

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

static ng_status rules_apply(void *self, const ng_tier_request *req, ng_answer *answer, ng_error *err) {
    (void)self;
    const char *text;
    size_t len;
    uint32_t mask;
    ng_status s = ng_request_text(req, &text, &len, err);
    if (!s) s = wanted_types(&mask, &req->params, err);
    if (!s) s = ng_entities_add_rules(answer, mask, text, len, err);
    if (s) return s;
    if (req->params.offsets_chars) ng_entities_to_chars(answer->entities, answer->n_entities, text, len);
    answer->task = NG_TASK_EXTRACT;
    answer->prompt_tokens = ng_words_count(text, len);
    answer->confidence = NAN;
    answer->in_scope = true;
    return NG_OK;
}

static void rules_close(void *self) { (void)self; }

const ng_head_ops ng_head_rules = {"rules", rules_serve, rules_open, rules_apply, rules_close};
