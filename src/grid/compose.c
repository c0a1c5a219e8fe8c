/* compose.c: experts that bring their own routing weights.
 *
 * A package may hold route.gguf beside its model: a linear model with the labels `here` and `elsewhere`, trained on the expert's
 * own texts against texts of anything else, with its own calibration.  What it says of a text, its claim, needs no other
 * expert: so one comes, changes or goes alone, and the router only compares claims.  A claim of one half or more is heard before
 * the router's expert.gguf, which has never seen the expert's texts; the greatest claim wins and the next one is asked where the
 * winner finds the text out of its scope.  The same weights let an expert that was named by the request say that a text is not
 * its own.
 *
 * Where the greatest claim leads the next by little, packages that can say more over an encoder's vector are asked for that
 * (second_claims.c), and what they say then is compared instead.
 *
 * Claims that read the same features are asked together (model/linear_set.h), so that fifty of them cost little more than one.  What
 * does not fit there, or cannot be opened, is asked through its own tier, which then tells why.  Both ways give the same bits. */
#include "grid_parts.h"

#include "core/clock.h"
#include "model/linear_set.h"
#include "task/head_ops.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
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
    const char *slash = m->own_path ? strrchr(m->own_path, '/') : NULL;
    if (!slash || m->task != NG_TASK_CLASSIFY || m->why) return NG_OK;
    char *path = ng_arena_printf(g->arena, "%.*s/route.gguf", (int)(slash - m->own_path), m->own_path);
    char *name = ng_arena_printf(g->arena, "%s/route", m->name);
    if (!path || !name) return ng_fail(err, NG_ENOMEM, "grid: out of memory");
    if (!g->hooks.file_exists(path)) return NG_OK;
    label_check c = {0};
    ng_grid_each_label(path, check_label, &c);
    if (c.any && !c.here)
        return ng_fail(err, NG_EINVALID, "%s:%d: the routing weights of '%s' do not fit: %s has no label '%s'", g->path,
                       line, m->name, path, HERE);
    m->route_path = path;
    ng_head_spec spec = {.task = NG_TASK_CLASSIFY, .path = path, .n_threads = g->n_threads};
    ng_status s = g->hooks.open_head(g->hooks.ctx, &m->route, name, &spec, err);
    return s ? s : ng_grid_open_vector_claim(g, m, err);
}

/* ---- all together --------------------------------------------------------------------------------- */

enum { IDLE_MAX = 16, NOT_IN_SET = -1 };

typedef struct grid_claims {
    pthread_mutex_t lock; /* guards what follows; set, slot and models are written once, before loaded */
    bool loaded;
    ng_linear *models[NG_LINEAR_SET_MAX];
    size_t n;
    ng_linear_set *set; /* NULL: none fits, or memory was out */
    int *slot;          /* [members] its number in the set, or NOT_IN_SET */
    ng_linear_set_scratch *idle[IDLE_MAX];
    size_t n_idle;
} grid_claims;

ng_status ng_grid_open_claims(ng_grid *g, ng_error *err) {
    bool any = false;
    for (size_t i = 0; i < g->n_experts; i++) any |= g->members[i].route.self != NULL;
    if (!any || g->hooks.one_by_one) return NG_OK;
    grid_claims *c = calloc(1, sizeof *c);
    if (!c || !(c->slot = malloc(g->n_members * sizeof *c->slot)) || pthread_mutex_init(&c->lock, NULL)) {
        free(c ? c->slot : NULL);
        free(c);
        return ng_fail(err, NG_ENOMEM, "grid: out of memory");
    }
    g->claims = c;
    return NG_OK;
}

void ng_grid_close_claims(ng_grid *g) {
    grid_claims *c = g->claims;
    if (!c) return;
    while (c->n_idle > 0) ng_linear_set_scratch_free(c->idle[--c->n_idle]);
    ng_linear_set_free(c->set);
    while (c->n > 0) ng_linear_close(c->models[--c->n]);
    pthread_mutex_destroy(&c->lock);
    free(c->slot);
    free(c);
}

static bool says_here(const ng_linear *m) {
    return !strcmp(ng_linear_label(m, 0), HERE) || !strcmp(ng_linear_label(m, 1), HERE);
}

/* Those that can be opened and fit with the first of them. */
static void load(ng_grid *g, grid_claims *c) {
    c->loaded = true;
    for (size_t i = 0; i < g->n_members; i++) c->slot[i] = NOT_IN_SET;
    for (size_t i = 0; i < g->n_experts && c->n < NG_LINEAR_SET_MAX; i++) {
        ng_linear *m;
        if (!g->members[i].route.self || ng_linear_open(&m, g->members[i].route_path, NULL)) continue;
        if (ng_linear_set_fits(m, c->n ? c->models[0] : NULL) && says_here(m) &&
            !strcmp(ng_linear_task(m), ng_task_name(NG_TASK_CLASSIFY)))
            c->slot[i] = (int)c->n, c->models[c->n++] = m;
        else ng_linear_close(m);
    }
    if (c->n && ng_linear_set_new(&c->set, (const ng_linear *const *)c->models, c->n, NULL)) c->set = NULL;
}

static ng_linear_set_scratch *take_scratch(asking *a, grid_claims *c) {
    ng_linear_set_scratch *s = NULL;
    pthread_mutex_lock(&c->lock);
    double t0 = ng_clock_ms();
    if (!c->loaded) load(a->grid, c), a->rec.load_ms += ng_clock_ms() - t0;
    if (c->n_idle) s = c->idle[--c->n_idle];
    pthread_mutex_unlock(&c->lock);
    if (!s && c->set && ng_linear_set_scratch_new(&s, c->set, NULL)) return NULL;
    return s;
}

static void give_scratch(grid_claims *c, ng_linear_set_scratch *s) {
    pthread_mutex_lock(&c->lock);
    bool kept = c->n_idle < IDLE_MAX;
    if (kept) c->idle[c->n_idle++] = s;
    pthread_mutex_unlock(&c->lock);
    if (!kept) ng_linear_set_scratch_free(s);
}

/* p[2 * claims->n]; false: they are to be asked one by one. */
static bool ask_together(asking *a, float *p) {
    grid_claims *c = a->grid->claims;
    ng_tier_request read = ng_ask_reading(a, NG_TASK_CLASSIFY);
    const char *text;
    size_t len;
    if (!c || read.features || ng_request_text(&read, &text, &len, NULL)) return false;
    ng_linear_set_scratch *s = take_scratch(a, c);
    if (!s) return false;
    bool ok = ng_linear_set_apply(c->set, s, text, len, p, NULL) == NG_OK;
    give_scratch(c, s);
    return ok;
}

/* ---- claims ----------------------------------------------------------------------------------------- */

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

/* p[n]: what the linear weights of m[n] say; below 0: nothing. */
static void ask_linear(asking *a, const grid_member *const *m, size_t n, double *p, double *us) {
    const grid_claims *all = a->grid->claims;
    float said[2 * NG_LINEAR_SET_MAX];
    uint64_t t0 = ng_clock_ns();
    bool together = ask_together(a, said);
    if (together) *us += (double)(ng_clock_ns() - t0) * 1e-3;
    for (size_t i = 0; i < n; i++) {
        int slot = together ? all->slot[m[i]->index] : NOT_IN_SET;
        ng_decision d = {.n_scores = 0};
        p[i] = slot == NOT_IN_SET ? claim_of(a, m[i], &d)
                                  : (double)said[2 * slot + (strcmp(ng_linear_label(all->models[slot], 0), HERE) ? 1 : 0)];
        *us += d.latency_us;
    }
}

static ng_claims compare(const grid_member *const *m, size_t n, const double *p) {
    ng_claims c = {.best_p = -1, .second_p = -1};
    for (size_t i = 0; i < n; i++) {
        if (p[i] < 0) continue;
        c.n++;
        if (p[i] > c.best_p) {
            c.second = c.best, c.second_p = c.best_p;
            c.best = m[i], c.best_p = p[i];
        } else if (p[i] > c.second_p) {
            c.second = m[i], c.second_p = p[i];
        }
    }
    return c;
}

/* Nobody far ahead; nobody near either, for an expert of few texts claims little by its n-grams. */
static bool is_unsure(const ng_grid *g, const ng_claims *c) {
    double next = c->second_p > 0 ? c->second_p : 0;
    return c->best_p - next < g->config.router.unsure.lead;
}

ng_claims ng_ask_claims(asking *a, const grid_member *const *m, size_t n, ng_decision *heard) {
    double p[GRID_CANDIDATES_MAX];
    ask_linear(a, m, n, p, &heard->latency_us);
    ng_claims c = compare(m, n, p);
    if (is_unsure(a->grid, &c) && ng_ask_second_claims(a, m, n, p, &heard->latency_us)) {
        c = compare(m, n, p);
        c.by_vectors = true;
    }
    for (size_t i = 0; i < n; i++)
        if (p[i] >= 0) ng_decision_add(heard, m[i]->name, p[i]);
    return c;
}

bool ng_ask_disowns(asking *a, const grid_member *m) {
    ng_decision d;
    double p = claim_of(a, m, &d);
    return p >= 0 && p < NG_CLAIM_MIN;
}
