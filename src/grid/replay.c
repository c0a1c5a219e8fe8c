/* replay.c: recorded traffic through another configuration.
 *
 * The configuration is opened as always, with two hooks changed: linear models, the routers among
 * them, score the recorded features instead of a text (nanogrid/tier.h), and whatever else could
 * answer (upstreams, decoders, rules) says what the record says of it.  Then every decision walks the
 * real way through ask.c, so a replay cannot drift from what the grid does.
 *
 * The text itself is a stand-in of the same length: all that the way reads of it besides features are
 * its length and whether it has letters beyond ASCII.  What cannot be known is not guessed: a decision
 * that needs a text-reading model which was not asked then is left out and counted, and a text that
 * was not searched for personal data is treated as personal.
 *
 * Times, ids and deadlines do not enter the output, so two runs give the same bytes; `digest` covers
 * every score to the last bit, so a change too small to flip a decision shows too. */
#include "grid_parts.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/hash.h"
#include "model/linear.h"
#include "record_db.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_FIELDS = 6, FLIPS_BYTES_MAX = 64 << 20 };

/* What is compared of a decision, before and after. */
typedef struct outcome {
    char task[20], expert[48], tier[8], label[64];
    bool in_scope, escalated, answered_here;
    double confidence, cost_usd;
} outcome;

typedef struct sums {
    uint64_t tiers[4]; /* by ng_tier_level; 3: nobody */
    uint64_t escalated, n_risks;
    double cost_usd, risk;
} sums;

typedef struct replay {
    ng_grid *g;
    ng_error *err;
    /* the decision at hand */
    const json_t *was;
    ng_record now;
    bool heard;           /* `now` is filled */
    bool unscorable;      /* somebody would have to read the text */
    /* in all */
    uint64_t n, n_replayed, n_old, n_cut, n_text, n_pii_unknown, n_changed;
    uint64_t changed[N_FIELDS];
    sums before, after;
    uint64_t digest;
    ng_buf text, flips; /* the stand-in; the flips as JSON or text */
    size_t n_told, n_flips;
    bool json;
} replay;

static const char *const field_names[N_FIELDS] = {"task",  "expert",   "tier",
                                                  "label", "in_scope", "escalated"};

/* ---- tiers that answer from the record ------------------------------------------------------- */

typedef struct recorded_tier {
    replay *r;
    ng_tier real; /* linear: its own answer; self NULL: the record's */
    char name[48];
    bool upstream;
} recorded_tier;

static const char *text_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static double number_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static bool is_true(const json_t *o, const char *key) {
    return json_is_true(json_object_get(o, key));
}

/* The recorded step in which `name` was asked and answered something, or NULL. */
static const json_t *find_step(const replay *r, const char *name) {
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(r->was, "route"), i, s) {
        const char *how = text_of(s, "outcome");
        bool said = !strcmp(how, "answered") || !strcmp(how, "abstained") ||
                    !strcmp(how, "below-contract");
        if (said && !strcmp(text_of(s, "expert"), name)) return s;
    }
    return NULL;
}

static ng_status take_label(ng_answer *a, const char *label) {
    if (!*label) return NG_OK;
    a->label = ng_answer_strndup(a, label, strlen(label));
    return a->label ? NG_OK : NG_ENOMEM;
}

static ng_status say_upstream(const recorded_tier *t, const ng_tier_request *req, ng_answer *a) {
    const json_t *was = t->r->was, *tokens = json_object_get(was, "tokens");
    bool same = !strcmp(text_of(was, "expert"), t->name) && !is_true(was, "cached");
    double prompt = same ? number_of(tokens, "prompt") : 16 + number_of(json_object_get(was, "signals"), "bytes") / 4;
    double completion = same ? number_of(tokens, "completion") : req->task == NG_TASK_GENERATE ? 256 : 16;
    a->in_scope = true;
    a->prompt_tokens = prompt > 0 ? (uint32_t)prompt : 0;
    a->completion_tokens = completion > 0 ? (uint32_t)completion : 0;
    return same ? take_label(a, text_of(was, "label")) : NG_OK;
}

/* Personal data as then; what was not looked for counts as found. */
static ng_status say_pii(const recorded_tier *t, ng_answer *a) {
    const json_t *pii = json_object_get(json_object_get(t->r->was, "signals"), "pii");
    t->r->n_pii_unknown += pii == NULL;
    if (pii && !json_is_true(pii)) return NG_OK;
    a->entities = ng_answer_alloc(a, sizeof *a->entities);
    if (!a->entities) return NG_ENOMEM;
    a->entities[a->n_entities++] = (ng_entity){.label = "personal", .text = ""};
    return NG_OK;
}

static ng_status say_recorded(void *self, const ng_tier_request *req, ng_answer *a, ng_error *err) {
    recorded_tier *t = self;
    const json_t *step = find_step(t->r, t->name);
    ng_status s = NG_OK;
    if (t->real.self) s = t->real.submit(t->real.self, req, a, err);
    else if (t->upstream) s = say_upstream(t, req, a);
    else if (!strcmp(t->name, "signal/pii")) s = say_pii(t, a);
    else if (!step) s = ng_fail(err, NG_ENOTFOUND, "%s was not asked then", t->name);
    else {
        a->in_scope = strcmp(text_of(step, "outcome"), "abstained") != 0;
        a->confidence = number_of(step, "confidence");
        s = take_label(a, text_of(t->r->was, "label"));
    }
    t->r->unscorable |= s == NG_ENOTFOUND || s == NG_EFORMAT;
    return s == NG_ENOMEM ? ng_fail(err, s, "replay: out of memory") : s;
}

static void close_recorded(void *self) {
    recorded_tier *t = self;
    if (t && t->real.close) t->real.close(t->real.self);
    free(t);
}

static ng_status new_tier(replay *r, ng_tier *out, const char *name, bool upstream, ng_error *err) {
    recorded_tier *t = calloc(1, sizeof *t);
    *out = (ng_tier){0};
    if (!t) return ng_fail(err, NG_ENOMEM, "replay: out of memory");
    t->r = r;
    t->upstream = upstream;
    snprintf(t->name, sizeof t->name, "%s", name);
    *out = (ng_tier){.self = t, .submit = say_recorded, .close = close_recorded};
    return NG_OK;
}

static ng_status open_head(void *ctx, ng_tier *out, const char *name, const ng_head_spec *spec,
                           ng_error *err) {
    ng_feature_config c;
    ng_status s = new_tier(ctx, out, name, false, err);
    if (s || !spec->path || ng_linear_file_features(&c, spec->path, NULL)) return s;
    recorded_tier *t = out->self;
    s = ng_grid_real_hooks.open_head(NULL, &t->real, name, spec, err);
    if (s) close_recorded(t), *out = (ng_tier){0};
    return s;
}

static ng_status open_upstream(void *ctx, ng_tier *out, const ng_upstream_config *c,
                               ng_error *err) {
    return new_tier(ctx, out, c->name, true, err);
}

static uint32_t count_of(const json_t *o, const char *key) {
    double n = number_of(o, key);
    return n > 0 && n < UINT32_MAX ? (uint32_t)n : 0;
}

static unsigned in_flight_then(void *ctx, const char *member) {
    const replay *p = ctx;
    const json_t *w = json_object_get(json_object_get(json_object_get(p->was, "signals"), "weighed"), member);
    return count_of(w, "in_flight");
}

static void shape_then(void *ctx, ng_record *rec) {
    const replay *p = ctx;
    const json_t *signals = json_object_get(p->was, "signals"), *s = json_object_get(signals, "structure"),
                 *c = json_object_get(signals, "conversation");
    if (!s) return; /* recorded by a version that did not look */
    rec->complexity = number_of(signals, "complexity");
    rec->structure = (ng_structure){.code = is_true(s, "code"), .list = is_true(s, "list"), .table = is_true(s, "table"), .maths = is_true(s, "maths"),
                                    .numbers = count_of(s, "numbers"), .lines = count_of(s, "lines")};
    rec->turns = (ng_turns){.users = count_of(c, "turns"),
                            .bytes = count_of(c, "bytes"),
                            .system = is_true(c, "system"),
                            .refers = is_true(c, "refers")};
}

/* Only the best are recorded; one that is not among them was no better than the last. */
static bool claim_then(void *ctx, const char *member, double *p) {
    replay *r = ctx;
    const json_t *signals = json_object_get(r->was, "signals"),
                 *scores = json_object_get(json_object_get(signals, "experts"), "scores");
    double then = number_of(scores, member);
    bool by_vectors = !strcmp(text_of(signals, "claims"), "vectors");
    if (isnan(then) && json_object_size(scores) == NG_DECISION_MAX) then = 0;
    r->unscorable |= !by_vectors || isnan(then);
    if (by_vectors && !isnan(then)) *p = then;
    return by_vectors && !isnan(then);
}

static void on_record(void *ctx, const ng_record *r) {
    replay *p = ctx;
    p->now = *r;
    p->heard = true;
}

/* ---- one decision ---------------------------------------------------------------------------- */

static outcome outcome_was(const json_t *w) {
    outcome o = {.in_scope = is_true(w, "in_scope"),
                 .escalated = is_true(w, "escalated"),
                 .confidence = number_of(w, "confidence"),
                 .cost_usd = number_of(w, "cost_usd")};
    snprintf(o.task, sizeof o.task, "%s", text_of(w, "task"));
    snprintf(o.expert, sizeof o.expert, "%s", text_of(w, "expert"));
    snprintf(o.tier, sizeof o.tier, "%s", *o.expert ? text_of(w, "tier") : "");
    snprintf(o.label, sizeof o.label, "%s", text_of(w, "label"));
    return o;
}

static outcome outcome_now(const ng_record *n) {
    outcome o = {.in_scope = n->in_scope,
                 .escalated = n->escalated,
                 .confidence = n->confidence,
                 .cost_usd = n->cost_usd};
    snprintf(o.task, sizeof o.task, "%s", ng_task_name(n->task));
    snprintf(o.expert, sizeof o.expert, "%s", n->expert);
    snprintf(o.tier, sizeof o.tier, "%s", *n->expert ? ng_tier_level_name(n->tier) : "");
    snprintf(o.label, sizeof o.label, "%s", n->label);
    return o;
}

static void add_sums(sums *s, const outcome *o) {
    ng_tier_level tier = NG_TIER_NANO;
    bool somebody = *o->tier && ng_tier_level_parse(&tier, o->tier);
    s->tiers[somebody ? tier : 3]++;
    s->escalated += o->escalated;
    if (o->cost_usd > 0) s->cost_usd += o->cost_usd;
    if (somebody && !o->escalated && o->in_scope && !isnan(o->confidence))
        s->risk += 1 - o->confidence, s->n_risks++;
}

static uint64_t hash_more(uint64_t h, const void *data, size_t len) {
    return ng_hash64(data, len, h);
}

/* Every score bit for bit: a weight that moves shows here before it flips anything. */
static uint64_t hash_record(uint64_t h, const char *id, const ng_record *n) {
    h = hash_more(h, id, strlen(id));
    for (size_t i = 0; i < n->tasks.n_scores; i++)
        h = hash_more(h, &n->tasks.scores[i].p, sizeof(float));
    for (size_t i = 0; i < n->experts.n_scores; i++)
        h = hash_more(h, &n->experts.scores[i].p, sizeof(float));
    for (size_t i = 0; i < n->n_scores; i++) h = hash_more(h, &n->scores[i].p, sizeof(float));
    h = hash_more(h, n->expert, strlen(n->expert));
    return hash_more(h, n->label, strlen(n->label));
}

static void outcome_json(ng_json *j, const char *key, const outcome *o) {
    ng_json_key(j, key);
    ng_json_object(j);
    ng_json_key(j, "task"), ng_json_str(j, o->task);
    ng_json_key(j, "expert"), ng_json_str(j, *o->expert ? o->expert : NULL);
    ng_json_key(j, "tier"), ng_json_str(j, *o->tier ? o->tier : NULL);
    ng_json_key(j, "label"), ng_json_str(j, *o->label ? o->label : NULL);
    ng_json_key(j, "in_scope"), ng_json_bool(j, o->in_scope);
    ng_json_key(j, "escalated"), ng_json_bool(j, o->escalated);
    ng_json_key(j, "confidence"), ng_json_fixed(j, o->confidence, 6);
    ng_json_key(j, "cost_usd"), ng_json_fixed(j, o->cost_usd, 9);
    ng_json_end(j);
}

static void tell_flip(replay *r, const char *id, const outcome *a, const outcome *b) {
    if (r->n_told == r->n_flips) return;
    r->n_told++;
    if (r->json) {
        ng_json j = ng_json_init(&r->flips);
        if (r->n_told > 1) ng_buf_puts(&r->flips, ", ");
        ng_json_object(&j);
        ng_json_key(&j, "decision_id"), ng_json_str(&j, id);
        outcome_json(&j, "before", a);
        outcome_json(&j, "after", b);
        ng_json_end(&j);
        return;
    }
    ng_buf_printf(&r->flips, "%s  %s %s %s -> %s %s %s\n", id, a->task, *a->expert ? a->expert : "nobody",
                  *a->label ? a->label : "-", b->task, *b->expert ? b->expert : "nobody",
                  *b->label ? b->label : "-");
}

static void compare(replay *r, const char *id) {
    outcome a = outcome_was(r->was), b = outcome_now(&r->now);
    if (is_true(r->was, "cached")) a.cost_usd = b.cost_usd = 0; /* it would be cached again */
    const bool differs[N_FIELDS] = {strcmp(a.task, b.task) != 0,   strcmp(a.expert, b.expert) != 0,
                                    strcmp(a.tier, b.tier) != 0,   strcmp(a.label, b.label) != 0,
                                    a.in_scope != b.in_scope,      a.escalated != b.escalated};
    bool any = false;
    for (int i = 0; i < N_FIELDS; i++) r->changed[i] += differs[i], any |= differs[i];
    r->n_changed += any;
    r->n_replayed++;
    add_sums(&r->before, &a);
    add_sums(&r->after, &b);
    r->digest = hash_record(r->digest, id, &r->now);
    if (any) tell_flip(r, id, &a, &b);
}

/* As long as the text was, of one word, so that nothing in it looks like an instruction. */
static bool stand_in(replay *r, size_t len, bool foreign) {
    ng_buf_reset(&r->text);
    if (foreign && len > 1) ng_buf_puts(&r->text, "\xC3\xA9");
    size_t rest = len - r->text.len;
    if (ng_buf_reserve(&r->text, rest + 1)) return false;
    memset(r->text.data + r->text.len, 'x', rest);
    r->text.len += rest;
    r->text.data[r->text.len] = 0;
    return true;
}

static ng_status decide_again(replay *r, const void *features, size_t len) {
    const json_t *asked = json_object_get(r->was, "asked");
    double bytes = number_of(json_object_get(r->was, "signals"), "bytes");
    const char *model = text_of(asked, "model");
    ng_request q;
    ng_task task = NG_TASK_AUTO;
    ng_answer *a = NULL;
    ng_error why = {0};
    (void)ng_task_parse(&task, text_of(asked, "task"));
    ng_request_init(&q, task);
    if (!stand_in(r, bytes > 0 && bytes <= GRID_TEXT_MAX ? (size_t)bytes : 0, is_true(asked, "foreign")))
        return ng_fail(r->err, NG_ENOMEM, "replay: out of memory");
    ng_request_set_text(&q, r->text.data, r->text.len);
    q.model = *model ? model : NULL;
    q.regions = *text_of(asked, "regions") ? text_of(asked, "regions") : NULL;
    q.consents = text_of(asked, "consents");
    q.tenant = text_of(r->was, "tenant");
    q.max_cost_usd = number_of(asked, "max_cost_usd");
    if (!ng_privacy_parse(&q.privacy, text_of(asked, "privacy"))) q.privacy = NG_PRIVACY_LOCAL;
    ng_tier_level top;
    if (ng_tier_level_parse(&top, text_of(asked, "max_tier"))) q.max_tier = 1 + (unsigned)top;
    double least = number_of(asked, "min_confidence");
    if (least > 0) q.min_confidence = least;
    q.no_cache = true;
    q.features = features;
    q.features_len = len;
    r->heard = false;
    r->g->forced_drift = is_true(r->was, "drifting");
    ng_status s = strcmp(text_of(r->was, "kind"), "route") ? ng_grid_ask(r->g, &q, &a, &why)
                                                           : ng_grid_route(r->g, &q, &a, &why);
    /* of a decision alone the answer knows more than the record */
    if (!s && r->now.decision_only && a->expert)
        snprintf(r->now.expert, sizeof r->now.expert, "%s", a->expert), r->now.tier = a->tier;
    if (!s && r->now.decision_only) r->now.in_scope = a->in_scope, r->now.confidence = a->confidence;
    ng_answer_free(a);
    return s == NG_ENOMEM ? ng_fail(r->err, s, "replay: out of memory") : NG_OK;
}

static ng_status replay_row(replay *r, sqlite3_stmt *st) {
    const char *id = (const char *)sqlite3_column_text(st, 0),
               *json = (const char *)sqlite3_column_text(st, 1);
    const void *features = sqlite3_column_blob(st, 2);
    size_t len = (size_t)sqlite3_column_bytes(st, 2);
    json_t *was = id && json ? json_loads(json, 0, NULL) : NULL;
    const json_t *asked = json_object_get(was, "asked");
    ng_status s = NG_OK;
    r->n++;
    r->was = was;
    r->unscorable = false;
    if (!asked || !features) r->n_old++;
    else if (is_true(asked, "cut") || number_of(asked, "labels") > 0) r->n_cut++;
    else if (!(s = decide_again(r, features, len))) {
        if (r->heard && !r->unscorable) compare(r, id);
        else r->n_text++;
    }
    json_decref(was);
    return s;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static bool parse_since(const char *text, int64_t *out) {
    int64_t ms;
    struct tm tm = {0};
    *out = 0;
    if (!text) return true;
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    if (end && *end == 'T') end = strptime(end, "T%H:%M:%SZ", &tm);
    if (end && !*end) {
        *out = (int64_t)timegm(&tm) * 1000;
        return true;
    }
    if (!ng_config_parse_ms(&ms, text)) return false;
    *out = ng_clock_wall_ms() - ms;
    return true;
}

static ng_status read_rows(replay *r, int64_t since_ms) {
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    char from[33];
    ng_status s = ng_record_db_open_reader(&db, r->g->records_path, r->err);
    if (s) return s;
    ng_decision_id(from, since_ms > 0 ? since_ms : 0);
    from[10] = 0; /* ids begin with their time */
    int code = sqlite3_prepare_v2(db,
                                  "SELECT id, json, features FROM decisions WHERE id >= ?1 AND kind <> 'pipeline' "
                                  "ORDER BY id",
                                  -1, &st, NULL);
    if (code == SQLITE_OK) sqlite3_bind_text(st, 1, from, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        while (!s && (code = sqlite3_step(st)) == SQLITE_ROW) s = replay_row(r, st);
    if (!s && code != SQLITE_DONE) s = ng_record_db_fail(db, r->g->records_path, r->err);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return s;
}

/* Names of the linear models and what is in them. */
static void put_models(ng_buf *b, const ng_grid *g) {
    ng_json j = ng_json_init(b);
    ng_json_object(&j);
    for (size_t i = 0; i < 2 * g->n_experts + 2; i++) {
        bool router = i < 2, route = i >= g->n_experts + 2; /* an expert's own routing weights */
        const grid_member *e = router ? NULL : &g->members[(i - 2) % g->n_experts];
        const char *path = router ? g->router_paths[i] : route ? e->route_path : e->model_path;
        ng_feature_config c;
        ng_map m;
        char hex[33], name[80];
        if (!path || ng_linear_file_features(&c, path, NULL) || ng_map_open(&m, path, NULL)) continue;
        ng_digest d = ng_digest_of(m.data, m.len);
        ng_map_close(&m);
        snprintf(hex, sizeof hex, "%016llx%016llx", (unsigned long long)d.h[0], (unsigned long long)d.h[1]);
        snprintf(name, sizeof name, "%s%s", e ? e->name : i ? "router/expert" : "router/task", route ? "/route" : "");
        ng_json_key(&j, name);
        ng_json_str(&j, hex);
    }
    ng_json_end(&j);
}

static void sums_json(ng_json *j, const char *key, const sums *s) {
    ng_json_key(j, key);
    ng_json_object(j);
    ng_json_key(j, "tiers");
    ng_json_object(j);
    for (int i = 0; i < 4; i++)
        ng_json_key(j, i < 3 ? ng_tier_level_name((ng_tier_level)i) : "nobody"), ng_json_uint(j, s->tiers[i]);
    ng_json_end(j);
    ng_json_key(j, "escalated"), ng_json_uint(j, s->escalated);
    ng_json_key(j, "cost_usd"), ng_json_fixed(j, s->cost_usd, 9);
    ng_json_key(j, "expected_risk"), ng_json_fixed(j, s->n_risks ? s->risk / (double)s->n_risks : NAN, 6);
    ng_json_end(j);
}

static void put_json(ng_buf *out, const replay *r, const char *models) {
    ng_json j = ng_json_init(out);
    char hex[20];
    ng_json_object(&j);
    ng_json_key(&j, "grid"), ng_json_str(&j, r->g->path);
    ng_json_key(&j, "grid_version"), ng_json_uint(&j, r->g->config.version);
    ng_json_key(&j, "router_version");
    ng_json_uint(&j, r->g->learner ? ng_learner_get_stats(r->g->learner).version : 0);
    ng_json_key(&j, "models"), ng_json_raw(&j, models);
    ng_json_key(&j, "decisions"), ng_json_uint(&j, r->n);
    ng_json_key(&j, "replayed"), ng_json_uint(&j, r->n_replayed);
    ng_json_key(&j, "skipped");
    ng_json_object(&j);
    ng_json_key(&j, "no_features"), ng_json_uint(&j, r->n_old);
    ng_json_key(&j, "part_of_text"), ng_json_uint(&j, r->n_cut);
    ng_json_key(&j, "needs_text"), ng_json_uint(&j, r->n_text);
    ng_json_end(&j);
    ng_json_key(&j, "pii_unknown"), ng_json_uint(&j, r->n_pii_unknown);
    ng_json_key(&j, "changed"), ng_json_uint(&j, r->n_changed);
    ng_json_key(&j, "changed_in");
    ng_json_object(&j);
    for (int i = 0; i < N_FIELDS; i++) ng_json_key(&j, field_names[i]), ng_json_uint(&j, r->changed[i]);
    ng_json_end(&j);
    sums_json(&j, "before", &r->before);
    sums_json(&j, "after", &r->after);
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)r->digest);
    ng_json_key(&j, "digest"), ng_json_str(&j, hex);
    ng_json_key(&j, "flips");
    ng_buf_printf(j.buf, "[%s]", r->flips.data);
    ng_json_end(&j);
}

static void sums_text(ng_buf *b, const char *name, const sums *s) {
    ng_buf_printf(b, "%-7s %9llu %9llu %9llu %9llu %10llu %12.6f %9.4f\n", name, (unsigned long long)s->tiers[0],
                  (unsigned long long)s->tiers[1], (unsigned long long)s->tiers[2], (unsigned long long)s->tiers[3],
                  (unsigned long long)s->escalated, s->cost_usd, s->n_risks ? s->risk / (double)s->n_risks : 0);
}

static void put_text(ng_buf *b, const replay *r) {
    ng_buf_printf(b, "%llu decisions recorded, %llu replayed through %s; %llu lack features, %llu were asked about a "
                     "part of their text, %llu need the text\n",
                  (unsigned long long)r->n, (unsigned long long)r->n_replayed, r->g->path,
                  (unsigned long long)r->n_old, (unsigned long long)r->n_cut,
                  (unsigned long long)r->n_text);
    if (r->n_pii_unknown)
        ng_buf_printf(b, "%llu were not searched for personal data then and count as personal\n",
                      (unsigned long long)r->n_pii_unknown);
    ng_buf_printf(b, "%llu change:", (unsigned long long)r->n_changed);
    for (int i = 0; i < N_FIELDS; i++)
        ng_buf_printf(b, "%s %s %llu", i ? "," : "", field_names[i], (unsigned long long)r->changed[i]);
    ng_buf_printf(b, "\n%-7s %9s %9s %9s %9s %10s %12s %9s\n", "", "nano", "small", "medium", "nobody", "escalated",
                  "cost USD", "risk");
    sums_text(b, "before", &r->before);
    sums_text(b, "after", &r->after);
    ng_buf_printf(b, "%sdigest %016llx", r->flips.data, (unsigned long long)r->digest);
}

ng_status ng_grid_replay(const ng_replay_options *opt, bool json, ng_buf *out, ng_error *err) {
    int64_t since;
    ng_error local = {0};
    replay *r = calloc(1, sizeof *r);
    if (!r) return ng_fail(err, NG_ENOMEM, "replay: out of memory");
    *r = (replay){.err = err ? err : &local, .n_flips = opt->n_flips, .json = json};
    r->text = ng_buf_init(GRID_TEXT_MAX + 8);
    r->flips = ng_buf_init(FLIPS_BYTES_MAX);
    ng_buf models = ng_buf_init(1u << 20);
    grid_hooks hooks = ng_grid_real_hooks;
    hooks.open_head = open_head;
    hooks.open_upstream = open_upstream;
    hooks.on_record = on_record;
    hooks.one_by_one = true; /* from recorded features */
    hooks.in_flight = in_flight_then;
    hooks.recall_shape = shape_then;
    hooks.recall_claim = claim_then;
    hooks.ctx = r;
    ng_grid_options o = {.path = opt->path, .no_records = true, .n_threads = 1};
    ng_status s = NG_OK;
    if (!parse_since(opt->since, &since))
        s = ng_fail(r->err, NG_EINVALID,
                    "since: '%.40s' is neither a time span (7d, 12h) nor a date (2026-11-21, 2026-11-21T09:00:00Z)",
                    opt->since);
    if (!s) s = ng_grid_open_hooked(&r->g, &o, &hooks, r->err);
    if (!s) s = read_rows(r, since);
    if (!s) put_models(&models, r->g);
    if (!s && json) put_json(out, r, models.data);
    else if (!s) put_text(out, r);
    ng_status full = models.status ? models.status : r->flips.status ? r->flips.status : out->status;
    if (!s && full) s = ng_fail(r->err, full, "replay: %s", ng_status_text(full));
    ng_grid_close(r->g);
    ng_buf_clear(&models);
    ng_buf_clear(&r->text);
    ng_buf_clear(&r->flips);
    free(r);
    return s;
}
