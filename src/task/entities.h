/* entities.h: what heads that extract share: byte offsets to characters, and a model's entities beside those of rules.
 *
 *     ng_entities_add_rules(answer, mask, text, len, &err);      e-mail addresses, cards, .. (pii.h)
 *     if (req->params.offsets_chars) ng_entities_to_chars(answer->entities, answer->n_entities, text, len);
 *
 * Entities are in order of start and do not overlap, before and after. */
#ifndef NG_TASK_ENTITIES_H
#define NG_TASK_ENTITIES_H

#include "head_ops.h"

/* Byte offsets become counts of code points. */
void ng_entities_to_chars(ng_entity *e, size_t n, const char *text, size_t len);
/* Neighbours labelled `kind` that only what parts the pieces of one address stands between (ng_span_gap, model/token_spans.h) become one
 * where a digit is in one of them: "5 Elm Rd", "Rome".  "Paris, France" stays two.  Offsets are bytes; a joined one has the least score and no
 * text.  Returns how many are left. */
size_t ng_entities_join(ng_entity *e, size_t n, const char *text, const char *kind);
/* Merges what the rules of `mask` find into the answer.  Where a rule and the model overlap the rule's
 * stays, as it carries its own proof, and of the model's what stands before it or behind it; a street by rule and a
 * place of the model that overlap are one.  The pieces of each address are joined, and
 * places and organizations found word by word.  The model's entities need no text. */
ng_status ng_entities_add_rules(ng_answer *a, uint32_t mask, const char *text, size_t len, ng_error *err) NG_MUST_USE;

#endif
