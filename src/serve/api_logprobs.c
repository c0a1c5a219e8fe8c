/* api_logprobs.c: see api_logprobs.h.  Events carry token ids; their texts come from the vocabulary of
 * the model file, which is read once a model and only when somebody asks (a few MiB). */
#include "serve/api_logprobs.h"

#include "core/clock.h"

#include <stdlib.h>
#include <string.h>

struct ng_api_tokenizer {
    struct ng_api_tokenizer *next;
    char *path;
    ng_tokenizer *tokenizer;
};

/* The caller holds tokenizers_lock. */
static const ng_tokenizer *load(ng_api *api, const char *path, ng_error *err) {
    for (struct ng_api_tokenizer *t = api->tokenizers; t; t = t->next)
        if (!strcmp(t->path, path)) return t->tokenizer;
    struct ng_api_tokenizer *t = calloc(1, sizeof *t);
    if (t) t->path = strdup(path);
    if (!t || !t->path) ng_fail(err, NG_ENOMEM, "out of memory");
    if (err->code || ng_tokenizer_open(&t->tokenizer, path, err)) {
        if (t) free(t->path);
        free(t);
        return NULL;
    }
    t->next = api->tokenizers;
    api->tokenizers = t;
    return t->tokenizer;
}

bool ng_logprobs_tokenizer(const ng_tokenizer **out, ng_call *c, const char *model) {
    bool any = !model || !strcmp(model, "auto");
    const char *path = NULL;
    *out = NULL;
    for (size_t i = 0, n = ng_grid_n_entries(c->grid); i < n; i++) {
        ng_grid_entry e = ng_grid_get_entry(c->grid, i);
        if (e.upstream || e.task != NG_TASK_GENERATE || !e.model_path ||
            (!any && strcmp(e.name, model)))
            continue;
        if (path && strcmp(path, e.model_path))
            return ng_problem_set(
                &c->problem, 400, "invalid_value", "logprobs",
                "logprobs need a named model where the grid has several chat models");
        path = e.model_path;
    }
    if (!path) return true;
    ng_error err = {0};
    uint64_t begin = ng_clock_ns();
    pthread_mutex_lock(&c->api->tokenizers_lock);
    *out = load(c->api, path, &err);
    pthread_mutex_unlock(&c->api->tokenizers_lock);
    c->expert_ns += ng_clock_ns() - begin; /* loading, as a model's is */
    return *out || ng_problem_from(&c->problem, &err);
}

void ng_logprobs_clear(ng_api *api) {
    while (api->tokenizers) {
        struct ng_api_tokenizer *t = api->tokenizers;
        api->tokenizers = t->next;
        ng_tokenizer_close(t->tokenizer);
        free(t->path);
        free(t);
    }
}

/* The members token, logprob and bytes. */
static void put_token(ng_json *j, const char *text, size_t len, float logprob) {
    ng_json_key(j, "token"), ng_json_strn(j, text, len);
    ng_json_key(j, "logprob"), ng_json_f32(j, logprob);
    ng_json_key(j, "bytes");
    ng_json_array(j);
    for (size_t i = 0; i < len; i++) ng_json_uint(j, (unsigned char)text[i]);
    ng_json_end(j);
}

void ng_logprobs_put(ng_json *j, const ng_tokenizer *t, const ng_token_event *e) {
    bool local = t != NULL;
    size_t len = e->len;
    const char *text = local ? ng_tokenizer_piece(t, e->id, &len) : e->text;
    ng_json_object(j);
    put_token(j, text, len, e->logprob);
    ng_json_key(j, "top_logprobs");
    ng_json_array(j);
    for (size_t i = 0; local && i < e->n_top; i++) {
        text = ng_tokenizer_piece(t, e->top[i].id, &len);
        ng_json_object(j);
        put_token(j, text, len, e->top[i].logprob);
        ng_json_end(j);
    }
    ng_json_end(j);
    ng_json_end(j);
}
