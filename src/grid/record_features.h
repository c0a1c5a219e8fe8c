/* record_features.h: which sparse features a record keeps: those that the grid's linear models read.
 *
 *     recorded_features f = {.paths = paths, .n_paths = n};          the models' files
 *     options.features = ng_record_features, options.features_ctx = &f;
 *     ..  ng_recorded_features_clear(&f);
 *
 * The files' heads are read by the writer with its first record, so that opening a grid loads nothing.
 * Texts over 64 KiB keep none.  The format is model/feature_blob.h. */
#ifndef NG_GRID_RECORD_FEATURES_H
#define NG_GRID_RECORD_FEATURES_H

#include "model/feature_blob.h"
#include "records.h"

enum { RECORD_FEATURE_KINDS_MAX = 12 };

typedef struct recorded_features {
    const char **paths; /* [n_paths] GGUF files, of any kind */
    size_t n_paths;
    /* the writer's own */
    bool known;
    ng_feature_config kinds[RECORD_FEATURE_KINDS_MAX];
    size_t n_kinds;
    ng_features scratch;
} recorded_features;

/* For ng_records_options: ctx is a recorded_features. */
void ng_record_features(void *ctx, const ng_record *r, ng_buf *out);
void ng_recorded_features_clear(recorded_features *f);

#endif
