/* train_finder.c: learns where in a passage the answer to a question stands.
 *
 *   1. rarity   how many sentences of the training passages have each stem
 *   2. fit      the chain of model/finder.h by its log-likelihood: the gradient of a weight is how often its feature
 *               stands in the answer, at its beginning, at its end, less how often the model believes so.  AdaGrad (Duchi
 *               et al. 2011), one question at a time, in an order drawn from the seed; eight bits, written
 *   3. judge    on the tuning half of dev, whose stories no weight has seen, by the rounded model: whether there is an answer (the same
 *               passage with another story's question has none), whether the span found is right (F1 of a half and more),
 *               and the threshold that refuses the recipe's share of questions without an answer
 *
 * An answer that stands several times in the passage is taken where its sentence covers the question best.  One thread,
 * sums in a fixed order: same recipe and seed, same bytes. */
#include "core/clock.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/math.h"
#include "gguf/gguf.h"
#include "model/finder.h"
#include "text/sentence.h"
#include "train/export.h"
#include "train/finder_data.h"
#include "train/recipe.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRIDE = 4, PLACES_MAX = 16, JUDGE_STEPS = 3000 };

typedef struct lesson {
    ng_passage *passage;
    uint32_t first, last; /* words of the answer */
} lesson;

typedef struct learner {
    ng_arena *arena;
    ng_error *err;
    ng_finder_recipe recipe;
    ng_finder_examples train, dev;
    lesson *lessons;
    size_t n_lessons, longest;
    uint32_t *order;
    ng_rarity rarity;
    float *weight, *seen; /* [STRIDE * NG_PASSAGE_BUCKETS]; sums of squared gradients */
    float answerable[NG_FOUND_FACTS + 1], right[NG_FOUND_FACTS + 1], threshold;
} learner;

static ng_status no_memory(const learner *l) { return ng_fail(l->err, NG_ENOMEM, "%s: out of memory", l->recipe.path); }

/* ---- 1. rarity ---------------------------------------------------------------------------------- */

static ng_status make_rarity(learner *l) {
    uint32_t *counts = calloc(NG_RARITY_BUCKETS, sizeof *counts);
    size_t n = 0;
    if (!counts) return no_memory(l);
    for (size_t i = 0; i < l->train.len; i++) {
        const ng_finder_example *e = &l->train.items[i];
        if (i && !strcmp(e->passage, e[-1].passage)) continue; /* the questions of one passage stand together */
        size_t pos = 0;
        ng_span s;
        while (ng_sentence_next(e->passage, e->passage_len, &pos, &s)) {
            ng_rarity_count(counts, e->passage + s.start, s.end - s.start);
            n++;
        }
    }
    ng_rarity_make(&l->rarity, counts, n);
    free(counts);
    return NG_OK;
}

/* ---- 2. fit ------------------------------------------------------------------------------------- */

/* The words that bytes [start, end) touch; false: they are in two sentences. */
static bool words_at(const ng_passage *p, size_t start, size_t end, lesson *out) {
    bool any = false;
    for (size_t i = 0; i < p->len && p->words[i].start < end; i++) {
        if (p->words[i].end <= start) continue;
        if (!any) out->first = (uint32_t)i;
        out->last = (uint32_t)i;
        any = true;
    }
    return any && p->words[out->first].sentence == p->words[out->last].sentence;
}

static bool find_lesson(const ng_finder_example *e, lesson *out) {
    uint32_t best = UINT32_MAX;
    for (size_t a = 0; a < e->n_answers; a++)
        for (size_t k = 0; k < PLACES_MAX; k++) {
            lesson l = *out;
            size_t start, end;
            if (!ng_answer_place(e, a, k, &start, &end)) break;
            if (!words_at(l.passage, start, end, &l)) continue;
            uint32_t rank = l.passage->sentences[l.passage->words[l.first].sentence].rank;
            if (rank < best) best = rank, *out = l;
        }
    return best < UINT32_MAX;
}

static ng_status prepare(learner *l) {
    l->lessons = calloc(l->train.len + 1, sizeof *l->lessons);
    l->order = ng_arena_array(l->arena, l->train.len, sizeof *l->order);
    l->weight = calloc(2 * STRIDE * NG_PASSAGE_BUCKETS, sizeof *l->weight);
    if (!l->lessons || !l->order || !l->weight) return no_memory(l);
    l->seen = l->weight + STRIDE * NG_PASSAGE_BUCKETS;
    for (size_t i = 0; i < l->train.len; i++) {
        const ng_finder_example *e = &l->train.items[i];
        lesson *x = &l->lessons[l->n_lessons];
        if (!e->literal) continue;
        ng_status s = ng_passage_new(&x->passage, &l->rarity, e->question, strlen(e->question), e->passage,
                                     e->passage_len, l->err);
        if (s) return s;
        if (!find_lesson(e, x)) {
            ng_passage_free(x->passage);
            x->passage = NULL;
            continue;
        }
        if (x->passage->len > l->longest) l->longest = x->passage->len;
        l->order[l->n_lessons] = (uint32_t)l->n_lessons;
        l->n_lessons++;
    }
    return l->n_lessons
               ? NG_OK
               : ng_fail(l->err, NG_EFORMAT, "%s: no training question has its answer in its passage", l->recipe.path);
}

static void move(const learner *l, size_t at, double gradient) {
    float g = (float)(gradient + l->recipe.decay * (double)l->weight[at]);
    l->seen[at] += g * g;
    l->weight[at] -= (float)l->recipe.rate * g / (sqrtf(l->seen[at]) + 1e-6f);
}

/* One gradient step on a question; returns its loss. */
static double step(const learner *l, const lesson *x, ng_beliefs *b) {
    const ng_passage *p = x->passage;
    uint16_t f[NG_PASSAGE_FEATURES_MAX];
    double gold = 0;
    for (size_t i = 0; i < p->len; i++) {
        size_t n = ng_passage_features(p, i, f);
        for (size_t c = 0; c < NG_FINDER_KINDS; c++) {
            double z = 0;
            for (size_t k = 0; k < n; k++) z += (double)l->weight[STRIDE * f[k] + c];
            b->score[i][c] = z;
        }
        if (i >= x->first && i <= x->last) gold += b->score[i][NG_FINDER_INSIDE];
    }
    gold += b->score[x->first][NG_FINDER_FIRST] + b->score[x->last][NG_FINDER_LAST];
    ng_beliefs_pass(b, p);
    for (size_t i = 0; i < p->len; i++) {
        const double g[NG_FINDER_KINDS] = {b->inside[i] - (i >= x->first && i <= x->last),
                                           ng_beliefs_first(b, i) - (i == x->first),
                                           ng_beliefs_last(b, i) - (i == x->last)};
        if (fabs(g[0]) + fabs(g[1]) + fabs(g[2]) < 1e-3) continue;
        size_t n = ng_passage_features(p, i, f);
        for (size_t k = 0; k < n; k++)
            for (size_t c = 0; c < NG_FINDER_KINDS; c++) move(l, STRIDE * f[k] + c, g[c]);
    }
    return b->log_all - gold;
}

static ng_status fit(learner *l, ng_train_result *out, const ng_train_options *opt) {
    ng_rng rng = ng_rng_seed((uint64_t)(opt->seed >= 0 ? opt->seed : l->recipe.seed));
    ng_status s = NG_OK;
    ng_beliefs b;
    if (ng_beliefs_init(&b, l->longest)) return no_memory(l);
    for (int64_t e = 0; !s && e < l->recipe.epochs; e++) {
        double loss = 0;
        ng_rng_shuffle(&rng, l->order, l->n_lessons);
        for (size_t i = 0; i < l->n_lessons; i++) loss += step(l, &l->lessons[l->order[i]], &b);
        out->loss = loss / (double)l->n_lessons;
        const ng_train_step report = {"fit", e + 1, l->recipe.epochs, out->loss, NAN};
        if (opt->on_step && !opt->on_step(opt->ctx, &report))
            s = ng_fail(l->err, NG_ECANCELLED, "%s: training was stopped", l->recipe.path);
    }
    ng_beliefs_clear(&b);
    return s;
}

static ng_status write_model(const learner *l, const char *path) {
    static const uint64_t n_weights = STRIDE * NG_PASSAGE_BUCKETS, n_rarity = NG_RARITY_BUCKETS,
                          n_facts = NG_FOUND_FACTS + 1;
    int8_t *rounded = ng_arena_alloc(l->arena, n_weights);
    ng_gguf_writer *w;
    if (!rounded || ng_gguf_writer_new(&w)) return no_memory(l);
    float scale = ng_quantise_column(l->weight, n_weights, 1, 127, rounded);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-finder");
    ng_gguf_put_str(w, "general.name", l->recipe.about.name);
    ng_gguf_put_u32(w, "nanogrid.finder.version", 1);
    ng_gguf_put_f32(w, "nanogrid.finder.scale", scale);
    ng_gguf_put_f32(w, "nanogrid.finder.threshold", l->threshold);
    ng_gguf_put_tensor(w, "finder.weights", NG_TYPE_I8, 1, &n_weights, rounded);
    ng_gguf_put_tensor(w, "finder.rarity", NG_TYPE_I8, 1, &n_rarity, l->rarity.of);
    ng_gguf_put_tensor(w, "finder.answerable", NG_TYPE_F32, 1, &n_facts, l->answerable);
    ng_gguf_put_tensor(w, "finder.right", NG_TYPE_F32, 1, &n_facts, l->right);
    return ng_gguf_writer_commit(w, path, l->err);
}

/* ---- 3. judge ----------------------------------------------------------------------------------- */

typedef struct judged {
    ng_found *found;
    bool *holds;
    size_t n;
} judged;

/* Logistic regression by gradient descent with momentum; facts are of order one. */
static void fit_odds(float *weights, const judged *j) {
    double w[NG_FOUND_FACTS + 1] = {0}, v[NG_FOUND_FACTS + 1] = {0};
    for (int step = 0; step < JUDGE_STEPS; step++) {
        double g[NG_FOUND_FACTS + 1] = {0};
        for (size_t i = 0; i < j->n; i++) {
            double z = w[NG_FOUND_FACTS];
            for (size_t k = 0; k < NG_FOUND_FACTS; k++) z += w[k] * (double)j->found[i].facts[k];
            double d = (ng_sigmoid(z) - j->holds[i]) / (double)j->n;
            for (size_t k = 0; k < NG_FOUND_FACTS; k++) g[k] += d * (double)j->found[i].facts[k];
            g[NG_FOUND_FACTS] += d;
        }
        for (size_t k = 0; k <= NG_FOUND_FACTS; k++) {
            v[k] = 0.9 * v[k] - 0.3 * (g[k] + (k < NG_FOUND_FACTS ? 1e-4 * w[k] : 0));
            w[k] += v[k];
        }
    }
    for (size_t k = 0; k <= NG_FOUND_FACTS; k++) weights[k] = (float)w[k];
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static ng_status find(const learner *l, const ng_finder *m, const char *question, const ng_finder_example *at,
                      ng_found *out) {
    ng_passage *p;
    ng_status s = ng_passage_new(&p, &l->rarity, question, strlen(question), at->passage, at->passage_len, l->err);
    if (s) return s;
    s = ng_finder_find(m, p, out, l->err);
    ng_passage_free(p);
    return s;
}

static ng_status judge(learner *l, const ng_finder *m, ng_train_result *out) {
    const ng_finder_examples *d = &l->dev;
    judged there = {ng_arena_array(l->arena, 2 * d->len, sizeof(ng_found)), ng_arena_array(l->arena, 2 * d->len, 1), 0};
    judged right = {ng_arena_array(l->arena, d->len, sizeof(ng_found)), ng_arena_array(l->arena, d->len, 1), 0};
    const uint32_t *other = ng_finder_others(d, 1, l->arena);
    double *odds = ng_arena_array(l->arena, d->len, sizeof *odds), f1 = 0;
    if (!there.found || !there.holds || !right.found || !right.holds || !other || !odds) return no_memory(l);
    for (size_t i = 0; i < d->len; i++) {
        const ng_finder_example *e = &d->items[i];
        ng_status s = NG_OK;
        if (!ng_finder_tunes(e)) continue;
        if (e->literal) {
            ng_found *f = &right.found[right.n];
            if ((s = find(l, m, e->question, e, f))) return s;
            double score = ng_answer_f1(e->passage + f->start, f->end - f->start, e);
            right.holds[right.n++] = score >= 0.5;
            f1 += score;
            there.found[there.n] = *f, there.holds[there.n++] = true;
        }
        if (d->items[other[i]].group == e->group) continue;
        if ((s = find(l, m, d->items[other[i]].question, e, &there.found[there.n]))) return s;
        there.n++;
    }
    if (!right.n || there.n == right.n)
        return ng_fail(l->err, NG_EFORMAT, "%s: dev needs questions with literal answers, and two stories",
                       l->recipe.path);
    fit_odds(l->answerable, &there);
    fit_odds(l->right, &right);
    size_t n = 0;
    for (size_t i = 0; i < there.n; i++)
        if (!there.holds[i]) odds[n++] = ng_found_odds(&there.found[i], l->answerable);
    qsort(odds, n, sizeof *odds, compare_doubles);
    size_t at = (size_t)(l->recipe.refuse * (double)n);
    l->threshold = (float)ng_sigmoid(odds[at < n ? at : n - 1]);
    out->dev_accuracy = f1 / (double)right.n;
    out->n_dev = right.n;
    return NG_OK;
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static ng_status learn(learner *l, ng_train_result *out, const char *path, const ng_train_options *opt) {
    ng_status s = ng_finder_recipe_read(&l->recipe, path, l->arena, l->err);
    if (!s) s = ng_finder_examples_read(&l->train, &l->recipe.train, l->arena, l->err);
    if (!s) s = ng_finder_examples_read(&l->dev, &l->recipe.dev, l->arena, l->err);
    if (!s) s = make_rarity(l);
    if (!s) s = prepare(l);
    if (!s) s = fit(l, out, opt);
    if (s) return s;
    const char *dir = ng_package_file(l->recipe.path, l->recipe.about.name, opt->out_dir, ".", l->arena);
    const char *path_out = ng_package_file(l->recipe.path, l->recipe.about.name, opt->out_dir, "model.gguf", l->arena);
    if (!dir || !path_out) return no_memory(l);
    ng_finder *m = NULL;
    s = ng_dir_make(dir, l->err);
    if (!s) s = write_model(l, path_out);
    if (!s) s = ng_finder_open(&m, path_out, l->err);
    if (!s) s = judge(l, m, out);
    if (!s) out->model_bytes = ng_finder_file_bytes(m);
    ng_finder_close(m);
    if (!s) s = write_model(l, path_out);
    snprintf(out->model_path, sizeof out->model_path, "%s", path_out);
    out->n_train = l->n_lessons;
    out->n_rows = out->n_features = STRIDE * NG_PASSAGE_BUCKETS;
    return s;
}

ng_status ng_train_finder(ng_train_result *out, const char *recipe_path, const ng_train_options *opt, ng_error *err) {
    double start = ng_clock_ms();
    *out = (ng_train_result){.dev_accuracy = NAN, .temperature = NAN, .oos_threshold = NAN};
    learner *l = calloc(1, sizeof *l);
    if (!l || ng_arena_new(&l->arena, 1 << 20)) {
        free(l);
        return ng_fail(err, NG_ENOMEM, "%s: out of memory", recipe_path);
    }
    l->err = err;
    ng_status s = learn(l, out, recipe_path, opt);
    for (size_t i = 0; l->lessons && i < l->n_lessons; i++) ng_passage_free(l->lessons[i].passage);
    free(l->lessons);
    free(l->weight);
    free(l->train.items);
    free(l->dev.items);
    ng_arena_free(l->arena);
    free(l);
    out->seconds = (ng_clock_ms() - start) / 1e3;
    return s;
}
