/* Tests of the signals of a request's shape (structure, complexity, conversation) and of the policy's weights. */
#include "fake_tier.h"

#include "route/complexity.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static ng_structure structure(const char *text) { return ng_structure_of(text, strlen(text)); }
static double complexity(const char *text) {
    ng_structure s = structure(text);
    return ng_complexity_of(text, strlen(text), &s);
}

static void structures_are_told_apart(void **state) {
    (void)state;
    static const char *const code[] = {"fix this:\n```c\nint x;\n```", "def f(x):\n    return x + 1",
                                       "#include <stdio.h>\nint main(void) {\n}", "please run\nfoo(bar);\nbaz();",
                                       "SELECT a FROM t;"};
    static const char *const list[] = {"- milk\n- eggs", "1. wash\n2. dry\n3. fold", "buy\n* bread\n* salt"};
    static const char *const table[] = {"| a | b |\n| 1 | 2 |", "name\tage\tcity\nkim\t4\tRiga"};
    static const char *const maths[] = {"what is 12 * 4 + 3", "solve 3x = 12", "\\frac{1}{2} of it", "7+5"};
    static const char *const plain[] = {"", "turn on the light", "call me if you can; thanks", "in 2019-2020 I was there 24/7", "a well-known follow-up", "from here - to there", "why {that}?",
                                        "return my call please", "100 % sure"};
    for (size_t i = 0; i < sizeof code / sizeof *code; i++)
        if (!structure(code[i]).code) fail_msg("no code: %s", code[i]);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (!structure(list[i]).list) fail_msg("no list: %s", list[i]);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!structure(table[i]).table) fail_msg("no table: %s", table[i]);
    for (size_t i = 0; i < sizeof maths / sizeof *maths; i++)
        if (!structure(maths[i]).maths) fail_msg("no maths: %s", maths[i]);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        ng_structure s = structure(plain[i]);
        if (ng_structure_is_technical(&s) || s.list) fail_msg("more than sentences: %s", plain[i]);
    }
    assert_int_equal(structure("12 apples, 3.5 kg and 1,000 nuts").numbers, 3);
    char noise[3000];
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
    for (size_t n = 0; n < sizeof noise; n += 3) {
        ng_structure s = ng_structure_of(noise + n, sizeof noise - n);
        double c = ng_complexity_of(noise + n, sizeof noise - n, &s);
        assert_true(c >= 0 && c <= 1);
    }
}

static void what_asks_for_more_is_more_complex(void **state) {
    (void)state;
    static const char *const rising[] =
        {"hi", "turn on the light in the kitchen", "explain why the sky is blue and compare it with Mars",
         "If a train leaves at 9:40 and another must arrive before 11:15, how far apart are they at 10:30 unless the "
         "first one stops? Explain each step and prove that "
         "your answer is the only one. What changes if both are late?"};
    assert_true(complexity("") == 0);
    for (size_t i = 1; i < sizeof rising / sizeof *rising; i++)
        if (!(complexity(rising[i]) > complexity(rising[i - 1]))) fail_msg("not more complex: %s", rising[i]);
    assert_true(complexity("sort it\n```\nx = 1;\n```") > complexity("sort it and show me"));
}

static ng_turns turns_of(const char *const *said, size_t n) {
    ng_message m[8];
    ng_part p[8];
    for (size_t i = 0; i < n; i++) {
        p[i] = (ng_part){NG_PART_TEXT, said[i] + 2, strlen(said[i]) - 2};
        m[i] = (ng_message){said[i][0] == 's' ? "system" : said[i][0] == 'a' ? "assistant" : "user", &p[i], 1};
    }
    return ng_turns_of(m, n);
}

static void conversations_are_counted(void **state) {
    (void)state;
    ng_turns t = turns_of((const char *[]){"u tell me about it"}, 1);
    assert_true(t.users == 1 && !t.assistants && !t.bytes && !t.system && !t.refers); /* nothing was said before */
    t = turns_of((const char *[]){"s be kind", "u where is Oslo", "a in Norway", "u and what about the second one?"},
                 4);
    assert_true(t.users == 2 && t.assistants == 1 && t.system && t.refers &&
                t.bytes == strlen("be kind"
                                  "where is Oslo"
                                  "in Norway"));
    t = turns_of((const char *[]){"u where is Oslo", "a in Norway", "u list five rivers of France"}, 3);
    assert_false(t.refers);
    assert_int_equal(ng_turns_of(NULL, 0).users, 0);
}

#define YAML                                                                                                                        \
    "embedded: false\ncache: {exact: 0}\nupstreams:\n"                                                                             \
    "  - {name: cheap, base_url: \"http://x/v1\", model: c, pricing: {prompt_per_1m: 1, completion_per_1m: 1}, latency_ms: 2000, joules_per_token: 9}\n" \
    "  - {name: fast, base_url: \"http://x/v1\", model: f, pricing: {prompt_per_1m: 9, completion_per_1m: 9}, latency_ms: 100}\n"  \
    "  - {name: lean, base_url: \"http://x/v1\", model: l, pricing: {prompt_per_1m: 5, completion_per_1m: 5}, joules_per_token: 1}\n"

static unsigned busy_cheap(void *ctx, const char *member) {
    (void)ctx;
    return strcmp(member, "cheap") ? 0 : 3;
}

static char *asked_first(const char *policy, bool busy) {
    static char name[48];
    char yaml[2000];
    ng_grid_options o = {.open_upstream = fake_open_upstream, .no_records = true};
    grid_hooks hooks = fake_hooks;
    ng_grid *g;
    ng_error err = {0};
    fake_reset();
    if (busy) hooks.in_flight = busy_cheap;
    snprintf(yaml, sizeof yaml, YAML "%s", policy);
    if (ng_grid_open_text(&g, &o, yaml, "t.yaml", &hooks, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < 3; i++)
        *fake_get((const char *[]){"cheap", "fast", "lean"}[i]) = (fake){.confidence = NAN, .n_tokens = 1};
    ng_part p = {NG_PART_TEXT, "hello there", 11};
    ng_message m = {"user", &p, 1};
    ng_request r = {.task = NG_TASK_GENERATE, .messages = &m, .n_messages = 1, .max_cost_usd = NAN, .with_signals = true};
    ng_answer *a;
    if (ng_grid_ask(g, &r, &a, &err)) fail_msg("%s", err.text);
    snprintf(name, sizeof name, "%s", a->expert);
    assert_non_null(strstr(a->signals, "\"weighed\""));
    assert_non_null(strstr(a->signals, "\"complexity\""));
    ng_answer_free(a);
    ng_grid_close(g);
    return name;
}

static void weights_choose_among_upstreams(void **state) {
    (void)state;
    assert_string_equal(asked_first("", false), "cheap");
    assert_string_equal(asked_first("policy: {prefer: latency}\n", false), "fast");
    assert_string_equal(asked_first("policy: {prefer: energy}\n", false), "lean"); /* fast says nothing of its own and counts as the worst */
    assert_string_equal(asked_first("policy: {prefer: load}\n", false), "cheap");  /* all idle: the price decides */
    assert_string_equal(asked_first("policy: {prefer: load}\n", true), "lean");
    assert_string_equal(asked_first("policy: {weights: {latency: 0.0001}}\n", false), "cheap"); /* 1.9 s for 0.0022 dollars */
    assert_string_equal(asked_first("policy: {weights: {latency: 0.01}}\n", false), "fast");
    assert_string_equal(asked_first("policy: {weights: {load: 0.001}}\n", true), "lean");
}

static char home[] = "/tmp/ng-shape-XXXXXX";

static int make_home(void **state) {
    (void)state;
    assert_non_null(mkdtemp(home));
    return setenv("NANOGRID_HOME", home, 1);
}

static int drop_home(void **state) {
    (void)state;
    return rmdir(home);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(structures_are_told_apart),
                                       cmocka_unit_test(what_asks_for_more_is_more_complex),
                                       cmocka_unit_test(conversations_are_counted),
                                       cmocka_unit_test(weights_choose_among_upstreams)};
    return cmocka_run_group_tests(tests, make_home, drop_home);
}
