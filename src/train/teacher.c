/* teacher.c: see teacher.h.
 *
 * Soft labels are made once, before the first step, and kept as floats: texts times labels.  A teacher of logits z gives
 * softmax(z / T) (moderate: sigmoid(z / T)); a recorded probability p stands for the logit log p, so that both kinds are
 * softened alike (Hinton, Vinyals, Dean 2015).  Several teachers count alike. */
#include "teacher.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/math.h"
#include "model/token_spans.h"
#include "train/dev_score.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static ng_status no_memory(const char *what, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "%s: out of memory", what);
}

ng_status ng_teacher_open(ng_teacher *t, const char *path, int n_threads, ng_error *err) {
    ng_session_options opt = {.n_threads = n_threads};
    *t = (ng_teacher){0};
    ng_status s = ng_model_open(&t->model, path, err);
    if (!s) s = ng_encoder_heads_open(&t->heads, t->model, err);
    if (!s && !t->heads.len)
        s = ng_fail(err, NG_EUNSUPPORTED, "%s: this model has no heads that could teach or be compared", path);
    if (!s) s = ng_session_new(&t->session, t->model, &opt, err);
    if (!s) {
        ng_model_info info = ng_model_get_info(t->model);
        t->hidden = malloc((size_t)info.n_ctx_train * info.n_embd * sizeof *t->hidden);
        if (!t->hidden) s = no_memory(path, err);
    }
    if (s) ng_teacher_close(t);
    return s;
}

void ng_teacher_close(ng_teacher *t) {
    ng_session_free(t->session);
    ng_encoder_heads_close(&t->heads);
    ng_model_close(t->model);
    free(t->hidden);
    *t = (ng_teacher){0};
}

/* ---- a head's answers --------------------------------------------------------------------------- */

/* The teacher's head and which of its labels is each of the task's. */
typedef struct asked {
    const ng_encoder_head *head;
    size_t *label; /* [n_labels] */
    ng_id_texts ids;
} asked;

static ng_status ask(asked *a, const ng_teacher *t, const ng_encoder_task *k, const ng_dataset *d, const char *name,
                     ng_error *err) {
    *a = (asked){.head = ng_encoder_heads_find(&t->heads, name ? name : k->head->name, err)};
    const ng_tokenizer *tokenizer = a->head ? ng_model_tokenizer(t->model, err) : NULL;
    if (!tokenizer) return err && err->code ? err->code : NG_ENOTFOUND;
    size_t n = k->labels.len;
    if (a->head->each != k->each || a->head->tokens != k->tokens || a->head->n_labels != n)
        return ng_fail(err, NG_EINVALID, "the teacher's head '%s' is of another task or has %zu labels, not %zu",
                       a->head->name, a->head->n_labels, n);
    if (!(a->label = malloc((n + 1) * sizeof *a->label))) return no_memory("teacher", err);
    for (size_t c = 0; c < n; c++) {
        size_t at = 0;
        while (at < n && strcmp(a->head->labels[at], k->labels.names[c]) != 0) at++;
        if (at == n)
            return ng_fail(err, NG_EINVALID, "the teacher's head '%s' has no label '%s'", a->head->name,
                           k->labels.names[c]);
        a->label[c] = at;
    }
    return ng_id_texts_new(&a->ids, d, (ng_recipe_task)k->recipe.task, tokenizer, ng_session_n_ctx(t->session), err);
}

static void ask_end(asked *a) {
    free(a->label);
    ng_id_texts_clear(&a->ids);
}

static ng_status hidden_of(ng_teacher *t, const ng_id_texts *x, size_t i, ng_error *err) {
    return ng_session_hidden_pair(t->session, x->ids + x->begin[i], x->begin[i + 1] - x->begin[i], x->first[i],
                                  t->hidden, err);
}

/* z[rows of text i, n_labels] in the task's order; scratch[n_labels]. */
static ng_status logits_of(ng_teacher *t, const asked *a, size_t i, float *z, float *scratch, ng_error *err) {
    const ng_encoder_head *h = a->head;
    ng_status s = hidden_of(t, &a->ids, i, err);
    if (s) return s;
    size_t from = h->tokens ? a->ids.word_begin[i] : 0, rows = h->tokens ? a->ids.word_begin[i + 1] - from : 1;
    for (size_t r = 0; r < rows; r++) {
        if (!h->tokens) ng_encoder_head_logits(h, t->hidden, a->ids.begin[i + 1] - a->ids.begin[i], scratch);
        else {
            ng_encoder_head_row(h, t->hidden + a->ids.rows[from + r] * h->width, scratch);
            ng_encoder_head_shapes(h, a->ids.shapes + (from + r) * NG_SHAPE_WORDS, scratch);
        }
        for (size_t c = 0; c < h->n_labels; c++) z[r * h->n_labels + c] = scratch[a->label[c]];
    }
    return NG_OK;
}

/* ---- scores ------------------------------------------------------------------------------------- */

static ng_status score_pairs(ng_teacher *t, const ng_encoder_task *k, double *score, double *took, ng_error *err) {
    ng_id_texts x = {0};
    const ng_tokenizer *tokenizer = ng_model_tokenizer(t->model, err);
    size_t n = k->held.len, width = ng_model_get_info(t->model).n_embd;
    if (!tokenizer) return NG_EUNSUPPORTED;
    float *v = malloc(2 * width * sizeof *v), *said = malloc((n + 1) * sizeof *said),
          *gold = malloc((n + 1) * sizeof *gold);
    ng_status s = v && said && gold ? NG_OK : no_memory("teacher", err);
    if (!s) s = ng_id_texts_new(&x, &k->held, NG_RECIPE_EMBED, tokenizer, ng_session_n_ctx(t->session), err);
    double start = ng_clock_thread_ms();
    for (size_t i = 0; !s && i < n; i++) {
        double dot = 0;
        for (size_t j = 2 * i; !s && j < 2 * i + 2; j++)
            s = ng_session_encode(t->session, x.ids + x.begin[j], x.begin[j + 1] - x.begin[j], v + j % 2 * width, err);
        for (size_t c = 0; !s && c < width; c++) dot += (double)v[c] * (double)v[width + c];
        said[i] = (float)dot;
        gold[i] = k->held.items[i].score;
    }
    *took = ng_clock_thread_ms() - start;
    if (!s) *score = ng_spearman(said, gold, n);
    ng_id_texts_clear(&x);
    free(v), free(said), free(gold);
    return s;
}

static ng_status score_labels(ng_teacher *t, const ng_encoder_task *k, const char *head, double *score, double *took,
                              ng_error *err) {
    asked a;
    ng_head_tally sum = {0};
    size_t n = k->labels.len, most = ng_session_n_ctx(t->session);
    float *z = malloc((most + 1) * n * sizeof *z);
    int32_t *said = malloc((most + 1) * sizeof *said);
    ng_status s = ask(&a, t, k, &k->held, head, err);
    if (!s && (!z || !said)) s = no_memory("teacher", err);
    double start = ng_clock_thread_ms();
    for (size_t i = 0; !s && i < k->held.len; i++) {
        s = logits_of(t, &a, i, z + n, z, err);
        size_t from = k->tokens ? a.ids.word_begin[i] : 0;
        if (!s && k->tokens)
            ng_head_tally_words(&sum, k, a.ids.tags + from, a.ids.word_begin[i + 1] - from, z + n, said);
        else if (!s) ng_head_tally_text(&sum, k, &k->held.items[i], z + n);
    }
    *took = ng_clock_thread_ms() - start;
    if (!s) *score = ng_head_tally_score(&sum, k);
    ask_end(&a);
    free(z), free(said);
    return s;
}

ng_status ng_teacher_score(ng_teacher *t, const ng_encoder_task *k, const char *head, double *score, double *ms,
                           ng_error *err) {
    double took = 0;
    *score = *ms = NAN;
    if (!k->held.len) return NG_OK;
    ng_status s = k->pairs ? score_pairs(t, k, score, &took, err) : score_labels(t, k, head, score, &took, err);
    *ms = took / (double)(k->pairs ? 2 * k->held.len : k->held.len);
    return s;
}

/* ---- soft labels -------------------------------------------------------------------------------- */

typedef struct soft {
    const ng_encoder_task *task;
    const char *path;
    double temperature;
    float *sum;        /* [rows, n_labels] */
    uint16_t *n_said;  /* [rows] */
} soft;

/* Adds what logits z say of row `row`; z is overwritten. */
static void add_row(soft *o, size_t row, float *z) {
    size_t n = o->task->labels.len;
    if (o->task->each)
        for (size_t c = 0; c < n; c++) z[c] = (float)ng_sigmoid((double)z[c] / o->temperature);
    else ng_softmax(z, z, n, 1 / (float)o->temperature);
    for (size_t c = 0; c < n; c++) o->sum[row * n + c] += z[c];
    o->n_said[row]++;
}

static ng_status from_model(soft *o, int n_threads, ng_error *err) {
    const ng_encoder_task *k = o->task;
    size_t n = k->labels.len;
    ng_teacher t;
    asked a = {0};
    float *z = NULL;
    ng_status s = ng_teacher_open(&t, o->path, n_threads, err);
    if (!s) s = ask(&a, &t, k, &k->train, k->head->teacher_head, err);
    if (!s && !(z = malloc(((size_t)ng_session_n_ctx(t.session) + 1) * n * sizeof *z))) s = no_memory(o->path, err);
    for (size_t i = 0; !s && i < k->train.len; i++) {
        size_t from = k->tokens ? k->train_ids.word_begin[i] : i,
               rows = k->tokens ? k->train_ids.word_begin[i + 1] - from : 1;
        /* other words are left where one of the two vocabularies cuts a long text earlier */
        if (k->tokens && a.ids.word_begin[i + 1] - a.ids.word_begin[i] != rows) continue;
        s = logits_of(&t, &a, i, z + n, z, err);
        for (size_t r = 0; !s && r < rows; r++) add_row(o, from + r, z + n + r * n);
    }
    ask_end(&a);
    ng_teacher_close(&t);
    free(z);
    return s;
}

/* Texts by their hashes, for the lines of a recording. */
typedef struct at_hash {
    uint64_t hash;
    size_t text;
} at_hash;

static int by_hash(const void *a, const void *b) {
    const at_hash *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static ng_status add_line(soft *o, const at_hash *index, const char *line, size_t len, size_t number, ng_error *err) {
    json_error_t why;
    size_t n = o->task->labels.len, n_texts = o->task->train.len;
    json_t *root = json_loadb(line, len, 0, &why), *scores = json_object_get(root, "scores");
    const char *text = json_string_value(json_object_get(root, "text")), *label;
    json_t *p;
    float *z = malloc((n + 1) * sizeof *z);
    ng_status s = NG_OK;
    if (!z) s = no_memory(o->path, err);
    else if (!text || !json_is_object(scores))
        s = ng_fail(err, NG_EFORMAT,
                    "%s:%zu: a recorded answer is {\"text\": \"..\", \"scores\": {\"label\": p, ..}}%s%s", o->path,
                    number, root ? "" : ": ", root ? "" : why.text);
    for (size_t c = 0; !s && c < n; c++) z[c] = (float)ng_log(1e-6);
    json_object_foreach(scores, label, p) {
        int32_t c = s ? 0 : ng_labels_find(&o->task->labels, label, strlen(label));
        double v = json_number_value(p);
        if (s) break;
        if (c < 0 || !json_is_number(p) || !(v >= 0 && v <= 1.000001))
            s = ng_fail(err, NG_EFORMAT, "%s:%zu: scores has '%.60s': not a label of '%s' with a probability", o->path,
                        number, label, o->task->head->name);
        else z[c] = (float)(o->task->each ? ng_log((v + 1e-6) / (1 - v + 2e-6)) : ng_log(v + 1e-6));
    }
    at_hash key = {s ? 0 : ng_text_hash(text, strlen(text)), 0};
    const at_hash *hit = s ? NULL : bsearch(&key, index, n_texts, sizeof *index, by_hash);
    if (hit) add_row(o, hit->text, z);
    free(z);
    json_decref(root);
    return s;
}

static ng_status from_recording(soft *o, ng_error *err) {
    const ng_dataset *d = &o->task->train;
    ng_buf text = ng_buf_init((size_t)1 << 31);
    at_hash *index = malloc((d->len + 1) * sizeof *index);
    ng_status s = o->task->tokens ? ng_fail(err, NG_EUNSUPPORTED,
                                            "%s: recorded answers teach heads on texts, not on words", o->path)
                  : !index        ? no_memory(o->path, err)
                                  : ng_file_read(&text, o->path, err);
    for (size_t i = 0; !s && i < d->len; i++) index[i] = (at_hash){d->items[i].hash, i};
    if (!s) qsort(index, d->len, sizeof *index, by_hash);
    size_t number = 1;
    for (size_t at = 0; !s && at < text.len; number++) {
        const char *line = (const char *)text.data + at, *end = memchr(line, '\n', text.len - at);
        size_t len = end ? (size_t)(end - line) : text.len - at;
        if (len) s = add_line(o, index, line, len, number, err);
        at += len + 1;
    }
    free(index);
    ng_buf_clear(&text);
    return s;
}

ng_status ng_soft_labels(float **out, const ng_encoder_tasks *t, size_t k, int n_threads, ng_error *err) {
    const ng_encoder_task *task = &t->items[k];
    const ng_config_strs *teachers = &task->head->teachers;
    size_t n = task->labels.len, rows = task->tokens ? task->train_ids.word_begin[task->train_ids.n] : task->train.len;
    ng_arena *arena = NULL;
    *out = NULL;
    if (!teachers->len) return NG_OK;
    if (task->pairs)
        return ng_fail(err, NG_EINVALID,
                       "%s: head '%s': pairs have no labels that a teacher could soften; use distill.hidden",
                       t->recipe->path, task->head->name);
    soft o = {.task = task, .temperature = t->recipe->distill.temperature};
    o.sum = calloc(rows * n + 1, sizeof *o.sum);
    o.n_said = calloc(rows + 1, sizeof *o.n_said);
    ng_status s = !o.sum || !o.n_said || ng_arena_new(&arena, 0) ? no_memory(t->recipe->path, err) : NG_OK;
    for (size_t i = 0; !s && i < teachers->len; i++) {
        o.path = ng_encoder_recipe_base(t->recipe, teachers->items[i], arena, err);
        size_t len = o.path ? strlen(o.path) : 0;
        if (!o.path) s = err && err->code ? err->code : NG_ENOTFOUND;
        else
            s = len > 6 && !strcmp(o.path + len - 6, ".jsonl") ? from_recording(&o, err)
                                                               : from_model(&o, n_threads, err);
    }
    for (size_t r = 0; !s && r < rows; r++)
        for (size_t c = 0; c < n; c++) o.sum[r * n + c] = o.n_said[r] ? o.sum[r * n + c] / (float)o.n_said[r] : NAN;
    ng_arena_free(arena);
    free(o.n_said);
    if (s) free(o.sum);
    else *out = o.sum;
    return s;
}
