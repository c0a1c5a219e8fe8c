/* records.h: what was decided, why and at what cost, kept in one SQLite database.
 *
 *     ng_records *r;
 *     ng_records_open(&r, &options, &err);           starts the writer
 *     ng_record *rec = ..;                           heap block, filled by the asker
 *     ng_records_push(r, rec);                       takes rec; about a microsecond
 *     ng_records_flush(r, &err);                     waits until all of it is on disk
 *     ng_records_close(r);
 *
 * One thread writes, in batches, from a bounded ring.  When the ring fills, plain local answers are
 * sampled (one in eight) and then dropped, and counted per expert; `important` records
 * (escalations, errors, abstentions) are never dropped for room: they push out the oldest plain
 * record, and wait for the writer only when the ring holds nothing else.  A database that cannot be
 * used (locked, corrupt, full, newer) makes ng_records_warning speak and never fails an answer.
 *
 * WAL with synchronous NORMAL: a killed process loses at most what the ring held (about 20 ms),
 * never the database.  What stands in a record is enough to replay the decision, not the text,
 * unless `text` is kept on purpose. */
#ifndef NG_GRID_RECORDS_H
#define NG_GRID_RECORDS_H

#include "route/reask.h"
#include "route/route.h"
#include "route/structure.h"
#include "route/turns.h"

enum { NG_RECORD_STEPS = 16, NG_RECORD_SCORES = 8, NG_RECORD_WARNINGS = 4, NG_RECORD_WEIGHED = 6 };

typedef struct ng_record_step {
    char step[24], expert[48], outcome[NG_OUTCOME_MAX];
    char decision_id[33]; /* of a pipeline's step; "": none */
    ng_tier_level tier;
    double confidence, latency_us;
    char label[64];   /* what it said, where that is a label; "": none */
    double margin;    /* lead of its confidence over the second label; with a label */
    uint32_t prompt_tokens, completion_tokens;
    double cost_usd;
} ng_record_step;

/* Plain data but for `text`; zero-initialise.  ng_record_free ends it. */
typedef struct ng_record {
    char id[33];
    bool decision_only; /* of `route` */
    bool whole_pipeline; /* the steps are decisions of their own */
    struct {             /* of the whole and of its steps; "": none */
        char name[48], step[24], decision_id[33];
    } pipeline;
    bool important;
    int64_t time_ms; /* wall clock */
    char tenant[64], request_id[64];
    uint64_t grid_version;
    uint32_t router_version; /* of what the router has learnt since its training; 0: nothing */
    struct { /* what was asked for */
        ng_task task;
        char model[48]; /* "": the grid decides */
        ng_privacy privacy;
        double max_cost_usd; /* NaN: none */
        uint32_t n_labels;
        bool foreign; /* letters beyond ASCII */
        bool cut;     /* the experts saw only a part of the text */
        bool spelt;   /* and with typing errors put right */
        bool cleaned; /* routers and classifiers read it without invisible letters and their like */
        char regions[64], consents[64]; /* "": none */
        unsigned max_tier;     /* as in ng_request */
        double min_confidence;
    } asked;
    /* signals */
    ng_privacy privacy; /* that held: the request's, tightened by the policy */
    int8_t pii;         /* 1 found, 0 none, -1 not looked for */
    double pii_us;
    double spelling_us; /* 0: not looked for */
    char language[12]; /* "" not known */
    double language_us;
    double complexity;  /* NaN: the text was not looked at, for the answer came from the cache */
    ng_structure structure;
    ng_turns turns;
    double shape_us;    /* of these three */
    struct {            /* what the policy's weights said of those that could be asked, as far as there is room */
        char name[48];
        double usd;
        uint32_t in_flight;
    } weighed[NG_RECORD_WEIGHED];
    size_t n_weighed;
    ng_reask reask;     /* of a conversation that goes on */
    double reask_us;
    ng_decision tasks, experts; /* n_scores 0: not asked */
    bool claims_by_vectors;     /* experts: their claims with the encoder's vector (second_claims.c) */
    /* the way, and what came of it */
    ng_record_step steps[NG_RECORD_STEPS];
    size_t n_steps;
    ng_task task;
    char expert[48], adapter[64]; /* adapter: of that expert, its file's name without the folder; "": none */
    ng_tier_level tier;
    double confidence, threshold; /* threshold NaN: no contract */
    bool in_scope, escalated, cached, drifting;
    ng_status error;
    char error_text[256];
    char reason[256];
    char warnings[NG_RECORD_WARNINGS][200];
    size_t n_warnings;
    char label[64];
    struct {
        char label[48];
        float p;
    } scores[NG_RECORD_SCORES]; /* label scores or moderation categories */
    size_t n_scores, n_entities;
    bool explored; /* higher tiers were asked to learn what they say (cascade.explore) */
    uint32_t prompt_tokens, completion_tokens;
    struct { /* spent on answers that nobody got */
        uint32_t prompt_tokens, completion_tokens;
        double cost_usd;
    } wasted;
    double cost_usd, latency_us, overhead_us, load_ms;
    /* the text: in memory until the record is written, in the database only with keep_text */
    char *text;
    size_t text_len;
    char *plain; /* what routers and classifiers read instead (reading.c); NULL: the text */
    bool keep_text;
} ng_record;

void ng_record_free(ng_record *r);

typedef struct ng_records_options {
    const char *path;   /* of the database; its folder is made */
    int64_t keep_ms;    /* older records go */
    uint64_t max_bytes; /* the database's size at which the oldest go */
    size_t ring_len;    /* 0: 1024 */
    /* Appends the sparse features of a text to `out` as a blob; NULL: none are kept.  Writer's
     * thread. */
    void (*features)(void *ctx, const ng_record *r, ng_buf *out);
    /* Looks at what nobody needed to know before the answer; NULL: nothing.  Writer's thread. */
    void (*late_signals)(void *ctx, ng_record *r);
    void *late_ctx;
    void *features_ctx;
} ng_records_options;

typedef struct ng_records ng_records;
typedef struct ng_records_stats {
    uint64_t written, sampled_out, lost; /* lost: the database could not be used */
} ng_records_stats;

/* Fails only for want of memory or of a thread; a database that cannot be opened is a warning. */
ng_status ng_records_open(ng_records **out, const ng_records_options *opt,
                          ng_error *err) NG_MUST_USE;
void ng_records_close(ng_records *r);                /* writes what is left; NULL is fine */
void ng_records_push(ng_records *r, ng_record *rec); /* takes rec; thread-safe */
/* Counts a record for which there was no memory. */
void ng_records_count_lost(ng_records *r);
ng_status ng_records_flush(ng_records *r, ng_error *err) NG_MUST_USE;
/* Writes why records are not being kept into out[cap] and returns true; false while all is well. */
bool ng_records_warning(ng_records *r, char *out, size_t cap);
ng_records_stats ng_records_get_stats(ng_records *r);
const char *ng_records_path(const ng_records *r);

/* A new sortable id: 26 characters of Crockford's base 32 (48 bits of milliseconds, 24 of a
 * counter, 56 of noise: the layout of a ULID). */
void ng_decision_id(char out[33], int64_t wall_ms);
/* "answer", "route" or "pipeline". */
const char *ng_record_kind(const ng_record *r);
/* The JSON object that `explain --json` prints. */
void ng_record_json(ng_json *j, const ng_record *r);
/* Its member `signals` alone. */
void ng_record_signals_json(ng_json *j, const ng_record *r);

#endif
