/* Tests of experts with routing weights of their own: claims decide, one expert comes or goes without touching the others. */
#include "fake_tier.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HEAD                                                                                                           \
    "embedded: false\ncache: {exact: 0}\nmodels:\n  a: {path: /composed/a/model.gguf}\n  b: {path: "                   \
    "/composed/b/model.gguf}\n  c: {path: /plain/c/model.gguf}\nexperts:\n"
#define A "  - {name: a, task: classify, model: a}\n"
#define B "  - {name: b, task: classify, model: b}\n"
#define C "  - {name: c, task: classify, model: c}\n"

static void claims(const char *name, double p) {
    *fake_get(name) = (fake){.label = p >= 0.5 ? "here" : "elsewhere", .confidence = p >= 0.5 ? p : 1 - p, .labels = {p >= 0.5 ? "elsewhere" : "here"}, .p = {(float)(p >= 0.5 ? 1 - p : p)}};
}

static int fresh(void **state) {
    (void)state;
    fake_reset();
    *fake_get("a") = (fake){.label = "la", .confidence = 0.9};
    *fake_get("b") = (fake){.label = "lb", .confidence = 0.9};
    *fake_get("c") = (fake){.label = "lc", .confidence = 0.7};
    claims("a/route", 0.1);
    claims("b/route", 0.1);
    return setenv("NANOGRID_HOME", "/nonexistent", 1);
}

static ng_grid *open_grid(const char *yaml) {
    ng_grid *g;
    ng_error err = {0};
    if (ng_grid_open_text(&g, &(ng_grid_options){.no_records = true}, yaml, "/cfg/t.yaml", &fake_hooks, &err))
        fail_msg("%s", err.text);
    return g;
}

/* Who answers, "-" for nobody: in scope, or not. */
static const char *ask(ng_grid *g, const char *model, bool *in_scope) {
    static char name[48];
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_CLASSIFY);
    ng_request_set_text(&r, "some text", 9);
    r.model = model;
    if (ng_grid_ask(g, &r, &a, &err)) fail_msg("%s", err.text);
    snprintf(name, sizeof name, "%s", a->expert ? a->expert : "-");
    *in_scope = a->in_scope;
    ng_answer_free(a);
    return name;
}

static void the_greatest_claim_wins(void **state) {
    (void)state;
    bool in_scope;
    ng_grid *g = open_grid(HEAD A B C);
    claims("a/route", 0.8), claims("b/route", 0.9);
    assert_string_equal(ask(g, NULL, &in_scope), "b");
    assert_true(in_scope);
    assert_int_equal(fake_get("a")->calls + fake_get("c")->calls, 0); /* nobody else was asked */
    claims("a/route", 0.95);
    assert_string_equal(ask(g, NULL, &in_scope), "a");
    ng_grid_close(g);
    g = open_grid(HEAD A C); /* b goes alone */
    assert_string_equal(ask(g, NULL, &in_scope), "a");
    ng_grid_close(g);
}

static void without_a_claim_others_are_asked(void **state) {
    (void)state;
    bool in_scope;
    ng_grid *g = open_grid(HEAD A B C);
    assert_string_equal(ask(g, NULL, &in_scope), "c"); /* unknown to any router: its own confidence speaks */
    assert_int_equal(fake_get("a")->calls + fake_get("b")->calls, 0);
    ng_grid_close(g);
}

static void a_wrong_expert_notices(void **state) {
    (void)state;
    bool in_scope;
    ng_grid *g = open_grid(HEAD A B);
    claims("b/route", 0.9);
    assert_string_equal(ask(g, "a", &in_scope), "a");
    assert_false(in_scope);
    assert_string_equal(ask(g, "b", &in_scope), "b");
    assert_true(in_scope);
    ng_grid_close(g);
}

static void the_next_claim_is_asked(void **state) {
    (void)state;
    bool in_scope;
    ng_grid *g = open_grid(HEAD A B);
    claims("a/route", 0.7), claims("b/route", 0.9);
    fake_get("b")->out_of_scope = true;
    assert_string_equal(ask(g, NULL, &in_scope), "a");
    ng_grid_close(g);
}

static void a_route_that_fails_is_no_claim(void **state) {
    (void)state;
    bool in_scope;
    ng_grid *g = open_grid(HEAD A B);
    claims("a/route", 0.9), claims("b/route", 0.95);
    fake_get("b/route")->fails = NG_EIO;
    assert_string_equal(ask(g, NULL, &in_scope), "a");
    ng_grid_close(g);
}

static void the_best_are_kept_in_order(void **state) {
    (void)state;
    ng_decision d = {.n_scores = 0};
    char name[8];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "e%d", i * 37 % 50);
        ng_decision_add(&d, name, i * 37 % 50 / 50.0);
    }
    assert_int_equal(d.n_scores, NG_DECISION_MAX);
    for (int i = 0; i < NG_DECISION_MAX; i++) {
        snprintf(name, sizeof name, "e%d", 49 - i);
        assert_string_equal(d.scores[i].label, name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(the_greatest_claim_wins, fresh),
                                       cmocka_unit_test_setup(without_a_claim_others_are_asked, fresh),
                                       cmocka_unit_test_setup(a_wrong_expert_notices, fresh),
                                       cmocka_unit_test_setup(the_next_claim_is_asked, fresh),
                                       cmocka_unit_test_setup(a_route_that_fails_is_no_claim, fresh),
                                       cmocka_unit_test(the_best_are_kept_in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
