/* Tests of src/task/pii*.c and head_rules.c: what must be found and, as many, what must not. */
#include "fault.h"
#include "task/pii.h"

#include <math.h>
#include <nanogrid/head.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* "label:text|label:text" of everything found. */
static void describe(char out[1024], const char *text) {
    ng_pii_spans found = {0};
    ng_error err = {0};
    assert_int_equal(ng_pii_scan(&found, text, strlen(text), NG_PII_ALL, &err), NG_OK);
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < found.len; i++) {
        const ng_pii_span *s = &found.items[i];
        n += (size_t)snprintf(out + n, 1024 - n, "%s%s:%.*s", i ? "|" : "", ng_pii_label(s->type),
                              (int)(s->end - s->start), text + s->start);
    }
    ng_pii_spans_clear(&found);
}

typedef struct example {
    const char *text, *found;
} example;

static void check(const example *e, size_t n) {
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        char got[1024];
        describe(got, e[i].text);
        if (!strcmp(got, e[i].found)) continue;
        print_error("in   %s\nwant %s\ngot  %s\n\n", e[i].text, e[i].found, got);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}
#define CHECK(list) check(list, sizeof list / sizeof list[0])

static void emails(void **state) {
    (void)state;
    static const example list[] = {
        {"a@b.co", "email:a@b.co"},
        {"Mail john.doe+news@mail.example.co.uk, please.", "email:john.doe+news@mail.example.co.uk"},
        {"<o'brien@example.org>", "email:o'brien@example.org"},
        {"mailto:x_1%y@sub-domain.example.museum.", "email:x_1%y@sub-domain.example.museum"},
        {"'quoted@example.com'", "email:quoted@example.com"},
        {"see...john@example.com", "email:john@example.com"},
        {"j\xC3\xBCrgen@m\xC3\xBCnchen.de", "email:j\xC3\xBCrgen@m\xC3\xBCnchen.de"},
        {"\xE9\x82\xAE\xE7\xAE\xB1\xE6\x98\xAFzhang@example.com\xEF\xBC\x8C\xE8\xB0\xA2",
         "email:zhang@example.com"},
        {"\xE7\x94\xA8\xE6\x88\xB7@\xE4\xBE\x8B\xE5\xAD\x90.\xE5\xB9\xBF\xE5\x91\x8A",
         "email:\xE7\x94\xA8\xE6\x88\xB7@\xE4\xBE\x8B\xE5\xAD\x90.\xE5\xB9\xBF\xE5\x91\x8A"},
        {"x@xn--fsq.xn--p1ai", "email:x@xn--fsq.xn--p1ai"},
        {"a@b.co;c@d.org", "email:a@b.co|email:c@d.org"},
        {"John@Example.COM's", "email:John@Example.COM"},
        {"user@localhost", ""},
        {"lodash@4.17.21", ""},
        {"@handle and @me@social.example", ""},
        {"a @ b.co", ""},
        {"me@example.c", ""},
        {"me@.com", ""},
        {"me@exam_ple.com", ""},
        {"a@b@c.com", ""},
        {"me@example.com@", ""},
    };
    CHECK(list);
}

static void cards(void **state) {
    (void)state;
    static const example list[] = {
        {"4111 1111 1111 1111", "card:4111 1111 1111 1111"},
        {"Karte 4111-1111-1111-1111, gueltig", "card:4111-1111-1111-1111"},
        {"(5555555555554444)", "card:5555555555554444"},
        {"amex 3782 822463 10005.", "card:3782 822463 10005"},
        {"371449635398431", "card:371449635398431"},
        {"diners 3056 930902 5904", "card:3056 930902 5904"},
        {"6011\xC2\xA0" "1111\xC2\xA0" "1111\xC2\xA0" "1117", "card:6011\xC2\xA0" "1111\xC2\xA0" "1111\xC2\xA0" "1117"},
        {"2223003122003222", "card:2223003122003222"},
        {"4222222222222", "card:4222222222222"},
        {"4735615260219382870", "card:4735615260219382870"},
        {"4111 1111 1111 1111 123", "card:4111 1111 1111 1111"},
        {"4111 1111 1111 1111 12/27", "card:4111 1111 1111 1111"},
        {"\xE5\x8D\xA1\xE5\x8F\xB7" "4111111111111111", "card:4111111111111111"},
        {"4111 1111 1111 1112", ""},              /* Luhn */
        {"9111 1111 1111 1111", ""},              /* no such issuer */
        {"41 11 11 11 11 11 11 11", ""},          /* no such grouping */
        {"4111-1111 1111-1111", ""},
        {"order A4111111111111111", ""},
        {"0.4111111111111111", ""},
        {"4111111111111111.5", ""},
        {"1234567890123456", ""},
        {"4111111111111111111111111111", ""},
    };
    CHECK(list);
}

static void ibans(void **state) {
    (void)state;
    static const example list[] = {
        {"DE89370400440532013000", "iban:DE89370400440532013000"},
        {"IBAN: GB82 WEST 1234 5698 7654 32 is mine", "iban:GB82 WEST 1234 5698 7654 32"},
        {"gb82west12345698765432", "iban:gb82west12345698765432"},
        {"FR14 2004 1010 0505 0001 3M02 606.", "iban:FR14 2004 1010 0505 0001 3M02 606"},
        {"NO93 8601 1117 947", "iban:NO93 8601 1117 947"},
        {"MT84MALT011000012345MTLCAST001S", "iban:MT84MALT011000012345MTLCAST001S"},
        {"DE89370400440532013001", ""},
        {"DE8937040044053201300", ""},
        {"DE893704004405320130001", ""},
        {"XX89370400440532013000", ""},
        {"ADE89370400440532013000", ""},
    };
    CHECK(list);
}

static void addresses(void **state) {
    (void)state;
    static const example list[] = {
        {"ping 192.168.0.1 now", "ip:192.168.0.1"},
        {"8.8.8.8, 1.1.1.1.", "ip:8.8.8.8|ip:1.1.1.1"},
        {"10.0.0.0/8 and 10.0.0.1:8080", "ip:10.0.0.0|ip:10.0.0.1"},
        {"[2001:db8::1]:443", "ip:2001:db8::1"},
        {"6e40:4041:c617:e898:c11:40d2:c669:2eb4", "ip:6e40:4041:c617:e898:c11:40d2:c669:2eb4"},
        {"::1 or fe80::1%eth0 or ::ffff:192.0.2.1", "ip:::1|ip:fe80::1|ip:::ffff:192.0.2.1"},
        {"addr: 2001:DB8:0:0:8:800:200C:417A", "ip:2001:DB8:0:0:8:800:200C:417A"},
        {"mac 00:1A:2b:3C:4d:5E, 00-1a-2b-3c-4d-5e", "mac:00:1A:2b:3C:4d:5E|mac:00-1a-2b-3c-4d-5e"},
        {"version 1.2.3.4", ""},
        {"v1.2.3.4", ""},
        {"firmware 10.2.0.11 is out", ""},
        {"1.2.3.4.5", ""},
        {"1.2.3", ""},
        {"256.1.1.1", ""},
        {"192.168.001.001", ""},
        {"std::string Abc::def() dead::beef a::b", ""},
        {"at 12:30:45", ""},
        {"1:2:3:4:5:6:7:8:9", ""},
        {"1::2::3", ""},
        {"2001:db8::12345", ""},
        {"00:1A:2b:3C:4d", ""},
        {"00:1A:2b:3C:4d:5E:77", ""},
    };
    CHECK(list);
}

static void urls(void **state) {
    (void)state;
    static const example list[] = {
        {"See https://example.com/a?b=c#d.", "url:https://example.com/a?b=c#d"},
        {"(http://www.example.co.uk/)", "url:http://www.example.co.uk/"},
        {"https://en.wikipedia.org/wiki/C_(language), ok", "url:https://en.wikipedia.org/wiki/C_(language)"},
        {"www.example.com!", "url:www.example.com"},
        {"HTTPS://EXAMPLE.COM:8443/x", "url:HTTPS://EXAMPLE.COM:8443/x"},
        {"http://10.0.0.1:8080/x and http://localhost:3000/", "url:http://10.0.0.1:8080/x|url:http://localhost:3000/"},
        {"https://example.com/?mail=a@b.co&x=1", "url:https://example.com/?mail=|email:a@b.co"},
        {"ftp://ftp.example.org/pub", "url:ftp://ftp.example.org/pub"},
        {"http://", ""},
        {"https://x", ""},
        {"xhttp://example.com", ""},
        {"www.", ""},
    };
    CHECK(list);
}

static void dates(void **state) {
    (void)state;
    static const example list[] = {
        {"born 1985-02-10.", "date:1985-02-10"},
        {"2018-01-14 03:07:43 and 2020-01-02T10:00:00Z", "date:2018-01-14 03:07:43|date:2020-01-02T10:00:00Z"},
        {"2/10/1985, 31.12.2020, 1/2/20", "date:2/10/1985|date:31.12.2020|date:1/2/20"},
        {"on 12 January 2020", "date:12 January 2020"},
        {"January 12, 2020 and Jan 12", "date:January 12, 2020|date:Jan 12"},
        {"the 3rd of May 1999", "date:3rd of May 1999"},
        {"May 5 was fine", "date:May 5"},
        {"in February 2021", "date:February 2021"},
        {"am 5. M\xC3\xA4rz 2021, le 14 juillet 1789", "date:5. M\xC3\xA4rz 2021|date:14 juillet 1789"},
        {"15 de agosto de 2019", "date:15 de agosto de 2019"},
        {"12-Jan-2020", "date:12-Jan-2020"},
        {"Party on March 3.", "date:March 3"},
        {"31/04/2020", ""},
        {"2020-02-30", ""},
        {"29.02.2019", ""},
        {"13/13/2020", ""},
        {"you may 5 times", ""},
        {"we march 10 miles", ""},
        {"May 50", ""},
        {"1/2", ""},
        {"version 1.2.20", ""},
        {"in 2014", "date:2014"},
        {"call on Thursday", "date:Thursday"},
        {"a 2017 film (1987)", "date:2017|date:1987"},
        {"the Act of 2001.", "date:2001"},
        {"since 1998, until friday", "date:1998|date:friday"},
        {"room 2014", ""},
        {"a total of 2001 people", ""},
        {"a sum of 2001", ""},
        {"in 2000 words", ""},
        {"in 1850", ""},
        {"in 2014-11", ""},
        {"in 20145", ""},
        {"in 2014%", ""},
        {"(2014 of them)", ""},
        {"the 2019.", ""},
        {"Good Friday", ""},
        {"Fridays", ""},
        {"call 2014 555 0123 4567 in 2014", "phone:2014 555 0123 4567|date:2014"},
        {"ISBN 978-3-16-148410-0", ""},
    };
    CHECK(list);
}

static void streets(void **state) {
    (void)state;
    static const example list[] = {
        {"at 12 Elm Street.", "location:12 Elm Street"},
        {"at 12 Elm Street, Apt. 4, Springfield, IL 62701.", "location:12 Elm Street, Apt. 4, Springfield, IL 62701"},
        {"12a North 42nd St.\nUnit 7B\nNew York, NY 10001-1234", "location:12a North 42nd St.\nUnit 7B\nNew York, NY 10001-1234"},
        {"370 3911 Fourth Avenue", "location:370 3911 Fourth Avenue"},
        {"i live at 25 main street", "location:25 main street"},
        {"221B Baker St, London NW1 6XE", "location:221B Baker St, London NW1 6XE"},
        {"12, rue de la Paix, 75002 Paris", "location:12, rue de la Paix, 75002"},
        {"12 avenue Victor Hugo", "location:12 avenue Victor Hugo"},
        {"Calle Mayor 5, 28013 Madrid", "location:Calle Mayor 5, 28013"},
        {"Via dei Fiorentini, 17", "location:Via dei Fiorentini, 17"},
        {"na ul. S\xC5\x82owicza 10", "location:ul. S\xC5\x82owicza 10"},
        {"Hauptstra\xC3\x9F" "e 12a, 10115 Berlin", "location:Hauptstra\xC3\x9F" "e 12a, 10115"},
        {"Pet\xC5\x91" "fi utca 3.", "location:Pet\xC5\x91" "fi utca 3"},
        {"6750 Koskikatu 25 Apt. 864", "location:6750 Koskikatu 25 Apt. 864"},
        {"5638 Aasa 43 Suite 7", "location:5638 Aasa 43 Suite 7"}, /* the number of a flat tells that it is a street */
        {"hersnapvej 18", "location:hersnapvej 18"},
        {"P.O. Box 12, Dublin", "location:P.O. Box 12"},
        {"Postfach 1234", "location:Postfach 1234"},
        {"PSC 6293, Box 8158\nAPO AP 04336", "location:PSC 6293, Box 8158\nAPO AP 04336"},
        {"Unit 7349 Box 6067", "location:Unit 7349 Box 6067"},
        {"5 Elm Road, 212-555-0123", "location:5 Elm Road|phone:212-555-0123"},
        {"5 people on the street", ""},
        {"2 miles down the road", ""},
        {"30 Supreme Court judges, 2 Superior Court", ""},
        {"in 2010 Elm Street", "date:2010"},
        {"3 Main Place we know", ""}, /* an everyday word, and the phrase goes on */
        {"3 Main Place, and on", "location:3 Main Place"},
        {"box 12 and Box 7", ""},
        {"No. 2 and Chapter 5", ""},
        {"at 14 Country Club Road.", "location:14 Country Club Road"},
        {"at Building 10, Room 250", ""},
        {"chapter strasse", ""},
        {"Windows 10 Street", ""},
        {"$5 Elm Street", ""},
        {"12.5 Elm Street", ""},
        {"60 Minutes", ""},
    };
    CHECK(list);
}

static void phones(void **state) {
    (void)state;
    static const example list[] = {
        {"call +44 20 7946 0958:", "phone:+44 20 7946 0958"},
        {"+1 (212) 555-0123", "phone:+1 (212) 555-0123"},
        {"+41 (0)85 806 98 67", "phone:+41 (0)85 806 98 67"},
        {"+46 (0)8 928 571 38", "phone:+46 (0)8 928 571 38"},
        {"+447700677662", "phone:+447700677662"},
        {"001-253-366-9781", "phone:001-253-366-9781"},
        {"0041 85 806 98 67", "phone:0041 85 806 98 67"},
        {"(579)888-3058 or 212.555.0123", "phone:(579)888-3058|phone:212.555.0123"},
        {"212 555 0123 ext. 45", "phone:212 555 0123 ext. 45"},
        {"1-800-555-0199 x12", "phone:1-800-555-0199 x12"},
        {"03.93.92.16.85", "phone:03.93.92.16.85"},
        {"07700 900123 and 0612345678", "phone:07700 900123|phone:0612345678"},
        {"030/1234567", "phone:030/1234567"},
        {"020\xE2\x80\x91" "7946\xE2\x80\x91" "0958", "phone:020\xE2\x80\x91" "7946\xE2\x80\x91" "0958"},
        {"my phone is 416 60 039", "phone:416 60 039"},
        {"Call 3660170548 today", "phone:3660170548"},
        {"450 0840 office", "phone:450 0840"},
        {"\xE7\x94\xB5\xE8\xAF\x9D+8613812345678", "phone:+8613812345678"},
        {"call 020 7946 0958 12 people wait", "phone:020 7946 0958"},
        {"416 60 039", ""},
        {"order 3660170548", ""},
        {"call about order 12345678", ""},
        {"+5 points, +100, +12345", ""},
        {"+28 912 34567, +891234567", ""},
        {"population 1 234 567 890", ""},
        {"02139-4307", ""},
        {"0.123456789", ""},
        {"2019-2020", ""},
        {"1234 5678 9012 3456", ""},
        {"10 20 30 40 50", ""},
        {"00:12:34", ""},
        {"111-222-3333", ""},
        {"telephone 2019-2020", ""},
        {"ticket #0123456789", ""},
        {"1,234,567,890", ""},
        {"3.14159265358", ""},
    };
    CHECK(list);
}

static void ssns(void **state) {
    (void)state;
    static const example list[] = {
        {"SSN: 460-89-9847", "ssn:460-89-9847"},
        {"social security 460 89 9847", "ssn:460 89 9847"},
        {"460 89 9847", ""},
        {"000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000", ""},
        {"123-45-67890 1123-45-6789", ""},
    };
    CHECK(list);
}

static void mixtures(void **state) {
    (void)state;
    static const example list[] = {
        {"My email is a@b.co, call +44 20 7946 0958: find the personal data",
         "email:a@b.co|phone:+44 20 7946 0958"},
        {"4111111111111111@example.com", "card:4111111111111111"},
        {"Wire to DE89 3704 0044 0532 0130 00 by 2024-05-01 from 192.0.2.7",
         "iban:DE89 3704 0044 0532 0130 00|date:2024-05-01|ip:192.0.2.7"},
        {"", ""},
        {"\xFF\xFE\x80 a@b.co \xC3", "email:a@b.co"},
        {"Nothing personal here at all, 42 times.", ""},
    };
    CHECK(list);
}

static ng_status apply(ng_answer *a, const char *text, const ng_params *params, ng_error *err) {
    ng_part part = {NG_PART_TEXT, text, strlen(text)};
    ng_message message = {"user", &part, 1};
    ng_tier_request req = {.task = NG_TASK_EXTRACT, .messages = &message, .n_messages = 1, .params = *params};
    ng_head_spec spec = {.task = NG_TASK_EXTRACT};
    ng_head *h;
    ng_status s = ng_head_open(&h, &spec, err);
    if (s) return s;
    s = ng_head_apply(h, &req, a, err);
    if (!s && strcmp(ng_head_kind(h), "rules")) s = NG_EINTERNAL;
    ng_head_close(h);
    return s;
}

static void the_head_filters_and_counts(void **state) {
    (void)state;
    const char *text = "\xC3\xA9\xE2\x82\xAC a@b.co\xF0\x9F\x98\x80 c@d.org +44 20 7946 0958";
    const char *only[] = {"email"}, *bad[] = {"email", "shoe-size"};
    ng_params p = {.types = only, .n_types = 1, .offsets_chars = true};
    ng_answer *a;
    ng_error err = {0};
    assert_int_equal(ng_answer_new(&a), NG_OK);
    assert_int_equal(apply(a, text, &p, &err), NG_OK);
    assert_int_equal(a->n_entities, 2);
    assert_int_equal(a->entities[0].start, 3);
    assert_int_equal(a->entities[0].end, 9);
    assert_string_equal(a->entities[1].text, "c@d.org");
    assert_int_equal(a->entities[1].start, 11);
    assert_int_equal(a->entities[1].end, 18);
    assert_true(isnan(a->confidence) && a->entities[0].score > 0.5f && a->entities[0].score < 1);
    ng_answer_free(a);
    assert_int_equal(ng_answer_new(&a), NG_OK);
    assert_int_equal(apply(a, text, &(ng_params){0}, &err), NG_OK);
    assert_int_equal(a->n_entities, 3);
    assert_int_equal(a->entities[2].end, strlen(text));
    assert_int_equal(apply(a, text, &(ng_params){.types = bad, .n_types = 2}, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "shoe-size"));
    assert_non_null(strstr(err.text, "iban, card, email"));
    ng_answer_free(a);
}

/* A filter must not change what is found: the union over single types is the whole. */
static void a_filter_only_filters(void **state) {
    (void)state;
    const char *text = "https://x.org/?m=a@b.co 4111111111111111 call 2020-01-02 0612345678 10.1.1.1";
    ng_pii_spans all = {0}, one = {0};
    assert_int_equal(ng_pii_scan(&all, text, strlen(text), NG_PII_ALL, NULL), NG_OK);
    size_t n = 0;
    for (int type = 0; type < NG_PII_TYPE_COUNT; type++) {
        assert_int_equal(ng_pii_scan(&one, text, strlen(text), 1u << type, NULL), NG_OK);
        n += one.len;
    }
    assert_int_equal(n, all.len);
    assert_int_equal(all.len, 6);
    ng_pii_spans_clear(&all);
    ng_pii_spans_clear(&one);
}

/* Text made to be slow: runs that start a candidate at every byte.  A quadratic rule would take
 * hours on a megabyte; the test's time limit is the check. */
static void hostile_megabytes_are_linear(void **state) {
    (void)state;
    static const char *const pieces[] = {"1", "1 ", "a@", "+1-", "((", "::", "a:", "4111 ", "http://", "www.a.",
                                         "x.", "12/", "Jan ", "00-", "\xC3\xA9@", "call ", "a@b.co ", "1.2.3."};
    size_t len = 1 << 20;
    char *text = malloc(len);
    for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
        size_t n = strlen(pieces[k]);
        for (size_t i = 0; i < len; i++) text[i] = pieces[k][i % n];
        ng_pii_spans found = {0};
        assert_int_equal(ng_pii_scan(&found, text, len, NG_PII_ALL, NULL), NG_OK);
        for (size_t i = 0; i + 1 < found.len; i++) {
            assert_true(found.items[i].start < found.items[i].end);
            assert_true(found.items[i].end <= found.items[i + 1].start);
        }
        ng_pii_spans_clear(&found);
    }
    free(text);
}

static void every_allocation_fails_once(void **state) {
    (void)state;
    char text[2048] = "";
    for (int i = 0; i < 40; i++) strcat(text, "a@b.co +44 20 7946 0958, ");
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_answer *a = NULL;
        ng_error err = {0};
        ng_status s = ng_answer_new(&a);
        if (!s) s = apply(a, text, &(ng_params){0}, &err);
        assert_true(s == NG_OK || s == NG_ENOMEM);
        if (s == NG_OK) {
            assert_int_equal(a->n_entities, 80);
            fault_passed();
        }
        ng_answer_free(a);
    }
    assert_true(fault_sweep_rounds() > 3);
}

static void suspicions(void **state) {
    (void)state;
    static const char *const yes[] = {"8 (938) 792-64-78", "(0171 3195976)", "(11) 91042-4837", "4654-084-741-826", "call 612 345 678",
                                      "zero seven nine one two three four five", "4l1l 1O11 llll l11l", "0.7.9.1.2.3.4.5", "192 dot 168 dot 17 dot 4",
                                      "bob (at) example dot com", "(06.32.24.01.07)", "fax0425/23.93.83", "bob [at] example [dot] com", "b o b @ e x a m p l e . c o m", "faxn0684649081",
                                      "48\xC2\xA0" "12\xE2\x80\x89" "34 56 78", "41112222 and then 33334444", "2024-11-21 0171 3195976",
                                      "\"kim.lee\"@post.is", "ref=kim%40post.is&x", "kim\\u0040post.is", "kim&#64;post.is", "kim@\npost.is", "\xD9\xA0\xD9\xA1\xD9\xA2 \xD9\xA3\xD9\xA4-\xD9\xA5\xD9\xA6",
                                      "4000\xC2\xB7" "6614\xC2\xB7" "4628\xC2\xB7" "5356", "IBANDE89370400440532013000", "x=de89.3704.0044.0532.0130.00", "DE89\t3704\t0044\t0532\t0130\t00",
                                      "ref=2a02:8b36::a557&y", "kim:9dc7:768a:1e83:d6a8:2d10:3cf4:91c3:dd8a"};
    static const char *const no[] = {"", "in 2024", "from 2019-2020", "on 2024-11-21 at 12:30", "11/21/2024, 21.11.2024 and 1.2.24", "10,000,000 people", "flight 1234 to gate 56",
                                     "set a timer for 15 minutes", "one or two of the three", "meet me at noon", "the cost is 1,234.56", "3 + 4 - 5 = 2", "room 101, floor 12", "@bob look at this. now",
                                     "one two three go", "at that point", "MH370 and B52", "thanks @ann", "std::vector<int> x; abc::def()", "at 12:30:45", "50%4 is 2", "\xE0\xA5\xA8\xE0\xA5\xA6\xE0\xA5\xA8\xE0\xA5\xAA"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!ng_pii_suspected(yes[i], strlen(yes[i]))) fail_msg("not suspected: %s", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (ng_pii_suspected(no[i], strlen(no[i]))) fail_msg("suspected: %s", no[i]);
    char noise[4096];
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
    for (size_t n = 0; n < sizeof noise; n += 7) (void)ng_pii_suspected(noise, n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emails),        cmocka_unit_test(cards),
        cmocka_unit_test(ibans),         cmocka_unit_test(addresses),
        cmocka_unit_test(urls),          cmocka_unit_test(dates),
        cmocka_unit_test(streets), cmocka_unit_test(phones),        cmocka_unit_test(ssns),
        cmocka_unit_test(mixtures),      cmocka_unit_test(the_head_filters_and_counts),
        cmocka_unit_test(a_filter_only_filters), cmocka_unit_test(suspicions),
        cmocka_unit_test(hostile_megabytes_are_linear),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
