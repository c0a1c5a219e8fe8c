/* Tests of rouge.c, extractive.c, shortener.c, summary.c and the head: figures by hand, limits, odd texts, faults. */
#include "fault.h"
#include "task/summary.h"
#include "train/rouge.h"

#include <math.h>
#include <nanogrid/head.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char model_path[] = "models/summarize/model.gguf";

static void rouge_by_hand(void **state) {
    (void)state;
    double f[NG_ROUGE_KINDS];
    const char *a = "The cat sat on the mat.", *b = "the CAT lay on the mat";
    assert_int_equal(ng_rouge(f, a, strlen(a), b, strlen(b)), NG_OK);
    assert_true(fabs(f[NG_ROUGE_1] - 10.0 / 12) < 1e-12); /* the, cat, on, the, mat */
    assert_true(fabs(f[NG_ROUGE_2] - 6.0 / 10) < 1e-12);  /* the cat, on the, the mat */
    assert_true(fabs(f[NG_ROUGE_L] - 10.0 / 12) < 1e-12);
    assert_int_equal(ng_rouge(f, "", 0, b, strlen(b)), NG_OK);
    assert_true(f[NG_ROUGE_1] == 0 && f[NG_ROUGE_2] == 0 && f[NG_ROUGE_L] == 0);
    assert_int_equal(ng_rouge(f, "b a", 3, "a b", 3), NG_OK);
    assert_true(f[NG_ROUGE_1] == 1 && f[NG_ROUGE_2] == 0 && f[NG_ROUGE_L] == 0.5);
}

static char *summary(const ng_extractive *m, const char *text, ng_summary_options o, bool *cut) {
    ng_buf out = ng_buf_init(1 << 20);
    ng_error err = {0};
    assert_int_equal(ng_summarize(&out, &(ng_summary_judge){.model = m}, text, strlen(text), &o, cut, &err), NG_OK);
    char *s = ng_buf_take(&out);
    assert_non_null(s);
    return s;
}

static void check(const ng_extractive *m, const char *text, ng_summary_options o, const char *want) {
    bool cut;
    char *s = summary(m, text, o, &cut);
    assert_string_equal(s, want);
    free(s);
}

static const char abstract[] =
    "Deep networks are widely used today. Much attention has been paid to their size. "
    "In this paper we propose a simple method that makes deep networks smaller without loss. "
    "In this paper we propose a simple method that makes deep networks smaller without loss. "
    "The weather was good.";

static void limits_hold(void **state) {
    (void)state;
    ng_extractive *m;
    ng_error err = {0};
    bool cut;
    assert_int_equal(ng_extractive_open(&m, model_path, &err), NG_OK);
    check(m, abstract, (ng_summary_options){.max_sentences = 1},
          "In this paper we propose a simple method that makes deep networks smaller without loss.");
    char *two = summary(m, abstract, (ng_summary_options){.max_sentences = 2}, &cut);
    const char *proposal = strstr(two, "we propose");
    assert_non_null(proposal);
    assert_null(strstr(proposal + 1, "we propose")); /* the copy is passed over */
    free(two);
    /* the order of the text, and no more than there is */
    char *all = summary(m, "One cat ran. Two dogs sat.", (ng_summary_options){.max_sentences = 9}, &cut);
    assert_string_equal(all, "One cat ran. Two dogs sat.");
    free(all);
    char *few = summary(m, abstract, (ng_summary_options){.max_tokens = 6}, &cut);
    assert_true(!cut && strlen(few) > 0 && strlen(few) < 50);
    free(few);
    char *tiny = summary(m, abstract, (ng_summary_options){.max_tokens = 3}, &cut);
    assert_true(cut);
    assert_string_equal(tiny, "In this paper");
    free(tiny);
    check(m, "", (ng_summary_options){0}, "");
    check(m, " ... !!! ", (ng_summary_options){.max_tokens = 3}, "");
    check(m, "Just one", (ng_summary_options){0}, "Just one");
    check(m, "bad \xFF byte here.", (ng_summary_options){0}, "bad \xFF byte here.");
    ng_extractive_close(m);
}

static const char sentence[] =
    "A woman was injured by a falling tree in the Gresham neighborhood, according to the Chicago Fire Department.";

static void a_single_sentence_is_shortened(void **state) {
    (void)state;
    ng_extractive *m;
    ng_shortener *shortener;
    ng_error err = {0};
    bool cut, done;
    assert_int_equal(ng_extractive_open(&m, model_path, &err), NG_OK);
    assert_int_equal(ng_shortener_open(&shortener, "models/summarize/shortener.gguf", &err), NG_OK);
    const ng_summary_options o = {.shortener = shortener}, five = {.max_tokens = 5, .shortener = shortener};
    char *s = summary(m, sentence, o, &cut);
    assert_true(strstr(s, "A woman was injured by a falling tree") == s && strlen(s) < sizeof sentence - 30 && !cut);
    assert_int_equal(s[strlen(s) - 1], '.');
    free(s);
    s = summary(m, sentence, five, &cut);
    size_t words = 1;
    for (const char *c = s; *c; c++) words += *c == ' ';
    assert_true(cut && words <= 5 && words > 1);
    free(s);
    /* left as they are: short ones, several sentences, other languages; no word is more than the limit */
    check(m, "Too short to cut.", o, "Too short to cut.");
    const char *german = "Der Stadtrat hat am Dienstag beschlossen, dass die neue Br\xC3\xBC"
                         "cke erst im Jahr darauf gebaut werden kann.";
    check(m, german, o, german);
    check(m, "bad \xFF byte here.", o, "bad \xFF byte here.");
    check(m, "The thing", (ng_summary_options){.max_tokens = 1, .shortener = shortener}, "The");
    ng_buf out = ng_buf_init(1 << 20);
    char *many = malloc(3 * 2000 + 1);
    for (int i = 0; i < 3 * 2000; i++) many[i] = "it "[i % 3];
    many[3 * 2000] = 0;
    assert_int_equal(ng_shorten(&out, shortener, many, strlen(many), 0, &done, &err), NG_OK);
    assert_true(!done && out.len == 0);
    free(many);
    ng_buf_clear(&out);
    ng_shortener_close(shortener);
    ng_extractive_close(m);
}

/* The two passes agree with all ways through the chain written out. */
static void beliefs_sum_over_ways(void **state) {
    (void)state;
    enum { N = 5 };
    double score[N][2], pair[N][2], way[4 * N], all = 0, kept[N] = {0};
    for (int i = 0; i < N; i++) score[i][0] = 0.4 * ((i * 5) % 7) - 1, score[i][1] = 0.3 * ((i * 3) % 5) - 0.5;
    for (int w = 0; w < 1 << N; w++) {
        double z = 0;
        for (int i = 0; i < N; i++)
            if (w >> i & 1) z += score[i][i && w >> (i - 1) & 1];
        all += exp(z);
        for (int i = 0; i < N; i++) kept[i] += w >> i & 1 ? exp(z) : 0;
    }
    assert_true(fabs(ng_brief_pass(pair, score, N, way) - log(all)) < 1e-9);
    for (int i = 0; i < N; i++) assert_true(fabs(pair[i][0] + pair[i][1] - kept[i] / all) < 1e-9);
    const float p[N] = {0.9f, 0.1f, 0.8f, 0.7f, 0.2f};
    bool keep[N];
    ng_brief_choose(keep, p, N, 0);
    assert_true(keep[0] && !keep[1] && keep[2] && keep[3] && !keep[4]);
    ng_brief_choose(keep, p, N, 2);
    assert_true(keep[0] && !keep[1] && keep[2] && !keep[3] && !keep[4]);
}

static ng_status apply(ng_answer *a, const char *text, ng_error *err) {
    ng_part part = {NG_PART_TEXT, text, strlen(text)};
    ng_message message = {"user", &part, 1};
    ng_tier_request req = {.task = NG_TASK_SUMMARIZE, .messages = &message, .n_messages = 1,
                           .params = {.max_sentences = 1}};
    ng_head_spec spec = {.task = NG_TASK_SUMMARIZE, .path = model_path};
    ng_head *h;
    ng_status s = ng_head_open(&h, &spec, err);
    if (s) return s;
    s = ng_head_apply(h, &req, a, err);
    ng_head_close(h);
    return s;
}

static void sweep(const char *text, const char *want) {
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_answer *a = NULL;
        ng_error err = {0};
        ng_status s = ng_answer_new(&a);
        if (!s) s = apply(a, text, &err);
        assert_true(s == NG_OK || s == NG_ENOMEM);
        if (s == NG_OK) {
            assert_non_null(strstr(a->answer, want));
            assert_true(isnan(a->confidence));
            fault_passed();
        }
        ng_answer_free(a);
    }
    assert_true(fault_sweep_rounds() > 5);
}

static void every_allocation_fails_once(void **state) {
    (void)state;
    sweep(abstract, "we propose");
    sweep(sentence, "A woman was injured");
}

static void long_texts_stay_fast(void **state) {
    (void)state;
    ng_extractive *m;
    ng_error err = {0};
    bool cut;
    assert_int_equal(ng_extractive_open(&m, model_path, &err), NG_OK);
    size_t len = 28 * 37449;
    char *text = malloc(len + 1);
    for (size_t i = 0; i < len; i++) text[i] = "Word after word it goes on. "[i % 28];
    text[len] = 0;
    char *s = summary(m, text, (ng_summary_options){.max_sentences = 5}, &cut);
    assert_string_equal(s, "Word after word it goes on.");
    free(s);
    for (size_t i = 0; i < len; i++) text[i] = "a. B "[i % 5]; /* as many sentences as fit */
    s = summary(m, text, (ng_summary_options){.max_sentences = 5}, &cut);
    assert_true(strlen(s) < 100);
    free(s);
    free(text);
    ng_extractive_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rouge_by_hand),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_single_sentence_is_shortened),
        cmocka_unit_test(beliefs_sum_over_ways),
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(long_texts_stay_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
