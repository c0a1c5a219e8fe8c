/* shared_encoder.c: see shared_encoder.h. */
#include "shared_encoder.h"

#include "core/file.h"
#include <stdlib.h>
#include <string.h>

static ng_shared_encoder *all;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static void encoder_free(ng_shared_encoder *e) {
    ng_session_free(e->session);
    ng_encoder_heads_close(&e->heads);
    ng_model_close(e->model);
    pthread_mutex_destroy(&e->lock);
    free(e->hidden);
    free(e->pooled);
    free(e->text);
    free(e->labels);
    free(e->label_vectors);
    free(e->path);
    free(e->adapter);
    free(e);
}

static ng_status encoder_open(ng_shared_encoder **out, const ng_head_spec *spec, ng_error *err) {
    const char *path = spec->path;
    ng_shared_encoder *e = calloc(1, sizeof *e);
    ng_session_options opt = {.n_threads = spec->n_threads};
    *out = NULL;
    if (!e) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    pthread_mutex_init(&e->lock, NULL);
    e->path = strdup(path);
    e->adapter = spec->adapter ? strdup(spec->adapter) : NULL;
    e->scale = spec->adapter_scale;
    ng_status s = e->path && !e->adapter == !spec->adapter ? NG_OK : ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    if (!s) s = ng_model_open_adapted(&e->model, path, e->adapter, e->scale, err);
    ng_model_info info = {0};
    if (!s) info = ng_model_get_info(e->model);
    if (!s && info.kind != NG_MODEL_ENCODER)
        s = ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%s' is no encoder and cannot serve the task %s", path, info.arch,
                    ng_task_name(spec->task));
    if (!s) s = ng_encoder_heads_open(&e->heads, e->model, err);
    if (!s && !ng_model_tokenizer(e->model, err)) s = err ? err->code : NG_EUNSUPPORTED;
    if (!s) s = ng_session_new(&e->session, e->model, &opt, err);
    if (!s) {
        e->width = info.n_embd;
        e->n_most = ng_session_n_seq(e->session);
        e->hidden = malloc(e->n_most * e->width * sizeof *e->hidden);
        e->pooled = malloc(e->width * sizeof *e->pooled);
        if (!e->hidden || !e->pooled)
            s = ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    }
    if (s) encoder_free(e);
    else *out = e;
    return s;
}

/* Files by path; one that has changed is another. */
static bool is_same(const ng_shared_encoder *e, const ng_head_spec *spec, uint64_t bytes, int64_t changed) {
    bool adapter = !e->adapter || !spec->adapter
                       ? !e->adapter == !spec->adapter
                       : !strcmp(e->adapter, spec->adapter) && e->scale == spec->adapter_scale;
    return adapter && !strcmp(e->path, spec->path) && e->bytes == bytes && e->changed_s == changed;
}

ng_status ng_shared_encoder_take(ng_shared_encoder **out, const ng_head_spec *spec, ng_error *err) {
    uint64_t bytes = 0;
    int64_t changed = 0;
    (void)ng_file_stat(spec->path, &bytes, &changed);
    ng_status s = NG_OK;
    pthread_mutex_lock(&all_lock);
    ng_shared_encoder *e = all;
    while (e && !is_same(e, spec, bytes, changed)) e = e->next;
    if (!e && !(s = encoder_open(&e, spec, err))) {
        e->bytes = bytes;
        e->changed_s = changed;
        e->next = all;
        all = e;
    }
    if (e) e->n_users++;
    pthread_mutex_unlock(&all_lock);
    *out = e;
    return s;
}

void ng_shared_encoder_give(ng_shared_encoder *e) {
    pthread_mutex_lock(&all_lock);
    if (--e->n_users == 0) {
        ng_shared_encoder **at = &all;
        while (*at != e) at = &(*at)->next;
        *at = e->next;
        encoder_free(e);
    }
    pthread_mutex_unlock(&all_lock);
}

ng_status ng_shared_encoder_read(ng_shared_encoder *e, const char *text, size_t len, ng_error *err) {
    int32_t *ids;
    size_t n;
    if (e->text && e->text_len == len && !memcmp(e->text, text, len)) return NG_OK;
    free(e->text);
    e->text = NULL;
    ng_status s = ng_tokenize(ng_model_tokenizer(e->model, NULL), text, len,
                              &(ng_tokenize_options){.add_special = true}, &ids, &n, err);
    if (s) return s;
    e->n_all = n;
    if (n > e->n_most) {
        ids[e->n_most - 1] = ids[n - 1]; /* the closing [SEP] */
        n = e->n_most;
    }
    s = ng_session_hidden_pooled(e->session, ids, n, e->hidden, e->pooled, err);
    free(ids);
    if (s) return s;
    e->n_tok = n;
    e->text_len = len;
    e->text = malloc(len + 1);
    if (!e->text) return ng_fail(err, NG_ENOMEM, "encoder: out of memory");
    memcpy(e->text, text, len);
    return NG_OK;
}
