/* spending.c: see spending.h.  One table with open addressing, emptied when the day changes; one lock. */
#include "spending.h"

#include "core/hash.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 2 * NG_BUDGET_TENANTS };

typedef struct account {
    char tenant[NG_BUDGET_NAME_MAX + 1];
    bool used;
    double usd;
    uint64_t escalations;
} account;

struct ng_budgets {
    const ng_budget_rule *rules;
    size_t n_rules;
    pthread_mutex_t lock; /* guards all below */
    account *accounts;    /* [PLACES] */
    size_t n;
    int64_t day;
};

ng_status ng_budgets_new(ng_budgets **out, const ng_budget_rule *rules, size_t n, ng_error *err) {
    ng_budgets *b = *out = calloc(1, sizeof *b);
    if (b) b->accounts = calloc(PLACES, sizeof *b->accounts);
    if (!b || !b->accounts) {
        free(b);
        *out = NULL;
        return ng_fail(err, NG_ENOMEM, "budgets: out of memory");
    }
    b->rules = rules;
    b->n_rules = n;
    pthread_mutex_init(&b->lock, NULL);
    return NG_OK;
}

void ng_budgets_free(ng_budgets *b) {
    if (!b) return;
    pthread_mutex_destroy(&b->lock);
    free(b->accounts);
    free(b);
}

static const ng_budget_rule *rule_of(const ng_budgets *b, const char *tenant) {
    const ng_budget_rule *any = NULL;
    for (size_t i = 0; i < b->n_rules; i++) {
        if (!strcmp(b->rules[i].tenant, tenant)) return &b->rules[i];
        if (!strcmp(b->rules[i].tenant, "*")) any = &b->rules[i];
    }
    return any;
}

/* The lock is held.  NULL: no room; with make false also: nothing spent yet. */
static account *find(ng_budgets *b, const char *tenant, bool make) {
    char name[NG_BUDGET_NAME_MAX + 1];
    size_t len = strnlen(tenant, NG_BUDGET_NAME_MAX);
    memcpy(name, tenant, len);
    name[len] = 0;
    for (size_t at = ng_hash64(name, len, 3) % PLACES;; at = (at + 1) % PLACES) {
        account *a = &b->accounts[at];
        if (a->used && !strcmp(a->tenant, name)) return a;
        if (a->used) continue;
        if (!make || b->n == NG_BUDGET_TENANTS) return NULL;
        a->used = true;
        b->n++;
        memcpy(a->tenant, name, len + 1);
        return a;
    }
}

static void begin_day(ng_budgets *b, int64_t now_ms) {
    int64_t day = now_ms / 86400000;
    if (day == b->day) return;
    memset(b->accounts, 0, PLACES * sizeof *b->accounts);
    b->n = 0;
    b->day = day;
}

static bool fits(ng_budgets *b, const ng_budget_rule *r, const char *tenant, double usd, const char **why) {
    const account *a = find(b, tenant, false);
    *why = !a && b->n == NG_BUDGET_TENANTS ? "budget: too many tenants today"
           : r->escalations_per_day >= 0 && (a ? a->escalations : 0) >= (uint64_t)r->escalations_per_day
               ? "budget: no escalations are left today"
           : !isnan(r->usd_per_day) && usd > 0 && (a ? a->usd : 0) + usd > r->usd_per_day
               ? "budget: the money of today is spent"
               : NULL;
    return !*why;
}

bool ng_budgets_admits(ng_budgets *b, const char *tenant, double usd, int64_t now_ms, const char **why) {
    const ng_budget_rule *r = rule_of(b, tenant);
    *why = NULL;
    if (!r) return true;
    pthread_mutex_lock(&b->lock);
    begin_day(b, now_ms);
    bool ok = fits(b, r, tenant, usd, why);
    pthread_mutex_unlock(&b->lock);
    return ok;
}

bool ng_budgets_take(ng_budgets *b, const char *tenant, double usd, int64_t now_ms) {
    const ng_budget_rule *r = rule_of(b, tenant);
    const char *why;
    if (!r) return true;
    pthread_mutex_lock(&b->lock);
    begin_day(b, now_ms);
    account *a = fits(b, r, tenant, usd, &why) ? find(b, tenant, true) : NULL;
    if (a) a->usd += usd, a->escalations++;
    pthread_mutex_unlock(&b->lock);
    return a != NULL;
}

void ng_budgets_settle(ng_budgets *b, const char *tenant, double more_usd) {
    pthread_mutex_lock(&b->lock);
    account *a = find(b, tenant, false);
    if (a) a->usd = fmax(0, a->usd + more_usd);
    pthread_mutex_unlock(&b->lock);
}

void ng_budgets_seed(ng_budgets *b, const char *tenant, double usd, uint64_t escalations, int64_t now_ms) {
    if (!rule_of(b, tenant)) return;
    pthread_mutex_lock(&b->lock);
    begin_day(b, now_ms);
    account *a = find(b, tenant, true);
    if (a) a->usd += usd, a->escalations += escalations;
    pthread_mutex_unlock(&b->lock);
}
