/* Tests of src/train/checkpoint: what is written is read back; a full disk, a failed fsync or missing memory leaves the
 * checkpoint before it, whole; one of another run, or a damaged one, is refused. */
#include "core/file.h"
#include "fault.h"
#include "train/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { N = 700, STEPS = 9 };

typedef struct state {
    float weights[N], moments[2 * N], best[N];
    double curve[STEPS];
    ng_checkpoint c;
} state;

/* The checkpoint after `step` steps. */
static void fill(state *s, uint64_t step) {
    for (size_t i = 0; i < N; i++) s->weights[i] = (float)i + (float)step, s->best[i] = (float)step - (float)i;
    for (size_t i = 0; i < 2 * N; i++) s->moments[i] = (float)(i * step);
    for (size_t i = 0; i < STEPS; i++) s->curve[i] = 1.0 / (double)(i + step);
    s->c = (ng_checkpoint){77, step, 2, 0.5, 0.25, N, s->weights, s->moments, s->best, s->curve, step, STEPS};
}

static bool holds(const char *path, uint64_t step) {
    state want, got;
    memset(&got, 0, sizeof got);
    fill(&want, step);
    got.c = (ng_checkpoint){.digest = 77, .n = N, .weights = got.weights, .moments = got.moments, .best = got.best, .curve = got.curve, .n_curve_max = STEPS};
    ng_error err = {0};
    if (ng_checkpoint_read(&got.c, path, &err)) fail_msg("%s", err.text);
    return got.c.step == step && got.c.best_epoch == 2 && got.c.best_score == 0.5 && got.c.loss == 0.25 &&
           got.c.n_curve == step && !memcmp(got.weights, want.weights, sizeof got.weights) &&
           !memcmp(got.moments, want.moments, sizeof got.moments) && !memcmp(got.best, want.best, sizeof got.best) &&
           !memcmp(got.curve, want.curve, step * sizeof *got.curve);
}

static char path[64];

static int make_path(void **unused) {
    (void)unused;
    snprintf(path, sizeof path, "/tmp/ng-checkpoint-%ld", (long)getpid());
    return 0;
}
static int remove_path(void **unused) {
    (void)unused;
    ng_file_remove(path);
    return 0;
}

static void what_is_written_is_read(void **unused) {
    (void)unused;
    state s;
    fill(&s, 3);
    assert_int_equal(ng_checkpoint_write(&s.c, path, NULL), NG_OK);
    assert_true(holds(path, 3));
    fill(&s, 4);
    assert_int_equal(ng_checkpoint_write(&s.c, path, NULL), NG_OK);
    assert_true(holds(path, 4));
}

/* The kernel's name is kept; a file without one says so by "". */
static void the_kernel_is_kept(void **unused) {
    (void)unused;
    state s;
    for (int named = 0; named < 2; named++) {
        fill(&s, 3);
        snprintf(s.c.kernel, sizeof s.c.kernel, "%s", named ? "avx512 bf16" : "");
        assert_int_equal(ng_checkpoint_write(&s.c, path, NULL), NG_OK);
        memset(s.c.kernel, 'x', sizeof s.c.kernel);
        assert_int_equal(ng_checkpoint_read(&s.c, path, NULL), NG_OK);
        assert_string_equal(s.c.kernel, named ? "avx512 bf16" : "");
    }
}

static void a_full_disk_leaves_the_one_before(void **unused) {
    (void)unused;
    static const fault_kind kinds[] = {FAULT_WRITE, FAULT_FSYNC, FAULT_ALLOC};
    for (size_t k = 0; k < 3; k++) {
        state s;
        fill(&s, 5);
        assert_int_equal(ng_checkpoint_write(&s.c, path, NULL), NG_OK);
        long rounds = 0;
        FAULT_SWEEP(kinds[k]) {
            ng_error err = {0};
            fill(&s, 6);
            ng_status status = ng_checkpoint_write(&s.c, path, &err);
            if (status) assert_true(err.text[0] && (status == NG_EIO || status == NG_ENOMEM));
            /* the folder's fsync comes after the rename; with status OK the fault is still to come */
            if (status) assert_true(holds(path, 5) || (kinds[k] == FAULT_FSYNC && holds(path, 6)));
            rounds++;
            if (status == NG_OK) fault_passed();
        }
        assert_true(rounds > 1 && holds(path, 6));
    }
}

static void another_run_is_refused(void **unused) {
    (void)unused;
    state s;
    ng_error err = {0};
    fill(&s, 5);
    assert_int_equal(ng_checkpoint_write(&s.c, path, NULL), NG_OK);
    s.c.digest = 78;
    assert_int_equal(ng_checkpoint_read(&s.c, path, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "another run"));
    s.c.digest = 77, s.c.n = N - 1;
    assert_int_equal(ng_checkpoint_read(&s.c, path, NULL), NG_EFORMAT);
    s.c.n = N, s.c.n_curve_max = 2;
    assert_int_equal(ng_checkpoint_read(&s.c, path, NULL), NG_EFORMAT);
    assert_int_equal(truncate(path, 3000), 0);
    s.c.n_curve_max = STEPS;
    assert_int_not_equal(ng_checkpoint_read(&s.c, path, NULL), NG_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_written_is_read),
                                       cmocka_unit_test(the_kernel_is_kept),
                                       cmocka_unit_test(a_full_disk_leaves_the_one_before),
                                       cmocka_unit_test(another_run_is_refused)};
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
