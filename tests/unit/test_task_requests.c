/* Tests of task_requests.c: templates become requests, the same for a seed, each split its own. */
#include "fault.h"
#include "train/task_requests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/ng-requests-XXXXXX";

static void put_file(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static const char quiet[] = "noise: {typo: 0, lower: 0, polite: 0, greeting: 0, closing: 0, break: 0}\n";

static int set_up(void **state) {
    (void)state;
    char yaml[1024];
    if (!mkdtemp(dir)) return 1;
    put_file("t.tsv", "task\tsplit\tweight\ttemplate\n"
                      "alpha\ttrain\t1\t[one|two] {x} end\n"
                      "alpha\ttest\t1\tsolely {x}\n"
                      "beta\ttrain\t3\t~go to {place}\n"
                      "beta\ttest\t1\t~walk to {place}\n"
                      "@place\t*\t1\tParis\n"
                      "@polite\t*\t1\t\"please \"\n");
    put_file("train.txt", "red\ngreen\n");
    put_file("test.txt", "blue\n");
    snprintf(yaml, sizeof yaml,
             "templates: t.tsv\nseed: 4\n%sfillers:\n  - {name: x, train: [{file: ./train.txt}], test: [{file: "
             "./test.txt}]}\n",
             quiet);
    put_file("r.yaml", yaml);
    put_file("broken.tsv", "task\tsplit\tweight\ttemplate\nalpha\ttrain\tmany\tx\n");
    put_file("broken.yaml", "templates: broken.tsv\n");
    put_file("lacking.tsv", "task\tsplit\tweight\ttemplate\nalpha\ttrain\t1\tsay {nothing}\n");
    put_file("lacking.yaml", "templates: lacking.tsv\n");
    put_file("marks.tsv", "task\tsplit\tweight\ttemplate\n"
                          "letters\ttrain\t1\tTo <name:{who}>, [<place:{99} {street}, {A9}>]!\n"
                          "@who\t*\t1\tÉva <Lee\n"
                          "@street\t*\t1\t[{way}]\n"
                          "@way\t*\t1\tElm Rd\n");
    put_file("marks.yaml",
             "templates: marks.tsv\nnoise: {typo: 0, lower: 0, polite: 0, greeting: 0, closing: 0, break: 0}\n");
    put_file("lower.yaml",
             "templates: marks.tsv\nnoise: {typo: 0, lower: 1, polite: 0, greeting: 0, closing: 0, break: 0}\n");
    put_file("caps.yaml", "templates: [marks.tsv, more.tsv]\n"
                          "noise: {typo: 0, lower: 0, caps: 1, polite: 0, greeting: 0, closing: 0, break: 0}\n");
    put_file("more.tsv", "task\tsplit\tweight\ttemplate\nothers\ttrain\t1\t<name:{who}> of Łódź\n");
    put_file("five.yaml", "templates: [t.tsv, t.tsv, t.tsv, t.tsv, t.tsv]\n");
    put_file("loop.tsv", "task\tsplit\tweight\ttemplate\nletters\ttrain\t1\t{a}\n@a\t*\t1\t{b}\n@b\t*\t1\t{a}\n");
    put_file("loop.yaml", "templates: loop.tsv\n");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const names[] = {"t.tsv",       "train.txt",   "test.txt",     "r.yaml",    "broken.tsv",
                                        "broken.yaml", "lacking.tsv", "lacking.yaml", "marks.tsv", "marks.yaml",
                                        "lower.yaml",  "loop.tsv",    "loop.yaml",    "caps.yaml", "more.tsv",
                                        "five.yaml"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static ng_status collect(void *ctx, const ng_row *row, ng_error *err) {
    (void)err;
    ng_buf *out = ctx;
    ng_buf_printf(out, "%.*s|%.*s\n", (int)row->label_len, row->label, (int)row->text_len, row->text);
    return out->status;
}

static ng_status make_for(int task, ng_buf *out, const char *file, const char *split, int64_t limit, ng_error *err) {
    char path[256], recipe_path[256];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    snprintf(recipe_path, sizeof recipe_path, "%s/recipe.yaml", dir);
    ng_recipe r = {.path = recipe_path, .task = task};
    ng_source s = {.file = file, .format = NG_FORMAT_REQUESTS, .split = split, .limit = limit};
    return ng_requests_make(&s, &r, path, collect, out, err);
}

static ng_status make(ng_buf *out, const char *file, const char *split, int64_t limit, ng_error *err) {
    return make_for(NG_RECIPE_CLASSIFY, out, file, split, limit, err);
}

/* Digits and capitals that were drawn become 9 and A. */
static void general(char *s) {
    for (; *s; s++) *s = *s >= '1' && *s <= '9' ? '9' : *s == '0' ? '9' : *s;
}

static void marks_become_tags(void **state) {
    (void)state;
    ng_buf a = ng_buf_init(1 << 16), b = ng_buf_init(1 << 16), c = ng_buf_init(1 << 16);
    ng_error err = {0};
    assert_int_equal(make_for(NG_RECIPE_EXTRACT, &a, "marks.yaml", "train", 1, &err), NG_OK);
    general(a.data);
    const char *tags = "O B-name I-name O B-place I-place I-place I-place O|To Éva <Lee , 99 Elm Rd, ";
    assert_memory_equal(a.data, tags, strlen(tags));
    const char *code = a.data + strlen(tags);
    assert_true(code[0] >= 'A' && code[0] <= 'Z' && !strcmp(code + 1, "9 !\n"));
    assert_int_equal(make_for(NG_RECIPE_EXTRACT, &b, "lower.yaml", "train", 1, &err), NG_OK);
    assert_non_null(strstr(b.data, "|to éva <lee")); /* fillers too */
    assert_non_null(strstr(b.data, "B-place"));
    assert_int_equal(make(&c, "marks.yaml", "train", 1, &err), NG_EFORMAT); /* other tasks know neither marks nor digits */
    assert_non_null(strstr(err.text, "{99}"));
    err = (ng_error){0};
    assert_int_equal(make_for(NG_RECIPE_EXTRACT, &c, "loop.yaml", "train", 1, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "holds itself"));
    ng_buf_clear(&a);
    ng_buf_clear(&b);
    ng_buf_clear(&c);
}

static void templates_come_from_several_files_and_may_shout(void **state) {
    (void)state;
    ng_buf a = ng_buf_init(1 << 16);
    ng_error err = {0};
    assert_int_equal(make_for(NG_RECIPE_EXTRACT, &a, "caps.yaml", "train", 2, &err), NG_OK);
    assert_non_null(strstr(a.data, "|TO ÉVA <LEE , "));
    assert_non_null(strstr(a.data, "B-name I-name O O|ÉVA <LEE OF ŁÓDŹ\n")); /* the second file uses the first one's lists */
    assert_int_equal(make(&a, "five.yaml", "train", 1, &err), NG_ELIMIT);
    ng_buf_clear(&a);
}

static void splits_do_not_mix(void **state) {
    (void)state;
    ng_buf a = ng_buf_init(1 << 16), b = ng_buf_init(1 << 16), t = ng_buf_init(1 << 16);
    ng_error err = {0};
    assert_int_equal(make(&a, "r.yaml", "train", 40, &err), NG_OK);
    assert_int_equal(make(&b, "r.yaml", "train", 40, &err), NG_OK);
    assert_string_equal(a.data, b.data);
    assert_non_null(strstr(a.data, "ne red end"));
    assert_non_null(strstr(a.data, "wo green end"));
    assert_non_null(strstr(a.data, "o to Paris"));
    assert_null(strstr(a.data, "blue"));
    assert_null(strstr(a.data, "olely"));
    assert_int_equal(make(&t, "r.yaml", "test", 2, &err), NG_OK);
    assert_true(!strcasecmp(t.data, "alpha|solely blue\nbeta|walk to Paris\n"));
    ng_buf_clear(&a);
    ng_buf_clear(&b);
    ng_buf_clear(&t);
}

static void mistakes_are_named(void **state) {
    (void)state;
    static const struct {
        const char *file, *split, *says;
        int64_t limit;
        ng_status status;
    } list[] = {{"broken.yaml", "train", "broken.tsv:2", 5, NG_EFORMAT},
                {"lacking.yaml", "train", "{nothing}", 5, NG_EFORMAT},
                {"r.yaml", "validation", "'validation'", 5, NG_EINVALID},
                {"r.yaml", NULL, "split and limit", 5, NG_EINVALID},
                {"r.yaml", "train", "split and limit", 0, NG_EINVALID},
                {"r.yaml", "dev", "split dev", 5, NG_EFORMAT},
                {"absent.yaml", "train", "absent.yaml", 5, NG_ENOTFOUND}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        ng_buf b = ng_buf_init(1 << 16);
        ng_error err = {0};
        assert_int_equal(make(&b, list[i].file, list[i].split, list[i].limit, &err), list[i].status);
        if (!strstr(err.text, list[i].says)) fail_msg("'%s' does not say '%s'", err.text, list[i].says);
        ng_buf_clear(&b);
    }
}

static void every_allocation_fails_once(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_buf b = ng_buf_init(1 << 16);
        ng_error err = {0};
        ng_status s = make(&b, "r.yaml", "train", 6, &err);
        ng_buf_clear(&b);
        assert_true(s == NG_OK || s == NG_ENOMEM);
        if (s == NG_OK) fault_passed();
    }
    assert_true(fault_sweep_rounds() > 5);
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_buf b = ng_buf_init(1 << 16);
        ng_error err = {0};
        ng_status s = make_for(NG_RECIPE_EXTRACT, &b, "marks.yaml", "train", 3, &err);
        ng_buf_clear(&b);
        assert_true(s == NG_OK || s == NG_ENOMEM);
        if (s == NG_OK) fault_passed();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_do_not_mix),
        cmocka_unit_test(marks_become_tags),
        cmocka_unit_test(templates_come_from_several_files_and_may_shout),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
