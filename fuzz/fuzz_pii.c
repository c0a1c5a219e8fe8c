/* fuzz_pii.c: any bytes through the PII scanner, also beside a model's entities: spans stay inside, in order, without overlap. */
#include "task/entities.h"
#include "task/pii.h"

/* A model's entities of five bytes with gaps as the bytes say. */
static size_t pretend(ng_entity *e, size_t cap, const uint8_t *data, size_t size) {
    size_t n = 0;
    for (size_t at = 0; n < cap && at + 5 <= size; n++, at += 5u + data[at] % 7u)
        e[n] = (ng_entity){at, at + 5, data[at] & 1 ? "location" : "person", "", 1};
    return n;
}

static void beside_a_model(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    ng_answer *a;
    size_t floor = 0;
    if (ng_answer_new(&a)) return;
    a->entities = ng_answer_alloc(a, 64 * sizeof *a->entities);
    a->n_entities = a->entities ? pretend(a->entities, 64, data, size) : 0;
    a->n_entities = ng_entities_join(a->entities, a->n_entities, text, "location");
    if (!ng_entities_add_rules(a, NG_PII_ALL, text, size, NULL))
        for (size_t i = 0; i < a->n_entities; floor = a->entities[i++].end)
            if (a->entities[i].start < floor || a->entities[i].end > size || a->entities[i].start >= a->entities[i].end)
                __builtin_trap();
    ng_answer_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ng_pii_spans found = {0};
    (void)ng_pii_suspected((const char *)data, size);
    if (ng_pii_scan(&found, (const char *)data, size, NG_PII_ALL, NULL)) return 0;
    size_t floor = 0;
    for (size_t i = 0; i < found.len; i++) {
        if (found.items[i].start < floor || found.items[i].start >= found.items[i].end) __builtin_trap();
        floor = found.items[i].end;
    }
    if (floor > size) __builtin_trap();
    ng_pii_spans_clear(&found);
    beside_a_model(data, size);
    return 0;
}
