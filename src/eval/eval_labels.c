/* eval_labels.c: figures of probabilities over labels: classify, detect-language, moderate.  See eval_labels.h.
 *
 * Every figure comes from the calibrated probabilities of the file as it is shipped.  A text counts as
 * right when its best label is the gold one; for moderate, when flagged or not is right, judged over
 * the labels that the text's source knows about.  Texts of the test set that also stand in training
 * or dev (but for case and punctuation) are counted, and the accuracy without them stands beside the
 * other ("unseen").
 *
 * scores.gguf keeps (confidence, correct, predicted, gold) of the calibration half of dev, on which
 * nothing was fitted, and of the test set; gold -1 is out of scope. */
#include "eval_labels.h"

#include "core/clock.h"
#include "core/budget.h"
#include "gguf/gguf.h"
#include "figures.h"
#include "route/escalation.h"
#include "train/data.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 15, CONFUSION_LABELS_MAX = 10 };

/* What the model says of one set of texts. */
typedef struct scored {
    ng_dataset data;
    size_t n, n_labels;
    float *p;          /* [n, n_labels] */
    float *confidence; /* [n] */
    float *scope;      /* [n] */
    uint8_t *correct;  /* [n]; of moderate: the decision */
    int32_t *gold, *predicted; /* [n]; of moderate: 1 flagged, 0 not */
} scored;

typedef struct evaluation {
    ng_eval_result *out;
    ng_error *err;
    ng_arena *arena;
    ng_recipe recipe;
    ng_labels labels;
    const ng_subject *subject;
    scored test, calibration, oos;
} evaluation;

static ng_status no_memory(const evaluation *e) {
    return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->recipe.path);
}

static float threshold_of(const evaluation *e, size_t label) {
    return e->subject->threshold ? e->subject->threshold[label] : 0.5f;
}

/* ---- scores ------------------------------------------------------------------------------------- */

static void judge_one(scored *s, size_t i) {
    const float *p = s->p + i * s->n_labels;
    size_t best = 0;
    for (size_t c = 1; c < s->n_labels; c++)
        if (p[c] > p[best]) best = c;
    s->predicted[i] = (int32_t)best;
    s->gold[i] = s->data.items[i].label;
    s->confidence[i] = p[best];
    s->correct[i] = s->gold[i] == s->predicted[i];
}

static void judge_each(const evaluation *e, scored *s, size_t i) {
    const ng_sample *sample = &s->data.items[i];
    bool flagged = false;
    float top[2] = {0, 0}; /* the greatest probability of a label that does not hold, that holds */
    for (size_t c = 0; c < s->n_labels; c++) {
        float p = s->p[i * s->n_labels + c];
        bool holds = p >= threshold_of(e, c);
        if (!(sample->known >> c & 1)) continue;
        flagged |= holds;
        if (p > top[holds]) top[holds] = p;
    }
    s->predicted[i] = flagged;
    s->gold[i] = sample->holds != 0;
    s->confidence[i] = flagged ? top[1] : 1 - top[0];
    s->correct[i] = s->gold[i] == s->predicted[i];
}

/* Takes s->data as read and fills the rest. */
static ng_status score(const evaluation *e, scored *s) {
    size_t n = s->data.len, k = e->labels.len;
    ng_status st = NG_OK;
    s->n = n;
    s->n_labels = k;
    s->p = malloc((n * k + 1) * sizeof *s->p);
    s->confidence = malloc((n + 1) * sizeof *s->confidence);
    s->scope = malloc((n + 1) * sizeof *s->scope);
    s->correct = malloc(n + 1);
    s->gold = malloc((n + 1) * sizeof *s->gold);
    s->predicted = malloc((n + 1) * sizeof *s->predicted);
    if (!s->p || !s->confidence || !s->scope || !s->correct || !s->gold || !s->predicted) return no_memory(e);
    ng_buf spoiled = ng_buf_init(1 << 24);
    bool noisy = e->subject->noise && s == &e->test;
    for (size_t i = 0; !st && i < n; i++) {
        const ng_sample *x = &s->data.items[i];
        if (noisy && ng_noise_apply(e->subject->noise, x->text, x->len, &spoiled)) st = no_memory(e);
        ng_text_pair text = {noisy ? spoiled.data : x->text, noisy ? spoiled.len : x->len, x->second, x->second_len};
        if (!st) st = e->subject->apply(e->subject->self, &text, s->p + i * k, e->err);
        if (e->subject->each) judge_each(e, s, i);
        else judge_one(s, i);
        s->scope[i] = e->subject->scope ? *e->subject->scope : s->confidence[i];
    }
    ng_buf_clear(&spoiled);
    return st;
}

static void scored_clear(scored *s) {
    ng_dataset_clear(&s->data);
    free(s->p);
    free(s->confidence);
    free(s->scope);
    free(s->correct);
    free(s->gold);
    free(s->predicted);
}

/* ---- figures ------------------------------------------------------------------------------------ */

static void put(const evaluation *e, const char *name, double value) { ng_eval_put(e->out, name, value, false); }

static double share(const uint8_t *marks, size_t n) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += marks[i];
    return n ? (double)sum / (double)n : NAN;
}

static void put_confidence(const evaluation *e, const scored *s) {
    if (!e->subject->calibrated) return;
    put(e, "ece", ng_metric_ece(s->confidence, s->correct, s->n, BINS));
    put(e, "aurc", ng_metric_aurc(s->confidence, s->correct, s->n));
    put(e, "coverage.risk_1", ng_metric_coverage(s->confidence, s->correct, s->n, 0.01));
    put(e, "coverage.risk_2", ng_metric_coverage(s->confidence, s->correct, s->n, 0.02));
    put(e, "coverage.risk_5", ng_metric_coverage(s->confidence, s->correct, s->n, 0.05));
}

/* Accuracy over the test texts that neither training nor dev has. */
static ng_status put_unseen(const evaluation *e, const scored *s) {
    bool *keep = malloc(s->n + 1), *keep_dev = malloc(s->n + 1);
    ng_dataset train = {0}, dev = {0};
    ng_status st = keep && keep_dev ? NG_OK : no_memory(e);
    if (!st) st = ng_dataset_read(&train, &e->recipe.data.train, &e->labels, &e->recipe, e->err);
    if (!st) st = ng_dataset_read(&dev, &e->recipe.data.dev, &e->labels, &e->recipe, e->err);
    if (!st && (ng_dataset_duplicates(&s->data, &train, keep) == SIZE_MAX ||
                ng_dataset_duplicates(&s->data, &dev, keep_dev) == SIZE_MAX))
        st = no_memory(e);
    size_t n = 0, right = 0;
    for (size_t i = 0; !st && i < s->n; i++)
        if (keep[i] && keep_dev[i]) n++, right += s->correct[i];
    if (!st && n < s->n) {
        put(e, "unseen.texts", (double)n);
        put(e, "unseen.accuracy", n ? (double)right / (double)n : NAN);
    }
    ng_dataset_clear(&train);
    ng_dataset_clear(&dev);
    free(keep);
    free(keep_dev);
    return st;
}

/* Several test files: each by itself, named by the file without folder and extension. */
static void put_parts(const evaluation *e, const scored *s) {
    const ng_source *sources = e->recipe.data.test.items;
    for (size_t k = 0; e->recipe.data.test.len > 1 && k < e->recipe.data.test.len; k++) {
        size_t n = 0, right = 0;
        const char *file = strrchr(sources[k].file, '/');
        file = file ? file + 1 : sources[k].file;
        for (size_t i = 0; i < s->n; i++)
            if (s->data.items[i].source == k) n++, right += s->correct[i];
        char name[48];
        snprintf(name, sizeof name, "by_file.%zu-%.*s", k + 1, (int)strcspn(file, "."), file);
        put(e, name, n ? (double)right / (double)n : NAN);
    }
}

/* What was taken for what, where the labels are few enough to be read: counts by gold>predicted. */
static void put_confusion(const evaluation *e, const scored *s) {
    for (size_t g = 0; s->n_labels <= CONFUSION_LABELS_MAX && g < s->n_labels; g++)
        for (size_t p = 0; p < s->n_labels; p++) {
            size_t n = 0;
            for (size_t i = 0; i < s->n; i++)
                n += s->gold[i] == (int32_t)g && s->predicted[i] == (int32_t)p;
            char name[48];
            snprintf(name, sizeof name, "confusion.%.17s>%.17s", e->labels.names[g], e->labels.names[p]);
            if (n) put(e, name, (double)n);
        }
}

/* Labels that tell which of two tiers was right make a model of escalation: its gain is P(fix) - P(harm). */
static ng_status put_escalation(const evaluation *e, const scored *s) {
    static const char *const names[] = {"both", "fix", "harm", "neither"};
    static const uint8_t small[] = {1, 0, 1, 0}, large[] = {1, 1, 0, 0};
    if (s->n_labels != 4) return NG_OK;
    for (size_t c = 0; c < 4; c++)
        if (strcmp(e->labels.names[c], names[c])) return NG_OK;
    float *gain = malloc((s->n + 1) * sizeof *gain);
    uint8_t *right = malloc(2 * s->n + 1);
    ng_status st = gain && right ? NG_OK : no_memory(e);
    for (size_t i = 0; !st && i < s->n; i++) {
        gain[i] = s->p[4 * i + 1] - s->p[4 * i + 2];
        right[i] = small[s->gold[i]];
        right[s->n + i] = large[s->gold[i]];
    }
    if (!st) {
        ng_outcomes o = {.small = right, .large = right + s->n, .n = s->n};
        put(e, "escalation.apgr", ng_escalation_apgr(&o, gain));
        put(e, "escalation.small", share(o.small, s->n));
        put(e, "escalation.large", share(o.large, s->n));
        put(e, "escalation.at_30", ng_escalation_accuracy(&o, gain, 0.3));
        put(e, "escalation.random_at_30", share(o.small, s->n) + 0.3 * (share(o.large, s->n) - share(o.small, s->n)));
        put(e, "escalation.cpt50", ng_escalation_share(&o, gain, 0.5));
        put(e, "escalation.cpt80", ng_escalation_share(&o, gain, 0.8));
        for (size_t i = 0; i < s->n; i++) right[i] |= right[s->n + i];
        put(e, "escalation.oracle", share(right, s->n));
    }
    free(gain);
    free(right);
    return st;
}

static void put_oos(const evaluation *e, const scored *in, const scored *out) {
    double t = (double)e->subject->oos_threshold;
    size_t kept = 0, right = 0, rejected = 0;
    if (!out->n) return;
    for (size_t i = 0; i < in->n; i++)
        if ((double)in->scope[i] >= t) kept++, right += in->correct[i];
    for (size_t i = 0; i < out->n; i++) rejected += (double)out->scope[i] < t;
    put(e, "oos.texts", (double)out->n);
    put(e, "oos.auroc", ng_metric_auroc(in->scope, in->n, out->scope, out->n));
    put(e, "oos.fpr95", ng_metric_fpr(in->scope, in->n, out->scope, out->n, 0.95));
    put(e, "oos.threshold", t);
    put(e, "oos.recall", (double)rejected / (double)out->n);
    put(e, "oos.in_scope_kept", (double)kept / (double)in->n);
    put(e, "oos.in_scope_accuracy", (double)right / (double)in->n);
}

/* One label of moderate over the texts that know it. */
static ng_status put_label(const evaluation *e, const scored *s, size_t c, double *f1) {
    float *yes = malloc((s->n + 1) * sizeof *yes), *no = malloc((s->n + 1) * sizeof *no);
    size_t n_yes = 0, n_no = 0, tp = 0, fp = 0;
    char name[48];
    for (size_t i = 0; yes && no && i < s->n; i++) {
        float p = s->p[i * s->n_labels + c];
        bool holds = s->data.items[i].holds >> c & 1, said = p >= threshold_of(e, c);
        if (!(s->data.items[i].known >> c & 1)) continue;
        if (holds) yes[n_yes++] = p, tp += said;
        else no[n_no++] = p, fp += said;
    }
    const char *label = e->labels.names[c];
    *f1 = n_yes ? 2.0 * (double)tp / (double)(n_yes + tp + fp) : NAN;
    const struct {
        const char *what;
        double value;
    } figures[] = {{"texts", (double)(n_yes + n_no)},
                   {"accuracy", n_yes + n_no ? (double)(tp + n_no - fp) / (double)(n_yes + n_no) : NAN},
                   {"f1", *f1},
                   {"auroc", yes && no ? ng_metric_auroc(yes, n_yes, no, n_no) : NAN},
                   {"recall_fpr1", yes && no ? ng_metric_recall_at(yes, n_yes, no, n_no, 0.01) : NAN}};
    for (size_t i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%.30s.%s", label, figures[i].what);
        put(e, name, figures[i].value);
    }
    ng_status st = yes && no ? NG_OK : no_memory(e);
    free(yes);
    free(no);
    return st;
}

static ng_status put_moderate(const evaluation *e, const scored *s) {
    double sum = 0, f1;
    ng_status st = NG_OK;
    size_t n = 0;
    for (size_t c = 0; !st && c < s->n_labels; c++) {
        st = put_label(e, s, c, &f1);
        if (!isnan(f1)) sum += f1, n++;
    }
    put(e, "f1", n ? sum / (double)n : NAN);
    return st;
}

/* Decisions one after the other, as requests come: nothing is batched, nothing is warm but the model. */
static ng_status put_speed(const evaluation *e, const scored *s) {
    size_t want = e->subject->timed;
    double *ms = malloc(want * sizeof *ms);
    float *p = malloc(s->n_labels * sizeof *p);
    ng_status st = ms && p ? NG_OK : no_memory(e);
    uint64_t rss, peak;
    ng_energy_meter meter;
    ng_energy_start(&meter);
    for (size_t k = 0; !st && k < want; k++) {
        const ng_sample *x = &s->data.items[k * s->n / want];
        uint64_t start = ng_clock_ns();
        st = e->subject->apply(e->subject->self, &(ng_text_pair){x->text, x->len, x->second, x->second_len}, p, e->err);
        ms[k] = (double)(ng_clock_ns() - start) / 1e6;
    }
    if (!st) {
        ng_eval_put_speed(e->out, ms, want, &meter);
        ng_memory_self(&rss, &peak);
        ng_eval_put(e->out, "rss_mb", (double)rss / 1e6, true);
    }
    free(ms);
    free(p);
    return st;
}

static ng_status put_all(const evaluation *e) {
    const scored *s = &e->test;
    ng_status st = NG_OK;
    put(e, "texts", (double)s->n);
    put(e, "labels", (double)s->n_labels);
    put(e, "accuracy", share(s->correct, s->n));
    if (e->subject->each) st = put_moderate(e, s);
    else put(e, "f1", ng_metric_macro_f1(s->gold, s->predicted, s->n, s->n_labels));
    if (!st) st = put_unseen(e, s);
    if (!e->subject->each) put_confusion(e, s);
    put_parts(e, s);
    put_confidence(e, s);
    put_oos(e, s, &e->oos);
    if (!e->subject->each && !st) st = put_escalation(e, s);
    put(e, "model_mb", (double)e->subject->file_bytes / 1e6);
    return st ? st : put_speed(e, s);
}

/* ---- scores.gguf and the card ------------------------------------------------------------------- */

/* The arrays live in the evaluation's arena until the commit. */
static ng_status put_scores(const evaluation *e, ng_gguf_writer *w, const char *set, const scored *s) {
    int16_t *gold = ng_arena_array(e->arena, s->n + 1, sizeof *gold);
    int16_t *predicted = ng_arena_array(e->arena, s->n + 1, sizeof *predicted);
    char key[64];
    if (!gold || !predicted) return no_memory(e);
    for (size_t i = 0; i < s->n; i++) gold[i] = (int16_t)s->gold[i], predicted[i] = (int16_t)s->predicted[i];
    const struct {
        const char *name;
        ng_gguf_kind kind;
        const void *data;
    } arrays[] = {{"confidence", NG_GGUF_F32, s->confidence},
                  {"correct", NG_GGUF_U8, s->correct},
                  {"predicted", NG_GGUF_I16, predicted},
                  {"gold", NG_GGUF_I16, gold}};
    for (size_t i = 0; i < 4; i++) {
        snprintf(key, sizeof key, "nanogrid.%s.%s", set, arrays[i].name);
        ng_gguf_put_array(w, key, arrays[i].kind, arrays[i].data, s->n);
    }
    return NG_OK;
}

static ng_status write_scores(const evaluation *e, const char *path) {
    ng_gguf_writer *w;
    if (ng_gguf_writer_new(&w)) return no_memory(e);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-scores");
    ng_gguf_put_str(w, "general.name", e->recipe.about.name);
    ng_gguf_put_str(w, "nanogrid.task", ng_recipe_task_name(&e->recipe));
    ng_status st = NG_OK;
    if (e->subject->calibrated) st = put_scores(e, w, "calibration", &e->calibration);
    if (!st) st = put_scores(e, w, "test", &e->test);
    if (!st && e->oos.n) st = put_scores(e, w, "test_oos", &e->oos);
    if (!st) return ng_gguf_writer_commit(w, path, e->err);
    ng_gguf_writer_free(w);
    return st;
}

static ng_status write_card(const evaluation *e, const ng_label_files *files) {
    const ng_recipe *r = &e->recipe;
    ng_status st = write_scores(e, files->scores);
    if (st) return st;
    snprintf(e->out->scores_path, sizeof e->out->scores_path, "%s", files->scores);
    if (!files->card) return NG_OK;
    return ng_card_write(&(ng_card){&r->about, ng_recipe_task_name(r), r->path, e->labels.names, e->labels.len}, e->out,
                         files->card, e->err);
}

/* ---- all of it ---------------------------------------------------------------------------------- */

/* The model's labels, so that a label of the data that it does not know is an error. */
static ng_status take_labels(evaluation *e) {
    ng_labels *l = &e->labels;
    l->len = e->subject->n_labels;
    l->names = ng_arena_array(e->arena, l->len, sizeof *l->names);
    if (!l->names) return no_memory(e);
    for (size_t i = 0; i < l->len; i++) l->names[i] = e->subject->labels[i];
    if (strcmp(e->subject->task, ng_recipe_task_name(&e->recipe)) != 0)
        return ng_fail(e->err, NG_EINVALID, "%s: its model was trained for the task %s", e->recipe.path,
                       e->subject->task);
    return NG_OK;
}

static ng_status read_sets(evaluation *e) {
    const ng_recipe_data *d = &e->recipe.data;
    ng_dataset *dev = &e->calibration.data;
    ng_status st;
    if (!d->test.len)
        return ng_fail(e->err, NG_EINVALID, "%s: data.test is empty; there is nothing to measure", e->recipe.path);
    if ((st = ng_dataset_read(&e->test.data, &d->test, &e->labels, &e->recipe, e->err)) ||
        (st = ng_dataset_read(&e->oos.data, &d->oos_test, NULL, &e->recipe, e->err)) ||
        (st = ng_dataset_read(dev, &d->dev, &e->labels, &e->recipe, e->err)))
        return st;
    size_t n = 0;
    for (size_t i = 0; i < dev->len; i++)
        if (!ng_text_tunes(dev->items[i].hash)) dev->items[n++] = dev->items[i];
    dev->len = n;
    return NG_OK;
}

static ng_status run_all(evaluation *e, const char *recipe_path, const ng_label_files *files) {
    ng_status st = ng_recipe_read(&e->recipe, recipe_path, e->arena, e->err);
    if (st || (st = take_labels(e)) || (st = read_sets(e)) || (st = score(e, &e->test)) || (st = score(e, &e->oos)) ||
        (st = score(e, &e->calibration)) || (st = put_all(e)))
        return st;
    return files ? write_card(e, files) : NG_OK;
}

ng_status ng_eval_labels(ng_eval_result *out, const char *recipe_path, const ng_subject *s, const ng_label_files *files,
                         ng_error *err) {
    ng_error local = {0};
    evaluation e = {.out = out, .err = err ? err : &local, .subject = s};
    if (ng_arena_new(&e.arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    ng_status st = run_all(&e, recipe_path, files);
    scored_clear(&e.test);
    scored_clear(&e.calibration);
    scored_clear(&e.oos);
    ng_arena_free(e.arena);
    return st;
}
