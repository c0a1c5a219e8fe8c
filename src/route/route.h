/* route.h: the parts of a routing decision: who decides, what may run, when an answer is good
 * enough.
 *
 *     ng_decision d;
 *     ng_router_decide(&d, &task_head, &request, &err);       labels with calibrated probabilities
 *     const char *why = ng_policy_filter(&limits, &candidate);  NULL: it may run
 *     double t;
 *     ng_calibration_threshold(&t, "models/intent/model.gguf", 0.02, &err);
 *     if (answer->confidence < t) ..                          below the contract: ask the next tier
 *
 * The router package (`nanogrid/router-en`) is a folder with one or two GGUF files, each of them an
 * ordinary linear classifier (general.architecture and keys of src/task/head_linear.c, opened by
 * ng_head_open for the task classify):
 *
 *     task.gguf     labels are the names of tasks (NG_TASK_MAP: "classify", "extract", ..); trained on
 *                   requests as people type them; its own out-of-scope threshold decides that a
 *                   request is none of them
 *     expert.gguf   labels are the names of experts of the default grid (intent, sentiment, topic,
 *                   question-type, ..); trained on the experts' own training texts.  Only its order
 *                   among the experts of the decided task is used: in_scope is decided by the chosen
 *                   expert's own out-of-scope score.  May be missing: then every expert of the task is
 *                   asked and the most confident one in scope is taken.
 *
 * The calibration set of an expert stands in its package (scores.h).  Everything here is free of state;
 * calls are thread-safe. */
#ifndef NG_ROUTE_ROUTE_H
#define NG_ROUTE_ROUTE_H

#include <nanogrid/grid.h>

/* ---- decisions ------------------------------------------------------------------------------- */

enum { NG_DECISION_MAX = 16, NG_DECISION_LABEL_MAX = 48 };

/* What a router head said. */
typedef struct ng_decision {
    struct {
        char label[NG_DECISION_LABEL_MAX];
        float p;
    } scores[NG_DECISION_MAX]; /* best first */
    size_t n_scores;
    double confidence; /* of the best label; NaN: not calibrated */
    bool in_scope;
    double latency_us, load_ms; /* load_ms: of the first call, part of latency_us */
} ng_decision;

/* Asks a head (an ng_tier over a classifier) about the request's text. */
ng_status ng_router_decide(ng_decision *out, const ng_tier *head, const ng_tier_request *req,
                           ng_error *err) NG_MUST_USE;
/* The probability that `d` gives to `label`; -1 when it has no such label. */
double ng_decision_score(const ng_decision *d, const char *label);

/* The bytes [begin, end) of a routed request that its task is about, the instruction around them left
 * out where the router recognises one ("Summarize: ..", ".. which language is this?").  All of the text
 * where it does not, and for tasks other than detect-language and summarize.  At most four questions to
 * the router. */
typedef struct ng_payload {
    size_t begin, end;
} ng_payload;
ng_payload ng_router_payload(const ng_tier *router, ng_task task, const char *text, size_t len);

/* ---- hard filters ---------------------------------------------------------------------------- */

/* What holds for one request.  Limits only ever tighten: see ng_privacy_meet. */
typedef struct ng_limits {
    ng_privacy privacy;
    const char *regions[2]; /* where the text may go, "eu,uk": the policy's and the request's; NULL: anywhere */
    const char *consents;   /* what its owner agreed to, "cloud,research"; NULL: nothing */
    const char *tenant;     /* NULL: none */
    double battery;         /* what is left, 0..1; NaN: mains */
    double max_cost_usd; /* NaN: none */
    int64_t deadline_ms; /* on the monotonic clock; 0: none */
    int64_t now_ms;
    const char *language; /* of the text, ISO code; NULL: not known */
    unsigned max_tier;    /* 1 + the highest ng_tier_level that may be asked; 0: any */
} ng_limits;

typedef struct ng_candidate {
    ng_tier_level tier;
    bool remote;                  /* leaves this device (an upstream) */
    const char *region;           /* remote: where it is; NULL: not known */
    const char *consent;          /* what must have been agreed to; NULL: nothing */
    const char *const *tenants;   /* [n_tenants] that it serves */
    size_t n_tenants;             /* 0: any */
    double min_battery;           /* it does not run on less; 0: always */
    const char *over_budget;      /* why the tenant cannot pay for it; NULL: it can */
    double cost_usd;              /* estimated for this request */
    const char *unhealthy;        /* why it cannot run now; NULL: it can */
    const char *const *languages; /* [n_languages] that it serves */
    size_t n_languages;           /* 0: any */
} ng_candidate;

enum { NG_OUTCOME_MAX = 64 };

/* Writes "skipped: .." into out[NG_OUTCOME_MAX] and returns false when a limit forbids the
 * candidate. The order of the checks is the order of their rank: privacy, region, consent, tenant, tier,
 * budget, cost, deadline, battery, health, language.  No score enters here, so none can override a limit; a tighter limit never admits more
 * candidates. */
/* Whether `word` is one of the comma list. */
bool ng_list_has(const char *list, const char *word);
bool ng_policy_admits(const ng_limits *l, const ng_candidate *c, char *out);
/* The stricter of two: any < mesh < local.  Commutative, associative, idempotent. */
ng_privacy ng_privacy_meet(ng_privacy a, ng_privacy b);
const char *ng_privacy_name(ng_privacy p);

/* ---- contracts ------------------------------------------------------------------------------- */

/* Probability with which a promise may be broken by the luck of the calibration set's draw. */
#define NG_CONTRACT_DOUBT 0.002

/* The smallest confidence t such that answering exactly when confidence >= t keeps the error at
 * most max_error, with certainty 1 - doubt over the draw of the calibration set
 * (threshold.c says how).  INFINITY when no t keeps it: then nothing may be answered under this
 * contract.  NG_ENOMEM. */
ng_status ng_threshold_for(double *out, const float *confidence, const uint8_t *correct, size_t n,
                           double max_error, double doubt) NG_MUST_USE;
/* The same of a set that may tell kinds: then no kind that answers ten times or more may break the promise by itself. */
struct ng_scores;
ng_status ng_threshold_of(double *out, const struct ng_scores *set, double max_error, double doubt) NG_MUST_USE;
/* The same with NG_CONTRACT_DOUBT from a model's calibration set.  NG_ENOTFOUND when it has none, NG_EINVALID when no
 * confidence keeps the promise: the text then names the least that can be promised. */
ng_status ng_calibration_threshold(double *out, const char *model_path, double max_error,
                                   ng_error *err) NG_MUST_USE;

#endif
