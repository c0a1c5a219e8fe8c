/* explain.c: reads decisions back: one in full, the newest, and what was used.
 *
 * A reader has its own connection, so it works while another process writes (WAL), and after it
 * ended. The record is kept as JSON; the text for people is drawn from that JSON, so the two cannot
 * differ. */
#include "grid_parts.h"

#include "record_db.h"
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- one decision ---------------------------------------------------------------------------- */

static const char *str(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "-";
}

static double num(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static void put_confidence(ng_buf *b, double c) {
    if (!isnan(c)) ng_buf_printf(b, ", confidence %.3f", c);
}

static void tell_scores(ng_buf *b, const char *what, const json_t *scores) {
    const char *label;
    json_t *p;
    int n = 0;
    if (!json_object_size(scores)) return;
    ng_buf_printf(b, "%s", what);
    json_object_foreach((json_t *)scores, label, p) if (n++ < 5)
        ng_buf_printf(b, "%s %s %.3f", n > 1 ? "," : "", label, json_number_value(p));
    ng_buf_putc(b, '\n');
}

static void tell_shape(ng_buf *b, const json_t *signals) {
    static const char *const kinds[] = {"code", "list", "table", "maths"};
    const json_t *s = json_object_get(signals, "structure"), *c = json_object_get(signals, "conversation"), *w;
    const char *name;
    if (s) {
        ng_buf_printf(b, "shape       complexity %.2f", num(signals, "complexity"));
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (json_is_true(json_object_get(s, kinds[i]))) ng_buf_printf(b, ", %s", kinds[i]);
        ng_buf_printf(b, ", %.0f numbers, turn %.0f%s (%.1f us)\n", num(s, "numbers"), num(c, "turns"),
                      json_is_true(json_object_get(c, "refers")) ? ", refers back" : "", num(signals, "shape_us"));
    }
    json_object_foreach(json_object_get(signals, "weighed"), name, w)
        ng_buf_printf(b, "weighed     %s at %.6f USD, %.0f in flight\n", name, num(w, "usd"), num(w, "in_flight"));
}

static void tell_signals(ng_buf *b, const json_t *o) {
    const json_t *s = json_object_get(o, "signals"), *pii = json_object_get(s, "pii");
    ng_buf_printf(b, "signals     %lld bytes",
                  (long long)json_integer_value(json_object_get(s, "bytes")));
    if (pii) ng_buf_printf(b, ", %s", json_is_true(pii) ? "personal data" : "no personal data");
    if (json_object_get(s, "pii_us")) ng_buf_printf(b, " (%.1f us)", num(s, "pii_us"));
    if (json_object_get(s, "language"))
        ng_buf_printf(b, ", language %s (%.1f us)", str(s, "language"), num(s, "language_us"));
    ng_buf_putc(b, '\n');
    tell_shape(b, s);
    tell_scores(b, "tasks      ", json_object_get(json_object_get(s, "tasks"), "scores"));
    tell_scores(b, "experts    ", json_object_get(json_object_get(s, "experts"), "scores"));
    if (json_object_get(s, "claims")) ng_buf_puts(b, "            these are second claims: the linear ones left it open, and the encoder was asked\n");
}

static void tell_route(ng_buf *b, const json_t *o) {
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(o, "route"), i, s) {
        ng_buf_printf(b, "%s %zu. %s", i ? "           " : "route      ", i + 1, str(s, "step"));
        if (json_object_get(s, "expert"))
            ng_buf_printf(b, " %s (%s)", str(s, "expert"), str(s, "tier"));
        ng_buf_printf(b, ": %s", str(s, "outcome"));
        put_confidence(b, num(s, "confidence"));
        ng_buf_printf(b, ", %.1f us", num(s, "latency_us"));
        if (json_object_get(s, "decision_id")) ng_buf_printf(b, ", %s", str(s, "decision_id"));
        ng_buf_putc(b, '\n');
    }
}

static void tell_time(ng_buf *b, double ms) {
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    char text[40];
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&t, &tm));
    ng_buf_printf(b, "when        %s\n", text);
}

/* The steps are decisions of their own, to be explained by their ids. */
static void tell_pipeline(ng_buf *b, const json_t *o, const char *name) {
    const json_t *tokens = json_object_get(o, "tokens");
    ng_buf_printf(b, "pipeline    %s\n", name);
    tell_route(b, o);
    ng_buf_printf(b, "cost        %.6f USD, %.0f + %.0f tokens\n", num(o, "cost_usd"), num(tokens, "prompt"),
                  num(tokens, "completion"));
    ng_buf_printf(b, "time        %.3f ms in all", num(o, "latency_us") / 1e3);
}

static void tell(ng_buf *b, const json_t *o) {
    const json_t *error = json_object_get(o, "error"), *tokens = json_object_get(o, "tokens");
    size_t i;
    json_t *w;
    ng_buf_printf(b, "decision    %s (%s)\n", str(o, "decision_id"), str(o, "kind"));
    tell_time(b, num(o, "time_ms"));
    if (error) ng_buf_printf(b, "failed      %s\n", str(error, "message"));
    const json_t *pipeline = json_object_get(o, "pipeline");
    if (pipeline && json_object_get(pipeline, "step"))
        ng_buf_printf(b, "pipeline    %s, step %s of %s\n", str(pipeline, "name"), str(pipeline, "step"),
                      str(pipeline, "decision_id"));
    else if (pipeline) return tell_pipeline(b, o, str(pipeline, "name"));
    ng_buf_printf(b, "answered by %s (%s), task %s", str(o, "expert"), str(o, "tier"),
                  str(o, "task"));
    if (json_object_get(o, "adapter")) ng_buf_printf(b, ", with the adapter %s", str(o, "adapter"));
    put_confidence(b, num(o, "confidence"));
    if (!isnan(num(o, "threshold")))
        ng_buf_printf(b, ", contract asks for %.3f", num(o, "threshold"));
    ng_buf_printf(b, "%s%s%s\n",
                  json_is_true(json_object_get(o, "in_scope")) ? "" : ", out of scope",
                  json_is_true(json_object_get(o, "escalated")) ? ", escalated" : "",
                  json_is_true(json_object_get(o, "cached")) ? ", from the cache" : "");
    ng_buf_printf(b, "because     %s\n", str(o, "reason"));
    if (num(o, "router_version") > 0)
        ng_buf_printf(b, "router      with what it has learnt, version %.0f\n", num(o, "router_version"));
    if (json_is_true(json_object_get(o, "drifting")))
        ng_buf_puts(b, "drift       the texts of late had left the calibration set\n");
    ng_buf_printf(b, "privacy     %s\n", str(o, "privacy"));
    if (json_is_true(json_object_get(json_object_get(o, "asked"), "cleaned")))
        ng_buf_puts(b, "cleaned     it was read without invisible letters, look-alikes and padding\n");
    tell_signals(b, o);
    tell_route(b, o);
    if (json_object_get(o, "label")) ng_buf_printf(b, "label       %s\n", str(o, "label"));
    tell_scores(b, "scores     ", json_object_get(o, "scores"));
    json_array_foreach(json_object_get(o, "warnings"), i, w)
        ng_buf_printf(b, "warning     %s\n", json_string_value(w));
    const json_t *f = json_object_get(o, "feedback");
    if (f)
        ng_buf_printf(b, "feedback    %s%s%s%s%s\n",
                      json_is_true(json_object_get(f, "correct")) ? "right" : "wrong",
                      json_is_string(json_object_get(f, "label")) ? ", should be " : "",
                      json_is_string(json_object_get(f, "label")) ? str(f, "label") : "",
                      json_is_string(json_object_get(f, "comment")) ? ": " : "",
                      json_is_string(json_object_get(f, "comment")) ? str(f, "comment") : "");
    ng_buf_printf(b, "cost        %.6f USD, %.0f + %.0f tokens\n", num(o, "cost_usd"),
                  num(tokens, "prompt"), num(tokens, "completion"));
    ng_buf_printf(b, "time        %.3f ms in all, %.1f us of it the grid's own, %.1f ms loading",
                  num(o, "latency_us") / 1e3, num(o, "overhead_us"), num(o, "load_ms"));
}

static ng_status open_reader(ng_grid *g, sqlite3 **db, ng_error *err) {
    ng_error ignored = {
        0}; /* what cannot be written cannot be read either; the reader will say why */
    (void)!ng_grid_flush(g, &ignored);
    return ng_record_db_open_reader(db, g->records_path, err);
}

/* A decision with the feedback about it, NULL where there is none. */
#define SELECT_DECISIONS                                                                           \
    "SELECT d.json, CASE WHEN f.correct IS NULL THEN NULL ELSE json_object('correct',"             \
    " json(iif(f.correct, 'true', 'false')), 'label', f.label, 'comment', f.comment, 'time_ms',"   \
    " f.time_ms) END FROM decisions d LEFT JOIN feedback f ON f.decision_id = d.id "

/* The record on the current row with its feedback as a last member. */
static const char *with_feedback(ng_buf *b, sqlite3_stmt *st) {
    const char *json = (const char *)sqlite3_column_text(st, 0),
               *feedback = (const char *)sqlite3_column_text(st, 1);
    size_t len = json ? strlen(json) : 0;
    ng_buf_reset(b);
    if (!feedback || !len) ng_buf_puts(b, json ? json : "");
    else ng_buf_printf(b, "%.*s, \"feedback\": %s}", (int)(len - 1), json, feedback);
    return b->data;
}

static ng_status put_record(const char *json, bool as_json, ng_buf *out, ng_error *err) {
    if (as_json)
        return ng_buf_puts(out, json)
                   ? ng_fail(err, out->status, "explain: %s", ng_status_text(out->status))
                   : NG_OK;
    json_error_t e;
    json_t *o = json_loads(json, 0, &e);
    if (!o) return ng_fail(err, NG_EFORMAT, "the record is damaged: %s", e.text);
    tell(out, o);
    json_decref(o);
    return out->status ? ng_fail(err, out->status, "explain: %s", ng_status_text(out->status))
                       : NG_OK;
}

ng_status ng_grid_explain(ng_grid *g, const char *decision_id, bool json, ng_buf *out,
                          ng_error *err) {
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    char id[33];
    size_t len = strlen(decision_id);
    if (len > 32) return ng_fail(err, NG_ENOTFOUND, "there is no decision '%.60s'", decision_id);
    for (size_t i = 0; i <= len; i++) id[i] = (char)toupper((unsigned char)decision_id[i]);
    ng_status s = open_reader(g, &db, err);
    if (s) return s;
    ng_buf row = ng_buf_init(1u << 20);
    int code = sqlite3_prepare_v2(db, SELECT_DECISIONS "WHERE d.id = ?1", -1, &st, NULL);
    if (code == SQLITE_OK) sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    if (code == SQLITE_OK && (code = sqlite3_step(st)) == SQLITE_ROW)
        s = put_record(with_feedback(&row, st), json, out, err);
    else if (code == SQLITE_DONE)
        s = ng_fail(err, NG_ENOTFOUND,
                    "there is no decision '%.60s' in %.200s (records.keep and records.max say how "
                    "long they stay)",
                    decision_id, g->records_path);
    else s = ng_record_db_fail(db, g->records_path, err);
    ng_buf_clear(&row);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return s;
}

/* ---- many ------------------------------------------------------------------------------------ */

ng_status ng_grid_decisions(ng_grid *g, size_t n, ng_json *j, ng_error *err) {
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    ng_status s = open_reader(g, &db, err);
    ng_json_array(j);
    if (s == NG_ENOTFOUND) { /* none yet is an answer, not a failure */
        ng_json_end(j);
        if (err) *err = (ng_error){0};
        return NG_OK;
    }
    if (s) return s;
    ng_buf row = ng_buf_init(1u << 20);
    int code =
        sqlite3_prepare_v2(db, SELECT_DECISIONS "ORDER BY d.id DESC LIMIT ?1", -1, &st, NULL);
    if (code == SQLITE_OK) sqlite3_bind_int64(st, 1, (int64_t)n);
    while (code == SQLITE_OK || code == SQLITE_ROW)
        if ((code = sqlite3_step(st)) == SQLITE_ROW)
            ng_json_raw(j, with_feedback(&row, st));
    if (code != SQLITE_DONE) s = ng_record_db_fail(db, g->records_path, err);
    ng_buf_clear(&row);
    ng_json_end(j);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return s;
}

static const char usage_sql[] =
    "SELECT expert, tier, sum(requests), sum(unrecorded), sum(escalated), sum(abstained), "
    "sum(cached), sum(errors),"
    " sum(prompt_tokens), sum(completion_tokens), sum(wasted_tokens), sum(cost_usd), sum(wasted_usd) FROM usage"
    " GROUP BY expert, tier ORDER BY sum(requests) DESC, expert";

static const char *const usage_names[] = {"requests",      "unrecorded",       "escalated",
                                          "abstained",     "cached",           "errors",
                                          "prompt_tokens", "completion_tokens", "wasted_tokens"};
enum { N_USAGE = 9 };

typedef struct usage_sum {
    int64_t n[N_USAGE];
    double cost_usd, wasted_usd;
} usage_sum;

static void usage_row_json(ng_json *j, const usage_sum *u) {
    for (int i = 0; i < N_USAGE; i++) ng_json_key(j, usage_names[i]), ng_json_int(j, u->n[i]);
    ng_json_key(j, "cost_usd"), ng_json_fixed(j, u->cost_usd, 9);
    ng_json_key(j, "wasted_usd"), ng_json_fixed(j, u->wasted_usd, 9);
}

static void usage_row_text(ng_buf *b, const char *name, const char *tier, const usage_sum *u) {
    ng_buf_printf(b, "%-16s %-7s %9lld %9lld %9lld %8lld %8lld %10lld %10lld %10lld %11.6f\n", name, tier,
                  (long long)u->n[0], (long long)u->n[2], (long long)u->n[3], (long long)u->n[4],
                  (long long)u->n[5], (long long)u->n[6], (long long)u->n[7], (long long)u->n[8], u->cost_usd);
}

static ng_status usage_rows(sqlite3_stmt *st, int *code, ng_json *j, ng_buf *text,
                            usage_sum *total) {
    while ((*code = sqlite3_step(st)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(st, 0),
                   *tier = (const char *)sqlite3_column_text(st, 1);
        usage_sum u;
        for (int i = 0; i < N_USAGE; i++) total->n[i] += u.n[i] = sqlite3_column_int64(st, 2 + i);
        total->cost_usd += u.cost_usd = sqlite3_column_double(st, 11);
        total->wasted_usd += u.wasted_usd = sqlite3_column_double(st, 12);
        if (!name || !tier) return NG_ENOMEM;
        if (text) usage_row_text(text, *name ? name : "(nobody)", tier, &u);
        if (!j) continue;
        ng_json_object(j);
        ng_json_key(j, "expert"), ng_json_str(j, *name ? name : NULL);
        ng_json_key(j, "tier"), ng_json_str(j, tier);
        usage_row_json(j, &u);
        ng_json_end(j);
    }
    return NG_OK;
}

ng_status ng_grid_usage(ng_grid *g, bool json, ng_buf *out, ng_error *err) {
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    usage_sum total = {{0}, 0, 0};
    ng_json j = ng_json_init(out);
    int code = SQLITE_DONE;
    ng_status s = open_reader(g, &db, err);
    if (s && s != NG_ENOTFOUND) return s;
    if (json) ng_json_object(&j), ng_json_key(&j, "experts"), ng_json_array(&j);
    else
        ng_buf_printf(out, "%-16s %-7s %9s %9s %9s %8s %8s %10s %10s %10s %11s\n", "expert", "tier",
                      "requests", "escalated", "abstained", "cached", "errors", "prompt tok",
                      "answer tok", "wasted tok", "cost USD");
    if (!s) {
        code = sqlite3_prepare_v2(db, usage_sql, -1, &st, NULL);
        if (code == SQLITE_OK)
            s = usage_rows(st, &code, json ? &j : NULL, json ? NULL : out, &total);
        if (!s && code != SQLITE_DONE) s = ng_record_db_fail(db, g->records_path, err);
        sqlite3_finalize(st);
        sqlite3_close(db);
        if (s) return ng_fail(err, s, "usage: %s", ng_status_text(s));
    }
    if (json) ng_json_end(&j), usage_row_json(&j, &total), ng_json_end(&j);
    else usage_row_text(out, "all", "", &total);
    if (!json && out->len && out->data[out->len - 1] == '\n') out->data[--out->len] = 0;
    if (err) *err = (ng_error){0};
    return out->status ? ng_fail(err, out->status, "usage: %s", ng_status_text(out->status))
                       : NG_OK;
}
