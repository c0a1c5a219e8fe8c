/* record_db.h: the database of records: schema, one batch in one transaction, limits.
 *
 *     record_db db = {0};
 *     ng_record_db_open(&db, path, &err);
 *     ng_record_db_write(&db, batch, n, dropped, n_dropped, &err);      all of it or nothing
 *     ng_record_db_prune(&db, keep_ms, max_bytes, now_ms, &err);
 *     ng_record_db_close(&db);
 *
 * A database of an earlier schema is brought to this one when it is opened, keeping its rows.
 * One connection, one thread at a time.  NG_EBUSY: another process holds the lock, try again; other
 * errors mean that this file cannot be used. */
#ifndef NG_GRID_RECORD_DB_H
#define NG_GRID_RECORD_DB_H

#include "records.h"
#include <sqlite3.h>

enum { RECORD_DB_VERSION = 3, RECORD_DB_APP = 0x6e677264 /* "ngrd" */ };

typedef struct record_db {
    sqlite3 *db;
    sqlite3_stmt *insert, *usage;
    ng_buf json, features; /* reused from row to row */
} record_db;

/* What was answered but not recorded for want of room, by expert. */
typedef struct record_dropped {
    char expert[48];
    ng_tier_level tier;
    uint64_t n, prompt_tokens, completion_tokens;
} record_dropped;

ng_status ng_record_db_open(record_db *d, const char *path, ng_error *err) NG_MUST_USE;
void ng_record_db_close(record_db *d);
typedef struct record_batch {
    ng_record **records;
    size_t len;
    const record_dropped *dropped;
    size_t n_dropped;
    const ng_records_options *options; /* features */
} record_batch;
ng_status ng_record_db_write(record_db *d, const record_batch *b, ng_error *err) NG_MUST_USE;
ng_status ng_record_db_prune(record_db *d, int64_t keep_ms, uint64_t max_bytes, int64_t now_ms,
                             ng_error *err) NG_MUST_USE;

/* For readers: an open connection or the reason why not.  NG_ENOTFOUND: no database yet. */
ng_status ng_record_db_open_reader(sqlite3 **out, const char *path, ng_error *err) NG_MUST_USE;
ng_status ng_record_db_fail(sqlite3 *db, const char *path, ng_error *err);

#endif
