/* Tests of a generation's confidence: right or wrong, features of the evidence, and a network that is fitted to trials. */
#include "eval/confidence_fit.h"
#include "eval/figures.h"

#include "core/hash.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static bool right(ng_trial_match match, const char *said, const char *gold) {
    static const char *const labels[] = {"negative", "positive"};
    return ng_trial_is_right(match, said, &gold, 1, labels, 2);
}

static void answers_are_judged(void **state) {
    (void)state;
    assert_true(right(NG_MATCH_LABEL, "It is Positive, not negative.", "positive"));
    assert_false(right(NG_MATCH_LABEL, "It is Positive, not negative.", "negative"));
    assert_false(right(NG_MATCH_LABEL, "nonpositive", "positive")); /* whole words */
    assert_true(right(NG_MATCH_NUMBER, "3 and 4 are 1,007.", "1007"));
    assert_true(right(NG_MATCH_NUMBER, "so -2", "-2"));
    assert_false(right(NG_MATCH_NUMBER, "7 of 8", "7"));
    assert_false(right(NG_MATCH_NUMBER, "none", "0"));
    assert_true(right(NG_MATCH_CONTAINS, "Her name is anna SMITH.", "Anna Smith"));
    assert_false(right(NG_MATCH_CONTAINS, "Joanna Smith", "Anna Smith"));
    assert_false(right(NG_MATCH_CONTAINS, "", "Anna"));
}

static void evidence_becomes_features(void **state) {
    (void)state;
    const uint32_t taps[] = {3};
    ng_confidence c = {.taps = taps, .n_taps = 1, .n_embd = 2, .n_features = ng_confidence_n_features(1, 2)};
    ng_evidence e;
    assert_int_equal(ng_evidence_init(&e, &c, 3), NG_OK);
    assert_true(isnan(ng_confidence_of(&e, 5, 0))); /* nothing has been seen */
    const float hidden[3][2] = {{1, 2}, {3, 4}, {5, 9}};
    for (int i = 0; i < 3; i++) {
        ng_distribution d = {.entropy = (float)i, .margin = 0.5f};
        ng_evidence_add(&e, &d, -(float)i, hidden[i]);
    }
    assert_true(isnan(ng_confidence_of(&e, 5, 2))); /* without weights evidence alone */
    const float *f = e.features, *h = f + NG_CONFIDENCE_STATS;
    assert_true(f[0] == 1 && f[1] == 0 && f[2] == 2 && f[3] == 0 && f[4] == 2); /* entropy: mean, least, most, first, last */
    assert_true(f[10] == -1 && f[11] == -2 && h[0] == 1 && h[1] == 2 && h[2] == 5 && h[3] == 9 && h[4] == 3 && h[5] == 5);
    ng_evidence_add(&e, &(ng_distribution){.entropy = 1}, 0, hidden[0]); /* full: left out */
    assert_int_equal(e.n, 3);
    ng_evidence_clear(&e);
}

/* Right where two features have the same sign: no linear model sees it. */
static ng_trials make_trials(size_t n, const ng_confidence *c) {
    ng_rng r = ng_rng_seed(7);
    ng_trials t = {.n = n, .n_features = c->n_features, .n_names = 1, .names = {"signs"}};
    t.features = calloc(n * c->n_features, sizeof *t.features);
    t.correct = calloc(n, 1);
    t.task = calloc(n, 1);
    for (size_t i = 0; i < n; i++) {
        float *f = t.features + i * c->n_features;
        for (size_t k = 0; k < c->n_features; k++) f[k] = (float)ng_rng_below(&r, 2000) / 1000 - 1;
        t.correct[i] = (f[3] > 0) == (f[20] > 0);
    }
    return t;
}

static void a_network_learns_what_is_right(void **state) {
    (void)state;
    enum { N = 1500, TEST = 500 };
    const uint32_t taps[] = {0};
    size_t rows[N];
    float good[TEST], bad[TEST], b2[2];
    size_t n_good, n_bad;
    for (size_t i = 0; i < N; i++) rows[i] = i;
    for (int round = 0; round < 2; round++) {
        ng_arena *arena;
        ng_confidence c = {.taps = taps, .n_taps = 1, .n_embd = 2, .n_features = ng_confidence_n_features(1, 2)};
        ng_confidence_training o =
            {.n_hidden = 16, .epochs = 60, .batch = 32, .seed = 1, .rate = 1e-2, .dropout = 0, .decay = 0.01};
        ng_trials t = make_trials(N, &c);
        assert_int_equal(ng_arena_new(&arena, 0), NG_OK);
        assert_int_equal(ng_confidence_fit(&c, &t, rows, N - TEST, &o, arena, NULL), NG_OK);
        assert_int_equal(ng_confidence_platt(&c, &t, rows, N - TEST, NULL), NG_OK);
        float *p = ng_confidence_apply(&c, &t, rows + N - TEST, TEST);
        n_good = n_bad = 0;
        for (size_t i = 0; i < TEST; i++)
            if (t.correct[N - TEST + i]) good[n_good++] = p[i];
            else bad[n_bad++] = p[i];
        assert_true(ng_metric_auroc(good, n_good, bad, n_bad) > 0.9);
        b2[round] = c.b2;
        free(p);
        ng_trials_clear(&t);
        ng_arena_free(arena);
    }
    assert_true(b2[0] - b2[1] == 0); /* the same seed, the same bits */
}

/* Two kinds of prompts, whose first rows lie around (0, 0) and (10, 0); what lies at (0, 10) is neither. */
static void a_kind_that_was_not_seen_is_strange(void **state) {
    (void)state;
    enum { N = 400 };
    const uint32_t taps[] = {0};
    size_t rows[N];
    float wild[] = {0, 10}, near[] = {9.5f, 0.2f};
    ng_arena *arena;
    ng_confidence c = {.taps = taps, .n_taps = 1, .n_embd = 2, .n_features = ng_confidence_n_features(1, 2)};
    ng_confidence_training o = {.n_hidden = 4, .epochs = 2, .batch = 32, .seed = 1, .rate = 1e-2};
    ng_trials t = make_trials(N, &c);
    t.n_names = 2;
    for (size_t i = 0; i < N; i++)
        rows[i] = i, t.task[i] = i % 2, t.features[i * c.n_features + NG_CONFIDENCE_STATS] += i % 2 ? 10.0f : 0.0f;
    assert_int_equal(ng_arena_new(&arena, 0), NG_OK);
    assert_int_equal(ng_confidence_fit(&c, &t, rows, N / 2, &o, arena, NULL), NG_OK);
    assert_true(ng_confidence_strangeness(&c, wild) < 1); /* no kinds are told yet */
    assert_int_equal(ng_confidence_kinds(&c, &t, rows, N / 2, arena, NULL), NG_OK);
    assert_int_equal(ng_confidence_radii(&c, &t, rows + N / 2, N / 2, arena, NULL), NG_OK);
    assert_true(ng_confidence_strangeness(&c, wild) > 1 && ng_confidence_strangeness(&c, near) < 1);
    float *p = ng_confidence_apply(&c, &t, rows, N);
    size_t n_strange = 0;
    for (size_t i = 0; i < N; i++) n_strange += p[i] <= 0;
    assert_true(n_strange < N / 20);
    free(p);

    ng_evidence e;
    assert_int_equal(ng_evidence_init(&e, &c, 2), NG_OK);
    ng_evidence_add(&e, &(ng_distribution){.entropy = 1}, -1, wild);
    assert_true(ng_confidence_of(&e, 5, 1) <= 0);
    ng_evidence_clear(&e);
    assert_int_equal(ng_evidence_init(&e, &c, 2), NG_OK);
    ng_evidence_add(&e, &(ng_distribution){.entropy = 1}, -1, near);
    ng_evidence_add(&e, &(ng_distribution){.entropy = 1}, -1, wild); /* the first step tells the kind */
    assert_true(ng_confidence_of(&e, 5, 2) > 0);
    ng_evidence_clear(&e);
    ng_trials_clear(&t);
    ng_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_judged),
        cmocka_unit_test(evidence_becomes_features),
        cmocka_unit_test(a_network_learns_what_is_right),
        cmocka_unit_test(a_kind_that_was_not_seen_is_strange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
