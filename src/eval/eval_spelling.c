/* eval_spelling.c: how many typing errors a list of words puts right, and how many words it spoils.
 *
 * Of each test text a copy gets one slip in three words of ten (train/typos.h, seeded by the text).  `restored` is the share of
 * the damaged words that come back as they were, `spoilt` the share of the words of undamaged texts that are changed. */
#include "eval_ops.h"

#include "core/clock.h"
#include "core/hash.h"
#include "model/spelling.h"
#include "train/data.h"
#include "train/typos.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const double SHARE = 0.3;

typedef struct evaluation {
    ng_arena *arena;
    ng_recipe recipe;
    ng_dataset test;
    ng_spelling *list;
    double *ms; /* [test.len] of undamaged texts */
    ng_energy_meter meter;
    size_t n_words, n_spoilt, n_damaged, n_restored;
} evaluation;

static bool serves(const char *task) { return !strcmp(task, "spelling"); }

static size_t word_len(const char *s) { return strcspn(s, " "); }
static bool same_word(const char *a, const char *b) {
    return word_len(a) == word_len(b) && !strncasecmp(a, b, word_len(a));
}
static const char *next_word(const char *s) { return s + word_len(s) + strspn(s + word_len(s), " "); }

/* Neither slips nor mending add or take a space, so words stand across from each other. */
static void compare(evaluation *e, const char *clean, const char *damaged, const char *mended) {
    for (; *clean && *damaged && *mended;
         clean = next_word(clean), damaged = next_word(damaged), mended = next_word(mended)) {
        if (same_word(clean, damaged)) continue;
        e->n_damaged++;
        e->n_restored += same_word(clean, mended);
    }
}

static bool measure(evaluation *e, size_t i) {
    const ng_sample *s = &e->test.items[i];
    ng_buf damaged = ng_buf_init(2u * s->len + 16), mended = ng_buf_init(4u * s->len + 64),
           kept = ng_buf_init(4u * s->len + 64);
    ng_rng rng = ng_rng_seed(s->hash);
    uint64_t start = ng_clock_ns();
    bool changed = ng_spelling_fix(e->list, &kept, s->text, s->len);
    e->ms[i] = (double)(ng_clock_ns() - start) / 1e6;
    const char *a = s->text, *b = changed ? kept.data : s->text;
    for (; *a && *b; a = next_word(a), b = next_word(b)) e->n_words++, e->n_spoilt += !same_word(a, b);
    ng_typos_put(&damaged, s->text, s->len, SHARE, &rng);
    bool fixed = ng_spelling_fix(e->list, &mended, damaged.data, damaged.len);
    bool ok = !damaged.status && !mended.status && !kept.status;
    if (ok) compare(e, s->text, damaged.data, fixed ? mended.data : damaged.data);
    ng_buf_clear(&damaged);
    ng_buf_clear(&mended);
    ng_buf_clear(&kept);
    return ok;
}

static double share(size_t n, size_t of) { return of ? (double)n / (double)of : 0; }

static void put_figures(ng_eval_result *out, const evaluation *e) {
    ng_eval_put(out, "texts", (double)e->test.len, false);
    ng_eval_put(out, "words", (double)e->n_words, false);
    ng_eval_put(out, "spoilt", share(e->n_spoilt, e->n_words), false);
    ng_eval_put(out, "damaged", (double)e->n_damaged, false);
    ng_eval_put(out, "restored", share(e->n_restored, e->n_damaged), false);
    ng_eval_put(out, "model_mb", (double)ng_spelling_file_bytes(e->list) / 1e6, false);
    ng_eval_put_speed(out, e->ms, e->test.len, &e->meter);
}

static ng_status run_in(evaluation *e, ng_eval_result *out, const char *path, const ng_eval_options *opt,
                        ng_error *err) {
    const ng_recipe *r = &e->recipe;
    ng_status s = ng_recipe_read(&e->recipe, path, e->arena, err);
    if (s) return s;
    if (!r->data.test.len) return ng_fail(err, NG_EINVALID, "%s: data.test is empty", path);
    const char *model = ng_recipe_path(r, opt->model_dir, "model", e->arena),
               *card = ng_recipe_path(r, opt->model_dir, "card", e->arena);
    if (!model || !card) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    snprintf(out->model_path, sizeof out->model_path, "%s", model);
    if ((s = ng_spelling_open(&e->list, model, err)) || (s = ng_dataset_read(&e->test, &r->data.test, NULL, r, err)))
        return s;
    if (!(e->ms = ng_arena_array(e->arena, e->test.len, sizeof *e->ms)))
        return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_energy_start(&e->meter);
    for (size_t i = 0; i < e->test.len; i++)
        if (!measure(e, i)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    put_figures(out, e);
    if (!opt->card) return NG_OK;
    return ng_card_write(&(ng_card){&r->about, "spelling", r->path, NULL, 0}, out, card, err);
}

static ng_status run(ng_eval_result *out, const char *path, const ng_eval_options *opt, ng_error *err) {
    evaluation e = {0};
    if (ng_arena_new(&e.arena, 0)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_status s = run_in(&e, out, path, opt, err);
    ng_spelling_close(e.list);
    ng_dataset_clear(&e.test);
    ng_arena_free(e.arena);
    return s;
}

const ng_eval_ops ng_eval_spelling = {serves, run};
