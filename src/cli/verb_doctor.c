/* verb_doctor.c: `nanogrid doctor`: this machine, and which sizes of model fit it. */
#include "cli.h"

#include <nanogrid/system.h>

#include <stdio.h>

static struct {
    bool json;
} o;

static const cli_option options[] = {{"json", 0, CLI_FLAG, &o.json, NULL, "print one JSON object", NULL}, {0}};

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

static int print_json(const ng_machine *m) {
    ng_buf b = ng_buf_init(1 << 16);
    ng_json j = ng_json_init(&b);
    ng_json_object(&j);
    ng_json_key(&j, "version"), ng_json_str(&j, ng_version());
    ng_json_key(&j, "cpu"), ng_json_str(&j, m->cpu);
    ng_json_key(&j, "cores"), ng_json_int(&j, m->cores);
    ng_json_key(&j, "kernel"), ng_json_str(&j, m->kernel);
    ng_json_key(&j, "kernel_best"), ng_json_str(&j, m->kernel_best);
    ng_json_key(&j, "memory_total_bytes"), ng_json_uint(&j, m->memory_total_bytes);
    ng_json_key(&j, "memory_available_bytes"), ng_json_uint(&j, m->memory_available_bytes);
    ng_json_key(&j, "fits_params");
    ng_json_object(&j);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        ng_json_key(&j, types[i].name), ng_json_uint(&j, (uint64_t)fits(m, types[i].bits));
    ng_json_end(&j);
    ng_json_key(&j, "home"), ng_json_str(&j, m->home);
    ng_json_key(&j, "home_writable"), ng_json_bool(&j, m->home_writable);
    ng_json_end(&j);
    int code = cli_print(&b);
    ng_buf_clear(&b);
    return code;
}

static void print_text(const ng_machine *m) {
    const double gib = 1 << 30;
    printf("nanogrid %s\n", ng_version());
    printf("processor  %s, %d core%s\n", m->cpu, m->cores, m->cores == 1 ? "" : "s");
    printf("kernels    %s", m->kernel);
    if (m->kernel != m->kernel_best) printf(" (NG_CPU caps it; this machine offers %s)", m->kernel_best);
    printf("\nmemory     %.1f GiB, %.1f GiB available\n", (double)m->memory_total_bytes / gib, (double)m->memory_available_bytes / gib);
    printf("fits       ");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        printf("%s%.1f B parameters in %s", i ? ", " : "", fits(m, types[i].bits) / 1e9, types[i].name);
    printf("\nhome       %s%s\n", m->home, m->home_writable ? "" : " (not writable: set NANOGRID_HOME to keep decisions and models)");
}

static int run(int argc, char **argv) {
    (void)argv;
    if (argc) return cli_usage("doctor takes no words");
    ng_error err = {0};
    ng_machine m;
    if (ng_machine_get(&m, &err)) return cli_fail(&err);
    if (o.json) return print_json(&m);
    print_text(&m);
    return 0;
}

const cli_verb cli_verb_doctor = {"doctor", "[--json]", "this machine: kernels, memory, what fits",
    "NG_CPU=ref|avx2|avx512|amx|neon|dotprod|i8mm caps the kernels; what the machine lacks is refused with exit 2.", options, run};
