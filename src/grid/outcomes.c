/* outcomes.c: see outcomes.h.
 *
 * The truth is what a person said: the label, or that the answer was right.  Without it only agreement is known, which
 * is what the gain's regression learns from; who was right when two differ is learnt from the judged ones alone. */
#include "outcomes.h"

#include "grid_parts.h"
#include "record_db.h"
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { OUTCOMES_MAX = 20000, EVERY = 8 };

struct ng_outcomes_model {
    pthread_rwlock_t lock; /* guards gains */
    ng_gain *gains;        /* [n_experts], by member */
    pthread_mutex_t refreshing; /* guards heard; one at a time */
    unsigned heard;
};

/* ---- reading --------------------------------------------------------------------------------- */

static const char *text_of(const json_t *o, const char *key) {
    return json_string_value(json_object_get(o, key));
}

static float number_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? (float)json_number_value(v) : NAN;
}

/* -1: the truth is not known, or the step said nothing. */
static signed char is_right(const json_t *step, const char *truth) {
    const char *label = step ? text_of(step, "label") : NULL;
    return !truth || !label ? -1 : !strcmp(label, truth);
}

/* The steps that gave a label: the first one, the last one, one between them. */
static bool find_steps(const json_t *route, const json_t *found[3]) {
    size_t i;
    json_t *s;
    memset(found, 0, 3 * sizeof *found);
    json_array_foreach((json_t *)route, i, s) {
        if (!text_of(s, "label")) continue;
        if (!found[0]) {
            found[0] = s;
            continue;
        }
        found[1] = found[2];
        found[2] = s;
    }
    return found[0] && found[2];
}

static bool take_outcome(ng_outcome *o, const json_t *was, const char *truth) {
    const json_t *step[3];
    if (!find_steps(json_object_get(was, "route"), step)) return false;
    const char *here = text_of(step[0], "label"), *there = text_of(step[2], "label"),
               *how = text_of(step[0], "outcome");
    *o = (ng_outcome){.explored = json_is_true(json_object_get(was, "explored")),
                      .escalated = how && strcmp(how, "answered") != 0,
                      .small = is_right(step[0], truth),
                      .mid = is_right(step[1], truth),
                      .large = is_right(step[2], truth),
                      .mid_cost = step[1] ? number_of(step[1], "cost_usd") : 0,
                      .large_cost = number_of(step[2], "cost_usd")};
    const json_t *signals = json_object_get(was, "signals");
    o->lesson =
        (ng_gain_lesson){.facts = {.confidence = number_of(step[0], "confidence"),
                                   .margin = number_of(step[0], "margin"),
                                   .bytes = number_of(signals, "bytes"),
                                   .complexity = number_of(signals, "complexity"),
                                   .turns = number_of(json_object_get(signals, "conversation"), "turns"),
                                   .technical = json_is_true(json_object_get(json_object_get(signals, "structure"),
                                                                             "technical"))},
                         .differs = strcmp(here, there) != 0};
    if (o->small >= 0 && o->large >= 0) o->lesson.fixed = (signed char)(o->large - o->small);
    return true;
}

static const char outcomes_sql[] =
    "SELECT d.json, CASE WHEN f.label IS NOT NULL THEN f.label WHEN f.correct THEN json_extract(d.json, '$.label') END"
    " FROM decisions d LEFT JOIN feedback f ON f.decision_id = d.id WHERE d.kind = 'answer' AND d.error IS NULL AND"
    " d.task IN ('classify', 'detect-language') AND NOT d.cached AND (d.escalated OR json_extract(d.json, "
    "'$.explored'))"
    " AND (?1 IS NULL OR (SELECT s.value ->> 'expert' FROM json_each(d.json, '$.route') s WHERE s.value ->> 'label' IS "
    "NOT NULL"
    " LIMIT 1) = ?1) ORDER BY d.id DESC LIMIT ?2";

static ng_status read_rows(sqlite3 *db, sqlite3_stmt *st, const char *path, ng_outcome *out, size_t *n, ng_error *err) {
    int code;
    while ((code = sqlite3_step(st)) == SQLITE_ROW) {
        json_t *was = json_loads((const char *)sqlite3_column_text(st, 0), 0, NULL);
        *n += was && take_outcome(&out[*n], was, (const char *)sqlite3_column_text(st, 1));
        json_decref(was);
    }
    for (size_t i = 0; i < *n / 2; i++) {
        ng_outcome x = out[i];
        out[i] = out[*n - 1 - i];
        out[*n - 1 - i] = x;
    }
    return code == SQLITE_DONE ? NG_OK : ng_record_db_fail(db, path, err);
}

ng_status ng_outcomes_read(ng_grid *g, const char *expert, ng_outcome **out, size_t *n, ng_error *err) {
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    *out = NULL;
    *n = 0;
    ng_status s = ng_record_db_open_reader(&db, g->records_path, err);
    if (s) return s;
    *out = malloc(OUTCOMES_MAX * sizeof **out);
    if (!*out) s = ng_fail(err, NG_ENOMEM, "outcomes: out of memory");
    else if (sqlite3_prepare_v2(db, outcomes_sql, -1, &st, NULL) != SQLITE_OK)
        s = ng_record_db_fail(db, g->records_path, err);
    if (!s) {
        if (expert) sqlite3_bind_text(st, 1, expert, -1, SQLITE_STATIC);
        sqlite3_bind_int(st, 2, OUTCOMES_MAX);
        s = read_rows(db, st, g->records_path, *out, n, err);
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    if (s) free(*out), *out = NULL, *n = 0;
    return s;
}

/* ---- learning -------------------------------------------------------------------------------- */

static ng_gain fit(ng_grid *g, const char *expert) {
    ng_outcome *o;
    ng_gain gain = {.n = 0};
    size_t n;
    if (ng_outcomes_read(g, expert, &o, &n, NULL)) return gain;
    ng_gain_lesson *l = malloc((n + 1) * sizeof *l);
    for (size_t i = 0; l && i < n; i++) l[i] = o[i].lesson;
    if (l) (void)ng_gain_fit(&gain, l, n);
    free(l);
    free(o);
    return gain;
}

static void refresh(ng_grid *g, ng_outcomes_model *m) {
    for (size_t i = 0; i < g->n_experts; i++) {
        const grid_member *x = &g->members[i];
        if (x->task != NG_TASK_CLASSIFY && x->task != NG_TASK_DETECT_LANGUAGE) continue;
        ng_gain gain = fit(g, x->name);
        pthread_rwlock_wrlock(&m->lock);
        m->gains[i] = gain;
        pthread_rwlock_unlock(&m->lock);
    }
}

ng_status ng_outcomes_open(ng_outcomes_model **out, ng_grid *g, ng_error *err) {
    ng_outcomes_model *m = *out = calloc(1, sizeof *m);
    if (m) m->gains = calloc(g->n_experts + 1, sizeof *m->gains);
    if (!m || !m->gains) {
        free(m);
        *out = NULL;
        return ng_fail(err, NG_ENOMEM, "outcomes: out of memory");
    }
    pthread_rwlock_init(&m->lock, NULL);
    pthread_mutex_init(&m->refreshing, NULL);
    refresh(g, m);
    return NG_OK;
}

void ng_outcomes_close(ng_outcomes_model *m) {
    if (!m) return;
    pthread_rwlock_destroy(&m->lock);
    pthread_mutex_destroy(&m->refreshing);
    free(m->gains);
    free(m);
}

void ng_outcomes_refresh(ng_grid *g) {
    pthread_mutex_lock(&g->gains->refreshing);
    if (++g->gains->heard % EVERY == 0) refresh(g, g->gains);
    pthread_mutex_unlock(&g->gains->refreshing);
}

double ng_outcomes_gain(ng_outcomes_model *m, const grid_member *expert, const ng_answer *said, const ng_record *rec) {
    size_t i = expert->index;
    pthread_rwlock_rdlock(&m->lock);
    ng_gain g = m->gains[i];
    pthread_rwlock_unlock(&m->lock);
    ng_gain_facts f = {.confidence = (float)said->confidence, .margin = (float)ng_answer_margin(said), .bytes = (float)rec->text_len,
                       .complexity = (float)rec->complexity, .turns = (float)rec->turns.users, .technical = ng_structure_is_technical(&rec->structure)};
    return ng_gain_of(&g, &f);
}
