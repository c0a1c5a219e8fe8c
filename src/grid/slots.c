/* slots.c: what the grid's decoders are doing, as llama-server's /slots tells it, and have done. */
#include "grid_parts.h"

enum { DECODERS_MAX = 64 };

static void put_slot(ng_json *j, size_t id, const char *model, const ng_slot *s, uint32_t n_ctx) {
    ng_json_object(j);
    ng_json_key(j, "id"), ng_json_uint(j, id);
    ng_json_key(j, "model"), ng_json_str(j, model);
    ng_json_key(j, "state"), ng_json_str(j, ng_slot_state_name(s->state));
    ng_json_key(j, "is_processing"), ng_json_bool(j, s->state != NG_SLOT_IDLE);
    ng_json_key(j, "n_ctx"), ng_json_uint(j, n_ctx);
    ng_json_key(j, "n_past"), ng_json_uint(j, s->n_past);
    ng_json_key(j, "n_prompt"), ng_json_uint(j, s->n_prompt);
    ng_json_key(j, "n_decoded"), ng_json_uint(j, s->n_decoded);
    ng_json_end(j);
}

/* The decoders that were looked at already: experts may share one. */
typedef struct seen {
    const void *owners[DECODERS_MAX];
    size_t n;
} seen;

/* Whether member i shows a decoder that is not among those seen; then it is. */
static bool look(const ng_grid *g, size_t i, seen *s, ng_tier_look *out) {
    const ng_tier *t = &g->members[i].tier;
    *out = (ng_tier_look){.owner = NULL};
    if (!t->self || !t->look || s->n == DECODERS_MAX || !t->look(t->self, out)) return false;
    for (size_t k = 0; k < s->n; k++)
        if (s->owners[k] == out->owner) return false;
    s->owners[s->n++] = out->owner;
    return true;
}

void ng_grid_slots(ng_grid *g, ng_json *j) {
    size_t id = 0;
    seen s = {.n = 0};
    ng_json_array(j);
    for (size_t i = 0; i < g->n_experts; i++) {
        ng_tier_look l;
        if (!look(g, i, &s, &l)) continue;
        for (size_t k = 0; k < l.stats.n_slots; k++) put_slot(j, id++, g->members[i].name, &l.slots[k], l.stats.n_ctx);
    }
    ng_json_end(j);
}

size_t ng_grid_decoders(ng_grid *g, ng_grid_decoder out[], size_t max) {
    size_t n = 0;
    seen s = {.n = 0};
    for (size_t i = 0; i < g->n_experts && n < max; i++) {
        ng_tier_look l;
        if (look(g, i, &s, &l)) out[n++] = (ng_grid_decoder){l.path, l.stats};
    }
    return n;
}
