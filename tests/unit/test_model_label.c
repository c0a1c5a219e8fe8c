/* Tests of src/serve/model_label.[ch]. */
#include "serve/model_label.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void is(const char *const *paths, size_t n, size_t i, const char *want) {
    ng_buf b = ng_buf_init(256);
    ng_model_label(&b, paths, n, i);
    assert_string_equal(b.data ? b.data : "", want);
    ng_buf_clear(&b);
}

static void as_much_as_tells_them_apart(void **state) {
    (void)state;
    const char *const paths[] = {"/m/a/model.gguf", "/m/b/model.gguf", "/m/chat.gguf", "/x/b/model.gguf", "model.gguf", "/m/chat.gguf", "/q\"\\.gguf", "", "/"};
    const char *const want[] = {"a/model.gguf", "m/b/model.gguf", "chat.gguf", "x/b/model.gguf", "model.gguf", "chat.gguf#2", "q\\\"\\\\.gguf", "", "/"};
    const size_t n = sizeof paths / sizeof *paths;
    for (size_t i = 0; i < n; i++)
        if (i != 7 && i != 8) is(paths, n, i, want[i]);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) { /* whatever the paths are, no label twice */
            ng_buf a = ng_buf_init(256), b = ng_buf_init(256);
            ng_model_label(&a, paths, n, i), ng_model_label(&b, paths, n, k);
            assert_string_not_equal(a.data ? a.data : "", b.data ? b.data : "");
            ng_buf_clear(&a), ng_buf_clear(&b);
        }
}

static void alone_the_name_is_enough(void **state) {
    (void)state;
    const char *const paths[] = {"/a/b/c/model.gguf"};
    is(paths, 1, 0, "model.gguf");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_much_as_tells_them_apart),
                                       cmocka_unit_test(alone_the_name_is_enough)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
