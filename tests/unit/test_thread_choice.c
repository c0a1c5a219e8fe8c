/* test_thread_choice.c: the choice of threads by the first steps, on a machine of which this file says how fast it is. */
#include "model/thread_choice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Milliseconds of a step on n threads: `best` of them are fastest. */
static double cost(int n, int best, size_t n_tok) { return (double)n_tok * (n == best ? 1.0 : 2.0 + n / 10.0); }

static int run_until_kept(ng_thread_choice *c, size_t n_tok, int best, int *n_steps) {
    for (*n_steps = 0; !ng_thread_choice_kept(c, n_tok); ++*n_steps) {
        int n = ng_thread_choice_next(c, n_tok);
        assert_in_range(n, 1, c->most);
        if (*n_steps == 0) assert_int_equal(n, c->most); /* the first token must not wait for an experiment */
        ng_thread_choice_took(c, n_tok, cost(n, best, n_tok) + (*n_steps == 0 ? 100 : 0));
        assert_true(*n_steps < 100);
    }
    return ng_thread_choice_kept(c, n_tok);
}

static void the_fastest_is_kept(void **state) {
    (void)state;
    const int most[] = {2, 3, 6, 8, 64, 256};
    for (size_t i = 0; i < sizeof most / sizeof most[0]; i++)
        for (int best = 1; best <= most[i]; best = best < most[i] && 2 * best > most[i] ? most[i] : 2 * best) {
            int known[NG_THREAD_CLASSES] = {0}, steps;
            ng_thread_choice c = ng_thread_choice_init(most[i], known);
            assert_int_equal(run_until_kept(&c, 1, best, &steps), best);
            assert_in_range(steps, 4, 28);
            assert_int_equal(run_until_kept(&c, 100, best, &steps), best);
            assert_in_range(steps, 2, 10);
            assert_int_equal(ng_thread_choice_kept(&c, 2), 0); /* a class of its own */
            ng_thread_choice other = ng_thread_choice_init(most[i], known);
            assert_int_equal(ng_thread_choice_next(&other, 1), best); /* what one has found, all know */
        }
}

static void one_disturbed_step_does_not_decide(void **state) {
    (void)state;
    int known[NG_THREAD_CLASSES] = {0};
    ng_thread_choice c = ng_thread_choice_init(2, known);
    for (int i = 0; !ng_thread_choice_kept(&c, 1); i++) {
        int n = ng_thread_choice_next(&c, 1);
        ng_thread_choice_took(&c, 1, n == 2 ? (i == 2 ? 50 : 1) : 1.5);
    }
    assert_int_equal(ng_thread_choice_kept(&c, 1), 2);
}

static void it_is_asked_again(void **state) {
    (void)state;
    int known[NG_THREAD_CLASSES] = {0}, steps;
    ng_thread_choice c = ng_thread_choice_init(2, known);
    assert_int_equal(run_until_kept(&c, 1, 1, &steps), 1);
    for (int i = 0; i < NG_THREAD_CHOICE_AGAIN && ng_thread_choice_kept(&c, 1); i++) ng_thread_choice_took(&c, 1, 1);
    assert_int_equal(run_until_kept(&c, 1, 2, &steps), 2);
}

static void a_given_number_is_kept(void **state) {
    (void)state;
    ng_thread_choice c = ng_thread_choice_init(7, NULL);
    for (int i = 0; i < 2 * NG_THREAD_CHOICE_AGAIN; i++) {
        assert_int_equal(ng_thread_choice_next(&c, 1), 7);
        ng_thread_choice_took(&c, 1, i);
    }
    int known[NG_THREAD_CLASSES] = {0};
    c = ng_thread_choice_init(1, known);
    assert_int_equal(ng_thread_choice_next(&c, 100), 1);
    assert_int_equal(ng_thread_choice_kept(&c, 100), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_fastest_is_kept),
                                       cmocka_unit_test(one_disturbed_step_does_not_decide),
                                       cmocka_unit_test(it_is_asked_again), cmocka_unit_test(a_given_number_is_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
