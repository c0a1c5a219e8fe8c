/* verb_bench.c: `nanogrid bench`: how fast a model runs here.
 *
 * One row a test, named as llama-bench names them: ppN prefill of N tokens, tgN decoding of N tokens one
 * by one after an empty context, encN one pass of an encoder over -b texts of N tokens (tokenizing
 * included: "tokenized" in the JSON), tokenize.  Each test warms
 * up, then runs -r times; avg_ts is the mean of the runs' tokens a second, stddev_ts their sample
 * deviation, p50_ms the median time of a pass (tg: of a token).  joules_per_token (nanogrid/energy.h) takes
 * every pass to read the model's weights from memory once; edp_js is that times the seconds a token takes.
 *
 * -d N as in llama-bench: N tokens are there already, and the test is named tg128@dN.
 *
 * -b B of a decoder, 1 too: B generations at once through the scheduler (sampling and all), whose tokens are counted
 * together; p50_ms is the gap between two tokens of one, max_ms the longest; with --join N a prompt of N tokens
 * joins them: max_ms is then the longest gap in that time, p50_ms that of the rest.
 *
 * A new test is a pass function and a line in kinds[]. */
#include "bench_texts.h"
#include "cli.h"
#include "cli_model.h"
#include "cli_streams.h"

#include <nanogrid/energy.h>
#include <nanogrid/model.h>
#include <nanogrid/system.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LENGTHS_MAX = 16, BATCH_MAX = 4096, REPS_MAX = 1000, TOKENS_MAX = 1 << 20 };

static struct {
    const char *model, *prompt, *generate, *encode, *tokenize, *kv;
    long batch, join, depth, threads, reps;
    bool json, unfused;
} o = {.reps = 5};

static const cli_option options[] =
    {{"model", 'm', CLI_STR, &o.model, "FILE", "the GGUF file to run", "NANOGRID_MODEL"},
     {"prompt", 'p', CLI_STR, &o.prompt, "N,..", "prefill of N tokens (512, when no test is named)", NULL},
     {"generate", 'n', CLI_STR, &o.generate, "N,..", "decoding of N tokens (128, when no test is named)", NULL},
     {"encode", 'e', CLI_STR, &o.encode, "N,..", "encoder passes of N tokens (16,128, when no test is named)", NULL},
     {"batch", 'b', CLI_INT, &o.batch, "B",
      "sequences of an encoder pass, packed together (1); generations that decode at once", NULL},
     {"join", 0, CLI_INT, &o.join, "N", "with -n: a prompt of N tokens joins on the way", NULL},
     {"tokenize", 0, CLI_STR, &o.tokenize, "FILE", "the tokenizer's speed on this text", NULL},
     {"depth", 'd', CLI_INT, &o.depth, "N", "prefill and decoding begin after N tokens, which are not timed (0)", NULL},
     CLI_KV_OPTION(&o.kv),
     {"threads", 't', CLI_INT, &o.threads, "N", "threads (measured)", "NANOGRID_THREADS"},
     {"reps", 'r', CLI_INT, &o.reps, "R", "runs of each test after a warm-up (5)", NULL},
     {"unfused", 0, CLI_FLAG, &o.unfused, NULL, "decoders: one operation at a time, to see what fusing gains", NULL},
     {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON array", NULL},
     {0}};

typedef struct bench {
    const ng_model *model;
    ng_session *session;
    ng_machine machine;
    int32_t *tokens;  /* [TOKENS_MAX] deterministic, inside the vocabulary */
    bench_texts texts; /* of the encoder test that runs; texts.texts is NULL: token ids only */
    float *out;       /* logits or vectors */
    double *pass_ms;  /* [reps * tokens] */
    ng_buf text;      /* printed at the end */
    ng_json json;
    bool any;
} bench;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n) {
    qsort(v, n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* ---- the tests ------------------------------------------------------------------------------------------ */

static ng_status pass_prompt(bench *b, size_t n_tok, size_t i, ng_error *err) {
    (void)i;
    return ng_session_eval(b->session, b->tokens, n_tok, b->out, err);
}

static ng_status pass_token(bench *b, size_t n_tok, size_t i, ng_error *err) {
    (void)n_tok;
    return ng_session_eval(b->session, b->tokens + i, 1, b->out, err);
}

/* Sequences of an encoder pass. */
static size_t n_texts(void) { return o.batch ? (size_t)o.batch : 1; }

/* From the texts to their vectors; from token ids where the model has no tokenizer. */
static ng_status pass_encode(bench *b, size_t n_tok, size_t i, ng_error *err) {
    (void)i;
    if (b->texts.texts) return ng_session_embed_batch(b->session, b->texts.texts, b->texts.n, false, b->out, err);
    ng_sequence seqs[BATCH_MAX];
    for (size_t j = 0; j < n_texts(); j++) seqs[j] = (ng_sequence){b->tokens + j, n_tok};
    return ng_session_encode_batch(b->session, seqs, n_texts(), b->out, err);
}

/* A test of a length N is named PREFIX N.  A run is one pass, or one a token. */
typedef struct test_kind {
    const char *prefix;
    const char **lengths; /* the option that asks for it */
    const char *dflt;     /* lengths when no test is asked for */
    ng_model_kind of;
    bool by_token;
    ng_status (*pass)(bench *b, size_t n_tok, size_t i, ng_error *err);
} test_kind;

static const test_kind kinds[] = {{"pp", &o.prompt, "512", NG_MODEL_CAUSAL, false, pass_prompt},
                                  {"tg", &o.generate, "128", NG_MODEL_CAUSAL, true, pass_token},
                                  {"enc", &o.encode, "16,128", NG_MODEL_ENCODER, false, pass_encode}};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

/* Tokens of a run, whatever the number of passes. */
static size_t run_tokens(const test_kind *t, size_t n_tok) {
    return t->of == NG_MODEL_ENCODER ? n_tok * n_texts() : n_tok;
}

typedef struct result {
    double ts[REPS_MAX]; /* tokens a second of each run */
    double p50_ms;
    double max_ms, join_ms; /* -b: the longest gap of all runs, or while a prompt joined; its mean time to a token */
    double joules, wall_s; /* of all runs */
    const char *energy_source;
} result;

/* One run: the time of each pass into ms, joules and seconds added to *r.  What comes before the meter
 * starts is not counted. */
static ng_status run_once(bench *b, const test_kind *t, size_t n_tok, double *ms, result *r, ng_error *err) {
    ng_status s = NG_OK;
    size_t n_passes = t->by_token ? n_tok : 1, n_seq = t->of == NG_MODEL_ENCODER ? n_texts() : 1;
    if (t->of == NG_MODEL_CAUSAL) {
        size_t have = ng_session_len(b->session), depth = (size_t)o.depth;
        if (have > depth) ng_session_rewind(b->session, depth);
        else if (have < depth) s = ng_session_eval(b->session, b->tokens, depth - have, NULL, err);
        if (s) return s;
    }
    ng_energy_meter meter;
    ng_energy_start(&meter);
    for (size_t i = 0; !s && i < n_passes; i++) {
        double begin = now_ms();
        s = t->pass(b, n_tok, i, err);
        ms[i] = now_ms() - begin;
    }
    ng_energy e = ng_energy_stop(&meter, n_passes * n_seq * ng_model_get_info(b->model).weight_bytes);
    r->joules += e.joules;
    r->wall_s += e.wall_s;
    r->energy_source = e.source;
    return s;
}

static void print_common(bench *b, const char *name) {
    ng_json_object(&b->json);
    ng_json_key(&b->json, "test"), ng_json_str(&b->json, name);
}

static void print_machine(bench *b, int threads) {
    ng_json_key(&b->json, "threads"), ng_json_int(&b->json, threads);
    ng_json_key(&b->json, "cpu"), ng_json_str(&b->json, b->machine.cpu);
    ng_json_key(&b->json, "kernel"), ng_json_str(&b->json, b->machine.kernel);
    uint64_t peak;
    ng_process_memory(NULL, &peak);
    ng_json_key(&b->json, "rss_peak_bytes"), ng_json_uint(&b->json, peak);
    ng_json_key(&b->json, "weights"), ng_json_str(&b->json, ng_model_get_info(b->model).repack);
    ng_json_end(&b->json);
}

/* `step`: tokens of one pass. */
static void report(bench *b, const char *name, size_t n_tok, size_t step, const result *r) {
    double mean = 0, var = 0, joules = r->joules / (double)o.reps / (double)n_tok;
    for (long i = 0; i < o.reps; i++) mean += r->ts[i] / (double)o.reps;
    for (long i = 0; i < o.reps; i++) var += (r->ts[i] - mean) * (r->ts[i] - mean);
    double stddev = o.reps > 1 ? sqrt(var / (double)(o.reps - 1)) : 0;
    bool encoder = ng_model_get_info(b->model).kind == NG_MODEL_ENCODER;
    if (!o.json) {
        if (r->max_ms > 0)
            printf("%ld streams, longest gap%s %.3f ms: ", o.batch, o.join ? " while a prompt joins" : "", r->max_ms);
        printf("%-10s %10.1f tok/s +- %-8.1f p50 %8.3f ms  %8.2f mJ/tok (%s)  %d threads, %s, weights: %s\n", name,
               mean, stddev, r->p50_ms, joules * 1e3, r->energy_source, ng_session_threads(b->session, step),
               b->machine.kernel, ng_model_get_info(b->model).repack);
        return;
    }
    print_common(b, name);
    ng_json_key(&b->json, "avg_ts"), ng_json_fixed(&b->json, mean, 3);
    ng_json_key(&b->json, "stddev_ts"), ng_json_fixed(&b->json, stddev, 3);
    ng_json_key(&b->json, "p50_ms"), ng_json_fixed(&b->json, r->p50_ms, 4);
    if (r->max_ms > 0) {
        ng_json_key(&b->json, "batch"), ng_json_int(&b->json, o.batch);
        ng_json_key(&b->json, "max_ms"), ng_json_fixed(&b->json, r->max_ms, 4);
    }
    if (r->join_ms > 0) {
        ng_json_key(&b->json, "join"), ng_json_int(&b->json, o.join);
        ng_json_key(&b->json, "join_ms"), ng_json_fixed(&b->json, r->join_ms, 4);
    }
    ng_json_key(&b->json, "joules_per_token"), ng_json_fixed(&b->json, joules, 9);
    ng_json_key(&b->json, "edp_js"), ng_json_fixed(&b->json, joules * r->wall_s / (double)o.reps / (double)n_tok, 12);
    ng_json_key(&b->json, "energy_source"), ng_json_str(&b->json, r->energy_source);
    if (encoder) {
        ng_json_key(&b->json, "batch"), ng_json_int(&b->json, (int64_t)n_texts());
        ng_json_key(&b->json, "tokenized"), ng_json_bool(&b->json, b->texts.texts != NULL);
    }
    print_machine(b, ng_session_threads(b->session, step));
}

static ng_status run_test(bench *b, const test_kind *t, size_t n_tok, ng_error *err) {
    result r = {.p50_ms = 0};
    size_t n_passes = t->by_token ? n_tok : 1;
    free(b->pass_ms);
    b->pass_ms = malloc((size_t)o.reps * n_passes * sizeof *b->pass_ms);
    if (!b->pass_ms) return ng_fail(err, NG_ENOMEM, "out of memory");
    bench_texts_clear(&b->texts);
    ng_status s = t->of == NG_MODEL_ENCODER ? bench_texts_make(&b->texts, b->model, n_texts(), n_tok, err) : NG_OK;
    if (!s) s = run_once(b, t, n_tok, b->pass_ms, &r, err); /* warm-up */
    r = (result){.p50_ms = 0};
    for (long i = 0; !s && i < o.reps; i++) {
        double *ms = b->pass_ms + (size_t)i * n_passes, total = 0;
        s = run_once(b, t, n_tok, ms, &r, err);
        for (size_t k = 0; k < n_passes; k++) total += ms[k];
        r.ts[i] = (double)run_tokens(t, n_tok) / total * 1e3;
    }
    if (s) return s;
    r.p50_ms = median(b->pass_ms, (size_t)o.reps * n_passes);
    char name[32];
    snprintf(name, sizeof name, o.depth ? "%s%zu@d%ld" : "%s%zu", t->prefix, n_tok, o.depth);
    report(b, name, run_tokens(t, n_tok), t->by_token ? 1 : n_tok, &r);
    return NG_OK;
}

/* The pass of -b: all streams from their prompts to their ends. */
static ng_status streams_once(bench *b, ng_scheduler *sched, size_t n_tok, result *r, cli_streams_result *x,
                              ng_error *err) {
    cli_streams streams = {.n = (size_t)o.batch, .n_tok = n_tok, .n_join = (size_t)o.join, .ids = b->tokens};
    uint64_t before = ng_scheduler_look(sched, NULL, 0).n_steps;
    ng_energy_meter meter;
    ng_energy_start(&meter);
    ng_status s = cli_streams_run(sched, &streams, x, err);
    uint64_t n_steps = ng_scheduler_look(sched, NULL, 0).n_steps - before;
    ng_energy e = ng_energy_stop(&meter, n_steps * ng_model_get_info(b->model).weight_bytes);
    r->joules += e.joules;
    r->wall_s += e.wall_s;
    r->energy_source = e.source;
    return s;
}

static ng_status run_streams(bench *b, size_t n_tok, ng_error *err) {
    ng_scheduler *sched;
    cli_streams_result x;
    result r = {.p50_ms = 0};
    double p50[REPS_MAX];
    uint32_t n_ctx = (uint32_t)(n_tok + (size_t)o.join + 2), n_all = (uint32_t)o.batch + 1;
    ng_scheduler_options so = {.n_slots = n_all,
                               .n_ctx = n_ctx,
                               .n_kv_tok = n_ctx * n_all,
                               .n_threads = (int)o.threads};
    ng_status s = cli_kv_read(&so.kv, o.kv, err);
    if (!s) s = ng_scheduler_new(&sched, b->model, &so, err);
    if (s) return s;
    s = streams_once(b, sched, n_tok, &r, &x, err); /* warm-up */
    r = (result){.p50_ms = 0};
    for (long i = 0; !s && i < o.reps; i++) {
        s = streams_once(b, sched, n_tok, &r, &x, err);
        r.ts[i] = (double)n_tok * (double)o.batch / x.wall_ms * 1e3;
        p50[i] = x.gap_p50_ms;
        r.max_ms = x.gap_max_ms > r.max_ms ? x.gap_max_ms : r.max_ms;
        r.join_ms += x.join_ms / (double)o.reps;
    }
    ng_scheduler_free(sched);
    if (s) return s;
    r.p50_ms = median(p50, (size_t)o.reps);
    char name[32];
    snprintf(name, sizeof name, "tg%zu", n_tok);
    report(b, name, n_tok * (size_t)o.batch, (size_t)o.batch, &r);
    return NG_OK;
}

static ng_status run_tokenize(bench *b, ng_error *err) {
    const ng_tokenizer *t = ng_model_tokenizer(b->model, err);
    if (!t) return err->code;
    ng_buf text = ng_buf_init((size_t)256 << 20);
    ng_status s = cli_read(&text, o.tokenize, err);
    double ms[REPS_MAX], mean = 0;
    for (long r = -1; !s && r < o.reps; r++) { /* -1 warms up */
        int32_t *ids;
        size_t n;
        double begin = now_ms();
        s = ng_tokenize(t, text.data, text.len, NULL, &ids, &n, err);
        if (s) break;
        free(ids);
        if (r >= 0) ms[r] = now_ms() - begin, mean += (double)text.len / 1e3 / ms[r] / (double)o.reps;
    }
    if (!s && !o.json) printf("%-10s %10.2f MB/s\n", "tokenize", mean);
    if (!s && o.json) {
        print_common(b, "tokenize");
        ng_json_key(&b->json, "mb_per_s"), ng_json_fixed(&b->json, mean, 3);
        ng_json_key(&b->json, "p50_ms"), ng_json_fixed(&b->json, median(ms, (size_t)o.reps), 4);
        print_machine(b, 1);
    }
    ng_buf_clear(&text);
    return s;
}

/* ---- which tests ------------------------------------------------------------------------------------- */

/* "16,128" into out; 0 lengths are left out, as `-n 0` in llama-bench. */
static ng_status parse_lengths(const char *text, size_t *out, size_t *n, ng_error *err) {
    *n = 0;
    for (const char *p = text; p;) {
        char *end;
        long v = strtol(p, &end, 10);
        if (end == p || (*end && *end != ',') || v < 0 || v > TOKENS_MAX || *n == LENGTHS_MAX)
            return ng_fail(err, NG_EINVALID, "'%.40s' is not a list of at most %d lengths such as 16,128", text,
                           LENGTHS_MAX);
        if (v > 0) out[(*n)++] = (size_t)v;
        p = *end ? end + 1 : NULL;
    }
    return NG_OK;
}

static ng_status open_session(bench *b, size_t longest, ng_error *err) {
    ng_model_info info = ng_model_get_info(b->model);
    if (longest > info.n_ctx_train)
        return ng_fail(err, NG_ELIMIT, "%zu tokens do not fit the model's context of %u", longest, info.n_ctx_train);
    ng_session_options opt = {.n_threads = (int)o.threads, .n_ctx = (uint32_t)longest, .unfused = o.unfused};
    ng_status s = cli_kv_read(&opt.kv, o.kv, err);
    if (!s) s = ng_session_new(&b->session, b->model, &opt, err);
    size_t n = longest + n_texts() + (size_t)o.join + 1;
    b->tokens = malloc(n * sizeof *b->tokens);
    b->out = malloc((info.kind == NG_MODEL_CAUSAL ? info.n_vocab : info.n_embd * n_texts()) * sizeof *b->out);
    if (!s && (!b->tokens || !b->out)) s = ng_fail(err, NG_ENOMEM, "out of memory");
    uint32_t x = 1;
    for (size_t i = 0; !s && i < n; i++) {
        x = x * 1664525u + 1013904223u; /* Numerical Recipes' generator: any spread of ids will do */
        b->tokens[i] = (int32_t)((x >> 8) % info.n_vocab);
    }
    return s;
}

static ng_status run_all(bench *b, ng_error *err) {
    size_t lengths[N_KINDS][LENGTHS_MAX], n[N_KINDS] = {0}, longest = 0;
    bool named = o.prompt || o.generate || o.encode || o.tokenize;
    ng_model_info info = ng_model_get_info(b->model);
    for (int k = 0; k < N_KINDS; k++) {
        const char *text = *kinds[k].lengths                    ? *kinds[k].lengths
                           : !named && info.kind == kinds[k].of ? kinds[k].dflt
                                                                : NULL;
        ng_status s = parse_lengths(text, lengths[k], &n[k], err);
        if (s) return s;
        if (n[k] && info.kind != kinds[k].of)
            return ng_fail(err, NG_EINVALID, "%s is %s: it has no test %s", info.path,
                           info.kind == NG_MODEL_CAUSAL ? "a decoder" : "an encoder", kinds[k].prefix);
        for (size_t i = 0; i < n[k]; i++) longest = lengths[k][i] > longest ? lengths[k][i] : longest;
    }
    if (o.depth && info.kind != NG_MODEL_CAUSAL)
        return ng_fail(err, NG_EINVALID, "%s is an encoder: it has no depth", info.path);
    longest += longest ? (size_t)o.depth : 0;
    ng_status s = longest ? open_session(b, longest, err) : NG_OK;
    for (int k = 0; k < N_KINDS; k++)
        for (size_t i = 0; !s && i < n[k]; i++) {
            bool streams = kinds[k].lengths == &o.generate && o.batch;
            s = streams ? run_streams(b, lengths[k][i], err) : run_test(b, &kinds[k], lengths[k][i], err);
        }
    if (!s && o.tokenize) s = run_tokenize(b, err);
    return s;
}

static int run(int argc, char **argv) {
    (void)argv;
    if (argc) return cli_usage("bench takes no words");
    if (!o.model) return cli_usage("bench needs -m FILE");
    if (o.threads < 0 || o.threads > 256) return cli_usage("-t %ld: use 1 to 256, or 0 to measure", o.threads);
    if (o.reps < 1 || o.reps > REPS_MAX) return cli_usage("-r %ld: use 1 to %d", o.reps, REPS_MAX);
    if (o.depth < 0 || o.depth > TOKENS_MAX) return cli_usage("-d %ld: use 0 to %d", o.depth, TOKENS_MAX);
    if (o.batch < 0 || o.batch > BATCH_MAX) return cli_usage("-b %ld: use 1 to %d", o.batch, BATCH_MAX);
    if (o.join < 0 || o.join > TOKENS_MAX) return cli_usage("--join %ld: use 1 to %d", o.join, TOKENS_MAX);
    if (o.join && !(o.batch && o.generate)) return cli_usage("--join needs -n and -b");
    ng_error err = {0};
    ng_model *m = NULL;
    bench b = {.text = ng_buf_init(1 << 20)};
    b.json = ng_json_init(&b.text);
    ng_status s = ng_machine_get(&b.machine, &err);
    if (!s) s = ng_model_open(&m, o.model, &err);
    if (!s) cli_model_note(m);
    b.model = m;
    ng_json_array(&b.json);
    if (!s) s = run_all(&b, &err);
    ng_json_end(&b.json);
    int code = s ? cli_fail(&err) : o.json ? cli_print(&b.text) : 0;
    ng_session_free(b.session);
    free(b.tokens);
    free(b.out);
    free(b.pass_ms);
    bench_texts_clear(&b.texts);
    ng_buf_clear(&b.text);
    ng_model_close(m);
    return code;
}

const cli_verb cli_verb_bench = {
    "bench", "-m FILE [-p N] [-n N] [-e N] [--tokenize FILE]", "how fast a model runs on this machine",
    "Prints tokens a second for each test asked for; without any, prefill and decoding of a decoder, or\n"
    "passes of an encoder. NG_CPU caps the kernels used.\n"
    "joules_per_token comes from the processor's counters (energy_source rapl) or from a declared model of\n"
    "idle power, processor time and bytes read; edp_js is that times the seconds a token takes.", options, run};
