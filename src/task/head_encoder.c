/* head_encoder.c: heads that stand on a shared encoder: classify, moderate, detect-language, extract.  See
 * model/encoder_heads.h.  Entities of a head come with those that rules find (pii.h).
 * An encoder that was not tuned for labels of its own (no heads, or one of the task embed among them) also classifies
 * by labels that the request brings: by the cosines of the text's and the labels' vectors.
 *
 * Heads of one file share one encoder (shared_encoder.h). */
#include "decide.h"
#include "head_ops.h"

#include "core/math.h"
#include "entities.h"
#include "model/encoder_text.h"
#include "model/token_spans.h"
#include "pii.h"
#include "shared_encoder.h"
#include <math.h>
#include <nanogrid/buf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct encoder_head {
    ng_shared_encoder *e;
    const ng_encoder_head *head;
} encoder_head;

static bool serves(ng_task task, const char *arch) {
    return !strcmp(arch, "bert") && (task == NG_TASK_CLASSIFY || task == NG_TASK_MODERATE ||
                                     task == NG_TASK_DETECT_LANGUAGE || task == NG_TASK_EXTRACT);
}

/* ---- one head ----------------------------------------------------------------------------------- */

static void close_head(void *self) {
    encoder_head *h = self;
    ng_shared_encoder_give(h->e);
    free(h);
}

static ng_status choose(encoder_head *h, const ng_head_spec *spec, ng_error *err) {
    const char *task = ng_task_name(spec->task);
    if (!spec->head && !h->e->heads.len && spec->task == NG_TASK_CLASSIFY) return NG_OK; /* zero-shot alone */
    ng_status s = ng_encoder_heads_choose(&h->head, &h->e->heads, spec->path, task, spec->head, err);
    if (s) return s;
    if (h->head->pair)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: head '%s' reads pairs of texts, and a request of the task %s has one",
                       spec->path, h->head->name, task);
    return NG_OK;
}

static ng_status open_head(void **self, const ng_head_spec *spec, ng_error *err) {
    encoder_head *h = calloc(1, sizeof *h);
    *self = NULL;
    if (!h) return ng_fail(err, NG_ENOMEM, "%s: out of memory", spec->path);
    ng_status s = ng_shared_encoder_take(&h->e, spec, err);
    if (!s && (s = choose(h, spec, err))) ng_shared_encoder_give(h->e);
    if (s) free(h);
    else *self = h;
    return s;
}

static ng_status warn_cut(const ng_shared_encoder *e, ng_answer *a) {
    char line[128];
    if (e->n_all <= e->n_most) return NG_OK;
    int n = snprintf(line, sizeof line, "the text has %zu tokens; this model reads the first %zu", e->n_all, e->n_most);
    const char **list = ng_answer_alloc(a, (a->n_warnings + 1) * sizeof *list),
               *copy = ng_answer_strndup(a, line, (size_t)n);
    if (!list || !copy) return NG_ENOMEM;
    if (a->n_warnings) memcpy(list, a->warnings, a->n_warnings * sizeof *list);
    list[a->n_warnings++] = copy;
    a->warnings = list;
    return NG_OK;
}

/* ---- zero-shot ---------------------------------------------------------------------------------- */

/* Softmax over cosines: differences of a tenth decide.  Not calibrated, so the answer has no confidence. */
static const float ZERO_SHOT_SCALE = 1 / 0.05f;

static bool gives_vectors(const ng_shared_encoder *e) {
    return !e->heads.len || ng_encoder_heads_first(&e->heads, "embed");
}

static ng_status read_labels(ng_shared_encoder *e, const ng_params *p, ng_error *err) {
    size_t len = 0;
    for (size_t i = 0; i < p->n_labels; i++) len += strlen(p->labels[i]) + 1;
    char *joined = malloc(len + 1), *at = joined;
    if (!joined) return ng_fail(err, NG_ENOMEM, "encoder: out of memory");
    for (size_t i = 0; i < p->n_labels; i++)
        at = (char *)memcpy(at, p->labels[i], strlen(p->labels[i]) + 1) + strlen(p->labels[i]) + 1;
    if (e->labels && e->labels_len == len && !memcmp(e->labels, joined, len)) return free(joined), NG_OK;
    free(e->labels);
    e->labels = NULL;
    float *v = realloc(e->label_vectors, p->n_labels * e->width * sizeof *v);
    ng_status s = v ? NG_OK : ng_fail(err, NG_ENOMEM, "encoder: out of memory");
    if (v) e->label_vectors = v;
    for (size_t i = 0; !s && i < p->n_labels; i++) {
        ng_buf text = ng_buf_init(1 << 20); /* "credit_card" is two words */
        s = ng_buf_puts(&text, p->labels[i]);
        for (size_t k = 0; !s && k < text.len; k++)
            if (text.data[k] == '_') text.data[k] = ' ';
        s = s ? ng_fail(err, s, "labels: out of memory")
              : ng_session_embed(e->session, text.data, text.len, true, v + i * e->width, NULL, err);
        ng_buf_clear(&text);
    }
    if (s) return free(joined), s;
    e->labels = joined;
    e->labels_len = len;
    return NG_OK;
}

static ng_status zero_shot(ng_shared_encoder *e, const ng_tier_request *req, const char *text, size_t len, ng_answer *a,
                           ng_error *err) {
    size_t n = req->params.n_labels, n_tokens = 0;
    float *p = ng_answer_alloc(a, n * sizeof *p), *v = ng_answer_alloc(a, e->width * sizeof *v);
    if (!p || !v) return ng_fail(err, NG_ENOMEM, "encoder: out of memory");
    if (!gives_vectors(e))
        return ng_fail(err, NG_EUNSUPPORTED,
                       "labels: the encoder of this expert was tuned for labels of its own; zero-shot needs one "
                       "without heads or with one of the task embed");
    pthread_mutex_lock(&e->lock);
    ng_status s = read_labels(e, &req->params, err);
    if (!s) s = ng_session_embed(e->session, text, len, true, v, &n_tokens, err);
    for (size_t i = 0; !s && i < n; i++) {
        double dot = 0;
        for (size_t c = 0; c < e->width; c++) dot += (double)v[c] * (double)e->label_vectors[i * e->width + c];
        p[i] = (float)dot;
    }
    pthread_mutex_unlock(&e->lock);
    if (s) return s;
    a->prompt_tokens = (uint32_t)n_tokens;
    ng_softmax(p, p, n, ZERO_SHOT_SCALE);
    ng_decider d = {.n = n, .label = req->params.labels};
    return ng_decide(&d, p, req->params.top_k, a) ? ng_fail(err, NG_ENOMEM, "encoder: out of memory") : NG_OK;
}

/* ---- extract ------------------------------------------------------------------------------------ */

/* Whether the head tags entities of the kind. */
static bool has_kind(const ng_encoder_head *h, const char *kind) {
    for (size_t i = 1; i < h->n_labels; i++)
        if (!strcmp(h->labels[i] + 2, kind)) return true;
    return false;
}

/* The rules that are asked for; NG_EINVALID names a type that neither they nor the head know. */
static ng_status wanted_rules(uint32_t *mask, const ng_encoder_head *h, const ng_params *p, ng_error *err) {
    *mask = p->n_types ? 0 : NG_PII_ALL;
    for (size_t i = 0; i < p->n_types; i++) {
        ng_pii_type type;
        if (ng_pii_parse(&type, p->types[i])) *mask |= 1u << type;
        else if (!has_kind(h, p->types[i])) {
            ng_buf own = ng_buf_init(4096);
            for (size_t k = 1; k < h->n_labels; k += 2) ng_buf_printf(&own, "%s, ", h->labels[k] + 2);
            ng_status s = ng_fail(err, NG_EINVALID, "types: '%.40s' is not found by this expert; it finds %s%s",
                                  p->types[i], own.len ? own.data : "", ng_pii_labels());
            ng_buf_clear(&own);
            return s;
        }
    }
    return NG_OK;
}

static bool is_wanted(const ng_params *p, const char *kind) {
    for (size_t i = 0; i < p->n_types; i++)
        if (!strcmp(p->types[i], kind)) return true;
    return !p->n_types;
}

static ng_status put_entities(ng_answer *a, const ng_tagging *t, const encoder_head *h, const ng_params *p,
                              ng_error *err) {
    ng_tag_span *spans = ng_answer_alloc(a, (t->w.n_words + 1) * sizeof *spans);
    size_t n = spans ? ng_tags_to_spans(spans, t->tags, t->w.n_words, h->head->labels) : 0;
    a->entities = ng_answer_alloc(a, (n + 1) * sizeof *a->entities);
    if (!spans || !a->entities) return ng_fail(err, NG_ENOMEM, "extract: out of memory");
    for (size_t i = 0; i < n; i++) {
        size_t start = t->w.words[spans[i].first].start, end = t->w.words[spans[i].last].end;
        float p_least = 1; /* a span is as sure as its least sure word */
        if (!is_wanted(p, spans[i].kind)) continue;
        for (size_t k = spans[i].first; k <= spans[i].last; k++) p_least = t->p[k] < p_least ? t->p[k] : p_least;
        const char *kind = ng_answer_strndup(a, spans[i].kind, strlen(spans[i].kind)); /* text: when it is known what they are joined to */
        if (!kind) return ng_fail(err, NG_ENOMEM, "extract: out of memory");
        a->entities[a->n_entities++] = (ng_entity){start, end, kind, NULL, p_least};
    }
    return NG_OK;
}

static ng_status extract(encoder_head *h, const ng_tier_request *req, const char *text, size_t len, ng_answer *a,
                         ng_error *err) {
    ng_shared_encoder *e = h->e;
    ng_tagging t = {0};
    uint32_t mask;
    ng_status s = wanted_rules(&mask, h->head, &req->params, err);
    if (s) return s;
    pthread_mutex_lock(&e->lock);
    s = ng_shared_encoder_read(e, text, len, err);
    ng_tag_source src = {e->session, ng_model_tokenizer(e->model, NULL), h->head, e->n_most, e->hidden};
    if (!s) s = ng_tag_text(&t, &src, text, len, err);
    a->prompt_tokens = (uint32_t)e->n_all;
    pthread_mutex_unlock(&e->lock);
    if (!s) s = put_entities(a, &t, h, &req->params, err);
    if (!s) s = ng_entities_add_rules(a, mask, text, len, err);
    ng_tagging_clear(&t);
    if (s) return s;
    if (req->params.offsets_chars) ng_entities_to_chars(a->entities, a->n_entities, text, len);
    a->task = NG_TASK_EXTRACT;
    a->confidence = NAN; /* of words, not of what was missed */
    a->in_scope = true;
    return NG_OK;
}

static ng_status apply(void *self, const ng_tier_request *req, ng_answer *a, ng_error *err) {
    encoder_head *h = self;
    const ng_encoder_head *head = h->head;
    const char *text;
    size_t len;
    ng_status s = ng_request_text(req, &text, &len, err);
    if (s) return s;
    if (req->params.n_labels) return zero_shot(h->e, req, text, len, a, err);
    if (!head) return ng_fail(err, NG_EINVALID, "this expert has no labels of its own; name some (labels)");
    if (head->tokens) return extract(h, req, text, len, a, err);
    float scope = 0, *p = ng_answer_alloc(a, head->n_labels * sizeof *p);
    if (!p) return ng_fail(err, NG_ENOMEM, "encoder: out of memory");
    ng_buf reading = ng_buf_init(2 * len + 64);
    if (ng_encoder_text(&reading, head, ng_model_tokenizer(h->e->model, NULL), text, len)) {
        text = reading.data, len = reading.len;
        if (!(a->reading = ng_answer_strndup(a, text, len))) {
            ng_buf_clear(&reading);
            return ng_fail(err, NG_ENOMEM, "encoder: out of memory");
        }
    }
    pthread_mutex_lock(&h->e->lock);
    s = ng_shared_encoder_read(h->e, text, len, err);
    if (!s) {
        ng_encoder_head_logits(head, h->e->hidden, h->e->n_tok, p);
        ng_encoder_head_decide(head, p, p);
        scope = ng_encoder_head_scope(head, h->e->hidden, h->e->n_tok, p);
        a->prompt_tokens = (uint32_t)h->e->n_all;
        s = warn_cut(h->e, a);
    }
    pthread_mutex_unlock(&h->e->lock);
    ng_buf_clear(&reading);
    if (s) return s == NG_ENOMEM ? ng_fail(err, s, "encoder: out of memory") : s;
    ng_decider d = {.n = head->n_labels, .label = head->labels, .each = head->each, .calibrated = ng_encoder_head_calibrated(head),
                    .oos_threshold = head->oos_threshold, .scope = &scope, .threshold = head->threshold};
    return ng_decide(&d, p, req->params.top_k, a) ? ng_fail(err, NG_ENOMEM, "encoder: out of memory") : NG_OK;
}

const ng_head_ops ng_head_encoder = {"encoder", serves, open_head, apply, close_head};
