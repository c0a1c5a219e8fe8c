/* fit_grid.c: the grid.yaml of a candidate.  The one that is tried has no cache, so that every text is computed; the one
 * that is served has one of a sixteenth of the memory, and tells what the choice was between. */
#include "fit_parts.h"

#include "core/file.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_quoted(ng_buf *b, const char *text) {
    ng_json q = ng_json_init(b);
    ng_json_str(&q, text);
}

static void put_figure(ng_buf *b, double x, const char *form) {
    if (isnan(x)) ng_buf_puts(b, "        -");
    else ng_buf_printf(b, form, x);
}

static void put_table(ng_buf *b, const fit_job *j, const fit_candidate *chosen) {
    ng_buf_printf(b, "# Written by nanogrid fit for the task %s", ng_task_name(j->opt->task));
    if (j->opt->ram_bytes) ng_buf_printf(b, ", %.0f MB", (double)j->opt->ram_bytes / 1048576);
    if (j->opt->latency_ms > 0) ng_buf_printf(b, ", %g ms", j->opt->latency_ms);
    ng_buf_printf(b, ".  Tried on this device:\n#   candidate              %9s   p95 ms       MB\n", j->out->by_bits ? "bits/byte" : "accuracy");
    for (size_t i = 0; i < j->n; i++) {
        const ng_device_fit_row *r = &j->items[i].row;
        ng_buf_printf(b, "# %s %-22s", &j->items[i] == chosen ? ">" : " ", r->name);
        put_figure(b, r->accuracy, "%9.4f"), put_figure(b, r->p95_ms, "%9.3f"), put_figure(b, r->peak_mb, "%9.1f");
        ng_buf_printf(b, "  %.100s\n", r->why);
    }
}

static void put_model(ng_buf *b, const char *name, const char *path, const fit_candidate *c) {
    ng_buf_printf(b, "  %s: {path: ", name);
    put_quoted(b, path);
    if (c && c->q8) ng_buf_puts(b, ", kv: q8");
    if (c && c->context) ng_buf_printf(b, ", context: %u", c->context);
    ng_buf_puts(b, "}\n");
}

static void put_expert(ng_buf *b, const fit_job *j, const fit_candidate *c) {
    ng_buf_printf(b, "experts:\n  - {name: fitted, task: %s, tier: nano", ng_task_name(j->opt->task));
    if (c->model) ng_buf_puts(b, ", model: first");
    if (c->adapter) ng_buf_printf(b, ", adapter: %s", c->adapter);
    if (c->head) ng_buf_printf(b, ", head: %s", c->head);
    if (c->second && c->below > 0) ng_buf_printf(b, ", unsure: {model: second, head: %s, below: %g}", c->second_head, c->below);
    else if (c->second) ng_buf_puts(b, ", unsure: {model: second, stands: fallback}");
    ng_buf_puts(b, "}\n");
}

/* Who stands in: a smaller model where one was measured; nobody can be asked above, so a text out of scope says so; long prompts are
 * told, not cut. */
static void put_service(ng_buf *b, const fit_job *j, const fit_candidate *c) {
    uint64_t cache = j->opt->ram_bytes ? j->opt->ram_bytes / 16 : 64 << 20;
    if (cache > 64 << 20) cache = 64 << 20;
    ng_buf_printf(b, "cache: {exact: %lluKB}\n", (unsigned long long)(cache >> 10));
    ng_buf_puts(b, "workers: {enabled: false}   # one process: memory is what was measured\n");
    if (j->opt->task == NG_TASK_GENERATE)
        ng_buf_puts(b, "policy: {on_long: escalate}   # a prompt beyond the context is refused with both counts unless "
                       "a tier above takes it\n");
    if (c->second) ng_buf_printf(b, "# The fallback: where `%s` fails, `%s` answers alone.\n", c->below > 0 ? "second" : "first", c->below > 0 ? "first" : "second");
    ng_buf_puts(b, "# What is out of scope here, or fails altogether, goes to a higher tier as soon as one is named, else the answer says so.\n"
                   "router: {abstain: escalate}\n"
                   "# upstreams: [{name: cloud, tier: medium, base_url: \"https://api.example.com/v1\", api_key_env: OPENAI_API_KEY, model: some-model}]\n");
}

ng_status ng_fit_grid_write(fit_job *j, const fit_candidate *c, const char *file, bool final) {
    ng_buf b = ng_buf_init(1 << 20);
    const char *path = ng_fit_make_file(j, file);
    if (!path) return NG_ENOMEM;
    if (final) put_table(&b, j, c);
    ng_buf_puts(&b, "embedded: false\n");
    if (c->model || c->second) ng_buf_puts(&b, "models:\n");
    if (c->model) put_model(&b, "first", c->model, c);
    if (c->second) put_model(&b, "second", c->second, NULL);
    put_expert(&b, j, c);
    if (final) put_service(&b, j, c);
    else ng_buf_puts(&b, "cache: {exact: 0}\nworkers: {enabled: false}\n");
    ng_status s = b.status ? ng_fit_no_memory(j) : ng_file_write_atomic(path, b.data, b.len, j->err);
    ng_buf_clear(&b);
    return s;
}
