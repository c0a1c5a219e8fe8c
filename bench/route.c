/* route.c: what packages promise and keep, from the labelled scores that they carry.
 *
 *     build/route splits 20 models/intent models/topic ..     contracts over 20 random splits: a table
 *     build/route curves OUT.svg models/intent ..             risk against coverage
 *     build/route reliability OUT.svg models/intent ..        accuracy against confidence, 15 bins
 *     build/route figures models/intent ..                    AURC, ECE, coverage at 1, 2, 5 % risk
 *     build/route texts recipes/task-router.yaml              what a recipe trains and tests on: split, label, text
 *
 * A split: calibration and test scores of a package (nothing was fitted on either) are shuffled
 * together; the contract's threshold comes from one half, the error that it really made is counted
 * on the other.  A contract that no confidence can keep answers nothing and is marked void: the grid
 * refuses it when it opens. */
#include "core/file.h"
#include "core/hash.h"
#include "eval/figures.h"
#include "route/route.h"
#include "route/scores.h"
#include "train/data.h"
#include <nanogrid/buf.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 15, WIDTH = 640, HEIGHT = 420, LEFT = 60, TOP = 20, PLOT_W = 420, PLOT_H = 350 };

typedef struct package {
    char name[64];
    ng_scores calibration, test, all;
} package;

static int fail(const char *text) {
    fprintf(stderr, "route: %s\n", text);
    return 1;
}

static bool join(ng_scores *out, const ng_scores *a, const ng_scores *b) {
    out->n = a->n + b->n;
    out->confidence = malloc((out->n + 1) * sizeof *out->confidence);
    out->correct = malloc(out->n + 1);
    if (!out->confidence || !out->correct) return false;
    memcpy(out->confidence, a->confidence, a->n * sizeof *a->confidence);
    memcpy(out->confidence + a->n, b->confidence, b->n * sizeof *b->confidence);
    memcpy(out->correct, a->correct, a->n);
    memcpy(out->correct + a->n, b->correct, b->n);
    return true;
}

static bool open_package(package *p, const char *dir) {
    char path[1024];
    ng_error err = {0};
    const char *slash = strrchr(dir, '/');
    *p = (package){0};
    snprintf(p->name, sizeof p->name, "%s", slash && slash[1] ? slash + 1 : dir);
    snprintf(path, sizeof path, "%s/model.gguf", dir);
    if (ng_scores_read(&p->calibration, path, "calibration", &err) ||
        ng_scores_read(&p->test, path, "test", &err))
        return fail(err.text) == 0;
    return join(&p->all, &p->calibration, &p->test) || fail("out of memory") == 0;
}

static void close_package(package *p) {
    ng_scores_clear(&p->calibration);
    ng_scores_clear(&p->test);
    ng_scores_clear(&p->all);
}

/* ---- contracts over random splits ------------------------------------------------------------ */

typedef struct splits_result {
    int kept, confirmed, void_;
    double coverage, risk; /* means; risk over the splits that answered */
} splits_result;

/* all[order] into two halves. */
static void deal(const ng_scores *all, const uint32_t *order, ng_scores *fit, ng_scores *check) {
    fit->n = check->n = 0;
    for (size_t i = 0; i < all->n; i++) {
        ng_scores *to = i < all->n / 2 ? fit : check;
        to->confidence[to->n] = all->confidence[order[i]];
        to->correct[to->n++] = all->correct[order[i]];
    }
}

static int n_splits;

static bool run_splits(const package *p, double promise, double doubt, splits_result *out) {
    ng_scores fit = {0}, check = {0};
    uint32_t *order = malloc((p->all.n + 1) * sizeof *order);
    *out = (splits_result){0};
    bool ok = order && join(&fit, &p->calibration, &p->test) && join(&check, &p->calibration, &p->test);
    for (int s = 0; ok && s < n_splits; s++) {
        ng_rng rng = ng_rng_seed((uint64_t)s + 1);
        double t;
        for (size_t i = 0; i < p->all.n; i++) order[i] = (uint32_t)i;
        ng_rng_shuffle(&rng, order, p->all.n);
        deal(&p->all, order, &fit, &check);
        ok = ng_threshold_for(&t, fit.confidence, fit.correct, fit.n, promise, doubt) == NG_OK;
        ng_risk r = ng_risk_at(&check, t);
        out->void_ += isinf(t);
        out->kept += r.n == 0 || r.risk <= promise;
        out->confirmed += r.n >= 300 && r.upper95 <= promise;
        out->coverage += r.coverage / n_splits;
        if (r.n) out->risk += r.risk;
    }
    int answered = n_splits - out->void_;
    out->risk = answered ? out->risk / answered : NAN;
    ng_scores_clear(&fit);
    ng_scores_clear(&check);
    free(order);
    return ok || fail("out of memory") == 0;
}

static bool splits(package *packages, int n) {
    static const double promises[] = {0.01, 0.02, 0.05, 0.1};
    printf("| package | scores | promised | kept | confirmed by audit | void | mean error | mean coverage "
           "| at 10 %% doubt: kept | coverage |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 4; k++) {
            splits_result strict, loose;
            if (!run_splits(&packages[i], promises[k], NG_CONTRACT_DOUBT, &strict) ||
                !run_splits(&packages[i], promises[k], 0.1, &loose))
                return false;
            printf("| %s | %zu | %.0f %% | %d of %d | %d | %d | ", packages[i].name, packages[i].all.n,
                   100 * promises[k], strict.kept, n_splits, strict.confirmed, strict.void_);
            if (isnan(strict.risk)) printf("- | - |");
            else printf("%.2f %% | %.1f %% |", 100 * strict.risk, 100 * strict.coverage);
            printf(" %d of %d | %.1f %% |\n", loose.kept, n_splits, 100 * loose.coverage);
        }
    return true;
}

static bool figures(const package *packages, int n) {
    printf("| package | test texts | error | ECE | AURC | coverage at 1 %% | 2 %% | 5 %% risk |\n"
           "|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for (int i = 0; i < n; i++) {
        const ng_scores *s = &packages[i].test;
        ng_risk r = ng_risk_at(s, 0);
        printf("| %s | %zu | %.2f %% | %.4f | %.4f |", packages[i].name, s->n, 100 * r.risk,
               ng_metric_ece(s->confidence, s->correct, s->n, BINS),
               ng_metric_aurc(s->confidence, s->correct, s->n));
        for (int k = 0; k < 3; k++)
            printf(" %.1f %% |",
                   100 * ng_metric_coverage(s->confidence, s->correct, s->n, (double[]){0.01, 0.02, 0.05}[k]));
        printf("\n");
    }
    return true;
}

/* ---- drawings -------------------------------------------------------------------------------- */

static const char *const colours[] = {"#1b6ca8", "#d1495b", "#2e8b57", "#8f5fbf", "#b8860b", "#444444"};

static double at_x(double v) { return LEFT + v * PLOT_W; }
static double at_y(double v, double max) { return TOP + PLOT_H * (1 - v / max); }

static void frame(ng_buf *b, const char *x, const char *y, double max) {
    ng_buf_printf(b,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n"
                  "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
                  WIDTH, HEIGHT, WIDTH, HEIGHT);
    for (int i = 0; i <= 5; i++) {
        double v = i / 5.0;
        ng_buf_printf(b, "<path d=\"M%d %.1fH%d\" stroke=\"#dddddd\"/><text x=\"%d\" y=\"%.1f\" "
                         "text-anchor=\"end\">%.0f %%</text>\n",
                      LEFT, at_y(v, 1), LEFT + PLOT_W, LEFT - 6, at_y(v, 1) + 4, 100 * v * max);
        ng_buf_printf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f %%</text>\n", at_x(v),
                      TOP + PLOT_H + 16, 100 * v);
    }
    ng_buf_printf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", LEFT + PLOT_W / 2,
                  TOP + PLOT_H + 36, x);
    ng_buf_printf(b, "<text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
                  TOP + PLOT_H / 2, y);
}

static void legend(ng_buf *b, int i, const char *name) {
    int y = TOP + 14 + 18 * i;
    ng_buf_printf(b, "<path d=\"M%d %dh18\" stroke=\"%s\" stroke-width=\"2\"/><text x=\"%d\" y=\"%d\">%s</text>\n",
                  LEFT + PLOT_W + 16, y - 4, colours[i % 6], LEFT + PLOT_W + 40, y, name);
}

typedef struct ranked {
    float confidence;
    uint8_t correct;
} ranked;

static int falling(const void *a, const void *b) {
    float x = ((const ranked *)a)->confidence, y = ((const ranked *)b)->confidence;
    return (x < y) - (x > y);
}

static double max_risk(const package *p, int n) {
    double max = 0.05;
    for (int i = 0; i < n; i++)
        if (ng_risk_at(&p[i].test, 0).risk > max) max = ng_risk_at(&p[i].test, 0).risk;
    return ceil(max * 20) / 20;
}

static bool curves(ng_buf *b, package *packages, int n) {
    double max = max_risk(packages, n);
    frame(b, "coverage: share of the test texts that are answered", "risk: share of the answers that are wrong",
          max);
    for (int i = 0; i < n; i++) {
        const ng_scores *s = &packages[i].test;
        ranked *r = malloc((s->n + 1) * sizeof *r);
        if (!r) return fail("out of memory") == 0;
        for (size_t k = 0; k < s->n; k++) r[k] = (ranked){s->confidence[k], s->correct[k]};
        qsort(r, s->n, sizeof *r, falling);
        size_t wrong = 0, step = s->n / 200 + 1;
        ng_buf_printf(b, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", colours[i % 6]);
        for (size_t k = 0, first = 1; k < s->n; k++) {
            wrong += !r[k].correct;
            double risk = (double)wrong / (double)(k + 1);
            if ((k + 1) % step && k + 1 != s->n) continue;
            ng_buf_printf(b, "%s%.1f %.1f", first ? "M" : "L", at_x((double)(k + 1) / (double)s->n),
                          at_y(risk < max ? risk : max, max));
            first = 0;
        }
        ng_buf_printf(b, "\"/>\n");
        legend(b, i, packages[i].name);
        free(r);
    }
    return true;
}

static bool reliability(ng_buf *b, package *packages, int n) {
    frame(b, "confidence (mean of a bin)", "accuracy of the bin", 1);
    ng_buf_printf(b, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#999999\" stroke-dasharray=\"4 4\"/>\n", at_x(0),
                  at_y(0, 1), at_x(1), at_y(1, 1));
    for (int i = 0; i < n; i++) {
        const ng_scores *s = &packages[i].test;
        double sum[BINS] = {0}, right[BINS] = {0}, count[BINS] = {0};
        for (size_t k = 0; k < s->n; k++) {
            int at = (int)(s->confidence[k] * BINS);
            at = at < 0 ? 0 : at >= BINS ? BINS - 1 : at;
            sum[at] += (double)s->confidence[k], right[at] += s->correct[k], count[at]++;
        }
        const char *move = "M";
        ng_buf_printf(b, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", colours[i % 6]);
        for (int k = 0; k < BINS; k++) {
            if (count[k] < 10) continue; /* a bin of a few texts says nothing */
            ng_buf_printf(b, "%s%.1f %.1f", move, at_x(sum[k] / count[k]), at_y(right[k] / count[k], 1));
            move = "L";
        }
        ng_buf_printf(b, "\"/>\n");
        legend(b, i, packages[i].name);
    }
    return true;
}

static bool draw(const char *path, package *packages, int n, bool (*fn)(ng_buf *, package *, int)) {
    ng_buf b = ng_buf_init(1u << 22);
    ng_error err = {0};
    bool ok = fn(&b, packages, n);
    ng_buf_printf(&b, "</svg>\n");
    if (ok && ng_file_write_atomic(path, b.data, b.len, &err)) ok = fail(err.text) == 0;
    ng_buf_clear(&b);
    return ok;
}

static void put_texts(const char *split, const ng_dataset *d, const ng_labels *labels) {
    for (size_t i = 0; i < d->len; i++) {
        printf("%s\t%s\t", split, labels->names[d->items[i].label]);
        for (const char *c = d->items[i].text; *c; c++) putchar(*c == '\n' || *c == '\t' || *c == '\r' ? ' ' : *c);
        putchar('\n');
    }
}

static int texts(const char *path) {
    ng_arena *arena;
    ng_recipe r;
    ng_labels labels = {0};
    ng_dataset train = {0}, test = {0};
    ng_error err = {0};
    if (ng_arena_new(&arena, 0)) return fail("out of memory");
    bool ok = !ng_recipe_read(&r, path, arena, &err) && r.task == NG_RECIPE_CLASSIFY &&
              !ng_labels_read(&labels, &r, &err) && !ng_dataset_read(&train, &r.data.train, &labels, &r, &err) &&
              !ng_dataset_read(&test, &r.data.test, &labels, &r, &err);
    if (ok) put_texts("train", &train, &labels), put_texts("test", &test, &labels);
    else fail(err.code ? err.text : "only recipes of the task classify have one label a text");
    ng_dataset_clear(&train);
    ng_dataset_clear(&test);
    ng_labels_clear(&labels);
    ng_arena_free(arena);
    return !ok;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "texts")) return texts(argv[2]);
    const char *what = argc > 1 ? argv[1] : "";
    bool drawing = !strcmp(what, "curves") || !strcmp(what, "reliability");
    bool splitting = !strcmp(what, "splits");
    int first = drawing || splitting ? 3 : 2, n = argc - first;
    n_splits = splitting && argc > 2 ? atoi(argv[2]) : 1;
    if (n < 1 || n_splits < 1 || !(drawing || splitting || !strcmp(what, "figures"))) {
        fail("usage: route splits N | figures | curves OUT.svg | reliability OUT.svg, then PACKAGE_DIR..");
        return 2;
    }
    package *packages = calloc((size_t)n, sizeof *packages);
    bool ok = packages != NULL;
    for (int i = 0; ok && i < n; i++) ok = open_package(&packages[i], argv[first + i]);
    if (ok && splitting) ok = splits(packages, n);
    else if (ok && !strcmp(what, "figures")) ok = figures(packages, n);
    else if (ok) ok = draw(argv[2], packages, n, !strcmp(what, "curves") ? curves : reliability);
    for (int i = 0; packages && i < n; i++) close_package(&packages[i]);
    free(packages);
    return ok ? 0 : 1;
}
