/* Tests of passage.c, finder.c and head_finder.c: beliefs against all spans counted out, answers of the package, odd texts, faults. */
#include "fault.h"
#include "core/math.h"
#include "gguf/gguf.h"
#include "model/finder.h"
#include "train/finder_data.h"

#include <math.h>
#include <nanogrid/head.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char model_path[] = "models/answer/model.gguf";
static const char passage[] = "Marie Curie was born in Warsaw in 1867. She moved to Paris in 1891 because women could "
                              "not study at the university at home. "
                              "There she met Pierre, a physicist, and they discovered polonium and radium.";
static ng_rarity even; /* every word as rare as any other */

static ng_passage *look(const char *question, const char *text, size_t len) {
    ng_passage *p;
    ng_error err = {0};
    assert_int_equal(ng_passage_new(&p, &even, question, strlen(question), text, len, &err), NG_OK);
    return p;
}

static void words_of_the_question_are_found(void **state) {
    (void)state;
    ng_passage *p =
        look("What did the wolf eat in Rome?", "The king slept. A wolf ate the sheep! Wolves are fast.", 53);
    const ng_passage_question *q = &p->question;
    assert_int_equal(q->n, 7);
    assert_int_equal(q->first, 3); /* wolf */
    assert_int_equal(q->last, 6);  /* Rome */
    assert_true(q->words[6].name && !q->words[6].found && q->words[4].found);
    assert_int_equal(p->n_sentences, 3);
    assert_int_equal(p->words[4].match, 3); /* wolf */
    assert_int_equal(p->words[5].match, 4); /* ate is eat */
    assert_int_equal(p->words[1].match, -1);
    assert_int_equal(p->words[0].match, -2); /* the: a function word that the question has */
    assert_int_equal(p->sentences[1].rank, 0);
    assert_true(fabsf(p->sentences[1].cover - 2.0f / 3) < 1e-6f && fabsf(p->cover - 2.0f / 3) < 1e-6f);
    const ng_passage_word *sheep = &p->words[7];
    assert_int_equal(sheep->left, 4);
    assert_int_equal(sheep->left_by, 2);
    assert_int_equal(sheep->right, -1);
    assert_int_equal(sheep->right_by, 255);
    ng_passage_free(p);
}

/* The two passes agree with all spans written out. */
static void beliefs_sum_over_spans(void **state) {
    (void)state;
    ng_passage *p = look("who?", "One two three. Four five.", 25);
    ng_beliefs b;
    double all = 0, inside[5] = {0}, first[5] = {0};
    assert_int_equal(p->len, 5);
    assert_int_equal(ng_beliefs_init(&b, p->len), NG_OK);
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < NG_FINDER_KINDS; k++) b.score[i][k] = 0.3 * (double)((i * 7 + k * 5) % 11) - 1;
    ng_beliefs_pass(&b, p);
    for (size_t i = 0; i < 5; i++)
        for (size_t j = i; j < (i < 3 ? 3 : 5); j++) {
            double z = b.score[i][NG_FINDER_FIRST] + b.score[j][NG_FINDER_LAST];
            for (size_t k = i; k <= j; k++) z += b.score[k][NG_FINDER_INSIDE];
            all += exp(z), first[i] += exp(z);
            for (size_t k = i; k <= j; k++) inside[k] += exp(z);
        }
    assert_true(fabs(b.log_all - log(all)) < 1e-9);
    for (size_t i = 0; i < 5; i++) {
        assert_true(fabs(b.inside[i] - inside[i] / all) < 1e-9);
        assert_true(fabs(ng_beliefs_first(&b, i) - first[i] / all) < 1e-9);
    }
    ng_found f;
    ng_beliefs_choose(&b, p, &f);
    assert_true(f.expected_f1 > 0 && f.expected_f1 <= 1 && f.first <= f.last);
    ng_beliefs_clear(&b);
    ng_passage_free(p);
}

static ng_status ask(ng_head *h, ng_answer *a, const char *question, const char *context, ng_error *err) {
    ng_part part = {NG_PART_TEXT, question, strlen(question)};
    ng_message message = {"user", &part, 1};
    ng_tier_request req = {.task = NG_TASK_ANSWER, .messages = &message, .n_messages = 1, .params.context = context};
    return ng_head_apply(h, &req, a, err);
}

static ng_head *package(void) {
    ng_head *h;
    ng_error err = {0};
    ng_head_spec spec = {.task = NG_TASK_ANSWER, .path = model_path};
    assert_int_equal(ng_head_open(&h, &spec, &err), NG_OK);
    assert_string_equal(ng_head_kind(h), "finder");
    return h;
}

/* want NULL: refused; in_scope tells whether anything was asked. */
static void check(ng_head *h, const char *question, const char *context, const char *want, bool in_scope) {
    ng_answer *a;
    ng_error err = {0};
    const char *text = context ? context : question;
    assert_int_equal(ng_answer_new(&a), NG_OK);
    assert_int_equal(ask(h, a, question, context, &err), NG_OK);
    assert_int_equal(a->answerable, want != NULL);
    assert_int_equal(a->in_scope, in_scope);
    assert_true(a->confidence >= 0 && a->confidence <= 1);
    if (want) {
        assert_non_null(strstr(a->answer, want));
        assert_int_equal(a->end - a->start, strlen(a->answer));
        assert_memory_equal(text + a->start, a->answer, strlen(a->answer));
    } else {
        assert_null(a->answer);
        assert_int_equal(a->start, -1);
    }
    ng_answer_free(a);
}

static void the_package_answers_and_refuses(void **state) {
    (void)state;
    char both[512];
    ng_head *h = package();
    check(h, "Where was Marie Curie born?", passage, "Warsaw", true);
    check(h, "Why did she move to Paris?", passage, "because women could not study", true);
    check(h, "What did they discover?", passage, "polonium and radium", true);
    check(h, "Who won the world cup in 1998?", passage, NULL, true);
    snprintf(both, sizeof both, "Context: %s Question: What did they discover? Answer:", passage);
    check(h, both, NULL, "polonium and radium", true);
    snprintf(both, sizeof both, "Where was Marie Curie born? %s", passage);
    check(h, both, NULL, "Warsaw", true);
    check(h, passage, NULL, NULL, false); /* nothing is asked */
    check(h, "", passage, NULL, false);
    check(h, "why?", passage, NULL, false);
    check(h, "Where was she born?", "", NULL, true);
    check(h, "Where was she born?", " .. !! ", NULL, true);
    check(h, "Where was \xFF born?", "bad \xFF byte \xC3 born \xE2\x80 in Rome.", "in Rome", true);
    ng_head_close(h);
}

static ng_status order(ng_answer *a, const char *query, const char *const *documents, size_t n, ng_error *err) {
    ng_head *h;
    ng_head_spec spec = {.task = NG_TASK_RERANK, .path = model_path};
    ng_part part = {NG_PART_TEXT, query, strlen(query)};
    ng_message message = {"user", &part, 1};
    ng_tier_request req = {.task = NG_TASK_RERANK,
                           .messages = &message,
                           .n_messages = 1,
                           .params = {.documents = documents, .n_documents = n}};
    ng_status s = ng_head_open(&h, &spec, err);
    if (s) return s;
    s = ng_head_apply(h, &req, a, err);
    ng_head_close(h);
    return s;
}

static void documents_are_ordered_by_the_answer(void **state) {
    (void)state;
    const char *const documents[] = {"The weather was nice in Rome.", "", passage, "Paris is the capital of France.",
                                     " ?! \xFF"};
    ng_answer *a;
    ng_error err = {0};
    assert_int_equal(ng_answer_new(&a), NG_OK);
    assert_int_equal(order(a, "Where was Marie Curie born?", documents, 5, &err), NG_OK);
    assert_int_equal(a->n_results, 5);
    assert_int_equal(a->results[0].index, 2);
    assert_true(a->results[0].score > 0.9f && a->results[1].score < 0.5f && a->in_scope);
    for (size_t i = 1; i < 5; i++)
        assert_true(a->results[i].score <= a->results[i - 1].score && a->results[i].score >= 0);
    assert_int_equal(order(a, "why?", documents, 5, &err), NG_OK); /* nothing to look for: as they came */
    for (size_t i = 0; i < 5; i++) assert_int_equal(a->results[i].index, i);
    assert_false(a->in_scope);
    assert_int_equal(order(a, "why?", documents, 0, &err), NG_EINVALID);
    ng_answer_free(a);
}

static void long_texts_are_read_or_refused(void **state) {
    (void)state;
    size_t len = 5 << 20;
    char *text = malloc(len + 1);
    ng_head *h = package();
    ng_answer *a;
    ng_error err = {0};
    assert_non_null(text);
    memset(text, 'x', len);
    for (size_t i = 9; i < len; i += 10) text[i] = ' ';
    text[len] = 0;
    assert_int_equal(ng_answer_new(&a), NG_OK);
    assert_int_equal(ask(h, a, "Who lives here?", text, &err), NG_ELIMIT);
    assert_non_null(strstr(err.text, "4194304"));
    text[1000000] = 0; /* one sentence of 100,000 words */
    assert_int_equal(ask(h, a, "Who lives here?", text, &err), NG_OK);
    assert_false(a->answerable);
    ng_answer_free(a);
    ng_head_close(h);
    free(text);
}

static void every_allocation_fails_once(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_head *h = NULL;
        ng_answer *a = NULL;
        ng_error err = {0};
        ng_head_spec spec = {.task = NG_TASK_ANSWER, .path = model_path};
        ng_status s = ng_answer_new(&a);
        if (!s) s = ng_head_open(&h, &spec, &err);
        if (!s) s = ask(h, a, "Where was Marie Curie born?", passage, &err);
        assert_true(s == NG_OK || s == NG_ENOMEM);
        if (s == NG_OK) {
            assert_true(a->answerable);
            fault_passed();
        }
        ng_head_close(h);
        ng_answer_free(a);
    }
}

/* A model with one thing wrong is refused by name. */
static void damaged_models_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"none", "version", "scale", "weights", "rarity", "right"};
    char path[] = "/tmp/ng-finder-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t n_weights = 4 * NG_PASSAGE_BUCKETS - (i == 3), n_rarity = NG_RARITY_BUCKETS,
                 n_facts = NG_FOUND_FACTS + 1;
        int8_t *bytes = calloc(n_weights, 1);
        float facts[NG_FOUND_FACTS + 1] = {0}, odd[NG_FOUND_FACTS + 1] = {0};
        ng_gguf_writer *w;
        ng_finder *m;
        ng_error err = {0};
        odd[3] = NAN;
        assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
        ng_gguf_put_str(w, "general.architecture", "nanogrid-finder");
        ng_gguf_put_u32(w, "nanogrid.finder.version", i == 1 ? 2 : 1);
        ng_gguf_put_f32(w, "nanogrid.finder.scale", i == 2 ? NAN : 0.01f);
        ng_gguf_put_f32(w, "nanogrid.finder.threshold", 0.5f);
        ng_gguf_put_tensor(w, "finder.weights", NG_TYPE_I8, 1, &n_weights, bytes);
        if (i != 4) ng_gguf_put_tensor(w, "finder.rarity", NG_TYPE_I8, 1, &n_rarity, bytes);
        ng_gguf_put_tensor(w, "finder.answerable", NG_TYPE_F32, 1, &n_facts, facts);
        ng_gguf_put_tensor(w, "finder.right", NG_TYPE_F32, 1, &n_facts, i == 5 ? odd : facts);
        assert_int_equal(ng_gguf_writer_commit(w, path, &err), NG_OK);
        ng_status s = ng_finder_open(&m, path, &err);
        assert_int_equal(s, i == 0 ? NG_OK : i == 1 ? NG_EUNSUPPORTED : NG_EFORMAT);
        if (i) assert_non_null(strstr(err.text, wrong[i]));
        ng_finder_close(m);
        free(bytes);
    }
    unlink(path);
}

static void f1_and_places_by_hand(void **state) {
    (void)state;
    const char *answers[] = {"The golden hair.", "her crown"};
    ng_finder_example e = {.passage = "He saw golden hair, and the golden  hair shone.",
                           .passage_len = 47,
                           .answers = answers,
                           .n_answers = 2};
    size_t start, end;
    assert_true(fabs(ng_answer_f1("golden hair", 11, &e) - 1) < 1e-12);
    assert_true(fabs(ng_answer_f1("a golden ring", 13, &e) - 0.5) < 1e-12);
    assert_true(fabs(ng_answer_f1("", 0, &e)) < 1e-12);
    assert_true(ng_answer_place(&e, 0, 0, &start, &end) && start == 7 && end == 18);
    assert_true(ng_answer_place(&e, 0, 1, &start, &end) && start == 28 && end == 40);
    assert_false(ng_answer_place(&e, 0, 2, &start, &end));
    assert_false(ng_answer_place(&e, 1, 0, &start, &end));
}

int main(void) {
    memset(even.of, 20, sizeof even.of);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_the_question_are_found),
        cmocka_unit_test(beliefs_sum_over_spans),
        cmocka_unit_test(the_package_answers_and_refuses),
        cmocka_unit_test(documents_are_ordered_by_the_answer),
        cmocka_unit_test(long_texts_are_read_or_refused),
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(damaged_models_are_refused),
        cmocka_unit_test(f1_and_places_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
