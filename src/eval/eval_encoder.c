/* eval_encoder.c: evaluates an encoder with its heads: every head on the test set of its own recipe.
 *
 * The figures of head H stand in the group H: accuracy, f1, unseen, calibration, scope (or precision, recall
 * and f1 of spans, Spearman's correlation, or those of eval_ranked.h), latency of one text through encoder and head.  The card covers the package; each head's scores go to
 * H.scores.gguf beside the model. */
#include "eval_labels.h"
#include "eval_ranked.h"
#include "eval_tokens.h"

#include "core/file.h"
#include "model/encoder_heads.h"
#include "model/encoder_text.h"
#include "model/linear.h"
#include "train/encoder_recipe.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct opened {
    ng_model *model;
    ng_session *session;
    ng_encoder_heads heads;
    const ng_encoder_head *head; /* at hand */
    float *hidden;
    size_t n_most;
    float scope; /* of the last text */
    ng_linear *beside; /* or NULL */
    ng_linear_scratch *scratch;
    float *beside_p; /* [its labels] */
} opened;

static bool serves(const char *task) { return !strcmp(task, "encoder"); }

/* Of each label that both have the greater probability. */
static ng_status join_beside(const opened *o, const char *text, size_t len, float *p, ng_error *err) {
    ng_status s = ng_linear_apply(o->beside, o->scratch, text, len, o->beside_p, err);
    for (size_t i = 0; !s && i < o->head->n_labels; i++)
        for (size_t k = 0; k < ng_linear_n_labels(o->beside); k++)
            if (!strcmp(o->head->labels[i], ng_linear_label(o->beside, k)) && o->beside_p[k] > p[i]) p[i] = o->beside_p[k];
    return s;
}

static ng_status apply(void *self, const ng_text_pair *text, float *p, ng_error *err) {
    opened *o = self;
    const ng_tokenizer *t = ng_model_tokenizer(o->model, NULL);
    ng_text_pair read = *text;
    ng_pair_ids x;
    ng_buf b = ng_buf_init(2 * text->a_len + 64);
    if (ng_encoder_text(&b, o->head, t, text->a, text->a_len)) read.a = b.data, read.a_len = b.len;
    ng_status s = ng_pair_ids_new(&x, t, &read, o->n_most, err);
    if (!s) {
        s = ng_session_hidden_pair(o->session, x.ids, x.n, x.n_first, o->hidden, err);
        free(x.ids);
    }
    if (!s) {
        ng_encoder_head_logits(o->head, o->hidden, x.n, p);
        ng_encoder_head_decide(o->head, p, p);
        o->scope = ng_encoder_head_scope(o->head, o->hidden, x.n, p);
        if (o->beside && o->head->each) s = join_beside(o, read.a, read.a_len, p, err);
    }
    ng_buf_clear(&b);
    return s;
}

static ng_status open_beside(opened *o, const char *path, ng_error *err) {
    ng_status s = ng_linear_open(&o->beside, path, err);
    if (!s && !ng_linear_multi_label(o->beside))
        s = ng_fail(err, NG_EINVALID, "%s: it gives one label of many; beside a head that moderates stands a model of the task moderate", path);
    if (!s) s = ng_linear_scratch_new(&o->scratch, o->beside, err);
    if (s) return s;
    o->beside_p = malloc(ng_linear_n_labels(o->beside) * sizeof *o->beside_p);
    return o->beside_p ? NG_OK : ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
}

/* adapter: a file beside the model, or NULL. */
static ng_status open_all(opened *o, const char *path, const char *adapter, ng_error *err) {
    ng_status s = ng_model_open_adapted(&o->model, path, adapter, 1, err);
    if (!s) s = ng_encoder_heads_open(&o->heads, o->model, err);
    if (!s && !ng_model_tokenizer(o->model, err)) s = NG_EUNSUPPORTED;
    if (!s) s = ng_session_new(&o->session, o->model, NULL, err);
    if (s) return s;
    o->n_most = ng_session_n_seq(o->session);
    o->hidden = malloc(o->n_most * ng_model_get_info(o->model).n_embd * sizeof *o->hidden);
    return o->hidden ? NG_OK : ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
}

/* "oos.auroc" of head intent becomes "intent.oos_auroc"; tables are left out. */
static void take_figures(ng_eval_result *out, const ng_eval_result *in, const char *head) {
    for (size_t i = 0; i < in->n; i++) {
        char name[96];
        const ng_metric *m = &in->items[i];
        bool table = !strncmp(m->name, "confusion.", 10) || !strncmp(m->name, "by_file.", 8);
        if (table || !strcmp(m->name, "model_mb") || !strcmp(m->name, "rss_mb") || isnan(m->value)) continue;
        snprintf(name, sizeof name, "%s.%s", head, m->name);
        for (char *c = name + strlen(head) + 1; *c; c++)
            if (*c == '.') *c = '_';
        ng_eval_put(out, name, m->value, m->measured);
    }
}

static ng_status eval_head(ng_eval_result *out, opened *o, const ng_encoder_head_recipe *h, const ng_encoder_recipe *r,
                           const ng_eval_options *opt, ng_arena *arena, ng_error *err) {
    const char *path = ng_encoder_recipe_head(r, h, arena, err);
    ng_error why = {0};
    if (!path) return NG_ENOMEM;
    if (!(o->head = ng_encoder_heads_find(&o->heads, h->name, &why)))
        return ng_fail(err, why.code, "%s: %s", out->model_path, why.text);
    ng_model_info info = ng_model_get_info(o->model);
    ng_subject s = {.task = o->head->task, .n_labels = o->head->n_labels, .labels = o->head->labels, .each = o->head->each,
                    .calibrated = ng_encoder_head_calibrated(o->head), .oos_threshold = o->head->oos_threshold,
                    .threshold = o->head->threshold, .file_bytes = info.file_bytes, .timed = 200, .apply = apply, .self = o, .scope = &o->scope};
    const char *slash = strrchr(out->model_path, '/');
    ng_label_files files = {NULL, ng_arena_printf(arena, "%.*s/%s.scores.gguf", (int)(slash - out->model_path),
                                                  out->model_path, h->name)};
    ng_eval_result *one = calloc(1, sizeof *one);
    ng_encoder_subject encoder = {o->model, o->session, o->head, o->n_most};
    ng_status st;
    if (opt->noise) (void)ng_noise_parse(&s.noise, opt->noise); /* checked by ng_eval */
    if (!one || !files.scores) st = ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    else if (opt->noise && (o->head->tokens || o->head->pair || !strcmp(o->head->task, "embed"))) st = NG_OK; /* noise is for labels */
    else if (o->head->tokens) st = ng_eval_spans(one, path, &encoder, err);
    else if (!strcmp(o->head->task, "embed")) st = ng_eval_pairs(one, path, &encoder, err);
    else if (!strcmp(o->head->task, "rerank")) st = ng_eval_rerank(one, path, &encoder, err);
    else if (!strcmp(o->head->task, "summarize")) st = ng_eval_picks(one, path, &encoder, err);
    else st = ng_eval_labels(one, path, &s, opt->card ? &files : NULL, err);
    if (!st) take_figures(out, one, h->name);
    free(one);
    return st;
}

static ng_status write_card(const ng_encoder_recipe *r, ng_eval_result *out, const ng_eval_options *opt,
                            ng_arena *arena, ng_error *err) {
    const char *path = ng_encoder_recipe_file(r, opt->model_dir, "card", arena);
    const char **names = ng_arena_array(arena, r->heads.len, sizeof *names);
    if (!path || !names) return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    for (size_t i = 0; i < r->heads.len; i++) names[i] = ((const ng_encoder_head_recipe *)r->heads.items)[i].name;
    return ng_card_write(&(ng_card){&r->about, r->task, r->path, names, r->heads.len}, out, path, err);
}

static ng_status run_in(ng_eval_result *out, const char *recipe_path, const ng_eval_options *opt, opened *o,
                        ng_arena *arena, ng_error *err) {
    ng_encoder_recipe r;
    ng_status s = ng_encoder_recipe_read(&r, recipe_path, arena, err);
    if (s) return s;
    bool alone = r.stage == NG_STAGE_FINETUNE && !r.lora.merged;
    const char *path = ng_encoder_recipe_file(&r, opt->model_dir, "model", arena);
    const char *base = path && alone ? ng_encoder_recipe_base(&r, r.base.model, arena, err) : path;
    if (!base) return path ? NG_ENOTFOUND : ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    snprintf(out->model_path, sizeof out->model_path, "%s", path);
    s = open_all(o, base, alone ? path : NULL, err);
    if (!s && opt->beside) s = open_beside(o, opt->beside, err);
    for (size_t i = 0; !s && i < r.heads.len; i++)
        s = eval_head(out, o, (const ng_encoder_head_recipe *)r.heads.items + i, &r, opt, arena, err);
    if (s) return s;
    uint64_t bytes = ng_model_get_info(o->model).file_bytes;
    int64_t changed;
    if (alone) (void)ng_file_stat(path, &bytes, &changed);
    ng_eval_put(out, "model_mb", (double)bytes / 1e6, false);
    return opt->card ? write_card(&r, out, opt, arena, err) : NG_OK;
}

static ng_status run(ng_eval_result *out, const char *recipe_path, const ng_eval_options *opt, ng_error *err) {
    ng_arena *arena;
    opened o = {0};
    if (ng_arena_new(&arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    ng_status s = run_in(out, recipe_path, opt, &o, arena, err);
    ng_session_free(o.session);
    ng_encoder_heads_close(&o.heads);
    ng_model_close(o.model);
    ng_linear_scratch_free(o.scratch);
    ng_linear_close(o.beside);
    free(o.beside_p);
    free(o.hidden);
    ng_arena_free(arena);
    return s;
}

const ng_eval_ops ng_eval_encoder = {serves, run};
