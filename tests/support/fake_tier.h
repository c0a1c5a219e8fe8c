/* fake_tier.h: tiers that answer by rules of the test, so that the grid is tested without models.
 *
 *     fake_reset();
 *     fake_set("intent", (fake){.label = "greet", .confidence = 0.9, .in_scope = true});
 *     ng_grid_open_text(&g, &options, yaml, "t.yaml", &fake_hooks, &err);
 *     fake_get("intent")->calls                      how often it was asked */
#ifndef NG_TESTS_FAKE_TIER_H
#define NG_TESTS_FAKE_TIER_H

#include "grid/grid_parts.h"

typedef struct fake {
    const char *label; /* classify */
    double confidence; /* NaN: none */
    bool out_of_scope;
    ng_status fails;       /* the submit fails with this */
    int n_tokens;          /* generate: pieces "t0 ", "t1 ", .. sent through on_token */
    int fails_after;       /* generate: fail after this many tokens (with `fails`) */
    const float *confidence_so_far; /* [n_tokens] generate: what the events say of it; NULL: nothing */
    const char *text;      /* generate: the answer; NULL: the pieces */
    const char *unhealthy; /* healthy() says no, why */
    const char *entity;    /* extract: one entity of this label when the text holds '@' */
    const char *labels[4]; /* classify: further labels, of falling probability; moderate: the categories */
    float p[4];
    bool flagged;          /* moderate */
    const char *reading;   /* moderate: how it has read the text; NULL: as it stands */
    double threshold; /* what calibration says */
    int sleep_ms;
    bool at_once;          /* calls do not wait */
    size_t max_bytes;      /* generate: a longer text is NG_ELIMIT; 0: any fits */
    /* seen */
    _Atomic int calls;
    ng_task task;
    size_t n_labels;
    char expert[48];
    char system[256]; /* the first message, where it is the system's */
    char said[64];      /* the last one */
} fake;

extern const grid_hooks fake_hooks;
ng_status fake_open_upstream(ng_tier *out, const ng_upstream_config *c, ng_error *err);
void fake_reset(void);
fake *fake_get(const char *name); /* made on first use */

#endif
