/* head_decoder.c: a causal model as the head of the task generate.
 *
 * Messages are rendered by the model's own chat template and answered by a scheduler, which many calls
 * share: each says what it would say alone, and whoever begins as an earlier one did (a conversation
 * that grew, a common system prompt) does not read that again. */
#include "head_ops.h"

#include "core/file.h"
#include "decode/confidence.h"
#include <nanogrid/scheduler.h>

#include <stdlib.h>
#include <string.h>

typedef struct decoder {
    ng_model *model;
    const ng_tokenizer *tokenizer;
    ng_confidence *confidence; /* of the file beside the model; NULL: there is none */
    ng_scheduler *scheduler;
} decoder;

static bool serves(ng_task task, const char *arch) {
    return task == NG_TASK_GENERATE && arch[0] && strncmp(arch, "nanogrid", 8);
}

static void close_head(void *self) {
    decoder *d = self;
    ng_scheduler_free(d->scheduler);
    ng_confidence_free(d->confidence);
    ng_model_close(d->model);
    free(d);
}

/* What `nanogrid calibrate` wrote beside the model, if anything. */
static ng_status open_confidence(decoder *d, const char *model_path, ng_error *err) {
    char *path = ng_confidence_path(model_path);
    if (!path) return ng_fail(err, NG_ENOMEM, "decoder: out of memory");
    ng_status s = ng_file_exists(path) ? ng_confidence_open(&d->confidence, path, d->model, err) : NG_OK;
    free(path);
    return s;
}

static ng_status open_head(void **self, const ng_head_spec *spec, ng_error *err) {
    decoder *d = calloc(1, sizeof *d);
    *self = NULL;
    if (!d) return ng_fail(err, NG_ENOMEM, "decoder: out of memory");
    ng_scheduler_options opt = {.n_ctx = spec->n_ctx,
                                .n_threads = spec->n_threads,
                                .kv = spec->kv,
                                .prefix = &spec->prefix};
    ng_status s = ng_model_open(&d->model, spec->path, err);
    if (!s && ng_model_get_info(d->model).kind != NG_MODEL_CAUSAL)
        s = ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%s' cannot generate text", spec->path,
                    ng_model_get_info(d->model).arch);
    ng_error why = {0};
    if (!s && !(d->tokenizer = ng_model_tokenizer(d->model, &why))) s = ng_fail(err, why.code, "%s", why.text);
    if (!s) s = open_confidence(d, spec->path, err);
    opt.confidence = d->confidence;
    if (!s) s = ng_scheduler_new(&d->scheduler, d->model, &opt, err);
    if (s) close_head(d);
    else *self = d;
    return s;
}

/* One string a message; parts are joined.  The strings live in the answer. */
static ng_status message_text(const ng_message *m, ng_answer *a, const char **out, ng_error *err) {
    size_t len = 0;
    for (size_t i = 0; i < m->n_parts; i++) {
        if (m->parts[i].type != NG_PART_TEXT)
            return ng_fail(err, NG_EUNSUPPORTED, "parts of type '%s' are not served by this version",
                           ng_part_type_name(m->parts[i].type));
        len += m->parts[i].len;
    }
    char *text = ng_answer_alloc(a, len + 1);
    if (!text) return ng_fail(err, NG_ENOMEM, "decoder: out of memory");
    *out = text;
    for (size_t i = 0; i < m->n_parts; i++) {
        memcpy(text, m->parts[i].text, m->parts[i].len);
        text += m->parts[i].len;
    }
    *text = 0;
    return NG_OK;
}

typedef struct asked {
    const decoder *d;
    const ng_tier_request *req;
    ng_answer *a;
} asked;

/* The first n_messages; `reply`: with what begins the answer. */
static ng_status render(const asked *k, size_t n_messages, bool reply, int32_t **ids, size_t *n, ng_error *err) {
    if (!n_messages) return ng_fail(err, NG_EINVALID, "the request has no messages");
    ng_chat_message *list = ng_answer_alloc(k->a, n_messages * sizeof *list);
    if (!list) return ng_fail(err, NG_ENOMEM, "decoder: out of memory");
    ng_status s = NG_OK;
    for (size_t i = 0; i < n_messages && !s; i++) {
        list[i].role = k->req->messages[i].role;
        s = message_text(&k->req->messages[i], k->a, &list[i].text, err);
    }
    return s ? s : ng_chat_tokenize(k->d->tokenizer, list, n_messages, reply, ids, n, err);
}

/* With a context that shifts, what the system was told stays: the ids that its messages alone begin with. */
static ng_status keep_system(const asked *k, const int32_t *ids, size_t n, ng_generate_options *opt, ng_error *err) {
    int32_t *own = NULL;
    size_t n_told = 0, n_own, same = 0;
    while (n_told < k->req->n_messages && !strcmp(k->req->messages[n_told].role, "system")) n_told++;
    if (!opt->shift || opt->n_keep || !n_told) return NG_OK;
    ng_status s = render(k, n_told, false, &own, &n_own, err);
    while (!s && same < n && same < n_own && ids[same] == own[same]) same++;
    opt->n_keep = (uint32_t)same;
    free(own);
    return s;
}

static ng_status fill(ng_answer *a, const ng_generation *g, ng_error *err) {
    bool late = !strcmp(g->finish, "deadline");
    if (late && !g->n_tokens) return ng_fail(err, NG_ETIMEOUT, "the deadline passed before the first token");
    a->prompt_tokens = (uint32_t)g->n_prompt;
    a->completion_tokens = (uint32_t)g->n_tokens;
    a->cached_tokens = (uint32_t)g->n_cached;
    a->confidence = (double)g->confidence;
    a->answer = ng_answer_strndup(a, g->text, g->text_len);
    a->finish = late ? "length" : g->finish;
    return a->answer ? NG_OK : ng_fail(err, NG_ENOMEM, "decoder: out of memory");
}

static ng_status apply(void *self, const ng_tier_request *req, ng_answer *a, ng_error *err) {
    decoder *d = self;
    ng_generate_options opt = req->params.has_generate ? req->params.generate : ng_generate_options_default();
    ng_generation g = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    const asked k = {d, req, a};
    opt.on_token = req->on_token;
    opt.on_token_ctx = req->on_token_ctx;
    opt.abandoned = req->abandoned;
    opt.abandoned_ctx = req->abandoned_ctx;
    ng_status s = ng_generate_options_check(&opt, err);
    if (!s) s = render(&k, req->n_messages, true, &ids, &n, err);
    if (!s) s = keep_system(&k, ids, n, &opt, err);
    ng_scheduled r = {.prompt = ids, .n_prompt = n, .options = &opt, .deadline_ms = req->deadline_ms,
                      .tenant = req->tenant, .is_private = req->is_private};
    if (!s) s = ng_scheduler_generate(d->scheduler, &g, &r, err);
    if (!s) s = fill(a, &g, err);
    ng_generation_clear(&g);
    free(ids);
    return s;
}

static void look(void *self, ng_tier_look *out) {
    out->stats = ng_scheduler_look(((decoder *)self)->scheduler, out->slots, NG_SLOTS_MAX);
}

const ng_head_ops ng_head_decoder = {"decoder", serves, open_head, apply, close_head, look};
