/* Tests of the shared cache of repacked weights: the same bits with and without it, every damaged or
 * foreign file refused and replaced, a home that cannot be written, and every allocation, write and
 * fsync failing once. */
#include "fault.h"
#include "model/arch.h"
#include <nanogrid/model.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>
#include <cmocka.h>

enum { VOCAB = 48, N = 40, HEAD_BYTES = 72, PANELS_AT = 4096 };
static const char model_file[] = "tests/golden/llama-tiny-mixed.gguf";
static char home[64], folder[80];
static float plain[N * VOCAB]; /* logits without a cache */

static void logits_of(const ng_model *m, float *out) {
    int32_t ids[N];
    for (int i = 0; i < N; i++) ids[i] = i * 7 % VOCAB;
    ng_session *s;
    assert_int_equal(ng_session_new(&s, m, &(ng_session_options){.n_threads = 1}, NULL), NG_OK);
    assert_int_equal(ng_session_eval_all(s, ids, N, out, NULL), NG_OK);
    ng_session_free(s);
}

/* Opens with the cache for models of any size; how it went must be `how`, the note must hold `says`, and
 * the logits must be the bits of a model that never saw a cache. */
static void open_as(const char *file, const char *how, const char *says) {
    static float got[N * VOCAB];
    ng_model *m;
    ng_error err = {0};
    if (ng_model_open_from(&m, file, 0, &err)) fail_msg("%s", err.text);
    ng_model_info i = ng_model_get_info(m);
    if (strcmp(i.repack, how) || (*says ? !strstr(i.repack_note, says) : i.repack_note[0] != 0))
        fail_msg("repack is %s, note \"%s\"; wanted %s with \"%s\"", i.repack, i.repack_note, how, says);
    logits_of(m, got);
    assert_memory_equal(got, plain, sizeof plain);
    ng_model_close(m);
}

/* The only file of the cache; "" when there is none.  Fails on any other file, such as a temp file. */
static const char *cached(void) {
    static char path[400];
    ng_dir_list l;
    path[0] = 0;
    if (ng_dir_read(&l, folder, NULL)) return path;
    assert_true(l.len <= 1);
    if (l.len) snprintf(path, sizeof path, "%s/%s", folder, l.names[0]);
    ng_dir_list_clear(&l);
    return path;
}

static void read_cached(ng_buf *b) {
    *b = ng_buf_init(1 << 20);
    assert_int_equal(ng_file_read(b, cached(), NULL), NG_OK);
}

static int setup(void **state) {
    (void)state;
    strcpy(home, "/tmp/ng-repack-XXXXXX");
    assert_non_null(mkdtemp(home));
    snprintf(folder, sizeof folder, "%s/cache", home);
    setenv("NANOGRID_HOME", home, 1);
    ng_model *m;
    assert_int_equal(ng_model_open(&m, model_file, NULL), NG_OK); /* too small for a cache file */
    assert_string_equal(ng_model_get_info(m).repack, "memory");
    assert_string_equal(cached(), "");
    logits_of(m, plain);
    ng_model_close(m);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    if (*cached()) unlink(cached());
    rmdir(folder);
    rmdir(home);
    return 0;
}

static void the_second_open_maps_what_the_first_wrote(void **state) {
    (void)state;
    open_as(model_file, "written", "");
    assert_non_null(strstr(cached(), "-" NG_REPACK_LAYOUT));
    open_as(model_file, "cache", "");
    ng_model *m;
    assert_int_equal(ng_model_open_from(&m, "tests/golden/llama-tiny-f32.gguf", 0, NULL), NG_OK);
    assert_string_equal(ng_model_get_info(m).repack, "none");
    ng_model_close(m);
}

/* One byte anywhere in what is not padding, and any cut: refused, said, replaced. */
static void damaged_files_are_replaced(void **state) {
    (void)state;
    ng_buf good, again;
    open_as(model_file, cached()[0] ? "cache" : "written", "");
    read_cached(&good);
    size_t used = good.len - PANELS_AT;
    for (size_t k = 0; k < 60; k++) {
        size_t at = k < 40 ? k * 3 : PANELS_AT + used / 20 * (k - 40);
        good.data[at] ^= (char)(1 << k % 8);
        assert_int_equal(ng_file_write_atomic(cached(), good.data, good.len, NULL), NG_OK);
        good.data[at] ^= (char)(1 << k % 8);
        open_as(model_file, "written", "is repacked anew: ");
    }
    const size_t cuts[] = {0, 1, HEAD_BYTES - 1, HEAD_BYTES, PANELS_AT - 1, PANELS_AT, good.len - 1};
    for (size_t k = 0; k < sizeof cuts / sizeof cuts[0]; k++) {
        assert_int_equal(ng_file_write_atomic(cached(), good.data, cuts[k], NULL), NG_OK);
        open_as(model_file, "written", "is repacked anew: it");
    }
    assert_int_equal(ng_buf_put(&good, "x", 1), NG_OK);
    assert_int_equal(ng_file_write_atomic(cached(), good.data, good.len, NULL), NG_OK);
    open_as(model_file, "written", "its length is wrong");
    open_as(model_file, "cache", "");
    read_cached(&again);
    assert_int_equal(again.len, good.len - 1);
    assert_memory_equal(again.data, good.data, again.len);
    ng_buf_clear(&good);
    ng_buf_clear(&again);
}

/* A model with one byte of one weight changed, of the same size and time, is another model. */
static void the_key_is_the_content(void **state) {
    (void)state;
    char copy[100], first[400];
    ng_buf b = ng_buf_init(1 << 20);
    struct stat st;
    snprintf(copy, sizeof copy, "%s/copy.gguf", home);
    assert_int_equal(ng_file_read(&b, model_file, NULL), NG_OK);
    assert_int_equal(ng_file_write_atomic(copy, b.data, b.len, NULL), NG_OK);
    assert_int_equal(stat(copy, &st), 0);
    open_as(copy, cached()[0] ? "cache" : "written", ""); /* the name does not count */
    snprintf(first, sizeof first, "%s", cached());
    b.data[b.len - 1] ^= 1;
    assert_int_equal(ng_file_write_atomic(copy, b.data, b.len, NULL), NG_OK);
    assert_int_equal(utime(copy, &(struct utimbuf){st.st_atime, st.st_mtime}), 0);
    ng_model *m;
    assert_int_equal(ng_model_open_from(&m, copy, 0, NULL), NG_OK);
    assert_string_equal(ng_model_get_info(m).repack, "written");
    ng_model_close(m);
    unlink(first);
    /* The other model's file under this model's name is refused. */
    assert_int_equal(rename(cached(), first), 0);
    open_as(model_file, "written", "it was made from another model file");
    ng_buf_clear(&b);
    unlink(copy);
}

static void a_home_that_cannot_be_written_is_said(void **state) {
    (void)state;
    char file[100];
    snprintf(file, sizeof file, "%s/file", home);
    assert_int_equal(ng_file_write_atomic(file, "x", 1, NULL), NG_OK);
    setenv("NANOGRID_HOME", file, 1); /* a file where a folder should be: refused for root too */
    open_as(model_file, "memory", "repacked weights are not shared");
    setenv("NANOGRID_HOME", home, 1);
    unlink(file);
}

/* A failed call leaves the model in memory with a note, or an error; never half a file. */
static void faults_leave_no_half_file(void **state) {
    (void)state;
    for (fault_kind kind = FAULT_ALLOC; kind <= FAULT_FSYNC; kind = (fault_kind)(kind * 2)) {
        if (*cached()) unlink(cached());
        FAULT_SWEEP(kind) {
            ng_model *m;
            ng_error err = {0};
            ng_status s = ng_model_open_from(&m, model_file, 0, &err);
            bool fired = fault_fired();
            fault_arm(kind, 1L << 40); /* the checks below are not part of it */
            if (s) assert_true(err.text[0] != 0);
            else if (!strcmp(ng_model_get_info(m).repack, "memory"))
                assert_true(ng_model_get_info(m).repack_note[0] != 0);
            else assert_string_equal(ng_model_get_info(m).repack, "written");
            if (!s) ng_model_close(m);
            if (*cached()) {
                open_as(model_file, "cache", ""); /* what is there is whole */
                unlink(cached());
            }
            if (!s && !fired) fault_passed();
        }
        assert_true(fault_sweep_rounds() > 0);
    }
}

/* What died while it wrote is swept once it is old; what others keep in the folder is not. */
static void stale_temp_files_go(void **state) {
    (void)state;
    char stale[200], other[120];
    if (*cached()) unlink(cached());
    open_as(model_file, "written", "");
    unlink(cached());
    snprintf(stale, sizeof stale, "%s/00112233445566778899aabbccddeeff-old.tmp.1", folder);
    snprintf(other, sizeof other, "%s/notes.tmp.1", folder);
    assert_int_equal(ng_file_write_atomic(stale, "x", 1, NULL), NG_OK);
    assert_int_equal(ng_file_write_atomic(other, "x", 1, NULL), NG_OK);
    assert_int_equal(utime(stale, &(struct utimbuf){1, 1}), 0);
    assert_int_equal(utime(other, &(struct utimbuf){1, 1}), 0);
    open_as(model_file, "written", "");
    assert_false(ng_file_exists(stale));
    assert_true(ng_file_exists(other));
    unlink(other);
}

/* Files beyond the limit go, what was not used for longest first; the one just written stays. */
static void the_folder_is_bounded(void **state) {
    (void)state;
    char old[200], newer[200];
    if (*cached()) unlink(cached());
    snprintf(old, sizeof old, "%s/00112233445566778899aabbccddeeff-old", folder);
    snprintf(newer, sizeof newer, "%s/ffeeddccbbaa99887766554433221100-old", folder);
    const char *paths[] = {old, newer};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ng_file_write_atomic(paths[i], "x", 1, NULL), NG_OK);
        assert_int_equal(truncate(paths[i], 3 * (1LL << 30)), 0); /* sparse */
        assert_int_equal(utime(paths[i], &(struct utimbuf){100 + i, 100 + i}), 0);
    }
    open_as(model_file, "written", "");
    assert_false(ng_file_exists(old));
    assert_true(ng_file_exists(newer));
    unlink(newer);
    open_as(model_file, "cache", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_open_maps_what_the_first_wrote),
        cmocka_unit_test(damaged_files_are_replaced),
        cmocka_unit_test(the_key_is_the_content),
        cmocka_unit_test(a_home_that_cannot_be_written_is_said),
        cmocka_unit_test(faults_leave_no_half_file),
        cmocka_unit_test(stale_temp_files_go),
        cmocka_unit_test(the_folder_is_bounded),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
