/* head_embedding.c: an encoder as the head of the tasks embed and rerank.
 *
 * embed gives the pooled, L2-normalised vector of the text.  rerank orders documents by what a head of the file that was trained
 * for it says of query and document, read as one sequence: the best of a document's windows of three sentences, as such a head
 * was trained on (train/pair_rows.h).  A file without one orders them by the cosine of their vectors with the query's.
 * Neither bounds an error, so there is no confidence.  One session, one lock: calls queue.  Those of embed are the shared encoder's
 * (shared_encoder.h), so that a text whose labels or claims were just read has its vector for nothing, and the other way round.
 *
 * Texts that come together are computed together: documents of one request, and the texts that the asker
 * says it will ask for next (ng_params.ahead: an array of inputs, each with a decision of its own).  Those
 * vectors wait in `ahead` until they are asked for or the next look ahead; packing changes no bit. */
#include "head_ops.h"

#include "core/hash.h"
#include "model/pair_score.h"
#include "shared_encoder.h"
#include "text/sentence.h"
#include <nanogrid/model.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 64, WINDOW = 3 }; /* texts of one call; sentences */

typedef struct ahead { /* of the texts computed with the last one */
    size_t n;
    ng_digest texts[AT_ONCE];
    size_t n_tokens[AT_ONCE];
    float *vectors; /* [AT_ONCE, n_embd]; NULL until first used */
} ahead;

typedef struct embedder {
    ng_shared_encoder *shared; /* of embed, with the model, session and lock that follow; rerank: NULL, they are its own */
    ng_model *model;
    ng_session *session; /* guarded by lock */
    pthread_mutex_t own_lock, *lock;
    uint32_t n_embd, n_seq_max;
    ahead ahead;         /* guarded by lock */
    ng_encoder_heads heads;
    ng_pair_scorer scorer; /* guarded by lock; head NULL: the file has none for rerank */
} embedder;

static bool serves(ng_task task, const char *arch) {
    return (task == NG_TASK_EMBED || task == NG_TASK_RERANK) && arch[0] && strncmp(arch, "nanogrid", 8);
}

static void close_head(void *self) {
    embedder *e = self;
    if (e->shared) ng_shared_encoder_give(e->shared);
    else ng_session_free(e->session);
    ng_encoder_heads_close(&e->heads);
    ng_pair_scorer_clear(&e->scorer);
    if (!e->shared) ng_model_close(e->model);
    pthread_mutex_destroy(&e->own_lock);
    free(e->ahead.vectors);
    free(e);
}

/* The head that scores query and document, the named one or the first of its task; none for vectors, which a named head of
 * the task embed asks for. */
static ng_status open_scorer(embedder *e, const ng_head_spec *spec, ng_error *err) {
    ng_status s = ng_encoder_heads_open(&e->heads, e->model, err);
    if (s) return s;
    const ng_encoder_head *head = spec->head ? ng_encoder_heads_find(&e->heads, spec->head, NULL)
                                             : ng_encoder_heads_first(&e->heads, "rerank");
    if (head ? !strcmp(head->task, "embed") : !spec->head) return NG_OK;
    s = ng_encoder_heads_choose(&head, &e->heads, spec->path, "rerank", spec->head, err);
    return s ? s : ng_pair_scorer_init(&e->scorer, e->session, head, err);
}

static ng_status open_own(embedder *e, const ng_head_spec *spec, ng_error *err) {
    ng_session_options opt = {.n_threads = spec->n_threads};
    ng_status s = ng_model_open_adapted(&e->model, spec->path, spec->adapter, spec->adapter_scale, err);
    if (s) return s;
    ng_model_info info = ng_model_get_info(e->model);
    if (info.kind != NG_MODEL_ENCODER)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%s' is no encoder and cannot serve the task %s",
                       spec->path, info.arch, ng_task_name(spec->task));
    if (!ng_model_tokenizer(e->model, err)) return err ? err->code : NG_EUNSUPPORTED;
    return ng_session_new(&e->session, e->model, &opt, err);
}

static ng_status open_shared(embedder *e, const ng_head_spec *spec, ng_error *err) {
    ng_status s = ng_shared_encoder_take(&e->shared, spec, err);
    if (s) return s;
    e->model = e->shared->model;
    e->session = e->shared->session;
    e->lock = &e->shared->lock;
    return NG_OK;
}

static ng_status open_head(void **self, const ng_head_spec *spec, ng_error *err) {
    embedder *e = calloc(1, sizeof *e);
    *self = NULL;
    if (!e) return ng_fail(err, NG_ENOMEM, "embedding: out of memory");
    pthread_mutex_init(&e->own_lock, NULL);
    e->lock = &e->own_lock;
    ng_status s = spec->task == NG_TASK_EMBED ? open_shared(e, spec, err) : open_own(e, spec, err);
    ng_model_info info = {0};
    if (!s) info = ng_model_get_info(e->model);
    e->n_embd = info.n_embd;
    e->n_seq_max = info.n_seq_max;
    if (!s && spec->task == NG_TASK_RERANK) s = open_scorer(e, spec, err);
    if (s) close_head(e);
    else *self = e;
    return s;
}

/* Counts a text of n tokens; `what` names it in messages ("the text", "document 3"). */
static ng_status note_text(const embedder *e, ng_answer *a, const char *what, size_t n, ng_error *err) {
    a->prompt_tokens += (uint32_t)n;
    if (n <= e->n_seq_max) return NG_OK;
    const char **list = ng_answer_alloc(a, (a->n_warnings + 1) * sizeof *list);
    char line[128];
    int m = snprintf(line, sizeof line, "%s has %zu tokens; this model embeds the first %u", what, n,
                     (unsigned)e->n_seq_max);
    const char *copy = ng_answer_strndup(a, line, (size_t)m);
    if (!list || !copy) return ng_fail(err, NG_ENOMEM, "embedding: out of memory");
    if (a->n_warnings) memcpy(list, a->warnings, a->n_warnings * sizeof *list);
    list[a->n_warnings++] = copy;
    a->warnings = list;
    return NG_OK;
}

/* The lock is held. */
static ng_status embed_one(embedder *e, ng_answer *a, const char *what, ng_embed_text text, float *out, ng_error *err) {
    ng_error why = {0};
    if (ng_session_embed_batch(e->session, &text, 1, false, out, &why))
        return ng_fail(err, why.code, "%s: %s", what, why.text);
    return note_text(e, a, what, text.n_tokens, err);
}

/* ---- texts that will be asked for next ---------------------------------------------------------------- */

static bool take_ahead(const embedder *e, const ng_digest *text, float *out, size_t *n_tokens) {
    for (size_t i = 0; i < e->ahead.n; i++) {
        if (memcmp(&e->ahead.texts[i], text, sizeof *text)) continue;
        memcpy(out, e->ahead.vectors + i * e->n_embd, e->n_embd * sizeof *out);
        *n_tokens = e->ahead.n_tokens[i];
        return true;
    }
    return false;
}

/* The text and those after it, into `ahead`; false when that fails: then the text is embedded alone, so
 * that an error is about no other. */
static bool look_ahead(embedder *e, const char *text, size_t len, const ng_params *p) {
    ng_embed_text texts[AT_ONCE] = {{.data = text, .len = len}};
    size_t n = 1;
    e->ahead.n = 0;
    if (!e->ahead.vectors) e->ahead.vectors = malloc(AT_ONCE * (size_t)e->n_embd * sizeof(float));
    if (!e->ahead.vectors) return false;
    for (; n < AT_ONCE && n <= p->n_ahead; n++)
        texts[n] = (ng_embed_text){.data = p->ahead[n - 1].text, .len = p->ahead[n - 1].len};
    if (ng_session_embed_batch(e->session, texts, n, false, e->ahead.vectors, NULL)) return false;
    for (size_t i = 0; i < n; i++) {
        e->ahead.texts[i] = ng_digest_of(texts[i].data, texts[i].len);
        e->ahead.n_tokens[i] = texts[i].n_tokens;
    }
    e->ahead.n = n;
    return true;
}

/* The vector of the text that the shared encoder has read last, or reads now where nothing is to be computed with it. */
static bool take_read(embedder *e, const char *text, size_t len, bool others_follow, float *out, size_t *n_tokens) {
    ng_shared_encoder *x = e->shared;
    if (!x) return false;
    bool is_last = x->text && x->text_len == len && !memcmp(x->text, text, len);
    if (!is_last && (others_follow || ng_shared_encoder_read(x, text, len, NULL))) return false;
    if (x->n_all > ng_session_n_ctx(x->session)) return false; /* refused, with its counts, by who embeds it */
    memcpy(out, x->pooled, e->n_embd * sizeof *out);
    *n_tokens = x->n_all;
    return true;
}

static ng_status embed(embedder *e, ng_answer *a, const char *text, size_t len, const ng_params *p, float *out,
                       ng_error *err) {
    size_t n_tokens = 0;
    ng_digest digest = ng_digest_of(text, len);
    bool known = take_ahead(e, &digest, out, &n_tokens) || take_read(e, text, len, p->n_ahead > 0, out, &n_tokens);
    if (!known && p->n_ahead && look_ahead(e, text, len, p)) known = take_ahead(e, &digest, out, &n_tokens);
    if (known) return note_text(e, a, "the text", n_tokens, err);
    return embed_one(e, a, "the text", (ng_embed_text){.data = text, .len = len}, out, err);
}

/* ---- rerank --------------------------------------------------------------------------------------------- */

static int best_first(const void *a, const void *b) {
    const ng_ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* The best window of a document; one without words is a window of its own. */
static ng_status score_windows(embedder *e, ng_text_pair pair, float *best, size_t *n_tok, ng_error *err) {
    const char *document = pair.b;
    size_t len = pair.b_len, pos = 0;
    ng_status s = NG_OK;
    *best = -1;
    for (bool more = true; more && !s;) {
        ng_span one, all = {len, len};
        size_t n = 0;
        float p = 0;
        while (n < WINDOW && (more = ng_sentence_next(document, len, &pos, &one))) {
            if (!n++) all.start = one.start;
            all.end = one.end;
        }
        if (!n && *best >= 0) break;
        pair.b = document + all.start, pair.b_len = all.end - all.start;
        s = ng_pair_score(&e->scorer, &pair, &p, n_tok, err);
        *best = p > *best ? p : *best;
    }
    return s;
}

static ng_status rerank_pairs(embedder *e, const ng_params *p, ng_answer *a, const char *query, size_t len,
                              ng_error *err) {
    ng_status s = NG_OK;
    size_t n_tok = 0;
    a->results = ng_answer_alloc(a, (p->n_documents + 1) * sizeof *a->results);
    if (!a->results) return ng_fail(err, NG_ENOMEM, "rerank: out of memory");
    for (size_t i = 0; !s && i < p->n_documents; i++) {
        float best;
        ng_error why = {0};
        if ((s = score_windows(e, (ng_text_pair){query, len, p->documents[i], strlen(p->documents[i])}, &best, &n_tok,
                               &why)))
            return ng_fail(err, s, "document %zu: %s", i, why.text);
        a->results[i] = (ng_ranked){i, best};
    }
    a->prompt_tokens = (uint32_t)n_tok;
    a->n_results = p->n_documents;
    qsort(a->results, a->n_results, sizeof *a->results, best_first);
    return NG_OK;
}

static ng_status score(embedder *e, const ng_params *p, ng_answer *a, const float *query, size_t from, size_t n,
                       float *v, ng_error *err) {
    ng_embed_text texts[AT_ONCE];
    ng_error why = {0};
    char what[40];
    for (size_t i = 0; i < n; i++)
        texts[i] = (ng_embed_text){.data = p->documents[from + i], .len = strlen(p->documents[from + i])};
    ng_status s = ng_session_embed_batch(e->session, texts, n, false, v, &why);
    for (size_t i = 0; i < n; i++) {
        snprintf(what, sizeof what, "document %zu", from + i);
        if (s && texts[i].failed) return ng_fail(err, s, "%s: %s", what, why.text);
        if (s) continue;
        double dot = 0;
        for (uint32_t k = 0; k < e->n_embd; k++) dot += (double)query[k] * (double)v[i * e->n_embd + k];
        a->results[from + i] = (ng_ranked){from + i, (float)dot};
        ng_status noted = note_text(e, a, what, texts[i].n_tokens, err);
        if (noted) return noted;
    }
    return s ? ng_fail(err, s, "rerank: %s", why.text) : NG_OK;
}

static ng_status rerank(embedder *e, const ng_params *p, ng_answer *a, const float *query, ng_error *err) {
    float *v = malloc(AT_ONCE * (size_t)e->n_embd * sizeof *v);
    a->results = ng_answer_alloc(a, (p->n_documents + 1) * sizeof *a->results);
    ng_status s = v && a->results ? NG_OK : ng_fail(err, NG_ENOMEM, "rerank: out of memory");
    for (size_t i = 0; !s && i < p->n_documents; i += AT_ONCE)
        s = score(e, p, a, query, i, p->n_documents - i < AT_ONCE ? p->n_documents - i : AT_ONCE, v, err);
    free(v);
    if (s) return s;
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
    if (req->task == NG_TASK_RERANK && e->scorer.head) {
        pthread_mutex_lock(e->lock);
        s = rerank_pairs(e, &req->params, a, text, len, err);
        pthread_mutex_unlock(e->lock);
        return s;
    }
    float *v = ng_answer_alloc(a, e->n_embd * sizeof *v);
    if (!v) return ng_fail(err, NG_ENOMEM, "embedding: out of memory");
    pthread_mutex_lock(e->lock);
    if (req->task == NG_TASK_EMBED) s = embed(e, a, text, len, &req->params, v, err);
    else s = embed_one(e, a, "the query", (ng_embed_text){.data = text, .len = len}, v, err);
    if (!s && req->task == NG_TASK_RERANK) s = rerank(e, &req->params, a, v, err);
    pthread_mutex_unlock(e->lock);
    if (!s && req->task == NG_TASK_EMBED) a->embedding = v, a->n_embedding = e->n_embd;
    return s;
}

const ng_head_ops ng_head_embedding = {"embedding", serves, open_head, apply, close_head};
