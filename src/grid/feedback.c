/* feedback.c: what people say about decisions, kept beside them.
 *
 * Feedback is written at once, in one transaction with the look at the decision that it judges: it
 * never enters the ring, so it is never sampled away, and a caller who is told `stored` has it on
 * disk.  One judgement a decision: the last word replaces the one before, so that a client that
 * repeats itself does not become evidence.  The row holds a copy of what audits and learning need of
 * the decision, and thus outlives it (records.keep). */
#include "grid_parts.h"

#include "core/clock.h"
#include "record_db.h"
#include <nanogrid/text.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_MAX = 256, COMMENT_MAX = 2000 };

static const char find_sql[] =
    "SELECT kind, task, error, json_extract(json, '$.label') FROM decisions WHERE id = ?1";
static const char store_sql[] =
    "INSERT OR REPLACE INTO feedback SELECT id, ?2, ?3, ?4, ?5, kind, task, expert, tier,"
    " json_extract(json, '$.label'), confidence, in_scope, escalated, tenant, features"
    " FROM decisions WHERE id = ?1";

static ng_status check_text(const char *name, const char *text, size_t max, ng_error *err) {
    size_t len = text ? strlen(text) : 0;
    if (len > max)
        return ng_fail(err, NG_EINVALID, "%s has %zu bytes, at most %zu are kept", name, len, max);
    size_t bad = text ? ng_utf8_invalid_at(text, len) : 0;
    if (bad < len) return ng_fail(err, NG_EINVALID, "%s is not valid UTF-8 at byte %zu", name, bad);
    return NG_OK;
}

static ng_status check(const ng_feedback *f, char id[33], ng_error *err) {
    size_t len = f->decision_id ? strlen(f->decision_id) : 0;
    if (len == 0) return ng_fail(err, NG_EINVALID, "decision_id is missing: what is judged");
    if (len > 32) return ng_fail(err, NG_ENOTFOUND, "there is no decision '%.60s'", f->decision_id);
    for (size_t i = 0; i <= len; i++) id[i] = (char)toupper((unsigned char)f->decision_id[i]);
    if (f->correct < 0 && !f->label)
        return ng_fail(err, NG_EINVALID, "say `correct` (true or false) or `label` (the right one)");
    if (f->label && !*f->label) return ng_fail(err, NG_EINVALID, "label is empty");
    ng_status s = check_text("label", f->label, LABEL_MAX, err);
    return s ? s : check_text("comment", f->comment, COMMENT_MAX, err);
}

/* Whether the decision on the current row was right by this feedback. */
static ng_status judge(sqlite3_stmt *st, const ng_feedback *f, bool *correct, ng_error *err) {
    const char *task = (const char *)sqlite3_column_text(st, 1),
               *label = (const char *)sqlite3_column_text(st, 3);
    if (sqlite3_column_type(st, 2) != SQLITE_NULL)
        return ng_fail(err, NG_EINVALID, "the decision '%s' failed; it gave no answer to judge",
                       f->decision_id);
    if (!strcmp((const char *)sqlite3_column_text(st, 0), "pipeline"))
        return ng_fail(err, NG_EINVALID, "'%s' is a pipeline; judge its steps, which `explain` names", f->decision_id);
    *correct = f->correct > 0;
    if (!f->label) return NG_OK;
    if (!task || (strcmp(task, "classify") && strcmp(task, "detect-language")))
        return ng_fail(err, NG_EINVALID, "label: the answer to %s is no label; send `correct`",
                       task ? task : "this task");
    *correct = label && !strcmp(label, f->label);
    if (f->correct >= 0 && *correct != (f->correct > 0))
        return ng_fail(err, NG_EINVALID,
                       "correct: %s contradicts label '%.100s': the answer was '%.100s'",
                       f->correct ? "true" : "false", f->label, label ? label : "(none)");
    return NG_OK;
}

static void bind_text(sqlite3_stmt *st, int i, const char *v) {
    if (v && *v) sqlite3_bind_text(st, i, v, -1, SQLITE_STATIC);
    else sqlite3_bind_null(st, i);
}

static ng_status find(ng_grid *g, sqlite3 *db, const char *id, const ng_feedback *f, bool *correct,
                      ng_error *err) {
    sqlite3_stmt *st = NULL;
    ng_status s;
    int code = sqlite3_prepare_v2(db, find_sql, -1, &st, NULL);
    if (code == SQLITE_OK) sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_step(st);
    if (code == SQLITE_ROW) s = judge(st, f, correct, err);
    else if (code == SQLITE_DONE)
        s = ng_fail(err, NG_ENOTFOUND,
                    "there is no decision '%.60s' (records.keep and records.max say how long they "
                    "stay)", f->decision_id);
    else s = ng_record_db_fail(db, g->records_path, err);
    sqlite3_finalize(st);
    return s;
}

static ng_status store(ng_grid *g, sqlite3 *db, const char *id, const ng_feedback *f, bool correct,
                       ng_error *err) {
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(db, store_sql, -1, &st, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 2, ng_clock_wall_ms());
        sqlite3_bind_int(st, 3, correct);
        bind_text(st, 4, f->label);
        bind_text(st, 5, f->comment);
        code = sqlite3_step(st);
    }
    ng_status s = code == SQLITE_DONE ? NG_OK : ng_record_db_fail(db, g->records_path, err);
    sqlite3_finalize(st);
    return s;
}

ng_status ng_grid_feedback(ng_grid *g, const ng_feedback *f, bool *correct, ng_error *err) {
    char id[33];
    sqlite3 *db;
    ng_error ignored = {0};
    ng_status s = check(f, id, err);
    if (s) return s;
    (void)!ng_grid_flush(g, &ignored); /* the decision may still wait in the ring */
    if ((s = ng_record_db_open_reader(&db, g->records_path, err))) return s;
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        s = ng_record_db_fail(db, g->records_path, err);
    if (!s) s = find(g, db, id, f, correct, err);
    if (!s) s = store(g, db, id, f, *correct, err);
    if (!s && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        s = ng_record_db_fail(db, g->records_path, err);
    sqlite3_close(db); /* rolls back what was not committed */
    if (!s) atomic_fetch_add(&g->stats.feedback[*correct], 1);
    if (!s && g->learner) ng_learner_heard(g);
    if (!s && g->gains) ng_outcomes_refresh(g);
    return s;
}
