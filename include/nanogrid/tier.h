/* tier.h: how the grid asks anything that can answer: a model in this process, a worker, a mesh
 * peer, an upstream.  Messages are plain data (no pointers into the asker's state outlive a call), so
 * that any of them can be serialised.
 *
 *     struct ng_tier { void *self; ng_status (*submit)(..); .. };
 *
 * submit() runs on the caller's thread and returns when the answer is complete; tokens arrive through
 * on_token while it runs; returning false from there, or cancel() from another thread, ends it. */
#ifndef NANOGRID_TIER_H
#define NANOGRID_TIER_H

#include <nanogrid/answer.h>
#include <nanogrid/generate.h>
#include <nanogrid/scheduler.h>

/* A request is a list of typed parts.  Only text is served by this version; the others are refused
 * by name. */
typedef enum ng_part_type { NG_PART_TEXT, NG_PART_IMAGE, NG_PART_AUDIO, NG_PART_SERIES } ng_part_type;
NG_API const char *ng_part_type_name(ng_part_type t);

typedef struct ng_part {
    ng_part_type type;
    const char *text; /* UTF-8, len bytes (NUL-terminated too) */
    size_t len;
} ng_part;

typedef struct ng_message {
    const char *role; /* "user" for a task's input */
    const ng_part *parts;
    size_t n_parts;
} ng_message;

/* Parameters of tasks; zero means absent.  Ranges are checked by ng_params_check. */
typedef struct ng_params {
    ng_generate_options generate; /* set `has_generate`, else the defaults */
    bool has_generate;
    uint32_t max_sentences, max_tokens; /* summarize */
    const char *to, *from;              /* translate */
    const char *const *labels;          /* classify, zero-shot */
    size_t n_labels;
    uint32_t top_k;                     /* classify: scores returned (5) */
    const char *const *types;           /* extract: labels wanted */
    size_t n_types;
    bool offsets_chars;                 /* extract: offsets in characters, not bytes */
    const char *const *documents;       /* rerank */
    size_t n_documents;
    const ng_part *ahead;               /* embed: texts that the asker will ask for next, each in a request of its own; */
    size_t n_ahead;                     /* a tier may compute them with this one.  No part of the question: not in cache keys */
    const char *context;                /* answer: the text that holds the answer */
} ng_params;

/* NG_EINVALID naming the parameter and its range, or one that the task needs (translate: to).  Every
 * way into the grid passes through it. */
NG_API ng_status ng_params_check(const ng_params *p, ng_task task, ng_error *err) NG_MUST_USE;

typedef struct ng_tier_request {
    ng_task task;
    const char *expert; /* the head or model to use; an upstream's model name */
    const ng_message *messages;
    size_t n_messages;
    ng_params params;
    uint64_t tenant;           /* whose it is: what one tenant's texts left behind speeds up no other's; 0: nobody's */
    bool is_private;           /* nothing of it may be written to files */
    int64_t deadline_ms;       /* of the monotonic clock; 0: none */
    ng_token_fn *on_token;     /* generate: text as it comes; or NULL */
    void *on_token_ctx;
    bool (*abandoned)(void *ctx); /* asked while nothing comes: true ends the call, nobody waits; or NULL */
    void *abandoned_ctx;
    const char *traceparent;   /* W3C trace context to pass on, or NULL */
    const void *features;      /* recorded features in place of the text, for linear models; NULL: the text */
    size_t features_len;
} ng_tier_request;

/* What a decoder is doing and has done. */
typedef struct ng_tier_look {
    const void *owner; /* equal for tiers that share a decoder */
    const char *path;  /* of the model's file; the tier's */
    ng_scheduler_stats stats;
    ng_slot slots[NG_SLOTS_MAX]; /* [stats.n_slots] */
} ng_tier_look;

typedef struct ng_tier ng_tier;
struct ng_tier {
    void *self;
    /* Fills the task's part of `answer`, its confidence, in_scope and token counts. */
    ng_status (*submit)(void *self, const ng_tier_request *req, ng_answer *answer, ng_error *err);
    /* False while a breaker is open or the model cannot be loaded: *why says which, borrowed. */
    bool (*healthy)(void *self, const char **why);
    void (*cancel)(void *self);
    void (*close)(void *self);
    /* False: it is no decoder, or not loaded.  NULL: it never is one.  A snapshot; no generation waits for it. */
    bool (*look)(void *self, ng_tier_look *out);
    /* True while submit() would neither wait for anybody nor take long (a loaded linear model, rules).  NULL: never. */
    bool (*at_once)(void *self);
};

/* What grid.yaml says of an upstream (DESIGN section 5). */
typedef struct ng_upstream_config {
    const char *name, *base_url, *api_key_env, *model;
    ng_tier_level tier;
    double prompt_per_1m, completion_per_1m; /* US dollars */
    int allowed_fails;                       /* failures in a row that open the breaker (2) */
    int64_t cooldown_ms;                     /* how long it stays open (30 s) */
    int64_t timeout_ms;                      /* of one attempt (30 s) */
    int64_t connect_timeout_ms;              /* (2 s) */
} ng_upstream_config;

/* The library has no network; programs that have one pass this to ng_grid_open(). */
typedef ng_status ng_upstream_open_fn(ng_tier *out, const ng_upstream_config *config, ng_error *err);

#endif
