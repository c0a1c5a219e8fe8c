/* test_home.h: a home folder of the test's own, so that no test reads or leaves anything in the user's.
 *
 *     static int fresh(void **state) { return test_home_clear(state); }             before each test, where it matters
 *     return cmocka_run_group_tests(tests, test_home_make, test_home_drop);
 *     test_home_path("grid.yaml")                                                   a file in it
 *
 * test_home_make makes the folder and lets NANOGRID_HOME name it; a NANOGRID_GRID of the user is unset.  All four are
 * for one thread. */
#ifndef NG_TESTS_TEST_HOME_H
#define NG_TESTS_TEST_HOME_H

int test_home_make(void **state);
int test_home_clear(void **state); /* removes what is in it */
int test_home_drop(void **state);
const char *test_home_path(const char *name); /* a static buffer; "" is the folder itself */

#endif
