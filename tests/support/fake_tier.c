/* fake_tier.c: see fake_tier.h. */
#include "fake_tier.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
    char name[48];
    fake f;
} fakes[32];
static size_t n_fakes;

void fake_reset(void) {
    memset(fakes, 0, sizeof fakes);
    n_fakes = 0;
}

fake *fake_get(const char *name) {
    for (size_t i = 0; i < n_fakes; i++)
        if (!strcmp(fakes[i].name, name)) return &fakes[i].f;
    snprintf(fakes[n_fakes].name, sizeof fakes[0].name, "%s", name);
    fakes[n_fakes].f.confidence = NAN;
    return &fakes[n_fakes++].f;
}

static ng_status generate(fake *f, const ng_tier_request *req, ng_answer *a, ng_error *err) {
    char text[512] = "";
    a->finish = "stop";
    for (int i = 0; i < f->n_tokens; i++) {
        char piece[16];
        snprintf(piece, sizeof piece, "t%d ", i);
        if (f->fails && i == f->fails_after) return ng_fail(err, f->fails, "the fake broke off");
        strcat(text, piece);
        ng_token_event e = {.id = i,
                            .text = piece,
                            .len = strlen(piece),
                            .confidence = f->confidence_so_far ? f->confidence_so_far[i] : NAN};
        a->completion_tokens++;
        if (req->on_token && !req->on_token(req->on_token_ctx, &e)) {
            a->finish = "cancelled";
            break;
        }
    }
    const char *whole = f->text ? f->text : text;
    a->answer = ng_answer_strndup(a, whole, strlen(whole));
    return a->answer ? NG_OK : ng_fail(err, NG_ENOMEM, "fake: out of memory");
}

static ng_status classify(const fake *f, ng_answer *a, ng_error *err) {
    a->label = f->label ? ng_answer_strndup(a, f->label, strlen(f->label)) : NULL;
    a->scores = ng_answer_alloc(a, 5 * sizeof *a->scores);
    if (!a->scores || (f->label && !a->label))
        return ng_fail(err, NG_ENOMEM, "fake: out of memory");
    if (f->label) a->scores[a->n_scores++] = (ng_score){a->label, (float)f->confidence};
    for (int i = 0; i < 4 && f->labels[i]; i++)
        a->scores[a->n_scores++] = (ng_score){f->labels[i], f->p[i]};
    return NG_OK;
}

static ng_status extract(const fake *f, const ng_tier_request *req, ng_answer *a, ng_error *err) {
    const ng_part *p = &req->messages[req->n_messages - 1].parts[0];
    const char *at = memchr(p->text, '@', p->len);
    if (!at || !f->entity) return NG_OK;
    a->entities = ng_answer_alloc(a, sizeof *a->entities);
    if (!a->entities) return ng_fail(err, NG_ENOMEM, "fake: out of memory");
    a->entities[0] = (ng_entity){.start = (size_t)(at - p->text),
                                 .end = (size_t)(at - p->text) + 1,
                                 .label = f->entity,
                                 .text = "@",
                                 .score = 1};
    a->n_entities = 1;
    return NG_OK;
}

/* The first max_tokens words. */
static ng_status summarize(const ng_tier_request *req, ng_answer *a, ng_error *err) {
    const ng_part *p = &req->messages[req->n_messages - 1].parts[0];
    size_t len = 0, words = 0;
    for (; len < p->len && words < req->params.max_tokens; len++) words += p->text[len] == ' ';
    a->answer = ng_answer_strndup(a, p->text, len);
    return a->answer ? NG_OK : ng_fail(err, NG_ENOMEM, "fake: out of memory");
}

static ng_status moderate(const fake *f, ng_answer *a, ng_error *err) {
    a->flagged = f->flagged;
    a->reading = f->reading;
    a->categories = ng_answer_alloc(a, 4 * sizeof *a->categories);
    if (!a->categories) return ng_fail(err, NG_ENOMEM, "fake: out of memory");
    for (; a->n_categories < 4 && f->labels[a->n_categories]; a->n_categories++)
        a->categories[a->n_categories] = (ng_score){f->labels[a->n_categories], f->p[a->n_categories]};
    return NG_OK;
}

/* To this encoder all texts are alike. */
static ng_status embed(ng_answer *a, ng_error *err) {
    a->embedding = ng_answer_alloc(a, 2 * sizeof *a->embedding);
    if (!a->embedding) return ng_fail(err, NG_ENOMEM, "fake: out of memory");
    a->embedding[0] = 1, a->embedding[1] = 0;
    a->n_embedding = 2;
    return NG_OK;
}

static ng_status submit(void *self, const ng_tier_request *req, ng_answer *a, ng_error *err) {
    fake *f = self;
    f->calls++;
    f->task = req->task;
    f->n_labels = req->params.n_labels;
    if (req->expert) snprintf(f->expert, sizeof f->expert, "%s", req->expert);
    const ng_message *first = req->n_messages ? &req->messages[0] : NULL;
    snprintf(f->system, sizeof f->system, "%s", first && !strcmp(first->role, "system") ? first->parts[0].text : "");
    const ng_message *last = req->n_messages ? &req->messages[req->n_messages - 1] : NULL;
    snprintf(f->said, sizeof f->said, "%s", last && last->n_parts ? last->parts[0].text : "");
    if (f->sleep_ms) usleep((useconds_t)f->sleep_ms * 1000);
    if (f->fails && !f->fails_after) return ng_fail(err, f->fails, "the fake is down");
    a->confidence = f->confidence;
    a->in_scope = !f->out_of_scope;
    a->prompt_tokens = 10;
    switch (req->task) {
    case NG_TASK_SUMMARIZE:
        return summarize(req, a, err);
    case NG_TASK_GENERATE:
        if (f->max_bytes && req->messages[req->n_messages - 1].parts[0].len > f->max_bytes)
            return ng_fail(err, NG_ELIMIT, "the prompt is too long");
        return generate(f, req, a, err);
    case NG_TASK_EMBED:
        return embed(a, err);
    case NG_TASK_MODERATE:
        return moderate(f, a, err);
    case NG_TASK_EXTRACT:
        return extract(f, req, a, err);
    default:
        return classify(f, a, err);
    }
}

static bool healthy(void *self, const char **why) {
    const fake *f = self;
    *why = f->unhealthy;
    return !f->unhealthy;
}

static void cancel(void *self) {
    (void)self;
}

static bool at_once(void *self) {
    return ((const fake *)self)->at_once;
}

static ng_status open_head(void *ctx, ng_tier *out, const char *name, const ng_head_spec *spec,
                           ng_error *err) {
    (void)ctx, (void)spec, (void)err;
    *out = (ng_tier){fake_get(name), submit, healthy, cancel, cancel, NULL, at_once};
    return NG_OK;
}

static ng_status calibrate(void *ctx, double *threshold, const char *path, double max_error,
                           ng_error *err) {
    (void)ctx, (void)max_error;
    if (strstr(path, "uncalibrated"))
        return ng_fail(err, NG_ENOTFOUND, "%s has no calibration set", path);
    *threshold = 0.8;
    return NG_OK;
}

static bool file_exists(const char *path) {
    if (strstr(path, ".vector.gguf")) return !access(path, R_OK); /* read for real */
    return !strstr(path, "missing") && (!strstr(path, "/route.gguf") || strstr(path, "/composed/"));
}

/* A calibration set of confidences from 0.5 to 1. */
static ng_status watch(void *ctx, ng_drift **out, const char *path, ng_error *err) {
    float c[500];
    (void)ctx, (void)path;
    for (int i = 0; i < 500; i++) c[i] = 0.5f + (float)i / 1000;
    return ng_drift_new(out, c, 500, err);
}

const grid_hooks fake_hooks = {
    .open_head = open_head, .calibrate = calibrate, .watch = watch, .file_exists = file_exists, .one_by_one = true};

ng_status fake_open_upstream(ng_tier *out, const ng_upstream_config *c, ng_error *err) {
    return open_head(NULL, out, c->name, NULL, err);
}
