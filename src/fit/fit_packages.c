/* fit_packages.c: candidates as they are: the rules, the linear packages and the heads on encoders that serve the task, by
 * their cards.  See nanogrid/tools/fit.h. */
#include "fit_parts.h"

#include "gguf/gguf.h"
#include <jansson.h>
#include <math.h>
#include <nanogrid/head.h>
#include <nanogrid/package.h>
#include <stdio.h>
#include <string.h>

/* "accuracy", else "f1", else the mean of what moderation tells, of the card's figures; NaN: it has none. */
static double figure_of(const json_t *figures, const char *head) {
    static const char *const names[] = {"accuracy", "f1", "spearman", "rouge1"};
    const json_t *group = head ? json_object_get(figures, head) : figures;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *x = json_object_get(group, names[i]);
        if (json_is_number(x)) return json_number_value(x);
    }
    return NAN;
}

static double card_figure(const char *package, const char *head) {
    ng_buf b = ng_buf_init(1 << 20);
    double x = NAN;
    json_t *card = ng_package_card(&b, package, true, NULL) ? NULL : json_loadb(b.data, b.len, 0, NULL);
    if (card) x = figure_of(json_object_get(card, "figures"), head);
    json_decref(card);
    ng_buf_clear(&b);
    return x;
}

static ng_status add_model(fit_job *j, const char *package, const char *path, const char *head) {
    char name[40], what[120];
    if (head) snprintf(name, sizeof name, "%.18s/%.18s", package, head);
    else snprintf(name, sizeof name, "%.38s", package);
    if (head) snprintf(what, sizeof what, "head %.40s of the package %.40s", head, package);
    else snprintf(what, sizeof what, "package %.80s", package);
    fit_candidate *c = fit_add(j, name, what);
    if (!c) return fit_no_memory(j);
    c->model = ng_arena_strdup(j->arena, path);
    c->head = head ? ng_arena_strdup(j->arena, head) : NULL;
    c->row.accuracy = card_figure(package, head);
    c->rank = isnan(c->row.accuracy) ? 0 : c->row.accuracy;
    return c->model && (!head || c->head) ? NG_OK : fit_no_memory(j);
}

/* Heads of an encoder that serve the task. */
static ng_status add_heads(fit_job *j, const char *package, const char *path, const ng_gguf *g) {
    ng_gguf_array names;
    ng_status s = ng_gguf_get_array(g, "nanogrid.heads", &names, j->err);
    for (size_t i = 0; !s && i < names.len && names.kind == NG_GGUF_STRING; i++) {
        ng_str name = names.strs[i];
        char head[64];
        ng_task task;
        snprintf(head, sizeof head, "%.*s", (int)(name.len < 60 ? name.len : 60), name.data);
        if (!ng_head_task(&task, path, head, NULL) && task == j->opt->task) s = add_model(j, package, path, head);
    }
    return s;
}

static ng_status add_file(fit_job *j, const char *package, const char *path) {
    ng_gguf *g;
    ng_task task;
    if (ng_gguf_open(&g, path, NULL)) return NG_OK; /* router-en has no model.gguf, pii none at all */
    ng_status s = NG_OK;
    if (ng_gguf_has(g, "nanogrid.heads")) s = add_heads(j, package, path, g);
    else if (!ng_head_task(&task, path, NULL, NULL) && task == j->opt->task) s = add_model(j, package, path, NULL);
    ng_gguf_close(g);
    return s;
}

ng_status fit_add_packages(fit_job *j) {
    ng_packages p;
    ng_status s = NG_OK;
    if (j->opt->task == NG_TASK_CLASSIFY && !j->opt->n_models)
        return ng_fail(j->err, NG_EINVALID, "fit: classify needs your labels: --data FILE with the columns text and label");
    if (j->opt->task == NG_TASK_EXTRACT && !fit_add(j, "rules", "rules for personal data, no model")) return fit_no_memory(j);
    for (size_t i = 0; !s && i < j->opt->n_models; i++) s = add_file(j, j->opt->models[i], j->opt->models[i]);
    if (s || (s = ng_packages_list(&p, j->err))) return s;
    for (size_t i = 0; !s && i < p.len; i++) {
        const char *path = ng_arena_printf(j->arena, "%s/model.gguf", p.items[i].dir);
        s = path ? add_file(j, p.items[i].name, path) : fit_no_memory(j);
    }
    ng_packages_clear(&p);
    if (!s && !j->n)
        s = ng_fail(j->err, NG_ENOTFOUND, "fit: no package serves the task %s; name a model with -m FILE", ng_task_name(j->opt->task));
    return s;
}
