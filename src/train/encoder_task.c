/* encoder_task.c: see encoder_task.h. */
#include "encoder_task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static ng_status no_memory(const ng_encoder_recipe *r, ng_error *err) { return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path); }

/* ---- data --------------------------------------------------------------------------------------- */

static ng_status drop_duplicates(ng_encoder_task *t, ng_dataset *d, const ng_dataset *test, ng_error *err) {
    bool *keep = malloc(d->len + 1);
    size_t n = keep ? ng_dataset_duplicates(d, test, keep) : SIZE_MAX;
    if (n != SIZE_MAX) {
        t->n_dropped += n;
        ng_dataset_filter(d, keep);
    }
    free(keep);
    return n == SIZE_MAX ? ng_fail(err, NG_ENOMEM, "%s: out of memory", t->recipe.path) : NG_OK;
}

static void keep_tuning_half(ng_dataset *d) {
    size_t n = 0;
    for (size_t i = 0; i < d->len; i++)
        if (ng_text_tunes(d->items[i].hash)) d->items[n++] = d->items[i];
    d->len = n;
}

static ng_status check_labels(const ng_encoder_task *t, ng_error *err) {
    for (size_t c = 0; c < t->labels.len; c++) {
        bool holds = false;
        for (size_t i = 0; i < t->train.len && !holds; i++)
            holds = t->each ? t->train.items[i].holds >> c & 1 : t->train.items[i].label == (int32_t)c;
        if (!holds) return ng_fail(err, NG_EFORMAT, "%s: label '%s' has no training text", t->recipe.path, t->labels.names[c]);
    }
    return NG_OK;
}

static ng_status read_task(ng_encoder_task *t, const ng_encoder_recipe *r, ng_arena *arena, ng_error *err) {
    ng_dataset test = {0};
    const char *path = ng_encoder_recipe_head(r, t->head, arena, err);
    ng_status s = path ? ng_recipe_read(&t->recipe, path, arena, err) : NG_ENOMEM;
    if (s) return s;
    const ng_recipe_data *d = &t->recipe.data;
    t->each = t->recipe.task == NG_RECIPE_MODERATE;
    if ((s = ng_labels_read(&t->labels, &t->recipe, err)) ||
        (s = ng_dataset_read(&t->train, &d->train, &t->labels, &t->recipe, err)) ||
        (s = ng_dataset_read(&t->tune, &d->dev, &t->labels, &t->recipe, err)) ||
        (s = ng_dataset_read(&t->oos, &d->oos_dev, NULL, &t->recipe, err)) ||
        (s = ng_dataset_read(&test, &d->test, &t->labels, &t->recipe, err)))
        return s;
    if (!(s = drop_duplicates(t, &t->train, &test, err))) s = drop_duplicates(t, &t->tune, &test, err);
    ng_dataset_clear(&test);
    keep_tuning_half(&t->tune);
    return s ? s : check_labels(t, err);
}

ng_status ng_encoder_tasks_read(ng_encoder_tasks *out, const ng_encoder_recipe *r, ng_arena *arena, ng_error *err) {
    ng_status s = NG_OK;
    *out = (ng_encoder_tasks){.recipe = r};
    out->items = calloc(r->heads.len, sizeof *out->items);
    if (!out->items) return no_memory(r, err);
    out->len = r->heads.len;
    for (size_t i = 0; !s && i < out->len; i++) {
        out->items[i].head = (const ng_encoder_head_recipe *)r->heads.items + i;
        s = read_task(&out->items[i], r, arena, err);
    }
    return s;
}

static void ids_clear(ng_id_texts *x) {
    free(x->ids);
    free(x->begin);
}

void ng_encoder_tasks_clear(ng_encoder_tasks *t) {
    for (size_t i = 0; i < t->len; i++) {
        ng_encoder_task *k = &t->items[i];
        ng_labels_clear(&k->labels);
        ng_dataset_clear(&k->train);
        ng_dataset_clear(&k->tune);
        ng_dataset_clear(&k->oos);
        ids_clear(&k->train_ids);
        ids_clear(&k->tune_ids);
    }
    free(t->items);
    free(t->begin);
    free(t->ids);
    free(t->label);
    free(t->seqs);
    free(t->holds);
    free(t->known);
    free(t->pooled);
    free(t->dpooled);
    free(t->z);
    free(t->dz);
    *t = (ng_encoder_tasks){0};
}

/* Cuts to n_ctx and keeps the closing [SEP], as the engine does (model/encode.c). */
static ng_status to_ids(ng_id_texts *out, const ng_dataset *d, const ng_tokenizer *t, size_t n_ctx, ng_error *err) {
    size_t used = 0, cap = d->len * 24 + n_ctx;
    out->n = d->len;
    out->begin = malloc((d->len + 1) * sizeof *out->begin);
    out->ids = malloc(cap * sizeof *out->ids);
    if (!out->begin || !out->ids) return ng_fail(err, NG_ENOMEM, "encoder: no memory for %zu texts", d->len);
    for (size_t i = 0; i < d->len; i++) {
        int32_t *ids;
        size_t n;
        ng_status s = ng_tokenize(t, d->items[i].text, d->items[i].len, &(ng_tokenize_options){.add_special = true}, &ids, &n, err);
        if (s) return s;
        if (n > n_ctx) {
            if (ids[n - 1] == ng_tokenizer_eos(t)) ids[n_ctx - 1] = ids[n - 1];
            n = n_ctx;
        }
        if (used + n > cap) {
            cap = cap * 2;
            int32_t *more = realloc(out->ids, cap * sizeof *more);
            if (!more) return free(ids), ng_fail(err, NG_ENOMEM, "encoder: no memory for %zu texts", d->len);
            out->ids = more;
        }
        memcpy(out->ids + used, ids, n * sizeof *ids);
        free(ids);
        out->begin[i] = used;
        used += n;
    }
    out->begin[d->len] = used;
    return NG_OK;
}

ng_status ng_encoder_tasks_tokenize(ng_encoder_tasks *t, const ng_tokenizer *tokenizer, size_t n_ctx, ng_error *err) {
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < t->len; i++) {
        s = to_ids(&t->items[i].train_ids, &t->items[i].train, tokenizer, n_ctx, err);
        if (!s) s = to_ids(&t->items[i].tune_ids, &t->items[i].tune, tokenizer, n_ctx, err);
    }
    return s;
}

size_t ng_encoder_tasks_n_extra(const ng_encoder_tasks *t, size_t width) {
    size_t n = 0;
    for (size_t i = 0; i < t->len; i++) n += t->items[i].labels.len * (width + 1);
    return n;
}

/* ---- memory of a batch -------------------------------------------------------------------------- */

static size_t longest_of(const ng_id_texts *x) {
    size_t n = 0;
    for (size_t i = 0; i < x->n; i++)
        if (x->begin[i + 1] - x->begin[i] > n) n = x->begin[i + 1] - x->begin[i];
    return n;
}

ng_status ng_encoder_tasks_bind(ng_encoder_tasks *t, ng_encoder *e, ng_nn *nn, size_t max_batch, ng_error *err) {
    ng_encoder_shape shape = ng_encoder_get_shape(e);
    size_t longest = 1, labels = 1, at = ng_encoder_n_weights(&shape), head_bytes = 0;
    for (size_t i = 0; i < t->len; i++) {
        ng_encoder_task *k = &t->items[i];
        size_t a = longest_of(&k->train_ids), b = longest_of(&k->tune_ids), bytes;
        longest = a > longest ? a : longest;
        longest = b > longest ? b : longest;
        labels = k->labels.len > labels ? k->labels.len : labels;
        k->at = at;
        at += k->labels.len * (shape.width + 1);
        bytes = ng_nn_linear_bytes(nn, max_batch, shape.width, k->labels.len);
        head_bytes = bytes > head_bytes ? bytes : head_bytes;
    }
    t->encoder = e;
    t->nn = nn;
    t->max_batch = max_batch;
    t->max_tok = max_batch * longest;
    t->begin = malloc((max_batch + 1) * sizeof *t->begin);
    t->ids = malloc(t->max_tok * sizeof *t->ids);
    t->label = malloc(max_batch * sizeof *t->label);
    t->seqs = malloc(max_batch * sizeof *t->seqs);
    t->holds = malloc(max_batch * sizeof *t->holds);
    t->known = malloc(max_batch * sizeof *t->known);
    t->pooled = malloc(max_batch * shape.width * sizeof(float));
    t->dpooled = malloc(max_batch * shape.width * sizeof(float));
    t->z = malloc(max_batch * labels * sizeof(float));
    t->dz = malloc(max_batch * labels * sizeof(float));
    if (!t->begin || !t->ids || !t->label || !t->seqs || !t->holds || !t->known || !t->pooled || !t->dpooled || !t->z || !t->dz)
        return no_memory(t->recipe, err);
    ng_status s = ng_encoder_bind(e, nn, t->max_tok, max_batch, longest, err);
    return s ? s : ng_nn_reserve(nn, head_bytes, err);
}

/* ---- a batch ------------------------------------------------------------------------------------ */

ng_status ng_encoder_tasks_items(const ng_encoder_tasks *t, ng_encoder_item **items, size_t *n, ng_error *err) {
    size_t count = 0;
    for (size_t i = 0; i < t->len; i++) count += t->items[i].train.len * (size_t)t->items[i].head->repeat;
    *n = 0;
    *items = malloc((count + 1) * sizeof **items);
    if (!*items) return no_memory(t->recipe, err);
    for (size_t i = 0; i < t->len; i++)
        for (int64_t r = 0; r < t->items[i].head->repeat; r++)
            for (size_t k = 0; k < t->items[i].train.len; k++) (*items)[(*n)++] = (ng_encoder_item){(uint32_t)i, (uint32_t)k};
    return NG_OK;
}

static void put_text(ng_encoder_tasks *t, size_t i, const ng_id_texts *x, size_t text) {
    size_t len = x->begin[text + 1] - x->begin[text];
    memcpy(t->ids + t->begin[i], x->ids + x->begin[text], len * sizeof *t->ids);
    t->begin[i + 1] = t->begin[i] + len;
}

typedef struct head_run {
    ng_nn_pool pool;
    ng_nn_map drop;
    ng_nn_linear linear;
} head_run;

/* Head k over the sequences t->seqs[n] of the batch. */
static head_run make_run(const ng_encoder_tasks *t, size_t k, size_t n, const float *x, ng_dropout drop) {
    const ng_encoder_task *task = &t->items[k];
    size_t w = ng_encoder_get_shape(t->encoder).width, labels = task->labels.len;
    float *weights = ng_encoder_weights(t->encoder) + task->at, *grads = ng_encoder_grads(t->encoder) + task->at;
    head_run r = {
        .pool = {n, w, t->begin, t->seqs, task->head->pooling == 1, x, t->pooled, t->dpooled, ng_encoder_grad_out(t->encoder)},
        .drop = {.n = n * w, .x = t->pooled, .y = t->pooled, .dy = t->dpooled, .dx = t->dpooled, .drop = drop},
        .linear = {.n = n, .in = w, .out = labels, .x = t->pooled, .w = weights, .b = weights + labels * w, .y = t->z,
                   .dy = t->dz, .dx = t->dpooled, .dw = grads, .db = grads + labels * w}};
    return r;
}

static void head_forward(const ng_encoder_tasks *t, const head_run *r) {
    ng_nn_pool_forward(t->nn, &r->pool);
    if (r->drop.drop.p > 0) ng_nn_drop_forward(t->nn, &r->drop);
    ng_nn_linear_forward(t->nn, &r->linear);
}

/* The share of head k in the batch's loss; its gradients are added. */
static double head_step(ng_encoder_tasks *t, size_t k, const ng_encoder_item *items, const ng_encoder_batch *how, const float *x) {
    size_t n = how->n_seq;
    const ng_encoder_task *task = &t->items[k];
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        if (items[i].task != k) continue;
        const ng_sample *s = &task->train.items[items[i].text];
        t->seqs[m] = (uint32_t)i;
        t->label[m] = s->label;
        t->holds[m] = s->holds;
        t->known[m++] = s->known;
    }
    if (!m) return 0;
    size_t tensor = 3 * ng_encoder_get_shape(t->encoder).n_layer + 1 + k; /* behind those of the layers */
    ng_dropout drop = {ng_dropout_key(how->seed, how->step, (uint32_t)tensor), how->dropout};
    head_run r = make_run(t, k, m, x, drop);
    double share = task->head->weight / (double)n;
    ng_nn_loss loss = {.n = m, .n_labels = task->labels.len, .z = t->z, .label = t->label, .holds = t->holds, .known = t->known,
                       .smoothing = task->head->smoothing, .scale = share, .dz = t->dz};
    head_forward(t, &r);
    double sum = task->each ? ng_nn_sigmoid_loss(&loss) : ng_nn_cross_entropy(&loss);
    ng_nn_linear_backward(t->nn, &r.linear);
    if (drop.p > 0) ng_nn_drop_backward(t->nn, &r.drop);
    ng_nn_pool_backward(t->nn, &r.pool);
    return sum * share;
}

double ng_encoder_tasks_train(ng_encoder_tasks *t, const ng_encoder_item *items, size_t n, const ng_encoder_batch *how) {
    double loss = 0;
    t->begin[0] = 0;
    for (size_t i = 0; i < n; i++) put_text(t, i, &t->items[items[i].task].train_ids, items[i].text);
    ng_encoder_batch b = *how;
    b.n_seq = n, b.begin = t->begin, b.ids = t->ids;
    const float *x = ng_encoder_forward(t->encoder, &b);
    size_t width = ng_encoder_get_shape(t->encoder).width;
    memset(ng_encoder_grad_out(t->encoder), 0, t->begin[n] * width * sizeof(float));
    for (size_t k = 0; k < t->len; k++) loss += head_step(t, k, items, &b, x);
    ng_encoder_backward(t->encoder);
    return loss;
}

/* ---- scores ------------------------------------------------------------------------------------- */

static size_t best_of(const float *z, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (z[i] > z[best]) best = i;
    return best;
}

double ng_encoder_tasks_score(ng_encoder_tasks *t, size_t k) {
    const ng_encoder_task *task = &t->items[k];
    size_t right = 0, all = 0, labels = task->labels.len;
    for (size_t from = 0; from < task->tune.len; from += t->max_batch) {
        size_t n = task->tune.len - from < t->max_batch ? task->tune.len - from : t->max_batch;
        t->begin[0] = 0;
        for (size_t i = 0; i < n; i++) {
            put_text(t, i, &task->tune_ids, from + i);
            t->seqs[i] = (uint32_t)i;
        }
        ng_encoder_batch b = {.n_seq = n, .begin = t->begin, .ids = t->ids};
        head_run r = make_run(t, k, n, ng_encoder_forward(t->encoder, &b), (ng_dropout){0});
        head_forward(t, &r);
        for (size_t i = 0; i < n; i++) {
            const ng_sample *s = &task->tune.items[from + i];
            const float *z = t->z + i * labels;
            if (!task->each) right += best_of(z, labels) == (size_t)s->label, all++;
            for (size_t c = 0; task->each && c < labels; c++)
                if (s->known >> c & 1) right += (z[c] >= 0) == (s->holds >> c & 1), all++;
        }
    }
    return all ? (double)right / (double)all : NAN;
}
