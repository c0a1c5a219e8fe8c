/* Tests of src/text: categories and folding against utf8proc itself and known values, words, sentences. */
#include "fault.h"
#include "core/hash.h"
#include "text/sentence.h"
#include "text/unicode.h"
#include "text/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <utf8proc.h>

static void categories_are_unicodes(void **state) {
    (void)state;
    assert_int_equal(ng_unicode('a') & (NG_U_LETTER | NG_U_LOWER | NG_U_UPPER), NG_U_LETTER | NG_U_LOWER);
    assert_true(ng_unicode(0x2161) & NG_U_NUMBER);  /* roman numeral two: Nl */
    assert_true(ng_unicode(0xBD) & NG_U_NUMBER);    /* one half: No */
    assert_true(ng_unicode('_') & NG_U_PUNCT);      /* Pc */
    assert_true(ng_unicode('$') & NG_U_SYMBOL);
    assert_true(ng_unicode(0x301) & NG_U_NONSPACING);
    assert_true(ng_unicode(0x85) & NG_U_SPACE);
    assert_false(ng_unicode(0x200B) & NG_U_SPACE);  /* zero width space: Cf */
    assert_true(ng_unicode(0x200B) & NG_U_OTHER);
    assert_true(ng_unicode(0x4E00) & NG_U_CJK);
    assert_false(ng_unicode(0x3042) & NG_U_CJK);
    assert_false(ng_unicode(0x378) & NG_U_ASSIGNED);
    assert_int_equal(ng_unicode(0x110000), 0);
    assert_int_equal(ng_unicode(UINT32_MAX), 0);
    static const uint32_t groups = NG_U_LETTER | NG_U_NUMBER | NG_U_PUNCT | NG_U_SYMBOL | NG_U_MARK | NG_U_OTHER;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        const char *c = utf8proc_category_string((int32_t)cp);
        uint32_t want = *c == 'L' ? NG_U_LETTER : *c == 'N' ? NG_U_NUMBER : *c == 'P' ? NG_U_PUNCT
                      : *c == 'S' ? NG_U_SYMBOL : *c == 'M' ? NG_U_MARK : *c == 'C' ? NG_U_OTHER : 0;
        assert_int_equal(ng_unicode(cp) & groups, want);
        assert_int_equal(ng_unicode_lower(cp), utf8proc_tolower((int32_t)cp));
    }
}

static void folding_drops_accents(void **state) {
    (void)state;
    assert_int_equal(ng_unicode_fold('Q'), 'q');
    assert_int_equal(ng_unicode_fold(0xC9), 'e');
    assert_int_equal(ng_unicode_fold(0x1EA4), 'a');  /* two marks */
    assert_int_equal(ng_unicode_fold(0x130), 'i');
    assert_int_equal(ng_unicode_fold(0x301), NG_UNICODE_NONE);
    assert_int_equal(ng_unicode_fold(0xDF), 0xDF);   /* sharp s has no simple mapping */
    assert_int_equal(ng_unicode_fold(0xAC00), NG_UNICODE_SEVERAL); /* a Hangul syllable: two jamo */
    uint32_t out[NG_UNICODE_FOLD_MAX];
    assert_int_equal(ng_unicode_fold_all(0xAC01, out), 3);
    assert_int_equal(out[2], 0x11A8);
    assert_int_equal(ng_unicode_fold(0x110000), 0x110000);
}

static void check_words(const char *text, const char *want) {
    char got[512] = "";
    size_t pos = 0, len = strlen(text);
    ng_word w;
    while (ng_word_next(text, len, &pos, &w))
        snprintf(got + strlen(got), sizeof got - strlen(got), "%c%.*s|", "LNI"[w.kind], (int)(w.end - w.start),
                 text + w.start);
    assert_string_equal(got, want);
}

static void words_are_found(void **state) {
    (void)state;
    check_words("", "");
    check_words(" ...!? ", "");
    check_words("Don't stop, it's 3.14 or 1,000.", "LDon't|Lstop|Lit's|N3.14|Lor|N1,000|");
    check_words("l\u2019eau 'quoted' a_b _c 4th", "Ll\u2019eau|Lquoted|La_b|Lc|L4th|");
    check_words("end' ' 1. 2,", "Lend|N1|N2|");
    check_words("\u6771\u4EAC\u3042\u3044\u30C6\u30B9\u30C8x", "I\u6771|I\u4EAC|I\u3042|I\u3044|L\u30C6\u30B9\u30C8x|");
    check_words("e\u0301te\u0301 \u0E20\u0E32\u0E29\u0E32", "Le\u0301te\u0301|L\u0E20\u0E32\u0E29\u0E32|");
    check_words("a\xFF" "b\xC3", "La|Lb|");
}

static void check_sentences(const char *text, const char *want) {
    char got[1024] = "";
    ng_span *s;
    size_t n;
    assert_int_equal(ng_sentences(text, strlen(text), &s, &n, NULL), NG_OK);
    for (size_t i = 0; i < n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%.*s|", (int)(s[i].end - s[i].start), text + s[i].start);
    free(s);
    assert_string_equal(got, want);
}

static void sentences_are_found(void **state) {
    (void)state;
    check_sentences("", "");
    check_sentences(" \n\t ", "");
    check_sentences("One. Two! Three? Four", "One.|Two!|Three?|Four|");
    check_sentences("Dr. Lee met Mr. J. R. Smith at 3.14 p.m. on Main St. yesterday. He left.",
                    "Dr. Lee met Mr. J. R. Smith at 3.14 p.m. on Main St. yesterday.|He left.|");
    check_sentences("It closed at 5 p.m. The end. See Fig. 3 and No. 7. No. Never.",
                    "It closed at 5 p.m.|The end.|See Fig. 3 and No. 7.|No.|Never.|");
    check_sentences("Acme Inc. Chairman Bo. Acme Inc. They left the U.S. Senate.",
                    "Acme Inc. Chairman Bo.|Acme Inc.|They left the U.S. Senate.|");
    check_sentences("\"Stop!\" he said. \"Go.\" (Fine.) Well... maybe. Well... Maybe.",
                    "\"Stop!\" he said.|\"Go.\"|(Fine.)|Well... maybe.|Well...|Maybe.|");
    check_sentences("A heading\n\nA line that\nis wrapped. End", "A heading|A line that\nis wrapped.|End|");
    check_sentences("Buy:\n- milk\n- eggs\n1. Wash it.\n2. Eat.", "Buy:|- milk|- eggs|1. Wash it.|2. Eat.|");
    check_sentences("\u4ECA\u65E5\u306F\u3002\u300C\u306F\u3044\uFF01\u300D\u305D\u3046\u3002",
                    "\u4ECA\u65E5\u306F\u3002|\u300C\u306F\u3044\uFF01\u300D|\u305D\u3046\u3002|");
    check_sentences("\u092F\u0939\u0964\u0935\u0939\u0964", "\u092F\u0939\u0964|\u0935\u0939\u0964|");
    check_sentences("See example.com or v1.2.3. So do I. Yes.", "See example.com or v1.2.3.|So do I.|Yes.|");
    check_sentences("bad \xFF. \xC3 tail", "bad \xFF.|\xC3 tail|");
}

/* Whatever the bytes: spans rise, are trimmed and hold everything that is no space. */
static void sentences_lose_nothing(void **state) {
    (void)state;
    static const char alphabet[] = "aA1 .!?\n\"')(\xC3\xA9\xE3\x81\x82\xFF-,";
    ng_rng r = ng_rng_seed(3);
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t len = ng_rng_below(&r, sizeof text), n, end = 0;
        for (size_t i = 0; i < len; i++) text[i] = alphabet[ng_rng_below(&r, sizeof alphabet - 1)];
        ng_span *s;
        assert_int_equal(ng_sentences(text, len, &s, &n, NULL), NG_OK);
        for (size_t i = 0; i <= n; i++) {
            size_t start = i < n ? s[i].start : len;
            assert_true(start >= end && start <= len);
            for (size_t k = end; k < start; k++) assert_true(text[k] == ' ' || text[k] == '\n');
            if (i == n) break;
            assert_true(s[i].end > s[i].start);
            assert_true(text[s[i].start] != ' ' && text[s[i].end - 1] != ' ' && text[s[i].end - 1] != '\n');
            end = s[i].end;
        }
        free(s);
    }
}

static void sentences_report_no_memory(void **state) {
    (void)state;
    char text[400];
    for (int i = 0; i < 100; i++) memcpy(text + 4 * i, "Ab. ", 4);
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_span *s;
        size_t n;
        ng_error err = {0};
        ng_status status = ng_sentences(text, sizeof text, &s, &n, &err);
        if (status == NG_OK) {
            assert_int_equal(n, 100);
            free(s);
            fault_passed();
        } else {
            assert_int_equal(status, NG_ENOMEM);
        }
    }
    assert_true(fault_sweep_rounds() >= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(categories_are_unicodes),
        cmocka_unit_test(folding_drops_accents),
        cmocka_unit_test(words_are_found),
        cmocka_unit_test(sentences_are_found),
        cmocka_unit_test(sentences_lose_nothing),
        cmocka_unit_test(sentences_report_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
