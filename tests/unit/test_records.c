/* Tests of the records: what is kept and what never is, a full ring, limits, several processes, a
 * killed one, databases that cannot be used, every write of SQLite failing once. */
#include "fake_tier.h"
#include "fault.h"
#include "test_home.h"

#include "core/clock.h"
#include "grid/record_db.h"
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char path[64]; /* of the database */

static int make_home(void **state) {
    if (test_home_make(state)) return 1;
    snprintf(path, sizeof path, "%s", test_home_path("nanogrid.db"));
    return 0;
}

static int wipe(void **state) {
    fake_reset();
    return test_home_clear(state);
}

static ng_record *make_record(bool important, const char *text) {
    ng_record *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->time_ms = ng_clock_wall_ms();
    ng_decision_id(r->id, r->time_ms);
    r->task = NG_TASK_CLASSIFY;
    r->important = important;
    r->escalated = important;
    r->in_scope = true;
    r->confidence = r->threshold = NAN;
    r->pii = -1;
    r->prompt_tokens = 3;
    strcpy(r->expert, important ? "cloud" : "intent");
    r->text = strdup(text);
    r->text_len = strlen(text);
    return r;
}

static int64_t query(const char *sql) {
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 2000);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return v;
}

static ng_records *open_records(size_t ring_len, int64_t keep_ms, uint64_t max_bytes) {
    ng_records *r;
    ng_error err = {0};
    ng_records_options o = {
        .path = path, .keep_ms = keep_ms, .max_bytes = max_bytes, .ring_len = ring_len};
    if (ng_records_open(&r, &o, &err)) fail_msg("%s", err.text);
    return r;
}

static void ids_sort_by_time(void **state) {
    (void)state;
    char last[33] = "", id[33];
    for (int i = 0; i < 5000; i++) {
        ng_decision_id(id, 1700000000000 + i / 100);
        assert_int_equal(strlen(id), 26);
        assert_true(strcmp(id, last) > 0);
        memcpy(last, id, sizeof id);
    }
}

static void keeps_what_replays_and_not_what_was_said(void **state) {
    (void)state;
    ng_records *r = open_records(0, 86400000, 1 << 28);
    ng_record *a = make_record(false, "my secret words"), *b = make_record(false, "words to keep");
    b->keep_text = true;
    char id[33];
    memcpy(id, a->id, sizeof id);
    ng_records_push(r, a);
    ng_records_push(r, b);
    assert_int_equal(ng_records_flush(r, NULL), NG_OK);
    assert_int_equal(ng_records_get_stats(r).written, 2);
    ng_records_close(r);
    assert_int_equal(query("SELECT count(*) FROM decisions"), 2);
    assert_int_equal(query("SELECT count(*) FROM decisions WHERE text = 'words to keep'"), 1);
    assert_int_equal(query("SELECT count(*) FROM decisions WHERE text LIKE '%secret%' OR json LIKE "
                           "'%secret%' OR json LIKE '%words%'"),
                     0);
    assert_int_equal(query("SELECT count(DISTINCT text_hash) FROM decisions"), 2);
    assert_int_equal(query("PRAGMA user_version"), RECORD_DB_VERSION);
    assert_int_equal(query("SELECT requests FROM usage WHERE expert = 'intent'"), 2);
}

/* A lock held by "another process" makes the writer wait, so that the ring fills. */
static void a_full_ring_drops_only_plain_records(void **state) {
    (void)state;
    ng_records *r = open_records(16, 86400000, 1 << 28);
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    ng_records_push(r, make_record(false, "first"));
    usleep(60000); /* the writer has taken it and waits for the lock */
    for (int i = 0; i < 200; i++) ng_records_push(r, make_record(i % 20 == 7, "x"));
    ng_records_stats s = ng_records_get_stats(r);
    assert_true(s.sampled_out >= 200 - 16 && s.sampled_out <= 190 && s.lost == 0);
    char why[200];
    usleep(300000);
    assert_true(ng_records_warning(r, why, sizeof why) && strstr(why, "lock"));
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(ng_records_flush(r, NULL), NG_OK);
    assert_false(ng_records_warning(r, why, sizeof why)); /* it has passed */
    s = ng_records_get_stats(r);
    ng_records_close(r);
    assert_int_equal(query("SELECT count(*) FROM decisions WHERE expert = 'cloud'"), 10);
    assert_int_equal(query("SELECT sum(requests) FROM usage"), 201); /* counted, every one */
    assert_int_equal(query("SELECT sum(unrecorded) FROM usage"), (int64_t)s.sampled_out);
    assert_int_equal(query("SELECT sum(prompt_tokens) FROM usage"), 3 * 201);
    assert_int_equal(query("SELECT sum(escalated) FROM usage"), 10);
}

static void *push_many(void *arg) {
    for (int i = 0; i < 400; i++) ng_records_push(arg, make_record(true, "t"));
    return NULL;
}

static void important_records_wait_for_room(void **state) {
    (void)state;
    ng_records *r = open_records(8, 86400000, 1 << 28);
    pthread_t t[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&t[i], NULL, push_many, r), 0);
    for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
    ng_records_close(r);
    assert_int_equal(query("SELECT count(*) FROM decisions"), 1200);
}

static void limits_are_kept(void **state) {
    (void)state;
    ng_records *r = open_records(0, 3600000, 1 << 28);
    for (int i = 0; i < 20; i++) { /* half of them two hours old */
        ng_record *rec = make_record(true, "t");
        rec->time_ms -= i % 2 ? 7200000 : 0;
        ng_decision_id(rec->id, rec->time_ms);
        ng_records_push(r, rec);
    }
    assert_int_equal(ng_records_flush(r, NULL), NG_OK);
    ng_records_close(r); /* pruned after the first batch */
    assert_int_equal(query("SELECT count(*) FROM decisions"), 10);
    record_db db;
    ng_error err = {0};
    ng_records_options o = {0};
    assert_int_equal(ng_record_db_open(&db, path, &err), NG_OK);
    for (int round = 0; round < 12; round++) {
        ng_record *batch[200];
        record_batch b = {batch, 200, NULL, 0, &o};
        for (int i = 0; i < 200; i++) {
            batch[i] = make_record(true, "t");
            memset(batch[i]->reason, 'r', 255);
            memset(batch[i]->error_text, 'e', 255);
            batch[i]->error = NG_EIO;
        }
        assert_int_equal(ng_record_db_write(&db, &b, &err), NG_OK);
        for (int i = 0; i < 200; i++) ng_record_free(batch[i]);
        assert_int_equal(ng_record_db_prune(&db, 3600000, 1 << 20, ng_clock_wall_ms(), &err),
                         NG_OK);
    }
    ng_record_db_close(&db);
    assert_true(query("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size") <=
                1 << 20);
    assert_true(query("SELECT count(*) FROM decisions") > 100); /* the newest stay */
}

static void a_killed_process_leaves_a_good_database(void **state) {
    (void)state;
    ng_records_close(
        open_records(0, 86400000, 1 << 28)); /* a slow machine may kill before the first table */
    for (int round = 0; round < 5; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            ng_records *r = open_records(0, 86400000, 1 << 28);
            for (;;) ng_records_push(r, make_record(true, "t"));
        }
        usleep(150000 + round * 50000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(
            query("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
        assert_int_equal(query("SELECT (SELECT count(*) FROM decisions) = (SELECT "
                               "ifnull(sum(requests), 0) FROM usage)"),
                         1);
    }
    assert_true(query("SELECT count(*) FROM decisions") > 0);
}

/* ---- databases that cannot be used ----------------------------------------------------------- */

#define YAML                                                                                       \
    "embedded: false\nmodels: {m: {path: m.gguf}}\nexperts:\n  - {name: intent, task: classify, "  \
    "model: m}\n"

static ng_grid *open_grid(const char *yaml) {
    static const ng_grid_options options = {.open_upstream = fake_open_upstream};
    ng_grid *g;
    ng_error err = {0};
    *fake_get("intent") = (fake){.label = "greet", .confidence = 0.9};
    if (ng_grid_open_text(&g, &options, yaml, "/cfg/t.yaml", &fake_hooks, &err))
        fail_msg("%s", err.text);
    return g;
}

static ng_answer *ask(ng_grid *g, const char *text, ng_privacy privacy) {
    ng_request r;
    ng_answer *a;
    ng_error err = {0};
    ng_request_init(&r, NG_TASK_CLASSIFY);
    ng_request_set_text(&r, text, strlen(text));
    r.privacy = privacy;
    if (ng_grid_ask(g, &r, &a, &err)) fail_msg("%s", err.text);
    return a;
}

static void put_file(const char *text) {
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static void a_bad_database_never_fails_an_answer(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        wipe(NULL);
        sqlite3 *db;
        if (i == 0)
            put_file("this is no database, but it is long enough to look at: 0123456789 0123456789 "
                     "0123456789 0123456789");
        if (i == 1 || i == 2) {
            assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
            const char *sql = i == 1 ? "CREATE TABLE mine(x)"
                                     : "CREATE TABLE x(y); PRAGMA application_id = 1852273252; "
                                       "PRAGMA user_version = 99";
            assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
            sqlite3_close(db);
        }
        if (i == 3) assert_int_equal(mkdir(path, 0700), 0);
        ng_grid *g = open_grid(YAML);
        ng_answer *a = ask(g, "hello", NG_PRIVACY_ANY);
        assert_string_equal(a->label, "greet");
        assert_true(a->n_warnings == 1 &&
                    strstr(a->warnings[0], "decisions are not being recorded"));
        static const char *const says[] = {"not a database", "is not a database of nanogrid's",
                                           "schema version 99", "unable to open"};
        if (!strstr(a->warnings[0], says[i]))
            fail_msg("'%s' does not say '%s'", a->warnings[0], says[i]);
        ng_error err = {0};
        ng_buf b = ng_buf_init(1 << 16);
        assert_true(ng_grid_explain(g, a->decision_id, true, &b, &err) != NG_OK);
        ng_buf_clear(&b);
        ng_answer_free(a);
        ng_grid_close(g);
    }
}

static void explains_across_processes(void **state) {
    (void)state;
    ng_grid *g = open_grid(YAML);
    ng_answer *a = ask(g, "hello", NG_PRIVACY_ANY);
    char id[33], lower[33];
    memcpy(id, a->decision_id, sizeof id);
    ng_answer_free(a);
    ng_grid_close(g);
    g = open_grid(YAML);
    ng_buf b = ng_buf_init(1 << 16);
    ng_error err = {0};
    for (int i = 0; i < 33; i++)
        lower[i] = (char)(id[i] >= 'A' && id[i] <= 'Z' ? id[i] + 32 : id[i]);
    assert_int_equal(ng_grid_explain(g, lower, true, &b, &err), NG_OK);
    json_t *o = json_loads(b.data, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(o, "decision_id")), id);
    assert_string_equal(json_string_value(json_object_get(o, "label")), "greet");
    assert_true(json_number_value(json_object_get(o, "confidence")) == 0.9);
    assert_int_equal(json_array_size(json_object_get(o, "route")), 3);
    json_decref(o);
    ng_buf_reset(&b);
    assert_int_equal(ng_grid_explain(g, id, false, &b, &err), NG_OK);
    assert_non_null(strstr(b.data, "answered by intent (nano), task classify, confidence 0.900"));
    assert_non_null(strstr(b.data, "3. expert intent (nano): answered, confidence 0.900"));
    ng_buf_reset(&b);
    assert_int_equal(ng_grid_explain(g, "nonsense", false, &b, &err), NG_ENOTFOUND);
    ng_buf_reset(&b);
    ng_json j = ng_json_init(&b);
    assert_int_equal(ng_grid_decisions(g, 10, &j, &err), NG_OK);
    assert_non_null(strstr(b.data, id));
    ng_buf_reset(&b);
    assert_int_equal(ng_grid_usage(g, true, &b, &err), NG_OK);
    assert_non_null(strstr(b.data, "\"expert\": \"intent\", \"tier\": \"nano\", \"requests\": 1"));
    ng_buf_clear(&b);
    ng_grid_close(g);
}

static void text_is_kept_on_purpose_only(void **state) {
    (void)state;
    ng_grid *g = open_grid(YAML "records: {text: true}\npolicy: {privacy: {pii: local}}\n");
    fake_get("signal/pii")->entity = "email";
    ng_answer_free(ask(g, "keep me", NG_PRIVACY_ANY));
    ng_answer_free(ask(g, "not under local", NG_PRIVACY_LOCAL));
    ng_answer_free(ask(g, "nor with a@b.c in it", NG_PRIVACY_ANY));
    ng_grid_close(g);
    assert_int_equal(query("SELECT count(*) FROM decisions"), 3);
    assert_int_equal(query("SELECT count(*) FROM decisions WHERE text IS NOT NULL"), 1);
    assert_int_equal(query("SELECT count(*) FROM decisions WHERE text = 'keep me'"), 1);
}

/* ---- every write of SQLite fails once -------------------------------------------------------- */

static sqlite3_vfs shim;
static sqlite3_vfs *real;
static long writes_left = -1;
static int (*real_write)(sqlite3_file *, const void *, int, sqlite3_int64);
static int (*real_sync)(sqlite3_file *, int);
static sqlite3_io_methods methods;

static bool write_fails(void) {
    return writes_left >= 0 && writes_left-- == 0;
}
static int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at) {
    return write_fails() ? SQLITE_FULL : real_write(f, p, n, at);
}
static int shim_sync(sqlite3_file *f, int flags) {
    return write_fails() ? SQLITE_IOERR_FSYNC : real_sync(f, flags);
}

static int shim_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out) {
    (void)v;
    int code = real->xOpen(real, name, f, flags, out);
    if (code == SQLITE_OK && f->pMethods) {
        methods = *f->pMethods; /* one kind of file only: the unix VFS with its usual locks */
        real_write = methods.xWrite;
        real_sync = methods.xSync;
        methods.xWrite = shim_write;
        methods.xSync = shim_sync;
        f->pMethods = &methods;
    }
    return code;
}

static void every_write_may_fail(void **state) {
    (void)state;
    real = sqlite3_vfs_find(NULL);
    shim = *real;
    shim.zName = "faulty";
    shim.xOpen = shim_open;
    assert_int_equal(sqlite3_vfs_register(&shim, 1), SQLITE_OK);
    long n = 0;
    for (bool reached = true; reached; n++) {
        wipe(NULL);
        writes_left = n;
        ng_grid *g = open_grid(YAML);
        ng_answer *a =
            ask(g, "hello", NG_PRIVACY_ANY); /* the answer is given whatever the disk says */
        assert_string_equal(a->label, "greet");
        ng_answer_free(a);
        (void)!ng_grid_flush(g, NULL);
        reached = writes_left < 0;
        writes_left = -1;
        a = ask(g, "hello again", NG_PRIVACY_ANY);
        ng_answer_free(a);
        ng_grid_close(g);
        if (access(path, R_OK) == 0)
            assert_int_equal(
                query("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"),
                1);
    }
    sqlite3_vfs_unregister(&shim);
    assert_true(n > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ids_sort_by_time, wipe),
        cmocka_unit_test_setup(keeps_what_replays_and_not_what_was_said, wipe),
        cmocka_unit_test_setup(a_full_ring_drops_only_plain_records, wipe),
        cmocka_unit_test_setup(important_records_wait_for_room, wipe),
        cmocka_unit_test_setup(limits_are_kept, wipe),
        cmocka_unit_test_setup(a_killed_process_leaves_a_good_database, wipe),
        cmocka_unit_test_setup(a_bad_database_never_fails_an_answer, wipe),
        cmocka_unit_test_setup(explains_across_processes, wipe),
        cmocka_unit_test_setup(text_is_kept_on_purpose_only, wipe),
        cmocka_unit_test_setup(every_write_may_fail, wipe),
    };
    return cmocka_run_group_tests(tests, make_home, test_home_drop);
}
