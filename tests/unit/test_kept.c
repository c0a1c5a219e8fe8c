/* test_kept.c: which words a shortened sentence keeps. */
#include "train/kept.h"
#include "fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* want: '1' for each word that is kept. */
static void check(const char *text, const char *brief, const char *want) {
    size_t n;
    bool *kept = ng_words_kept(text, strlen(text), brief, strlen(brief), &n);
    assert_non_null(kept);
    assert_int_equal(n, strlen(want));
    for (size_t i = 0; i < n; i++) assert_int_equal(kept[i], want[i] == '1');
    free(kept);
}

static void test_words(void **state) {
    (void)state;
    check("The council on Tuesday plans to cancel.", "The council plans to cancel.", "1100111");
    check("the cat and the dog", "the dog", "10001"); /* as early as it loses nothing */
    check("\"No,\" said Anna, leaving.", "Anna leaving", "0011");
    check("a b c", "x y", "000");
    check("a b c", "c b a", "100"); /* one of three, the earliest */
    check("one  two", "two", "001"); /* what two spaces part is an empty word, which is nobody's */
    check("- -", "-", "00");
    check("", "a", "");
    check("ask", "Ask", "1");
}

static void test_limits(void **state) {
    (void)state;
    size_t n, len = 2 * (NG_KEPT_WORDS_MAX + 1);
    char *long_text = malloc(len);
    for (size_t i = 0; i < len; i++) long_text[i] = i % 2 ? ' ' : 'a';
    assert_null(ng_words_kept(long_text, len, "a", 1, &n));
    bool *kept = ng_words_kept(long_text, 2 * NG_KEPT_WORDS_MAX, "a", 1, &n);
    assert_non_null(kept);
    assert_int_equal(n, NG_KEPT_WORDS_MAX);
    assert_true(kept[0] && !kept[1]);
    free(kept);
    free(long_text);
}

static void test_no_memory(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        size_t n;
        bool *kept = ng_words_kept("a b c", 5, "b", 1, &n);
        assert_true(kept ? n == 3 && kept[1] : n == 0);
        if (kept) fault_passed();
        free(kept);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
