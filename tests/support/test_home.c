/* A temporary folder as NANOGRID_HOME: see test_home.h. */
#include "test_home.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static char home[] = "/tmp/ng-test-home-XXXXXX";

int test_home_make(void **state) {
    (void)state;
    assert_non_null(mkdtemp(home));
    unsetenv("NANOGRID_GRID");
    return setenv("NANOGRID_HOME", home, 1);
}

static int run(const char *format) {
    char command[64];
    snprintf(command, sizeof command, format, home);
    return system(command);
}

int test_home_clear(void **state) {
    (void)state;
    return run("rm -rf %s/*");
}

int test_home_drop(void **state) {
    (void)state;
    return run("rm -rf %s");
}

const char *test_home_path(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, *name ? "%s/%s" : "%s", home, name);
    return path;
}
