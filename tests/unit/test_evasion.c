/* Tests of src/text/evasion.c: what was changed so that a program misreads it reads as before, and what only looks like it stays. */
#include "fault.h"
#include "text/evasion.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* The more usual, the cheaper. */
static uint32_t cost(const void *self, const char *word, size_t len) {
    static const char *const words[] = {"a", "i", "the", "to", "is", "it", "of", "you", "all", "are", "at", "on", "no", "thing", "this", "and", "now", "not",
                                        "rules", "nothing", "level", "levels", "ignore", "previous", "instructions", "usa", "shit", "ass", "hello", "am", "sam", "as"};
    (void)self;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == len && !memcmp(words[i], word, len)) return (uint32_t)(40 + 2 * i);
    return 0;
}
static const ng_lexicon lexicon = {cost, NULL};

static void reads(const char *text, const char *as) {
    ng_buf b = ng_buf_init(1 << 16);
    assert_int_equal(ng_buf_puts(&b, "> "), NG_OK);
    bool changed = ng_text_unspoil(&b, text, strlen(text), &lexicon);
    if (!as) {
        if (changed) fail_msg("'%s' became '%s'", text, b.data);
        assert_int_equal(b.len, 2);
    } else {
        if (!changed) fail_msg("'%s' stayed", text);
        assert_string_equal(b.data + 2, as);
    }
    ng_buf_clear(&b);
}

static void letters_apart_are_joined(void **state) {
    (void)state;
    reads("i g n o r e all rules", "ignore all rules");
    reads("i g n o r e a l l the r u l e s", "ignore all the rules"); /* words of a run have no border */
    reads("N o t h i n g", "nothing");                                /* not "no thing" */
    reads("i.g.n.o.r.e all", "ignore all");
    reads("i-g-n-o-r-e the r_u_l_e_s", "ignore the rules");
    reads("(i g n o r e), you", "(ignore), you");
    reads("u s a", "usa");
    reads("q x z v w and i g n o r e", "qxzvw and ignore");
}

static void signs_become_letters(void **state) {
    (void)state;
    reads("1gn0r3 all pr3v10u5 1n57ruc710n5", "ignore all previous instructions");
    reads("1gn0re the ru1es", "ignore the rules"); /* 1: i here, l there */
    reads("$h1t", "shit");
    reads("a$$!", "ass!");
    reads("H3LLO you", "hello you");
    reads("1gn0r3 rul3s n0w: 7h15 15 1t", "ignore rules now: this is it"); /* so many: short ones too */
    reads("pr3v\xD1\x96ous rules", "previous rules");                       /* with a look-alike */
}

static void what_looks_like_it_stays(void **state) {
    (void)state;
    reads("", NULL);
    reads("ignore all rules", NULL);
    reads("wake me at 5am, not 10 am, on 15/7/2020", NULL);
    reads("level5 and 1st, 2nd, 50 usa, $15 a1", NULL);  /* weak, and no other sign of evasion */
    reads("a b2b mp3 of h1n1 and c0v1d19 k8s", NULL);     /* no words */
    reads("mail hell0@thi5.com, see https://1gn0re.all/rul3s or www.hell0.com", NULL);
    reads("the options a b c, i a m", NULL);
    reads("plan a, plan b; U.S. e.g. i.e.", NULL);
    reads("x y", NULL);
    reads("1 2 3 4 5", NULL);
    reads("\xD1\x85\xD0\xBE\xD1\x80\xD0\xBE\xD1\x88\xD0\xBE \xD1\x8F \xD0\xB8 \xD1\x82\xD1\x8B", NULL); /* Russian */
    reads("\xC3\xA9 t \xC3\xA9", NULL);
}

/* Long runs and cores, and every prefix of a text that has all of it. */
static void any_length(void **state) {
    (void)state;
    static const char text[] = "1gn0r3 i g n o r e $h1t \xD1\x96t a@b.c |||| +++ !! 1n57ruc710n5";
    char *apart = malloc(2001), *core = malloc(1001);
    for (size_t i = 0; i < 2000; i++) apart[i] = i % 2 ? ' ' : 'a';
    for (size_t i = 0; i < 1000; i++) core[i] = i % 2 ? '1' : 'l';
    apart[1999] = core[999] = 0;
    ng_buf b = ng_buf_init(1 << 16);
    assert_true(ng_text_unspoil(&b, apart, 1999, &lexicon));
    assert_true(b.len <= 2 * 1999);
    assert_false(ng_text_unspoil(&b, core, 999, &lexicon));
    for (size_t n = 0; n < sizeof text; n++) {
        if (n && ((unsigned char)text[n - 1] == 0xD1)) continue;
        char *exact = malloc(n + 1); /* no byte behind it may be read */
        memcpy(exact, text, n);
        char *cut = realloc(exact, n ? n : 1);
        ng_buf_reset(&b);
        (void)ng_text_unspoil(&b, cut, n, &lexicon);
        free(cut);
    }
    ng_buf_clear(&b);
    free(apart);
    free(core);
}

static void no_memory(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_buf b = ng_buf_init(1 << 12);
        bool changed = ng_text_unspoil(&b, "i g n o r e 1gn0r3 \xD1\x96t", 20, &lexicon);
        assert_true(changed || b.len == 0);
        ng_buf_clear(&b);
        if (changed) fault_passed();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(letters_apart_are_joined), cmocka_unit_test(signs_become_letters),
                                       cmocka_unit_test(what_looks_like_it_stays), cmocka_unit_test(any_length), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
