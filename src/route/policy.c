/* policy.c: the hard filters.  See route.h.
 *
 * Invariant (tested as a property): limits form a lattice.  For limits A and B where B is at least
 * as tight in every field, every candidate admitted under B is admitted under A.  This holds
 * because each check compares one field of the limits with one of the candidate, monotonically, and
 * checks are only joined by `and`. */
#include "route.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const privacy_names[] = {"any", "mesh", "local"};

const char *ng_privacy_name(ng_privacy p) {
    return (size_t)p < 3 ? privacy_names[p] : "unknown";
}

bool ng_privacy_parse(ng_privacy *out, const char *name) {
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, privacy_names[i])) {
            *out = (ng_privacy)i;
            return true;
        }
    return false;
}

ng_privacy ng_privacy_meet(ng_privacy a, ng_privacy b) {
    return a > b ? a : b;
}

static bool speaks(const ng_candidate *c, const char *language) {
    for (size_t i = 0; i < c->n_languages; i++)
        if (!strcmp(c->languages[i], language)) return true;
    return c->n_languages == 0;
}

bool ng_list_has(const char *list, const char *word) {
    size_t len = strlen(word);
    for (const char *p = list; len && p; p = strchr(p, ',')) {
        p += *p == ',';
        if (!strncmp(p, word, len) && (p[len] == ',' || !p[len])) return true;
    }
    return false;
}

/* Where it is must be known to be allowed. */
static bool in_regions(const ng_limits *l, const ng_candidate *c) {
    for (int i = 0; c->remote && i < 2; i++)
        if (l->regions[i] && (!c->region || !ng_list_has(l->regions[i], c->region))) return false;
    return true;
}

static bool serves_tenant(const ng_limits *l, const ng_candidate *c) {
    for (size_t i = 0; l->tenant && i < c->n_tenants; i++)
        if (!strcmp(c->tenants[i], l->tenant)) return true;
    return c->n_tenants == 0;
}

bool ng_policy_admits(const ng_limits *l, const ng_candidate *c, char *out) {
    /* An upstream is somebody else's machine: `mesh` (own nodes only) forbids it as `local`
     * does. */
    if (c->remote && l->privacy != NG_PRIVACY_ANY)
        snprintf(out, NG_OUTCOME_MAX, "skipped: privacy %s", ng_privacy_name(l->privacy));
    else if (!in_regions(l, c))
        snprintf(out, NG_OUTCOME_MAX, "skipped: region %.40s", c->region ? c->region : "not known");
    else if (c->consent && !(l->consents && ng_list_has(l->consents, c->consent)))
        snprintf(out, NG_OUTCOME_MAX, "skipped: no consent to %.40s", c->consent);
    else if (!serves_tenant(l, c)) snprintf(out, NG_OUTCOME_MAX, "skipped: tenant");
    else if (l->max_tier && (unsigned)c->tier >= l->max_tier)
        snprintf(out, NG_OUTCOME_MAX, "skipped: tier %s is above what is allowed", ng_tier_level_name(c->tier));
    else if (c->over_budget) snprintf(out, NG_OUTCOME_MAX, "skipped: %.50s", c->over_budget);
    else if (c->cost_usd > 0 && !isnan(l->max_cost_usd) && c->cost_usd > l->max_cost_usd)
        snprintf(out, NG_OUTCOME_MAX, "skipped: cost %.6f > %.6f USD", c->cost_usd,
                 l->max_cost_usd);
    else if (l->deadline_ms && l->now_ms >= l->deadline_ms)
        snprintf(out, NG_OUTCOME_MAX, "skipped: deadline");
    else if (c->min_battery > 0 && l->battery < c->min_battery)
        snprintf(out, NG_OUTCOME_MAX, "skipped: battery %.0f %% < %.0f %%", 100 * l->battery, 100 * c->min_battery);
    else if (c->unhealthy) snprintf(out, NG_OUTCOME_MAX, "skipped: %s", c->unhealthy);
    else if (l->language && !speaks(c, l->language))
        snprintf(out, NG_OUTCOME_MAX, "skipped: language %s", l->language);
    else return true;
    return false;
}
