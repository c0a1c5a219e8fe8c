/* Tests of feedback: what is taken and refused, where it shows, that a database of schema version 1 is
 * brought up with its rows, and that audit hears it. */
#include "fake_tier.h"
#include "fault.h"
#include "test_home.h"

#include "grid/record_db.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define YAML                                                                                       \
    "embedded: false\nmodels: {m: {path: m.gguf}}\ncache: {exact: 0}\n"                            \
    "experts:\n  - {name: intent, task: classify, model: m, contract: {max_error: 0.02}}\n"        \
    "  - {name: ents, task: extract, model: m}\n"

static char path[64]; /* of the database */

static int make_home(void **state) {
    if (test_home_make(state)) return 1;
    snprintf(path, sizeof path, "%s", test_home_path("nanogrid.db"));
    return 0;
}

static int fresh(void **state) {
    fake_reset();
    *fake_get("intent") = (fake){.label = "greet", .confidence = 0.9};
    return test_home_clear(state);
}

static ng_grid *open_grid(void) {
    ng_grid *g;
    ng_error err = {0};
    if (ng_grid_open_text(&g, NULL, YAML, "/cfg/t.yaml", &fake_hooks, &err)) fail_msg("%s", err.text);
    return g;
}

static void ask(ng_grid *g, ng_task task, char id[33]) {
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_request_init(&r, task);
    ng_request_set_text(&r, "some text", 9);
    if (ng_grid_ask(g, &r, &a, &err)) fail_msg("%s", err.text);
    memcpy(id, a->decision_id, 33);
    ng_answer_free(a);
}

static bool give(ng_grid *g, ng_feedback f) {
    bool correct;
    ng_error err = {0};
    if (ng_grid_feedback(g, &f, &correct, &err)) fail_msg("%s", err.text);
    return correct;
}

static void refused(ng_grid *g, ng_feedback f, ng_status code, const char *says) {
    bool correct;
    ng_error err = {0};
    assert_int_equal(ng_grid_feedback(g, &f, &correct, &err), code);
    if (!strstr(err.text, says)) fail_msg("'%s' lacks '%s'", err.text, says);
}

static void query(const char *sql, char out[64]) {
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    const char *v = (const char *)sqlite3_column_text(st, 0);
    snprintf(out, 64, "%s", v ? v : "NULL");
    sqlite3_finalize(st);
    sqlite3_close(db);
}

static void is_stored_and_shown(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    char id[33], other[33], said[64];
    ask(g, NG_TASK_CLASSIFY, id);
    ask(g, NG_TASK_EXTRACT, other);
    assert_true(give(g, (ng_feedback){id, 1, NULL, NULL}));
    assert_false(give(g, (ng_feedback){id, -1, "bye", "it said goodbye"})); /* the last word counts */
    assert_true(give(g, (ng_feedback){other, 1, NULL, NULL}));
    query("SELECT count(*) || ' ' || group_concat(correct, '') FROM feedback ORDER BY decision_id", said);
    assert_string_equal(said, "2 01");
    query("SELECT expert || ' ' || answered || ' ' || label || ' ' || confidence FROM feedback WHERE label = 'bye'",
          said);
    assert_string_equal(said, "intent greet bye 0.9");
    ng_buf b = ng_buf_init(1 << 20);
    assert_int_equal(ng_grid_explain(g, id, true, &b, NULL), NG_OK);
    assert_non_null(strstr(b.data,
                           "\"feedback\": {\"correct\":false,\"label\":\"bye\",\"comment\":\"it said goodbye\""));
    ng_buf_reset(&b);
    assert_int_equal(ng_grid_explain(g, id, false, &b, NULL), NG_OK);
    assert_non_null(strstr(b.data, "feedback    wrong, should be bye: it said goodbye"));
    ng_buf_reset(&b);
    ng_json j = ng_json_init(&b);
    assert_int_equal(ng_grid_decisions(g, 5, &j, NULL), NG_OK);
    assert_non_null(strstr(b.data, "\"correct\":true"));
    ng_buf_clear(&b);
    ng_grid_stats s = ng_grid_get_stats(g);
    assert_true(s.feedback_correct == 2 && s.feedback_wrong == 1);
    ng_grid_close(g);
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    char id[33], entities[33], failed[64], said[64], much[2100];
    ng_request r;
    ng_answer *a;
    refused(g, (ng_feedback){"01M7Y5Z4540000007F39221YGX", 1, NULL, NULL}, NG_ENOTFOUND, "no decision '01M7Y5Z");
    ask(g, NG_TASK_CLASSIFY, id);
    ask(g, NG_TASK_EXTRACT, entities);
    fake_get("intent")->fails = NG_EIO;
    ng_request_init(&r, NG_TASK_CLASSIFY);
    ng_request_set_text(&r, "x", 1);
    assert_int_equal(ng_grid_ask(g, &r, &a, NULL), NG_EIO);
    assert_int_equal(ng_grid_flush(g, NULL), NG_OK);
    query("SELECT id FROM decisions WHERE error IS NOT NULL", failed);
    memset(much, 'x', sizeof much), much[2099] = 0;
    refused(g, (ng_feedback){NULL, 1, NULL, NULL}, NG_EINVALID, "decision_id is missing");
    refused(g, (ng_feedback){"", 1, NULL, NULL}, NG_EINVALID, "decision_id is missing");
    refused(g, (ng_feedback){much, 1, NULL, NULL}, NG_ENOTFOUND, "no decision 'xxx");
    refused(g, (ng_feedback){id, -1, NULL, NULL}, NG_EINVALID, "say `correct`");
    refused(g, (ng_feedback){id, -1, "", NULL}, NG_EINVALID, "label is empty");
    refused(g, (ng_feedback){id, -1, much, NULL}, NG_EINVALID, "label has 2099 bytes");
    refused(g, (ng_feedback){id, 1, NULL, much}, NG_EINVALID, "comment has 2099 bytes");
    refused(g, (ng_feedback){id, 1, NULL, "\xff"}, NG_EINVALID, "not valid UTF-8");
    refused(g, (ng_feedback){id, 1, "bye", NULL}, NG_EINVALID, "correct: true contradicts label 'bye'");
    refused(g, (ng_feedback){id, 0, "greet", NULL}, NG_EINVALID, "correct: false contradicts");
    refused(g, (ng_feedback){entities, -1, "x", NULL}, NG_EINVALID, "the answer to extract is no label");
    refused(g, (ng_feedback){failed, 1, NULL, NULL}, NG_EINVALID, "gave no answer");
    query("SELECT count(*) FROM feedback", said);
    assert_string_equal(said, "0");
    ng_grid_close(g);
}

static bool held(ng_grid *g, char *row, size_t cap) {
    bool ok;
    ng_buf b = ng_buf_init(1 << 20);
    assert_int_equal(ng_grid_audit(g, true, &b, &ok, NULL), NG_OK);
    const char *at = strstr(b.data, "\"source\": \"feedback\"");
    snprintf(row, cap, "%s", at ? at : b.data);
    ng_buf_clear(&b);
    return ok;
}

static void refutes_a_contract(void **state) {
    (void)state;
    ng_grid *g = open_grid();
    char id[33], row[400];
    for (int i = 0; i < 40; i++) {
        ask(g, NG_TASK_CLASSIFY, id);
        if (i < 2) give(g, (ng_feedback){id, i != 0, NULL, NULL});
    }
    assert_false(held(g, row, sizeof row)); /* no package, no evidence */
    assert_non_null(strstr(row, "\"n\": 2, \"wrong\": 1, \"risk\": 0.5"));
    assert_non_null(strstr(row, "\"coverage\": 1,"));
    assert_non_null(strstr(row, "the risk is 0.0253 at least, 0.02 was promised"));
    fake_get("intent")->confidence = 0.1; /* below the contract: not what it answers */
    ask(g, NG_TASK_CLASSIFY, id);
    give(g, (ng_feedback){id, 0, NULL, NULL});
    held(g, row, sizeof row);
    assert_non_null(strstr(row, "\"n\": 2, \"wrong\": 1"));
    assert_non_null(strstr(row, "\"coverage\": 0.97561"));
    ng_grid_close(g);
}

/* What versions 2 and 1 lack. */
#define BEFORE_3 "ALTER TABLE usage DROP COLUMN wasted_tokens; ALTER TABLE usage DROP COLUMN wasted_usd;"

static void bring_up(const char *undo) {
    char id[33], said[64];
    ng_grid *g = open_grid();
    ask(g, NG_TASK_CLASSIFY, id);
    ng_grid_close(g);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, undo, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    g = open_grid();
    give(g, (ng_feedback){id, 1, NULL, NULL});
    ask(g, NG_TASK_CLASSIFY, id);
    ng_grid_close(g);
    query("SELECT count(*) FROM decisions", said);
    assert_string_equal(said, "2");
    query("PRAGMA user_version", said);
    assert_string_equal(said, "3");
    query("SELECT sum(wasted_tokens) || ' ' || sum(requests) FROM usage", said);
    assert_string_equal(said, "0 2");
}

static void an_old_database_is_brought_up(void **state) {
    bring_up(BEFORE_3 "DROP TABLE feedback; PRAGMA user_version = 1");
    fresh(state);
    bring_up(BEFORE_3 "PRAGMA user_version = 2");
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    char id[33];
    ng_grid *g = open_grid();
    ask(g, NG_TASK_CLASSIFY, id);
    assert_int_equal(ng_grid_flush(g, NULL), NG_OK);
    FAULT_SWEEP(FAULT_ALLOC) {
        bool correct, ok;
        ng_error err = {0};
        ng_buf b = ng_buf_init(1 << 20);
        ng_feedback f = {id, 0, NULL, "no"};
        ng_status s = ng_grid_feedback(g, &f, &correct, &err);
        if (!s) s = ng_grid_audit(g, true, &b, &ok, &err);
        assert_true(s == NG_OK || (s == NG_ENOMEM && *err.text));
        ng_buf_clear(&b);
        if (!s) fault_passed();
    }
    ng_grid_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(is_stored_and_shown, fresh),
        cmocka_unit_test_setup(what_makes_no_sense_is_refused, fresh),
        cmocka_unit_test_setup(refutes_a_contract, fresh),
        cmocka_unit_test_setup(an_old_database_is_brought_up, fresh),
        cmocka_unit_test_setup(every_allocation_may_fail, fresh),
    };
    return cmocka_run_group_tests(tests, make_home, test_home_drop);
}
