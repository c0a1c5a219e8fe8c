/* record_features.c: see record_features.h. */
#include "record_features.h"

#include "model/linear.h"
#include <string.h>

enum { TEXT_MAX = 64 << 10 };

/* The kind that the shipped routers read is always kept: a later router likely reads it too. */
static const ng_feature_config usual = {
    .bits = 24, .word_max = 2, .char_min = 3, .char_max = 5, .lower = true, .cross = true};

static void learn_kinds(recorded_features *f) {
    f->n_kinds = ng_feature_configs_add(f->kinds, 0, RECORD_FEATURE_KINDS_MAX, &usual);
    for (size_t i = 0; i < f->n_paths; i++) {
        ng_feature_config c;
        if (ng_linear_file_features(&c, f->paths[i], NULL) == NG_OK)
            f->n_kinds = ng_feature_configs_add(f->kinds, f->n_kinds, RECORD_FEATURE_KINDS_MAX, &c);
    }
    f->known = true;
}

void ng_record_features(void *ctx, const ng_record *r, ng_buf *out) {
    recorded_features *f = ctx;
    const char *text = r->plain ? r->plain : r->text;
    size_t len = text ? (r->plain ? strlen(text) : r->text_len) : 0;
    if (!text || len > TEXT_MAX) return;
    if (!f->known) learn_kinds(f);
    (void)ng_feature_blob_put(out, &f->scratch, f->kinds, f->n_kinds, text, len);
}

void ng_recorded_features_clear(recorded_features *f) {
    ng_features_clear(&f->scratch);
}
