/* weigh.c: which upstream of a tier is asked first.
 *
 * After the hard filters and the tier, which no weight overrides, the policy's weights put a price in US dollars on what a call costs
 * besides money: seconds (as configured), kWh (as configured, a token), and requests that the upstream is serving already.  The
 * cheapest in all comes first, then the one with the lower price, then the one that stands first in the file.
 *
 * All but the load is configuration; the load is kept in the record, so a replay comes to the same order. */
#include "grid_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double JOULES_PER_KWH = 3.6e6;

typedef struct weights {
    double cost, latency, energy, load;
} weights;

static weights weights_of(const ng_grid_config *c) {
    if (c->policy.weights.line)
        return (weights){c->policy.weights.cost, c->policy.weights.latency, c->policy.weights.energy,
                         c->policy.weights.load};
    int p = c->policy.prefer;
    return (weights){p == GRID_PREFER_COST, p == GRID_PREFER_LATENCY, p == GRID_PREFER_ENERGY, p == GRID_PREFER_LOAD};
}

static unsigned load_of(const ng_grid *g, const grid_member *m) {
    if (g->hooks.in_flight) return g->hooks.in_flight(g->hooks.ctx, m->name);
    return atomic_load(&g->in_flight[m->index]);
}

/* An unknown figure is the worst that anybody has: what says nothing of itself wins nothing by it. */
static double known_or_worst(const grid_member *const *m, size_t n, size_t i, double (*figure)(const grid_member *)) {
    double v = figure(m[i]);
    for (size_t k = 0; !(figure(m[i]) > 0) && k < n; k++) v = fmax(v, figure(m[k]));
    return v;
}

static double latency_of(const grid_member *m) { return m->latency_ms; }
static double energy_of(const grid_member *m) { return m->joules_per_token; }

static bool comes_later(const grid_member *x, const grid_member *y, const double *usd, const double *price) {
    if (x->tier_level != y->tier_level) return x->tier_level > y->tier_level;
    return usd[0] > usd[1] || (usd[0] == usd[1] && price[0] > price[1]);
}

static void note(asking *a, const grid_member *m, double usd, unsigned load) {
    ng_record *r = &a->rec;
    if (r->n_weighed == NG_RECORD_WEIGHED) return;
    snprintf(r->weighed[r->n_weighed].name, sizeof r->weighed[0].name, "%s", m->name);
    r->weighed[r->n_weighed].usd = usd;
    r->weighed[r->n_weighed++].in_flight = load;
}

void ng_ask_weigh(asking *a, const grid_member **m, size_t n) {
    const weights w = weights_of(&a->grid->config);
    double usd[GRID_CANDIDATES_MAX], price[GRID_CANDIDATES_MAX];
    for (size_t i = 0; i < n; i++) {
        unsigned load = load_of(a->grid, m[i]);
        price[i] = ng_member_cost(m[i], a);
        usd[i] = w.cost * price[i] + w.latency * known_or_worst(m, n, i, latency_of) / 1000 +
                 w.energy * known_or_worst(m, n, i, energy_of) * ng_ask_tokens(a) / JOULES_PER_KWH + w.load * load;
        if (n > 1) note(a, m[i], usd[i], load);
    }
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && comes_later(m[k - 1], m[k], usd + k - 1, price + k - 1); k--) {
            const grid_member *x = m[k - 1];
            double u = usd[k - 1], p = price[k - 1];
            m[k - 1] = m[k], usd[k - 1] = usd[k], price[k - 1] = price[k];
            m[k] = x, usd[k] = u, price[k] = p;
        }
}

/* ---- what contradicts itself ------------------------------------------------------------------ */

static ng_status refuse(const ng_grid_config *c, const char *name, ng_error *err, const char *what) {
    int line = c->policy.weights.line ? c->policy.weights.line : c->policy.line;
    return ng_fail(err, NG_EINVALID, "%s:%d: policy: %s", name, line, what);
}

ng_status ng_grid_check_weights(const ng_grid_config *c, const char *name, ng_error *err) {
    const weights w = weights_of(c);
    const grid_upstream_config *u = c->upstreams.items;
    size_t latency = 0, energy = 0;
    for (size_t i = 0; i < c->upstreams.len; i++) latency += u[i].latency_ms > 0, energy += u[i].joules_per_token > 0;
    if (c->policy.weights.line && c->policy.prefer != GRID_PREFER_COST)
        return refuse(c, name, err, "prefer and weights contradict each other; give one of them");
    if (!(w.cost > 0 || w.latency > 0 || w.energy > 0 || w.load > 0))
        return refuse(c, name, err, "all weights are 0, so nothing is preferred");
    if (w.latency > 0 && !latency)
        return refuse(c, name, err, "latency is weighed, and no upstream says its latency_ms");
    if (w.energy > 0 && !energy)
        return refuse(c, name, err, "energy is weighed, and no upstream says its joules_per_token");
    if (w.load > 0 && c->upstreams.len < 2)
        return refuse(c, name, err, "load is weighed, and there are no two upstreams to choose between");
    return NG_OK;
}
