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

/* To a classify request, of the named expert or of anybody. */
static ng_answer *answer(ng_grid *g, const char *model) {
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_CLASSIFY);
    ng_request_set_text(&r, "some text", 9);
    r.model = model;
    if (ng_grid_ask(g, &r, &a, &err)) fail_msg("%s", err.text);
    return a;
}

/* Who answers, "-" for nobody: in scope, or not. */
static const char *ask(ng_grid *g, const char *model, bool *in_scope) {
    static char name[48];
    ng_answer *a = answer(g, model);
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

/* ---- second claims ------------------------------------------------------------------------------- */

static char folder[64]; /* with composed/a and composed/b in it */

/* The fake encoder's vectors are {1, 0}: a claim's first weight decides. */
static void write_second(const char *name, double linear, float weight, size_t n, const char *digest) {
    const float vector[2] = {1, 0}, w[4] = {weight, 9, 9, 9};
    char own[NG_VECTOR_DIGEST], path[160];
    ng_error err = {0};
    ng_vector_digest(own, vector, 2);
    snprintf(path, sizeof path, "%s/composed/%s/route.vector.gguf", folder, name);
    ng_vector_claim_parts parts = {name, "the encoder", digest ? digest : own, linear, 0, w, n};
    if (ng_vector_claim_write(&parts, path, &err)) fail_msg("%s", err.text);
}

static void run_in_folder(const char *format) {
    char line[256];
    snprintf(line, sizeof line, format, folder, folder);
    assert_int_equal(system(line), 0);
}

static int fresh_folder(void **state) {
    fresh(state);
    strcpy(folder, "/tmp/ng-compose-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    run_in_folder("mkdir -p %s/composed/a %s/composed/b");
    *fake_get("router/unsure") = (fake){.confidence = NAN};
    return 0;
}

static int end_folder(void **state) {
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", folder);
    return system(line);
}

static ng_grid *open_second(const char *unsure) {
    char yaml[1024];
    snprintf(yaml, sizeof yaml,
             "embedded: false\ncache: {exact: 0}\nmodels:\n  a: {path: %s/composed/a/model.gguf}\n  b: {path: "
             "%s/composed/b/model.gguf}\n  enc: {path: %s/enc.gguf}\nrouter: {unsure: {%s}}\nexperts:\n" A B,
             folder, folder, folder, unsure);
    return open_grid(yaml);
}

static void a_doubt_asks_the_encoder(void **state) {
    (void)state;
    bool in_scope;
    write_second("a", 1, 5, 2, NULL); /* the encoder speaks for a, and against b */
    write_second("b", 1, -5, 2, NULL);
    ng_grid *g = open_second("model: enc, lead: 0.5");
    fake *encoder = fake_get("router/unsure");
    claims("a/route", 0.7), claims("b/route", 0.8);
    assert_string_equal(ask(g, NULL, &in_scope), "a");
    assert_int_equal(encoder->calls, 2); /* which encoder it is, and the text */
    assert_string_equal(ask(g, NULL, &in_scope), "a");
    assert_int_equal(encoder->calls, 3);
    claims("a/route", 0.1), claims("b/route", 0.9); /* it leads by more: nobody asks */
    assert_string_equal(ask(g, NULL, &in_scope), "b");
    assert_int_equal(encoder->calls, 3);
    claims("a/route", 0.001), claims("b/route", 0.001); /* nobody claims anything by n-grams */
    assert_string_equal(ask(g, NULL, &in_scope), "a");
    assert_int_equal(encoder->calls, 4);
    ng_grid_close(g);
    g = open_second("model: enc, lead: 0"); /* never */
    claims("a/route", 0.7), claims("b/route", 0.8);
    assert_string_equal(ask(g, NULL, &in_scope), "b");
    assert_int_equal(encoder->calls, 4);
    ng_grid_close(g);
}

static void one_second_claim_leaves_the_others_alone(void **state) {
    (void)state;
    bool in_scope;
    write_second("a", 1, 0, 2, NULL); /* says what the linear one said */
    ng_grid *g = open_second("model: enc, lead: 0.5");
    claims("a/route", 0.7), claims("b/route", 0.8);
    assert_string_equal(ask(g, NULL, &in_scope), "b");
    claims("a/route", 0.85);
    assert_string_equal(ask(g, NULL, &in_scope), "a");
    ng_grid_close(g);
}

/* The warnings of an answer, one after the other. */
static const char *warned(ng_grid *g) {
    static char all[1024];
    ng_answer *a = answer(g, NULL);
    *all = 0;
    for (size_t i = 0; i < a->n_warnings; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s;", a->warnings[i]);
    ng_answer_free(a);
    return all;
}

static void what_does_not_fit_is_set_aside(void **state) {
    (void)state;
    bool in_scope;
    claims("a/route", 0.7), claims("b/route", 0.8);
    write_second("a", 1, 5, 2, "0123456789abcdef0123456789abcdef"); /* another encoder */
    ng_grid *g = open_second("model: enc, lead: 0.5");
    assert_string_equal(ask(g, NULL, &in_scope), "b");
    assert_non_null(strstr(warned(g), "the second claims of 1 experts; a: "));
    assert_non_null(strstr(warned(g), "digest 01234567"));
    ng_grid_close(g);
    write_second("a", 1, 5, 3, NULL); /* of another width */
    g = open_second("model: enc, lead: 0.5");
    assert_string_equal(ask(g, NULL, &in_scope), "b");
    assert_non_null(strstr(warned(g), "was learnt on 3 numbers"));
    ng_grid_close(g);
    char line[160];
    snprintf(line, sizeof line, "head -c 100 /dev/zero > %s/composed/a/route.vector.gguf", folder);
    assert_int_equal(system(line), 0);
    write_second("b", 1, 5, 2, NULL);
    g = open_second("model: enc, lead: 0.5");
    assert_string_equal(ask(g, NULL, &in_scope), "b");
    assert_non_null(strstr(warned(g), "the second claims of 1 experts; a: "));
    ng_grid_close(g);
}

static void without_its_encoder_claims_stay_linear(void **state) {
    (void)state;
    bool in_scope;
    write_second("a", 1, 5, 2, NULL);
    claims("a/route", 0.7), claims("b/route", 0.8);
    ng_grid *g = open_second("model: enc, lead: 0.5");
    fake_get("router/unsure")->fails = NG_EIO;
    assert_string_equal(ask(g, NULL, &in_scope), "b");
    assert_non_null(strstr(warned(g), "the router's encoder failed"));
    fake_get("router/unsure")->fails = NG_OK; /* it comes back */
    assert_string_equal(ask(g, NULL, &in_scope), "a");
    ng_grid_close(g);
    char yaml[512];
    ng_error err = {0};
    snprintf(yaml, sizeof yaml,
             "embedded: false\nmodels: {a: {path: %s/composed/a/model.gguf}, enc: {path: /missing.gguf}}\nrouter: {unsure: {model: enc}}\nexperts:\n" A, folder);
    assert_int_equal(ng_grid_open_text(&g, &(ng_grid_options){.no_records = true}, yaml, "/cfg/t.yaml", &fake_hooks, &err), NG_ENOTFOUND);
    assert_non_null(strstr(err.text, "/cfg/t.yaml:3: router.unsure: ")); /* who names one gets it or is told */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(a_doubt_asks_the_encoder, fresh_folder, end_folder),
                                       cmocka_unit_test_setup_teardown(one_second_claim_leaves_the_others_alone, fresh_folder, end_folder),
                                       cmocka_unit_test_setup_teardown(what_does_not_fit_is_set_aside, fresh_folder, end_folder),
                                       cmocka_unit_test_setup_teardown(without_its_encoder_claims_stay_linear, fresh_folder, end_folder),
                                       cmocka_unit_test_setup(the_greatest_claim_wins, fresh),
                                       cmocka_unit_test_setup(without_a_claim_others_are_asked, fresh),
                                       cmocka_unit_test_setup(a_wrong_expert_notices, fresh),
                                       cmocka_unit_test_setup(the_next_claim_is_asked, fresh),
                                       cmocka_unit_test_setup(a_route_that_fails_is_no_claim, fresh),
                                       cmocka_unit_test(the_best_are_kept_in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
