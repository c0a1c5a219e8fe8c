/* cli_train.c: see cli_train.h. */
#include "cli_train.h"

#include <math.h>
#include <stdio.h>

static bool on_step(void *ctx, const ng_train_step *s) {
    cli_train *t = ctx;
    if (s->note) {
        fprintf(stderr, "nanogrid: %s\n", s->note);
        return true;
    }
    cli_progress_step(&t->progress, (double)s->step, (double)s->n_steps);
    ng_buf b = ng_buf_init(1024);
    if (t->json) {
        ng_json j = ng_json_init(&b);
        ng_json_object(&j);
        ng_json_key(&j, "step"), ng_json_int(&j, s->step);
        ng_json_key(&j, "steps"), ng_json_int(&j, s->n_steps);
        ng_json_key(&j, "phase"), ng_json_str(&j, s->phase);
        if (s->head) ng_json_key(&j, "head"), ng_json_str(&j, s->head);
        if (!isnan(s->loss)) ng_json_key(&j, "loss"), ng_json_fixed(&j, s->loss, 6);
        if (!isnan(s->dev_accuracy)) ng_json_key(&j, "dev_accuracy"), ng_json_fixed(&j, s->dev_accuracy, 6);
        if (s->rate > 0) {
            ng_json_key(&j, "rate"), ng_json_fixed(&j, s->rate, 9);
            ng_json_key(&j, "tokens_per_s"), ng_json_fixed(&j, s->tokens_per_s, 0);
        }
        ng_json_end(&j);
    } else {
        ng_buf_printf(&b, "step %lld/%lld  %s", (long long)s->step, (long long)s->n_steps, s->phase);
        if (s->head) ng_buf_printf(&b, "  %s", s->head);
        if (!isnan(s->loss)) ng_buf_printf(&b, "  loss %.5f", s->loss);
        if (!isnan(s->dev_accuracy)) ng_buf_printf(&b, "  dev accuracy %.4f", s->dev_accuracy);
        if (s->rate > 0) ng_buf_printf(&b, "  rate %.2g  %.0f tokens/s", s->rate, s->tokens_per_s);
    }
    bool ok = cli_print(&b) == 0;
    ng_buf_clear(&b);
    return ok;
}

/* What a step of compression cost and gained, on texts that nothing was fitted on. */
static void put_comparison_json(ng_json *j, const ng_train_result *r) {
    ng_json_key(j, "comparison");
    ng_json_object(j);
    ng_json_key(j, "heads");
    ng_json_object(j);
    for (size_t i = 0; i < r->n_heads; i++) {
        ng_json_key(j, r->heads[i].name);
        ng_json_object(j);
        ng_json_key(j, "before"), ng_json_fixed(j, r->heads[i].held_before, 6);
        ng_json_key(j, "after"), ng_json_fixed(j, r->heads[i].held_after, 6);
        ng_json_end(j);
    }
    ng_json_end(j);
    ng_json_key(j, "before_ms"), ng_json_fixed(j, r->before_ms, 4);
    ng_json_key(j, "after_ms"), ng_json_fixed(j, r->after_ms, 4);
    ng_json_key(j, "speed"), ng_json_fixed(j, r->before_ms / r->after_ms, 3);
    ng_json_key(j, "before_mb"), ng_json_fixed(j, (double)r->before_bytes / 1e6, 6);
    ng_json_key(j, "after_mb"), ng_json_fixed(j, (double)r->model_bytes / 1e6, 6);
    ng_json_end(j);
}

static void put_comparison_text(ng_buf *b, const ng_train_result *r) {
    ng_buf_printf(b, "%-20s %9s %9s %9s", "held-out dev texts", "before", "after", "points");
    for (size_t i = 0; i < r->n_heads; i++) {
        double x = 100 * r->heads[i].held_before, y = 100 * r->heads[i].held_after;
        if (!isnan(x) || !isnan(y)) ng_buf_printf(b, "\n%-20s %9.2f %9.2f %+9.2f", r->heads[i].name, x, y, y - x);
    }
    ng_buf_printf(b, "\n%-20s %9.3f %9.3f %8.2fx", "ms a text, 1 thread", r->before_ms, r->after_ms, r->before_ms / r->after_ms);
    ng_buf_printf(b, "\n%-20s %9.2f %9.2f %8.2fx", "MB", (double)r->before_bytes / 1e6, (double)r->model_bytes / 1e6,
                  (double)r->before_bytes / (double)r->model_bytes);
}

static void put_head_list_json(ng_json *j, const ng_train_result *r) {
    ng_json_key(j, "heads");
    ng_json_object(j);
    for (size_t i = 0; i < r->n_heads; i++) {
        ng_json_key(j, r->heads[i].name);
        ng_json_object(j);
        ng_json_key(j, "train"), ng_json_uint(j, r->heads[i].n_train);
        ng_json_key(j, "labels"), ng_json_uint(j, r->heads[i].n_labels);
        ng_json_key(j, "dev_accuracy"), ng_json_fixed(j, r->heads[i].dev_accuracy, 6);
        ng_json_end(j);
    }
    ng_json_end(j);
}

static void put_head_list_text(ng_buf *b, const ng_train_result *r) {
    for (size_t i = 0; i < r->n_heads; i++) {
        ng_buf_printf(b, "\n  %-20s %zu labels, %zu texts", r->heads[i].name, r->heads[i].n_labels,
                      r->heads[i].n_train);
        if (!isnan(r->heads[i].dev_accuracy)) ng_buf_printf(b, ", dev accuracy %.4f", r->heads[i].dev_accuracy);
        else ng_buf_puts(b, ", no dev texts: its confidence is not calibrated");
    }
}

/* An encoder with its heads. */
static void put_heads_json(ng_buf *b, const ng_train_result *r) {
    ng_json j = ng_json_init(b);
    ng_json_object(&j);
    ng_json_key(&j, "model"), ng_json_str(&j, r->model_path);
    ng_json_key(&j, "model_mb"), ng_json_fixed(&j, (double)r->model_bytes / 1e6, 6);
    ng_json_key(&j, "steps"), ng_json_int(&j, r->n_steps);
    ng_json_key(&j, "kernel"), ng_json_str(&j, r->kernel);
    ng_json_key(&j, "resumed"), ng_json_bool(&j, r->resumed);
    ng_json_key(&j, "duplicates_dropped"), ng_json_uint(&j, r->n_duplicates);
    ng_json_key(&j, "loss"), ng_json_fixed(&j, r->loss, 6);
    ng_json_key(&j, "dev_accuracy"), ng_json_fixed(&j, r->dev_accuracy, 6);
    put_head_list_json(&j, r);
    if (r->n_base) {
        ng_json_key(&j, "base_weights"), ng_json_uint(&j, r->n_base);
        ng_json_key(&j, "adapter_weights"), ng_json_uint(&j, r->n_adapters);
        ng_json_key(&j, "trained_weights"), ng_json_uint(&j, r->n_trained);
    }
    if (r->compared) put_comparison_json(&j, r);
    ng_json_key(&j, "seconds"), ng_json_fixed(&j, r->seconds, 3);
    ng_json_end(&j);
}

static void put_heads_text(ng_buf *b, const ng_train_result *r) {
    ng_buf_printf(b,
                  "%s: %.2f MB, %zu heads, %lld steps%s by %s in %.1f s; %zu texts that also stand in a test set were "
                  "left out",
                  r->model_path, (double)r->model_bytes / 1e6, r->n_heads, (long long)r->n_steps,
                  r->resumed ? " (gone on from a checkpoint)" : "", r->kernel, r->seconds, r->n_duplicates);
    if (r->n_base)
        ng_buf_printf(b, "\n%zu weights of adapters on %zu: %.0f times fewer; %zu with the heads", r->n_adapters,
                      r->n_base, (double)r->n_base / (double)r->n_adapters, r->n_trained);
    put_head_list_text(b, r);
}

int cli_train_calibrated(const ng_train_result *r, bool json, ng_status s, const ng_error *err) {
    if (s) return cli_fail(err);
    ng_buf b = ng_buf_init(1 << 16);
    ng_json j = ng_json_init(&b);
    if (json) {
        ng_json_object(&j);
        ng_json_key(&j, "model"), ng_json_str(&j, r->model_path);
        put_head_list_json(&j, r);
        ng_json_key(&j, "seconds"), ng_json_fixed(&j, r->seconds, 3);
        ng_json_end(&j);
    } else {
        ng_buf_printf(&b, "%s: calibrated on its dev texts in %.1f s", r->model_path, r->seconds);
        put_head_list_text(&b, r);
    }
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

ng_status cli_train_run(cli_train *t, ng_train_result *r, const char *recipe, ng_train_options *opt, ng_error *err) {
    opt->on_step = on_step;
    opt->ctx = t;
    ng_status s = ng_train(r, recipe, opt, err);
    cli_progress_end(&t->progress);
    return s;
}

int cli_train_end(const cli_train *t, const ng_train_result *r, ng_status s, const ng_error *err) {
    ng_buf b = ng_buf_init(16384);
    int code = 0;
    if (!t->json && r->compared) {
        put_comparison_text(&b, r);
        code = cli_print(&b);
        b.len = 0;
    } else if (s && r->compared) { /* the table stands even when it is the reason to refuse */
        ng_json j = ng_json_init(&b);
        ng_json_object(&j);
        put_comparison_json(&j, r);
        ng_json_end(&j);
        code = cli_print(&b);
        b.len = 0;
    }
    if (s) code = cli_fail(err);
    else {
        (t->json ? put_heads_json : put_heads_text)(&b, r);
        code |= cli_print(&b);
    }
    ng_buf_clear(&b);
    return code;
}

int cli_train_stage(ng_train_stage stage, const cli_stage_options *o, int argc, char **argv) {
    ng_error err = {0};
    if (o->threads < 0 || o->threads > 1024)
        return cli_usage("--threads: %ld is out of range, use 1 to 1024", o->threads);
    if (argc != 1) return cli_usage("one RECIPE.yaml is needed");
    cli_train t = {.progress = {.what = "training"}, .json = o->json};
    ng_train_options opt = {.out_dir = o->out, .seed = o->seed, .n_threads = (int)o->threads, .plot = o->plot, .exact = o->exact, .stage = stage};
    ng_train_result r = {0};
    ng_status s = cli_train_run(&t, &r, argv[0], &opt, &err);
    return cli_train_end(&t, &r, s, &err);
}
