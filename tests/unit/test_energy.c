/* test_energy.c: counters of a made-up powercap tree, and the model's arithmetic. */
#include "core/rapl.h"
#include <nanogrid/energy.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char root[128];

static void put(const char *zone, const char *file, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, zone);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", root, zone, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void put_zone(const char *zone, const char *name, const char *uj) {
    put(zone, "name", name);
    put(zone, "energy_uj", uj);
    put(zone, "max_energy_range_uj", "1000000\n");
}

static void remove_tree(void) {
    char command[256];
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

static void test_rapl(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/ng_test_energy.XXXXXX");
    assert_non_null(mkdtemp(root));
    ng_rapl_zone a[NG_RAPL_MAX], b[NG_RAPL_MAX];
    assert_int_equal(ng_rapl_read(a, root), 0);
    put_zone("intel-rapl:0", "package-0\n", "999900\n");
    put_zone("intel-rapl:0:0", "core\n", "5\n"); /* inside the package: not counted again */
    put_zone("intel-rapl:0:1", "dram\n", "100\n");
    put_zone("intel-rapl:1", "package-1\n", "7\n");
    assert_int_equal(ng_rapl_read(a, root), 3);
    put_zone("intel-rapl:0", "package-0\n", "50\n"); /* began again at 0 */
    put_zone("intel-rapl:0:1", "dram\n", "130\n");
    assert_int_equal(ng_rapl_read(b, root), 3);
    assert_int_equal(ng_rapl_between(a, b, 3), 150 + 30);
    put("intel-rapl:1", "energy_uj", "\n"); /* as one that may not be read */
    assert_int_equal(ng_rapl_read(b, root), 0);
    remove_tree();
}

static void test_model(void **state) {
    (void)state;
    ng_energy_meter m;
    ng_energy_start(&m);
    volatile double x = 1;
    for (int i = 0; i < 3000000; i++) x = x * 1.0000001;
    ng_energy a = ng_energy_stop(&m, 0), b = ng_energy_stop(&m, 1000000000);
    assert_string_equal(a.source, ng_energy_source());
    assert_true(a.joules >= 0 && b.joules >= a.joules && a.wall_s > 0);
    if (strcmp(a.source, "model")) return;
    assert_true(a.cpu_s > 0 && a.joules >= a.cpu_s * NG_ENERGY_CORE_W);
    assert_true(b.joules - a.joules >= 1e9 * NG_ENERGY_DRAM_J_PER_BYTE * 0.999);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rapl), cmocka_unit_test(test_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
