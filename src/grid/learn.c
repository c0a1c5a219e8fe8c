/* learn.c: when a version of the router's delta is made, refused, or taken back.  See learn.h.
 *
 * A lesson is a recorded text (its features) with the expert that it was for: the one expert that has
 * the label which a person named, or which a higher tier gave; or the expert that a person called
 * right.  "Wrong" without a label teaches nothing: the expert may have erred, not the router.
 *
 * With every EVERY-th feedback a candidate is learnt from three quarters of the lessons, chosen by the
 * hash of their features.  On the quarter held out it competes with the router as trained and with the
 * newest versions; the best stands, and a tie changes nothing.  So a regression is taken back by the
 * same comparison that makes versions.  A candidate that would move more than FLIPS_MAX of the recorded
 * traffic that nobody complained about is refused, whatever it scores. */
#include "learn.h"

#include "core/file.h"
#include "core/hash.h"
#include "grid_parts.h"
#include "model/feature_blob.h"
#include "model/linear.h"
#include "record_db.h"
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVERY = 8, LESSONS_MAX = 2000, TRAFFIC_MAX = 1000, HELD_OUT_MIN = 4, VERSIONS_TRIED = 4, PATH_CAP = 4200 };
static const double FLIPS_MAX = 0.05;

struct ng_learner {
    char dir[PATH_CAP - 64];
    ng_feature_config kind; /* what the expert router reads */
    uint64_t router;        /* of its file */
    const char *labels[NG_DECISION_MAX]; /* [n_labels], owned */
    size_t n_labels;
    pthread_rwlock_t lock;  /* guards delta and, with it, version */
    ng_delta *delta;        /* NULL: version 0 */
    _Atomic uint32_t version;
    pthread_mutex_t scratch_lock;
    ng_features scratch; /* guarded by scratch_lock */
    pthread_mutex_t learning; /* one at a time; guards heard */
    unsigned heard;
    _Atomic uint64_t made, refused, taken_back;
};

/* ---- applying -------------------------------------------------------------------------------- */

static int rising(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool read_features(const ng_learner *l, ng_features *f, const ng_request *r,
                          const char *text, size_t len) {
    if (r->features)
        return ng_feature_blob_get(f, &l->kind, r->features, r->features_len, NULL) == NG_OK;
    if (ng_features_extract(f, &l->kind, text, len, NULL)) return false;
    if (f->n_buckets) qsort(f->buckets, f->n_buckets, sizeof *f->buckets, rising);
    return true;
}

uint32_t ng_learner_apply(ng_learner *l, const ng_request *r, const char *text, size_t len,
                          ng_decision *d) {
    uint32_t version = 0;
    pthread_rwlock_rdlock(&l->lock);
    if (l->delta) {
        pthread_mutex_lock(&l->scratch_lock);
        if (read_features(l, &l->scratch, r, text, len)) {
            ng_delta_apply(l->delta, l->scratch.buckets, l->scratch.n_buckets, d);
            version = atomic_load(&l->version);
        }
        pthread_mutex_unlock(&l->scratch_lock);
    }
    pthread_rwlock_unlock(&l->lock);
    return version;
}

/* ---- versions -------------------------------------------------------------------------------- */

static void version_path(const ng_learner *l, uint32_t version, char out[PATH_CAP]) {
    snprintf(out, PATH_CAP, "%s/delta-%u.gguf", l->dir, version);
}

static ng_delta *read_version(const ng_learner *l, uint32_t version) {
    char path[PATH_CAP];
    ng_delta *d = NULL;
    ng_delta_tag tag = {.router = l->router};
    version_path(l, version, path);
    return version && ng_delta_read(&d, &tag, path, NULL) == NG_OK ? d : NULL;
}

static uint32_t current_version(const ng_learner *l) {
    char path[PATH_CAP];
    ng_buf b = ng_buf_init(64);
    snprintf(path, sizeof path, "%s/current", l->dir);
    long v = ng_file_read(&b, path, NULL) ? 0 : strtol(b.data, NULL, 10);
    ng_buf_clear(&b);
    return v > 0 && v < 1000000000 ? (uint32_t)v : 0;
}

static uint32_t newest_version(const ng_learner *l) {
    ng_dir_list list;
    uint32_t newest = 0;
    if (ng_dir_read(&list, l->dir, NULL)) return 0;
    for (size_t i = 0; i < list.len; i++) {
        unsigned v;
        if (sscanf(list.names[i], "delta-%u.gguf", &v) == 1 && v > newest) newest = v;
    }
    ng_dir_list_clear(&list);
    return newest;
}

/* Takes d. */
static void stand(ng_learner *l, uint32_t version, ng_delta *d) {
    char path[PATH_CAP], text[16];
    ng_error ignored = {0};
    snprintf(path, sizeof path, "%s/current", l->dir);
    int n = snprintf(text, sizeof text, "%u\n", version);
    (void)!ng_file_write_atomic(path, text, (size_t)n, &ignored); /* else the next start learns it again */
    pthread_rwlock_wrlock(&l->lock);
    ng_delta *old = l->delta;
    l->delta = d;
    atomic_store(&l->version, version);
    pthread_rwlock_unlock(&l->lock);
    ng_delta_free(old);
}

/* ---- lessons --------------------------------------------------------------------------------- */

typedef struct owner {
    char label[128];
    size_t expert; /* of the router's labels */
    bool several;  /* experts have it */
} owner;

typedef struct school {
    ng_grid *g;
    ng_learner *l;
    ng_error *err;
    owner *owners;
    size_t n_owners, cap_owners, expert; /* expert: whose labels are being listed */
    ng_lesson *lessons;                  /* [n]: those to learn from, then those held out */
    ng_decision *said;                   /* [n] of them */
    bool *held_out;                      /* [n] */
    size_t n;
    ng_features f;
} school;

static bool add_owner(void *ctx, const char *label, size_t len) {
    school *s = ctx;
    for (size_t i = 0; i < s->n_owners; i++)
        if (strlen(s->owners[i].label) == len && !memcmp(s->owners[i].label, label, len))
            return s->owners[i].several = true;
    if (len >= sizeof s->owners[0].label) return true;
    if (s->n_owners == s->cap_owners) {
        size_t cap = s->cap_owners ? 2 * s->cap_owners : 256;
        owner *p = realloc(s->owners, cap * sizeof *p);
        if (!p) return false;
        s->owners = p;
        s->cap_owners = cap;
    }
    owner *o = &s->owners[s->n_owners++];
    *o = (owner){.expert = s->expert};
    memcpy(o->label, label, len);
    return true;
}

static void list_owners(school *s) {
    for (s->expert = 0; s->expert < s->l->n_labels; s->expert++)
        for (size_t i = 0; i < s->g->n_experts; i++)
            if (!strcmp(s->g->members[i].name, s->l->labels[s->expert]))
                ng_grid_each_label(s->g->members[i].model_path, add_owner, s);
}

/* The router's label for an expert's name, or for a label that one expert alone has; n_labels: none. */
static size_t for_whom(const school *s, const char *label, const char *expert) {
    for (size_t i = 0; label && i < s->n_owners; i++)
        if (!strcmp(s->owners[i].label, label)) return s->owners[i].several ? s->l->n_labels : s->owners[i].expert;
    if (label || !expert) return s->l->n_labels;
    size_t c = 0;
    while (c < s->l->n_labels && strcmp(s->l->labels[c], expert)) c++;
    return c;
}

/* What the router as trained says of recorded features. */
static bool ask_router(const school *s, const void *blob, size_t len, ng_decision *out) {
    ng_part part = {NG_PART_TEXT, "", 0};
    ng_message message = {"user", &part, 1};
    ng_tier_request q = {.messages = &message, .n_messages = 1, .features = blob, .features_len = len};
    return ng_router_decide(out, &s->g->expert_router, &q, NULL) == NG_OK && out->n_scores > 0;
}

static bool add_lesson(school *s, size_t label, const void *blob, size_t len) {
    if (label == s->l->n_labels || ng_feature_blob_get(&s->f, &s->l->kind, blob, len, NULL) || !s->f.n_buckets)
        return true;
    uint32_t *b = malloc(s->f.n_buckets * sizeof *b);
    if (!b) return false;
    if (!ask_router(s, blob, len, &s->said[s->n])) {
        free(b);
        return true;
    }
    memcpy(b, s->f.buckets, s->f.n_buckets * sizeof *b);
    s->lessons[s->n] = (ng_lesson){b, s->f.n_buckets, label, &s->said[s->n]};
    s->held_out[s->n++] = ng_hash64(blob, len, 7) % 4 == 0; /* a text that comes twice is on one side */
    return true;
}

static const char lessons_sql[] =
    "SELECT id, label, expert, features FROM ("
    " SELECT decision_id AS id, label, expert, features FROM feedback WHERE task = 'classify' AND features"
    "  IS NOT NULL AND NOT escalated AND (label IS NOT NULL OR correct)"
    " UNION ALL SELECT decision_id, label, NULL, features FROM feedback WHERE task = 'classify' AND features"
    "  IS NOT NULL AND escalated AND label IS NOT NULL"
    " UNION ALL SELECT id, json_extract(json, '$.label'), NULL, features FROM decisions WHERE escalated AND"
    "  kind = 'answer' AND task = 'classify' AND features IS NOT NULL AND json_extract(json, '$.label') IS"
    "  NOT NULL AND id NOT IN (SELECT decision_id FROM feedback)"
    " ORDER BY id DESC LIMIT ?1) ORDER BY id";

static ng_status read_lessons(school *s, sqlite3 *db) {
    sqlite3_stmt *st = NULL;
    ng_status status = NG_OK;
    int code = sqlite3_prepare_v2(db, lessons_sql, -1, &st, NULL);
    if (code == SQLITE_OK) sqlite3_bind_int(st, 1, LESSONS_MAX);
    while (!status && (code == SQLITE_OK || code == SQLITE_ROW) && (code = sqlite3_step(st)) == SQLITE_ROW) {
        size_t label = for_whom(s, (const char *)sqlite3_column_text(st, 1), (const char *)sqlite3_column_text(st, 2));
        const void *blob = sqlite3_column_blob(st, 3);
        if (!add_lesson(s, label, blob, (size_t)sqlite3_column_bytes(st, 3)))
            status = ng_fail(s->err, NG_ENOMEM, "lessons: out of memory");
    }
    if (!status && code != SQLITE_DONE) status = ng_record_db_fail(db, s->g->records_path, s->err);
    sqlite3_finalize(st);
    return status;
}

/* ---- judging --------------------------------------------------------------------------------- */

static size_t best_of(const school *s, const ng_delta *d, const ng_lesson *x) {
    ng_decision said = *x->said;
    if (d) ng_delta_apply(d, x->buckets, x->n_buckets, &said);
    return for_whom(s, NULL, said.scores[0].label);
}

/* Right answers on what was held out. */
static size_t count_right(const school *s, const ng_delta *d) {
    size_t right = 0;
    for (size_t i = 0; i < s->n; i++)
        right += s->held_out[i] && best_of(s, d, &s->lessons[i]) == s->lessons[i].label;
    return right;
}

/* The share of recorded traffic without feedback that d decides otherwise than the router as trained. */
static double share_moved(school *s, sqlite3 *db, const ng_delta *d) {
    static const char sql[] =
        "SELECT features FROM decisions WHERE kind = 'answer' AND features IS NOT NULL AND json_extract(json, "
        "'$.signals.experts') IS NOT NULL AND NOT escalated AND id NOT IN (SELECT decision_id FROM "
        "feedback) ORDER BY id DESC LIMIT ?1";
    sqlite3_stmt *st = NULL;
    size_t n = 0, moved = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK) return 1;
    sqlite3_bind_int(st, 1, TRAFFIC_MAX);
    while (sqlite3_step(st) == SQLITE_ROW) {
        ng_decision said;
        const void *blob = sqlite3_column_blob(st, 0);
        size_t len = (size_t)sqlite3_column_bytes(st, 0);
        if (ng_feature_blob_get(&s->f, &s->l->kind, blob, len, NULL) || !ask_router(s, blob, len, &said)) continue;
        ng_lesson x = {s->f.buckets, s->f.n_buckets, 0, &said};
        n++;
        moved += best_of(s, d, &x) != best_of(s, NULL, &x);
    }
    sqlite3_finalize(st);
    return n ? (double)moved / (double)n : 0;
}

static ng_status learn_candidate(const school *s, ng_delta **out) {
    size_t n = 0;
    ng_lesson *train = malloc((s->n + 1) * sizeof *train);
    if (!train) return ng_fail(s->err, NG_ENOMEM, "lessons: out of memory");
    for (size_t i = 0; i < s->n; i++)
        if (!s->held_out[i]) train[n++] = s->lessons[i];
    ng_status status = ng_delta_learn(out, train, n, s->l->labels, s->l->n_labels, s->err);
    free(train);
    return status;
}

/* Lets the candidate, the router as trained and the newest versions compete; takes cand. */
static ng_status choose(school *s, ng_delta *cand, bool in_bounds) {
    ng_learner *l = s->l;
    uint32_t now = atomic_load(&l->version), newest = newest_version(l), best_version = now;
    size_t best = count_right(s, l->delta);
    ng_delta *winner = NULL;
    for (uint32_t k = 0; k <= VERSIONS_TRIED && k <= newest; k++) {
        uint32_t v = k == VERSIONS_TRIED || k == newest ? 0 : newest - k;
        ng_delta *d = v ? read_version(l, v) : NULL;
        size_t right = v && !d ? 0 : count_right(s, d);
        if (v == now || right <= best || (v && !d)) {
            ng_delta_free(d);
            continue;
        }
        best = right;
        best_version = v;
        ng_delta_free(winner);
        winner = d;
    }
    if (in_bounds && count_right(s, cand) > best) {
        char path[PATH_CAP];
        ng_delta_tag tag = {newest + 1, l->router, (uint32_t)s->n};
        version_path(l, tag.version, path);
        ng_delta_free(winner);
        ng_status status = ng_dir_make(l->dir, s->err);
        if (!status) status = ng_delta_write(cand, &tag, path, s->err);
        if (status) {
            ng_delta_free(cand);
            return status;
        }
        atomic_fetch_add(&l->made, 1);
        stand(l, tag.version, cand);
        return NG_OK;
    }
    atomic_fetch_add(&l->refused, 1);
    ng_delta_free(cand);
    if (best_version == now) return NG_OK;
    atomic_fetch_add(&l->taken_back, 1);
    stand(l, best_version, winner);
    return NG_OK;
}

static ng_status learn_from(school *s, sqlite3 *db) {
    ng_delta *cand;
    size_t held = 0;
    list_owners(s);
    ng_status status = read_lessons(s, db);
    for (size_t i = 0; i < s->n; i++) held += s->held_out[i];
    if (status || held < HELD_OUT_MIN || held == s->n) return status;
    if ((status = learn_candidate(s, &cand))) return status;
    return choose(s, cand, share_moved(s, db, cand) <= FLIPS_MAX);
}

static void learn(ng_grid *g) {
    sqlite3 *db;
    ng_error err = {0};
    school s = {.g = g, .l = g->learner, .err = &err};
    if (ng_record_db_open_reader(&db, g->records_path, &err)) return;
    s.lessons = calloc(LESSONS_MAX, sizeof *s.lessons);
    s.said = calloc(LESSONS_MAX, sizeof *s.said);
    s.held_out = calloc(LESSONS_MAX, sizeof *s.held_out);
    /* A lesson that cannot be learnt now is learnt with the next feedback. */
    if (s.lessons && s.said && s.held_out) (void)!learn_from(&s, db);
    for (size_t i = 0; i < s.n; i++) free((uint32_t *)s.lessons[i].buckets);
    free(s.lessons);
    free(s.said);
    free(s.held_out);
    free(s.owners);
    ng_features_clear(&s.f);
    sqlite3_close(db);
}

void ng_learner_heard(ng_grid *g) {
    ng_learner *l = g->learner;
    pthread_mutex_lock(&l->learning);
    if (++l->heard % EVERY == 0) learn(g);
    pthread_mutex_unlock(&l->learning);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool add_label(void *ctx, const char *label, size_t len) {
    ng_learner *l = ctx;
    char *copy = l->n_labels < NG_DECISION_MAX ? strndup(label, len) : NULL;
    if (copy) l->labels[l->n_labels++] = copy;
    return copy != NULL;
}

ng_status ng_learner_open(ng_learner **out, ng_grid *g, ng_error *err) {
    ng_map m;
    *out = NULL;
    ng_learner *l = calloc(1, sizeof *l);
    if (!l) return ng_fail(err, NG_ENOMEM, "learner: out of memory");
    const char *slash = strrchr(g->records_path, '/');
    snprintf(l->dir, sizeof l->dir, "%.*s/router", (int)(slash ? slash - g->records_path : 0), g->records_path);
    pthread_rwlock_init(&l->lock, NULL);
    pthread_mutex_init(&l->scratch_lock, NULL);
    pthread_mutex_init(&l->learning, NULL);
    ng_status s = ng_linear_file_features(&l->kind, g->router_paths[1], err);
    if (!s) s = ng_map_open(&m, g->router_paths[1], err);
    if (s) {
        ng_learner_close(l);
        return s;
    }
    l->router = ng_digest_of(m.data, m.len).h[0];
    ng_map_close(&m);
    ng_grid_each_label(g->router_paths[1], add_label, l);
    uint32_t version = current_version(l);
    l->delta = read_version(l, version);
    atomic_store(&l->version, l->delta ? version : 0);
    *out = l;
    return NG_OK;
}

void ng_learner_close(ng_learner *l) {
    if (!l) return;
    ng_delta_free(l->delta);
    ng_features_clear(&l->scratch);
    for (size_t i = 0; i < l->n_labels; i++) free((char *)l->labels[i]);
    pthread_rwlock_destroy(&l->lock);
    pthread_mutex_destroy(&l->scratch_lock);
    pthread_mutex_destroy(&l->learning);
    free(l);
}

ng_learner_stats ng_learner_get_stats(ng_learner *l) {
    return (ng_learner_stats){atomic_load(&l->version), atomic_load(&l->made), atomic_load(&l->refused),
                              atomic_load(&l->taken_back)};
}
