/* grid.h: the grid as an application sees it: open, ask, explain.
 *
 *     ng_grid *g;
 *     ng_grid_open(&g, NULL, &err);                  the default grid, packages beside the program
 *     ng_request r = ng_request_text("freeze my card", NG_TASK_AUTO);
 *     ng_answer *a;
 *     ng_grid_ask(g, &r, &a, &err);
 *     printf("%s (%.2f)\n", a->label, a->confidence);
 *     ng_answer_free(a);  ng_grid_close(g);
 *
 * An open grid is an immutable, reference-counted snapshot of its configuration with models loaded
 * on first use; ng_grid_ask may be called from any number of threads. */
#ifndef NANOGRID_GRID_H
#define NANOGRID_GRID_H

#include <nanogrid/head.h>

typedef struct ng_grid ng_grid;

typedef struct ng_grid_options {
    const char *path;                   /* grid.yaml; NULL: $NANOGRID_GRID, $NANOGRID_HOME/grid.yaml, the default */
    ng_upstream_open_fn *open_upstream; /* NULL: a configuration with upstreams is refused */
    ng_head_open_fn *open_head;         /* NULL: models run in this process; else big ones are opened by this */
    void *open_head_ctx;
    bool no_records;                    /* keep no decision database (one-shot verbs on read-only homes) */
    int n_threads;                      /* for models; 0: by measurement */
    bool keep_broken_contracts;         /* for an audit: a contract that cannot be kept is told there, not refused here */
} ng_grid_options;

NG_API ng_status ng_grid_open(ng_grid **out, const ng_grid_options *opt, ng_error *err) NG_MUST_USE;
NG_API ng_grid *ng_grid_ref(ng_grid *g);
NG_API void ng_grid_close(ng_grid *g); /* drops a reference; flushes records with the last one */

typedef enum ng_privacy { NG_PRIVACY_ANY, NG_PRIVACY_MESH, NG_PRIVACY_LOCAL } ng_privacy;
NG_API bool ng_privacy_parse(ng_privacy *out, const char *name);

/* Told once, before the first token: who answers, which is certain from then on. */
typedef void ng_answerer_fn(void *ctx, const char *expert, ng_tier_level tier, const char *decision_id);

typedef struct ng_request {
    ng_task task;
    const char *model; /* an expert's or upstream's name; NULL or "auto": the grid decides */
    const ng_message *messages;
    size_t n_messages;
    ng_params params;
    ng_privacy privacy;       /* hard limit of this request */
    double max_cost_usd;      /* NaN: none; 0 forbids every paid call */
    int64_t deadline_ms;      /* from now; 0: the configuration's */
    const char *tenant;       /* "" or NULL: none */
    const char *regions;      /* hard limit: the text goes to upstreams of these alone, "eu,uk"; NULL: the policy's */
    const char *consents;     /* what its owner agreed to, "cloud,research"; NULL: nothing */
    const char *request_id, *traceparent;
    unsigned max_tier;        /* 1 + the highest ng_tier_level that may be asked; 0: any */
    double min_confidence;    /* a less sure answer from here escalates, whatever its contract; 0: none */
    struct {                  /* of a pipeline's step: whose it is; NULL: none */
        const char *name, *step, *decision_id;
    } pipeline;
    bool no_cache;
    bool with_signals;        /* fills the answer's signals */
    bool *would_wait;         /* not NULL: for a thread that must not be held up.  Where an answer takes more than small
                                 models that are loaded, this is set, nothing is counted or recorded, and the result is
                                 NG_EBUSY: ask again from a thread that may wait */
    ng_token_fn *on_token;    /* generate: called once it is certain which tier answers */
    void *on_token_ctx;
    ng_answerer_fn *on_answerer; /* or NULL; only with on_token, whose ctx it gets */
    bool (*abandoned)(void *ctx); /* asked now and then, from this thread: true ends the request; or NULL */
    void *abandoned_ctx;
    const void *features;         /* recorded features in place of the text (a replay); or NULL */
    size_t features_len;

    ng_part text_part_; /* storage of ng_request_text */
    ng_message text_message_;
} ng_request;

/* Initialises *r for one text of the user (borrowed). */
NG_API void ng_request_init(ng_request *r, ng_task task);
NG_API void ng_request_set_text(ng_request *r, const char *text, size_t len);

/* Routes and answers.  On success *out is the caller's.  An abstention without a higher tier is
 * NG_OK with label NULL and in_scope false.  NG_ENOEXPERT: nothing serves the task and no upstream
 * may; the text names how to add a model or an upstream.  NG_ENOTFOUND: no such expert. */
NG_API ng_status ng_grid_ask(ng_grid *g, const ng_request *r, ng_answer **out, ng_error *err) NG_MUST_USE;
/* The decision alone: task, expert, tier, in_scope, scores over experts, reason. */
NG_API ng_status ng_grid_route(ng_grid *g, const ng_request *r, ng_answer **out, ng_error *err) NG_MUST_USE;
/* The JSON of `route --json`: {decision_id, task, expert, tier, in_scope, scores{}, reason, latency_us}. */
NG_API void ng_route_json(ng_json *j, const ng_answer *a);

/* What a person says about a decision: whether it was right, or which label would have been. */
typedef struct ng_feedback {
    const char *decision_id;
    int correct;         /* 1, 0; -1: not said, then label is */
    const char *label;   /* classify, detect-language: the right one; or NULL */
    const char *comment; /* or NULL */
} ng_feedback;
/* Stores it beside the decision (the last word on a decision counts) and says in *correct whether the
 * answer was right.  On return it is in the database.  NG_ENOTFOUND: no such decision. */
NG_API ng_status ng_grid_feedback(ng_grid *g, const ng_feedback *f, bool *correct, ng_error *err) NG_MUST_USE;

/* One recorded decision, told in full: as text for people, or as the recorded JSON.  NG_ENOTFOUND. */
NG_API ng_status ng_grid_explain(ng_grid *g, const char *decision_id, bool json, ng_buf *out,
                                 ng_error *err) NG_MUST_USE;
/* The newest n decisions as a JSON array. */
NG_API ng_status ng_grid_decisions(ng_grid *g, size_t n, ng_json *j, ng_error *err) NG_MUST_USE;
/* What was used, by expert and in all, from the records: as a table or as one JSON object
 * {experts: [{expert, tier, requests, ..}], requests, .., cost_usd}. */
NG_API ng_status ng_grid_usage(ng_grid *g, bool json, ng_buf *out, ng_error *err) NG_MUST_USE;
/* Are the contracts held?  A row for each source of evidence an expert has: the scores that its package
 * carries and feedback, with {route, task, source, n, wrong, risk, upper95, coverage, max_error, threshold,
 * judged, holds, why}; as a table or as one JSON object {held, routes: [..]}.  *held: every contract has at
 * least 300 judged answers and their 95 % bound is within it (docs/routing.md). */
NG_API ng_status ng_grid_audit(ng_grid *g, bool json, ng_buf *out, bool *held, ng_error *err) NG_MUST_USE;
/* What would a configuration have done with the recorded traffic?  Every decision is made again from its
 * recorded features, by the configuration's own code and models; upstreams are not asked, only counted
 * and priced.  Two runs over the same records give the same bytes. */
typedef struct ng_replay_options {
    const char *path;  /* of grid.yaml; NULL: as ng_grid_open */
    const char *since; /* "7d", "2026-11-21", "2026-11-21T09:00:00Z"; NULL: all records */
    size_t n_flips;    /* how many changed decisions are told one by one */
} ng_replay_options;
/* As text or as one JSON object (docs/routing.md). */
NG_API ng_status ng_grid_replay(const ng_replay_options *opt, bool json, ng_buf *out, ng_error *err) NG_MUST_USE;
/* What the sequences of the decoders that are loaded are doing: an array of {id, model, state, is_processing,
 * n_ctx, n_past, n_prompt, n_decoded}. */
NG_API void ng_grid_slots(ng_grid *g, ng_json *j);
/* What they have done: one for each decoder that is loaded, whatever number of experts it has.  Fills at most max
 * and returns how many; `path` is borrowed from the grid. */
typedef struct ng_grid_decoder {
    const char *path; /* of the model's file */
    ng_scheduler_stats stats;
} ng_grid_decoder;
NG_API size_t ng_grid_decoders(ng_grid *g, ng_grid_decoder out[], size_t max);
/* Waits until what was answered so far is in the database. */
NG_API ng_status ng_grid_flush(ng_grid *g, ng_error *err) NG_MUST_USE;

/* What can be named as `model`: experts and upstreams, in configuration order. */
typedef struct ng_grid_entry {
    const char *name, *model_path; /* model_path NULL for upstreams and built-in rules */
    const char *adapter;           /* the file beside the model's weights; NULL: none */
    ng_task task;                  /* NG_TASK_AUTO for upstreams (any) */
    ng_tier_level tier;
    bool upstream, available;      /* available: its model file exists / its breaker is closed */
    const char *why;               /* when not available */
    bool watched, drifting;        /* has a contract; its texts of late have left the calibration set */
    double drift;                  /* how far, 0..1 */
} ng_grid_entry;
NG_API size_t ng_grid_n_entries(const ng_grid *g);
NG_API ng_grid_entry ng_grid_get_entry(const ng_grid *g, size_t i);

typedef struct ng_grid_config_view {
    const char *listen;     /* "127.0.0.1:8080" */
    const char *path;       /* of the file read, or "(built in)" */
    uint32_t hold_tokens;   /* cascade.hold_tokens */
} ng_grid_config_view;
NG_API ng_grid_config_view ng_grid_get_config(const ng_grid *g);
/* The compiled-in default grid.yaml. */
NG_API const char *ng_grid_default_yaml(void);

/* Monotonic counters for /metrics; a snapshot. */
typedef struct ng_grid_stats {
    uint64_t requests, answered_nano, answered_small, answered_medium, escalations, abstentions, cache_hits,
        cache_misses, semantic_hits, semantic_misses, semantic_checked, semantic_false, semantic_len, semantic_bytes,
        errors, records_written, records_sampled_out, prompt_tokens, cached_tokens, completion_tokens, deadline_misses,
        feedback_correct, feedback_wrong, pipelines, pipelines_degraded, reasks, explored, wasted_tokens,
        router_version, router_versions_made, router_versions_refused, router_rollbacks;
    double semantic_threshold; /* that new entries begin with */
    double cost_usd, wasted_usd; /* wasted: spent on answers that nobody got */
} ng_grid_stats;
NG_API ng_grid_stats ng_grid_get_stats(const ng_grid *g);

#endif
