/* limits.c: the limits of a request that do not depend on its text: where it may go, what was agreed to, who asks, what
 * power and what money there is.  They are hard filters (route/policy.c): no score overrides them.
 *
 * The battery is read at most every ten seconds, and only where a member asks for some.  A replay has neither battery
 * nor budget: it tells what would have been decided, not what could be paid. */
#include "grid_parts.h"

#include "core/clock.h"
#include "core/power.h"
#include "record_db.h"
#include <math.h>
#include <string.h>

enum { BATTERY_MS = 10000 };

/* "eu,uk" of a list; NULL for none. */
static ng_status join(ng_grid *g, const ng_config_strs *list, const char **out, ng_error *err) {
    ng_buf b = ng_buf_init(1 << 16);
    for (size_t i = 0; i < list->len; i++) ng_buf_printf(&b, "%s%s", i ? "," : "", list->items[i]);
    *out = b.len && !b.status ? ng_arena_strdup(g->arena, b.data) : NULL;
    ng_buf_clear(&b);
    return *out || !list->len ? NG_OK : ng_fail(err, NG_ENOMEM, "grid: out of memory");
}

/* What the records say of today.  Escalations are never sampled out, so they are all there. */
static void seed(ng_grid *g) {
    static const char sql[] =
        "SELECT coalesce(d.tenant, ''), sum(json_extract(d.json, '$.cost_usd')), sum((SELECT count(*) FROM "
        "json_each(d.json, '$.route') s"
        " WHERE s.value ->> 'step' = 'upstream' AND substr(s.value ->> 'outcome', 1, 7) <> 'skipped')) FROM decisions d"
        " WHERE d.time_ms >= ?1 AND d.kind = 'answer' GROUP BY 1";
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    int64_t now = ng_clock_wall_ms();
    ng_error none = {0};
    if (ng_record_db_open_reader(&db, g->records_path, &none)) return;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK) {
        sqlite3_bind_int64(st, 1, now / 86400000 * 86400000);
        while (sqlite3_step(st) == SQLITE_ROW)
            ng_budgets_seed(g->budgets, (const char *)sqlite3_column_text(st, 0), sqlite3_column_double(st, 1),
                            (uint64_t)sqlite3_column_int64(st, 2), now);
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
}

static ng_status open_budgets(ng_grid *g, ng_error *err) {
    const grid_budget_config *c = g->config.policy.budgets.items;
    size_t n = g->config.policy.budgets.len;
    if (!n) return NG_OK;
    ng_budget_rule *rules = ng_arena_array(g->arena, n, sizeof *rules);
    if (!rules) return ng_fail(err, NG_ENOMEM, "grid: out of memory");
    for (size_t i = 0; i < n; i++) rules[i] = (ng_budget_rule){c[i].tenant, c[i].usd_per_day, c[i].escalations_per_day};
    ng_status s = ng_budgets_new(&g->budgets, rules, n, err);
    if (!s) seed(g);
    return s;
}

ng_status ng_grid_open_limits(ng_grid *g, ng_error *err) {
    for (size_t i = 0; i < g->n_members; i++) g->battery_matters |= g->members[i].min_battery > 0;
    ng_status s = join(g, &g->config.policy.regions, &g->regions, err);
    return s ? s : open_budgets(g, err);
}

static double battery(ng_grid *g) {
    if (!g->battery_matters) return NAN;
    if (g->hooks.battery) return g->hooks.battery(g->hooks.ctx);
    int64_t now = (int64_t)ng_clock_ms() + 1; /* 0 is "never" */
    int64_t last = atomic_load(&g->battery_read_ms);
    if ((!last || now - last > BATTERY_MS) && atomic_compare_exchange_strong(&g->battery_read_ms, &last, now)) {
        double left = ng_battery_left(NG_POWER_ROOT);
        atomic_store(&g->battery_permille, isnan(left) ? -1 : (int)(left * 1000 + 0.5));
    }
    int permille = atomic_load(&g->battery_permille);
    return permille < 0 ? NAN : permille / 1000.0;
}

void ng_ask_limits(asking *a) {
    const ng_request *r = a->request;
    a->limits.regions[0] = a->grid->regions;
    a->limits.regions[1] = r->regions;
    a->limits.consents = r->consents;
    a->limits.tenant = r->tenant && *r->tenant ? r->tenant : "";
    a->limits.battery = r->features ? NAN : battery(a->grid);
}

bool ng_ask_pay(asking *a, const grid_member *m) {
    if (!m->upstream || !a->grid->budgets || a->request->features) return true;
    return ng_budgets_take(a->grid->budgets, a->rec.tenant, ng_member_cost(m, a), a->rec.time_ms);
}

void ng_ask_settle(asking *a, const grid_member *m, double cost_usd) {
    if (!m->upstream || !a->grid->budgets || a->request->features) return;
    ng_budgets_settle(a->grid->budgets, a->rec.tenant, cost_usd - ng_member_cost(m, a));
}
