/* Tests of the semantic cache: guards on words, thresholds that are learnt, bounds; and its way through the grid, with a fake
 * encoder: what is private is never looked up nor kept, nor is what failed or was cut. */
#include "fake_tier.h"
#include "fault.h"
#include "test_home.h"

#include "core/arena.h"
#include "text/alike.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- guards -------------------------------------------------------------------------------------------- */

static void guards_tell_texts_apart(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        ng_unlike want;
    } pairs[] = {
        {"A man is playing a guitar.", "The man plays the guitar", NG_UNLIKE_NOT},
        {"A kangaroo is eating something.", "A kangaroo is eating", NG_UNLIKE_NOT},
        {"Japan defends dolphin hunt after US criticism", "Japan defends dolphin hunts after criticism from US",
         NG_UNLIKE_NOT},
        {"How many days are two weeks?", "How many days are 2 weeks?", NG_UNLIKE_NOT},
        {"What is 10,000 plus one?", "What is 10000 plus one?", NG_UNLIKE_NOT},
        {"My card 4929 is lost", "My card 5131 is lost", NG_UNLIKE_NUMBERS},
        {"wire me three dollars", "wire me seven dollars", NG_UNLIKE_NUMBERS},
        {"Is it safe to eat?", "Is it not safe to eat?", NG_UNLIKE_NEGATION},
        {"You should turn it off", "You shouldn't turn it off", NG_UNLIKE_NEGATION},
        {"Please write to Anna Smith today", "Please write to Peter Jones today", NG_UNLIKE_NAMES},
        {"How do I say goodbye in French?", "How do I say goodbye in German?", NG_UNLIKE_NAMES},
        {"Translate into Polish: the cat sleeps", "Translate into Polish: the cat eats", NG_UNLIKE_PAYLOAD},
        {"How do you say \"the house\" in Dutch?", "How do you say \"my house\" in Dutch?", NG_UNLIKE_PAYLOAD},
        {"Please translate 'a red car' for me", "Please translate 'a blue car' for me", NG_UNLIKE_PAYLOAD},
        {"the first line\n\nSay it shorter", "the last line\n\nSay it shorter", NG_UNLIKE_PAYLOAD},
        {"can i bring a cat on board", "can i bring a bicycle on board", NG_UNLIKE_SLOT},
        {"How do I open the door?", "How do I close the door?", NG_UNLIKE_SLOT},
        {"what is 7 + 2", "what is 7 - 2", NG_UNLIKE_SIGNS},
        {"an introduction to C#", "an introduction to C", NG_UNLIKE_SIGNS},
        {"a well-known man", "a well known man", NG_UNLIKE_NOT},
        {"delete the files", "delete all files", NG_UNLIKE_QUANTITY},
        {"turn the heating on", "turn the heating off", NG_UNLIKE_PARTICLES},
        {"flights from boston", "flights to boston", NG_UNLIKE_WORDS}, /* not asked for */
        {"show me flights from boston", "show me flights to boston", NG_UNLIKE_PARTICLES},
        {"convert euros to dollars", "convert dollars to euros", NG_UNLIKE_ORDER},
        {"trains from new york to boston today", "trains from boston to new york today", NG_UNLIKE_ORDER},
        {"A black and white dog", "A white and black dog", NG_UNLIKE_NOT},
        {"What is the weather like today", "Today what is the weather like", NG_UNLIKE_NOT},
        {"book a flight to the coast", "book a cheap flight to the coast", NG_UNLIKE_REQUEST},
        {"Please can you open a new account in my name", "Please can you close the account in my new name",
         NG_UNLIKE_REQUEST},
        {"A lady is slicing an onion on the table", "A woman is slicing the onion on a table", NG_UNLIKE_WORDS},
        {"There is a dog in the garden", "A dog is in the garden", NG_UNLIKE_NOT},
        {"", "", NG_UNLIKE_NOT},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (int swap = 0; swap < 2; swap++) {
            const char *a = swap ? pairs[i].b : pairs[i].a, *b = swap ? pairs[i].a : pairs[i].b;
            ng_unlike got = ng_text_unlike(a, strlen(a), b, strlen(b));
            if (got != pairs[i].want)
                fail_msg("%s | %s: %s, not %s", a, b, ng_unlike_name(got), ng_unlike_name(pairs[i].want));
        }
    char longer[4000];
    for (size_t i = 0; i < sizeof longer; i++) longer[i] = i % 2 ? ' ' : 'w';
    assert_int_equal(ng_text_unlike(longer, sizeof longer, "w", 1), NG_UNLIKE_LENGTH);
}

/* ---- thresholds ---------------------------------------------------------------------------------------- */

static ng_answer *answer_of(const char *text) {
    ng_answer *a;
    assert_int_equal(ng_answer_new(&a), NG_OK);
    a->task = NG_TASK_GENERATE;
    a->answer = ng_answer_strndup(a, text, strlen(text));
    return a;
}

/* A vector of length 1 that is `x` like the first axis. */
static const float *axis(double x) {
    static float v[2];
    v[0] = (float)x;
    v[1] = (float)sqrt(1 - x * x);
    return v;
}

static ng_semantic_query query(const char *text, double x) {
    return (ng_semantic_query){.text = text, .len = strlen(text), .vector = axis(x), .n = 2, .language = ""};
}

static void put(ng_semantic *s, const char *text, const char *answer) {
    ng_answer *a = answer_of(answer);
    ng_semantic_query q = query(text, 1);
    ng_semantic_put(s, &q, a);
    ng_answer_free(a);
}

static bool hits(ng_semantic *s, ng_semantic_query q) {
    ng_semantic_found f;
    ng_answer *a = ng_semantic_get(s, &q, &f);
    bool hit = a || f.check;
    ng_answer_free(a);
    return hit;
}

static void a_threshold_decides_and_learns(void **state) {
    (void)state;
    ng_semantic *s;
    assert_int_equal(ng_semantic_new(&s, 1 << 20, 0.01, NULL), NG_OK);
    put(s, "how old are trees", "very");
    assert_true(hits(s, query("how old are the trees", 0.9)));
    assert_false(hits(s, query("how old are the trees", 0.75)));
    assert_false(hits(s, query("how old are the trees never", 0.9)));
    ng_semantic_query other = query("how old are the trees", 0.9);
    other.scope.h[0] = 1;
    assert_false(hits(s, other));
    other = query("how old are the trees", 0.9);
    other.language = "de"; /* of the entry nothing is known */
    assert_true(hits(s, other));
    ng_semantic_learn(s, 1, 0.9, false); /* it was another answer: 0.95 from now on, for this entry */
    assert_false(hits(s, query("how old are the trees", 0.94)));
    assert_true(hits(s, query("how old are the trees", 0.96)));
    ng_semantic_learn(s, 77, 0.9, false); /* gone: counted, no more */
    assert_int_equal(ng_semantic_look(s).checked_false, 2);
    ng_semantic_free(s);
}

static void checks_bound_the_false_hits(void **state) {
    (void)state;
    ng_semantic *s;
    size_t checked = 0;
    assert_int_equal(ng_semantic_new(&s, 1 << 20, 0.01, NULL), NG_OK);
    put(s, "how old are trees", "very");
    for (int i = 0; i < 320; i++) {
        ng_semantic_found f;
        ng_semantic_query q = query("how old are the trees", 0.9);
        ng_answer *a = ng_semantic_get(s, &q, &f);
        assert_true(f.check == !a && f.entry == 1);
        checked += f.check;
        ng_answer_free(a);
    }
    assert_int_equal(checked, 10); /* every 32nd, until it is known that they are right */
    double before = ng_semantic_look(s).threshold;
    for (int i = 0; i < 300; i++) ng_semantic_learn(s, 1, 0.9, true);
    assert_true(ng_semantic_look(s).threshold == before);
    for (int i = 0; i < 20; i++) ng_semantic_learn(s, 99, 0.9, false); /* 20 of 320: more than 1 % for certain */
    assert_true(ng_semantic_look(s).threshold > before);
    ng_semantic_free(s);
}

static void memory_is_bounded(void **state) {
    (void)state;
    ng_semantic *s;
    char text[64];
    assert_int_equal(ng_semantic_new(&s, 100000, 0.01, NULL), NG_OK);
    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof text, "question about thing%c%c", 'a' + i % 26, 'a' + i / 26);
        put(s, text, "answer");
        ng_semantic_stats st = ng_semantic_look(s);
        assert_true(st.bytes <= 100000 && st.len > 0);
    }
    size_t len = ng_semantic_look(s).len;
    put(s, text, "another"); /* the same text: replaced */
    assert_int_equal(ng_semantic_look(s).len, len);
    ng_semantic_free(s);
}

static void survives_lack_of_memory(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_semantic *s;
        ng_answer *a = NULL;
        ng_semantic_found f;
        if (ng_semantic_new(&s, 1 << 20, 0.01, NULL)) continue;
        ng_semantic_query q = query("how old are trees", 1);
        if (ng_answer_new(&a) == NG_OK) ng_semantic_put(s, &q, a);
        ng_answer_free(a);
        ng_answer_free(ng_semantic_get(s, &q, &f));
        ng_semantic_free(s);
        fault_passed();
    }
}

/* ---- through the grid ---------------------------------------------------------------------------------- */

#define YAML                                                                                                             \
    "embedded: false\npolicy: {privacy: {pii: local}}\nmodels: {m: {path: m.gguf}, e: {path: e.gguf}}\ncache: {exact: 1MB, semantic: {max_false_hit: 0.01, model: e}}\n" \
    "experts:\n  - {name: chat, task: generate, model: m}\n"                                                             \
    "upstreams:\n  - {name: cloud, base_url: \"http://x/v1\", model: c}\n"

static ng_answer *ask(ng_grid *g, const char *text, ng_privacy privacy, const char *tenant) {
    ng_answer *a;
    ng_error err = {0};
    ng_request r;
    ng_request_init(&r, NG_TASK_GENERATE);
    ng_request_set_text(&r, text, strlen(text));
    r.privacy = privacy;
    r.tenant = tenant;
    if (ng_grid_ask(g, &r, &a, &err)) fail_msg("%s", err.text);
    return a;
}

static bool was_kept(ng_grid *g, const char *text, ng_privacy privacy, const char *tenant) {
    ng_answer *a = ask(g, text, privacy, tenant);
    bool cached = a->cached;
    for (size_t i = 0; cached && i < a->n_route; i++)
        if (!strcmp(a->route[i].step, "semantic"))
            assert_true(!strncmp(a->route[i].outcome, "hit ", 4) && strstr(a->reason, "means the same"));
    ng_answer_free(a);
    return cached;
}

static ng_grid *open_grid(void) {
    static const ng_grid_options options = {.open_upstream = fake_open_upstream, .no_records = true};
    ng_grid *g;
    ng_error err = {0};
    fake_reset();
    *fake_get("chat") = (fake){.confidence = NAN, .n_tokens = 3};
    *fake_get("cloud") = (fake){.confidence = NAN, .n_tokens = 3};
    *fake_get("signal/pii") = (fake){.entity = "email"};
    if (ng_grid_open_text(&g, &options, YAML, "/cfg/t.yaml", &fake_hooks, &err)) fail_msg("%s", err.text);
    return g;
}

static void serves_what_means_the_same(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    assert_false(was_kept(g, "how old are trees", NG_PRIVACY_ANY, NULL));
    assert_true(was_kept(g, "how old are the trees", NG_PRIVACY_ANY, NULL));
    assert_false(was_kept(g, "how old are bridges", NG_PRIVACY_ANY, NULL));
    assert_false(was_kept(g, "how old are these trees", NG_PRIVACY_ANY, "acme")); /* nobody else's */
    assert_int_equal(fake_get("chat")->calls, 3);
    assert_int_equal(ng_grid_get_stats(g).semantic_hits, 1);
    assert_int_equal(ng_grid_get_stats(g).cache_hits, 0);
    ng_grid_close(g);
}

static void keeps_nothing_private_and_no_failure(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    assert_false(was_kept(g, "how old are trees", NG_PRIVACY_LOCAL, NULL));
    assert_false(was_kept(g, "how old are the trees", NG_PRIVACY_LOCAL, NULL));
    assert_false(was_kept(g, "how old are those trees", NG_PRIVACY_ANY, NULL));
    assert_false(was_kept(g, "write a@b.cd a note", NG_PRIVACY_ANY, NULL)); /* personal data: local by policy */
    assert_false(was_kept(g, "write a@b.cd the note", NG_PRIVACY_ANY, NULL));
    assert_int_equal(ng_grid_get_stats(g).semantic_len, 1);
    fake_get("chat")->fails = NG_EIO; /* the cloud answers: drawn by chance, and after a failure */
    assert_false(was_kept(g, "what do fish drink", NG_PRIVACY_ANY, NULL));
    assert_false(was_kept(g, "what do the fish drink", NG_PRIVACY_ANY, NULL));
    assert_int_equal(ng_grid_get_stats(g).semantic_len, 1);
    fake_get("cache/semantic")->fails = NG_EIO; /* without a vector requests are answered all the same */
    assert_false(was_kept(g, "how old are all trees", NG_PRIVACY_ANY, NULL));
    ng_grid_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guards_tell_texts_apart),
        cmocka_unit_test(a_threshold_decides_and_learns),
        cmocka_unit_test(checks_bound_the_false_hits),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(serves_what_means_the_same),
        cmocka_unit_test(keeps_nothing_private_and_no_failure),
    };
    return cmocka_run_group_tests(tests, test_home_make, test_home_drop);
}
