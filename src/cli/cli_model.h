/* cli_model.h: what the verbs that run a model share: the options of sampling, opening, reading text.
 *
 *     static cli_sampling sampling = CLI_SAMPLING_DEFAULT;
 *     static const cli_option options[] = {CLI_MODEL_OPTIONS(&run), CLI_SAMPLING_OPTIONS(&sampling), {0}};
 *     cli_session cs;
 *     if (cli_session_open(&cs, &run, &err)) return cli_fail(&err);
 *     .. cs.model, cs.session ..
 *     cli_session_close(&cs); */
#ifndef NG_CLI_MODEL_H
#define NG_CLI_MODEL_H

#include "cli.h"

#include <nanogrid/generate.h>
#include <nanogrid/model.h>
#include <nanogrid/prefix.h>

typedef struct cli_run {
    const char *model, *kv, *prefix_dir; /* prefix_dir: NULL keeps no prefixes */
    long threads, n_ctx;
    const char *adapter; /* beside an encoder's weights; NULL: none */
    double scale;        /* of it */
} cli_run;

#define CLI_MODEL_OPTIONS(run)                                                                     \
    {"model", 'm', CLI_STR, &(run)->model, "FILE", "the GGUF file to run", "NANOGRID_MODEL"},       \
    {"threads", 't', CLI_INT, &(run)->threads, "N", "threads (chosen by measurement)",              \
     "NANOGRID_THREADS"}
#define CLI_ADAPTER_OPTIONS(run)                                                                   \
    {"adapter", 0, CLI_STR, &(run)->adapter, "FILE", "a LoRA adapter of `finetune` beside the encoder's weights", NULL}, \
    {"scale", 0, CLI_NUM, &(run)->scale, "X", "times the adapter (1); 0 turns it off: the base, bit for bit", NULL}
#define CLI_CTX_OPTION(run)                                                                        \
    {"ctx", 'c', CLI_INT, &(run)->n_ctx, "N", "tokens of context (the model's, at most 4096)", NULL}
#define CLI_PREFIX_OPTION(to)                                                                      \
    {"prefix-cache", 0, CLI_STR, to, "DIR",                                                        \
     "keep what was read in files there, prompts included, and begin with what is known (off)",    \
     "NANOGRID_PREFIX_CACHE"}
#define CLI_KV_OPTION(to)                                                                          \
    {"kv", 0, CLI_STR, to, "f16|q8",                                                               \
     "past tokens in 16 bits, or in 8: 0.55 of the memory (f16; f32 for models in floats)", NULL}

typedef struct cli_sampling {
    double temp, top_p, min_p, repeat, frequency, presence;
    long n, top_k, seed, keep;
    bool shift;
    cli_list stop;
} cli_sampling;

#define CLI_SAMPLING_DEFAULT                                                                       \
    {.temp = 0.8, .top_p = 0.95, .min_p = 0.05, .repeat = 1, .n = 128, .top_k = 40}

#define CLI_SAMPLING_OPTIONS(s)                                                                    \
    {"n-predict", 'n', CLI_INT, &(s)->n, "N", "most new tokens (128)", NULL},                       \
    {"temp", 0, CLI_NUM, &(s)->temp, "T", "temperature; 0 takes the best token (0.8)", NULL},       \
    {"top-k", 0, CLI_INT, &(s)->top_k, "K", "only the K best tokens; 0: off (40)", NULL},           \
    {"top-p", 0, CLI_NUM, &(s)->top_p, "P", "only the best tokens that hold P; 1: off (0.95)", NULL}, \
    {"min-p", 0, CLI_NUM, &(s)->min_p, "P", "only tokens of at least P times the best; 0: off (0.05)", NULL}, \
    {"repeat-penalty", 0, CLI_NUM, &(s)->repeat, "R", "of tokens seen in prompt and answer (1: off)", NULL}, \
    {"frequency-penalty", 0, CLI_NUM, &(s)->frequency, "F", "for each time in the answer (0)", NULL}, \
    {"presence-penalty", 0, CLI_NUM, &(s)->presence, "F", "for tokens in the answer (0)", NULL},    \
    {"seed", 0, CLI_INT, &(s)->seed, "S", "of the sampler; the same seed gives the same text (0)", NULL}, \
    {"shift", 0, CLI_FLAG, &(s)->shift, NULL,                                                      \
     "when the context is full, its older half goes and the answer goes on", NULL},                \
    {"stop", 0, CLI_LIST, &(s)->stop, "TEXT", "ends the answer before TEXT; may be repeated", NULL}

/* The options as the library wants them; NG_EINVALID names what is out of range.  `stop` stays
 * borrowed from *s. */
ng_status cli_sampling_read(ng_generate_options *out, const cli_sampling *s, ng_error *err) NG_MUST_USE;

/* "f16", "q8"; NULL is f16. */
ng_status cli_kv_read(ng_kv_precision *out, const char *text, ng_error *err) NG_MUST_USE;

/* What the loader has to say that is no error, on stderr: see ng_model_info's notes. */
void cli_model_note(const ng_model *m);

/* What the cache of prefixes has to say, on stderr: files that were refused or could not be written. */
void cli_prefix_note(const ng_prefix_stats *s, const char *dir);

typedef struct cli_session {
    ng_model *model;
    ng_session *session;
} cli_session;
/* Opens run->model and a session on it; on failure nothing stays open. */
ng_status cli_session_open(cli_session *out, const cli_run *run, ng_error *err) NG_MUST_USE;
void cli_session_close(cli_session *s);

#endif
