/* Tests of the memory budget (cgroups v1 and v2, NANOGRID_MEMORY) and of the prediction: it reads no weights,
 * agrees with what loading then takes, and refuses with the mend. */
#include "core/budget.h"
#include "fault.h"
#include "model/arch.h"
#include <nanogrid/memory.h>
#include <nanogrid/system.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

static const char tiny[] = "tests/golden/llama-tiny-mixed.gguf";
static char root[64];

static int make_root(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/ng_test_memory.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

/* put("/memory/a", "memory.limit_in_bytes", "1000") */
static void put(const char *group, const char *file, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s%s", root, group);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        mkdir(path, 0700);
    }
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s%s/%s", root, group, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static ng_budget under(const char *self) {
    ng_budget b = {.total_bytes = 10000, .available_bytes = 8000, .limited_by = "machine"};
    ng_budget_cgroups(&b, self, root);
    return b;
}

static void cgroups_of_both_versions(void **state) {
    (void)state;
    put("/memory", "memory.limit_in_bytes", "9223372036854771712\n"); /* v1's word for none */
    put("/memory/a", "memory.limit_in_bytes", "6000\n");
    put("/memory/a", "memory.usage_in_bytes", "3500\n");
    put("/memory/a", "memory.stat", "cache 900\ntotal_inactive_file 300\ntotal_active_file 200\n");
    put("/memory/a/b", "memory.limit_in_bytes", "7000\n");
    put("/memory/a/b", "memory.usage_in_bytes", "10\n");
    ng_budget b = under("9:cpu:/x\n4:memory:/a/b\n0::/\n");
    assert_int_equal(b.total_bytes, 6000); /* of the level above */
    assert_int_equal(b.available_bytes, 6000 - 3500 + 300 + 200);
    assert_string_equal(b.limited_by, "cgroup");
    b = under("4:hugetlb,memory:/elsewhere/on/the/host\n"); /* only the root is to be seen: no limit */
    assert_int_equal(b.available_bytes, 8000);
    assert_string_equal(b.limited_by, "machine");

    put("/unified/u", "memory.max", "max\n");
    assert_int_equal(under("0::/u\n").available_bytes, 8000);
    put("/svc/u", "memory.max", "4000\n");
    put("/svc/u", "memory.current", "5000\n"); /* over its limit: nothing is left */
    put("/svc/u", "memory.stat", "anon 4500\ninactive_file 100\nactive_file 50\n");
    b = under("0::/svc/u\n");
    assert_int_equal(b.total_bytes, 4000);
    assert_int_equal(b.available_bytes, 0);
    assert_int_equal(under("").available_bytes, 8000);
    assert_int_equal(under("nonsense\n:\n0:\n").available_bytes, 8000);
}

static void sizes(void **state) {
    (void)state;
    uint64_t v;
    assert_true(ng_budget_parse(&v, "512MB") && v == 512u << 20);
    assert_true(ng_budget_parse(&v, "1.5 GiB") && v == 3ull << 29);
    assert_true(ng_budget_parse(&v, "1000") && v == 1000);
    static const char *const bad[] = {"", "MB", "-1", "12XB", "1e30", "nan"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(ng_budget_parse(&v, bad[i]));
    ng_budget b;
    ng_error err = {0};
    setenv("NANOGRID_MEMORY", "much", 1);
    assert_int_equal(ng_budget_get(&b, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "NANOGRID_MEMORY=much"));
    setenv("NANOGRID_MEMORY", "1GB", 1);
    assert_int_equal(ng_budget_get(&b, NULL), NG_OK);
    assert_true(b.total_bytes <= 1u << 30 && b.available_bytes < 1u << 30);
    unsetenv("NANOGRID_MEMORY");
    assert_int_equal(ng_budget_get(&b, NULL), NG_OK);
    assert_true(b.total_bytes >= b.available_bytes && b.available_bytes > 0);
}

static void the_prediction_is_what_loading_takes(void **state) {
    (void)state;
    ng_memory_need n;
    ng_session_options opt = {.n_ctx = 100, .n_threads = 3};
    assert_int_equal(ng_memory_predict(&n, tiny, &opt, NULL), NG_OK);
    ng_model *m;
    ng_session *s;
    assert_int_equal(ng_model_open(&m, tiny, NULL), NG_OK);
    assert_int_equal(ng_session_new(&s, m, &opt, NULL), NG_OK);
    assert_int_equal(n.panels_bytes, m->bytes.panels);
    assert_int_equal(n.weights_bytes, m->bytes.stored);
    assert_int_equal(n.tables_bytes, m->bytes.tables);
    assert_int_equal(n.scratch_bytes, ng_arena_bytes(s->arena));
    assert_int_equal(n.n_ctx, 100);
    assert_int_equal(n.kv_bytes, 128 * ng_model_get_info(m).kv_bytes_per_tok); /* whole pages */
    assert_true(n.weights_bytes + n.panels_bytes > 0 && n.tables_bytes > 0 && n.scratch_bytes > 0);
    ng_session_free(s);
    ng_model_close(m);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    ng_model *m;
    ng_session *s;
    ng_error err = {0};
    assert_int_equal(ng_model_open(&m, tiny, NULL), NG_OK);
    setenv("NANOGRID_MEMORY", "1MB", 1); /* less than is held already */
    ng_session_options opt = {.n_ctx = 64, .n_threads = 1};
    assert_int_equal(ng_session_new(&s, m, &opt, &err), NG_ENOMEM);
    assert_non_null(strstr(err.text, "KV cache of 64 tokens"));
    assert_non_null(strstr(err.text, "NANOGRID_MEMORY"));
    ng_model_close(m);
    memset(&err, 0, sizeof err);
    assert_int_equal(ng_model_open(&m, tiny, &err), NG_ENOMEM);
    assert_null(m);
    assert_non_null(strstr(err.text, "quantize"));
    unsetenv("NANOGRID_MEMORY");
}

static void the_mend_names_a_context_that_fits(void **state) {
    (void)state;
    ng_memory_need n = {.weights_bytes = 1 << 20, .kv_bytes_per_tok = 1 << 20, .n_ctx = 1 << 20, .kv_bytes = 1ull << 40, .file_type = "Q8_0"};
    ng_error err = {0};
    uint64_t rss;
    char limit[32];
    ng_process_memory(&rss, NULL);
    snprintf(limit, sizeof limit, "%llu", (unsigned long long)rss + (3000ull << 20));
    setenv("NANOGRID_MEMORY", limit, 1);
    assert_int_equal(ng_memory_check(&n, "m.gguf", &err), NG_ENOMEM);
    assert_non_null(strstr(err.text, "m.gguf"));
    const char *at = strstr(err.text, "a context of ");
    if (!at) fail_msg("%s", err.text);
    n.n_ctx = (uint32_t)atoi(at + 13);
    assert_true(n.n_ctx >= 64 && n.n_ctx % 64 == 0 && n.n_ctx < 3000);
    unsetenv("NANOGRID_MEMORY");
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    ng_session_options opt = {.n_threads = 2};
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_memory_need n;
        ng_error err = {0};
        ng_status s = ng_memory_predict(&n, tiny, &opt, &err);
        if (s == NG_OK) fault_passed();
        else assert_int_equal(s, NG_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cgroups_of_both_versions, make_root, remove_root),
        cmocka_unit_test(sizes),
        cmocka_unit_test(the_prediction_is_what_loading_takes),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(the_mend_names_a_context_that_fits),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
