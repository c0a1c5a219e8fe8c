/* head_decoder.c: a causal model as the head of the task generate.
 *
 * Messages are rendered by the model's own chat template and answered by the decode loop.  The session
 * stays between calls and remembers which ids it holds: a conversation that only grew, or a system
 * prompt that many requests share, is evaluated once (results do not depend on how a prompt was
 * chunked, so reuse changes no bit).  One session, one lock: calls queue. */
#include "head_ops.h"

#include "core/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct decoder {
    ng_model *model;
    const ng_tokenizer *tokenizer;
    pthread_mutex_t lock;
    ng_session *session; /* guarded by lock, as are the next two */
    int32_t *held;       /* [n_held] the ids that the session holds; room for its n_ctx */
    size_t n_held;
} decoder;

static bool serves(ng_task task, const char *arch) {
    return task == NG_TASK_GENERATE && arch[0] && strncmp(arch, "nanogrid", 8);
}

static void close_head(void *self) {
    decoder *d = self;
    ng_session_free(d->session);
    ng_model_close(d->model);
    pthread_mutex_destroy(&d->lock);
    free(d->held);
    free(d);
}

static ng_status open_head(void **self, const ng_head_spec *spec, ng_error *err) {
    decoder *d = calloc(1, sizeof *d);
    *self = NULL;
    if (!d) return ng_fail(err, NG_ENOMEM, "decoder: out of memory");
    pthread_mutex_init(&d->lock, NULL);
    ng_session_options opt = {.n_threads = spec->n_threads};
    ng_status s = ng_model_open(&d->model, spec->path, err);
    if (!s && ng_model_get_info(d->model).kind != NG_MODEL_CAUSAL)
        s = ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%s' cannot generate text", spec->path,
                    ng_model_get_info(d->model).arch);
    ng_error why = {0};
    if (!s && !(d->tokenizer = ng_model_tokenizer(d->model, &why))) s = ng_fail(err, why.code, "%s", why.text);
    if (!s) s = ng_session_new(&d->session, d->model, &opt, err);
    if (!s && !(d->held = calloc(ng_session_n_ctx(d->session), sizeof *d->held)))
        s = ng_fail(err, NG_ENOMEM, "decoder: out of memory");
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

static ng_status render(const decoder *d, const ng_tier_request *req, ng_answer *a, int32_t **ids, size_t *n,
                        ng_error *err) {
    if (!req->n_messages) return ng_fail(err, NG_EINVALID, "the request has no messages");
    ng_chat_message *list = ng_answer_alloc(a, req->n_messages * sizeof *list);
    if (!list) return ng_fail(err, NG_ENOMEM, "decoder: out of memory");
    ng_status s = NG_OK;
    for (size_t i = 0; i < req->n_messages && !s; i++) {
        list[i].role = req->messages[i].role;
        s = message_text(&req->messages[i], a, &list[i].text, err);
    }
    return s ? s : ng_chat_tokenize(d->tokenizer, list, req->n_messages, true, ids, n, err);
}

typedef struct watch {
    const ng_tier_request *req;
    bool told; /* a token was passed on in time */
    bool late; /* the deadline passed */
} watch;

static bool on_token(void *ctx, const ng_token_event *e) {
    watch *w = ctx;
    w->late = w->req->deadline_ms && ng_clock_ms() >= (double)w->req->deadline_ms;
    if (w->late && !w->told) return false; /* nothing was shown: the request can still fail, or escalate */
    w->told = true;
    return (!w->req->on_token || w->req->on_token(w->req->on_token_ctx, e)) && !w->late;
}

/* Generates after the longest prefix that the session already holds.  The lock is held. */
static ng_status generate(decoder *d, const int32_t *ids, size_t n, const ng_generate_options *opt, ng_generation *g,
                          ng_error *err) {
    size_t same = 0, n_ctx = ng_session_n_ctx(d->session);
    if (n >= n_ctx)
        return ng_fail(err, NG_ELIMIT, "the prompt has %zu tokens and the context holds %zu, with room for the answer", n, n_ctx);
    while (same < d->n_held && same + 1 < n && d->held[same] == ids[same]) same++;
    ng_session_rewind(d->session, same);
    d->n_held = 0;
    ng_status s = ng_generate(g, d->session, ids + same, n - same, opt, err);
    if (s) {
        ng_session_rewind(d->session, 0);
        return s;
    }
    /* all, or all but the last new token, or part of the prompt when its reader has left */
    size_t len = ng_session_len(d->session), n_read = len < n ? len : n;
    memcpy(d->held, ids, n_read * sizeof *ids);
    if (len > n) memcpy(d->held + n, g->tokens, (len - n) * sizeof *ids);
    d->n_held = len;
    return NG_OK;
}

static ng_status fill(ng_answer *a, const ng_generation *g, size_t n_prompt, const watch *w, ng_error *err) {
    if (w->late && !w->told) return ng_fail(err, NG_ETIMEOUT, "the deadline passed before the first token");
    a->prompt_tokens = (uint32_t)n_prompt;
    a->completion_tokens = (uint32_t)g->n_tokens;
    a->answer = ng_answer_strndup(a, g->text, g->text_len);
    a->finish = w->late ? "length" : g->finish;
    return a->answer ? NG_OK : ng_fail(err, NG_ENOMEM, "decoder: out of memory");
}

static ng_status apply(void *self, const ng_tier_request *req, ng_answer *a, ng_error *err) {
    decoder *d = self;
    ng_generate_options opt = req->params.has_generate ? req->params.generate : ng_generate_options_default();
    watch w = {.req = req};
    ng_generation g = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    opt.on_token = on_token;
    opt.on_token_ctx = &w;
    opt.abandoned = req->abandoned;
    opt.abandoned_ctx = req->abandoned_ctx;
    ng_status s = ng_generate_options_check(&opt, err);
    if (!s) s = render(d, req, a, &ids, &n, err);
    if (!s) {
        pthread_mutex_lock(&d->lock);
        s = generate(d, ids, n, &opt, &g, err);
        pthread_mutex_unlock(&d->lock);
    }
    if (!s) s = fill(a, &g, n, &w, err);
    ng_generation_clear(&g);
    free(ids);
    return s;
}

const ng_head_ops ng_head_decoder = {"decoder", serves, open_head, apply, close_head};
