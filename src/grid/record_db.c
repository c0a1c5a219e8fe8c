/* record_db.c: see record_db.h.
 *
 * The file carries an application_id and a user_version, so that a foreign database is refused and
 * a newer one is left alone.  auto_vacuum is INCREMENTAL because the size limit must be able to
 * give pages back; it can only be set before the first table.
 *
 * `feedback` holds one judgement a decision (feedback.c) with a copy of what was decided; it goes last
 * when room is short.  Version 1 lacked it; version 2 lacked the columns of waste in `usage`.
 *
 * `usage` holds sums a day and expert, folded in by the same transaction as the records, so that
 * what was sampled out or pruned still counts once and only once. */
#include "record_db.h"

#include "core/file.h"
#include "core/hash.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Of version 2.  IF NOT EXISTS: two processes may bring the same database up at once. */
#define FEEDBACK_TABLE                                                                             \
    "CREATE TABLE IF NOT EXISTS feedback(decision_id TEXT PRIMARY KEY, time_ms INTEGER NOT NULL,"  \
    " correct INTEGER NOT NULL, label TEXT, comment TEXT, kind TEXT NOT NULL, task TEXT NOT NULL," \
    " expert TEXT, tier TEXT NOT NULL, answered TEXT, confidence REAL, in_scope INTEGER NOT NULL," \
    " escalated INTEGER NOT NULL, tenant TEXT, features BLOB) WITHOUT ROWID;"

/* Of version 3. */
#define WASTE_COLUMNS                                                                              \
    "ALTER TABLE usage ADD COLUMN wasted_tokens INTEGER NOT NULL DEFAULT 0;"                       \
    "ALTER TABLE usage ADD COLUMN wasted_usd REAL NOT NULL DEFAULT 0;"

/* From version 1, from version 2. */
static const char *const upgrades[] = {
    "BEGIN IMMEDIATE;" FEEDBACK_TABLE WASTE_COLUMNS "PRAGMA user_version = 3; COMMIT;",
    "BEGIN IMMEDIATE;" WASTE_COLUMNS "PRAGMA user_version = 3; COMMIT;"};

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE decisions(id TEXT PRIMARY KEY, time_ms INTEGER NOT NULL, kind TEXT NOT NULL,"
    " task TEXT NOT NULL, expert TEXT, tier TEXT NOT NULL, in_scope INTEGER NOT NULL, confidence "
    "REAL,"
    " escalated INTEGER NOT NULL, cached INTEGER NOT NULL, error TEXT, latency_us REAL NOT NULL,"
    " tenant TEXT, text_hash INTEGER NOT NULL, features BLOB, text TEXT, json TEXT NOT NULL);"
    "CREATE TABLE usage(day INTEGER NOT NULL, expert TEXT NOT NULL, tier TEXT NOT NULL,"
    " requests INTEGER NOT NULL, unrecorded INTEGER NOT NULL, escalated INTEGER NOT NULL,"
    " abstained INTEGER NOT NULL, cached INTEGER NOT NULL, errors INTEGER NOT NULL,"
    " prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost_usd REAL NOT NULL,"
    " wasted_tokens INTEGER NOT NULL DEFAULT 0, wasted_usd REAL NOT NULL DEFAULT 0,"
    " PRIMARY KEY(day, expert, tier)) WITHOUT ROWID;" FEEDBACK_TABLE
    "PRAGMA application_id = 1852273252;" /* RECORD_DB_APP; a pragma takes no parameter */
    "PRAGMA user_version = 3;"
    "COMMIT;";

static const char insert_sql[] =
    "INSERT OR REPLACE INTO decisions "
    "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)";
static const char usage_sql[] =
    "INSERT INTO usage(day, expert, tier, requests, unrecorded, escalated, abstained, cached, errors, prompt_tokens,"
    " completion_tokens, cost_usd, wasted_tokens, wasted_usd) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)"
    " ON CONFLICT(day, expert, tier) DO UPDATE SET requests = requests + excluded.requests,"
    " unrecorded = unrecorded + excluded.unrecorded, escalated = escalated + excluded.escalated,"
    " abstained = abstained + excluded.abstained, cached = cached + excluded.cached,"
    " errors = errors + excluded.errors, prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
    " completion_tokens = completion_tokens + excluded.completion_tokens,"
    " cost_usd = cost_usd + excluded.cost_usd, wasted_tokens = wasted_tokens + excluded.wasted_tokens,"
    " wasted_usd = wasted_usd + excluded.wasted_usd";

ng_status ng_record_db_fail(sqlite3 *db, const char *path, ng_error *err) {
    int code = db ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;
    ng_status s = code == SQLITE_BUSY || code == SQLITE_LOCKED ? NG_EBUSY
                  : code == SQLITE_NOMEM                       ? NG_ENOMEM
                                                               : NG_EIO;
    return ng_fail(err, s, "%.200s: %s", path,
                   s == NG_EBUSY ? "another process holds the database's lock"
                   : db          ? sqlite3_errmsg(db)
                                 : "out of memory");
}

static ng_status run(record_db *d, const char *sql, ng_error *err) {
    if (sqlite3_exec(d->db, sql, NULL, NULL, NULL) == SQLITE_OK) return NG_OK;
    return ng_record_db_fail(d->db, sqlite3_db_filename(d->db, "main"), err);
}

static ng_status get_int(sqlite3 *db, const char *sql, int64_t *out, ng_error *err) {
    sqlite3_stmt *st = NULL;
    *out = 0;
    int code = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(st)) == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    ng_status s = code == SQLITE_ROW || code == SQLITE_DONE
                      ? NG_OK
                      : ng_record_db_fail(db, sqlite3_db_filename(db, "main"), err);
    sqlite3_finalize(st);
    return s;
}

/* NG_OK when the file is ours (or *fresh). */
static ng_status check_identity(sqlite3 *db, const char *path, bool *fresh, ng_error *err) {
    int64_t app, version, tables;
    ng_status s = get_int(db, "PRAGMA application_id", &app, err);
    if (!s) s = get_int(db, "PRAGMA user_version", &version, err);
    if (!s) s = get_int(db, "SELECT count(*) FROM sqlite_master", &tables, err);
    if (s) return s;
    *fresh = app == 0 && version == 0 && tables == 0;
    if (*fresh) return NG_OK;
    if (app != RECORD_DB_APP)
        return ng_fail(err, NG_EFORMAT, "%.200s is not a database of nanogrid's; move it away",
                       path);
    if (version == 1 || version == 2) {
        if (sqlite3_exec(db, upgrades[version - 1], NULL, NULL, NULL) == SQLITE_OK) return NG_OK;
        s = ng_record_db_fail(db, path, err);
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        /* Two processes at once: the other one has done it. */
        int64_t now;
        return get_int(db, "PRAGMA user_version", &now, NULL) == NG_OK && now == RECORD_DB_VERSION ? NG_OK : s;
    }
    if (version != RECORD_DB_VERSION)
        return ng_fail(err, NG_EFORMAT,
                       "%.200s has schema version %lld, this program writes %d; move it away or "
                       "use the newer program",
                       path, (long long)version, RECORD_DB_VERSION);
    return NG_OK;
}

static ng_status make_folder(const char *path, ng_error *err) {
    char dir[4096];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return NG_OK;
    snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
    return ng_dir_make(dir, err);
}

ng_status ng_record_db_open(record_db *d, const char *path, ng_error *err) {
    bool fresh = false;
    *d = (record_db){.json = ng_buf_init(1u << 20), .features = ng_buf_init(1u << 20)};
    ng_status s = make_folder(path, err);
    if (s) return s;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &d->db, flags, NULL) != SQLITE_OK)
        s = ng_record_db_fail(d->db, path, err);
    if (!s) sqlite3_busy_timeout(d->db, 200);
    if (!s) s = check_identity(d->db, path, &fresh, err);
    if (!s && fresh) s = run(d, "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL", err);
    if (!s && fresh && (s = run(d, schema, err)) != NG_OK) {
        /* Two first processes at once: the loser finds the schema made. */
        ng_error again = {0};
        sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
        if (check_identity(d->db, path, &fresh, &again) == NG_OK && !fresh) s = NG_OK;
        if (!s && err) *err = (ng_error){0};
    }
    if (!s)
        s = run(d,
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit "
                "= 4194304",
                err);
    if (!s &&
        (sqlite3_prepare_v3(d->db, insert_sql, -1, SQLITE_PREPARE_PERSISTENT, &d->insert, NULL) ||
         sqlite3_prepare_v3(d->db, usage_sql, -1, SQLITE_PREPARE_PERSISTENT, &d->usage, NULL)))
        s = ng_record_db_fail(d->db, path, err);
    if (s) ng_record_db_close(d);
    return s;
}

void ng_record_db_close(record_db *d) {
    sqlite3_finalize(d->insert);
    sqlite3_finalize(d->usage);
    sqlite3_close(d->db);
    ng_buf_clear(&d->json);
    ng_buf_clear(&d->features);
    d->db = NULL;
    d->insert = d->usage = NULL;
}

static void bind_text(sqlite3_stmt *st, int i, const char *v) {
    if (v && *v) sqlite3_bind_text(st, i, v, -1, SQLITE_STATIC);
    else sqlite3_bind_null(st, i);
}

static ng_status insert_record(record_db *d, ng_record *r, const ng_records_options *o,
                               ng_error *err) {
    sqlite3_stmt *st = d->insert;
    ng_buf_reset(&d->json);
    ng_buf_reset(&d->features);
    ng_json j = ng_json_init(&d->json);
    if (o->late_signals) o->late_signals(o->late_ctx, r);
    ng_record_json(&j, r);
    if (o->features) o->features(o->features_ctx, r, &d->features);
    if (d->json.status)
        return ng_fail(err, d->json.status, "records: %s", ng_status_text(d->json.status));
    sqlite3_bind_text(st, 1, r->id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, r->time_ms);
    sqlite3_bind_text(st, 3, ng_record_kind(r), -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 4, ng_task_name(r->task), -1, SQLITE_STATIC);
    bind_text(st, 5, r->expert);
    sqlite3_bind_text(st, 6, ng_tier_level_name(r->tier), -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 7, r->in_scope);
    if (isnan(r->confidence)) sqlite3_bind_null(st, 8);
    else sqlite3_bind_double(st, 8, r->confidence);
    sqlite3_bind_int(st, 9, r->escalated);
    sqlite3_bind_int(st, 10, r->cached);
    bind_text(st, 11, r->error ? ng_status_name(r->error) : NULL);
    sqlite3_bind_double(st, 12, r->latency_us);
    bind_text(st, 13, r->tenant);
    sqlite3_bind_int64(st, 14,
                       (int64_t)ng_hash64(r->text ? r->text : "", r->text ? r->text_len : 0, 0));
    if (d->features.len)
        sqlite3_bind_blob(st, 15, d->features.data, (int)d->features.len, SQLITE_STATIC);
    else sqlite3_bind_null(st, 15);
    if (r->keep_text && r->text)
        sqlite3_bind_text(st, 16, r->text, (int)r->text_len, SQLITE_STATIC);
    else sqlite3_bind_null(st, 16);
    sqlite3_bind_text(st, 17, d->json.data, (int)d->json.len, SQLITE_STATIC);
    int code = sqlite3_step(st);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return code == SQLITE_DONE ? NG_OK
                               : ng_record_db_fail(d->db, sqlite3_db_filename(d->db, "main"), err);
}

typedef struct usage_row {
    const char *expert;
    ng_tier_level tier;
    int64_t day, requests, unrecorded, escalated, abstained, cached, errors, prompt, completion;
    double cost_usd, wasted_usd;
    int64_t wasted_tokens;
} usage_row;

static ng_status add_usage(record_db *d, const usage_row *u, ng_error *err) {
    sqlite3_stmt *st = d->usage;
    const int64_t n[] = {u->requests, u->unrecorded, u->escalated, u->abstained,
                         u->cached,   u->errors,     u->prompt,    u->completion};
    sqlite3_bind_int64(st, 1, u->day);
    sqlite3_bind_text(st, 2, u->expert, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, ng_tier_level_name(u->tier), -1, SQLITE_STATIC);
    for (int i = 0; i < 8; i++) sqlite3_bind_int64(st, 4 + i, n[i]);
    sqlite3_bind_double(st, 12, u->cost_usd);
    sqlite3_bind_int64(st, 13, u->wasted_tokens);
    sqlite3_bind_double(st, 14, u->wasted_usd);
    int code = sqlite3_step(st);
    sqlite3_reset(st);
    return code == SQLITE_DONE ? NG_OK
                               : ng_record_db_fail(d->db, sqlite3_db_filename(d->db, "main"), err);
}

static ng_status write_rows(record_db *d, const record_batch *b, ng_error *err) {
    ng_status s = NG_OK;
    int64_t day = 0;
    for (size_t i = 0; !s && i < b->len; i++) {
        ng_record *r = b->records[i];
        day = r->time_ms / 86400000;
        s = insert_record(d, r, b->options, err);
        if (s || r->decision_only || r->whole_pipeline) continue; /* its steps count */
        usage_row u = {.expert = r->expert,
                       .tier = r->tier,
                       .day = day,
                       .requests = 1,
                       .escalated = r->escalated,
                       .abstained = !r->in_scope && !r->escalated && !r->error,
                       .cached = r->cached,
                       .errors = r->error != NG_OK,
                       .prompt = r->prompt_tokens,
                       .completion = r->completion_tokens,
                       .cost_usd = r->cost_usd,
                       .wasted_tokens = (int64_t)r->wasted.prompt_tokens + (int64_t)r->wasted.completion_tokens,
                       .wasted_usd = r->wasted.cost_usd};
        s = add_usage(d, &u, err);
    }
    for (size_t i = 0; !s && i < b->n_dropped; i++) {
        const record_dropped *x = &b->dropped[i];
        usage_row u = {.expert = x->expert,
                       .tier = x->tier,
                       .day = day,
                       .requests = (int64_t)x->n,
                       .unrecorded = (int64_t)x->n,
                       .prompt = (int64_t)x->prompt_tokens,
                       .completion = (int64_t)x->completion_tokens};
        s = add_usage(d, &u, err);
    }
    return s;
}

ng_status ng_record_db_write(record_db *d, const record_batch *b, ng_error *err) {
    ng_status s = run(d, "BEGIN IMMEDIATE", err);
    if (s) return s;
    s = write_rows(d, b, err);
    if (!s) s = run(d, "COMMIT", err);
    if (s) sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
    return s;
}

static ng_status delete_before(record_db *d, int64_t time_ms, ng_error *err) {
    /* Ids begin with their time, so the primary key finds the old ones without another index. */
    char id[33];
    char sql[96];
    ng_decision_id(id, time_ms < 0 ? 0 : time_ms);
    snprintf(sql, sizeof sql, "DELETE FROM decisions WHERE id < '%.10s'", id);
    return run(d, sql, err);
}

ng_status ng_record_db_prune(record_db *d, int64_t keep_ms, uint64_t max_bytes, int64_t now_ms,
                             ng_error *err) {
    int64_t pages, page_bytes;
    ng_status s = delete_before(d, now_ms - keep_ms, err);
    for (int round = 0; !s && round < 8; round++) {
        int64_t free_pages;
        s = get_int(d->db, "PRAGMA page_count", &pages, err);
        if (!s) s = get_int(d->db, "PRAGMA freelist_count", &free_pages, err);
        if (!s) s = get_int(d->db, "PRAGMA page_size", &page_bytes, err);
        if (s || (uint64_t)((pages - free_pages) * page_bytes) <= max_bytes) break;
        s = run(d,
                "DELETE FROM decisions WHERE id IN (SELECT id FROM decisions ORDER BY id LIMIT "
                "(SELECT count(*) / 4 + 1 FROM decisions));"
                "DELETE FROM feedback WHERE NOT EXISTS (SELECT 1 FROM decisions) AND decision_id IN "
                "(SELECT decision_id FROM feedback ORDER BY decision_id LIMIT "
                "(SELECT count(*) / 4 + 1 FROM feedback))",
                err);
    }
    if (!s) s = run(d, "PRAGMA incremental_vacuum", err);
    return s;
}

ng_status ng_record_db_open_reader(sqlite3 **out, const char *path, ng_error *err) {
    bool fresh = false;
    *out = NULL;
    if (!ng_file_exists(path))
        return ng_fail(err, NG_ENOTFOUND, "no decisions are recorded yet (%.200s)", path);
    ng_status s = NG_OK;
    if (sqlite3_open_v2(path, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        s = ng_record_db_fail(*out, path, err);
    if (!s) sqlite3_busy_timeout(*out, 2000);
    if (!s) s = check_identity(*out, path, &fresh, err);
    if (!s && fresh) s = ng_fail(err, NG_ENOTFOUND, "no decisions are recorded yet (%.200s)", path);
    if (s) {
        sqlite3_close(*out);
        *out = NULL;
    }
    return s;
}
