/* Tests of the cascade: thresholds of contracts, escalation and fallback, hard limits, held tokens,
 * deadlines; and the fault sweep over opening a grid and asking it. */
#include "fake_tier.h"
#include "fault.h"
#include "test_home.h"

#include "core/hash.h"
#include "gguf/gguf.h"
#include "route/scores.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const ng_grid_options options = {.open_upstream = fake_open_upstream, .no_records = true};

#define YAML                                                                                       \
    "embedded: false\nmodels: {m: {path: m.gguf}}\ncache: {exact: 0}\n"                            \
    "experts:\n  - {name: intent, task: classify, model: m, contract: {max_error: 0.02}}\n"        \
    "  - {name: chat, task: generate, model: m}\n"                                                 \
    "upstreams:\n"                                                                                 \
    "  - {name: dear, base_url: \"http://x/v1\", model: d, pricing: {prompt_per_1m: 10, "          \
    "completion_per_1m: 20}}\n"                                                                    \
    "  - {name: cheap, base_url: \"http://x/v1\", model: c, pricing: {prompt_per_1m: 1, "          \
    "completion_per_1m: 2}}\n"                                                                     \
    "  - {name: edge, tier: small, base_url: \"http://x/v1\", model: e}\n"

static int fresh(void **state) {
    (void)state;
    fake_reset();
    *fake_get("intent") =
        (fake){.label = "greet", .confidence = 0.9, .labels = {"bye"}, .p = {0.05f}};
    *fake_get("chat") = (fake){.confidence = NAN, .n_tokens = 5};
    *fake_get("edge") = (fake){.label = "edge label", .confidence = NAN, .n_tokens = 3};
    *fake_get("cheap") = (fake){.label = "cheap label", .confidence = NAN, .n_tokens = 3};
    *fake_get("dear") = (fake){.label = "dear label", .confidence = NAN, .n_tokens = 3};
    return 0;
}

static ng_grid *open_grid(const char *yaml) {
    ng_grid *g;
    ng_error err = {0};
    if (ng_grid_open_text(&g, &options, yaml, "/cfg/t.yaml", &fake_hooks, &err))
        fail_msg("%s", err.text);
    return g;
}

static ng_answer *ask(ng_grid *g, ng_request *r) {
    ng_answer *a;
    ng_error err = {0};
    if (ng_grid_ask(g, r, &a, &err)) fail_msg("%s", err.text);
    return a;
}

static ng_request request(ng_task task, ng_message *m, ng_part *p) {
    ng_request r;
    ng_request_init(&r, task);
    *p = (ng_part){NG_PART_TEXT, "some text", 9};
    *m = (ng_message){"user", p, 1};
    r.messages = m;
    r.n_messages = 1;
    return r;
}

static const char *outcome(const ng_answer *a, const char *expert) {
    for (size_t i = 0; i < a->n_route; i++)
        if (a->route[i].expert && !strcmp(a->route[i].expert, expert) &&
            strcmp(a->route[i].step, "router"))
            return a->route[i].outcome;
    return "none";
}

/* ---- thresholds ------------------------------------------------------------------------------ */

static void a_threshold_keeps_its_promise(void **state) {
    (void)state;
    float c[40];
    uint8_t right[40];
    double t;
    for (int i = 0; i < 40; i++) c[i] = 0.99f - 0.01f * (float)i, right[i] = i != 12 && i != 30;
    /* 0.75^9 = 0.075: nine right answers promise 25 %, eight (0.1001) do not; 39 with 2 wrong do
     * too */
    assert_int_equal(ng_threshold_for(&t, c, right, 9, 0.25, 0.1), NG_OK);
    assert_true(t == (double)c[8]);
    assert_int_equal(ng_threshold_for(&t, c, right, 8, 0.25, 0.1), NG_OK);
    assert_true(isinf(t));
    assert_int_equal(ng_threshold_for(&t, c, right, 40, 0.25, 0.1), NG_OK);
    assert_true(t == (double)c[39]); /* the lowest that keeps it: P(X <= 2 | 40, 0.25) = 0.001 */
    assert_int_equal(ng_threshold_for(&t, c, right, 40, 0.13, 0.1), NG_OK);
    assert_true(t == (double)c[39]); /* 0.094 */
    assert_int_equal(ng_threshold_for(&t, c, right, 40, 0.12, 0.1), NG_OK);
    assert_true(isinf(
        t)); /* 0.126 at 40 answers, 0.110 at the 30 with one wrong, 0.216 at the 12 with none */
    assert_int_equal(ng_threshold_for(&t, c, right, 40, 0.02, 0.1), NG_OK);
    assert_true(isinf(t)); /* forty cannot promise 2 % */
    for (int i = 0; i < 9; i++) c[i] = 0.9f;
    right[8] = 0;
    assert_int_equal(ng_threshold_for(&t, c, right, 9, 0.25, 0.1), NG_OK);
    assert_true(isinf(t)); /* a tie cannot be cut before its wrong one */
    float nan[20];
    for (int i = 0; i < 20; i++) nan[i] = NAN;
    assert_int_equal(ng_threshold_for(&t, nan, right, 20, 0.5, 0.1), NG_OK);
    assert_true(isinf(t));
    assert_int_equal(ng_threshold_for(&t, NULL, NULL, 0, 0.5, 0.1), NG_OK);
    assert_true(isinf(t));
}

/* What holds over all of them and for one kind not, is lifted to where no kind breaks it. */
static void no_kind_breaks_the_promise(void **state) {
    (void)state;
    enum { N = 400 };
    float c[N];
    uint8_t right[N], kind[N];
    double t;
    for (int i = 0; i < N; i++) {
        c[i] = 1.0f - 0.001f * (float)i;
        kind[i] = i % 20 == 0;
        right[i] = !kind[i] || (i < 220 && i % 40); /* of kind 1 every second is wrong, the last nine all are */
    }
    ng_scores set = {.confidence = c, .correct = right, .n = N};
    assert_int_equal(ng_threshold_of(&t, &set, 0.1, 0.1), NG_OK);
    assert_true(t == (double)c[N - 1]); /* 15 of 400 are wrong */
    set.kind = kind;
    assert_int_equal(ng_threshold_of(&t, &set, 0.1, 0.1), NG_OK);
    assert_true(t == (double)c[179]); /* from here up fewer than ten are of kind 1 */
    for (int i = 0; i < N; i++) kind[i] = 0;
    assert_int_equal(ng_threshold_of(&t, &set, 0.1, 0.1), NG_OK);
    assert_true(t == (double)c[N - 1]);
}

/* Calibrated draws: at each confidence c in [0.5, 1) the answer is right with probability c, so the
 * true error of answering from t up is (1 - t) / 2: 5 % at 0.9. */
static void promises_are_broken_as_rarely_as_they_say(void **state) {
    (void)state;
    enum { N = 1000, ROUNDS = 300 };
    static float c[N];
    static uint8_t right[N];
    ng_rng rng = ng_rng_seed(7);
    int broken = 0;
    double sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double t;
        for (size_t i = 0; i < N; i++) {
            c[i] = (float)(0.5 + 0.5 * ng_rng_unit(&rng));
            right[i] = ng_rng_unit(&rng) < (double)c[i];
        }
        assert_int_equal(ng_threshold_for(&t, c, right, N, 0.05, 0.1), NG_OK);
        broken += t < 0.9;
        sum += isinf(t) ? 0 : 2 * (1 - t);
    }
    assert_true(broken <
                ROUNDS * 0.2); /* 10 % and what choosing the lowest of many thresholds costs */
    assert_true(sum / ROUNDS >
                0.08); /* and it is not bought by silence: 0.2 would be exact knowledge */
}

static void thresholds_come_from_the_package(void **state) {
    (void)state;
    char path[128], beside[128];
    float c[12] = {0.9f, 0.85f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.7f, 0.6f, 0.5f};
    uint8_t right[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0}; /* 0.5^9 = 0.00195 */
    ng_gguf_writer *w;
    ng_error err = {0};
    double t;
    snprintf(path, sizeof path, "%s", test_home_path("model.gguf"));
    snprintf(beside, sizeof beside, "%s", test_home_path("scores.gguf"));
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_str(w, "general.architecture", "x");
    assert_int_equal(ng_gguf_writer_commit(w, path, &err), NG_OK);
    assert_int_equal(ng_calibration_threshold(&t, path, 0.5, &err), NG_ENOTFOUND);
    assert_non_null(strstr(err.text, "holds a calibration set"));
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_array(w, "nanogrid.calibration.confidence", NG_GGUF_F32, c, 12);
    ng_gguf_put_array(w, "nanogrid.calibration.correct", NG_GGUF_U8, right, 12);
    err = (ng_error){0};
    assert_int_equal(ng_gguf_writer_commit(w, beside, &err), NG_OK);
    assert_int_equal(ng_calibration_threshold(&t, path, 0.5, &err), NG_OK);
    assert_true(t == (double)0.8f);
    assert_int_equal(ng_calibration_threshold(&t, path, 0.4, &err), NG_EINVALID); /* 0.6^9 */
    assert_non_null(strstr(err.text, "12 calibration scores can promise 0.4987 at best"));
    err = (ng_error){0};
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_array(w, "nanogrid.calibration.confidence", NG_GGUF_F32, c, 12);
    ng_gguf_put_array(w, "nanogrid.calibration.correct", NG_GGUF_U8, right, 11);
    assert_int_equal(ng_gguf_writer_commit(w, beside, &err), NG_OK);
    assert_int_equal(ng_calibration_threshold(&t, path, 0.5, &err), NG_EFORMAT);
    unlink(path), unlink(beside);
}

/* The packages of the source tree: the threshold comes from their calibration set, the risk is
 * counted on their test set, which nothing was fitted on. */
static void shipped_packages_keep_their_promises(void **state) {
    (void)state;
    static const struct {
        const char *package;
        double promise;
    } rows[] = {
        {"intent", 0.02}, {"intent", 0.05}, {"sentiment", 0.1}, {"topic", 0.05}, {"topic", 0.1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char model[80];
        ng_scores test;
        double t;
        snprintf(model, sizeof model, "models/%s/model.gguf", rows[i].package);
        if (access(model, R_OK)) {
            print_message("SKIP: no package %s\n", model);
            continue;
        }
        assert_int_equal(ng_calibration_threshold(&t, model, rows[i].promise, NULL), NG_OK);
        assert_int_equal(ng_scores_read(&test, model, "test", NULL), NG_OK);
        ng_risk r = ng_risk_at(&test, t);
        print_message("%s: at most %.0f %% promised, %.2f %% of %zu answers wrong (%.0f %% answered)\n",
                      rows[i].package, 100 * rows[i].promise, 100 * r.risk, r.n, 100 * r.coverage);
        assert_true(r.n >= 300 && r.upper95 <= rows[i].promise);
        ng_scores_clear(&test);
    }
}

static void bounds_are_those_of_clopper_and_pearson(void **state) {
    (void)state; /* against scipy.stats.beta.ppf */
    assert_true(fabs(ng_binomial_upper(300, 0, 0.05) - 0.00993608194445772) < 1e-9);
    assert_true(fabs(ng_binomial_upper(100, 5, 0.05) - 0.1022533776432745) < 1e-9);
    assert_true(fabs(ng_binomial_lower(100, 5, 0.05) - 0.019905563662171832) < 1e-9);
    assert_true(ng_binomial_upper(0, 0, 0.05) >= 1 && ng_binomial_upper(7, 7, 0.05) >= 1);
    assert_true(ng_binomial_lower(7, 0, 0.05) <= 0);
    ng_risk r = ng_risk_of(0, 0, 0);
    assert_true(isnan(r.risk) && isnan(r.coverage) && r.upper95 >= 1 && r.lower95 <= 0);
}

/* ---- climbing -------------------------------------------------------------------------------- */

static void sure_answers_stay_and_unsure_ones_climb(void **state) {
    (void)state;
    ng_message m;
    ng_part p;
    ng_request r = request(NG_TASK_CLASSIFY, &m, &p);
    ng_grid *g = open_grid(YAML);
    ng_answer *a = ask(g, &r); /* 0.9 >= 0.8 */
    assert_true(!strcmp(a->expert, "intent") && !a->escalated && a->n_warnings == 0);
    ng_answer_free(a);
    fake_get("intent")->confidence = 0.7999;
    a = ask(g, &r);
    assert_true(a->escalated && a->tier == NG_TIER_SMALL && a->in_scope && isnan(a->confidence) &&
                a->cost_usd == 0);
    assert_string_equal(a->expert, "edge"); /* the lowest tier that may, before the cheaper price */
    assert_string_equal(outcome(a, "intent"), "below-contract");
    assert_string_equal(outcome(a, "edge"), "answered");
    assert_true(fake_get("edge")->task == NG_TASK_CLASSIFY &&
                fake_get("edge")->n_labels == 2); /* greet, bye */
    ng_answer_free(a);
    fake_get("intent")->confidence = NAN; /* no calibrated confidence keeps no contract */
    a = ask(g, &r);
    assert_true(a->escalated);
    ng_answer_free(a);
    ng_grid_stats s = ng_grid_get_stats(g);
    assert_true(s.requests == 3 && s.answered_nano == 1 && s.answered_small == 2 &&
                s.escalations == 2);
    ng_grid_close(g);
}

/* A thread that must not be held up: small models answer it, the rest leaves no trace. */
static void who_may_not_wait_hears_small_models_alone(void **state) {
    (void)state;
    ng_message m;
    ng_part p;
    bool would_wait = false;
    ng_request r = request(NG_TASK_CLASSIFY, &m, &p);
    r.would_wait = &would_wait;
    ng_grid *g = open_grid(YAML);
    ng_answer *a;
    ng_error err = {0};
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EBUSY); /* not loaded yet, say */
    assert_true(would_wait && !a && fake_get("intent")->calls == 0);
    fake_get("intent")->at_once = true;
    would_wait = false;
    a = ask(g, &r);
    assert_true(!would_wait && !strcmp(a->expert, "intent"));
    ng_answer_free(a);
    fake_get("intent")->confidence = 0.7; /* below its contract: `edge` would be next */
    assert_int_equal(ng_grid_ask(g, &r, &a, NULL), NG_EBUSY);
    assert_true(would_wait && !a && fake_get("edge")->calls == 0);
    ng_grid_stats s = ng_grid_get_stats(g);
    assert_true(s.requests == 1 && s.errors == 0 && s.wasted_tokens == 0);
    r.would_wait = NULL;
    a = ask(g, &r);
    assert_string_equal(a->expert, "edge");
    assert_true(a->n_warnings == 0);
    ng_answer_free(a);
    assert_int_equal(ng_grid_get_stats(g).requests, 2);
    ng_grid_close(g);
}

static void a_failing_tier_costs_no_request(void **state) {
    (void)state;
    ng_message m;
    ng_part p;
    ng_request r = request(NG_TASK_CLASSIFY, &m, &p);
    ng_grid *g = open_grid(YAML);
    fake_get("intent")->confidence = 0.5;
    fake_get("edge")->fails = NG_ENET;
    ng_answer *a = ask(g, &r); /* climbs past it, to the cheaper of the next tier */
    assert_string_equal(a->expert, "cheap");
    assert_true(a->tier == NG_TIER_MEDIUM && a->n_warnings == 1 &&
                strstr(a->warnings[0], "upstream edge failed"));
    assert_true(fabs(a->cost_usd - 10e-6) < 1e-12);
    ng_answer_free(a);
    fake_get("cheap")->fails = NG_ETIMEOUT;
    fake_get("dear")->unhealthy = "breaker open";
    a = ask(g, &r); /* everything above is down: the local answer stands */
    assert_true(!strcmp(a->expert, "intent") && !strcmp(a->label, "greet") && !a->escalated &&
                a->in_scope);
    assert_string_equal(outcome(a, "cheap"), "failed");
    assert_string_equal(outcome(a, "dear"), "skipped: breaker open");
    assert_true(a->n_warnings == 3 &&
                strstr(a->warnings[2], "below what intent promised (0.800 for at most 2 % error)"));
    assert_non_null(strstr(a->reason, "below the contract, and no higher tier answered"));
    ng_answer_free(a);
    fake_get("intent")->fails = NG_EIO; /* nobody at all: the first cause is told */
    ng_error err = {0};
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EIO);
    assert_null(a);
    fake_get("intent")->fails = NG_EINVALID; /* a bad request is nobody's to repair */
    fake_get("cheap")->fails = NG_OK;
    int before = fake_get("cheap")->calls;
    err = (ng_error){0};
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_EINVALID);
    assert_int_equal(fake_get("cheap")->calls, before);
    ng_grid_close(g);
}

static void out_of_scope_escalates_or_abstains(void **state) {
    (void)state;
    ng_message m;
    ng_part p;
    ng_request r = request(NG_TASK_CLASSIFY, &m, &p);
    ng_grid *g = open_grid(YAML);
    fake_get("intent")->out_of_scope = true;
    ng_answer *a = ask(g, &r);
    assert_true(a->escalated && !a->in_scope && !strcmp(a->label, "edge label") &&
                fake_get("edge")->n_labels == 0);
    ng_answer_free(a);
    r.privacy = NG_PRIVACY_LOCAL;
    a = ask(g, &r);
    assert_true(!a->escalated && !a->in_scope && a->label == NULL && !strcmp(a->expert, "intent"));
    assert_string_equal(outcome(a, "edge"), "skipped: privacy local");
    ng_answer_free(a);
    r.privacy = NG_PRIVACY_ANY;
    ng_grid_close(g);
    g = open_grid(YAML "router: {abstain: answer}\n");
    int before = fake_get("edge")->calls;
    a = ask(g, &r);
    assert_true(a->label == NULL && !a->in_scope && fake_get("edge")->calls == before);
    ng_answer_free(a);
    ng_grid_close(g);
}

static void limits_are_hard(void **state) {
    (void)state;
    ng_message m;
    ng_part p;
    ng_request r = request(NG_TASK_CLASSIFY, &m, &p);
    ng_grid *g = open_grid(YAML);
    fake_get("intent")->confidence = 0.1;
    fake_get("edge")->unhealthy = "down";
    r.max_cost_usd = 0;
    ng_answer *a = ask(g, &r);
    assert_true(!strcmp(a->expert, "intent") && strstr(outcome(a, "cheap"), "skipped: cost"));
    ng_answer_free(a);
    r.max_cost_usd = 0.001; /* pays for the cheap one only */
    fake_get("cheap")->fails = NG_ENET;
    a = ask(g, &r);
    assert_true(!strcmp(a->expert, "intent") && strstr(outcome(a, "dear"), "skipped: cost"));
    ng_answer_free(a);
    fake_get("cheap")->fails = NG_OK;
    r.max_cost_usd = NAN;
    r.deadline_ms = 20;
    fake_get("intent")->sleep_ms = 40;
    a = ask(g, &r);
    assert_true(!strcmp(a->expert, "intent") && !strcmp(outcome(a, "cheap"), "skipped: deadline"));
    ng_answer_free(a);
    ng_grid_close(g);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

typedef struct heard {
    char text[256];
    int events, stop_after;
} heard;

static bool hear(void *ctx, const ng_token_event *e) {
    heard *h = ctx;
    strncat(h->text, e->text, e->len);
    return !(++h->events == h->stop_after);
}

#define CONTRACT_CHAT                                                                              \
    "embedded: false\nmodels: {m: {path: m.gguf}}\ncache: {exact: 0}\ncascade: {hold_tokens: 4}\n" \
    "experts:\n  - {name: chat, task: generate, model: m, contract: {max_error: 0.1}}\n"           \
    "upstreams:\n  - {name: cloud, base_url: \"http://x/v1\", model: c}\n"

static void a_generation_that_goes_wrong_is_given_up(void **state) {
    (void)state;
    static const float falling[] = {NAN, 0.9f, NAN, 0.3f, NAN, 0.2f, NAN, NAN, NAN};
    ng_message m;
    ng_part p;
    ng_request r = request(NG_TASK_GENERATE, &m, &p);
    *fake_get("cloud") = (fake){.n_tokens = 2, .confidence = NAN};
    *fake_get("chat") = (fake){.n_tokens = 9, .confidence = 0.3, .confidence_so_far = falling};
    static const char yaml[] =
        "embedded: false\nmodels: {m: {path: m.gguf}}\ncache: {exact: 0}\ncascade: {early_after: 3}\n"
        "experts:\n  - {name: chat, task: generate, model: m, contract: {max_error: 0.1}}\n"
        "upstreams:\n  - {name: cloud, base_url: \"http://x/v1\", model: c}\n";
    for (int streams = 0; streams < 2; streams++) {
        heard h = {.stop_after = -1};
        ng_grid *g = open_grid(yaml);
        if (streams) r.on_token = hear, r.on_token_ctx = &h;
        ng_answer *a = ask(g, &r); /* at the fourth token the estimate is 0.3: the fifth is never made */
        assert_true(a->escalated && !strcmp(a->answer, "t0 t1 ") && (!streams || !strcmp(h.text, "t0 t1 ")));
        assert_string_equal(outcome(a, "chat"), "given up after 4 tokens");
        assert_string_equal(fake_get("cloud")->system,
                            "A smaller model began to answer and was stopped, for it was probably wrong: t0 t1 t2 t3 ");
        assert_int_equal(ng_grid_get_stats(g).wasted_tokens, 14); /* with the prompt's */
        ng_answer_free(a);
        fake_get("cloud")->fails = NG_ENET; /* nobody above: it is written to its end after all */
        h = (heard){.stop_after = -1};
        a = ask(g, &r);
        assert_true(!a->escalated && !strcmp(a->answer, "t0 t1 t2 t3 t4 t5 t6 t7 t8 ") &&
                    (!streams || !strcmp(h.text, a->answer)));
        ng_answer_free(a);
        fake_get("cloud")->fails = NG_OK;
        ng_grid_close(g);
    }
}

static void tokens_are_held_while_the_tier_may_change(void **state) {
    (void)state;
    ng_message m;
    ng_part p;
    ng_request r = request(NG_TASK_GENERATE, &m, &p);
    heard h = {.stop_after = -1};
    r.on_token = hear, r.on_token_ctx = &h;
    *fake_get("cloud") = (fake){.n_tokens = 2, .confidence = NAN};
    *fake_get("chat") = (fake){.n_tokens = 3, .confidence = 0.3};
    ng_grid *g = open_grid(CONTRACT_CHAT);
    ng_answer *a = ask(g, &r); /* three tokens fit into the hold: none of them is ever heard */
    assert_true(a->escalated && !strcmp(h.text, "t0 t1 ") && !strcmp(a->answer, "t0 t1 "));
    ng_answer_free(a);
    h = (heard){.stop_after = -1};
    fake_get("chat")->n_tokens = 9; /* past the hold: the tier is settled, unsure or not */
    a = ask(g, &r);
    assert_true(!a->escalated && !strcmp(a->expert, "chat") &&
                !strcmp(h.text, "t0 t1 t2 t3 t4 t5 t6 t7 t8 "));
    assert_int_equal(h.events, 9);
    ng_answer_free(a);
    h = (heard){.stop_after = -1};
    fake_get("chat")->n_tokens = 3, fake_get("chat")->confidence = 0.95;
    a = ask(g, &r); /* sure: what was held is heard after all */
    assert_true(!a->escalated && !strcmp(h.text, "t0 t1 t2 "));
    ng_answer_free(a);
    h = (heard){.stop_after = -1};
    fake_get("chat")->confidence = 0.3, fake_get("cloud")->fails = NG_ENET;
    a = ask(g, &r); /* the upstream fails before its first token: the held answer stands */
    assert_true(!a->escalated && !strcmp(h.text, "t0 t1 t2 ") && a->n_warnings == 2);
    ng_answer_free(a);
    h = (heard){.stop_after = -1};
    fake_get("cloud")->fails_after = 1;
    ng_error err = {0};
    assert_int_equal(ng_grid_ask(g, &r, &a, &err),
                     NG_ENET); /* after its first token nothing may take its place */
    assert_string_equal(h.text, "t0 ");
    h = (heard){.stop_after = 2};
    r.privacy = NG_PRIVACY_LOCAL; /* nobody above may: no need to hold */
    a = ask(g, &r);
    assert_true(h.events == 2 && !strcmp(a->finish, "cancelled"));
    ng_answer_free(a);
    ng_grid_close(g);
}

/* ---- deadlines of contracts, long prompts ----------------------------------------------------- */

#define DEADLINE                                                                                   \
    "embedded: false\nmodels: {m: {path: m.gguf}}\ncache: {exact: 1MB}\nexperts:\n"                \
    "  - {name: intent, task: classify, model: m, contract: {max_error: 0.02, deadline: {p999_ms: 20, on_miss: safe}}}\n" \
    "upstreams:\n  - {name: cloud, base_url: \"http://x/v1\", model: c}\n"

static void a_missed_deadline_gives_the_safe_label(void **state) {
    (void)state;
    ng_message m;
    ng_part p;
    ng_request r = request(NG_TASK_CLASSIFY, &m, &p);
    ng_grid *g = open_grid(DEADLINE);
    *fake_get("cloud") = (fake){.label = "late", .confidence = NAN};
    ng_answer *a = ask(g, &r);
    assert_string_equal(a->label, "greet");
    ng_answer_free(a);
    r.no_cache = true;
    fake_get("intent")->sleep_ms = 30;
    a = ask(g, &r); /* the expert is too slow, sure or not */
    assert_true(!strcmp(a->label, "safe") && !strcmp(a->expert, "intent") && !a->escalated && isnan(a->confidence) &&
                a->in_scope);
    assert_non_null(strstr(a->warnings[0], "declared safe label"));
    ng_answer_free(a);
    fake_get("intent")->confidence = 0.5;
    a = ask(g, &r); /* unsure and late: nobody above is asked any more */
    assert_true(!strcmp(a->label, "safe") && fake_get("cloud")->calls == 0);
    ng_answer_free(a);
    fake_get("intent")->sleep_ms = 0, fake_get("cloud")->sleep_ms = 30;
    a = ask(g, &r); /* escalated in time, answered too late */
    assert_string_equal(a->label, "safe");
    ng_answer_free(a);
    fake_get("intent")->fails = NG_EIO, fake_get("cloud")->fails = NG_ENET, fake_get("intent")->sleep_ms = 30;
    a = ask(g, &r); /* late and failed */
    assert_string_equal(a->label, "safe");
    ng_answer_free(a);
    r.no_cache = false;
    ng_part other = {NG_PART_TEXT, "another text", 12};
    m.parts = &other;
    *fake_get("intent") = (fake){.label = "greet", .confidence = 0.9, .sleep_ms = 30};
    ng_answer_free(ask(g, &r));
    fake_get("intent")->sleep_ms = 0;
    a = ask(g, &r); /* a miss is no fact to cache */
    assert_true(!strcmp(a->label, "greet") && !a->cached);
    ng_answer_free(a);
    assert_int_equal(ng_grid_get_stats(g).deadline_misses, 5);
    ng_grid_close(g);
}

#define LONG(how)                                                                                  \
    "embedded: false\nmodels: {m: {path: m.gguf}}\ncache: {exact: 0}\npolicy: {on_long: " how       \
    "}\nexperts:\n  - {name: chat, task: generate, model: m}\n"                                    \
    "  - {name: sum, task: summarize, model: m}\nupstreams:\n"                                     \
    "  - {name: cloud, base_url: \"http://x/v1\", model: c}\n"

static void long_prompts_go_where_the_policy_says(void **state) {
    (void)state;
    ng_request r;
    ng_error err = {0};
    const char *text = "one two three four five six seven eight nine ten eleven twelve";
    ng_request_init(&r, NG_TASK_GENERATE);
    ng_request_set_text(&r, text, strlen(text));
    *fake_get("chat") = (fake){.confidence = NAN, .n_tokens = 2, .max_bytes = 20};
    *fake_get("cloud") = (fake){.confidence = NAN, .text = "from above"};
    ng_grid *g = open_grid(LONG("escalate"));
    ng_answer *a = ask(g, &r);
    assert_true(a->escalated && !strcmp(a->answer, "from above"));
    ng_answer_free(a);
    ng_grid_close(g);
    g = open_grid(LONG("refuse"));
    assert_int_equal(ng_grid_ask(g, &r, &a, &err), NG_ELIMIT);
    assert_non_null(strstr(err.text, "too long"));
    ng_grid_close(g);
    g = open_grid(LONG("compress"));
    fake_get("chat")->calls = 0;
    a = ask(g, &r);
    assert_true(!a->escalated && !strcmp(a->answer, "t0 t1 ") && fake_get("chat")->calls == 3); /* 12, 6, 3 words */
    assert_non_null(strstr(a->warnings[0], "compressed from 62 to 14 bytes"));
    ng_answer_free(a);
    fake_get("chat")->max_bytes = 1; /* no part is short enough: the next tier */
    a = ask(g, &r);
    assert_true(a->escalated && !strcmp(a->answer, "from above"));
    ng_answer_free(a);
    FAULT_SWEEP(FAULT_ALLOC) {
        fake_get("chat")->max_bytes = 20;
        ng_error why = {0};
        a = NULL;
        ng_status s = ng_grid_ask(g, &r, &a, &why);
        assert_true(s == NG_OK || s == NG_ENOMEM);
        ng_answer_free(a);
        if (!s && !fault_fired()) fault_passed();
    }
    ng_grid_close(g);
}

/* ---- drift ----------------------------------------------------------------------------------- */

static void texts_from_elsewhere_are_noticed(void **state) {
    (void)state;
    ng_message m;
    ng_part p;
    ng_request r = request(NG_TASK_CLASSIFY, &m, &p);
    ng_rng rng = ng_rng_seed(3);
    ng_grid *g = open_grid(YAML);
    ng_answer *a;
    for (int i = 0; i < 3000; i++) { /* like the calibration set: calm */
        fake_get("intent")->confidence = 0.5 + ng_rng_unit(&rng) / 2;
        ng_answer_free(ask(g, &r));
        assert_false(ng_grid_get_entry(g, 0).drifting);
    }
    fake_get("intent")->confidence = 0.85; /* enough for the contract, which asks for 0.8 */
    a = ask(g, &r);
    assert_true(!a->escalated);
    ng_answer_free(a);
    int n = 0;
    for (; n < 3000 && !ng_grid_get_entry(g, 0).drifting; n++) {
        fake_get("intent")->confidence = 0.5 + ng_rng_unit(&rng) / 5;
        ng_answer_free(ask(g, &r));
    }
    print_message("drift is seen after %d texts, at %.3f\n", n, ng_grid_get_entry(g, 0).drift);
    assert_true(n < 400);
    fake_get("intent")->confidence = 0.85; /* now it must be surer: 0.9 */
    a = ask(g, &r);
    assert_true(a->escalated);
    assert_non_null(strstr(a->reason, "left the calibration set"));
    ng_answer_free(a);
    for (n = 0; n < 9000 && ng_grid_get_entry(g, 0).drifting; n++) {
        fake_get("intent")->confidence = 0.5 + ng_rng_unit(&rng) / 2;
        ng_answer_free(ask(g, &r));
    }
    assert_true(n < 9000); /* and it passes */
    ng_grid_close(g);
}

/* ---- every allocation fails once ------------------------------------------------------------- */

static void every_allocation_may_fail(void **state) {
    (void)state;
    ng_message m;
    ng_part p;
    ng_request r = request(NG_TASK_CLASSIFY, &m, &p);
    static const ng_grid_options with_records = {.open_upstream = fake_open_upstream};
    long lost = 0;
    fake_get("intent")->confidence = 0.5;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_grid *g = NULL;
        ng_answer *a = NULL, *b = NULL;
        ng_error err = {0};
        ng_status s = ng_grid_open_text(&g, &with_records, YAML "records: {keep: 1d}\n",
                                        "/cfg/t.yaml", &fake_hooks, &err);
        if (s) assert_true(s == NG_ENOMEM && g == NULL && *err.text);
        if (!s) s = ng_grid_ask(g, &r, &a, &err);
        if (!s) s = ng_grid_route(g, &r, &b, &err);
        assert_true(s == NG_OK || s == NG_ENOMEM);
        if (g && ng_grid_flush(g, NULL)) lost++;
        if (a) assert_true(a->decision_id[0] && a->n_route > 0);
        ng_answer_free(a);
        ng_answer_free(b);
        ng_grid_close(g);
        if (!s) fault_passed();
    }
    assert_true(fault_sweep_rounds() > 20);
    assert_true(lost <= 2); /* a batch is tried again: a single failure loses none of it */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_threshold_keeps_its_promise, fresh),
        cmocka_unit_test_setup(no_kind_breaks_the_promise, fresh),
        cmocka_unit_test_setup(promises_are_broken_as_rarely_as_they_say, fresh),
        cmocka_unit_test_setup(thresholds_come_from_the_package, fresh),
        cmocka_unit_test_setup(bounds_are_those_of_clopper_and_pearson, fresh),
        cmocka_unit_test_setup(shipped_packages_keep_their_promises, fresh),
        cmocka_unit_test_setup(sure_answers_stay_and_unsure_ones_climb, fresh),
        cmocka_unit_test_setup(who_may_not_wait_hears_small_models_alone, fresh),
        cmocka_unit_test_setup(a_failing_tier_costs_no_request, fresh),
        cmocka_unit_test_setup(out_of_scope_escalates_or_abstains, fresh),
        cmocka_unit_test_setup(limits_are_hard, fresh),
        cmocka_unit_test_setup(tokens_are_held_while_the_tier_may_change, fresh),
        cmocka_unit_test_setup(a_missed_deadline_gives_the_safe_label, fresh),
        cmocka_unit_test_setup(long_prompts_go_where_the_policy_says, fresh),
        cmocka_unit_test_setup(a_generation_that_goes_wrong_is_given_up, fresh),
        cmocka_unit_test_setup(texts_from_elsewhere_are_noticed, fresh),
        cmocka_unit_test_setup(every_allocation_may_fail, fresh),
    };
    return cmocka_run_group_tests(tests, test_home_make, test_home_drop);
}
