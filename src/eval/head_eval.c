/* head_eval.c: see head_eval.h. */
#include "head_eval.h"

#include "core/clock.h"
#include <stdlib.h>

ng_status ng_head_eval_no_memory(const ng_head_eval *e) {
    return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->recipe.path);
}

static ng_status begin(ng_head_eval *e, const char *path, ng_recipe_task task) {
    ng_status s = ng_recipe_read(&e->recipe, path, e->arena, e->err);
    if (s) return s;
    if (e->recipe.task != (int)task)
        return ng_fail(e->err, NG_EINVALID, "%s: its model was trained for the task %s", path, e->s->head->task);
    if (!e->recipe.data.test.len)
        return ng_fail(e->err, NG_EINVALID, "%s: data.test is empty; there is nothing to measure", path);
    e->labels = (ng_labels){NULL, e->s->head->labels, e->s->head->n_labels};
    return NG_OK;
}

ng_status ng_head_eval_run(ng_eval_result *out, const char *path, const ng_encoder_subject *subject,
                           ng_recipe_task task, ng_status (*body)(ng_head_eval *e), ng_error *err) {
    ng_error local = {0};
    ng_head_eval e = {.out = out, .err = err ? err : &local, .s = subject};
    if (ng_arena_new(&e.arena, 1 << 20)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_status s = begin(&e, path, task);
    if (!s) s = body(&e);
    ng_dataset_clear(&e.test);
    free(e.ms);
    ng_arena_free(e.arena);
    return s;
}

ng_status ng_head_eval_read(ng_head_eval *e) {
    ng_status s = ng_dataset_read(&e->test, &e->recipe.data.test, &e->labels, &e->recipe, e->err);
    ng_energy_start(&e->meter);
    return s;
}

ng_status ng_head_eval_time(ng_head_eval *e, uint64_t start_ns) {
    double ms = (double)(ng_clock_ns() - start_ns) / 1e6;
    if (e->n_ms == e->cap_ms) {
        size_t cap = e->cap_ms ? e->cap_ms * 2 : 1024;
        double *grown = realloc(e->ms, cap * sizeof *grown);
        if (!grown) return ng_head_eval_no_memory(e);
        e->ms = grown;
        e->cap_ms = cap;
    }
    e->ms[e->n_ms++] = ms;
    return NG_OK;
}

void ng_head_eval_put(const ng_head_eval *e, const char *name, double value) { ng_eval_put(e->out, name, value, false); }

void ng_head_eval_put_speed(const ng_head_eval *e) {
    ng_eval_put_speed(e->out, e->ms, e->n_ms, &e->meter);
}
