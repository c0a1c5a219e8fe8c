/* scheduler.h: many generations on one model at once: continuous batching with chunked prefill.
 *
 *     ng_scheduler *s;
 *     ng_scheduler_new(&s, model, NULL, &err);                    starts one thread
 *     ng_scheduled r = {.prompt = ids, .n_prompt = n, .options = &o};
 *     ng_scheduler_generate(s, &g, &r, &err);                     from any number of threads
 *     printf("%s\n", g.text);  ng_generation_clear(&g);
 *     ng_scheduler_free(s);
 *
 * One thread steps all sequences together.  A step is one forward: each sequence that decodes gives
 * one token, and the prompts of those that join give a chunk, so large that the step takes about
 * 1.4 times as long as one without it: whoever joins never stops a running stream for long.  Without
 * running streams a prompt is read in whole batches.  Sequences join and leave between steps.
 *
 * A generation says what it would say alone: its tokens, texts and logprobs are the same bits whatever
 * else runs, however its prompt was cut, on any number of threads (each has its own sampler and seed).
 *
 * Memory is bounded when the scheduler is made: n_slots sequences share the KV pages of n_kv_tok
 * tokens, and a finished sequence's pages are kept (prefix.h) until another needs them, so that a conversation that
 * goes on, or a system prompt that many share, is read once.  A generation for which no slot or no
 * page is free waits in line, first come, first served; a full line refuses with NG_EBUSY.  When the
 * pages run out among running sequences, the one that joined last gives its pages back and reads
 * its tokens again later: it is late, not different.
 *
 * All calls are thread-safe, but for ng_scheduler_free. */
#ifndef NANOGRID_SCHEDULER_H
#define NANOGRID_SCHEDULER_H

#include <nanogrid/generate.h>
#include <nanogrid/prefix.h>

typedef struct ng_scheduler ng_scheduler;

typedef struct ng_scheduler_options {
    uint32_t n_slots;   /* sequences that run at once, at most NG_SLOTS_MAX (0: 8) */
    uint32_t n_ctx;     /* most tokens of one sequence (0: min(n_ctx_train, 4096)) */
    uint32_t n_kv_tok;  /* tokens that all sequences hold together, at least n_ctx (0: twice n_ctx) */
    uint32_t n_waiting; /* generations that may wait for a slot (0: 64) */
    int n_threads;      /* of the forward (0: by measurement) */
    ng_kv_precision kv; /* of the pages */
    const struct ng_confidence *confidence; /* judges every generation; it must outlive the scheduler (NULL: none) */
    const ng_prefix_options *prefix; /* what is kept beyond the pages of n_kv_tok, and where (NULL: what those spare) */
} ng_scheduler_options;

/* The model must outlive it.  NG_EINVALID names the option and its range; NG_ENOMEM. */
NG_API ng_status ng_scheduler_new(ng_scheduler **out, const ng_model *m, const ng_scheduler_options *opt,
                                  ng_error *err) NG_MUST_USE;
/* No call may be running.  NULL is fine. */
NG_API void ng_scheduler_free(ng_scheduler *s);
NG_API uint32_t ng_scheduler_n_ctx(const ng_scheduler *s);
NG_API int ng_scheduler_threads(const ng_scheduler *s);

typedef struct ng_scheduled {
    const int32_t *prompt; /* [n_prompt] the whole sequence from its first token */
    size_t n_prompt;
    const ng_generate_options *options; /* NULL: the defaults; its calls come on the caller's thread */
    uint64_t tenant;       /* whose it is: texts of different tenants share nothing, nor can a clock tell that they could */
    bool is_private;       /* it is kept in memory only */
    float *features;       /* [of the scheduler's confidence] what it saw of the whole generation; or NULL */
    int64_t deadline_ms;   /* of the monotonic clock: the generation then ends with finish "deadline"; 0: none */
} ng_scheduled;

/* As ng_generate(), waiting for the others' steps.  Events may come in bursts when on_token is slow; it
 * holds nobody up.  When on_token returns false the result has the tokens it was given.  NG_ELIMIT: the
 * prompt leaves no room in n_ctx; NG_EBUSY: n_waiting others wait already. */
NG_API ng_status ng_scheduler_generate(ng_scheduler *s, ng_generation *out, const ng_scheduled *r,
                                       ng_error *err) NG_MUST_USE;

/* What stands where; a snapshot between two steps. */
typedef enum ng_slot_state {
    NG_SLOT_IDLE,
    NG_SLOT_READING, /* its prompt */
    NG_SLOT_DECODING,
    NG_SLOT_PAUSED,  /* gave its pages back; it goes on when there are free ones */
    NG_SLOT_STATES
} ng_slot_state;
NG_API const char *ng_slot_state_name(ng_slot_state s); /* "idle" */

enum { NG_SLOTS_MAX = 64 };

typedef struct ng_slot {
    ng_slot_state state;
    size_t n_past;    /* tokens held; idle: by its last sequence */
    size_t n_prompt;  /* of its generation; 0 when idle */
    size_t n_decoded;
} ng_slot;

typedef struct ng_scheduler_stats {
    uint32_t n_slots, n_ctx, n_waiting, n_running;
    uint32_t n_kv_tok;       /* room for tokens, with that of the store */
    size_t kv_tok_used;      /* whole pages, counted in tokens */
    uint64_t n_steps, n_rows; /* forwards, and tokens that they took */
    uint64_t n_read;         /* of n_rows: tokens of prompts; the others each gave a next token */
    double step_s;           /* that the forwards and what belongs to them took */
    uint64_t n_joined;       /* generations that got a slot */
    uint64_t n_reused;       /* tokens of prompts that were not read again */
    ng_prefix_stats prefix;  /* of what is kept */
    uint64_t n_preempted;    /* times that a sequence gave its pages back */
} ng_scheduler_stats;
/* Fills slots[0 .. min(max, n_slots)) too where slots is not NULL. */
NG_API ng_scheduler_stats ng_scheduler_look(ng_scheduler *s, ng_slot *slots, size_t max);

#endif
