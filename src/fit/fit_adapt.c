/* fit_adapt.c: candidates that learn more than a head: low-rank adapters on an encoder, with a head for tags or for several labels at
 * once, which have no closed form.
 *
 * The encoder itself stays as it is and is shared: the candidate is the adapter's file beside it, a few hundred kB.  Its recipe is that of
 * `finetune`, bounded to as many steps as a minute or two of two cores take, and stays beside the model, so that it can be gone on with. */
#include "fit_parts.h"

#include "core/file.h"
#include <nanogrid/tools/train.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, STEPS_MAX = 120, EPOCHS_MAX = 8 }; /* a step reads every weight of the base, whatever the batch */

static ng_status write_adapter_recipe(fit_job *j, const char *name, const char *base) {
    char file[64];
    size_t n = j->train.len ? j->train.len : 1, epochs = (STEPS_MAX * BATCH + n - 1) / n;
    snprintf(file, sizeof file, "%s.yaml", name);
    const char *path = ng_fit_make_file(j, file), *head = j->opt->task == NG_TASK_EXTRACT ? "entities" : "moderation";
    if (!path) return NG_ENOMEM;
    ng_buf b = ng_buf_init(1 << 14);
    ng_buf_printf(&b, "# Written by nanogrid fit.  nanogrid finetune %s makes the adapter again.\nname: %s\ntask: encoder\noutput: %s.gguf\nbase: {model: ",
                  file, name, name);
    ng_json q = ng_json_init(&b); /* JSON's quotes are YAML's */
    ng_json_str(&q, base);
    ng_buf_printf(&b,
                  "}\nheads: [{name: %s, recipe: %s.data.yaml}]\nlora: {rank: 8, alpha: 16, targets: [attn_q, attn_v, ffn_up, ffn_down]}\n"
                  "training: {epochs: %zu, batch: %d, rate: 2e-3, steps: %d}\n",
                  head, name, epochs < EPOCHS_MAX ? epochs : EPOCHS_MAX, (int)BATCH, (int)STEPS_MAX);
    ng_status s = b.status ? ng_fit_no_memory(j) : ng_file_write_atomic(path, b.data, b.len, j->err);
    ng_buf_clear(&b);
    return s;
}

/* Of what `finetune` leaves the adapter is kept, as NAME.gguf. */
static ng_status make_adapter(fit_job *j, const char *name, const char *base) {
    char file[64], kept[64];
    snprintf(file, sizeof file, "%s.yaml", name);
    snprintf(kept, sizeof kept, "%s.gguf.checkpoint", name);
    const char *made = ng_fit_make_file(j, "adapter.gguf"), *recipe = ng_fit_path(j, file);
    if (!made || !ng_fit_make_file(j, kept)) return NG_ENOMEM;
    ng_train_options opt = {.out_dir = j->dir, .seed = -1, .n_threads = j->opt->n_threads, .stage = NG_FINETUNE};
    ng_train_result *r = malloc(sizeof *r);
    snprintf(kept, sizeof kept, "%s.gguf", name);
    const char *to = r ? ng_fit_make_file(j, kept) : NULL;
    ng_status s = to ? ng_fit_data_write(j, name) : ng_fit_no_memory(j);
    if (!s) s = write_adapter_recipe(j, name, base);
    if (!s) s = ng_train(r, recipe, &opt, j->err);
    if (!s && rename(made, to)) s = ng_fail(j->err, NG_EIO, "%s: it could not be renamed", made);
    free(r);
    return s;
}

/* A candidate that could not be made stays in the table with the reason. */
static ng_status add_adapted(fit_job *j, const char *name, const char *base) {
    ng_error why = {0}, *kept = j->err;
    fit_candidate *c = ng_fit_add(j, name, "adapter of rank 8 on all layers, trained on the data");
    if (!c) return ng_fit_no_memory(j);
    j->err = &why;
    ng_status s = make_adapter(j, name, base);
    j->err = kept;
    if (s == NG_ENOMEM || s == NG_EIO) return ng_fail(j->err, s, "%s", why.text);
    if (s) return snprintf(c->row.why, sizeof c->row.why, "%.159s", why.text), NG_OK;
    c->model = base;
    c->adapter = ng_arena_printf(j->arena, "%s.gguf", name);
    return c->adapter ? NG_OK : ng_fit_no_memory(j);
}

ng_status ng_fit_add_adapted(fit_job *j) {
    ng_status s = NG_OK;
    for (size_t i = 0; !s && j->opt->task == NG_TASK_EXTRACT && i < j->opt->n_models; i++) {
        char name[32], path[1024];
        snprintf(name, sizeof name, "model%zu-lora", i + 1);
        if (!ng_fit_layers(j->opt->models[i]))
            return ng_fail(j->err, NG_EUNSUPPORTED, "%s: entities are learned on a BERT as GGUF", j->opt->models[i]);
        s = ng_path_absolute(path, sizeof path, j->opt->models[i], j->err);
        const char *base = s ? NULL : ng_arena_strdup(j->arena, path);
        if (!s) s = base ? add_adapted(j, name, base) : ng_fit_no_memory(j);
    }
    const char *base = s ? NULL : ng_fit_shared_encoder(j);
    return s ? s : base ? add_adapted(j, "encoder-lora", base) : j->err->code;
}
