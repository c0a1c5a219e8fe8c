/* generate.h: a prompt in, tokens out, one at a time.
 *
 *     ng_generate_options o = ng_generate_options_default();
 *     o.n_predict = 64;  o.temp = 0;                 greedy
 *     o.on_token = print_piece;
 *     ng_generation g;
 *     ng_generate(&g, session, ids, n, &o, &err);
 *     printf("%s\n", g.text);  ng_generation_clear(&g);
 *
 * One generation belongs to the session's thread.  Same model, prompt, options and seed: same
 * tokens, on every machine. */
#ifndef NANOGRID_GENERATE_H
#define NANOGRID_GENERATE_H

#include <nanogrid/model.h>

typedef struct ng_token_prob {
    int32_t id;
    float logprob;
} ng_token_prob;

typedef struct ng_token_event {
    int32_t id;               /* -1: no token, only text that was held back until the end was certain */
    float logprob;            /* of the chosen token under the model's own distribution (temp 1) */
    const char *text;         /* whole UTF-8 characters that became final with this token; may be "" */
    size_t len;
    const ng_token_prob *top; /* [n_top], best first; NULL unless asked for */
    size_t n_top;
    float confidence;         /* that the answer will be right, told now and then (confidence.h); else NaN */
} ng_token_event;

/* Return false to stop: the generation ends with finish "cancelled" and what is there stays.  The
 * texts of all events together are the generation's text. */
typedef bool ng_token_fn(void *ctx, const ng_token_event *e);

typedef struct ng_generate_options {
    uint32_t n_predict;       /* most new tokens (128) */
    float temp;               /* 0: greedy, ties to the lowest id; at most 10 (0.8) */
    uint32_t top_k;           /* 0: off (40) */
    float top_p;              /* 1: off (0.95) */
    float min_p;              /* 0: off (0.05) */
    float repeat_penalty;     /* of tokens in prompt and answer; 1: off (1) */
    float frequency_penalty, presence_penalty; /* of tokens in the answer, -2..2; 0: off (0) */
    uint64_t seed;            /* of the sampler (0) */
    uint32_t n_top;           /* logprobs of the best n tokens a step, at most 20 (0: none) */
    bool shift;               /* when the context is full, the older half of what follows the first n_keep tokens goes,
                                 the rest is read again, and the generation goes on as one whose prompt that is; else
                                 it ends there.  On a session only where it was empty */
    uint32_t n_keep;          /* with shift: first tokens that stay, at most n_ctx - 2 (0) */
    bool ignore_eog;          /* an end-of-generation id does not stop */
    const char *const *stop;  /* [n_stop] texts that end the answer and are cut off it */
    size_t n_stop;            /* at most 16, each 1..256 bytes */
    ng_token_fn *on_token;    /* or NULL; the text of events never contains part of a stop text */
    void *on_token_ctx;
    bool (*abandoned)(void *ctx); /* asked while the prompt is read: true ends it as "cancelled"; or NULL */
    void *abandoned_ctx;
} ng_generate_options;

NG_API ng_generate_options ng_generate_options_default(void);
/* NG_EINVALID naming the field and its range. */
NG_API ng_status ng_generate_options_check(const ng_generate_options *o, ng_error *err) NG_MUST_USE;

typedef struct ng_generation {
    int32_t *tokens;      /* [n_tokens] */
    float *logprobs;      /* [n_tokens] */
    ng_token_prob *top;   /* [n_tokens, n_top] */
    size_t n_tokens, n_top, n_prompt;
    size_t n_cached;      /* tokens of the prompt that were known (prefix.h) and not read */
    char *text;           /* NUL-terminated, "" where the model has no supported tokenizer */
    size_t text_len;
    const char *finish;   /* "stop", "length", "cancelled" */
    double prompt_ms, predicted_ms;
    /* What the engine knows of its own certainty, for calibration, over tokens at temperature 1: log
     * p of the chosen token, entropy in nats, p(best) - p(second).  NaN without tokens. */
    float mean_logprob, min_logprob, mean_entropy, mean_margin;
    float confidence;     /* calibrated, that the answer is right; NaN where nothing was fitted for the model */
} ng_generation;

/* Evaluates the prompt (n > 0) after what the session holds (an empty session that keeps prefixes begins with
 * what it knows of the prompt, and keeps prompt and answer), then samples until an end-of-generation
 * id (which is no part of the tokens), a stop text, n_predict or the end of the context.  The session
 * then holds the prompt and all new tokens but the last.  A prompt that leaves no room for one new
 * token is NG_ELIMIT with the counts.  On failure *out is empty. */
NG_API ng_status ng_generate(ng_generation *out, ng_session *s, const int32_t *prompt, size_t n,
                             const ng_generate_options *opt, ng_error *err) NG_MUST_USE;
NG_API void ng_generation_clear(ng_generation *g);

#endif
