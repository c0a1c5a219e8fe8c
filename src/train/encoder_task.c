/* encoder_task.c: see encoder_task.h. */
#include "encoder_task.h"

#include "core/hash.h"
#include "model/token_spans.h"
#include "train/dev_score.h"
#include "train/near.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static ng_status no_memory(const ng_encoder_recipe *r, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
}

/* ---- data --------------------------------------------------------------------------------------- */

static ng_status part_dev(ng_dataset *tune, ng_dataset *held, ng_error *err) {
    size_t n = 0;
    *held = (ng_dataset){.items = malloc((tune->len + 1) * sizeof *held->items)};
    if (!held->items) return ng_fail(err, NG_ENOMEM, "encoder: no memory for %zu texts", tune->len);
    for (size_t i = 0; i < tune->len; i++) {
        if (ng_text_tunes(tune->items[i].hash)) tune->items[n++] = tune->items[i];
        else held->items[held->len++] = tune->items[i];
    }
    tune->len = n;
    return NG_OK;
}

static ng_status check_labels(const ng_encoder_task *t, ng_error *err) {
    for (size_t c = 0; c < t->labels.len && !t->tokens; c++) {
        bool holds = false;
        for (size_t i = 0; i < t->train.len && !holds; i++)
            holds = t->each ? t->train.items[i].holds >> c & 1 : t->train.items[i].label == (int32_t)c;
        if (!holds)
            return ng_fail(err, NG_EFORMAT, "%s: label '%s' has no training text", t->recipe.path, t->labels.names[c]);
    }
    return NG_OK;
}

static ng_status read_task(ng_encoder_task *t, const ng_encoder_recipe *r, ng_arena *arena, ng_error *err) {
    ng_dataset test = {0};
    const char *path = ng_encoder_recipe_head(r, t->head, arena, err);
    ng_status s = path ? ng_recipe_read(&t->recipe, path, arena, err) : NG_ENOMEM;
    if (s) return s;
    const ng_recipe_data *d = &t->recipe.data;
    if (t->recipe.task == NG_RECIPE_EMBED && t->head->pooling == 1)
        return ng_fail(err, NG_EINVALID, "%s:%d: a head of the task embed pools the mean, as `embed` does", r->path,
                       t->head->line);
    t->each = t->recipe.task == NG_RECIPE_MODERATE;
    t->tokens = t->recipe.task == NG_RECIPE_EXTRACT;
    t->pairs = t->recipe.task == NG_RECIPE_EMBED;
    t->joined = ng_recipe_joins(&t->recipe);
    if ((s = ng_labels_read(&t->labels, &t->recipe, err)) ||
        (s = ng_dataset_read(&t->train, &d->train, &t->labels, &t->recipe, err)) ||
        (s = ng_dataset_read(&t->tune, &d->dev, &t->labels, &t->recipe, err)) ||
        (s = ng_dataset_read(&t->oos, &d->oos_dev, NULL, &t->recipe, err)) ||
        (s = ng_dataset_read(&test, &d->test, &t->labels, &t->recipe, err)))
        return s;
    if (!(s = ng_dataset_separate(&t->train, &test, &t->recipe, &t->n_dropped, err)))
        s = ng_dataset_separate(&t->tune, &test, &t->recipe, &t->n_dropped, err);
    if (t->recipe.duplicates == NG_DUPLICATES_KEEP) t->n_dropped = 0;
    if (!s && !t->tokens && !t->pairs && !t->joined) s = ng_dataset_thin(&t->train, &t->recipe, &t->n_dropped, err);
    ng_dataset_clear(&test);
    if (!s) s = part_dev(&t->tune, &t->held, err);
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

void ng_encoder_tasks_clear(ng_encoder_tasks *t) {
    for (size_t i = 0; i < t->len; i++) {
        ng_encoder_task *k = &t->items[i];
        ng_labels_clear(&k->labels);
        ng_dataset_clear(&k->train);
        ng_dataset_clear(&k->tune);
        ng_dataset_clear(&k->oos);
        free(k->held.items);
        free(k->soft);
        free(k->vectors);
        ng_id_texts_clear(&k->train_ids);
        ng_id_texts_clear(&k->tune_ids);
    }
    ng_encoder_free(t->teacher);
    free(t->want);
    free(t->dqkv);
    free(t->items);
    free(t->begin);
    free(t->first);
    free(t->ids);
    free(t->row);
    free(t->label);
    free(t->shapes);
    free(t->seqs);
    free(t->score);
    free(t->holds);
    free(t->known);
    free(t->pooled);
    free(t->dpooled);
    free(t->z);
    free(t->dz);
    *t = (ng_encoder_tasks){0};
}

ng_status ng_encoder_tasks_tokenize(ng_encoder_tasks *t, const ng_tokenizer *tokenizer, size_t n_ctx, ng_error *err) {
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < t->len; i++) {
        ng_encoder_task *k = &t->items[i];
        s = ng_id_texts_new(&k->train_ids, &k->train, (ng_recipe_task)k->recipe.task, tokenizer, n_ctx, err);
        if (!s) s = ng_id_texts_new(&k->tune_ids, &k->tune, (ng_recipe_task)k->recipe.task, tokenizer, n_ctx, err);
    }
    return s;
}

static size_t head_weights(const ng_encoder_task *k, size_t width) {
    return k->labels.len * (width + 1 + (k->tokens ? NG_SHAPE_INPUTS : 0));
}

size_t ng_encoder_tasks_n_extra(const ng_encoder_tasks *t, size_t width) {
    size_t n = 0;
    for (size_t i = 0; i < t->len; i++) n += head_weights(&t->items[i], width);
    return n;
}

/* ---- memory of a batch -------------------------------------------------------------------------- */

static ng_status take_memory(ng_encoder_tasks *t, size_t labels, bool tokens, ng_error *err) {
    size_t width = ng_encoder_get_shape(t->encoder).width,
           rows = tokens && t->max_tok > t->max_seq ? t->max_tok : t->max_seq;
    t->begin = malloc((t->max_seq + 1) * sizeof *t->begin);
    t->first = malloc(t->max_seq * sizeof *t->first);
    t->ids = malloc(t->max_tok * sizeof *t->ids);
    t->row = malloc(rows * sizeof *t->row);
    t->seqs = malloc(rows * sizeof *t->seqs);
    t->label = malloc(rows * sizeof *t->label);
    t->shapes = malloc(rows * NG_SHAPE_WORDS * sizeof *t->shapes);
    t->score = malloc(t->max_batch * sizeof *t->score);
    t->holds = malloc(t->max_batch * sizeof *t->holds);
    t->known = malloc(t->max_batch * sizeof *t->known);
    t->pooled = malloc(rows * width * sizeof(float));
    t->dpooled = malloc(rows * width * sizeof(float));
    t->z = malloc(rows * labels * sizeof(float));
    t->dz = malloc(rows * labels * sizeof(float));
    bool ok = t->begin && t->first && t->ids && t->row && t->seqs && t->label && t->shapes && t->score && t->holds &&
              t->known && t->pooled && t->dpooled && t->z && t->dz;
    return ok ? NG_OK : no_memory(t->recipe, err);
}

/* What soft labels and the losses on the last layer need. */
static ng_status take_teaching(ng_encoder_tasks *t, size_t labels, bool tokens, size_t longest, ng_error *err) {
    ng_encoder_shape shape = ng_encoder_get_shape(t->encoder);
    size_t rows = tokens && t->max_tok > t->max_seq ? t->max_tok : t->max_seq;
    bool soft = false;
    for (size_t i = 0; i < t->len; i++) soft |= t->items[i].head->teachers.len > 0;
    if (soft && !(t->want = malloc(rows * labels * sizeof(float)))) return no_memory(t->recipe, err);
    if (!t->teacher) return NG_OK;
    if (!(t->dqkv = malloc(t->max_tok * 3 * shape.width * sizeof(float)))) return no_memory(t->recipe, err);
    ng_status s = ng_encoder_bind(t->teacher, t->nn, t->max_tok, t->max_seq, longest, err);
    return s ? s : ng_nn_reserve(t->nn, ng_nn_match_bytes(t->nn, t->max_seq, shape.n_head, t->max_tok, longest), err);
}

void ng_encoder_tasks_teach(ng_encoder_tasks *t, ng_encoder *teacher) { t->teacher = teacher; }

ng_status ng_encoder_tasks_bind(ng_encoder_tasks *t, ng_encoder *e, ng_nn *nn, size_t max_batch, ng_error *err) {
    ng_encoder_shape shape = ng_encoder_get_shape(e);
    size_t longest = 1, labels = 1, at = ng_encoder_extra_at(e), head_bytes = 0;
    bool pairs = false, tokens = false;
    for (size_t i = 0; i < t->len; i++) {
        ng_encoder_task *k = &t->items[i];
        size_t a = ng_id_texts_longest(&k->train_ids), b = ng_id_texts_longest(&k->tune_ids);
        longest = a > longest ? a : longest;
        longest = b > longest ? b : longest;
        labels = k->labels.len > labels ? k->labels.len : labels;
        pairs |= k->pairs;
        tokens |= k->tokens;
        k->at = at;
        at += head_weights(k, shape.width);
    }
    t->encoder = e;
    t->nn = nn;
    t->max_batch = max_batch;
    t->max_seq = pairs ? 2 * max_batch : max_batch;
    t->max_tok = t->max_seq * longest;
    for (size_t i = 0; i < t->len; i++) {
        size_t bytes =
            ng_nn_linear_bytes(nn, t->items[i].tokens ? t->max_tok : max_batch, shape.width, t->items[i].labels.len);
        head_bytes = bytes > head_bytes ? bytes : head_bytes;
    }
    ng_status s = take_memory(t, labels, tokens, err);
    if (!s) s = take_teaching(t, labels, tokens, longest, err);
    if (!s) s = ng_encoder_bind(e, nn, t->max_tok, t->max_seq, longest, err);
    return s ? s : ng_nn_reserve(nn, head_bytes, err);
}

/* ---- a batch ------------------------------------------------------------------------------------ */

ng_status ng_encoder_tasks_items(const ng_encoder_tasks *t, ng_encoder_item **items, size_t *n, ng_error *err) {
    size_t count = 0;
    const uint64_t parts = 1000; /* shares are counted in thousandths */
    for (size_t i = 0; i < t->len; i++) count += t->items[i].train.len * (size_t)t->items[i].head->repeat;
    *n = 0;
    *items = malloc((count + 1) * sizeof **items);
    if (!*items) return no_memory(t->recipe, err);
    for (size_t i = 0; i < t->len; i++)
        for (int64_t r = 0; r < t->items[i].head->repeat; r++)
            for (size_t k = 0; k < t->items[i].train.len; k++)
                if ((double)(ng_hash_mix(t->items[i].train.items[k].hash) % parts) <
                    t->items[i].head->share * (double)parts)
                    (*items)[(*n)++] = (ng_encoder_item){(uint32_t)i, (uint32_t)k};
    return NG_OK;
}

/* The item's sequences (two of a pair). */
static void put_item(ng_encoder_tasks *t, size_t *n_seq, const ng_encoder_task *task, const ng_id_texts *x,
                     size_t item) {
    size_t per = task->pairs ? 2 : 1;
    for (size_t i = item * per; i < (item + 1) * per; i++) {
        size_t len = x->begin[i + 1] - x->begin[i], at = t->begin[*n_seq];
        memcpy(t->ids + at, x->ids + x->begin[i], len * sizeof *t->ids);
        t->first[*n_seq] = x->first[i];
        t->begin[++*n_seq] = at + len;
    }
}

/* What head k reads and answers. */
typedef struct head_run {
    ng_nn_pool pool;
    ng_nn_map drop;
    ng_nn_linear linear;
    float *shapes, *dshapes; /* [out, NG_SHAPE_INPUTS]; NULL: none */
} head_run;

/* Head k over n rows: pooled sequences t->seqs[n], or for tagged words the rows t->row[n]. */
static head_run make_run(const ng_encoder_tasks *t, size_t k, size_t n, const float *x, ng_dropout drop) {
    const ng_encoder_task *task = &t->items[k];
    size_t w = ng_encoder_get_shape(t->encoder).width, labels = task->labels.len;
    float *weights = ng_encoder_weights(t->encoder) + task->at, *grads = ng_encoder_grads(t->encoder) + task->at;
    bool first = task->tokens || task->head->pooling == 1;
    head_run r = {
        /* a word is the first row of a sequence that begins there */
        .pool = {n, w, task->tokens ? t->row : t->begin, t->seqs, first, x, t->pooled, t->dpooled, ng_encoder_grad_out(t->encoder)},
        .drop = {.n = n * w, .x = t->pooled, .y = t->pooled, .dy = t->dpooled, .dx = t->dpooled, .drop = drop},
        .linear = {.n = n, .in = w, .out = labels, .x = t->pooled, .w = weights, .b = weights + labels * w, .y = t->z,
                   .dy = t->dz, .dx = t->dpooled, .dw = grads, .db = grads + labels * w}};
    if (task->tokens) r.shapes = weights + labels * (w + 1), r.dshapes = grads + labels * (w + 1);
    return r;
}

static bool has_shape(const uint16_t *shapes, size_t i) { return shapes[i / NG_SHAPE_BITS] >> i % NG_SHAPE_BITS & 1; }

static void shapes_forward(const ng_encoder_tasks *t, const head_run *r) {
    size_t labels = r->linear.out;
    for (size_t row = 0; row < r->linear.n; row++)
        for (size_t i = 0; i < NG_SHAPE_INPUTS; i++)
            if (has_shape(t->shapes + row * NG_SHAPE_WORDS, i))
                for (size_t c = 0; c < labels; c++)
                    t->z[row * labels + c] += NG_SHAPE_GAIN * r->shapes[c * NG_SHAPE_INPUTS + i];
}

static void shapes_backward(const ng_encoder_tasks *t, const head_run *r) {
    size_t labels = r->linear.out;
    for (size_t row = 0; row < r->linear.n; row++)
        for (size_t i = 0; i < NG_SHAPE_INPUTS; i++)
            if (has_shape(t->shapes + row * NG_SHAPE_WORDS, i))
                for (size_t c = 0; c < labels; c++)
                    r->dshapes[c * NG_SHAPE_INPUTS + i] += NG_SHAPE_GAIN * t->dz[row * labels + c];
}

static void head_forward(const ng_encoder_tasks *t, const head_run *r) {
    ng_nn_pool_forward(t->nn, &r->pool);
    if (r->drop.drop.p > 0) ng_nn_drop_forward(t->nn, &r->drop);
    if (r->linear.out) ng_nn_linear_forward(t->nn, &r->linear);
    if (r->shapes) shapes_forward(t, r);
}

/* Rows and targets of an item that begins at sequence `seq`: behind the m rows that are there. */
static size_t put_rows(ng_encoder_tasks *t, const ng_encoder_task *task, const ng_id_texts *x, size_t item, size_t seq,
                       size_t m) {
    if (!task->tokens) {
        for (size_t i = 0; i < (task->pairs ? 2u : 1u); i++) t->seqs[m++] = (uint32_t)(seq + i);
        return m;
    }
    for (size_t i = x->word_begin[item]; i < x->word_begin[item + 1]; i++, m++) {
        t->row[m] = t->begin[seq] + x->rows[i];
        t->label[m] = x->tags[i];
        memcpy(t->shapes + m * NG_SHAPE_WORDS, x->shapes + i * NG_SHAPE_WORDS, NG_SHAPE_WORDS * sizeof *t->shapes);
        t->seqs[m] = (uint32_t)m;
    }
    return m;
}

/* The targets of head k in the batch; returns its rows, *n_items its items. */
static size_t collect(ng_encoder_tasks *t, size_t k, const ng_encoder_item *items, size_t n, size_t *n_items) {
    const ng_encoder_task *task = &t->items[k];
    size_t rows = 0, seq = 0;
    *n_items = 0;
    for (size_t i = 0; i < n; i++) {
        if (items[i].task == k) {
            const ng_sample *s = &task->train.items[items[i].text];
            rows = put_rows(t, task, &task->train_ids, items[i].text, seq, rows);
            if (!task->tokens) t->label[*n_items] = s->label;
            t->holds[*n_items] = s->holds;
            t->known[*n_items] = s->known;
            t->score[(*n_items)++] = s->score;
        }
        seq += t->items[items[i].task].pairs ? 2 : 1;
    }
    return rows;
}

/* Adds what the teachers of head k say of the batch's rows, in the order of `collect`. */
static double soft_step(ng_encoder_tasks *t, size_t k, const ng_encoder_item *items, size_t n, size_t m, double share) {
    const ng_encoder_task *task = &t->items[k];
    size_t labels = task->labels.len, at = 0;
    for (size_t i = 0; i < n; i++) {
        if (items[i].task != k) continue;
        size_t text = items[i].text, from = task->tokens ? task->train_ids.word_begin[text] : text;
        size_t rows = task->tokens ? task->train_ids.word_begin[text + 1] - from : 1;
        memcpy(t->want + at * labels, task->soft + from * labels, rows * labels * sizeof *t->want);
        at += rows;
    }
    double soft = t->recipe->distill.soft;
    ng_nn_soft o = {m, labels, t->z, t->want, t->recipe->distill.temperature, share * soft, task->each, t->dz};
    for (size_t i = 0; i < m * labels; i++) t->dz[i] *= (float)(1 - soft);
    return soft * ng_nn_soft_loss(&o);
}

/* The share of head k in the batch's loss; its gradients are added. */
static double head_step(ng_encoder_tasks *t, size_t k, const ng_encoder_item *items, size_t n,
                        const ng_encoder_batch *how, const float *x) {
    const ng_encoder_task *task = &t->items[k];
    size_t n_items, m = collect(t, k, items, n, &n_items);
    if (!m) return 0;
    size_t tensor = 3 * ng_encoder_get_shape(t->encoder).n_layer + 1 + k; /* behind those of the layers */
    ng_dropout drop = {ng_dropout_key(how->seed, how->step, (uint32_t)tensor), task->pairs ? 0 : how->dropout};
    head_run r = make_run(t, k, m, x, drop);
    double share = task->head->weight / (double)n;
    if (task->tokens) share *= (double)n_items / (double)m;
    ng_nn_loss loss = {.n = m, .n_labels = task->labels.len, .z = t->z, .label = t->label, .holds = t->holds, .known = t->known,
                       .smoothing = task->head->smoothing, .scale = share, .dz = t->dz};
    head_forward(t, &r);
    double sum;
    if (task->pairs) {
        ng_nn_cosine pairs = {n_items, r.pool.width, t->pooled, t->score, share, t->dpooled, NULL};
        sum = ng_nn_cosine_loss(&pairs);
    } else {
        sum = task->each ? ng_nn_sigmoid_loss(&loss) : ng_nn_cross_entropy(&loss);
        if (task->soft) sum = (1 - t->recipe->distill.soft) * sum + soft_step(t, k, items, n, m, share);
        ng_nn_linear_backward(t->nn, &r.linear);
        if (r.shapes) shapes_backward(t, &r);
    }
    if (drop.p > 0) ng_nn_drop_backward(t->nn, &r.drop);
    ng_nn_pool_backward(t->nn, &r.pool);
    return sum * share;
}

/* What the last layer differs from the teacher's, a token. */
static double match_step(ng_encoder_tasks *t, const ng_encoder_batch *b, const float *x) {
    const ng_distill_recipe *d = &t->recipe->distill;
    ng_encoder_shape shape = ng_encoder_get_shape(t->encoder);
    ng_encoder_batch plain = *b;
    plain.dropout = 0;
    size_t n = b->begin[b->n_seq];
    double each = 1 / (double)n, loss = 0;
    const float *want = ng_encoder_forward(t->teacher, &plain);
    ng_nn_hidden hidden = {n, shape.width, x, want, d->hidden * each, ng_encoder_grad_out(t->encoder)};
    if (d->hidden > 0) loss += d->hidden * each * ng_nn_hidden_loss(t->nn, &hidden);
    ng_nn_attention_match match = {b->n_seq, ng_encoder_attention_width(&shape), shape.n_head, b->begin, ng_encoder_qkv(t->encoder), ng_encoder_qkv(t->teacher),
                                   d->attention * each, t->dqkv};
    if (d->attention > 0) loss += d->attention * each * ng_nn_attention_loss(t->nn, &match);
    ng_encoder_add_qkv(t->encoder, d->attention > 0 ? t->dqkv : NULL);
    return loss;
}

/* 1 - cosine of the mean of rows x [n, width] and the vector `want` of length 1; adds scale times its gradient to dx. */
static double vector_loss(const float *x, const float *want, size_t n, size_t width, double scale, float *dx) {
    double mean[NG_VECTOR_MAX], mm = 1e-12, mw = 0, of = 1 / (double)n;
    for (size_t c = 0; c < width; c++) mean[c] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < width; c++) mean[c] += (double)x[i * width + c];
    for (size_t c = 0; c < width; c++) mean[c] *= of, mm += mean[c] * mean[c], mw += mean[c] * (double)want[c];
    double length = sqrt(mm), cosine = mw / length;
    for (size_t c = 0; c < width; c++) {
        float g = (float)(scale * of * (cosine * mean[c] / length - (double)want[c]) / length);
        for (size_t i = 0; i < n; i++) dx[i * width + c] += g;
    }
    return 1 - cosine;
}

/* How far the texts of the batch are from what the base says of them. */
static double vectors_step(ng_encoder_tasks *t, const ng_encoder_item *items, size_t n, const ng_encoder_batch *b,
                           const float *x) {
    size_t width = ng_encoder_get_shape(t->encoder).width, seq = 0;
    double scale = t->recipe->distill.vectors / (double)b->n_seq, sum = 0;
    for (size_t i = 0; i < n; i++) {
        const ng_encoder_task *task = &t->items[items[i].task];
        size_t per = task->pairs ? 2 : 1;
        for (size_t k = 0; k < per; k++, seq++) {
            if (!task->vectors) continue;
            size_t at = b->begin[seq], len = b->begin[seq + 1] - at;
            const float *want = task->vectors + (items[i].text * per + k) * width;
            sum += vector_loss(x + at * width, want, len, width, scale, ng_encoder_grad_out(t->encoder) + at * width);
        }
    }
    return scale * sum;
}

double ng_encoder_tasks_train(ng_encoder_tasks *t, const ng_encoder_item *items, size_t n,
                              const ng_encoder_batch *how) {
    double loss = 0;
    size_t n_seq = 0;
    t->begin[0] = 0;
    for (size_t i = 0; i < n; i++)
        put_item(t, &n_seq, &t->items[items[i].task], &t->items[items[i].task].train_ids, items[i].text);
    ng_encoder_batch b = *how;
    b.n_seq = n_seq, b.begin = t->begin, b.ids = t->ids, b.first = t->first;
    const float *x = ng_encoder_forward(t->encoder, &b);
    size_t width = ng_encoder_get_shape(t->encoder).width;
    memset(ng_encoder_grad_out(t->encoder), 0, t->begin[n_seq] * width * sizeof(float));
    t->n_tok = t->begin[n_seq];
    for (size_t k = 0; k < t->len; k++) loss += head_step(t, k, items, n, &b, x);
    if (t->teacher) loss += match_step(t, &b, x);
    if (t->recipe->distill.vectors > 0) loss += vectors_step(t, items, n, &b, x);
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

void ng_head_tally_text(ng_head_tally *sum, const ng_encoder_task *k, const ng_sample *x, const float *z) {
    size_t n = k->labels.len;
    if (!k->each) sum->right += best_of(z, n) == (size_t)x->label, sum->all++;
    for (size_t c = 0; k->each && c < n; c++)
        if (x->known >> c & 1) sum->right += (z[c] >= 0) == (x->holds >> c & 1), sum->all++;
}

void ng_head_tally_words(ng_head_tally *sum, const ng_encoder_task *k, const int32_t *tags, size_t n, const float *z,
                         int32_t *said) {
    for (size_t i = 0; i < n; i++) said[i] = (int32_t)best_of(z + i * k->labels.len, k->labels.len);
    ng_span_score_add(&sum->spans, tags, said, n, k->labels.names);
}

double ng_head_tally_score(const ng_head_tally *sum, const ng_encoder_task *k) {
    return k->tokens ? ng_span_f1(&sum->spans) : sum->all ? (double)sum->right / (double)sum->all : NAN;
}

typedef struct tally {
    ng_head_tally labels;
    float *cosine, *wanted; /* [tune.len] of pairs */
} tally;

static void tally_words(const ng_encoder_tasks *t, const ng_encoder_task *task, size_t from, size_t n,
                        ng_head_tally *out) {
    int32_t *said = (int32_t *)t->dz; /* not in use while scoring; at least as large */
    for (size_t i = from, m = 0; i < from + n; i++) {
        size_t words = task->tune_ids.word_begin[i + 1] - task->tune_ids.word_begin[i];
        ng_head_tally_words(out, task, t->label + m, words, t->z + m * task->labels.len, said);
        m += words;
    }
}

/* The answers of the head to the items [from, from + n) are in t->z and t->pooled. */
static void tally_batch(ng_encoder_tasks *t, const ng_encoder_task *task, size_t from, size_t n, tally *out) {
    if (task->tokens) {
        tally_words(t, task, from, n, &out->labels);
        return;
    }
    if (task->pairs) {
        for (size_t i = 0; i < n; i++) out->wanted[from + i] = t->score[i] = task->tune.items[from + i].score;
        (void)ng_nn_cosine_loss(&(ng_nn_cosine){n, ng_encoder_get_shape(t->encoder).width, t->pooled, t->score, 0,
                                                t->dpooled, out->cosine + from});
        return;
    }
    for (size_t i = 0; i < n; i++)
        ng_head_tally_text(&out->labels, task, &task->tune.items[from + i], t->z + i * task->labels.len);
}

ng_status ng_encoder_tasks_score(double *score, ng_encoder_tasks *t, size_t k, ng_error *err) {
    const ng_encoder_task *task = &t->items[k];
    size_t len = task->tune.len;
    tally sum = {0};
    *score = NAN;
    if (!len) return NG_OK;
    if (task->pairs && (!(sum.cosine = malloc(2 * len * sizeof *sum.cosine)))) return no_memory(t->recipe, err);
    if (task->pairs) sum.wanted = sum.cosine + len;
    for (size_t from = 0; from < len; from += t->max_batch) {
        size_t n = len - from < t->max_batch ? len - from : t->max_batch, n_seq = 0, m = 0;
        t->begin[0] = 0;
        for (size_t i = 0; i < n; i++) {
            size_t seq = n_seq;
            put_item(t, &n_seq, task, &task->tune_ids, from + i);
            m = put_rows(t, task, &task->tune_ids, from + i, seq, m);
        }
        ng_encoder_batch b = {.n_seq = n_seq, .begin = t->begin, .ids = t->ids, .first = t->first};
        head_run r = make_run(t, k, m, ng_encoder_forward(t->encoder, &b), (ng_dropout){0});
        head_forward(t, &r);
        tally_batch(t, task, from, n, &sum);
    }
    *score = task->pairs ? ng_spearman(sum.cosine, sum.wanted, len) : ng_head_tally_score(&sum.labels, task);
    free(sum.cosine);
    return NG_OK;
}
