/* head_embedding.c: an encoder as the head of the tasks embed and rerank.
 *
 * embed gives the pooled, L2-normalised vector of the text; rerank orders documents by the cosine of
 * their vectors with the query's (a bi-encoder's way: no model reads query and document together).
 * A cosine is no probability, so there is no confidence.  One session, one lock: calls queue. */
#include "head_ops.h"

#include <nanogrid/model.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct embedder {
    ng_model *model;
    ng_session *session; /* guarded by lock */
    pthread_mutex_t lock;
    uint32_t n_embd, n_seq_max;
} embedder;

static bool serves(ng_task task, const char *arch) {
    return (task == NG_TASK_EMBED || task == NG_TASK_RERANK) && arch[0] && strncmp(arch, "nanogrid", 8);
}

static void close_head(void *self) {
    embedder *e = self;
    ng_session_free(e->session);
    ng_model_close(e->model);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static ng_status open_head(void **self, const ng_head_spec *spec, ng_error *err) {
    embedder *e = calloc(1, sizeof *e);
    *self = NULL;
    if (!e) return ng_fail(err, NG_ENOMEM, "embedding: out of memory");
    pthread_mutex_init(&e->lock, NULL);
    ng_session_options opt = {.n_threads = spec->n_threads};
    ng_status s = ng_model_open(&e->model, spec->path, err);
    ng_model_info info = {0};
    if (!s) info = ng_model_get_info(e->model);
    if (!s && info.kind != NG_MODEL_ENCODER)
        s = ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%s' is no encoder and cannot serve the task %s", spec->path,
                    info.arch, ng_task_name(spec->task));
    if (!s && !ng_model_tokenizer(e->model, err)) s = err ? err->code : NG_EUNSUPPORTED;
    if (!s) s = ng_session_new(&e->session, e->model, &opt, err);
    e->n_embd = info.n_embd;
    e->n_seq_max = info.n_seq_max;
    if (s) close_head(e);
    else *self = e;
    return s;
}

/* `what` names the text in messages ("the text", "document 3").  The lock is held. */
static ng_status embed_one(embedder *e, ng_answer *a, const char *what, const char *text, size_t len, float *out,
                           ng_error *err) {
    size_t n = 0;
    ng_error why = {0};
    if (ng_session_embed(e->session, text, len, false, out, &n, &why))
        return ng_fail(err, why.code, "%s: %s", what, why.text);
    a->prompt_tokens += (uint32_t)n;
    if (n <= e->n_seq_max) return NG_OK;
    const char **list = ng_answer_alloc(a, (a->n_warnings + 1) * sizeof *list);
    char line[128];
    int m = snprintf(line, sizeof line, "%s has %zu tokens; this model embeds the first %u", what, n, (unsigned)e->n_seq_max);
    const char *copy = ng_answer_strndup(a, line, (size_t)m);
    if (!list || !copy) return ng_fail(err, NG_ENOMEM, "embedding: out of memory");
    if (a->n_warnings) memcpy(list, a->warnings, a->n_warnings * sizeof *list);
    list[a->n_warnings++] = copy;
    a->warnings = list;
    return NG_OK;
}

static int best_first(const void *a, const void *b) {
    const ng_ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Documents are scored one by one against the query's vector. */
static ng_status rerank(embedder *e, const ng_params *p, ng_answer *a, const float *query, ng_error *err) {
    float *v = ng_answer_alloc(a, e->n_embd * sizeof *v);
    a->results = ng_answer_alloc(a, (p->n_documents + 1) * sizeof *a->results);
    if (!v || !a->results) return ng_fail(err, NG_ENOMEM, "rerank: out of memory");
    for (size_t i = 0; i < p->n_documents; i++) {
        char what[40];
        snprintf(what, sizeof what, "document %zu", i);
        ng_status s = embed_one(e, a, what, p->documents[i], strlen(p->documents[i]), v, err);
        if (s) return s;
        double dot = 0;
        for (uint32_t k = 0; k < e->n_embd; k++) dot += (double)query[k] * (double)v[k];
        a->results[i] = (ng_ranked){i, (float)dot};
    }
    a->n_results = p->n_documents;
    qsort(a->results, a->n_results, sizeof *a->results, best_first);
    return NG_OK;
}

static ng_status apply(void *self, const ng_tier_request *req, ng_answer *a, ng_error *err) {
    embedder *e = self;
    const char *text;
    size_t len;
    ng_status s = ng_request_text(req, &text, &len, err);
    if (s) return s;
    if (req->task == NG_TASK_RERANK && !req->params.n_documents)
        return ng_fail(err, NG_EINVALID, "rerank needs documents to order");
    float *v = ng_answer_alloc(a, e->n_embd * sizeof *v);
    if (!v) return ng_fail(err, NG_ENOMEM, "embedding: out of memory");
    pthread_mutex_lock(&e->lock);
    s = embed_one(e, a, req->task == NG_TASK_RERANK ? "the query" : "the text", text, len, v, err);
    if (!s && req->task == NG_TASK_RERANK) s = rerank(e, &req->params, a, v, err);
    pthread_mutex_unlock(&e->lock);
    if (!s && req->task == NG_TASK_EMBED) a->embedding = v, a->n_embedding = e->n_embd;
    return s;
}

const ng_head_ops ng_head_embedding = {"embedding", serves, open_head, apply, close_head};
