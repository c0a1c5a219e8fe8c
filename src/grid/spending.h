/* spending.h: what each tenant may still spend today: money, and calls of higher tiers.
 *
 *     ng_budgets_new(&b, rules, n, &err);
 *     ng_budgets_seed(b, "acme", 0.25, 12, now);             what the records say of today
 *     if (!ng_budgets_admits(b, "acme", 0.001, now, why)) ..   a hard filter: no score overrides it
 *     if (ng_budgets_take(b, "acme", 0.001, now)) ..           the same and, if so, spends it: before a call
 *     ng_budgets_settle(b, "acme", cost - 0.001);              what it really cost
 *
 * Days are those of UTC.  Calls that run at the same time have each taken their share before they began, so together they
 * cannot pass the limit.  At most NG_BUDGET_TENANTS a day: who comes later may ask no higher tier, since forgetting one
 * would give its budget back.  Thread-safe. */
#ifndef NG_GRID_SPENDING_H
#define NG_GRID_SPENDING_H

#include <nanogrid/status.h>

enum { NG_BUDGET_TENANTS = 1 << 14, NG_BUDGET_NAME_MAX = 63 };

typedef struct ng_budget_rule {
    const char *tenant;          /* "*": each tenant that has no rule of its own */
    double usd_per_day;          /* NaN: no limit */
    int64_t escalations_per_day; /* -1: no limit */
} ng_budget_rule;

typedef struct ng_budgets ng_budgets;
/* The rules' strings are borrowed. */
ng_status ng_budgets_new(ng_budgets **out, const ng_budget_rule *rules, size_t n, ng_error *err) NG_MUST_USE;
void ng_budgets_free(ng_budgets *b); /* NULL is fine */

bool ng_budgets_admits(ng_budgets *b, const char *tenant, double usd, int64_t now_ms, const char **why);
bool ng_budgets_take(ng_budgets *b, const char *tenant, double usd, int64_t now_ms);
void ng_budgets_settle(ng_budgets *b, const char *tenant, double more_usd);
void ng_budgets_seed(ng_budgets *b, const char *tenant, double usd, uint64_t escalations, int64_t now_ms);

#endif
