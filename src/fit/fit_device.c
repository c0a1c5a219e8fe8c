/* fit_device.c: candidates, measured one after the other, and the choice.  See nanogrid/tools/fit.h.
 *
 * The choice among those within the limits: the most accurate, but a smaller one before it where the two differ on so few
 * texts that chance would do it.  On texts where exactly one of them is right the difference has a standard deviation of
 * the root of their number (McNemar 1947); up to one of those counts as equal, so that memory is paid only for what shows.  Where
 * texts have a number instead (bits a byte), the root of the summed squares of the differences is the same. */
#include "fit_parts.h"

#include "core/clock.h"
#include "core/file.h"
#include <math.h>
#include <nanogrid/head.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ng_status ng_fit_no_memory(const fit_job *j) { return ng_fail(j->err, NG_ENOMEM, "fit: out of memory"); }

const char *ng_fit_path(fit_job *j, const char *name) {
    const char *path = ng_arena_printf(j->arena, "%s/%s", j->dir, name);
    return path ? path : "";
}

const char *ng_fit_make_file(fit_job *j, const char *name) {
    size_t i = 0;
    while (i < j->n_made && strcmp(j->made[i], name) != 0) i++;
    char *copy = i < j->n_made ? (char *)(uintptr_t)j->made[i] : ng_arena_strdup(j->arena, name),
         *path = ng_arena_printf(j->arena, "%s/%s", j->dir, name);
    if (i == FIT_FILES_MAX || !copy || !path) return (void)ng_fail(j->err, NG_ENOMEM, "fit: out of memory"), NULL;
    if (i == j->n_made) j->made[j->n_made++] = copy;
    return path;
}

fit_candidate *ng_fit_add(fit_job *j, const char *name, const char *what) {
    if (j->n == NG_DEVICE_FIT_ROWS_MAX) return NULL;
    fit_candidate *c = &j->items[j->n++];
    *c = (fit_candidate){.row = {.accuracy = NAN, .p50_ms = NAN, .p95_ms = NAN, .peak_mb = NAN}, .test_accuracy = NAN};
    snprintf(c->row.name, sizeof c->row.name, "%s", name);
    snprintf(c->row.what, sizeof c->row.what, "%s", what);
    return c;
}

/* ---- the choice --------------------------------------------------------------------------------- */

const char *ng_fit_model_path(fit_job *j, const char *model) { return *model == '/' ? model : ng_fit_path(j, model); }

static bool is_encoder(fit_job *j, const fit_candidate *c) {
    return c->model && ng_head_is_big(&(ng_head_spec){.task = j->opt->task, .path = ng_fit_model_path(j, c->model), .head = c->head});
}

static double size_of(const ng_device_fit_row *r) { return isnan(r->peak_mb) ? r->model_mb : r->peak_mb; }

/* With data: as good as `best` as far as these texts can show.  Without: of the same rank. */
static bool as_good(const fit_job *j, const fit_candidate *c, const fit_candidate *best) {
    double sum = 0, squares = 0;
    if (!c->score || !best->score) return c->rank >= best->rank;
    for (size_t i = 0; i < j->out->n_choose; i++) {
        double d = (double)best->score[i] - (double)c->score[i];
        sum += d, squares += d * d;
    }
    return sum <= sqrt(squares);
}

/* Of two that are as good: the smaller one with data, else the faster one. */
static bool cheaper(const fit_candidate *a, const fit_candidate *b) {
    return a->score && b->score ? size_of(&a->row) < size_of(&b->row) : a->row.p50_ms < b->row.p50_ms;
}

static bool better(const fit_job *j, const fit_candidate *a, const fit_candidate *b) {
    if (!a->score || !b->score) return a->rank > b->rank;
    return j->out->by_bits ? a->row.accuracy < b->row.accuracy : a->row.accuracy > b->row.accuracy;
}

/* A linear model in the place of an encoder that fails: the best one that was measured and fits beside it. */
static void find_fallback(fit_job *j, fit_candidate *c) {
    const fit_candidate *best = NULL;
    ng_task task = j->opt->task;
    bool labels = task == NG_TASK_CLASSIFY || task == NG_TASK_MODERATE || task == NG_TASK_DETECT_LANGUAGE;
    if (!labels || c->second || !is_encoder(j, c)) return;
    for (size_t i = 0; i < j->n; i++) {
        const fit_candidate *e = &j->items[i];
        double both_mb = c->row.peak_mb + e->row.model_mb * 1e6 / 1048576;
        bool room = !j->opt->ram_bytes || both_mb <= (double)j->opt->ram_bytes / 1048576;
        if (e->row.fits && e->model && !e->second && room && !is_encoder(j, e) && (!best || better(j, e, best))) best = e;
    }
    if (best) c->second = best->model, c->below = 0;
}

/* How far over the limits: 1 is on them. */
static double excess(const fit_job *j, const ng_device_fit_row *r) {
    double ram = j->opt->ram_bytes ? r->peak_mb * 1048576 / (double)j->opt->ram_bytes : 0,
           time = j->opt->latency_ms > 0 && !isnan(r->p95_ms) ? r->p95_ms / j->opt->latency_ms : 0;
    return ram > time ? ram : time;
}

static ng_status nothing_fits(const fit_job *j) {
    const ng_device_fit_row *near = NULL;
    for (size_t i = 0; i < j->n; i++) {
        const ng_device_fit_row *r = &j->items[i].row;
        if (!isnan(r->peak_mb) && (!isnan(r->p95_ms) || j->items[i].need_bytes) &&
            (!near || excess(j, r) < excess(j, near)))
            near = r;
    }
    if (!near)
        return ng_fail(j->err, NG_ELIMIT, "fit: nothing that was tried runs within the limits; %s: %s",
                       j->n ? j->items[0].row.name : "no candidate",
                       j->n ? j->items[0].row.why : "install a package or name a model with -m");
    if (isnan(near->p95_ms))
        return ng_fail(j->err, NG_ELIMIT, "fit: nothing fits; nearest is %s, which %s", near->name, near->why);
    return ng_fail(j->err, NG_ELIMIT,
                   "fit: nothing fits; nearest is %s, which %s.  It would fit --ram %.0fMB --latency %.2gms",
                   near->name, near->why, ceil(near->peak_mb + 0.5), 1.1 * near->p95_ms);
}

static void say_why(fit_job *j, const fit_candidate *least, const fit_candidate *best) {
    char *b = j->out->because;
    size_t cap = sizeof j->out->because;
    const double scale = j->out->by_bits ? 1 : 100;
    const char *unit = j->out->by_bits ? "bits a byte" : "%";
    if (least != best && least->score)
        snprintf(b, cap, "%s reaches %.*f %s, %s %.*f %s: no more than chance on %zu texts, and it is smaller", least->row.name,
                 j->out->by_bits ? 3 : 1, scale * least->row.accuracy, unit, best->row.name, j->out->by_bits ? 3 : 1,
                 scale * best->row.accuracy, unit, j->out->n_choose);
    else if (least->score) snprintf(b, cap, "%s is the most accurate of those within the limits", least->row.name);
    else snprintf(b, cap, "%s is the best that stays within the limits", least->row.name);
}

static ng_status choose(fit_job *j, fit_candidate **out) {
    fit_candidate *best = NULL, *least;
    for (size_t i = 0; i < j->n; i++)
        if (j->items[i].row.fits && (!best || better(j, &j->items[i], best))) best = &j->items[i];
    if (!best) return nothing_fits(j);
    least = best;
    for (size_t i = 0; i < j->n; i++) {
        fit_candidate *c = &j->items[i];
        if (c->row.fits && cheaper(c, least) && as_good(j, c, best)) least = c;
    }
    say_why(j, least, best);
    find_fallback(j, least);
    *out = least;
    return NG_OK;
}

/* ---- files -------------------------------------------------------------------------------------- */

static double file_mb(fit_job *j, const char *model) {
    uint64_t bytes = 0;
    int64_t changed;
    if (model) (void)ng_file_stat(ng_fit_model_path(j, model), &bytes, &changed);
    return (double)bytes / 1e6;
}

static bool is_needed(const fit_candidate *c, const char *file) {
    size_t stem = strcspn(file, ".");
    const char *const uses[] = {c->model, c->second, c->adapter};
    if (!strcmp(file, "grid.yaml")) return true;
    for (int i = 0; i < 3; i++) /* a model, and the recipes of the same name */
        if (uses[i] && stem && !strncmp(uses[i], file, stem) && uses[i][stem] == '.' &&
            (!strcmp(file, uses[i]) || !strcmp(file + stem, ".yaml") || !strcmp(file + stem, ".data.yaml")))
            return true;
    return false;
}

/* c NULL: nothing is needed. */
static void remove_files(fit_job *j, const fit_candidate *c) {
    for (size_t i = 0; i < j->n_made; i++)
        if (!c || !is_needed(c, j->made[i])) ng_file_remove(ng_fit_path(j, j->made[i]));
    ng_dir_remove(ng_fit_path(j, "home"));
}

static ng_status prepare(fit_job *j) {
    char dir[1024];
    const char *wanted = j->opt->out_dir ? j->opt->out_dir : "fit";
    ng_status s = ng_dir_make(wanted, j->err);
    if (!s) s = ng_path_absolute(dir, sizeof dir, wanted, j->err);
    if (s) return s;
    if (!(j->dir = ng_arena_strdup(j->arena, dir))) return ng_fit_no_memory(j);
    if (ng_file_exists(ng_fit_path(j, "grid.yaml"))) {
        j->dir = NULL;
        return ng_fail(j->err, NG_EINVALID,
                       "%s holds a grid.yaml already; name another folder with --out, or remove it", wanted);
    }
    return ng_dir_make(ng_fit_path(j, "home"), j->err);
}

/* A pair whose second could not run alone would be the first under another name. */
static void check_second(const fit_job *j, fit_candidate *c) {
    for (size_t i = 0; c->second && i < j->n; i++) {
        const fit_candidate *e = &j->items[i];
        if (e->model && !e->second && !strcmp(e->model, c->second) && isnan(e->row.p50_ms))
            snprintf(c->row.why, sizeof c->row.why, "%.30s does not run", e->row.name);
    }
}

/* Models that generate come best first, so what follows one that fits is not run: with data, of the same weights and the same past alone,
 * as these are compared.  Nor is what cannot hold its context. */
static void check_need(const fit_job *j, fit_candidate *c) {
    double most_mb = (double)j->opt->ram_bytes / 1048576;
    if (!c->need_bytes) return;
    c->row.peak_mb = (double)c->need_bytes / 1048576;
    for (const fit_candidate *e = j->items; e < c; e++) {
        bool ranked = !j->opt->data || (!strcmp(e->model, c->model) && e->q8 == c->q8);
        if (e->need_bytes && e->row.fits && ranked) snprintf(c->row.why, sizeof c->row.why, "not run: %.39s fits", e->row.name);
    }
    if (!*c->row.why && j->opt->ram_bytes && c->row.peak_mb > most_mb)
        snprintf(c->row.why, sizeof c->row.why, "needs %.1f MB of %.1f with the context full", c->row.peak_mb, most_mb);
}

static ng_status try_all(fit_job *j) {
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < j->n; i++) {
        fit_candidate *c = &j->items[i];
        c->row.model_mb = file_mb(j, c->model) + file_mb(j, c->second) + file_mb(j, c->adapter);
        check_second(j, c);
        check_need(j, c);
        if (!*c->row.why) s = ng_fit_measure(j, c);
        if (!s && j->opt->on_row) j->opt->on_row(j->opt->ctx, &c->row, i + 1, j->n);
    }
    return s;
}

static ng_status run(fit_job *j, fit_candidate **chosen) {
    ng_status s = prepare(j);
    if (!s && j->opt->data) s = ng_fit_data_read(j);
    if (!s && j->opt->data && j->opt->task != NG_TASK_GENERATE) s = ng_fit_add_trained(j);
    if (!s) s = ng_fit_add_packages(j);
    if (!s) s = try_all(j);
    if (!s) s = choose(j, chosen);
    if (!s) s = ng_fit_grid_write(j, *chosen, "grid.yaml", true);
    return s;
}

ng_status ng_device_fit_run(ng_device_fit *out, const ng_device_fit_options *opt, ng_error *err) {
    ng_error local = {0};
    fit_candidate *chosen = NULL;
    double start = ng_clock_ms();
    *out = (ng_device_fit){.test_accuracy = NAN};
    if (opt->data && opt->task != NG_TASK_CLASSIFY && opt->task != NG_TASK_MODERATE &&
        opt->task != NG_TASK_DETECT_LANGUAGE && opt->task != NG_TASK_EXTRACT && opt->task != NG_TASK_GENERATE)
        return ng_fail(err, NG_EINVALID,
                       "fit: data train classify, moderate, detect-language and extract, and judge generate; leave --data out for %s",
                       ng_task_name(opt->task));
    fit_job *j = calloc(1, sizeof *j);
    if (!j || ng_arena_new(&j->arena, 0)) {
        free(j);
        return ng_fail(err, NG_ENOMEM, "fit: out of memory");
    }
    j->opt = opt, j->out = out, j->err = err ? err : &local;
    ng_status s = run(j, &chosen);
    for (out->n_rows = 0; out->n_rows < j->n; out->n_rows++) out->rows[out->n_rows] = j->items[out->n_rows].row;
    if (!s) {
        out->chosen = (size_t)(chosen - j->items);
        out->test_accuracy = chosen->test_accuracy;
        snprintf(out->grid_path, sizeof out->grid_path, "%s", ng_fit_path(j, "grid.yaml"));
    }
    if (j->dir) remove_files(j, s ? NULL : chosen);
    out->seconds = (ng_clock_ms() - start) / 1e3;
    ng_labels_clear(&j->labels);
    ng_dataset_clear(&j->train);
    ng_dataset_clear(&j->held);
    ng_arena_free(j->arena);
    free(j);
    return s;
}
