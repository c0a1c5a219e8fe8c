/* Tests of src/core: arenas, buffers, JSON, files, hashes, math, the pool, and the fault sweep itself. */
#include "core/arena.h"
#include <nanogrid/buf.h>
#include "core/budget.h"
#include "core/cpu.h"
#include "core/file.h"
#include "core/hash.h"
#include <nanogrid/json.h>
#include "core/math.h"
#include "core/pool.h"
#include "fault.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void status_keeps_the_first_cause(void **state) {
    (void)state;
    ng_error err = {0};
    assert_int_equal(ng_fail(&err, NG_EFORMAT, "first %d", 1), NG_EFORMAT);
    assert_int_equal(ng_fail(&err, NG_EIO, "second"), NG_EFORMAT);
    assert_string_equal(err.text, "first 1");
    assert_int_equal(ng_status_exit_code(NG_EINVALID), 2);
    assert_int_equal(ng_status_http(NG_ENOEXPERT), 422);
    assert_string_equal(ng_status_name(NG_EFORMAT), "EFORMAT");
    assert_string_equal(ng_status_name((ng_status)999), "EINTERNAL");
}

static void arena_marks_and_resets(void **state) {
    (void)state;
    ng_arena *a;
    assert_int_equal(ng_arena_new(&a, 256), NG_OK);
    char *keep = ng_arena_strdup(a, "keep");
    ng_arena_mark m = ng_arena_get_mark(a);
    size_t before = ng_arena_bytes(a);
    for (int i = 0; i < 100; i++) {
        char *p = ng_arena_alloc(a, (size_t)i * 37);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (int k = 0; k < i * 37; k++) assert_int_equal(p[k], 0);
        memset(p, 1, (size_t)i * 37);
    }
    ng_arena_reset(a, m);
    assert_int_equal(ng_arena_bytes(a), before);
    assert_string_equal(keep, "keep");
    assert_null(ng_arena_array(a, SIZE_MAX / 2, 3));
    assert_string_equal(ng_arena_printf(a, "%s-%d", "x", 7), "x-7");
    ng_arena_free(a);
}

static void buf_keeps_its_limit(void **state) {
    (void)state;
    ng_buf b = ng_buf_init(10);
    assert_string_equal(b.data, "");
    ng_buf_puts(&b, "12345");
    ng_buf_printf(&b, "%d", 67890);
    assert_string_equal(b.data, "1234567890");
    assert_int_equal(ng_buf_putc(&b, 'x'), NG_ELIMIT);
    assert_int_equal(ng_buf_puts(&b, ""), NG_ELIMIT); /* sticky */
    ng_buf_reset(&b);
    ng_buf_puts(&b, "again");
    char *taken = ng_buf_take(&b);
    assert_string_equal(taken, "again");
    free(taken);
    ng_buf_clear(&b);
}

static void json_writes_one_line(void **state) {
    (void)state;
    ng_buf b = ng_buf_init(4096);
    ng_json j = ng_json_init(&b);
    ng_json_object(&j);
    ng_json_key(&j, "a\"\n\x01"), ng_json_str(&j, "\xC3\xA9\xFFz\\\t");
    ng_json_key(&j, "n"), ng_json_array(&j);
    ng_json_num(&j, 0.1), ng_json_f32(&j, 0.1f), ng_json_num(&j, NAN), ng_json_int(&j, -3);
    ng_json_fixed(&j, 1.5, 3), ng_json_fixed(&j, 2, 2), ng_json_fixed(&j, -0.0001, 2), ng_json_bool(&j, true);
    ng_json_end(&j);
    ng_json_key(&j, "o"), ng_json_object(&j), ng_json_end(&j);
    ng_json_end(&j);
    assert_int_equal(b.status, NG_OK);
    assert_string_equal(b.data, "{\"a\\\"\\n\\u0001\": \"\xC3\xA9\xEF\xBF\xBDz\\\\\\t\", "
                                "\"n\": [0.1, 0.1, null, -3, 1.5, 2, 0, true], \"o\": {}}");
    ng_buf_clear(&b);
}

static void math_agrees_with_libm(void **state) {
    (void)state;
    for (double x = -700; x < 700; x += 0.37) assert_true(fabs(ng_exp(x) / exp(x) - 1) < 4e-16 * 4);
    for (double x = 1e-300; x < 1e300; x *= 1.7) assert_true(fabs(ng_log(x) - log(x)) <= 1e-15 * (1 + fabs(log(x))));
    for (double x = -9; x < 9; x += 0.0137) {
        assert_true(fabs(ng_tanh(x) - tanh(x)) < 1e-12);
        assert_true(fabs((double)ng_erff((float)x) - erf((double)(float)x)) < 1e-7);
        assert_true(fabs(ng_sigmoid(x) - 1 / (1 + exp(-x))) < 1e-15);
    }
    assert_true(ng_exp(-1000) == 0 && isinf(ng_exp(1000)) && isnan(ng_log(-1)) && isinf(ng_log(0)));
    float p[3] = {1, 2, 3};
    ng_softmax(p, p, 3, 1);
    assert_true(fabs((double)(p[0] + p[1] + p[2]) - 1) < 1e-6 && p[2] > p[1]);
}

/* Eight at a time or one by one, whatever the range: the bits of the definition. */
static void softmax_is_its_definition(void **state) {
    (void)state;
    ng_rng r = ng_rng_seed(3);
    for (int round = 0; round < 3000; round++) {
        float x[40], want[40], got[40], scale = (float)(0.1 + ng_rng_unit(&r)), range = round % 5 ? 20 : 2000;
        size_t n = 1 + ng_rng_below(&r, 40);
        double max = -INFINITY, sum = 0;
        for (size_t i = 0; i < n; i++) x[i] = range * (float)(ng_rng_unit(&r) - 0.5);
        if (round % 97 == 0) x[ng_rng_below(&r, (uint32_t)n)] = -INFINITY;
        for (size_t i = 0; i < n; i++)
            if ((double)x[i] * (double)scale > max) max = (double)x[i] * (double)scale;
        for (size_t i = 0; i < n; i++) {
            double e = ng_exp((double)x[i] * (double)scale - max);
            sum += e;
            want[i] = (float)e;
        }
        for (size_t i = 0; i < n; i++) want[i] = (float)((double)want[i] / sum);
        ng_softmax(got, x, n, scale);
        if (n > 1 || isfinite(x[0])) assert_memory_equal(got, want, n * sizeof *got);
    }
    float x[16] = {0};
    x[9] = NAN;
    ng_softmax(x, x, 16, 1);
    assert_true(isnan(x[0]) && isnan(x[9]));
}

static void hash_is_the_same_everywhere(void **state) {
    (void)state;
    char text[40] = "the quick brown fox jumps over the lazy";
    uint64_t last = 0;
    for (size_t n = 0; n < sizeof text; n++) {
        uint64_t h = ng_hash64(text, n, 7);
        assert_true(h != last);
        last = h;
    }
    ng_rng r = ng_rng_seed(1);
    uint32_t counts[7] = {0}, order[100];
    for (int i = 0; i < 70000; i++) counts[ng_rng_below(&r, 7)]++;
    for (int i = 0; i < 7; i++) assert_in_range(counts[i], 9500, 10500);
    for (uint32_t i = 0; i < 100; i++) order[i] = i;
    ng_rng_shuffle(&r, order, 100);
    uint32_t sum = 0;
    for (int i = 0; i < 100; i++) sum += order[i];
    assert_int_equal(sum, 4950);
}

typedef struct count_job {
    ng_pool *pool;
    int n, *seen;
} count_job;

static void count_part(void *ctx, int part, int n_parts) {
    count_job *job = ctx;
    size_t begin, end;
    ng_pool_slice((size_t)job->n, 4, part, n_parts, &begin, &end);
    for (size_t i = begin; i < end; i++) job->seen[i]++;
    ng_pool_barrier(job->pool);
    if (part == 0)
        for (int i = 0; i < job->n; i++)
            if (job->seen[i] != 1) abort();
}

static void pool_covers_every_item_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= 7; threads += 3) {
        ng_pool *p;
        assert_int_equal(ng_pool_new(&p, threads, NULL), NG_OK);
        for (int n = 0; n < 300; n++) {
            int seen[300] = {0};
            count_job job = {p, n, seen};
            if (n % 3) ng_pool_run(p, count_part, &job);
            else ng_pool_run_parts(p, 1 + n / 3 % threads, count_part, &job); /* fewer parts: the others sleep on */
            for (int i = 0; i < n; i++) assert_int_equal(seen[i], 1);
            if (n == 150) usleep(20000); /* long enough for the workers to park */
        }
        ng_pool_free(p);
    }
    ng_error err = {0};
    ng_pool *p;
    assert_int_equal(ng_pool_new(&p, -3, &err), NG_EINVALID);
}

static void files_are_whole_or_absent(void **state) {
    (void)state;
    char dir[] = "/tmp/ng-core-XXXXXX", path[64], deep[96];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/f", dir);
    snprintf(deep, sizeof deep, "%s/a/b/c", dir);
    assert_int_equal(ng_dir_make(deep, NULL), NG_OK);
    assert_int_equal(ng_file_write_atomic(path, "old", 3, NULL), NG_OK);
    FAULT_SWEEP(FAULT_ALLOC | FAULT_WRITE | FAULT_FSYNC) {
        ng_error err = {0};
        if (ng_file_write_atomic(path, "new!", 4, &err) == NG_OK) fault_passed();
        else assert_true(err.code == NG_ENOMEM || err.code == NG_EIO);
        ng_map m;
        if (ng_map_open(&m, path, NULL) == NG_OK) {
            assert_true((m.len == 3 && !memcmp(m.data, "old", 3)) || (m.len == 4 && !memcmp(m.data, "new!", 4)));
            ng_map_close(&m);
        }
    }
    assert_true(fault_sweep_rounds() >= 4);
    ng_dir_list l;
    assert_int_equal(ng_dir_read(&l, dir, NULL), NG_OK);
    assert_int_equal(l.len, 2); /* a, f: no temp file is left */
    assert_string_equal(l.names[0], "a");
    ng_dir_list_clear(&l);
    ng_error err = {0};
    ng_map m;
    assert_int_equal(ng_map_open(&m, "/nonexistent/x", &err), NG_ENOTFOUND);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
    ng_buf b = ng_buf_init(2);
    err = (ng_error){0};
    assert_int_equal(ng_file_read(&b, path, &err), NG_ELIMIT);
    ng_buf_clear(&b);
    char cmd[64];
    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    assert_int_equal(system(cmd), 0);
}

static void allocation_failures_are_reported(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_arena *a;
        ng_pool *p = NULL;
        ng_buf b = ng_buf_init(1 << 20);
        if (ng_arena_new(&a, 64) == NG_OK) {
            bool ok = ng_arena_strdup(a, "x") && ng_arena_alloc(a, 1000);
            ng_buf_puts(&b, "hello");
            if (ng_pool_new(&p, 2, NULL) == NG_OK && ok && b.status == NG_OK) fault_passed();
        }
        ng_pool_free(p);
        ng_buf_clear(&b);
        ng_arena_free(a);
    }
}

static int amx_asked;
static bool amx_granted(void) { return ++amx_asked; }
static bool amx_refused(void) { return amx_asked++, false; }

/* Machines that are not here, above all one whose system does not let us have AMX. */
static void processors_are_judged(void **state) {
    (void)state;
    const ng_cpu_x86 all = {.ecx1 = 1u << 12 | 1u << 29, .ebx7 = 1u << 5 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, .ecx7 = 1u << 11,
                            .edx7 = 1u << 22 | 1u << 24 | 1u << 25, .xcr0 = 0x600E7, .grant_amx = amx_granted};
    const char *note;
    assert_int_equal(ng_cpu_judge(&all, &note), NG_CPU_AMX);
    assert_true(amx_asked == 1 && !*note);
    ng_cpu_x86 x = all;
    x.grant_amx = amx_refused;
    assert_int_equal(ng_cpu_judge(&x, &note), NG_CPU_AVX512);
    assert_true(amx_asked == 2);
    assert_non_null(strstr(note, "refuses it to this process"));
    x.xcr0 = 0xE7; /* tiles are not saved: not even asked, since the answer would be worthless */
    assert_int_equal(ng_cpu_judge(&x, &note), NG_CPU_AVX512);
    assert_true(amx_asked == 2);
    assert_non_null(strstr(note, "does not save its tiles"));
    for (int bit = 22; bit <= 25; bit += bit == 22 ? 2 : 1) { /* bf16, tiles, int8: one alone is no AMX */
        x = all;
        x.edx7 &= ~(1u << bit);
        assert_int_equal(ng_cpu_judge(&x, &note), NG_CPU_AVX512);
        assert_true(!*note);
    }
    x = all;
    x.ecx7 = 0; /* no VNNI */
    assert_int_equal(ng_cpu_judge(&x, &note), NG_CPU_AVX2);
    x = all;
    x.xcr0 = 7; /* the system saves no 512-bit registers */
    assert_int_equal(ng_cpu_judge(&x, &note), NG_CPU_AVX2);
    x.xcr0 = 0;
    assert_int_equal(ng_cpu_judge(&x, &note), NG_CPU_REF);
    assert_true(amx_asked == 2);
}

static void cpu_cap_is_checked(void **state) {
    (void)state;
    ng_cpu_level level;
    ng_error err = {0};
    setenv("NG_CPU", "ref", 1);
    assert_int_equal(ng_cpu_get(&level, NULL), NG_OK);
    assert_int_equal(level, NG_CPU_REF);
    setenv("NG_CPU", "sse9", 1);
    assert_int_equal(ng_cpu_get(&level, &err), NG_EINVALID);
    assert_int_equal(ng_status_exit_code(err.code), 2);
    unsetenv("NG_CPU");
    assert_int_equal(ng_cpu_get(&level, NULL), NG_OK);
    assert_int_equal(level, ng_cpu_best());
    assert_true(ng_cpu_count() >= 1);
    uint64_t rss, peak;
    ng_memory_self(&rss, &peak);
    assert_true(peak >= rss && rss > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_keeps_the_first_cause),
        cmocka_unit_test(arena_marks_and_resets),
        cmocka_unit_test(buf_keeps_its_limit),
        cmocka_unit_test(json_writes_one_line),
        cmocka_unit_test(processors_are_judged),
        cmocka_unit_test(math_agrees_with_libm), cmocka_unit_test(softmax_is_its_definition),
        cmocka_unit_test(hash_is_the_same_everywhere),
        cmocka_unit_test(pool_covers_every_item_once),
        cmocka_unit_test(files_are_whole_or_absent),
        cmocka_unit_test(allocation_failures_are_reported),
        cmocka_unit_test(cpu_cap_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
