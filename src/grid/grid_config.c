/* grid_config.c: the schema of grid.yaml, and how a user's file joins the built-in one.
 *
 * The built-in grid is a text of the same schema (grid_default.c) and is read by the same binder,
 * so it cannot drift from what users may write.  A user's file starts from the schema's defaults;
 * its `experts` and `models` are then laid over the built-in ones by name, unless it says
 * `embedded: false`.  Keys that this version does not act upon stand in no table and are therefore
 * refused with their line. */
#include "grid_config.h"

#include "core/hash.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define AT(type, field) offsetof(type, field)

static const ng_config_field model_fields[] = {
    {"package", NG_CONFIG_STR, AT(grid_model_config, package),
     .help = "an installed package, such as nanogrid/intent"},
    {"path", NG_CONFIG_STR, AT(grid_model_config, path),
     .help = "a GGUF file; relative to this file"},
    {"kv", NG_CONFIG_ENUM, AT(grid_model_config, kv), .dflt = "f16", .choices = "f16|q8",
     .help = "how a decoder holds past tokens; q8: in 8 bits, half the memory"},
    {"context", NG_CONFIG_INT, AT(grid_model_config, context), .dflt = "0", .max = 1 << 20,
     .help = "the most tokens of one text that a decoder holds; 0: the model's, at most 4,096"},
    {"", NG_CONFIG_LINE, AT(grid_model_config, line)},
    {0}};
static const ng_config_schema model_schema = {"a model", sizeof(grid_model_config), model_fields};

#define IN_EXPERT(group, field)                                                                    \
    (offsetof(grid_expert_config, group.field) - offsetof(grid_expert_config, group))

#define IN_DEADLINE(field)                                                                         \
    (offsetof(grid_expert_config, contract.deadline.field) - offsetof(grid_expert_config, contract.deadline))

static const ng_config_field deadline_fields[] = {
    {"p999_ms", NG_CONFIG_NUM, IN_DEADLINE(p999_ms), .dflt = "nan", .min = 0.01, .max = 3.6e6,
     .help = "milliseconds within which 999 of 1,000 requests are answered; required in a deadline"},
    {"on_miss", NG_CONFIG_STR, IN_DEADLINE(on_miss),
     .help = "the safe label that is answered when the time is over; required in a deadline"},
    {"", NG_CONFIG_LINE, IN_DEADLINE(line)},
    {0}};
static const ng_config_schema deadline_schema = {
    "deadline", sizeof(((grid_expert_config *)0)->contract.deadline), deadline_fields};

static const ng_config_field contract_fields[] = {
    {"max_error", NG_CONFIG_NUM, IN_EXPERT(contract, max_error), .dflt = "nan", .min = 0.0001, .max = 0.5,
     .help =
         "at most this share of what is answered here may be wrong; less sure answers escalate"},
    {"deadline", NG_CONFIG_GROUP, IN_EXPERT(contract, deadline), .sub = &deadline_schema},
    {"", NG_CONFIG_LINE, IN_EXPERT(contract, line)},
    {0}};
static const ng_config_schema contract_schema = {
    "contract", sizeof(((grid_expert_config *)0)->contract), contract_fields};

#define IN_UNSURE(field) (offsetof(grid_expert_config, unsure.field) - offsetof(grid_expert_config, unsure))
static const ng_config_field unsure_fields[] = {{"model", NG_CONFIG_STR, IN_UNSURE(model), .required = true,
                                                 .help = "a name under models, or a package"},
                                                {"head", NG_CONFIG_STR, IN_UNSURE(head),
                                                 .help = "which head of a file that has several"},
                                                {"below", NG_CONFIG_NUM, IN_UNSURE(below), .dflt = "0.9", .min = 0,
                                                 .max = 1, .help = "confidence of the expert's own model"},
                                                {"stands", NG_CONFIG_ENUM, IN_UNSURE(stands), .dflt = "surer",
                                                 .choices = "surer|second|greater|fallback",
                                                 .help = "the surer of both answers; what the second says, its scope too; moderate: of each category the greater "
                                                 "probability; the second only where the first fails"},
                                                {"refuse_below", NG_CONFIG_NUM, IN_UNSURE(refuse_below), .dflt = "nan",
                                                 .min = 0, .max = 1, .help = "stands: second: its word that a text is out of scope "
                                                 "counts where the expert's own model is less sure than this; none: always"},
                                                {"", NG_CONFIG_LINE, IN_UNSURE(line)},
                                                {0}};
static const ng_config_schema unsure_schema = {"unsure", sizeof(((grid_expert_config *)0)->unsure), unsure_fields};

static const ng_config_field expert_fields[] = {
    {"name", NG_CONFIG_STR, AT(grid_expert_config, name), .required = true,
     .help = "how requests and answers call it"},
    {"task", NG_CONFIG_ENUM, AT(grid_expert_config, task), .required = true,
     .choices = "generate|classify|extract|moderate|detect-language|summarize|translate|answer|"
                "rewrite|embed|rerank"},
    {"model", NG_CONFIG_STR, AT(grid_expert_config, model),
     .help = "a name under models, or a package; none: rules alone"},
    {"head", NG_CONFIG_STR, AT(grid_expert_config, head),
     .help = "which head of a file that has several"},
    {"adapter", NG_CONFIG_STR, AT(grid_expert_config, adapter),
     .help = "a LoRA adapter of `finetune`, beside the weights of its encoder: nanogrid/PACKAGE, or a file, relative to this one"},
    {"tier", NG_CONFIG_ENUM, AT(grid_expert_config, tier), .dflt = "nano",
     .choices = "nano|small|medium"},
    {"contract", NG_CONFIG_GROUP, AT(grid_expert_config, contract), .sub = &contract_schema},
    {"languages", NG_CONFIG_STRS, AT(grid_expert_config, languages),
     .help = "ISO codes that it understands; none: any"},
    {"tenants", NG_CONFIG_STRS, AT(grid_expert_config, tenants), .help = "whom it serves; none: all"},
    {"min_battery", NG_CONFIG_NUM, AT(grid_expert_config, min_battery), .dflt = "0", .min = 0, .max = 1,
     .help = "it does not run on a battery with less than this share left"},
    {"unsure", NG_CONFIG_GROUP, AT(grid_expert_config, unsure), .sub = &unsure_schema},
    {"", NG_CONFIG_LINE, AT(grid_expert_config, line)},
    {0}};
static const ng_config_schema expert_schema = {"an expert", sizeof(grid_expert_config),
                                               expert_fields};

static const ng_config_field pricing_fields[] = {
    {"prompt_per_1m", NG_CONFIG_NUM, 0, .dflt = "0", .min = 0, .max = 1e6,
     .help = "US dollars a million prompt tokens"},
    {"completion_per_1m", NG_CONFIG_NUM, sizeof(double), .dflt = "0", .min = 0, .max = 1e6,
     .help = "the same for completion tokens"},
    {0}};
static const ng_config_schema pricing_schema = {"pricing", 2 * sizeof(double), pricing_fields};

static const ng_config_field upstream_fields[] =
    {{"name", NG_CONFIG_STR, AT(grid_upstream_config, name), .required = true},
     {"tier", NG_CONFIG_ENUM, AT(grid_upstream_config, tier), .dflt = "medium", .choices = "nano|small|medium"},
     {"base_url", NG_CONFIG_STR, AT(grid_upstream_config, base_url), .required = true,
      .help = "of an OpenAI-compatible API, ending in /v1"},
     {"api_key_env", NG_CONFIG_STR, AT(grid_upstream_config, api_key_env),
      .help = "the environment variable that holds the key"},
     {"model", NG_CONFIG_STR, AT(grid_upstream_config, model), .required = true,
      .help = "the name that the upstream knows"},
     {"latency_ms", NG_CONFIG_NUM, AT(grid_upstream_config, latency_ms), .dflt = "0", .min = 0, .max = 1e6,
      .help = "how long it takes to answer, for policy.prefer and weights; 0: not known"},
     {"joules_per_token", NG_CONFIG_NUM, AT(grid_upstream_config, joules_per_token), .dflt = "0", .min = 0, .max = 1e6,
      .help = "what a token costs there in energy, for the same; 0: not known"},
     {"region", NG_CONFIG_STR, AT(grid_upstream_config, region),
      .help = "where it is; policy.regions and requests may forbid others"},
     {"consent", NG_CONFIG_STR, AT(grid_upstream_config, consent),
      .help = "what a request must carry consent to before it may be asked"},
     {"tenants", NG_CONFIG_STRS, AT(grid_upstream_config, tenants), .help = "whom it serves; none: all"},
     {"min_battery", NG_CONFIG_NUM, AT(grid_upstream_config, min_battery), .dflt = "0", .min = 0, .max = 1,
      .help = "it is not asked on a battery with less than this share left"},
     {"pricing", NG_CONFIG_GROUP, AT(grid_upstream_config, pricing), .sub = &pricing_schema},
     {"allowed_fails", NG_CONFIG_INT, AT(grid_upstream_config, allowed_fails), .dflt = "2", .min = 1, .max = 1000,
      .help = "failures in a row that open the breaker"},
     {"cooldown_time", NG_CONFIG_MS, AT(grid_upstream_config, cooldown_ms), .dflt = "30s", .min = 1, .max = 8.64e7,
      .help = "how long the breaker stays open"},
     {"timeout", NG_CONFIG_MS, AT(grid_upstream_config, timeout_ms), .dflt = "30s", .min = 1, .max = 3.6e6,
      .help = "of one attempt"},
     {"connect_timeout", NG_CONFIG_MS, AT(grid_upstream_config, connect_timeout_ms), .dflt = "2s", .min = 1,
      .max = 3.6e6},
     {"", NG_CONFIG_LINE, AT(grid_upstream_config, line)},
     {0}};
static const ng_config_schema upstream_schema = {"an upstream", sizeof(grid_upstream_config),
                                                 upstream_fields};

#define IN(group, field) (offsetof(ng_grid_config, group.field) - offsetof(ng_grid_config, group))

#define IN_DOUBT(field) (offsetof(ng_grid_config, router.unsure.field) - offsetof(ng_grid_config, router.unsure))
static const ng_config_field doubt_fields[] = {
    {"model", NG_CONFIG_STR, IN_DOUBT(model), .dflt = "nanogrid/encoder-en",
     .help = "the encoder on which packages learnt route.vector.gguf: a name under models, or a package"},
    {"lead", NG_CONFIG_NUM, IN_DOUBT(lead), .dflt = "0.5", .min = 0, .max = 1,
     .help = "asked where the greatest claim leads the next by less; 0: never"},
    {"", NG_CONFIG_LINE, IN_DOUBT(line)},
    {0}};
static const ng_config_schema doubt_schema = {"unsure", sizeof(((ng_grid_config *)0)->router.unsure), doubt_fields};

static const ng_config_field router_fields[] = {
    {"model", NG_CONFIG_STR, IN(router, model),
     .help = "a package with task.gguf and expert.gguf (nanogrid/router-en)"},
    {"abstain", NG_CONFIG_ENUM, IN(router, abstain), .dflt = "escalate",
     .choices = "escalate|answer",
     .help = "out of scope: ask a higher tier, or answer that nothing here knows"},
    {"spelling", NG_CONFIG_BOOL, IN(router, spelling), .dflt = "true",
     .help = "typing errors are put right before routers and classifiers read a text (spelling.gguf of the package)"},
    {"learn", NG_CONFIG_BOOL, IN(router, learn), .dflt = "false",
     .help = "the choice among experts learns from feedback and escalations, within bounds"},
    {"unsure", NG_CONFIG_GROUP, IN(router, unsure), .sub = &doubt_schema},
    {"", NG_CONFIG_LINE, IN(router, line)},
    {0}};
static const ng_config_schema router_schema = {"router", sizeof(((ng_grid_config *)0)->router),
                                               router_fields};

static const ng_config_field privacy_fields[] = {
    {"pii", NG_CONFIG_STR, IN(policy.privacy, pii),
     .help = "how far text with personal data may go: any|mesh|local (local)"},
    {"", NG_CONFIG_LINE, IN(policy.privacy, line)},
    {0}};
static const ng_config_schema privacy_schema = {
    "privacy", sizeof(((ng_grid_config *)0)->policy.privacy), privacy_fields};
static const ng_config_field budget_fields[] =
    {{"tenant", NG_CONFIG_STR, AT(grid_budget_config, tenant), .required = true,
      .help = "whose; `*`: each tenant that has none of its own, requests without a tenant among them"},
     {"usd_per_day", NG_CONFIG_NUM, AT(grid_budget_config, usd_per_day), .dflt = "nan", .min = 0, .max = 1e9,
      .help = "money for upstreams in a day of UTC"},
     {"escalations_per_day", NG_CONFIG_INT, AT(grid_budget_config, escalations_per_day), .dflt = "-1", .min = -1,
      .max = 1e15, .help = "calls of upstreams in a day; -1: no limit"},
     {"", NG_CONFIG_LINE, AT(grid_budget_config, line)},
     {0}};
static const ng_config_schema budget_schema = {"a budget", sizeof(grid_budget_config), budget_fields};

#define IN_WEIGHTS(field) (offsetof(ng_grid_config, policy.weights.field) - offsetof(ng_grid_config, policy.weights))
static const ng_config_field weights_fields[] = {
    {"cost", NG_CONFIG_NUM, IN_WEIGHTS(cost), .dflt = "1", .min = 0, .max = 1e6, .help = "of a US dollar of the estimated price"},
    {"latency", NG_CONFIG_NUM, IN_WEIGHTS(latency), .dflt = "0", .min = 0, .max = 1e6, .help = "US dollars that a second of waiting is worth"},
    {"energy", NG_CONFIG_NUM, IN_WEIGHTS(energy), .dflt = "0", .min = 0, .max = 1e6, .help = "US dollars that a kWh is worth"},
    {"load", NG_CONFIG_NUM, IN_WEIGHTS(load), .dflt = "0", .min = 0, .max = 1e6, .help = "US dollars for each request that it is serving already"},
    {"", NG_CONFIG_LINE, IN_WEIGHTS(line)},
    {0}};
static const ng_config_schema weights_schema = {"weights", sizeof(((ng_grid_config *)0)->policy.weights),
                                                weights_fields};

static const ng_config_field policy_fields[] =
    {{"privacy", NG_CONFIG_GROUP, IN(policy, privacy), .sub = &privacy_schema},
     {"prefer", NG_CONFIG_ENUM, IN(policy, prefer), .dflt = "cost", .choices = "cost|latency|energy|load",
      .help = "among upstreams of one tier the one with least of it first; the cheaper one where that is equal"},
     {"weights", NG_CONFIG_GROUP, IN(policy, weights), .sub = &weights_schema},
     {"regions", NG_CONFIG_STRS, IN(policy, regions),
      .help = "text goes to upstreams of these regions alone; none: anywhere"},
     {"budgets", NG_CONFIG_LIST, IN(policy, budgets), .sub = &budget_schema},
     {"on_long", NG_CONFIG_ENUM, IN(policy, on_long), .dflt = "escalate", .choices = "escalate|refuse|compress",
      .help = "a prompt that does not fit: ask a higher tier, fail, or keep its main sentences"},
     {"deadline_ms", NG_CONFIG_INT, IN(policy, deadline_ms), .dflt = "0", .min = 0, .max = 3.6e6,
      .help = "of a request that names none; 0: none"},
     {"", NG_CONFIG_LINE, IN(policy, line)},
     {0}};
static const ng_config_schema policy_schema = {"policy", sizeof(((ng_grid_config *)0)->policy),
                                               policy_fields};

#define IN_SEMANTIC(field) (offsetof(ng_grid_config, cache.semantic.field) - offsetof(ng_grid_config, cache.semantic))
static const ng_config_field semantic_fields[] = {
    {"max_false_hit", NG_CONFIG_NUM, IN_SEMANTIC(max_false_hit), .dflt = "nan", .min = 0.001, .max = 0.2,
     .help = "answers to requests that mean the same are kept too; at most this share of them may be wrong"},
    {"model", NG_CONFIG_STR, IN_SEMANTIC(model), .dflt = "nanogrid/encoder-en",
     .help = "the encoder that tells likeness: a name under models, or a package"},
    {"head", NG_CONFIG_STR, IN_SEMANTIC(head), .help = "which head of a file that has several"},
    {"size", NG_CONFIG_BYTES, IN_SEMANTIC(size), .dflt = "16MB", .min = 65536, .max = 1e12, .help = "memory for them"},
    {"", NG_CONFIG_LINE, IN_SEMANTIC(line)},
    {0}};
static const ng_config_schema semantic_schema = {"semantic", sizeof(((ng_grid_config *)0)->cache.semantic),
                                                 semantic_fields};

static const ng_config_field cache_fields[] = {
    {"exact", NG_CONFIG_BYTES, IN(cache, exact), .dflt = "64MB", .min = 0, .max = 1e12,
     .help = "memory for answers to repeated requests; 0: off"},
    {"prefix", NG_CONFIG_BYTES, IN(cache, prefix), .dflt = "0", .min = 0, .max = 1e12,
     .help = "memory of each decoder for how earlier texts began, beside the two contexts that it always has"},
    {"prefix_disk", NG_CONFIG_BYTES, IN(cache, prefix_disk), .dflt = "0", .min = 0, .max = 1e13,
     .help = "files of what several texts began with ($NANOGRID_HOME/cache/prefix); they hold prompts; 0: none"},
    {"semantic", NG_CONFIG_GROUP, IN(cache, semantic), .sub = &semantic_schema},
    {0}};
static const ng_config_schema cache_schema = {"cache", sizeof(((ng_grid_config *)0)->cache), cache_fields};
static const ng_config_field cascade_fields[] =
    {{"hold_tokens", NG_CONFIG_INT, IN(cascade, hold_tokens), .dflt = "32", .min = 0, .max = 4096,
      .help = "tokens held back while an answer may still escalate"},
     {"early_after", NG_CONFIG_INT, IN(cascade, early_after), .dflt = "16", .min = 0, .max = 4096,
      .help = "tokens after which a generation that is less sure than its contract asks is given up, where a higher "
              "tier may be asked; it gets what there is; 0: never"},
     {"escalate", NG_CONFIG_ENUM, IN(cascade, escalate), .dflt = "contract", .choices = "contract|gain",
      .help = "gain: experts without a contract escalate where recorded outcomes say that the next tier would fix it"},
     {"min_gain", NG_CONFIG_NUM, IN(cascade, min_gain), .dflt = "0.1", .min = 0.001, .max = 1,
      .help = "the least gain in right answers for which a higher tier is asked"},
     {"explore", NG_CONFIG_NUM, IN(cascade, explore), .dflt = "0", .min = 0, .max = 1,
      .help = "share of labels for which all tiers are asked, to learn what they say and to judge the cascade"},
     {"sticky", NG_CONFIG_BOOL, IN(cascade, sticky), .dflt = "true",
      .help = "a conversation stays on the tier that it has escalated to"},
     {"reask", NG_CONFIG_BOOL, IN(cascade, reask), .dflt = "true",
      .help = "a question that is asked again, or an answer that is called wrong, goes one tier up"},
     {"", NG_CONFIG_LINE, IN(cascade, line)},
     {0}};
static const ng_config_schema cascade_schema = {"cascade", sizeof(((ng_grid_config *)0)->cascade), cascade_fields};
static const ng_config_field records_fields[] = {
    {"keep", NG_CONFIG_MS, IN(records, keep_ms), .dflt = "7d", .min = 1000, .max = 3.2e11,
     .help = "how long decisions are kept"},
    {"max", NG_CONFIG_BYTES, IN(records, max), .dflt = "256MB", .min = 1048576, .max = 1e13,
     .help = "the size at which the oldest go"},
    {"text", NG_CONFIG_BOOL, IN(records, text), .dflt = "false",
     .help = "keep the text too; never under privacy local"},
    {0}};
static const ng_config_schema records_schema = {"records", sizeof(((ng_grid_config *)0)->records),
                                                records_fields};

static const ng_config_field workers_fields[] = {
    {"enabled", NG_CONFIG_BOOL, IN(workers, enabled), .dflt = "true",
     .help = "`serve` runs each decoder and encoder in a process of its own; false: in the server's"},
    {"memory", NG_CONFIG_BYTES, IN(workers, memory), .dflt = "0", .min = 0, .max = 1e13,
     .help = "what one may take for itself, mapped weights aside; 0: no limit"},
    {"hang", NG_CONFIG_MS, IN(workers, hang_ms), .dflt = "30s", .min = 100, .max = 3.6e6,
     .help = "one that is silent so long while requests wait is ended and started again"},
    {0}};
static const ng_config_schema workers_schema = {"workers", sizeof(((ng_grid_config *)0)->workers),
                                                workers_fields};

static const ng_config_field grid_fields[] = {
    {"listen", NG_CONFIG_STR, AT(ng_grid_config, listen), .dflt = "127.0.0.1:8080",
     .help = "HOST:PORT of `nanogrid serve`"},
    {"embedded", NG_CONFIG_BOOL, AT(ng_grid_config, embedded), .dflt = "true",
     .help = "false removes the built-in experts, router and PII detector"},
    {"models", NG_CONFIG_MAP, AT(ng_grid_config, models), .sub = &model_schema},
    {"experts", NG_CONFIG_LIST, AT(ng_grid_config, experts), .sub = &expert_schema},
    {"upstreams", NG_CONFIG_LIST, AT(ng_grid_config, upstreams), .sub = &upstream_schema},
    {"pipelines", NG_CONFIG_LIST, AT(ng_grid_config, pipelines), .sub = &ng_pipeline_schema},
    {"router", NG_CONFIG_GROUP, AT(ng_grid_config, router), .sub = &router_schema},
    {"policy", NG_CONFIG_GROUP, AT(ng_grid_config, policy), .sub = &policy_schema},
    {"cache", NG_CONFIG_GROUP, AT(ng_grid_config, cache), .sub = &cache_schema},
    {"cascade", NG_CONFIG_GROUP, AT(ng_grid_config, cascade), .sub = &cascade_schema},
    {"records", NG_CONFIG_GROUP, AT(ng_grid_config, records), .sub = &records_schema},
    {"workers", NG_CONFIG_GROUP, AT(ng_grid_config, workers), .sub = &workers_schema},
    {0}};
static const ng_config_schema grid_schema = {"the grid", sizeof(ng_grid_config), grid_fields};

void ng_grid_config_doc(ng_buf *out) {
    ng_config_doc(&grid_schema, out);
}

/* ---- checks and merging ---------------------------------------------------------------------- */

typedef struct merger {
    ng_grid_config *config; /* what was read, then what is merged */
    const char *name;
    ng_arena *arena;
    ng_error *err;
} merger;

/* Names become parts of URLs, subjects and columns; 48 is what a router's label may hold. */
static ng_status check_name(merger *m, const char *what, const char *name, int line) {
    size_t len = strlen(name);
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:";
    if (len == 0 || len > 47 || strspn(name, allowed) != len || name[0] == '.')
        return ng_fail(m->err, NG_EINVALID,
                       "%s:%d: %s name '%.60s' must be 1 to 47 letters, digits or - _ . :", m->name,
                       line, what, name);
    if (!strcmp(name, "auto"))
        return ng_fail(m->err, NG_EINVALID,
                       "%s:%d: 'auto' lets the grid decide; no %s may be called so", m->name, line,
                       what);
    return NG_OK;
}

static ng_status repeated(merger *m, const char *name, int line, int first) {
    return ng_fail(m->err, NG_EINVALID, "%s:%d: the name '%s' is taken (line %d)", m->name, line,
                   name, first);
}

static ng_status check_models(merger *m) {
    const grid_model_config *models = m->config->models.items;
    for (size_t i = 0; i < m->config->models.len; i++) {
        const grid_model_config *x = &models[i];
        if (!x->package == !x->path)
            return ng_fail(m->err, NG_EINVALID,
                           "%s:%d: the model '%s' needs a package or a path, and not both", m->name,
                           x->line, x->name);
    }
    return NG_OK;
}

static ng_status check_names(merger *m) {
    const grid_expert_config *e = m->config->experts.items;
    const grid_upstream_config *u = m->config->upstreams.items;
    size_t n_e = m->config->experts.len, n_u = m->config->upstreams.len;
    for (size_t i = 0; i < n_e; i++) {
        ng_status s = check_name(m, "an expert's", e[i].name, e[i].line);
        for (size_t k = 0; !s && k < i; k++)
            if (!strcmp(e[k].name, e[i].name)) s = repeated(m, e[i].name, e[i].line, e[k].line);
        if (s) return s;
    }
    for (size_t i = 0; i < n_u; i++) {
        ng_status s = check_name(m, "an upstream's", u[i].name, u[i].line);
        for (size_t k = 0; !s && k < i; k++)
            if (!strcmp(u[k].name, u[i].name)) s = repeated(m, u[i].name, u[i].line, u[k].line);
        for (size_t k = 0; !s && k < n_e; k++)
            if (!strcmp(e[k].name, u[i].name)) s = repeated(m, u[i].name, u[i].line, e[k].line);
        if (!s && strncmp(u[i].base_url, "http://", 7) && strncmp(u[i].base_url, "https://", 8))
            s = ng_fail(m->err, NG_EINVALID, "%s:%d: base_url must begin with http:// or https://",
                        m->name, u[i].line);
        if (s) return s;
    }
    return NG_OK;
}

static ng_status check_deadline(merger *m, const grid_expert_config *e) {
    double ms = e->contract.deadline.p999_ms, policy = (double)m->config->policy.deadline_ms;
    const char *label = e->contract.deadline.on_miss;
    int task = e->task + 1, line = e->contract.deadline.line;
    if (isnan(ms) && !label) return NG_OK;
    if (isnan(ms) || !label)
        return ng_fail(m->err, NG_EINVALID, "%s:%d: the deadline of '%s' needs p999_ms and on_miss",
                       m->name, line, e->name);
    if (task != NG_TASK_CLASSIFY && task != NG_TASK_DETECT_LANGUAGE)
        return ng_fail(m->err, NG_EINVALID,
                       "%s:%d: the deadline of '%s': on_miss is a label, and the answer to %s is none",
                       m->name, line, e->name, ng_task_name((ng_task)task));
    if (policy > 0 && policy < ms)
        return ng_fail(m->err, NG_EINVALID,
                       "%s:%d: the deadline of '%s' (%g ms) can never be reached: policy.deadline_ms "
                       "ends every request after %g ms",
                       m->name, line, e->name, ms, policy);
    return NG_OK;
}

/* What a file asks for must be possible with what it has. */
static ng_status check_policies(merger *m) {
    const ng_grid_config *c = m->config;
    const grid_expert_config *e = c->experts.items;
    if (c->cache.semantic.line && isnan(c->cache.semantic.max_false_hit))
        return ng_fail(m->err, NG_EINVALID, "%s:%d: cache.semantic needs max_false_hit, such as 0.01", m->name,
                       c->cache.semantic.line);
    bool summarises = false, higher = c->upstreams.len > 0, labels = false;
    for (size_t i = 0; i < c->experts.len; i++) {
        ng_status s = check_deadline(m, &e[i]);
        if (s) return s;
        if (e[i].unsure.model && (!e[i].model || e[i].contract.line || e[i].task + 1 == NG_TASK_GENERATE))
            return ng_fail(m->err, NG_EINVALID,
                           "%s:%d: the expert '%s': unsure needs a model, a task with a confidence and no contract "
                           "(whose bound holds for one model)",
                           m->name, e[i].unsure.line, e[i].name);
        if (e[i].unsure.stands == GRID_STANDS_GREATER && e[i].task + 1 != NG_TASK_MODERATE)
            return ng_fail(m->err, NG_EINVALID, "%s:%d: the expert '%s': unsure: stands: greater is for the task moderate", m->name,
                           e[i].unsure.line, e[i].name);
        if (e[i].unsure.model && e[i].unsure.stands != GRID_STANDS_SECOND && !isnan(e[i].unsure.refuse_below))
            return ng_fail(m->err, NG_EINVALID,
                           "%s:%d: the expert '%s': unsure.refuse_below is about a second model whose word stands: write "
                           "`stands: second` beside it, or leave refuse_below out",
                           m->name, e[i].unsure.line, e[i].name);
        summarises |= e[i].task + 1 == NG_TASK_SUMMARIZE;
        bool label = e[i].task + 1 == NG_TASK_CLASSIFY || e[i].task + 1 == NG_TASK_DETECT_LANGUAGE;
        labels |= label;
        higher |= label && e[i].tier > NG_TIER_NANO;
        if (!isnan(e[i].contract.max_error) && e[i].task + 1 == NG_TASK_GENERATE &&
            c->cascade.hold_tokens == 0)
            return ng_fail(m->err, NG_EINVALID,
                           "%s:%d: the contract of '%s' contradicts cascade.hold_tokens: 0: its "
                           "tokens would leave before the contract is judged",
                           m->name, e[i].contract.line, e[i].name);
    }
    if ((c->cascade.explore > 0 || c->cascade.escalate == GRID_ESCALATE_GAIN) && (!higher || !labels))
        return ng_fail(m->err, NG_EINVALID,
                       "%s:%d: cascade: %s needs an expert for labels and a higher tier, and there is %s", m->name,
                       c->cascade.line, c->cascade.explore > 0 ? "explore" : "escalate: gain",
                       labels ? "none above it" : "no such expert");
    if (c->policy.on_long == GRID_ON_LONG_COMPRESS && !summarises)
        return ng_fail(m->err, NG_EINVALID,
                       "%s:%d: on_long: compress needs an expert for summarize, and there is none",
                       m->name, c->policy.line);
    return NG_OK;
}

static bool has(const ng_config_strs *list, const char *word) {
    for (size_t i = 0; i < list->len; i++)
        if (!strcmp(list->items[i], word)) return true;
    return false;
}

static ng_status check_words(merger *m, const char *what, const char *word, int line) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t len = word ? strlen(word) : 1;
    if (!word || (len && len <= 40 && strspn(word, allowed) == len)) return NG_OK;
    return ng_fail(m->err, NG_EINVALID, "%s:%d: the %s '%.60s' must be 1 to 40 letters, digits or - _ .", m->name, line,
                   what, word);
}

/* An upstream that the policy can never admit is a mistake of one of the two. */
static ng_status check_regions(merger *m) {
    const ng_grid_config *c = m->config;
    const grid_upstream_config *u = c->upstreams.items;
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < c->policy.regions.len; i++)
        s = check_words(m, "region", c->policy.regions.items[i], c->policy.line);
    for (size_t i = 0; !s && i < c->upstreams.len; i++) {
        s = check_words(m, "region", u[i].region, u[i].line);
        if (!s) s = check_words(m, "consent", u[i].consent, u[i].line);
        if (s || !c->policy.regions.len || (u[i].region && has(&c->policy.regions, u[i].region))) continue;
        s = ng_fail(m->err, NG_EINVALID,
                    "%s:%d: the upstream '%s' can never be asked: %s, and policy.regions (line %d) does not allow that",
                    m->name, u[i].line, u[i].name, u[i].region ? u[i].region : "it names no region", c->policy.line);
    }
    return s;
}

static ng_status check_budgets(merger *m) {
    const grid_budget_config *b = m->config->policy.budgets.items;
    for (size_t i = 0; i < m->config->policy.budgets.len; i++) {
        if (isnan(b[i].usd_per_day) && b[i].escalations_per_day < 0)
            return ng_fail(m->err, NG_EINVALID,
                           "%s:%d: the budget of '%s' limits nothing: give usd_per_day or escalations_per_day", m->name,
                           b[i].line, b[i].tenant);
        for (size_t k = 0; k < i; k++)
            if (!strcmp(b[i].tenant, b[k].tenant)) return repeated(m, b[i].tenant, b[i].line, b[k].line);
    }
    return NG_OK;
}

static ng_status check_privacy(merger *m) {
    ng_grid_config *c = m->config;
    const char *pii = c->policy.privacy.pii;
    if (!pii) c->pii = c->embedded ? NG_PRIVACY_LOCAL : NG_PRIVACY_ANY;
    else if (!ng_privacy_parse(&c->pii, pii))
        return ng_fail(m->err, NG_EINVALID, "%s:%d: pii: '%.60s' is not one of any|mesh|local",
                       m->name, c->policy.privacy.line, pii);
    return NG_OK;
}

/* base with over laid upon it by name (the first field of both is the name), in base's order. */
static ng_status overlay(merger *m, ng_config_list *out, ng_config_list base, ng_config_list over,
                         size_t size) {
    char *items = ng_arena_array(m->arena, base.len + over.len, size);
    if (!items) return ng_fail(m->err, NG_ENOMEM, "%s: out of memory", m->name);
    size_t len = base.len;
    if (base.len) memcpy(items, base.items, base.len * size);
    for (size_t i = 0; i < over.len; i++) {
        const char *from = (const char *)over.items + i * size;
        size_t k = 0;
        while (k < base.len && strcmp(*(const char *const *)(const void *)(items + k * size),
                                      *(const char *const *)(const void *)from))
            k++;
        memcpy(items + (k < base.len ? k : len++) * size, from, size);
    }
    *out = (ng_config_list){items, len};
    return NG_OK;
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && !strcmp(a, b));
}

/* A copy of the built-in text is still the built-in grid: its packages may be missing. */
static void mark_built_in(ng_grid_config *c, const ng_grid_config *base) {
    grid_expert_config *e = c->experts.items;
    const grid_expert_config *b = base->experts.items;
    for (size_t i = 0; i < c->experts.len; i++)
        for (size_t k = 0; k < base->experts.len; k++)
            e[i].built_in |= !strcmp(e[i].name, b[k].name) && e[i].task == b[k].task &&
                             same_text(e[i].model, b[k].model);
}

static ng_status resolve_models(merger *m) {
    grid_expert_config *e = m->config->experts.items;
    const grid_model_config *models = m->config->models.items;
    for (size_t i = 0; i < m->config->experts.len; i++) {
        for (size_t k = 0; e[i].model && k < m->config->models.len; k++)
            if (!strcmp(models[k].name, e[i].model))
                e[i].resolved = &models[k], e[i].built_in = false;
        if (e[i].resolved && e[i].resolved->context && e[i].task + 1 != NG_TASK_GENERATE)
            return ng_fail(m->err, NG_EINVALID,
                           "%s:%d: `context` is for models that generate, and the expert '%s' does not", m->name,
                           e[i].resolved->line, e[i].name);
        if (e[i].resolved && e[i].resolved->kv && e[i].task + 1 != NG_TASK_GENERATE)
            return ng_fail(m->err, NG_EINVALID,
                           "%s:%d: `kv: q8` is for models that generate, and the expert '%s' does not", m->name,
                           e[i].resolved->line, e[i].name);
    }
    for (size_t i = 0; i < m->config->experts.len; i++)
        for (size_t k = 0; e[i].unsure.model && k < m->config->models.len; k++)
            if (!strcmp(models[k].name, e[i].unsure.model)) e[i].unsure.resolved = &models[k];
    for (size_t k = 0; k < m->config->models.len; k++)
        if (!strcmp(models[k].name, m->config->router.unsure.model)) m->config->router.unsure.resolved = &models[k];
    for (size_t k = 0; k < m->config->models.len; k++)
        if (!strcmp(models[k].name, m->config->cache.semantic.model)) m->config->cache.semantic.resolved = &models[k];
    return NG_OK;
}

static ng_status read_built_in(ng_grid_config *out, ng_arena *arena, ng_error *err) {
    const char *text = ng_grid_default_yaml();
    ng_status s = ng_config_read(out, &grid_schema, text, strlen(text), "(built in)", arena, err);
    grid_expert_config *e = out->experts.items;
    for (size_t i = 0; !s && i < out->experts.len; i++) e[i].built_in = true;
    return s;
}

ng_status ng_grid_config_read(ng_grid_config *out, const char *text, size_t len, const char *name,
                              ng_arena *arena, ng_error *err) {
    ng_grid_config base;
    merger m = {out, name, arena, err};
    ng_status s = read_built_in(&base, arena, err);
    if (s) return s;
    if (!text) *out = base;
    else if ((s = ng_config_read(out, &grid_schema, text, len, name, arena, err))) return s;
    /* 53 bits: a JSON number that every reader takes as it is */
    out->version = ng_hash64(text ? text : "", text ? len : 0, 0) >> 11;
    if ((s = check_models(&m)) || (s = check_names(&m)) || (s = check_privacy(&m))) return s;
    if (text && out->embedded) {
        if ((s = overlay(&m, &out->models, base.models, out->models, sizeof(grid_model_config))))
            return s;
        if ((s = overlay(&m, &out->experts, base.experts, out->experts,
                         sizeof(grid_expert_config))))
            return s;
        if ((s = check_names(&m))) return s; /* an upstream may not take a built-in expert's name */
    }
    if ((s = check_policies(&m)) || (s = check_regions(&m)) || (s = check_budgets(&m)) ||
        (s = ng_grid_check_weights(out, name, err)) || (s = ng_pipelines_check(out, name, err)))
        return s;
    mark_built_in(out, &base);
    /* who did not ask for an encoder does without one that is not there */
    if (same_text(out->router.unsure.model, base.router.unsure.model)) out->router.unsure.line = 0;
    if (!out->router.model && out->embedded) out->router.model = base.router.model;
    return resolve_models(&m);
}
