/* roofline.c: what this machine allows: the limit that decode and prefill are held against.
 *
 *     build/roofline [--json] [--threads 1,2] [--mib 75]
 *
 * A decoded token reads every weight once, so it cannot take less time than reading that many bytes.  For each
 * working set the program reads it again and again, each thread its own part, with the widest loads of
 * the machine: once as one stream a thread, once as four side by side (the memory of a core is busy with more
 * lines at a time then), and keeps the best of all rounds.  Nothing is computed but one exclusive-or a load.
 *
 * The peak of int8 products is dpbusd on registers alone: 64 multiplications and additions an instruction.
 * Where it is missing the field is null. */
#include "core/cpu.h"
#include "core/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS_MAX = 64, LINE = 64, ROUNDS = 7, SIZES_MAX = 32 };

typedef unsigned long long v8 __attribute__((vector_size(LINE)));

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

/* Four parts of `lines` lines, one line of each in turn; ahead of it the lines are asked into the second cache. */
#define READ_BODY                                                                     \
    enum { AHEAD = 32 };                                                              \
    v8 a = {0}, b = a, c = a, d = a;                                                  \
    for (size_t i = 0; i < lines; i++) {                                              \
        __builtin_prefetch(p + i + AHEAD, 0, 2);                                      \
        __builtin_prefetch(p + step + i + AHEAD, 0, 2);                               \
        __builtin_prefetch(p + 2 * step + i + AHEAD, 0, 2);                           \
        __builtin_prefetch(p + 3 * step + i + AHEAD, 0, 2);                           \
        a ^= p[i], b ^= p[step + i], c ^= p[2 * step + i], d ^= p[3 * step + i];      \
    }                                                                                 \
    *sink = a ^ b ^ c ^ d;

/* One stream, four lines at a time. */
#define READ_ONE_BODY                                                                 \
    v8 a = {0}, b = a, c = a, d = a;                                                  \
    for (size_t i = 0; i + 4 <= lines; i += 4) a ^= p[i], b ^= p[i + 1], c ^= p[i + 2], d ^= p[i + 3]; \
    *sink = a ^ b ^ c ^ d;

static void read_plain(const v8 *p, size_t lines, size_t step, v8 *sink) { READ_BODY }
static void read_one_plain(const v8 *p, size_t lines, v8 *sink) { READ_ONE_BODY }
#if defined(__x86_64__)
__attribute__((target("avx2"))) static void read_avx2(const v8 *p, size_t lines, size_t step, v8 *sink) { READ_BODY }
__attribute__((target("avx2"))) static void read_one_avx2(const v8 *p, size_t lines, v8 *sink) { READ_ONE_BODY }
__attribute__((target("avx512f"))) static void read_avx512(const v8 *p, size_t lines, size_t step, v8 *sink) {
    READ_BODY
}
__attribute__((target("avx512f"))) static void read_one_avx512(const v8 *p, size_t lines, v8 *sink) { READ_ONE_BODY }
#endif

typedef struct job {
    const v8 *data;
    size_t lines;
    int n_passes, n_streams;
} job;

static v8 sinks[THREADS_MAX];

static void read_part(const v8 *p, size_t lines, int n_streams, v8 *sink) {
    size_t step = lines / 4;
#if defined(__x86_64__)
    bool wide = ng_cpu_best() >= NG_CPU_AVX512, avx2 = ng_cpu_best() >= NG_CPU_AVX2;
    if (n_streams == 1 && wide) read_one_avx512(p, lines, sink);
    else if (n_streams == 1 && avx2) read_one_avx2(p, lines, sink);
    else if (n_streams == 1) read_one_plain(p, lines, sink);
    else if (wide) read_avx512(p, step, step, sink);
    else if (avx2) read_avx2(p, step, step, sink);
    else read_plain(p, step, step, sink);
#else
    if (n_streams == 1) read_one_plain(p, lines, sink);
    else read_plain(p, step, step, sink);
#endif
}

static void read_job(void *ctx, int part, int n_parts) {
    const job *j = ctx;
    size_t begin, end;
    ng_pool_slice(j->lines, 4, part, n_parts, &begin, &end);
    for (int i = 0; i < j->n_passes; i++) read_part(j->data + begin, end - begin, j->n_streams, &sinks[part]);
}

/* Bytes a second over a working set. */
static double bandwidth(ng_pool *pool, const v8 *data, size_t bytes) {
    double best = 0;
    for (int streams = 1; streams <= 4; streams += 3)
        for (int round = 0; round < ROUNDS; round++) {
            job j = {data, bytes / LINE, (int)(((size_t)600 << 20) / bytes) + 1, streams};
            double s = now_s();
            ng_pool_run(pool, read_job, &j);
            s = now_s() - s;
            double got = (double)(j.lines * LINE) * j.n_passes / s;
            best = got > best ? got : best;
        }
    return best;
}

/* ---- int8 products ------------------------------------------------------------------------------------ */

#if defined(__x86_64__)
#include <immintrin.h>

/* Twelve sums at a time: four cycles of latency, at most two instructions a cycle, and some to spare. */
__attribute__((target("avx512f,avx512vnni"))) static int dpbusd_loop(long n) {
    __m512i sum[12], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(5);
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) sum[i] = _mm512_set1_epi32(i);
    for (long k = 0; k < n; k++)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) {
            sum[i] = _mm512_dpbusd_epi32(sum[i], w, x);
            __asm__ volatile("" : "+v"(sum[i])); /* or the compiler adds up the same product beforehand */
        }
    int total = 0;
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) total += _mm512_reduce_add_epi32(sum[i]);
    return total;
}

static void dpbusd_job(void *ctx, int part, int n_parts) {
    (void)n_parts;
    sinks[part][0] = (unsigned long long)dpbusd_loop(*(const long *)ctx);
}

/* Operations a second (a multiplication and an addition are two); 0 without the instruction. */
static double int8_peak(ng_pool *pool, int n_threads) {
    long n = 4000000;
    double best = 0;
    if (ng_cpu_best() < NG_CPU_AVX512) return 0;
    for (int round = 0; round < ROUNDS; round++) {
        double s = now_s();
        ng_pool_run(pool, dpbusd_job, &n);
        double got = (double)n * 12 * 128 * n_threads / (now_s() - s);
        best = got > best ? got : best;
    }
    return best;
}
#else
static double int8_peak(ng_pool *pool, int n_threads) { return (void)pool, (void)n_threads, 0; }
#endif

/* ---- what to measure ---------------------------------------------------------------------------------- */

static int parse(const char *text, long *out, long most) {
    int n = 0;
    for (const char *p = text; n < SIZES_MAX; p++) {
        char *end;
        out[n] = strtol(p, &end, 10);
        if (end == p || out[n] < 1 || out[n] > most) return 0;
        n++;
        if (!*end) return n;
        if (*end != ',') return 0;
        p = end;
    }
    return 0;
}

static int measure(const long *sizes, int n_sizes, const long *threads, int n_threads, bool json) {
    long most = 0;
    for (int i = 0; i < n_sizes; i++) most = sizes[i] > most ? sizes[i] : most;
    v8 *data = ng_memory_alloc_huge((size_t)most << 20);
    if (!data) return fprintf(stderr, "roofline: no memory for %ld MiB\n", most), 1;
    memset(data, 1, (size_t)most << 20);
    if (json) printf("{\"cpu\": \"%s\", \"read\": [", ng_cpu_name());
    double peaks[SIZES_MAX] = {0};
    for (int t = 0; t < n_threads; t++) {
        ng_pool *pool;
        ng_error err = {0};
        if (ng_pool_new(&pool, (int)threads[t], &err)) return fprintf(stderr, "roofline: %s\n", err.text), 1;
        for (int i = 0; i < n_sizes; i++) {
            double b = bandwidth(pool, data, (size_t)sizes[i] << 20);
            if (json)
                printf("%s{\"mib\": %ld, \"threads\": %ld, \"gb_per_s\": %.2f}", t || i ? ", " : "", sizes[i],
                       threads[t], b / 1e9);
            else
                printf("read %4ld MiB  %ld thread(s)  %7.2f GB/s  %8.1f passes/s\n", sizes[i], threads[t], b / 1e9,
                       b / (double)(sizes[i] << 20));
            fflush(stdout);
        }
        peaks[t] = int8_peak(pool, (int)threads[t]);
        ng_pool_free(pool);
    }
    if (json) printf("], \"int8_gops\": [");
    for (int t = 0; t < n_threads; t++)
        if (json && peaks[t] > 0)
            printf("%s{\"threads\": %ld, \"gops\": %.0f}", t ? ", " : "", threads[t], peaks[t] / 1e9);
        else if (!json) printf("dpbusd         %ld thread(s)  %7.0f GOPS\n", threads[t], peaks[t] / 1e9);
    if (json) printf("]}\n");
    free(data);
    return 0;
}

int main(int argc, char **argv) {
    long sizes[SIZES_MAX] = {3, 10, 30, 75, 150, 300}, threads[SIZES_MAX] = {1, ng_cpu_count()};
    int n_sizes = 6, n_threads = threads[1] > 1 ? 2 : 1;
    bool json = false, ok = true;
    for (int i = 1; i < argc && ok; i++) {
        if (!strcmp(argv[i], "--json")) json = true;
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            ok = (n_threads = parse(argv[++i], threads, THREADS_MAX)) > 0;
        else if (!strcmp(argv[i], "--mib") && i + 1 < argc) ok = (n_sizes = parse(argv[++i], sizes, 1 << 16)) > 0;
        else ok = false;
    }
    if (ok) return measure(sizes, n_sizes, threads, n_threads, json);
    fprintf(stderr, "usage: roofline [--json] [--threads 1,2] [--mib 3,75]\n");
    return 2;
}
