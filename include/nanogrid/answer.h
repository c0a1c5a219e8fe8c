/* answer.h: what the grid gives back: one decision, one answer, and the way there.
 *
 * The same object is printed by `run --json`, stands in every task API's `results`, and under
 * `nanogrid` in chat completions with x-nanogrid-debug.  An answer owns everything it points to
 * (one arena) and ends with ng_answer_free(). */
#ifndef NANOGRID_ANSWER_H
#define NANOGRID_ANSWER_H

#include <nanogrid/buf.h>
#include <nanogrid/json.h>
#include <nanogrid/status.h>

/* X(NAME, "name in requests and output") */
#define NG_TASK_MAP(X)                                                                             \
    X(GENERATE, "generate")                                                                        \
    X(CLASSIFY, "classify")                                                                        \
    X(EXTRACT, "extract")                                                                          \
    X(MODERATE, "moderate")                                                                        \
    X(DETECT_LANGUAGE, "detect-language")                                                          \
    X(SUMMARIZE, "summarize")                                                                      \
    X(TRANSLATE, "translate")                                                                      \
    X(ANSWER, "answer")                                                                            \
    X(REWRITE, "rewrite")                                                                          \
    X(EMBED, "embed")                                                                              \
    X(RERANK, "rerank")

typedef enum ng_task {
    NG_TASK_AUTO, /* the router decides */
#define NG_TASK_ENUM(name, text) NG_TASK_##name,
    NG_TASK_MAP(NG_TASK_ENUM)
#undef NG_TASK_ENUM
    NG_TASK_COUNT
} ng_task;

typedef enum ng_tier_level { NG_TIER_NANO, NG_TIER_SMALL, NG_TIER_MEDIUM } ng_tier_level;

NG_API const char *ng_task_name(ng_task t); /* "auto" for NG_TASK_AUTO */
NG_API bool ng_task_parse(ng_task *out, const char *name);
NG_API const char *ng_tier_level_name(ng_tier_level t); /* "nano" */
NG_API bool ng_tier_level_parse(ng_tier_level *out, const char *name);

typedef struct ng_score {
    const char *label;
    float p;
} ng_score;

typedef struct ng_entity {
    size_t start, end; /* byte offsets into the UTF-8 input */
    const char *label; /* lower case: person, email, .. */
    const char *text;  /* input[start, end) */
    float score;
} ng_entity;

typedef struct ng_ranked {
    size_t index;
    float score;
} ng_ranked;

/* One step of the way: "router", "cache", "filter", "expert", "upstream". */
typedef struct ng_route_step {
    const char *step, *expert; /* expert: also an upstream's name; NULL where there is none */
    ng_tier_level tier;
    const char *outcome; /* answered, abstained, below-contract, failed, skipped:WHY, hit, miss */
    double confidence;   /* NaN: none */
    double latency_us;
} ng_route_step;

typedef struct ng_answer ng_answer;
struct ng_answer {
    void *arena; /* owns all that is pointed to */
    ng_task task;
    const char *expert; /* or the upstream's name; NULL when nothing answered */
    ng_tier_level tier;
    double confidence; /* calibrated, NaN where no calibration set exists */
    bool escalated, in_scope, cached;
    char decision_id[33];
    double latency_ms, load_ms, overhead_us;
    const char **warnings;
    size_t n_warnings;
    uint32_t prompt_tokens, completion_tokens; /* of a model with a vocabulary; else words are counted */
    uint32_t cached_tokens; /* of the prompt: known from earlier texts, not read again (prefix.h) */
    double cost_usd; /* of upstream calls; 0 for local answers */
    ng_route_step *route;
    size_t n_route;
    const char *signals; /* JSON: what the grid saw before it decided; NULL unless asked for */
    const char *reason; /* one sentence: why this expert, why escalated or not */

    /* By task; what does not apply is zero. */
    const char *label;                  /* classify, detect-language; NULL: abstained */
    ng_score *scores;                   /* best five, best first */
    size_t n_scores;
    bool flagged;                       /* moderate */
    ng_score *categories;               /* moderate: toxicity, hate, injection */
    size_t n_categories;
    const char *reading;                /* moderate: the text as the model has read it, where that is not as it stands; not told */
    ng_entity *entities;                /* extract, in order of start */
    size_t n_entities;
    const char *answer;                 /* summarize, translate, generate, answer, rewrite: text */
    const char *finish;                 /* generate: "stop", "length", "cancelled" */
    int64_t start, end;                 /* answer: span; -1 none */
    bool answerable;                    /* answer */
    float *embedding;                   /* embed: [n_embedding] */
    size_t n_embedding;
    ng_ranked *results;                 /* rerank, best first */
    size_t n_results;
};

NG_API ng_status ng_answer_new(ng_answer **out) NG_MUST_USE;
NG_API void ng_answer_free(ng_answer *a);
/* Memory that lives as long as the answer; NULL when out. */
NG_API void *ng_answer_alloc(ng_answer *a, size_t bytes) NG_MUST_USE;
NG_API const char *ng_answer_strndup(ng_answer *a, const char *s, size_t len) NG_MUST_USE;
/* Writes the contract's JSON object (DESIGN section 3, "An answer"). */
NG_API void ng_answer_json(ng_json *j, const ng_answer *a);
/* Only what a model itself says: {task, confidence, in_scope} and the task's own fields. */
NG_API void ng_answer_task_json(ng_json *j, const ng_answer *a);

#endif
