/* head_extractive.c: the task summarize by choosing sentences, and by leaving words out of a single one.
 *
 * Holds one immutable model, and the shortener.gguf that may stand beside it; any thread may apply it.  Or an encoder with a
 * head that was trained for it (model/pair_score.h), a pass a sentence; one session, one lock: calls queue.  The answer has no confidence: whether a summary
 * is right has no calibration set here. */
#include "head_ops.h"

#include "core/file.h"
#include "gguf/gguf.h"
#include "summary.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUMMARY_BYTES_MAX = 4 << 20 };

static bool extractive_serves(ng_task task, const char *arch) {
    return task == NG_TASK_SUMMARIZE && (!strcmp(arch, "nanogrid-extractive") || !strcmp(arch, "bert"));
}

typedef struct summariser {
    ng_extractive *model;    /* NULL: the encoder */
    ng_shortener *shortener; /* NULL: none */
    ng_model *encoder;
    ng_session *session;     /* the encoder's */
    ng_encoder_heads heads;
    pthread_mutex_t lock;    /* guards the scorer and its session */
    ng_pair_scorer pairs;
} summariser;

static void extractive_close(void *self) {
    summariser *h = self;
    ng_extractive_close(h->model);
    ng_shortener_close(h->shortener);
    ng_session_free(h->session);
    ng_encoder_heads_close(&h->heads);
    ng_model_close(h->encoder);
    ng_pair_scorer_clear(&h->pairs);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static bool is_encoder(const char *path) {
    ng_gguf *g;
    ng_str arch;
    if (ng_gguf_open(&g, path, NULL)) return false;
    bool is =
        !ng_gguf_get_str(g, "general.architecture", &arch, NULL) && arch.len == 4 && !memcmp(arch.data, "bert", 4);
    ng_gguf_close(g);
    return is;
}

static ng_status open_encoder(summariser *h, const ng_head_spec *spec, ng_error *err) {
    ng_session_options opt = {.n_threads = spec->n_threads};
    const ng_encoder_head *head = NULL;
    ng_status s = ng_model_open_adapted(&h->encoder, spec->path, spec->adapter, spec->adapter_scale, err);
    if (!s) s = ng_encoder_heads_open(&h->heads, h->encoder, err);
    if (!s) s = ng_encoder_heads_choose(&head, &h->heads, spec->path, "summarize", spec->head, err);
    if (!s) s = ng_session_new(&h->session, h->encoder, &opt, err);
    return s ? s : ng_pair_scorer_init(&h->pairs, h->session, head, err);
}

static ng_status extractive_open(void **self, const ng_head_spec *spec, ng_error *err) {
    char beside[4096];
    const char *slash = strrchr(spec->path, '/');
    int n =
        snprintf(beside, sizeof beside, "%.*sshortener.gguf", (int)(slash ? slash - spec->path + 1 : 0), spec->path);
    summariser *h = calloc(1, sizeof *h);
    if (!h) return ng_fail(err, NG_ENOMEM, "summarize: out of memory");
    pthread_mutex_init(&h->lock, NULL);
    ng_status s = is_encoder(spec->path) ? open_encoder(h, spec, err) : ng_extractive_open(&h->model, spec->path, err);
    if (!s && n > 0 && (size_t)n < sizeof beside && ng_file_exists(beside))
        s = ng_shortener_open(&h->shortener, beside, err);
    if (s) extractive_close(h);
    else *self = h;
    return s;
}

static ng_status warn_cut(ng_answer *a, ng_error *err) {
    static const char text[] = "max_tokens is smaller than every sentence: of the best one words were left out";
    a->warnings = ng_answer_alloc(a, sizeof *a->warnings);
    if (!a->warnings) return ng_fail(err, NG_ENOMEM, "summarize: out of memory");
    a->warnings[0] = text;
    a->n_warnings = 1;
    return NG_OK;
}

static ng_status extractive_apply(void *self, const ng_tier_request *req, ng_answer *answer, ng_error *err) {
    const char *text;
    size_t len;
    bool cut = false;
    ng_buf out = ng_buf_init(SUMMARY_BYTES_MAX);
    summariser *h = self;
    const ng_summary_judge judge = {h->model, h->model ? NULL : &h->pairs};
    const ng_summary_options opt = {req->params.max_sentences, req->params.max_tokens, h->shortener};
    ng_status s = ng_request_text(req, &text, &len, err);
    if (!s && len > SUMMARY_BYTES_MAX)
        s = ng_fail(err, NG_ELIMIT, "summarize: the text has %zu bytes; at most %d are taken", len, SUMMARY_BYTES_MAX);
    if (!h->model) pthread_mutex_lock(&h->lock);
    if (!s) s = ng_summarize(&out, &judge, text, len, &opt, &cut, err);
    if (!h->model) pthread_mutex_unlock(&h->lock);
    if (!s && cut) s = warn_cut(answer, err);
    if (!s) {
        answer->answer = ng_answer_strndup(answer, out.data, out.len);
        if (!answer->answer) s = ng_fail(err, NG_ENOMEM, "summarize: out of memory");
    }
    ng_buf_clear(&out);
    if (s) return s;
    answer->task = NG_TASK_SUMMARIZE;
    answer->prompt_tokens = ng_words_count(text, len);
    answer->confidence = NAN;
    answer->in_scope = true;
    return NG_OK;
}

const ng_head_ops ng_head_extractive = {"extractive", extractive_serves, extractive_open, extractive_apply,
                                        extractive_close};
