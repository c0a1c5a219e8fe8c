/* grid_config.h: grid.yaml as a struct, merged with the grid that is compiled in.
 *
 *     ng_grid_config c;
 *     ng_grid_config_read(&c, text, len, "grid.yaml", arena, &err);   text NULL: the built-in grid
 *     for (size_t i = 0; i < c.n_experts; i++) use(&c.experts[i]);
 *
 * Everything lives in `arena`.  Names are checked (unique, no path characters), models that an
 * expert names are resolved to entries of `models` or to packages; whether their files exist is not
 * asked here. */
#ifndef NG_GRID_GRID_CONFIG_H
#define NG_GRID_GRID_CONFIG_H

#include "pipeline_config.h"
#include <nanogrid/grid.h>

typedef struct grid_model_config {
    const char *name; /* the key */
    const char *package, *path;
    int kv; /* ng_kv_precision */
    int64_t context; /* tokens; 0: the model's */
    int line;
} grid_model_config;

/* Whose word stands where an expert has a second model (second.c). */
typedef enum grid_stands { GRID_STANDS_SURER, GRID_STANDS_SECOND, GRID_STANDS_GREATER, GRID_STANDS_FALLBACK } grid_stands;

typedef struct grid_expert_config {
    const char *name;
    int task; /* ng_task - 1 */
    const char *model, *head;
    const char *adapter; /* nanogrid/PACKAGE, or a file, beside this one unless absolute; NULL: none */
    int tier; /* ng_tier_level */
    struct {
        double max_error; /* NaN: no contract */
        struct {
            double p999_ms; /* NaN: none */
            const char *on_miss;
            int line;
        } deadline;
        int line;
    } contract;
    ng_config_strs languages; /* none: any */
    ng_config_strs tenants;   /* none: any */
    double min_battery;
    struct {
        const char *model, *head; /* model NULL: nobody */
        double below;
        int stands; /* grid_stands */
        double refuse_below; /* NaN: the second may always refuse */
        int line;
        const grid_model_config *resolved;
    } unsure; /* who is asked too, on the same tier, where `model` is less sure than `below` */
    int line;
    bool built_in;
    const grid_model_config *resolved; /* NULL: `model` is a package's name, or rules alone */
} grid_expert_config;

typedef struct grid_upstream_config {
    const char *name, *base_url, *api_key_env, *model;
    int tier;
    struct {
        double prompt_per_1m, completion_per_1m;
    } pricing;
    double latency_ms, joules_per_token; /* 0: not known */
    const char *region, *consent;
    ng_config_strs tenants; /* none: any */
    double min_battery;
    int64_t allowed_fails, cooldown_ms, timeout_ms, connect_timeout_ms;
    int line;
} grid_upstream_config;

typedef struct grid_budget_config {
    const char *tenant;
    double usd_per_day;          /* NaN: no limit */
    int64_t escalations_per_day; /* -1: no limit */
    int line;
} grid_budget_config;

typedef enum grid_abstain { GRID_ABSTAIN_ESCALATE, GRID_ABSTAIN_ANSWER } grid_abstain;

typedef enum grid_prefer { GRID_PREFER_COST, GRID_PREFER_LATENCY, GRID_PREFER_ENERGY, GRID_PREFER_LOAD } grid_prefer;

typedef enum grid_on_long { GRID_ON_LONG_ESCALATE, GRID_ON_LONG_REFUSE, GRID_ON_LONG_COMPRESS } grid_on_long;

typedef enum grid_escalate { GRID_ESCALATE_CONTRACT, GRID_ESCALATE_GAIN } grid_escalate;

typedef struct ng_grid_config {
    const char *listen;
    bool embedded;
    ng_config_list models, experts, upstreams; /* as merged */
    ng_config_list pipelines;                  /* grid_pipeline_config */
    struct {
        const char *model; /* a package; NULL: none */
        int abstain;       /* grid_abstain */
        bool spelling;     /* typing errors are put right for routers and classifiers */
        bool learn;        /* from feedback and escalations (learn.h) */
        struct {
            const char *model;
            double lead; /* 0: never asked */
            int line;    /* 0: not in the user's file */
            const grid_model_config *resolved;
        } unsure; /* the encoder for experts' second claims (second_claims.c) */
        int line;
    } router;
    struct {
        struct {
            const char *pii;
            int line;
        } privacy;
        int prefer; /* grid_prefer */
        struct {
            double cost, latency, energy, load;
            int line;
        } weights; /* line 0: prefer decides */
        ng_config_strs regions; /* none: anywhere */
        ng_config_list budgets; /* grid_budget_config */
        int on_long; /* grid_on_long */
        int line;
        int64_t deadline_ms;
    } policy;
    struct {
        uint64_t exact;
        uint64_t prefix, prefix_disk; /* bytes; prefix_disk 0: no files */
        struct {
            double max_false_hit; /* NaN: off */
            const char *model, *head;
            uint64_t size;
            int line;
            const grid_model_config *resolved;
        } semantic;
    } cache;
    struct {
        int64_t hold_tokens, early_after;
        int escalate; /* grid_escalate */
        double min_gain, explore;
        bool sticky, reask;
        int line;
    } cascade;
    struct {
        int64_t keep_ms;
        uint64_t max;
        bool text;
    } records;
    struct {
        bool enabled;    /* big models run in worker processes, where the program can start them */
        uint64_t memory; /* bytes that one may take for itself; 0: no limit */
        int64_t hang_ms;
    } workers;
    ng_privacy pii;   /* what text with personal data is limited to */
    uint64_t version; /* of what was read, 53 bits: part of cache keys and records */
} ng_grid_config;

ng_status ng_grid_config_read(ng_grid_config *out, const char *text, size_t len, const char *name,
                              ng_arena *arena, ng_error *err) NG_MUST_USE;
/* weigh.c: refuses weights that contradict each other or change nothing. */
ng_status ng_grid_check_weights(const ng_grid_config *c, const char *name, ng_error *err) NG_MUST_USE;
/* A Markdown table of all keys. */
void ng_grid_config_doc(ng_buf *out);

#endif
