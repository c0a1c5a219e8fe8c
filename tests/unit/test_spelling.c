/* test_spelling.c: typing errors are put right where neighbours say so, and nothing else is touched. */
#include "core/file.h"
#include "core/hash.h"
#include "gguf/gguf.h"
#include "model/spelling.h"
#include "fault.h"
#include "train/typos.h"
#include <nanogrid/text.h>
#include <nanogrid/tools/train.h>

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/ng_spelling_XXXXXX";
static char list[64];

static int make_list(void **state) {
    char recipe[96], texts[96];
    ng_train_result r;
    ng_error err = {0};
    (void)state;
    if (!mkdtemp(dir)) return 1;
    snprintf(recipe, sizeof recipe, "%s/r.yaml", dir);
    snprintf(texts, sizeof texts, "%s/t.txt", dir);
    snprintf(list, sizeof list, "%s/spelling.gguf", dir);
    ng_buf b = ng_buf_init(1 << 20);
    for (int i = 0; i < 40; i++)
        ng_buf_printf(&b, "what is the weather like today\nplease freeze my account\ni want to pay it from my "
                          "card\nhow do i form a band\n");
    ng_buf_printf(&b, "once\n");
    static const char yaml[] = "name: words\noutput: spelling.gguf\ntask: spelling\ndata: {train: [{file: "
                               "./t.txt}]}\nfeatures: {min_count: 2, bits: 10}\n";
    bool ok = !ng_file_write_atomic(texts, b.data, b.len, &err) &&
              !ng_file_write_atomic(recipe, yaml, sizeof yaml - 1, &err) &&
              !ng_train(&r, recipe, &(ng_train_options){.out_dir = dir, .seed = -1}, &err);
    ng_buf_clear(&b);
    if (!ok) fprintf(stderr, "%s\n", err.text);
    return ok && r.n_rows == 22 ? 0 : 1; /* "once" stands once, so it is not in the list */
}

static int remove_list(void **state) {
    char path[96];
    (void)state;
    static const char *const files[] = {"r.yaml", "t.txt", "spelling.gguf"};
    for (size_t i = 0; i < 3; i++) snprintf(path, sizeof path, "%s/%s", dir, files[i]), unlink(path);
    return rmdir(dir);
}

/* expected NULL: stays as it is */
static void check(const ng_spelling *s, const char *text, const char *expected) {
    ng_buf b = ng_buf_init(1 << 16);
    bool fixed = ng_spelling_fix(s, &b, text, strlen(text));
    assert_int_equal(fixed, expected != NULL);
    if (expected) assert_string_equal(b.data, expected);
    else assert_int_equal(b.len, 0);
    ng_buf_clear(&b);
}

static void puts_right(void **state) {
    ng_spelling *s;
    (void)state;
    assert_int_equal(ng_spelling_open(&s, list, NULL), NG_OK);
    check(s, "what is the wether like today", "what is the weather like today"); /* left out */
    check(s, "what is the weeather like today", "what is the weather like today"); /* doubled */
    check(s, "what is teh weather like today?", "what is the weather like today?"); /* swapped */
    check(s, "please freezr my accouny", "please freeze my account"); /* the key beside, twice */
    check(s, "  please  freeze\tmy acount!!", "  please  freeze\tmy account!!"); /* all around stays */
    check(s, "i want to pay it form my card", "i want to pay it from my card"); /* a word of the list, but not here */
    ng_spelling_close(s);
}

static void leaves_alone(void **state) {
    ng_spelling *s;
    (void)state;
    assert_int_equal(ng_spelling_open(&s, list, NULL), NG_OK);
    check(s, "", NULL);
    check(s, "   ", NULL);
    check(s, "please freeze my account", NULL);
    check(s, "how do i form a band", NULL);
    check(s, "das weter ist heute gut lieber freund", NULL); /* another language: too few words are known */
    check(s, "please freeze Acount", NULL);                  /* a name */
    check(s, "please freeze acount7 acount@my.card", NULL);
    check(s, "please freeze extraordinarily", NULL); /* nothing is near */
    check(s, "\xff\xfe please", NULL);
    ng_spelling_close(s);
}

/* Any bytes: no crash, and valid UTF-8 stays so. */
static void survives_noise(void **state) {
    ng_spelling *s;
    ng_rng rng = ng_rng_seed(5);
    (void)state;
    assert_int_equal(ng_spelling_open(&s, list, NULL), NG_OK);
    ng_buf b = ng_buf_init(1 << 16);
    for (int round = 0; round < 3000; round++) {
        char text[120];
        size_t n = ng_rng_below(&rng, sizeof text);
        for (size_t i = 0; i < n; i++) text[i] = " please freeze my accnt\xc3\xa9'A7."[ng_rng_below(&rng, 30)];
        ng_buf_reset(&b);
        bool fixed = ng_spelling_fix(s, &b, text, n);
        if (fixed && ng_utf8_invalid_at(text, n) == n) assert_int_equal(ng_utf8_invalid_at(b.data, b.len), b.len);
    }
    ng_buf_clear(&b);
    ng_spelling_close(s);
}

/* A damaged list is refused. */
static ng_status open_made(uint64_t first, uint64_t second, uint64_t n_pairs) {
    char path[96];
    ng_gguf_writer *w;
    ng_spelling *s = NULL;
    uint64_t words[2] = {first, second}, n = 2;
    uint8_t counts[2] = {8, 8};
    uint16_t pairs[16] = {0};
    snprintf(path, sizeof path, "%s/bad.gguf", dir);
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-spelling");
    ng_gguf_put_u32(w, "nanogrid.spelling.version", 1);
    ng_gguf_put_tensor(w, "spelling.words", NG_TYPE_I64, 1, &n, words);
    ng_gguf_put_tensor(w, "spelling.counts", NG_TYPE_I8, 1, &n, counts);
    ng_gguf_put_tensor(w, "spelling.pairs", NG_TYPE_I16, 1, &n_pairs, pairs);
    assert_int_equal(ng_gguf_writer_commit(w, path, NULL), NG_OK);
    ng_error err = {0};
    ng_status st = ng_spelling_open(&s, path, &err);
    ng_spelling_close(s);
    unlink(path);
    return st;
}

static void refuses_damage(void **state) {
    (void)state;
    assert_int_equal(open_made(33, 34, 16), NG_OK);
    assert_int_equal(open_made(34, 33, 16), NG_EFORMAT);            /* falling */
    assert_int_equal(open_made(33, 28, 16), NG_EFORMAT);
    assert_int_equal(open_made(0, 34, 16), NG_EFORMAT);             /* no letters */
    assert_int_equal(open_made(33, (uint64_t)1 << 62, 16), NG_EFORMAT); /* too long */
    assert_int_equal(open_made(33, 34, 12), NG_EFORMAT);            /* no power of two */
    assert_int_equal(open_made(33, 34, 4), NG_EFORMAT);
}

static void fails_cleanly(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_spelling *s = NULL;
        ng_error err = {0};
        ng_status st = ng_spelling_open(&s, list, &err);
        ng_buf b = ng_buf_init(1 << 12);
        bool fixed = !st && ng_spelling_fix(s, &b, "please freeze my acount", 23);
        ng_buf_clear(&b);
        ng_spelling_close(s);
        if (st) assert_int_equal(st, NG_ENOMEM);
        if (fixed) fault_passed();
    }
}

static void slips_are_one_a_word(void **state) {
    static const char text[] = "how do i freeze my account in caf\xc3\xa9 42";
    ng_rng rng = ng_rng_seed(3);
    (void)state;
    size_t changed = 0;
    for (int i = 0; i < 500; i++) {
        ng_buf b = ng_buf_init(200);
        ng_typos_put(&b, text, sizeof text - 1, i % 2 ? 1 : 0, &rng);
        assert_int_equal(b.status, NG_OK);
        assert_int_equal(ng_utf8_invalid_at(b.data, b.len), b.len);
        assert_true(b.len + 8 >= sizeof text - 1 && b.len <= sizeof text + 8);
        if (i % 2 == 0) assert_string_equal(b.data, text);
        changed += strcmp(b.data, text) != 0;
        ng_buf_clear(&b);
    }
    assert_true(changed > 240);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(puts_right),     cmocka_unit_test(leaves_alone),
                                       cmocka_unit_test(survives_noise), cmocka_unit_test(refuses_damage),
                                       cmocka_unit_test(fails_cleanly),  cmocka_unit_test(slips_are_one_a_word)};
    return cmocka_run_group_tests(tests, make_list, remove_list);
}
