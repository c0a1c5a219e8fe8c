/* head_linear.c: linear models as heads for classify, moderate and detect-language.  See model/linear.h.
 *
 * A model is immutable, a scratch belongs to one thread at a time: idle scratches wait in a short list
 * under a lock, and a caller that finds none makes one.  So nothing is allocated once as many exist as
 * threads ask at the same time, and threads do not wait for each other's texts.
 *
 * The confidence is the calibrated probability that the answer is right: of the best label, or for
 * moderate of the decision to flag or not.  It is NaN for a model without calibration. */
#include "head_ops.h"

#include "model/linear.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { IDLE_MAX = 16, SCORES_DEFAULT = 5 };

typedef struct linear_head {
    ng_linear *model;
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
    free(h);
}

static ng_status open_head(void **self, const ng_head_spec *spec, ng_error *err) {
    if (spec->head)
        return ng_fail(err, NG_EINVALID, "%s: a linear model has no heads to choose from ('%s')", spec->path, spec->head);
    linear_head *h = calloc(1, sizeof *h);
    if (!h) return ng_fail(err, NG_ENOMEM, "%s: out of memory", spec->path);
    ng_status s = ng_linear_open(&h->model, spec->path, err);
    if (!s && strcmp(ng_linear_task(h->model), ng_task_name(spec->task)) != 0)
        s = ng_fail(err, NG_EINVALID, "%s: the model was trained for the task %s, not %s", spec->path,
                    ng_linear_task(h->model), ng_task_name(spec->task));
    if (s) {
        ng_linear_close(h->model);
        free(h);
        return s;
    }
    pthread_mutex_init(&h->lock, NULL);
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

/* The best `want` labels, best first; of equal ones the earlier label. */
static size_t best_labels(const linear_head *h, const float *p, size_t want, ng_score *out) {
    size_t n = 0, all = ng_linear_n_labels(h->model);
    for (size_t i = 0; i < all; i++) {
        if (n == want && !(p[i] > out[n - 1].p)) continue;
        size_t at = n < want ? n++ : n - 1;
        for (; at > 0 && p[i] > out[at - 1].p; at--) out[at] = out[at - 1];
        out[at] = (ng_score){ng_linear_label(h->model, i), p[i]};
    }
    return n;
}

/* Labels belong to the model, which may be closed before the answer: they are copied. */
static ng_status own_labels(ng_answer *a, ng_score *scores, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(scores[i].label = ng_answer_strndup(a, scores[i].label, strlen(scores[i].label)))) return NG_ENOMEM;
    return NG_OK;
}

static ng_status answer_one(linear_head *h, const float *p, size_t want, ng_answer *a) {
    size_t all = ng_linear_n_labels(h->model);
    if (want > all) want = all;
    a->scores = ng_answer_alloc(a, want * sizeof *a->scores);
    if (!a->scores) return NG_ENOMEM;
    a->n_scores = best_labels(h, p, want, a->scores);
    if (own_labels(a, a->scores, a->n_scores)) return NG_ENOMEM;
    a->in_scope = a->scores[0].p >= ng_linear_oos_threshold(h->model);
    a->label = a->in_scope ? a->scores[0].label : NULL;
    if (ng_linear_calibrated(h->model)) a->confidence = (double)a->scores[0].p;
    return NG_OK;
}

static ng_status answer_each(linear_head *h, const float *p, ng_answer *a) {
    size_t n = ng_linear_n_labels(h->model);
    float top = 0; /* the greatest probability among the labels that decide */
    a->categories = ng_answer_alloc(a, n * sizeof *a->categories);
    if (!a->categories) return NG_ENOMEM;
    a->n_categories = n;
    for (size_t i = 0; i < n; i++) {
        bool holds = p[i] >= ng_linear_threshold(h->model, i);
        a->categories[i] = (ng_score){ng_linear_label(h->model, i), p[i]};
        if (holds && !a->flagged) top = 0;
        a->flagged |= holds;
        if (holds == a->flagged && p[i] > top) top = p[i];
    }
    if (ng_linear_calibrated(h->model)) a->confidence = a->flagged ? (double)top : 1 - (double)top;
    return own_labels(a, a->categories, n);
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
    if (!s && ng_linear_multi_label(h->model)) s = answer_each(h, p, answer);
    else if (!s) s = answer_one(h, p, req->params.top_k ? req->params.top_k : SCORES_DEFAULT, answer);
    answer->prompt_tokens = ng_words_count(text, len);
    return s == NG_ENOMEM ? ng_fail(err, s, "linear model: out of memory") : s;
}

const ng_head_ops ng_head_linear = {"linear", serves, open_head, apply, close_head};
