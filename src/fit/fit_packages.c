/* fit_packages.c: candidates that need no data, though with data they are asked its texts: a model that generates in fewer bits and with shorter contexts, the rules, the linear packages and the heads on encoders that serve the task, by
 * their cards.  See nanogrid/tools/fit.h. */
#include "fit_parts.h"

#include "core/file.h"
#include "gguf/gguf.h"
#include <jansson.h>
#include <math.h>
#include <nanogrid/head.h>
#include <nanogrid/memory.h>
#include <nanogrid/package.h>
#include <nanogrid/system.h>
#include <nanogrid/tools/weights.h>
#include <stdio.h>
#include <string.h>

/* What the card says of the task: "accuracy", else "f1", "spearman" or "rouge1"; of rerank "mrr", of the head or in the group
 * "rerank"; NaN: it says nothing. */
static double figure_of(const json_t *figures, const char *head, ng_task task) {
    static const char *const names[] = {"mrr", "accuracy", "f1", "spearman", "rouge1"};
    const size_t first = task == NG_TASK_RERANK ? 0 : 1, end = first ? sizeof names / sizeof *names : 1;
    const json_t *group = head ? json_object_get(figures, head) : first ? figures : json_object_get(figures, "rerank");
    for (size_t i = first; i < end; i++) {
        const json_t *x = json_object_get(group, names[i]);
        if (json_is_number(x)) return json_number_value(x);
    }
    return NAN;
}

static double card_figure(const char *package, const char *head, ng_task task) {
    ng_buf b = ng_buf_init(1 << 20);
    double x = NAN;
    json_t *card = ng_package_card(&b, package, true, NULL) ? NULL : json_loadb(b.data, b.len, 0, NULL);
    if (card) x = figure_of(json_object_get(card, "figures"), head, task);
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
    fit_candidate *c = ng_fit_add(j, name, what);
    if (!c) return ng_fit_no_memory(j);
    c->model = ng_arena_strdup(j->arena, path);
    c->head = head ? ng_arena_strdup(j->arena, head) : NULL;
    if (!j->opt->data) { /* else it is asked the texts that the others are asked */
        c->row.accuracy = card_figure(package, head, j->opt->task);
        /* Two cards' MRR are of different documents, so that they order nothing: the faster one is taken. */
        c->rank = isnan(c->row.accuracy) ? 0 : j->opt->task == NG_TASK_RERANK ? 1 : c->row.accuracy;
    }
    return c->model && (!head || c->head) ? NG_OK : ng_fit_no_memory(j);
}

/* Reranking is also what a model does that finds answers, or makes vectors. */
static bool serves(ng_task wanted, ng_task task) {
    return task == wanted || (wanted == NG_TASK_RERANK && (task == NG_TASK_ANSWER || task == NG_TASK_EMBED));
}

/* Whether a classifier can say every label of the data, or a head on words every tag. */
static bool knows_labels(const fit_job *j, const ng_gguf *g, const char *head) {
    char key[128];
    ng_gguf_array a;
    if (!j->opt->data || (j->opt->task != NG_TASK_CLASSIFY && j->opt->task != NG_TASK_EXTRACT && j->opt->task != NG_TASK_DETECT_LANGUAGE)) return true;
    if (head) snprintf(key, sizeof key, "nanogrid.head.%s.labels", head);
    else snprintf(key, sizeof key, "nanogrid.linear.labels");
    if (ng_gguf_get_array(g, key, &a, NULL) || a.kind != NG_GGUF_STRING) return false;
    for (size_t i = 0; i < j->labels.len; i++) {
        size_t k = 0, len = strlen(j->labels.names[i]);
        while (k < a.len && (a.strs[k].len != len || memcmp(a.strs[k].data, j->labels.names[i], len) != 0)) k++;
        if (k == a.len) return false;
    }
    return true;
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
        if (!ng_head_task(&task, path, head, NULL) && serves(j->opt->task, task) && knows_labels(j, g, head))
            s = add_model(j, package, path, head);
    }
    return s;
}

/* ---- models that generate ----------------------------------------------------------------------- */

/* One file with contexts from the longest down, each with exact past tokens and with those of 8 bits.  Fewer bits of weights
 * lose more than a shorter context here, and a shorter context more than an 8-bit past; `rank` orders them so where no data do. */
static ng_status add_contexts(fit_job *j, const char *model, const char *path, const char *stem, double rank,
                              uint32_t longest) {
    static const uint32_t lengths[] = {4096, 2048, 1024, 512, 256};
    const size_t n_lengths = sizeof lengths / sizeof *lengths;
    for (size_t i = 0; i < n_lengths; i++)
        for (int q8 = 0; q8 < 2; q8++) {
            char name[40], what[120];
            uint32_t length = i + 1 == n_lengths && lengths[i] > longest ? longest : lengths[i];
            if (length > longest) continue;
            snprintf(name, sizeof name, "%.26s %u%s", stem, length, q8 ? " q8" : "");
            snprintf(what, sizeof what, "%.40s with %u tokens of context%s", stem, length,
                     q8 ? ", past tokens in 8 bits" : "");
            ng_session_options opt = {.n_ctx = length, .kv = q8 ? NG_KV_8BIT : NG_KV_DEFAULT};
            ng_memory_need need;
            ng_status s = ng_memory_predict(&need, path, &opt, j->err);
            if (s) return s;
            fit_candidate *c = ng_fit_add(j, name, what);
            if (!c) return NG_OK; /* the table is full: shorter ones are not tried */
            /* Sequences hold two contexts together (scheduler.h); what is asked here fills neither. */
            c->need_bytes = need.weights_bytes + need.panels_bytes + need.tables_bytes + need.scratch_bytes +
                            2 * need.kv_bytes + NG_PROCESS_BYTES;
            c->model = model;
            c->context = length;
            c->q8 = q8;
            c->rank = rank + length / 8192.0 - 1e-3 * q8;
        }
    return NG_OK;
}

static bool is_wide(const char *type) {
    static const char *const wide[] = {"F32", "F16", "BF16", "Q8_0"};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (!strcmp(type, wide[i])) return true;
    return false;
}

/* As it is; a wide one in 8 and in 4 bits too. */
static ng_status add_decoder(fit_job *j, const char *path, size_t index) {
    static const char *const types[] = {"Q8_0", "Q4_1"};
    ng_memory_need need;
    char stem[40], file[64], whole[1024];
    ng_status s = ng_memory_predict(&need, path, NULL, j->err);
    if (!s) s = ng_path_absolute(whole, sizeof whole, path, j->err);
    if (s) return s;
    const char *copy = ng_arena_strdup(j->arena, whole);
    if (!copy) return ng_fit_no_memory(j);
    snprintf(stem, sizeof stem, "model%zu %.16s", index + 1, need.file_type);
    s = add_contexts(j, copy, copy, stem, 10, need.n_ctx);
    for (size_t i = 0; !s && is_wide(need.file_type) && i < 2; i++) {
        ng_weights_report report;
        if (!strcmp(types[i], need.file_type)) continue;
        snprintf(file, sizeof file, "model%zu-%s.gguf", index + 1, types[i]);
        const char *to = ng_fit_make_file(j, file), *name = ng_arena_strdup(j->arena, file);
        if (!to || !name) return ng_fit_no_memory(j);
        if ((s = ng_quantize_file(&report, path, to, &(ng_weights_options){.type = types[i]}, j->err))) return s;
        ng_weights_report_clear(&report);
        snprintf(stem, sizeof stem, "model%zu %s", index + 1, types[i]);
        s = add_contexts(j, name, to, stem, 9 - (double)i, need.n_ctx);
    }
    return s;
}

static ng_status add_file(fit_job *j, const char *package, const char *path) {
    ng_gguf *g;
    ng_task task;
    if (ng_gguf_open(&g, path, NULL)) return NG_OK; /* router-en has no model.gguf, pii none at all */
    ng_status s = NG_OK;
    if (ng_gguf_has(g, "nanogrid.heads")) s = add_heads(j, package, path, g);
    else if (!ng_head_task(&task, path, NULL, NULL) && serves(j->opt->task, task) && knows_labels(j, g, NULL))
        s = add_model(j, package, path, NULL);
    ng_gguf_close(g);
    return s;
}

/* A file that -m names: it must serve the task. */
static ng_status add_named(fit_job *j, size_t i) {
    const char *path = j->opt->models[i];
    size_t before = j->n;
    ng_task task;
    char whole[1024];
    ng_status s = ng_path_absolute(whole, sizeof whole, path, j->err);
    if (!s) s = ng_head_task(&task, path, NULL, j->err);
    if (s) return s;
    const char *slash = strrchr(path, '/');
    if (task == NG_TASK_GENERATE && task == j->opt->task) return add_decoder(j, path, i);
    s = add_file(j, slash ? slash + 1 : path, whole);
    return s || j->n > before ? s
                              : ng_fail(j->err, NG_EINVALID, "%s: it serves the task %s, not %s", path,
                                        ng_task_name(task), ng_task_name(j->opt->task));
}

/* Why no package can serve the task, with what can. */
static ng_status nothing_serves(const fit_job *j) {
    const char *name = ng_task_name(j->opt->task);
    if (j->opt->task == NG_TASK_TRANSLATE || j->opt->task == NG_TASK_REWRITE)
        return ng_fail(j->err, NG_ENOTFOUND,
                       "fit: no model on this device serves the task %s; a grid sends it to an upstream "
                       "(docs/grid_yaml.md), whose memory and time are not this device's",
                       name);
    return ng_fail(j->err, NG_ENOTFOUND, "fit: no package serves the task %s; name a model with -m FILE", name);
}

ng_status ng_fit_add_packages(fit_job *j) {
    ng_packages p;
    ng_status s = NG_OK;
    if (j->opt->task == NG_TASK_CLASSIFY && !j->opt->data && !j->opt->n_models)
        return ng_fail(j->err, NG_EINVALID,
                       "fit: classify needs your labels: --data FILE with the columns text and label");
    if (j->opt->task == NG_TASK_EXTRACT && !ng_fit_add(j, "rules", "rules for personal data, no model"))
        return ng_fit_no_memory(j);
    bool learns = j->opt->data && (j->opt->task == NG_TASK_CLASSIFY || j->opt->task == NG_TASK_EXTRACT); /* then they were bases */
    for (size_t i = 0; !s && !learns && i < j->opt->n_models; i++) s = add_named(j, i);
    if (s || (s = ng_packages_list(&p, j->err))) return s;
    for (size_t i = 0; !s && i < p.len; i++) {
        const char *path = ng_arena_printf(j->arena, "%s/model.gguf", p.items[i].dir);
        s = path ? add_file(j, p.items[i].name, path) : ng_fit_no_memory(j);
    }
    ng_packages_clear(&p);
    return s || j->n ? s : nothing_serves(j);
}
