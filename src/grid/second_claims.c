/* second_claims.c: what experts with routing weights of their own say when an encoder has read the text too.
 *
 * Beside route.gguf a package may hold route.vector.gguf: a second claim over the vector that the grid's encoder (router.unsure)
 * gives of the text (model/vector_claim.h).  It is asked only where the linear claims leave it open, that is where the greatest leads
 * the next by less than router.unsure.lead: a forward a doubt, none where the n-grams are sure.  All second claims of a text share
 * that forward, and so do heads of the same file that are asked next (task/shared_encoder.h).
 *
 * Composable as the first ones are: a second claim is its package's alone, and one that is not there, is damaged or was learnt on
 * another encoder leaves its expert with what it claimed at first.  The last two are told in a warning.
 *
 * A replay has no text to read: it takes the claims that the record holds (grid_hooks.recall_claim). */
#include "grid_parts.h"

#include "core/clock.h"
#include "task/head_ops.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 2048 }; /* bytes; what is longer is about more than one thing, and would be cut by the encoder anyway */

/* Which encoder it is, by its vector of a fixed text; known from the first doubt on. */
struct grid_encoder {
    pthread_mutex_t lock;
    bool known; /* guarded by lock; what follows is written once, before it */
    char digest[NG_VECTOR_DIGEST];
    size_t n;
};

/* ---- opening ------------------------------------------------------------------------------------- */

ng_status ng_grid_open_vector_claim(ng_grid *g, grid_member *m, ng_error *err) {
    ng_error why = {0};
    char *path = ng_arena_printf(g->arena, "%.*s.vector.gguf", (int)strlen(m->route_path) - 5, m->route_path);
    if (!path) return ng_fail(err, NG_ENOMEM, "grid: out of memory");
    if (!g->hooks.file_exists(path)) return NG_OK;
    ng_status s = ng_vector_claim_open(&m->vector, path, &why);
    if (!s) return NG_OK;
    if (s == NG_ENOMEM || !(m->vector_why = ng_arena_strdup(g->arena, why.text)))
        return ng_fail(err, NG_ENOMEM, "grid: out of memory");
    return NG_OK;
}

bool ng_grid_has_vector_claims(const ng_grid *g) {
    for (size_t i = 0; i < g->n_experts; i++)
        if (g->members[i].vector || g->members[i].vector_why) return true;
    return false;
}

ng_status ng_grid_new_encoder(ng_grid *g, ng_error *err) {
    struct grid_encoder *e = calloc(1, sizeof *e);
    if (!e || pthread_mutex_init(&e->lock, NULL)) {
        free(e);
        return ng_fail(err, NG_ENOMEM, "grid: out of memory");
    }
    g->encoder = e;
    return NG_OK;
}

void ng_grid_free_encoder(ng_grid *g) {
    if (g->encoder) pthread_mutex_destroy(&g->encoder->lock);
    free(g->encoder);
    for (size_t i = 0; i < g->n_members; i++) ng_vector_claim_free(g->members[i].vector);
}

/* ---- asking -------------------------------------------------------------------------------------- */

static ng_status identify(asking *a, struct grid_encoder *e, ng_error *err) {
    ng_answer *probe = NULL;
    ng_status s = NG_OK;
    pthread_mutex_lock(&e->lock);
    if (!e->known && !(s = ng_ask_vector(a, &a->grid->claim_encoder, NG_VECTOR_PROBE, strlen(NG_VECTOR_PROBE), &probe, err))) {
        ng_vector_digest(e->digest, probe->embedding, probe->n_embedding);
        e->n = probe->n_embedding;
        e->known = true;
    }
    pthread_mutex_unlock(&e->lock);
    ng_answer_free(probe);
    return s;
}

/* Those that fit this encoder say their second word; one line tells of the others. */
static void apply(asking *a, const grid_member *const *m, size_t n, const float *vector, double *p) {
    const struct grid_encoder *e = a->grid->encoder;
    ng_error first = {0};
    size_t n_odd = 0;
    for (size_t i = 0; i < n; i++) {
        ng_error why = {0};
        if (p[i] < 0 || (!m[i]->vector && !m[i]->vector_why)) continue;
        if (m[i]->vector && ng_vector_claim_fits(m[i]->vector, e->digest, e->n, &why)) {
            p[i] = ng_vector_claim_apply(m[i]->vector, p[i], vector);
            continue;
        }
        if (!n_odd++) ng_fail(&first, NG_EINVALID, "%s: %s", m[i]->name, m[i]->vector ? why.text : m[i]->vector_why);
    }
    if (n_odd) ng_ask_warn(a, "set aside: the second claims of %zu experts; %s", n_odd, first.text);
}

/* A vector of the text, or of its beginning. */
static ng_status read_text(asking *a, ng_answer **out, ng_error *err) {
    ng_tier_request read = ng_ask_reading(a, NG_TASK_CLASSIFY);
    const char *text;
    size_t len;
    ng_status s = ng_request_text(&read, &text, &len, err);
    if (s) return s;
    if (len > TEXT_MAX)
        for (len = TEXT_MAX; len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80;) len--;
    return ng_ask_vector(a, &a->grid->claim_encoder, text, len, out, err);
}

static bool from_encoder(asking *a, const grid_member *const *m, size_t n, double *p, ng_error *err) {
    struct grid_encoder *e = a->grid->encoder;
    ng_answer *vector = NULL;
    bool ok = identify(a, e, err) == NG_OK && read_text(a, &vector, err) == NG_OK;
    if (ok && vector->n_embedding != e->n)
        ok = ng_fail(err, NG_EFORMAT, "%zu numbers, there were %zu", vector->n_embedding, e->n) == NG_OK;
    if (ok) apply(a, m, n, vector->embedding, p);
    if (vector) a->rec.load_ms += vector->load_ms;
    ng_answer_free(vector);
    return ok;
}

static bool from_record(asking *a, const grid_member *const *m, size_t n, double *p) {
    const grid_hooks *h = &a->grid->hooks;
    for (size_t i = 0; i < n; i++)
        if (p[i] >= 0 && m[i]->vector && !h->recall_claim(h->ctx, m[i]->name, &p[i])) return false;
    return true;
}

bool ng_ask_second_claims(asking *a, const grid_member *const *m, size_t n, double *p, double *us) {
    bool any = false;
    for (size_t i = 0; i < n; i++) any |= p[i] >= 0 && (m[i]->vector || m[i]->vector_why);
    if (!a->grid->encoder || !any) return false;
    if (a->grid->hooks.recall_claim) return from_record(a, m, n, p);
    const ng_tier *t = &a->grid->claim_encoder;
    if (a->request->features) return false;
    if (a->request->would_wait && !(t->at_once && t->at_once(t->self))) return a->must_wait = true, false;
    ng_error why = {0};
    uint64_t t0 = ng_clock_ns();
    bool ok = from_encoder(a, m, n, p, &why);
    ng_record_step *step = ng_ask_step(a, "claims", NULL);
    step->confidence = NAN;
    step->latency_us = (double)(ng_clock_ns() - t0) * 1e-3;
    snprintf(step->outcome, sizeof step->outcome, "%s", ok ? "unsure, encoder asked" : "unsure, no vector");
    *us += step->latency_us;
    if (!ok && why.code != NG_ELIMIT) ng_ask_warn(a, "the router's encoder failed: %s", why.text);
    return ok;
}
