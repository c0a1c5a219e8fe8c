/* Tests of the grid: configuration with line numbers, the two decisions, hard filters, exact cache
 * keys, views.  All over fake tiers (tests/support/fake_tier.h). */
#include "fake_tier.h"
#include "fault.h"
#include "test_home.h"

#include "core/file.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const ng_grid_options options = {.open_upstream = fake_open_upstream, .no_records = true};

/* Two classifiers, an extractor, a router package that exists. */
#define BASE "embedded: false\nmodels: {m: {path: m.gguf}}\nrouter: {model: router-test}\n"
#define EXPERTS                                                                                    \
    "experts:\n  - {name: intent, task: classify, model: m}\n  - {name: topic, task: classify, "   \
    "model: m}\n"                                                                                  \
    "  - {name: finder, task: extract}\n"
#define UPSTREAM                                                                                   \
    "upstreams:\n  - {name: cloud, base_url: \"http://x/v1\", model: big, pricing: "               \
    "{prompt_per_1m: 1, completion_per_1m: 2}}\n"

static int make_home(void **state) {
    if (test_home_make(state)) return 1;
    return system("mkdir -p $NANOGRID_HOME/packages/router-test $NANOGRID_HOME/packages/intent");
}

static int fresh(void **state) {
    (void)state;
    fake_reset();
    *fake_get("router/task") =
        (fake){.label = "classify", .confidence = 0.95, .labels = {"extract"}, .p = {0.04f}};
    *fake_get("router/expert") =
        (fake){.label = "topic", .confidence = 0.9, .labels = {"intent"}, .p = {0.1f}};
    *fake_get("intent") = (fake){.label = "greet", .confidence = 0.9};
    *fake_get("topic") = (fake){.label = "sports", .confidence = 0.7};
    *fake_get("finder") = (fake){.confidence = NAN, .entity = "email"};
    *fake_get("cloud") = (fake){.label = "from above", .confidence = NAN, .text = "a long answer"};
    fake_get("signal/pii")->entity = "email";
    return 0;
}

static ng_grid *open_grid(const char *yaml) {
    ng_grid *g;
    ng_error err = {0};
    if (ng_grid_open_text(&g, &options, yaml, "/cfg/t.yaml", &fake_hooks, &err))
        fail_msg("%s", err.text);
    return g;
}

static ng_answer *ask(ng_grid *g, ng_task task, const char *text) {
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_request_init(&r, task);
    ng_request_set_text(&r, text, strlen(text));
    if (ng_grid_ask(g, &r, &a, &err)) fail_msg("%s", err.text);
    return a;
}

static const char *step_of(const ng_answer *a, const char *expert) {
    for (size_t i = 0; i < a->n_route; i++)
        if (a->route[i].expert && !strcmp(a->route[i].expert, expert) &&
            strcmp(a->route[i].step, "router"))
            return a->route[i].outcome;
    return "none";
}

/* ---- configuration --------------------------------------------------------------------------- */

static void names_line_and_mend(void **state) {
    (void)state;
    static const struct {
        const char *yaml, *says;
    } bad[] = {
        {"listen: x\nenergy: {}\n", "t.yaml:2: unknown key 'energy' in the grid; known: listen, embedded, models"},
        {"cache: {exact: 1MB, semantic: {size: 1MB}}\n", "t.yaml:1: cache.semantic needs max_false_hit"},
        {"models: {m: {path: m}}\nexperts:\n  - {name: a, task: classify, model: m, contract: {max_error: 0.1}, "
         "unsure: {model: m}}\n",
         "t.yaml:3: the expert 'a': unsure needs a model, a task with a confidence and no contract"},
        {"experts:\n  - {name: a, task: classify, unsure: {model: m}}\n",
         "t.yaml:2: the expert 'a': unsure needs a model"},
        {"models: {m: {path: m.gguf}}\nexperts:\n  - {name: a, task: classify, model: m, unsure: {model: m, stands: greater}}\n",
         "t.yaml:3: the expert 'a': unsure: stands: greater is for the task moderate"},
        {"experts:\n  - {name: a, task: classify, model: m,\n     unsure: {model: m, refuse_below: 0.8}}\n",
         "t.yaml:3: the expert 'a': unsure.refuse_below is about a second model whose word stands: write `stands: second`"},
        {"experts:\n  - {name: a, task: classify, model: m,\n     unsure: {model: m, stands: surer, refuse_below: 1}}\n",
         "t.yaml:3: the expert 'a': unsure.refuse_below is about a second model"},
        {"experts:\n  - {name: a, task: sing}\n", "t.yaml:2: task: 'sing' is not one of generate|classify"},
        {"experts:\n  - {task: classify}\n", "t.yaml:2: an expert lacks the key 'name'"},
        {"experts:\n  - {name: a, task: classify}\n  - {name: a, task: extract}\n",
         "t.yaml:3: the name 'a' is taken (line 2)"},
        {"experts:\n  - {name: auto, task: classify}\n", "t.yaml:2: 'auto' lets the grid decide"},
        {"experts:\n  - {name: ../x, task: classify}\n", "t.yaml:2: an expert's name '../x'"},
        {"experts:\n  - {name: a, task: classify, model: nowhere-installed}\n",
         "t.yaml:2: the expert 'a': the package 'nowhere-installed' is not installed"},
        {"models: {m: {path: missing.gguf}}\nexperts:\n  - {name: a, task: classify, model: m}\n",
         "t.yaml:3: the expert 'a': the model 'm' has no file /cfg/missing.gguf"},
        {"models: {m: {}}\n", "t.yaml:1: the model 'm' needs a package or a path"},
        {"models: {m: {path: a, package: b}}\n", "not both"},
        {"models: {m: {path: a, kv: q4}}\n", "t.yaml:1: kv: 'q4' is not one of f16|q8"},
        {"models: {m: {path: m.gguf, context: 512}}\nexperts:\n  - {name: a, task: classify, model: m}\n",
         "t.yaml:1: `context` is for models that generate, and the expert 'a' does not"},
        {"models: {m: {path: m.gguf, kv: q8}}\nexperts:\n  - {name: a, task: classify, model: m}\n",
         "t.yaml:1: `kv: q8` is for models that generate, and the expert 'a' does not"},
        {"models: {m: {path: uncalibrated.gguf}}\nexperts:\n  - {name: a, task: classify, model: "
         "m, contract: {max_error: 0.02}}\n",
         "t.yaml:3: the contract of 'a': /cfg/uncalibrated.gguf has no calibration set"},
        {"experts:\n  - {name: a, task: classify, contract: {max_error: 7}}\n",
         "t.yaml:2: max_error: 7 is out of range"},
        {"upstreams:\n  - {name: c, base_url: ftp://x, model: m}\n", "t.yaml:2: base_url must begin with http"},
        {"upstreams:\n  - {name: intent, base_url: http://x, model: m}\n", "the name 'intent' is taken"},
        {"policy:\n  privacy: {pii: secret}\n", "t.yaml:2: pii: 'secret' is not one of any|mesh|local"},
        {"policy: {prefer: luck}\n", "is not one of cost"},
        {"policy: {prefer: latency}\n", "t.yaml:1: policy: latency is weighed, and no upstream says its latency_ms"},
        {"policy:\n  prefer: energy\n",
         "t.yaml:2: policy: energy is weighed, and no upstream says its joules_per_token"},
        {"policy:\n  weights: {cost: 0}\n", "t.yaml:2: policy: all weights are 0"},
        {"policy:\n  prefer: load\n  weights: {cost: 1}\n", "t.yaml:3: policy: prefer and weights contradict each other"},
        {"policy:\n  weights: {load: 0.01}\nupstreams: [{name: a, base_url: http://x, model: m}]\n", "there are no two upstreams to choose between"},
        {"policy:\n  weights: {latency: -1}\n", "out of range"},
        {"policy: {on_long: pray}\n", "is not one of escalate|refuse|compress"},
        {"embedded: false\npolicy: {on_long: compress}\n", "t.yaml:2: on_long: compress needs an expert for summarize"},
        {"experts:\n  - {name: a, task: classify, contract: {deadline: {p999_ms: 5}}}\n",
         "t.yaml:2: the deadline of 'a' needs p999_ms and on_miss"},
        {"experts:\n  - {name: a, task: extract, contract: {deadline: {p999_ms: 5, on_miss: x}}}\n",
         "on_miss is a label, and the answer to extract is none"},
        {"policy: {deadline_ms: 4}\nexperts:\n  - {name: a, task: classify, contract: {deadline: {p999_ms: 5, on_miss: "
         "x}}}\n",
         "t.yaml:3: the deadline of 'a' (5 ms) can never be reached: policy.deadline_ms ends every request after 4 ms"},
        {"models: {m: {path: m.gguf}}\ncascade: {hold_tokens: 0}\nexperts:\n  - {name: a, task: generate, model: m, "
         "contract: {max_error: 0.1}}\n",
         "t.yaml:4: the contract of 'a' contradicts cascade.hold_tokens: 0"},
        {"router: {abstain: maybe}\n", "is not one of escalate|answer"},
        {"records: {keep: 0s}\n", "out of range"},
        {"experts: {a: b}\n", "is not a list of mappings"},
        {"listen: [\n", "not YAML"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ng_grid *g;
        ng_error err = {0};
        assert_true(ng_grid_open_text(&g, &options, bad[i].yaml, "/cfg/t.yaml", &fake_hooks,
                                      &err) != NG_OK);
        assert_null(g);
        if (!strstr(err.text, bad[i].says))
            fail_msg("'%s' does not say '%s'", err.text, bad[i].says);
    }
    ng_grid *g;
    ng_error err = {0};
    ng_grid_options offline = {.no_records = true};
    assert_int_equal(ng_grid_open_text(&g, &offline, UPSTREAM, "t.yaml", &fake_hooks, &err),
                     NG_EUNSUPPORTED);
}

static void merges_with_the_built_in_grid(void **state) {
    (void)state;
    ng_arena *arena;
    ng_grid_config built_in, schema, user;
    ng_error err = {0};
    assert_int_equal(ng_arena_new(&arena, 0), NG_OK);
    assert_int_equal(ng_grid_config_read(&built_in, NULL, 0, "b", arena, &err), NG_OK);
    assert_int_equal(ng_grid_config_read(&schema, "", 0, "s", arena, &err), NG_OK);
    /* what the built-in text says is what leaving it out means */
    assert_string_equal(built_in.listen, schema.listen);
    assert_string_equal(built_in.router.model, schema.router.model);
    assert_true(built_in.router.abstain == schema.router.abstain && built_in.pii == schema.pii &&
                built_in.pii == NG_PRIVACY_LOCAL);
    assert_true(built_in.cache.exact == schema.cache.exact &&
                built_in.cascade.hold_tokens == schema.cascade.hold_tokens);
    assert_true(built_in.records.keep_ms == schema.records.keep_ms &&
                built_in.records.max == schema.records.max);
    assert_true(built_in.records.text == schema.records.text &&
                built_in.policy.deadline_ms == schema.policy.deadline_ms);
    assert_true(built_in.experts.len == schema.experts.len && built_in.experts.len >= 8);

    static const char text[] = "experts:\n  - {name: topic, task: classify, model: mine, tier: "
                               "small}\n  - {name: new, task: extract}\n"
                               "models: {mine: {package: a/b}}\n";
    assert_int_equal(ng_grid_config_read(&user, text, strlen(text), "u", arena, &err), NG_OK);
    const grid_expert_config *e = user.experts.items, *d = built_in.experts.items;
    assert_int_equal(user.experts.len, built_in.experts.len + 1);
    for (size_t i = 0; i < built_in.experts.len; i++) assert_string_equal(e[i].name, d[i].name);
    assert_true(!strcmp(e[2].name, "topic") && e[2].tier == NG_TIER_SMALL && e[2].resolved &&
                !e[2].built_in);
    assert_true(!strcmp(e[user.experts.len - 1].name, "new"));
    assert_true(user.version != schema.version);

    static const char none[] = "embedded: false\n";
    assert_int_equal(ng_grid_config_read(&user, none, strlen(none), "u", arena, &err), NG_OK);
    assert_true(user.experts.len == 0 && !user.router.model && user.pii == NG_PRIVACY_ANY);
    ng_arena_free(arena);
}

static void documents_every_key(void **state) {
    (void)state;
    ng_buf b = ng_buf_init(1 << 16);
    ng_grid_config_doc(&b);
    assert_non_null(strstr(b.data, "experts[].contract.max_error"));
    assert_non_null(strstr(b.data, "upstreams[].cooldown_time"));
    ng_buf page = ng_buf_init(1 << 20);
    ng_error err = {0};
    if (ng_file_read(&page, "docs/grid_yaml.md", &err)) fail_msg("%s", err.text);
    if (!strstr(page.data, b.data)) fail_msg("docs/grid_yaml.md must hold this table:\n%s", b.data);
    if (!strstr(page.data, ng_grid_default_yaml()))
        fail_msg("docs/grid_yaml.md must hold the built-in grid");
    ng_buf_clear(&page);
    ng_buf_clear(&b);
}

#define UNSURE                                                                                                         \
    "embedded: false\nmodels: {m: {path: m.gguf}}\nexperts:\n  - {name: intent, task: classify, model: m, unsure: "    \
    "{model: m, head: h, below: 0.8%s}}\n"

static void a_second_model_answers_what_the_first_is_unsure_of(void **state) {
    (void)state;
    char yaml[512];
    snprintf(yaml, sizeof yaml, UNSURE, "");
    ng_grid *g = open_grid(yaml);
    fake *first = fake_get("intent"), *second = fake_get("intent/unsure");
    *second = (fake){.label = "leave", .confidence = 0.85};
    ng_answer *a = ask(g, NG_TASK_CLASSIFY, "sure"); /* 0.9 */
    assert_true(!strcmp(a->label, "greet") && second->calls == 0);
    ng_answer_free(a);
    first->confidence = 0.7;
    a = ask(g, NG_TASK_CLASSIFY, "unsure");
    assert_true(!strcmp(a->label, "leave") && a->confidence == 0.85 && !strcmp(a->expert, "intent") && !a->escalated);
    assert_string_equal(step_of(a, "intent"), "unsure");
    assert_string_equal(a->route[a->n_route - 1].step, "second");
    assert_string_equal(a->route[a->n_route - 1].outcome, "answered");
    ng_answer_free(a);
    second->confidence = 0.6; /* of the two the surer stands */
    a = ask(g, NG_TASK_CLASSIFY, "both unsure");
    assert_true(!strcmp(a->label, "greet") && a->confidence == 0.7);
    assert_string_equal(a->route[a->n_route - 1].outcome, "less sure");
    ng_answer_free(a);
    second->confidence = 0.85;
    first->out_of_scope = true;
    a = ask(g, NG_TASK_CLASSIFY, "strange");
    assert_true(!strcmp(a->label, "leave") && a->in_scope);
    ng_answer_free(a);
    first->out_of_scope = false;
    first->confidence = 0.7;
    second->fails = NG_EIO;
    a = ask(g, NG_TASK_CLASSIFY, "broken");
    assert_true(!strcmp(a->label, "greet") && a->confidence == 0.7 && a->n_warnings == 1);
    ng_answer_free(a);
    second->fails = NG_OK;
    int calls = second->calls;
    ng_request r; /* labels of the request are not the second model's */
    const char *labels[] = {"x", "y"};
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_CLASSIFY);
    ng_request_set_text(&r, "labels", 6);
    r.params.labels = labels, r.params.n_labels = 2;
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_OK);
    assert_int_equal(second->calls, calls);
    ng_answer_free(a);
    ng_grid_close(g);
}

static void a_second_model_may_have_the_last_word(void **state) {
    (void)state;
    char yaml[512];
    snprintf(yaml, sizeof yaml, UNSURE, ", stands: second, refuse_below: 0.75");
    ng_grid *g = open_grid(yaml);
    fake *first = fake_get("intent"), *second = fake_get("intent/unsure");
    first->confidence = 0.7;
    *second = (fake){.label = "leave", .confidence = 0.5, .out_of_scope = true};
    ng_answer *a = ask(g, NG_TASK_CLASSIFY, "strange");
    assert_true(!a->in_scope && !a->label && a->confidence == 0.5);
    ng_answer_free(a);
    first->confidence = 0.75; /* too sure to be refused */
    a = ask(g, NG_TASK_CLASSIFY, "misspelt");
    assert_true(a->in_scope && !strcmp(a->label, "greet"));
    assert_string_equal(a->route[a->n_route - 1].outcome, "refused");
    ng_answer_free(a);
    second->out_of_scope = false;
    a = ask(g, NG_TASK_CLASSIFY, "not strange");
    assert_true(a->in_scope && !strcmp(a->label, "leave"));
    ng_answer_free(a);
    ng_grid_close(g);
}

#define MODERATE                                                                                                     \
    "embedded: false\nmodels: {m: {path: m.gguf}}\nexperts:\n  - {name: guard, task: moderate, model: m, head: h, " \
    "unsure: {model: m, below: 1, stands: %s}}\n"

static void of_two_moderators_the_greater_probability_stands(void **state) {
    (void)state;
    char yaml[512];
    snprintf(yaml, sizeof yaml, MODERATE, "greater");
    ng_grid *g = open_grid(yaml);
    fake *first = fake_get("guard"), *second = fake_get("guard/unsure");
    *first = (fake){.labels = {"toxicity", "injection"}, .p = {0.2f, 0.1f}, .confidence = 0.8, .reading = "as it reads"};
    *second = (fake){.labels = {"injection", "toxicity"}, .p = {0.7f, 0.1f}, .flagged = true, .confidence = 0.7};
    ng_answer *a = ask(g, NG_TASK_MODERATE, "as 1t r34d5");
    assert_true(a->flagged && a->confidence == 0.7 && a->categories[0].p == 0.2f && a->categories[1].p == 0.7f);
    assert_string_equal(step_of(a, "guard"), "joined");
    assert_string_equal(a->route[a->n_route - 1].step, "second");
    assert_string_equal(a->route[a->n_route - 1].outcome, "answered");
    assert_true(!strcmp(first->said, "as 1t r34d5") && !strcmp(second->said, "as it reads"));
    ng_answer_free(a);
    second->flagged = false, second->p[0] = 0.3f; /* two that see nothing are as sure as the less sure one */
    a = ask(g, NG_TASK_MODERATE, "harmless");
    assert_true(!a->flagged && a->confidence == 0.7 && a->categories[1].p == 0.3f);
    ng_answer_free(a);
    first->flagged = second->flagged = true;
    a = ask(g, NG_TASK_MODERATE, "both see it");
    assert_true(a->flagged && a->confidence == 0.8);
    ng_answer_free(a);
    second->flagged = false;
    a = ask(g, NG_TASK_MODERATE, "one sees it");
    assert_true(a->flagged && a->confidence == 0.8);
    ng_answer_free(a);
    ng_grid_close(g);
}

static void a_second_model_stands_in(void **state) {
    (void)state;
    char yaml[512];
    snprintf(yaml, sizeof yaml, MODERATE, "fallback");
    ng_grid *g = open_grid(yaml);
    fake *first = fake_get("guard"), *second = fake_get("guard/unsure");
    *first = (fake){.labels = {"toxicity"}, .p = {0.2f}, .confidence = 0.1};
    *second = (fake){.labels = {"toxicity"}, .p = {0.9f}, .flagged = true, .confidence = 0.9};
    ng_answer *a = ask(g, NG_TASK_MODERATE, "it runs");
    assert_true(!a->flagged && second->calls == 0);
    ng_answer_free(a);
    first->fails = NG_EIO;
    a = ask(g, NG_TASK_MODERATE, "it fails");
    assert_true(a->flagged && a->confidence == 0.9 && !strcmp(a->expert, "guard") && a->n_warnings == 2);
    assert_string_equal(step_of(a, "guard"), "failed");
    assert_string_equal(a->route[a->n_route - 1].step, "second");
    ng_answer_free(a);
    first->fails = NG_OK, first->unhealthy = "its worker died";
    a = ask(g, NG_TASK_MODERATE, "it is ill");
    assert_true(a->flagged && a->n_warnings == 1 && strstr(a->warnings[0], "answers alone"));
    ng_answer_free(a);
    second->fails = NG_EIO; /* then nobody does */
    ng_request r;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_MODERATE);
    ng_request_set_text(&r, "both", 4);
    assert_int_not_equal(ng_grid_ask(g, &r, &a, &err), NG_OK);
    err = (ng_error){0};
    first->unhealthy = NULL; /* and a request that is wrong is wrong for both */
    first->fails = NG_EINVALID, second->fails = NG_OK;
    int calls = second->calls;
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EINVALID);
    assert_int_equal(second->calls, calls);
    ng_grid_close(g);
}

/* ---- decisions ------------------------------------------------------------------------------- */

static void routes_to_task_and_expert(void **state) {
    (void)state;
    ng_grid *g = open_grid(BASE EXPERTS);
    ng_answer *a = ask(g, NG_TASK_AUTO, "who won the match");
    assert_string_equal(a->expert, "topic"); /* the expert router's word, not the surer intent's */
    assert_string_equal(a->label, "sports");
    assert_true(a->task == NG_TASK_CLASSIFY && a->tier == NG_TIER_NANO && !a->escalated &&
                a->in_scope);
    assert_true(strlen(a->decision_id) == 26 && fake_get("intent")->calls == 0);
    assert_string_equal(step_of(a, "topic"), "answered");
    assert_non_null(strstr(a->reason, "topic fits best among 2 experts"));
    ng_answer_free(a);
    fake_get("router/task")->label = "extract";
    a = ask(g, NG_TASK_AUTO, "mail a@b.c");
    assert_true(a->task == NG_TASK_EXTRACT && a->n_entities == 1 && isnan(a->confidence));
    assert_string_equal(a->expert, "finder");
    ng_answer_free(a);
    int before = fake_get("router/task")->calls;
    a = ask(g, NG_TASK_EXTRACT, "a given task asks no router");
    assert_int_equal(fake_get("router/task")->calls, before);
    ng_answer_free(a);
    ng_grid_close(g);
}

static void an_unknown_expert_must_be_surer_than_the_router(void **state) {
    (void)state;
    ng_grid *g = open_grid(BASE EXPERTS "  - {name: mine, task: classify, model: m}\n");
    *fake_get("mine") = (fake){.label = "own", .confidence = 0.5};
    ng_answer *a = ask(g, NG_TASK_CLASSIFY, "one");
    assert_string_equal(a->expert, "topic");
    ng_answer_free(a);
    fake_get("mine")->confidence = 0.97;
    a = ask(g, NG_TASK_CLASSIFY, "two");
    assert_string_equal(a->expert, "mine");
    assert_int_equal(fake_get("mine")->calls, 2); /* its answer was kept, not asked for again */
    ng_answer_free(a);
    fake_get("mine")->out_of_scope = true; /* sure that it does not know */
    a = ask(g, NG_TASK_CLASSIFY, "three");
    assert_string_equal(a->expert, "topic");
    ng_answer_free(a);
    ng_grid_close(g);
}

static void the_favourite_is_not_replaced_when_it_is_down(void **state) {
    (void)state;
    ng_grid *g = open_grid(BASE EXPERTS UPSTREAM);
    fake_get("topic")->unhealthy = "broken";
    ng_answer *a = ask(g, NG_TASK_CLASSIFY, "who won"); /* no intent because topic is down */
    assert_true(a->escalated && !strcmp(a->expert, "cloud") && fake_get("intent")->calls == 0);
    assert_string_equal(step_of(a, "topic"), "skipped: broken");
    ng_answer_free(a);
    ng_request r;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_CLASSIFY);
    ng_request_set_text(&r, "x", 1);
    r.privacy = NG_PRIVACY_LOCAL;
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_ENOEXPERT);
    assert_non_null(strstr(err.text, "topic is ruled out (broken)"));
    *fake_get("router/expert") = (fake){
        .label = "chess", .confidence = 0.95, .labels = {"intent", "topic"}, .p = {0.03f, 0.02f}};
    a = ask(g, NG_TASK_CLASSIFY,
            "e4 e5"); /* the router knows an expert that this grid lacks: nobody here fits */
    assert_true(!a->in_scope && a->escalated && fake_get("intent")->calls == 0);
    ng_answer_free(a);
    ng_grid_close(g);
}

static void without_an_expert_router_the_surest_in_scope_wins(void **state) {
    (void)state;
    ng_grid *g = open_grid("embedded: false\nmodels: {m: {path: m.gguf}}\n" EXPERTS);
    ng_answer *a = ask(g, NG_TASK_CLASSIFY, "hello");
    assert_string_equal(a->expert, "intent");
    assert_non_null(strstr(a->reason, "surest among 2 experts asked"));
    ng_answer_free(a);
    fake_get("intent")->out_of_scope = true;
    a = ask(g, NG_TASK_CLASSIFY, "hello again");
    assert_string_equal(a->expert, "topic");
    ng_answer_free(a);
    ng_request r;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_AUTO);
    ng_request_set_text(&r, "x", 1);
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_ENOEXPERT); /* two tasks, nobody decides */
    assert_non_null(strstr(err.text, "name a task"));
    ng_grid_close(g);
}

static void names_bypass_the_router(void **state) {
    (void)state;
    ng_grid *g = open_grid(BASE EXPERTS UPSTREAM);
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_AUTO);
    ng_request_set_text(&r, "hi", 2);
    r.model = "intent";
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_OK);
    assert_string_equal(a->label, "greet");
    assert_int_equal(fake_get("router/task")->calls, 0);
    ng_answer_free(a);
    fake_get("intent")->out_of_scope = true; /* a pinned expert does not escalate */
    r.no_cache = true;
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_OK);
    assert_true(a->label == NULL && !a->in_scope && !a->escalated && fake_get("cloud")->calls == 0);
    ng_answer_free(a);
    r.model = "cloud";
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_OK);
    assert_true(a->task == NG_TASK_GENERATE && a->tier == NG_TIER_MEDIUM && !a->escalated);
    assert_string_equal(fake_get("cloud")->expert, "big"); /* the upstream's own name for it */
    ng_answer_free(a);
    r.privacy = NG_PRIVACY_LOCAL;
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EDENIED);
    err = (ng_error){0};
    r.model = "nobody";
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_ENOTFOUND);
    assert_non_null(strstr(err.text, "known: intent, topic, finder, cloud"));
    err = (ng_error){0};
    r.model = "intent", r.task = NG_TASK_EXTRACT;
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EINVALID);
    ng_grid_close(g);
}

static void a_language_that_no_expert_serves_is_a_filter(void **state) {
    (void)state;
    ng_grid *g =
        open_grid(BASE "experts:\n  - {name: intent, task: classify, model: m, languages: [en]}\n"
                       "  - {name: lid, task: detect-language, model: m}\n" UPSTREAM);
    *fake_get("lid") = (fake){.label = "de", .confidence = 0.99};
    ng_answer *a = ask(g, NG_TASK_CLASSIFY, "bitte sperren Sie mein Konto sofort");
    assert_string_equal(step_of(a, "intent"), "skipped: language de");
    assert_true(a->escalated && !strcmp(a->expert, "cloud"));
    ng_answer_free(a);
    ng_request r;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_CLASSIFY);
    ng_request_set_text(&r, "bitte sperren Sie mein Konto sofort", 35);
    r.privacy = NG_PRIVACY_LOCAL; /* nobody may: out of scope, not an error */
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_OK);
    assert_true(a->label == NULL && !a->in_scope && !a->expert);
    ng_answer_free(a);
    fake_get("lid")->confidence = 0.6; /* not sure: not believed */
    a = ask(g, NG_TASK_CLASSIFY, "bitte sperren Sie mein Konto gleich");
    assert_string_equal(a->expert, "intent");
    ng_answer_free(a);
    ng_grid_close(g);
}

static void no_expert_names_the_mend(void **state) {
    (void)state;
    ng_grid *g = open_grid(BASE);
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_TRANSLATE);
    ng_request_set_text(&r, "x", 1);
    r.params.to = "de";
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_ENOEXPERT);
    assert_non_null(strstr(err.text, "'translate' and no upstream is configured. Add a model"));
    ng_grid_close(g);
    g = open_grid(BASE UPSTREAM);
    r.privacy = NG_PRIVACY_LOCAL;
    err = (ng_error){0};
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_ENOEXPERT);
    assert_non_null(strstr(err.text, "cloud is ruled out (privacy local)"));
    ng_grid_close(g);
}

static void bad_requests_are_refused(void **state) {
    (void)state;
    ng_grid *g = open_grid(BASE EXPERTS);
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_AUTO);
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EINVALID);
    err = (ng_error){0};
    ng_request_set_text(&r, "ab\xff", 3);
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "byte 2 (0xff)"));
    err = (ng_error){0};
    r.text_part_.type = NG_PART_IMAGE;
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "'image'"));
    static const char *const none[] = {""};
    for (int i = 0; i < 4; i++) {
        static const char *const says[] = {"top_k: 5000 is out of range", "labels[0] must have",
                                           "translate needs `to`", "temp"};
        ng_request_init(&r, i == 2 ? NG_TASK_TRANSLATE : NG_TASK_AUTO);
        ng_request_set_text(&r, "x", 1);
        if (i == 0) r.params.top_k = 5000;
        if (i == 1) r.params.labels = none, r.params.n_labels = 1;
        r.params.has_generate = i == 3;
        r.params.generate = ng_generate_options_default();
        r.params.generate.temp = -1;
        err = (ng_error){0};
        assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EINVALID);
        if (!strstr(err.text, says[i])) fail_msg("'%s' does not say '%s'", err.text, says[i]);
    }
    ng_grid_close(g);
}

static void decides_without_answering(void **state) {
    (void)state;
    ng_grid *g = open_grid(BASE EXPERTS UPSTREAM);
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_buf b = ng_buf_init(1 << 16);
    ng_json j = ng_json_init(&b);
    ng_request_init(&r, NG_TASK_AUTO);
    ng_request_set_text(&r, "x", 1);
    assert_int_equal(ng_grid_route(g, &r, &a, &err), NG_OK);
    ng_route_json(&j, a);
    assert_non_null(strstr(
        b.data,
        "\"task\": \"classify\", \"expert\": \"topic\", \"tier\": \"nano\", \"in_scope\": true, "
        "\"scores\": {\"topic\": 0.9, \"intent\": 0.1}"));
    ng_answer_free(a);
    fake_get("topic")->out_of_scope = true;
    assert_int_equal(ng_grid_route(g, &r, &a, &err), NG_OK);
    assert_true(!a->in_scope && !strcmp(a->expert, "cloud") && a->tier == NG_TIER_MEDIUM &&
                fake_get("cloud")->calls == 0);
    ng_answer_free(a);
    ng_buf_clear(&b);
    ng_grid_close(g);
}

/* ---- hard filters ---------------------------------------------------------------------------- */

static void limits_form_a_lattice(void **state) {
    (void)state;
    char out[NG_OUTCOME_MAX];
    static const char *const en[] = {"en"};
    for (int i = 0; i < 4096;
         i++) { /* every combination of a tight and a tighter limit, and a candidate */
        ng_candidate c = {.remote = i & 1,
                          .cost_usd = (i & 2) ? 0.5 : 0,
                          .unhealthy = (i & 4) ? "down" : NULL,
                          .languages = en,
                          .n_languages = (i & 8) ? 1 : 0};
        ng_limits a = {.privacy = (ng_privacy)((i >> 4) % 3),
                       .max_cost_usd = (i & 64) ? 1.0 : NAN,
                       .deadline_ms = (i & 128) ? 100 : 0,
                       .now_ms = 50,
                       .language = NULL};
        ng_limits b = a;
        if (i & 256) b.privacy = ng_privacy_meet(a.privacy, (ng_privacy)((i >> 9) % 3));
        if (i & 512) b.max_cost_usd = 0;
        if (i & 1024) b.deadline_ms = 20;
        if (i & 2048) b.language = "de";
        if (ng_policy_admits(&b, &c, out)) assert_true(ng_policy_admits(&a, &c, out));
    }
    for (int x = 0; x < 3; x++)
        for (int y = 0; y < 3; y++) {
            assert_int_equal(ng_privacy_meet((ng_privacy)x, (ng_privacy)y),
                             ng_privacy_meet((ng_privacy)y, (ng_privacy)x));
            assert_true(ng_privacy_meet((ng_privacy)x, (ng_privacy)y) >= (ng_privacy)x);
        }
}

static void privacy_is_never_overridden(void **state) {
    (void)state;
    /* Whatever the scores, failures and tiers: no upstream sees a local request or personal
     * data. */
    for (int i = 0; i < 64; i++) {
        fresh(NULL);
        ng_grid *g =
            open_grid(BASE EXPERTS UPSTREAM "policy: {privacy: {pii: local}}\ncache: {exact: 0}\n");
        fake_get("topic")->out_of_scope = i & 1;
        fake_get("topic")->confidence = (i & 2) ? 0.01 : 0.99;
        fake_get("topic")->fails = (i & 4) ? NG_EIO : NG_OK;
        if (i & 8) fake_get("router/task")->label = "generate";
        if (i & 16) fake_get("router/task")->out_of_scope = true;
        ng_request r;
        ng_answer *a = NULL;
        ng_error err = {0};
        ng_request_init(&r, NG_TASK_AUTO);
        const char *text = (i & 32) ? "my mail is a@b.c" : "some text";
        ng_request_set_text(&r, text, strlen(text));
        if (!(i & 32)) r.privacy = (i & 1) ? NG_PRIVACY_LOCAL : NG_PRIVACY_MESH;
        ng_status s = ng_grid_ask(g, &r, &a, &err);
        assert_int_equal(fake_get("cloud")->calls, 0);
        if (!s) assert_false(a->escalated);
        ng_answer_free(a);
        ng_grid_close(g);
    }
}

static ng_status broken_pii(void *ctx, ng_tier *out, const char *name, const ng_head_spec *spec,
                            ng_error *err) {
    if (!strcmp(name, "signal/pii")) return ng_fail(err, NG_EUNSUPPORTED, "no rules here");
    return fake_hooks.open_head(ctx, out, name, spec, err);
}

static void without_a_detector_all_text_is_personal(void **state) {
    (void)state;
    grid_hooks hooks = fake_hooks;
    hooks.open_head = broken_pii;
    ng_grid *g;
    ng_error err = {0};
    assert_int_equal(ng_grid_open_text(&g, &options,
                                       BASE EXPERTS UPSTREAM "policy: {privacy: {pii: local}}\n",
                                       "t.yaml", &hooks, &err),
                     NG_OK);
    fake_get("topic")->out_of_scope = true;
    ng_answer *a = ask(g, NG_TASK_CLASSIFY, "harmless");
    assert_true(fake_get("cloud")->calls == 0 && a->n_warnings > 0 &&
                strstr(a->warnings[0], "no rules here"));
    ng_answer_free(a);
    ng_grid_close(g);
}

/* ---- cache keys ------------------------------------------------------------------------------ */

static bool cached(ng_grid *g, const ng_request *r) {
    ng_answer *a;
    ng_error err = {0};
    if (ng_grid_ask(g, r, &a, &err)) fail_msg("%s", err.text);
    bool hit = a->cached;
    if (hit)
        assert_true(!strcmp(a->route[0].step, "cache") && !strcmp(a->route[0].outcome, "hit") &&
                    a->decision_id[0]);
    ng_answer_free(a);
    return hit;
}

static void the_key_holds_all_that_matters(void **state) {
    (void)state;
    ng_grid *g = open_grid(BASE EXPERTS UPSTREAM);
    ng_request base, r;
    ng_request_init(&base, NG_TASK_CLASSIFY);
    ng_request_set_text(&base, "hello", 5);
    assert_false(cached(g, &base));
    assert_true(cached(g, &base));
    static const char *const labels[] = {"a", "b"}, *const labels2[] = {"ab"};
    for (int i = 0; i < 9; i++) {
        r = base;
        ng_request_set_text(&r, i == 0 ? "hellO" : "hello", 5);
        if (i == 1) r.tenant = "acme";
        if (i == 2) r.privacy = NG_PRIVACY_LOCAL;
        if (i == 3) r.model = "intent";
        if (i == 4) r.task = NG_TASK_AUTO;
        if (i == 5) r.params.top_k = 3;
        if (i == 6) r.params.labels = labels, r.params.n_labels = 2;
        if (i == 7) r.params.labels = labels2, r.params.n_labels = 1;
        if (i == 8) r.params.context = "hello";
        if (cached(g, &r)) fail_msg("variant %d hit the base's entry", i);
        if (!cached(g, &r)) fail_msg("variant %d missed its own entry", i);
    }
    r = base;
    ng_request_set_text(&r, "hello", 5);
    r.no_cache = true;
    assert_false(cached(g, &r));
    assert_true(ng_grid_get_stats(g).cache_hits == 10);
    ng_grid_close(g);
}

static void only_facts_are_cached(void **state) {
    (void)state;
    ng_grid *g = open_grid(BASE EXPERTS UPSTREAM);
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_CLASSIFY);
    ng_request_set_text(&r, "t", 1);
    fake_get("topic")->out_of_scope = true;
    fake_get("cloud")->fails = NG_ENET; /* answered by the fallback: not kept */
    assert_false(cached(g, &r));
    assert_false(cached(g, &r));
    fake_get("cloud")->fails = NG_OK;
    r.max_cost_usd = 0; /* skipped for cost: another purse may pay */
    assert_false(cached(g, &r));
    assert_false(cached(g, &r));
    r.max_cost_usd = NAN;
    assert_false(cached(g, &r)); /* escalated, complete: kept */
    assert_true(cached(g, &r));
    r.privacy = NG_PRIVACY_LOCAL; /* must not see what came from above */
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_OK);
    assert_true(!a->cached && a->label == NULL && !a->escalated);
    ng_answer_free(a);
    r = (ng_request){0};
    ng_request_init(&r, NG_TASK_EXTRACT);
    ng_request_set_text(&r, "e", 1);
    fake_get("finder")->fails = NG_EIO; /* errors are not kept: the next try may do */
    fake_get("cloud")->fails = NG_ENET;
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EIO);
    fake_get("finder")->fails = NG_OK;
    assert_false(cached(g, &r));
    ng_grid_close(g);
}

static void views_list_what_can_be_named(void **state) {
    (void)state;
    fake_get("cloud")->unhealthy = "breaker open";
    ng_grid *g = open_grid(BASE EXPERTS UPSTREAM "listen: 0.0.0.0:1\ncascade: {hold_tokens: 7}\n");
    assert_int_equal(ng_grid_n_entries(g), 4);
    ng_grid_entry e = ng_grid_get_entry(g, 0), u = ng_grid_get_entry(g, 3);
    assert_true(!strcmp(e.name, "intent") && e.available && e.task == NG_TASK_CLASSIFY);
    assert_string_equal(e.model_path, "/cfg/m.gguf");
    assert_true(u.upstream && !u.available && !strcmp(u.why, "breaker open") && !u.model_path);
    ng_grid_config_view v = ng_grid_get_config(g);
    assert_true(!strcmp(v.listen, "0.0.0.0:1") && v.hold_tokens == 7 &&
                !strcmp(v.path, "/cfg/t.yaml"));
    ng_grid *again = ng_grid_ref(g);
    ng_grid_close(g);
    ng_answer_free(ask(again, NG_TASK_EXTRACT, "still open"));
    ng_grid_close(again);
}

static void finds_its_file(void **state) {
    (void)state;
    char path[128];
    ng_grid *g;
    ng_error err = {0};
    ng_grid_options o = {.no_records = true};
    assert_int_equal(ng_grid_open(&g, &o, &err), NG_OK); /* nothing there: built in */
    assert_string_equal(ng_grid_get_config(g).path, "(built in)");
    ng_grid_close(g);
    snprintf(path, sizeof path, "%s", test_home_path("grid.yaml"));
    FILE *f = fopen(path, "w");
    fputs("embedded: false\nlisten: here\n", f);
    fclose(f);
    assert_int_equal(ng_grid_open(&g, &o, &err), NG_OK);
    assert_string_equal(ng_grid_get_config(g).listen, "here");
    ng_grid_close(g);
    setenv("NANOGRID_GRID", "/nowhere/g.yaml", 1);
    assert_int_equal(ng_grid_open(&g, &o, &err), NG_ENOTFOUND);
    o.path = path;
    err = (ng_error){0};
    assert_int_equal(ng_grid_open(&g, &o, &err), NG_OK); /* the flag wins over the environment */
    ng_grid_close(g);
    unsetenv("NANOGRID_GRID");
    unlink(path);
}

/* ---- real models ----------------------------------------------------------------------------- */

typedef struct caller {
    ng_grid *grid;
    int loads, right;
} caller;

static void *call_often(void *arg) {
    caller *c = arg;
    for (int i = 0; i < 50; i++) {
        ng_request r;
        ng_answer *a;
        char text[64];
        snprintf(text, sizeof text, "please freeze my bank account %d", i);
        ng_request_init(&r, NG_TASK_CLASSIFY);
        r.model = "intent";
        ng_request_set_text(&r, text, strlen(text));
        if (ng_grid_ask(c->grid, &r, &a, NULL)) continue;
        c->loads += a->load_ms > 0;
        c->right += a->label && !strcmp(a->label, "freeze_account");
        ng_answer_free(a);
    }
    return NULL;
}

static void a_real_model_is_loaded_once_and_shared(void **state) {
    (void)state;
    if (access("models/intent/model.gguf", R_OK)) {
        print_message("SKIP: models/intent is not there\n");
        return;
    }
    ng_grid *g;
    ng_error err = {0};
    pthread_t t[4];
    caller c[4];
    static const char yaml[] =
        "embedded: false\ncache: {exact: 0}\nmodels: {i: {path: models/intent/model.gguf}}\n"
        "experts:\n  - {name: intent, task: classify, model: i}\n";
    if (ng_grid_open_text(&g, &options, yaml, NULL, NULL, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < 4; i++) {
        c[i] = (caller){.grid = ng_grid_ref(g)};
        assert_int_equal(pthread_create(&t[i], NULL, call_often, &c[i]), 0);
    }
    int right = 0, loads = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        right += c[i].right, loads += c[i].loads;
        ng_grid_close(c[i].grid);
    }
    assert_int_equal(right, 200);
    assert_true(loads >= 1 && loads <= 4); /* one loaded, at most the other three waited for it */
    ng_grid_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(names_line_and_mend, fresh),
        cmocka_unit_test_setup(merges_with_the_built_in_grid, fresh),
        cmocka_unit_test_setup(a_second_model_answers_what_the_first_is_unsure_of, fresh),
        cmocka_unit_test_setup(of_two_moderators_the_greater_probability_stands, fresh),
        cmocka_unit_test_setup(a_second_model_stands_in, fresh),
        cmocka_unit_test_setup(a_second_model_may_have_the_last_word, fresh),
        cmocka_unit_test_setup(documents_every_key, fresh),
        cmocka_unit_test_setup(routes_to_task_and_expert, fresh),
        cmocka_unit_test_setup(an_unknown_expert_must_be_surer_than_the_router, fresh),
        cmocka_unit_test_setup(the_favourite_is_not_replaced_when_it_is_down, fresh),
        cmocka_unit_test_setup(without_an_expert_router_the_surest_in_scope_wins, fresh),
        cmocka_unit_test_setup(names_bypass_the_router, fresh),
        cmocka_unit_test_setup(a_language_that_no_expert_serves_is_a_filter, fresh),
        cmocka_unit_test_setup(no_expert_names_the_mend, fresh),
        cmocka_unit_test_setup(bad_requests_are_refused, fresh),
        cmocka_unit_test_setup(decides_without_answering, fresh),
        cmocka_unit_test_setup(limits_form_a_lattice, fresh),
        cmocka_unit_test_setup(privacy_is_never_overridden, fresh),
        cmocka_unit_test_setup(without_a_detector_all_text_is_personal, fresh),
        cmocka_unit_test_setup(the_key_holds_all_that_matters, fresh),
        cmocka_unit_test_setup(only_facts_are_cached, fresh),
        cmocka_unit_test_setup(views_list_what_can_be_named, fresh),
        cmocka_unit_test_setup(finds_its_file, fresh),
        cmocka_unit_test_setup(a_real_model_is_loaded_once_and_shared, fresh),
    };
    return cmocka_run_group_tests(tests, make_home, test_home_drop);
}
