/* grid.c: opens a grid from its configuration and closes it with the last reference.
 *
 * Opening loads no model: it reads the configuration, finds files, computes the thresholds of
 * contracts and starts the records' writer.  A built-in expert whose package is missing is listed
 * as not available; an expert that the user named must be there, since a grid that silently lacks
 * what its file promises is worse than one that does not start. */
#include "grid_parts.h"

#include "core/file.h"
#include "gguf/gguf.h"
#include "route/scores.h"
#include "tier_head.h"
#include <nanogrid/package.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_CAP = 4096 };

typedef struct opening {
    ng_grid *g;
    const ng_grid_options *opt;
    ng_error *err;
} opening;

static ng_status no_memory(opening *o) {
    return ng_fail(o->err, NG_ENOMEM, "grid: out of memory");
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static ng_status real_open_head(void *ctx, ng_tier *out, const char *name, const ng_head_spec *spec,
                                ng_error *err) {
    (void)ctx, (void)name;
    return ng_tier_open_head(out, spec, err);
}

static ng_status real_calibrate(void *ctx, double *out, const char *path, double max_error,
                                ng_error *err) {
    (void)ctx;
    return ng_calibration_threshold(out, path, max_error, err);
}

static ng_status real_watch(void *ctx, ng_drift **out, const char *path, ng_error *err) {
    (void)ctx;
    ng_scores set;
    ng_status s = ng_scores_read(&set, path, "calibration", err);
    if (s) return s;
    s = ng_drift_new(out, set.confidence, set.n, err);
    ng_scores_clear(&set);
    return s;
}

const grid_hooks ng_grid_real_hooks = {.open_head = real_open_head,
                                       .calibrate = real_calibrate,
                                       .watch = real_watch,
                                       .file_exists = ng_file_exists};

/* ---- models ---------------------------------------------------------------------------------- */

/* The GGUF of a package into out; false with the reason in why. */
static bool package_file(const ng_grid *g, const char *ref, const char *file, char *out,
                         ng_error *why) {
    char dir[PATH_CAP - 64];
    if (ng_package_find(dir, sizeof dir, ref, why)) return false;
    snprintf(out, PATH_CAP, "%s/%s", dir, file);
    if (g->hooks.file_exists(out)) return true;
    ng_fail(why, NG_ENOTFOUND, "the package '%.60s' lacks %s", ref, file);
    return false;
}

/* The file of an expert's model; out "" for rules alone. */
static bool model_file(const ng_grid *g, const char *model, const grid_model_config *m, char *out, ng_error *why) {
    *out = 0;
    if (!model) return true;
    if (!m) return package_file(g, model, "model.gguf", out, why);
    if (m->package) return package_file(g, m->package, "model.gguf", out, why);
    bool relative = m->path[0] != '/' && *g->dir;
    int n = snprintf(out, PATH_CAP, "%s%s%s", relative ? g->dir : "", relative ? "/" : "", m->path);
    if (n > 0 && n < PATH_CAP && g->hooks.file_exists(out)) return true;
    ng_fail(why, NG_ENOTFOUND, "the model '%s' has no file %.300s", m->name, out);
    return false;
}

/* Big models go where the program wants them, unless workers are off. */
static ng_status open_head(opening *o, ng_tier *out, const char *name, ng_head_spec *spec) {
    const ng_grid *g = o->g;
    bool elsewhere = o->opt->open_head && g->config.workers.enabled && ng_head_is_big(spec);
    spec->memory_max = g->config.workers.memory;
    spec->hang_ms = g->config.workers.hang_ms;
    spec->prefix = (ng_prefix_options){.memory_max = g->config.cache.prefix, .disk_max = g->config.cache.prefix_disk};
    char home[PATH_CAP - 32], dir[PATH_CAP];
    if (g->config.cache.prefix_disk) {
        ng_status s = ng_home_dir(home, sizeof home, o->err);
        if (s) return s;
        snprintf(dir, sizeof dir, "%s/cache/prefix", home);
        spec->prefix.dir = dir;
    }
    if (elsewhere) return o->opt->open_head(o->opt->open_head_ctx, out, name, spec, o->err);
    return g->hooks.open_head(g->hooks.ctx, out, name, spec, o->err);
}

/* Heads of one encoder have scores of their own: H.scores.gguf beside it (eval --card). */
static ng_status find_scores(opening *o, const grid_expert_config *c, grid_member *m) {
    const char *slash = m->own_path ? strrchr(m->own_path, '/') : NULL;
    m->scores_path = m->own_path;
    if (!slash || !c->head) return NG_OK;
    char *path =
        ng_arena_printf(o->g->arena, "%.*s/%s.scores.gguf", (int)(slash - m->own_path), m->own_path, c->head);
    if (!path) return no_memory(o);
    if (o->g->hooks.file_exists(path)) m->scores_path = path;
    return NG_OK;
}

static ng_status open_contract(opening *o, const grid_expert_config *c, grid_member *m) {
    m->threshold = NAN;
    m->max_error = c->contract.max_error;
    if (isnan(m->max_error) || m->why) return NG_OK;
    ng_error why = {0};
    ng_status s = m->model_path ? o->g->hooks.calibrate(o->g->hooks.ctx, &m->threshold,
                                                        m->scores_path, m->max_error, &why)
                                : ng_fail(&why, NG_ENOTFOUND, "rules have no calibration set");
    const grid_hooks *h = &o->g->hooks;
    if (!s && h->watch) s = h->watch(h->ctx, &m->drift, m->scores_path, &why);
    if (!s || s == NG_ENOMEM) return s ? no_memory(o) : NG_OK;
    if (o->opt->keep_broken_contracts) {
        m->threshold = INFINITY;
        return (m->contract_why = ng_arena_strdup(o->g->arena, why.text)) ? NG_OK : no_memory(o);
    }
    return ng_fail(o->err, s, "%s:%d: the contract of '%s': %s", o->g->path, c->contract.line,
                   m->name, why.text);
}

void ng_grid_each_label(const char *path, ng_label_fn *fn, void *ctx) {
    ng_gguf *g;
    ng_gguf_array labels;
    if (!path || ng_gguf_open(&g, path, NULL)) return;
    if (ng_gguf_get_array(g, "nanogrid.linear.labels", &labels, NULL) == NG_OK &&
        labels.kind == NG_GGUF_STRING)
        for (size_t i = 0; i < labels.len && fn(ctx, labels.strs[i].data, labels.strs[i].len);) i++;
    ng_gguf_close(g);
}

typedef struct label_search {
    const char *wanted;
    bool any, found;
} label_search;

static bool is_wanted(void *ctx, const char *label, size_t len) {
    label_search *s = ctx;
    s->any = true;
    s->found |= strlen(s->wanted) == len && !memcmp(s->wanted, label, len);
    return !s->found;
}

static ng_status check_on_miss(opening *o, const grid_expert_config *c, const grid_member *m) {
    label_search s = {.wanted = m->on_miss};
    if (!m->on_miss || m->why) return NG_OK;
    ng_grid_each_label(m->model_path, is_wanted, &s);
    if (s.found || !s.any) return NG_OK;
    return ng_fail(o->err, NG_EINVALID, "%s:%d: the deadline of '%s': on_miss: the model has no label '%.80s'",
                   o->g->path, c->contract.deadline.line, m->name, m->on_miss);
}

/* Who is asked too where m is unsure; without its file the built-in experts answer alone. */
static ng_status open_second(opening *o, const grid_expert_config *c, grid_member *m) {
    char path[PATH_CAP];
    ng_error why = {0};
    if (!c->unsure.model || m->why) return NG_OK;
    if (!model_file(o->g, c->unsure.model, c->unsure.resolved, path, &why))
        return c->built_in ? NG_OK
                           : ng_fail(o->err, why.code, "%s:%d: the expert '%s': unsure: %s", o->g->path, c->unsure.line,
                                     c->name, why.text);
    grid_member *second = ng_arena_array(o->g->arena, 1, sizeof *second);
    char *copy = ng_arena_strdup(o->g->arena, path), *name = ng_arena_printf(o->g->arena, "%s/unsure", m->name);
    if (!second || !copy || !name) return no_memory(o);
    *second = *m;
    second->model_path = second->own_path = copy;
    second->adapter = NULL;
    second->tier = (ng_tier){0};
    ng_head_spec spec = {.task = m->task, .path = copy, .head = c->unsure.head, .n_threads = o->g->n_threads};
    ng_status s = open_head(o, &second->tier, name, &spec);
    if (s) return s;
    m->second = second;
    m->below = c->unsure.below;
    m->stands = (grid_stands)c->unsure.stands;
    m->refuse_below = c->unsure.refuse_below;
    return NG_OK;
}

/* The file of an adapter: a package's adapter.gguf, or a file of the user's. */
static bool adapter_file(const ng_grid *g, const char *adapter, char *out, ng_error *why) {
    if (!strncmp(adapter, "nanogrid/", 9)) return package_file(g, adapter, "adapter.gguf", out, why);
    bool relative = adapter[0] != '/' && *g->dir;
    int n = snprintf(out, PATH_CAP, "%s%s%s", relative ? g->dir : "", relative ? "/" : "", adapter);
    if (n > 0 && n < PATH_CAP && g->hooks.file_exists(out)) return true;
    ng_fail(why, NG_ENOTFOUND, "there is no file %.300s", out);
    return false;
}

/* m->adapter, checked against the model before either is loaded.  Those of the built-in grid come with their models and are checked when they
 * are loaded, as that reads the whole base; without its file the model's own head answers. */
static ng_status find_adapter(opening *o, const grid_expert_config *c, grid_member *m) {
    char path[PATH_CAP];
    ng_error why = {0};
    m->own_path = m->model_path;
    if (!c->adapter) return NG_OK;
    bool found = adapter_file(o->g, c->adapter, path, &why);
    if (!found && c->built_in) return NG_OK;
    if (found && !(m->own_path = m->adapter = ng_arena_strdup(o->g->arena, path))) return no_memory(o);
    ng_head_spec spec = {.task = m->task, .path = m->model_path, .adapter = m->adapter, .adapter_scale = 1};
    ng_status s = !found ? why.code : c->built_in ? NG_OK : ng_head_check_adapter(&spec, &why);
    return s ? ng_fail(o->err, s, "%s:%d: the adapter of '%s': %s", o->g->path, c->line, c->name, why.text) : NG_OK;
}

static ng_status open_expert(opening *o, const grid_expert_config *c, grid_member *m) {
    char path[PATH_CAP];
    ng_error why = {0};
    *m = (grid_member){.name = c->name,
                       .task = (ng_task)(c->task + 1),
                       .tier_level = (ng_tier_level)c->tier,
                       .threshold = NAN,
                       .max_error = NAN,
                       .deadline_ms = c->contract.deadline.p999_ms,
                       .on_miss = c->contract.deadline.on_miss,
                       .languages = c->languages.items,
                       .n_languages = c->languages.len,
                       .tenants = c->tenants.items,
                       .n_tenants = c->tenants.len,
                       .min_battery = c->min_battery};
    bool found = model_file(o->g, c->model, c->resolved, path, &why);
    if (!found && why.code == NG_ENOMEM) return no_memory(o);
    if (!found && !c->built_in)
        return ng_fail(o->err, why.code, "%s:%d: the expert '%s': %s", o->g->path, c->line, c->name,
                       why.text);
    if (*path && !(m->model_path = ng_arena_strdup(o->g->arena, path))) return no_memory(o);
    ng_status s = found ? find_adapter(o, c, m) : NG_OK;
    if (s) return s;
    if (find_scores(o, c, m)) return NG_ENOMEM;
    char *roots =
        strchr(why.text, ';'); /* where it was looked for helps who named it, not who did not */
    if (!found && roots) *roots = 0;
    if (!found) return (m->why = ng_arena_strdup(o->g->arena, why.text)) ? NG_OK : no_memory(o);
    ng_head_spec spec = {.task = m->task, .path = m->model_path, .head = c->head, .adapter = m->adapter,
                         .adapter_scale = 1, .n_threads = o->g->n_threads};
    if (c->resolved) spec.kv = (ng_kv_precision)c->resolved->kv, spec.n_ctx = (uint32_t)c->resolved->context;
    s = open_head(o, &m->tier, m->name, &spec);
    if (!s) s = check_on_miss(o, c, m);
    if (!s) s = open_second(o, c, m);
    if (!s) s = ng_grid_open_route(o->g, m, c->line, o->err);
    return s ? s : open_contract(o, c, m);
}

static ng_status open_upstream(opening *o, const grid_upstream_config *c, grid_member *m) {
    *m = (grid_member){.name = c->name,
                       .tier_level = (ng_tier_level)c->tier,
                       .upstream = true,
                       .deadline_ms = NAN,
                       .threshold = NAN,
                       .max_error = NAN,
                       .upstream_model = c->model,
                       .region = c->region,
                       .consent = c->consent,
                       .tenants = c->tenants.items,
                       .n_tenants = c->tenants.len,
                       .min_battery = c->min_battery,
                       .latency_ms = c->latency_ms,
                       .joules_per_token = c->joules_per_token,
                       .prompt_per_1m = c->pricing.prompt_per_1m,
                       .completion_per_1m = c->pricing.completion_per_1m};
    const grid_hooks *h = &o->g->hooks;
    if (!o->opt->open_upstream && !h->open_upstream)
        return ng_fail(o->err, NG_EUNSUPPORTED, "%s:%d: upstream '%s': this program has no network",
                       o->g->path, c->line, c->name);
    ng_upstream_config u = {.name = c->name,
                            .base_url = c->base_url,
                            .api_key_env = c->api_key_env,
                            .model = c->model,
                            .tier = m->tier_level,
                            .prompt_per_1m = m->prompt_per_1m,
                            .completion_per_1m = m->completion_per_1m,
                            .allowed_fails = (int)c->allowed_fails,
                            .cooldown_ms = c->cooldown_ms,
                            .timeout_ms = c->timeout_ms,
                            .connect_timeout_ms = c->connect_timeout_ms};
    ng_error why = {0};
    ng_status s = h->open_upstream ? h->open_upstream(h->ctx, &m->tier, &u, &why)
                                   : o->opt->open_upstream(&m->tier, &u, &why);
    return s ? ng_fail(o->err, s, "%s:%d: upstream '%s': %s", o->g->path, c->line, c->name,
                       why.text)
             : NG_OK;
}

static ng_status open_members(opening *o) {
    ng_grid *g = o->g;
    const grid_expert_config *e = g->config.experts.items;
    const grid_upstream_config *u = g->config.upstreams.items;
    size_t n = g->config.experts.len + g->config.upstreams.len;
    ng_status s = NG_OK;
    g->members = ng_arena_array(g->arena, n, sizeof *g->members);
    g->in_flight = ng_arena_array(g->arena, n + 1, sizeof *g->in_flight);
    if (!g->members || !g->in_flight) return no_memory(o);
    for (size_t i = 0; i < n; i++) atomic_init(&g->in_flight[i], 0);
    for (size_t i = 0; !s && i < g->config.experts.len; i++, g->n_members++)
        s = open_expert(o, &e[i], &g->members[i]);
    g->n_experts = g->n_members;
    for (size_t i = 0; !s && i < g->config.upstreams.len; i++, g->n_members++)
        s = open_upstream(o, &u[i], &g->members[g->n_members]);
    for (size_t i = 0; i < g->n_members; i++) g->members[i].index = i;
    for (size_t i = 0; i < g->n_experts; i++) {
        const grid_member *m = &g->members[i];
        g->languages_matter |= m->n_languages > 0 && !m->why;
        if (m->task == NG_TASK_DETECT_LANGUAGE && !m->why && !g->language) g->language = m;
    }
    return s;
}

/* ---- router and signals ---------------------------------------------------------------------- */

/* A missing file leaves *out absent, with the reason kept once. */
static ng_status open_router_head(opening *o, ng_tier *out, const char *name, const char *file) {
    char path[PATH_CAP];
    ng_error why = {0};
    ng_grid *g = o->g;
    if (!package_file(g, g->config.router.model, file, path, &why)) {
        if (!g->router_why && !(g->router_why = ng_arena_strdup(g->arena, why.text)))
            return no_memory(o);
        return NG_OK;
    }
    const char **kept = &g->router_paths[out == &g->expert_router];
    if (!(*kept = ng_arena_strdup(g->arena, path))) return no_memory(o);
    ng_head_spec spec = {.task = NG_TASK_CLASSIFY, .path = path, .n_threads = g->n_threads};
    return g->hooks.open_head(g->hooks.ctx, out, name, &spec, o->err);
}

typedef struct router_fit {
    const ng_grid *g;
    char first[64], odd[64]; /* a label; one that is no task */
    size_t n, n_known;
} router_fit;

static bool check_task_label(void *ctx, const char *label, size_t len) {
    router_fit *f = ctx;
    ng_task task;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(len < 63 ? len : 63), label);
    if (!ng_task_parse(&task, name) || task == NG_TASK_AUTO) snprintf(f->odd, sizeof f->odd, "%s", name);
    return !*f->odd;
}

static bool count_expert_label(void *ctx, const char *label, size_t len) {
    router_fit *f = ctx;
    if (!f->n++) snprintf(f->first, sizeof f->first, "%.*s", (int)(len < 63 ? len : 63), label);
    for (size_t i = 0; i < f->g->n_experts; i++)
        f->n_known += strlen(f->g->members[i].name) == len && !memcmp(f->g->members[i].name, label, len);
    return true;
}

/* A router that speaks of other tasks or of experts that are not here would decide nonsense. */
static ng_status check_router(opening *o) {
    const ng_grid *g = o->g;
    router_fit f = {.g = g};
    ng_grid_each_label(g->router_paths[0], check_task_label, &f);
    if (*f.odd)
        return ng_fail(o->err, NG_EINVALID,
                       "%s:%d: the router '%s' does not fit: task.gguf decides '%s', which is no task", g->path,
                       g->config.router.line, g->config.router.model, f.odd);
    ng_grid_each_label(g->router_paths[1], count_expert_label, &f);
    if (f.n && !f.n_known && g->n_experts && g->config.router.line)
        return ng_fail(o->err, NG_EINVALID,
                       "%s:%d: the router '%s' does not fit: none of the %zu experts that expert.gguf chooses among "
                       "(%s, ..) is in this grid",
                       g->path, g->config.router.line, g->config.router.model, f.n, f.first);
    return NG_OK;
}

/* Older router packages have none. */
static ng_status open_spelling(opening *o) {
    char path[PATH_CAP];
    ng_error why = {0};
    ng_grid *g = o->g;
    if (!g->config.router.spelling || !package_file(g, g->config.router.model, "spelling.gguf", path, &why))
        return NG_OK;
    ng_status s = ng_spelling_open(&g->spelling, path, &why);
    return !s || s == NG_ENOTFOUND ? NG_OK : ng_fail(o->err, s, "%s", why.text);
}

static ng_status open_router(opening *o) {
    ng_grid *g = o->g;
    if (!g->config.router.model) return NG_OK;
    ng_status s = open_router_head(o, &g->task_router, "router/task", "task.gguf");
    if (!s) s = open_router_head(o, &g->expert_router, "router/expert", "expert.gguf");
    if (!s) s = open_spelling(o);
    return s ? s : check_router(o);
}

static ng_status open_pii(opening *o) {
    ng_grid *g = o->g;
    if (g->config.pii == NG_PRIVACY_ANY) return NG_OK;
    ng_head_spec spec = {.task = NG_TASK_EXTRACT};
    ng_error why = {0};
    ng_status s = g->hooks.open_head(g->hooks.ctx, &g->pii, "signal/pii", &spec, &why);
    if (!s) return NG_OK;
    if (s == NG_ENOMEM) return no_memory(o);
    g->pii = (ng_tier){0};
    return (g->pii_why = ng_arena_strdup(g->arena, why.text)) ? NG_OK : no_memory(o);
}

/* Whose features records keep. */
static ng_status list_models(opening *o) {
    ng_grid *g = o->g;
    recorded_features *f = &g->recorder;
    f->paths = ng_arena_array(g->arena, 2 * g->n_experts + 2, sizeof *f->paths);
    if (!f->paths) return no_memory(o);
    for (size_t i = 0; i < 2; i++)
        if (g->router_paths[i]) f->paths[f->n_paths++] = g->router_paths[i];
    for (size_t i = 0; i < g->n_experts; i++)
        if (g->members[i].model_path) f->paths[f->n_paths++] = g->members[i].model_path;
    for (size_t i = 0; i < g->n_experts; i++)
        if (g->members[i].route_path) f->paths[f->n_paths++] = g->members[i].route_path;
    return NG_OK;
}

static ng_status open_records(opening *o) {
    char home[PATH_CAP - 64], path[PATH_CAP];
    ng_grid *g = o->g;
    ng_status s = ng_home_dir(home, sizeof home, o->err);
    if (s) return s;
    snprintf(path, sizeof path, "%s/nanogrid.db", home);
    if (!(g->records_path = ng_arena_strdup(g->arena, path))) return no_memory(o);
    if (o->opt->no_records) return NG_OK;
    if ((s = list_models(o))) return s;
    ng_records_options r = {.path = path,
                            .keep_ms = g->config.records.keep_ms,
                            .max_bytes = g->config.records.max,
                            .features = ng_record_features,
                            .features_ctx = &g->recorder,
                            .late_signals = ng_late_signals,
                            .late_ctx = g};
    return ng_records_open(&g->records, &r, o->err);
}

/* ---- pipelines ------------------------------------------------------------------------------- */

/* A confidence can be asked for only where one is shown. */
static ng_status check_step(opening *o, const grid_pipeline_config *p, const grid_step_config *c) {
    const ng_grid *g = o->g;
    for (size_t i = 0; !isnan(c->min_confidence) && i < g->n_experts; i++) {
        const grid_member *m = &g->members[i];
        double ignored;
        ng_error why = {0};
        if (m->why || (int)m->task != c->task + 1 || (c->expert && strcmp(c->expert, m->name))) continue;
        ng_status s = m->model_path ? g->hooks.calibrate(g->hooks.ctx, &ignored, m->scores_path, 0.5, &why)
                                    : ng_fail(&why, NG_ENOTFOUND, "rules have no calibration set");
        if (s == NG_ENOMEM) return no_memory(o);
        if (s == NG_ENOTFOUND)
            return ng_fail(o->err, NG_EINVALID,
                           "%s:%d: the step '%s' of the pipeline '%s': min_confidence needs calibrated experts: %s: %s",
                           g->path, c->line, c->name, p->name, m->name, why.text);
    }
    return NG_OK;
}

static ng_status check_pipelines(opening *o) {
    const grid_pipeline_config *p = o->g->config.pipelines.items;
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < o->g->config.pipelines.len; i++)
        for (size_t k = 0; !s && k < p[i].steps.len; k++)
            s = check_step(o, &p[i], (const grid_step_config *)p[i].steps.items + k);
    return s;
}

/* ---- open and close -------------------------------------------------------------------------- */

static void free_grid(ng_grid *g) {
    ng_records_close(g->records);
    ng_learner_close(g->learner);
    ng_outcomes_close(g->gains);
    ng_sticky_free(g->sticky);
    ng_budgets_free(g->budgets);
    ng_recorded_features_clear(&g->recorder);
    ng_spelling_close(g->spelling);
    ng_cache_free(g->cache);
    ng_semantic_free(g->semantic);
    ng_grid_close_claims(g);
    ng_grid_free_encoder(g);
    for (size_t i = 0; i < g->n_members; i++) ng_drift_free(g->members[i].drift);
    for (size_t i = 0; i < g->n_members; i++) {
        const grid_member *m = &g->members[i];
        if (m->second && m->second->tier.close) m->second->tier.close(m->second->tier.self);
        if (m->route.close) m->route.close(m->route.self);
        if (m->tier.close) m->tier.close(m->tier.self);
    }
    const ng_tier *others[] = {&g->task_router, &g->expert_router, &g->pii, &g->embedder, &g->claim_encoder};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i]->close) others[i]->close(others[i]->self);
    ng_arena_free(g->arena);
    free(g);
}

static ng_status set_path(opening *o, const char *path) {
    ng_grid *g = o->g;
    const char *slash = path ? strrchr(path, '/') : NULL;
    g->path = ng_arena_strdup(g->arena, path ? path : "(built in)");
    g->dir = ng_arena_strndup(g->arena, path ? path : "",
                              slash ? (size_t)(slash - path) + (slash == path) : 0);
    return g->path && g->dir ? NG_OK : no_memory(o);
}

/* Who asked for it gets it or is told why not: without its encoder a cache would silently hold nothing. */
static ng_status open_semantic(opening *o) {
    ng_grid *g = o->g;
    char path[PATH_CAP];
    ng_error why = {0};
    int line = g->config.cache.semantic.line;
    if (!model_file(g, g->config.cache.semantic.model, g->config.cache.semantic.resolved, path, &why))
        return ng_fail(o->err, why.code, "%s:%d: cache.semantic: %s", g->path, line, why.text);
    ng_head_spec spec = {.task = NG_TASK_EMBED,
                         .path = path,
                         .head = g->config.cache.semantic.head,
                         .n_threads = g->n_threads};
    ng_status s = open_head(o, &g->embedder, "cache/semantic", &spec);
    return s ? s
             : ng_semantic_new(&g->semantic, (size_t)g->config.cache.semantic.size,
                               g->config.cache.semantic.max_false_hit, o->err);
}

/* The encoder for second claims, where an expert has one.  A user's file that names it is taken at its word. */
static ng_status open_claim_encoder(opening *o) {
    ng_grid *g = o->g;
    char path[PATH_CAP];
    ng_error why = {0};
    int line = g->config.router.unsure.line;
    if (!(g->config.router.unsure.lead > 0) || !ng_grid_has_vector_claims(g)) return NG_OK;
    if (!model_file(g, g->config.router.unsure.model, g->config.router.unsure.resolved, path, &why))
        return line ? ng_fail(o->err, why.code, "%s:%d: router.unsure: %s", g->path, line, why.text) : NG_OK;
    ng_head_spec spec = {.task = NG_TASK_EMBED, .path = path, .n_threads = g->n_threads};
    ng_status s = open_head(o, &g->claim_encoder, "router/unsure", &spec);
    return s ? s : ng_grid_new_encoder(g, o->err);
}

static ng_status open_parts(opening *o, const char *yaml) {
    ng_grid *g = o->g;
    size_t len = yaml ? strlen(yaml) : 0;
    ng_status s = ng_grid_config_read(&g->config, yaml, len, g->path, g->arena, o->err);
    if (!s) s = open_members(o);
    if (!s) s = ng_grid_open_claims(g, o->err);
    if (!s) s = open_claim_encoder(o);
    if (!s) s = open_router(o);
    if (!s) s = open_pii(o);
    if (!s && g->config.cache.exact)
        s = ng_cache_new(&g->cache, (size_t)g->config.cache.exact, o->err);
    if (!s && !isnan(g->config.cache.semantic.max_false_hit)) s = open_semantic(o);
    if (!s) s = check_pipelines(o);
    if (!s) s = open_records(o);
    if (!s && g->config.router.learn && g->router_paths[1])
        s = ng_learner_open(&g->learner, g, o->err);
    if (!s && g->config.cascade.escalate == GRID_ESCALATE_GAIN) s = ng_outcomes_open(&g->gains, g, o->err);
    if (!s) s = ng_grid_open_limits(g, o->err);
    if (!s && g->config.cascade.sticky && g->n_members > 1) s = ng_sticky_new(&g->sticky, o->err);
    return s;
}

ng_status ng_grid_open_text(ng_grid **out, const ng_grid_options *opt, const char *yaml,
                            const char *path, const grid_hooks *hooks, ng_error *err) {
    static const ng_grid_options defaults;
    *out = NULL;
    ng_grid *g = calloc(1, sizeof *g);
    opening o = {g, opt ? opt : &defaults, err};
    if (!g) return no_memory(&o);
    g->refs = 1;
    g->forced_drift = -1;
    g->hooks = hooks ? *hooks : ng_grid_real_hooks;
    g->n_threads = o.opt->n_threads;
    ng_status s = ng_arena_new(&g->arena, 0) ? no_memory(&o) : NG_OK;
    if (!s) s = set_path(&o, path);
    if (!s) s = open_parts(&o, yaml);
    if (s) free_grid(g);
    else *out = g;
    return s;
}

/* --grid, $NANOGRID_GRID, $NANOGRID_HOME/grid.yaml; "" for the built-in grid. */
static ng_status find_grid(const char *given, char out[PATH_CAP], ng_error *err) {
    char home[PATH_CAP - 64];
    const char *env = getenv("NANOGRID_GRID");
    const char *path = given ? given : env && *env ? env : NULL;
    if (path) {
        int n = snprintf(out, PATH_CAP, "%s", path);
        return n < PATH_CAP ? NG_OK : ng_fail(err, NG_ELIMIT, "the path of the grid is too long");
    }
    ng_status s = ng_home_dir(home, sizeof home, err);
    if (s) return s;
    snprintf(out, PATH_CAP, "%s/grid.yaml", home);
    if (!ng_file_exists(out)) *out = 0;
    return NG_OK;
}

ng_status ng_grid_open(ng_grid **out, const ng_grid_options *opt, ng_error *err) {
    return ng_grid_open_hooked(out, opt, NULL, err);
}

ng_status ng_grid_open_hooked(ng_grid **out, const ng_grid_options *opt, const grid_hooks *hooks,
                              ng_error *err) {
    char path[PATH_CAP];
    *out = NULL;
    ng_status s = find_grid(opt ? opt->path : NULL, path, err);
    if (s) return s;
    if (!*path) return ng_grid_open_text(out, opt, NULL, NULL, hooks, err);
    ng_buf text = ng_buf_init(1u << 20);
    s = ng_file_read(&text, path, err);
    if (!s && strlen(text.data) != text.len)
        s = ng_fail(err, NG_EFORMAT, "%s: a NUL byte stands in it", path);
    if (!s) s = ng_grid_open_text(out, opt, text.data, path, hooks, err);
    ng_buf_clear(&text);
    return s;
}

ng_grid *ng_grid_ref(ng_grid *g) {
    atomic_fetch_add(&g->refs, 1);
    return g;
}

void ng_grid_close(ng_grid *g) {
    if (g && atomic_fetch_sub(&g->refs, 1) == 1) free_grid(g);
}

/* ---- views ----------------------------------------------------------------------------------- */

void ng_request_init(ng_request *r, ng_task task) {
    *r = (ng_request){.task = task, .max_cost_usd = NAN};
}

void ng_request_set_text(ng_request *r, const char *text, size_t len) {
    r->text_part_ = (ng_part){NG_PART_TEXT, text, len};
    r->text_message_ = (ng_message){"user", &r->text_part_, 1};
    r->messages = &r->text_message_;
    r->n_messages = 1;
}

size_t ng_grid_n_entries(const ng_grid *g) {
    return g->n_members;
}

ng_grid_entry ng_grid_get_entry(const ng_grid *g, size_t i) {
    const grid_member *m = &g->members[i];
    ng_grid_entry e = {.name = m->name,
                       .model_path = m->model_path,
                       .adapter = m->adapter,
                       .task = m->task,
                       .tier = m->tier_level,
                       .upstream = m->upstream};
    const char *why = NULL;
    e.available = ng_member_runs(m, &why);
    e.why = e.available ? NULL : why;
    ng_drift_state d = m->drift ? ng_drift_get(m->drift) : (ng_drift_state){0};
    e.watched = m->drift != NULL;
    e.drifting = d.drifting;
    e.drift = d.distance;
    return e;
}

ng_grid_config_view ng_grid_get_config(const ng_grid *g) {
    return (ng_grid_config_view){g->config.listen, g->path,
                                 (uint32_t)g->config.cascade.hold_tokens};
}

ng_grid_stats ng_grid_get_stats(const ng_grid *g) {
    ng_grid *w = (ng_grid *)g; /* atomics are read through a plain pointer */
    ng_learner_stats l = g->learner ? ng_learner_get_stats(g->learner) : (ng_learner_stats){0};
    ng_semantic_stats near = g->semantic ? ng_semantic_look(g->semantic) : (ng_semantic_stats){0};
    ng_records_stats r = g->records ? ng_records_get_stats(g->records) : (ng_records_stats){0};
    return (ng_grid_stats){.requests = atomic_load(&w->stats.requests),
                           .answered_nano = atomic_load(&w->stats.answered[0]),
                           .answered_small = atomic_load(&w->stats.answered[1]),
                           .answered_medium = atomic_load(&w->stats.answered[2]),
                           .escalations = atomic_load(&w->stats.escalations),
                           .abstentions = atomic_load(&w->stats.abstentions),
                           .cache_hits = atomic_load(&w->stats.cache_hits),
                           .cache_misses = atomic_load(&w->stats.cache_misses),
                           .semantic_hits = near.hits,
                           .semantic_misses = near.misses,
                           .semantic_checked = near.checked,
                           .semantic_false = near.checked_false,
                           .semantic_len = near.len,
                           .semantic_bytes = near.bytes,
                           .semantic_threshold = near.threshold,
                           .errors = atomic_load(&w->stats.errors),
                           .records_written = r.written,
                           .records_sampled_out = r.sampled_out,
                           .prompt_tokens = atomic_load(&w->stats.prompt_tokens),
                           .cached_tokens = atomic_load(&w->stats.cached_tokens),
                           .completion_tokens = atomic_load(&w->stats.completion_tokens),
                           .deadline_misses = atomic_load(&w->stats.deadline_misses),
                           .pipelines = atomic_load(&w->stats.pipelines[0]) + atomic_load(&w->stats.pipelines[1]),
                           .pipelines_degraded = atomic_load(&w->stats.pipelines[1]),
                           .reasks = atomic_load(&w->stats.reasks),
                           .explored = atomic_load(&w->stats.explored),
                           .wasted_tokens = atomic_load(&w->stats.wasted_tokens),
                           .wasted_usd = (double)atomic_load(&w->stats.wasted_nano_usd) * 1e-9,
                           .router_version = l.version,
                           .router_versions_made = l.made,
                           .router_versions_refused = l.refused,
                           .router_rollbacks = l.taken_back,
                           .feedback_correct = atomic_load(&w->stats.feedback[1]),
                           .feedback_wrong = atomic_load(&w->stats.feedback[0]),
                           .cost_usd = (double)atomic_load(&w->stats.cost_nano_usd) * 1e-9};
}

ng_status ng_grid_flush(ng_grid *g, ng_error *err) {
    return g->records ? ng_records_flush(g->records, err) : NG_OK;
}
