/* eval.c: finds the kind that evaluates a recipe's task; figures and cards.  See nanogrid/tools/eval.h. */
#include "eval_ops.h"
#include "figures.h"
#include "train/noise.h"

#include "config/yaml_tree.h"
#include "core/cpu.h"
#include "core/file.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define EVAL(name) extern const ng_eval_ops ng_eval_##name;
#include "evals.def"
#undef EVAL

static const ng_eval_ops *const kinds[] = {
#define EVAL(name) &ng_eval_##name,
#include "evals.def"
#undef EVAL
    NULL};

/* The recipe's `task`, in `arena`. */
static ng_status read_task(const char **out, const char *path, ng_arena *arena, ng_error *err) {
    ng_buf text = ng_buf_init(1 << 20);
    ng_yaml_node *root = NULL;
    ng_status s = ng_file_read(&text, path, err);
    if (!s) s = ng_yaml_parse(&root, text.data, text.len, path, arena, err);
    *out = NULL;
    if (!s && root && root->kind == NG_YAML_MAPPING)
        for (const ng_yaml_node *c = root->child; c; c = c->next)
            if (!strcmp(c->key, "task") && c->kind == NG_YAML_SCALAR) *out = ng_arena_strdup(arena, c->text);
    ng_buf_clear(&text);
    return s || *out ? s : ng_fail(err, NG_EINVALID, "%s: the recipe names no task", path);
}

/* What is over labels can be spoiled; no card says so. */
static ng_status check_noise(const ng_eval_options *opt, const char *task, const char *path, ng_error *err) {
    static const char *const tasks[] = {"classify", "moderate", "detect-language", "encoder"};
    ng_noise kind;
    if (!opt || !opt->noise) return NG_OK;
    if (opt->card)
        return ng_fail(err, NG_EINVALID, "%s: a card tells of clean texts; leave out either card or noise", path);
    if (!ng_noise_parse(&kind, opt->noise))
        return ng_fail(err, NG_EINVALID, "noise '%.40s' is none of typos, spacing, homoglyphs, leetspeak", opt->noise);
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        if (!strcmp(task, tasks[i])) return NG_OK;
    return ng_fail(err, NG_EINVALID, "%s: noise is for labels, not for the task %s", path, task);
}

static ng_status check_beside(const ng_eval_options *opt, const char *task, const char *path, ng_error *err) {
    if (!opt || !opt->beside || (!strcmp(task, "encoder") && !opt->card)) return NG_OK;
    return ng_fail(err, NG_EINVALID,
                   opt->card ? "%s: a card tells of the package alone; leave out either card or beside"
                             : "%s: a model stands beside the heads of an encoder, and this is no recipe of one", path);
}

ng_status ng_eval(ng_eval_result *out, const char *recipe_path, const ng_eval_options *opt, ng_error *err) {
    static const ng_eval_options defaults = {0};
    ng_arena *arena;
    const char *task;
    *out = (ng_eval_result){0};
    if (ng_arena_new(&arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    ng_status s = read_task(&task, recipe_path, arena, err);
    const ng_eval_ops *ops = NULL;
    for (size_t i = 0; !s && kinds[i] && !ops; i++)
        if (kinds[i]->serves(task)) ops = kinds[i];
    if (!s && !ops) s = ng_fail(err, NG_EUNSUPPORTED, "%s: the task '%s' has no evaluation", recipe_path, task);
    if (!s) s = check_noise(opt, task, recipe_path, err);
    if (!s) s = check_beside(opt, task, recipe_path, err);
    if (!s) s = ops->run(out, recipe_path, opt ? opt : &defaults, err);
    ng_arena_free(arena);
    return s;
}

void ng_eval_put(ng_eval_result *r, const char *name, double value, bool measured) {
    if (r->n == NG_EVAL_METRICS_MAX) return;
    ng_metric *m = &r->items[r->n++];
    snprintf(m->name, sizeof m->name, "%s", name);
    m->value = value;
    m->measured = measured;
}

void ng_eval_put_speed(ng_eval_result *r, double *ms, size_t n, const ng_energy_meter *since) {
    ng_energy e = ng_energy_stop(since, 0);
    double timed_s = 0;
    char name[48];
    for (size_t i = 0; i < n; i++) timed_s += ms[i] / 1e3;
    snprintf(name, sizeof name, "energy_mj.%s", e.source);
    ng_eval_put(r, "latency_ms.p50", ng_metric_quantile(ms, n, 0.5), true);
    ng_eval_put(r, "latency_ms.p99", ng_metric_quantile(ms, n, 0.99), true);
    ng_eval_put(r, name, n ? e.joules * 1e3 * fmin(timed_s / e.wall_s, 1) / (double)n : NAN, true);
}

/* Writes the figures that are (not) measured. */
static void put_figures(ng_json *j, const ng_eval_result *r, bool plain, bool measured) {
    char group[sizeof r->items[0].name] = "";
    for (size_t i = 0; i < r->n; i++) {
        const ng_metric *m = &r->items[i];
        if (m->measured ? !measured : !plain) continue;
        const char *dot = strchr(m->name, '.');
        size_t len = dot ? (size_t)(dot - m->name) : 0;
        if (*group && (!dot || strncmp(group, m->name, len) != 0 || group[len])) ng_json_end(j), group[0] = 0;
        if (dot && !*group) {
            memcpy(group, m->name, len);
            group[len] = 0;
            ng_json_key(j, group);
            ng_json_object(j);
        }
        ng_json_key(j, dot ? dot + 1 : m->name);
        ng_json_fixed(j, m->value, NG_EVAL_DECIMALS);
    }
    if (*group) ng_json_end(j);
}

void ng_eval_json(ng_json *j, const ng_eval_result *r) {
    ng_json_object(j);
    put_figures(j, r, true, true);
    ng_json_end(j);
}

static void put_text(ng_json *j, const char *key, const char *text) {
    ng_json_key(j, key);
    ng_json_str(j, text);
}

static void put_list(ng_json *j, const char *key, const char *const *items, size_t n) {
    ng_json_key(j, key);
    ng_json_array(j);
    for (size_t i = 0; i < n; i++) ng_json_str(j, items[i]);
    ng_json_end(j);
}

static void put_card(ng_json *j, const ng_card *c, const ng_eval_result *r) {
    const ng_about *a = c->about;
    const char *slash = strrchr(c->recipe, '/');
    ng_json_object(j);
    put_text(j, "name", a->name);
    put_text(j, "task", c->task);
    put_list(j, "languages", a->languages.items, a->languages.len);
    put_text(j, "description", a->description);
    ng_json_key(j, "data");
    ng_json_object(j);
    put_text(j, "source", a->source);
    put_text(j, "licence", a->licence);
    put_text(j, "attribution", a->attribution);
    ng_json_end(j);
    put_text(j, "recipe", slash ? slash + 1 : c->recipe);
    ng_json_key(j, "figures");
    ng_json_object(j);
    put_figures(j, r, true, false);
    ng_json_end(j);
    ng_json_key(j, "measured");
    ng_json_object(j);
    put_text(j, "cpu", ng_cpu_name());
    put_figures(j, r, false, true);
    ng_json_end(j);
    put_list(j, "labels", c->labels, c->n_labels);
    ng_json_end(j);
}

static int append(const char *text, size_t len, void *out) { return ng_buf_put(out, text, len) ? -1 : 0; }

ng_status ng_card_write(const ng_card *card, ng_eval_result *r, const char *path, ng_error *err) {
    ng_buf line = ng_buf_init(1 << 22);
    ng_json j = ng_json_init(&line);
    json_error_t why;
    snprintf(r->card_path, sizeof r->card_path, "%s", path);
    put_card(&j, card, r);
    /* Indented for people and for version control; 12 digits keep every printed figure as it is. */
    json_t *tree = line.status ? NULL : json_loadb(line.data, line.len, 0, &why);
    ng_buf_reset(&line);
    size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION(12) | JSON_PRESERVE_ORDER;
    bool ok = tree && !json_dump_callback(tree, append, &line, flags) && !ng_buf_putc(&line, '\n');
    ng_status s = ok ? ng_file_write_atomic(path, line.data, line.len, err)
                     : ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    json_decref(tree);
    ng_buf_clear(&line);
    return s;
}
