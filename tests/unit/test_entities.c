/* Tests of entities.c: addresses in pieces become one, rules beside a model's entities, bytes to characters. */
#include "fault.h"
#include "task/entities.h"
#include "task/pii.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* "label:text" of each, from places of `text` that are found one after the other. */
static size_t mark(ng_entity *out, const char *text, const char *const *list) {
    size_t n = 0, at = 0;
    for (; list[n]; n++) {
        const char *colon = strchr(list[n], ':'), *found = strstr(text + at, colon + 1);
        assert_non_null(found);
        static char labels[16][32];
        snprintf(labels[n], sizeof labels[n], "%.*s", (int)(colon - list[n]), list[n]);
        out[n] = (ng_entity){(size_t)(found - text), (size_t)(found - text) + strlen(colon + 1), labels[n], "old",
                             1.0f - 0.1f * (float)n};
        at = out[n].end;
    }
    return n;
}

static void say(char *out, size_t cap, const ng_entity *e, size_t n, const char *text) {
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < n; i++) {
        used += (size_t)snprintf(out + used, cap - used, "%s%s:%.*s", i ? "|" : "", e[i].label,
                                 (int)(e[i].end - e[i].start), text + e[i].start);
        assert_true(i == 0 || e[i - 1].end <= e[i].start);
    }
}

static void addresses_in_pieces_are_one(void **state) {
    (void)state;
    static const struct {
        const char *text, *found[8], *want;
    } list[] = {{"at 5 Elm Rd, Rome\n> Italy 00184.", {"location:5 Elm Rd", "location:Rome", "location:Italy", "location:00184"}, "location:5 Elm Rd, Rome\n> Italy 00184"},
                {"Paris, France", {"location:Paris", "location:France"}, "location:Paris|location:France"},
                {"5 Elm Rd and Rome", {"location:5 Elm Rd", "location:Rome"}, "location:5 Elm Rd|location:Rome"},
                {"5 Elm Rd. Rome", {"location:5 Elm Rd", "location:Rome"}, "location:5 Elm Rd|location:Rome"},
                {"Ann, 5 Elm Rd, Acme", {"person:Ann", "location:5 Elm Rd", "organization:Acme"}, "person:Ann|location:5 Elm Rd|organization:Acme"},
                {"5 Elm Rd               Rome", {"location:5 Elm Rd", "location:Rome"}, "location:5 Elm Rd|location:Rome"},
                {"", {NULL}, ""}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        ng_entity e[8];
        char got[256];
        size_t n = mark(e, list[i].text, list[i].found), left = ng_entities_join(e, n, list[i].text, "location");
        say(got, sizeof got, e, left, list[i].text);
        assert_string_equal(got, list[i].want);
        if (left < n) assert_true(e[0].score < 0.75f && !e[0].text); /* the least of the four */
    }
}

static void rules_stand_and_the_rest_stays(void **state) {
    (void)state;
    static const struct {
        const char *text, *found[8], *want;
    } list[] = {{"write to ann@x.org", {"person:ann"}, "email:ann@x.org"},
                {"Ann Lee ann@x.org", {"person:Ann Lee ann"}, "person:Ann Lee|email:ann@x.org"},
                {"5 Elm Rd, Rome, +39 06 6982 1234", {"location:5 Elm Rd, Rome, +39 06"}, "location:5 Elm Rd, Rome|phone:+39 06 6982 1234"},
                {"ann.lee@x.org Acme", {"person:ann", "person:lee", "organization:x.org Acme"}, "email:ann.lee@x.org|organization:Acme"},
                {"Ann, 10.0.0.1, 192.0.2.7 Rome", {"location:Ann, 10.0.0.1, 192.0.2.7 Rome"}, "location:Ann|ip:10.0.0.1|ip:192.0.2.7|location:Rome"},
                {"a@x.org Ann b@x.org", {"person:Ann"}, "email:a@x.org|person:Ann|email:b@x.org"},
                {"at 5 Elm Road, Rome, Ann", {"location:Elm Road, Rome", "person:Ann"}, "location:5 Elm Road, Rome|person:Ann"}, /* a street and a place */
                {"5 Elm Road, Rome, 7 Oak Road", {"location:Rome, 7 Oak"}, "location:5 Elm Road, Rome, 7 Oak Road"},
                {"Acme\n> 5 Elm Road, Rome", {"location:Acme\n> 5 Elm Road, Rome"}, "location:Acme|location:5 Elm Road, Rome"}, /* a name above it */
                {"Flat 2, 5 Elm Road", {"location:Flat 2, 5 Elm"}, "location:Flat 2, 5 Elm Road"},
                {"in New West-Town, Ann Lee", {"location:New", "location:West", "location:Town", "person:Ann", "person:Lee"}, "location:New West-Town|person:Ann|person:Lee"},
                {"6750 Koskikatu 25, Turku", {"person:Koskikatu", "location:Turku"}, "location:6750 Koskikatu 25, Turku"},
                {"5 Elm Rd and 9 Ash", {"location:5 Elm Rd and 9"}, "location:5 Elm Rd and 9"},
                {"a@x.org", {NULL}, "email:a@x.org"}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        ng_answer *a;
        ng_error err = {0};
        char got[256];
        assert_int_equal(ng_answer_new(&a), NG_OK);
        a->entities = ng_answer_alloc(a, 8 * sizeof *a->entities);
        a->n_entities = mark(a->entities, list[i].text, list[i].found);
        assert_int_equal(ng_entities_add_rules(a, NG_PII_ALL, list[i].text, strlen(list[i].text), &err), NG_OK);
        say(got, sizeof got, a->entities, a->n_entities, list[i].text);
        assert_string_equal(got, list[i].want);
        ng_answer_free(a);
    }
}

static void bytes_become_characters(void **state) {
    (void)state;
    const char *text = "Éva, 5 Elm Rd";
    ng_entity e[] = {{0, 4, "person", "Éva", 1}, {6, 14, "location", "5 Elm Rd", 1}};
    ng_entities_to_chars(e, 2, text, strlen(text));
    assert_true(e[0].start == 0 && e[0].end == 3 && e[1].start == 5 && e[1].end == 13);
}

static void every_allocation_fails_once(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_answer *a;
        ng_error err = {0};
        ng_status s = ng_answer_new(&a);
        if (!s) {
            s = ng_entities_add_rules(a, NG_PII_ALL, "ann@x.org, 10.0.0.1", 19, &err);
            if (!s) assert_true(a->n_entities == 2 && !strcmp(a->entities[1].text, "10.0.0.1"));
            ng_answer_free(a);
        }
        assert_true(s == NG_OK || s == NG_ENOMEM);
        if (s == NG_OK) fault_passed();
    }
    assert_true(fault_sweep_rounds() > 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_in_pieces_are_one),
        cmocka_unit_test(rules_stand_and_the_rest_stays),
        cmocka_unit_test(bytes_become_characters),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
