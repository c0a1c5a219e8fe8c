/* entities.c: see entities.h. */
#include "entities.h"

#include "pii.h"
#include <string.h>

/* One walk over the text, as entities are in order. */
void ng_entities_to_chars(ng_entity *e, size_t n, const char *text, size_t len) {
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

static bool overlaps(const ng_entity *e, const ng_pii_spans *found) {
    for (size_t i = 0; i < found->len && found->items[i].start < e->end; i++)
        if (found->items[i].end > e->start) return true;
    return false;
}

static ng_status merge(ng_answer *a, const ng_pii_spans *found, const char *text, ng_error *err) {
    ng_entity *out = ng_answer_alloc(a, (a->n_entities + found->len + 1) * sizeof *out);
    size_t n = 0, k = 0;
    if (!out) return ng_fail(err, NG_ENOMEM, "extract: out of memory");
    for (size_t i = 0; i <= a->n_entities; i++) {
        size_t before = i < a->n_entities ? a->entities[i].start : SIZE_MAX;
        for (; k < found->len && found->items[k].start <= before; k++) {
            const ng_pii_span *s = &found->items[k];
            const char *copy = ng_answer_strndup(a, text + s->start, s->end - s->start);
            if (!copy) return ng_fail(err, NG_ENOMEM, "extract: out of memory");
            out[n++] = (ng_entity){s->start, s->end, ng_pii_label(s->type), copy, ng_pii_score(s->type)};
        }
        if (i < a->n_entities && !overlaps(&a->entities[i], found)) out[n++] = a->entities[i];
    }
    a->entities = out;
    a->n_entities = n;
    return NG_OK;
}

ng_status ng_entities_add_rules(ng_answer *a, uint32_t mask, const char *text, size_t len, ng_error *err) {
    ng_pii_spans found = {0};
    if (!mask) return NG_OK;
    ng_status s = ng_pii_scan(&found, text, len, mask, err);
    if (!s) s = merge(a, &found, text, err);
    ng_pii_spans_clear(&found);
    return s;
}
