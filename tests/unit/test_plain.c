/* Tests of src/text/plain.c: what hides a text goes, what says something stays, and it ends at once where nothing is odd. */
#include "fault.h"
#include "text/plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void becomes(const char *text, const char *plain) {
    ng_buf b = ng_buf_init(1 << 16);
    assert_int_equal(ng_buf_puts(&b, "> "), NG_OK);
    bool changed = ng_text_plain(&b, text, strlen(text));
    if (!plain) {
        if (changed) fail_msg("'%s' became '%s'", text, b.data);
        assert_int_equal(b.len, 2);
    } else {
        if (!changed) fail_msg("'%s' stayed", text);
        assert_string_equal(b.data + 2, plain);
        assert_true(b.len - 2 <= strlen(text));
        /* what is plain stays so */
        ng_buf again = ng_buf_init(1 << 16);
        assert_false(ng_text_plain(&again, plain, strlen(plain)));
        ng_buf_clear(&again);
    }
    ng_buf_clear(&b);
}

static void dirt_goes(void **state) {
    (void)state;
    becomes("fre\xE2\x80\x8B" "eze \xEF\xBB\xBFmy\xC2\xAD card", "freeze my card");
    becomes("fr\xD0\xB5" "eze my c\xD0\xB0rd", "freeze my card");                                   /* Cyrillic e, a */
    becomes("\xD0\xB0 card that I need frozen", "a card that I need frozen");                        /* a word of doubles alone */
    becomes("\xEF\xBD\x86reeze m\xEF\xBD\x99 card", "freeze my card");                              /* full width f, y */
    becomes("freeze my card ............... !!!", "freeze my card  ");
    becomes("freeze!!!!! my card", "freeze! my card");
    becomes("=== freeze my card ===", " freeze my card ");
    becomes("c\xE2\x80\x8D\xE2\x80\x8D\xD0\xB0\xE2\x80\x8Brd", "card");
}

static void the_rest_stays(void **state) {
    (void)state;
    becomes("", NULL);
    becomes("freeze my card, please... thanks!!", "freeze my card, please. thanks!!");
    becomes("plain text, with commas; and \"quotes\"!!", NULL);
    becomes("caf\xC3\xA9 na\xC3\xAFve", NULL);
    becomes("\xD1\x85\xD0\xBE\xD1\x80\xD0\xBE\xD1\x88\xD0\xBE", NULL);                              /* khorosho */
    becomes("what does \xD1\x85\xD0\xBE\xD1\x80\xD0\xBE\xD1\x88\xD0\xBE mean", NULL);
    becomes("\xD0\xB0 \xD0\xBE\xD0\xBD", NULL);                                                      /* "a on": Russian */
    becomes("\xD9\x85\xDB\x8C\xE2\x80\x8C\xD8\xAE\xD9\x88\xD8\xA7\xD9\x87\xD9\x85", NULL);          /* Persian keeps its ZWNJ */
    becomes("\xE2\x80\x9Cquoted\xE2\x80\x9D \xE2\x80\x93 dash", NULL);
    becomes("\xE4\xBD\xA0\xE5\xA5\xBD", NULL);
    becomes("\xE2\x80\x8B", NULL); /* nothing would be left */
    becomes("...", NULL);
}

static void never_longer_never_broken(void **state) {
    (void)state;
    static const char *const bits[] =
        {"a", " ",        "...",          "\xE2\x80\x8B", "\xD0\xB0", "\xEF\xBC\xA1", "\xF3\xA0\x81\x81",
         "!", "\xCC\x81", "\xE4\xBD\xA0", "\xCE\xBF",     "7"};
    unsigned seed = 1;
    for (int n = 0; n < 20000; n++) {
        char text[80] = "";
        for (int i = 0; i < 12; i++) {
            seed = seed * 1103515245u + 12345u;
            strcat(text, bits[(seed >> 16) % 12]);
        }
        ng_buf b = ng_buf_init(1 << 16);
        if (ng_text_plain(&b, text, strlen(text))) assert_true(b.len <= strlen(text) && b.len > 0);
        ng_buf_clear(&b);
    }
}

static void want_of_memory_leaves_the_text(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_buf b = ng_buf_init(1 << 16);
        bool changed = ng_text_plain(&b, "c\xD0\xB0rd", 5);
        assert_true(changed || b.len == 0);
        ng_buf_clear(&b);
        if (changed) fault_passed();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dirt_goes),
        cmocka_unit_test(the_rest_stays),
        cmocka_unit_test(never_longer_never_broken),
        cmocka_unit_test(want_of_memory_leaves_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
