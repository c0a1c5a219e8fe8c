/* grid_parts.h: the inside of struct ng_grid, for the files of this room only.
 *
 * grid.c opens and closes it, ask.c walks one request through it, cascade.c climbs the tiers,
 * signals.c looks at the text.  After ng_grid_open nothing of it changes but what is marked atomic
 * and what the members' own headers guard, so requests share it without a lock. */
#ifndef NG_GRID_GRID_PARTS_H
#define NG_GRID_GRID_PARTS_H

#include "cache.h"
#include "drift.h"
#include "grid_config.h"
#include "learn.h"
#include "model/spelling.h"
#include "model/vector_claim.h"
#include "outcomes.h"
#include "record_features.h"
#include "records.h"
#include "semantic.h"
#include "route/route.h"
#include "spending.h"
#include "sticky.h"
#include <nanogrid/head.h>
#include <stdatomic.h>

/* One that can answer: an expert or an upstream. */
typedef struct grid_member {
    const char *name;
    size_t index; /* among the members */
    ng_task task; /* AUTO: any (upstreams) */
    ng_tier_level tier_level;
    bool upstream;
    ng_tier tier;           /* self NULL: cannot run, see why */
    const char *model_path; /* NULL: upstreams, rules alone */
    const char *adapter;    /* or NULL */
    const char *own_path;   /* what it alone answers by: the adapter, else the model; its other files stand beside it */
    const char *scores_path; /* where its labelled scores are looked for: own_path, or those of its head beside it */
    ng_tier route;          /* says whether a text is for this expert; self NULL: it brings no routing weights */
    const char *route_path;
    ng_vector_claim *vector; /* what it says over an encoder's vector of the text; NULL: nothing, or vector_why */
    const char *vector_why;  /* it has a word on that which cannot be read */
    const struct grid_member *second; /* asked too where this one is less sure than `below` (second.c); or NULL */
    double below;
    grid_stands stands; /* SECOND: but at refuse_below and above this one's, where the second refuses */
    double refuse_below;
    const char *upstream_model;
    const char *why;  /* unavailable since the grid was opened; NULL: available */
    double threshold; /* of its contract; NaN: none; INFINITY: it can never be kept */
    double max_error; /* NaN: no contract */
    double deadline_ms; /* of its contract; NaN: none */
    const char *on_miss; /* the label to answer then */
    ng_drift *drift;  /* watches what a contract rests on; NULL: no contract */
    const char *contract_why; /* it cannot be kept, only with keep_broken_contracts; else NULL */
    const char *const *languages;
    size_t n_languages;
    double prompt_per_1m, completion_per_1m;
    double latency_ms, joules_per_token; /* upstreams, as configured; 0: not known */
    const char *region, *consent; /* upstreams; NULL: not known, none needed */
    const char *const *tenants;
    size_t n_tenants; /* 0: all */
    double min_battery;
} grid_member;

/* How heads are opened and contracts computed; tests put fakes here. */
typedef struct grid_hooks {
    /* `name`: the expert's, or "EXPERT/unsure", "router/task", "router/expert", "signal/pii". */
    ng_status (*open_head)(void *ctx, ng_tier *out, const char *name, const ng_head_spec *spec,
                           ng_error *err);
    ng_status (*calibrate)(void *ctx, double *threshold, const char *model_path, double max_error,
                           ng_error *err);
    ng_status (*watch)(void *ctx, ng_drift **out, const char *model_path, ng_error *err);
    bool (*file_exists)(const char *path);
    void *ctx;
    /* Instead of the options' (which have no ctx), and who hears of every decision; both may be NULL. */
    ng_status (*open_upstream)(void *ctx, ng_tier *out, const ng_upstream_config *c, ng_error *err);
    void (*on_record)(void *ctx, const ng_record *r);
    double (*battery)(void *ctx); /* NULL: the real one */
    bool one_by_one; /* route.gguf are asked through open_head's tiers alone, never together */
    unsigned (*in_flight)(void *ctx, const char *member); /* requests that it serves now; NULL: the real ones */
    /* Of a replay: what an expert claimed when the encoder had read the text; false: not known.  NULL: the encoder is asked. */
    bool (*recall_claim)(void *ctx, const char *member, double *p);
    void (*recall_shape)(void *ctx, ng_record *r); /* fills in the shape of the request; NULL: from the text */
} grid_hooks;
extern const grid_hooks ng_grid_real_hooks;

struct ng_grid {
    _Atomic int refs;
    ng_arena *arena;
    int forced_drift; /* of a replay: 1 drifting, 0 not, whatever the watches say; -1: the watches */
    ng_grid_config config;
    const char *path, *dir; /* of grid.yaml; "(built in)" and "" */
    grid_hooks hooks;
    int n_threads;
    grid_member *members; /* experts, then upstreams, in configuration order */
    size_t n_experts, n_members;
    _Atomic uint32_t *in_flight; /* [n_members]: requests that each serves now */
    ng_tier task_router, expert_router, pii; /* self NULL: absent */
    ng_spelling *spelling;                   /* of the router's package; NULL: absent, or router.spelling is false */
    const char *router_paths[2];             /* of task and expert; NULL: absent */
    const char *pii_why, *router_why;        /* when absent although wanted */
    const grid_member *language;             /* the expert that tells languages, or NULL */
    bool languages_matter;                   /* some expert names the languages it serves */
    ng_cache *cache;                         /* NULL: off */
    ng_semantic *semantic;                   /* NULL: off */
    ng_tier embedder;                        /* of it; self NULL: off */
    ng_tier claim_encoder;                   /* of router.unsure */
    struct grid_encoder *encoder;            /* second_claims.c, which encoder that is; NULL: there is none, or nobody would ask it */
    ng_records *records;                     /* NULL: off */
    char *records_path;
    ng_learner *learner;        /* NULL: off */
    ng_outcomes_model *gains;   /* NULL: off */
    ng_sticky *sticky;          /* NULL: off */
    struct grid_claims *claims; /* compose.c; NULL: nobody has routing weights, or they are asked one by one */
    ng_budgets *budgets;        /* NULL: none */
    const char *regions;        /* of the policy, "eu,uk"; NULL: anywhere */
    bool battery_matters;       /* some member does not run on a low one */
    _Atomic int64_t battery_read_ms;
    _Atomic int battery_permille; /* -1: mains */
    recorded_features recorder; /* the writer's */
    struct {
        _Atomic uint64_t requests, answered[3], escalations, abstentions, cache_hits, cache_misses,
            errors, prompt_tokens, cached_tokens, completion_tokens, cost_nano_usd,
            deadline_misses, reasks, wasted_tokens, wasted_nano_usd, explored, pipelines[2], /* by whether one was degraded */
            feedback[2]; /* by whether the answer was right */
    } stats;
};

/* ng_grid_open over a text (NULL: the built-in grid) and with hooks (NULL: the real ones). */
ng_status ng_grid_open_text(ng_grid **out, const ng_grid_options *opt, const char *yaml,
                            const char *path, const grid_hooks *hooks, ng_error *err) NG_MUST_USE;

/* ng_grid_open with hooks. */
ng_status ng_grid_open_hooked(ng_grid **out, const ng_grid_options *opt, const grid_hooks *hooks,
                              ng_error *err) NG_MUST_USE;

enum { GRID_TEXT_MAX = 4 << 20, GRID_CANDIDATES_MAX = 64 };

/* One request on its way. */
typedef struct asking {
    ng_grid *grid;
    const ng_request *request;
    ng_tier_request req; /* what tiers are sent; task and expert change from tier to tier */
    const char *text;    /* the last message of the user */
    size_t len;
    char *plain;         /* the text without dirt, for routers and classifiers; NULL: it has none */
    ng_part plain_part;
    ng_message plain_message;
    char *spelt;         /* that with typing errors put right, for what gives a text one of its labels; NULL: none was found */
    ng_part spelt_part;
    ng_message spelt_message;
    const ng_message *reading; /* how the first of an expert's models has read it, while the second is asked; or NULL */
    char *payload;       /* what of it the task is about, where that is less; req points here then */
    ng_part payload_part;
    ng_message payload_message;
    char *shortened;     /* by policy.on_long: compress */
    ng_message *shortened_messages;
    ng_part shortened_part;
    ng_limits limits;
    uint64_t t0_ns, expert_ns; /* expert_ns: spent inside experts and upstreams */
    ng_record rec;             /* fills up on the way; copied when pushed */
    ng_task task;
    const grid_member *pinned; /* named by the request */
    const grid_member *chosen; /* by the router */
    const grid_member *referred; /* who is asked where the chosen one finds the text out of its scope; or NULL */
    bool disowned;     /* the pinned one's own routing weights say: not mine */
    ng_answer *probed;         /* the chosen expert's answer, where choosing meant asking */
    double probed_us;
    ng_answer *best; /* the answer so far; best_member gave it */
    const grid_member *best_member;
    ng_error first_error; /* of a tier that failed */
    size_t n_failed;
    bool undecided;    /* the router says: none of the tasks */
    bool out_of_scope; /* or the expert says so */
    bool passing;      /* something transient (health, cost, deadline) shaped the answer */
    bool committed;    /* a token has reached the asker: the tier cannot change any more */
    bool by_gain;      /* the answer here kept what was promised; the next tier was asked all the same */
    bool exploring;    /* every tier is asked */
    struct {               /* a generation that was stopped before its end, for it went wrong */
        const grid_member *member; /* NULL: none */
        size_t at;         /* in the line */
        const char *draft; /* what it had written; owned */
        ng_part part;      /* what tiers above are told of it */
        ng_message *messages; /* owned */
        char *note;        /* owned */
    } given_up;
    struct {               /* of the semantic cache */
        ng_answer *vector; /* NULL: not asked */
        ng_digest scope;
        char language[12];
        uint64_t entry;    /* a hit that is being checked; 0: none */
        double similarity;
    } near;
    uint64_t conversation; /* 0: none */
    bool goes_on;          /* it has had an answer before */
    bool drifting;     /* an expert's texts left its calibration set: more confidence was asked for */
    bool answered;     /* `best` keeps its contract */
    bool cache_asked;
    bool missed;       /* the contract's deadline */
    bool must_wait;    /* the request may not, so this is not its answer */
    struct {           /* what drift watches hear, once the answer stands */
        ng_drift *drift;
        double confidence;
    } judged[GRID_CANDIDATES_MAX];
    size_t n_judged;
} asking;

/* grid.c: calls fn for each label of a linear model until it says false; not at all for other files. */
typedef bool ng_label_fn(void *ctx, const char *label, size_t len);
void ng_grid_each_label(const char *path, ng_label_fn *fn, void *ctx);

/* signals.c */
void ng_late_signals(void *grid, ng_record *r); /* for ng_records_options */
bool ng_has_foreign_letters(const char *text, size_t len);
void ng_ask_signals(asking *a); /* personal data: tightens the limits */
void ng_ask_language(
    asking *a); /* after the choice: a language that the chosen does not serve rules it out */
/* choose.c: sets task and chosen (or pinned).  NG_ENOEXPERT, NG_ENOTFOUND, NG_EINVALID. */
ng_status ng_ask_choose(asking *a, ng_error *err);
/* ask_semantic.c.  Sets best, with a reason, where a request that meant the same was answered; scope: a digest of all of the
 * request but its text. */
bool ng_ask_recall(asking *a, ng_digest scope);
/* A text's vector from a tier of the task embed; the answer that holds it is the caller's. */
ng_status ng_ask_vector(asking *a, const ng_tier *t, const char *text, size_t len, ng_answer **out, ng_error *err) NG_MUST_USE;
/* Keeps the answer for requests that will mean the same, once recall was asked. */
void ng_ask_keep(asking *a);
/* compose.c: experts with routing weights of their own. */
#define NG_CLAIM_MIN 0.5
/* Where nobody else is left, the least foreign claim goes on: whether the text is in scope, its expert says. */
#define NG_CLAIM_AT_ALL 0.02
typedef struct ng_claims {
    const grid_member *best, *second; /* NULL: none claims anything */
    double best_p, second_p;
    size_t n; /* that have a word */
    bool by_vectors; /* the linear ones left it open, and the encoder was asked */
} ng_claims;
ng_status ng_grid_open_route(ng_grid *g, grid_member *m, int line, ng_error *err) NG_MUST_USE;
/* Once all members are there: their routing weights are asked together. */
ng_status ng_grid_open_claims(ng_grid *g, ng_error *err) NG_MUST_USE;
void ng_grid_close_claims(ng_grid *g);
/* Asks those of m[n] that have routing weights; what each says goes into `heard`. */
ng_claims ng_ask_claims(asking *a, const grid_member *const *m, size_t n, ng_decision *heard);
/* second_claims.c.  m has routing weights: opens what it says over vectors, where its package holds that. */
ng_status ng_grid_open_vector_claim(ng_grid *g, grid_member *m, ng_error *err) NG_MUST_USE;
bool ng_grid_has_vector_claims(const ng_grid *g);
ng_status ng_grid_new_encoder(ng_grid *g, ng_error *err) NG_MUST_USE;
void ng_grid_free_encoder(ng_grid *g);
/* p[n]: linear claims (below 0: none) in, those with the encoder out; adds to *us.  False: they stay. */
bool ng_ask_second_claims(asking *a, const grid_member *const *m, size_t n, double *p, double *us);
/* Whether m's own routing weights say that the text is not for it. */
bool ng_ask_disowns(asking *a, const grid_member *m);
/* Keeps the best NG_DECISION_MAX, best first. */
void ng_decision_add(ng_decision *d, const char *label, double p);

/* cascade.c: sets best, or fails. */
ng_status ng_ask_cascade(asking *a, ng_error *err);
void ng_ask_note_label(ng_record_step *step, const grid_member *m, const ng_answer *said);
/* second.c: `first` is m's answer, *step the one that tells of it; where m's second model has a word the one that stands, on its step. */
ng_answer *ng_ask_second(asking *a, const grid_member *m, ng_answer *first, ng_record_step **step);
/* The second's answer where m failed or cannot run; NULL: it has none that may be asked, or that fails too. */
ng_answer *ng_ask_stand_in(asking *a, const grid_member *m, ng_record_step **step);

enum { GRID_SHORTEN_TRIES = 6 };
/* Puts a compressed text into the request, 1 / 2^(round + 1) of its words.  NG_ELIMIT: it cannot be. */
ng_status ng_ask_shorten(asking *a, int round, ng_error *err);

/* weigh.c: sorts upstreams by tier and then by what the policy's weights say of them; the record tells it. */
void ng_ask_weigh(asking *a, const grid_member **m, size_t n);

/* limits.c: where, for whom and on what power: the limits of a request that do not depend on its text. */
ng_status ng_grid_open_limits(ng_grid *g, ng_error *err) NG_MUST_USE;
void ng_ask_limits(asking *a);
/* Takes what a call of a higher tier will cost from the tenant's budget; false: there is not enough left. */
bool ng_ask_pay(asking *a, const grid_member *m);
void ng_ask_settle(asking *a, const grid_member *m, double cost_usd);

/* The confidence that m's contract and the request ask for now, NaN without one; notes a drift. */
double ng_ask_threshold(asking *a, const grid_member *m);

/* An answer that nobody gets: its tokens and money are counted, and it is freed. */
void ng_ask_waste(asking *a, const grid_member *m, ng_answer *said);
/* Of the best label over the second; NaN without labels. */
double ng_answer_margin(const ng_answer *a);

/* reading.c: the text as routers and experts for labels read it.  First without dirt, */
void ng_ask_read(asking *a);
/* then, where the cache knows no answer, without typing errors. */
void ng_ask_spell(asking *a);
/* The request as an expert of this task reads it; routers read as `classify`. */
ng_tier_request ng_ask_reading(const asking *a, ng_task task);
ng_part ng_ask_read_part(const asking *a); /* what routers read */
/* Router and expert read different texts: features of one do not tell what the other decided. */
bool ng_ask_read_twice(const asking *a);
/* The text whose features a record keeps, to be freed; NULL: as it was sent. */
char *ng_ask_take_reading(asking *a);

/* ask.c, for the others */
ng_record_step *ng_ask_step(asking *a, const char *step, const grid_member *m);
void ng_ask_warn(asking *a, const char *fmt, ...) NG_PRINTF(2, 3);
bool ng_member_runs(const grid_member *m, const char **why);
double ng_member_cost(const grid_member *m, const asking *a);
double ng_ask_tokens(const asking *a); /* prompt and completion, the estimate that the cost rests on */
bool ng_ask_admits(asking *a, const grid_member *m, char *outcome);
/* Sends the request to a member with `task`; answer is new.  Adds to expert_ns and *us. */
ng_status ng_ask_member(asking *a, const grid_member *m, ng_task task, ng_answer **out, double *us,
                        ng_error *err);
/* Before the first token reaches the asker. */
void ng_ask_tell_answerer(asking *a, const char *expert, ng_tier_level tier);
ng_status ng_ask_no_expert(asking *a, ng_error *err);

#endif
