/* audit.c: are the contracts held?  Risk and coverage, recomputed from what is labelled.
 *
 * Evidence of an expert: the scores of its package (calibration, on which the contract's threshold was
 * fitted, and test, on which nothing was) and the feedback about answers it gave.  An answer counts
 * where the expert would give it now: in scope and at or above the contract's threshold.
 *
 * The judge is `test`, or `calibration` in a package that carries no test scores: at least 300 answers
 * whose 95 % upper bound is within the promise.  Feedback is no random sample (people report what is
 * wrong), so it joins the judges when it is as many, or when it refutes the promise outright: its lower
 * bound above it, however few.  A contract without a judge that holds is not held. */
#include "audit_cascade.h"
#include "grid_parts.h"

#include "gguf/gguf.h"
#include "record_db.h"
#include "route/scores.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ENOUGH = 300 };

typedef struct audit {
    ng_grid *g;
    ng_json *j;   /* NULL: text */
    ng_buf *text; /* NULL: JSON */
    sqlite3 *db;  /* NULL: nothing is recorded */
    bool held;
    ng_error *err;
} audit;

typedef struct audit_row {
    const grid_member *m;
    const char *source; /* NULL: none */
    ng_risk risk;
    double oos_answered; /* share of the package's out-of-scope texts answered; NaN: not known */
    bool judged, holds;
    char why[NG_ERROR_TEXT_MAX]; /* when judged and not held */
} audit_row;

static void row_json(ng_json *j, const audit_row *r) {
    const ng_risk *k = &r->risk;
    ng_json_object(j);
    ng_json_key(j, "route"), ng_json_str(j, r->m->name);
    ng_json_key(j, "task"), ng_json_str(j, ng_task_name(r->m->task));
    ng_json_key(j, "source"), ng_json_str(j, r->source);
    ng_json_key(j, "n"), ng_json_uint(j, k->n);
    ng_json_key(j, "wrong"), ng_json_uint(j, k->wrong);
    ng_json_key(j, "risk"), ng_json_fixed(j, k->risk, 6);
    ng_json_key(j, "upper95"), ng_json_fixed(j, k->upper95, 6);
    ng_json_key(j, "coverage"), ng_json_fixed(j, k->coverage, 6);
    ng_json_key(j, "max_error"), ng_json_num(j, r->m->max_error);
    ng_json_key(j, "threshold"), ng_json_num(j, r->m->threshold);
    if (!isnan(r->oos_answered))
        ng_json_key(j, "oos_answered"), ng_json_fixed(j, r->oos_answered, 6);
    ng_json_key(j, "judged"), ng_json_bool(j, r->judged);
    ng_json_key(j, "holds");
    if (r->judged) ng_json_bool(j, r->holds);
    else ng_json_null(j);
    ng_json_key(j, "why"), ng_json_str(j, *r->why ? r->why : NULL);
    ng_json_end(j);
}

static void cell(ng_buf *b, int width, const char *fmt, double v) {
    char text[32];
    if (isnan(v)) snprintf(text, sizeof text, "-");
    else snprintf(text, sizeof text, fmt, v);
    ng_buf_printf(b, " %*s", width, text);
}

static void row_text(ng_buf *b, const audit_row *r) {
    const ng_risk *k = &r->risk;
    ng_buf_printf(b, "%-16s %-12s %7zu", r->m->name, r->source ? r->source : "-", k->n);
    cell(b, 8, "%.4f", k->risk), cell(b, 8, "%.4f", k->upper95), cell(b, 9, "%.4f", k->coverage);
    cell(b, 9, "%.4g", r->m->max_error), cell(b, 9, "%.4f", r->m->threshold);
    if (r->judged) ng_buf_printf(b, "  %s", r->holds ? "holds" : r->why);
    ng_buf_putc(b, '\n');
}

static void put_row(audit *a, audit_row *r) {
    const ng_risk *k = &r->risk;
    double promise = r->m->max_error;
    if (r->judged && !*r->why) {
        r->holds = k->n >= ENOUGH && k->upper95 <= promise;
        if (k->n < ENOUGH)
            snprintf(r->why, sizeof r->why, "BROKEN: %zu answers are too few to judge, %d are needed",
                     k->n, ENOUGH);
        else if (!r->holds)
            snprintf(r->why, sizeof r->why, "BROKEN: the risk may be %.4f, %.4g was promised",
                     k->upper95, promise);
    }
    a->held &= !r->judged || r->holds;
    if (a->j) row_json(a->j, r);
    else row_text(a->text, r);
}

/* Below this confidence an expert calls a text out of scope. */
static double scope_threshold(const char *model_path) {
    ng_gguf *g;
    float t = 0;
    if (!model_path || ng_gguf_open(&g, model_path, NULL)) return 0;
    if (ng_gguf_get_f32_or(g, "nanogrid.linear.oos_threshold", 0, &t, NULL)) t = 0;
    ng_gguf_close(g);
    return (double)t;
}

typedef struct audited_set {
    const char *name;
    bool judges; /* unless there is no contract */
    bool found;  /* out */
} audited_set;

static ng_status audit_set(audit *a, const grid_member *m, double threshold, audited_set *set) {
    ng_scores scores, oos;
    ng_error why = {0};
    ng_status s = ng_scores_read(&scores, m->scores_path, set->name, &why);
    set->found = s == NG_OK;
    if (s == NG_ENOTFOUND) return NG_OK;
    if (s) return ng_fail(a->err, s, "%s", why.text);
    audit_row r = {.m = m, .source = set->name, .oos_answered = NAN};
    r.risk = ng_risk_at(&scores, threshold);
    r.judged = !isnan(m->max_error) && set->judges;
    if (r.judged && m->contract_why) snprintf(r.why, sizeof r.why, "BROKEN: %s", m->contract_why);
    if (ng_scores_read(&oos, m->scores_path, "test_oos", NULL) == NG_OK) {
        r.oos_answered = ng_risk_at(&oos, threshold).coverage;
        ng_scores_clear(&oos);
    }
    put_row(a, &r);
    ng_scores_clear(&scores);
    return NG_OK;
}

/* Feedback about answers of m that it would give now; coverage is that of the recorded traffic. */
static const char feedback_sql[] =
    "SELECT count(*), sum(1 - correct) FROM feedback WHERE expert = ?1 AND kind = 'answer'"
    " AND in_scope AND NOT escalated AND (?2 <= 0 OR confidence >= ?2)";
static const char traffic_sql[] =
    "SELECT count(*), sum(s.value ->> 'outcome' <> 'abstained' AND"
    " (?2 <= 0 OR coalesce(s.value ->> 'confidence', 0) >= ?2)) FROM decisions d,"
    " json_each(d.json, '$.route') s WHERE d.kind = 'answer' AND s.value ->> 'step' = 'expert'"
    " AND s.value ->> 'expert' = ?1 AND s.value ->> 'latency_us' > 0";

static ng_status count_two(audit *a, const char *sql, const grid_member *m, double threshold,
                           size_t out[2]) {
    sqlite3_stmt *st = NULL;
    out[0] = out[1] = 0;
    int code = sqlite3_prepare_v2(a->db, sql, -1, &st, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(st, 1, m->name, -1, SQLITE_STATIC);
        sqlite3_bind_double(st, 2, threshold);
        code = sqlite3_step(st);
    }
    for (int i = 0; code == SQLITE_ROW && i < 2; i++) out[i] = (size_t)sqlite3_column_int64(st, i);
    ng_status s =
        code == SQLITE_ROW ? NG_OK : ng_record_db_fail(a->db, a->g->records_path, a->err);
    sqlite3_finalize(st);
    return s;
}

static ng_status audit_feedback(audit *a, const grid_member *m, double threshold) {
    size_t said[2], traffic[2];
    if (!a->db || isinf(threshold)) return NG_OK;
    ng_status s = count_two(a, feedback_sql, m, threshold, said);
    if (s || !said[0]) return s;
    if ((s = count_two(a, traffic_sql, m, threshold, traffic))) return s;
    audit_row r = {.m = m, .source = "feedback", .oos_answered = NAN};
    r.risk = ng_risk_of(said[0], said[0], said[1]);
    r.risk.coverage = traffic[0] ? (double)traffic[1] / (double)traffic[0] : NAN;
    bool refutes = r.risk.lower95 > m->max_error;
    r.judged = !isnan(m->max_error) && (r.risk.n >= ENOUGH || refutes);
    if (refutes)
        snprintf(r.why, sizeof r.why, "BROKEN: the risk is %.4f at least, %.4g was promised",
                 r.risk.lower95, m->max_error);
    put_row(a, &r);
    return NG_OK;
}

static ng_status audit_expert(audit *a, const grid_member *m) {
    double scope = scope_threshold(m->model_path);
    double t = !isnan(m->threshold) && m->threshold > scope ? m->threshold : scope;
    audited_set test = {"test", true, false}, calibration = {"calibration", false, false};
    ng_status s = m->model_path ? audit_set(a, m, t, &test) : NG_OK;
    calibration.judges = !test.found;
    if (!s && m->model_path) s = audit_set(a, m, t, &calibration);
    if (!s) s = audit_feedback(a, m, t);
    if (s || isnan(m->max_error) || test.found || calibration.found) return s;
    audit_row none = {.m = m, .risk = ng_risk_of(0, 0, 0), .oos_answered = NAN, .judged = true};
    snprintf(none.why, sizeof none.why, "BROKEN: %.400s",
             m->contract_why ? m->contract_why
             : m->why        ? m->why
                             : "the package carries no labelled scores; `nanogrid eval RECIPE --card` writes them");
    put_row(a, &none);
    return NG_OK;
}

static const char *verdict(const audit *a, bool cascades) {
    return !a->held   ? "a contract is broken"
           : cascades ? "every contract holds"
                      : "every contract holds; a cascade is refused";
}

ng_status ng_grid_audit(ng_grid *g, bool json, ng_buf *out, bool *held, ng_error *err) {
    ng_json j = ng_json_init(out), rows;
    ng_buf list = ng_buf_init((size_t)16 << 20), cascades = ng_buf_init(1u << 20);
    ng_json cascade_rows = ng_json_init(&cascades);
    bool worth = true;
    audit a = {.g = g, .held = true, .err = err};
    ng_error none = {0};
    ng_status s = ng_record_db_open_reader(&a.db, g->records_path, &none);
    if (s && s != NG_ENOTFOUND) return ng_fail(err, s, "%s", none.text);
    if (json) rows = ng_json_init(&list), a.j = &rows, ng_json_array(&rows);
    else {
        a.text = &list;
        ng_buf_printf(&list, "%-16s %-12s %7s %8s %8s %9s %9s %9s\n", "route", "source", "n", "risk",
                      "upper95", "coverage", "max_error", "threshold");
    }
    s = NG_OK;
    for (size_t i = 0; !s && i < g->n_experts; i++) s = audit_expert(&a, &g->members[i]);
    if (json) ng_json_array(&cascade_rows);
    if (!s) s = ng_audit_cascades(g, json ? NULL : &list, json ? &cascade_rows : NULL, &worth, err);
    if (!s && json) {
        ng_json_end(&rows), ng_json_end(&cascade_rows);
        ng_json_object(&j);
        ng_json_key(&j, "held"), ng_json_bool(&j, a.held && worth);
        ng_json_key(&j, "grid"), ng_json_str(&j, g->path);
        ng_json_key(&j, "routes"), ng_json_raw(&j, list.data);
        ng_json_key(&j, "cascades"), ng_json_raw(&j, cascades.data);
        ng_json_end(&j);
    } else if (!s) {
        ng_buf_printf(out, "%s%s", list.data, verdict(&a, worth));
    }
    if (!s && (list.status || cascades.status || out->status))
        s = ng_fail(err, NG_ENOMEM, "audit: out of memory");
    ng_buf_clear(&list);
    ng_buf_clear(&cascades);
    sqlite3_close(a.db);
    *held = !s && a.held && worth;
    return s;
}
