/* slots.c: what the sequences of the grid's decoders are doing, as llama-server's /slots tells it. */
#include "grid_parts.h"

enum { SLOTS_MAX = 64 };

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

void ng_grid_slots(ng_grid *g, ng_json *j) {
    size_t id = 0;
    ng_json_array(j);
    for (size_t i = 0; i < g->n_experts; i++) {
        const ng_tier *t = &g->members[i].tier;
        ng_slot slots[SLOTS_MAX];
        uint32_t n_ctx;
        size_t n = t->self && t->slots ? t->slots(t->self, slots, SLOTS_MAX, &n_ctx) : 0;
        for (size_t k = 0; k < n; k++) put_slot(j, id++, g->members[i].name, &slots[k], n_ctx);
    }
    ng_json_end(j);
}
