/* Tests of the exact cache: full keys, bounds, order of use, copies, threads, the fault sweep. */
#include "grid/cache.h"
#include "fault.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static ng_answer *answer_of(const char *label) {
    ng_answer *a;
    assert_int_equal(ng_answer_new(&a), NG_OK);
    a->task = NG_TASK_CLASSIFY;
    a->label = ng_answer_strndup(a, label, strlen(label));
    a->scores = ng_answer_alloc(a, sizeof *a->scores);
    a->scores[0] = (ng_score){a->label, 0.5f};
    a->n_scores = 1;
    a->expert = "intent";
    return a;
}

static void put(ng_cache *c, const char *key, const char *label) {
    ng_answer *a = answer_of(label);
    ng_cache_put(c, key, strlen(key), a);
    ng_answer_free(a);
}

static bool holds(ng_cache *c, const char *key, const char *label) {
    ng_answer *a = ng_cache_get(c, key, strlen(key));
    bool same =
        a && !strcmp(a->label, label) && a->n_scores == 1 && !strcmp(a->scores[0].label, label);
    ng_answer_free(a);
    return same;
}

static void compares_whole_keys(void **state) {
    (void)state;
    ng_cache *c;
    assert_int_equal(ng_cache_new(&c, 1 << 20, NULL), NG_OK);
    put(c, "a", "1"), put(c, "ab", "2"), put(c, "", "3");
    ng_answer *a = answer_of("4");
    ng_cache_put(c, "a\0b", 3, a); /* a NUL is a byte like any other */
    ng_answer_free(a);
    assert_true(holds(c, "a", "1") && holds(c, "ab", "2") && holds(c, "", "3"));
    assert_null(ng_cache_get(c, "b", 1));
    put(c, "a", "5"); /* replaces */
    assert_true(holds(c, "a", "5"));
    assert_int_equal(ng_cache_len(c), 4);
    ng_cache_free(c);
}

static void forgets_what_was_used_longest_ago(void **state) {
    (void)state;
    ng_cache *c;
    char key[16], label[16];
    size_t max = 100000;
    assert_int_equal(ng_cache_new(&c, max, NULL), NG_OK);
    put(c, "old but used", "kept");
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k%d", i);
        snprintf(label, sizeof label, "l%d", i);
        put(c, key, label);
        assert_true(ng_cache_bytes(c) <= max);
        assert_true(holds(c, key, label));
        assert_true(holds(c, "old but used", "kept"));
    }
    assert_null(ng_cache_get(c, "k0", 2));
    assert_true(ng_cache_len(c) > 5 && ng_cache_len(c) < 100);
    ng_cache_free(c);
    assert_int_equal(ng_cache_new(&c, 2000, NULL), NG_OK); /* smaller than one answer */
    put(c, "x", "y");
    assert_int_equal(ng_cache_len(c), 0);
    ng_cache_free(c);
}

static void copies_everything_but_the_way(void **state) {
    (void)state;
    ng_answer *a = answer_of("x"), *b;
    float v[3] = {1, 2, 3};
    ng_entity e = {1, 4, "email", "a@b", 0.9f};
    ng_score cat = {"toxicity", 0.1f};
    ng_ranked r = {2, 0.5f};
    ng_route_step step = {.step = "expert", .outcome = "answered"};
    const char *warning = "w";
    a->embedding = v, a->n_embedding = 3, a->entities = &e, a->n_entities = 1, a->categories = &cat,
    a->n_categories = 1;
    a->results = &r, a->n_results = 1, a->answer = "text", a->finish = "stop", a->route = &step,
    a->n_route = 1;
    a->warnings = &warning, a->n_warnings = 1, a->latency_ms = 3, a->load_ms = 4;
    assert_int_equal(ng_answer_copy(&b, a), NG_OK);
    ng_answer_free(a);
    assert_true(b->embedding != v && b->embedding[2] == 3 && b->entities[0].end == 4 &&
                b->results[0].index == 2);
    assert_string_equal(b->entities[0].text, "a@b");
    assert_string_equal(b->categories[0].label, "toxicity");
    assert_string_equal(b->answer, "text");
    assert_true(b->n_route == 0 && b->n_warnings == 0 && b->latency_ms == 0 && b->load_ms == 0 &&
                !*b->decision_id);
    ng_answer_free(b);
}

static void *hammer(void *arg) {
    ng_cache *c = arg;
    char key[16];
    for (unsigned i = 0; i < 3000; i++) {
        unsigned k = i * 2654435761u % 97;
        snprintf(key, sizeof key, "%u", k);
        if (i % 3) {
            ng_answer *a = ng_cache_get(c, key, strlen(key));
            if (a && strcmp(a->label, key)) abort();
            ng_answer_free(a);
        } else {
            put(c, key, key);
        }
    }
    return NULL;
}

static void threads_share_it(void **state) {
    (void)state;
    ng_cache *c;
    pthread_t t[4];
    assert_int_equal(ng_cache_new(&c, 200000, NULL), NG_OK);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&t[i], NULL, hammer, c), 0);
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    assert_true(ng_cache_bytes(c) <= 200000);
    ng_cache_free(c);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    ng_answer *a = answer_of("x");
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_cache *c = NULL;
        ng_error err = {0};
        if (ng_cache_new(&c, 1 << 20, &err) == NG_OK) {
            ng_cache_put(c, "k", 1, a);
            ng_answer *got = ng_cache_get(c, "k", 1);
            if (got) fault_passed();
            ng_answer_free(got);
        } else {
            assert_int_equal(err.code, NG_ENOMEM);
        }
        ng_cache_free(c);
    }
    assert_true(fault_sweep_rounds() > 8);
    ng_answer_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_whole_keys),
        cmocka_unit_test(forgets_what_was_used_longest_ago),
        cmocka_unit_test(copies_everything_but_the_way),
        cmocka_unit_test(threads_share_it),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
