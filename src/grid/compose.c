/* compose.c: experts that bring their own routing weights.
 *
 * A package may hold route.gguf beside its model: a linear model with the labels `here` and `elsewhere`, trained on the expert's
 * own texts against texts of anything else, with its own calibration.  What it says of a text, its claim, needs no other
 * expert: so one comes, changes or goes alone, and the router only compares claims.  A claim of one half or more is heard before
 * the router's expert.gguf, which has never seen the expert's texts; the greatest claim wins and the next one is asked where the
 * winner finds the text out of its scope.  The same weights let an expert that was named by the request say that a text is not
 * its own. */
#include "grid_parts.h"

#include <stdio.h>
#include <string.h>

static const char HERE[] = "here";

typedef struct label_check {
    bool any, here;
} label_check;

static bool check_label(void *ctx, const char *label, size_t len) {
    label_check *c = ctx;
    c->any = true;
    c->here |= len == strlen(HERE) && !memcmp(label, HERE, len);
    return true;
}

ng_status ng_grid_open_route(ng_grid *g, grid_member *m, int line, ng_error *err) {
    const char *slash = m->model_path ? strrchr(m->model_path, '/') : NULL;
    if (!slash || m->task != NG_TASK_CLASSIFY || m->why) return NG_OK;
    char *path = ng_arena_printf(g->arena, "%.*s/route.gguf", (int)(slash - m->model_path), m->model_path);
    char *name = ng_arena_printf(g->arena, "%s/route", m->name);
    if (!path || !name) return ng_fail(err, NG_ENOMEM, "grid: out of memory");
    if (!g->hooks.file_exists(path)) return NG_OK;
    label_check c = {0};
    ng_grid_each_label(path, check_label, &c);
    if (c.any && !c.here)
        return ng_fail(err, NG_EINVALID, "%s:%d: the routing weights of '%s' do not fit: %s has no label '%s'", g->path, line, m->name, path, HERE);
    m->route_path = path;
    ng_head_spec spec = {.task = NG_TASK_CLASSIFY, .path = path, .n_threads = g->n_threads};
    return g->hooks.open_head(g->hooks.ctx, &m->route, name, &spec, err);
}

/* Its own word on whether the text is for it; -1: it has none. */
static double claim_of(asking *a, const grid_member *m, ng_decision *d) {
    ng_tier_request read = ng_ask_reading(a, NG_TASK_CLASSIFY);
    ng_error why = {0};
    if (!m->route.self) return -1;
    if (ng_router_decide(d, &m->route, &read, &why)) {
        ng_ask_warn(a, "the routing weights of %s failed: %s", m->name, why.text);
        return -1;
    }
    a->rec.load_ms += d->load_ms;
    return ng_decision_score(d, HERE);
}

void ng_decision_add(ng_decision *d, const char *label, double p) {
    size_t at = d->n_scores;
    while (at > 0 && (double)d->scores[at - 1].p < p) at--;
    if (at == NG_DECISION_MAX) return;
    size_t kept = d->n_scores < NG_DECISION_MAX ? d->n_scores : NG_DECISION_MAX - 1;
    memmove(d->scores + at + 1, d->scores + at, (kept - at) * sizeof *d->scores);
    snprintf(d->scores[at].label, NG_DECISION_LABEL_MAX, "%s", label);
    d->scores[at].p = (float)p;
    d->n_scores = kept + 1;
}

ng_claims ng_ask_claims(asking *a, const grid_member *const *m, size_t n, ng_decision *heard) {
    ng_claims c = {.best_p = -1, .second_p = -1};
    for (size_t i = 0; i < n; i++) {
        ng_decision d;
        double p = claim_of(a, m[i], &d);
        if (p < 0) continue;
        c.n++;
        ng_decision_add(heard, m[i]->name, p);
        heard->latency_us += d.latency_us;
        if (p > c.best_p) {
            c.second = c.best, c.second_p = c.best_p;
            c.best = m[i], c.best_p = p;
        } else if (p > c.second_p) {
            c.second = m[i], c.second_p = p;
        }
    }
    return c;
}

bool ng_ask_disowns(asking *a, const grid_member *m) {
    ng_decision d;
    double p = claim_of(a, m, &d);
    return p >= 0 && p < NG_CLAIM_MIN;
}
