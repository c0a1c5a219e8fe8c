/* head_linear.c: linear models as heads for classify, moderate and detect-language.  See model/linear.h.
 *
 * A model is immutable, a scratch belongs to one thread at a time: idle scratches wait in a short list
 * under a lock, and a caller that finds none makes one.  So nothing is allocated once as many exist as
 * threads ask at the same time, and threads do not wait for each other's texts.
 */
#include "decide.h"
#include "head_ops.h"

#include "model/linear.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { IDLE_MAX = 16 };

typedef struct linear_head {
    ng_linear *model;
    ng_decider decider;
    const char **labels; /* [n], the model's */
    float *thresholds;
    pthread_mutex_t lock;
    ng_linear_scratch *idle[IDLE_MAX]; /* [n_idle], guarded by lock */
    size_t n_idle;
} linear_head;

static bool serves(ng_task task, const char *arch) {
    return !strcmp(arch, "nanogrid-linear") &&
           (task == NG_TASK_CLASSIFY || task == NG_TASK_MODERATE || task == NG_TASK_DETECT_LANGUAGE);
}

static void close_head(void *self) {
    linear_head *h = self;
    for (size_t i = 0; i < h->n_idle; i++) ng_linear_scratch_free(h->idle[i]);
    pthread_mutex_destroy(&h->lock);
    ng_linear_close(h->model);
    free(h->labels);
    free(h->thresholds);
    free(h);
}

static ng_status make_decider(linear_head *h) {
    size_t n = ng_linear_n_labels(h->model);
    h->labels = malloc(n * sizeof *h->labels);
    h->thresholds = malloc(n * sizeof *h->thresholds);
    if (!h->labels || !h->thresholds) return NG_ENOMEM;
    for (size_t i = 0; i < n; i++) h->labels[i] = ng_linear_label(h->model, i);
    for (size_t i = 0; i < n; i++) h->thresholds[i] = ng_linear_threshold(h->model, i);
    h->decider = (ng_decider){n, h->labels, ng_linear_multi_label(h->model), ng_linear_calibrated(h->model),
                              ng_linear_oos_threshold(h->model), h->thresholds};
    return NG_OK;
}

static ng_status open_head(void **self, const ng_head_spec *spec, ng_error *err) {
    if (spec->head)
        return ng_fail(err, NG_EINVALID, "%s: a linear model has no heads to choose from ('%s')", spec->path,
                       spec->head);
    linear_head *h = calloc(1, sizeof *h);
    if (!h) return ng_fail(err, NG_ENOMEM, "%s: out of memory", spec->path);
    ng_status s = ng_linear_open(&h->model, spec->path, err);
    if (!s && strcmp(ng_linear_task(h->model), ng_task_name(spec->task)) != 0)
        s = ng_fail(err, NG_EINVALID, "%s: the model was trained for the task %s, not %s", spec->path,
                    ng_linear_task(h->model), ng_task_name(spec->task));
    if (!s && make_decider(h)) s = ng_fail(err, NG_ENOMEM, "%s: out of memory", spec->path);
    pthread_mutex_init(&h->lock, NULL);
    if (s) {
        close_head(h);
        return s;
    }
    *self = h;
    return NG_OK;
}

static ng_status take_scratch(linear_head *h, ng_linear_scratch **out, ng_error *err) {
    *out = NULL;
    pthread_mutex_lock(&h->lock);
    if (h->n_idle) *out = h->idle[--h->n_idle];
    pthread_mutex_unlock(&h->lock);
    return *out ? NG_OK : ng_linear_scratch_new(out, h->model, err);
}

static void give_scratch(linear_head *h, ng_linear_scratch *s) {
    pthread_mutex_lock(&h->lock);
    bool kept = h->n_idle < IDLE_MAX;
    if (kept) h->idle[h->n_idle++] = s;
    pthread_mutex_unlock(&h->lock);
    if (!kept) ng_linear_scratch_free(s);
}

static ng_status apply(void *self, const ng_tier_request *req, ng_answer *answer, ng_error *err) {
    linear_head *h = self;
    const char *text;
    size_t len;
    ng_linear_scratch *scratch;
    ng_status s = ng_request_text(req, &text, &len, err);
    if (!s && req->params.n_labels)
        s = ng_fail(err, NG_EUNSUPPORTED, "labels: this expert has its own labels; zero-shot labels are not served");
    if (s || (s = take_scratch(h, &scratch, err))) return s;
    float *p = ng_answer_alloc(answer, ng_linear_n_labels(h->model) * sizeof *p);
    if (!p) s = NG_ENOMEM;
    else if (req->features)
        s = ng_linear_apply_recorded(h->model, scratch, req->features, req->features_len, p, err);
    else s = ng_linear_apply(h->model, scratch, text, len, p, err);
    give_scratch(h, scratch);
    if (!s) s = ng_decide(&h->decider, p, req->params.top_k, answer);
    answer->prompt_tokens = ng_words_count(text, len);
    return s == NG_ENOMEM ? ng_fail(err, s, "linear model: out of memory") : s;
}

const ng_head_ops ng_head_linear = {"linear", serves, open_head, apply, close_head};
