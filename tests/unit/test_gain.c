/* Tests of learned escalation: figures against the baselines, the gain learnt from outcomes, exploring, audit's verdict on
 * a cascade, wasted tokens, and conversations that stay on their tier. */
#include "fake_tier.h"
#include "fault.h"
#include "test_home.h"

#include "route/escalation.h"
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define YAML                                                                                                              \
    "embedded: false\nmodels: {m: {path: m.gguf}}\ncache: {exact: 0}\npolicy: {privacy: {pii: any}}\n"                   \
    "experts:\n  - {name: intent, task: classify, model: m}\n  - {name: chat, task: generate, model: m}\n"               \
    "  - {name: mid, task: classify, model: m, tier: small}\n  - {name: mid-chat, task: generate, model: m, tier: small}\n" \
    "upstreams:\n  - {name: cloud, base_url: \"http://x/v1\", model: c, pricing: {prompt_per_1m: 10, completion_per_1m: 10}}\n"
#define EXPLORE YAML "cascade: {explore: 1}\n"
#define GAIN YAML "cascade: {escalate: gain, min_gain: 0.2}\n"

static int fresh(void **state) {
    fake_reset();
    *fake_get("intent") = (fake){.label = "a", .confidence = 0.9};
    *fake_get("mid") = (fake){.label = "a", .confidence = 0.9};
    *fake_get("cloud") = (fake){.label = "a", .confidence = NAN, .n_tokens = 3};
    *fake_get("chat") = (fake){.confidence = NAN, .n_tokens = 2};
    *fake_get("mid-chat") = (fake){.confidence = NAN, .n_tokens = 2};
    return test_home_clear(state);
}

/* ---- figures --------------------------------------------------------------------------------- */

static void figures_are_those_of_hand(void **state) {
    (void)state;
    const uint8_t small[] = {1, 0, 0, 1}, large[] = {1, 1, 0, 0}, mid[] = {1, 1, 0, 1}, up[] = {0, 1, 0, 0};
    const float best[] = {0, 1, 0, -1}, same[] = {0, 0, 0, 0};
    ng_outcomes o = {.small = small, .large = large, .mid = mid, .n = 4, .mid_cost = 1, .large_cost = 10};
    assert_true(isnan(ng_escalation_apgr(&o, best))); /* both are right twice */
    const uint8_t strong[] = {1, 1, 1, 1};
    o.large = strong;
    assert_true(fabs(ng_escalation_apgr(&o, same) - 0.5) < 1e-12);
    /* deltas 0 1 1 0, by gain 1 0 0 -1: sums 0 1 1.5 2 2 of 2 */
    assert_true(fabs(ng_escalation_apgr(&o, best) - (0.25 + 0.625 + 0.875 + 1) / 4) < 1e-12);
    assert_true(fabs(ng_escalation_share(&o, best, 0.5) - 0.25) < 1e-12);
    assert_true(fabs(ng_escalation_accuracy(&o, best, 0.25) - 0.75) < 1e-12);
    o.large = large;
    ng_cascade_figures f = ng_cascade_judge(&o, up);
    assert_int_equal(f.n_right, 3);
    assert_true(f.share == 0.25 && f.cascade == 0.75 && f.small == 0.5 && f.oracle == 0.75 && f.cascade_cost == 2.5);
    assert_true(f.mid == 0.75 && f.is_void && !f.loses);
    o.mid_cost = 3; /* dearer than the cascade: no fair rival */
    assert_true(isnan(ng_cascade_judge(&o, up).mid));
    o.mid_cost = 1;
    assert_true(ng_cascade_judge(&o, small).loses); /* escalates what was right */
    o.n = 0;
    assert_true(ng_cascade_judge(&o, up).is_void);
}

static double gain_at(const ng_gain *g, float confidence, float margin) {
    ng_gain_facts f = {.confidence = confidence, .margin = margin, .bytes = isnan(margin) ? 0 : 40, .complexity = NAN, .turns = NAN};
    return ng_gain_of(g, &f);
}

/* The confidence is the same everywhere; only what the text looks like tells when the next tier says something else. */
static void gain_learns_from_signals(void **state) {
    (void)state;
    ng_gain_lesson l[200];
    ng_gain g;
    for (int i = 0; i < 200; i++)
        l[i] = (ng_gain_lesson){.facts = {.confidence = 0.6f, .margin = 0.3f, .bytes = 40, .complexity = i % 2 ? 0.8f : 0.1f, .turns = 1, .technical = i % 2},
                                .differs = i % 2 ? i % 10 != 1 : i % 10 == 0};
    assert_true(ng_gain_fit(&g, l, 200));
    assert_true(ng_gain_of(&g, &l[1].facts) > 2 * ng_gain_of(&g, &l[0].facts));
    for (int i = 0; i < 200; i++) l[i].facts = (ng_gain_facts){.confidence = 0.6f, .margin = 0.3f, .bytes = 40, .complexity = 0.2f, .turns = i % 2 ? 6 : 1};
    assert_true(ng_gain_fit(&g, l, 200));
    assert_true(ng_gain_of(&g, &l[1].facts) > 2 * ng_gain_of(&g, &l[0].facts));
}

static void gain_is_learnt(void **state) {
    (void)state;
    ng_gain_lesson l[200];
    for (int i = 0; i < 200; i++) {
        float c = 0.3f + 0.0035f * (float)i;
        l[i] =
            (ng_gain_lesson){.facts = {.confidence = c, .margin = c / 2, .bytes = 40, .complexity = NAN, .turns = NAN},
                             .differs = c < 0.6f ? i % 5 != 0 : i % 10 == 0};
    }
    ng_gain g, again, none;
    assert_true(ng_gain_fit(&g, l, 200) && ng_gain_fit(&again, l, 200));
    assert_memory_equal(&g, &again, sizeof g);
    assert_true(fabs(g.trust - 0.5) < 1e-12); /* nobody judged */
    assert_true(gain_at(&g, 0.35f, 0.17f) > 0.3 && gain_at(&g, 0.95f, 0.47f) < 0.1);
    for (int i = 0; i < 200; i++) l[i].fixed = l[i].differs ? -1 : 0;
    assert_true(ng_gain_fit(&g, l, 200) && g.trust < 0);
    assert_true(gain_at(&g, 0.35f, 0.17f) < 0); /* the next tier is the worse one */
    assert_false(ng_gain_fit(&none, l, NG_GAIN_LESSONS_MIN - 1));
    for (int i = 0; i < 200; i++) l[i].differs = true;
    assert_false(ng_gain_fit(&none, l, 200));
    assert_true(gain_at(&none, 0.1f, 0) == 0);
    l[0].facts.confidence = NAN, l[0].facts.margin = NAN, l[1].facts.confidence = 1, l[2].facts.confidence = 0,
    l[3].differs = false;
    for (int i = 3; i < 40; i++) l[i].differs = false;
    assert_true(ng_gain_fit(&g, l, 200) && isfinite(gain_at(&g, NAN, NAN)));
}

/* ---- the grid -------------------------------------------------------------------------------- */

static ng_grid *open_grid(const char *yaml) {
    ng_grid *g;
    ng_error err = {0};
    ng_grid_options o = {.open_upstream = fake_open_upstream};
    if (ng_grid_open_text(&g, &o, yaml, "/cfg/t.yaml", &fake_hooks, &err)) fail_msg("%s", err.text);
    return g;
}

static ng_answer *ask(ng_grid *g, ng_task task) {
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_request_init(&r, task);
    ng_request_set_text(&r, "some text", 9);
    if (ng_grid_ask(g, &r, &a, &err)) fail_msg("%s", err.text);
    return a;
}

/* The i-th of a run: the small tier is right for even i, and sure where it is right unless `blind`. */
static void explore_one(ng_grid *g, int i, bool blind) {
    bool right = i % 2 == 0, correct;
    fake_get("intent")->label = right ? "a" : "b";
    fake_get("intent")->confidence = blind ? 0.7 : right ? 0.95 : 0.4;
    fake_get("mid")->label = i % 20 != 1 ? "a" : "b";
    ng_answer *a = ask(g, NG_TASK_CLASSIFY);
    assert_string_equal(a->expert, "cloud");
    ng_feedback f = {a->decision_id, -1, "a", NULL};
    assert_int_equal(ng_grid_feedback(g, &f, &correct, NULL), NG_OK);
    ng_answer_free(a);
}

static json_t *audit(ng_grid *g, bool *held) {
    ng_buf b = ng_buf_init(1 << 20);
    ng_error err = {0};
    if (ng_grid_audit(g, true, &b, held, &err)) fail_msg("%s", err.text);
    json_t *o = json_loads(b.data, 0, NULL);
    assert_non_null(o);
    ng_buf_clear(&b);
    return o;
}

static double figure(const json_t *audit, const char *key) {
    const json_t *v = json_object_get(json_array_get(json_object_get(audit, "cascades"), 0), key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static void exploring_hears_every_tier(void **state) {
    (void)state;
    ng_grid *g = open_grid(EXPLORE);
    fake_get("cloud")->label = "c";
    ng_answer *a = ask(g, NG_TASK_CLASSIFY);
    assert_string_equal(a->label, "c");
    assert_int_equal(fake_get("intent")->calls + fake_get("mid")->calls + fake_get("cloud")->calls, 3);
    assert_non_null(strstr(a->reason, "to learn what they say"));
    assert_int_equal(ng_grid_get_stats(g).explored, 1);
    assert_int_equal(ng_grid_get_stats(g).wasted_tokens, 20); /* of intent and mid */
    ng_answer_free(a);
    fake_get("cloud")->fails = NG_EIO; /* what was heard below stands */
    a = ask(g, NG_TASK_CLASSIFY);
    assert_string_equal(a->expert, "mid");
    ng_answer_free(a);
    ng_request r;
    ng_request_init(&r, NG_TASK_CLASSIFY);
    ng_request_set_text(&r, "some text", 9);
    r.privacy = NG_PRIVACY_LOCAL;
    int calls = fake_get("cloud")->calls;
    assert_int_equal(ng_grid_ask(g, &r, &a, NULL), NG_OK);
    assert_int_equal(fake_get("cloud")->calls, calls); /* exploring opens no way out */
    ng_answer_free(a);
    r.privacy = NG_PRIVACY_ANY;
    r.max_cost_usd = 1;
    assert_int_equal(ng_grid_ask(g, &r, &a, NULL), NG_OK);
    assert_string_equal(a->expert, "intent"); /* a request that sets a price is not made dearer */
    ng_answer_free(a);
    ng_grid_close(g);
}

static void learns_when_to_escalate(void **state) {
    (void)state;
    ng_grid *g = open_grid(EXPLORE);
    for (int i = 0; i < 120; i++) explore_one(g, i, false);
    ng_grid_close(g);
    g = open_grid(GAIN);
    fake_get("intent")->confidence = 0.95;
    ng_answer *a = ask(g, NG_TASK_CLASSIFY);
    assert_string_equal(a->expert, "intent");
    ng_answer_free(a);
    fake_get("intent")->confidence = 0.4;
    a = ask(g, NG_TASK_CLASSIFY);
    assert_string_equal(a->expert, "mid");
    assert_true(a->escalated);
    assert_non_null(strstr(a->reason, "likely to fix it"));
    assert_true(!strncmp(a->route[1].outcome, "gain 0.", 7));
    assert_int_equal(a->n_warnings, 0);
    ng_answer_free(a);
    fake_get("mid")->fails = fake_get("cloud")->fails = NG_EIO; /* nothing was promised, so nothing is broken */
    a = ask(g, NG_TASK_CLASSIFY);
    assert_string_equal(a->expert, "intent");
    assert_non_null(strstr(a->reason, "did not answer"));
    ng_answer_free(a);
    ng_grid_close(g);
}

static void without_outcomes_nothing_escalates(void **state) {
    (void)state;
    ng_grid *g = open_grid(GAIN);
    fake_get("intent")->confidence = 0.1;
    ng_answer *a = ask(g, NG_TASK_CLASSIFY);
    assert_string_equal(a->expert, "intent");
    ng_answer_free(a);
    ng_grid_close(g);
}

/* Nothing tells the cascade when to escalate, so the mid model, which is free, is better. */
static void audit_refuses_what_loses_to_mid(void **state) {
    (void)state;
    bool held;
    ng_grid *g = open_grid(EXPLORE);
    for (int i = 0; i < 40; i++) explore_one(g, i, true);
    json_t *o = audit(g, &held);
    assert_true(held); /* too few to judge */
    assert_true(json_is_true(json_object_get(json_array_get(json_object_get(o, "cascades"), 0), "void")));
    json_decref(o);
    for (int i = 0; i < 100; i++) explore_one(g, i, true);
    o = audit(g, &held);
    assert_false(held);
    assert_true(fabs(figure(o, "cascade") - 0.5) < 1e-6 && fabs(figure(o, "mid") - 0.95) < 1e-6);
    assert_true(fabs(figure(o, "always_large") - 1) < 1e-6 && fabs(figure(o, "oracle") - 1) < 1e-6);
    assert_true(figure(o, "share") == 0 && figure(o, "always_large_usd") > 0);
    json_decref(o);
    ng_buf b = ng_buf_init(1 << 20);
    assert_int_equal(ng_grid_audit(g, false, &b, &held, NULL), NG_OK);
    assert_non_null(strstr(b.data, "REFUSED: one mid model is better at no more cost"));
    assert_non_null(strstr(b.data, "a cascade is refused"));
    ng_buf_clear(&b);
    ng_grid_close(g);
}

/* ---- conversations --------------------------------------------------------------------------- */

static ng_answer *say(ng_grid *g, const char *first, bool goes_on, ng_privacy privacy) {
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_part parts[3] = {{NG_PART_TEXT, first, strlen(first)}, {NG_PART_TEXT, "well", 4}, {NG_PART_TEXT, "and?", 4}};
    ng_message m[3] = {{"user", &parts[0], 1}, {"assistant", &parts[1], 1}, {"user", &parts[2], 1}};
    ng_request_init(&r, NG_TASK_GENERATE);
    r.messages = m;
    r.n_messages = goes_on ? 3 : 1;
    r.privacy = privacy;
    if (ng_grid_ask(g, &r, &a, &err)) fail_msg("%s", err.text);
    return a;
}

static void is_by(ng_answer *a, const char *expert) {
    assert_string_equal(a->expert, expert);
    ng_answer_free(a);
}

static void conversations_stay(void **state) {
    (void)state;
    ng_grid *g = open_grid(YAML);
    fake_get("chat")->fails = fake_get("mid-chat")->fails = NG_EIO;
    is_by(say(g, "hello", false, NG_PRIVACY_ANY), "cloud");
    fake_get("chat")->fails = fake_get("mid-chat")->fails = NG_OK;
    is_by(say(g, "hello", true, NG_PRIVACY_ANY), "cloud");
    is_by(say(g, "hello", false, NG_PRIVACY_ANY), "chat"); /* another one that begins alike */
    is_by(say(g, "good day", true, NG_PRIVACY_ANY), "chat");
    is_by(say(g, "hello", true, NG_PRIVACY_LOCAL), "chat"); /* no habit overrides a hard filter */
    fake_get("cloud")->fails = NG_EIO;
    is_by(say(g, "hello", true, NG_PRIVACY_ANY), "chat");
    ng_grid_close(g);
    fake_get("cloud")->fails = NG_OK;
    g = open_grid(YAML "cascade: {sticky: false}\n");
    fake_get("chat")->fails = fake_get("mid-chat")->fails = NG_EIO;
    is_by(say(g, "hello", false, NG_PRIVACY_ANY), "cloud");
    fake_get("chat")->fails = fake_get("mid-chat")->fails = NG_OK;
    is_by(say(g, "hello", true, NG_PRIVACY_ANY), "chat");
    ng_grid_close(g);
}

static ng_reask reask(const char *a, const char *b) {
    return ng_reask_of(a, strlen(a), b, strlen(b));
}

static void reasking_is_heard(void **state) {
    (void)state;
    assert_int_equal(reask("how do I reset my router?", "How do I reset my router"), NG_REASK_REPEATED);
    assert_int_equal(reask("how do I reset my router?", "so how do i reset my router please"), NG_REASK_REPEATED);
    assert_int_equal(reask("how do I reset my router?", "and how do I name it?"), NG_REASK_NO);
    assert_int_equal(reask("thank you", "thank you"), NG_REASK_NO); /* too short to be a question */
    assert_int_equal(reask("wie setze ich den Router zur\xC3\xBC" "ck", "Wie setze ich den ROUTER ZUR\xC3\x9C" "CK?"), NG_REASK_REPEATED);
    assert_int_equal(reask("x", "No, that's wrong."), NG_REASK_DISSATISFIED);
    assert_int_equal(reask("x", "that\xE2\x80\x99s not what I asked'"), NG_REASK_DISSATISFIED);
    assert_int_equal(reask("x", "what is wrong with that"), NG_REASK_NO);
    assert_int_equal(reask("", ""), NG_REASK_NO);
    assert_null(ng_reask_name(NG_REASK_NO));
}

static ng_answer *insist(ng_grid *g, const char *first, const char *then) {
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_part parts[3] = {{NG_PART_TEXT, first, strlen(first)},
                        {NG_PART_TEXT, "well", 4},
                        {NG_PART_TEXT, then, strlen(then)}};
    ng_message m[3] = {{"user", &parts[0], 1}, {"assistant", &parts[1], 1}, {"user", &parts[2], 1}};
    ng_request_init(&r, NG_TASK_GENERATE);
    r.messages = m, r.n_messages = 3, r.with_signals = true;
    if (ng_grid_ask(g, &r, &a, &err)) fail_msg("%s", err.text);
    return a;
}

static void reasking_climbs_one_tier(void **state) {
    (void)state;
    ng_grid *g = open_grid(YAML);
    is_by(insist(g, "why is the sky blue", "and why is grass green then"), "chat");
    ng_answer *a = insist(g, "why is the sky blue", "why is the sky blue??");
    assert_non_null(strstr(a->reason, "asked again"));
    assert_non_null(strstr(a->signals, "\"reask\": \"repeated\""));
    is_by(a, "mid-chat"); /* not at once the dearest */
    is_by(insist(g, "why is the sky blue", "that's wrong"), "cloud"); /* from where the conversation is */
    assert_int_equal(ng_grid_get_stats(g).reasks, 2);
    fake_get("mid-chat")->fails = fake_get("cloud")->fails = NG_EIO;
    is_by(insist(g, "why is water wet", "why is water wet"), "chat"); /* nobody above: who was asked before */
    ng_grid_close(g);
    fresh(NULL);
    g = open_grid(YAML "cascade: {reask: false}\n");
    is_by(insist(g, "why is the sky blue", "why is the sky blue"), "chat");
    ng_grid_close(g);
}

static void a_cascade_of_one_tier_is_refused(void **state) {
    static const char *const yaml[] = {"embedded: false\nmodels: {m: {path: m.gguf}}\nexperts:\n  - {name: intent, "
                                       "task: classify, model: m}\ncascade: {explore: 0.1}\n",
                                       "embedded: false\nmodels: {m: {path: m.gguf}}\nexperts:\n  - {name: chat, task: "
                                       "generate, model: m, tier: small}\ncascade: {escalate: gain}\n"};
    static const char *const says[] =
        {"t.yaml:5: cascade: explore needs an expert for labels and a higher tier, and there is none above it",
         "t.yaml:5: cascade: escalate: gain needs an expert for labels"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        ng_grid *g;
        ng_error err = {0};
        ng_grid_options o = {.no_records = true};
        assert_int_equal(ng_grid_open_text(&g, &o, yaml[i], "/cfg/t.yaml", &fake_hooks, &err), NG_EINVALID);
        if (!strstr(err.text, says[i])) fail_msg("%s", err.text);
    }
}

static void waste_is_accounted(void **state) {
    (void)state;
    ng_grid *g = open_grid("embedded: false\nmodels: {m: {path: m.gguf}}\ncache: {exact: 0}\npolicy: {privacy: {pii: any}}\n"
                           "experts:\n  - {name: intent, task: classify, model: m, contract: {max_error: 0.02}}\n"
                           "upstreams:\n  - {name: cloud, base_url: \"http://x/v1\", model: c, pricing: {prompt_per_1m: 10}}\n");
    fake_get("intent")->confidence = 0.5;
    ng_answer_free(ask(g, NG_TASK_CLASSIFY));
    assert_int_equal(ng_grid_get_stats(g).wasted_tokens, 10);
    ng_buf b = ng_buf_init(1 << 20);
    assert_int_equal(ng_grid_usage(g, true, &b, NULL), NG_OK);
    json_t *o = json_loads(b.data, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(o, "wasted_tokens")), 10);
    json_decref(o);
    ng_buf_clear(&b);
    ng_grid_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(figures_are_those_of_hand, fresh),
        cmocka_unit_test_setup(gain_is_learnt, fresh),
        cmocka_unit_test(gain_learns_from_signals),
        cmocka_unit_test_setup(exploring_hears_every_tier, fresh),
        cmocka_unit_test_setup(learns_when_to_escalate, fresh),
        cmocka_unit_test_setup(without_outcomes_nothing_escalates, fresh),
        cmocka_unit_test_setup(audit_refuses_what_loses_to_mid, fresh),
        cmocka_unit_test_setup(conversations_stay, fresh),
        cmocka_unit_test_setup(reasking_is_heard, fresh),
        cmocka_unit_test_setup(reasking_climbs_one_tier, fresh),
        cmocka_unit_test_setup(a_cascade_of_one_tier_is_refused, fresh),
        cmocka_unit_test_setup(waste_is_accounted, fresh),
    };
    return cmocka_run_group_tests(tests, test_home_make, test_home_drop);
}
