/* verb_doctor.c: `nanogrid doctor`: this machine, which sizes of model fit it, what one model needs, and whether the grid would open. */
#include "cli.h"
#include "cli_model.h"

#include <nanogrid/energy.h>
#include <nanogrid/grid.h>
#include <nanogrid/memory.h>
#include <nanogrid/system.h>
#include <nanogrid/tools/train.h>
#include <nanogrid/tools/upstream.h>

#include <stdio.h>

static struct {
    const char *model, *kv;
    long n_ctx, threads;
    bool json;
} o;

static const cli_option options[] = {
    {"model", 'm', CLI_STR, &o.model, "FILE", "what this GGUF file needs, from its header alone", NULL},
    {"ctx", 'c', CLI_INT, &o.n_ctx, "N", "tokens of context (the model's, at most 4096)", NULL},
    CLI_KV_OPTION(&o.kv),
    {"threads", 't', CLI_INT, &o.threads, "N", "threads (all cores)", "NANOGRID_THREADS"},
    {"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL},
    {0}};

/* Bits a weight, as in the files that people run (embeddings and norms included). */
static const struct {
    const char *name;
    double bits;
} types[] = {{"Q4_0", 5.1}, {"Q8_0", 8.5}, {"F16", 16}};

/* Parameters whose weights fit beside the process and a fifth of the rest for KV pages and scratch. */
static double fits(const ng_machine *m, double bits) {
    double left = (double)m->memory_available_bytes - NG_PROCESS_BYTES;
    return left > 0 ? left * 0.8 * 8 / bits : 0;
}

static void machine_json(ng_json *j, const ng_machine *m) {
    ng_json_key(j, "version"), ng_json_str(j, ng_version());
    ng_json_key(j, "cpu"), ng_json_str(j, m->cpu);
    ng_json_key(j, "cores"), ng_json_int(j, m->cores);
    ng_json_key(j, "kernel"), ng_json_str(j, m->kernel);
    ng_json_key(j, "kernel_best"), ng_json_str(j, m->kernel_best);
    if (*m->kernel_note) ng_json_key(j, "kernel_note"), ng_json_str(j, m->kernel_note);
    ng_json_key(j, "training_kernel"), ng_json_str(j, ng_train_kernel());
    ng_json_key(j, "memory_total_bytes"), ng_json_uint(j, m->memory_total_bytes);
    ng_json_key(j, "memory_available_bytes"), ng_json_uint(j, m->memory_available_bytes);
    ng_json_key(j, "memory_limited_by"), ng_json_str(j, m->memory_limited_by);
    ng_json_key(j, "fits_params");
    ng_json_object(j);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        ng_json_key(j, types[i].name), ng_json_uint(j, (uint64_t)fits(m, types[i].bits));
    ng_json_end(j);
    ng_json_key(j, "energy");
    ng_json_object(j);
    ng_json_key(j, "source"), ng_json_str(j, ng_energy_source());
    ng_json_key(j, "idle_w"), ng_json_num(j, NG_ENERGY_IDLE_W);
    ng_json_key(j, "core_w"), ng_json_num(j, NG_ENERGY_CORE_W);
    ng_json_key(j, "dram_j_per_byte"), ng_json_num(j, NG_ENERGY_DRAM_J_PER_BYTE);
    ng_json_end(j);
    ng_json_key(j, "home"), ng_json_str(j, m->home);
    ng_json_key(j, "home_writable"), ng_json_bool(j, m->home_writable);
}

static void model_json(ng_json *j, const ng_memory_need *n, bool fit) {
    ng_json_key(j, "model"), ng_json_str(j, o.model);
    ng_json_key(j, "n_ctx"), ng_json_uint(j, n->n_ctx);
    ng_json_key(j, "threads"), ng_json_int(j, n->n_threads);
    ng_json_key(j, "weights_bytes"), ng_json_uint(j, n->weights_bytes);
    ng_json_key(j, "panels_bytes"), ng_json_uint(j, n->panels_bytes);
    ng_json_key(j, "tables_bytes"), ng_json_uint(j, n->tables_bytes);
    ng_json_key(j, "kv_bytes"), ng_json_uint(j, n->kv_bytes);
    ng_json_key(j, "scratch_bytes"), ng_json_uint(j, n->scratch_bytes);
    ng_json_key(j, "process_bytes"), ng_json_uint(j, n->process_bytes);
    ng_json_key(j, "resident_bytes"), ng_json_uint(j, ng_memory_resident(n));
    ng_json_key(j, "os_bytes"), ng_json_uint(j, n->os_bytes);
    ng_json_key(j, "file_weights_bytes"), ng_json_uint(j, n->weights_file_bytes);
    ng_json_key(j, "fits"), ng_json_bool(j, fit);
}

static int print_json(const ng_machine *m, const ng_memory_need *n, const char *refusal) {
    ng_buf b = ng_buf_init(1 << 16);
    ng_json j = ng_json_init(&b);
    ng_json_object(&j);
    if (!n) machine_json(&j, m);
    if (n) model_json(&j, n, !*refusal);
    if (n) ng_json_key(&j, "memory_available_bytes"), ng_json_uint(&j, m->memory_available_bytes);
    if (*refusal) ng_json_key(&j, "refusal"), ng_json_str(&j, refusal);
    ng_json_end(&j);
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

static void print_machine(const ng_machine *m) {
    const double gib = 1 << 30;
    printf("nanogrid %s\n", ng_version());
    printf("processor  %s, %d core%s\n", m->cpu, m->cores, m->cores == 1 ? "" : "s");
    printf("kernels    %s", m->kernel);
    if (m->kernel != m->kernel_best) printf(" (NG_CPU caps it; this machine offers %s)", m->kernel_best);
    if (*m->kernel_note) printf("\n           %s", m->kernel_note);
    printf("\ntraining   %s, where a recipe leaves the precision open", ng_train_kernel());
    printf("\nmemory     %.1f GiB, %.1f GiB available to this process (limited by: %s)\n",
           (double)m->memory_total_bytes / gib, (double)m->memory_available_bytes / gib, m->memory_limited_by);
    printf("fits       ");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        printf("%s%.1f B parameters in %s", i ? ", " : "", fits(m, types[i].bits) / 1e9, types[i].name);
    printf("\nenergy     by %s",
           *ng_energy_source() == 'r' ? "the processor's counters\n" : "a model (the counters cannot be read)\n");
    printf("home       %s%s\n", m->home,
           m->home_writable ? "" : " (not writable: set NANOGRID_HOME to keep decisions and models)");
}

static void print_model(const ng_machine *m, const ng_memory_need *n, const char *refusal) {
    const struct {
        const char *name, *note;
        uint64_t bytes;
    } rows[] = {{"weights", "of the file, read where they lie", n->weights_bytes}, {"panels", "repacked for the kernels", n->panels_bytes},
                {"tables", "tokenizer, vectors, names", n->tables_bytes},          {"KV cache", "with the context full", n->kv_bytes},
                {"scratch", "of one session", n->scratch_bytes},                   {"process", "code and C library", n->process_bytes},
                {"resident", "in all", ng_memory_resident(n)},                     {"system", "left to it beside that", n->os_bytes},
                {"available", m->memory_limited_by, m->memory_available_bytes}};
    printf("%s, %s, a context of %u tokens, %d thread%s\n", o.model, n->file_type, n->n_ctx, n->n_threads,
           n->n_threads == 1 ? "" : "s");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        printf("%-10s %10.1f MiB  %s\n", rows[i].name, (double)rows[i].bytes / (1 << 20), rows[i].note);
    printf("%s%s\n", *refusal ? "does not fit: " : "fits", refusal);
}

static int run_model(const ng_machine *m) {
    ng_error err = {0}, refusal = {0};
    ng_memory_need n;
    ng_session_options opt = {.n_ctx = (uint32_t)o.n_ctx, .n_threads = (int)o.threads};
    ng_status s = cli_kv_read(&opt.kv, o.kv, &err);
    if (!s) s = ng_memory_predict(&n, o.model, &opt, &err);
    if (s) return cli_fail(&err);
    s = ng_memory_check(&n, o.model, &refusal);
    int code = 0;
    if (o.json) code = print_json(m, &n, refusal.text);
    else print_model(m, &n, refusal.text);
    return s ? 1 : code;
}

/* Policies that contradict each other, thresholds that nothing can satisfy, packages that are missing: what `serve` would refuse. */
static bool grid_opens(ng_error *why) {
    ng_grid_options opt = {.open_upstream = ng_upstream_open, .no_records = true, .n_threads = 1};
    ng_grid *g;
    ng_status s = ng_grid_open(&g, &opt, why);
    if (!s) ng_grid_close(g);
    return !s;
}

static int run(int argc, char **argv) {
    (void)argv;
    if (argc) return cli_usage("doctor takes no words");
    if (o.n_ctx < 0 || o.n_ctx > INT32_MAX)
        return cli_usage("-c %ld: use 1 to %d, or 0 for the default", o.n_ctx, INT32_MAX);
    if (o.threads < 0 || o.threads > 256) return cli_usage("-t %ld: use 1 to 256, or 0 for all cores", o.threads);
    if (!o.model && o.n_ctx) return cli_usage("-c belongs to -m FILE");
    ng_error err = {0};
    ng_machine m;
    if (ng_machine_get(&m, &err)) return cli_fail(&err);
    if (o.model) return run_model(&m);
    ng_error why = {0};
    bool opens = grid_opens(&why);
    int code = 0;
    if (o.json) code = print_json(&m, NULL, opens ? "" : why.text);
    else print_machine(&m), printf("grid       %s%s\n", opens ? "opens" : "is refused: ", opens ? "" : why.text);
    return opens ? code : 1;
}

const cli_verb cli_verb_doctor = {"doctor", "[-m FILE [-c N]] [--json]", "this machine: kernels, memory, what fits, whether the grid opens",
    "Opens the grid as `serve` would, and says why it is refused: policies that contradict each other, promises that no\n"
    "confidence keeps, packages that are missing; exit 1 then.\n"
    "With -m it says what that model will need, before any of it is taken: the peak resident set with the\n"
    "context full, and what the system keeps; exit 1 when it does not fit. NANOGRID_MEMORY (512MB, 2GB)\n"
    "lowers what may be used, cgroup limits do too. NG_CPU=ref|avx2|avx512|amx|neon|dotprod|i8mm caps the\n"
    "kernels; what the machine lacks is refused with exit 2.", options, run};
