/* fit_train.c: candidates made from data: linear models of two sizes, heads on encoders cut to their first layers, and
 * the larger linear model with a whole encoder behind it.
 *
 * Cutting is the compression that costs nothing to try: the rows of an early layer carry most of what a head on labels
 * needs (Fan, Grave and Joulin 2020 drop layers for the same reason), and memory and time fall with the layers.  The head is
 * fitted in closed form on what is left (few_shot.h), so that a candidate takes seconds. */
#include "fit_parts.h"

#include "core/file.h"
#include "gguf/gguf.h"
#include <nanogrid/package.h>
#include <nanogrid/tools/few_shot.h>
#include <nanogrid/tools/train.h>
#include <nanogrid/tools/weights.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXAMPLES_MAX = 1200, EXAMPLES_BYTES = 700 << 10, EXAMPLES_LEAST = 4 };
#define HEAD "labels" /* its name, and of the file that few_shot writes */

/* ---- linear ------------------------------------------------------------------------------------- */

static ng_status add_linear(fit_job *j, const char *name, int rows, int bits) {
    char file[64], what[120];
    snprintf(file, sizeof file, "%s.gguf", name);
    snprintf(what, sizeof what, "linear model of %d word and letter groups in %d bits", rows, bits);
    ng_status s = ng_fit_recipe_write(j, name, rows, bits);
    if (s) return s;
    ng_train_options opt = {.out_dir = j->dir, .seed = -1};
    ng_train_result *r = malloc(sizeof *r);
    char recipe[64];
    snprintf(recipe, sizeof recipe, "%s.yaml", name);
    const char *from = ng_fit_path(j, recipe), *to = ng_fit_make_file(j, file);
    s = r && from && to ? ng_train(r, from, &opt, j->err) : ng_fit_no_memory(j);
    free(r);
    fit_candidate *c = s ? NULL : ng_fit_add(j, name, what);
    if (c) c->model = ng_arena_strdup(j->arena, file);
    return s || (c && c->model) ? s : ng_fit_no_memory(j);
}

/* ---- encoders ----------------------------------------------------------------------------------- */

/* The layer of "blk.7.attn_q.weight"; -1: of none. */
static long layer_of(const char *name) { return strncmp(name, "blk.", 4) ? -1 : strtol(name + 4, NULL, 10); }

/* The first n_layers of an encoder, without its heads. */
static ng_status cut_encoder(const fit_job *j, const char *from, const char *to, uint32_t n_layers) {
    ng_gguf *g;
    ng_gguf_writer *w;
    ng_status s = ng_gguf_open(&g, from, j->err);
    if (s) return s;
    if (ng_gguf_writer_new(&w)) {
        ng_gguf_close(g);
        return ng_fit_no_memory(j);
    }
    ng_gguf_put_u32(w, "bert.block_count", n_layers);
    if (ng_gguf_has(g, "nanogrid.heads")) ng_gguf_put_strs(w, "nanogrid.heads", NULL, 0);
    ng_gguf_put_all(w, g);
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
        if (strncmp(t->name, "head.", 5) && layer_of(t->name) < (long)n_layers)
            ng_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data);
    }
    s = ng_gguf_writer_commit(w, to, j->err);
    ng_gguf_close(g);
    return s;
}

uint32_t ng_fit_layers(const char *path) {
    ng_gguf *g;
    uint32_t n = 0;
    if (ng_gguf_open(&g, path, NULL)) return 0;
    if (ng_gguf_has(g, "bert.block_count") && ng_gguf_get_u32(g, "bert.block_count", &n, NULL)) n = 0;
    ng_gguf_close(g);
    return n;
}

static bool is_new(uint64_t *seen, size_t n, uint64_t hash) {
    for (size_t i = 0; i < n; i++)
        if (seen[i] == hash) return false;
    seen[n] = hash;
    return true;
}

/* The examples of one label into an open list; at most `most`. */
static size_t put_examples(const fit_job *j, ng_json *q, int32_t label, size_t most, uint64_t *seen, size_t n_seen) {
    size_t n = 0;
    for (size_t i = 0; i < j->train.len && n < most; i++) {
        const ng_sample *x = &j->train.items[i];
        if (x->label == label && is_new(seen, n_seen + n, x->hash)) ng_json_strn(q, x->text, x->len), n++;
    }
    return n;
}

/* The file of labels that few_shot.h reads; as many examples a label as fit. */
static ng_status write_examples(fit_job *j, const char *path) {
    size_t each = EXAMPLES_MAX / j->labels.len, n = 0;
    uint64_t *seen = calloc(EXAMPLES_MAX + 1, sizeof *seen);
    ng_buf b = ng_buf_init(4 << 20);
    ng_status s = NG_EINVALID;
    for (; seen && each >= EXAMPLES_LEAST; each = each * 2 / 3, n = 0) {
        ng_buf_reset(&b);
        ng_json q = ng_json_init(&b);
        ng_json_object(&q);
        ng_json_key(&q, "name"), ng_json_str(&q, HEAD);
        ng_json_key(&q, "labels"), ng_json_object(&q);
        for (size_t i = 0; i < j->labels.len; i++) {
            ng_json_key(&q, j->labels.names[i]), ng_json_object(&q);
            ng_json_key(&q, "examples"), ng_json_array(&q);
            n += put_examples(j, &q, (int32_t)i, each, seen, n);
            ng_json_end(&q), ng_json_end(&q);
        }
        ng_json_end(&q), ng_json_end(&q);
        if (b.status || b.len <= EXAMPLES_BYTES) break;
    }
    if (seen && !b.status && b.len && b.len <= EXAMPLES_BYTES) s = ng_file_write_atomic(path, b.data, b.len, j->err);
    else if (!seen || b.status) s = ng_fit_no_memory(j);
    else s = ng_fail(j->err, NG_ELIMIT, "%zu labels are too many for a head in closed form", j->labels.len);
    free(seen);
    ng_buf_clear(&b);
    return s;
}

/* Cuts, takes fewer bits where `type` says so, fits the head on what is left. */
static ng_status make_encoder(fit_job *j, const char *base, const char *to, uint32_t n_layers, const char *type,
                              const char *examples) {
    const char *cut = ng_fit_make_file(j, "cut.gguf"), *headed = ng_fit_make_file(j, HEAD ".gguf");
    if (!cut || !headed) return NG_ENOMEM;
    ng_few_shot_options opt = {.encoder = cut, .out_dir = j->dir, .n_threads = j->opt->n_threads};
    ng_few_shot_result *r = malloc(sizeof *r);
    ng_status s = r ? cut_encoder(j, base, cut, n_layers) : ng_fit_no_memory(j);
    if (!s && type) {
        ng_weights_report report;
        s = ng_quantize_file(&report, cut, cut, &(ng_weights_options){.type = type}, j->err);
        if (!s) ng_weights_report_clear(&report);
    }
    if (!s) s = ng_few_shot(r, examples, &opt, j->err);
    if (!s && rename(headed, to)) s = ng_fail(j->err, NG_EIO, "%s: it could not be renamed", headed);
    free(r);
    ng_file_remove(cut);
    return s;
}

/* A candidate that could not be made stays in the table with the reason. */
static ng_status add_encoder(fit_job *j, const char *base, const char *name, uint32_t n_layers, uint32_t n_all,
                             const char *type, const char *examples) {
    char file[64], what[120];
    ng_error why = {0}, *kept = j->err;
    snprintf(file, sizeof file, "%s.gguf", name);
    snprintf(what, sizeof what, "head on %u of %u layers%s%s", n_layers, n_all, type ? " in " : "", type ? type : "");
    const char *to = ng_fit_make_file(j, file);
    fit_candidate *c = to ? ng_fit_add(j, name, what) : NULL;
    if (!c) return ng_fit_no_memory(j);
    j->err = &why;
    ng_status s = make_encoder(j, base, to, n_layers, type, examples);
    j->err = kept;
    if (s == NG_ENOMEM || s == NG_EIO) return ng_fail(j->err, s, "%s", why.text);
    if (s) return snprintf(c->row.why, sizeof c->row.why, "%.159s", why.text), NG_OK;
    c->model = ng_arena_strdup(j->arena, file);
    c->head = HEAD;
    return c->model ? NG_OK : ng_fit_no_memory(j);
}

/* An encoder cut to a third, to a half, whole; the least one in four bits too. */
static ng_status add_encoders(fit_job *j, const char *base, const char *stem, const char *examples) {
    uint32_t n = ng_fit_layers(base), cuts[] = {n / 3, n / 2, n};
    ng_status s = NG_OK;
    for (size_t i = 0; !s && n && i < 3; i++) {
        char name[64];
        if (!cuts[i] || (i && cuts[i] == cuts[i - 1])) continue;
        snprintf(name, sizeof name, "%.20s-%u", stem, cuts[i]);
        s = add_encoder(j, base, name, cuts[i], n, NULL, examples);
        snprintf(name, sizeof name, "%.20s-%u-q4", stem, cuts[i]);
        if (!s && i == 0) s = add_encoder(j, base, name, cuts[i], n, "Q4_0", examples);
    }
    return s;
}

/* The linear model first; the last encoder where it is unsure. */
static ng_status add_both(fit_job *j) {
    const fit_candidate *whole = &j->items[j->n - 1];
    if (!whole->model || !whole->head) return NG_OK;
    fit_candidate *c =
        ng_fit_add(j, "linear+encoder", "the larger linear model; the whole encoder where it is less than 90 % sure");
    if (!c) return ng_fit_no_memory(j);
    c->model = "linear.gguf";
    c->second = whole->model;
    c->second_head = whole->head;
    c->below = 0.9;
    return NG_OK;
}

const char *ng_fit_shared_encoder(fit_job *j) {
    char dir[1024];
    if (ng_package_find(dir, sizeof dir, "nanogrid/encoder-en", NULL)) return NULL;
    const char *path = ng_arena_printf(j->arena, "%s/model.gguf", dir);
    if (!path) (void)ng_fit_no_memory(j);
    return path;
}

ng_status ng_fit_add_trained(fit_job *j) {
    ng_task task = j->opt->task;
    ng_status s = task == NG_TASK_EXTRACT ? NG_OK : add_linear(j, "linear-small", 2048, 4);
    if (!s && task != NG_TASK_EXTRACT) s = add_linear(j, "linear", 16384, 8);
    if (!s && (task == NG_TASK_EXTRACT || task == NG_TASK_MODERATE)) return ng_fit_add_adapted(j);
    if (s || task != NG_TASK_CLASSIFY) return s; /* heads in closed form tell one label of many */
    const char *examples = ng_fit_make_file(j, "examples.yaml");
    ng_error none = {0};
    s = examples ? write_examples(j, examples) : NG_ENOMEM;
    if (s == NG_ELIMIT) {
        if (j->err) *j->err = none;
        return NG_OK; /* linear models alone */
    }
    for (size_t i = 0; !s && i < j->opt->n_models; i++) {
        char stem[32];
        snprintf(stem, sizeof stem, "model%zu", i + 1);
        s = ng_fit_layers(j->opt->models[i])
                ? add_encoders(j, j->opt->models[i], stem, examples)
                : ng_fail(j->err, NG_EUNSUPPORTED, "%s: labels are learned on a BERT as GGUF", j->opt->models[i]);
    }
    const char *base = s ? NULL : ng_fit_shared_encoder(j);
    if (!base) return s ? s : j->err->code;
    s = add_encoders(j, base, "encoder", examples);
    return s ? s : add_both(j);
}
