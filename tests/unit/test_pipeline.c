/* Tests of pipelines: order, conditions, texts handed on, fallbacks, that a failure stays in its part, that limits hold
 * for every step, and that what cannot work is refused with its line. */
#include "fake_tier.h"
#include "fault.h"

#include <math.h>
#include <nanogrid/pipeline.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define GRID                                                                                                             \
    "embedded: false\nmodels: {m: {path: m.gguf}, bare: {path: uncalibrated.gguf}}\ncache: {exact: 0}\npolicy: {privacy: {pii: any}}\n" \
    "experts:\n  - {name: lang, task: detect-language, model: m}\n  - {name: intent, task: classify, model: m}\n"        \
    "  - {name: raw, task: classify, model: bare}\n  - {name: pii, task: extract}\n  - {name: sum, task: summarize, model: m}\n" \
    "  - {name: big, task: summarize, model: m, tier: small}\n"                                                           \
    "upstreams:\n  - {name: cloud, base_url: \"http://x/v1\", model: c, pricing: {prompt_per_1m: 1000, completion_per_1m: 1000}}\n"
#define PIPE(steps) GRID "pipelines:\n  - name: p\n    steps:\n" steps

static const char triage[] = PIPE("      - {name: lang, task: detect-language, fallback: unknown, tier: nano}\n"
                                  "      - {name: clean, task: extract, redact: true, tier: nano}\n"
                                  "      - {name: kind, task: classify, expert: intent, min_confidence: 0.7, fallback: "
                                  "other, when: {step: lang, in: [en, de]}}\n"
                                  "      - {name: gist, task: summarize, input: clean, fallback: input, tier: nano}\n");

static int fresh(void **state) {
    (void)state;
    fake_reset();
    *fake_get("lang") = (fake){.label = "en", .confidence = 0.99};
    *fake_get("intent") = (fake){.label = "greet", .confidence = 0.9};
    *fake_get("pii") = (fake){.entity = "email", .confidence = NAN};
    *fake_get("sum") = (fake){.confidence = NAN};
    *fake_get("cloud") = (fake){.label = "greet", .confidence = NAN, .text = "from above"};
    return 0;
}

static ng_status open_yaml(ng_grid **g, const char *yaml, ng_error *err) {
    ng_grid_options o = {.no_records = true, .open_upstream = fake_open_upstream};
    return ng_grid_open_text(g, &o, yaml, "/cfg/t.yaml", &fake_hooks, err);
}

static ng_grid *open_grid(const char *yaml) {
    ng_grid *g;
    ng_error err = {0};
    if (open_yaml(&g, yaml, &err)) fail_msg("%s", err.text);
    return g;
}

static ng_pipeline_answer *ask(ng_grid *g, const char *text) {
    ng_request r;
    ng_pipeline_answer *p;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_AUTO);
    ng_request_set_text(&r, text, strlen(text));
    if (ng_grid_ask_pipeline(g, "p", &r, &p, &err)) fail_msg("%s", err.text);
    return p;
}

static void is_step(const ng_pipeline_step *s, ng_step_status status, const char *label, const char *text,
                    const char *why) {
    if (s->status != status) fail_msg("%s is %s (%s)", s->name, ng_step_status_name(s->status), s->why ? s->why : "");
    if (!label) assert_null(s->label);
    else assert_string_equal(s->label, label);
    if (!text) assert_null(s->text);
    else assert_string_equal(s->text, text);
    if (!why) assert_null(s->why);
    else if (!strstr(s->why, why)) fail_msg("'%s' lacks '%s'", s->why, why);
}

static void goes_through(void **state) {
    (void)state;
    ng_grid *g = open_grid(triage);
    ng_pipeline_answer *p = ask(g, "hi @ you");
    assert_int_equal(p->n_steps, 4);
    assert_false(p->degraded);
    is_step(&p->steps[0], NG_STEP_ANSWERED, "en", NULL, NULL);
    is_step(&p->steps[1], NG_STEP_ANSWERED, NULL, "hi [email] you", NULL);
    is_step(&p->steps[2], NG_STEP_ANSWERED, "greet", NULL, NULL);
    assert_string_equal(p->steps[2].answer->expert, "intent");
    assert_int_equal(p->steps[3].status, NG_STEP_ANSWERED);
    assert_int_equal(p->prompt_tokens, 40);
    assert_int_equal(ng_grid_get_stats(g).pipelines, 1);
    assert_int_equal(ng_grid_get_stats(g).pipelines_degraded, 0);
    ng_pipeline_answer_free(p);
    ng_grid_close(g);
}

static void condition_skips(void **state) {
    (void)state;
    ng_grid *g = open_grid(triage);
    fake_get("lang")->label = "fr";
    ng_pipeline_answer *p = ask(g, "bonjour");
    is_step(&p->steps[2], NG_STEP_SKIPPED, NULL, NULL, "lang is fr");
    assert_false(p->degraded); /* that is how it was meant */
    assert_int_equal(fake_get("intent")->calls, 0);
    ng_pipeline_answer_free(p);
    ng_grid_close(g);
}

static void failure_stays_in_its_part(void **state) {
    (void)state;
    ng_grid *g = open_grid(triage);
    fake_get("lang")->fails = NG_EIO;
    ng_pipeline_answer *p = ask(g, "hi @ you");
    assert_true(p->degraded);
    is_step(&p->steps[0], NG_STEP_FALLBACK, "unknown", NULL, "down");
    is_step(&p->steps[1], NG_STEP_ANSWERED, NULL, "hi [email] you", NULL);
    is_step(&p->steps[2], NG_STEP_SKIPPED, NULL, NULL, "lang is unknown");
    assert_int_equal(p->steps[3].status, NG_STEP_ANSWERED);
    ng_pipeline_answer_free(p);
    fresh(NULL);
    fake_get("pii")->fails = NG_EIO; /* nothing was redacted, so nothing may read it */
    p = ask(g, "hi @ you");
    is_step(&p->steps[1], NG_STEP_FAILED, NULL, NULL, "down");
    is_step(&p->steps[2], NG_STEP_ANSWERED, "greet", NULL, NULL);
    is_step(&p->steps[3], NG_STEP_SKIPPED, NULL, NULL, "clean gave no text");
    assert_int_equal(fake_get("sum")->calls, 0);
    ng_pipeline_answer_free(p);
    fresh(NULL);
    fake_get("sum")->fails = NG_EIO; /* its tier forbids `big` and the cloud */
    p = ask(g, "hi @ you");
    is_step(&p->steps[3], NG_STEP_FALLBACK, NULL, "hi [email] you", "down");
    assert_int_equal(fake_get("big")->calls + fake_get("cloud")->calls, 0);
    ng_pipeline_answer_free(p);
    assert_int_equal(ng_grid_get_stats(g).pipelines_degraded, 3);
    ng_grid_close(g);
}

static void confidence_and_scope_fall_back(void **state) {
    (void)state;
    ng_grid *g = open_grid(triage);
    fake_get("intent")->confidence = 0.69;
    ng_pipeline_answer *p = ask(g, "hi");
    is_step(&p->steps[2], NG_STEP_FALLBACK, "other", NULL, "0.690 is below 0.700");
    assert_non_null(p->steps[2].answer);
    ng_pipeline_answer_free(p);
    fake_get("intent")->confidence = 0.7;
    fake_get("intent")->out_of_scope = true;
    p = ask(g, "hi");
    is_step(&p->steps[2], NG_STEP_FALLBACK, "other", NULL, "out of scope");
    ng_pipeline_answer_free(p);
    ng_grid_close(g);
}

/* Unsure here: the next tier is asked, if the step's tier and the request's limits let it. */
static void unsure_escalates_within_limits(void **state) {
    (void)state;
    ng_grid *g =
        open_grid(PIPE("      - {name: lang, task: detect-language, min_confidence: 0.9, fallback: unknown}\n"));
    fake_get("lang")->confidence = 0.5;
    fake_get("cloud")->label = "pt";
    ng_pipeline_answer *p = ask(g, "ola");
    is_step(&p->steps[0], NG_STEP_ANSWERED, "pt", NULL, NULL);
    assert_true(p->cost_usd > 0);
    ng_pipeline_answer_free(p);
    ng_request r;
    ng_request_init(&r, NG_TASK_AUTO);
    ng_request_set_text(&r, "ola", 3);
    r.privacy = NG_PRIVACY_LOCAL;
    assert_int_equal(ng_grid_ask_pipeline(g, "p", &r, &p, NULL), NG_OK);
    is_step(&p->steps[0], NG_STEP_FALLBACK, "unknown", NULL, "below 0.900");
    assert_int_equal(fake_get("cloud")->calls, 1);
    ng_pipeline_answer_free(p);
    r.privacy = NG_PRIVACY_ANY;
    r.max_cost_usd = 0;
    assert_int_equal(ng_grid_ask_pipeline(g, "p", &r, &p, NULL), NG_OK);
    is_step(&p->steps[0], NG_STEP_FALLBACK, "unknown", NULL, "below");
    assert_int_equal(fake_get("cloud")->calls, 1);
    ng_pipeline_answer_free(p);
    ng_grid_close(g);
}

static void deadline_is_for_all(void **state) {
    (void)state;
    ng_grid *g = open_grid(triage);
    fake_get("lang")->sleep_ms = 60;
    ng_request r;
    ng_pipeline_answer *p;
    ng_request_init(&r, NG_TASK_AUTO);
    ng_request_set_text(&r, "hi", 2);
    r.deadline_ms = 30;
    assert_int_equal(ng_grid_ask_pipeline(g, "p", &r, &p, NULL), NG_OK);
    is_step(&p->steps[1], NG_STEP_FAILED, NULL, NULL, "deadline");
    is_step(&p->steps[2], NG_STEP_FALLBACK, "other", NULL, "deadline");
    ng_pipeline_answer_free(p);
    ng_grid_close(g);
}

static void refused(const char *yaml, const char *says) {
    ng_grid *g;
    ng_error err = {0};
    assert_int_equal(open_yaml(&g, yaml, &err), NG_EINVALID);
    if (!strstr(err.text, says)) fail_msg("'%s' lacks '%s'", err.text, says);
}


static void nonsense_is_refused_with_its_line(void **state) {
    (void)state;
#define LANG "      - {name: lang, task: detect-language}\n"
    refused(PIPE("      - {name: a, task: rerank}\n"),
            "t.yaml:17: the step 'a' of the pipeline 'p': needs more than one text");
    refused(PIPE(LANG "      - {name: lang, task: classify}\n"),
            ":18: the step 'lang' of the pipeline 'p': its name is taken");
    refused(PIPE("      - {name: a, task: classify, expert: nobody}\n"), "there is no expert or upstream 'nobody'");
    refused(PIPE("      - {name: a, task: classify, expert: lang}\n"), "of another task is 'lang'");
    refused(PIPE("      - {name: a, task: translate, to: de, tier: nano}\n"), "its tier excludes");
    refused(PIPE("      - {name: a, task: translate}\n"), "`to` is missing");
    refused(PIPE("      - {name: a, task: classify, redact: true}\n"), "redact is for extract");
    refused(PIPE("      - {name: a, task: summarize, min_confidence: 0.5}\n"), "min_confidence is for labels");
    refused(PIPE("      - {name: a, task: classify, expert: raw, min_confidence: 0.5}\n"),
            "min_confidence needs calibrated experts: raw");
    refused(PIPE("      - {name: a, task: extract, redact: true, fallback: input}\n"), "no safe fallback");
    refused(PIPE("      - {name: a, task: summarize, fallback: other}\n"), "fallback must be `input`");
    refused(PIPE(LANG "      - {name: a, task: classify, input: lang}\n"), "no text comes from the step 'lang'");
    refused(PIPE("      - {name: a, task: classify, input: b}\n      - {name: b, task: summarize}\n"),
            "input: there is no earlier step 'b'");
    refused(PIPE("      - {name: a, task: summarize}\n      - {name: b, task: classify, when: {step: a, in: x}}\n"),
            "when: no label comes from the step 'a'");
    refused(PIPE(LANG "      - {name: a, task: classify, when: {in: x}}\n"), "step");
    refused(GRID "pipelines:\n  - {name: p, steps: []}\n", "has 0 steps");
    refused(PIPE(LANG) "  - {name: p, steps: [{name: a, task: classify}]}\n", "the name 'p' is taken");
}

static void unknown_one_is_told(void **state) {
    (void)state;
    ng_grid *g = open_grid(triage);
    ng_request r;
    ng_pipeline_answer *p;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_AUTO);
    ng_request_set_text(&r, "hi", 2);
    assert_int_equal(ng_grid_ask_pipeline(g, "q", &r, &p, &err), NG_ENOTFOUND);
    assert_non_null(strstr(err.text, "there is no pipeline 'q'"));
    assert_null(p);
    ng_grid_close(g);
}

static void survives_want_of_memory(void **state) {
    (void)state;
    ng_grid *g = open_grid(triage);
    ng_request r;
    ng_request_init(&r, NG_TASK_AUTO);
    ng_request_set_text(&r, "hi @ you", 8);
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_pipeline_answer *p;
        ng_status s = ng_grid_ask_pipeline(g, "p", &r, &p, NULL);
        if (s) assert_int_equal(s, NG_ENOMEM);
        if (!s) ng_pipeline_answer_free(p);
        if (!s) fault_passed();
    }
    ng_grid_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(goes_through, fresh),
        cmocka_unit_test_setup(condition_skips, fresh),
        cmocka_unit_test_setup(failure_stays_in_its_part, fresh),
        cmocka_unit_test_setup(confidence_and_scope_fall_back, fresh),
        cmocka_unit_test_setup(unsure_escalates_within_limits, fresh),
        cmocka_unit_test_setup(deadline_is_for_all, fresh),
        cmocka_unit_test_setup(nonsense_is_refused_with_its_line, fresh),
        cmocka_unit_test_setup(unknown_one_is_told, fresh),
        cmocka_unit_test_setup(survives_want_of_memory, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
