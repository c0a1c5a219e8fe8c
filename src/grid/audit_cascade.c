/* audit_cascade.c: see audit_cascade.h.
 *
 * Only what cascade.explore drew is a fair sample of the traffic: of these requests every tier's answer is known, and
 * whether the cascade would have escalated.  Where some tier between was heard, only requests that it was asked too
 * count, so that all baselines are over the same requests. */
#include "audit_cascade.h"

#include "grid_parts.h"
#include "route/escalation.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct sample {
    uint8_t *small, *mid, *large, *escalated; /* [n] */
    size_t n;
    ng_outcomes outcomes;
} sample;

static bool counts(const ng_outcome *o, bool with_mid) {
    return o->explored && o->small >= 0 && o->large >= 0 && (!with_mid || o->mid >= 0);
}

static bool gather(sample *s, const ng_outcome *o, size_t n) {
    bool with_mid = false;
    double mid_cost = 0, large_cost = 0;
    *s = (sample){.small = malloc(4 * n + 1)};
    if (!s->small) return false;
    s->mid = s->small + n, s->large = s->mid + n, s->escalated = s->large + n;
    for (size_t i = 0; i < n; i++) with_mid |= counts(&o[i], true);
    for (size_t i = 0; i < n; i++) {
        if (!counts(&o[i], with_mid)) continue;
        s->small[s->n] = o[i].small > 0;
        s->mid[s->n] = o[i].mid > 0;
        s->large[s->n] = o[i].large > 0;
        s->escalated[s->n++] = o[i].escalated;
        if (!isnan(o[i].mid_cost)) mid_cost += (double)o[i].mid_cost;
        if (!isnan(o[i].large_cost)) large_cost += (double)o[i].large_cost;
    }
    double each = s->n ? 1 / (double)s->n : 0;
    s->outcomes = (ng_outcomes){.small = s->small,
                                .mid = with_mid ? s->mid : NULL,
                                .large = s->large,
                                .n = s->n,
                                .mid_cost = mid_cost * each,
                                .large_cost = large_cost * each};
    return true;
}

static const char *verdict(const ng_cascade_figures *f) {
    if (f->is_void) return "void: fewer than 50 right and 50 wrong answers";
    if (f->cascade < f->mid) return "REFUSED: one mid model is better at no more cost";
    return f->loses ? "REFUSED: escalating at random is better" : "holds";
}

static void put_json(ng_json *j, const char *name, const ng_cascade_figures *f) {
    const struct {
        const char *key;
        double value;
    } figures[] = {{"share", f->share},       {"cascade", f->cascade},       {"always_small", f->small},
                   {"always_large", f->large}, {"random", f->random},         {"mid", f->mid},
                   {"oracle", f->oracle},      {"gap_recovered", f->gap},     {"cascade_usd", f->cascade_cost},
                   {"mid_usd", f->mid_cost},   {"always_large_usd", f->large_cost}};
    ng_json_object(j);
    ng_json_key(j, "route"), ng_json_str(j, name);
    ng_json_key(j, "n"), ng_json_uint(j, f->n);
    ng_json_key(j, "right"), ng_json_uint(j, f->n_right);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        ng_json_key(j, figures[i].key);
        ng_json_fixed(j, figures[i].value, 6); /* NaN is null */
    }
    ng_json_key(j, "void"), ng_json_bool(j, f->is_void);
    ng_json_key(j, "holds");
    if (f->is_void) ng_json_null(j);
    else ng_json_bool(j, !f->loses);
    ng_json_key(j, "why"), ng_json_str(j, f->is_void || f->loses ? verdict(f) : NULL);
    ng_json_end(j);
}

static void put_text(ng_buf *b, const char *name, const ng_cascade_figures *f) {
    ng_buf_printf(b,
                  "cascade of %s: %zu judged, %.1f %% escalate; accuracy %.4f, always small %.4f, always large %.4f, "
                  "random %.4f, ",
                  name, f->n, 100 * f->share, f->cascade, f->small, f->large, f->random);
    if (isnan(f->mid)) ng_buf_puts(b, "mid -, ");
    else ng_buf_printf(b, "mid %.4f, ", f->mid);
    ng_buf_printf(b, "oracle %.4f  %s\n", f->oracle, verdict(f));
}

ng_status ng_audit_cascades(ng_grid *g, ng_buf *text, ng_json *j, bool *held, ng_error *err) {
    for (size_t i = 0; i < g->n_experts; i++) {
        const char *name = g->members[i].name;
        ng_outcome *o;
        sample s;
        size_t n;
        ng_error why = {0};
        ng_status status = ng_outcomes_read(g, name, &o, &n, &why);
        if (status == NG_ENOTFOUND) return NG_OK;
        if (status) return ng_fail(err, status, "%s", why.text);
        bool fits = gather(&s, o, n);
        free(o);
        if (!fits) return ng_fail(err, NG_ENOMEM, "audit: out of memory");
        ng_cascade_figures f = ng_cascade_judge(&s.outcomes, s.escalated);
        free(s.small);
        if (!f.n) continue;
        *held &= f.is_void || !f.loses;
        if (j) put_json(j, name, &f);
        else put_text(text, name, &f);
    }
    return NG_OK;
}
